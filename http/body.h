/* http/body.h - reads the body of a request within a time, and lets go of one that nobody reads.
 * civetweb's own read goes on for as long as single bytes trickle in, so a watch shuts the socket
 * for reading when the time is over; the read then ends. */
#pragma once
#include "engine/base/thread.h"
#include "http/exchange.h"

#define BODY_TIMEOUT_MS 10000

struct body_slot;
struct body_watch {
    struct tally_mutex mutex; /* guards slots and stop */
    struct tally_cond cond;
    struct tally_thread thread;
    struct body_slot *slots; /* one for each worker */
    size_t count;
    bool stop;
};
void body_watch_start(struct body_watch *watch, size_t workers); /* @thread init */
void body_watch_stop(struct body_watch *watch);                  /* after all workers have ended */

enum body_result {
    BODY_OK,
    BODY_TOO_LARGE,
    BODY_TIMEOUT,
    BODY_BROKEN /* ended early, or chunks that are none */
};
/* Reads all of it into *body. worker: which slot. @thread http */
enum body_result body_read(struct exchange *exchange, struct body_watch *watch, size_t worker,
        struct tally_buf *body);
/* The descriptor of a connection, which the library does not show; -1: not found. Looked for once a
 * connection. @thread http */
int body_socket(struct mg_connection *connection);
/* Before the connection closes on an answer to a request whose body was not read: takes what comes
 * for a short while, so that the close does not destroy the answer on its way. @thread http */
void body_linger(struct exchange *exchange);
