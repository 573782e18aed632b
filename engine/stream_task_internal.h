/* engine/stream_task_internal.h - the task's struct and the parts of one batch. */
#pragma once
#include <regex.h>

#include "engine/base/metrics.h"
#include "engine/context_internal.h"
#include "engine/stream_task.h"

#define FORWARDED_HEADER "tally-forwarded"
enum { HEADERS_MAX = 64, BATCH_KEEP_BYTES = 4 * 1024 * 1024 };

enum batch_kind { BATCH_SKIP, BATCH_DEAD, BATCH_FORWARD, BATCH_DECIDE };

/* One record of a batch on its way from bytes to a decision. */
struct batch_item {
    const struct tally_record *record;
    enum batch_kind kind;
    enum tally_refusal refusal; /* BATCH_DEAD */
    const char *stage;          /* BATCH_DEAD: "decode", "route", "write" */
    const char *reason;         /* BATCH_DEAD: text; borrowed from the batch arena */
    bool cut;                   /* BATCH_DEAD: no topic takes all of it */
    int32_t target;             /* BATCH_FORWARD */
    struct tally_command command;
    struct tally_slice dedup; /* key of the id's outcome; in the batch arena */
    size_t dedup_at;          /* among the touched keys */
    bool is_new;              /* the id had no outcome before this transaction */
};

/* A client that waits for the outcome of a command of the open transaction. */
struct reply_request {
    const char *topic;
    int32_t partition;                 /* -1: by key */
    struct tally_slice correlation_id; /* data NULL: none */
    struct tally_slice command_id, key;
    uint64_t fingerprint;
    bool duplicate;
    enum tally_format format;
    struct reply_request *next;
};

enum task_count {
    COUNT_ACCEPTED,
    COUNT_PENDING,
    COUNT_UNCHANGED,
    COUNT_REJECTED,
    COUNT_DUPLICATE,
    COUNT_REUSED,
    TASK_COUNTS
};

struct tally_stream_task {
    struct tally_stream_task_options options;
    struct tally_topology *topology;
    const struct tally_aggregate *aggregate;   /* NULL of a projection */
    const struct tally_projection *projection; /* NULL of an aggregate */
    struct tally_task_slot *slot;
    int32_t partition;
    enum tally_task_state state;
    char name[80];
    const char *dead_letters;
    bool keeps_outcomes; /* else no outcome is written, looked up or told */
    int64_t dedup_retention_ms;
    size_t event_bytes_max;              /* of a value on the events topic */
    size_t command_max, dead_letter_max; /* of a record: tally_produce_bytes */

    struct tally_positions committed, next;
    const struct tally_record *evolved; /* last one applied by a restore whose checksum is not noted
                                           yet */
    int64_t proof_offset; /* of the last command that a restored event proves; NONE: none */
    uint32_t proof_crc;   /* CRC32C over its key and id */
    struct tally_slice proof_key, proof_id; /* of which the checksum is not noted yet */
    int read_failures;                      /* of the store, in a row */
    int64_t read_failing_ms;                /* monotonic, of the first of them */
    struct tally_delivery delivery;         /* events of the open transaction */
    struct tally_slice last_event_key, last_event_value; /* in the collector's arena */

    struct task_timers timers; /* begun and used only where the aggregate has some */
    struct tally_arena batch;  /* decoded commands; reset after every batch */
    struct tally_command_shapes *shapes;
    struct batch_item *items;
    size_t item_capacity;
    struct tally_touch touch;
    struct tally_buf encoded, message, row, memo;
    enum tally_format events_format;

    regex_t reply_topics; /* who may be a reply-topic: reply.topics */
    struct reply_request *replies, **replies_end;
    int64_t *append_times; /* of the commands of the open transaction, for latency */
    size_t append_count, append_capacity;

    struct projected *projected; /* of a projection; a batch's events */
    size_t projected_capacity;
    int64_t *windows_from; /* by number: windows that start before it have no rows; 0: not known */

    int64_t counts[TASK_COUNTS]; /* since the last batch */
    struct tally_series *outcome_series[TASK_COUNTS];
    struct tally_series *polled_series, *forwarded_series, *foreign_series, *latency_series,
            *position_series, *fired_series, *lateness_series;
};

/* stream_task.c */
/* evolve(event): state and outcome. The same for the live path and for restore. */
void stream_task_apply(struct tally_stream_task *task, const struct tally_event *event,
        enum context_phase phase);
/* For a command of the live path, or of verify mode, which decides it once more. */
void stream_task_context_decide(struct tally_stream_task *task, struct tally_context *ctx,
        const struct batch_item *item, struct tally_consumer *consumer);
/* Checks 3 to 5 of every command, then the topology's decide. */
void stream_task_decide(struct tally_context *ctx, const struct tally_command *command);
bool stream_task_is_too_large(const struct tally_stream_task *task,
        const struct tally_context *ctx);
void stream_task_set_dedup(struct tally_stream_task *task, struct batch_item *item);
/* TALLY_OK: the id has an outcome under this key that is younger than the retention. */
enum tally_code stream_task_find_outcome(struct tally_stream_task *task,
        const struct batch_item *item, int64_t time_ms, struct tally_outcome *outcome,
        struct tally_error *err);
void stream_task_context(struct tally_stream_task *task, struct tally_context *ctx,
        enum context_phase phase);
void stream_task_note_append_time(struct tally_stream_task *task, int64_t timestamp_ms);

/* stream_task_project.c: the same calls of a projection's task. */
void stream_task_project_init(struct tally_stream_task *task);
void stream_task_project_deinit(struct tally_stream_task *task);
enum tally_code stream_task_project(struct tally_stream_task *task,
        const struct tally_record *records, size_t count, struct tally_error *err);
enum tally_code stream_task_project_finish(struct tally_stream_task *task, bool *added,
        struct tally_error *err);
void stream_task_project_forget(struct tally_stream_task *task); /* after a rollback or a load */
enum tally_code stream_task_project_restore(struct tally_stream_task *task,
        const struct tally_record *record, struct tally_error *err);

/* stream_task_restore.c: a record of the log that is not the topology's. */
enum tally_code stream_task_foreign(struct tally_stream_task *task,
        const struct tally_record *record, struct tally_error *err);

/* stream_task_route.c: what a record is before anything is decided. Fills kind, and for
 * BATCH_DECIDE the command with its key. */
void stream_task_route(struct tally_stream_task *task, const struct tally_record *record,
        struct tally_consumer *consumer, struct batch_item *item);
void stream_task_dead_letter(struct tally_stream_task *task, const struct batch_item *item,
        struct tally_consumer *consumer);
/* What would be too large with the mark becomes a dead letter instead. */
void stream_task_forward(struct tally_stream_task *task, struct batch_item *item,
        struct tally_consumer *consumer);

/* stream_task_reply.c */
/* Where the sender of the item's command wants its outcome, as its headers say; owner: the task. */
bool stream_task_reply_to(void *owner, struct tally_context *ctx, struct tally_reply_to *reply);
void stream_task_want_reply(struct tally_stream_task *task, const struct batch_item *item,
        bool duplicate, struct tally_consumer *consumer);
/* The outcome of the operation that ctx has completed, if somebody waits for it. */
void stream_task_want_completion(struct tally_stream_task *task, const struct tally_context *ctx);
void stream_task_send_replies(struct tally_stream_task *task);
void stream_task_drop_replies(struct tally_stream_task *task);
