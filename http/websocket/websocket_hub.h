/* http/websocket/websocket_hub.h - subscriptions: from notes of the feed to what each client is
 * told, as fast as it takes it.
 *
 *   WAITING --[feed ready]--> LIVE
 *   WAITING --[feed ready]--> READING --[snapshot]--> LIVE
 *   WAITING --[feed ready]--> CATCHING --[as far as the feed]--> LIVE
 *   any --[error, unsubscribe, socket closed]--> gone
 *
 * @thread owner: the gateway's */
#pragma once
#include "http/websocket/websocket_catchup.h"
#include "http/websocket/websocket_gateway.h"
#include "http/websocket/websocket_snapshot.h"

/* What a protocol does with it: websocket_stream.c. */
struct websocket_listener {
    /* Everything after these positions follows. */
    void (*begun)(void *context, struct tally_slice positions);
    void (*snapshot)(void *context, struct websocket_event *const *items, size_t count, bool last);
    void (*delta)(void *context, struct websocket_event *event, bool conflated);
    /* The subscription is gone when it returns. */
    void (*failed)(void *context, const char *code, const char *detail);
};

struct websocket_hub;
struct websocket_hub_options {
    struct websocket_feed *feed;
    struct websocket_snapshots *snapshots;
    struct websocket_catchups *catchups;
    struct websocket_inbox *inbox;
};
struct websocket_hub *websocket_hub_create(const struct websocket_hub_options *options);
void websocket_hub_destroy(struct websocket_hub *hub);
void websocket_hub_work(struct websocket_hub *hub); /* takes notes */

#define WEBSOCKET_CREDIT_ENDLESS INT64_MAX
/* Takes the spec. NULL: refused at once. */
struct websocket_subscription *websocket_hub_subscribe(struct websocket_hub *hub,
        struct websocket_socket *socket, struct websocket_spec *spec, int64_t credit,
        const struct websocket_listener *listener, void *context,
        struct websocket_refusal *refusal);
void websocket_hub_unsubscribe(struct websocket_subscription *subscription);
void websocket_hub_credit(struct websocket_subscription *subscription, int64_t credit);
/* The socket has room again. */
void websocket_hub_pump(struct websocket_subscription *subscription);
