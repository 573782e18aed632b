/* topologies/stock/stock_topology.c - one writer per SKU.
 *   stock.commands --decide--> stock.events --evolve--> level, ledger, setting, sku, warehouse,
 *                                                       hold, dedup
 *                         \--> catalogue.commands, reservation.commands, transfer.commands:
 *                              answers to those who asked
 * Invariants (per SKU and warehouse)
 *  (1) A level is the running sum of its ledger's deltas; each event carries it as `after`.
 *  (2) seq = 1, 2, 3 ... without a gap; the level's version is the seq of its last entry.
 *  (3) sellable, damaged and quality_control stay >= 0, except by ShipStock with force. */
#include "topologies/stock/stock_topology.h"

#include "topologies/stock/stock_internal.h"

#define EVOLVE_VERSION 2

enum tally_code tally_stock_build(struct tally_topology *topology,
        const struct tally_config *config, struct tally_error *err)
{
    tally_store(topology, TALLY_STORE_LEVEL, TALLY_EVENT_SOURCED);
    tally_store_if(topology, TALLY_STORE_LEDGER, config->stock_ledger);
    tally_store(topology, TALLY_STORE_SETTING, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_SKU, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_WAREHOUSE, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_HOLD, TALLY_EVENT_SOURCED);
    tally_store_if(topology, TALLY_STORE_DEDUP, config->dedup_retention > 0);
    tally_sends_to(topology, STOCK_CATALOGUE_COMMANDS);
    tally_sends_to(topology, STOCK_RESERVATION_COMMANDS);
    tally_sends_to(topology, STOCK_TRANSFER_COMMANDS);
    tally_setting(topology, TALLY_STOCK_REQUIRE_REGISTRATION, config->stock_require_registration);
    tally_aggregate(topology, &(struct tally_aggregate){
                                      .name = "stock",
                                      .commands = "stock.commands",
                                      .events = "stock.events",
                                      .command_types = stock_command_schemas,
                                      .event_types = stock_event_schemas,
                                      .evolve_version = EVOLVE_VERSION,
                                      .touch = stock_touch,
                                      .decide = stock_decide,
                                      .evolve = stock_evolve,
                                      .remember = stock_remember,
                                      .result = stock_result,
                                      .refused = stock_refused,
                              });
    return tally_topology_validate(topology, err);
}
