/* tests/unit/test_log.c - a line stays one line, whatever its values hold. */
#include "engine/base/log.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/metrics.h"

static FILE *captured;
static char text[16384];

/* stderr goes into a file; each test is a process of its own. */
static void capture(void)
{
    captured = tmpfile();
    ck_assert_ptr_nonnull(captured);
    ck_assert_int_ge(dup2(fileno(captured), STDERR_FILENO), 0);
}

/* All lines since the last call, each without its time. */
static const char *lines(void)
{
    static off_t from;
    ssize_t len = pread(fileno(captured), text, sizeof text - 1, from);

    ck_assert_int_ge(len, 0);
    from += len;
    text[len] = '\0';
    return text;
}

/* One logfmt line behind its time. */
static const char *logfmt(void)
{
    const char *line = lines();

    ck_assert_uint_gt(strlen(line), TALLY_TIME_LEN + 1);
    ck_assert_int_eq(line[TALLY_TIME_LEN], ' ');
    ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
    return line + TALLY_TIME_LEN + 1;
}

static const char *json(void)
{
    const char *line = lines();

    ck_assert_int_eq(strncmp(line, "{\"time\":\"", 9), 0);
    ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
    return line + 9 + TALLY_TIME_LEN + 2;
}

START_TEST(logfmt_quotes_what_needs_it)
{
    capture();
    tally_log(TALLY_LOG_INFO, "started");
    ck_assert_str_eq(logfmt(), "level=info msg=started\n");
    tally_log(TALLY_LOG_WARN, "two words", TALLY_LOG_STR("a", "x=y"),
            TALLY_LOG_STR("b", "say \"hi\""), TALLY_LOG_STR("c", "back\\slash"),
            TALLY_LOG_STR("d", ""), TALLY_LOG_STR("e", NULL), TALLY_LOG_INT("f", INT64_MIN));
    ck_assert_str_eq(logfmt(), "level=warn msg=\"two words\" a=\"x=y\" b=\"say \\\"hi\\\"\" "
                               "c=\"back\\\\slash\" d=\"\" e=\"\" f=-9223372036854775808\n");
}
END_TEST

START_TEST(no_value_breaks_a_line)
{
    capture();
    tally_log(TALLY_LOG_ERROR, "bad", TALLY_LOG_STR("a", "1\n2\r3\t4\x1b[31m\x7f"),
            TALLY_LOG_BYTES("b", tally_slice_of("\xff\0ok\xc3", 5)),
            TALLY_LOG_STR("c", "gr\xc3\xbc\xc3\x9f"
                               "e"),
            TALLY_LOG_STR("d", "\xe2\x80\xaereversed"));
    ck_assert_str_eq(logfmt(), "level=error msg=bad a=\"1\\n2\\r3\\t4\\u001b[31m\\u007f\" "
                               "b=\"\\xff\\u0000ok\\xc3\" c=\"gr\xc3\xbc\xc3\x9f"
                               "e\" d=\"\\u202ereversed\"\n");
}
END_TEST

START_TEST(json_lines)
{
    capture();
    tally_log_init(TALLY_LOG_DEBUG, TALLY_LOG_JSON);
    tally_log(TALLY_LOG_DEBUG, "say \"hi\"", TALLY_LOG_INT("n", 5), TALLY_LOG_STR("s", "a\\\n"),
            TALLY_LOG_BYTES("b", tally_slice_of("\xff", 1)));
    ck_assert_str_eq(json(), "\"level\":\"debug\",\"msg\":\"say \\\"hi\\\"\",\"n\":5,"
                             "\"s\":\"a\\\\\\n\",\"b\":\"\\\\xff\"}\n");
}
END_TEST

/* Invariant (1) of log.c. */
START_TEST(a_long_line_is_cut_between_fields)
{
    char value[4000];

    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    capture();
    tally_log(TALLY_LOG_INFO, "long", TALLY_LOG_STR("a", value), TALLY_LOG_STR("b", value),
            TALLY_LOG_STR("c", value), TALLY_LOG_STR("d", value), TALLY_LOG_INT("e", 1));
    ck_assert_uint_lt(strlen(logfmt()), 8192);
    ck_assert_ptr_nonnull(strstr(text, " c=vvv"));
    ck_assert_ptr_null(strstr(text, " d="));
    ck_assert_ptr_nonnull(strstr(text, "vvv e=1 truncated=true\n"));
    tally_log_init(TALLY_LOG_INFO, TALLY_LOG_JSON);
    memset(value, '\n', sizeof value - 1);
    tally_log(TALLY_LOG_INFO, "long", TALLY_LOG_STR("a", value), TALLY_LOG_STR("b", value));
    ck_assert_ptr_nonnull(strstr(json(), "\\n\",\"truncated\":true}\n"));
    ck_assert_ptr_null(strstr(text, "\"b\""));
}
END_TEST

START_TEST(context_of_the_thread)
{
    capture();
    tally_log_thread("stream-0");
    tally_log_task("stock/2");
    tally_log(TALLY_LOG_INFO, "one");
    ck_assert_str_eq(logfmt(), "level=info thread=stream-0 task=stock/2 msg=one\n");
    tally_log(TALLY_LOG_INFO, "two", TALLY_LOG_STR("task", "other"));
    ck_assert_str_eq(logfmt(), "level=info thread=stream-0 msg=two task=other\n");
    tally_log_thread(NULL);
    tally_log_task(NULL);
    tally_log(TALLY_LOG_INFO, "three");
    ck_assert_str_eq(logfmt(), "level=info msg=three\n");
}
END_TEST

START_TEST(errors_carry_code_and_message)
{
    struct tally_error err;

    capture();
    (void)tally_error_set(&err, TALLY_STORE_ERROR, "could not open store \"level\": no space left");
    tally_log_error(TALLY_LOG_ERROR, "commit failed", &err);
    ck_assert_str_eq(logfmt(), "level=error msg=\"commit failed\" code=STORE_ERROR "
                               "error=\"could not open store \\\"level\\\": no space left\"\n");
    err.message[0] = '\0';
    tally_log_error(TALLY_LOG_ERROR, "commit failed", &err);
    ck_assert_ptr_nonnull(strstr(logfmt(), "error=\"store cannot be read or written\"\n"));
    tally_log_error(TALLY_LOG_ERROR, "commit failed", NULL);
    ck_assert_str_eq(logfmt(), "level=error msg=\"commit failed\"\n");
}
END_TEST

START_TEST(lower_levels_are_left_out_and_lines_counted)
{
    struct tally_series *warnings = tally_series_of(TALLY_METRIC_LOG_LINES, "warn");
    struct tally_series *debugs = tally_series_of(TALLY_METRIC_LOG_LINES, "debug");

    capture();
    tally_log(TALLY_LOG_DEBUG, "not shown by default");
    ck_assert_str_eq(lines(), "");
    tally_log_init(TALLY_LOG_WARN, TALLY_LOG_LOGFMT);
    tally_log(TALLY_LOG_INFO, "not shown");
    ck_assert_str_eq(lines(), "");
    tally_log(TALLY_LOG_WARN, "shown");
    ck_assert_str_eq(logfmt(), "level=warn msg=shown\n");
    ck_assert_int_eq(tally_series_read(warnings), 1);
    ck_assert_int_eq(tally_series_read(debugs), 0);
}
END_TEST

START_TEST(a_limit_counts_what_it_leaves_out)
{
    struct tally_log_limit limit = {0};

    capture();
    ck_assert(tally_log_allowed(&limit, 3600000));
    tally_log(TALLY_LOG_INFO, "first");
    ck_assert_str_eq(logfmt(), "level=info msg=first\n");
    for (int i = 0; i < 3; i++) {
        ck_assert(!tally_log_allowed(&limit, 3600000));
    }
    limit.next_ms = 0; /* the hour has passed */
    ck_assert(tally_log_allowed(&limit, 3600000));
    tally_log(TALLY_LOG_INFO, "next");
    ck_assert_str_eq(logfmt(), "level=info msg=next left_out=3\n");
    tally_log(TALLY_LOG_INFO, "other");
    ck_assert_str_eq(logfmt(), "level=info msg=other\n");
}
END_TEST

static char printed[1024];

static void print(const char *line)
{
    size_t len = strlen(printed);

    (void)snprintf(printed + len, sizeof printed - len, "%s;", line);
}

START_TEST(context_for_assertions)
{
    tally_log_context_print(print);
    ck_assert_str_eq(printed, "");
    tally_log_thread("stream-1");
    tally_log_task("stock/2");
    tally_log_position("stock.commands", 2, 17);
    tally_log_context_print(print);
    ck_assert_str_eq(printed, "  thread stream-1;  task stock/2;  record stock.commands/2@17;");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tests = tcase_create("log");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, logfmt_quotes_what_needs_it);
    tcase_add_test(tests, no_value_breaks_a_line);
    tcase_add_test(tests, json_lines);
    tcase_add_test(tests, a_long_line_is_cut_between_fields);
    tcase_add_test(tests, context_of_the_thread);
    tcase_add_test(tests, errors_carry_code_and_message);
    tcase_add_test(tests, lower_levels_are_left_out_and_lines_counted);
    tcase_add_test(tests, a_limit_counts_what_it_leaves_out);
    tcase_add_test(tests, context_for_assertions);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
