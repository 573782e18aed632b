/* apps/stream_client.h - one WebSocket to a running instance (RFC 6455), for `tally watch`. Plain
 * sockets. Left out: TLS, compression, messages in several frames, which tally does not send, and
 * the proof that a server has read the key, which is against caches in between. @thread owner */
#pragma once
#include "apps/ops_client.h"

struct stream_client;
/* The handshake of GET path. *status: of HTTP, 0: there was none; other than 101: UNAVAILABLE with
 * what the answer says. */
TALLY_MUST_CHECK enum tally_code stream_client_open(struct ops_target target, const char *path,
        int timeout_ms, struct stream_client **client, int *status, struct tally_error *err);
void stream_client_close(struct stream_client *client); /* NULL is fine */
TALLY_MUST_CHECK enum tally_code stream_client_send(struct stream_client *client,
        struct tally_slice text, struct tally_error *err);
/* The next message, which lives until the next call; pings are answered inside. AGAIN: none has
 * come within timeout_ms, or a signal has. UNAVAILABLE: the connection has ended, or is silent in
 * spite of a ping; BAD_RECORD: no WebSocket. */
TALLY_MUST_CHECK enum tally_code stream_client_next(struct stream_client *client, int timeout_ms,
        struct tally_slice *message, struct tally_error *err);
