/* test_response.c - an answer is put together for one write. */
#include "http/response.h"

#include <check.h>
#include <stdlib.h>

static struct response response;
static struct tally_buf out;

static void begin(void)
{
    response_init(&response);
    response_reset(&response);
    tally_buf_init(&out, 1 << 20);
}

static void end(void)
{
    response_deinit(&response);
    tally_buf_deinit(&out);
}

static void out_is(const char *text)
{
    ck_assert_msg(tally_slice_equal(tally_buf_bytes(&out), tally_slice_string(text)), "is %.*s",
            (int)out.len, (const char *)out.data);
}

START_TEST(composes_an_answer)
{
    struct tally_writer writer;

    response_header(&response, "ETag", "\"p%d-v%d\"", 2, 911);
    response_json(&response, 200, &writer);
    tally_write_array(&writer, 0);
    response_compose(&response, REQUEST_GET, "DATE", true, &out);
    out_is("HTTP/1.1 200 OK\r\nDate: DATE\r\nContent-Type: application/json\r\nContent-Length: "
           "2\r\n"
           "Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\nConnection: "
           "keep-alive\r\n"
           "ETag: \"p2-v911\"\r\n\r\n[]");
}
END_TEST

START_TEST(head_has_the_length_but_no_body)
{
    response_begin(&response, 200, RESPONSE_TEXT);
    tally_buf_string(&response.body, "ok");
    response_compose(&response, REQUEST_HEAD, "DATE", false, &out);
    out_is("HTTP/1.1 200 OK\r\nDate: DATE\r\nContent-Type: text/plain; charset=utf-8\r\n"
           "Content-Length: 2\r\nCache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n"
           "Connection: close\r\n\r\n");
}
END_TEST

START_TEST(not_modified_has_neither)
{
    response_begin(&response, 200, RESPONSE_TEXT);
    tally_buf_string(&response.body, "dropped");
    response_empty(&response, 304);
    response_compose(&response, REQUEST_GET, "DATE", true, &out);
    out_is("HTTP/1.1 304 Not Modified\r\nDate: DATE\r\nCache-Control: no-cache\r\n"
           "X-Content-Type-Options: nosniff\r\nConnection: keep-alive\r\n\r\n");
}
END_TEST

START_TEST(a_redirect_ends_where_it_ends)
{
    response_header(&response, "Location", "/b");
    response_empty(&response, 301);
    response_compose(&response, REQUEST_GET, "DATE", true, &out);
    out_is("HTTP/1.1 301 Moved Permanently\r\nDate: DATE\r\nContent-Length: 0\r\n"
           "Cache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n"
           "Connection: keep-alive\r\nLocation: /b\r\n\r\n");
    tally_buf_clear(&out);
    response_empty(&response, 204);
    response_compose(&response, REQUEST_GET, "DATE", true, &out);
    out_is("HTTP/1.1 204 No Content\r\nDate: DATE\r\nCache-Control: no-cache\r\n"
           "X-Content-Type-Options: nosniff\r\nConnection: keep-alive\r\nLocation: /b\r\n\r\n");
}
END_TEST

START_TEST(writes_dates)
{
    char date[RESPONSE_DATE_LEN + 1];

    response_date(784111777000, date);
    ck_assert_str_eq(date, "Sun, 06 Nov 1994 08:49:37 GMT");
    response_date(1768471200004, date);
    ck_assert_str_eq(date, "Thu, 15 Jan 2026 10:00:00 GMT");
}
END_TEST

START_TEST(reset_forgets_everything)
{
    response_header(&response, "A", "b");
    response_begin(&response, 503, RESPONSE_TEXT);
    tally_assert(tally_buf_reserve(&response.body, 1 << 20));
    response.close = true;
    response_reset(&response);
    ck_assert_int_eq(response.status, 0);
    ck_assert_uint_eq(response.headers.len + response.body.len, 0);
    ck_assert_uint_lt(response.body.capacity, 1 << 20);
    ck_assert(!response.close);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("response");
    TCase *tests = tcase_create("response");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, composes_an_answer);
    tcase_add_test(tests, head_has_the_length_but_no_body);
    tcase_add_test(tests, not_modified_has_neither);
    tcase_add_test(tests, a_redirect_ends_where_it_ends);
    tcase_add_test(tests, writes_dates);
    tcase_add_test(tests, reset_forgets_everything);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
