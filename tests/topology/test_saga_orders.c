/* tests/topology/test_saga_orders.c - sagas whose messages arrive in any order and late, whose
 * process is killed at any call: nobody is left waiting, nothing is held that no reservation owns,
 * what has ended stays as it ended, and no unit is lost. Each seed is another run; it is printed
 * when it fails, and SAGA_SEED=n runs it alone. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "apps/fsck_check.h"
#include "engine/base/mem.h"
#include "http/row_line.h"
#include "schemas/reservation_records.h"
#include "schemas/transfer_records.h"
#include "tests/topology/faulty_disk.h"
#include "tests/topology/saga_workload.h"

#define SEEDS      100
#define DISK_SEEDS 8
#define STARTS_MAX 50
#define ROUNDS     30
#define PARTITIONS 4
#define LINE_BYTES (1024 * 1024)
#define SETTLE_MAX 20000
#define SETTLE_MS  50
#define LONG_MS    (600 * 1000) /* beyond every ttl and time out */
#define SLOW_MS    40000        /* longer than a saga waits */

static const char *const topologies[] = {"stock", "reservation", "transfer", NULL};

struct run {
    unsigned seed;
    struct driver_fixture fixture;
    struct saga_workload workload;
    struct sim_random faults;
    uint32_t slow; /* per million: markers that take longer than a saga waits */
};

/* What all runs together have seen: a test that meets no retry proves nothing of it. */
static uint64_t seen[RESERVATION_EVENT_TYPES], timed_out;

/* --- delivery --------------------------------------------------------------------------------- */

/* Other topics' records become visible before, after, or long after this one's. */
static int64_t some_delay(void *context)
{
    struct run *run = context;

    if (sim_random_chance(&run->faults, run->slow)) {
        return SLOW_MS;
    }
    return sim_random_below(&run->faults, 3) ? 0 : sim_random_below(&run->faults, 400);
}

static struct tally_memory_broker *broker_of(struct run *run)
{
    return tally_topology_driver_broker(run->fixture.driver);
}

/* Lives one after the other, until one comes to rest and everything that was written is visible. */
static void come_to_rest(struct run *run)
{
    struct tally_error err = {.code = TALLY_OK};
    bool rested = false;

    for (int turns = 0; !rested; turns++) {
        bool visible = tally_memory_broker_open_transactions(broker_of(run)) == 0;
        enum tally_code code = tally_topology_driver_run(run->fixture.driver, &err);

        if (code == TALLY_FENCED) {
            tally_topology_driver_crash(run->fixture.driver);
            code = tally_topology_driver_start(run->fixture.driver, &err);
        } else if (!visible || tally_memory_broker_open_transactions(broker_of(run)) > 0) {
            tally_topology_driver_advance(run->fixture.driver, SETTLE_MS);
            tally_memory_broker_sweep(broker_of(run));
        } else {
            rested = true;
        }
        ck_assert_msg(code == TALLY_OK, "seed %u: %s: %s", run->seed, tally_code_name(code),
                err.message);
        ck_assert_msg(turns < SETTLE_MAX, "seed %u: it does not settle", run->seed);
    }
}

static void kill_somewhere(struct run *run)
{
    struct tally_memory_fault fault = {.op = TALLY_MEMORY_ANY,
            .nth = 1 + sim_random_below(&run->faults, 60),
            .happened = sim_random_below(&run->faults, 2),
            .kill = true};

    tally_memory_broker_fault(broker_of(run), &fault);
}

/* Dies, and starts on its directory, of which some reads fail. */
static void start_on_bad_disk(struct run *run, const char *path)
{
    struct disk_fault fault = {.call = DISK_READ,
            .effect = DISK_EIO,
            .nth = 1 + sim_random_below(&run->faults, 40),
            .count = 1 + sim_random_below(&run->faults, 3)};
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code = TALLY_STUCK;

    tally_topology_driver_crash(run->fixture.driver);
    faulty_disk_set(path, &fault);
    for (int i = 0; i < STARTS_MAX && code; i++) { /* a supervisor tries again */
        code = tally_topology_driver_start(run->fixture.driver, &err);
    }
    ck_assert_msg(code == TALLY_OK, "seed %u: %s", run->seed, err.message);
}

/* --- checks ----------------------------------------------------------------------------------- */

struct rows {
    struct run *run;
    struct fsck_check *check;
    const char *topology;
    int32_t partition;
    struct tally_buf line;
};

static void differs(void *context, const char *text)
{
    ck_abort_msg("seed %u: %s", ((struct run *)context)->seed, text);
}

/* Nothing waits for anybody any more: no operation, no timer, no hold that is not of an order. */
static void check_row(void *context, struct tally_slice key, struct tally_slice row)
{
    struct rows *rows = context;
    struct tally_error err = {.code = TALLY_OK};
    enum tally_store_id store;

    ck_assert(tally_store_of_key(rows->topology, key, &store));
    tally_buf_clear(&rows->line);
    ck_assert(tally_row_line_write(rows->topology, rows->partition, key, row, &rows->line));
    ck_assert_msg(strcmp(tally_store_name(store), "operation") &&
                          strcmp(tally_store_name(store), "timer"),
            "seed %u: %.*s", rows->run->seed, (int)rows->line.len, (const char *)rows->line.data);
    ck_assert_msg(fsck_check_row(rows->check, tally_buf_bytes(&rows->line), &err) == TALLY_OK,
            "seed %u: %s", rows->run->seed, err.message);
}

static void check_state(struct run *run)
{
    struct rows rows = {.run = run,
            .check = fsck_check_create(&(struct fsck_check_options){
                    .differs = differs, .context = run})};

    tally_buf_init(&rows.line, LINE_BYTES);
    for (size_t i = 0; topologies[i]; i++) {
        rows.topology = topologies[i];
        for (rows.partition = 0; rows.partition < PARTITIONS; rows.partition++) {
            ck_assert(tally_topology_driver_scan(run->fixture.driver, rows.topology, rows.partition,
                    check_row, &rows));
        }
    }
    fsck_check_finish(rows.check, true);
    fsck_check_destroy(rows.check);
    tally_buf_deinit(&rows.line);
}

/* Number behind the dash of "R-7". */
static uint32_t number_of(struct tally_slice id)
{
    int64_t number;

    ck_assert(id.len > 2 && tally_parse_int(tally_slice_of(id.data + 2, id.len - 2), &number));
    return (uint32_t)number;
}

/* I6, from the log: an ended one has no further fact, and one that was committed never expires. */
static void check_event(struct run *run, const struct tally_event *event, uint8_t *states,
        int64_t *versions)
{
    const struct reservation_event *body = event->body;
    uint32_t number = number_of(event->key);

    if (!event->schema) {
        return;
    }
    ck_assert_uint_lt(number, SAGA_RESERVATIONS);
    seen[event->schema->id]++;
    timed_out += event->rejection.code == TALLY_REJECT_OPERATION_TIMED_OUT;
    ck_assert_msg(body->version == versions[number] + 1, "seed %u: R-%u version", run->seed,
            number);
    ck_assert_msg(body->version == 1 || states[number] < RESERVATION_FULFILLED,
            "seed %u: R-%u was %s, now %s", run->seed, number,
            reservation_state_names[states[number]], reservation_state_names[body->state]);
    ck_assert_msg(body->state != RESERVATION_EXPIRED || states[number] == RESERVATION_CONFIRMED,
            "seed %u: R-%u expired as %s", run->seed, number,
            reservation_state_names[states[number]]);
    states[number] = body->state;
    versions[number] = body->version;
}

static uint32_t check_log(struct run *run)
{
    uint8_t states[SAGA_RESERVATIONS] = {0};
    int64_t versions[SAGA_RESERVATIONS] = {0};
    struct tally_arena arena;
    uint32_t ended = 0;

    tally_arena_init(&arena, LINE_BYTES);
    for (int32_t partition = 0; partition < PARTITIONS; partition++) {
        struct tally_memory_record record;

        for (int64_t at = 0; tally_memory_broker_read(broker_of(run), "reservation.events",
                     partition, at, &record);
                at = record.offset + 1) {
            struct tally_event event;

            ck_assert_int_eq(tally_event_decode(record.value, record.key, "reservation", partition,
                                     reservation_event_schemas, &arena, &event, NULL),
                    TALLY_OK);
            check_event(run, &event, states, versions);
        }
    }
    tally_arena_deinit(&arena);
    for (size_t i = 0; i < SAGA_RESERVATIONS; i++) {
        ck_assert_msg(versions[i] == 0 || states[i] == RESERVATION_COMMITTED ||
                              states[i] >= RESERVATION_FULFILLED,
                "seed %u: R-%zu is %s", run->seed, i, reservation_state_names[states[i]]);
        ended += versions[i] > 0;
    }
    return ended;
}

/* --- runs ------------------------------------------------------------------------------------- */

static void run_seed(unsigned seed, bool kills, const char *path)
{
    struct run run = {.seed = seed,
            .workload.random.state = seed,
            .faults.state = ~(uint64_t)seed,
            .slow = seed % 3 ? 0 : 20000};

    driver_fixture_open(&run.fixture, &(struct driver_fixture_options){.partitions = PARTITIONS,
                                              .topologies = topologies,
                                              .state_dir = path,
                                              .registration_optional = true,
                                              .small_transactions = seed % 2});
    tally_memory_broker_set_hooks(broker_of(&run),
            &(struct tally_memory_hooks){.context = &run, .marker_delay_ms = some_delay});
    saga_workload_stock(&run.workload, &run.fixture);
    for (int round = 0; round < ROUNDS; round++) {
        saga_workload_pipe(&run.workload, &run.fixture);
        if (kills && sim_random_below(&run.faults, 2)) {
            kill_somewhere(&run);
        }
        if (path) {
            start_on_bad_disk(&run, path);
        }
        come_to_rest(&run);
        faulty_disk_heal();
        tally_topology_driver_advance(run.fixture.driver, sim_random_below(&run.faults, 20000));
    }
    tally_memory_broker_heal(broker_of(&run));
    run.slow = 0;
    tally_topology_driver_advance(run.fixture.driver, LONG_MS);
    come_to_rest(&run);
    tally_topology_driver_advance(run.fixture.driver, LONG_MS);
    come_to_rest(&run);
    check_state(&run);
    ck_assert_uint_gt(check_log(&run), SAGA_RESERVATIONS / 2);
    driver_fixture_close(&run.fixture);
}

static void run_seeds(bool kills)
{
    const char *wanted = getenv("SAGA_SEED");

    if (wanted) {
        run_seed((unsigned)strtoul(wanted, NULL, 10), kills, NULL);
        return;
    }
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        run_seed(seed, kills, NULL);
    }
    for (uint32_t type = 0; type < RESERVATION_EVENT_TYPES; type++) {
        ck_assert_msg(seen[type] > 0, "no %s", reservation_event_schemas[type]->name);
    }
    ck_assert_uint_gt(timed_out, 0);
}

START_TEST(messages_in_any_order)
{
    run_seeds(false);
}
END_TEST

START_TEST(killed_anywhere)
{
    run_seeds(true);
}
END_TEST

/* What decide cannot read looks absent to it: whatever it makes of that is thrown away. */
START_TEST(reads_that_fail)
{
    uint64_t hits = 0;

    for (unsigned seed = 1; seed <= DISK_SEEDS; seed++) {
        char path[] = "/dev/shm/tally-sagas-XXXXXX";
        char command[64];

        ck_assert_ptr_nonnull(mkdtemp(path));
        run_seed(seed, false, path);
        hits += faulty_disk_hits();
        snprintf(command, sizeof command, "rm -rf '%s'", path);
        ck_assert_int_eq(system(command), 0);
    }
    ck_assert_uint_gt(hits, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("saga_orders");
    TCase *tests = tcase_create("saga_orders");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tests, 500);
    tcase_add_test(tests, messages_in_any_order);
    tcase_add_test(tests, killed_anywhere);
    tcase_add_test(tests, reads_that_fail);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
