/* tests/topology/test_timers.c - durable timers: when they fire, that they fire once, what a
 * restart and a failure leave of them. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/failpoint.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "tests/topology/saga_fixture.h"

#define COMMANDS "reservation.commands"
#define EVENTS   "reservation.events"
#define TTL_MS   30000
#define MANY     2000
#define HITS_MAX 2000 /* of one failpoint in a run; more means that it does not end */

static struct saga_fixture fixture;

static void setup(void)
{
    saga_fixture_open(&fixture, &(struct saga_fixture_options){.json_events = false});
}

static void teardown(void)
{
    saga_fixture_close(&fixture);
}

static size_t sent(void)
{
    return saga_fixture_count(&fixture, COMMANDS, "\"type\":\"TimeOut\"");
}

static size_t timed_out(void)
{
    return saga_fixture_count(&fixture, EVENTS, "\"code\":\"OPERATION_TIMED_OUT\",\"retryable\"");
}

static size_t rows(void)
{
    char *dump = saga_fixture_dump(&fixture);
    size_t count = 0;

    for (const char *at = strstr(dump, " timer "); at; at = strstr(at + 1, " timer ")) {
        count++;
    }
    tally_free(dump);
    return count;
}

static void pass(int64_t ms)
{
    tally_topology_driver_advance(fixture.driver, ms);
    saga_fixture_run(&fixture);
}

START_TEST(nothing_comes_before_it_is_due)
{
    saga_fixture_begin(&fixture, "A", "WAIT", TTL_MS);
    saga_fixture_run(&fixture);
    pass(TTL_MS - 1);
    ck_assert_uint_eq(sent(), 0);
    pass(1);
    ck_assert_uint_eq(sent(), 1);
    ck_assert_uint_eq(timed_out(), 1);
    ck_assert_uint_eq(rows(), 0);
    ck_assert_uint_eq(saga_fixture_count(&fixture, TALLY_DRIVER_REPLY_TOPIC,
                              "\"status\":\"REJECTED\",\"code\":\"OPERATION_TIMED_OUT\""),
            1);
    pass(TTL_MS);
    ck_assert_uint_eq(sent(), 1);
}
END_TEST

/* A message has an actor and a correlation id of its command; a timer has none. */
START_TEST(its_command_begins_a_trace)
{
    saga_fixture_begin(&fixture, "A", "WAIT", 1);
    saga_fixture_run(&fixture);
    pass(1);
    ck_assert_uint_eq(sent(), 1);
    ck_assert_uint_eq(saga_fixture_count(&fixture, COMMANDS, "\"~TimeOut:A:1768471200001\""), 1);
    ck_assert_uint_eq(saga_fixture_count(&fixture, COMMANDS, "correlation_id"), 0);
    ck_assert_uint_eq(saga_fixture_count(&fixture, COMMANDS, "causation_id"), 0);
    ck_assert_uint_eq(saga_fixture_count(&fixture, EVENTS,
                              "\"correlation_id\":\"~TimeOut:A:1768471200001\""),
            1);
}
END_TEST

START_TEST(a_deleted_row_does_not_fire)
{
    saga_fixture_begin(&fixture, "A", "WAIT", TTL_MS);
    saga_fixture_run(&fixture);
    saga_fixture_ask(&fixture, "{\"type\":\"Clear\",\"command_id\":\"c\",\"reservation_id\":\"A\"}",
            TALLY_NONE);
    saga_fixture_run(&fixture);
    pass(2 * TTL_MS);
    ck_assert_uint_eq(sent(), 0);
    saga_fixture_begin(&fixture, "B", "WAIT", TTL_MS);
    saga_fixture_run(&fixture);
    saga_fixture_ask(&fixture, "{\"type\":\"Clear\",\"command_id\":\"c\",\"reservation_id\":\"B\"}",
            TALLY_NONE);
    pass(2 * TTL_MS); /* due, and deleted, in one turn */
    ck_assert_uint_eq(sent(), 0);
}
END_TEST

START_TEST(a_row_that_stays_fires_once_in_each_life)
{
    saga_fixture_begin(&fixture, "A", "STAY", TTL_MS);
    saga_fixture_run(&fixture);
    for (int i = 0; i < 3; i++) {
        pass(TTL_MS);
        ck_assert_uint_eq(sent(), 1);
    }
    saga_fixture_begin(&fixture, "B", "WAIT", 1); /* others do not wake it up */
    saga_fixture_run(&fixture);
    pass(1);
    ck_assert_uint_eq(timed_out(), 1);
    ck_assert_uint_eq(sent(), 2);
    saga_fixture_restart(&fixture);
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(sent(), 3);
    ck_assert_uint_eq(saga_fixture_count(&fixture, EVENTS, "\"command\":\"TimeOut\""), 2);
    pass(TTL_MS);
    ck_assert_uint_eq(sent(), 3);
    ck_assert_uint_eq(rows(), 1);
}
END_TEST

START_TEST(a_restart_keeps_them)
{
    char path[] = "/tmp/tally-timers-XXXXXX", command[256];

    teardown();
    ck_assert_ptr_nonnull(mkdtemp(path));
    saga_fixture_open(&fixture, &(struct saga_fixture_options){.state_dir = _i % 2 ? path : NULL});
    saga_fixture_begin(&fixture, "A", "WAIT", TTL_MS);
    saga_fixture_begin(&fixture, "B", "WAIT", 2 * TTL_MS);
    saga_fixture_run(&fixture);
    if (_i < 2) {
        saga_fixture_restart(&fixture);
    } else {
        tally_topology_driver_stop(fixture.driver);
        ck_assert_int_eq(tally_topology_driver_start(fixture.driver, NULL), TALLY_OK);
    }
    tally_topology_driver_advance(fixture.driver,
            TTL_MS - 1000); /* some of it passes in starting */
    ck_assert_uint_eq(sent(), 0);
    saga_fixture_run(&fixture);
    pass(1000);
    ck_assert_uint_eq(sent(), 1);
    pass(TTL_MS);
    ck_assert_uint_eq(sent(), 2);
    ck_assert_uint_eq(timed_out(), 2);
    teardown();
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    ck_assert_int_eq(system(command), 0);
    setup();
}
END_TEST

/* What has waited for longer than its timer is due when it is decided. */
START_TEST(due_times_may_lie_before_those_that_have_fired)
{
    saga_fixture_begin(&fixture, "A", "STAY", -1000);
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(sent(), 1);
    for (int i = 0; i < 50; i++) {
        char id[16];

        snprintf(id, sizeof id, "B%d", i);
        saga_fixture_begin(&fixture, id, i % 2 ? "WAIT" : "STAY", -1000 - i);
        if (i % 7 == 0) {
            saga_fixture_run(&fixture);
        }
    }
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(sent(), 51);
    ck_assert_uint_eq(timed_out(), 25);
    ck_assert_uint_eq(rows(), 26);
}
END_TEST

START_TEST(many_are_due_at_once)
{
    struct tally_series *fired = tally_series_of(TALLY_METRIC_TIMERS, "reservation");
    int64_t before = tally_series_read(fired);

    teardown();
    saga_fixture_open(&fixture, &(struct saga_fixture_options){.small_transactions = _i == 1});
    for (int i = 0; i < MANY; i++) {
        char id[16];

        snprintf(id, sizeof id, "A%d", i);
        saga_fixture_begin(&fixture, id, "WAIT", TTL_MS + i / 100);
    }
    saga_fixture_run(&fixture);
    pass(TTL_MS + MANY / 200);
    ck_assert_uint_gt(sent(), MANY / 4);
    ck_assert_uint_lt(sent(), MANY);
    ck_assert_uint_eq(timed_out(), sent());
    pass(MANY);
    ck_assert_uint_eq(sent(), MANY);
    ck_assert_uint_eq(timed_out(), MANY);
    ck_assert_uint_eq(rows(), 0);
    ck_assert_int_eq(tally_series_read(fired) - before, MANY);
}
END_TEST

/* --- failures --------------------------------------------------------------------------------- */

struct wanted {
    enum tally_failpoint site;
    uint64_t nth;
    bool met;
};

static enum tally_failpoint_action fail_there(void *context, enum tally_failpoint site,
        uint64_t hit)
{
    struct wanted *wanted = context;

    if (site != wanted->site || hit != wanted->nth) {
        return TALLY_FAILPOINT_PASS;
    }
    wanted->met = true;
    return TALLY_FAILPOINT_ERROR;
}

/* Sagas of all ways, over two restarts. */
static void live(void)
{
    static const char *const ways[] = {"GRANT", "REFUSE", "WAIT"};

    for (int i = 0; i < 12; i++) {
        char id[16];

        snprintf(id, sizeof id, "A%d", i);
        saga_fixture_begin(&fixture, id, ways[i % 3], i % 2 ? -5 : TTL_MS + i);
    }
    saga_fixture_run(&fixture);
    saga_fixture_restart(&fixture);
    saga_fixture_run(&fixture);
    pass(10 * TTL_MS);
    saga_fixture_restart(&fixture);
    saga_fixture_run(&fixture);
}

/* Each saga has ended once, and its state shows it. */
static void all_ended(const struct wanted *wanted)
{
    char *dump = saga_fixture_dump(&fixture);
    const char *name = tally_failpoint_rows[wanted->site].name;

    ck_assert_msg(saga_fixture_count(&fixture, EVENTS, "\"type\":\"Begun\"") == 12,
            "%s:%d: sagas begun", name, (int)wanted->nth);
    ck_assert_msg(saga_fixture_count(&fixture, EVENTS, "\"type\":\"Ended\"") == 12,
            "%s:%d: sagas ended", name, (int)wanted->nth);
    ck_assert_msg(saga_fixture_count(&fixture, EVENTS, "\"state\":\"DONE\"") >= 2,
            "%s:%d: sagas granted", name, (int)wanted->nth);
    ck_assert_msg(!strstr(dump, " operation ") && !strstr(dump, " timer "), "%s:%d: left\n%s", name,
            (int)wanted->nth, dump);
    tally_free(dump);
}

START_TEST(whatever_fails_each_saga_ends_once)
{
    struct wanted wanted = {.site = (enum tally_failpoint)_i};

    if (!tally_failpoint_rows[_i].can_fail ||
            !strncmp(tally_failpoint_rows[_i].name, "reset.", 6)) {
        return;
    }
    do {
        wanted.met = false;
        wanted.nth += wanted.nth < 8 ? 1 : 7;
        ck_assert_uint_lt(wanted.nth, HITS_MAX);
        teardown();
        saga_fixture_open(&fixture, &(struct saga_fixture_options){.small_transactions = true});
        tally_failpoint_set_handler(fail_there, &wanted);
        live();
        tally_failpoint_set_handler(NULL, NULL);
        all_ended(&wanted);
    } while (wanted.met);
    if (wanted.site == TALLY_FAILPOINT_TIMER_READ_BEFORE ||
            wanted.site == TALLY_FAILPOINT_TIMER_FIRE_AFTER) {
        ck_assert_uint_gt(wanted.nth, 1);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("timers");
    TCase *tcase = tcase_create("timers"), *failing = tcase_create("failures");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, nothing_comes_before_it_is_due);
    tcase_add_test(tcase, its_command_begins_a_trace);
    tcase_add_test(tcase, a_deleted_row_does_not_fire);
    tcase_add_test(tcase, a_row_that_stays_fires_once_in_each_life);
    tcase_add_loop_test(tcase, a_restart_keeps_them, 0, 4);
    tcase_add_test(tcase, due_times_may_lie_before_those_that_have_fired);
    tcase_add_loop_test(tcase, many_are_due_at_once, 0, 2);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    tcase_add_checked_fixture(failing, setup, teardown);
    tcase_add_loop_test(failing, whatever_fails_each_saga_ends_once, 0, TALLY_FAILPOINTS);
    tcase_set_timeout(failing, 120);
    suite_add_tcase(suite, failing);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
