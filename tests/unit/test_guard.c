/* test_guard.c - requests as civetweb leaves them in its buffer: what is let through. */
#include "http/guard.h"

#include <check.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

static char buffer[8192];
static struct request request;

/* Ends a word or a line in the buffer as the library does; *at moves to the next one. */
static char *take(char **at, const char *ends)
{
    char *start = *at;

    *at += strcspn(*at, ends);
    while (isspace((unsigned char)**at)) {
        *(*at)++ = '\0';
    }
    return start;
}

static void take_headers(char *at)
{
    while (request.header_count < REQUEST_HEADERS_MAX && isgraph((unsigned char)*at)) {
        struct request_header *header = &request.headers[request.header_count++];

        header->name = at;
        at += strcspn(at, ": ");
        while (*at == ' ') {
            *at++ = '\0';
        }
        *at++ = '\0';
        at += strspn(at, " \t");
        header->value = at;
        at += strcspn(at, "\r\n");
        if (*at == '\r') {
            *at++ = '\0';
        }
        if (*at == '\n') {
            *at++ = '\0';
        }
        if (*at == '\r' || *at == '\n') {
            break;
        }
    }
}

/* Reads a request leniently, with the traces in the buffer that the library leaves. */
static enum guard_verdict check(const char *text, enum problem_code *code)
{
    char *at = buffer, *query;
    const char *detail;

    memset(buffer, 'x', sizeof buffer);
    memcpy(buffer, text, strlen(text) + 1);
    buffer[strlen(text) - 1] = '\0';
    request = (struct request){0};
    at += strspn(at, "\r\n ");
    request.skipped = (size_t)(at - buffer);
    request.method_name = take(&at, " ");
    request.method = request_method_of(request.method_name);
    query = take(&at, " ");
    request.path = tally_slice_of(query, strcspn(query, "?"));
    request.query = query[request.path.len] == '?'
                            ? tally_slice_string(query + request.path.len + 1)
                            : TALLY_NONE;
    request.version = take(&at, "\r\n") + strlen("HTTP/");
    take_headers(at);
    return guard_check(&request, code, &detail);
}

static enum problem_code refused(const char *text)
{
    enum problem_code code = PROBLEM_NONE;

    ck_assert_int_eq(check(text, &code), GUARD_REFUSE);
    return code;
}

static void passes(const char *text)
{
    enum problem_code code = PROBLEM_NONE;

    ck_assert_msg(check(text, &code) == GUARD_PASS, "refused: %s", text);
}

START_TEST(lets_ordinary_requests_through)
{
    passes("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    passes("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    passes("GET / HTTP/1.0\r\nHost:\r\n\r\n");
    passes("GET /a?b=c HTTP/1.1\r\nHost:  a  \r\nAccept:*/*\r\nEmpty:\r\n\r\n");
    passes("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    passes("POST / HTTP/1.1\r\ncontent-length: 1048576\r\nHost: a\r\n\r\n");
    passes("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n");
    ck_assert(guard_is_chunked(&request) && guard_has_body(&request));
    passes("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n");
    ck_assert(!guard_has_body(&request));
}
END_TEST

START_TEST(refuses_a_header_block_with_seams)
{
    static const char *const bad[] = {
            "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n folded\r\nContent-Length: 5\r\n\r\n",
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: b\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n",
    };

    ck_assert_int_eq(refused(bad[_i]), PROBLEM_MALFORMED_REQUEST);
}
END_TEST

START_TEST(refuses_two_readings_of_the_length)
{
    static const char *const bad[] = {
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 3x\r\n",
            "Content-Length: abc\r\n",
            "Content-Length: 3,3\r\n",
            "Content-Length: 0x3\r\n",
            "Content-Length:\r\n",
            "Host: b\r\nContent-Length: 0\r\n",
    };
    char text[512];

    snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: a\r\n%s\r\n", bad[_i]);
    ck_assert_int_eq(refused(text), PROBLEM_MALFORMED_REQUEST);
}
END_TEST

START_TEST(refuses_what_is_missing_or_too_much)
{
    char text[8192];
    size_t len;

    ck_assert_int_eq(refused("GET / HTTP/1.1\r\nX: a\r\n\r\n"), PROBLEM_MALFORMED_REQUEST);
    ck_assert_int_eq(refused("POST / HTTP/1.1\r\nHost: a\r\n\r\n"), PROBLEM_LENGTH_REQUIRED);
    ck_assert_int_eq(refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n"),
            PROBLEM_BODY_TOO_LARGE);
    ck_assert_int_eq(refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: "
                             "99999999999999999999\r\n\r\n"),
            PROBLEM_BODY_TOO_LARGE);
    ck_assert_int_eq(refused("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
            PROBLEM_MALFORMED_REQUEST);
    snprintf(text, sizeof text, "GET /%02047d HTTP/1.1\r\nHost: a\r\n\r\n", 0);
    passes(text);
    snprintf(text, sizeof text, "GET /%02040d?%07d HTTP/1.1\r\nHost: a\r\n\r\n", 0, 0);
    ck_assert_int_eq(refused(text), PROBLEM_URI_TOO_LONG);
    len = (size_t)snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 62; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "X%d: y\r\n", i);
    }
    snprintf(text + len, sizeof text - len, "\r\n");
    passes(text);
    snprintf(text + len, sizeof text - len, "Y: z\r\n\r\n");
    ck_assert_int_eq(refused(text), PROBLEM_TOO_MANY_HEADERS);
}
END_TEST

START_TEST(says_nothing_to_a_proxy_request)
{
    enum problem_code code;

    ck_assert_int_eq(check("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", &code), GUARD_SILENT);
    ck_assert_int_eq(check("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &code), GUARD_SILENT);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("guard");
    TCase *tests = tcase_create("guard");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tests, lets_ordinary_requests_through);
    tcase_add_loop_test(tests, refuses_a_header_block_with_seams, 0, 10);
    tcase_add_loop_test(tests, refuses_two_readings_of_the_length, 0, 14);
    tcase_add_test(tests, refuses_what_is_missing_or_too_much);
    tcase_add_test(tests, says_nothing_to_a_proxy_request);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
