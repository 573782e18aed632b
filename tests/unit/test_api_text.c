/* test_api_text.c - the same calls as JSON and as YAML. */
#include "http/api_text.h"

#include <check.h>
#include <stdlib.h>

static struct tally_buf out;

static void setup(void)
{
    tally_buf_init(&out, 4096);
}

static void teardown(void)
{
    tally_buf_deinit(&out);
}

static void write(enum api_form form)
{
    struct api_text text;

    api_text_begin(&text, &out, form);
    api_text_string(&text, "quoted", "a \"b\"\n");
    api_text_map(&text, "map");
    api_text_int(&text, "low", INT64_MIN);
    api_text_bool(&text, "yes", true);
    api_text_close(&text);
    api_text_list(&text, "list");
    api_text_format(&text, NULL, "%d of %s", 1, "two");
    api_text_map(&text, NULL);
    api_text_json(&text, "raw", "[1,{}]");
    api_text_close(&text);
    api_text_list(&text, NULL);
    api_text_close(&text);
    api_text_close(&text);
    api_text_map(&text, "empty");
    api_text_close(&text);
    api_text_end(&text);
    tally_buf_byte(&out, 0);
}

START_TEST(writes_json)
{
    write(API_JSON);
    ck_assert_str_eq((const char *)out.data,
            "{\"quoted\":\"a \\\"b\\\"\\n\",\"map\":{\"low\":-9223372036854775808,\"yes\":true},"
            "\"list\":[\"1 of two\",{\"raw\":[1,{}]},[]],\"empty\":{}}\n");
}
END_TEST

START_TEST(writes_yaml)
{
    write(API_YAML);
    ck_assert_str_eq((const char *)out.data, "\"quoted\": \"a \\\"b\\\"\\n\"\n"
                                             "\"map\":\n"
                                             "  \"low\": -9223372036854775808\n"
                                             "  \"yes\": true\n"
                                             "\"list\":\n"
                                             "  - \"1 of two\"\n"
                                             "  -\n"
                                             "    \"raw\": [1,{}]\n"
                                             "  - []\n"
                                             "\"empty\": {}\n");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api_text");
    TCase *tests = tcase_create("api_text");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, writes_json);
    tcase_add_test(tests, writes_yaml);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
