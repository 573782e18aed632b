/* test_lane.c - connections in lanes: invariants 1 to 3 of lane.h, over sockets of this machine. */
#include "http/lane.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/base/mem.h"

enum { LONG_MS = 60000, LARGE = 900 * 1024 };

static int client, server;
static struct lane_place place;
static struct lanes *lanes;
static struct request request;
static _Atomic int desks, open_round; /* open_round: requests of a round that has not ended */

/* --- a kernel of before 6.9, for whom wants one ----------------------------------------------- */

static bool kernel_is_old;

int setsockopt(int descriptor, int level, int name, const void *value, socklen_t len)
{
    if (kernel_is_old && level == SOL_SOCKET && name == SO_PEEK_OFF) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return (int)syscall(SYS_setsockopt, descriptor, level, name, value, len);
}

/* --- a desk that answers with the path; /slow is not its own, /large has a large answer ------- */

static void *open_desk(void *context)
{
    (void)context;
    atomic_fetch_add(&desks, 1);
    return &request;
}

static void close_desk(void *desk)
{
    ck_assert_ptr_eq(desk, &request);
    atomic_fetch_sub(&desks, 1);
}

static struct request *begin(void *desk, struct lane_place *its, int64_t round_us)
{
    ck_assert_int_gt(round_us, 0);
    ck_assert_ptr_eq(desk, &request);
    ck_assert_ptr_eq(its->connection, &client);
    atomic_fetch_add(&open_round, 1);
    return &request;
}

static void end(void *desk)
{
    ck_assert_ptr_eq(desk, &request);
    atomic_store(&open_round, 0);
}

static bool answer(void *desk, struct tally_buf *out)
{
    (void)desk;
    if (tally_slice_equal(request.path, TALLY_SLICE("/slow"))) {
        tally_buf_string(out, "never sent");
        return false;
    }
    tally_buf_slice(out, request.path);
    while (tally_slice_equal(request.path, TALLY_SLICE("/large")) && out->len < LARGE) {
        tally_buf_byte(out, 'x');
    }
    return true;
}

/* --- both ends of a connection ---------------------------------------------------------------- */

static void connect_both(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, len), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    client = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(client, (struct sockaddr *)&address, len), 0);
    server = accept(listener, NULL, NULL);
    ck_assert_int_ge(server, 0);
    close(listener);
}

static void start(int64_t idle_ms, bool old)
{
    const struct lane_ops ops = {
            .open = open_desk, .close = close_desk, .begin = begin, .answer = answer, .end = end};

    kernel_is_old = old;
    lanes = lane_start(&ops, idle_ms);
    connect_both();
    lane_place_init(&place);
    place.socket = server;
    place.connection = &client;
}

static void stop(void)
{
    lane_stop(lanes);
    lane_destroy(lanes);
    lane_place_deinit(&place);
    close(client);
    close(server);
    ck_assert_int_eq(desks, 0);
    ck_assert_int_eq(open_round, 0);
}

static void write_all(const char *text)
{
    ck_assert_int_eq(send(client, text, strlen(text), MSG_NOSIGNAL), (int)strlen(text));
}

static void expect(int descriptor, const char *text)
{
    char found[256] = "";

    ck_assert_int_eq(recv(descriptor, found, strlen(text), MSG_WAITALL), (int)strlen(text));
    ck_assert_str_eq(found, text);
}

static struct tally_thread waiter;
static enum lane_event waited;

static void wait_for_it(void *unused)
{
    (void)unused;
    waited = lane_wait(lanes, 0, &place);
}

static void place_starts_to_wait(void)
{
    waiter = (struct tally_thread){.started = false};
    tally_thread_start(&waiter, "waits", wait_for_it, NULL);
}

static enum lane_event place_has_waited(void)
{
    tally_thread_join(&waiter);
    return waited;
}

#define READ(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

START_TEST(answers_reads_and_leaves_everything_else_in_the_socket)
{
    static const char *const others[] = {READ("/slow"), "POST /a HTTP/1.1\r\nHost: a\r\n",
            "GET /a HT", "\r\n", READ("/slow") READ("/a")};

    start(LONG_MS, _i == 1);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        uint64_t taken = strlen(READ("/a") READ("/bc"));

        write_all(READ("/a") READ("/bc"));
        write_all(others[i]);
        ck_assert_int_eq(lane_wait(lanes, i, &place), LANE_REQUEST);
        ck_assert_uint_eq(place.answered, 2);
        ck_assert_uint_eq(place.taken, taken);
        expect(client, "/a/bc");
        expect(server, others[i]);
    }
    stop();
}
END_TEST

START_TEST(knows_what_the_library_has_read)
{
    start(LONG_MS, _i == 1);
    write_all("12345");
    expect(server, "12");
    ck_assert(lane_has_all(server, 2)); /* three are in the socket */
    expect(server, "3");
    ck_assert(!lane_has_all(server, 2)); /* one is in somebody's buffer */
    ck_assert(lane_has_all(server, 3));
    ck_assert(!lane_has_all(server, 4));
    ck_assert(!lane_has_all(-1, 0));
    stop();
}
END_TEST

START_TEST(gives_back_what_the_socket_does_not_take)
{
    char *found = malloc(LARGE);
    enum lane_event event;
    size_t total = 0;
    ssize_t got;

    start(LONG_MS, _i == 1);
    for (int i = 0; i < 16; i++) { /* more than buffers hold, while nobody reads */
        write_all(READ("/large"));
    }
    event = lane_wait(lanes, 0, &place);
    ck_assert_int_eq(event, LANE_REST);
    ck_assert_uint_gt(place.rest.len, 0);
    ck_assert_uint_le(place.rest.len, LARGE);
    while (total < place.answered * LARGE - place.rest.len) {
        got = recv(client, found, LARGE, 0);
        ck_assert_int_gt(got, 0);
        total += (size_t)got;
    }
    ck_assert_uint_eq(total, place.answered * LARGE - place.rest.len);
    ck_assert_int_eq(recv(client, found, 1, MSG_DONTWAIT), -1);
    free(found);
    stop();
}
END_TEST

START_TEST(one_connection_does_not_keep_a_lane)
{
    char text[64 * 64] = "";
    size_t answered = 0;

    start(LONG_MS, _i == 1);
    for (int i = 0; i < 64; i++) {
        strncat(text, READ("/a"), sizeof text - strlen(text) - 1);
    }
    write_all(text);
    write_all(READ("/slow"));
    while (answered < 64) { /* in several turns, each given back */
        ck_assert_int_eq(lane_wait(lanes, 0, &place), LANE_REQUEST);
        ck_assert_uint_gt(place.answered, 0);
        ck_assert_uint_lt(place.answered, 64);
        answered += place.answered;
    }
    stop();
}
END_TEST

/* Enough that what is answered is taken from the socket several times, and some of it is not. */
START_TEST(takes_all_that_it_has_answered)
{
    enum { ASKED = 100 };

    start(LONG_MS, _i == 1);
    place_starts_to_wait();
    for (int i = 0; i < ASKED; i++) {
        write_all(READ("/a"));
        expect(client, "/a");
    }
    write_all(READ("/slow"));
    ck_assert_int_eq(place_has_waited(), LANE_REQUEST);
    ck_assert_uint_eq(place.answered, ASKED);
    ck_assert_uint_eq(place.taken, ASKED * strlen(READ("/a")));
    ck_assert(lane_has_all(server, place.taken));
    expect(server, READ("/slow"));
    stop();
}
END_TEST

START_TEST(ends_what_is_idle)
{
    start(1, _i == 1);
    ck_assert_int_eq(lane_wait(lanes, 0, &place), LANE_END);
    stop();
    start(LONG_MS, _i == 1);
    close(client); /* the end of a connection is seen by its worker */
    ck_assert_int_eq(lane_wait(lanes, 0, &place), LANE_REQUEST);
    client = dup(server);
    stop();
}
END_TEST

static void stop_lanes(void *unused)
{
    (void)unused;
    expect(client, "/a");
    lane_stop(lanes);
}

START_TEST(gives_all_back_when_it_stops)
{
    struct tally_thread thread = {.started = false};

    start(LONG_MS, _i == 1);
    write_all(READ("/a"));
    tally_thread_start(&thread, "stops", stop_lanes, NULL);
    ck_assert_int_eq(lane_wait(lanes, 0, &place), LANE_END);
    tally_thread_join(&thread);
    ck_assert_uint_eq(place.answered, 1);
    ck_assert_int_eq(lane_wait(lanes, 0, &place), LANE_END); /* and nobody gets in any more */
    stop();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lane");
    TCase *tests = tcase_create("lane");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, answers_reads_and_leaves_everything_else_in_the_socket, 0, 2);
    tcase_add_loop_test(tests, knows_what_the_library_has_read, 0, 2);
    tcase_add_loop_test(tests, gives_back_what_the_socket_does_not_take, 0, 2);
    tcase_add_loop_test(tests, one_connection_does_not_keep_a_lane, 0, 2);
    tcase_add_loop_test(tests, takes_all_that_it_has_answered, 0, 2);
    tcase_add_loop_test(tests, ends_what_is_idle, 0, 2);
    tcase_add_loop_test(tests, gives_all_back_when_it_stops, 0, 2);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
