/* engine/topology.h - a built topology, as the engine and the tools see it. */
#pragma once
#include "engine/tally.h"

struct tally_topology *tally_topology_create(const char *name, const char *topics_prefix);
void tally_topology_destroy(struct tally_topology *topology);

const char *tally_topology_name(const struct tally_topology *topology);
/* One of the two is NULL. */
const struct tally_aggregate *tally_topology_aggregate(const struct tally_topology *topology);
const struct tally_projection *tally_topology_projection(const struct tally_topology *topology);
/* What its tasks consume, and where they write what they are restored from: commands and events of
 * an aggregate, the events of another topology and the changelog of a projection. With
 * topics.prefix. */
const char *tally_topology_input(const struct tally_topology *topology);
const char *tally_topology_output(const struct tally_topology *topology);
/* Name that its members have in the group: NULL for aggregates, who share the group app.id; that of
 * the projection, whose group is app.id + '-' + name. */
const char *tally_topology_group(const struct tally_topology *topology);
uint32_t tally_topology_version(const struct tally_topology *topology);
size_t tally_topology_windows(const struct tally_topology *topology,
        const struct tally_window **windows);
/* Of an aggregate; NULL of a projection. With topics.prefix. */
const char *tally_topology_commands(const struct tally_topology *topology);
const char *tally_topology_events(const struct tally_topology *topology);
const char *tally_topology_dead_letters(const struct tally_topology *topology);
/* A topic named by tally_sends_to, with prefix; NULL: not named. */
const char *tally_topology_target(const struct tally_topology *topology, const char *topic);
/* "a=true,b=false", sorted. */
const char *tally_topology_settings(const struct tally_topology *topology);
bool tally_topology_setting(const struct tally_topology *topology, const char *name);
size_t tally_topology_stores(const struct tally_topology *topology,
        const enum tally_store_id **stores); /* that are kept */
bool tally_topology_keeps(const struct tally_topology *topology, enum tally_store_id store);
/* "dedup,ledger", sorted; "": all are kept. */
const char *tally_topology_omitted(const struct tally_topology *topology);

enum tally_describe {
    TALLY_DESCRIBE_TEXT,
    TALLY_DESCRIBE_DOT,
    TALLY_DESCRIBE_MERMAID,
    TALLY_DESCRIBE_JSON
};
/* All topologies together. TEXT has the form of Kafka Streams' TopologyDescription#toString. */
void tally_topology_describe(struct tally_topology *const *topologies, size_t count,
        enum tally_describe form, struct tally_buf *out);
