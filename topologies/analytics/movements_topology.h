/* topologies/analytics/movements_topology.h - movements by hour and by day. @thread init */
#pragma once
#include "engine/tally.h"

TALLY_MUST_CHECK enum tally_code tally_movements_build(struct tally_topology *topology,
        const struct tally_config *config, struct tally_error *err);
