/* http/websocket/websocket_snapshot.h - the present state of what a subscription names, read by a
 * thread of its own, so that sockets wait for no read. */
#pragma once
#include "http/websocket/websocket_feed.h"

struct websocket_snapshots;
struct websocket_snapshots *websocket_snapshots_create(const struct exchange *prototype,
        const struct websocket_feed *feed, struct websocket_inbox *inbox);
void websocket_snapshots_start(struct websocket_snapshots *snapshots);
void websocket_snapshots_stop(struct websocket_snapshots
                *snapshots); /* after the inbox is closed */
void websocket_snapshots_destroy(struct websocket_snapshots *snapshots);
/* Reads no earlier than the spec's places; NOTE_SNAPSHOT or NOTE_FAILED comes. @thread any */
void websocket_snapshots_ask(struct websocket_snapshots *snapshots, struct websocket_spec *spec);
