/* topologies/reservation/reservation_topology.c - one writer per reservation: a saga over the SKUs
 * that it wants.
 *   reservation.commands --decide--> reservation.events
 *                        --evolve--> reservation, line, operation, timer, dedup
 *                              \--> stock.commands (Hold-, Confirm-, Commit-, ReleaseHold)
 *                              \--> reservation.commands (TimeOut, ExpireReservation, when due)
 * Invariants
 *  (1) A reservation ends once: FULFILLED, FAILED, RELEASED and EXPIRED have no successor.
 *  (2) CONFIRMED: every line is held. FAILED, RELEASED, EXPIRED: of what was held or asked for,
 *      everything has been given back by a message of the same transaction.
 *  (3) While it waits for others (HOLDING) or for its time (CONFIRMED) it has one timer, else none.
 */
#include "topologies/reservation/reservation_topology.h"

#include "topologies/reservation/reservation_internal.h"

#define EVOLVE_VERSION 1

enum tally_code tally_reservation_build(struct tally_topology *topology,
        const struct tally_config *config, struct tally_error *err)
{
    tally_store(topology, TALLY_STORE_RESERVATION, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_RESERVATION_LINE, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_RESERVATION_OPERATION, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_RESERVATION_TIMER, TALLY_EVENT_SOURCED);
    tally_store_if(topology, TALLY_STORE_DEDUP, config->dedup_retention > 0);
    tally_sends_to(topology, RESERVATION_STOCK_COMMANDS);
    tally_sends_to(topology, RESERVATION_COMMANDS);
    tally_aggregate(topology, &(struct tally_aggregate){
                                      .name = "reservation",
                                      .commands = RESERVATION_COMMANDS,
                                      .events = "reservation.events",
                                      .command_types = reservation_command_schemas,
                                      .event_types = reservation_event_schemas,
                                      .evolve_version = EVOLVE_VERSION,
                                      .touch = reservation_touch,
                                      .decide = reservation_decide,
                                      .evolve = reservation_evolve,
                                      .remember = reservation_remember,
                                      .result = reservation_result,
                                      .positions = reservation_positions,
                                      .has_timers = true,
                                      .timers = TALLY_STORE_RESERVATION_TIMER,
                                      .due = reservation_due,
                              });
    return tally_topology_validate(topology, err);
}
