/* tests/unit/test_task_timers.c - durable timers against a plain model: whatever is put, deleted,
 * committed, dropped and begun anew, every committed row fires once it is due, and none twice. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/task_timers.h"
#include "tests/unit/store_fixture.h"

#define IDS   6
#define TIMES 24 /* due times are 0.. of them, and the clock goes on through them */
#define ROWS  (IDS * TIMES)
#define STEPS 20000

struct row {
    bool committed, now; /* is there: committed; with the open transaction */
    bool fired;          /* since it was last put, and in this life of the task */
    int puts;            /* that it has not fired for: twice in a transaction may be two */
    bool fired_committed;
    int puts_committed;
};

static struct fixture f;
static struct task_timers timers;
static struct row model[ROWS];
static int64_t now_ms;

static void setup(void)
{
    fixture_init(&f, FIXTURE_MEMORY);
    f.identity.topology = "reservation";
    fixture_start(&f);
    fixture_open(&f);
    task_timers_init(&timers, TALLY_STORE_RESERVATION_TIMER);
    memset(model, 0, sizeof model);
    now_ms = 0;
}

static void teardown(void)
{
    task_timers_deinit(&timers);
    fixture_end(&f);
}

static uint64_t next_random(uint64_t below)
{
    static uint64_t x = 88172645463325252;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (x >> 11) % below;
}

static struct tally_key key_of(size_t row)
{
    struct tally_key key;
    char id[16];

    snprintf(id, sizeof id, "id-%zu", row % IDS);
    tally_key_begin(&key, TALLY_STORE_RESERVATION_TIMER);
    tally_key_u64(&key, row / IDS);
    tally_key_tail(&key, tally_slice_string(id));
    return key;
}

static size_t row_of(struct tally_slice key)
{
    for (size_t row = 0; row < ROWS; row++) {
        struct tally_key candidate = key_of(row);

        if (tally_slice_equal(tally_key_bytes(&candidate), key)) {
            return row;
        }
    }
    ck_abort_msg("a key that was never put fires");
    return 0;
}

static void put(size_t row)
{
    struct tally_key key = key_of(row);

    task_timers_put(&timers, &key);
    tally_store_put(f.store, tally_key_bytes(&key), TALLY_SLICE("value"));
    model[row].now = true;
    model[row].fired = false; /* it fires again, once it is committed */
    model[row].puts++;
}

static void take_away(size_t row)
{
    struct tally_key key = key_of(row);

    tally_store_delete(f.store, tally_key_bytes(&key));
    model[row].now = false;
}

static void commit(void)
{
    struct tally_positions positions = fixture_positions(1);

    tally_store_commit(f.store, &positions);
    task_timers_commit(&timers);
    for (size_t row = 0; row < ROWS; row++) {
        model[row].committed = model[row].now;
        model[row].fired_committed = model[row].fired;
        model[row].puts_committed = model[row].puts;
    }
}

static void drop(void)
{
    tally_store_rollback(f.store);
    task_timers_rollback(&timers);
    for (size_t row = 0; row < ROWS; row++) {
        model[row].now = model[row].committed;
        model[row].fired = model[row].fired_committed;
        model[row].puts = model[row].puts_committed;
    }
}

static void begin(void)
{
    drop();
    task_timers_begin(&timers);
    for (size_t row = 0; row < ROWS; row++) {
        model[row].fired = model[row].fired_committed = false;
        model[row].puts = model[row].puts_committed = 1;
    }
}

static void fires(void *context, struct tally_slice key, int64_t due_ms, struct tally_slice value)
{
    size_t row = row_of(key);

    (void)context;
    ck_assert(tally_slice_equal(value, TALLY_SLICE("value")));
    ck_assert_int_eq(due_ms, (int64_t)(row / IDS));
    ck_assert_int_le(due_ms, now_ms);
    ck_assert_msg(model[row].committed && model[row].now, "not committed, or deleted since");
    ck_assert_msg(model[row].puts-- > 0, "it has fired");
    model[row].fired = true;
}

static size_t fire(size_t max)
{
    struct tally_error err;
    size_t count = 0;

    if (task_timers_next_ms(&timers) > now_ms) {
        return 0;
    }
    ck_assert_int_eq(task_timers_fire(&timers, f.store, now_ms, max, fires, NULL, &count, &err),
            TALLY_OK);
    ck_assert_uint_le(count, max);
    return count;
}

/* At rest: nothing is open, and nothing more fires. */
static void all_have_fired(void)
{
    commit();
    while (fire(3) > 0 || task_timers_next_ms(&timers) <= now_ms) {
        commit();
    }
    for (size_t row = 0; row < ROWS; row++) {
        ck_assert_msg(!model[row].committed || (int64_t)(row / IDS) > now_ms || model[row].fired,
                "row %zu is due and has not fired", row);
    }
}

START_TEST(every_row_fires_once)
{
    for (int step = 0; step < STEPS; step++) {
        size_t row = next_random(ROWS);

        switch (next_random(16)) {
        case 0:
        case 1:
            commit();
            break;
        case 2:
            drop();
            break;
        case 3:
        case 4:
        case 5:
            (void)fire(1 + next_random(4));
            break;
        case 6:
        case 7:
            take_away(row);
            break;
        case 8:
            now_ms = now_ms < TIMES && next_random(40) == 0 ? now_ms + 1 : now_ms;
            break;
        case 9:
            if (next_random(50) == 0) {
                begin();
            }
            break;
        case 10:
            if (next_random(20) == 0) {
                all_have_fired();
            }
            break;
        default:
            put(row);
            break;
        }
        if (step % 4000 == 3999) { /* from the beginning again */
            all_have_fired();
            now_ms = 0;
            begin();
        }
    }
    all_have_fired();
}
END_TEST

START_TEST(nothing_is_read_while_nothing_is_due)
{
    commit();
    ck_assert_int_eq(task_timers_next_ms(&timers), INT64_MIN); /* the first look */
    (void)fire(10);
    ck_assert_int_eq(task_timers_next_ms(&timers), INT64_MAX);
    put(20 * IDS);
    put(10 * IDS + 1);
    ck_assert_int_eq(task_timers_next_ms(&timers), INT64_MAX); /* from committed rows alone */
    commit();
    ck_assert_int_eq(task_timers_next_ms(&timers), 10);
    now_ms = 10;
    ck_assert_uint_eq(fire(10), 1);
    ck_assert_int_eq(task_timers_next_ms(&timers), 20);
    drop();
    ck_assert_uint_eq(fire(10), 1);
    commit();
    now_ms = 30;
    put(5 * IDS); /* before the one that has fired */
    ck_assert_uint_eq(fire(10), 1);
    commit();
    ck_assert_int_eq(task_timers_next_ms(&timers), INT64_MIN);
    ck_assert_uint_eq(fire(10), 1);
    commit();
    ck_assert_int_eq(task_timers_next_ms(&timers), INT64_MAX);
}
END_TEST

START_TEST(other_stores_are_none_of_its_business)
{
    struct tally_key key;

    (void)fire(1);
    tally_key_begin(&key, TALLY_STORE_RESERVATION);
    tally_key_tail(&key, TALLY_SLICE("12345678"));
    task_timers_put(&timers, &key);
    tally_store_put(f.store, tally_key_bytes(&key), TALLY_SLICE("value"));
    commit();
    ck_assert_int_eq(task_timers_next_ms(&timers), INT64_MAX);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("task_timers");
    TCase *tcase = tcase_create("timers");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, every_row_fires_once);
    tcase_add_test(tcase, nothing_is_read_while_nothing_is_due);
    tcase_add_test(tcase, other_stores_are_none_of_its_business);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
