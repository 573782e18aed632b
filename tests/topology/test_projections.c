/* tests/topology/test_projections.c - projections over the broker in memory.
 *  (1) Whatever goes wrong at whichever call: the same rows, and the changelog restores the same.
 *  (2) A transaction has of each key one record, and a position behind them; that is exact.
 *  (3) What cannot be proved halts; what is complete per key is built again.
 *  (4) Windows close, and are deleted; late events are counted. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "schemas/row_json.h"
#include "schemas/stock_records.h"
#include "tests/topology/driver_fixture.h"
#include "tests/topology/workload.h"

#define RECORDS   24
#define LIVES_MAX 4
#define CALLS_MAX 5000
#define HOUR_MS   INT64_C(3600000)
#define LOW       "tally-low_stock-low_stock-changelog"
#define MOVEMENTS "tally-movements-movement-changelog"

static const char *const names[] = {"catalogue", "stock", "low_stock", "movements", NULL};
static char *clean; /* state of a run without faults */

static void begin(struct driver_fixture *fixture, const char *state_dir)
{
    driver_fixture_open(fixture, &(struct driver_fixture_options){.partitions = 1,
                                         .topologies = names,
                                         .small_transactions = true,
                                         .state_dir = state_dir});
    workload_prepare(fixture);
    workload_pipe(fixture, RECORDS, false);
    driver_fixture_pipe(fixture, "stock.commands",
            "{\"type\":\"ConfigureStock\",\"command_id\":\"low\",\"sku\":\"SKU-0\","
            "\"warehouse\":\"RTM2\",\"low_stock_threshold\":500}");
    driver_fixture_pipe(fixture, "stock.commands",
            "{\"type\":\"ShipStock\",\"command_id\":\"oversold\",\"sku\":\"SKU-0\","
            "\"warehouse\":\"RTM2\",\"quantity\":900,\"shipment_id\":\"s\",\"force\":true}");
}

static struct tally_memory_broker *broker_of(struct driver_fixture *fixture)
{
    return tally_topology_driver_broker(fixture->driver);
}

static void restart(struct driver_fixture *fixture)
{
    struct tally_error err = {.code = TALLY_OK};

    tally_topology_driver_crash(fixture->driver);
    ck_assert_int_eq(tally_topology_driver_start(fixture->driver, &err), TALLY_OK);
}

static void pipe_stock(struct driver_fixture *fixture, const char *json)
{
    driver_fixture_pipe(fixture, "stock.commands", json);
}

/* Without registration, so that nothing has to come first. */
static void open_plain(struct driver_fixture *fixture, const char *state_dir)
{
    driver_fixture_open(fixture, &(struct driver_fixture_options){.partitions = 1,
                                         .topologies = names,
                                         .registration_optional = true,
                                         .state_dir = state_dir});
}

static const char *state_of(struct driver_fixture *fixture, const char *topology)
{
    return tally_topology_driver_state(fixture->driver, topology, 0);
}

struct rows {
    const char *topology;
    struct tally_buf text;
};

static void add_row(void *context, struct tally_slice key, struct tally_slice row)
{
    struct rows *rows = context;
    enum tally_store_id store;

    ck_assert(tally_store_of_key(rows->topology, key, &store));
    tally_key_print(rows->topology, key, &rows->text);
    tally_buf_byte(&rows->text, ' ');
    ck_assert(tally_row_json(rows->topology, tally_store_name(store), row, &rows->text));
    tally_buf_byte(&rows->text, '\n');
}

/* "key json" a line. */
static void expect_rows(struct driver_fixture *fixture, const char *topology, const char *expected)
{
    struct rows rows = {.topology = topology};

    tally_buf_init(&rows.text, 1024 * 1024);
    ck_assert(tally_topology_driver_scan(fixture->driver, topology, 0, add_row, &rows));
    tally_buf_byte(&rows.text, 0);
    ck_assert_str_eq((const char *)rows.text.data, expected);
    tally_buf_deinit(&rows.text);
}

/* --- faults ----------------------------------------------------------------------------------- */

static void run_to_the_end(struct driver_fixture *fixture)
{
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code = tally_topology_driver_run(fixture->driver, &err);

    for (int life = 1; code == TALLY_FENCED && life < LIVES_MAX; life++) {
        tally_topology_driver_crash(fixture->driver);
        code = tally_topology_driver_start(fixture->driver, &err);
        code = code ? code : tally_topology_driver_run(fixture->driver, &err);
    }
    ck_assert_msg(code == TALLY_OK, "%s: %s", tally_code_name(code), err.message);
}

static void expect_clean(struct driver_fixture *fixture, const struct tally_memory_fault *fault,
        const char *when)
{
    char *dump = driver_fixture_dump(fixture);

    ck_assert_msg(!strcmp(dump, clean), "call %llu of %s, %s: state differs:\n%s\nexpected:\n%s",
            (unsigned long long)fault->nth, tally_memory_op_name(fault->op), when, dump, clean);
    tally_free(dump);
}

static void setup(void)
{
    struct driver_fixture fixture;

    begin(&fixture, NULL);
    driver_fixture_run(&fixture);
    clean = driver_fixture_dump(&fixture);
    ck_assert_ptr_nonnull(strstr(clean, "low_stock/0 low_stock 0.SKU-0.RTM2 "));
    ck_assert_ptr_nonnull(strstr(clean, "movements/0 movement "));
    driver_fixture_close(&fixture);
}

static void teardown(void)
{
    tally_free(clean);
}

/* At the n-th call, then everything is lost and comes back from the logs. */
static bool run_with(const struct tally_memory_fault *fault)
{
    struct driver_fixture fixture;
    bool hit;

    begin(&fixture, NULL);
    tally_memory_broker_fault(broker_of(&fixture), fault);
    run_to_the_end(&fixture);
    hit = tally_memory_broker_hits(broker_of(&fixture)) > 0;
    expect_clean(&fixture, fault, "live");
    tally_memory_broker_heal(broker_of(&fixture));
    restart(&fixture);
    driver_fixture_run(&fixture);
    expect_clean(&fixture, fault, "restored");
    driver_fixture_close(&fixture);
    return hit;
}

static void torture(struct tally_memory_fault fault, uint64_t step)
{
    bool hit = true;

    for (fault.nth = 1; hit; fault.nth += step) {
        ck_assert_uint_lt(fault.nth, CALLS_MAX);
        hit = run_with(&fault);
    }
    ck_assert_uint_gt(fault.nth, 1 + step);
}

START_TEST(killed_at_any_call)
{
    torture((struct tally_memory_fault){.op = TALLY_MEMORY_ANY, .kill = true, .happened = _i == 1},
            1);
}
END_TEST

static const struct answer {
    enum tally_memory_op op;
    enum tally_code code;
    bool happened;
} answers[] = {
        {TALLY_MEMORY_BEGIN, TALLY_TXN_ABORTED, false},
        {TALLY_MEMORY_PRODUCE, TALLY_TXN_ABORTED, false},
        {TALLY_MEMORY_PRODUCE, TALLY_TIMEOUT, false},
        {TALLY_MEMORY_PRODUCE, TALLY_DELIVERY_FAILED, true},
        {TALLY_MEMORY_PRODUCE, TALLY_FENCED, true},
        {TALLY_MEMORY_SEND_OFFSETS, TALLY_TXN_ABORTED, false},
        {TALLY_MEMORY_SEND_OFFSETS, TALLY_TIMEOUT, true},
        {TALLY_MEMORY_SEND_OFFSETS, TALLY_FENCED, true},
        {TALLY_MEMORY_COMMIT, TALLY_TIMEOUT, true},
        {TALLY_MEMORY_COMMIT, TALLY_COMMIT_UNKNOWN, false},
        {TALLY_MEMORY_COMMIT, TALLY_COMMIT_UNKNOWN, true},
        {TALLY_MEMORY_COMMIT, TALLY_FENCED, true},
        {TALLY_MEMORY_POLL, TALLY_UNAVAILABLE, false},
};
#define ANSWERS ((int)(sizeof answers / sizeof answers[0]))

START_TEST(any_answer_to_any_call)
{
    torture((struct tally_memory_fault){.op = answers[_i].op,
                    .code = answers[_i].code,
                    .happened = answers[_i].happened},
            1);
}
END_TEST

START_TEST(rebalanced_at_any_call)
{
    torture((struct tally_memory_fault){.op = TALLY_MEMORY_ANY,
                    .rebalance = _i ? TALLY_MEMORY_LOSE : TALLY_MEMORY_REVOKE},
            3);
}
END_TEST

/* Calls of a restore of all tasks from nothing. */
START_TEST(a_fault_while_restoring)
{
    static const struct answer during[] = {
            {TALLY_MEMORY_COMMITTED, TALLY_TIMEOUT, false},
            {TALLY_MEMORY_WATERMARKS, TALLY_TIMEOUT, false},
            {TALLY_MEMORY_POLL, TALLY_UNAVAILABLE, false},
            {TALLY_MEMORY_ANY, TALLY_OK, false}, /* killed */
    };
    struct tally_memory_fault fault = {
            .op = during[_i].op, .code = during[_i].code, .kill = during[_i].code == TALLY_OK};
    bool hit = true;

    for (fault.nth = 1; hit; fault.nth++) {
        struct driver_fixture fixture;

        begin(&fixture, NULL);
        driver_fixture_run(&fixture);
        tally_topology_driver_crash(fixture.driver);
        tally_memory_broker_fault(broker_of(&fixture), &fault);
        ck_assert_int_eq(tally_topology_driver_start(fixture.driver, NULL), TALLY_OK);
        run_to_the_end(&fixture);
        hit = tally_memory_broker_hits(broker_of(&fixture)) > 0;
        expect_clean(&fixture, &fault, "restored");
        driver_fixture_close(&fixture);
        ck_assert_uint_lt(fault.nth, CALLS_MAX);
    }
    ck_assert_uint_gt(fault.nth, 2);
}
END_TEST

/* --- the changelog ---------------------------------------------------------------------------- */

static size_t records_in(struct driver_fixture *fixture, const char *topic, struct tally_slice key)
{
    struct tally_memory_record record;
    int64_t from = 0;
    size_t count = 0;

    while (tally_memory_broker_read(broker_of(fixture), topic, 0, from, &record)) {
        count += tally_slice_equal(record.key, key);
        from = record.offset + 1;
    }
    return count;
}

START_TEST(a_transaction_has_one_record_of_a_key_and_its_position)
{
    static const uint8_t row[] = "A\3S-1\0AMS1";
    struct driver_fixture fixture;

    open_plain(&fixture, NULL);
    pipe_stock(&fixture, "{\"type\":\"ConfigureStock\",\"command_id\":\"c\",\"sku\":\"S-1\","
                         "\"warehouse\":\"AMS1\",\"low_stock_threshold\":3}");
    for (int i = 0; i < 9; i++) {
        char json[256];

        snprintf(json, sizeof json,
                "{\"type\":\"ReceiveStock\",\"command_id\":\"r-%d\",\"sku\":\"S-1\","
                "\"warehouse\":\"AMS1\",\"quantity\":5}",
                i);
        pipe_stock(&fixture, json);
    }
    driver_fixture_run(&fixture);
    ck_assert_uint_eq(records_in(&fixture, LOW, tally_slice_of(row, sizeof row - 1)), 1);
    ck_assert_uint_eq(records_in(&fixture, LOW, tally_slice_of("\0position", 9)), 1);
    expect_rows(&fixture, "low_stock",
            "3.S-1.AMS1 {\"available\":45,\"threshold\":3,\"version\":10,"
            "\"updated_at\":\"2026-01-15T10:00:00.000Z\"}\n");
    expect_rows(&fixture, "movements",
            "0.1768471200000.AMS1.CONFIGURE {\"count\":1,\"quantity\":0}\n"
            "0.1768471200000.AMS1.RECEIVE {\"count\":9,\"quantity\":45}\n"
            "1.1768435200000.AMS1.CONFIGURE {\"count\":1,\"quantity\":0}\n"
            "1.1768435200000.AMS1.RECEIVE {\"count\":9,\"quantity\":45}\n");
    driver_fixture_close(&fixture);
}
END_TEST

/* Every severity, each way, with and without a threshold; a restore gives the same. */
START_TEST(a_level_moves_between_severities)
{
    static const char *const commands[] = {
            "{\"type\":\"ReceiveStock\",\"command_id\":\"1\",\"sku\":\"A\",\"warehouse\":\"AMS1\","
            "\"quantity\":5}",
            "{\"type\":\"ReceiveStock\",\"command_id\":\"2\",\"sku\":\"B\",\"warehouse\":\"AMS1\","
            "\"quantity\":2}",
            "{\"type\":\"ConfigureStock\",\"command_id\":\"3\",\"sku\":\"B\","
            "\"warehouse\":\"AMS1\",\"low_stock_threshold\":3}",
            "{\"type\":\"ReceiveStock\",\"command_id\":\"4\",\"sku\":\"C\",\"warehouse\":\"AMS1\","
            "\"quantity\":2}",
            "{\"type\":\"ShipStock\",\"command_id\":\"5\",\"sku\":\"C\",\"warehouse\":\"AMS1\","
            "\"quantity\":2,\"shipment_id\":\"s\"}",
            "{\"type\":\"ShipStock\",\"command_id\":\"6\",\"sku\":\"D\",\"warehouse\":\"AMS1\","
            "\"quantity\":2,\"shipment_id\":\"s\",\"force\":true}",
            "{\"type\":\"ReceiveStock\",\"command_id\":\"7\",\"sku\":\"E\",\"warehouse\":\"AMS1\","
            "\"quantity\":9}",
            "{\"type\":\"ConfigureStock\",\"command_id\":\"8\",\"sku\":\"E\","
            "\"warehouse\":\"AMS1\",\"low_stock_threshold\":3}",
    };
    static const char expected[] = "0.D.AMS1 {\"available\":-2,\"threshold\":null,\"version\":1,"
                                   "\"updated_at\":\"2026-01-15T10:00:00.000Z\"}\n"
                                   "1.C.AMS1 {\"available\":0,\"threshold\":null,\"version\":2,"
                                   "\"updated_at\":\"2026-01-15T10:00:00.000Z\"}\n"
                                   "2.B.AMS1 {\"available\":2,\"threshold\":3,\"version\":2,"
                                   "\"updated_at\":\"2026-01-15T10:00:00.000Z\"}\n"
                                   "3.E.AMS1 {\"available\":9,\"threshold\":3,\"version\":2,"
                                   "\"updated_at\":\"2026-01-15T10:00:00.000Z\"}\n";
    struct driver_fixture fixture;

    open_plain(&fixture, NULL);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        pipe_stock(&fixture, commands[i]);
        driver_fixture_run(&fixture); /* a transaction each: rows are deleted in the changelog */
    }
    expect_rows(&fixture, "low_stock", expected);
    restart(&fixture);
    driver_fixture_run(&fixture);
    expect_rows(&fixture, "low_stock", expected);
    driver_fixture_close(&fixture);
}
END_TEST

static void reserve(struct driver_fixture *fixture, const char *json)
{
    driver_fixture_pipe(fixture, "reservation.commands", json);
    driver_fixture_run(fixture);
}

/* Confirmed, extended, committed, expired: each leaves the row that its state asks for. */
START_TEST(reservations_stand_at_their_end)
{
    static const char *const all[] = {"catalogue", "stock", "reservation", "expiring", NULL};
    struct driver_fixture fixture;

    driver_fixture_open(&fixture,
            &(struct driver_fixture_options){
                    .partitions = 1, .topologies = all, .registration_optional = true});
    pipe_stock(&fixture, "{\"type\":\"ReceiveStock\",\"command_id\":\"s\",\"sku\":\"A\","
                         "\"warehouse\":\"AMS1\",\"quantity\":10}");
    reserve(&fixture, "{\"type\":\"ReserveStock\",\"command_id\":\"1\",\"reservation_id\":\"R-1\","
                      "\"owner\":\"cart:9\",\"lines\":[{\"sku\":\"A\",\"quantity\":3}]}");
    reserve(&fixture, "{\"type\":\"ReserveStock\",\"command_id\":\"2\",\"reservation_id\":\"R-2\","
                      "\"ttl_s\":60,\"lines\":[{\"sku\":\"A\",\"quantity\":2}]}");
    expect_rows(&fixture, "expiring",
            "1768471260000.R-2 {\"version\":2,\"lines\":1,\"units\":2,\"owner\":null}\n"
            "1768472100000.R-1 {\"version\":2,\"lines\":1,\"units\":3,\"owner\":\"cart:9\"}\n");
    reserve(&fixture, "{\"type\":\"ExtendReservation\",\"command_id\":\"3\","
                      "\"reservation_id\":\"R-2\",\"ttl_s\":3600}");
    reserve(&fixture, "{\"type\":\"CommitReservation\",\"command_id\":\"4\","
                      "\"reservation_id\":\"R-1\",\"order_id\":\"O\"}");
    expect_rows(&fixture, "expiring",
            "1768474800000.R-2 {\"version\":3,\"lines\":1,\"units\":2,\"owner\":null}\n");
    restart(&fixture);
    driver_fixture_run(&fixture);
    expect_rows(&fixture, "expiring",
            "1768474800000.R-2 {\"version\":3,\"lines\":1,\"units\":2,\"owner\":null}\n");
    tally_topology_driver_advance(fixture.driver, HOUR_MS + 1);
    driver_fixture_run(&fixture);
    expect_rows(&fixture, "expiring", "");
    driver_fixture_close(&fixture);
}
END_TEST

/* --- what cannot be proved -------------------------------------------------------------------- */

static void ship_one(struct driver_fixture *fixture, const char *id)
{
    char json[256];

    snprintf(json, sizeof json,
            "{\"type\":\"ShipStock\",\"command_id\":\"%s\",\"sku\":\"A\",\"warehouse\":\"AMS1\","
            "\"quantity\":1,\"shipment_id\":\"s\",\"force\":true}",
            id);
    pipe_stock(fixture, json);
    driver_fixture_run(fixture);
}

static void two_events(struct driver_fixture *fixture, const char *state_dir)
{
    open_plain(fixture, state_dir);
    ship_one(fixture, "1");
    ship_one(fixture, "2");
}

static void expect_halt(struct driver_fixture *fixture, const char *code)
{
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_int_eq(tally_topology_driver_start(fixture->driver, &err), TALLY_OK);
    driver_fixture_run(fixture);
    ck_assert_str_eq(state_of(fixture, "low_stock"), code);
    ck_assert_str_eq(state_of(fixture, "movements"), "RUNNING");
    ck_assert_str_eq(state_of(fixture, "stock"), "RUNNING");
    driver_fixture_close(fixture);
}

START_TEST(an_offset_without_a_position_halts)
{
    struct driver_fixture fixture;

    two_events(&fixture, NULL);
    tally_topology_driver_crash(fixture.driver);
    tally_memory_broker_recreate(broker_of(&fixture), LOW, 0);
    expect_halt(&fixture, "CHANGELOG_EMPTY");
}
END_TEST

START_TEST(an_offset_beyond_the_position_halts)
{
    struct driver_fixture fixture;
    int64_t end;

    two_events(&fixture, NULL);
    end = tally_memory_broker_end(broker_of(&fixture), "stock.events", 0);
    tally_topology_driver_crash(fixture.driver);
    tally_memory_broker_set_committed(broker_of(&fixture), "tally-low_stock", "stock.events", 0,
            end);
    expect_halt(&fixture, "CHANGELOG_BEHIND");
}
END_TEST

START_TEST(an_offset_before_the_position_halts)
{
    struct driver_fixture fixture;

    two_events(&fixture, NULL);
    tally_topology_driver_crash(fixture.driver);
    tally_memory_broker_set_committed(broker_of(&fixture), "tally-low_stock", "stock.events", 0, 1);
    expect_halt(&fixture, "OFFSETS_BEHIND");
}
END_TEST

START_TEST(a_lost_offset_halts)
{
    struct driver_fixture fixture;

    two_events(&fixture, NULL);
    tally_topology_driver_crash(fixture.driver);
    tally_memory_broker_set_committed(broker_of(&fixture), "tally-low_stock", "stock.events", 0,
            TALLY_OFFSET_NONE);
    expect_halt(&fixture, "OFFSETS_LOST");
}
END_TEST

/* There are no dead letters to put the event into: its rows are the trouble. */
START_TEST(a_changelog_without_room_ends_the_run)
{
    struct driver_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};

    two_events(&fixture, NULL);
    tally_memory_broker_limit(broker_of(&fixture), LOW, 20);
    pipe_stock(&fixture, "{\"type\":\"ShipStock\",\"command_id\":\"3\",\"sku\":\"A\","
                         "\"warehouse\":\"AMS1\",\"quantity\":1,\"shipment_id\":\"s\","
                         "\"force\":true}");
    ck_assert_int_eq(tally_topology_driver_run(fixture.driver, &err), TALLY_TOPIC_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, LOW));
    driver_fixture_close(&fixture);
}
END_TEST

START_TEST(an_event_of_a_newer_release_halts_and_a_foreign_one_is_skipped)
{
    static const char unknown[] =
            "{\"id\":\"stock/0@77\",\"type\":\"StockTeleported\",\"version\":\"1.0\","
            "\"source\":\"tally/stock\",\"time\":\"2026-01-15T10:00:00.000Z\","
            "\"causation_id\":\"x\",\"payload\":{\"outcome\":{\"command\":\"T\","
            "\"fingerprint\":\"00\",\"status\":\"ACCEPTED\"}}}";
    struct driver_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};

    two_events(&fixture, NULL);
    tally_topology_driver_pipe(fixture.driver, "stock.events", 0, TALLY_SLICE("A"),
            TALLY_SLICE("foreign"), NULL, 0);
    driver_fixture_run(&fixture);
    ship_one(&fixture, "3");
    expect_rows(&fixture, "low_stock",
            "0.A.AMS1 {\"available\":-3,\"threshold\":null,\"version\":3,"
            "\"updated_at\":\"2026-01-15T10:00:00.000Z\"}\n");
    tally_topology_driver_pipe(fixture.driver, "stock.events", 0, TALLY_SLICE("A"),
            tally_slice_string(unknown), NULL, 0);
    ck_assert_int_eq(tally_topology_driver_run(fixture.driver, &err), TALLY_OK);
    ck_assert_str_eq(state_of(&fixture, "low_stock"), "EVENT_UNKNOWN");
    ck_assert_str_eq(state_of(&fixture, "movements"), "EVENT_UNKNOWN");
    ck_assert_str_eq(state_of(&fixture, "stock"), "RUNNING");
    driver_fixture_close(&fixture);
}
END_TEST

static void look(struct driver_fixture *fixture)
{
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_int_eq(tally_topology_driver_watch(fixture->driver, &err), TALLY_OK);
    tally_topology_driver_advance(fixture->driver, 2000); /* upkeep takes what it has found */
    ck_assert_int_eq(tally_topology_driver_run(fixture->driver, &err), TALLY_OK);
}

/* The watch over positions reads a partition that three tasks have records in. */
START_TEST(events_that_were_made_anew_halt_who_reads_them)
{
    struct driver_fixture fixture;

    two_events(&fixture, NULL);
    look(&fixture);
    ship_one(&fixture, "3");
    look(&fixture);
    look(&fixture);
    ck_assert_str_eq(state_of(&fixture, "low_stock"), "RUNNING");
    ck_assert_str_eq(state_of(&fixture, "movements"), "RUNNING");
    tally_memory_broker_recreate(broker_of(&fixture), "stock.events", 0);
    for (int i = 0; i < 9; i++) {
        tally_topology_driver_pipe(fixture.driver, "stock.events", 0, TALLY_SLICE("A"),
                TALLY_SLICE("foreign"), NULL, 0);
    }
    look(&fixture);
    look(&fixture);
    ck_assert_str_eq(state_of(&fixture, "low_stock"), "TOPIC_RECREATED");
    ck_assert_str_eq(state_of(&fixture, "movements"), "TOPIC_RECREATED");
    ck_assert_str_eq(state_of(&fixture, "stock"), "TOPIC_RECREATED");
    driver_fixture_close(&fixture);
}
END_TEST

/* --- what is built again ---------------------------------------------------------------------- */

static void remove_directory(const char *path)
{
    char command[512];

    snprintf(command, sizeof command, "rm -rf '%s'", path);
    ck_assert_int_eq(system(command), 0);
}

static bool was_set_aside(const char *dir)
{
    char command[512];

    snprintf(command, sizeof command, "ls -d '%s'/low_stock/0.aside-* >/dev/null 2>&1", dir);
    return system(command) == 0;
}

/* 0: a state that is young enough goes on with the tail; 1: older than deletions are kept, so what
 * was deleted meanwhile may be missing as a deletion. */
START_TEST(an_old_state_is_built_again)
{
    char dir[] = "/tmp/tally-projections-XXXXXX";
    struct driver_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_ptr_nonnull(mkdtemp(dir));
    two_events(&fixture, dir);
    tally_topology_driver_stop(fixture.driver);
    tally_topology_driver_advance(fixture.driver, (_i ? 25 : 23) * HOUR_MS);
    ck_assert_int_eq(tally_topology_driver_start(fixture.driver, &err), TALLY_OK);
    driver_fixture_run(&fixture);
    ck_assert_int_eq(was_set_aside(dir), _i);
    expect_rows(&fixture, "low_stock",
            "0.A.AMS1 {\"available\":-2,\"threshold\":null,\"version\":2,"
            "\"updated_at\":\"2026-01-15T10:00:00.000Z\"}\n");
    driver_fixture_close(&fixture);
    remove_directory(dir);
}
END_TEST

/* The state's last record was compacted away: no check, and no halt. */
START_TEST(a_changelog_that_was_compacted_restores)
{
    char dir[] = "/tmp/tally-projections-XXXXXX";
    struct driver_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};
    int64_t end;

    ck_assert_ptr_nonnull(mkdtemp(dir));
    two_events(&fixture, dir);
    end = tally_memory_broker_end(broker_of(&fixture), LOW, 0);
    tally_topology_driver_stop(fixture.driver);
    tally_memory_broker_truncate(broker_of(&fixture), LOW, 0, end - 3);
    ck_assert_int_eq(tally_topology_driver_start(fixture.driver, &err), TALLY_OK);
    ship_one(&fixture, "3");
    expect_rows(&fixture, "low_stock",
            "0.A.AMS1 {\"available\":-3,\"threshold\":null,\"version\":3,"
            "\"updated_at\":\"2026-01-15T10:00:00.000Z\"}\n");
    remove_directory(dir);
    restart(&fixture);
    driver_fixture_run(&fixture);
    expect_rows(&fixture, "low_stock",
            "0.A.AMS1 {\"available\":-3,\"threshold\":null,\"version\":3,"
            "\"updated_at\":\"2026-01-15T10:00:00.000Z\"}\n");
    driver_fixture_close(&fixture);
}
END_TEST

/* --- windows ---------------------------------------------------------------------------------- */

START_TEST(windows_close_and_are_deleted)
{
    struct driver_fixture fixture;

    two_events(&fixture, NULL);
    tally_topology_driver_advance(fixture.driver, HOUR_MS);
    ship_one(&fixture, "3");
    expect_rows(&fixture, "movements",
            "0.1768471200000.AMS1.SHIP {\"count\":2,\"quantity\":2}\n"
            "0.1768474800000.AMS1.SHIP {\"count\":1,\"quantity\":1}\n"
            "1.1768435200000.AMS1.SHIP {\"count\":3,\"quantity\":3}\n");
    tally_topology_driver_advance(fixture.driver, 14 * 24 * HOUR_MS);
    ship_one(&fixture, "4");
    expect_rows(&fixture, "movements",
            "0.1768474800000.AMS1.SHIP {\"count\":1,\"quantity\":1}\n"
            "0.1769684400000.AMS1.SHIP {\"count\":1,\"quantity\":1}\n"
            "1.1768435200000.AMS1.SHIP {\"count\":3,\"quantity\":3}\n"
            "1.1769644800000.AMS1.SHIP {\"count\":1,\"quantity\":1}\n");
    restart(&fixture);
    driver_fixture_run(&fixture);
    expect_rows(&fixture, "movements",
            "0.1768474800000.AMS1.SHIP {\"count\":1,\"quantity\":1}\n"
            "0.1769684400000.AMS1.SHIP {\"count\":1,\"quantity\":1}\n"
            "1.1768435200000.AMS1.SHIP {\"count\":3,\"quantity\":3}\n"
            "1.1769644800000.AMS1.SHIP {\"count\":1,\"quantity\":1}\n");
    driver_fixture_close(&fixture);
}
END_TEST

static bool was_counted(const char *series)
{
    struct tally_buf text;
    bool found;

    tally_buf_init(&text, 1024 * 1024);
    tally_metrics_print(&text);
    tally_buf_byte(&text, 0);
    found = strstr((const char *)text.data, series) != NULL;
    tally_buf_deinit(&text);
    return found;
}

/* An event that says an earlier time than stream time less size and grace. */
START_TEST(late_events_are_counted_and_taken_where_a_window_is_open)
{
    struct driver_fixture fixture;
    struct tally_memory_record first;
    struct tally_buf copy;

    two_events(&fixture, NULL);
    ck_assert(tally_memory_broker_read(broker_of(&fixture), "stock.events", 0, 0, &first));
    tally_buf_init(&copy, 65536);
    tally_buf_slice(&copy, first.value);
    tally_topology_driver_advance(fixture.driver, 2 * HOUR_MS);
    ship_one(&fixture, "3");
    tally_topology_driver_pipe(fixture.driver, "stock.events", 0, TALLY_SLICE("A"),
            tally_buf_bytes(&copy), NULL, 0);
    driver_fixture_run(&fixture);
    expect_rows(&fixture, "movements",
            "0.1768471200000.AMS1.SHIP {\"count\":2,\"quantity\":2}\n"
            "0.1768478400000.AMS1.SHIP {\"count\":1,\"quantity\":1}\n"
            "1.1768435200000.AMS1.SHIP {\"count\":4,\"quantity\":4}\n");
    ck_assert(was_counted("tally_late_events_total{topology=\"movements\",window=\"hour\"} 1\n"));
    tally_buf_deinit(&copy);
    driver_fixture_close(&fixture);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("projections");
    TCase *faults = tcase_create("every call"), *rest = tcase_create("changelog and windows");
    SRunner *runner;
    int failed;

    tcase_set_timeout(faults, 110);
    tcase_add_checked_fixture(faults, setup, teardown);
    tcase_add_loop_test(faults, killed_at_any_call, 0, 2);
    tcase_add_loop_test(faults, any_answer_to_any_call, 0, ANSWERS);
    tcase_add_loop_test(faults, rebalanced_at_any_call, 0, 2);
    tcase_add_loop_test(faults, a_fault_while_restoring, 0, 4);
    suite_add_tcase(suite, faults);
    tcase_add_test(rest, a_transaction_has_one_record_of_a_key_and_its_position);
    tcase_add_test(rest, a_level_moves_between_severities);
    tcase_add_test(rest, reservations_stand_at_their_end);
    tcase_add_test(rest, an_offset_without_a_position_halts);
    tcase_add_test(rest, an_offset_beyond_the_position_halts);
    tcase_add_test(rest, an_offset_before_the_position_halts);
    tcase_add_test(rest, a_lost_offset_halts);
    tcase_add_test(rest, a_changelog_without_room_ends_the_run);
    tcase_add_test(rest, an_event_of_a_newer_release_halts_and_a_foreign_one_is_skipped);
    tcase_add_test(rest, events_that_were_made_anew_halt_who_reads_them);
    tcase_add_loop_test(rest, an_old_state_is_built_again, 0, 2);
    tcase_add_test(rest, a_changelog_that_was_compacted_restores);
    tcase_add_test(rest, windows_close_and_are_deleted);
    tcase_add_test(rest, late_events_are_counted_and_taken_where_a_window_is_open);
    suite_add_tcase(suite, rest);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
