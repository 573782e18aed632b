/* topologies/stock/stock_topology.h - the stock of every SKU in every warehouse. */
#pragma once
#include "engine/tally.h"

#define TALLY_STOCK_REQUIRE_REGISTRATION "stock.require_registration"

/* Who stock answers to. */
#define STOCK_CATALOGUE_COMMANDS   "catalogue.commands"
#define STOCK_RESERVATION_COMMANDS "reservation.commands"
#define STOCK_TRANSFER_COMMANDS    "transfer.commands"

/* @thread init */
TALLY_MUST_CHECK enum tally_code tally_stock_build(struct tally_topology *topology,
        const struct tally_config *config, struct tally_error *err);
