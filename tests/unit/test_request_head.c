/* test_request_head.c - heads of ordinary reads are taken apart as the library does it; all others
 * are left alone. */
#include "http/request_head.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/guard.h"

static struct request request;

/* In memory that ends with the text, so that a sanitizer sees who goes beyond it. */
static size_t read_head(const char *text, size_t len)
{
    char *copy = malloc(len);
    size_t head;

    memcpy(copy, text, len);
    request = (struct request){.peer = "127.0.0.1"};
    head = request_head_read(copy, len, &request);
    if (head > 0) {
        enum problem_code code;
        const char *detail;

        ck_assert_msg(guard_check(&request, &code, &detail) == GUARD_PASS, "%s: %s", text, detail);
    }
    free(copy);
    return head;
}

START_TEST(takes_a_read_apart)
{
    char text[] =
            "GET /v1/stock/A?warehouse=B,C&x HTTP/1.1\r\nHost: a\r\nIf-None-Match:   \"p0-v1\" "
            "\r\nX-Empty:\r\nCONNECTION: Keep-Alive\r\n\r\nGET /";
    size_t len = strlen(text);

    ck_assert_uint_eq(request_head_read(text, len, &request), len - strlen("GET /"));
    ck_assert_int_eq(request.method, REQUEST_GET);
    ck_assert_str_eq(request.method_name, "GET");
    ck_assert_str_eq(request.version, "1.1");
    ck_assert(tally_slice_equal(request.path, TALLY_SLICE("/v1/stock/A")));
    ck_assert(tally_slice_equal(request.query, TALLY_SLICE("warehouse=B,C&x")));
    ck_assert_uint_eq(request.header_count, 4);
    ck_assert(tally_slice_equal(request_header(&request, "if-none-match"),
            TALLY_SLICE("\"p0-v1\"")));
    ck_assert_str_eq(request.headers[2].value, "");
    ck_assert(request_keep_alive(&request));
    ck_assert_str_eq(text + len - strlen("GET /"), "GET /"); /* what follows is as it was */
}
END_TEST

START_TEST(a_part_is_no_head)
{
    static const char text[] = "HEAD /v1/stock/A HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";

    ck_assert_uint_eq(read_head(text, sizeof text - 1), sizeof text - 1);
    ck_assert_int_eq(request.method, REQUEST_HEAD);
    ck_assert_ptr_null(request.query.data);
    for (size_t len = 1; len < sizeof text - 1; len++) {
        ck_assert_msg(read_head(text, len) == 0, "%zu", len);
    }
}
END_TEST

#define LINE "GET /v1/stock/A HTTP/1.1\r\nHost: a\r\n"

static const char *const others[] = {
        "POST /v1/stock/A HTTP/1.1\r\nHost: a\r\n\r\n",
        "get /v1/stock/A HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n" LINE "\r\n",
        " " LINE "\r\n",
        "GET  /v1/stock/A HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\t/v1/stock/A HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /v1/stock/A  HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /v1/stock/A HTTP/1.0\r\nHost: a\r\n\r\n",
        "GET /v1/stock/A HTTP/1.10\r\nHost: a\r\n\r\n",
        "GET /v1/stock/A HTTP/1.1 \r\nHost: a\r\n\r\n",
        "GET /v1/stock/A#b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /v1/stock/\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/v1/stock/A HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /v1/stock/A\r\n\r\n",
        "GET /v1/stock/A HTTP/1.1\nHost: a\n\n",
        LINE "X: y\n\r\n",
        LINE "X : y\r\n\r\n",
        LINE "X y\r\n\r\n",
        LINE ": y\r\n\r\n",
        LINE " folded\r\n\r\n",
        LINE "X: y\r\n z\r\n\r\n",
        LINE "X: \xe9\r\n\r\n",
        LINE "X: a\tb\r\n\r\n",
        LINE "X: a\rb\r\n\r\n",
        LINE "X(: y\r\n\r\n",
        LINE "\n",
        LINE "\rX",
        LINE "Content-Length: 0\r\n\r\n",
        LINE "content-length: 5\r\n\r\nhello",
        LINE "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        LINE "Expect: 100-continue\r\n\r\n",
        LINE "Upgrade: websocket\r\n\r\n",
        LINE "Connection: close\r\n\r\n",
        LINE "Connection: keep-alive, Upgrade\r\n\r\n",
        LINE "Prefer: wait=5\r\n\r\n",
        LINE "Tally-Min-Position: stock.commands/0@1\r\n\r\n",
        LINE "Tally-Forwarded: 1\r\n\r\n",
        LINE "Connection: keep-alive\r\nConnection: close\r\n\r\n",
        LINE "host: b\r\n\r\n",
        "GET /v1/stock/A HTTP/1.1\r\nX: y\r\n\r\n",
        "GET /v1/stock/A HTTP/1.1\r\n\r\n",
};

START_TEST(what_is_not_ordinary_is_no_head)
{
    ck_assert_msg(read_head(others[_i], strlen(others[_i])) == 0, "%s", others[_i]);
}
END_TEST

START_TEST(so_many_headers_and_no_more)
{
    char text[4096];

    for (int count = REQUEST_HEADERS_MAX - 3; count <= REQUEST_HEADERS_MAX; count++) {
        size_t len = (size_t)snprintf(text, sizeof text, "%s", LINE);

        for (int i = 1; i < count; i++) {
            len += (size_t)snprintf(text + len, sizeof text - len, "X: y\r\n");
        }
        len += (size_t)snprintf(text + len, sizeof text - len, "\r\n");
        ck_assert_uint_eq(read_head(text, len), count < REQUEST_HEADERS_MAX ? len : 0);
    }
}
END_TEST

START_TEST(a_target_as_long_as_the_guard_lets_pass)
{
    char text[GUARD_URI_BYTES_MAX + 64];

    for (int len = GUARD_URI_BYTES_MAX - 1; len <= GUARD_URI_BYTES_MAX + 1; len++) {
        size_t size = (size_t)snprintf(text, sizeof text, "GET /%0*d HTTP/1.1\r\nHost: a\r\n\r\n",
                len - 1, 0);

        ck_assert_uint_eq(read_head(text, size), len <= GUARD_URI_BYTES_MAX ? size : 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("request_head");
    TCase *tests = tcase_create("request_head");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tests, takes_a_read_apart);
    tcase_add_test(tests, a_part_is_no_head);
    tcase_add_loop_test(tests, what_is_not_ordinary_is_no_head, 0,
            (int)(sizeof others / sizeof *others));
    tcase_add_test(tests, so_many_headers_and_no_more);
    tcase_add_test(tests, a_target_as_long_as_the_guard_lets_pass);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
