/* http/websocket/websocket_metrics.h - the topic metrics: numbers of this process as /metrics has
 * them, sampled by a thread of its own while somebody follows them, and told as what has changed
 * since the client was told last. They have no positions: they are no events.
 * @thread owner: the gateway's, but for start and stop */
#pragma once
#include "http/websocket/websocket_spec.h"

#define WEBSOCKET_METRICS_MS 1000 /* between samples */

struct websocket_metrics;
struct websocket_metrics *websocket_metrics_create(void);
void websocket_metrics_start(struct websocket_metrics *metrics);
void websocket_metrics_stop(struct websocket_metrics *metrics);
void websocket_metrics_destroy(struct websocket_metrics *metrics);

/* What is made of it; texts are JSON and live until the call returns. */
struct websocket_metrics_listener {
    void (*begun)(void *context);
    void (*snapshot)(void *context, struct tally_slice items, bool last); /* without brackets */
    void (*delta)(void *context, struct tally_slice data, bool conflated);
};
struct websocket_gauges; /* one subscription */
/* Takes the spec. */
struct websocket_gauges *websocket_metrics_follow(struct websocket_metrics *metrics,
        struct websocket_spec *spec, int64_t credit);
void websocket_metrics_leave(struct websocket_gauges *gauges);
void websocket_metrics_credit(struct websocket_gauges *gauges, int64_t credit);
/* Tells what is new. has_room: the socket takes more. */
void websocket_metrics_tell(struct websocket_gauges *gauges, bool has_room,
        const struct websocket_metrics_listener *listener, void *context);
