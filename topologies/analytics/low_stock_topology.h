/* topologies/analytics/low_stock_topology.h - levels that need attention. @thread init */
#pragma once
#include "engine/tally.h"

TALLY_MUST_CHECK enum tally_code tally_low_stock_build(struct tally_topology *topology,
        const struct tally_config *config, struct tally_error *err);
