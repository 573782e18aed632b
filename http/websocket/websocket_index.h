/* http/websocket/websocket_index.h - who follows what: from a topic and an id to subscriptions.
 * The feed's lock is held to change it and by every other thread to look; the gateway, which alone
 * changes it, looks without. */
#pragma once
#include "http/websocket/websocket_spec.h"

struct websocket_index;
struct websocket_followers {
    struct websocket_subscription **items;
    size_t count, capacity;
};
struct websocket_index *websocket_index_create(void);
void websocket_index_destroy(struct websocket_index *index);
/* Under each of the ids, or under all of the topic. */
void websocket_index_add(struct websocket_index *index, const struct websocket_spec *spec,
        struct websocket_subscription *subscription);
void websocket_index_remove(struct websocket_index *index, const struct websocket_spec *spec,
        struct websocket_subscription *subscription);
/* Those who named the id; NULL: none. */
const struct websocket_followers *websocket_index_named(const struct websocket_index *index,
        enum websocket_topic topic, struct tally_slice id);
/* Those who named none. */
const struct websocket_followers *websocket_index_all(const struct websocket_index *index,
        enum websocket_topic topic);
/* Of the topics (bits), those that somebody follows who may want this id. */
unsigned websocket_index_wanted(const struct websocket_index *index, unsigned topics,
        struct tally_slice id);
