/* http/websocket/websocket_catchup.h - reads for subscriptions that begin at older positions, up to
 * where the feed stands: one thread, one reader, one after the other. */
#pragma once
#include "http/websocket/websocket_feed.h"

struct websocket_catchups;
struct websocket_catchups_options {
    struct tally_client *client;
    const struct exchange *prototype;
    struct websocket_feed *feed;
    struct websocket_inbox *inbox;
};
struct websocket_catchups *
websocket_catchups_create(const struct websocket_catchups_options *options);
void websocket_catchups_start(struct websocket_catchups *catchups);
void websocket_catchups_stop(struct websocket_catchups *catchups); /* after the inbox is closed */
void websocket_catchups_destroy(struct websocket_catchups *catchups);
/* From the spec's places that are named on: BEGUN, events for it alone, CAUGHT; or FAILED, if a
 * place is not in the log. @thread any */
void websocket_catchups_ask(struct websocket_catchups *catchups, struct websocket_spec *spec);
