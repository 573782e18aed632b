/* test_request.c - headers, lists, queries and keep-alive of a request. */
#include "http/request.h"

#include <check.h>
#include <stdlib.h>

static struct tally_arena arena;

static void begin(void)
{
    tally_arena_init(&arena, 1024);
}

static void end(void)
{
    tally_arena_deinit(&arena);
}

static struct request with(const char *name, const char *value)
{
    struct request request = {.version = "1.1", .header_count = 1};

    request.headers[0] = (struct request_header){name, value};
    return request;
}

static bool equals(struct tally_slice text, const char *wanted)
{
    return text.data && tally_slice_equal(text, tally_slice_string(wanted));
}

START_TEST(finds_headers_whatever_their_case)
{
    struct request request = with("X-aCTor", "  anna\t ");

    ck_assert(equals(request_header(&request, "x-Actor"), "anna"));
    ck_assert_ptr_null(request_header(&request, "X-Acto").data);
    request.headers[request.header_count++] = (struct request_header){"x-actor", "bert"};
    ck_assert(equals(request_header(&request, "X-Actor"), "anna"));
    ck_assert_uint_eq(request_header_count(&request, "X-Actor"), 2);
}
END_TEST

START_TEST(walks_lists)
{
    struct tally_slice rest = TALLY_SLICE(" a ,\"b,c\", ,d"), item;

    ck_assert(request_list_next(&rest, ',', &item) && equals(item, "a"));
    ck_assert(request_list_next(&rest, ',', &item) && equals(item, "\"b,c\""));
    ck_assert(request_list_next(&rest, ',', &item) && item.len == 0);
    ck_assert(request_list_next(&rest, ',', &item) && equals(item, "d"));
    ck_assert(!request_list_next(&rest, ',', &item));
}
END_TEST

static bool parse(struct request *request, const char *query, const char **wrong)
{
    struct tally_slice name;

    request->query = tally_slice_string(query);
    return request_query_parse(request, "a,bb,verbose", &arena, &name, wrong);
}

START_TEST(reads_queries)
{
    struct request request = {0};
    const char *wrong;

    ck_assert(parse(&request, "a=1&bb=x%2Cy+z%c3%A4&&verbose", &wrong));
    ck_assert(equals(request_query(&request, "a"), "1"));
    ck_assert(equals(request_query(&request, "bb"), "x,y z\xc3\xa4"));
    ck_assert_ptr_nonnull(request_query(&request, "verbose").data);
    ck_assert_uint_eq(request_query(&request, "verbose").len, 0);
    ck_assert(parse(&request, "a=b=c", &wrong) && equals(request_query(&request, "a"), "b=c"));
    ck_assert(parse(&request, "", &wrong));
    ck_assert_ptr_null(request_query(&request, "a").data);
    request.query = TALLY_NONE;
    ck_assert(request_query_parse(&request, "", &arena, &request.query, &wrong));
}
END_TEST

START_TEST(refuses_queries)
{
    static const char *const bad[][2] = {
            {"c=1", "is not a parameter of this route"},
            {"=1", "is not a parameter of this route"},
            {"b=1", "is not a parameter of this route"},
            {"a,bb=1", "is not a parameter of this route"},
            {"a=1&a=2", "is there twice"},
            {"a=1&%61=2", "is there twice"},
            {"a=%", "is not valid percent-encoded UTF-8"},
            {"a=%4", "is not valid percent-encoded UTF-8"},
            {"a=%4g", "is not valid percent-encoded UTF-8"},
            {"a=%00", "is not valid percent-encoded UTF-8"},
            {"a=%ff", "is not valid percent-encoded UTF-8"},
            {"a=\xc0\xaf", "is not valid percent-encoded UTF-8"},
    };
    struct request request = {0};
    const char *wrong = "";

    ck_assert(!parse(&request, bad[_i][0], &wrong));
    ck_assert_str_eq(wrong, bad[_i][1]);
}
END_TEST

START_TEST(keeps_the_connection_as_the_library_does)
{
    static const struct {
        const char *version, *connection;
        bool keep;
    } cases[] = {
            {"1.1", NULL, true},
            {"1.0", NULL, false},
            {"1.1", "close", false},
            {"1.0", "Keep-Alive", true},
            {"1.1", "foo, keep-alive", true},
            {"1.1", "foo", false},
            {"1.1", "keep-alive, Upgrade", false},
    };
    struct request request = with("Connection", cases[_i].connection);

    request.version = cases[_i].version;
    request.header_count = cases[_i].connection != NULL;
    ck_assert_int_eq(request_keep_alive(&request), cases[_i].keep);
}
END_TEST

START_TEST(knows_methods_by_case)
{
    ck_assert_int_eq(request_method_of("GET"), REQUEST_GET);
    ck_assert_int_eq(request_method_of("HEAD"), REQUEST_HEAD);
    ck_assert_int_eq(request_method_of("POST"), REQUEST_POST);
    ck_assert_int_eq(request_method_of("get"), REQUEST_OTHER);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("request");
    TCase *tests = tcase_create("request");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, finds_headers_whatever_their_case);
    tcase_add_test(tests, walks_lists);
    tcase_add_test(tests, reads_queries);
    tcase_add_loop_test(tests, refuses_queries, 0, 12);
    tcase_add_loop_test(tests, keeps_the_connection_as_the_library_does, 0, 7);
    tcase_add_test(tests, knows_methods_by_case);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
