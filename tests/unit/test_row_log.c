/* tests/unit/test_row_log.c - of all rows with a key the last one is in the run, and the run is
 * sorted; a store's appended rows are its state after the commit. Invariants: row_log.c (1) (2). */
#include <check.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "state/key_schema.h"
#include "state/row_log_internal.h"
#include "tests/unit/store_fixture.h"

enum { KEYS_MAX = 40000 };

static uint64_t seed;
static atomic_llong account;
static struct row_log row_log;
static struct fixture f;

static uint64_t next_random(uint64_t below)
{
    seed += 0x9e3779b97f4a7c15u;
    return ((seed ^ (seed >> 31)) * 0xbf58476d1ce4e5b9u >> 17) % below;
}

static void setup(void)
{
    seed = (uint64_t)1;
    atomic_store(&account, 0);
    row_log_init(&row_log, &account);
}

static void teardown(void)
{
    row_log_deinit(&row_log);
    ck_assert_int_eq(atomic_load(&account), 0);
}

struct written {
    uint8_t bytes[TALLY_KEY_MAX];
    size_t len, number; /* of the last write */
    bool deleted;
};

/* Long common starts, zero bytes, keys that are prefixes of others, all lengths. */
static void make_key(struct written *key)
{
    key->len = next_random(50) ? 1 + next_random(40) : TALLY_KEY_MAX - next_random(2);
    memset(key->bytes, 'k', sizeof key->bytes);
    for (size_t at = next_random(key->len); at < key->len; at++) {
        key->bytes[at] = (uint8_t)(next_random(3) == 0 ? 0 : next_random(256));
    }
    key->bytes[0] = (uint8_t)('G' + next_random(3)); /* a store */
}

static int compare_keys(const void *a, const void *b)
{
    const struct written *left = a, *right = b;

    return tally_slice_compare(tally_slice_of(left->bytes, left->len),
            tally_slice_of(right->bytes, right->len));
}

static size_t make_keys(struct written *keys, size_t count)
{
    size_t distinct = 0;

    for (size_t i = 0; i < count; i++) {
        make_key(&keys[i]);
        keys[i].number = SIZE_MAX;
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 0; i < count; i++) {
        if (distinct == 0 || compare_keys(&keys[i], &keys[distinct - 1]) != 0)
            keys[distinct++] = keys[i];
    }
    return distinct;
}

static void write_some(struct written *keys, size_t count, size_t writes)
{
    for (size_t i = 0; i < writes; i++) {
        struct written *key = &keys[next_random(count)];
        uint8_t value[40];

        memset(value, (int)(i % 251), sizeof value);
        memcpy(value, &i, sizeof i);
        key->number = i;
        key->deleted = next_random(5) == 0;
        row_log_add(&row_log, tally_slice_of(key->bytes, key->len),
                tally_slice_of(value, sizeof i + i % 30), key->deleted);
    }
}

static void check_row(const struct cursor *row, const struct written *key)
{
    ck_assert(tally_slice_equal(row->key, tally_slice_of(key->bytes, key->len)));
    ck_assert_int_eq(row->deleted, key->deleted);
    if (key->deleted) {
        ck_assert_uint_eq(row->value.len, 0);
    } else {
        ck_assert_uint_eq(row->value.len, sizeof key->number + key->number % 30);
        ck_assert_mem_eq(row->value.data, &key->number, sizeof key->number);
    }
}

static void check_run(struct run *run, const struct written *keys, size_t count)
{
    struct cursor *cursor = run_cursor(run, TALLY_NONE, TALLY_NONE, false);
    size_t rows = 0;

    for (size_t i = 0; i < count; i++) {
        struct tally_slice key = tally_slice_of(keys[i].bytes, keys[i].len);
        struct row row;
        bool found = run_find(run, key, row_hash(key), &row);

        ck_assert_int_eq(found, keys[i].number != SIZE_MAX);
        if (!found)
            continue;
        ck_assert(tally_slice_equal(row_key(&row), key));
        ck_assert_int_eq(cursor_next(cursor, NULL), TALLY_OK);
        check_row(cursor, &keys[i]);
        rows++;
    }
    ck_assert_int_eq(cursor_next(cursor, NULL), TALLY_NOT_FOUND);
    ck_assert_uint_eq(run->count, rows);
    cursor_destroy(cursor);
}

START_TEST(test_the_last_row_of_a_key_stays)
{
    static const size_t keys_of[] = {1, 2, 20, 24, 25, 26, 100, 300, 5000, KEYS_MAX};
    struct written *keys = tally_alloc(KEYS_MAX * sizeof *keys);
    size_t count = make_keys(keys, keys_of[_i]);

    for (int round = 0; round < 3; round++) { /* the memory of a run is made anew */
        size_t writes = 1 + next_random(3 * count);
        struct run *run;

        for (size_t i = 0; i < count; i++) {
            keys[i].number = SIZE_MAX;
        }
        write_some(keys, count, writes);
        ck_assert_uint_gt(row_log_bytes(&row_log), writes);
        ck_assert_int_gt(atomic_load(&account), (long long)writes);
        run = row_log_freeze(&row_log, 7, &account);
        ck_assert_uint_eq(row_log_bytes(&row_log), 0);
        ck_assert_uint_eq(run->sequence, 7);
        ck_assert_int_eq(atomic_load(&account), (long long)run->size);
        check_run(run, keys, count);
        run_unref(run);
    }
    tally_free(keys);
}
END_TEST

START_TEST(test_a_key_written_over_and_over_is_one_row)
{
    struct written key = {.bytes = "key", .len = 3};
    struct run *run;

    write_some(&key, 1, 1000);
    run = row_log_freeze(&row_log, 1, NULL);
    check_run(run, &key, 1);
    run_unref(run);
}
END_TEST

START_TEST(test_cleared_rows_are_in_no_run)
{
    struct written keys[2] = {{.bytes = "a", .len = 1}, {.bytes = "b", .len = 1}};
    struct run *run;

    write_some(keys, 1, 100);
    row_log_clear(&row_log);
    ck_assert_int_eq(atomic_load(&account), 0);
    ck_assert_uint_eq(row_log_bytes(&row_log), 0);
    keys[0].number = SIZE_MAX;
    write_some(keys + 1, 1, 1);
    run = row_log_freeze(&row_log, 1, NULL);
    check_run(run, keys, 2);
    run_unref(run);
}
END_TEST

/* --- in a store
 * --------------------------------------------------------------------------------- */

START_TEST(test_appended_rows_are_there_after_the_commit)
{
    fixture_begin(&f, _i);
    fixture_put(&f, "La", "1");
    fixture_put(&f, "Lb", "1");
    fixture_commit(&f, 1);
    ck_assert_str_eq(fixture_get(&f, "La"), "1"); /* cached now */
    ck_assert_str_eq(fixture_get(&f, "Lc"), "(none)");
    fixture_append(&f, "Lc", "2");
    fixture_append(&f, "La", "2");
    fixture_append(&f, "Lb", NULL);
    fixture_append(&f, "La", "3");
    ck_assert_uint_gt(tally_store_uncommitted(f.store), 0);
    ck_assert_str_eq(fixture_view_get(&f, NULL, "La"), "1");
    fixture_commit(&f, 2);
    ck_assert_uint_eq(tally_store_uncommitted(f.store), 0);
    for (int flushed = 0; flushed < 2; flushed++) {
        ck_assert_str_eq(fixture_get(&f, "La"), "3");
        ck_assert_str_eq(fixture_get(&f, "Lb"), "(none)");
        ck_assert_str_eq(fixture_get(&f, "Lc"), "2");
        ck_assert_str_eq(fixture_view_get(&f, NULL, "La"), "3");
        ck_assert_str_eq(fixture_view_get(&f, NULL, "Lb"), "(none)");
        ck_assert_str_eq(fixture_scan(&f, NULL, "L", "M", false), "La=3 Lc=2");
        fixture_flush(&f);
    }
    fixture_append(&f, "La", "4");
    fixture_append(&f, "Ld", "4");
    tally_store_rollback(f.store);
    ck_assert_uint_eq(tally_store_uncommitted(f.store), 0);
    ck_assert_str_eq(fixture_get(&f, "La"), "3");
    ck_assert_str_eq(fixture_get(&f, "Ld"), "(none)");
    fixture_end(&f);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("row_log");
    TCase *tests = tcase_create("row_log");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, test_the_last_row_of_a_key_stays, 0, 10);
    tcase_add_test(tests, test_a_key_written_over_and_over_is_one_row);
    tcase_add_test(tests, test_cleared_rows_are_in_no_run);
    tcase_add_loop_test(tests, test_appended_rows_are_there_after_the_commit, 0, FIXTURE_KINDS);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
