/* apps/watch_line.h - messages of GET /v1/stream as lines of `tally watch`, and where it stands in
 * each partition. Pure. @thread main */
#pragma once
#include "schemas/serde.h"

#define WATCH_PARTITIONS_MAX 1024

/* The last position of each partition, from which a subscription goes on. */
struct watch_places {
    char topic[256];
    struct watch_place {
        int64_t partition, offset;
    } items[WATCH_PARTITIONS_MAX];
    size_t count;
};
/* Takes "topic/0@12,topic/3@7"; of each partition the last one counts. false: it is none. */
bool watch_places_take(struct watch_places *places, struct tally_slice positions);
void watch_places_write(const struct watch_places *places, struct tally_buf *out);

enum watch_op {
    WATCH_NOTHING, /* of no interest */
    WATCH_SUBSCRIBED,
    WATCH_SNAPSHOT,
    WATCH_DELTA,
    WATCH_ERROR,
    WATCH_STRANGE /* nothing that tally sends */
};
struct watch_message {
    enum watch_op op;
    struct tally_slice position;     /* of SUBSCRIBED, DELTA */
    struct tally_slice code, detail; /* of ERROR */
    struct tally_slice data;         /* DELTA: the value, SNAPSHOT: values with commas, as JSON */
    bool conflated, last;
};
/* Borrows from the message and the arena. */
struct watch_message watch_line_parse(struct tally_slice message, struct tally_arena *arena);
/* Takes the next value off the front of a snapshot's data; false: there is none. */
bool watch_line_item(struct tally_slice *data, struct tally_slice *item);
struct watch_line {
    const char *topic, *change;
    struct tally_slice position; /* empty: null */
    bool conflated;
    struct tally_slice data;
};
/* {"topic":"stock","change":"delta","position":"stock.events/2@1044","conflated":false,"data":{},
 * "resume":"stock.events/0@7,stock.events/2@1044"} and a newline. */
void watch_line_write(const struct watch_line *line, const struct watch_places *places,
        struct tally_buf *out);
