/* http/websocket/websocket_gateway.c - see websocket_gateway.h.
 *
 *   OPEN --[close from here]--> CLOSING --[answer, end, time]--> gone
 *   OPEN --[close from there]--> CLOSING    OPEN --[end, error]--> gone
 *
 * Invariants
 *  (1) The thread waits in epoll only: every read and write is of what the kernel has or takes.
 *  (2) What a socket may have queued is bounded: what protocols send stops far below OUT_BYTES_MAX,
 *      or ends the socket; of one that ends for that reason all but the frame on its way goes.
 *  (3) A socket is freed at the end of a turn, so a protocol may close it inside any call. */
#include "http/websocket/websocket_gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"

enum {
    EVENTS_MAX = 64,
    READ_BYTES = 64 * 1024,
    OUT_BYTES_MAX = 8 * 1024 * 1024,
    OUT_KEEP_BYTES = 16 * 1024,
    READY_BYTES = 16 * 1024,
    MESSAGES_MAX = 100, /* a minute */
    MINUTE_MS = 60 * 1000,
    TICK_MS = 250,
    PINGS_MISSED_MAX = 3,
    CLOSE_MS = 2000,
    CLOSE_SLOW_MS = 10000,
    STOP_MS = 1000,
    NAME_LEN = 12
};

struct websocket_socket {
    struct websocket_gateway *gateway;
    struct websocket_socket *next, *prev;
    const struct websocket_protocol_ops *ops;
    struct websocket_visitor *visitor; /* NULL: nobody asks */
    void *session;
    int descriptor;
    struct websocket_reader reader;
    struct tally_buf out;
    size_t sent;  /* of out */
    size_t frame; /* where in out the frame begins that is being sent */
    size_t greeting;
    enum websocket_status closing; /* OPEN: not */
    bool gone, writes, choked;
    int64_t pong_ms, ping_ms, close_ms, minute_ms;
    int messages; /* in this minute */
};

struct websocket_gateway {
    struct websocket_gateway_options options;
    struct tally_thread thread;
    int epoll, wake;
    _Atomic size_t reserved;
    _Atomic bool stop;
    bool joined;                    /* @thread main */
    struct tally_mutex mutex;       /* guards added */
    struct websocket_socket *added; /* by HTTP, linked by next */
    struct websocket_socket *first; /* the thread's own */
    struct tally_series *sockets, *received;
    uint8_t buffer[READ_BYTES];
};

static int64_t now_ms(void)
{
    return tally_mono_ms(tally_clock_real());
}

/* --- sending ---------------------------------------------------------------------------------- */

size_t websocket_socket_queued(const struct websocket_socket *socket)
{
    return socket->out.len - socket->sent;
}

bool websocket_socket_is_open(const struct websocket_socket *socket)
{
    return !socket->gone && socket->closing == WEBSOCKET_OPEN;
}

const struct websocket_visitor *websocket_socket_visitor(const struct websocket_socket *socket)
{
    return socket->visitor;
}

static void watch_writes(struct websocket_socket *socket, bool writes)
{
    struct epoll_event event = {
            .events = EPOLLIN | (writes ? (uint32_t)EPOLLOUT : 0), .data.ptr = socket};

    if (socket->writes != writes) {
        socket->writes = writes;
        (void)epoll_ctl(socket->gateway->epoll, EPOLL_CTL_MOD, socket->descriptor, &event);
    }
}

/* How long the frame at `at` of out is. The 101 counts as one. */
static size_t frame_len(const struct websocket_socket *socket, size_t at)
{
    const uint8_t *head = socket->out.data + at;

    if (at < socket->greeting) {
        return socket->greeting;
    }
    return head[1] < 126    ? 2u + head[1]
           : head[1] == 126 ? 4u + tally_read_u16(head + 2)
                            : 10u + (size_t)tally_read_u64(head + 2);
}

static void forget_sent(struct websocket_socket *socket)
{
    while (socket->frame < socket->sent &&
            socket->frame + frame_len(socket, socket->frame) <= socket->sent) {
        socket->frame += frame_len(socket, socket->frame);
    }
    if (socket->frame == socket->out.len) {
        if (socket->out.capacity > OUT_KEEP_BYTES) {
            tally_buf_deinit(&socket->out);
            tally_buf_init(&socket->out, OUT_BYTES_MAX);
        }
        tally_buf_clear(&socket->out);
        socket->sent = socket->frame = socket->greeting = 0;
    } else if (socket->frame > socket->out.len / 2) {
        memmove(socket->out.data, socket->out.data + socket->frame,
                socket->out.len - socket->frame);
        socket->out.len -= socket->frame;
        socket->sent -= socket->frame;
        socket->frame = socket->greeting = 0;
    }
}

static void flush(struct websocket_socket *socket)
{
    while (!socket->gone && socket->sent < socket->out.len) {
        ssize_t count = send(socket->descriptor, socket->out.data + socket->sent,
                socket->out.len - socket->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            socket->gone = errno != EAGAIN && errno != EWOULDBLOCK;
            break;
        }
        socket->sent += (size_t)count;
    }
    forget_sent(socket);
    watch_writes(socket, websocket_socket_queued(socket) > 0);
    socket->choked = socket->choked || websocket_socket_queued(socket) > READY_BYTES;
}

static bool has_room(struct websocket_socket *socket)
{
    if (!websocket_socket_is_open(socket)) {
        return false;
    }
    if (socket->out.failed) {
        websocket_socket_close(socket, WEBSOCKET_SLOW, "too slow");
        return false;
    }
    return true;
}

void websocket_socket_send(struct websocket_socket *socket, const struct tally_slice *parts,
        size_t count)
{
    uint8_t head[WEBSOCKET_HEAD_BYTES_MAX];
    size_t len = 0, before = socket->out.len;

    if (!websocket_socket_is_open(socket)) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        len += parts[i].len;
    }
    tally_buf_append(&socket->out, head, websocket_frame_head(WEBSOCKET_TEXT, len, head));
    for (size_t i = 0; i < count; i++) {
        tally_buf_slice(&socket->out, parts[i]);
    }
    if (!has_room(socket)) {
        return;
    }
    socket->choked = socket->choked || socket->out.len - socket->sent > READY_BYTES;
    if (before == socket->sent) {
        flush(socket);
    }
}

/* By a client, which may do so as often as it likes. */
static bool is_invented(enum websocket_status status)
{
    return status > WEBSOCKET_SLOW && status != WEBSOCKET_BAD_REQUEST &&
           status != WEBSOCKET_UNAUTHORIZED && status != WEBSOCKET_FORBIDDEN &&
           status != WEBSOCKET_NOT_ACCEPTABLE && status != WEBSOCKET_TIMEOUT &&
           status != WEBSOCKET_DUPLICATE && status != WEBSOCKET_TOO_MANY &&
           status != WEBSOCKET_ERROR;
}

static void count_close(enum websocket_status status)
{
    char name[NAME_LEN];

    snprintf(name, sizeof name, "%d", (int)status);
    tally_series_add(tally_series_of(TALLY_METRIC_WEBSOCKET_CLOSES,
                             is_invented(status) ? "other" : name),
            1);
}

/* The session ends with the first sign of the end. */
static void end_session(struct websocket_socket *socket)
{
    void *session = socket->session;

    socket->session = NULL;
    if (session) {
        socket->ops->closed(session);
    }
}

void websocket_socket_close(struct websocket_socket *socket, enum websocket_status status,
        const char *reason)
{
    if (!websocket_socket_is_open(socket)) {
        return;
    }
    socket->closing = status;
    socket->close_ms = now_ms() + (status == WEBSOCKET_SLOW ? CLOSE_SLOW_MS : CLOSE_MS);
    count_close(status);
    if (status == WEBSOCKET_SLOW && socket->frame < socket->out.len) {
        size_t end = socket->frame;

        if (socket->sent > socket->frame) {
            end += frame_len(socket, socket->frame);
        }
        socket->out.len = end < socket->out.len ? end : socket->out.len;
        socket->out.failed = false;
    }
    websocket_frame_close(status, reason, &socket->out);
    flush(socket);
}

/* --- receiving -------------------------------------------------------------------------------- */

static bool count_message(struct websocket_socket *socket)
{
    int64_t now = now_ms();

    tally_series_add(socket->gateway->received, 1);
    if (now - socket->minute_ms >= MINUTE_MS) {
        socket->minute_ms = now;
        socket->messages = 0;
    }
    if (++socket->messages > MESSAGES_MAX) {
        websocket_socket_close(socket, WEBSOCKET_POLICY, "more than 100 messages a minute");
        return false;
    }
    return true;
}

/* The other end closes: its status comes back. */
static void take_close(struct websocket_socket *socket, enum websocket_status status)
{
    if (socket->closing) {
        socket->gone = true;
        return;
    }
    websocket_socket_close(socket, status, "");
    socket->gone = websocket_socket_queued(socket) == 0;
}

static void take_message(struct websocket_socket *socket, const struct websocket_message *message)
{
    if (message->opcode == WEBSOCKET_CLOSE) {
        take_close(socket, message->status);
    } else if (message->opcode == WEBSOCKET_PONG) {
        if (socket->ping_ms > socket->pong_ms || count_message(socket)) {
            socket->pong_ms = now_ms();
        }
    } else if (count_message(socket)) {
        if (message->opcode == WEBSOCKET_PING) {
            websocket_frame_write(WEBSOCKET_PONG, message->payload, &socket->out);
            if (has_room(socket)) {
                flush(socket);
            }
        } else {
            socket->ops->message(socket->session, message->payload);
        }
    }
}

static const char *reason_of(enum websocket_status status)
{
    switch ((int)status) {
    case WEBSOCKET_UNSUPPORTED:
        return "only text frames are understood";
    case WEBSOCKET_INVALID_DATA:
        return "text is not UTF-8";
    case WEBSOCKET_TOO_BIG:
        return "frames are at most 64 KiB, messages 256 KiB";
    default:
        return "a frame breaks RFC 6455";
    }
}

/* After a close from here only the other's close is looked for. */
static void take_bytes(struct websocket_socket *socket, struct tally_slice bytes)
{
    enum websocket_status status = WEBSOCKET_OPEN;
    struct websocket_message message;

    while (!socket->gone && websocket_reader_next(&socket->reader, &bytes, &message, &status)) {
        if (!socket->closing || message.opcode == WEBSOCKET_CLOSE) {
            take_message(socket, &message);
        }
    }
    if (status && !socket->closing) {
        websocket_socket_close(socket, status, reason_of(status));
    } else if (status) {
        socket->gone = true;
    }
}

static void receive(struct websocket_socket *socket)
{
    struct websocket_gateway *gateway = socket->gateway;
    ssize_t count = recv(socket->descriptor, gateway->buffer, READ_BYTES, MSG_DONTWAIT);

    if (count > 0) {
        take_bytes(socket, tally_slice_of(gateway->buffer, (size_t)count));
    } else if (count == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
        socket->gone = true;
    }
}

/* --- sockets ---------------------------------------------------------------------------------- */

static void insert(struct websocket_gateway *gateway, struct websocket_socket *socket)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = socket};

    socket->prev = NULL;
    socket->next = gateway->first;
    if (socket->next) {
        socket->next->prev = socket;
    }
    gateway->first = socket;
    socket->minute_ms = socket->pong_ms = socket->ping_ms = now_ms();
    tally_series_set(gateway->sockets, (int64_t)atomic_load(&gateway->reserved));
    if (epoll_ctl(gateway->epoll, EPOLL_CTL_ADD, socket->descriptor, &event) < 0) {
        socket->gone = true;
        return;
    }
    socket->session = socket->ops->open(gateway->options.context, socket);
    flush(socket);
}

static void take_added(struct websocket_gateway *gateway)
{
    struct websocket_socket *added;

    tally_mutex_lock(&gateway->mutex);
    added = gateway->added;
    gateway->added = NULL;
    tally_mutex_unlock(&gateway->mutex);
    while (added) {
        struct websocket_socket *next = added->next;

        insert(gateway, added);
        added = next;
    }
}

static void destroy_socket(struct websocket_socket *socket)
{
    struct websocket_gateway *gateway = socket->gateway;

    end_session(socket);
    if (!socket->closing) {
        count_close(WEBSOCKET_NO_STATUS);
    }
    *(socket->prev ? &socket->prev->next : &gateway->first) = socket->next;
    if (socket->next) {
        socket->next->prev = socket->prev;
    }
    close(socket->descriptor);
    websocket_reader_deinit(&socket->reader);
    tally_buf_deinit(&socket->out);
    tally_free(socket->visitor);
    tally_free(socket);
    websocket_gateway_unreserve(gateway);
    tally_series_set(gateway->sockets, (int64_t)atomic_load(&gateway->reserved));
}

/* The end of a turn: who can be sent more, who is gone. */
static void settle(struct websocket_gateway *gateway)
{
    for (struct websocket_socket *socket = gateway->first, *next; socket; socket = next) {
        next = socket->next;
        if (socket->choked && websocket_socket_queued(socket) <= READY_BYTES &&
                websocket_socket_is_open(socket)) {
            socket->choked = false;
            socket->ops->ready(socket->session);
        }
        if (!websocket_socket_is_open(socket)) {
            end_session(socket);
        }
        if (socket->gone) {
            destroy_socket(socket);
        }
    }
}

static void tick(struct websocket_socket *socket, int64_t now)
{
    int64_t ping_ms = socket->gateway->options.ping_ms;

    if (socket->closing) {
        socket->gone = socket->gone || now >= socket->close_ms;
        return;
    }
    if (now - socket->pong_ms >= PINGS_MISSED_MAX * ping_ms) {
        websocket_socket_close(socket, WEBSOCKET_GOING_AWAY, "no pong");
        return;
    }
    if (now - socket->ping_ms >= ping_ms) {
        socket->ping_ms = now;
        websocket_frame_write(WEBSOCKET_PING, TALLY_NONE, &socket->out);
        if (has_room(socket)) {
            flush(socket);
        }
    }
    if (socket->ops->tick && websocket_socket_is_open(socket)) {
        socket->ops->tick(socket->session, now);
    }
}

/* --- the thread ------------------------------------------------------------------------------- */

static void take_event(struct websocket_gateway *gateway, const struct epoll_event *event)
{
    struct websocket_socket *socket = event->data.ptr;
    uint64_t count;

    if (!socket) {
        (void)!read(gateway->wake, &count, sizeof count);
        return;
    }
    if (event->events & EPOLLOUT) {
        flush(socket);
    }
    if (event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        receive(socket);
    }
}

static void turn(struct websocket_gateway *gateway, int64_t *tick_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(gateway->epoll, events, EVENTS_MAX, TICK_MS);
    int64_t now = now_ms();

    for (int i = 0; i < count; i++) {
        take_event(gateway, &events[i]);
    }
    take_added(gateway);
    gateway->options.work(gateway->options.context);
    if (now - *tick_ms >= TICK_MS) {
        *tick_ms = now;
        for (struct websocket_socket *socket = gateway->first; socket; socket = socket->next) {
            tick(socket, now);
        }
    }
    settle(gateway);
}

static void run(void *argument)
{
    struct websocket_gateway *gateway = argument;
    int64_t tick_ms = 0, end_ms;

    while (!atomic_load(&gateway->stop)) {
        turn(gateway, &tick_ms);
    }
    take_added(gateway);
    for (struct websocket_socket *socket = gateway->first; socket; socket = socket->next) {
        websocket_socket_close(socket, WEBSOCKET_GOING_AWAY, "shutting down");
    }
    settle(gateway);
    end_ms = now_ms() + STOP_MS;
    while (gateway->first && now_ms() < end_ms) {
        turn(gateway, &tick_ms);
    }
    for (struct websocket_socket *socket = gateway->first; socket; socket = socket->next) {
        socket->gone = true;
    }
    settle(gateway);
}

/* --- any thread ------------------------------------------------------------------------------- */

void websocket_gateway_wake(struct websocket_gateway *gateway)
{
    uint64_t one = 1;

    (void)!write(gateway->wake, &one, sizeof one);
}

bool websocket_gateway_reserve(struct websocket_gateway *gateway)
{
    if (atomic_fetch_add(&gateway->reserved, 1) < gateway->options.max) {
        return true;
    }
    atomic_fetch_sub(&gateway->reserved, 1);
    return false;
}

void websocket_gateway_unreserve(struct websocket_gateway *gateway)
{
    atomic_fetch_sub(&gateway->reserved, 1);
}

void websocket_gateway_add(struct websocket_gateway *gateway, int descriptor,
        enum websocket_protocol protocol, struct tally_slice greeting,
        const struct websocket_visitor *visitor)
{
    struct websocket_socket *socket = tally_alloc_zero(1, sizeof *socket);

    socket->gateway = gateway;
    socket->descriptor = descriptor;
    socket->ops = gateway->options.protocols[protocol];
    if (visitor) {
        socket->visitor = tally_alloc(sizeof *visitor);
        *socket->visitor = *visitor;
    }
    websocket_reader_init(&socket->reader);
    tally_buf_init(&socket->out, OUT_BYTES_MAX);
    tally_buf_slice(&socket->out, greeting);
    socket->greeting = greeting.len;
    tally_mutex_lock(&gateway->mutex);
    socket->next = gateway->added;
    gateway->added = socket;
    tally_mutex_unlock(&gateway->mutex);
    websocket_gateway_wake(gateway);
}

/* --- life ------------------------------------------------------------------------------------- */

struct websocket_gateway *websocket_gateway_create(const struct websocket_gateway_options *options)
{
    struct websocket_gateway *gateway = tally_alloc_zero(1, sizeof *gateway);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

    gateway->options = *options;
    gateway->epoll = epoll_create1(EPOLL_CLOEXEC);
    gateway->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    tally_assert(gateway->epoll >= 0 && gateway->wake >= 0 &&
                 epoll_ctl(gateway->epoll, EPOLL_CTL_ADD, gateway->wake, &event) == 0);
    tally_mutex_init(&gateway->mutex, TALLY_LOCK_HTTP);
    gateway->sockets = tally_series_of(TALLY_METRIC_WEBSOCKET_SOCKETS);
    gateway->received = tally_series_of(TALLY_METRIC_WEBSOCKET_MESSAGES);
    return gateway;
}

void websocket_gateway_start(struct websocket_gateway *gateway)
{
    tally_thread_start(&gateway->thread, "websocket", run, gateway);
}

void websocket_gateway_close(struct websocket_gateway *gateway)
{
    if (!atomic_exchange(&gateway->stop, true)) {
        atomic_fetch_add(&gateway->reserved, gateway->options.max); /* nobody else gets in */
        websocket_gateway_wake(gateway);
    }
}

void websocket_gateway_stop(struct websocket_gateway *gateway)
{
    websocket_gateway_close(gateway);
    if (!gateway->joined) {
        gateway->joined = true;
        tally_thread_join(&gateway->thread);
    }
}

void websocket_gateway_destroy(struct websocket_gateway *gateway)
{
    while (gateway->added) {
        struct websocket_socket *socket = gateway->added;

        gateway->added = socket->next;
        close(socket->descriptor);
        websocket_reader_deinit(&socket->reader);
        tally_buf_deinit(&socket->out);
        tally_free(socket->visitor);
        tally_free(socket);
    }
    close(gateway->epoll);
    close(gateway->wake);
    tally_mutex_deinit(&gateway->mutex);
    tally_free(gateway);
}
