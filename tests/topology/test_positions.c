/* tests/topology/test_positions.c - a position that cannot be proved halts its task with a named
 * error, and nothing is skipped; limits of quantities; a setting that changed. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "tests/topology/workload.h"

#define RECORDS 30
#define GROUP   "tally"

static struct driver_fixture fixture;
static char path[64];

static void remove_directory(void)
{
    char command[512];

    snprintf(command, sizeof command, "rm -rf '%s'", path);
    ck_assert_int_eq(system(command), 0);
}

static void open_fixture(bool on_disk)
{
    driver_fixture_open(&fixture,
            &(struct driver_fixture_options){.partitions = 1, .state_dir = on_disk ? path : NULL});
    workload_prepare(&fixture);
    workload_pipe(&fixture, RECORDS, false);
    driver_fixture_run(&fixture);
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock", 0), "RUNNING");
}

static void setup(void)
{
    snprintf(path, sizeof path, "/tmp/tally-positions-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
}

static void teardown(void)
{
    driver_fixture_close(&fixture);
    remove_directory();
}

static struct tally_memory_broker *broker(void)
{
    return tally_topology_driver_broker(fixture.driver);
}

static void restart(void)
{
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_msg(tally_topology_driver_start(fixture.driver, &err) == TALLY_OK, "%s", err.message);
    driver_fixture_run(&fixture);
}

static void halts_with(const char *code)
{
    restart();
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock", 0), code);
    /* the other topology goes on */
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "catalogue", 0), "RUNNING");
}

START_TEST(events_gone_and_no_state)
{
    open_fixture(false);
    tally_topology_driver_stop(fixture.driver);
    tally_memory_broker_truncate(broker(), "stock.events", 0, 3);
    halts_with("EVENTS_INCOMPLETE");
}
END_TEST

START_TEST(events_gone_that_the_state_has)
{
    open_fixture(true);
    tally_topology_driver_stop(fixture.driver);
    tally_memory_broker_truncate(broker(), "stock.events", 0, 3);
    restart();
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock", 0), "RUNNING");
}
END_TEST

START_TEST(a_group_that_was_rewound)
{
    open_fixture(true);
    tally_topology_driver_stop(fixture.driver);
    tally_memory_broker_set_committed(broker(), GROUP, "stock.commands", 0, 2);
    halts_with("OFFSETS_BEHIND");
}
END_TEST

START_TEST(a_group_that_lost_its_offset)
{
    open_fixture(false);
    tally_topology_driver_stop(fixture.driver);
    tally_memory_broker_set_committed(broker(), GROUP, "stock.commands", 0, TALLY_OFFSET_NONE);
    halts_with("OFFSETS_LOST");
}
END_TEST

START_TEST(a_group_beyond_the_end)
{
    open_fixture(true);
    tally_topology_driver_stop(fixture.driver);
    tally_memory_broker_set_committed(broker(), GROUP, "stock.commands", 0, 1000);
    halts_with("INPUT_LOST");
}
END_TEST

START_TEST(commands_consumed_without_an_event)
{
    open_fixture(true);
    tally_topology_driver_stop(fixture.driver);
    driver_fixture_pipe(&fixture, "stock.commands",
            "{\"type\":\"ReceiveStock\",\"command_id\":\"new\",\"sku\":\"SKU-1\","
            "\"warehouse\":\"AMS1\",\"quantity\":1}");
    tally_memory_broker_set_committed(broker(), GROUP, "stock.commands", 0,
            tally_memory_broker_end(broker(), "stock.commands", 0));
    halts_with("EVENTS_LOST");
}
END_TEST

START_TEST(a_halted_task_goes_on_when_its_cause_is_gone)
{
    int64_t committed;

    open_fixture(true);
    tally_topology_driver_stop(fixture.driver);
    committed = tally_memory_broker_committed(broker(), GROUP, "stock.commands", 0);
    tally_memory_broker_set_committed(broker(), GROUP, "stock.commands", 0, 2);
    halts_with("OFFSETS_BEHIND");
    tally_memory_broker_set_committed(broker(), GROUP, "stock.commands", 0, committed);
    tally_topology_driver_advance(fixture.driver, 60000);
    driver_fixture_run(&fixture);
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock", 0), "RUNNING");
}
END_TEST

START_TEST(foreign_events_are_ignored)
{
    char *before, *after;

    open_fixture(false);
    before = driver_fixture_dump(&fixture);
    tally_topology_driver_stop(fixture.driver);
    ck_assert_int_ge(tally_topology_driver_pipe(fixture.driver, "stock.events", 0,
                             TALLY_SLICE("SKU-1"), TALLY_SLICE("{\"type\":\"Spam\"}"), NULL, 0),
            0);
    restart();
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock", 0), "RUNNING");
    after = driver_fixture_dump(&fixture);
    ck_assert_str_eq(after, before);
    tally_free(before);
    tally_free(after);
}
END_TEST

START_TEST(an_event_of_a_newer_release)
{
    open_fixture(false);
    tally_topology_driver_stop(fixture.driver);
    ck_assert_int_ge(
            tally_topology_driver_pipe(fixture.driver, "stock.events", 0, TALLY_SLICE("SKU-1"),
                    TALLY_SLICE("{\"id\":\"stock/0@9000\",\"type\":\"StockMoved\",\"version\":"
                                "\"1.0\",\"source\":\"tally/stock\",\"time\":\"2026-01-15T10:00:"
                                "00.000Z\",\"correlation_id\":\"c\",\"causation_id\":\"c\","
                                "\"payload\":{\"outcome\":{\"command\":\"MoveStock\","
                                "\"fingerprint\":\"0000000000000000\",\"status\":\"ACCEPTED\"}}}"),
                    NULL, 0),
            0);
    halts_with("EVENT_UNKNOWN");
}
END_TEST

/* What decide depends on is fixed with the directory. */
START_TEST(a_setting_that_changed)
{
    open_fixture(true);
    driver_fixture_close(&fixture);
    driver_fixture_open(&fixture,
            &(struct driver_fixture_options){
                    .partitions = 1, .registration_optional = true, .state_dir = path});
    driver_fixture_run(&fixture);
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock", 0), "FOREIGN_STATE");
}
END_TEST

/* --- while it runs ---------------------------------------------------------------------------- */

static void receive(const char *id)
{
    char command[160];

    snprintf(command, sizeof command,
            "{\"type\":\"ReceiveStock\",\"command_id\":\"%s\",\"sku\":\"SKU-1\","
            "\"warehouse\":\"AMS1\",\"quantity\":1}",
            id);
    driver_fixture_pipe(&fixture, "stock.commands", command);
}

static void other_commands(int count)
{
    char id[32];

    tally_memory_broker_recreate(broker(), "stock.commands", 0);
    for (int i = 0; i < count; i++) {
        snprintf(id, sizeof id, "other-%d", i);
        receive(id);
    }
}

static void watch(void)
{
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_int_eq(tally_topology_driver_watch(fixture.driver, &err), TALLY_OK);
}

static void is_noticed(const char *code)
{
    watch();
    tally_topology_driver_advance(fixture.driver, 2000);
    driver_fixture_run(&fixture);
    if (strcmp(code, "TOPIC_RECREATED") != 0) { /* which needs no second look */
        ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock", 0), "RUNNING");
    }
    watch();
    tally_topology_driver_advance(fixture.driver, 2000);
    driver_fixture_run(&fixture);
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock", 0), code);
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "catalogue", 0), "RUNNING");
}

START_TEST(what_fits_is_left_alone)
{
    open_fixture(false);
    for (int i = 0; i < 4; i++) {
        watch();
        receive(i % 2 ? "one" : "two");
        driver_fixture_run(&fixture);
    }
    tally_memory_broker_truncate(broker(), "stock.events", 0, 3);
    tally_memory_broker_truncate(broker(), "stock.commands", 0,
            tally_memory_broker_end(broker(), "stock.commands", 0));
    watch();
    is_noticed("RUNNING");
}
END_TEST

/* Its end lies behind the position: the task goes on in it, and only what it read before tells. */
START_TEST(a_longer_commands_topic_under_a_running_task)
{
    open_fixture(false);
    other_commands(2 * RECORDS + 40); /* before the watch has looked for the first time */
    driver_fixture_run(&fixture);
    is_noticed("TOPIC_RECREATED");
    tally_topology_driver_advance(fixture.driver, 60000); /* a recheck */
    driver_fixture_run(&fixture);
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock", 0), "TOPIC_RECREATED");
}
END_TEST

START_TEST(a_restart_does_not_forget_another_commands_topic)
{
    open_fixture(true);
    other_commands(2 * RECORDS + 40);
    driver_fixture_run(&fixture);
    is_noticed("TOPIC_RECREATED");
    tally_topology_driver_crash(fixture.driver);
    halts_with("TOPIC_RECREATED");
}
END_TEST

/* The same after a restore that knew the last command from its event only. */
START_TEST(a_longer_commands_topic_after_a_restore)
{
    open_fixture(false);
    tally_topology_driver_stop(fixture.driver);
    restart();
    other_commands(2 * RECORDS + 40);
    driver_fixture_run(&fixture);
    is_noticed("TOPIC_RECREATED");
}
END_TEST

START_TEST(an_events_topic_that_was_emptied_under_a_running_task)
{
    open_fixture(false);
    tally_memory_broker_recreate(broker(), "stock.events", 0);
    is_noticed("EVENTS_TRUNCATED");
}
END_TEST

/* The transaction commits before anybody looks. */
START_TEST(events_written_into_a_new_topic)
{
    open_fixture(false);
    tally_memory_broker_recreate(broker(), "stock.events", 0);
    receive("new");
    driver_fixture_run(&fixture);
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock", 0), "TOPIC_RECREATED");
    tally_topology_driver_advance(fixture.driver, 60000);
    driver_fixture_run(&fixture);
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock", 0), "EVENTS_TRUNCATED");
}
END_TEST

/* --- without a state -------------------------------------------------------------------------- */

START_TEST(another_commands_topic_and_no_state)
{
    open_fixture(false);
    tally_topology_driver_stop(fixture.driver);
    other_commands(2 * RECORDS + 40);
    halts_with("TOPIC_RECREATED");
}
END_TEST

/* What a reset puts in the place of commands that are gone is taken for them. */
START_TEST(a_commands_topic_that_was_filled_up)
{
    struct tally_header header = {.name = TALLY_SLICE("tally-reset"), .value = TALLY_SLICE("fill")};
    int64_t end;

    open_fixture(false);
    end = tally_memory_broker_committed(broker(), GROUP, "stock.commands", 0);
    tally_topology_driver_stop(fixture.driver);
    tally_memory_broker_recreate(broker(), "stock.commands", 0);
    for (int64_t i = 0; i < end; i++) {
        ck_assert_int_eq(tally_memory_broker_append(broker(), "stock.commands", 0, TALLY_NONE,
                                 TALLY_NONE, &header, 1),
                i);
    }
    restart();
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock", 0), "RUNNING");
}
END_TEST

START_TEST(more_partitions_and_no_state)
{
    driver_fixture_open(&fixture, &(struct driver_fixture_options){.partitions = 2});
    workload_prepare(&fixture);
    workload_pipe(&fixture, RECORDS, false);
    driver_fixture_run(&fixture);
    tally_topology_driver_stop(fixture.driver);
    /* An event of SKU-1 as it would stand in its partition if there had been another count. */
    for (int32_t p = 0; p < 2; p++) {
        char event[512];

        snprintf(event, sizeof event,
                "{\"id\":\"stock/%d@9000\",\"type\":\"CommandAccepted\",\"version\":\"1.0\","
                "\"source\":\"tally/stock\",\"time\":\"2026-01-15T10:00:00.000Z\","
                "\"correlation_id\":\"c\",\"causation_id\":\"c\",\"payload\":{\"outcome\":{"
                "\"command\":\"ReceiveStock\",\"fingerprint\":\"0000000000000000\","
                "\"status\":\"ACCEPTED\"}}}",
                (int)p);
        if (tally_partition_of(TALLY_SLICE("SKU-1"), 2) != p) {
            ck_assert_int_ge(tally_topology_driver_pipe(fixture.driver, "stock.events", p,
                                     TALLY_SLICE("SKU-1"), tally_slice_string(event), NULL, 0),
                    0);
        }
    }
    restart();
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock",
                             1 - tally_partition_of(TALLY_SLICE("SKU-1"), 2)),
            "PARTITIONS_CHANGED");
}
END_TEST

/* 9000 receipts of 10^12 reach the limit of a quantity; one unit more is refused. */
START_TEST(no_quantity_passes_its_limit)
{
    const char *at_limit = "\"on_hand\":9000000000000000,\"available\":9000000000000000";
    char command[256];
    char *events;

    driver_fixture_open(&fixture,
            &(struct driver_fixture_options){.partitions = 1, .registration_optional = true});
    for (int i = 0; i < 9000; i++) {
        snprintf(command, sizeof command,
                "{\"type\":\"ReceiveStock\",\"command_id\":\"c-%d\",\"sku\":\"BIG\","
                "\"warehouse\":\"AMS1\",\"quantity\":1000000000000}",
                i);
        driver_fixture_pipe(&fixture, "stock.commands", command);
    }
    driver_fixture_pipe(&fixture, "stock.commands",
            "{\"type\":\"ReturnStock\",\"command_id\":\"back\",\"sku\":\"BIG\","
            "\"warehouse\":\"AMS1\",\"quantity\":2,\"return_id\":\"B-1\","
            "\"condition\":\"DAMAGED\"}");
    driver_fixture_pipe(&fixture, "stock.commands",
            "{\"type\":\"TransferBack\",\"command_id\":\"~TransferBack:T-1:3\",\"sku\":\"BIG\","
            "\"warehouse\":\"AMS1\",\"transfer_id\":\"T-1\",\"quantity\":3}");
    driver_fixture_pipe(&fixture, "stock.commands",
            "{\"type\":\"ReceiveStock\",\"command_id\":\"over\",\"sku\":\"BIG\","
            "\"warehouse\":\"AMS1\",\"quantity\":1}");
    driver_fixture_run(&fixture);
    events = driver_fixture_records(&fixture, "stock.events");
    ck_assert_ptr_nonnull(strstr(events, at_limit));
    ck_assert_ptr_nonnull(strstr(events, "on_hand would be 9000000000000002, limit"));
    ck_assert_ptr_nonnull(strstr(events, "on_hand would be 9000000000000003, limit"));
    ck_assert_ptr_nonnull(strstr(events,
            "\"code\":\"QUANTITY_OVERFLOW\",\"retryable\":false,\"detail\":\"on_hand would be "
            "9000000000000001, limit 9000000000000000\",\"errors\":[{\"pointer\":\"/quantity\","
            "\"code\":\"QUANTITY_OVERFLOW\",\"meta\":{\"sku\":\"BIG\",\"warehouse\":\"AMS1\","
            "\"limit\":9000000000000000}}]"));
    tally_free(events);
}
END_TEST

static void pipe_hold(int number, int64_t quantity)
{
    char command[256];

    snprintf(command, sizeof command,
            "{\"type\":\"HoldStock\",\"command_id\":\"~HoldStock:R-%d:1:1\",\"sku\":\"BIG\","
            "\"reservation_id\":\"R-%d\",\"line\":1,\"attempt\":1,\"quantity\":%lld,"
            "\"warehouses\":[]}",
            number, number, (long long)quantity);
    driver_fixture_pipe(&fixture, "stock.commands", command);
}

/* 9000 holds of 10^12 are all that may be promised, in whatever state they are: a hold that was
 * granted can always advance. */
START_TEST(no_more_is_promised_than_a_quantity)
{
    char *events, *answers;

    driver_fixture_open(&fixture,
            &(struct driver_fixture_options){.partitions = 1, .registration_optional = true});
    driver_fixture_pipe(&fixture, "stock.commands",
            "{\"type\":\"ConfigureStock\",\"command_id\":\"c\",\"sku\":\"BIG\","
            "\"warehouse\":\"AMS1\",\"policy\":\"BACKORDER\"}");
    for (int i = 0; i < 9000; i++) {
        pipe_hold(i, INT64_C(1000000000000));
    }
    driver_fixture_pipe(&fixture, "stock.commands",
            "{\"type\":\"ConfirmHold\",\"command_id\":\"~ConfirmHold:R-7:1:1\",\"sku\":\"BIG\","
            "\"reservation_id\":\"R-7\",\"line\":1,\"attempt\":1}");
    pipe_hold(9000, 1);
    driver_fixture_run(&fixture);
    events = driver_fixture_records(&fixture, "stock.events");
    ck_assert_ptr_nonnull(strstr(events,
            "\"after\":{\"on_hand\":0,\"held\":8999000000000000,\"reserved\":1000000000000,"
            "\"available\":-9000000000000000,\"backordered\":9000000000000000}"));
    ck_assert_ptr_nonnull(strstr(events,
            "\"code\":\"QUANTITY_OVERFLOW\",\"retryable\":false,\"detail\":\"promised would be "
            "9000000000000001, limit 9000000000000000\""));
    tally_free(events);
    answers = driver_fixture_records(&fixture, "reservation.commands");
    ck_assert_ptr_nonnull(strstr(answers, "~HoldReply:R-9000:1:1"));
    ck_assert_ptr_nonnull(strstr(answers, "QUANTITY_OVERFLOW"));
    tally_free(answers);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("positions");
    TCase *tcase = tcase_create("halts");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, events_gone_and_no_state);
    tcase_add_test(tcase, events_gone_that_the_state_has);
    tcase_add_test(tcase, a_group_that_was_rewound);
    tcase_add_test(tcase, a_group_that_lost_its_offset);
    tcase_add_test(tcase, a_group_beyond_the_end);
    tcase_add_test(tcase, commands_consumed_without_an_event);
    tcase_add_test(tcase, a_halted_task_goes_on_when_its_cause_is_gone);
    tcase_add_test(tcase, foreign_events_are_ignored);
    tcase_add_test(tcase, an_event_of_a_newer_release);
    tcase_add_test(tcase, a_setting_that_changed);
    tcase_add_test(tcase, what_fits_is_left_alone);
    tcase_add_test(tcase, a_longer_commands_topic_under_a_running_task);
    tcase_add_test(tcase, a_restart_does_not_forget_another_commands_topic);
    tcase_add_test(tcase, a_longer_commands_topic_after_a_restore);
    tcase_add_test(tcase, an_events_topic_that_was_emptied_under_a_running_task);
    tcase_add_test(tcase, events_written_into_a_new_topic);
    tcase_add_test(tcase, another_commands_topic_and_no_state);
    tcase_add_test(tcase, a_commands_topic_that_was_filled_up);
    tcase_add_test(tcase, more_partitions_and_no_state);
    tcase_add_test(tcase, no_quantity_passes_its_limit);
    tcase_add_test(tcase, no_more_is_promised_than_a_quantity);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
