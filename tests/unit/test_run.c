/* tests/unit/test_run.c - runs: look-ups, cursors, and the merge in which the newest row wins. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "state/run_internal.h"

enum { TEXT_MAX = 32 };

static atomic_llong account;

/* "a=1 b- c=3": rows in order, '-' deleted. */
static struct run *make(const char *text, uint64_t sequence)
{
    char bytes[16][TEXT_MAX];
    struct row rows[16];
    size_t count = 0;

    while (*text) {
        size_t len = strcspn(text, " "), key_len = strcspn(text, "=- ");
        bool deleted = text[key_len] == '-';

        memcpy(bytes[count], text, key_len);
        if (!deleted)
            memcpy(bytes[count] + key_len, text + key_len + 1, len - key_len - 1);
        rows[count] = (struct row){.key = (uint8_t *)bytes[count],
                .key_len = (uint16_t)key_len,
                .value_len = deleted ? 0 : (uint32_t)(len - key_len - 1),
                .deleted = deleted};
        count++;
        text += len + (text[len] == ' ');
    }
    return run_freeze(rows, count, sequence, &account);
}

static const char *read_all(struct cursor *cursor)
{
    static char text[1024];
    size_t len = 0;
    enum tally_code code;

    text[0] = '\0';
    while ((code = cursor_next(cursor, NULL)) == TALLY_OK) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s%s%.*s", len > 0 ? " " : "",
                (int)cursor->key.len, (const char *)cursor->key.data, cursor->deleted ? "-" : "=",
                (int)cursor->value.len, (const char *)cursor->value.data);
    }
    ck_assert_int_eq(code, TALLY_NOT_FOUND);
    cursor_destroy(cursor);
    return text;
}

static struct cursor *cursor_of(const struct run *run, const char *lower, const char *upper,
        bool backwards)
{
    return run_cursor(run, tally_slice_string(lower), tally_slice_string(upper), backwards);
}

START_TEST(test_find)
{
    struct run *run = make("La=1 Lb- Lc=3", 1);
    struct row row;

    ck_assert(run_find(run, TALLY_SLICE("La"), row_hash(TALLY_SLICE("La")), &row));
    ck_assert(tally_slice_equal(row_value(&row), TALLY_SLICE("1")));
    ck_assert(run_find(run, TALLY_SLICE("Lb"), row_hash(TALLY_SLICE("Lb")), &row));
    ck_assert(row.deleted);
    ck_assert(!run_find(run, TALLY_SLICE("L"), row_hash(TALLY_SLICE("L")), &row));
    ck_assert(!run_find(run, TALLY_SLICE("Ld"), row_hash(TALLY_SLICE("Ld")), &row));
    run_unref(run);
}
END_TEST

START_TEST(test_find_among_many)
{
    enum { COUNT = 30000 };
    static char bytes[COUNT][TEXT_MAX];
    static struct row rows[COUNT];
    struct run *run;
    struct row row;

    for (int i = 0; i < COUNT; i++) {
        int len = snprintf(bytes[i], TEXT_MAX, "Lkey-%d", i);

        /* the value is what follows: two zero bytes */
        rows[i] =
                (struct row){.key = (uint8_t *)bytes[i], .key_len = (uint16_t)len, .value_len = 2};
    }
    row_sort(rows, COUNT);
    run = run_freeze(rows, COUNT, 1, NULL);
    for (int i = 0; i < 2 * COUNT; i++) {
        char text[TEXT_MAX];
        int len = snprintf(text, sizeof text, "Lkey-%d", i);
        struct tally_slice key = tally_slice_of(text, (size_t)len);

        ck_assert_int_eq(run_find(run, key, row_hash(key), &row), i < COUNT);
        if (i < COUNT)
            ck_assert(tally_slice_equal(row_key(&row), key));
    }
    run_unref(run);
}
END_TEST

START_TEST(test_cursor_bounds)
{
    struct run *run = make("a=1 b=2 c- d=4", 1), *empty = make("", 2);

    ck_assert_str_eq(read_all(cursor_of(run, "", "", false)), "a=1 b=2 c- d=4");
    ck_assert_str_eq(read_all(cursor_of(run, "", "", true)), "d=4 c- b=2 a=1");
    ck_assert_str_eq(read_all(cursor_of(run, "b", "d", false)), "b=2 c-");
    ck_assert_str_eq(read_all(cursor_of(run, "aa", "cc", true)), "c- b=2");
    ck_assert_str_eq(read_all(cursor_of(run, "e", "", false)), "");
    ck_assert_str_eq(read_all(cursor_of(run, "c", "a", false)), "");
    ck_assert_str_eq(read_all(cursor_of(empty, "", "", true)), "");
    run_unref(run);
    run_unref(empty);
}
END_TEST

START_TEST(test_merge_takes_the_newest)
{
    struct run *runs[3] = {
            make("b- d=new f=new", 7), make("a=mid b=mid d=mid", 6), make("a=old c=old f- g-", 5)};
    struct run *merged = run_merge(runs, 3, true, &account),
               *live = run_merge(runs, 3, false, NULL);

    ck_assert_str_eq(read_all(cursor_of(merged, "", "", false)), "a=mid b- c=old d=new f=new g-");
    ck_assert_str_eq(read_all(cursor_of(merged, "", "", true)), "g- f=new d=new c=old b- a=mid");
    ck_assert_str_eq(read_all(cursor_of(live, "", "", false)), "a=mid c=old d=new f=new");
    ck_assert_uint_eq(merged->sequence, 7);
    for (int i = 0; i < 3; i++) {
        run_unref(runs[i]);
    }
    run_unref(merged);
    run_unref(live);
    ck_assert_int_eq(atomic_load(&account), 0);
}
END_TEST

START_TEST(test_merge_backwards)
{
    struct run *runs[2] = {make("b- d=new", 2), make("a=old b=old e=old", 1)};
    struct cursor *cursors[2] = {
            cursor_of(runs[0], "", "", true), cursor_of(runs[1], "", "", true)};

    ck_assert_str_eq(read_all(merge_create(cursors, 2, true)), "e=old d=new b- a=old");
    ck_assert_str_eq(read_all(merge_create(NULL, 0, true)), "");
    run_unref(runs[0]);
    run_unref(runs[1]);
}
END_TEST

/* A source that fails after some rows. */
struct failing {
    struct cursor cursor;
    int left;
    int *destroyed;
};

static enum tally_code failing_next(struct cursor *cursor, struct tally_error *err)
{
    struct failing *self = (struct failing *)cursor;

    if (self->left-- == 0)
        return tally_error_set(err, TALLY_STORE_CORRUPT, "damaged");
    cursor->key = TALLY_SLICE("b");
    return TALLY_OK;
}

static void failing_destroy(struct cursor *cursor)
{
    ++*((struct failing *)cursor)->destroyed;
    tally_free(cursor);
}

START_TEST(test_merge_carries_errors_up)
{
    static const struct cursor_ops ops = {.next = failing_next, .destroy = failing_destroy};
    struct run *run = make("a=1 c=3", 1);

    for (int left = 0; left < 2; left++) {
        int destroyed = 0;
        struct failing *failing = tally_alloc_zero(1, sizeof *failing);
        struct cursor *cursors[3] = {
                cursor_of(run, "", "", false), &failing->cursor, cursor_of(run, "", "", false)};
        struct cursor *merge;
        struct tally_error err = {0};
        enum tally_code code;

        *failing = (struct failing){.cursor.ops = &ops, .left = left, .destroyed = &destroyed};
        merge = merge_create(cursors, 3, false);
        while ((code = cursor_next(merge, &err)) == TALLY_OK) {
        }
        ck_assert_int_eq(code, TALLY_STORE_CORRUPT);
        ck_assert_str_eq(err.message, "damaged");
        cursor_destroy(merge);
        ck_assert_int_eq(destroyed, 1);
    }
    run_unref(run);
}
END_TEST

START_TEST(test_memory_is_accounted)
{
    struct run *run = make("a=1", 1), *again;

    ck_assert_int_eq(atomic_load(&account), (long long)run->size);
    again = run_ref(run);
    run_unref(run);
    ck_assert_int_gt(atomic_load(&account), 0);
    run_unref(again);
    ck_assert_int_eq(atomic_load(&account), 0);
    run_unref(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("run");
    TCase *tests = tcase_create("run");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tests, test_find);
    tcase_add_test(tests, test_find_among_many);
    tcase_add_test(tests, test_cursor_bounds);
    tcase_add_test(tests, test_merge_takes_the_newest);
    tcase_add_test(tests, test_merge_backwards);
    tcase_add_test(tests, test_merge_carries_errors_up);
    tcase_add_test(tests, test_memory_is_accounted);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
