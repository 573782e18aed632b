/* apps/instance.h - the topologies that the settings name, built. @thread main */
#pragma once
#include "connectors/kafka_admin.h"
#include "engine/base/config.h"
#include "engine/topology.h"

struct instance {
    struct tally_topology **topologies;
    const char **names; /* of them, in the same order */
    struct tally_topic_owner *owners;
    size_t topology_count;
};

/* Builds config->topologies in their order. CONFIG: a name is unknown (with the nearest one that is
 * known), given twice, or its topology is wrong. instance_deinit in every case; a zeroed instance
 * is fine for it. config: borrowed until deinit. */
TALLY_MUST_CHECK enum tally_code instance_build(struct instance *instance,
        const struct tally_config *config, struct tally_error *err);
void instance_deinit(struct instance *instance);
