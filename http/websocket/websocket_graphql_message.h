/* http/websocket/websocket_graphql_message.h - one message of a client in graphql-transport-ws:
 * text to what is meant, or why it is none. @thread any */
#pragma once
#include "http/graphql/graphql.h"
#include "schemas/serde.h"

#define WEBSOCKET_GRAPHQL_ID_BYTES_MAX 128

enum websocket_graphql_kind {
    WEBSOCKET_GRAPHQL_INIT,
    WEBSOCKET_GRAPHQL_PING,
    WEBSOCKET_GRAPHQL_PONG,
    WEBSOCKET_GRAPHQL_SUBSCRIBE,
    WEBSOCKET_GRAPHQL_COMPLETE,
    WEBSOCKET_GRAPHQL_KINDS
};
/* Borrows from the text and the arena. */
struct websocket_graphql_message {
    enum websocket_graphql_kind kind;
    struct tally_slice id;             /* SUBSCRIBE, COMPLETE */
    const struct tally_token *payload; /* a map; NULL: none */
    struct graphql_request request;    /* SUBSCRIBE */
};
/* Returns what is wrong; NULL: nothing, and *message is set. */
const char *websocket_graphql_message_read(struct tally_slice text, struct tally_arena *arena,
        struct websocket_graphql_message *message);
