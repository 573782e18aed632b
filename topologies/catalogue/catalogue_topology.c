/* topologies/catalogue/catalogue_topology.c - one writer per catalogue key
 * (`warehouse:<warehouse>`).
 *   catalogue.commands --decide--> catalogue.events --evolve--> warehouse, dedup
 *                            \--> stock.commands (ApplyWarehouse, one for each partition) */
#include "topologies/catalogue/catalogue_topology.h"

#include "topologies/catalogue/catalogue_internal.h"

#define EVOLVE_VERSION 1

enum tally_code tally_catalogue_build(struct tally_topology *topology,
        const struct tally_config *config, struct tally_error *err)
{
    tally_store(topology, TALLY_STORE_CATALOGUE_WAREHOUSE, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_DEDUP,
            config->dedup_retention > 0 ? TALLY_EVENT_SOURCED : TALLY_OMITTED);
    tally_sends_to(topology, CATALOGUE_STOCK_COMMANDS);
    tally_aggregate(topology, &(struct tally_aggregate){
                                      .name = "catalogue",
                                      .commands = "catalogue.commands",
                                      .events = "catalogue.events",
                                      .command_types = catalogue_command_schemas,
                                      .event_types = catalogue_event_schemas,
                                      .evolve_version = EVOLVE_VERSION,
                                      .touch = catalogue_touch,
                                      .decide = catalogue_decide,
                                      .evolve = catalogue_evolve,
                                      .remember = catalogue_remember,
                                      .result = catalogue_result,
                              });
    return tally_topology_validate(topology, err);
}
