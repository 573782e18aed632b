/* tests/unit/test_kafka_reader.c - kcat's forms of an offset (connectors/kafka_reader.c). */
#include <check.h>
#include <stdlib.h>

#include "connectors/kafka_reader.h"

static const struct {
    const char *text;
    struct tally_reader_range range;
} forms[] = {
        {"beginning", {.start = TALLY_READER_BEGINNING}},
        {"end", {.start = TALLY_READER_END}},
        {"stored", {.start = TALLY_READER_STORED}},
        {"0", {.start = TALLY_READER_ABSOLUTE}},
        {"42", {.start = TALLY_READER_ABSOLUTE, .value = 42}},
        {"-10", {.start = TALLY_READER_TAIL, .value = 10}},
        {"s@1700000000000", {.start = TALLY_READER_SINCE, .value = 1700000000000}},
        {"e@1700000000001", {.start = TALLY_READER_BEGINNING, .until_ms = 1700000000001}},
};

START_TEST(takes_form)
{
    struct tally_reader_range range = {.start = TALLY_READER_BEGINNING};
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_int_eq(tally_reader_range_parse(forms[_i].text, &range, &err), TALLY_OK);
    ck_assert_int_eq(range.start, forms[_i].range.start);
    ck_assert_int_eq(range.value, forms[_i].range.value);
    ck_assert_int_eq(range.until_ms, forms[_i].range.until_ms);
}
END_TEST

static const char *const wrong[] = {"", "-", "s@", "e@", "e@0", "begin", "1x", "s@-1", "--1", " 1",
        "99999999999999999999", "@5", "s@e@5"};

START_TEST(refuses_form)
{
    struct tally_reader_range range = {.start = TALLY_READER_END, .value = 3, .until_ms = 4};
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_int_eq(tally_reader_range_parse(wrong[_i], &range, &err), TALLY_CONFIG);
    ck_assert_int_eq(range.start, TALLY_READER_END);
    ck_assert_int_eq(range.value, 3);
    ck_assert_int_eq(range.until_ms, 4);
    ck_assert_ptr_nonnull(strstr(err.message, "expected beginning, end, stored"));
}
END_TEST

START_TEST(takes_start_and_until_together)
{
    struct tally_reader_range range = {.start = TALLY_READER_BEGINNING};
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_int_eq(tally_reader_range_parse("s@5", &range, &err), TALLY_OK);
    ck_assert_int_eq(tally_reader_range_parse("e@9", &range, &err), TALLY_OK);
    ck_assert_int_eq(range.start, TALLY_READER_SINCE);
    ck_assert_int_eq(range.value, 5);
    ck_assert_int_eq(range.until_ms, 9);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kafka reader");
    TCase *tcase = tcase_create("offsets");
    SRunner *runner = NULL;
    int failed = 0;

    tcase_add_loop_test(tcase, takes_form, 0, (int)(sizeof forms / sizeof *forms));
    tcase_add_loop_test(tcase, refuses_form, 0, (int)(sizeof wrong / sizeof *wrong));
    tcase_add_test(tcase, takes_start_and_until_together);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
