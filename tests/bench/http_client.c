/* tests/bench/http_client.c - the load of the HTTP benchmarks: keep-alive connections, each with
 * one request at a time. Requests are read from a file, "\n" between header lines, an empty line
 * behind each request; connections take them in turns.
 *   bench_http_client ADDRESS:PORT REQUESTS_FILE CONNECTIONS SECONDS RATE STATUS
 * RATE 0: each connection asks again as soon as it has its answer. Else so many requests a second
 * are due, evenly, and go to the connection that is idle for longest; time counts from when a
 * request was due, so what waits for a slow server is slow. Twice in a millisecond it sends what is
 * due and takes what has come: that much time is its own, and none of the cores that it would need
 * to wake for each. An answer with another status than
 * STATUS is an error, and so is a connection that ends. A connection is starved if it was without
 * an answer for a second although a request of its own was out, or if it never got one. The first
 * tenth of the time warms up and does not count. One thread, as little as possible for each
 * answer, before other threads of the machine: the server is to be measured, and not how long its
 * client waits for a core. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX  4096
#define REQUESTS_MAX     100000
#define ANSWER_BYTES_MAX (1024 * 1024)
#define EVENTS           256
#define STARVED_US       1000000
#define IDLE_MS          100
#define TICK_US          500
#define TURN_NS          100000
#define NICE             10 /* where it may */
#define FINE             64 /* parts of each power of two in the histogram */
#define BUCKETS          (FINE * 40)

struct request {
    const char *data;
    size_t len;
};

struct connection {
    int descriptor; /* -1: ended */
    bool busy;
    int64_t due_us, last_us; /* when its request was due; when it last had an answer */
    size_t got, body_at, length;
    int64_t answers;
    bool starved;
    char *answer;
    struct connection *next; /* in the list of idle ones */
};

static struct request requests[REQUESTS_MAX];
static size_t request_count, request_next;
static struct connection connections[CONNECTIONS_MAX];
static size_t connection_count;
static struct connection *idle_first, *idle_last;
static int64_t buckets[BUCKETS];
static int64_t answers, all_answers, errors, max_us, begin_us, warm_us;
static int wanted_status, poller;
static bool paced, realtime;

static void fail(const char *what)
{
    fprintf(stderr, "bench_http_client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

/* --- latencies: exact to 1/64 ---------------------------------------------------------------- */

static size_t bucket_of(int64_t us)
{
    size_t power = 0;

    while (us >= 2 * FINE) {
        us >>= 1;
        power++;
    }
    return power * FINE + (size_t)us < BUCKETS ? power * FINE + (size_t)us : BUCKETS - 1;
}

static double bucket_ms(size_t bucket)
{
    size_t power = bucket < 2 * FINE ? 0 : bucket / FINE - 1;

    return (double)((uint64_t)(bucket - power * FINE) << power) / 1000;
}

static double quantile_ms(double share)
{
    int64_t left = (int64_t)((double)answers * share);

    for (size_t i = 0; i < BUCKETS; i++) {
        left -= buckets[i];
        if (left < 0) {
            return bucket_ms(i);
        }
    }
    return (double)max_us / 1000;
}

/* --- requests and connections ---------------------------------------------------------------- */

/* Lines become CR LF lines; an empty one ends a request. */
static void read_requests(const char *path)
{
    FILE *file = fopen(path, "r");
    char line[8192], *text = NULL;
    size_t len = 0;

    if (!file) {
        fail(path);
    }
    while (fgets(line, sizeof line, file)) {
        size_t size = strcspn(line, "\n");

        text = realloc(text, len + size + 3);
        if (!text) {
            fail("memory");
        }
        memcpy(text + len, line, size);
        memcpy(text + len + size, "\r\n", 3);
        len += size + 2;
        if (size == 0 && request_count < REQUESTS_MAX) {
            requests[request_count++] = (struct request){text, len};
            text = NULL;
            len = 0;
        }
    }
    fclose(file);
    free(text);
    if (request_count == 0) {
        fprintf(stderr, "bench_http_client: %s holds no request\n", path);
        exit(2);
    }
}

static void connect_one(struct connection *connection, const struct sockaddr_in *address)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    int on = 1;

    connection->descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->descriptor < 0 ||
            connect(connection->descriptor, (const struct sockaddr *)address, sizeof *address)) {
        fail("connect");
    }
    (void)setsockopt(connection->descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fcntl(connection->descriptor, F_SETFL, O_NONBLOCK) ||
            epoll_ctl(poller, EPOLL_CTL_ADD, connection->descriptor, &event)) {
        fail("epoll");
    }
    connection->answer = malloc(ANSWER_BYTES_MAX + 1);
    if (!connection->answer) {
        fail("memory");
    }
}

static void connect_all(const char *text, size_t count)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    const char *colon = strchr(text, ':');
    char host[64];

    poller = epoll_create1(EPOLL_CLOEXEC);
    snprintf(host, sizeof host, "%.*s", colon ? (int)(colon - text) : 0, text);
    address.sin_port = htons((uint16_t)strtol(colon ? colon + 1 : "", NULL, 10));
    if (poller < 0 || inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fprintf(stderr, "bench_http_client: \"%s\" is no address:port\n", text);
        exit(2);
    }
    connection_count = count;
    for (size_t i = 0; i < count; i++) {
        connect_one(&connections[i], &address);
    }
}

static void set_idle(struct connection *connection)
{
    connection->busy = false;
    connection->next = NULL;
    *(idle_last ? &idle_last->next : &idle_first) = connection;
    idle_last = connection;
}

static void end_connection(struct connection *connection)
{
    errors++;
    close(connection->descriptor);
    connection->descriptor = -1;
}

/* Requests are small: a connection without room for one counts as ended. */
static void ask(struct connection *connection, int64_t due_us)
{
    const struct request *request = &requests[request_next++ % request_count];

    connection->busy = true;
    connection->due_us = due_us;
    connection->got = connection->body_at = 0;
    if (send(connection->descriptor, request->data, request->len, MSG_NOSIGNAL) !=
            (ssize_t)request->len) {
        end_connection(connection);
    }
}

/* --- answers --------------------------------------------------------------------------------- */

/* The status, or -1: no head yet. */
static int read_head(struct connection *connection)
{
    const char *end, *line;
    int status;

    connection->answer[connection->got] = '\0';
    end = strstr(connection->answer, "\r\n\r\n");
    if (!end) {
        return -1;
    }
    status = (int)strtol(connection->answer + strlen("HTTP/1.1 "), NULL, 10);
    connection->body_at = (size_t)(end - connection->answer) + 4;
    connection->length = 0;
    for (line = connection->answer; line < end; line = strstr(line, "\r\n") + 2) {
        if (strncasecmp(line, "Content-Length:", 15) == 0) {
            connection->length = strtoull(line + 15, NULL, 10);
        }
    }
    return status;
}

static void note_gap(struct connection *connection, int64_t at_us)
{
    int64_t since = connection->last_us > begin_us ? connection->last_us : begin_us;

    if (connection->busy && at_us - since > STARVED_US && at_us - connection->due_us > STARVED_US) {
        connection->starved = true;
    }
}

static void count_answer(struct connection *connection, int64_t at_us)
{
    int64_t us = at_us - connection->due_us;

    note_gap(connection, at_us);
    connection->answers++;
    connection->last_us = at_us;
    all_answers++;
    if (at_us < warm_us) {
        return;
    }
    answers++;
    buckets[bucket_of(us)]++;
    max_us = us > max_us ? us : max_us;
}

static void receive(struct connection *connection, int64_t *at_us)
{
    ssize_t got = recv(connection->descriptor, connection->answer + connection->got,
            ANSWER_BYTES_MAX - connection->got, 0);

    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) {
            end_connection(connection);
        }
        return;
    }
    connection->got += (size_t)got;
    if (connection->body_at == 0) {
        int status = read_head(connection);

        if (status < 0) {
            return;
        }
        errors += status != wanted_status;
    }
    if (connection->got < connection->body_at + connection->length) {
        return;
    }
    *at_us = now_us();
    count_answer(connection, *at_us);
    if (paced) {
        set_idle(connection);
    } else {
        ask(connection, *at_us);
    }
}

/* --- the run --------------------------------------------------------------------------------- */

/* Sends what is due as far as there are idle connections; returns when the next is. */
static int64_t pace(int64_t due_us, double step_us, int64_t *sent)
{
    while (due_us <= now_us() && idle_first) {
        struct connection *connection = idle_first;

        idle_first = connection->next;
        idle_last = idle_first ? idle_last : NULL;
        if (connection->descriptor < 0) {
            continue;
        }
        ask(connection, due_us);
        (*sent)++;
        due_us = begin_us + (int64_t)((double)*sent * step_us);
    }
    return due_us;
}

static void sleep_until(int64_t us)
{
    struct timespec at = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};

    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/* As linux/sched/types.h has it. */
struct turn {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline, period;
};

/* A paced client comes before all other threads, where it may: what it waited for a core would
 * count as the server's. One that asks without a pause takes turns with the server, as short as
 * they get: kernels before 6.12 ignore their length. */
static void come_first(void)
{
    struct turn first = {.size = sizeof first, .policy = SCHED_RR, .priority = 1};
    struct turn turn = {.size = sizeof turn, .nice = -NICE, .runtime_ns = TURN_NS};

    realtime = paced && syscall(SYS_sched_setattr, 0, &first, 0) == 0;
    if (!realtime && syscall(SYS_sched_setattr, 0, &turn, 0)) {
        turn.nice = 0;
        (void)syscall(SYS_sched_setattr, 0, &turn, 0);
    }
}

static void run(int64_t seconds, double rate)
{
    struct epoll_event events[EVENTS];
    int64_t at_us = now_us(), end_us, due_us, sent = 0;

    begin_us = due_us = at_us;
    end_us = begin_us + seconds * 1000000;
    warm_us = begin_us + seconds * 100000;
    for (size_t i = 0; i < connection_count; i++) {
        if (paced) {
            set_idle(&connections[i]);
        } else {
            ask(&connections[i], begin_us);
        }
    }
    while ((at_us = now_us()) < end_us) {
        int count = epoll_wait(poller, events, EVENTS, paced ? 0 : IDLE_MS);

        for (int i = 0; i < count; i++) {
            receive(events[i].data.ptr, &at_us);
        }
        if (paced) {
            due_us = pace(due_us, 1000000 / rate, &sent);
            sleep_until(at_us - at_us % TICK_US + TICK_US);
        }
    }
    for (size_t i = 0; i < connection_count; i++) {
        note_gap(&connections[i], at_us);
        connections[i].starved |= connections[i].answers == 0;
    }
}

static void print_result(double seconds)
{
    struct rusage usage;
    int64_t starved = 0;
    double cpu_us;

    for (size_t i = 0; i < connection_count; i++) {
        starved += connections[i].starved;
    }
    getrusage(RUSAGE_SELF, &usage);
    cpu_us = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
             (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    printf("{\"answers\":%" PRId64 ",\"with_warm_up\":%" PRId64
           ",\"seconds\":%.3f,\"per_s\":%.0f,\"errors\":%" PRId64
           ",\"connections\":%zu,\"starved\":%" PRId64 ",\"p50_ms\":%.3f,\"p90_ms\":%.3f,"
           "\"p99_ms\":%.3f,\"p999_ms\":%.3f,\"max_ms\":%.3f,\"client_cpu_us\":%.2f,"
           "\"client_realtime\":%d}\n",
            answers, all_answers, seconds, (double)answers / seconds, errors, connection_count,
            starved, quantile_ms(0.5), quantile_ms(0.9), quantile_ms(0.99), quantile_ms(0.999),
            (double)max_us / 1000, all_answers > 0 ? cpu_us / (double)all_answers : 0, realtime);
}

int main(int argc, char **argv)
{
    long count = argc == 7 ? strtol(argv[3], NULL, 10) : 0;
    long seconds = argc == 7 ? strtol(argv[4], NULL, 10) : 0;
    double rate = argc == 7 ? strtod(argv[5], NULL) : -1;

    if (count < 1 || count > CONNECTIONS_MAX || seconds < 1 || rate < 0) {
        fprintf(stderr, "usage: bench_http_client ADDRESS:PORT REQUESTS_FILE CONNECTIONS SECONDS "
                        "RATE STATUS\n");
        return 2;
    }
    paced = rate > 0;
    wanted_status = (int)strtol(argv[6], NULL, 10);
    read_requests(argv[2]);
    connect_all(argv[1], (size_t)count);
    come_first();
    run(seconds, rate);
    print_result((double)seconds * 0.9);
    return 0;
}
