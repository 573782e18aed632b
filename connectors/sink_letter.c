/* connectors/sink_letter.c - the dead letters of a sink: records that its target can never take.
 * A letter is the record as it was, key, value and headers, with headers behind them that say why
 * and where it stood, as those of the engine's dead letters do (engine/stream_task_route.c).
 * Invariants
 *  (1) The broker has acknowledged the letter before the position moves past its record.
 *  (2) So a death in between makes a second letter of the same record, and never none.
 * @thread owner */
#include "connectors/sink_internal.h"

#include <stdio.h>

#include "engine/base/log.h"

enum { LETTER_HEADERS = 9, PUBLISH_TIMEOUT_MS = 10000, LOG_EVERY_MS = 1000 };

static struct tally_header header(struct tally_sink_task *task, const char *name, const char *text)
{
    return (struct tally_header){.name = tally_slice_string(name),
            .value = tally_arena_copy(&task->arena, tally_slice_string(text))};
}

static size_t add_reasons(struct tally_sink_task *task, const struct sink_item *item,
        const struct tally_error *reason, struct tally_header *headers)
{
    const struct tally_record *record = &item->record;
    const char *stage = item->kind == SINK_ITEM_POISON ? "decode" : "write";
    char partition[16], offset[24], time[TALLY_TIME_LEN + 1];
    size_t count = 0;

    (void)snprintf(partition, sizeof partition, "%d", record->partition);
    (void)snprintf(offset, sizeof offset, "%lld", (long long)record->offset);
    tally_format_time(record->timestamp_ms > 0 ? record->timestamp_ms : 0, time);
    headers[count++] = header(task, "__streams.errors.exception", tally_code_name(reason->code));
    headers[count++] = header(task, "__streams.errors.message", reason->message);
    headers[count++] = header(task, "__streams.errors.stacktrace", stage);
    headers[count++] = header(task, "__streams.errors.topic", record->topic);
    headers[count++] = header(task, "__streams.errors.partition", partition);
    headers[count++] = header(task, "__streams.errors.offset", offset);
    headers[count++] = header(task, "tally.attempt", "1");
    headers[count++] = header(task, "tally.first-failed-at", time);
    headers[count++] = header(task, "tally.task", task->name);
    return count;
}

static void log_letter(const struct tally_sink_task *task, const struct sink_item *item,
        const struct tally_error *reason)
{
    static _Thread_local struct tally_log_limit limit;

    if (tally_log_allowed(&limit, LOG_EVERY_MS)) {
        tally_log(TALLY_LOG_WARN, "event sent to the dead letters of a sink",
                TALLY_LOG_STR("sink", task->name), TALLY_LOG_STR("topic", item->record.topic),
                TALLY_LOG_INT("partition", item->record.partition),
                TALLY_LOG_INT("offset", item->record.offset),
                TALLY_LOG_STR("reason", tally_code_name(reason->code)),
                TALLY_LOG_STR("detail", reason->message),
                TALLY_LOG_STR("dead_letters", task->dead_letters));
    }
}

enum tally_code sink_letter_bury(struct tally_sink_task *task, struct sink_item *item,
        const struct tally_error *reason, struct tally_error *err)
{
    const struct tally_record *record = &item->record;
    size_t own = task->consumer->ops->headers(task->consumer, record, NULL, 0), count;
    struct tally_header *headers =
            tally_arena_alloc(&task->arena, (own + LETTER_HEADERS) * sizeof *headers);
    int32_t partition = -1;
    int64_t offset = TALLY_OFFSET_NONE;
    enum tally_code code;

    (void)task->consumer->ops->headers(task->consumer, record, headers, own);
    count = own + add_reasons(task, item, reason, headers + own);
    code = task->options.client->ops->publish(task->options.client, task->dead_letters, record->key,
            record->value, headers, count, PUBLISH_TIMEOUT_MS, &partition, &offset, err);
    if (code) {
        tally_error_context(err, "dead letter of %s/%d@%lld", record->topic, (int)record->partition,
                (long long)record->offset);
        return code;
    }
    item->kind = SINK_ITEM_BURIED;
    tally_series_add(task->series.dead, 1);
    tally_series_add(tally_series_of(TALLY_METRIC_DEAD_LETTERS, record->topic,
                             tally_code_name(reason->code)),
            1);
    tally_mutex_lock(&task->mutex);
    task->info.dead_letters++;
    tally_mutex_unlock(&task->mutex);
    log_letter(task, item, reason);
    return TALLY_OK;
}
