/* engine/stream_thread_commit.c - transactions of one stream thread.
 *
 *   NONE --[begin]--> OPEN --[commit]--> COMMITTING --[OK]--> NONE
 *                      |                     +--[anything else]--> RELEASE --> NONE
 *                      +--[abort]--> NONE
 *
 * Invariants
 *  (1) State becomes visible (c5) only after commit_transaction answered OK; any other answer means
 *      "not committed" here and the log decides what happened.
 *  (2) Every transaction carries the offsets of every RUNNING task, so that a zombie is fenced even
 *      when it only has timers (KIP-447).
 *  (3) A producer that is in doubt never begins again: it is replaced under the same
 *      transactional.id, which fences whatever is still in flight (KIP-890 guard).
 * A small transaction hands over its records while its offsets are sent, when the producer says:
 * soon after a commit the broker still writes the markers of that one, and librdkafka waits
 * retry.backoff.ms before it asks again for offsets, but 20 ms for records. */
#include "engine/base/failpoint.h"
#include "engine/stream_thread_internal.h"

enum { ABORT_TRIES = 2, AHEAD_FLUSH_MS = 500, AHEAD_SLICE_MS = 1 };

static int64_t now_ms(const struct tally_stream_thread *thread)
{
    return tally_mono_ms(thread->options.clock);
}

static void drop_producer(struct tally_stream_thread *thread)
{
    if (thread->producer) {
        thread->producer->ops->destroy(thread->producer);
        thread->producer = NULL;
        tally_series_add(tally_series_of(TALLY_METRIC_PRODUCERS, NULL), 1);
        TALLY_FAILPOINT(RECOVER_DESTROY_AFTER);
    }
    tally_collector_reset(thread->collector);
}

static void back_off(struct tally_stream_thread *thread)
{
    thread->backoff_ms = thread->backoff_ms ? thread->backoff_ms * 2 : BACKOFF_FIRST_MS;
    if (thread->backoff_ms > BACKOFF_MAX_MS) {
        thread->backoff_ms = BACKOFF_MAX_MS;
    }
    thread->retry_at_ms = now_ms(thread) + thread->backoff_ms;
}

/* Settles what an earlier producer of this id left open. */
static enum tally_code init_transactions(struct tally_producer *producer, struct tally_error *err)
{
    enum tally_code code = TALLY_FAILPOINT_CODE(RECOVER_INIT_BEFORE, TALLY_TIMEOUT, err);

    code = code ? code : producer->ops->init_transactions(producer, SLICE_MS, err);
    return code ? code : TALLY_FAILPOINT_CODE(RECOVER_INIT_AFTER, TALLY_PRODUCER_FATAL, err);
}

enum tally_code stream_thread_recover(struct tally_stream_thread *thread, struct tally_error *err)
{
    struct tally_client *client = thread->options.client;
    enum tally_code code;

    if (thread->producer) {
        return TALLY_OK;
    }
    if (now_ms(thread) < thread->retry_at_ms) {
        return TALLY_AGAIN;
    }
    if (!thread->starting) {
        thread->starting =
                client->ops->producer(client, thread->options.group, thread->options.member, err);
    }
    if (!thread->starting) {
        back_off(thread);
        tally_log_error(TALLY_LOG_ERROR, "transactional producer cannot be made", err);
        return TALLY_AGAIN;
    }
    code = init_transactions(thread->starting, err);
    if (code == TALLY_OK) {
        thread->producer = thread->starting;
        thread->starting = NULL;
        thread->backoff_ms = 0;
        return TALLY_OK;
    }
    if (tally_code_reaction(code) != TALLY_REACT_RETRY) {
        thread->starting->ops->destroy(thread->starting);
        thread->starting = NULL;
        back_off(thread);
    }
    tally_log_error(TALLY_LOG_WARN, "transactions cannot be initialised yet", err);
    return tally_code_reaction(code) == TALLY_REACT_EXIT ? code : TALLY_AGAIN;
}

enum tally_code stream_thread_begin(struct tally_stream_thread *thread, struct tally_error *err)
{
    enum tally_code code;

    if (thread->open) {
        return TALLY_OK;
    }
    code = thread->producer->ops->begin(thread->producer, err);
    code = code ? code : TALLY_FAILPOINT_CODE(LOOP_BEGIN_AFTER, TALLY_TXN_ABORTED, err);
    if (!code) {
        thread->open = true;
        thread->produced = false;
        thread->records.count = 0;
        thread->too_large.written = false;
        thread->begin_ms = now_ms(thread);
    }
    return code;
}

/* What waited for the offsets of a small transaction. Offsets may be sent again, but records whose
 * hand-over has failed may not: some may have been taken, and the rest would be forgotten. */
static enum tally_code hand_over(void *context, struct tally_error *err)
{
    struct tally_stream_thread *thread = context;
    enum tally_code code = thread->produced ? TALLY_OK : stream_thread_produce(thread, err);

    if (tally_code_reaction(code) == TALLY_REACT_RETRY) {
        struct tally_error cause = *err;

        return tally_error_set(err, TALLY_TXN_ABORTED, "%.200s", cause.message);
    }
    return code;
}

/* c3: same arguments until it is taken or the deadline passes. */
static enum tally_code send_offsets(struct tally_stream_thread *thread, int64_t deadline_ms,
        struct tally_error *err)
{
    struct tally_topic_partition *offsets =
            tally_alloc_zero(tally_task_manager_count(thread->manager) + 1, sizeof offsets[0]);
    size_t count = tally_task_manager_offsets(thread->manager, offsets,
            tally_task_manager_count(thread->manager));
    struct tally_meanwhile meanwhile = {.call = hand_over, .context = thread};
    enum tally_code code;

    do {
        code = thread->producer->ops->send_offsets(thread->producer, thread->consumer, offsets,
                count, SLICE_MS, &meanwhile, err);
    } while (tally_code_reaction(code) == TALLY_REACT_RETRY && now_ms(thread) < deadline_ms);
    tally_free(offsets);
    if (tally_code_reaction(code) == TALLY_REACT_RETRY) {
        return tally_error_set(err, TALLY_TXN_ABORTED,
                "offsets not taken by the group before the deadline");
    }
    return code;
}

/* Only where commit.sent is planned: a first call so short that it leaves EndTxn on its way, which
 * AGAIN says. Records are delivered before, or the call would end in waiting for them. */
static enum tally_code commit_ahead(struct tally_stream_thread *thread, struct tally_error *err)
{
    struct tally_producer *producer = thread->producer;
    enum tally_code code;

    producer->ops->flush(producer, AHEAD_FLUSH_MS);
    code = producer->ops->poll(producer, 0, err);
    code = code ? code : producer->ops->commit(producer, AHEAD_SLICE_MS, err);
    if (tally_code_reaction(code) == TALLY_REACT_RETRY) {
        code = TALLY_FAILPOINT_CODE(COMMIT_SENT, TALLY_COMMIT_UNKNOWN, err);
        return code ? code : TALLY_AGAIN;
    }
    return code;
}

/* c4: resumable. Everything but OK leaves the outcome to the log. */
static enum tally_code commit_transaction(struct tally_stream_thread *thread, int64_t deadline_ms,
        struct tally_error *err)
{
    enum tally_code code = TALLY_FAILPOINT_CODE(COMMIT_BEFORE, TALLY_COMMIT_UNKNOWN, err);

    if (!code) {
        code = TALLY_FAILPOINT_PLANNED(COMMIT_SENT) ? commit_ahead(thread, err) : TALLY_AGAIN;
    }
    while (code == TALLY_AGAIN ||
            (tally_code_reaction(code) == TALLY_REACT_RETRY && now_ms(thread) < deadline_ms)) {
        code = thread->producer->ops->commit(thread->producer, SLICE_MS, err);
    }
    code = code ? code : TALLY_FAILPOINT_CODE(COMMIT_AFTER, TALLY_COMMIT_UNKNOWN, err);
    if (code && code != TALLY_TOO_LARGE && tally_code_reaction(code) != TALLY_REACT_RELEASE &&
            tally_code_reaction(code) != TALLY_REACT_EXIT) {
        struct tally_error cause = *err;

        return tally_error_set(err, TALLY_COMMIT_UNKNOWN, "commit not acknowledged: %.200s",
                cause.message);
    }
    return code;
}

/* Committed, but into another events topic than the state is of: the task's state no longer fits
 * any log, so nothing of it is published. */
static void halt_regressed(struct tally_stream_thread *thread)
{
    for (size_t i = 0; i < tally_task_manager_count(thread->manager); i++) {
        struct tally_stream_task *task = tally_task_manager_at(thread->manager, i);
        struct tally_error err = {.code = TALLY_OK};

        if (tally_stream_task_state(task) != TALLY_TASK_RUNNING ||
                !tally_stream_task_regressed(task)) {
            continue;
        }
        (void)tally_error_set(&err, TALLY_TOPIC_RECREATED,
                "%s/%d took records at offsets up to %lld again: it was deleted and made anew "
                "while "
                "the task ran",
                tally_topology_output(tally_stream_task_slot(task)->topology),
                tally_stream_task_slot(task)->partition,
                (long long)tally_stream_task_committed(task)->out_last);
        tally_stream_task_rollback(task);
        stream_thread_halt(thread, task, &err);
    }
}

enum tally_code stream_thread_commit(struct tally_stream_thread *thread, int64_t budget_ms,
        struct tally_error *err)
{
    int64_t start_us = tally_mono_us(thread->options.clock);
    int64_t deadline_ms = start_us / 1000 + budget_ms;
    int64_t txn_deadline_ms = thread->begin_ms + thread->options.config->transaction_timeout;
    bool added = false;
    enum tally_code code;

    tally_assert(thread->open);
    deadline_ms = deadline_ms < txn_deadline_ms ? deadline_ms : txn_deadline_ms;
    code = tally_task_manager_finish(thread->manager, &added, err);
    thread->produced = thread->produced && !added;
    code = code ? code : TALLY_FAILPOINT_CODE(COMMIT_OFFSETS_BEFORE, TALLY_TXN_ABORTED, err);
    code = code ? code : send_offsets(thread, deadline_ms, err);
    code = code ? code : TALLY_FAILPOINT_CODE(COMMIT_OFFSETS_AFTER, TALLY_TXN_ABORTED, err);
    if (!code) {
        code = commit_transaction(thread, deadline_ms, err);
    }
    if (code) {
        tally_error_context(err, "commit");
        return code;
    }
    thread->open = false;
    thread->committed_us = tally_mono_us(thread->options.clock);
    halt_regressed(thread);
    tally_task_manager_commit(thread->manager);
    tally_collector_reset(thread->collector);
    thread->failures = 0;
    thread->batch_limit = thread->batch_limit < thread->batch_capacity / 2 ? 2 * thread->batch_limit
                                                                           : thread->batch_capacity;
    thread->too_large.task = thread->too_large.written ? NULL : thread->too_large.task;
    tally_series_add(thread->committed_series, 1);
    tally_series_observe_us(thread->commit_series, tally_mono_us(thread->options.clock) - start_us);
    (void)thread->producer->ops->poll(thread->producer, 0, NULL);
    if (thread->producer->ops->tainted(thread->producer)) {
        drop_producer(thread);
        TALLY_FAILPOINT(COMMIT_TAINT_AFTER);
        stream_thread_pause_all(thread);
    }
    return TALLY_OK;
}

void stream_thread_abort(struct tally_stream_thread *thread)
{
    enum tally_code code = TALLY_TIMEOUT;

    stream_thread_drop_batch(thread);
    if (thread->open && thread->producer && !TALLY_FAILPOINT_FAILS(RECOVER_ABORT_BEFORE)) {
        for (int i = 0; i < ABORT_TRIES && code; i++) {
            code = thread->producer->ops->abort(thread->producer, SLICE_MS, NULL);
        }
        TALLY_FAILPOINT(RECOVER_ABORT_AFTER);
    }
    thread->open = false;
    tally_series_add(thread->aborted_series, 1);
    drop_producer(thread);
    /* Last: an abort still reports deliveries, which must not count for the next transaction. */
    tally_task_manager_rollback(thread->manager);
    stream_thread_pause_all(thread);
    stream_thread_set_state(thread, THREAD_RECOVERING);
}

void stream_thread_release(struct tally_stream_thread *thread, enum tally_code code)
{
    bool fenced = code == TALLY_FENCED || code == TALLY_ASSIGNMENT_LOST;

    stream_thread_drop_batch(thread);
    tally_task_manager_rollback(thread->manager);
    thread->open = false;
    tally_series_add(fenced ? thread->fenced_series : thread->unknown_series, 1);
    drop_producer(thread);
    stream_thread_pause_all(thread);
    for (size_t i = 0; i < tally_task_manager_count(thread->manager); i++) {
        struct tally_stream_task *task = tally_task_manager_at(thread->manager, i);

        if (tally_stream_task_state(task) == TALLY_TASK_RUNNING) {
            tally_stream_task_set_state(task, TALLY_TASK_CREATED); /* its restore begins anew */
        }
    }
    back_off(thread);
    stream_thread_set_state(thread, THREAD_RECOVERING);
}

/* The open transaction holds one record, and what it leads to is too large. */
static void note_too_large(struct tally_stream_thread *thread)
{
    bool again = thread->too_large.task == thread->records.task &&
                 thread->too_large.offset == thread->records.offset;

    thread->too_large.tries = again ? thread->too_large.tries + 1 : 0;
    thread->too_large.task = thread->records.task;
    thread->too_large.offset = thread->records.offset;
}

/* The same batch again and again: fewer records at a time, until one fails alone. */
static void shrink_batch(struct tally_stream_thread *thread, enum tally_code code)
{
    size_t count = thread->records.count;

    if (code == TALLY_TOO_LARGE && thread->open) {
        if (count == 1) {
            note_too_large(thread);
        }
        count = count < thread->batch_limit ? count : thread->batch_limit;
        thread->batch_limit = count > 2 ? count / 2 : 1;
        return;
    }
    if (++thread->failures >= 3 && thread->batch_limit > 1) {
        TALLY_FAILPOINT(RECOVER_HALVE_EACH);
        thread->batch_limit /= 2;
        thread->failures = 0;
    }
}

static void log_release(enum tally_code code, const struct tally_error *err)
{
    switch (code) {
    case TALLY_FENCED:
        tally_log_error(TALLY_LOG_WARN,
                "fenced: the broker takes nothing more from this member; what was not committed is "
                "dropped, tasks are restored",
                err);
        break;
    case TALLY_ASSIGNMENT_LOST:
        tally_log_error(TALLY_LOG_WARN,
                "partitions went to other members; what was not committed is dropped", err);
        break;
    default:
        tally_log_error(TALLY_LOG_WARN, "outcome left to the log; tasks are restored", err);
        break;
    }
}

enum tally_code stream_thread_react(struct tally_stream_thread *thread, enum tally_code code,
        struct tally_error *err)
{
    struct tally_stream_task *task = thread->current;

    switch (tally_code_reaction(code)) {
    case TALLY_REACT_NONE:
        return TALLY_OK;
    case TALLY_REACT_RETRY:
    case TALLY_REACT_SKIP:
    case TALLY_REACT_ABORT:
        tally_log_error(TALLY_LOG_WARN, "transaction aborted; its records are decided again", err);
        shrink_batch(thread, code);
        stream_thread_abort(thread);
        if (code == TALLY_STORE_ERROR) {
            stream_thread_store_failed(thread, task, err);
        }
        break;
    case TALLY_REACT_REBUILD:
        tally_log_error(TALLY_LOG_ERROR, "store is rebuilt from its log", err);
        stream_thread_abort(thread);
        stream_thread_rebuild(thread, task, err);
        break;
    case TALLY_REACT_RELEASE:
        log_release(code, err);
        stream_thread_release(thread, code);
        break;
    case TALLY_REACT_HALT:
        if (thread->open) {
            stream_thread_abort(thread);
        } else {
            stream_thread_pause_all(thread); /* the batch was dropped: the others are rewound */
        }
        stream_thread_halt(thread, task, err);
        break;
    case TALLY_REACT_EXIT:
        return code;
    }
    thread->current = NULL;
    return TALLY_OK;
}
