/* topologies/catalogue/catalogue_topology.c - one writer per catalogue key: a product, a slug
 * (`slug:<slug>`), a warehouse (`warehouse:<warehouse>`).
 *   catalogue.commands --decide--> catalogue.events
 *                      --evolve--> product, slug, warehouse, operation, timer, dedup
 *                            \--> catalogue.commands (claims of slugs, their answers, time-outs)
 *                            \--> stock.commands (claims of SKUs, FreezeSku; ApplyWarehouse, one
 *                                 for each partition)
 * Invariants
 *  (1) A slug belongs to one product at most, and stays with it when the product has another one.
 *  (2) A product is there once its slug and all its SKUs are its own; meanwhile, and when one of
 *      them is refused, there is nothing of it but its operation. */
#include "topologies/catalogue/catalogue_topology.h"

#include "topologies/catalogue/catalogue_internal.h"

#define EVOLVE_VERSION 2

enum tally_code tally_catalogue_build(struct tally_topology *topology,
        const struct tally_config *config, struct tally_error *err)
{
    tally_store(topology, TALLY_STORE_PRODUCT, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_SLUG, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_CATALOGUE_WAREHOUSE, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_CATALOGUE_OPERATION, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_CATALOGUE_TIMER, TALLY_EVENT_SOURCED);
    tally_store_if(topology, TALLY_STORE_DEDUP, config->dedup_retention > 0);
    tally_sends_to(topology, CATALOGUE_COMMANDS);
    tally_sends_to(topology, CATALOGUE_STOCK_COMMANDS);
    tally_aggregate(topology, &(struct tally_aggregate){
                                      .name = "catalogue",
                                      .commands = CATALOGUE_COMMANDS,
                                      .events = "catalogue.events",
                                      .command_types = catalogue_command_schemas,
                                      .event_types = catalogue_event_schemas,
                                      .evolve_version = EVOLVE_VERSION,
                                      .touch = catalogue_touch,
                                      .decide = catalogue_decide,
                                      .evolve = catalogue_evolve,
                                      .remember = catalogue_remember,
                                      .result = catalogue_result,
                                      .refused = catalogue_refused,
                                      .has_timers = true,
                                      .timers = TALLY_STORE_CATALOGUE_TIMER,
                                      .due = catalogue_due,
                              });
    return tally_topology_validate(topology, err);
}
