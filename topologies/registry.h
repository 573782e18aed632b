/* topologies/registry.h - which topologies there are: name -> build function. @thread any */
#pragma once
#include "engine/topology.h"

/* Names of all topologies, sorted; ends with NULL. */
const char *const *tally_registry_names(void);
/* Makes, builds and validates a topology with topics.prefix from the settings. CONFIG: no such name
 * (says the nearest), or what validation found. The caller destroys it. */
TALLY_MUST_CHECK enum tally_code tally_registry_create(const char *name,
        const struct tally_config *config, struct tally_topology **topology,
        struct tally_error *err);
