/* tests/topology/test_rebuild.c - live state is what evolve makes of the emitted events: a second
 * instance that starts with nothing but the log has the same rows, byte for byte. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/topology/workload.h"

#define COMMANDS   400
#define PARTITIONS 4

static void start(struct driver_fixture *fixture)
{
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_msg(tally_topology_driver_start(fixture->driver, &err) == TALLY_OK, "%s",
            err.message);
    driver_fixture_run(fixture);
}

static void same_after_restart(struct driver_fixture *fixture, bool crash)
{
    char *before = driver_fixture_dump(fixture), *after;
    char *events = driver_fixture_records(fixture, "stock.events"), *events_after;

    ck_assert_uint_gt(strlen(before), 1000);
    if (crash) {
        tally_topology_driver_crash(fixture->driver);
    } else {
        tally_topology_driver_stop(fixture->driver);
    }
    start(fixture);
    after = driver_fixture_dump(fixture);
    events_after = driver_fixture_records(fixture, "stock.events");
    ck_assert_str_eq(after, before);
    ck_assert_str_eq(events_after, events);
    tally_free(before);
    tally_free(after);
    tally_free(events);
    tally_free(events_after);
}

static void remove_directory(const char *path)
{
    char command[512];

    snprintf(command, sizeof command, "rm -rf '%s'", path);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(state_in_memory_is_rebuilt_from_the_events)
{
    struct driver_fixture fixture;

    driver_fixture_open(&fixture, &(struct driver_fixture_options){.partitions = PARTITIONS});
    workload_prepare(&fixture);
    workload_pipe(&fixture, COMMANDS, true);
    driver_fixture_run(&fixture);
    same_after_restart(&fixture, false);
    same_after_restart(&fixture, true);
    driver_fixture_close(&fixture);
}
END_TEST

START_TEST(what_is_decided_later_is_the_same_too)
{
    struct driver_fixture whole, halved;
    char *expected, *actual;

    driver_fixture_open(&whole, &(struct driver_fixture_options){.partitions = PARTITIONS});
    workload_prepare(&whole);
    workload_pipe(&whole, COMMANDS, true);
    driver_fixture_run(&whole);
    workload_pipe(&whole, COMMANDS, true); /* all known ids now */
    driver_fixture_run(&whole);

    driver_fixture_open(&halved, &(struct driver_fixture_options){.partitions = PARTITIONS});
    workload_prepare(&halved);
    workload_pipe(&halved, COMMANDS, true);
    driver_fixture_run(&halved);
    tally_topology_driver_crash(halved.driver);
    start(&halved);
    workload_pipe(&halved, COMMANDS, true);
    driver_fixture_run(&halved);

    expected = driver_fixture_records(&whole, "stock.events");
    actual = driver_fixture_records(&halved, "stock.events");
    ck_assert_str_eq(actual, expected);
    tally_free(expected);
    tally_free(actual);
    driver_fixture_close(&whole);
    driver_fixture_close(&halved);
}
END_TEST

START_TEST(a_directory_survives_and_is_rebuilt_when_it_is_gone)
{
    char path[] = "/tmp/tally-rebuild-XXXXXX";
    struct driver_fixture fixture;
    char *before, *after;

    ck_assert_ptr_nonnull(mkdtemp(path));
    driver_fixture_open(&fixture,
            &(struct driver_fixture_options){.partitions = PARTITIONS, .state_dir = path});
    workload_prepare(&fixture);
    workload_pipe(&fixture, COMMANDS, true);
    driver_fixture_run(&fixture);
    same_after_restart(&fixture, false);
    same_after_restart(&fixture, true);
    before = driver_fixture_dump(&fixture);
    tally_topology_driver_stop(fixture.driver);
    remove_directory(path);
    start(&fixture);
    after = driver_fixture_dump(&fixture);
    ck_assert_str_eq(after, before);
    tally_free(before);
    tally_free(after);
    driver_fixture_close(&fixture);
    remove_directory(path);
}
END_TEST

START_TEST(events_in_json_leave_the_same_state)
{
    struct driver_fixture packed, text;
    char *expected, *actual;

    driver_fixture_open(&packed, &(struct driver_fixture_options){.partitions = PARTITIONS});
    driver_fixture_open(&text,
            &(struct driver_fixture_options){.partitions = PARTITIONS, .json_events = true});
    workload_prepare(&packed);
    workload_prepare(&text);
    workload_pipe(&packed, COMMANDS, true);
    workload_pipe(&text, COMMANDS, true);
    driver_fixture_run(&packed);
    driver_fixture_run(&text);
    expected = driver_fixture_dump(&packed);
    actual = driver_fixture_dump(&text);
    ck_assert_str_eq(actual, expected);
    tally_free(expected);
    tally_free(actual);
    expected = driver_fixture_records(&packed, "stock.events");
    actual = driver_fixture_records(&text, "stock.events");
    ck_assert_str_eq(actual, expected);
    tally_free(expected);
    tally_free(actual);
    same_after_restart(&text, true);
    driver_fixture_close(&packed);
    driver_fixture_close(&text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rebuild");
    TCase *tcase = tcase_create("from the log");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 100);
    tcase_add_test(tcase, state_in_memory_is_rebuilt_from_the_events);
    tcase_add_test(tcase, what_is_decided_later_is_the_same_too);
    tcase_add_test(tcase, a_directory_survives_and_is_rebuilt_when_it_is_gone);
    tcase_add_test(tcase, events_in_json_leave_the_same_state);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
