/* tests/bench/http_responder.c - what HTTP costs at the least on this machine: every request gets
 * the same answer, the bytes of a file, and nothing is looked at but where a request ends.
 *   bench_http_responder epoll|civetweb ANSWER_FILE PORT THREADS
 * epoll: so many threads, each with its own share of the connections. civetweb: the library that
 * tally is built on, with tally's settings and a handler that writes the answer; one thread a
 * connection. Prints "ready" and answers on loopback until it is killed. */
#include <arpa/inet.h>
#include <civetweb.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS            256
#define REQUEST_BYTES_MAX 16384
#define THREADS_MAX       64

struct connection {
    int descriptor;
    size_t got;
    char request[REQUEST_BYTES_MAX + 1];
};

static char *answer;
static size_t answer_len;
static int port;

static void fail(const char *what)
{
    fprintf(stderr, "bench_http_responder: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void read_answer(const char *path)
{
    FILE *file = fopen(path, "r");
    long size;

    if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) <= 0 ||
            fseek(file, 0, SEEK_SET)) {
        fail(path);
    }
    answer_len = (size_t)size;
    answer = malloc(answer_len);
    if (!answer || fread(answer, 1, answer_len, file) != answer_len) {
        fail(path);
    }
    fclose(file);
}

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);

    if (!memory) {
        fail("memory");
    }
    return memory;
}

/* --- epoll ----------------------------------------------------------------------------------- */

static int listen_here(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
            bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 512)) {
        fail("listen");
    }
    return listener;
}

static void accept_one(int poller, int listener)
{
    struct epoll_event event = {.events = EPOLLIN};
    struct connection *connection;
    int on = 1, descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (descriptor < 0) {
        return; /* another thread has it */
    }
    (void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    event.data.ptr = connection = allocate(sizeof *connection);
    connection->descriptor = descriptor;
    if (epoll_ctl(poller, EPOLL_CTL_ADD, descriptor, &event)) {
        fail("epoll");
    }
}

/* Answers fit the socket's buffer: a client has one request out. */
static void serve(struct connection *connection)
{
    ssize_t got = recv(connection->descriptor, connection->request + connection->got,
            REQUEST_BYTES_MAX - connection->got, 0);

    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) {
            close(connection->descriptor);
            free(connection);
        }
        return;
    }
    connection->got += (size_t)got;
    connection->request[connection->got] = '\0';
    if (!strstr(connection->request, "\r\n\r\n")) {
        return;
    }
    connection->got = 0;
    if (send(connection->descriptor, answer, answer_len, MSG_NOSIGNAL) != (ssize_t)answer_len) {
        fail("send");
    }
}

static void *run_epoll(void *argument)
{
    int listener = *(int *)argument, poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN | EPOLLEXCLUSIVE};

    if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event)) {
        fail("epoll");
    }
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, -1);

        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) {
                serve(events[i].data.ptr);
            } else {
                accept_one(poller, listener);
            }
        }
    }
    return NULL;
}

static void start_epoll(long threads)
{
    static int listener;
    pthread_t thread;

    listener = listen_here();
    for (long i = 0; i < threads; i++) {
        if (pthread_create(&thread, NULL, run_epoll, &listener)) {
            fail("thread");
        }
    }
}

/* --- civetweb -------------------------------------------------------------------------------- */

static int begin_request(struct mg_connection *connection)
{
    (void)mg_write(connection, answer, answer_len);
    return 200;
}

static void start_civetweb(const char *threads)
{
    const struct mg_callbacks callbacks = {.begin_request = begin_request};
    char listen[32];
    const char *options[] = {"listening_ports", listen, "num_threads", threads, "enable_keep_alive",
            "yes", "request_timeout_ms", "5000", "keep_alive_timeout_ms", "5000",
            "max_request_size", "16384", "tcp_nodelay", "1", "connection_queue", "128",
            "listen_backlog", "512", "decode_url", "no", "decode_query_string", "no",
            "enable_directory_listing", "no", "enable_auth_domain_check", "no", NULL};

    snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
    mg_init_library(MG_FEATURES_DEFAULT);
    if (!mg_start(&callbacks, NULL, options)) {
        fail("civetweb");
    }
}

int main(int argc, char **argv)
{
    long threads = argc == 5 ? strtol(argv[4], NULL, 10) : 0;

    if (threads < 1) {
        fprintf(stderr, "usage: bench_http_responder epoll|civetweb ANSWER_FILE PORT THREADS\n");
        return 2;
    }
    port = (int)strtol(argv[3], NULL, 10);
    read_answer(argv[2]);
    if (strcmp(argv[1], "civetweb") == 0) {
        start_civetweb(argv[4]);
    } else if (strcmp(argv[1], "epoll") == 0 && threads <= THREADS_MAX) {
        start_epoll(threads);
    } else {
        fprintf(stderr, "bench_http_responder: \"%s\" is neither epoll nor civetweb\n", argv[1]);
        return 2;
    }
    puts("ready");
    fflush(stdout);
    pause();
    return 0;
}
