/* tests/unit/test_ops_client.c - answers in every framing, cut answers, nobody
 * there. */
#include "apps/ops_client.h"

#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One connection of a server that says `text` to whatever it is asked. */
struct server {
    int fd;
    const char *text;
    char address[32];
    char asked[1024];
    pthread_t thread;
};

static void *serve(void *argument)
{
    struct server *server = argument;
    int fd = accept(server->fd, NULL, NULL);
    ssize_t got = recv(fd, server->asked, sizeof server->asked - 1, 0);

    (void)got;
    for (const char *at = server->text; *at;) { /* in small pieces, to split lines and chunks */
        size_t len = strlen(at) < 5 ? strlen(at) : 5;

        at += send(fd, at, len, MSG_NOSIGNAL);
    }
    close(fd);
    return NULL;
}

static void start(struct server *server, const char *text)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;

    *server = (struct server){.fd = socket(AF_INET, SOCK_STREAM, 0), .text = text};
    ck_assert_int_eq(bind(server->fd, (struct sockaddr *)&at, len), 0);
    ck_assert_int_eq(listen(server->fd, 1), 0);
    ck_assert_int_eq(getsockname(server->fd, (struct sockaddr *)&at, &len), 0);
    snprintf(server->address, sizeof server->address, "127.0.0.1:%d", ntohs(at.sin_port));
    ck_assert_int_eq(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void stop(struct server *server)
{
    pthread_join(server->thread, NULL);
    close(server->fd);
}

static enum tally_code get(const char *text, struct ops_answer *answer)
{
    struct tally_error err;
    struct server server;
    enum tally_code code;

    start(&server, text);
    code = ops_get((struct ops_target){server.address, "a.b.c"}, "/path?a=b", 5000, answer, &err);
    stop(&server);
    ck_assert_int_eq(strncmp(server.asked, "GET /path?a=b HTTP/1.1\r\n", 24), 0);
    ck_assert_ptr_nonnull(strstr(server.asked, "\r\nAuthorization: Bearer a.b.c\r\n"));
    return code;
}

static void must_give(const char *text, int status, const char *body)
{
    struct ops_answer answer;

    ck_assert_int_eq(get(text, &answer), TALLY_OK);
    ck_assert_int_eq(answer.status, status);
    ck_assert(tally_slice_equal(tally_buf_bytes(&answer.body), tally_slice_string(body)));
    ops_answer_deinit(&answer);
}

START_TEST(reads_every_framing)
{
    must_give("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello-not", 200, "hello");
    must_give("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", 503, "");
    must_give("HTTP/1.0 200 OK\r\nServer: x\r\n\r\nuntil the end", 200, "until the end");
    must_give("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nchunk "
              "\r\n10;x=y\r\n"
              "of sixteen bytes\r\n0\r\n\r\n",
            200, "chunk of sixteen bytes");
}
END_TEST

START_TEST(does_not_take_half_for_whole)
{
    static const char *const texts[] = {"", "HTTP/1.1 200 OK\r\nConte",
            "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nchunk \r\n",
            "SSH-2.0-something else\r\n"};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct ops_answer answer;

        ck_assert_int_ne(get(texts[i], &answer), TALLY_OK);
        ops_answer_deinit(&answer);
    }
}
END_TEST

START_TEST(a_problem_is_read)
{
    struct ops_answer answer;

    ck_assert_int_eq(get("HTTP/1.0 404 No\r\n\r\n{\"title\":\"t\",\"detail\":\"no \\\"A\\\\B\\\""
                         " here\",\"code\":\"X\"}",
                             &answer),
            TALLY_OK);
    ck_assert(tally_slice_equal(ops_problem(&answer), TALLY_SLICE("no \"A\\B\" here")));
    ops_answer_deinit(&answer);
    ck_assert_int_eq(get("HTTP/1.0 404 No\r\n\r\n{\"detail\":\"no end", &answer), TALLY_OK);
    ck_assert(tally_slice_equal(ops_problem(&answer), TALLY_SLICE("no end")));
    ops_answer_deinit(&answer);
}
END_TEST

START_TEST(says_when_nobody_listens)
{
    struct ops_answer answer;
    struct tally_error err;

    ck_assert_int_eq(ops_get((struct ops_target){"127.0.0.1:1", ""}, "/", 1000, &answer, &err),
            TALLY_UNAVAILABLE);
    ops_answer_deinit(&answer);
    ck_assert_int_eq(ops_get((struct ops_target){"nonsense", ""}, "/", 1000, &answer, &err),
            TALLY_CONFIG);
    ops_answer_deinit(&answer);
}
END_TEST

static bool take_until_comma(void *context, struct tally_slice bytes)
{
    struct tally_buf *taken = context;

    tally_buf_slice(taken, bytes);
    return memchr(bytes.data, ',', bytes.len) == NULL;
}

START_TEST(streams_and_stops)
{
    struct ops_answer answer;
    struct tally_error err;
    struct tally_buf taken;
    struct server server;

    tally_buf_init(&taken, 1024);
    start(&server, "HTTP/1.1 200 OK\r\n\r\none, two, three, four, five");
    ck_assert_int_eq(ops_stream((struct ops_target){server.address, ""}, "/", 5000,
                             take_until_comma, &taken, &answer, &err),
            TALLY_OK);
    stop(&server);
    ck_assert(tally_slice_starts(tally_buf_bytes(&taken), TALLY_SLICE("one,")));
    ck_assert_uint_eq(answer.body.len, 0);
    ops_answer_deinit(&answer);
    tally_buf_deinit(&taken);
}
END_TEST

START_TEST(encodes_queries)
{
    struct tally_buf path;

    tally_buf_init(&path, 1024);
    ops_encode(&path, TALLY_SLICE("TS-RED_M.a~b:c d/%&"));
    ck_assert(tally_slice_equal(tally_buf_bytes(&path),
            TALLY_SLICE("TS-RED_M.a~b:c%20d%2F%25%26")));
    tally_buf_deinit(&path);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ops_client");
    TCase *tests = tcase_create("ops_client");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tests, reads_every_framing);
    tcase_add_test(tests, does_not_take_half_for_whole);
    tcase_add_test(tests, says_when_nobody_listens);
    tcase_add_test(tests, a_problem_is_read);
    tcase_add_test(tests, streams_and_stops);
    tcase_add_test(tests, encodes_queries);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
