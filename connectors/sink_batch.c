/* connectors/sink_batch.c - the batch of a sink: records, decoded once, and how they get written.
 * Invariants
 *  (1) A position moves past a record only once its rows are written, or its dead letter is
 *      acknowledged, or it is foreign.
 *  (2) A batch ends at sink.batch.records or sink.fetch.memory, whatever comes first; there is no
 *      queue behind it but librdkafka's, which is as large.
 *  (3) Of a refused part only single records are buried, and never more than REFUSED_MAX in a row
 *      without one that was written: a target that refuses everything is out of order, and the
 *      records are not to blame.
 *  (4) Records are the consumer's until the batch is dropped.
 *  (5) A batch may be under way to the target while the next one is read: one, and it is settled
 *      before anything else is put. Where something has failed, none is.
 * @thread owner */
#include "connectors/sink_internal.h"

#include "engine/base/failpoint.h"
#include "engine/base/log.h"

enum {
    ITEMS_FIRST = 64,
    ARENA_BLOCK = 64 * 1024,
    ARENA_KEEP = 1024 * 1024,
    MESSAGE_BYTES = 320, /* librdkafka's own for each record */
    TRIAL_RECORDS = 100, /* what a target that was down is tried with */
    REFUSED_MAX = 100,
};

void sink_batch_init(struct tally_sink_task *task)
{
    tally_arena_init(&task->arena, ARENA_BLOCK);
    task->positions = tally_alloc_zero(task->partition_count + 1, sizeof *task->positions);
}

void sink_batch_deinit(struct tally_sink_task *task)
{
    tally_assert(task->count == 0);
    tally_free(task->items);
    tally_free(task->records);
    tally_free(task->positions);
    tally_arena_deinit(&task->arena);
}

/* --- collecting --- */

static void grow(struct tally_sink_task *task)
{
    if (task->count < task->capacity) {
        return;
    }
    task->capacity = task->capacity ? task->capacity * 2 : ITEMS_FIRST;
    task->items = tally_realloc(task->items, task->capacity * sizeof *task->items);
    task->records = tally_realloc(task->records, task->capacity * sizeof *task->records);
}

static void decode(struct tally_sink_task *task, struct sink_item *item)
{
    const struct tally_sink_source *source = item->partition->source;
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code =
            tally_event_decode(item->record.value, item->record.key, source->topology,
                    item->record.partition, source->types, &task->arena, &item->event, &err);

    if (!code) {
        item->kind = SINK_ITEM_EVENT;
        item->event.key = item->record.key;
        return;
    }
    item->kind = code == TALLY_NOT_FOUND ? SINK_ITEM_FOREIGN : SINK_ITEM_POISON;
    if (item->kind == SINK_ITEM_POISON) {
        item->code = code;
        item->reason = (const char *)tally_arena_copy(&task->arena,
                tally_slice_of(err.message, strlen(err.message) + 1))
                               .data;
    }
}

void sink_batch_add(struct tally_sink_task *task, struct sink_partition *partition,
        const struct tally_record *record)
{
    struct sink_item *item;
    size_t decoded = task->arena.used;

    grow(task);
    item = &task->items[task->count++];
    *item = (struct sink_item){.record = *record, .partition = partition};
    decode(task, item);
    task->bytes += task->arena.used - decoded + record->key.len + record->value.len + sizeof *item +
                   sizeof *task->records + MESSAGE_BYTES;
    partition->next = record->offset + 1;
    partition->seen = true;
}

bool sink_batch_full(const struct tally_sink_task *task)
{
    const struct tally_config *config = task->options.config;
    int64_t records = config->sink_batch_records;

    if (task->breaker.state == TALLY_BREAKER_HALF_OPEN && records > TRIAL_RECORDS) {
        records = TRIAL_RECORDS;
    }
    return task->count >= (size_t)records || task->bytes >= (size_t)config->sink_fetch_memory;
}

void sink_batch_drop(struct tally_sink_task *task)
{
    for (size_t i = 0; i < task->count; i++) {
        task->consumer->ops->release(task->consumer, &task->items[i].record);
    }
    task->count = 0;
    task->bytes = 0;
    task->generation++;
    tally_arena_reset(&task->arena, ARENA_KEEP);
}

/* --- writing --- */

/* Offsets behind the items, and at the end of the batch behind what no reader is shown. Without
 * items: of all partitions. */
static size_t positions_behind(struct tally_sink_task *task, size_t from, size_t count)
{
    bool last = from + count == task->count;
    size_t positions = 0;

    for (size_t i = 0; i < task->partition_count; i++) {
        struct sink_partition *partition = &task->partitions[i];

        partition->behind = TALLY_OFFSET_NONE;
        if (last && partition->owned) {
            partition->behind = sink_group_position(task, partition);
        }
    }
    for (size_t i = from; i < from + count && !last; i++) {
        task->items[i].partition->behind = task->items[i].record.offset + 1;
    }
    for (size_t i = 0; i < task->partition_count; i++) {
        const struct sink_partition *partition = &task->partitions[i];

        if (partition->behind > partition->written || (count == 0 && partition->behind >= 0)) {
            task->positions[positions++] =
                    (struct tally_topic_partition){.topic = partition->source->topic,
                            .partition = partition->partition,
                            .offset = partition->behind};
        }
    }
    return positions;
}

static enum tally_code bury(struct tally_sink_task *task, struct sink_item *item,
        struct tally_error *err)
{
    struct tally_error reason = {.code = TALLY_OK};

    (void)tally_error_set(&reason, item->code, "%s", item->reason);
    return sink_letter_bury(task, item, &reason, err);
}

/* What of these items the sink shall have, into task->records. */
static enum tally_code choose(struct tally_sink_task *task, size_t from, size_t count,
        size_t *chosen, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    *chosen = 0;
    for (size_t i = from; i < from + count && !code; i++) {
        struct sink_item *item = &task->items[i];

        if (item->kind == SINK_ITEM_POISON) {
            code = bury(task, item, err);
        } else if (item->kind == SINK_ITEM_EVENT) {
            task->records[(*chosen)++] = (struct tally_sink_record){
                    .topology = item->partition->source->topology,
                    .topic = item->partition->source->topic,
                    .partition = item->record.partition,
                    .offset = item->record.offset,
                    .timestamp_ms = item->record.timestamp_ms,
                    .event = &item->event,
            };
        }
    }
    return code;
}

static void note_written(struct tally_sink_task *task, size_t chosen)
{
    for (size_t i = 0; i < task->partition_count; i++) {
        struct sink_partition *partition = &task->partitions[i];

        if (partition->behind > partition->written) {
            partition->written = partition->behind;
        }
    }
    tally_series_add(task->series.written, (int64_t)chosen);
    tally_series_add(task->series.ok, 1);
    tally_mutex_lock(&task->mutex);
    task->info.records += (int64_t)chosen;
    task->info.batches++;
    tally_mutex_unlock(&task->mutex);
}

/* Waits until the part that was flushed last is written. */
static enum tally_code land(struct tally_sink_task *task, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    task->flying = false;
    if (task->sink->ops->settle) {
        code = task->sink->ops->settle(task->sink, err);
    }
    code = code ? code : TALLY_FAILPOINT_CODE(SINK_WRITTEN, TALLY_UNAVAILABLE, err);
    if (!code) {
        note_written(task, task->flown);
        tally_series_observe_us(task->series.flush,
                tally_mono_us(task->options.clock) - task->flown_us);
    } else {
        tally_series_add(task->series.failed, 1);
    }
    return code;
}

enum tally_code sink_batch_settle(struct tally_sink_task *task, struct tally_error *err)
{
    enum tally_code code = task->flying ? land(task, err) : TALLY_OK;

    if (code == TALLY_SINK_REFUSED) {
        task->careful = true;
        code = TALLY_AGAIN;
    }
    return code;
}

/* One try: rows of these items, and the positions behind them; flies then. */
static enum tally_code send_part(struct tally_sink_task *task, size_t from, size_t count,
        size_t *chosen, struct tally_error *err)
{
    size_t positions;
    enum tally_code code;

    task->flown_us = tally_mono_us(task->options.clock);
    code = choose(task, from, count, chosen, err);
    if (code) {
        return code;
    }
    positions = positions_behind(task, from, count);
    code = TALLY_FAILPOINT_CODE(SINK_PUT_BEFORE, TALLY_UNAVAILABLE, err);
    if (!code && *chosen > 0) {
        code = task->sink->ops->put(task->sink, task->records, *chosen, err);
    }
    code = code ? code : TALLY_FAILPOINT_CODE(SINK_PUT_AFTER, TALLY_UNAVAILABLE, err);
    code = code ? code : task->sink->ops->flush(task->sink, task->positions, positions, err);
    task->flown = *chosen;
    task->flying = code == TALLY_OK;
    if (code) {
        tally_series_add(task->series.failed, 1);
    }
    return code;
}

/* Whether more may be read while the target works on the batch. */
static bool may_fly(const struct tally_sink_task *task, size_t chosen)
{
    return task->sink->ops->settle && !task->careful && chosen > 0 && !task->failure &&
           task->breaker.state == TALLY_BREAKER_CLOSED;
}

static void count_foreign(struct tally_sink_task *task)
{
    int64_t foreign = 0;

    for (size_t i = 0; i < task->count; i++) {
        foreign += task->items[i].kind == SINK_ITEM_FOREIGN;
    }
    if (foreign > 0) {
        tally_series_add(task->series.foreign, foreign);
    }
}

/* The one record of a part that was refused. */
static enum tally_code bury_refused(struct tally_sink_task *task, struct sink_item *item,
        struct tally_error *err)
{
    struct tally_error reason = *err;

    if (task->refused_in_row >= REFUSED_MAX) {
        tally_error_context(err,
                "%d records in a row were refused, none was written: look into %.80s, then `tally "
                "sink resume %s`",
                REFUSED_MAX, task->dead_letters, task->name);
        return TALLY_SINK_REFUSED;
    }
    task->refused_in_row++;
    return sink_letter_bury(task, item, &reason, err);
}

enum tally_code sink_batch_write(struct tally_sink_task *task, struct tally_error *err)
{
    uint64_t generation = task->generation;
    size_t at = 0, size = task->count;
    enum tally_code code = sink_batch_settle(task, err);

    if (code) {
        return code;
    }
    task->writing = true;
    do {
        size_t count = task->count - at < size ? task->count - at : size;
        size_t chosen = 0;

        code = send_part(task, at, count, &chosen, err);
        if (!code && (count < task->count || !may_fly(task, chosen))) {
            code = land(task, err);
            task->careful = task->careful && (code || chosen == 0);
        }
        if (!code) {
            task->refused_in_row = chosen > 0 ? 0 : task->refused_in_row;
            at += count;
            size = 2 * size < task->count ? 2 * size : task->count;
        } else if (code == TALLY_SINK_REFUSED && chosen > 0) {
            code = count == 1 ? bury_refused(task, &task->items[at], err) : TALLY_OK;
            size = (count + 1) / 2;
            code = code ? code : sink_task_reopen(task, err);
        }
        if (!code && generation != task->generation) {
            code = TALLY_AGAIN; /* what is left is somebody else's */
        }
    } while (!code && at < task->count);
    task->writing = false;
    if (!code) {
        count_foreign(task);
        sink_batch_drop(task);
    }
    return code;
}

enum tally_code sink_batch_write_once(struct tally_sink_task *task, struct tally_error *err)
{
    size_t chosen = 0;
    enum tally_code code = sink_batch_settle(task, err);

    task->writing = true;
    if (!code && task->count > 0) {
        code = send_part(task, 0, task->count, &chosen, err);
        code = code ? code : land(task, err);
    }
    task->writing = false;
    if (!code) {
        count_foreign(task);
    }
    sink_batch_drop(task);
    return code;
}
