/* http/websocket/websocket_reservations.h - reservations as wholes, from events that say which
 * lines changed. @thread owner */
#pragma once
#include "http/websocket/websocket_inner.h"
#include "schemas/reservation_records.h"

struct websocket_reservations;
struct websocket_reservations *websocket_reservations_create(void);
void websocket_reservations_destroy(struct websocket_reservations *reservations);
/* The reservation after an event, appended as GET answers it. What is not known of it is read
 * (positions: no earlier than with the event), and may then be newer: *newer, and *version is its
 * version. *old: it has been told with this version or a later one, and nothing is appended. */
struct websocket_fold {
    struct websocket_inner *inner;
    const char *positions;
    struct tally_arena *arena;
    uint32_t type; /* enum reservation_event_type */
    int64_t version;
    bool newer, old;
};
TALLY_MUST_CHECK enum tally_code
websocket_reservations_fold(struct websocket_reservations *reservations,
        const struct reservation_event *event, struct websocket_fold *fold, struct tally_buf *out,
        struct tally_error *err);
