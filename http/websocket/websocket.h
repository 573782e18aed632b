/* http/websocket/websocket.h - WebSockets of one instance: the gateway and the threads that read
 * for it. @thread main */
#pragma once
#include "http/websocket/websocket_hub.h"
#include "http/websocket/websocket_metrics.h"
#include "http/websocket/websocket_operation.h"

struct websocket {
    const struct auth *auth;
    struct websocket_inbox *inbox;
    struct websocket_feed *feed;
    struct websocket_snapshots *snapshots;
    struct websocket_catchups *catchups;
    struct websocket_hub *hub;
    struct websocket_operations *operations; /* of GraphQL */
    struct websocket_metrics *metrics;
    struct websocket_gateway *gateway;
};
struct websocket_options {
    const struct tally_config *config;
    struct tally_client *client;
    const struct exchange *prototype; /* what requests to itself begin as; copied */
};
void websocket_start(struct websocket *websocket, const struct websocket_options *options);
/* Begins to close all sockets; from now on none is taken. Waits for nothing. Twice is fine. */
void websocket_close(struct websocket *websocket);
/* The same, until all are closed. Twice is fine. */
void websocket_stop(struct websocket *websocket);
void websocket_destroy(struct websocket *websocket); /* once no handshake is on its way */
