/* tests/unit/test_error.c - filling, context and the facts of error.def. */
#include "engine/base/error.h"

#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static enum tally_code fail_with(struct tally_error *err, int number)
{
    return tally_error_set(err, TALLY_TIMEOUT, "call %d timed out", number);
}

START_TEST(fills_and_returns_the_code)
{
    struct tally_error err;

    ck_assert_int_eq(fail_with(&err, 7), TALLY_TIMEOUT);
    ck_assert_int_eq(err.code, TALLY_TIMEOUT);
    ck_assert_str_eq(err.message, "call 7 timed out");
    ck_assert_ptr_nonnull(strstr(err.file, "test_error.c"));
    ck_assert_int_gt(err.line, 0);
    ck_assert_int_eq(fail_with(NULL, 7), TALLY_TIMEOUT);
}
END_TEST

START_TEST(context_stands_in_front)
{
    struct tally_error err;

    (void)fail_with(&err, 1);
    tally_error_context(&err, "task %s", "stock/2");
    tally_error_context(&err, "commit");
    ck_assert_str_eq(err.message, "commit: task stock/2: call 1 timed out");
    tally_error_context(NULL, "nothing");
}
END_TEST

START_TEST(too_long_text_is_cut)
{
    struct tally_error err;
    char text[600];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)tally_error_set(&err, TALLY_SYSTEM, "%s", text);
    ck_assert_uint_eq(strlen(err.message), sizeof err.message - 1);
    tally_error_context(&err, "context");
    ck_assert_uint_eq(strlen(err.message), sizeof err.message - 1);
    ck_assert_int_eq(strncmp(err.message, "context: xxx", 12), 0);
    tally_error_context(&err, "%s", text);
    ck_assert_uint_eq(strlen(err.message), sizeof err.message - 1);
}
END_TEST

START_TEST(codes_have_facts)
{
    ck_assert_str_eq(tally_code_name(TALLY_OK), "OK");
    ck_assert_int_eq(tally_code_reaction(TALLY_OK), TALLY_REACT_NONE);
    ck_assert_str_eq(tally_code_name(TALLY_OFFSETS_LOST), "OFFSETS_LOST");
    ck_assert_int_eq(tally_code_reaction(TALLY_OFFSETS_LOST), TALLY_REACT_HALT);
    ck_assert_int_eq(tally_code_http(TALLY_FENCED), 421);
    ck_assert_str_eq(tally_code_text(TALLY_CONFIG), "configuration is invalid");
    for (int code = 0; code < TALLY_CODES; code++) {
        ck_assert_ptr_nonnull(tally_code_name((enum tally_code)code));
        ck_assert_ptr_nonnull(tally_code_text((enum tally_code)code));
        ck_assert_int_ge(tally_code_http((enum tally_code)code), 200);
    }
    ck_assert_str_eq(tally_code_name(TALLY_CODES), "UNKNOWN");
}
END_TEST

START_TEST(an_assertion_aborts)
{
    tally_assert(1 + 1 == 2);
    tally_assert(1 + 1 == 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("error");
    TCase *tests = tcase_create("error");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, fills_and_returns_the_code);
    tcase_add_test(tests, context_stands_in_front);
    tcase_add_test(tests, too_long_text_is_cut);
    tcase_add_test(tests, codes_have_facts);
    tcase_add_test_raise_signal(tests, an_assertion_aborts, SIGABRT);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
