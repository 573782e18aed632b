/* test_stream_client.c - a server that answers in small pieces: frames of every length, pings,
 * ends, and what no server may send. */
#include "apps/stream_client.h"

#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/mem.h"

#define SWITCHING "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
#define HEARD_MAX 4096

/* One connection: what is told, byte by byte at first; then what the client says is kept. */
struct server {
    int fd;
    const uint8_t *told;
    size_t told_len, heard_len;
    uint8_t heard[HEARD_MAX];
    char address[32];
    pthread_t thread;
};

static struct server server;
static struct stream_client *client;
static struct tally_error err;
static int status;

static void *serve(void *argument)
{
    int fd = accept(server.fd, NULL, NULL);
    size_t at = 0;

    (void)argument;
    while (server.heard_len < 4 ||
            memcmp(server.heard + server.heard_len - 4, "\r\n\r\n", 4) != 0) {
        ssize_t got = recv(fd, server.heard + server.heard_len, HEARD_MAX - server.heard_len, 0);

        if (got <= 0) {
            break;
        }
        server.heard_len += (size_t)got;
    }
    while (at < server.told_len) {
        size_t len = at < 200 ? 1 : 1000;

        len = len < server.told_len - at ? len : server.told_len - at;
        (void)!send(fd, server.told + at, len, MSG_NOSIGNAL);
        at += len;
    }
    shutdown(fd, SHUT_WR);
    for (;;) {
        ssize_t got = recv(fd, server.heard + server.heard_len, HEARD_MAX - server.heard_len, 0);

        if (got <= 0) {
            break;
        }
        server.heard_len += (size_t)got;
    }
    close(fd);
    return NULL;
}

static enum tally_code open_to(const void *told, size_t len)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;

    server.told = told;
    server.told_len = len;
    server.heard_len = 0;
    server.fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(server.fd, (struct sockaddr *)&at, size), 0);
    ck_assert_int_eq(listen(server.fd, 1), 0);
    ck_assert_int_eq(getsockname(server.fd, (struct sockaddr *)&at, &size), 0);
    snprintf(server.address, sizeof server.address, "127.0.0.1:%d", ntohs(at.sin_port));
    ck_assert_int_eq(pthread_create(&server.thread, NULL, serve, NULL), 0);
    return stream_client_open((struct ops_target){server.address, "a.b.c"}, "/v1/stream", 20000,
            &client, &status, &err);
}

static void end_all(void)
{
    stream_client_close(client);
    client = NULL;
    pthread_join(server.thread, NULL);
    close(server.fd);
}

static enum tally_code next(struct tally_slice *message)
{
    enum tally_code code;

    do {
        code = stream_client_next(client, 1000, message, &err);
    } while (code == TALLY_AGAIN);
    return code;
}

START_TEST(frames_of_every_length)
{
    static const size_t lengths[] = {0, 1, 125, 126, 65535, 65536, 300000};
    struct tally_slice message;
    struct tally_buf told;

    tally_buf_init(&told, 1024 * 1024);
    tally_buf_string(&told, SWITCHING);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint8_t head[10] = {0x81, (uint8_t)lengths[i]};
        size_t size = 2;

        if (lengths[i] > 65535) {
            head[1] = 127;
            tally_put_u64(head + 2, lengths[i]);
            size = 10;
        } else if (lengths[i] > 125) {
            head[1] = 126;
            tally_put_u16(head + 2, (uint16_t)lengths[i]);
            size = 4;
        }
        tally_buf_append(&told, head, size);
        for (size_t j = 0; j < lengths[i]; j++) {
            tally_buf_byte(&told, (uint8_t)('a' + j % 26));
        }
    }
    ck_assert_int_eq(open_to(told.data, told.len), TALLY_OK);
    ck_assert_int_eq(status, 101);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        ck_assert_int_eq(next(&message), TALLY_OK);
        ck_assert_uint_eq(message.len, lengths[i]);
        for (size_t j = 0; j < lengths[i]; j++) {
            ck_assert_int_eq(message.data[j], (uint8_t)('a' + j % 26));
        }
    }
    ck_assert_int_eq(next(&message), TALLY_UNAVAILABLE);
    ck_assert(strstr(err.message, "was closed"));
    end_all();
    server.heard[server.heard_len < HEARD_MAX ? server.heard_len : HEARD_MAX - 1] = '\0';
    ck_assert(strstr((char *)server.heard, "\r\nAuthorization: Bearer a.b.c\r\n"));
    tally_buf_deinit(&told);
}
END_TEST

/* What the client has sent after its handshake, without its mask. */
static struct tally_slice said(size_t *at)
{
    uint8_t *head;
    size_t len;

    ck_assert_uint_le(*at + 6, server.heard_len);
    head = server.heard + *at;
    ck_assert_int_eq(head[0] & 0x80, 0x80);
    ck_assert_int_eq(head[1] & 0x80, 0x80);
    len = head[1] & 0x7f;
    ck_assert_uint_le(*at + 6 + len, server.heard_len);
    for (size_t i = 0; i < len; i++) {
        head[6 + i] ^= head[2 + i % 4];
    }
    *at += 6 + len;
    return tally_slice_of(head + 6, len);
}

START_TEST(pings_and_a_close)
{
    static const char told[] = SWITCHING "\x89\x05hello\x8a\x00\x81\x02{}\x88\x05\x03\xe9"
                                         "bye";
    struct tally_slice message, kept;
    size_t at;

    ck_assert_int_eq(open_to(told, sizeof told - 1), TALLY_OK);
    ck_assert_int_eq(stream_client_send(client, TALLY_SLICE("{\"op\":1}"), &err), TALLY_OK);
    ck_assert_int_eq(next(&message), TALLY_OK);
    ck_assert(tally_slice_equal(message, TALLY_SLICE("{}")));
    ck_assert_int_eq(next(&message), TALLY_UNAVAILABLE);
    ck_assert_msg(strstr(err.message, "closed the connection: 1001, bye"), "%s", err.message);
    end_all();
    kept = tally_slice_of(server.heard, server.heard_len);
    at = (size_t)((uint8_t *)memmem(kept.data, kept.len, "\r\n\r\n", 4) - server.heard) + 4;
    ck_assert_int_eq(server.heard[at], 0x81);
    ck_assert(tally_slice_equal(said(&at), TALLY_SLICE("{\"op\":1}")));
    ck_assert_int_eq(server.heard[at], 0x8a);
    ck_assert(tally_slice_equal(said(&at), TALLY_SLICE("hello")));
    ck_assert_int_eq(server.heard[at], 0x88);
    ck_assert(tally_slice_equal(said(&at), TALLY_SLICE("\x03\xe8")));
}
END_TEST

static const struct {
    const char *told;
    size_t len;
} strange[] = {
#define TOLD(text)                                \
    {                                             \
        SWITCHING text, sizeof SWITCHING text - 1 \
    }
        TOLD("\x81\x81mask?"),
        TOLD("\xc1\x01"
             "a"),
        TOLD("\x82\x01"
             "a"),
        TOLD("\x01\x01"
             "a"),
        TOLD("\x80\x01"
             "a"),
        TOLD("\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff"),
        TOLD("\x81\x7f\x00\x00\x00\x00\x40\x00\x00\x00")
#undef TOLD
};

START_TEST(what_no_server_sends)
{
    struct tally_slice message;

    ck_assert_int_eq(open_to(strange[_i].told, strange[_i].len), TALLY_OK);
    ck_assert_int_eq(next(&message), TALLY_BAD_RECORD);
    end_all();
}
END_TEST

START_TEST(refusals)
{
    static const char refused[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 30\r\n\r\n"
                                  "{\"detail\":\"the role is reader\"}",
                      other[] = "HTTP/1.1 200 OK\r\n\r\nhello",
                      none[] = "SSH-2.0-something\r\n\r\n", cut[] = "HTTP/1.1 101 Swi";

    ck_assert_int_eq(open_to(refused, sizeof refused - 1), TALLY_UNAVAILABLE);
    ck_assert_int_eq(status, 403);
    ck_assert_msg(strstr(err.message, "status 403: the role is reader"), "%s", err.message);
    end_all();
    ck_assert_int_eq(open_to(other, sizeof other - 1), TALLY_UNAVAILABLE);
    ck_assert(strstr(err.message, "status 200: the WebSocket was refused"));
    end_all();
    ck_assert_int_eq(open_to(none, sizeof none - 1), TALLY_BAD_RECORD);
    end_all();
    ck_assert_int_eq(open_to(cut, sizeof cut - 1), TALLY_UNAVAILABLE);
    ck_assert_int_eq(status, 0);
    end_all();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stream_client");
    TCase *tests = tcase_create("stream_client");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, frames_of_every_length);
    tcase_add_test(tests, pings_and_a_close);
    tcase_add_loop_test(tests, what_no_server_sends, 0, (int)(sizeof strange / sizeof *strange));
    tcase_add_test(tests, refusals);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
