/* topologies/analytics/expiring_topology.h - reservations by when they expire. @thread init */
#pragma once
#include "engine/tally.h"

TALLY_MUST_CHECK enum tally_code tally_expiring_build(struct tally_topology *topology,
        const struct tally_config *config, struct tally_error *err);
