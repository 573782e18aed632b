/* http/body.c - see body.h.
 * Invariants
 *  (1) A slot names a socket only while its worker reads from it, so the watch never shuts a
 *      descriptor that has gone to somebody else. */
#include "http/body.h"

#include <arpa/inet.h>
#include <civetweb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "engine/base/clock.h"
#include "http/guard.h"

enum {
    PIECE_BYTES = 16 * 1024,
    WATCH_MS = 1000,
    LINGER_MS = 500,
    LINGER_BYTES = 4 * 1024 * 1024,
    DESCRIPTORS_MAX = 64 * 1024
};

struct body_slot {
    int socket; /* -1: nothing is read */
    int64_t end_ms;
};

static int64_t now_ms(void)
{
    return tally_mono_ms(tally_clock_real());
}

static void run_watch(void *argument)
{
    struct body_watch *watch = argument;

    tally_mutex_lock(&watch->mutex);
    while (!watch->stop) {
        int64_t now = now_ms();

        for (size_t i = 0; i < watch->count; i++) {
            if (watch->slots[i].socket >= 0 && watch->slots[i].end_ms <= now) {
                (void)shutdown(watch->slots[i].socket, SHUT_RD);
                watch->slots[i].socket = -1;
            }
        }
        (void)tally_cond_wait(&watch->cond, &watch->mutex, WATCH_MS);
    }
    tally_mutex_unlock(&watch->mutex);
}

void body_watch_start(struct body_watch *watch, size_t workers)
{
    tally_mutex_init(&watch->mutex, TALLY_LOCK_HTTP);
    tally_cond_init(&watch->cond);
    watch->slots = tally_alloc_zero(workers, sizeof *watch->slots);
    watch->count = workers;
    watch->stop = false;
    for (size_t i = 0; i < workers; i++) {
        watch->slots[i].socket = -1;
    }
    tally_thread_start(&watch->thread, "http-watch", run_watch, watch);
}

void body_watch_stop(struct body_watch *watch)
{
    tally_mutex_lock(&watch->mutex);
    watch->stop = true;
    tally_cond_signal(&watch->cond);
    tally_mutex_unlock(&watch->mutex);
    tally_thread_join(&watch->thread);
    tally_cond_deinit(&watch->cond);
    tally_mutex_deinit(&watch->mutex);
    tally_free(watch->slots);
    watch->slots = NULL;
}

/* The library does not show its socket: it is the one of this process whose other end is the
 * client. */
static int find_socket(struct mg_connection *connection)
{
    const struct mg_request_info *info = mg_get_request_info(connection);
    struct in_addr address;

    if (inet_pton(AF_INET, info->remote_addr, &address) != 1) {
        return -1;
    }
    for (int descriptor = 0; descriptor < DESCRIPTORS_MAX; descriptor++) {
        struct sockaddr_in peer;
        socklen_t len = sizeof peer;

        if (getpeername(descriptor, (struct sockaddr *)&peer, &len) == 0 &&
                peer.sin_family == AF_INET && ntohs(peer.sin_port) == info->remote_port &&
                peer.sin_addr.s_addr == address.s_addr) {
            return descriptor;
        }
    }
    return -1;
}

int body_socket(struct mg_connection *connection)
{
    intptr_t known = (intptr_t)mg_get_user_connection_data(connection);

    if (known == 0) {
        known = find_socket(connection) + 1;
        mg_set_user_connection_data(connection,
                (void *)known); /* NOLINT: a number, not an address */
    }
    return (int)known - 1;
}

static void set_slot(struct body_watch *watch, size_t worker, int descriptor, int64_t end_ms)
{
    tally_mutex_lock(&watch->mutex);
    watch->slots[worker] = (struct body_slot){descriptor, end_ms};
    tally_mutex_unlock(&watch->mutex);
}

/* One body of a stated length. The library gives up after five seconds without a byte; then again.
 */
static bool read_sized(struct exchange *exchange, size_t size, int64_t end_ms,
        struct tally_buf *body)
{
    uint8_t *to = tally_buf_reserve(body, size);

    while (to && body->len < size) {
        int64_t before_ms = now_ms();
        int got = mg_read(exchange->connection, to + body->len, size - body->len);

        if (got > 0) {
            body->len += (size_t)got;
        } else if (now_ms() >= end_ms || now_ms() - before_ms < 1000) {
            return false; /* too late, or the client hung up */
        }
    }
    return to != NULL;
}

static enum body_result read_chunks(struct exchange *exchange, struct tally_buf *body)
{
    for (;;) {
        uint8_t *to = tally_buf_reserve(body, PIECE_BYTES);
        int got;

        if (!to) {
            return BODY_TOO_LARGE;
        }
        got = mg_read(exchange->connection, to, PIECE_BYTES);
        if (got < 0) {
            return BODY_BROKEN;
        }
        if (got == 0) {
            return body->len > GUARD_BODY_BYTES_MAX ? BODY_TOO_LARGE : BODY_OK;
        }
        body->len += (size_t)got;
        if (body->len > GUARD_BODY_BYTES_MAX) {
            return BODY_TOO_LARGE;
        }
    }
}

enum body_result body_read(struct exchange *exchange, struct body_watch *watch, size_t worker,
        struct tally_buf *body)
{
    int64_t end_ms = now_ms() + BODY_TIMEOUT_MS;
    enum body_result result = BODY_OK;

    set_slot(watch, worker, body_socket(exchange->connection), end_ms);
    tally_buf_clear(body);
    if (guard_is_chunked(&exchange->request)) {
        result = read_chunks(exchange, body);
    } else if (!read_sized(exchange, (size_t)guard_content_length(&exchange->request), end_ms,
                       body)) {
        result = BODY_BROKEN;
    }
    set_slot(watch, worker, -1, 0);
    if (result == BODY_BROKEN && now_ms() >= end_ms) {
        result = BODY_TIMEOUT;
    }
    return result;
}

void body_linger(struct exchange *exchange)
{
    int descriptor = body_socket(exchange->connection);
    int64_t end_ms = now_ms() + LINGER_MS;
    size_t taken = 0;
    uint8_t space[PIECE_BYTES];

    if (descriptor < 0) {
        return;
    }
    (void)shutdown(descriptor, SHUT_WR);
    while (taken < LINGER_BYTES) {
        struct pollfd waited = {.fd = descriptor, .events = POLLIN};
        int64_t left_ms = end_ms - now_ms();
        ssize_t got;

        if (left_ms <= 0 || poll(&waited, 1, (int)left_ms) <= 0) {
            return;
        }
        got = recv(descriptor, space, sizeof space, MSG_DONTWAIT);
        if (got <= 0) {
            return;
        }
        taken += (size_t)got;
    }
}
