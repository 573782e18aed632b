/* tests/unit/test_stillness.c - what stands still is noticed; a pause of the observer is not. */
#include <check.h>
#include <stdlib.h>

#include "engine/base/stillness.h"

#define NOW INT64_C(5000000)

START_TEST(counts_while_the_mark_is_the_same)
{
    struct tally_stillness stillness = {.mark = 0};

    ck_assert_int_eq(tally_stillness_look(&stillness, 7, NOW), 0);
    ck_assert_int_eq(tally_stillness_look(&stillness, 7, NOW + 200), 200);
    ck_assert_int_eq(tally_stillness_look(&stillness, 7, NOW + 500), 500);
    ck_assert_int_eq(tally_stillness_look(&stillness, 8, NOW + 600), 0);
    ck_assert_int_eq(tally_stillness_look(&stillness, 8, NOW + 700), 100);
    tally_stillness_reset(&stillness);
    ck_assert_int_eq(tally_stillness_look(&stillness, 8, NOW + 800), 0);
}
END_TEST

START_TEST(a_pause_counts_as_one_look)
{
    struct tally_stillness stillness = {.mark = 0};

    ck_assert_int_eq(tally_stillness_look(&stillness, 7, NOW), 0);
    ck_assert_int_eq(tally_stillness_look(&stillness, 7, NOW + 3600000), STILLNESS_LOOK_MAX_MS);
    ck_assert_int_eq(tally_stillness_look(&stillness, 7, NOW + 3600100),
            STILLNESS_LOOK_MAX_MS + 100);
}
END_TEST

START_TEST(many_looks_add_up)
{
    struct tally_stillness stillness = {.mark = 0};
    int64_t still_ms = 0;

    for (int i = 0; i <= 60; i++) {
        still_ms = tally_stillness_look(&stillness, 0, NOW + i * INT64_C(1000));
    }
    ck_assert_int_eq(still_ms, 60000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stillness");
    TCase *tests = tcase_create("stillness");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, counts_while_the_mark_is_the_same);
    tcase_add_test(tests, a_pause_counts_as_one_look);
    tcase_add_test(tests, many_looks_add_up);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
