/* tests/topology/saga_fixture.h - a topology that shows what the engine does for sagas, and a
 * driver that runs it. It stands in for "reservation", whose stores it has.
 *
 * Begin {reservation_id, way, ttl_ms, deadline?} is PENDING: an operation row, and a timer that is
 * due ttl_ms after the decision. Its way:
 *   GRANT, REFUSE  sends Step, which ends the operation, ACCEPTED or REJECTED
 *   WAIT           nothing is sent: TimeOut, the timer's command, ends it, REJECTED
 *   STAY           TimeOut changes nothing, so the timer's row stays
 * Step {reservation_id, granted, deadline?} that the engine refuses sends Note, which emits Noted.
 * Clear {reservation_id} ends what WAIT or STAY began, ACCEPTED, and deletes the timer.
 * Count {reservation_id, prefix} emits Counted with the ids of rows that begin so. */
#pragma once
#include "engine/topology_driver.h"

#define SAGA_NOW_MS     INT64_C(1768471200000) /* 2026-01-15T10:00:00.000Z */
#define SAGA_PARTITIONS 2

struct saga_fixture {
    struct tally_config config;
    struct tally_topology *topology;
    struct tally_topology_driver *driver;
};

extern const struct tally_aggregate saga_aggregate;

struct saga_fixture_options {
    bool small_transactions; /* a few records each; every commit flushes */
    bool json_events;
    const char *state_dir; /* NULL: in memory */
};
void saga_fixture_open(struct saga_fixture *fixture, const struct saga_fixture_options *options);
void saga_fixture_close(struct saga_fixture *fixture);
void saga_fixture_run(struct saga_fixture *fixture);     /* fails the test on any error */
void saga_fixture_restart(struct saga_fixture *fixture); /* as by SIGKILL */
/* Appends a command, JSON text, that asks for a reply with this correlation id (data NULL: none).
 */
void saga_fixture_ask(struct saga_fixture *fixture, const char *json,
        struct tally_slice correlation);
/* Begin of `id` with this way and time to live, under the command id b-<id>. */
void saga_fixture_begin(struct saga_fixture *fixture, const char *id, const char *way, int ttl_ms);
/* Text with a NUL behind it; the caller frees it with tally_free. */
char *saga_fixture_records(struct saga_fixture *fixture, const char *topic);
char *saga_fixture_dump(struct saga_fixture *fixture);
/* How often a text stands in the records of a topic. */
size_t saga_fixture_count(struct saga_fixture *fixture, const char *topic, const char *text);
