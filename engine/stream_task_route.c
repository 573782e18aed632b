/* engine/stream_task_route.c - what an input record is, before anything is decided: a command of
 * this partition, a command to forward, or a dead letter; and the records that the last two make.
 * Nothing here depends on state, so restore's verify mode routes as the live path did. */
#include "engine/base/failpoint.h"
#include "engine/base/hash.h"
#include "engine/base/log.h"
#include "engine/stream_task_internal.h"

#include <stdio.h>

#define CUT_HEADER "tally.cut"
enum {
    LOG_EVERY_MS = 60000,
    DEAD_LETTER_HEADERS = 10, /* that are added at most */
    CUT_KEY_MAX = 4096,
    CUT_VALUE_MAX = 32768
};

static void make_dead(struct batch_item *item, enum tally_refusal refusal, const char *stage,
        const char *reason)
{
    item->kind = BATCH_DEAD;
    item->refusal = refusal;
    item->stage = stage;
    item->reason = reason;
}

/* The mark stands behind all other headers, however many a sender has put there. */
static bool was_forwarded(struct tally_stream_task *task, struct tally_consumer *consumer,
        const struct tally_record *record)
{
    size_t count = consumer->ops->headers(consumer, record, NULL, 0);
    struct tally_header *headers = tally_arena_alloc(&task->batch, count * sizeof headers[0] + 1);

    (void)consumer->ops->headers(consumer, record, headers, count);
    for (size_t i = 0; i < count; i++) {
        if (tally_slice_equal(headers[i].name, TALLY_SLICE(FORWARDED_HEADER))) {
            return true;
        }
    }
    return false;
}

/* KEY_MISMATCH unless the record's key is the one that the command's key field asks for. */
static bool check_key(struct tally_arena *arena, struct batch_item *item)
{
    struct tally_slice expected;

    if (item->record->key.data == NULL || item->record->key.len == 0) {
        make_dead(item, TALLY_REFUSAL_KEY_MISMATCH, "route", "the record has no key");
        return false;
    }
    if (item->record->key.len > TALLY_RECORD_KEY_MAX ||
            memchr(item->record->key.data, 0, item->record->key.len)) {
        make_dead(item, TALLY_REFUSAL_KEY_MISMATCH, "route",
                "the record's key is too long or holds a NUL");
        return false;
    }
    if (!tally_utf8_valid(item->record->key)) { /* the event that refuses it would not be text */
        make_dead(item, TALLY_REFUSAL_KEY_MISMATCH, "route", "the record's key is not UTF-8");
        return false;
    }
    if (!item->command.schema) {
        return true;
    }
    if (!tally_command_key(&item->command, arena, &expected) ||
            !tally_slice_equal(expected, item->record->key)) {
        make_dead(item, TALLY_REFUSAL_KEY_MISMATCH, "route",
                "the record's key is not the command's key field");
        return false;
    }
    return true;
}

/* false: a dead letter. shapes: NULL where none are kept. */
static bool decode(const struct tally_aggregate *aggregate, struct tally_command_shapes *shapes,
        struct tally_arena *arena, const struct tally_record *record, struct batch_item *item)
{
    struct tally_error err = {.code = TALLY_OK};
    enum tally_refusal refusal = TALLY_REFUSAL_NONE;
    struct tally_command *command = &item->command;

    item->record = record;
    item->cut = false;
    if (tally_command_decode_by(shapes, record->value, aggregate->command_types, arena, command,
                &refusal, &err)) {
        struct tally_slice text =
                tally_arena_copy(arena, tally_slice_of(err.message, strlen(err.message) + 1));

        make_dead(item, refusal, "decode", (const char *)text.data);
        return false;
    }
    if (!check_key(arena, item)) {
        return false;
    }
    command->key = record->key;
    command->partition = record->partition;
    command->offset = record->offset;
    command->timestamp_ms = record->timestamp_ms;
    item->kind = BATCH_DECIDE;
    return true;
}

static bool is_elsewhere(struct batch_item *item, int32_t partition, int32_t partitions)
{
    if (item->command.schema && item->command.schema->broadcast) {
        return false;
    }
    item->target = tally_partition_of(item->record->key, partitions);
    return item->target != partition;
}

void stream_task_route(struct tally_stream_task *task, const struct tally_record *record,
        struct tally_consumer *consumer, struct batch_item *item)
{
    if (!decode(task->aggregate, task->shapes, &task->batch, record, item) ||
            !is_elsewhere(item, task->partition, task->options.partitions)) {
        return;
    }
    if (was_forwarded(task, consumer, record)) {
        make_dead(item, TALLY_REFUSAL_WRONG_PARTITION, "route",
                "a forwarded record is on the wrong partition again");
    } else {
        item->kind = BATCH_FORWARD;
    }
}

bool tally_stream_task_decides(const struct tally_topology *topology,
        const struct tally_record *record, int32_t partitions, struct tally_arena *arena,
        struct tally_command *command)
{
    struct batch_item item = {.kind = BATCH_SKIP};

    if (!decode(tally_topology_aggregate(topology), NULL, arena, record, &item) ||
            is_elsewhere(&item, record->partition, partitions)) {
        return false;
    }
    *command = item.command;
    return true;
}

static struct tally_slice copy_bytes(struct tally_stream_task *task, struct tally_slice bytes)
{
    return bytes.data ? tally_arena_copy(tally_collector_arena(task->options.collector), bytes)
                      : TALLY_NONE;
}

/* The record as it is, borrowed, its headers followed by room for `extra` more. */
static struct tally_produce same_again(struct tally_stream_task *task,
        const struct tally_record *record, struct tally_consumer *consumer, size_t extra,
        struct tally_header **headers)
{
    struct tally_arena *arena = tally_collector_arena(task->options.collector);
    size_t own = consumer->ops->headers(consumer, record, NULL, 0);

    *headers = tally_arena_alloc(arena, (own + extra) * sizeof **headers);
    (void)consumer->ops->headers(consumer, record, *headers, own);
    return (struct tally_produce){
            .key = record->key, .value = record->value, .headers = *headers, .header_count = own};
}

/* Copies what is borrowed into the collector's arena and queues it. */
static void add_copy(struct tally_stream_task *task, const char *topic, int32_t partition,
        struct tally_produce *produce, struct tally_header *headers)
{
    for (size_t i = 0; i < produce->header_count; i++) {
        headers[i].name = copy_bytes(task, headers[i].name);
        headers[i].value = copy_bytes(task, headers[i].value);
    }
    produce->headers = headers;
    produce->key = copy_bytes(task, produce->key);
    produce->value = copy_bytes(task, produce->value);
    tally_collector_add(task->options.collector, topic, partition, produce);
}

static struct tally_header text_header(struct tally_stream_task *task, const char *name,
        const char *text)
{
    return (struct tally_header){
            .name = tally_slice_string(name), .value = copy_bytes(task, tally_slice_string(text))};
}

static void log_dead_letter(const struct tally_stream_task *task, const struct batch_item *item)
{
    static _Thread_local struct tally_log_limit limit;

    if (tally_log_allowed(&limit, 1000)) {
        tally_log(TALLY_LOG_WARN, "record sent to the dead-letter topic",
                TALLY_LOG_STR("topic", item->record->topic),
                TALLY_LOG_INT("partition", item->record->partition),
                TALLY_LOG_INT("offset", item->record->offset),
                TALLY_LOG_STR("reason", tally_refusal_name(item->refusal)),
                TALLY_LOG_STR("detail", item->reason),
                TALLY_LOG_STR("dead_letters", task->dead_letters));
    }
}

/* Why, and where the record stood. */
static size_t add_reasons(struct tally_stream_task *task, const struct batch_item *item,
        struct tally_header *headers)
{
    const struct tally_record *record = item->record;
    char partition[16], offset[24], time[TALLY_TIME_LEN + 1];
    size_t count = 0;

    (void)snprintf(partition, sizeof partition, "%d", record->partition);
    (void)snprintf(offset, sizeof offset, "%lld", (long long)record->offset);
    tally_format_time(record->timestamp_ms > 0 ? record->timestamp_ms : 0, time);
    headers[count++] =
            text_header(task, "__streams.errors.exception", tally_refusal_name(item->refusal));
    headers[count++] = text_header(task, "__streams.errors.message", item->reason);
    headers[count++] = text_header(task, "__streams.errors.stacktrace", item->stage);
    headers[count++] = text_header(task, "__streams.errors.topic", record->topic);
    headers[count++] = text_header(task, "__streams.errors.partition", partition);
    headers[count++] = text_header(task, "__streams.errors.offset", offset);
    headers[count++] = text_header(task, "tally.attempt", "1");
    headers[count++] = text_header(task, "tally.first-failed-at", time);
    headers[count++] = text_header(task, "tally.task", task->name);
    return count;
}

/* Only a compressed batch brings a record that is larger than the topic's limit. Its letter has the
 * begin of it and says so; the whole of it stands where the letter says. */
static void cut_letter(struct tally_stream_task *task, struct tally_produce *letter, size_t own,
        struct tally_header **headers)
{
    char text[128];
    size_t key = letter->key.len <= CUT_KEY_MAX ? letter->key.len : 0;
    size_t value = letter->value.len < CUT_VALUE_MAX ? letter->value.len : CUT_VALUE_MAX;

    (void)snprintf(text, sizeof text, "key %zu of %zu, value %zu of %zu bytes, 0 of %zu headers",
            key, letter->key.len, value, letter->value.len, own);
    letter->key = key == letter->key.len ? letter->key : TALLY_NONE;
    letter->value.len = value;
    *headers += own;
    letter->header_count -= own;
    (*headers)[letter->header_count++] = text_header(task, CUT_HEADER, text);
}

void stream_task_dead_letter(struct tally_stream_task *task, const struct batch_item *item,
        struct tally_consumer *consumer)
{
    const struct tally_record *record = item->record;
    struct tally_header *headers;
    struct tally_produce letter = same_again(task, record, consumer, DEAD_LETTER_HEADERS, &headers);
    size_t own = letter.header_count;

    TALLY_FAILPOINT(OUTPUT_DLT_BEFORE);
    letter.header_count += add_reasons(task, item, headers + own);
    if (item->cut || tally_produce_bytes(&letter) > task->dead_letter_max) {
        cut_letter(task, &letter, own, &headers);
    }
    add_copy(task, task->dead_letters, record->partition, &letter, headers);
    TALLY_FAILPOINT(OUTPUT_DLT_AFTER);
    tally_series_add(tally_series_of(TALLY_METRIC_DEAD_LETTERS, record->topic,
                             tally_refusal_name(item->refusal)),
            1);
    log_dead_letter(task, item);
}

void stream_task_forward(struct tally_stream_task *task, struct batch_item *item,
        struct tally_consumer *consumer)
{
    static _Thread_local struct tally_log_limit limit;
    const struct tally_record *record = item->record;
    char from[48];
    struct tally_header *headers;
    struct tally_produce copy = same_again(task, record, consumer, 1, &headers);

    (void)snprintf(from, sizeof from, "%d@%lld", record->partition, (long long)record->offset);
    headers[copy.header_count++] = text_header(task, FORWARDED_HEADER, from);
    if (tally_produce_bytes(&copy) > task->command_max) {
        make_dead(item, TALLY_REFUSAL_OVER_LIMIT, "write",
                "it is on the wrong partition, and too large to be forwarded with a mark");
        stream_task_dead_letter(task, item, consumer);
        return;
    }
    add_copy(task, tally_topology_commands(task->topology), item->target, &copy, headers);
    TALLY_FAILPOINT(OUTPUT_FORWARD_AFTER);
    tally_series_add(task->forwarded_series, 1);
    if (tally_log_allowed(&limit, LOG_EVERY_MS)) {
        tally_log(TALLY_LOG_INFO, "command forwarded: a producer does not partition by murmur2",
                TALLY_LOG_STR("topic", record->topic),
                TALLY_LOG_INT("partition", record->partition),
                TALLY_LOG_INT("offset", record->offset), TALLY_LOG_INT("to", item->target));
    }
}
