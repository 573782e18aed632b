/* engine/restorer.c - see restorer.h. What must hold, in the order in which it is checked:
 *  R3  the events topic's end is asked only after the group's offset was: what was committed before
 *      is then below the end.
 *  R5  the store is not ahead of the events topic, and the topic still has what the store lacks.
 *  R6  the last applied event is still the record that it was (offset and CRC32C).
 *  R7  done at position >= end; the last stable offset may lag, a hanging transaction is named.
 *  R8  the group's offset fits what the events say was consumed; what lies between must have an
 *      outcome already. */
#include "engine/restorer.h"

#include "engine/base/failpoint.h"
#include "engine/base/log.h"
#include "engine/base/metrics.h"
#include "engine/base/stillness.h"
#include "engine/restore_check.h"

#include <stdio.h>

enum {
    ROOM_BYTES_MIN = 64 * 1024, /* uncommitted state that is worth a run when memory is short */
    WATERMARKS_TIMEOUT_MS = 5000,
    POLL_WAIT_MS = 20,
    BATCH_RECORDS = 256, /* read together */
    HANGING_GRACE_MS = 15000,
};

static enum tally_code check_output(const struct tally_task_slot *slot,
        const struct tally_positions *positions, int64_t now_ms, int64_t low, int64_t high,
        struct tally_error *err)
{
    const char *output = tally_topology_output(slot->topology);

    if (tally_topology_projection(slot->topology)) {
        return tally_check_changelog(output, slot->partition, positions->out_last,
                now_ms - positions->commit_time, low, high, err);
    }
    return tally_check_events(output, slot->partition, positions->out_last, low, high, err);
}

enum restore_phase { RESTORE_EVENTS, RESTORE_INPUT };

struct restoration {
    struct tally_stream_task *task;
    enum restore_phase phase;
    int64_t committed; /* the group's offset */
    int64_t input_low, input_high;
    const char *topic;        /* read in this phase */
    int64_t from, next, stop; /* first offset, next offset, where the phase ends */
    bool compacted;           /* the output is, so that its records may be gone */
    bool replays;             /* the input is none of its business */
    bool staggered;           /* its first run was a small one */
    bool check_first;         /* the record at `from` must have `crc` */
    bool check_proof;         /* or, in its place, be the command that an event proves */
    uint32_t crc;
    struct tally_stillness stillness; /* of `next` */
    struct tally_series *left_series, *restored_series;
};

struct tally_restorer {
    struct tally_restorer_options options;
    struct tally_consumer *consumer;
    struct restoration *items;
    size_t count, capacity;
    bool changed; /* the assignment is not that of items */
    struct tally_record batch[BATCH_RECORDS];
};

struct tally_restorer *tally_restorer_create(const struct tally_restorer_options *options)
{
    struct tally_restorer *restorer = tally_alloc_zero(1, sizeof *restorer);

    restorer->options = *options;
    return restorer;
}

void tally_restorer_destroy(struct tally_restorer *restorer)
{
    if (!restorer) {
        return;
    }
    if (restorer->consumer) {
        restorer->consumer->ops->destroy(restorer->consumer);
    }
    tally_free(restorer->items);
    tally_free(restorer);
}

bool tally_restorer_idle(const struct tally_restorer *restorer)
{
    return restorer->count == 0;
}

static void show_progress(struct restoration *item)
{
    struct tally_task_slot *slot = tally_stream_task_slot(item->task);
    int64_t left =
            item->phase == RESTORE_EVENTS && item->stop > item->next ? item->stop - item->next : 0;

    atomic_store(&slot->restore_left, left);
    tally_series_set(item->left_series, left > 0 ? left : TALLY_SERIES_HIDDEN);
}

static void drop_item(struct tally_restorer *restorer, size_t index)
{
    struct restoration *item = &restorer->items[index];
    struct tally_task_slot *slot = tally_stream_task_slot(item->task);

    atomic_store(&slot->restore_left, 0);
    atomic_store(&slot->restore_total, 0);
    tally_series_set(item->left_series, TALLY_SERIES_HIDDEN);
    restorer->items[index] = restorer->items[--restorer->count];
    restorer->changed = true;
}

void tally_restorer_remove(struct tally_restorer *restorer, const struct tally_stream_task *task)
{
    for (size_t i = 0; i < restorer->count; i++) {
        if (restorer->items[i].task == task) {
            drop_item(restorer, i);
            return;
        }
    }
}

void tally_restorer_clear(struct tally_restorer *restorer)
{
    while (restorer->count > 0) {
        drop_item(restorer, restorer->count - 1);
    }
}

/* --- begin ------------------------------------------------------------------------------------ */

static struct restoration *push_item(struct tally_restorer *restorer)
{
    if (restorer->count == restorer->capacity) {
        restorer->capacity = restorer->capacity ? restorer->capacity * 2 : 8;
        restorer->items =
                tally_realloc(restorer->items, restorer->capacity * sizeof restorer->items[0]);
    }
    restorer->changed = true;
    return &restorer->items[restorer->count++];
}

/* What the topics hold of it: where the events end, and the input begins and ends. */
static enum tally_code find_ends(struct restoration *item, struct tally_consumer *consumer,
        int64_t *low, struct tally_error *err)
{
    struct tally_task_slot *slot = tally_stream_task_slot(item->task);
    enum tally_code code = consumer->ops->watermarks(consumer, item->topic, slot->partition,
            WATERMARKS_TIMEOUT_MS, low, &item->stop, err);

    if (!code && !item->replays) {
        code = consumer->ops->watermarks(consumer, tally_stream_task_input(item->task),
                slot->partition, WATERMARKS_TIMEOUT_MS, &item->input_low, &item->input_high, err);
    }
    return code ? code : TALLY_FAILPOINT_CODE(RESTORE_WATERMARKS_AFTER, TALLY_TIMEOUT, err);
}

static void begin(struct tally_restorer *restorer, struct restoration *item, int64_t low)
{
    struct tally_task_slot *slot = tally_stream_task_slot(item->task);
    const struct tally_positions *positions = tally_stream_task_committed(item->task);
    char partition[16];

    item->compacted = tally_topology_projection(slot->topology) != NULL;
    item->from = positions->out_last >= 0 ? positions->out_last : low;
    item->next = item->from;
    item->check_first = positions->out_last >= 0;
    item->crc = positions->out_crc;
    (void)snprintf(partition, sizeof partition, "%d", slot->partition);
    item->left_series = tally_series_of(TALLY_METRIC_RESTORE_REMAINING,
            tally_topology_name(slot->topology), partition);
    item->restored_series =
            tally_series_of(TALLY_METRIC_RESTORED, tally_topology_name(slot->topology));
    atomic_store(&slot->cold, positions->out_last < 0 && positions->in_next < 0);
    atomic_store(&slot->restore_total, item->stop - item->from);
    *push_item(restorer) = *item;
    show_progress(&restorer->items[restorer->count - 1]);
    tally_log(TALLY_LOG_INFO, "task is restored from its log",
            TALLY_LOG_STR("task", tally_stream_task_name(item->task)),
            TALLY_LOG_INT("from", item->from), TALLY_LOG_INT("to", item->stop));
}

enum tally_code tally_restorer_add(struct tally_restorer *restorer, struct tally_stream_task *task,
        struct tally_consumer *consumer, int64_t committed, struct tally_error *err)
{
    struct restoration item = {.task = task,
            .phase = RESTORE_EVENTS,
            .committed = committed,
            .topic = tally_topology_output(tally_stream_task_slot(task)->topology)};
    int64_t low;
    enum tally_code code = find_ends(&item, consumer, &low, err);

    code = code ? code
                : check_output(tally_stream_task_slot(task), tally_stream_task_committed(task),
                          tally_wall_ms(restorer->options.clock), low, item.stop, err);
    if (code) {
        return code;
    }
    TALLY_FAILPOINT(RESTORE_CHECK_AFTER);
    begin(restorer, &item, low);
    return TALLY_OK;
}

/* A new store begins with the first record of the part, any other one where it is. */
static enum tally_code check_part(const struct tally_task_slot *slot,
        const struct tally_positions *positions, const struct tally_log_part *part, int64_t now_ms,
        int64_t low, int64_t high, struct tally_error *err)
{
    const char *output = tally_topology_output(slot->topology);
    bool is_new = positions->out_last < 0;
    enum tally_code code = TALLY_OK;

    if (!is_new || part->from < 0) {
        code = check_output(slot, positions, now_ms, low, high, err);
    } else if (part->from < low) {
        code = tally_error_set(err, TALLY_EVENTS_INCOMPLETE,
                "%s/%d starts at %lld: the records from %lld to %lld are gone", output,
                (int)slot->partition, (long long)low, (long long)part->from, (long long)low - 1);
    }
    if (!code && (part->from < 0 || part->last >= low)) {
        code = tally_check_events(output, slot->partition, part->last, low, high, err);
    }
    return code;
}

enum tally_code tally_restorer_replay(struct tally_restorer *restorer,
        struct tally_stream_task *task, struct tally_consumer *consumer,
        const struct tally_log_part *part, struct tally_error *err)
{
    const struct tally_task_slot *slot = tally_stream_task_slot(task);
    struct restoration item = {.task = task,
            .phase = RESTORE_EVENTS,
            .committed = TALLY_OFFSET_NONE,
            .topic = tally_topology_output(slot->topology),
            .replays = true};
    int64_t low;
    enum tally_code code = find_ends(&item, consumer, &low, err);

    code = code ? code
                : check_part(slot, tally_stream_task_committed(task), part,
                          tally_wall_ms(restorer->options.clock), low, item.stop, err);
    if (!code) {
        int64_t have = tally_stream_task_committed(task)->out_last;
        int64_t last = part->last > have ? part->last : have;

        low = part->from > low ? part->from : low;
        item.stop = last + 1 > low ? last + 1 : low;
        begin(restorer, &item, low);
    }
    return code;
}

/* --- phases ----------------------------------------------------------------------------------- */

static enum tally_code first_start(struct tally_restorer *restorer, const struct restoration *item)
{
    bool latest = strcmp(restorer->options.config->start_offset, "latest") == 0;

    tally_stream_task_next(item->task)->in_next = latest ? item->input_high : item->input_low;
    return TALLY_OK;
}

/* After the events: what of the input has to be read before the task may run. *done: nothing. */
static enum tally_code begin_input(struct tally_restorer *restorer, struct restoration *item,
        bool *done, struct tally_error *err)
{
    struct tally_positions *next = tally_stream_task_next(item->task);
    const struct tally_task_slot *slot = tally_stream_task_slot(item->task);
    int64_t state = next->in_next; /* -1: nothing consumed as far as the state knows */
    enum tally_code code = TALLY_OK;

    *done = true;
    if (item->committed == TALLY_OFFSET_NONE && state < 0) {
        return first_start(restorer, item);
    }
    if (item->committed == TALLY_OFFSET_NONE && next->in_last < 0 && next->out_last < 0) {
        item->committed = state; /* started before, but ended with nothing consumed: go on there */
    } else if (item->compacted) {
        code = tally_check_projection(tally_stream_task_input(item->task), slot->partition,
                item->committed, state, next->out_last >= 0, item->input_low, item->input_high,
                err);
    }
    code = code ? code
                : tally_check_input(tally_stream_task_input(item->task), slot->partition,
                          item->committed, state, item->input_low, item->input_high, err);
    if (code) {
        return code;
    }
    item->phase = RESTORE_INPUT;
    item->topic = tally_stream_task_input(item->task);
    item->stop = item->committed;
    item->check_first = false;
    if (item->committed == state) {
        item->check_proof = next->in_last < 0 && tally_stream_task_has_proof(item->task);
        item->from = item->check_proof ? state - 1 : next->in_last;
        if (item->from < 0 || item->from < item->input_low) {
            return TALLY_OK;
        }
        item->stop = item->from + 1;
        item->check_first = true;
        item->crc = next->in_crc;
    } else {
        item->from = state > item->input_low ? state : item->input_low;
        if (state < item->input_low && state >= 0) {
            tally_log(TALLY_LOG_WARN,
                    "consumed commands are no longer retained and cannot be verified",
                    TALLY_LOG_STR("task", tally_stream_task_name(item->task)),
                    TALLY_LOG_INT("from", state), TALLY_LOG_INT("to", item->input_low));
        }
    }
    item->next = item->from;
    restorer->changed = true;
    *done = item->next >= item->stop;
    return TALLY_OK;
}

/* What was restored so far becomes a run with its positions. */
static void commit_restored(struct tally_restorer *restorer, struct tally_stream_task *task)
{
    tally_stream_task_commit(task, tally_wall_ms(restorer->options.clock));
    TALLY_FAILPOINT(RESTORE_FLUSH_AFTER);
}

/* R9: the state is complete up to the group's offset. */
static void finish(struct tally_restorer *restorer, size_t index)
{
    struct restoration *item = &restorer->items[index];
    struct tally_stream_task *task = item->task;
    struct tally_positions *next = tally_stream_task_next(task);

    if (item->committed != TALLY_OFFSET_NONE) {
        next->in_next = item->committed;
    }
    drop_item(restorer, index);
    TALLY_FAILPOINT(RESTORE_END_BEFORE);
    commit_restored(restorer, task);
    atomic_store(&tally_stream_task_slot(task)->cold, false);
    restorer->options.restored(restorer->options.context, task);
}

static void fail(struct tally_restorer *restorer, size_t index, const struct tally_error *err)
{
    struct tally_stream_task *task = restorer->items[index].task;

    drop_item(restorer, index);
    tally_stream_task_rollback(task);
    restorer->options.failed(restorer->options.context, task, err);
}

/* --- reading ---------------------------------------------------------------------------------- */

static enum tally_code check_first(struct tally_restorer *restorer, struct restoration *item,
        const struct tally_record *record, struct tally_error *err)
{
    if (record->offset == item->from &&
            (item->check_proof ? tally_stream_task_prove(item->task, record, restorer->consumer)
                               : tally_stream_task_crc(record) == item->crc)) {
        struct tally_positions *next = tally_stream_task_next(item->task);

        item->check_first = false;
        if (item->check_proof) {
            next->in_last = record->offset;
            next->in_crc = tally_stream_task_crc(record);
        }
        TALLY_FAILPOINT(RESTORE_FIRST_AFTER);
        return TALLY_OK;
    }
    return tally_error_set(err,
            item->compacted && item->phase == RESTORE_EVENTS ? TALLY_STORE_OUTDATED
                                                             : TALLY_TOPIC_RECREATED,
            "%s/%d@%lld is not the record that the state was built from: the topic was recreated "
            "or truncated",
            record->topic, record->partition, (long long)item->from);
}

static enum tally_code take_record(struct tally_restorer *restorer, struct restoration *item,
        const struct tally_record *record, struct tally_error *err)
{
    enum tally_code code;

    if (record->offset < item->next || record->offset >= item->stop) {
        return TALLY_OK;
    }
    item->next = record->offset + 1;
    if (item->check_first && item->compacted && item->phase == RESTORE_EVENTS &&
            record->offset > item->from) {
        item->check_first = false; /* compacted away since */
    }
    if (item->check_first) {
        return check_first(restorer, item, record, err);
    }
    if (item->phase == RESTORE_INPUT) {
        code = tally_stream_task_verify(item->task, record, restorer->consumer, err);
        return code ? code : TALLY_FAILPOINT_CODE(RESTORE_VERIFY_EACH, TALLY_STORE_ERROR, err);
    }
    code = tally_stream_task_evolve(item->task, record, err);
    TALLY_FAILPOINT(RESTORE_BATCH_EACH);
    return code;
}

/* What was evolved becomes a run once it is large. First runs have different sizes, so that tasks
 * that begin together do not all wait for the disk together. */
static void commit_large(struct tally_restorer *restorer, struct restoration *item)
{
    const struct tally_task_slot *slot = tally_stream_task_slot(item->task);
    size_t limit = tally_state_append_bytes(restorer->options.state);

    if (!item->staggered) {
        limit = limit * (1 + (size_t)slot->partition % restorer->count) / restorer->count;
    }
    if (item->phase == RESTORE_EVENTS && tally_store_uncommitted(slot->store) >= limit) {
        commit_restored(restorer, item->task);
        item->staggered = true;
    }
}

/* Records that follow each other in one partition. */
static enum tally_code take_records(struct tally_restorer *restorer, struct restoration *item,
        const struct tally_record *records, size_t count, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; i < count && !code; i++) {
        code = take_record(restorer, item, &records[i], err);
    }
    tally_stream_task_evolved(item->task);
    if (item->phase == RESTORE_EVENTS) {
        tally_series_add(item->restored_series, (int64_t)count);
    }
    if (!code) {
        commit_large(restorer, item);
    }
    return code;
}

static size_t find_item(const struct tally_restorer *restorer, const struct tally_record *record)
{
    for (size_t i = 0; i < restorer->count; i++) {
        const struct restoration *item = &restorer->items[i];

        if (record->topic && tally_stream_task_slot(item->task)->partition == record->partition &&
                strcmp(item->topic, record->topic) == 0) {
            return i;
        }
    }
    return restorer->count;
}

/* What no task can be named for; the restore goes on trying. */
static void warn(const char *message, const struct tally_error *err)
{
    static _Thread_local struct tally_log_limit limit;

    if (tally_log_allowed(&limit, 1000)) {
        tally_log_error(TALLY_LOG_WARN, message, err);
    }
}

static enum tally_code reassign(struct tally_restorer *restorer, struct tally_error *err)
{
    struct tally_topic_partition *partitions;
    enum tally_code code = TALLY_OK;

    if (!restorer->consumer) {
        restorer->consumer =
                restorer->options.client->ops->restore_consumer(restorer->options.client,
                        restorer->options.thread, err);
        if (!restorer->consumer) {
            warn("no consumer to restore with; trying again", err);
            return TALLY_UNAVAILABLE;
        }
    }
    partitions = tally_alloc_zero(restorer->count + 1, sizeof partitions[0]);
    for (size_t i = 0; i < restorer->count; i++) {
        partitions[i] = (struct tally_topic_partition){
                .topic = restorer->items[i].topic,
                .partition = tally_stream_task_slot(restorer->items[i].task)->partition,
                .offset = restorer->items[i].next,
        };
    }
    code = restorer->consumer->ops->assign(restorer->consumer, partitions, restorer->count, err);
    restorer->changed = code != TALLY_OK;
    if (code) {
        warn("partitions to restore from not assigned; trying again", err);
    }
    tally_free(partitions);
    return code;
}

/* Whether this phase has read all that it must; moves to the next phase. */
static void advance(struct tally_restorer *restorer, size_t index)
{
    struct restoration *item = &restorer->items[index];
    struct tally_error err = {.code = TALLY_OK};
    int64_t position = restorer->consumer
                               ? restorer->consumer->ops->position(restorer->consumer, item->topic,
                                         tally_stream_task_slot(item->task)->partition)
                               : TALLY_OFFSET_NONE;
    bool done = false;

    if (!restorer->changed && position > item->next) {
        item->next = position; /* control records and aborted data move the position unseen */
    }
    show_progress(item);
    if (item->next < item->stop) {
        return;
    }
    if (item->check_first) {
        (void)tally_error_set(&err, TALLY_TOPIC_RECREATED,
                "%s/%d has no record at %lld, which the state was built from: the topic was "
                "recreated or truncated",
                item->topic, tally_stream_task_slot(item->task)->partition, (long long)item->from);
        fail(restorer, index, &err);
        return;
    }
    if (item->phase == RESTORE_EVENTS) {
        if (tally_store_uncommitted(tally_stream_task_slot(item->task)->store) > 0) {
            commit_restored(restorer, item->task); /* what follows reads */
        }
        done = item->replays;
        if (!done && begin_input(restorer, item, &done, &err)) {
            fail(restorer, index, &err);
            return;
        }
    } else {
        done = true;
    }
    if (done) {
        finish(restorer, index);
    }
}

static void check_hanging(struct tally_restorer *restorer, size_t index)
{
    struct restoration *item = &restorer->items[index];
    int64_t now_ms = tally_mono_ms(restorer->options.clock);
    struct tally_error err = {.code = TALLY_OK};

    if (!restorer->options.client->ops->reachable(restorer->options.client, NULL) ||
            tally_state_full(restorer->options.state)) {
        tally_stillness_reset(&item->stillness); /* something else is in the way */
        return;
    }
    if (tally_stillness_look(&item->stillness, item->next * 2 + (item->phase == RESTORE_INPUT),
                now_ms) > restorer->options.config->transaction_timeout + HANGING_GRACE_MS) {
        (void)tally_error_set(&err, TALLY_HANGING_TRANSACTION,
                "%s/%d cannot be read beyond %lld of %lld: a transaction does not end", item->topic,
                tally_stream_task_slot(item->task)->partition, (long long)item->next,
                (long long)item->stop);
        fail(restorer, index, &err);
    }
}

/* The memory is full. Only runs can be flushed, so where hardly anything is on its way to the disk
 * the task with most writes commits them; then a flush has to make room. */
static void make_room(struct tally_restorer *restorer)
{
    struct tally_state *state = restorer->options.state;
    struct tally_stream_task *largest = NULL;
    size_t most = ROOM_BYTES_MIN;
    int64_t runs = 0;

    for (size_t i = 0; i < restorer->count; i++) {
        struct tally_stream_task *task = restorer->items[i].task;
        size_t bytes = tally_store_uncommitted(tally_stream_task_slot(task)->store);

        if (bytes > most) {
            largest = task;
            most = bytes;
        }
    }
    (void)tally_state_memory(state, NULL, &runs, NULL);
    if (largest && (size_t)runs < tally_state_append_bytes(state)) {
        commit_restored(restorer, largest);
    } else {
        tally_state_wait_room(state, POLL_WAIT_MS);
    }
}

/* Reads what is there, at most a batch; waits for the first record alone. An error belongs to the
 * record behind them, which may say its partition. */
static enum tally_code read_batch(struct tally_restorer *restorer, size_t *count,
        struct tally_record *failed, struct tally_error *err)
{
    struct tally_consumer *consumer = restorer->consumer;

    for (*count = 0; *count < BATCH_RECORDS; ++*count) {
        struct tally_record *record = &restorer->batch[*count];
        enum tally_code code =
                consumer->ops->poll(consumer, *count ? 0 : POLL_WAIT_MS, record, err);

        if (code) {
            *failed = *record;
            return code;
        }
    }
    return TALLY_OK;
}

/* Reacts to what went wrong with the item, or with no item that is known. */
static void handle(struct tally_restorer *restorer, size_t index, enum tally_code code,
        struct tally_error *err)
{
    if (index == restorer->count) {
        warn("restore read failed; trying again", err);
        return;
    }
    if (code == TALLY_STORE_ERROR) { /* begun again, or given up */
        code = tally_stream_task_read_failed(restorer->items[index].task,
                tally_mono_ms(restorer->options.clock), err);
    }
    if (tally_code_reaction(code) >= TALLY_REACT_ABORT) {
        fail(restorer, index, err);
    }
}

/* false: what follows is not to be taken. */
static bool take_batch(struct tally_restorer *restorer, size_t count, struct tally_error *err)
{
    const struct tally_record *batch = restorer->batch;
    size_t end;

    for (size_t at = 0; at < count; at = end) {
        size_t index = find_item(restorer, &batch[at]);
        enum tally_code code;

        for (end = at + 1; end < count && batch[end].topic == batch[at].topic &&
                           batch[end].partition == batch[at].partition;
                end++) {
        }
        if (index == restorer->count) {
            continue; /* of a partition that is no longer wanted */
        }
        code = take_records(restorer, &restorer->items[index], batch + at, end - at, err);
        if (code) {
            handle(restorer, index, code, err);
        }
        if (code || restorer->changed) {
            return false;
        }
    }
    return true;
}

static void release_batch(struct tally_restorer *restorer, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        restorer->consumer->ops->release(restorer->consumer, &restorer->batch[i]);
    }
}

static void poll_records(struct tally_restorer *restorer, int64_t until_ms, struct tally_error *err)
{
    do {
        struct tally_record failed = {.topic = NULL};
        struct tally_error read_error = {.code = TALLY_OK};
        size_t count = 0;
        enum tally_code code;
        bool go_on;

        if (tally_state_full(restorer->options.state)) {
            make_room(restorer);
            return;
        }
        code = read_batch(restorer, &count, &failed, &read_error);
        go_on = take_batch(restorer, count, err);
        release_batch(restorer, count);
        if (go_on && code && code != TALLY_AGAIN) {
            handle(restorer, find_item(restorer, &failed), code, &read_error);
        }
        if (!go_on || restorer->changed || (code && (code != TALLY_AGAIN || count == 0))) {
            return;
        }
    } while (tally_mono_ms(restorer->options.clock) < until_ms);
}

enum tally_code tally_restorer_step(struct tally_restorer *restorer, int64_t budget_ms,
        struct tally_error *err)
{
    int64_t until_ms = tally_mono_ms(restorer->options.clock) + budget_ms;

    for (size_t i = restorer->count; i-- > 0;) {
        advance(restorer, i);
    }
    if (restorer->count > 0 && (!restorer->changed || reassign(restorer, err) == TALLY_OK)) {
        poll_records(restorer, until_ms, err);
    }
    for (size_t i = restorer->count; i-- > 0;) {
        advance(restorer, i);
    }
    for (size_t i = restorer->count; i-- > 0;) {
        check_hanging(restorer, i);
    }
    if (restorer->count == 0 && restorer->consumer) {
        restorer->consumer->ops->destroy(restorer->consumer);
        restorer->consumer = NULL;
        restorer->changed = false;
    }
    return TALLY_OK;
}
