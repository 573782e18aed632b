/* engine/context_internal.h - the context behind engine/tally.h.
 * A context serves one record: in DECIDE it reads and collects exactly one decision, in EVOLVE it
 * writes, in APPLY (projections) it does both, in READ (results for clients) it reads a view. The
 * first failure of a store is latched in code and err; what runs after it sees "absent" and its
 * work is thrown away by the engine. */
#pragma once
#include "engine/record_collector.h"
#include "engine/task_timers.h"
#include "engine/topology.h"
#include "state/store.h"

/* RESTORE: evolve, with nothing that reads before the commit. CHECK: evolve again, and every write
 * must be there already. DUE: a timer sends its command. */
enum context_phase {
    CONTEXT_DECIDE,
    CONTEXT_EVOLVE,
    CONTEXT_RESTORE,
    CONTEXT_CHECK,
    CONTEXT_READ,
    CONTEXT_DUE,
    CONTEXT_APPLY
};
enum context_decision {
    CONTEXT_UNDECIDED,
    CONTEXT_EMITTED,
    CONTEXT_PENDING,
    CONTEXT_ACCEPTED,
    CONTEXT_REJECTED
};

/* The operation that a fact ends. */
struct context_completion {
    struct tally_completes completes;
    struct tally_rejection rejection;
    struct tally_reply_to reply; /* no topic: nobody waits */
};

struct tally_context {
    enum context_phase phase;
    struct tally_topology *topology;
    const struct tally_aggregate *aggregate;
    int32_t partition, partitions;
    int64_t time_ms;
    struct tally_arena *scratch;

    struct tally_store *store; /* DECIDE, EVOLVE, RESTORE, CHECK */
    struct tally_view *view;   /* READ */
    struct tally_buf *value;   /* READ: the value last read */

    struct task_timers *timers; /* EVOLVE: are told of what is put; NULL: there are none */

    /* APPLY */
    int64_t stream_time_ms;
    /* An event whose window is closed. */
    void (*late)(void *owner, const struct tally_window *window, int64_t time_ms);

    /* DECIDE */
    const struct tally_command *command; /* DUE: NULL */
    struct tally_collector *collector;
    bool sent; /* something, to a commands topic */
    enum context_decision decision;
    enum tally_format events_format;
    struct tally_buf *encoded; /* the decision's event */
    /* Takes the decision while the topology's structs are still there: `encoded` is filled. */
    void (*decided)(void *owner, struct tally_context *ctx, const struct tally_event *event);
    void *owner;
    /* Where the command's sender wants its outcome; false: nowhere. */
    bool (*reply_to)(void *owner, struct tally_context *ctx, struct tally_reply_to *reply);
    const struct tally_record *record; /* of the command, for reply_to */
    struct tally_consumer *consumer;
    const struct context_completion *completion; /* of the next fact; in scratch; NULL: none */
    struct tally_buf *message;                   /* scratch of tally_send and of rejections */

    enum tally_code code;
    struct tally_error err;
};

struct tally_touch {
    const struct tally_topology *topology;
    struct tally_store *store; /* of the batch */
    struct tally_slice *keys;
    bool *absent; /* for tally_store_prefetch, of each key */
    size_t count, capacity;
    struct tally_arena *arena;
};

/* Refuses with the field rules that the command breaks: VALIDATION_FAILED. */
void context_reject_violations(struct tally_context *ctx);
void context_touch(struct tally_touch *touch, struct tally_slice key); /* key borrowed */
/* tally_put with a full key. */
void context_put(struct tally_context *ctx, struct tally_slice key, struct tally_slice value);
/* DEDUP key of a command id used under a record key. */
void context_dedup_key(struct tally_slice command_id, struct tally_slice record_key,
        struct tally_key *key);
