/* http/websocket/websocket_spec.h - what a subscription asks for: a topic, a filter, where to
 * begin. Shared by the gateway and the threads that read for it; counted references. @thread any */
#pragma once
#include <stdatomic.h>

#include "http/websocket/websocket_event.h"

#define WEBSOCKET_FILTER_MAX    4096 /* values in a filter */
#define WEBSOCKET_SNAPSHOT_KEYS 500
#define WEBSOCKET_POSITIONS_MAX 1024

enum websocket_from { WEBSOCKET_FROM_LATEST, WEBSOCKET_FROM_SNAPSHOT, WEBSOCKET_FROM_POSITIONS };

/* Sorted, each once. */
struct websocket_names {
    struct tally_slice *items;
    size_t count;
    bool given; /* false: all */
};
bool websocket_names_have(const struct websocket_names *names, struct tally_slice name);

/* Where a subscription stands in a partition of its events topic. */
struct websocket_place {
    int64_t next;  /* the first offset that it has not been told of */
    int64_t input; /* offset of the last command with an event before that; NONE: not known */
    bool named;    /* the client said where to begin */
};

struct websocket_subscription;
struct websocket_spec {
    _Atomic int references;
    _Atomic bool cancelled;                      /* nobody waits for it any more */
    _Atomic size_t queued;                       /* bytes that wait for the client */
    _Atomic size_t flying;                       /* bytes read for it and not taken yet */
    struct websocket_subscription *subscription; /* the gateway's alone; NULL: it is gone */
    enum websocket_topic topic;
    enum websocket_from from;
    struct websocket_names ids, warehouses;
    bool kinds_given;
    uint32_t kinds;                 /* bits: enum stock_kind */
    struct websocket_place *places; /* by partition, once it has begun */
    struct tally_slice positions;   /* of from, as text */
    struct tally_arena arena;
};
struct websocket_spec *websocket_spec_create(enum websocket_topic topic);
void websocket_spec_release(struct websocket_spec *spec);
struct websocket_spec *websocket_spec_share(struct websocket_spec *spec);

/* Why a message of a client is refused. */
struct websocket_refusal {
    const char *code; /* NULL: it is not */
    char detail[160];
};
void websocket_refuse(struct websocket_refusal *refusal, const char *code, const char *detail, ...)
        TALLY_PRINTF(3, 4);
/* topic, filter and from of a subscribe message. NULL: refused. */
struct websocket_spec *websocket_spec_read(const struct tally_token *message,
        struct websocket_refusal *refusal);
/* The same from its parts. from: as in a message; data NULL: latest. NULL: refused. */
struct websocket_spec *websocket_spec_make(enum websocket_topic topic,
        const struct tally_slice *ids, size_t count, struct tally_slice from,
        struct websocket_refusal *refusal);
/* A message without JSON's white space around it. */
struct tally_slice websocket_trim(struct tally_slice text);
/* "topic/0@12,topic/3@7" into places, whose other members stay as they are. */
bool websocket_spec_places(const struct websocket_spec *spec, const char *topic,
        struct websocket_place *places, int32_t partitions, struct websocket_refusal *refusal);
/* Whether the event passes the filter. */
bool websocket_spec_takes(const struct websocket_spec *spec, const struct websocket_event *event);
