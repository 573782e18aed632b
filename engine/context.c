/* engine/context.c - what decide, evolve and result may do; see engine/tally.h.
 * A decision is encoded and taken at once: a topology's structs are borrowed for the call only. */
#include "engine/context_internal.h"

#include "engine/base/failpoint.h"
#include "engine/base/hash.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

void tally_touch_key(struct tally_touch *touch, const struct tally_key *key)
{
    if (!tally_store_empty(touch->store, tally_key_bytes(key))) {
        context_touch(touch, tally_arena_copy(touch->arena, tally_key_bytes(key)));
    }
}

static void touch_one(void *context, struct tally_slice key)
{
    struct tally_touch *touch = context;

    context_touch(touch, tally_arena_copy(touch->arena, key));
}

void tally_touch_scan(struct tally_touch *touch, const struct tally_key *prefix)
{
    tally_store_scan_keys(touch->store, tally_key_bytes(prefix), touch_one, touch);
}

bool tally_touch_setting_is(const struct tally_touch *touch, const char *name)
{
    return tally_topology_setting(touch->topology, name);
}

void context_touch(struct tally_touch *touch, struct tally_slice key)
{
    if (touch->count == touch->capacity) {
        touch->capacity = touch->capacity ? touch->capacity * 2 : 1024;
        touch->keys = tally_realloc(touch->keys, touch->capacity * sizeof touch->keys[0]);
        touch->absent = tally_realloc(touch->absent, touch->capacity * sizeof touch->absent[0]);
    }
    touch->absent[touch->count] = false;
    touch->keys[touch->count++] = key;
}

void context_dedup_key(struct tally_slice command_id, struct tally_slice record_key,
        struct tally_key *key)
{
    tally_key_begin(key, TALLY_STORE_DEDUP);
    tally_key_string(key, command_id);
    tally_key_tail(key, record_key);
}

int64_t tally_time(const struct tally_context *ctx)
{
    return ctx->time_ms;
}

bool tally_setting_is(const struct tally_context *ctx, const char *name)
{
    return tally_topology_setting(ctx->topology, name);
}

bool tally_keeps(const struct tally_context *ctx, enum tally_store_id store)
{
    return tally_topology_keeps(ctx->topology, store);
}

int32_t tally_partitions(const struct tally_context *ctx)
{
    return ctx->partitions;
}

struct tally_arena *tally_scratch(struct tally_context *ctx)
{
    return ctx->scratch;
}

bool tally_get(struct tally_context *ctx, const struct tally_key *key, struct tally_slice *value)
{
    enum tally_code code;

    tally_assert(ctx->phase == CONTEXT_READ || ctx->phase == CONTEXT_APPLY ||
                 (ctx->phase == CONTEXT_DECIDE && ctx->decision == CONTEXT_UNDECIDED));
    *value = TALLY_NONE;
    if (ctx->code) {
        return false;
    }
    if (ctx->phase == CONTEXT_READ) {
        code = tally_view_get(ctx->view, tally_key_bytes(key), ctx->value, &ctx->err);
        if (!code) {
            *value = tally_arena_copy(ctx->scratch, tally_buf_bytes(ctx->value));
        }
    } else {
        code = tally_store_get(ctx->store, tally_key_bytes(key), value, &ctx->err);
    }
    if (code && code != TALLY_NOT_FOUND) {
        ctx->code = code;
    }
    return code == TALLY_OK;
}

static enum tally_code scan_view(struct tally_context *ctx, struct tally_slice prefix,
        tally_row_fn row, void *context)
{
    struct tally_slice key, value;
    uint8_t space[TALLY_KEY_MAX];
    struct tally_iterator *iterator =
            tally_view_iterate(ctx->view, prefix, tally_prefix_end(prefix, space), false);
    enum tally_code code = TALLY_OK;

    while (tally_iterator_next(iterator, &key, &value, &code, &ctx->err) &&
            row(context, key, value)) {
    }
    tally_iterator_destroy(iterator);
    return code;
}

void tally_scan(struct tally_context *ctx, const struct tally_key *prefix, tally_row_fn row,
        void *context)
{
    struct tally_slice bytes = tally_key_bytes(prefix);

    tally_assert(ctx->phase == CONTEXT_READ || ctx->phase == CONTEXT_APPLY ||
                 (ctx->phase == CONTEXT_DECIDE && ctx->decision == CONTEXT_UNDECIDED));
    if (ctx->code) {
        return;
    }
    ctx->code = ctx->phase == CONTEXT_READ
                        ? scan_view(ctx, bytes, row, context)
                        : tally_store_scan(ctx->store, bytes, row, context, &ctx->err);
}

void context_put(struct tally_context *ctx, struct tally_slice key, struct tally_slice value)
{
    struct tally_slice stored;

    if (ctx->phase == CONTEXT_RESTORE) {
        tally_store_append(ctx->store, key, value);
        return;
    }
    if (ctx->phase == CONTEXT_CHECK) {
        tally_assert(tally_store_get(ctx->store, key, &stored, NULL) == TALLY_OK &&
                     tally_slice_equal(stored, value));
        return;
    }
    tally_assert(ctx->phase == CONTEXT_EVOLVE ||
                 (ctx->phase == CONTEXT_APPLY && value.len > 0 && value.len <= TALLY_ROW_MAX));
    tally_store_put(ctx->store, key, value);
}

void tally_put(struct tally_context *ctx, const struct tally_key *key, struct tally_slice value)
{
    if (ctx->timers) {
        task_timers_put(ctx->timers, key);
    }
    context_put(ctx, tally_key_bytes(key), value);
}

void tally_delete(struct tally_context *ctx, const struct tally_key *key)
{
    struct tally_slice stored;

    if (ctx->phase == CONTEXT_RESTORE) {
        tally_store_append_deletion(ctx->store, tally_key_bytes(key));
        return;
    }
    if (ctx->phase == CONTEXT_CHECK) {
        tally_assert(tally_store_get(ctx->store, tally_key_bytes(key), &stored, NULL) ==
                     TALLY_NOT_FOUND);
        return;
    }
    tally_assert(ctx->phase == CONTEXT_EVOLVE || ctx->phase == CONTEXT_APPLY);
    tally_store_delete(ctx->store, tally_key_bytes(key));
}

/* The event of this decision with everything but its type, body and rejection. */
static struct tally_event event_head(const struct tally_context *ctx, enum tally_status status)
{
    const struct tally_command *command = ctx->command;

    return (struct tally_event){
            .topology = tally_slice_string(ctx->aggregate->name),
            .partition = ctx->partition,
            .command_offset = command->offset,
            .time_ms = ctx->time_ms,
            .actor = command->actor,
            .correlation_id = command->correlation_id.len ? command->correlation_id : command->id,
            .command_id = command->id,
            .key = command->key,
            .outcome = {.command = command->type,
                    .fingerprint = command->fingerprint,
                    .status = status},
    };
}

static void decide_once(struct tally_context *ctx, enum context_decision decision,
        const struct tally_event *event)
{
    tally_assert(ctx->phase == CONTEXT_DECIDE);
    tally_assert(ctx->decision == CONTEXT_UNDECIDED);
    tally_assert(event->has_completes == (ctx->completion != NULL));
    ctx->decision = decision;
    tally_buf_clear(ctx->encoded);
    tally_event_encode(event, ctx->events_format, ctx->encoded);
    if (!ctx->code) { /* what was decided on a failed read is thrown away */
        ctx->decided(ctx->owner, ctx, event);
    }
}

static void emit(struct tally_context *ctx, uint32_t type, const void *body,
        enum context_decision decision)
{
    struct tally_event event =
            event_head(ctx, decision == CONTEXT_PENDING ? TALLY_PENDING : TALLY_ACCEPTED);

    event.schema = ctx->aggregate->event_types[type];
    event.type = tally_slice_string(event.schema->name);
    event.body = (void *)(uintptr_t)body; /* events are only read */
    if (ctx->completion) {
        event.has_completes = true;
        event.completes = ctx->completion->completes;
        event.rejection = ctx->completion->rejection;
    }
    decide_once(ctx, decision, &event);
}

void tally_emit(struct tally_context *ctx, uint32_t type, const void *body)
{
    emit(ctx, type, body, CONTEXT_EMITTED);
}

void tally_emit_pending(struct tally_context *ctx, uint32_t type, const void *body)
{
    emit(ctx, type, body, CONTEXT_PENDING);
}

void tally_accept(struct tally_context *ctx)
{
    struct tally_event event = event_head(ctx, TALLY_ACCEPTED);

    event.type = TALLY_SLICE(TALLY_EVENT_ACCEPTED);
    decide_once(ctx, CONTEXT_ACCEPTED, &event);
}

static void reject(struct tally_context *ctx, enum tally_reject code, const char *detail)
{
    struct tally_event event = event_head(ctx, TALLY_REJECTED);

    event.type = TALLY_SLICE(TALLY_EVENT_REJECTED);
    event.rejection = (struct tally_rejection){
            .code = code,
            .detail = tally_slice_string(detail),
            .errors = tally_buf_bytes(ctx->message),
    };
    decide_once(ctx, CONTEXT_REJECTED, &event);
}

void tally_reject(struct tally_context *ctx, enum tally_reject code, const char *pointer,
        const struct tally_meta *meta, size_t meta_count, const char *detail, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, detail);
    (void)vsnprintf(text, sizeof text, detail, arguments);
    va_end(arguments);
    tally_buf_clear(ctx->message);
    tally_rejection_error(ctx->message, pointer, tally_reject_name(code), meta, meta_count);
    reject(ctx, code, text);
}

bool tally_version_matches(struct tally_context *ctx, int64_t actual)
{
    const struct tally_command_fields *fields = ctx->command->fields;
    int64_t expected = fields->expected_version;

    if (!(fields->presence.present & TALLY_BIT(TALLY_HAS_EXPECTED_VERSION)) || expected == actual) {
        return true;
    }
    tally_reject(ctx, TALLY_REJECT_VERSION_CONFLICT, "/expected_version",
            (struct tally_meta[]){
                    TALLY_META_I("expected", expected), TALLY_META_I("actual", actual)},
            2, "expected version %" PRId64 ", actual %" PRId64, expected, actual);
    return false;
}

void tally_operation_begin(struct tally_context *ctx, struct tally_operation *operation)
{
    tally_assert(ctx->phase == CONTEXT_DECIDE);
    tally_operation_of(ctx->command, ctx->scratch, operation);
    if (ctx->reply_to && ctx->reply_to(ctx->owner, ctx, &operation->reply)) {
        operation->presence.present |= TALLY_BIT(TALLY_OPERATION_REPLY);
    }
}

static struct tally_slice kept(struct tally_context *ctx, struct tally_slice text)
{
    return tally_arena_copy(ctx->scratch, text);
}

/* What is answered when the transaction has committed outlives the topology's structs. */
static struct context_completion *complete(struct tally_context *ctx,
        const struct tally_operation *operation, enum tally_status status)
{
    struct context_completion *completion = tally_arena_alloc(ctx->scratch, sizeof *completion);

    tally_assert(ctx->phase == CONTEXT_DECIDE && ctx->decision == CONTEXT_UNDECIDED);
    tally_assert(!ctx->completion);
    *completion = (struct context_completion){.reply = {.topic = TALLY_NONE}};
    tally_assert(tally_operation_completes(operation, status, &completion->completes));
    completion->completes.command_id = kept(ctx, completion->completes.command_id);
    completion->completes.stamp.command = kept(ctx, completion->completes.stamp.command);
    if (operation->presence.present & TALLY_BIT(TALLY_OPERATION_REPLY)) {
        completion->reply = operation->reply;
        completion->reply.topic = kept(ctx, completion->reply.topic);
        completion->reply.correlation_id = kept(ctx, completion->reply.correlation_id);
        completion->reply.correlation_hex = kept(ctx, completion->reply.correlation_hex);
    }
    ctx->completion = completion;
    return completion;
}

void tally_complete(struct tally_context *ctx, const struct tally_operation *operation)
{
    (void)complete(ctx, operation, TALLY_ACCEPTED);
}

void tally_complete_rejected(struct tally_context *ctx, const struct tally_operation *operation,
        enum tally_reject code, const char *pointer, const struct tally_meta *meta,
        size_t meta_count, const char *detail, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, detail);
    (void)vsnprintf(text, sizeof text, detail, arguments);
    va_end(arguments);
    tally_buf_clear(ctx->message);
    tally_rejection_error(ctx->message, pointer, tally_reject_name(code), meta, meta_count);
    complete(ctx, operation, TALLY_REJECTED)->rejection = (struct tally_rejection){
            .code = code,
            .detail = tally_arena_copy(ctx->scratch, tally_slice_string(text)),
            .errors = tally_arena_copy(ctx->scratch, tally_buf_bytes(ctx->message)),
    };
}

struct tally_slice tally_position(struct tally_context *ctx)
{
    const char *topic = tally_topology_commands(ctx->topology);
    char number[48];
    int len = snprintf(number, sizeof number, "/%d@%lld", ctx->partition,
            (long long)ctx->command->offset);
    size_t topic_len = strlen(topic);
    uint8_t *text = tally_arena_alloc(ctx->scratch, topic_len + (size_t)len);

    memcpy(text, topic, topic_len);
    memcpy(text + topic_len, number, (size_t)len);
    return tally_slice_of(text, topic_len + (size_t)len);
}

void context_reject_violations(struct tally_context *ctx)
{
    const struct tally_violation *first = &ctx->command->violations->items[0];
    char text[256];

    (void)snprintf(text, sizeof text, "%s: %s", first->pointer, first->detail);
    tally_buf_clear(ctx->message);
    tally_rejection_violations(ctx->message, ctx->command->violations);
    reject(ctx, TALLY_REJECT_VALIDATION_FAILED, text);
}

void tally_send(struct tally_context *ctx, const struct tally_message *message)
{
    const char *topic = tally_topology_target(ctx->topology, message->topic);
    const struct tally_command *command = ctx->command;
    struct tally_arena *arena = tally_collector_arena(ctx->collector);
    struct tally_command_head head = {
            .id = message->id,
            .type = tally_slice_string(message->schema->name),
            .source = tally_arena_copy(arena, tally_slice_string(ctx->aggregate->name)),
    };
    struct tally_produce record;

    tally_assert((ctx->phase == CONTEXT_DECIDE || ctx->phase == CONTEXT_DUE) && topic);
    if (command) {
        head.actor = command->actor;
        head.correlation_id = command->correlation_id.len ? command->correlation_id : command->id;
        head.causation_id = command->id;
    }
    tally_buf_clear(ctx->message);
    tally_command_encode(&head, message->schema, message->fields, TALLY_FORMAT_MSGPACK,
            ctx->message);
    record = (struct tally_produce){
            .key = tally_arena_copy(arena, message->key),
            .value = tally_arena_copy(arena, tally_buf_bytes(ctx->message)),
    };
    tally_collector_add(ctx->collector, topic,
            message->partition >= 0 ? message->partition
                                    : tally_partition_of(message->key, ctx->partitions),
            &record);
    ctx->sent = true;
    TALLY_FAILPOINT(OUTPUT_SEND_AFTER);
}

/* --- windows ---------------------------------------------------------------------------------- */

static const struct tally_window *window_of(const struct tally_topology *topology, uint8_t number)
{
    const struct tally_window *windows;

    tally_assert(number < tally_topology_windows(topology, &windows));
    return &windows[number];
}

static const struct tally_window *begin_window(const struct tally_topology *topology,
        uint8_t number, int64_t time_ms, struct tally_key *key)
{
    const struct tally_window *window = window_of(topology, number);
    const enum tally_store_id *stores;

    (void)tally_topology_stores(topology, &stores);
    tally_key_window(key, stores[0], number, tally_window_start(time_ms, window->size_ms));
    return window;
}

void tally_touch_window(const struct tally_touch *touch, uint8_t number, int64_t time_ms,
        struct tally_key *key)
{
    (void)begin_window(touch->topology, number, time_ms, key);
}

bool tally_window_open(struct tally_context *ctx, uint8_t number, int64_t time_ms,
        struct tally_key *key)
{
    const struct tally_window *window = begin_window(ctx->topology, number, time_ms, key);
    int64_t end_ms = tally_window_start(time_ms, window->size_ms) + window->size_ms;

    tally_assert(ctx->phase == CONTEXT_APPLY);
    if (end_ms + window->grace_ms > ctx->stream_time_ms) {
        return true;
    }
    ctx->late(ctx->owner, window, time_ms);
    return false;
}
