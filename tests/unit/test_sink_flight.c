/* tests/unit/test_sink_flight.c - a batch that is under way to its target while the next one is
 * read: invariant (5) of connectors/sink_batch.c. */
#include <check.h>

#include "tests/unit/sink_task_fixture.h"

START_TEST(one_batch_is_under_way_while_the_next_is_read)
{
    bool overlapped = false;

    make_late();
    config.sink_batch_records = 10;
    append(0, "A", 100);
    for (int i = 0; i < 40; i++) {
        turns(the_task, 1);
        overlapped = overlapped || (the_target.flying && content.next[0] > 0);
    }
    ck_assert(overlapped);
    ck_assert(!the_target.flying);
    ck_assert_int_eq(written(0), 100);
    ck_assert_int_eq(info_of(the_task).records, 100);
    ck_assert_int_eq(info_of(the_task).lag, 0);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_RUNNING);
}
END_TEST

START_TEST(what_is_refused_late_goes_to_the_dead_letters)
{
    make_late();
    config.sink_batch_records = 10;
    append(0, "A", 33);
    append(0, "BAD", 1);
    append(0, "A", 30);
    append(0, "BAD", 2);
    append(1, "B", 9);
    turns(the_task, 60);
    ck_assert_int_eq(written(0), 63);
    ck_assert_int_eq(written(1), 9);
    ck_assert_int_eq(content.next[0], 66);
    ck_assert_int_eq(letters("SINK_REFUSED", "write"), 3);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_RUNNING);
}
END_TEST

START_TEST(what_fails_late_is_read_again)
{
    make_late();
    config.sink_batch_records = 10;
    append(0, "A", 50);
    turns(the_task, 2);
    the_target.flush_code = _i ? TALLY_UNAVAILABLE : TALLY_FENCED;
    the_target.failures_left = 3;
    turns(the_task, 200);
    ck_assert_int_eq(the_target.failures_left, 0);
    ck_assert_int_eq(written(0), 50);
    ck_assert_int_eq(info_of(the_task).records, 50);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_RUNNING);
}
END_TEST

START_TEST(a_revoke_settles_what_is_under_way)
{
    make_late();
    config.sink_batch_records = 10;
    append(0, "A", 20);
    for (int i = 0; i < 20 && !the_target.flying; i++) {
        turns(the_task, 1);
    }
    ck_assert(the_target.flying);
    tally_memory_broker_rebalance(broker, _i);
    turns(the_task, 20);
    ck_assert_int_eq(written(0), 20);
    ck_assert(!the_target.flying);
}
END_TEST

START_TEST(pauses_and_rebuilds_with_a_batch_under_way)
{
    make_late();
    config.sink_batch_records = 10;
    append(0, "A", 50);
    for (int i = 0; i < 20 && !the_target.flying; i++) {
        turns(the_task, 1);
    }
    ck_assert(the_target.flying);
    if (_i) {
        ck_assert_int_eq(tally_sink_task_rebuild(the_task, NULL), TALLY_OK);
    } else {
        ck_assert_int_eq(tally_sink_task_pause(the_task, NULL), TALLY_OK);
        turns(the_task, 5);
        ck_assert(!the_target.started);
        ck_assert_int_eq(tally_sink_task_resume(the_task, NULL), TALLY_OK);
    }
    turns(the_task, 40);
    ck_assert_int_eq(written(0), 50);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_RUNNING);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sink_flight");
    TCase *tests = tcase_create("sink_flight");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, one_batch_is_under_way_while_the_next_is_read);
    tcase_add_test(tests, what_is_refused_late_goes_to_the_dead_letters);
    tcase_add_loop_test(tests, what_fails_late_is_read_again, 0, 2);
    tcase_add_loop_test(tests, a_revoke_settles_what_is_under_way, 0, 2);
    tcase_add_loop_test(tests, pauses_and_rebuilds_with_a_batch_under_way, 0, 2);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
