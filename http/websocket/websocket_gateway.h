/* http/websocket/websocket_gateway.h - all WebSockets of the process, on one thread: reading,
 * writing without ever waiting for one, pings, limits, the closing handshake. What messages mean is
 * the protocol's. */
#pragma once
#include "engine/base/bytes.h"
#include "engine/base/thread.h"
#include "http/limits.h"
#include "http/websocket/websocket_frame.h"
#include "http/websocket/websocket_handshake.h"

struct websocket_gateway;
struct websocket_socket;

/* Who asked for a socket, for protocols that do more for a client than tell it things. */
struct websocket_visitor {
    struct principal principal;
    char client[LIMITS_CLIENT_LEN_MAX + 1];
    char actor[PRINCIPAL_NAME_BYTES_MAX + 1]; /* X-Actor; "": none */
    bool hides_schema;                        /* introspection is refused */
    bool unacceptable;                        /* the subprotocol was not offered */
};

/* One protocol, of which the gateway knows nothing else: websocket_stream.c. @thread owner */
struct websocket_protocol_ops {
    void *(*open)(void *context, struct websocket_socket *socket);
    void (*message)(void *session, struct tally_slice text);
    void (*ready)(void *session);                /* what was queued is mostly sent */
    void (*tick)(void *session, int64_t now_ms); /* once a second, about; NULL: nothing to do */
    void (*closed)(void *session);               /* the socket is gone or going */
};
struct websocket_gateway_options {
    size_t max;      /* sockets */
    int64_t ping_ms; /* between pings; three of them without a pong end a socket */
    const struct websocket_protocol_ops *protocols[WEBSOCKET_PROTOCOLS];
    void *context;               /* of open and work */
    void (*work)(void *context); /* after each wake */
};
struct websocket_gateway *websocket_gateway_create(const struct websocket_gateway_options *options);
void websocket_gateway_start(struct websocket_gateway *gateway);
/* Takes no socket any more, and begins to close all with 1001. Waits for nothing. */
void websocket_gateway_close(struct websocket_gateway *gateway);
/* The same; waits a moment for those who answer, ends the thread. Twice is fine. */
void websocket_gateway_stop(struct websocket_gateway *gateway);
void websocket_gateway_destroy(struct websocket_gateway *gateway); /* after stop */
void websocket_gateway_wake(struct websocket_gateway *gateway);    /* @thread any */

/* --- @thread http ----------------------------------------------------------------------------- */

bool websocket_gateway_reserve(struct websocket_gateway *gateway); /* false: too many sockets */
void websocket_gateway_unreserve(struct websocket_gateway *gateway);
/* The descriptor is the gateway's from now on, as is one place of those reserved. greeting is what
 * is written first. visitor: copied; NULL: the protocol does not ask. */
void websocket_gateway_add(struct websocket_gateway *gateway, int descriptor,
        enum websocket_protocol protocol, struct tally_slice greeting,
        const struct websocket_visitor *visitor);

/* --- for protocols. @thread owner: the gateway's ---------------------------------------------- */

/* Queues one text message made of parts. */
void websocket_socket_send(struct websocket_socket *socket, const struct tally_slice *parts,
        size_t count);
size_t websocket_socket_queued(const struct websocket_socket *socket); /* bytes not sent yet */
/* Queues a close frame; nothing is sent after it. */
void websocket_socket_close(struct websocket_socket *socket, enum websocket_status status,
        const char *reason);
const struct websocket_visitor *websocket_socket_visitor(const struct websocket_socket *socket);
bool websocket_socket_is_open(const struct websocket_socket *socket);
