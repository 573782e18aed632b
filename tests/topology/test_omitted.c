/* tests/topology/test_omitted.c - without outcomes (dedup.retention 0) and without a ledger
 * (stock.ledger false): what is left out, that the rest is the same, and that a directory which was
 * made under other settings is built again. Cites stream_task's proof that no event was lost. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/topology/workload.h"

#define RECORDS 200
#define GROUP   "tally"

static struct driver_fixture fixture;
static char path[64];

static const struct driver_fixture_options full = {
        .partitions = 1, .registration_optional = true, .state_dir = path};
static const struct driver_fixture_options simple = {.partitions = 1,
        .registration_optional = true,
        .state_dir = path,
        .no_outcomes = true,
        .no_ledger = true};

static void remove_directory(void)
{
    char command[512];

    snprintf(command, sizeof command, "rm -rf '%s'", path);
    ck_assert_int_eq(system(command), 0);
}

static void setup(void)
{
    snprintf(path, sizeof path, "/tmp/tally-omitted-XXXXXX");
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

static void start(void)
{
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_msg(tally_topology_driver_start(fixture.driver, &err) == TALLY_OK, "%s", err.message);
    driver_fixture_run(&fixture);
}

static void restart_with(const struct driver_fixture_options *options)
{
    tally_topology_driver_stop(fixture.driver);
    driver_fixture_configure(&fixture, options);
    start();
}

static const char *state(void)
{
    return tally_topology_driver_state(fixture.driver, "stock", 0);
}

static void receive(const char *id)
{
    char command[200];

    snprintf(command, sizeof command,
            "{\"type\":\"ReceiveStock\",\"command_id\":\"%s\",\"sku\":\"S\",\"warehouse\":\"W\","
            "\"quantity\":1}",
            id);
    driver_fixture_pipe(&fixture, "stock.commands", command);
    driver_fixture_run(&fixture);
}

static size_t lines_with(const char *text, const char *word)
{
    size_t count = 0;

    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word)) {
        count++;
    }
    return count;
}

static size_t rows_of(const char *store)
{
    char *dump = driver_fixture_dump(&fixture);
    size_t count = lines_with(dump, store);

    tally_free(dump);
    return count;
}

static size_t events(void)
{
    char *text = driver_fixture_records(&fixture, "stock.events");
    size_t count = lines_with(text, "\n");

    tally_free(text);
    return count;
}

/* The rows but those of outcomes and ledger, in place. */
static char *others_of(char *dump)
{
    char *to = dump;

    for (char *line = dump, *end; *line; line = end) {
        end = strchr(line, '\n') + 1;
        if (strncmp(strchr(line, ' '), " dedup ", 7) != 0 &&
                strncmp(strchr(line, ' '), " ledger ", 8) != 0) {
            memmove(to, line, (size_t)(end - line));
            to += end - line;
        }
    }
    *to = '\0';
    return dump;
}

START_TEST(the_other_rows_and_the_events_are_the_same)
{
    static const char *const ids[] = {"a", "b", "c"};
    char *expected, *expected_events, *actual, *actual_events;

    driver_fixture_open(&fixture, &full);
    for (size_t i = 0; i < 3; i++) {
        receive(ids[i]);
    }
    ck_assert_uint_eq(rows_of(" dedup "), 3);
    ck_assert_uint_eq(rows_of(" ledger "), 3);
    expected = others_of(driver_fixture_dump(&fixture));
    expected_events = driver_fixture_records(&fixture, "stock.events");
    driver_fixture_close(&fixture);
    remove_directory();

    driver_fixture_open(&fixture, &simple);
    for (size_t i = 0; i < 3; i++) {
        receive(ids[i]);
    }
    actual = driver_fixture_dump(&fixture);
    actual_events = driver_fixture_records(&fixture, "stock.events");
    ck_assert_str_eq(actual, expected);
    ck_assert_str_eq(actual_events, expected_events);
    ck_assert_uint_gt(strlen(actual), 0);
    tally_free(expected);
    tally_free(actual);
    tally_free(expected_events);
    tally_free(actual_events);
}
END_TEST

START_TEST(a_repeat_is_decided_again)
{
    driver_fixture_open(&fixture, &simple);
    receive("a");
    receive("a");
    ck_assert_uint_eq(events(), 2);
    ck_assert_uint_eq(rows_of(" level "), 1);
    restart_with(&simple); /* the repeat has an event, which proves it */
    ck_assert_str_eq(state(), "RUNNING");
    receive("a");
    ck_assert_uint_eq(events(), 3);
}
END_TEST

/* Stopped, killed, and with nothing but the log; refusals, repeats and dead letters among it. */
START_TEST(every_restart_leads_to_the_same_state)
{
    char *before, *after;

    driver_fixture_open(&fixture, &simple);
    workload_prepare(&fixture);
    workload_pipe(&fixture, RECORDS, false);
    driver_fixture_run(&fixture);
    before = driver_fixture_dump(&fixture);
    ck_assert_uint_eq(lines_with(before, " dedup ") + lines_with(before, " ledger "), 0);
    ck_assert_uint_gt(lines_with(before, " level "), 0);
    for (int way = 0; way < 3; way++) {
        if (way == 1) {
            tally_topology_driver_crash(fixture.driver);
        } else {
            tally_topology_driver_stop(fixture.driver);
        }
        if (way == 2) {
            remove_directory();
        }
        start();
        ck_assert_str_eq(state(), "RUNNING");
        after = driver_fixture_dump(&fixture);
        ck_assert_str_eq(after, before);
        tally_free(after);
    }
    tally_free(before);
}
END_TEST

START_TEST(a_directory_of_other_settings_is_built_again)
{
    struct driver_fixture_options no_ledger = full;
    char *before, *after;

    no_ledger.no_ledger = true;
    driver_fixture_open(&fixture, &full);
    receive("a");
    receive("b");
    before = driver_fixture_dump(&fixture);
    restart_with(&simple);
    ck_assert_str_eq(state(), "RUNNING");
    ck_assert_uint_eq(rows_of(" dedup ") + rows_of(" ledger "), 0);
    ck_assert_uint_eq(rows_of(" level "), 1);
    restart_with(&no_ledger);
    ck_assert_uint_eq(rows_of(" dedup "), 2);
    ck_assert_uint_eq(rows_of(" ledger "), 0);
    restart_with(&full);
    after = driver_fixture_dump(&fixture);
    ck_assert_str_eq(after, before);
    receive("b"); /* known again */
    ck_assert_uint_eq(events(), 2);
    tally_free(before);
    tally_free(after);
}
END_TEST

START_TEST(a_lost_event_is_noticed_without_outcomes)
{
    driver_fixture_open(&fixture, &simple);
    receive("a");
    tally_topology_driver_stop(fixture.driver);
    driver_fixture_pipe(&fixture, "stock.commands",
            "{\"type\":\"ReceiveStock\",\"command_id\":\"a\",\"sku\":\"S\",\"warehouse\":\"W\","
            "\"quantity\":1}");
    tally_memory_broker_set_committed(broker(), GROUP, "stock.commands", 0,
            tally_memory_broker_end(broker(), "stock.commands", 0));
    start();
    ck_assert_str_eq(state(), "EVENTS_LOST"); /* although the id had an outcome once */
}
END_TEST

/* It has no event either, so it cannot be told from one that lost it; the way out is documented. */
START_TEST(a_repeat_from_before_halts_until_the_outcomes_are_back)
{
    driver_fixture_open(&fixture, &full);
    receive("a");
    receive("a");
    ck_assert_uint_eq(events(), 1);
    restart_with(&simple);
    ck_assert_str_eq(state(), "EVENTS_LOST");
    restart_with(&full);
    ck_assert_str_eq(state(), "RUNNING");
    receive("b");
    restart_with(&simple);
    ck_assert_str_eq(state(), "RUNNING");
    ck_assert_uint_eq(events(), 2);
}
END_TEST

START_TEST(what_has_no_event_for_another_reason_is_no_loss)
{
    char json[1000], note[500];

    memset(note, 'n', sizeof note);
    driver_fixture_open(&fixture, &simple);
    receive("a");
    tally_memory_broker_limit(broker(), "stock.events", 800);
    snprintf(json, sizeof json,
            "{\"type\":\"ReceiveStock\",\"command_id\":\"large\",\"sku\":\"S\","
            "\"warehouse\":\"W\",\"quantity\":1,\"note\":\"%.500s\"}",
            note);
    driver_fixture_pipe(&fixture, "stock.commands", json);
    driver_fixture_run(&fixture);
    restart_with(&simple);
    ck_assert_str_eq(state(), "RUNNING");
    driver_fixture_pipe(&fixture, "stock.commands", "{");
    driver_fixture_run(&fixture);
    restart_with(&simple);
    ck_assert_str_eq(state(), "RUNNING");
    ck_assert_uint_eq(events(), 1);
}
END_TEST

START_TEST(a_count_needs_a_ledger_for_an_older_version)
{
    char *text;

    driver_fixture_open(&fixture, &simple);
    receive("a");
    receive("b");
    driver_fixture_pipe(&fixture, "stock.commands",
            "{\"type\":\"SetStock\",\"command_id\":\"c\",\"sku\":\"S\",\"warehouse\":\"W\","
            "\"quantity\":5,\"as_of_version\":1}");
    driver_fixture_pipe(&fixture, "stock.commands",
            "{\"type\":\"SetStock\",\"command_id\":\"d\",\"sku\":\"S\",\"warehouse\":\"W\","
            "\"quantity\":5,\"as_of_version\":2}");
    driver_fixture_run(&fixture);
    text = driver_fixture_records(&fixture, "stock.events");
    ck_assert_uint_eq(lines_with(text, "CommandRejected"), 1);
    ck_assert_uint_eq(lines_with(text, "StockAdjusted"), 1);
    ck_assert_ptr_nonnull(strstr(text, "AS_OF_TOO_OLD"));
    tally_free(text);
}
END_TEST

/* Every command of the driver asks for one. */
START_TEST(nobody_gets_a_reply_without_outcomes)
{
    char *text;

    driver_fixture_open(&fixture, &simple);
    receive("a");
    text = driver_fixture_records(&fixture, TALLY_DRIVER_REPLY_TOPIC);
    ck_assert_str_eq(text, "");
    tally_free(text);
    restart_with(&full);
    receive("b");
    text = driver_fixture_records(&fixture, TALLY_DRIVER_REPLY_TOPIC);
    ck_assert_uint_eq(lines_with(text, "\n"), 1);
    tally_free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("omitted");
    TCase *tcase = tcase_create("omitted");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, the_other_rows_and_the_events_are_the_same);
    tcase_add_test(tcase, a_repeat_is_decided_again);
    tcase_add_test(tcase, every_restart_leads_to_the_same_state);
    tcase_add_test(tcase, a_directory_of_other_settings_is_built_again);
    tcase_add_test(tcase, a_lost_event_is_noticed_without_outcomes);
    tcase_add_test(tcase, a_repeat_from_before_halts_until_the_outcomes_are_back);
    tcase_add_test(tcase, what_has_no_event_for_another_reason_is_no_loss);
    tcase_add_test(tcase, a_count_needs_a_ledger_for_an_older_version);
    tcase_add_test(tcase, nobody_gets_a_reply_without_outcomes);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
