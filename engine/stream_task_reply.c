/* engine/stream_task_reply.c - replies to clients that named a reply-topic.
 * A reply is asked for while the command is decided, or, where that began a saga, with the event
 * that ends it; it is sent after the commit, from committed state, by the shared producer outside
 * the transaction: it may be lost, the outcome may not. Where no outcomes are kept nobody gets a
 * reply. */
#include "engine/outcome_answer.h"
#include "engine/stream_task_internal.h"

#include "engine/base/failpoint.h"
#include "engine/base/log.h"

enum { REPLY_BYTES_MAX = 1024 * 1024, TOPIC_MAX = 249 };

static const struct tally_header *find_header(const struct tally_header *headers, size_t count,
        const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (tally_slice_equal(headers[i].name, tally_slice_string(name))) {
            return &headers[i];
        }
    }
    return NULL;
}

static const char *copy_text(struct tally_arena *arena, struct tally_slice text)
{
    char *copy = tally_arena_alloc(arena, text.len + 1);

    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    return copy;
}

/* -1 when the header is absent or no partition number. */
static int32_t wanted_partition(const struct tally_header *header)
{
    int64_t partition;

    if (!header || !tally_parse_int(header->value, &partition) || partition < 0 ||
            partition > INT32_MAX) {
        return -1;
    }
    return (int32_t)partition;
}

/* The whole name matches reply.topics, and it is no topology's own topic: no outsider makes tally
 * write where only commands, events and dead letters belong. */
static bool may_reply_to(const struct tally_stream_task *task, const char *topic)
{
    regmatch_t match;

    return regexec(&task->reply_topics, topic, 1, &match, 0) == 0 && match.rm_so == 0 &&
           topic[match.rm_eo] == '\0' &&
           !tally_task_registry_owns_topic(task->slot->registry, topic);
}

static void queue_reply(struct tally_stream_task *task, const struct reply_request *wanted)
{
    struct tally_arena *arena = tally_collector_arena(task->options.collector);
    struct reply_request *request = tally_arena_alloc(arena, sizeof *request);

    *request = *wanted;
    request->correlation_id = wanted->correlation_id.data
                                      ? tally_arena_copy(arena, wanted->correlation_id)
                                      : TALLY_NONE;
    request->command_id = tally_arena_copy(arena, wanted->command_id);
    request->key = tally_arena_copy(arena, wanted->key);
    request->next = NULL;
    *task->replies_end = request;
    task->replies_end = &request->next;
}

/* Apart, because most records have no headers and the array is large. The topic goes into the
 * arena, the correlation id borrows from the record. false: no reply is wanted, or none is allowed.
 */
static bool read_headers(const struct tally_stream_task *task, const struct tally_record *record,
        struct tally_consumer *consumer, struct tally_arena *arena, struct reply_request *wanted)
{
    struct tally_header headers[HEADERS_MAX];
    size_t count = consumer->ops->headers(consumer, record, headers, HEADERS_MAX);
    const struct tally_header *topic, *correlation;

    count = count < HEADERS_MAX ? count : HEADERS_MAX;
    topic = count ? find_header(headers, count, "reply-topic") : NULL;
    if (!topic || topic->value.len == 0 || topic->value.len > TOPIC_MAX) {
        return false;
    }
    wanted->topic = copy_text(arena, topic->value);
    wanted->partition = wanted_partition(find_header(headers, count, "reply-partition"));
    correlation = find_header(headers, count, "correlation-id");
    wanted->correlation_id = correlation ? correlation->value : TALLY_NONE;
    return may_reply_to(task, wanted->topic);
}

static bool has_headers(const struct tally_record *record, struct tally_consumer *consumer)
{
    return consumer->ops->headers(consumer, record, NULL, 0) > 0;
}

bool stream_task_reply_to(void *owner, struct tally_context *ctx, struct tally_reply_to *reply)
{
    const struct tally_stream_task *task = owner;
    struct reply_request wanted;

    if (!task->keeps_outcomes || !has_headers(ctx->record, ctx->consumer) ||
            !read_headers(task, ctx->record, ctx->consumer, ctx->scratch, &wanted) ||
            wanted.correlation_id.len > TALLY_CORRELATION_MAX) {
        return false;
    }
    *reply = (struct tally_reply_to){
            .presence.present = TALLY_BIT(TALLY_REPLY_TOPIC) | TALLY_BIT(TALLY_REPLY_FORMAT),
            .topic = tally_slice_string(wanted.topic),
            .format = (uint8_t)ctx->command->format,
    };
    if (wanted.partition >= 0) {
        reply->partition = wanted.partition;
        reply->presence.present |= TALLY_BIT(TALLY_REPLY_PARTITION);
    }
    tally_reply_set_correlation(reply, wanted.correlation_id, ctx->scratch);
    return true;
}

void stream_task_want_completion(struct tally_stream_task *task, const struct tally_context *ctx)
{
    const struct context_completion *completion = ctx->completion;
    struct reply_request wanted = {.key = ctx->command->key};

    if (!completion || completion->reply.topic.len == 0 || !task->keeps_outcomes) {
        return;
    }
    wanted.topic =
            copy_text(tally_collector_arena(task->options.collector), completion->reply.topic);
    wanted.partition = completion->reply.presence.present & TALLY_BIT(TALLY_REPLY_PARTITION)
                               ? (int32_t)completion->reply.partition
                               : -1;
    wanted.correlation_id = tally_reply_correlation(&completion->reply, ctx->scratch);
    wanted.command_id = completion->completes.command_id;
    wanted.fingerprint = completion->completes.stamp.fingerprint;
    wanted.format = (enum tally_format)completion->reply.format;
    if (may_reply_to(task, wanted.topic)) { /* settings may have changed meanwhile */
        queue_reply(task, &wanted);
    }
}

void stream_task_want_reply(struct tally_stream_task *task, const struct batch_item *item,
        bool duplicate, struct tally_consumer *consumer)
{
    struct reply_request wanted = {
            .command_id = item->command.id,
            .key = item->command.key,
            .fingerprint = item->command.fingerprint,
            .duplicate = duplicate,
            .format = item->command.format,
    };

    if (task->keeps_outcomes && has_headers(item->record, consumer) &&
            read_headers(task, item->record, consumer,
                    tally_collector_arena(task->options.collector), &wanted)) {
        queue_reply(task, &wanted);
    }
}

static void send_reply(struct tally_stream_task *task, const struct reply_request *request,
        struct tally_view *view, struct tally_buf *value)
{
    struct tally_client *client = task->options.client;
    struct tally_header header = {
            .name = TALLY_SLICE("correlation-id"), .value = request->correlation_id};
    struct outcome_question question = {
            .topology = task->topology,
            .partition = task->partition,
            .partitions = task->options.partitions,
            .view = view,
            .command_id = request->command_id,
            .key = request->key,
            .fingerprint = request->fingerprint,
            .duplicate = request->duplicate,
            .format = request->format,
    };
    struct tally_outcome_info info;
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code;

    tally_buf_clear(value);
    code = outcome_answer(&question, value, &info, &err);
    if (code) {
        static _Thread_local struct tally_log_limit limit;

        if (tally_log_allowed(&limit, 1000)) {
            tally_error_context(&err, "reply to %s", request->topic);
            tally_log_error(TALLY_LOG_WARN, "outcome for a reply cannot be read", &err);
        }
        return;
    }
    if (TALLY_FAILPOINT_FAILS(OUTPUT_REPLY_BEFORE)) {
        return; /* as when the queue is full: dropped */
    }
    (void)client->ops->reply(client, request->topic, request->partition, request->command_id,
            tally_buf_bytes(value), &header, request->correlation_id.data ? 1 : 0);
    TALLY_FAILPOINT(OUTPUT_REPLY_AFTER);
}

void stream_task_send_replies(struct tally_stream_task *task)
{
    struct tally_view *view;
    struct tally_buf value;

    if (!task->replies) {
        return;
    }
    view = tally_task_slot_view(task->slot);
    tally_buf_init(&value, REPLY_BYTES_MAX);
    for (const struct reply_request *request = task->replies; request; request = request->next) {
        send_reply(task, request, view, &value);
    }
    tally_buf_deinit(&value);
    tally_view_unref(view);
    stream_task_drop_replies(task);
}

void stream_task_drop_replies(struct tally_stream_task *task)
{
    task->replies = NULL;
    task->replies_end = &task->replies;
}
