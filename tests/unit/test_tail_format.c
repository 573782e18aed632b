/* tests/unit/test_tail_format.c - kcat's tokens, escapes, delimiters and
 * envelope. */
#include "apps/tail_format.h"

#include <check.h>

static struct tally_arena arena;
static struct tally_buf out;
static struct tally_header headers[2];
static struct tally_record record;
static struct tail_record shown;

static void setup(void)
{
    tally_arena_init(&arena, 4096);
    tally_buf_init(&out, 1 << 20);
    headers[0] = (struct tally_header){TALLY_SLICE("a"), TALLY_SLICE("1")};
    headers[1] = (struct tally_header){TALLY_SLICE("b"), TALLY_NONE};
    record = (struct tally_record){.topic = "stock.events",
            .partition = 2,
            .offset = 7,
            .timestamp_ms = 1700000000001,
            .key = TALLY_SLICE("TS-RED-M"),
            .value = TALLY_SLICE("{\"n\":1}")};
    shown = (struct tail_record){.record = &record, .timestamp_type = "logappend", .broker = 1};
}

static void teardown(void)
{
    tally_arena_deinit(&arena);
    tally_buf_deinit(&out);
}

static const char *format(const struct tail_format *with)
{
    tally_buf_clear(&out);
    tail_format_record(with, &shown, &arena, &out);
    tally_buf_byte(&out, '\0');
    return (const char *)out.data;
}

START_TEST(prints_tokens_and_escapes)
{
    struct tail_format with = {.format = "%t [%p] %o %k:%K %s:%S %T %h 100%%\\n\\t\\x41\\\\"};

    shown.headers = headers;
    shown.header_count = 2;
    ck_assert_str_eq(format(&with), "stock.events [2] 7 TS-RED-M:8 {\"n\":1}:7 1700000000001 "
                                    "a=1,b=NULL 100%\n\tA\\");
}
END_TEST

START_TEST(sizes_null_as_minus_one)
{
    struct tail_format with = {.format = "%k|%K|%s|%S"};

    record.key = record.value = TALLY_NONE;
    ck_assert_str_eq(format(&with), "|-1||-1");
    with.nulls = true;
    ck_assert_str_eq(format(&with), "NULL|-1|NULL|-1");
    record.value = TALLY_SLICE("");
    ck_assert_str_eq(format(&with), "NULL|-1||0");
}
END_TEST

START_TEST(delimits_keys_and_records)
{
    struct tail_format with = {.key_delimiter = "\\t", .record_delimiter = ";%o"};

    ck_assert_str_eq(format(&with), "TS-RED-M\t{\"n\":1};7");
}
END_TEST

START_TEST(knows_its_tokens)
{
    ck_assert_int_eq(tail_format_unknown("%t %p %o %k %K %s %S %T %h %% \\% \\x41"), 0);
    ck_assert_int_eq(tail_format_unknown("%s %x"), 'x');
    ck_assert_int_eq(tail_format_unknown("100%"), '%');
    ck_assert_int_eq(tail_format_unknown(NULL), 0);
}
END_TEST

START_TEST(shows_messagepack_as_json)
{
    struct tail_format with = {.format = "%s:%S"};

    record.value = TALLY_SLICE("\x82\xa1"
                               "a\x01\xa1"
                               "b\xa1"
                               "c");
    ck_assert_str_eq(format(&with), "{\"a\":1,\"b\":\"c\"}:15");
    with.raw = true;
    ck_assert_str_eq(format(&with), "\x82\xa1"
                                    "a\x01\xa1"
                                    "b\xa1"
                                    "c:8");
}
END_TEST

START_TEST(leaves_damaged_messagepack_alone)
{
    struct tail_format with = {.format = "%s"};

    record.value = TALLY_SLICE("\x82\xa1"
                               "a\x01");
    ck_assert_str_eq(format(&with), "\x82\xa1"
                                    "a\x01");
}
END_TEST

START_TEST(writes_the_envelope_of_kcat)
{
    struct tail_format with = {.json = true};

    ck_assert_str_eq(format(&with), "{\"topic\":\"stock.events\",\"partition\":2,"
                                    "\"offset\":7,\"tstype\":\"logappend\","
                                    "\"ts\":1700000000001,\"broker\":1,\"key\":"
                                    "\"TS-RED-M\",\"payload\":\"{\\\"n\\\":1}\"}"
                                    "\n");
    shown.headers = headers;
    shown.header_count = 2;
    record.key = TALLY_NONE;
    record.value = TALLY_SLICE("a\xff"
                               "b");
    ck_assert_str_eq(format(&with), "{\"topic\":\"stock.events\",\"partition\":2,\"offset\":7,"
                                    "\"tstype\":\"logappend\","
                                    "\"ts\":1700000000001,\"broker\":1,\"headers\":[\"a\",\"1\","
                                    "\"b\",null],\"key\":null,"
                                    "\"payload\":\"a\xef\xbf\xbd"
                                    "b\"}\n");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tail_format");
    TCase *tests = tcase_create("tail_format");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, prints_tokens_and_escapes);
    tcase_add_test(tests, sizes_null_as_minus_one);
    tcase_add_test(tests, delimits_keys_and_records);
    tcase_add_test(tests, knows_its_tokens);
    tcase_add_test(tests, shows_messagepack_as_json);
    tcase_add_test(tests, leaves_damaged_messagepack_alone);
    tcase_add_test(tests, writes_the_envelope_of_kcat);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
