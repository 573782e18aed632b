/* engine/stream_thread_internal.h - the thread's struct, shared by its three files:
 * stream_thread.c (the loop), stream_thread_commit.c (transactions), stream_thread_rebalance.c
 * (assignment, restore, halts). */
#pragma once
#include "engine/base/log.h"
#include "engine/base/metrics.h"
#include "engine/record_collector.h"
#include "engine/restorer.h"
#include "engine/stream_thread.h"
#include "engine/task_manager.h"

enum { OFFSETS_MAX = 16384, SLICE_MS = 5000, BACKOFF_FIRST_MS = 100, BACKOFF_MAX_MS = 30000 };

enum thread_state {
    THREAD_CREATED,
    THREAD_STARTING,
    THREAD_ASSIGNED,
    THREAD_RUNNING,
    THREAD_REVOKED,
    THREAD_RECOVERING,
    THREAD_PENDING_SHUTDOWN,
    THREAD_DEAD
};

struct tally_stream_thread {
    struct tally_stream_thread_options options;
    _Atomic int state; /* enum thread_state */
    _Atomic int64_t beat_ms;
    _Atomic bool joined; /* the group has told it its partitions once, be it none */

    struct tally_consumer *consumer;
    struct tally_producer *producer; /* ready to begin; NULL while recovering */
    struct tally_producer *starting; /* made, init_transactions not answered yet */
    int64_t backoff_ms, retry_at_ms; /* of the next try to make a producer */
    struct tally_collector *collector;
    struct tally_task_manager *manager;
    struct tally_restorer *restorer;

    bool open;        /* a transaction is open */
    bool produced;    /* its records have gone to the producer; else the commit hands them over */
    int64_t begin_ms; /* monotonic */
    int64_t committed_us; /* the last transaction */
    bool paused;          /* all RUNNING tasks are paused: no producer, or no memory */

    struct tally_record *batch;
    size_t batch_count, batch_capacity;
    size_t batch_limit;                /* halved when the same batch fails again */
    int failures;                      /* in a row */
    struct tally_stream_task *current; /* whose records are being processed */
    struct {                           /* of the open transaction */
        size_t count;
        struct tally_stream_task *task; /* of its last run, which begins at offset */
        int64_t offset;
    } records;
    struct { /* a record that failed alone because it leads to more than a topic takes */
        struct tally_stream_task *task; /* NULL: none */
        int64_t offset;
        int tries;    /* dead letters of it that failed too */
        bool written; /* its dead letter is in the open transaction */
    } too_large;

    struct { /* partitions that another thread of this process has not let go of yet */
        char *topic;
        int32_t partition;
    } * waiting;
    size_t waiting_count;
    int64_t upkeep_ms, recheck_ms, restore_ms; /* next time */
    size_t restore_first;                      /* task whose restore is tried first then */

    struct tally_series *commit_series, *committed_series, *aborted_series, *unknown_series,
            *fenced_series;
};

/* stream_thread.c */
void stream_thread_set_state(struct tally_stream_thread *thread, enum thread_state next);
void stream_thread_drop_batch(struct tally_stream_thread *thread);
/* Hands over what the tasks have to produce. */
enum tally_code stream_thread_produce(struct tally_stream_thread *thread, struct tally_error *err);

/* stream_thread_commit.c */
/* Makes and initialises the producer where there is none. AGAIN: not yet. */
enum tally_code stream_thread_recover(struct tally_stream_thread *thread, struct tally_error *err);
enum tally_code stream_thread_begin(struct tally_stream_thread *thread, struct tally_error *err);
/* c1 to c7. On failure nothing was applied; the code's reaction says what to do. */
enum tally_code stream_thread_commit(struct tally_stream_thread *thread, int64_t budget_ms,
        struct tally_error *err);
/* Drops the open transaction and what it wrote; the producer is replaced; inputs are rewound. */
void stream_thread_abort(struct tally_stream_thread *thread);
/* Fenced (FENCED, ASSIGNMENT_LOST) or outcome unknown (others): drops what is uncommitted, writes
 * nothing, restores from the log. */
void stream_thread_release(struct tally_stream_thread *thread, enum tally_code code);
/* Carries out the reaction that an error asks for; returns the code only for EXIT. */
enum tally_code stream_thread_react(struct tally_stream_thread *thread, enum tally_code code,
        struct tally_error *err);

/* stream_thread_rebalance.c */
void stream_thread_assigned(void *context, const struct tally_topic_partition *partitions,
        size_t count);
void stream_thread_revoked(void *context, const struct tally_topic_partition *partitions,
        size_t count, bool lost);
/* Every CREATED task: open the store, read the group's offset, start its restore. */
void stream_thread_begin_restores(struct tally_stream_thread *thread);
void stream_thread_restored(void *context, struct tally_stream_task *task);
void stream_thread_restore_failed(void *context, struct tally_stream_task *task,
        const struct tally_error *err);
void stream_thread_halt(struct tally_stream_thread *thread, struct tally_stream_task *task,
        const struct tally_error *err);
void stream_thread_rebuild(struct tally_stream_thread *thread, struct tally_stream_task *task,
        struct tally_error *err);
/* Rebuilds every store that is known to be damaged. No transaction is open. */
void stream_thread_rebuild_damaged(struct tally_stream_thread *thread);
/* A store could not be read, and the transaction was aborted: waits before the next try. */
void stream_thread_store_failed(struct tally_stream_thread *thread, struct tally_stream_task *task,
        struct tally_error *err);
void stream_thread_recheck_halted(struct tally_stream_thread *thread);
void stream_thread_claim_waiting(struct tally_stream_thread *thread);
void stream_thread_pause_all(struct tally_stream_thread *thread);
/* Rewinds RUNNING tasks to next.in_next and resumes them. */
void stream_thread_resume_all(struct tally_stream_thread *thread);
