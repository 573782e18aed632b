/* tests/unit/test_empty_store.c - a store without any row is answered without a look, and stops
 * being one with its first write. */
#include <check.h>

#include "tests/unit/store_fixture.h"

static struct fixture f;

static void teardown(void)
{
    fixture_end(&f);
}

START_TEST(test_first_row_of_a_store)
{
    const struct tally_slice key = TALLY_SLICE("Ffirst");

    fixture_begin(&f, _i);
    fixture_put(&f, "Lother", "row");
    fixture_commit(&f, 1);
    ck_assert(tally_store_empty(f.store, key));
    ck_assert_str_eq(fixture_get(&f, "Ffirst"), "(none)");
    fixture_put(&f, "Ffirst", "uncommitted");
    ck_assert(!tally_store_empty(f.store, key));
    ck_assert_str_eq(fixture_get(&f, "Ffirst"), "uncommitted");
    tally_store_rollback(f.store);
    ck_assert(tally_store_empty(f.store, key));
    ck_assert_str_eq(fixture_get(&f, "Ffirst"), "(none)");
    fixture_put(&f, "Ffirst", "put");
    fixture_commit(&f, 2);
    ck_assert(!tally_store_empty(f.store, key));
    ck_assert_int_eq(tally_store_prefetch(f.store, &key, 1, NULL, &f.err), TALLY_OK);
    ck_assert_str_eq(fixture_get(&f, "Ffirst"), "put");
}
END_TEST

START_TEST(test_appended_rows_count)
{
    fixture_begin(&f, _i);
    fixture_append(&f, "Ffirst", "appended");
    fixture_commit(&f, 1);
    ck_assert(!tally_store_empty(f.store, TALLY_SLICE("Fother")));
    ck_assert_str_eq(fixture_get(&f, "Ffirst"), "appended");
}
END_TEST

START_TEST(test_rows_are_known_after_opening)
{
    fixture_begin(&f, _i);
    fixture_put(&f, "Ffirst", "row");
    fixture_commit(&f, 1);
    fixture_reopen(&f, true);
    ck_assert(!tally_store_empty(f.store, TALLY_SLICE("Fother")));
    ck_assert(tally_store_empty(f.store, TALLY_SLICE("Lother")));
    ck_assert_str_eq(fixture_get(&f, "Ffirst"), "row");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("empty store");
    TCase *tests = tcase_create("empty store");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, NULL, teardown);
    tcase_add_loop_test(tests, test_first_row_of_a_store, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_appended_rows_count, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_rows_are_known_after_opening, 0, FIXTURE_KINDS);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
