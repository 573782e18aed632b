/* tests/unit/test_view.c - many keys of a view at once, in memory and on RocksDB. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "state/base_internal.h"
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

static const char *const many_values[] = {"", "base", "run", "", "", "over"};

static void see_row(void *context, size_t index, struct tally_slice value)
{
    ck_assert(!((bool *)context)[index]);
    ((bool *)context)[index] = true;
    ck_assert(tally_slice_equal(value, tally_slice_string(many_values[index])));
}

/* A run over a flushed base, with rows of each, of both, and of neither. */
START_TEST(test_many_keys_at_once)
{
    static const struct {
        const char *key, *value;
    } rows[] = {{"La", "base"}, {"Lb", "run"}, {"Lc", NULL}, {"Ld", NULL}, {"Le", "over"}};
    enum { ROWS = sizeof rows / sizeof rows[0] };
    struct tally_slice keys[ROWS + 1] = {tally_slice_of("\0meta", 5)};
    bool seen[ROWS + 1] = {false};
    struct tally_view *view;

    fixture_begin(&f, _i);
    fixture_put(&f, "La", "base");
    fixture_put(&f, "Lc", "deleted later");
    fixture_put(&f, "Le", "under");
    fixture_commit(&f, 1);
    fixture_flush(&f);
    fixture_put(&f, "Lb", "run");
    fixture_put(&f, "Lc", NULL);
    fixture_put(&f, "Le", "over");
    fixture_commit(&f, 2);
    for (size_t i = 0; i < ROWS; i++) {
        keys[i + 1] = tally_slice_string(rows[i].key);
    }
    view = tally_store_view(f.store);
    ck_assert_int_eq(tally_view_get_many(view, keys, ROWS + 1, see_row, seen, &f.err), TALLY_OK);
    ck_assert(!seen[0]);
    for (size_t i = 0; i < ROWS; i++) {
        ck_assert_msg(seen[i + 1] == (rows[i].value != NULL), "%s", rows[i].key);
        ck_assert_str_eq(fixture_view_get(&f, view, rows[i].key),
                rows[i].value ? rows[i].value : "(none)");
    }
    ck_assert_int_eq(tally_view_get_many(view, keys, 0, see_row, seen, &f.err), TALLY_OK);
    tally_view_unref(view);
}
END_TEST

/* What a reader has asked for is remembered, and that it was not there; a flush, a deletion and a
 * row that is too large to be remembered are seen all the same, and an old view stays as it was. */
START_TEST(test_rows_asked_for_again)
{
    char large[BASE_SEEN_BYTES_MAX + 1];
    struct tally_view *old, *view;

    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    fixture_begin(&f, _i);
    fixture_put(&f, "La", "one");
    fixture_put(&f, "Lb", large);
    fixture_put(&f, "Ld", "deleted later");
    fixture_commit(&f, 1);
    fixture_flush(&f);
    old = tally_store_view(f.store);
    for (int i = 0; i < 3; i++) {
        ck_assert_str_eq(fixture_view_get(&f, old, "La"), "one");
        ck_assert_str_eq(fixture_view_get(&f, old, "Lb"), large);
        ck_assert_str_eq(fixture_view_get(&f, old, "Lc"), "(none)");
        ck_assert_str_eq(fixture_view_get(&f, old, "Ld"), "deleted later");
    }
    fixture_put(&f, "La", "two");
    fixture_put(&f, "Lc", "new");
    fixture_put(&f, "Ld", NULL);
    fixture_commit(&f, 2);
    for (int flushed = 0; flushed < 2; flushed++) {
        view = tally_store_view(f.store);
        for (int i = 0; i < 2; i++) {
            ck_assert_str_eq(fixture_view_get(&f, view, "La"), "two");
            ck_assert_str_eq(fixture_view_get(&f, view, "Lc"), "new");
            ck_assert_str_eq(fixture_view_get(&f, view, "Ld"), "(none)");
            ck_assert_str_eq(fixture_view_get(&f, old, "La"), "one");
            ck_assert_str_eq(fixture_view_get(&f, old, "Lc"), "(none)");
        }
        tally_view_unref(view);
        fixture_flush(&f);
    }
    tally_view_unref(old);
}
END_TEST

/* More rows than there is room for, several for each place. */
START_TEST(test_more_rows_than_are_remembered)
{
    struct tally_view *view;
    char key[16], value[16];

    fixture_begin(&f, _i);
    for (int i = 0; i < 3 * BASE_SEEN_MAX; i++) {
        snprintf(key, sizeof key, "L%d", i);
        snprintf(value, sizeof value, "v%d", i);
        fixture_put(&f, key, value);
    }
    fixture_commit(&f, 1);
    fixture_flush(&f);
    view = tally_store_view(f.store);
    for (int i = 0; i < 6 * BASE_SEEN_MAX; i++) {
        snprintf(key, sizeof key, "L%d", i % (3 * BASE_SEEN_MAX));
        snprintf(value, sizeof value, "v%d", i % (3 * BASE_SEEN_MAX));
        ck_assert_str_eq(fixture_view_get(&f, view, key), value);
    }
    tally_view_unref(view);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("view");
    TCase *tests = tcase_create("view");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, test_many_keys_at_once, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_rows_asked_for_again, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_more_rows_than_are_remembered, 0, FIXTURE_KINDS);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
