/* engine/tally.h - all that a topology needs: the builder, aggregates, projections, and the context
 * in which decide, evolve and apply run.
 * Invariants of an aggregate
 *  (1) decide is pure in (command, state, record time), evolve in the event's bytes alone: no
 *      clock, randomness, I/O, globals or hash order.
 *  (2) Every command ends in exactly one of tally_emit, tally_emit_pending, tally_accept,
 *      tally_reject. A saga's PENDING command ends with an event that completes it.
 *  (3) Events carry every value after them, so evolve only puts and deletes; it never reads. */
#pragma once
#include "engine/base/config.h"
#include "schemas/operation.h"
#include "state/key_schema.h"

struct tally_topology;
struct tally_context; /* valid only during the call that receives it */
struct tally_touch;

struct tally_aggregate {
    const char *name;
    const char *commands, *events; /* topics, without topics.prefix */
    const struct tally_schema *const *command_types, *const *event_types; /* end with NULL */
    uint32_t evolve_version; /* raise when evolve or a key layout changes: state is then rebuilt */
    /* Names the keys that deciding this command will read, with tally_touch_key. */
    void (*touch)(struct tally_touch *touch, const struct tally_command *command);
    void (*decide)(struct tally_context *ctx, const struct tally_command *command);
    void (*evolve)(struct tally_context *ctx, const struct tally_event *event);
    /* What is kept of a fact so that its result can be told again; memo is empty before. */
    void (*remember)(const struct tally_event *event, struct tally_buf *memo);
    /* The `result` of the outcome record from memo and state (ctx reads only), as one value; sets
     * *version. Called only for accepted facts. */
    void (*result)(struct tally_context *ctx, struct tally_slice key,
            const struct tally_outcome *outcome, struct tally_writer *writer, int64_t *version);
    /* May be NULL. What an accepted fact's outcome is complete up to besides its own command:
     * ",stock.commands/2@991" and so on, borrowed from the memo; empty: nothing else. */
    struct tally_slice (*positions)(const struct tally_outcome *outcome);
    /* May be NULL. A check of the engine (deadline, field rules) has refused a command of tally's
     * own: may only tally_send, the reply that a saga waits for. A field that breaks a rule
     * is absent. */
    void (*refused)(struct tally_context *ctx, const struct tally_command *command,
            enum tally_reject code);
    /* Durable timers: the store's keys begin with due_ms:u64. Once the owner's wall clock has
     * passed due_ms, due is called with what follows it in the key, and with the row, and sends the
     * command that the timer stands for to the aggregate's own commands topic (tally_send; nothing
     * else). The row stays until an event deletes it. It is called once while the task runs, and
     * again after a restart, so the command's id is made of the key: a second one is a repeat. */
    bool has_timers;
    enum tally_store_id timers;
    void (*due)(struct tally_context *ctx, int64_t due_ms, struct tally_slice rest,
            struct tally_slice row);
};

/* Reads the events of an aggregate and keeps a view of them. It has one store, TALLY_CHANGELOGGED;
 * Invariants
 *  (1) apply is pure in (event, state): no clock, randomness, I/O, globals or hash order.
 *  (2) It sees every event of its partition once, in order: records, position and what it has
 *      written are one transaction.
 *  (3) A row is at most TALLY_ROW_MAX and never empty. */
struct tally_projection {
    const char *name;
    const char *events; /* topic, without topics.prefix */
    const char *source; /* name of the aggregate whose events these are */
    const struct tally_schema *const *event_types; /* of the aggregate; end with NULL */
    uint32_t version; /* raise when apply or the layout of rows changes */
    /* Names the keys that applying this event will read, with tally_touch_key. */
    void (*touch)(struct tally_touch *touch, const struct tally_event *event);
    void (*apply)(struct tally_context *ctx, const struct tally_event *event); /* facts only */
};
#define TALLY_ROW_MAX 65536

/* --- builder; keeps its first error for tally_topology_validate ------------------------------- */

enum tally_store_kind {
    TALLY_EVENT_SOURCED,
    TALLY_CHANGELOGGED, /* of a projection: restored from a compacted topic of its own */
    TALLY_OMITTED /* no rows: evolve puts none, decide finds none. A task directory that was made
                   * otherwise is built again from events. */
};
void tally_store(struct tally_topology *topology, enum tally_store_id store,
        enum tally_store_kind kind);
/* One that settings may leave out: EVENT_SOURCED if it is kept, else OMITTED. */
void tally_store_if(struct tally_topology *topology, enum tally_store_id store, bool kept);
void tally_aggregate(struct tally_topology *topology,
        const struct tally_aggregate *aggregate); /* copied */
void tally_projection(struct tally_topology *topology,
        const struct tally_projection *projection); /* copied; a topology is one or the other */
/* Tumbling windows on event time, [n * size, (n + 1) * size), of a projection's store: keys begin
 * with the window's number (in order of declaration, from 0) and its start. Event time is the
 * event's, stream time the latest one that the task has seen. */
struct tally_window {
    const char *name;
    int64_t size_ms;
    int64_t grace_ms;     /* takes events until stream time is so far behind its end */
    int64_t retention_ms; /* its rows are deleted when stream time is so far behind its end */
};
void tally_windows(struct tally_topology *topology, const struct tally_window *window);
/* A commands topic that decide may send to: another topology's, or the aggregate's own. */
void tally_sends_to(struct tally_topology *topology, const char *topic);
/* A setting that decide depends on; fixed in every task directory when it is made. */
void tally_setting(struct tally_topology *topology, const char *name, bool value);
/* Every name unique, an aggregate with all its functions, every store known to key_schema.def; of
 * timers, that their store is kept and what is due can be sent.
 * CONFIG with what is wrong. */
TALLY_MUST_CHECK enum tally_code tally_topology_validate(struct tally_topology *topology,
        struct tally_error *err);
typedef enum tally_code (*tally_build_fn)(struct tally_topology *topology,
        const struct tally_config *config, struct tally_error *err);

/* --- in touch, decide, evolve and result ------------------------------------------------------ */

void tally_touch_key(struct tally_touch *touch, const struct tally_key *key); /* copied */
/* The keys that tally_scan will read, as far as an earlier scan has remembered them. */
void tally_touch_scan(struct tally_touch *touch, const struct tally_key *prefix);
bool tally_touch_setting_is(const struct tally_touch *touch, const char *name);

/* Context of the record. */
int64_t tally_time(const struct tally_context *ctx); /* decision time, ms */
bool tally_setting_is(const struct tally_context *ctx, const char *name);
bool tally_keeps(const struct tally_context *ctx, enum tally_store_id store); /* false: OMITTED */
int32_t tally_partitions(const struct tally_context *ctx); /* of every topic of the system */
struct tally_arena *
tally_scratch(struct tally_context *ctx); /* memory that lives until the batch ends */

/* decide, apply, result: the newest value; false: absent, or a failed read, which the context
 * latches. The value borrows until the next call on ctx. */
bool tally_get(struct tally_context *ctx, const struct tally_key *key, struct tally_slice *value);
/* decide, apply, result: rows whose key begins with prefix, in key order, with what this
 * transaction wrote. row returns false to stop; its slices are valid during its call, in which
 * nothing else may be asked of ctx. A failed read ends the scan and is latched. */
typedef bool (*tally_row_fn)(void *context, struct tally_slice key, struct tally_slice value);
void tally_scan(struct tally_context *ctx, const struct tally_key *prefix, tally_row_fn row,
        void *context);
/* decide: position of the command, "stock.commands/2@991"; scratch memory. */
struct tally_slice tally_position(struct tally_context *ctx);
/* evolve, apply */
void tally_put(struct tally_context *ctx, const struct tally_key *key, struct tally_slice value);
/* A row that was packed into a buffer, which it must have fitted; the buffer is empty then.
 * Inlined, so that the key is not copied. */
static inline __attribute__((always_inline)) void tally_put_row(struct tally_context *ctx,
        struct tally_key key, struct tally_buf *row)
{
    tally_assert(!row->failed);
    tally_put(ctx, &key, tally_buf_bytes(row));
    tally_buf_clear(row);
}
void tally_delete(struct tally_context *ctx, const struct tally_key *key);
/* decide: the fact. body is the struct of event_types[type]; borrowed for the call. What decide
 * reads it reads before. */
void tally_emit(struct tally_context *ctx, uint32_t type, const void *body);
/* The same, but of a saga's begin: the command is PENDING, and its sender hears nothing yet. */
void tally_emit_pending(struct tally_context *ctx, uint32_t type, const void *body);
void tally_accept(struct tally_context *ctx); /* decided, nothing changes */
/* decide: refuse. pointer may be NULL; detail is formatted; meta goes into errors[0]. */
void tally_reject(struct tally_context *ctx, enum tally_reject code, const char *pointer,
        const struct tally_meta *meta, size_t meta_count, const char *detail, ...)
        TALLY_PRINTF(6, 7);
/* decide: whether the command expects no version, or this one; 0: of what there is not yet. false:
 * rejected, VERSION_CONFLICT. */
bool tally_version_matches(struct tally_context *ctx, int64_t actual);
/* decide: what a saga remembers of the command being decided, with whom the sender wants the reply
 * sent to. Sets the bits of its own fields; the others of *operation stay. Scratch memory. */
void tally_operation_begin(struct tally_context *ctx, struct tally_operation *operation);
/* decide: the fact emitted next ends the operation, ACCEPTED, or REJECTED as tally_reject would.
 * The reply goes out with its commit. The operation is borrowed for the call. */
void tally_complete(struct tally_context *ctx, const struct tally_operation *operation);
void tally_complete_rejected(struct tally_context *ctx, const struct tally_operation *operation,
        enum tally_reject code, const char *pointer, const struct tally_meta *meta,
        size_t meta_count, const char *detail, ...) TALLY_PRINTF(7, 8);
/* decide, refused, due: a command of tally's own to a topic named with tally_sends_to, in the same
 * transaction. id starts with '~'. partition -1: the key's. Never sent again by restore. Actor and
 * correlation id of the command go with it. */
struct tally_message {
    const char *topic; /* without prefix */
    int32_t partition;
    struct tally_slice key, id;
    const struct tally_schema *schema;
    const void *fields;
};
void tally_send(struct tally_context *ctx, const struct tally_message *message);

/* --- windows: in touch and apply -------------------------------------------------------------- */

/* Begins the key of the window of that number which has this time. apply: false when that one is
 * closed, and the event is counted and logged as late. */
void tally_touch_window(const struct tally_touch *touch, uint8_t number, int64_t time_ms,
        struct tally_key *key);
bool tally_window_open(struct tally_context *ctx, uint8_t number, int64_t time_ms,
        struct tally_key *key);
