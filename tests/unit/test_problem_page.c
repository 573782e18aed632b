/* test_problem_page.c - every code has a page, in words and as JSON. */
#include "http/problem_page.h"

#include <check.h>
#include <stdlib.h>

#include "http/problem.h"
#include "schemas/envelope.h"

static struct tally_buf page;

static void begin(void)
{
    tally_buf_init(&page, 64 * 1024);
}

static void end(void)
{
    tally_buf_deinit(&page);
}

static bool has(const char *text)
{
    return page.len > 0 && memmem(page.data, page.len, text, strlen(text));
}

START_TEST(every_code_has_a_page)
{
    size_t count = 0;

    for (const char *code; (code = tally_problem_page_code(count)); count++) {
        tally_buf_clear(&page);
        ck_assert_msg(tally_problem_page_write(code, false, &page), "%s", code);
        ck_assert(has(code) && has("HTTP status"));
        ck_assert_int_eq(page.data[page.len - 1], '\n');
        ck_assert(!page.failed);
    }
    ck_assert_uint_eq(count,
            (size_t)PROBLEM_CODES - 1 + (size_t)TALLY_REJECTS - 1 + (size_t)TALLY_CODES - 1);
}
END_TEST

START_TEST(as_json)
{
    ck_assert(tally_problem_page_write("INSUFFICIENT_STOCK", true, &page));
    ck_assert(has("{\"code\":\"INSUFFICIENT_STOCK\",\"title\":\"Insufficient stock\","
                  "\"status\":409,\"retryable\":false,\"help\":\""));
    ck_assert(has("\"}\n"));
}
END_TEST

START_TEST(what_is_no_code)
{
    static const char *const wrong[] = {"", "insufficient-stock", "INSUFFICIENT", "OK", "NONE"};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_msg(!tally_problem_page_write(wrong[i], false, &page), "%s", wrong[i]);
        ck_assert_uint_eq(page.len, 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("problem_page");
    TCase *tests = tcase_create("problem_page");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, every_code_has_a_page);
    tcase_add_test(tests, as_json);
    tcase_add_test(tests, what_is_no_code);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
