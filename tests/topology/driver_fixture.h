/* tests/topology/driver_fixture.h - a driver with catalogue and stock, or with others of the
 * registry, and default settings. */
#pragma once
#include "engine/topology_driver.h"

#define FIXTURE_TOPOLOGIES 8                      /* at most */
#define FIXTURE_NOW_MS     INT64_C(1768471200000) /* 2026-01-15T10:00:00.000Z */

struct driver_fixture {
    struct tally_config config;
    struct tally_topology *topologies[FIXTURE_TOPOLOGIES];
    size_t topology_count;
    struct tally_topology_driver *driver;
};

struct driver_fixture_options {
    int32_t partitions;
    const char *const *topologies; /* names, ending with NULL; NULL: catalogue and stock */
    bool registration_optional;
    bool json_events;
    bool no_outcomes, no_ledger; /* dedup.retention 0; stock.ledger false */
    bool small_transactions; /* a few records each, so that a run has many; every commit flushes */
    const char *state_dir;   /* NULL: in memory */
};
void driver_fixture_open(struct driver_fixture *fixture,
        const struct driver_fixture_options *options);
void driver_fixture_close(struct driver_fixture *fixture);
/* Other settings for the next start; the driver is stopped. partitions and state_dir stay. */
void driver_fixture_configure(struct driver_fixture *fixture,
        const struct driver_fixture_options *options);

/* Appends a command as JSON text; fails the test if the broker does not take it. */
void driver_fixture_pipe(struct driver_fixture *fixture, const char *topic, const char *json);
/* Runs until nothing is left to do; fails the test on any error. */
void driver_fixture_run(struct driver_fixture *fixture);

/* Text with a NUL behind it, as C code compares it. The caller frees it with tally_free. */
char *driver_fixture_records(struct driver_fixture *fixture, const char *topic);
char *driver_fixture_dump(struct driver_fixture *fixture);
