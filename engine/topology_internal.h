/* engine/topology_internal.h - the built topology, for topology.c, topology_check.c and
 * topology_describe.c. */
#pragma once
#include "engine/topology.h"

#define TOPOLOGY_TARGETS_MAX  16 /* as many topologies as an instance may run (config.def) */
#define TOPOLOGY_WINDOWS_MAX  8  /* sizes of one projection */
#define TOPOLOGY_SETTINGS_MAX 16 /* switches that decide depends on; each splits the state */

struct topology_target {
    char *name, *topic; /* without and with prefix */
};

struct topology_setting {
    char *name;
    bool value;
};

struct tally_topology {
    char *name, *prefix;
    struct tally_aggregate aggregate;
    bool has_aggregate;
    struct tally_projection projection;
    bool has_projection;
    struct tally_window windows[TOPOLOGY_WINDOWS_MAX];
    size_t window_count;
    char *commands, *events, *dead_letters; /* of an aggregate, with prefix */
    char *source, *changelog;               /* of a projection, with prefix */
    bool changelogged[TALLY_STORES];
    enum tally_store_id stores[TALLY_STORES];
    size_t store_count;
    bool omitted[TALLY_STORES];
    char *omitted_text;
    struct topology_target targets[TOPOLOGY_TARGETS_MAX];
    size_t target_count;
    struct topology_setting settings[TOPOLOGY_SETTINGS_MAX]; /* sorted by name */
    size_t setting_count;
    char *settings_text;
    struct tally_error error; /* the first one */
};

/* Letters, digits, '.', '_', '-': what Kafka allows in topic names, at most 128 long. */
bool topology_name_legal(const char *name);

/* topology_check.c: what an aggregate or a projection must have; the first mistake goes to
 * topology->error. */
void topology_check(struct tally_topology *topology);
#define topology_fail(topology, ...)                                        \
    do {                                                                    \
        if (!(topology)->error.code) {                                      \
            tally_error_set(&(topology)->error, TALLY_CONFIG, __VA_ARGS__); \
        }                                                                   \
    } while (0)
