/* topologies/catalogue/catalogue_topology.h - what is sold and where it may be kept. */
#pragma once
#include "engine/tally.h"

/* @thread init */
TALLY_MUST_CHECK enum tally_code tally_catalogue_build(struct tally_topology *topology,
        const struct tally_config *config, struct tally_error *err);
