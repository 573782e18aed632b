/* topologies/transfer/transfer_topology.c - one writer per transfer.
 *   transfer.commands --decide--> transfer.events
 *                     --evolve--> transfer, operation, timer, dedup
 *                           \--> stock.commands (TransferOut, Expect, In, Loss, Back)
 *                           \--> transfer.commands (TimeOut, when due)
 * Invariants
 *  (1) quantity = received + returned + lost + what is in transit, from IN_TRANSIT on.
 *  (2) A transfer ends once: RECEIVED, CANCELLED and FAILED have no successor.
 *  (3) Units that left are expected, received, lost or back: none are forgotten, even when they
 *      left after the transfer was given up. */
#include "topologies/transfer/transfer_topology.h"

#include "topologies/transfer/transfer_internal.h"

#define EVOLVE_VERSION 1

enum tally_code tally_transfer_build(struct tally_topology *topology,
        const struct tally_config *config, struct tally_error *err)
{
    tally_store(topology, TALLY_STORE_TRANSFER, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_TRANSFER_OPERATION, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_TRANSFER_TIMER, TALLY_EVENT_SOURCED);
    tally_store_if(topology, TALLY_STORE_DEDUP, config->dedup_retention > 0);
    tally_sends_to(topology, TRANSFER_STOCK_COMMANDS);
    tally_sends_to(topology, TRANSFER_COMMANDS);
    tally_aggregate(topology, &(struct tally_aggregate){
                                      .name = "transfer",
                                      .commands = TRANSFER_COMMANDS,
                                      .events = "transfer.events",
                                      .command_types = transfer_command_schemas,
                                      .event_types = transfer_event_schemas,
                                      .evolve_version = EVOLVE_VERSION,
                                      .touch = transfer_touch,
                                      .decide = transfer_decide,
                                      .evolve = transfer_evolve,
                                      .remember = transfer_remember,
                                      .result = transfer_result,
                                      .has_timers = true,
                                      .timers = TALLY_STORE_TRANSFER_TIMER,
                                      .due = transfer_due,
                              });
    return tally_topology_validate(topology, err);
}
