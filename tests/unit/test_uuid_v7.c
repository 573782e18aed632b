/* tests/unit/test_uuid_v7.c - form and order of new command ids
 * (apps/uuid_v7.c, invariant 1). */
#include "apps/uuid_v7.h"

#include <check.h>
#include <string.h>

START_TEST(has_the_form_of_version_7)
{
    struct uuid_v7 ids = {0};
    char text[UUID_V7_LEN + 1];

    uuid_v7_next(&ids, 0x0123456789ab, text);
    ck_assert_uint_eq(strlen(text), UUID_V7_LEN);
    ck_assert_int_eq(strncmp(text, "01234567-89ab-7000-", 19), 0);
    ck_assert_ptr_nonnull(strchr("89ab", text[19]));
    ck_assert_int_eq(text[23], '-');
    ck_assert_uint_eq(strspn(text, "0123456789abcdef-"), UUID_V7_LEN);
}
END_TEST

/* A still clock, a clock that goes back, and more ids than a millisecond has.
 */
START_TEST(never_falls)
{
    struct uuid_v7 ids = {0};
    char last[UUID_V7_LEN + 1] = "", text[UUID_V7_LEN + 1];

    for (int i = 0; i < 10000; i++) {
        uuid_v7_next(&ids, i < 9000 ? 1700000000000 : 1600000000000, text);
        ck_assert_int_lt(strncmp(last, text, 18), 0);
        memcpy(last, text, sizeof last);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("uuid_v7");
    TCase *tests = tcase_create("uuid_v7");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tests, has_the_form_of_version_7);
    tcase_add_test(tests, never_falls);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
