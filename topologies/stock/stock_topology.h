/* topologies/stock/stock_topology.h - the stock of every SKU in every warehouse. */
#pragma once
#include "engine/tally.h"

#define TALLY_STOCK_REQUIRE_REGISTRATION "stock.require_registration"

/* @thread init */
TALLY_MUST_CHECK enum tally_code tally_stock_build(struct tally_topology *topology,
        const struct tally_config *config, struct tally_error *err);
