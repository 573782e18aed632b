/* engine/stream_thread_rebalance.c - which tasks a thread has, and how they come to run.
 * The protocol is eager: a revoke takes every partition, an assignment names every partition.
 * Order of an assignment (exactly-once R1 to R9): the producer is initialised first, which settles
 * this member's own dangling transaction; then the group's offsets are read, then the ends of the
 * topics. A task is paused until its restore is done. */
#include "engine/base/failpoint.h"
#include "engine/stream_thread_internal.h"

enum {
    COMMITTED_TIMEOUT_MS = 5000,
    RECHECK_EVERY_MS = 10000,
    STORE_RETRY_MS = 200,
    STORE_REOPEN_MS = 1000,
    NAMES_MAX = 4096,
};

static const struct tally_topic_partition *task_partition(struct tally_stream_task *task,
        struct tally_topic_partition *one)
{
    *one = (struct tally_topic_partition){
            .topic = tally_stream_task_input(task),
            .partition = tally_stream_task_slot(task)->partition,
            .offset = tally_stream_task_next(task)->in_next,
    };
    return one;
}

/* --- pause and resume ------------------------------------------------------------------------- */

static void warn(const char *message, struct tally_error *err)
{
    tally_log_error(TALLY_LOG_WARN, message, err);
}

static size_t running_partitions(struct tally_stream_thread *thread,
        struct tally_topic_partition **partitions)
{
    size_t max = tally_task_manager_count(thread->manager);

    *partitions = tally_alloc_zero(max + 1, sizeof **partitions);
    return tally_task_manager_offsets(thread->manager, *partitions, max);
}

void stream_thread_pause_all(struct tally_stream_thread *thread)
{
    struct tally_topic_partition *partitions;
    struct tally_error err = {.code = TALLY_OK};
    size_t count = running_partitions(thread, &partitions);

    if (count > 0 && thread->consumer &&
            thread->consumer->ops->pause(thread->consumer, partitions, count, &err)) {
        warn("partitions not paused", &err);
    }
    tally_free(partitions);
    thread->paused = true;
}

void stream_thread_resume_all(struct tally_stream_thread *thread)
{
    struct tally_topic_partition *partitions;
    struct tally_error err = {.code = TALLY_OK};
    size_t count = running_partitions(thread, &partitions);
    enum tally_code code = TALLY_OK;

    if (count > 0) {
        code = thread->consumer->ops->seek(thread->consumer, partitions, count, SLICE_MS, &err);
        code = code ? code : TALLY_FAILPOINT_CODE(RECOVER_SEEK_AFTER, TALLY_TIMEOUT, &err);
        if (!code) {
            code = thread->consumer->ops->resume(thread->consumer, partitions, count, &err);
        }
    }
    if (code) {
        warn("partitions not resumed; trying again", &err);
    }
    thread->paused = code != TALLY_OK;
    tally_free(partitions);
}

/* --- assignment ------------------------------------------------------------------------------- */

/* Where the consumer starts to fetch; the restore seeks to the proven offset later. */
static int64_t first_offset(struct tally_stream_thread *thread,
        const struct tally_topic_partition *partition)
{
    int64_t low = 0, high = 0;
    struct tally_error err = {.code = TALLY_OK};

    if (!partition->code && partition->offset >= 0) {
        return partition->offset;
    }
    if (thread->consumer->ops->watermarks(thread->consumer, partition->topic, partition->partition,
                COMMITTED_TIMEOUT_MS, &low, &high, &err)) {
        warn("start of an assigned partition is not known", &err);
    }
    return low;
}

/* "stock.commands/0,1 catalogue.commands/2", for the log. */
static void name_partitions(const struct tally_topic_partition *partitions, size_t count,
        struct tally_buf *names)
{
    tally_buf_init(names, NAMES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(partitions[i].topic, partitions[i - 1].topic) == 0) {
            tally_buf_format(names, ",%d", partitions[i].partition);
        } else {
            tally_buf_format(names, "%s%s/%d", i > 0 ? " " : "", partitions[i].topic,
                    partitions[i].partition);
        }
    }
}

static void log_assigned(const struct tally_topic_partition *partitions, size_t count)
{
    struct tally_buf names;

    name_partitions(partitions, count, &names);
    tally_log(TALLY_LOG_INFO, "partitions assigned", TALLY_LOG_INT("partitions", count),
            TALLY_LOG_BYTES("names", tally_buf_bytes(&names)));
    tally_buf_deinit(&names);
}

/* transaction: what became of the one that was open. */
static void log_revoked(const struct tally_topic_partition *partitions, size_t count, bool lost,
        const char *transaction)
{
    struct tally_buf names;

    name_partitions(partitions, count, &names);
    tally_log(lost ? TALLY_LOG_WARN : TALLY_LOG_INFO,
            lost ? "partitions lost: the group took them from this member" : "partitions revoked",
            TALLY_LOG_INT("partitions", count), TALLY_LOG_STR("transaction", transaction),
            TALLY_LOG_BYTES("names", tally_buf_bytes(&names)));
    tally_buf_deinit(&names);
}

static void keep_waiting(struct tally_stream_thread *thread, const char *topic, int32_t partition)
{
    thread->waiting =
            tally_realloc(thread->waiting, (thread->waiting_count + 1) * sizeof thread->waiting[0]);
    thread->waiting[thread->waiting_count].topic = tally_copy_string(topic);
    thread->waiting[thread->waiting_count].partition = partition;
    thread->waiting_count++;
}

static void drop_waiting(struct tally_stream_thread *thread)
{
    for (size_t i = 0; i < thread->waiting_count; i++) {
        tally_free(thread->waiting[i].topic);
    }
    thread->waiting_count = 0;
}

static bool claim(struct tally_stream_thread *thread, const char *topic, int32_t partition)
{
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code = tally_task_manager_assign(thread->manager, topic, partition, &err);

    if (code && code != TALLY_AGAIN) {
        tally_log_error(TALLY_LOG_ERROR, "assigned partition has no task", &err);
    }
    return code != TALLY_AGAIN;
}

void stream_thread_claim_waiting(struct tally_stream_thread *thread)
{
    size_t kept = 0;

    for (size_t i = 0; i < thread->waiting_count; i++) {
        if (claim(thread, thread->waiting[i].topic, thread->waiting[i].partition)) {
            tally_free(thread->waiting[i].topic);
        } else {
            thread->waiting[kept++] = thread->waiting[i];
        }
    }
    thread->waiting_count = kept;
}

void stream_thread_assigned(void *context, const struct tally_topic_partition *partitions,
        size_t count)
{
    struct tally_stream_thread *thread = context;
    struct tally_consumer *consumer = thread->consumer;
    struct tally_topic_partition *offsets = tally_alloc_zero(count + 1, sizeof offsets[0]);
    struct tally_error err = {.code = TALLY_OK};

    TALLY_FAILPOINT(REBALANCE_ASSIGN_ENTER);
    for (size_t i = 0; i < count; i++) {
        offsets[i] = (struct tally_topic_partition){
                .topic = partitions[i].topic, .partition = partitions[i].partition};
    }
    if (count > 0 &&
            (consumer->ops->committed(consumer, offsets, count, COMMITTED_TIMEOUT_MS, &err) ||
                    TALLY_FAILPOINT_CODE(REBALANCE_ASSIGN_OFFSETS, TALLY_TIMEOUT, &err))) {
        warn("offsets of the group not read yet", &err);
        for (size_t i = 0; i < count; i++) {
            offsets[i].offset = TALLY_OFFSET_NONE;
        }
    }
    for (size_t i = 0; i < count; i++) {
        offsets[i].offset = first_offset(thread, &offsets[i]);
    }
    if (consumer->ops->assign(consumer, offsets, count, &err) ||
            (count > 0 && consumer->ops->pause(consumer, offsets, count, &err))) {
        warn("assignment not taken", &err);
    }
    TALLY_FAILPOINT(REBALANCE_ASSIGN_PAUSED);
    drop_waiting(thread);
    for (size_t i = 0; i < count; i++) {
        if (!claim(thread, partitions[i].topic, partitions[i].partition)) {
            keep_waiting(thread, partitions[i].topic, partitions[i].partition);
        }
    }
    tally_free(offsets);
    tally_series_add(tally_series_of(TALLY_METRIC_REBALANCES, "assigned"), 1);
    log_assigned(partitions, count);
    stream_thread_set_state(thread, THREAD_ASSIGNED);
    atomic_store(&thread->joined, true);
}

void stream_thread_revoked(void *context, const struct tally_topic_partition *partitions,
        size_t count, bool lost)
{
    struct tally_stream_thread *thread = context;
    int64_t budget_ms = thread->options.config->max_poll_interval / 5;
    const char *transaction = "none";
    struct tally_error err = {.code = TALLY_OK};

    if (lost) {
        TALLY_FAILPOINT(REBALANCE_LOST_ENTER);
    } else {
        TALLY_FAILPOINT(REBALANCE_REVOKE_ENTER);
    }
    stream_thread_drop_batch(thread);
    if (thread->open && !lost) {
        enum tally_code code = stream_thread_commit(thread, budget_ms, &err);

        transaction = code ? "unknown" : "committed";
        if (code) {
            warn("not committed before a revoke; the log decides", &err);
            stream_thread_release(thread, code);
        }
    } else if (thread->open) {
        transaction = "aborted";
        stream_thread_abort(thread);
    }
    TALLY_FAILPOINT(REBALANCE_REVOKE_COMMITTED);
    tally_restorer_clear(thread->restorer);
    drop_waiting(thread);
    thread->too_large.task = NULL;
    thread->restore_first = 0;
    tally_task_manager_park_all(thread->manager, lost ? 0 : budget_ms);
    TALLY_FAILPOINT(REBALANCE_REVOKE_CLOSED);
    if (thread->consumer->ops->assign(thread->consumer, NULL, 0, &err)) {
        warn("revoke not acknowledged", &err);
    }
    tally_series_add(tally_series_of(TALLY_METRIC_REBALANCES, lost ? "lost" : "revoked"), 1);
    log_revoked(partitions, count, lost, transaction);
    stream_thread_set_state(thread, THREAD_REVOKED);
}

/* --- restore ---------------------------------------------------------------------------------- */

/* Before restores are tried again: each try may wait for a broker or a disk, and other tasks of the
 * thread have work to do. */
static void rest(struct tally_stream_thread *thread)
{
    thread->restore_ms = tally_mono_ms(thread->options.clock) + STORE_REOPEN_MS;
}

static void begin_restore(struct tally_stream_thread *thread, struct tally_stream_task *task)
{
    struct tally_error err = {.code = TALLY_OK};
    struct tally_topic_partition one;
    enum tally_code code = tally_task_manager_open_store(thread->manager, task, &err);

    if (!code) {
        (void)task_partition(task, &one);
        code = thread->consumer->ops->committed(thread->consumer, &one, 1, COMMITTED_TIMEOUT_MS,
                &err);
        code = code ? code : one.code;
    }
    if (!code) {
        tally_stream_task_set_state(task, TALLY_TASK_RESTORING);
        code = tally_restorer_add(thread->restorer, task, thread->consumer, one.offset, &err);
    }
    if (!code) {
        return;
    }
    tally_error_context(&err, "%s", tally_stream_task_name(task));
    if (tally_code_reaction(code) == TALLY_REACT_HALT) {
        stream_thread_halt(thread, task, &err);
        return;
    }
    if (tally_code_reaction(code) == TALLY_REACT_REBUILD) {
        stream_thread_rebuild(thread, task, &err);
        return;
    }
    tally_log_error(TALLY_LOG_WARN, "restore not begun; trying again", &err);
    if (tally_stream_task_state(task) != TALLY_TASK_CREATED) {
        tally_stream_task_set_state(task, TALLY_TASK_CREATED);
    }
    if (code == TALLY_STORE_ERROR || code == TALLY_SYSTEM) { /* a full disk, and the like */
        tally_task_slot_trouble(tally_stream_task_slot(task), &err);
    }
    rest(thread);
}

void stream_thread_begin_restores(struct tally_stream_thread *thread)
{
    size_t count = tally_task_manager_count(thread->manager);
    size_t first = thread->restore_first;

    for (size_t i = 0; i < count; i++) {
        struct tally_stream_task *task =
                tally_task_manager_at(thread->manager, (first + i) % count);

        if (tally_mono_ms(thread->options.clock) < thread->restore_ms) {
            return;
        }
        if (tally_stream_task_state(task) == TALLY_TASK_CREATED) {
            thread->restore_first = (first + i + 1) % count; /* one that fails does not hold up */
            begin_restore(thread, task);
        }
    }
}

void stream_thread_restored(void *context, struct tally_stream_task *task)
{
    struct tally_stream_thread *thread = context;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_topic_partition one;
    enum tally_code code;

    TALLY_FAILPOINT(RESTORE_RUNNING_BEFORE);
    tally_stream_task_set_state(task, TALLY_TASK_RUNNING);
    tally_task_slot_set_anchor(tally_stream_task_slot(task), tally_stream_task_committed(task));
    tally_log(TALLY_LOG_INFO, "task is running",
            TALLY_LOG_STR("task", tally_stream_task_name(task)),
            TALLY_LOG_INT("next", tally_stream_task_next(task)->in_next));
    if (thread->paused) {
        return; /* resumed with the others */
    }
    (void)task_partition(task, &one);
    code = thread->consumer->ops->seek(thread->consumer, &one, 1, SLICE_MS, &err);
    if (!code) {
        code = thread->consumer->ops->resume(thread->consumer, &one, 1, &err);
    }
    if (code) {
        warn("restored task not resumed; trying again", &err);
        stream_thread_pause_all(thread);
    }
}

static void restore_again(struct tally_stream_thread *thread, struct tally_stream_task *task,
        struct tally_error *err)
{
    static _Thread_local struct tally_log_limit limit;

    if (tally_log_allowed(&limit, 1000)) {
        tally_error_context(err, "%s", tally_stream_task_name(task));
        tally_log_error(TALLY_LOG_WARN, "restore failed; beginning again", err);
    }
    tally_stream_task_set_state(task, TALLY_TASK_CREATED);
    rest(thread);
}

void stream_thread_restore_failed(void *context, struct tally_stream_task *task,
        const struct tally_error *err)
{
    struct tally_stream_thread *thread = context;
    struct tally_error why = *err;

    if (tally_code_reaction(err->code) == TALLY_REACT_REBUILD) {
        stream_thread_rebuild(thread, task, &why);
    } else if (tally_code_reaction(err->code) == TALLY_REACT_ABORT) {
        restore_again(thread, task, &why); /* a read failed, so something was not proved */
    } else {
        stream_thread_halt(thread, task, err);
    }
}

/* --- tasks that cannot go on ------------------------------------------------------------------ */

void stream_thread_halt(struct tally_stream_thread *thread, struct tally_stream_task *task,
        const struct tally_error *err)
{
    struct tally_error failed = {.code = TALLY_OK};
    struct tally_topic_partition one;
    char text[TALLY_HALT_TEXT_MAX];

    if (!task) { /* comes with every poll for as long as it lasts */
        static _Thread_local struct tally_log_limit limit;

        if (tally_log_allowed(&limit, 1000)) {
            tally_log_error(TALLY_LOG_ERROR, "error that no task can be named for", err);
        }
        return;
    }
    tally_task_slot_way_out(tally_stream_task_slot(task), err, text);
    tally_log(TALLY_LOG_ERROR, "task halted", TALLY_LOG_STR("task", tally_stream_task_name(task)),
            TALLY_LOG_STR("code", tally_code_name(err->code)), TALLY_LOG_STR("error", text));
    (void)task_partition(task, &one);
    if (thread->consumer->ops->pause(thread->consumer, &one, 1, &failed)) {
        warn("halted task not paused", &failed);
    }
    tally_stream_task_halt(task, err);
    if (thread->recheck_ms == 0) {
        thread->recheck_ms = tally_mono_ms(thread->options.clock) + RECHECK_EVERY_MS;
    }
}

void stream_thread_recheck_halted(struct tally_stream_thread *thread)
{
    if (thread->recheck_ms == 0 || tally_mono_ms(thread->options.clock) < thread->recheck_ms) {
        return;
    }
    thread->recheck_ms = 0;
    for (size_t i = 0; i < tally_task_manager_count(thread->manager); i++) {
        struct tally_stream_task *task = tally_task_manager_at(thread->manager, i);

        if (tally_stream_task_state(task) == TALLY_TASK_HALTED) {
            tally_stream_task_set_state(task, TALLY_TASK_CREATED);
        }
    }
}

void stream_thread_rebuild(struct tally_stream_thread *thread, struct tally_stream_task *task,
        struct tally_error *err)
{
    struct tally_topic_partition one;
    struct tally_error failed = {.code = TALLY_OK};

    if (!task) {
        tally_log_error(TALLY_LOG_ERROR, "corrupt store that no task can be named for", err);
        return;
    }
    tally_restorer_remove(thread->restorer, task);
    (void)task_partition(task, &one);
    if (thread->consumer->ops->pause(thread->consumer, &one, 1, &failed)) {
        warn("task to rebuild not paused", &failed);
    }
    if (tally_task_manager_rebuild(thread->manager, task, err)) {
        stream_thread_halt(thread, task, err);
    }
}

void stream_thread_rebuild_damaged(struct tally_stream_thread *thread)
{
    for (size_t i = 0; i < tally_task_manager_count(thread->manager); i++) {
        struct tally_stream_task *task = tally_task_manager_at(thread->manager, i);
        struct tally_store *store = tally_stream_task_slot(task)->store;
        struct tally_error err = {.code = TALLY_OK};

        if (store && tally_store_health(store, &err) == TALLY_STORE_CORRUPT) {
            tally_log_error(TALLY_LOG_ERROR, "store is rebuilt from its log", &err);
            stream_thread_rebuild(thread, task, &err);
        }
    }
}

/* The store that was to be read may be known as damaged by now, and then no turn would get as far
 * as finding out: every try would end here. Else its disk is waited for. */
void stream_thread_store_failed(struct tally_stream_thread *thread, struct tally_stream_task *task,
        struct tally_error *err)
{
    int64_t now_ms = tally_mono_ms(thread->options.clock);

    stream_thread_rebuild_damaged(thread);
    if (task && tally_stream_task_read_failed(task, now_ms, err) == TALLY_STORE_CORRUPT) {
        tally_log_error(TALLY_LOG_ERROR, "store is rebuilt from its log", err);
        stream_thread_rebuild(thread, task, err);
    }
    thread->retry_at_ms = now_ms + STORE_RETRY_MS;
}
