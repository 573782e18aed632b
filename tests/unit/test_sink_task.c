/* tests/unit/test_sink_task.c - the sink runtime: batches, refusals, outages, the group, requests.
 * Invariants are cited of connectors/sink_task.c and connectors/sink_batch.c. */
#include <check.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/sink_task_fixture.h"

START_TEST(writes_everything_once_and_moves_on)
{
    append(0, "A", 10);
    append(1, "B", 5);
    turns(the_task, 10);
    ck_assert_int_eq(written(0) + written(1), 15);
    ck_assert_int_eq(content.next[0], 10);
    ck_assert_int_eq(content.next[1], 5);
    append(1, "B", 1);
    turns(the_task, 3);
    ck_assert_int_eq(written(1), 6);
    ck_assert_int_eq(the_target.starts, 1);
    turns(the_task, 20);
    ck_assert_int_eq(info_of(the_task).lag, 0);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_RUNNING);
    ck_assert_int_eq(info_of(the_task).records, 16);
}
END_TEST

START_TEST(an_idle_sink_looks_at_its_target)
{
    int flushes;

    append(0, "A", 1);
    turns(the_task, 5);
    flushes = the_target.flushes;
    turns(the_task, 50); /* 5 s */
    ck_assert_int_ge(the_target.flushes - flushes, 3);
    ck_assert_int_le(the_target.flushes - flushes, 6);
    ck_assert_int_eq(content.next[0], 1);
    ck_assert_int_eq(content.next[1], 0);
}
END_TEST

START_TEST(a_batch_ends_at_its_records)
{
    config.sink_batch_records = 7;
    append(0, "A", 50);
    turns(the_task, 20);
    ck_assert_int_eq(written(0), 50);
    ck_assert_uint_eq(the_target.largest, 7);
}
END_TEST

START_TEST(no_wait_makes_no_batches_of_one)
{
    config.sink_batch_interval = 0;
    append(0, "A", 50);
    turns(the_task, 5);
    ck_assert_int_eq(written(0), 50);
    ck_assert_uint_eq(the_target.largest, 50);
}
END_TEST

START_TEST(a_batch_ends_at_its_memory)
{
    config.sink_fetch_memory = 10000;
    append(0, "A", 50);
    turns(the_task, 60);
    ck_assert_int_eq(written(0), 50);
    ck_assert_uint_gt(the_target.largest, 1);
    ck_assert_uint_lt(the_target.largest, 20);
}
END_TEST

START_TEST(goes_on_where_the_target_is)
{
    append(0, "A", 10);
    content.next[0] = 4;
    turns(the_task, 5);
    ck_assert_int_eq(written(0), 6);
    ck_assert_int_eq(content.times[0][3], 0);
    ck_assert_int_eq(content.times[0][4], 1);
}
END_TEST

START_TEST(no_position_outside_the_topic)
{
    append(0, "A", 10);
    content.next[0] = 11;
    turns(the_task, 5);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_FAILED);
    ck_assert_int_eq(info_of(the_task).code, TALLY_EVENTS_TRUNCATED);
    ck_assert_ptr_nonnull(strstr(info_of(the_task).last.message, "tally sink rebuild target"));
    tally_memory_broker_truncate(broker, "p.stock.events", 0, 3);
    for (int64_t position = TALLY_OFFSET_NONE; position < 3; position++) {
        content.next[0] = position;
        turns(the_task, 100);
        ck_assert_int_eq(info_of(the_task).code, TALLY_EVENTS_INCOMPLETE);
    }
    ck_assert_int_eq(written(0), 0);
    content.next[0] = 3;
    turns(the_task, 100);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_RUNNING);
    ck_assert_int_eq(written(0), 7);
}
END_TEST

/* --- what the target refuses ------------------------------------------------------------------ */

START_TEST(a_refused_record_goes_to_the_dead_letters)
{
    append(0, "A", 20);
    append(0, "BAD", 1);
    append(0, "A", 30);
    append(0, "BAD", 2);
    append(1, "B", 9);
    turns(the_task, 10);
    ck_assert_int_eq(written(0), 50);
    ck_assert_int_eq(written(1), 9);
    ck_assert_int_eq(content.times[0][20], 0);
    ck_assert_int_eq(content.next[0], 53);
    ck_assert_int_eq(letters("SINK_REFUSED", "write"), 3);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_RUNNING);
    ck_assert_int_eq(info_of(the_task).dead_letters, 3);
}
END_TEST

START_TEST(what_cannot_be_decoded_goes_to_the_dead_letters)
{
    append(0, "A", 3);
    append_typed(0, "A", "StockTeleported");
    append(0, "A", 3);
    tally_memory_broker_append(broker, "p.stock.events", 0, TALLY_SLICE("x"), TALLY_SLICE("hello"),
            NULL, 0);
    tally_memory_broker_append(broker, "p.stock.events", 0, TALLY_SLICE("x"),
            TALLY_SLICE("{\"id\":\"other/0@1\"}"), NULL, 0); /* foreign: passed over */
    append(0, "A", 1);
    turns(the_task, 5);
    ck_assert_int_eq(written(0), 7);
    ck_assert_int_eq(content.next[0], 10);
    ck_assert_int_eq(letters("EVENT_UNKNOWN", "decode"), 1);
    ck_assert_int_eq(letters("BAD_RECORD", "decode"), 1);
    ck_assert_int_eq(info_of(the_task).dead_letters, 2);
}
END_TEST

START_TEST(no_position_without_its_dead_letter)
{
    append(0, "A", 3);
    append(0, "BAD", 1);
    append(0, "A", 3);
    tally_memory_broker_fault(broker,
            &(struct tally_memory_fault){
                    .op = TALLY_MEMORY_PUBLISH, .nth = 1, .code = TALLY_UNAVAILABLE});
    for (int i = 0; i < 10 && info_of(the_task).state != TALLY_SINK_BACKING_OFF; i++) {
        turns(the_task, 1);
    }
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_BACKING_OFF);
    ck_assert_int_eq(content.next[0], 3);
    turns(the_task, 20);
    ck_assert_int_eq(written(0), 6);
    ck_assert_int_eq(letters("SINK_REFUSED", "write"), 1);
}
END_TEST

START_TEST(a_target_that_refuses_everything_is_out_of_order)
{
    append(0, "BAD", 150);
    turns(the_task, 20);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_FAILED);
    ck_assert_int_eq(info_of(the_task).code, TALLY_SINK_REFUSED);
    ck_assert_int_eq(letters("SINK_REFUSED", "write"), 100);
    ck_assert_int_eq(content.next[0], 100);
    turns(the_task, 200);
    ck_assert_int_eq(content.next[0], 100);
    ck_assert_int_eq(tally_sink_task_resume(the_task, NULL), TALLY_OK); /* go on all the same */
    turns(the_task, 20);
    ck_assert_int_eq(content.next[0], 150);
    ck_assert_int_eq(letters("SINK_REFUSED", "write"), 150);
}
END_TEST

/* --- outages ---------------------------------------------------------------------------------- */

START_TEST(an_outage_loses_nothing)
{
    static const enum tally_code codes[] = {TALLY_UNAVAILABLE, TALLY_TIMEOUT, TALLY_SINK_SCHEMA,
            TALLY_SINK_DENIED, TALLY_SINK_FULL};
    enum tally_code code = codes[_i % 5];
    bool slow = _i % 5 > 1;

    append(0, "A", 10);
    turns(the_task, 5);
    *(_i < 5          ? &the_target.flush_code
            : _i < 10 ? &the_target.put_code
                      : &the_target.start_code) = code;
    append(0, "A", 200);
    if (_i >= 10) { /* the connection is gone */
        the_target.flush_code = TALLY_UNAVAILABLE;
    }
    turns(the_task, 100);
    ck_assert_int_eq(written(0), 10);
    ck_assert_int_eq(content.next[0], 10);
    ck_assert_int_eq(info_of(the_task).state, slow ? TALLY_SINK_FAILED : TALLY_SINK_BACKING_OFF);
    ck_assert_int_eq(info_of(the_task).code, code);
    ck_assert_int_ne(info_of(the_task).breaker, TALLY_BREAKER_CLOSED);
    ck_assert_int_eq(info_of(the_task).lag, 200);
    ck_assert_int_lt(the_target.starts, 20); /* 10 s */
    ck_assert_uint_eq(the_task->count, 0);
    the_target.largest = 0;
    the_target.failures_left = 0;
    for (int i = 0; i < 100 && written(0) == 10; i++) {
        turns(the_task, 1);
    }
    ck_assert_uint_eq(the_target.largest, 100); /* half-open: a small batch first */
    turns(the_task, 20);
    ck_assert_int_eq(written(0), 210);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_RUNNING);
    ck_assert_int_eq(info_of(the_task).breaker, TALLY_BREAKER_CLOSED);
    ck_assert_int_eq(info_of(the_task).code, TALLY_OK);
    ck_assert_int_eq(info_of(the_task).last.code, code);
}
END_TEST

START_TEST(the_broker_away_is_no_fault_of_the_target)
{
    append(0, "A", 3);
    turns(the_task, 5);
    for (unsigned i = 1; i <= 5; i++) {
        tally_memory_broker_fault(broker,
                &(struct tally_memory_fault){
                        .op = TALLY_MEMORY_POLL, .nth = i, .code = TALLY_UNAVAILABLE});
    }
    append(0, "A", 3);
    turns(the_task, 10);
    ck_assert_int_eq(written(0), 6);
    ck_assert_int_eq(the_target.starts, 1);
}
END_TEST

START_TEST(the_breaker_waits_longer_and_longer)
{
    struct sink_breaker breaker;
    int64_t now_ms = 1000, least_ms = 100;

    sink_breaker_init(&breaker, RETRY_MAX_MS, (uint64_t)_i * 77);
    ck_assert(sink_breaker_allows(&breaker, now_ms));
    for (int i = 1; i < 12; i++) {
        int64_t wait_ms;

        sink_breaker_failed(&breaker, now_ms, false);
        wait_ms = breaker.retry_ms - now_ms;
        ck_assert_int_ge(wait_ms, least_ms / 2);
        ck_assert_int_le(wait_ms, least_ms);
        ck_assert_int_eq(breaker.state, i < 5 ? TALLY_BREAKER_CLOSED : TALLY_BREAKER_OPEN);
        ck_assert(!sink_breaker_allows(&breaker, now_ms + wait_ms - 1));
        ck_assert(sink_breaker_allows(&breaker, now_ms + wait_ms));
        ck_assert_int_eq(breaker.state, i < 5 ? TALLY_BREAKER_CLOSED : TALLY_BREAKER_HALF_OPEN);
        now_ms += wait_ms;
        least_ms = least_ms * 2 < RETRY_MAX_MS ? least_ms * 2 : RETRY_MAX_MS;
    }
    sink_breaker_succeeded(&breaker);
    ck_assert_int_eq(breaker.state, TALLY_BREAKER_CLOSED);
    ck_assert(sink_breaker_allows(&breaker, now_ms));
}
END_TEST

/* --- the group -------------------------------------------------------------------------------- */

START_TEST(a_fenced_sink_joins_again)
{
    int starts;

    append(0, "A", 3);
    turns(the_task, 5);
    starts = the_target.starts;
    content.epoch[0]++; /* somebody else has opened it */
    append(0, "A", 3);
    turns(the_task, 30);
    ck_assert_int_eq(written(0), 6);
    ck_assert_int_gt(the_target.starts, starts);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_RUNNING);
}
END_TEST

/* It can be opened and asked, and takes no rows: that it came back says nothing. */
START_TEST(a_target_that_takes_no_batch_has_not_recovered)
{
    append(0, "A", 10);
    turns(the_task, 5);
    the_target.flush_code = TALLY_SINK_FULL;
    append(0, "A", 10);
    for (int i = 0; i < 20 && info_of(the_task).state != TALLY_SINK_FAILED; i++) {
        turns(the_task, 1);
    }
    for (int i = 0; i < 100; i++) {
        if (i % 2) { /* records are not there at once when it has come back */
            tally_memory_broker_fault(broker,
                    &(struct tally_memory_fault){
                            .op = TALLY_MEMORY_POLL, .nth = 1, .code = TALLY_AGAIN});
        }
        turns(the_task, 1);
        ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_FAILED);
        ck_assert_int_ne(info_of(the_task).breaker, TALLY_BREAKER_CLOSED);
    }
    the_target.failures_left = 0;
    turns(the_task, 50);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_RUNNING);
    ck_assert_int_eq(written(0), 20);
}
END_TEST

START_TEST(two_instances_share_and_a_zombie_writes_nothing)
{
    struct target other_target;
    struct tally_client *other_client = tally_memory_client_create(broker, "tally", "b");
    struct tally_sink_task *other = make(&other_target, other_client);
    int flushes;

    tally_memory_broker_group_times(broker, SESSION_MS, SESSION_MS, 100);
    append(0, "A", 3);
    turns(the_task, 10);
    ck_assert_int_eq(written(0), 3);
    append(0, "A", 10); /* the first one stands still, with these on their way */
    for (int i = 0; i < 400; i++) {
        turns(other, 1);
    }
    ck_assert_int_eq(written(0), 13);
    ck_assert_uint_eq(info_of(other).partitions, 2);
    flushes = the_target.flushes;
    append(0, "A", 5);
    tally_sink_task_turn(the_task, 0); /* it wakes */
    ck_assert_int_eq(written(0), 13);
    ck_assert_int_eq(the_target.flushes, flushes);
    for (int i = 0; i < 100; i++) { /* and takes its share again */
        turns(the_task, 1);
        turns(other, 1);
    }
    ck_assert_uint_eq(info_of(the_task).partitions, 1);
    ck_assert_uint_eq(info_of(other).partitions, 1);
    ck_assert_int_eq(written(0), 18);
    end(other);
    ck_assert_int_eq(tally_memory_client_unreleased(other_client), 0);
    other_client->ops->destroy(other_client);
}
END_TEST

START_TEST(a_revoke_writes_the_batch_first)
{
    config.sink_batch_interval = 60000;
    append(0, "A", 3);
    turns(the_task, 5);
    tally_memory_broker_rebalance(broker, false);
    turns(the_task, 1);
    ck_assert_int_eq(the_target.closes, 1);
    turns(the_task, 5);
    ck_assert_int_eq(written(0), 3);
}
END_TEST

START_TEST(a_loss_writes_nothing)
{
    append(0, "A", 3);
    turns(the_task, 2);
    append(0, "A", 3);
    tally_memory_broker_rebalance(broker, true);
    turns(the_task, 20);
    ck_assert_int_eq(written(0), 6);
}
END_TEST

/* --- requests --------------------------------------------------------------------------------- */

START_TEST(paused_over_a_restart)
{
    append(0, "A", 3);
    turns(the_task, 5);
    ck_assert_int_eq(tally_sink_task_pause(the_task, NULL), TALLY_OK);
    append(0, "A", 3);
    turns(the_task, 20);
    ck_assert_int_eq(written(0), 3);
    ck_assert(!the_target.started);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_PAUSED);
    ck_assert_int_eq(info_of(the_task).lag, 3);
    end(the_task);
    the_task = make(&the_target, client);
    turns(the_task, 20);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_PAUSED);
    ck_assert_int_eq(info_of(the_task).lag, -1); /* nobody has asked the target */
    ck_assert_int_eq(written(0), 3);
    ck_assert_int_eq(tally_sink_task_resume(the_task, NULL), TALLY_OK);
    turns(the_task, 20);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_RUNNING);
    ck_assert_int_eq(written(0), 6);
    end(the_task);
    the_task = make(&the_target, client);
    ck_assert_int_ne(info_of(the_task).state, TALLY_SINK_PAUSED);
}
END_TEST

START_TEST(a_rebuild_begins_at_the_first_event)
{
    config.sink_batch_records = 10;
    append(0, "A", 100);
    append(1, "B", 40);
    turns(the_task, 40);
    ck_assert_int_eq(written(0) + written(1), 140);
    ck_assert_int_eq(tally_sink_task_rebuild(the_task, NULL), TALLY_OK);
    turns(the_task, 2);
    ck_assert_int_eq(content.rebuilds, 1);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_REBUILDING);
    turns(the_task, 60);
    ck_assert_int_eq(written(0) + written(1), 140);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_RUNNING);
    ck_assert_int_eq(content.rebuilds, 1);
}
END_TEST

START_TEST(a_rebuild_is_shown_after_a_restart)
{
    config.sink_batch_records = 10;
    append(0, "A", 100);
    append(1, "B", 40);
    turns(the_task, 40);
    ck_assert_int_eq(tally_sink_task_rebuild(the_task, NULL), TALLY_OK);
    turns(the_task, 3);
    ck_assert_int_lt(written(0) + written(1), 140);
    ck_assert(content.building);
    end(the_task);
    the_task = make(&the_target, client);
    turns(the_task, 2);
    ck_assert(content.building);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_REBUILDING);
    turns(the_task, 60);
    ck_assert_int_eq(written(0) + written(1), 140);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_RUNNING);
    ck_assert_int_eq(content.rebuilds, 1);
}
END_TEST

/* Asked for while the target is away; invariant (4). */
START_TEST(a_rebuild_that_waits_outlasts_a_restart)
{
    append(0, "A", 10);
    turns(the_task, 10);
    the_target.flush_code = the_target.start_code = TALLY_UNAVAILABLE;
    append(0, "A", 1);
    turns(the_task, 10);
    ck_assert_int_eq(tally_sink_task_rebuild(the_task, NULL), TALLY_OK);
    turns(the_task, 50);
    ck_assert_int_eq(content.rebuilds, 0);
    end(the_task);
    the_task = make(&the_target, client);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_REBUILDING);
    turns(the_task, 20);
    ck_assert_int_eq(content.rebuilds, 1);
    ck_assert_int_eq(written(0), 11);
    end(the_task); /* and is not begun again */
    the_task = make(&the_target, client);
    turns(the_task, 20);
    ck_assert_int_eq(content.rebuilds, 1);
}
END_TEST

/* The file cannot be removed: one rebuild, not one after the other. */
START_TEST(a_wish_that_stays_is_fulfilled_once)
{
    char path[64];

    (void)snprintf(path, sizeof path, "%s/sink-target.rebuild", config.state_dir);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    end(the_task);
    the_task = make(&the_target, client);
    append(0, "A", 10);
    turns(the_task, 100);
    ck_assert_int_eq(content.rebuilds, 1);
    ck_assert_int_eq(written(0), 10);
    ck_assert_int_eq(info_of(the_task).state, TALLY_SINK_RUNNING);
    ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

START_TEST(a_thread_starts_and_ends)
{
    config.sink_batch_interval = 0;
    append(0, "A", 3);
    tally_sink_task_start(the_task);
    while (info_of(the_task).records != 3) {
        usleep(1000);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sink_task");
    TCase *tests = tcase_create("sink_task");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, writes_everything_once_and_moves_on);
    tcase_add_test(tests, an_idle_sink_looks_at_its_target);
    tcase_add_test(tests, a_batch_ends_at_its_records);
    tcase_add_test(tests, no_wait_makes_no_batches_of_one);
    tcase_add_test(tests, a_batch_ends_at_its_memory);
    tcase_add_test(tests, goes_on_where_the_target_is);
    tcase_add_test(tests, no_position_outside_the_topic);
    tcase_add_test(tests, a_refused_record_goes_to_the_dead_letters);
    tcase_add_test(tests, what_cannot_be_decoded_goes_to_the_dead_letters);
    tcase_add_test(tests, no_position_without_its_dead_letter);
    tcase_add_test(tests, a_target_that_refuses_everything_is_out_of_order);
    tcase_add_loop_test(tests, an_outage_loses_nothing, 0, 15);
    tcase_add_test(tests, the_broker_away_is_no_fault_of_the_target);
    tcase_add_loop_test(tests, the_breaker_waits_longer_and_longer, 0, 20);
    tcase_add_test(tests, a_target_that_takes_no_batch_has_not_recovered);
    tcase_add_test(tests, a_fenced_sink_joins_again);
    tcase_add_test(tests, two_instances_share_and_a_zombie_writes_nothing);
    tcase_add_test(tests, a_revoke_writes_the_batch_first);
    tcase_add_test(tests, a_loss_writes_nothing);
    tcase_add_test(tests, paused_over_a_restart);
    tcase_add_test(tests, a_rebuild_begins_at_the_first_event);
    tcase_add_test(tests, a_rebuild_is_shown_after_a_restart);
    tcase_add_test(tests, a_rebuild_that_waits_outlasts_a_restart);
    tcase_add_test(tests, a_wish_that_stays_is_fulfilled_once);
    tcase_add_test(tests, a_thread_starts_and_ends);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
