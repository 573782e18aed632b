/* engine/stream_task_project.c - the task of a projection: events in, rows and their changelog out.
 * A batch: decode every event -> touch and prefetch all keys with one multi-get -> apply each.
 * Invariants
 *  (1) A transaction that moves the task ends, at c1, with the rows it has written, the last of
 *      each key, and a position record behind them: what the changelog says was consumed is exact.
 *  (2) A task that has no position record yet writes one with the first transaction of its thread,
 *      moved or not, because that carries its offset: a group with an offset has a record.
 *  (3) The key of a changelog record is the store key; the position record's begins with 0, as no
 *      store's does, so compaction keeps the newest of each.
 *  (4) Rows of windows that are past their retention are deleted at c1, like any row.
 * Value of the position record: format u8, version of the projection u32, next input offset, last
 * one i64, its CRC32C u32, stream time i64; big-endian. */
#include "engine/base/failpoint.h"
#include "engine/base/hash.h"
#include "engine/base/log.h"
#include "engine/stream_task_internal.h"

#define POSITION_KEY "\0position"
enum {
    POSITION_FORMAT = 1,
    POSITION_LEN = 1 + 4 + 8 + 8 + 4 + 8,
    EXPIRED_ROWS_MAX = 10000, /* in one transaction, so that it stays short; the next goes on */
    LATE_LOG_MS = 60000,
};

/* One record of a batch. */
struct projected {
    struct tally_event event;
    bool applies; /* a fact that is to be applied */
};

void stream_task_project_init(struct tally_stream_task *task)
{
    const struct tally_window *windows;
    size_t count = tally_topology_windows(task->topology, &windows);

    task->windows_from = tally_alloc_zero(count + 1, sizeof task->windows_from[0]);
}

void stream_task_project_deinit(struct tally_stream_task *task)
{
    tally_free(task->windows_from);
    tally_free(task->projected);
}

void stream_task_project_forget(struct tally_stream_task *task)
{
    const struct tally_window *windows;
    size_t count = task->projection ? tally_topology_windows(task->topology, &windows) : 0;

    for (size_t i = 0; i < count; i++) {
        task->windows_from[i] = 0;
    }
}

/* --- one batch -------------------------------------------------------------------------------- */

/* Foreign records are counted and not applied; codes of what halts the task. */
static enum tally_code decode(struct tally_stream_task *task, const struct tally_record *record,
        struct projected *item, struct tally_error *err)
{
    enum tally_code code = tally_event_decode(record->value, record->key, task->projection->source,
            task->partition, task->projection->event_types, &task->batch, &item->event, err);

    item->applies = code == TALLY_OK && item->event.schema;
    if (code == TALLY_NOT_FOUND || code == TALLY_BAD_RECORD) {
        tally_series_add(task->foreign_series, 1);
        return TALLY_OK;
    }
    if (code) {
        tally_error_context(err, "%s/%d@%lld", record->topic, (int)record->partition,
                (long long)record->offset);
    }
    return code;
}

/* As the batch's records are consumed in order, those before `from` were consumed before. */
static enum tally_code decode_batch(struct tally_stream_task *task,
        const struct tally_record *records, size_t count, struct tally_error *err)
{
    int64_t from = task->next.in_next;
    enum tally_code code = TALLY_OK;

    task->touch.count = 0;
    task->touch.store = task->slot->store;
    for (size_t i = 0; i < count && !code; i++) {
        struct projected *item = &task->projected[i];

        item->applies = false;
        if (records[i].offset < from) {
            continue;
        }
        from = records[i].offset + 1;
        code = decode(task, &records[i], item, err);
        if (item->applies) {
            task->projection->touch(&task->touch, &item->event);
        }
    }
    return code;
}

static void note_late(void *owner, const struct tally_window *window, int64_t time_ms)
{
    static _Thread_local struct tally_log_limit limit;
    struct tally_stream_task *task = owner;

    tally_series_add(tally_series_of(TALLY_METRIC_LATE_EVENTS, tally_topology_name(task->topology),
                             window->name),
            1);
    if (tally_log_allowed(&limit, LATE_LOG_MS)) {
        tally_log(TALLY_LOG_WARN, "late event is not counted: its window is closed",
                TALLY_LOG_STR("task", task->name), TALLY_LOG_STR("window", window->name),
                TALLY_LOG_INT("time", time_ms),
                TALLY_LOG_INT("stream_time", task->next.decision_time));
    }
}

static enum tally_code apply(struct tally_stream_task *task, const struct tally_event *event,
        struct tally_error *err)
{
    struct tally_context ctx;

    if (event->time_ms > task->next.decision_time) {
        task->next.decision_time = event->time_ms;
    }
    stream_task_context(task, &ctx, CONTEXT_APPLY);
    ctx.time_ms = event->time_ms;
    ctx.stream_time_ms = task->next.decision_time;
    ctx.owner = task;
    ctx.late = note_late;
    task->projection->apply(&ctx, event);
    if (ctx.code) {
        *err = ctx.err;
    }
    return ctx.code;
}

static enum tally_code apply_batch(struct tally_stream_task *task,
        const struct tally_record *records, size_t count, struct tally_error *err)
{
    enum tally_code code = tally_store_prefetch(task->slot->store, task->touch.keys,
            task->touch.count, task->touch.absent, err);

    for (size_t i = 0; i < count && !code; i++) {
        if (records[i].offset < task->next.in_next) {
            continue;
        }
        tally_log_position(records[i].topic, records[i].partition, records[i].offset);
        if (task->projected[i].applies) {
            code = apply(task, &task->projected[i].event, err);
        }
        if (!code) {
            task->next.in_next = records[i].offset + 1;
            stream_task_note_append_time(task, records[i].timestamp_ms);
        } else {
            tally_error_context(err, "%s@%lld", task->name, (long long)records[i].offset);
        }
    }
    return code;
}

enum tally_code stream_task_project(struct tally_stream_task *task,
        const struct tally_record *records, size_t count, struct tally_error *err)
{
    const struct tally_record *last = &records[count - 1];
    enum tally_code code;

    if (count > task->projected_capacity) {
        task->projected_capacity = count;
        task->projected = tally_realloc(task->projected, count * sizeof task->projected[0]);
    }
    tally_log_task(task->name);
    code = decode_batch(task, records, count, err);
    code = code ? code : apply_batch(task, records, count, err);
    if (!code && last->offset + 1 == task->next.in_next) {
        task->next.in_last = last->offset;
        task->next.in_crc = tally_stream_task_crc(last);
    }
    task->read_failures = code ? task->read_failures : 0;
    tally_series_add(task->polled_series, (int64_t)count);
    tally_arena_reset(&task->batch, BATCH_KEEP_BYTES);
    tally_log_task(NULL);
    return code;
}

/* --- windows ---------------------------------------------------------------------------------- */

/* Deletes rows whose windows start before `before`; *all: there are no more of them. */
static enum tally_code delete_before(struct tally_stream_task *task, uint8_t number, int64_t before,
        bool *all, struct tally_error *err)
{
    const enum tally_store_id *stores;
    struct tally_slice key, value, *expired;
    struct tally_key lower, upper;
    struct tally_iterator *iterator;
    enum tally_code code = TALLY_OK;
    size_t count = 0;

    (void)tally_topology_stores(task->topology, &stores);
    tally_key_window(&lower, stores[0], number, task->windows_from[number]);
    tally_key_window(&upper, stores[0], number, before);
    expired = tally_arena_alloc(&task->batch, EXPIRED_ROWS_MAX * sizeof expired[0]);
    iterator = tally_store_iterate(task->slot->store, tally_key_bytes(&lower),
            tally_key_bytes(&upper), false);
    while (count < EXPIRED_ROWS_MAX && tally_iterator_next(iterator, &key, &value, &code, err)) {
        expired[count++] = tally_arena_copy(&task->batch, key);
    }
    tally_iterator_destroy(iterator);
    for (size_t i = 0; i < count && !code; i++) {
        tally_store_delete(task->slot->store, expired[i]);
    }
    *all = count < EXPIRED_ROWS_MAX;
    return code;
}

static enum tally_code expire_windows(struct tally_stream_task *task, struct tally_error *err)
{
    const struct tally_window *windows;
    size_t count = tally_topology_windows(task->topology, &windows);
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; i < count && !code; i++) {
        int64_t before = tally_window_start(task->next.decision_time - windows[i].retention_ms,
                windows[i].size_ms);
        bool all = false;

        if (before <= task->windows_from[i]) {
            continue;
        }
        code = delete_before(task, (uint8_t)i, before, &all, err);
        if (!code && all) {
            task->windows_from[i] = before;
        }
    }
    tally_arena_reset(&task->batch, BATCH_KEEP_BYTES);
    return code;
}

/* --- the changelog ---------------------------------------------------------------------------- */

static void add_record(struct tally_stream_task *task, struct tally_slice key,
        struct tally_slice value)
{
    struct tally_arena *arena = tally_collector_arena(task->options.collector);
    struct tally_produce produce = {
            .key = tally_arena_copy(arena, key),
            .value = value.data ? tally_arena_copy(arena, value) : TALLY_NONE,
            .delivery = &task->delivery,
    };

    tally_collector_add(task->options.collector, tally_topology_output(task->topology),
            task->partition, &produce);
    task->last_event_key = produce.key;
    task->last_event_value = produce.value;
}

static void add_row(void *context, struct tally_slice key, struct tally_slice value)
{
    add_record(context, key, value);
}

static void add_position(struct tally_stream_task *task)
{
    uint8_t bytes[POSITION_LEN];

    bytes[0] = POSITION_FORMAT;
    tally_put_u32(bytes + 1, task->projection->version);
    tally_put_u64(bytes + 5, (uint64_t)task->next.in_next);
    tally_put_u64(bytes + 13, (uint64_t)task->next.in_last);
    tally_put_u32(bytes + 21, task->next.in_crc);
    tally_put_u64(bytes + 25, (uint64_t)task->next.decision_time);
    add_record(task, tally_slice_of(POSITION_KEY, sizeof POSITION_KEY - 1),
            tally_slice_of(bytes, sizeof bytes));
}

enum tally_code stream_task_project_finish(struct tally_stream_task *task, bool *added,
        struct tally_error *err)
{
    enum tally_code code;

    if (task->next.in_next == task->committed.in_next && task->committed.out_last >= 0) {
        return TALLY_OK;
    }
    code = expire_windows(task, err);
    if (!code) {
        tally_store_written_rows(task->slot->store, add_row, task);
        add_position(task);
        *added = true;
    }
    return code;
}

/* --- restore ---------------------------------------------------------------------------------- */

static bool is_position(const struct tally_record *record)
{
    return tally_slice_equal(record->key, tally_slice_of(POSITION_KEY, sizeof POSITION_KEY - 1));
}

bool tally_stream_task_position(const struct tally_record *record,
        struct tally_positions *positions, uint32_t *version)
{
    const uint8_t *at = record->value.data;

    if (!is_position(record) || record->value.len != POSITION_LEN || at[0] != POSITION_FORMAT) {
        return false;
    }
    *version = tally_read_u32(at + 1);
    positions->in_next = (int64_t)tally_read_u64(at + 5);
    positions->in_last = (int64_t)tally_read_u64(at + 13);
    positions->in_crc = tally_read_u32(at + 21);
    positions->decision_time = (int64_t)tally_read_u64(at + 25);
    return true;
}

static enum tally_code restore_position(struct tally_stream_task *task,
        const struct tally_record *record, struct tally_error *err)
{
    struct tally_positions positions = task->next;
    uint32_t version;

    if (!tally_stream_task_position(record, &positions, &version)) {
        return tally_error_set(err, TALLY_EVENT_UNKNOWN, "position record of an unknown form");
    }
    if (version != task->projection->version) {
        return tally_error_set(err, TALLY_CHANGELOG_OUTDATED,
                "the changelog has rows of version %u, this release makes version %u", version,
                task->projection->version);
    }
    task->next = positions;
    return TALLY_OK;
}

static bool is_row(const struct tally_stream_task *task, const struct tally_record *record)
{
    const enum tally_store_id *stores;

    (void)tally_topology_stores(task->topology, &stores);
    return record->key.len > 1 && record->key.len <= TALLY_KEY_MAX &&
           record->key.data[0] == tally_store_byte(stores[0]) && record->value.len <= TALLY_ROW_MAX;
}

enum tally_code stream_task_project_restore(struct tally_stream_task *task,
        const struct tally_record *record, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    if (is_position(record)) {
        code = restore_position(task, record, err);
    } else if (!is_row(task, record)) {
        return stream_task_foreign(task, record, err);
    } else if (record->value.data) {
        tally_store_append(task->slot->store, record->key, record->value);
    } else {
        tally_store_append_deletion(task->slot->store, record->key);
    }
    if (code) {
        tally_error_context(err, "%s/%d@%lld", record->topic, (int)record->partition,
                (long long)record->offset);
        return code;
    }
    task->next.out_last = record->offset;
    task->evolved = record;
    return TALLY_OK;
}
