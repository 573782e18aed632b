/* test_problem.c - every refusal is one problem document, with its headers. */
#include "http/problem.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static struct exchange exchange;

static void begin(void)
{
    exchange = (struct exchange){0};
    tally_arena_init(&exchange.arena, 1024);
    response_init(&exchange.response);
    response_reset(&exchange.response);
    exchange.request.path = TALLY_SLICE("/v1/commands/X");
}

static void end(void)
{
    response_deinit(&exchange.response);
    tally_arena_deinit(&exchange.arena);
}

static void body_is(const char *text)
{
    ck_assert_msg(tally_slice_equal(tally_buf_bytes(&exchange.response.body),
                          tally_slice_string(text)),
            "body is %.*s", (int)exchange.response.body.len,
            (const char *)exchange.response.body.data);
}

static bool has_header(const char *line)
{
    return exchange.response.headers.len > 0 &&
           memmem(exchange.response.headers.data, exchange.response.headers.len, line,
                   strlen(line));
}

START_TEST(answers_codes_of_its_own)
{
    problem_answer(&exchange, PROBLEM_INVALID_PARAMETER, "limit: %d is \"no\"", 7);
    ck_assert_int_eq(exchange.response.status, 400);
    ck_assert_str_eq(exchange.response.content_type, "application/problem+json");
    ck_assert_str_eq(exchange.response.cache_control, "no-store");
    ck_assert(!has_header("Retry-After"));
    body_is("{\"type\":\"/problems/invalid-parameter\",\"title\":\"Invalid "
            "parameter\",\"status\":400,"
            "\"detail\":\"limit: 7 is \\\"no\\\"\",\"instance\":\"/v1/commands/X\","
            "\"code\":\"INVALID_PARAMETER\",\"retryable\":false,\"errors\":[]}");
}
END_TEST

START_TEST(says_when_to_retry)
{
    problem_answer(&exchange, PROBLEM_KAFKA_UNAVAILABLE, NULL);
    ck_assert_int_eq(exchange.response.status, 503);
    ck_assert(has_header("Retry-After: 1\r\n"));
    body_is("{\"type\":\"/problems/kafka-unavailable\",\"title\":\"Kafka is unavailable\","
            "\"status\":503,\"detail\":null,\"instance\":\"/v1/commands/X\","
            "\"code\":\"KAFKA_UNAVAILABLE\",\"retryable\":true,\"errors\":[]}");
}
END_TEST

START_TEST(tells_an_instance_that_it_is_wrong)
{
    problem_answer(&exchange, PROBLEM_NOT_OWNER, NULL);
    ck_assert_int_eq(exchange.response.status, 503);
    exchange.request.headers[exchange.request.header_count++] =
            (struct request_header){"Tally-Forwarded", "1"};
    problem_answer(&exchange, PROBLEM_NOT_OWNER, NULL);
    ck_assert_int_eq(exchange.response.status, 421);
}
END_TEST

START_TEST(names_broken_rules)
{
    struct tally_violations violations = {0};

    tally_violate(&violations, "/sku", "REQUIRED", "it is the key");
    problem_reject(&exchange, TALLY_REJECT_VALIDATION_FAILED, &violations, "sku: missing");
    ck_assert_int_eq(exchange.response.status, 422);
    body_is("{\"type\":\"/problems/validation-failed\",\"title\":\"A field is not "
            "valid\",\"status\":422,"
            "\"detail\":\"sku: "
            "missing\",\"instance\":\"/v1/commands/X\",\"code\":\"VALIDATION_FAILED\","
            "\"retryable\":false,\"errors\":[{\"pointer\":\"/sku\",\"code\":\"REQUIRED\","
            "\"meta\":{\"detail\":\"it is the key\"}}]}");
}
END_TEST

START_TEST(tells_a_stored_refusal)
{
    static const char text[] =
            "{\"command_id\":\"c-3\",\"type\":\"ShipStock\",\"key\":\"A\",\"status\":\"REJECTED\","
            "\"code\":\"INSUFFICIENT_STOCK\",\"retryable\":false,\"detail\":\"available 24, "
            "requested 25\","
            "\"errors\":[{\"pointer\":\"/"
            "quantity\",\"code\":\"INSUFFICIENT_STOCK\",\"meta\":{\"available\":24}}],"
            "\"version\":null,\"position\":\"stock.commands/2@1009\",\"duplicate\":true}";
    const struct tally_token *outcome = NULL;
    enum tally_refusal refusal;

    ck_assert_int_eq(tally_document_parse(tally_slice_string(text), &exchange.arena, &outcome,
                             &refusal, NULL),
            TALLY_OK);
    problem_outcome(&exchange, TALLY_REJECT_INSUFFICIENT_STOCK, outcome);
    ck_assert_int_eq(exchange.response.status, 409);
    body_is("{\"type\":\"/problems/insufficient-stock\",\"title\":\"Insufficient "
            "stock\",\"status\":409,"
            "\"detail\":\"available 24, requested 25\",\"instance\":\"/v1/commands/c-3\","
            "\"code\":\"INSUFFICIENT_STOCK\",\"retryable\":false,\"command_id\":\"c-3\","
            "\"position\":\"stock.commands/2@1009\",\"errors\":[{\"pointer\":\"/quantity\","
            "\"code\":\"INSUFFICIENT_STOCK\",\"meta\":{\"available\":24}}],\"duplicate\":true}");
}
END_TEST

START_TEST(translates_errors_of_the_engine)
{
    static const struct {
        enum tally_code code;
        int status;
        const char *name;
    } cases[] = {
            {TALLY_FENCED, 503, "NOT_OWNER"},
            {TALLY_UNAVAILABLE, 503, "NOT_OWNER"},
            {TALLY_EVENTS_TRUNCATED, 503, "NOT_OWNER"},
            {TALLY_TIMEOUT, 503, "POSITION_NOT_REACHED"},
            {TALLY_QUEUE_FULL, 503, "OVERLOADED"},
            {TALLY_STORE_ERROR, 503, "STORE_ERROR"},
            {TALLY_SYSTEM, 500, "INTERNAL"},
    };
    struct tally_error err = {.code = cases[_i].code, .message = "secret"};
    char code[64];

    problem_error(&exchange, cases[_i].code, &err);
    ck_assert_int_eq(exchange.response.status, cases[_i].status);
    snprintf(code, sizeof code, "\"code\":\"%s\"", cases[_i].name);
    ck_assert_ptr_nonnull(memmem(exchange.response.body.data, exchange.response.body.len, code,
            strlen(code)));
    ck_assert_int_eq(memmem(exchange.response.body.data, exchange.response.body.len, "secret", 6) ==
                             NULL,
            cases[_i].status == 500);
}
END_TEST

START_TEST(quotes_only_utf8)
{
    exchange.request.path = TALLY_SLICE("/\xff");
    problem_answer(&exchange, PROBLEM_NOT_FOUND, "no \"%s\"", "a\xc3");
    ck_assert(tally_utf8_valid(tally_buf_bytes(&exchange.response.body)));
    ck_assert_ptr_nonnull(memmem(exchange.response.body.data, exchange.response.body.len,
            "\"instance\":null", strlen("\"instance\":null")));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("problem");
    TCase *tests = tcase_create("problem");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, answers_codes_of_its_own);
    tcase_add_test(tests, says_when_to_retry);
    tcase_add_test(tests, tells_an_instance_that_it_is_wrong);
    tcase_add_test(tests, names_broken_rules);
    tcase_add_test(tests, tells_a_stored_refusal);
    tcase_add_loop_test(tests, translates_errors_of_the_engine, 0, 7);
    tcase_add_test(tests, quotes_only_utf8);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
