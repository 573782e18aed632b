/* tests/unit/test_restore_check.c - positions of projections against their topics. Those of
 * aggregates: test_reset_plan.c and tests/topology/test_positions.c. */
#include <check.h>
#include <stdlib.h>

#include "engine/restore_check.h"

#define DAY_MS TALLY_TOMBSTONE_RETENTION_MS

static const char *changelog(int64_t last, int64_t age_ms, int64_t low, int64_t high)
{
    struct tally_error err = {.code = TALLY_OK};

    return tally_code_name(tally_check_changelog("log", 1, last, age_ms, low, high, &err));
}

/* Complete per key: what is cut, or too old for its deletions, is built again. */
START_TEST(a_changelog_may_begin_anywhere_for_a_new_state)
{
    ck_assert_str_eq(changelog(-1, 0, 0, 0), "OK");
    ck_assert_str_eq(changelog(-1, 99 * DAY_MS, 500, 900), "OK");
    ck_assert_str_eq(changelog(7, 0, 0, 8), "OK");
    ck_assert_str_eq(changelog(7, DAY_MS, 7, 9), "OK");
    ck_assert_str_eq(changelog(7, DAY_MS + 1, 0, 9), "STORE_OUTDATED");
    ck_assert_str_eq(changelog(7, 0, 0, 7), "STORE_OUTDATED");
    ck_assert_str_eq(changelog(7, 0, 8, 9), "STORE_OUTDATED");
}
END_TEST

static const char *projection(int64_t group, int64_t state, bool written)
{
    struct tally_error err = {.code = TALLY_OK};

    return tally_code_name(tally_check_projection("stock.events", 1, group, state, written, 10, 60,
            &err));
}

/* The position is exact, so nothing lies between it and the group's offset. */
START_TEST(the_group_is_where_the_changelog_is)
{
    ck_assert_str_eq(projection(40, 40, true), "OK");
    ck_assert_str_eq(projection(10, 10, true), "OK");
    ck_assert_str_eq(projection(60, 60, true), "OK");
    ck_assert_str_eq(projection(41, 40, true), "CHANGELOG_BEHIND");
    ck_assert_str_eq(projection(39, 40, true), "OFFSETS_BEHIND");
    ck_assert_str_eq(projection(-1, 40, true), "OFFSETS_LOST");
    ck_assert_str_eq(projection(40, -1, false), "CHANGELOG_EMPTY");
    ck_assert_str_eq(projection(10, 10, false), "CHANGELOG_EMPTY");
    ck_assert_str_eq(projection(9, 9, true), "INPUT_TRUNCATED");
    ck_assert_str_eq(projection(61, 61, true), "INPUT_LOST");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("restore_check");
    TCase *tcase = tcase_create("projections");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, a_changelog_may_begin_anywhere_for_a_new_state);
    tcase_add_test(tcase, the_group_is_where_the_changelog_is);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
