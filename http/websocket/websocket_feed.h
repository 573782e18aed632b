/* http/websocket/websocket_feed.h - the process's one reader of committed events for all who follow
 * them. It reads the events topics, and nothing else: what is there is committed, has an order and
 * a position, and is the same in every instance. It begins with the first subscription and ends a
 * while after the last. */
#pragma once
#include "http/websocket/websocket_inbox.h"
#include "http/websocket/websocket_index.h"

struct websocket_feed;
struct websocket_feed_options {
    struct tally_client *client;
    const struct exchange *prototype; /* for requests to itself */
    struct websocket_inbox *inbox;
};
struct websocket_feed *websocket_feed_create(const struct websocket_feed_options *options);
void websocket_feed_start(struct websocket_feed *feed);
void websocket_feed_stop(struct websocket_feed *feed); /* after the inbox is closed */
void websocket_feed_destroy(struct websocket_feed *feed);

/* The source of a topic; -1: this instance does not have it. @thread any */
int websocket_feed_source(const struct websocket_feed *feed, enum websocket_topic topic);
const struct websocket_source *websocket_feed_source_at(const struct websocket_feed *feed,
        size_t source);
int32_t websocket_feed_partitions(const struct websocket_feed *feed);

/* --- for the gateway's thread ----------------------------------------------------------------- */

/* From now on events that the spec may take are told. */
void websocket_feed_follow(struct websocket_feed *feed, const struct websocket_spec *spec,
        struct websocket_subscription *subscription);
void websocket_feed_leave(struct websocket_feed *feed, const struct websocket_spec *spec,
        struct websocket_subscription *subscription);
/* Where the feed stands, for places that are not named: of events from there on nothing is missed.
 * false: it does not stand at the end yet, NOTE_READY will say so. */
bool websocket_feed_places(struct websocket_feed *feed, enum websocket_topic topic,
        struct websocket_place *places);
const struct websocket_index *websocket_feed_index(const struct websocket_feed *feed);

/* --- for the catch-up ------------------------------------------------------------------------- */

/* If these places are not behind the feed's: tells the gateway CAUGHT, before any event that the
 * feed reads from now on. */
bool websocket_feed_join(struct websocket_feed *feed, struct websocket_spec *spec,
        const struct websocket_place *places);
