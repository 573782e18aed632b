/* topologies/reservation/reservation_topology.h - promises of several SKUs at once. */
#pragma once
#include "engine/tally.h"

/* @thread init */
TALLY_MUST_CHECK enum tally_code tally_reservation_build(struct tally_topology *topology,
        const struct tally_config *config, struct tally_error *err);
