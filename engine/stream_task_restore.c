/* engine/stream_task_restore.c - a task in a restore: events evolved as the live path did, and
 * what was consumed without an event accounted for by the live path's own predicates. */
#include "engine/base/hash.h"
#include "engine/stream_task_internal.h"

/* What `tally reset` has noted says that other records stand there now. */
static void note_proof(struct tally_stream_task *task, const struct tally_event *event)
{
    bool noted = tally_slice_starts(event->command_id, TALLY_SLICE(TALLY_RESET_ID));

    if (event->command_offset + 1 == task->next.in_next) {
        task->proof_offset = noted ? TALLY_OFFSET_NONE : event->command_offset;
        task->proof_key = event->key;
        task->proof_id = event->command_id;
        if (noted) {
            task->next.in_last = TALLY_OFFSET_NONE;
        }
    }
}

/* PARTITIONS_CHANGED: a key of another partition is none that this task has decided. */
static enum tally_code check_key(const struct tally_stream_task *task,
        const struct tally_event *event, struct tally_error *err)
{
    const struct tally_schema *const *types = task->aggregate->command_types;
    int32_t home = tally_partition_of(event->key, task->options.partitions);

    if (home == task->partition ||
            (event->command_id.len > 0 && event->command_id.data[0] == '~')) {
        return TALLY_OK;
    }
    for (size_t i = 0; types[i]; i++) {
        if (types[i]->broadcast &&
                tally_slice_equal(tally_slice_string(types[i]->name), event->outcome.command)) {
            return TALLY_OK;
        }
    }
    return tally_error_set(err, TALLY_PARTITIONS_CHANGED,
            "the event of command offset %lld has a key of partition %d of %d: the topics got "
            "more partitions",
            (long long)event->command_offset, (int)home, (int)task->options.partitions);
}

enum tally_code stream_task_foreign(struct tally_stream_task *task,
        const struct tally_record *record, struct tally_error *err)
{
    tally_series_add(task->foreign_series, 1);
    return task->options.strict
                   ? tally_error_set(err, TALLY_EVENT_UNKNOWN,
                             "%s/%d@%lld is no record of %s: another program has written there, "
                             "or the topic is not the one of this topology",
                             record->topic, (int)record->partition, (long long)record->offset,
                             task->name)
                   : TALLY_OK;
}

enum tally_code tally_stream_task_evolve(struct tally_stream_task *task,
        const struct tally_record *record, struct tally_error *err)
{
    struct tally_event event;
    enum tally_code code;

    if (task->projection) {
        return stream_task_project_restore(task, record, err);
    }
    code = tally_event_decode(record->value, record->key, task->aggregate->name, task->partition,
            task->aggregate->event_types, &task->batch, &event, err);
    code = code ? code : check_key(task, &event, err);
    if (code == TALLY_OK) {
        stream_task_apply(task, &event, CONTEXT_RESTORE);
        task->next.out_last = record->offset;
        task->evolved = record;
        if (event.command_offset >= task->next.in_next) {
            task->next.in_next = event.command_offset + 1;
            task->next.in_last = TALLY_OFFSET_NONE;
        }
        note_proof(task, &event);
    } else if (code == TALLY_NOT_FOUND || code == TALLY_BAD_RECORD) {
        code = stream_task_foreign(task, record, err);
    } else {
        tally_error_context(err, "%s/%d@%lld", tally_topology_events(task->topology),
                (int)task->partition, (long long)record->offset);
    }
    tally_arena_reset(&task->batch, BATCH_KEEP_BYTES);
    return code;
}

void tally_stream_task_evolved(struct tally_stream_task *task)
{
    if (task->evolved) {
        task->next.out_crc = tally_stream_task_crc(task->evolved);
        task->evolved = NULL;
    }
    if (task->proof_id.data) {
        task->proof_crc = tally_crc32c(tally_crc32c(0, task->proof_key), task->proof_id);
        task->proof_key = task->proof_id = TALLY_NONE;
    }
}

bool tally_stream_task_has_proof(const struct tally_stream_task *task)
{
    return task->proof_offset >= 0 && task->proof_offset + 1 == task->next.in_next;
}

bool tally_stream_task_prove(struct tally_stream_task *task, const struct tally_record *record,
        struct tally_consumer *consumer)
{
    struct tally_header header = {.name = TALLY_NONE};
    struct tally_command command;
    bool same;

    if (!record->key.data && !record->value.data) { /* what a reset has filled up with */
        return consumer->ops->headers(consumer, record, &header, 1) > 0 &&
               tally_slice_equal(header.name, TALLY_SLICE(TALLY_RESET_HEADER));
    }
    same = tally_stream_task_decides(task->topology, record, task->options.partitions, &task->batch,
                   &command) &&
           tally_crc32c(tally_crc32c(0, command.key), command.id) == task->proof_crc;
    tally_arena_reset(&task->batch, BATCH_KEEP_BYTES);
    return same;
}

static void drop_decision(void *owner, struct tally_context *ctx, const struct tally_event *event)
{
    (void)owner;
    (void)ctx;
    (void)event;
}

/* Whether the live path gave the command up because its event was too large: decided once more,
 * with the state that it had, since no event came after it. Nothing of it goes anywhere. */
static enum tally_code was_too_large(struct tally_stream_task *task, const struct batch_item *item,
        struct tally_consumer *consumer, bool *yes, struct tally_error *err)
{
    struct tally_context ctx;

    stream_task_context_decide(task, &ctx, item, consumer);
    ctx.collector = tally_collector_create(task->options.client); /* for what decide sends */
    ctx.decided = drop_decision;
    stream_task_decide(&ctx, &item->command);
    tally_collector_destroy(ctx.collector);
    *yes = stream_task_is_too_large(task, &ctx);
    if (ctx.code) {
        *err = ctx.err;
    }
    return ctx.code;
}

enum tally_code tally_stream_task_verify(struct tally_stream_task *task,
        const struct tally_record *record, struct tally_consumer *consumer, struct tally_error *err)
{
    struct batch_item item = {.kind = BATCH_SKIP};
    struct tally_outcome outcome;
    enum tally_code code = TALLY_OK;
    bool too_large = false;

    stream_task_route(task, record, consumer, &item);
    if (item.kind == BATCH_DECIDE) {
        stream_task_set_dedup(task, &item);
        code = stream_task_find_outcome(task, &item, task->next.decision_time, &outcome, err);
        if (code == TALLY_NOT_FOUND) {
            code = was_too_large(task, &item, consumer, &too_large, err);
            if (!code && !too_large) {
                code = tally_error_set(err, TALLY_EVENTS_LOST,
                        "%s/%d@%lld was consumed but has no event and no earlier outcome",
                        record->topic, record->partition, (long long)record->offset);
            }
            if (code == TALLY_EVENTS_LOST && !task->keeps_outcomes) {
                tally_error_context(err, "dedup.retention is 0, and a repeat from before looks so");
            }
        }
    }
    if (!code) {
        task->next.in_last = record->offset;
        task->next.in_crc = tally_stream_task_crc(record);
    }
    tally_arena_reset(&task->batch, BATCH_KEEP_BYTES);
    return code;
}
