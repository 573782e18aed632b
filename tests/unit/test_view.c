/* tests/unit/test_view.c - reads of what is in memory; every case runs in memory and on RocksDB. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/unit/store_fixture.h"

static struct fixture f;

static void setup(void)
{
    memset(&f, 0, sizeof f);
}

static void teardown(void)
{
    fixture_end(&f);
}

/* What is in memory is told as ever; what is in a file only once somebody has read it. */
START_TEST(test_ready_rows_are_those_in_memory)
{
    struct tally_view *view;
    struct tally_buf buf;
    enum tally_code code;

    fixture_begin(&f, _i);
    tally_buf_init(&buf, 4096);
    fixture_put(&f, "La", "flushed");
    fixture_put(&f, "Lb", "flushed");
    fixture_commit(&f, 1);
    fixture_flush(&f);
    fixture_put(&f, "Lb", "run");
    fixture_commit(&f, 2);
    view = tally_store_view(f.store);
    ck_assert_int_eq(tally_view_get_ready(view, TALLY_SLICE("Lb"), &buf, &f.err), TALLY_OK);
    ck_assert(tally_slice_equal(tally_buf_bytes(&buf), TALLY_SLICE("run")));
    code = tally_view_get_ready(view, TALLY_SLICE("La"), &buf, &f.err);
    ck_assert(code == TALLY_OK || code == TALLY_AGAIN); /* as its cache was filled by the write */
    ck_assert_str_eq(fixture_view_get(&f, view, "La"), "flushed");
    ck_assert_int_eq(tally_view_get_ready(view, TALLY_SLICE("La"), &buf, &f.err), TALLY_OK);
    ck_assert(tally_slice_equal(tally_buf_bytes(&buf), TALLY_SLICE("flushed")));
    ck_assert_str_eq(fixture_view_get(&f, view, "Lc"), "(none)");
    ck_assert_int_eq(tally_view_get_ready(view, TALLY_SLICE("Lc"), &buf, &f.err), TALLY_NOT_FOUND);
    tally_buf_deinit(&buf);
    tally_view_unref(view);
}
END_TEST

static void expect_ready(struct tally_view *view, const char *key, const char *value)
{
    struct tally_buf buf;
    enum tally_code code;

    tally_buf_init(&buf, 4096);
    code = tally_view_get_ready(view, tally_slice_string(key), &buf, &f.err);
    ck_assert_int_eq(code, value ? TALLY_OK : TALLY_NOT_FOUND);
    ck_assert(!value || tally_slice_equal(tally_buf_bytes(&buf), tally_slice_string(value)));
    tally_buf_deinit(&buf);
}

static void read_all(struct tally_view *view)
{
    static const char *const keys[] = {"La", "Lb", "Lc", "Ld", "Le"};

    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        (void)fixture_view_get(&f, view, keys[i]);
    }
}

/* What was asked for once needs no file after the next flush, whatever that flush made of it. */
START_TEST(test_rows_that_were_read_are_known_after_a_flush)
{
    struct tally_view *before, *after;

    fixture_begin(&f, _i);
    fixture_put(&f, "La", "old");
    fixture_put(&f, "Lb", "old");
    fixture_put(&f, "Le", "same");
    fixture_commit(&f, 1);
    fixture_flush(&f);
    fixture_put(&f, "La", "new");
    fixture_put(&f, "Lb", NULL);
    fixture_put(&f, "Lc", "new");
    fixture_put(&f, "Ld", "run");
    before = tally_store_view(f.store);
    read_all(before);
    fixture_commit(&f, 2);
    after = tally_store_view(f.store);
    read_all(after); /* Ld is known to be asked for, and stands above the base */
    tally_view_unref(after);
    fixture_flush(&f);
    after = tally_store_view(f.store);
    expect_ready(after, "La", "new");
    expect_ready(after, "Lb", NULL);
    expect_ready(after, "Lc", "new");
    expect_ready(after, "Ld", "run");
    expect_ready(after, "Le", "same");
    ck_assert_str_eq(fixture_view_get(&f, before, "La"), "old");
    ck_assert_str_eq(fixture_view_get(&f, before, "Lb"), "old");
    ck_assert_str_eq(fixture_view_get(&f, before, "Lc"), "(none)");
    ck_assert_str_eq(fixture_view_get(&f, before, "Ld"), "(none)");
    tally_view_unref(before);
    tally_view_unref(after);
}
END_TEST

/* Each is as the last flush has it, however long it was kept. */
START_TEST(test_rows_are_kept_over_many_flushes)
{
    enum { FLUSHES = 80 };
    char value[16];

    fixture_begin(&f, _i);
    fixture_put(&f, "Le", "same");
    for (int i = 0; i < FLUSHES; i++) {
        struct tally_view *view;

        snprintf(value, sizeof value, "%d", i);
        fixture_put(&f, "La", value);
        fixture_commit(&f, i + 1);
        fixture_flush(&f);
        view = tally_store_view(f.store);
        if (i == 0 || i == FLUSHES / 2) {
            read_all(view);
            read_all(view);
        }
        if (i < FLUSHES / 4) {
            expect_ready(view, "La", value);
            expect_ready(view, "Lb", NULL);
        }
        ck_assert_str_eq(fixture_view_get(&f, view, "Le"), "same");
        if (i % 16 == 0)
            ck_assert_str_eq(fixture_view_get(&f, view, "La"), value);
        tally_view_unref(view);
    }
}
END_TEST

START_TEST(test_a_view_knows_that_it_is_not_the_newest)
{
    struct tally_view *first, *second, *third;

    fixture_begin(&f, _i);
    fixture_put(&f, "La", "a");
    fixture_commit(&f, 1);
    first = tally_store_view(f.store);
    ck_assert(tally_view_is_newest(first));
    fixture_put(&f, "La", "b");
    ck_assert(tally_view_is_newest(first)); /* not committed yet */
    fixture_commit(&f, 2);
    second = tally_store_view(f.store);
    ck_assert(!tally_view_is_newest(first));
    ck_assert(tally_view_is_newest(second));
    fixture_flush(&f);
    third = tally_store_view(f.store);
    ck_assert(!tally_view_is_newest(second));
    ck_assert(tally_view_is_newest(third));
    tally_view_unref(first);
    tally_view_unref(second);
    tally_view_unref(third);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("view");
    TCase *tests = tcase_create("view");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, test_ready_rows_are_those_in_memory, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_rows_that_were_read_are_known_after_a_flush, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_rows_are_kept_over_many_flushes, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_a_view_knows_that_it_is_not_the_newest, 0, FIXTURE_KINDS);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
