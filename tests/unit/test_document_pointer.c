/* test_document_pointer.c - the pointer of the first number that is no int64. */
#include "http/document_pointer.h"

#include <check.h>
#include <stdlib.h>

#include "schemas/serde.h"

static const struct {
    const char *json, *pointer;
} cases[] = {
        {"{\"a\":1.5}", "/a"},
        {"{\"a\":1,\"b\":9223372036854775808}", "/b"},
        {"{\"a\":-9223372036854775808,\"b\":-9223372036854775809}", "/b"},
        {"{\"commands\":[{\"quantity\":1},{\"sku\":\"1.5\",\"quantity\":1e2}]}",
                "/commands/1/quantity"},
        {" { \"a\" : [ [ 1 , 2 ] , [ 3 , 4.0 ] ] }", "/a/1/1"},
        {"{\"a/b\":{\"c~d\":0.1}}", "/a~1b/c~0d"},
        {"{\"a\\\"\":[],\"b\":\"{[,\",\"c\":[{},{\"d\":1},1E1]}", "/c/2"},
        {"{\"a\":{\"b\":1},\"c\":1.0}", "/c"},
        {"{\"a\":1}", ""},
        {"{\"a", ""},
        {"{\"a\\", ""},
        {"", ""},
        {"]]}},,", ""},
        {"[[[[[[[[[[[[[[[[[[[[1.5", ""},
        {"1.5", ""},
};

START_TEST(points)
{
    char pointer[DOCUMENT_POINTER_LEN_MAX + 1];

    document_pointer_of_number(tally_slice_string(cases[_i].json), pointer);
    ck_assert_str_eq(pointer, cases[_i].pointer);
}
END_TEST

START_TEST(leaves_out_what_is_too_long)
{
    char json[160] = "{\"", pointer[DOCUMENT_POINTER_LEN_MAX + 1];

    memset(json + 2, 'x', DOCUMENT_POINTER_LEN_MAX);
    memcpy(json + 2 + DOCUMENT_POINTER_LEN_MAX, "\":1.5}", 7);
    document_pointer_of_number(tally_slice_string(json), pointer);
    ck_assert_str_eq(pointer, "");
    document_pointer_of_number(tally_slice_string("{\"y\":1.5}"), pointer);
    ck_assert_str_eq(pointer, "/y");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("document_pointer");
    TCase *tests = tcase_create("document_pointer");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_loop_test(tests, points, 0, sizeof cases / sizeof *cases);
    tcase_add_test(tests, leaves_out_what_is_too_long);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
