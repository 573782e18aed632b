/* http/websocket/websocket_operation.h - operations of GraphQL that come over WebSockets, and the
 * threads that do them: the gateway's neither parses, executes nor reads.
 *
 *   NEW --[query, mutation]--> ANSWERED    NEW --[anything wrong]--> REFUSED
 *   NEW --[subscription]--> FOLLOWS --[what it is told]--> FOLLOWS
 *
 * An operation belongs to the gateway's thread, or, from ask to take, to those threads. */
#pragma once
#include "http/graphql/graphql.h"
#include "http/websocket/websocket_gateway.h"
#include "http/websocket/websocket_spec.h"

#define WEBSOCKET_OPERATION_TOLD_MAX 64

enum websocket_operation_state {
    WEBSOCKET_OPERATION_NEW,
    WEBSOCKET_OPERATION_ANSWERED, /* out: one payload */
    WEBSOCKET_OPERATION_REFUSED,  /* out: a list of errors */
    WEBSOCKET_OPERATION_FOLLOWS   /* spec, after NEW; out: a payload for each of told */
};
struct websocket_told {
    struct websocket_event *event;
    bool conflated;
};
struct websocket_operation {
    struct websocket_operation *next; /* in a queue */
    void *owner;                      /* the gateway's alone; NULL: nobody waits for it any more */
    _Atomic bool cancelled;
    enum websocket_operation_state state;
    const struct websocket_visitor *visitor; /* a copy, in the arena */
    struct tally_slice text;                 /* the message it came with, in the arena */
    struct graphql_prepared prepared;
    struct websocket_spec *spec; /* whoever takes it sets it to NULL */
    bool reads;                  /* what it is told leads to reads */
    struct websocket_told told[WEBSOCKET_OPERATION_TOLD_MAX];
    size_t told_count;
    struct tally_buf out;
    size_t ends[WEBSOCKET_OPERATION_TOLD_MAX]; /* of the payloads in out */
    size_t end_count;
    struct tally_arena arena;
};
struct websocket_operation *websocket_operation_create(void *owner,
        const struct websocket_visitor *visitor, struct tally_slice text);
void websocket_operation_destroy(struct websocket_operation *operation);

struct websocket_operations;
struct websocket_operations *websocket_operations_create(const struct exchange *prototype,
        void (*wake)(void *context), void *context);
void websocket_operations_start(struct websocket_operations *operations);
void websocket_operations_stop(struct websocket_operations *operations);
void websocket_operations_destroy(struct websocket_operations *operations);
/* Reads and does a new one, or tells a subscription. false: too many wait. @thread owner */
bool websocket_operations_ask(struct websocket_operations *operations,
        struct websocket_operation *operation);
/* All that are done, linked in order; NULL: none. @thread owner */
struct websocket_operation *websocket_operations_take(struct websocket_operations *operations);
