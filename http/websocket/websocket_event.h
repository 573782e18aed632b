/* http/websocket/websocket_event.h - what subscribers are told: a committed record as the document
 * of its topic, made once for all of them. @thread any; counted references */
#pragma once
#include <stdatomic.h>

#include "engine/client.h"
#include "engine/runtime.h"
#include "http/websocket/websocket_inner.h"
#include "schemas/stock_records.h"

enum websocket_topic {
    WEBSOCKET_STOCK,
    WEBSOCKET_LEDGER,
    WEBSOCKET_LOW_STOCK,
    WEBSOCKET_CATALOGUE,
    WEBSOCKET_RESERVATIONS,
    WEBSOCKET_TRANSFERS,
    WEBSOCKET_METRICS, /* of no events: websocket_metrics.c */
    WEBSOCKET_TOPICS
};

/* Where a topic's events come from, and what its filter may name. */
struct websocket_topic_info {
    const char *name;     /* "stock" */
    const char *topology; /* "stock"; "": none */
    const char *id;       /* member of the filter: "sku" */
    const char *path;     /* of GET of one, up to the id */
    bool warehouses, kinds;
    bool conflates; /* only the latest of a key counts */
};
extern const struct websocket_topic_info websocket_topics[WEBSOCKET_TOPICS];

struct websocket_event {
    _Atomic int references;
    enum websocket_topic topic;
    const char *source; /* events topic with prefix; lives as long as the program's topologies */
    int32_t partition;
    int64_t offset, version;
    bool newer;                   /* than the record: the state of later ones is in it */
    uint8_t kind;                 /* of a ledger entry */
    struct tally_slice id;        /* of the filter's first member: the SKU */
    struct tally_slice warehouse; /* empty: none */
    struct tally_slice data;      /* JSON */
};
void websocket_event_release(struct websocket_event *event);
static inline struct websocket_event *websocket_event_share(struct websocket_event *event)
{
    atomic_fetch_add_explicit(&event->references, 1, memory_order_relaxed);
    return event;
}
/* What one takes that waits somewhere. */
static inline size_t websocket_event_bytes(const struct websocket_event *event)
{
    return 2 * sizeof *event + event->data.len;
}
/* Whether the two are about the same thing, so that the later one replaces the other. */
bool websocket_event_same(const struct websocket_event *a, const struct websocket_event *b);
/* Copies all of `like` but its data. */
struct websocket_event *websocket_event_create(const struct websocket_event *like,
        struct tally_slice data);
/* topic/partition@offset, appended. */
void websocket_event_position(const struct websocket_event *event, struct tally_buf *out);

/* Makes events of records, for one thread. */
struct websocket_maker;
struct websocket_maker *websocket_maker_create(const struct exchange *prototype);
void websocket_maker_destroy(struct websocket_maker *maker);

/* One events topic, as the topologies of this instance have it. */
struct websocket_source {
    const char *topology;
    const char *topic, *commands; /* with prefix */
    const struct tally_schema *const *types;
    unsigned topics; /* bits: enum websocket_topic */
};
/* Those of this instance; returns how many. */
#define WEBSOCKET_SOURCES_MAX 8
size_t websocket_sources(struct tally_runtime *runtime,
        struct websocket_source sources[static WEBSOCKET_SOURCES_MAX]);

/* Reads a record; what it says is kept until the next call. Returns the offset of its command;
 * TALLY_OFFSET_NONE: the record is not tally's, and gives no events. */
int64_t websocket_maker_decode(struct websocket_maker *maker, const struct websocket_source *source,
        const struct tally_record *record);
/* Its events for the topics that are wanted (bits), each with one reference. UNAVAILABLE: what the
 * record alone does not say cannot be read now. */
TALLY_MUST_CHECK enum tally_code websocket_maker_make(struct websocket_maker *maker,
        const struct websocket_source *source, const struct tally_record *record, unsigned wanted,
        struct websocket_event *events[static WEBSOCKET_TOPICS], size_t *count,
        struct tally_error *err);
