/* engine/stream_task.c - see stream_task.h. One batch goes through four steps:
 *   route every record -> touch and prefetch all keys with one multi-get -> decide each command in
 *   order, evolving what it gives -> note the batch's last record.
 * What leaves the task (events, sends, forwards, dead letters) waits in the collector; the stream
 * thread hands it to the producer and commits. */
#include "engine/base/failpoint.h"
#include "engine/base/hash.h"
#include "engine/base/log.h"
#include "engine/stream_task_internal.h"

#include <stdio.h>

#define BIT(n) (1u << (n))
enum {
    EVENT_BYTES_MAX = 4 * 1024 * 1024 - 65536, /* the events topic takes 4 MiB */
    EVENT_OVERHEAD = TALLY_KEY_MAX + 128,
    READ_FAILURES_MIN = 5, /* and as many ms of them until a store that cannot be read is rebuilt */
    READ_FAILING_MIN_MS = 10000,
    KEYS_AHEAD = 16, /* that are on their way into the processor's cache */
    BATCH_BLOCK_BYTES = 256 * 1024,
};

static const unsigned successors[] = {
        [TALLY_TASK_CREATED] = BIT(TALLY_TASK_RESTORING) | BIT(TALLY_TASK_PARKED) |
                               BIT(TALLY_TASK_HALTED) | BIT(TALLY_TASK_CLOSED),
        [TALLY_TASK_RESTORING] = BIT(TALLY_TASK_RUNNING) | BIT(TALLY_TASK_CREATED) |
                                 BIT(TALLY_TASK_PARKED) | BIT(TALLY_TASK_HALTED) |
                                 BIT(TALLY_TASK_CLOSED),
        [TALLY_TASK_RUNNING] = BIT(TALLY_TASK_RESTORING) | BIT(TALLY_TASK_CREATED) |
                               BIT(TALLY_TASK_PARKED) | BIT(TALLY_TASK_HALTED) |
                               BIT(TALLY_TASK_CLOSED),
        [TALLY_TASK_PARKED] = BIT(TALLY_TASK_CREATED) | BIT(TALLY_TASK_CLOSED),
        [TALLY_TASK_HALTED] =
                BIT(TALLY_TASK_CREATED) | BIT(TALLY_TASK_PARKED) | BIT(TALLY_TASK_CLOSED),
        [TALLY_TASK_CLOSED] = 0,
};

static const char *const outcome_labels[TASK_COUNTS] = {
        [COUNT_ACCEPTED] = "accepted",
        [COUNT_PENDING] = "pending",
        [COUNT_UNCHANGED] = "unchanged",
        [COUNT_REJECTED] = "rejected",
        [COUNT_DUPLICATE] = "duplicate",
        [COUNT_REUSED] = "reused",
};

static bool has_timers(const struct tally_stream_task *task)
{
    return task->aggregate && task->aggregate->has_timers;
}

/* What the task's topics take. An event's key and framing are less than EVENT_OVERHEAD. */
static void find_limits(struct tally_stream_task *task)
{
    struct tally_client *client = task->options.client;
    size_t events = client->ops->record_max(client, tally_topology_output(task->topology));

    task->event_bytes_max = events > EVENT_OVERHEAD + 1 ? events - EVENT_OVERHEAD : 1;
    if (task->event_bytes_max > EVENT_BYTES_MAX) {
        task->event_bytes_max = EVENT_BYTES_MAX;
    }
    task->command_max = client->ops->record_max(client, tally_topology_input(task->topology));
    if (task->dead_letters) {
        task->dead_letter_max = client->ops->record_max(client, task->dead_letters);
    }
}

static void find_series(struct tally_stream_task *task)
{
    const char *topology = tally_topology_name(task->topology);
    char partition[16];

    (void)snprintf(partition, sizeof partition, "%d", task->partition);
    for (int i = 0; i < TASK_COUNTS && task->aggregate; i++) {
        task->outcome_series[i] =
                tally_series_of(TALLY_METRIC_COMMANDS, topology, outcome_labels[i]);
    }
    task->polled_series = tally_series_of(TALLY_METRIC_RECORDS_POLLED, topology);
    task->forwarded_series = tally_series_of(TALLY_METRIC_FORWARDED, topology);
    task->foreign_series = tally_series_of(TALLY_METRIC_FOREIGN_EVENTS, topology);
    task->latency_series = tally_series_of(TALLY_METRIC_LATENCY, topology);
    if (has_timers(task)) {
        task->fired_series = tally_series_of(TALLY_METRIC_TIMERS, topology);
        task->lateness_series = tally_series_of(TALLY_METRIC_TIMER_LATENESS, topology);
    }
    task->position_series = tally_series_of(TALLY_METRIC_TASK_POSITION, topology, partition);
}

struct tally_stream_task *tally_stream_task_create(const struct tally_stream_task_options *options)
{
    struct tally_stream_task *task = tally_alloc_zero(1, sizeof *task);

    task->options = *options;
    task->slot = options->slot;
    task->topology = options->slot->topology;
    task->aggregate = tally_topology_aggregate(task->topology);
    task->projection = tally_topology_projection(task->topology);
    task->partition = options->slot->partition;
    task->dead_letters = tally_topology_dead_letters(task->topology);
    if (has_timers(task)) {
        task_timers_init(&task->timers, task->aggregate->timers);
    }
    task->keeps_outcomes = tally_topology_keeps(task->topology, TALLY_STORE_DEDUP);
    task->dedup_retention_ms = options->config->dedup_retention;
    task->events_format = strcmp(options->config->events_format, "json") == 0
                                  ? TALLY_FORMAT_JSON
                                  : TALLY_FORMAT_MSGPACK;
    task->replies_end = &task->replies;
    /* checked when the settings were loaded */
    tally_assert(regcomp(&task->reply_topics, options->config->reply_topics, REG_EXTENDED) == 0);
    (void)snprintf(task->name, sizeof task->name, "%s/%d", tally_topology_name(task->topology),
            task->partition);
    tally_arena_init(&task->batch, BATCH_BLOCK_BYTES);
    task->shapes = tally_command_shapes_create();
    task->touch.arena = &task->batch;
    task->touch.topology = task->topology;
    tally_buf_init(&task->encoded, 2 * EVENT_BYTES_MAX);
    tally_buf_init(&task->message, TALLY_DOCUMENT_BYTES_MAX);
    tally_buf_init(&task->row, 2 * EVENT_BYTES_MAX);
    tally_buf_init(&task->memo, TALLY_DOCUMENT_BYTES_MAX);
    find_series(task);
    find_limits(task);
    if (task->projection) {
        stream_task_project_init(task);
    }
    task->state = TALLY_TASK_CREATED;
    tally_task_slot_set_state(task->slot, task->state);
    if (task->slot->store) {
        tally_stream_task_load(task);
    }
    return task;
}

void tally_stream_task_destroy(struct tally_stream_task *task)
{
    if (!task) {
        return;
    }
    regfree(&task->reply_topics);
    tally_arena_deinit(&task->batch);
    tally_command_shapes_destroy(task->shapes);
    tally_buf_deinit(&task->encoded);
    tally_buf_deinit(&task->message);
    tally_buf_deinit(&task->row);
    tally_buf_deinit(&task->memo);
    task_timers_deinit(&task->timers);
    tally_free(task->touch.keys);
    tally_free(task->touch.absent);
    tally_free(task->items);
    tally_free(task->append_times);
    stream_task_project_deinit(task);
    tally_free(task);
}

enum tally_task_state tally_stream_task_state(const struct tally_stream_task *task)
{
    return task->state;
}

void tally_stream_task_set_state(struct tally_stream_task *task, enum tally_task_state next)
{
    tally_assert(successors[task->state] & BIT(next));
    task->state = next;
    tally_task_slot_set_state(task->slot, next);
    if (next == TALLY_TASK_RUNNING && has_timers(task)) {
        task_timers_begin(&task->timers);
    }
}

void tally_stream_task_halt(struct tally_stream_task *task, const struct tally_error *err)
{
    tally_assert(successors[task->state] & BIT(TALLY_TASK_HALTED));
    task->state = TALLY_TASK_HALTED;
    tally_task_slot_halt(task->slot, err);
}

struct tally_task_slot *tally_stream_task_slot(struct tally_stream_task *task)
{
    return task->slot;
}

const char *tally_stream_task_name(const struct tally_stream_task *task)
{
    return task->name;
}

const char *tally_stream_task_input(const struct tally_stream_task *task)
{
    return tally_topology_input(task->topology);
}

struct tally_positions *tally_stream_task_next(struct tally_stream_task *task)
{
    return &task->next;
}

const struct tally_positions *tally_stream_task_committed(const struct tally_stream_task *task)
{
    return &task->committed;
}

void tally_stream_task_load(struct tally_stream_task *task)
{
    struct tally_view *view = tally_store_view(task->slot->store);

    task->committed = *tally_view_positions(view);
    task->next = task->committed;
    task->proof_offset = TALLY_OFFSET_NONE;
    stream_task_project_forget(task);
    tally_view_unref(view);
    atomic_store(&task->slot->in_next, task->committed.in_next);
}

enum tally_code tally_stream_task_read_failed(struct tally_stream_task *task, int64_t now_ms,
        struct tally_error *err)
{
    struct tally_error why = *err, health;

    if (!task->slot->store || tally_store_health(task->slot->store, &health)) {
        task->read_failures =
                0; /* the disk's trouble: the flush that ends it opens the store anew */
        return TALLY_STORE_ERROR;
    }
    if (task->read_failures++ == 0) {
        task->read_failing_ms = now_ms;
    }
    if (task->read_failures < READ_FAILURES_MIN ||
            now_ms - task->read_failing_ms < READ_FAILING_MIN_MS) {
        return TALLY_STORE_ERROR;
    }
    task->read_failures = 0;
    return tally_error_set(err, TALLY_STORE_CORRUPT, "not readable for %lld s: %.200s",
            (long long)(now_ms - task->read_failing_ms) / 1000, why.message);
}

uint32_t tally_stream_task_crc(const struct tally_record *record)
{
    return tally_crc32c(tally_crc32c(0, record->key), record->value);
}

/* --- one command ------------------------------------------------------------------------------ */

void stream_task_context(struct tally_stream_task *task, struct tally_context *ctx,
        enum context_phase phase)
{
    *ctx = (struct tally_context){
            .phase = phase,
            .topology = task->topology,
            .aggregate = task->aggregate,
            .partition = task->partition,
            .partitions = task->options.partitions,
            .scratch = &task->batch,
            .store = task->slot->store,
            .collector = task->options.collector,
            .events_format = task->events_format,
            .timers = phase == CONTEXT_EVOLVE && has_timers(task) ? &task->timers : NULL,
            .encoded = &task->encoded,
            .message = &task->message,
    };
}

static void put_outcome(struct tally_stream_task *task, struct tally_context *ctx,
        struct tally_slice command_id, struct tally_slice record_key,
        const struct tally_outcome *outcome)
{
    TALLY_UNINITIALIZED struct tally_key key;

    tally_buf_clear(&task->row);
    tally_outcome_pack(outcome, &task->row);
    context_dedup_key(command_id, record_key, &key);
    context_put(ctx, tally_key_bytes(&key), tally_buf_bytes(&task->row));
}

static bool is_accepted(const struct tally_outcome_stamp *stamp)
{
    return stamp->status == TALLY_ACCEPTED;
}

/* The dedup rows that an event leaves: its command's and, at the end of a saga, that of the command
 * which began it. A rejection inside `completes` belongs to the latter. Only what is accepted has a
 * result to remember. */
static void put_outcomes(struct tally_stream_task *task, struct tally_context *ctx,
        const struct tally_event *event)
{
    struct tally_outcome outcome = {
            .stamp = event->outcome,
            .offset = event->command_offset,
            .time_ms = event->time_ms,
    };
    struct tally_slice memo = TALLY_NONE;

    if (!task->keeps_outcomes) {
        return;
    }
    if (event->schema && (is_accepted(&event->outcome) || event->has_completes)) {
        tally_buf_clear(&task->memo);
        task->aggregate->remember(event, &task->memo);
        memo = tally_buf_bytes(&task->memo);
    }
    outcome.memo = is_accepted(&event->outcome) ? memo : TALLY_NONE;
    if (!event->has_completes) {
        outcome.rejection = event->rejection;
    }
    put_outcome(task, ctx, event->command_id, event->key, &outcome);
    /* An id may be used again once its outcome is too old: then the newer command has it. */
    if (event->has_completes &&
            !tally_slice_equal(event->completes.command_id, event->command_id)) {
        outcome.stamp = event->completes.stamp;
        outcome.memo = is_accepted(&event->completes.stamp) ? memo : TALLY_NONE;
        outcome.rejection = event->rejection;
        put_outcome(task, ctx, event->completes.command_id, event->key, &outcome);
    }
}

void stream_task_apply(struct tally_stream_task *task, const struct tally_event *event,
        enum context_phase phase)
{
    struct tally_context ctx;

    stream_task_context(task, &ctx, phase);
    ctx.time_ms = event->time_ms;
    if (event->schema) {
        task->aggregate->evolve(&ctx, event);
    }
    put_outcomes(task, &ctx, event);
    if (event->time_ms > task->next.decision_time) {
        task->next.decision_time = event->time_ms;
    }
}

/* What restore will make of the event's bytes must be what is in the store already. */
static void check_decoded(struct tally_stream_task *task, const struct tally_produce *produce)
{
#ifdef TALLY_CHECKS
    struct tally_event event;
    struct tally_error err = {.code = TALLY_OK};

    tally_assert(tally_event_decode(produce->value, produce->key, task->aggregate->name,
                         task->partition, task->aggregate->event_types, &task->batch, &event,
                         &err) == TALLY_OK);
    stream_task_apply(task, &event, CONTEXT_CHECK);
#else
    (void)task;
    (void)produce;
#endif
}

static enum task_count count_of(enum context_decision decision)
{
    switch (decision) {
    case CONTEXT_EMITTED:
        return COUNT_ACCEPTED;
    case CONTEXT_PENDING:
        return COUNT_PENDING;
    case CONTEXT_ACCEPTED:
        return COUNT_UNCHANGED;
    default:
        return COUNT_REJECTED;
    }
}

bool stream_task_is_too_large(const struct tally_stream_task *task, const struct tally_context *ctx)
{
    return ctx->encoded->failed || ctx->encoded->len > task->event_bytes_max;
}

/* Queues the event and evolves it, unless it can never be written: decide_item sees to that. */
static void take_decision(void *owner, struct tally_context *ctx, const struct tally_event *event)
{
    struct tally_stream_task *task = owner;
    struct tally_arena *arena = tally_collector_arena(task->options.collector);
    struct tally_produce produce = {.delivery = &task->delivery};

    ctx->code = TALLY_FAILPOINT_CODE(LOOP_DECIDE_AFTER, TALLY_STORE_ERROR, &ctx->err);
    if (ctx->code || stream_task_is_too_large(task, ctx)) {
        return;
    }
    produce.key = tally_arena_copy(arena, event->key);
    produce.value = tally_arena_copy(arena, tally_buf_bytes(ctx->encoded));
    tally_collector_add(task->options.collector, tally_topology_events(task->topology),
            task->partition, &produce);
    task->last_event_key = produce.key;
    task->last_event_value = produce.value;
    stream_task_apply(task, event, CONTEXT_EVOLVE);
    check_decoded(task, &produce);
    task->counts[count_of(ctx->decision)]++;
    TALLY_FAILPOINT(LOOP_EVOLVE_AFTER);
}

/* A saga waits for what becomes of a command of tally's own. */
static void refused(struct tally_context *ctx, const struct tally_command *command,
        enum tally_reject code)
{
    if (ctx->aggregate->refused && command->schema->internal && command->id.data[0] == '~') {
        ctx->aggregate->refused(ctx, command, code);
    }
}

void stream_task_decide(struct tally_context *ctx, const struct tally_command *command)
{
    if (!command->schema) {
        tally_reject(ctx, TALLY_REJECT_UNKNOWN_COMMAND, NULL, NULL, 0, "unknown command \"%.*s\"",
                (int)command->type.len, (const char *)command->type.data);
        return;
    }
    if (command->violations && command->violations->count > 0) {
        context_reject_violations(ctx);
        refused(ctx, command, TALLY_REJECT_VALIDATION_FAILED);
        return;
    }
    if ((command->fields->presence.present & TALLY_BIT(TALLY_HAS_DEADLINE)) &&
            ctx->time_ms > command->fields->deadline) {
        tally_reject(ctx, TALLY_REJECT_DEADLINE_EXCEEDED, "/deadline", NULL, 0,
                "the deadline has passed");
        refused(ctx, command, TALLY_REJECT_DEADLINE_EXCEEDED);
        return;
    }
    ctx->aggregate->decide(ctx, command);
}

enum tally_code stream_task_find_outcome(struct tally_stream_task *task,
        const struct batch_item *item, int64_t time_ms, struct tally_outcome *outcome,
        struct tally_error *err)
{
    struct tally_store *store = task->slot->store;
    struct tally_slice row;
    enum tally_code code = TALLY_OK;

    if (!task->keeps_outcomes) {
        return TALLY_NOT_FOUND;
    }
    if (!item->is_new) {
        code = tally_store_get(store, item->dedup, &row, err);
    } else if (!tally_store_written(store, item->dedup, &row)) {
        code = TALLY_NOT_FOUND;
    }
    if (code) {
        return code;
    }
    code = tally_outcome_unpack(row, outcome, err);
    if (!code && outcome->time_ms + task->dedup_retention_ms <= time_ms) {
        return TALLY_NOT_FOUND;
    }
    return code;
}

void stream_task_context_decide(struct tally_stream_task *task, struct tally_context *ctx,
        const struct batch_item *item, struct tally_consumer *consumer)
{
    int64_t timestamp_ms = item->command.timestamp_ms;

    stream_task_context(task, ctx, CONTEXT_DECIDE);
    ctx->command = &item->command;
    ctx->record = item->record;
    ctx->consumer = consumer;
    ctx->owner = task;
    ctx->reply_to = stream_task_reply_to;
    ctx->time_ms =
            timestamp_ms > task->next.decision_time ? timestamp_ms : task->next.decision_time;
}

static enum tally_code decide_item(struct tally_stream_task *task, struct batch_item *item,
        struct tally_consumer *consumer, struct tally_error *err)
{
    const struct tally_command *command = &item->command;
    struct tally_context ctx;
    struct tally_outcome outcome;
    enum tally_code code;

    stream_task_context_decide(task, &ctx, item, consumer);
    ctx.decided = take_decision;
    code = stream_task_find_outcome(task, item, ctx.time_ms, &outcome, err);
    if (code == TALLY_OK) {
        bool same = outcome.stamp.fingerprint == command->fingerprint;

        task->counts[same ? COUNT_DUPLICATE : COUNT_REUSED]++;
        stream_task_want_reply(task, item, same, consumer);
        return TALLY_OK;
    }
    if (code != TALLY_NOT_FOUND) {
        return code;
    }
    stream_task_decide(&ctx, command);
    if (ctx.code) {
        *err = ctx.err;
        return ctx.code;
    }
    tally_assert(ctx.decision != CONTEXT_UNDECIDED);
    if (stream_task_is_too_large(task, &ctx) && ctx.sent) {
        /* What was sent goes only with the transaction; then the record is skipped alone. */
        return tally_error_set(err, TALLY_TOO_LARGE, "event larger than the events topic takes");
    }
    if (stream_task_is_too_large(task, &ctx)) {
        item->kind = BATCH_DEAD;
        item->refusal = TALLY_REFUSAL_OVER_LIMIT;
        item->stage = "write";
        item->reason = "its event is larger than the events topic takes";
        stream_task_dead_letter(task, item, consumer);
        return TALLY_OK;
    }
    if (ctx.decision != CONTEXT_PENDING) {
        stream_task_want_reply(task, item, false, consumer);
    }
    stream_task_want_completion(task, &ctx);
    return TALLY_OK;
}

/* --- one batch -------------------------------------------------------------------------------- */

void stream_task_note_append_time(struct tally_stream_task *task, int64_t timestamp_ms)
{
    if (task->append_count == task->append_capacity) {
        task->append_capacity = task->append_capacity ? task->append_capacity * 2 : 4096;
        task->append_times = tally_realloc(task->append_times,
                task->append_capacity * sizeof task->append_times[0]);
    }
    task->append_times[task->append_count++] = timestamp_ms;
}

static enum tally_code run_item(struct tally_stream_task *task, struct batch_item *item,
        struct tally_consumer *consumer, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    switch (item->kind) {
    case BATCH_SKIP:
        return TALLY_OK;
    case BATCH_DEAD:
        stream_task_dead_letter(task, item, consumer);
        break;
    case BATCH_FORWARD:
        stream_task_forward(task, item, consumer);
        break;
    case BATCH_DECIDE:
        code = decide_item(task, item, consumer, err);
        break;
    }
    if (code) {
        tally_error_context(err, "%s@%lld", task->name, (long long)item->record->offset);
        return code;
    }
    task->next.in_next = item->record->offset + 1;
    stream_task_note_append_time(task, item->record->timestamp_ms);
    return TALLY_OK;
}

void stream_task_set_dedup(struct tally_stream_task *task, struct batch_item *item)
{
    TALLY_UNINITIALIZED struct tally_key key;

    context_dedup_key(item->command.id, item->command.key, &key);
    item->dedup = tally_arena_copy(&task->batch, tally_key_bytes(&key));
    item->is_new = false;
}

static void route_batch(struct tally_stream_task *task, const struct tally_record *records,
        size_t count, struct tally_consumer *consumer)
{
    int64_t from = task->next.in_next;

    task->touch.count = 0;
    task->touch.store = task->slot->store;
    for (size_t i = 0; i < count; i++) {
        struct batch_item *item = &task->items[i];

        if (records[i].offset < from) {
            item->kind = BATCH_SKIP;
            continue;
        }
        from = records[i].offset + 1;
        stream_task_route(task, &records[i], consumer, item);
        if (item->kind != BATCH_DECIDE) {
            continue;
        }
        if (task->keeps_outcomes) {
            stream_task_set_dedup(task, item);
            item->dedup_at = task->touch.count;
            context_touch(&task->touch, item->dedup);
        }
        if (item->command.schema && !item->command.violations) {
            task->aggregate->touch(&task->touch, &item->command);
        }
    }
}

static void count_batch(struct tally_stream_task *task, size_t count)
{
    tally_series_add(task->polled_series, (int64_t)count);
    for (int i = 0; i < TASK_COUNTS; i++) {
        if (task->counts[i] > 0) {
            tally_series_add(task->outcome_series[i], task->counts[i]);
            task->counts[i] = 0;
        }
    }
}

/* Has the keys loaded that the commands behind item i will read, as far as `from`; returns how far
 * it is now. Commands have about as many keys each. */
static size_t load_soon(struct tally_stream_task *task, size_t i, size_t count, size_t from)
{
    size_t keys = task->touch.count, upto = (i + 1) * keys / count + KEYS_AHEAD;

    for (; from < upto && from < keys; from++) {
        tally_store_soon(task->slot->store, task->touch.keys, from);
    }
    return from;
}

enum tally_code tally_stream_task_process(struct tally_stream_task *task,
        const struct tally_record *records, size_t count, struct tally_consumer *consumer,
        struct tally_error *err)
{
    const struct tally_record *last = &records[count - 1];
    size_t soon = 0;
    enum tally_code code;

    tally_assert(task->state == TALLY_TASK_RUNNING && count > 0);
    if (task->projection) {
        return stream_task_project(task, records, count, err);
    }
    if (count > task->item_capacity) {
        task->item_capacity = count;
        task->items = tally_realloc(task->items, count * sizeof task->items[0]);
    }
    tally_log_task(task->name);
    route_batch(task, records, count, consumer);
    code = tally_store_prefetch(task->slot->store, task->touch.keys, task->touch.count,
            task->touch.absent, err);
    for (size_t i = 0; i < count && !code; i++) {
        soon = load_soon(task, i, count, soon);
        tally_log_position(records[i].topic, records[i].partition, records[i].offset);
        if (task->items[i].kind == BATCH_DECIDE && task->keeps_outcomes) {
            task->items[i].is_new = task->touch.absent[task->items[i].dedup_at];
        }
        code = run_item(task, &task->items[i], consumer, err);
    }
    if (!code && last->offset + 1 == task->next.in_next) {
        task->next.in_last = last->offset;
        task->next.in_crc = tally_stream_task_crc(last);
    }
    task->read_failures = code ? task->read_failures : 0;
    count_batch(task, count);
    tally_arena_reset(&task->batch, BATCH_KEEP_BYTES);
    tally_log_task(NULL);
    return code;
}

void tally_stream_task_skip_too_large(struct tally_stream_task *task,
        const struct tally_record *record, struct tally_consumer *consumer, bool cut)
{
    struct batch_item item = {
            .record = record,
            .kind = BATCH_DEAD,
            .cut = cut,
            .refusal = TALLY_REFUSAL_OVER_LIMIT,
            .stage = "write",
            .reason = "what it leads to is larger than a topic takes",
    };

    stream_task_dead_letter(task, &item, consumer);
    task->next.in_next = record->offset + 1;
    task->next.in_last = record->offset;
    task->next.in_crc = tally_stream_task_crc(record);
}

/* --- timers ----------------------------------------------------------------------------------- */

int64_t tally_stream_task_due_ms(const struct tally_stream_task *task)
{
    return has_timers(task) ? task_timers_next_ms(&task->timers) : INT64_MAX;
}

struct timer_call {
    struct tally_stream_task *task;
    struct tally_context ctx;
    int64_t now_ms;
};

static void call_due(void *context, struct tally_slice key, int64_t due_ms, struct tally_slice row)
{
    struct timer_call *call = context;
    const size_t head = 1 + sizeof(uint64_t); /* store and time */
    int64_t late_ms = call->now_ms - due_ms;

    call->ctx.time_ms = due_ms;
    call->task->aggregate->due(&call->ctx, due_ms, tally_slice_of(key.data + head, key.len - head),
            row);
    tally_series_observe_us(call->task->lateness_series, late_ms > 0 ? late_ms * 1000 : 0);
}

enum tally_code tally_stream_task_fire(struct tally_stream_task *task, int64_t now_ms, size_t max,
        size_t *count, struct tally_error *err)
{
    struct timer_call call = {.task = task, .now_ms = now_ms};
    enum tally_code code;

    tally_assert(task->state == TALLY_TASK_RUNNING);
    stream_task_context(task, &call.ctx, CONTEXT_DUE);
    code = task_timers_fire(&task->timers, task->slot->store, now_ms, max, call_due, &call, count,
            err);
    if (code) {
        tally_error_context(err, "timers of %s", task->name);
    }
    tally_series_add(task->fired_series, (int64_t)*count);
    tally_arena_reset(&task->batch, BATCH_KEEP_BYTES);
    return code;
}

bool tally_stream_task_regressed(const struct tally_stream_task *task)
{
    return task->delivery.produced > 0 && task->delivery.last_offset <= task->committed.out_last;
}

/* --- commit and rollback ---------------------------------------------------------------------- */

enum tally_code tally_stream_task_finish(struct tally_stream_task *task, bool *added,
        struct tally_error *err)
{
    return task->projection ? stream_task_project_finish(task, added, err) : TALLY_OK;
}

/* Commands that came in one batch have one time. */
static void observe_latency(struct tally_stream_task *task, int64_t now_ms)
{
    const int64_t *times = task->append_times;

    for (size_t i = 0, next; i < task->append_count; i = next) {
        next = i + 1;
        while (next < task->append_count && times[next] == times[i]) {
            next++;
        }
        tally_series_observe_many_us(task->latency_series, (now_ms - times[i]) * 1000,
                (int64_t)(next - i));
    }
}

void tally_stream_task_commit(struct tally_stream_task *task, int64_t now_ms)
{
    tally_assert(!task->evolved);
    if (task->delivery.produced > 0) {
        tally_assert(task->delivery.delivered == task->delivery.produced);
        tally_assert(!tally_stream_task_regressed(task));
        task->next.out_last = task->delivery.last_offset;
        task->next.out_crc =
                tally_crc32c(tally_crc32c(0, task->last_event_key), task->last_event_value);
    }
    task->next.commit_time = now_ms;
    tally_store_commit(task->slot->store, &task->next);
    if (has_timers(task)) {
        task_timers_commit(&task->timers);
    }
    task->committed = task->next;
    task->delivery = (struct tally_delivery){.last_offset = TALLY_OFFSET_NONE};
    if (task->state == TALLY_TASK_RUNNING) {
        tally_task_slot_set_anchor(task->slot, &task->committed);
    }
    tally_task_slot_publish(task->slot, task->committed.in_next);
    if (task->committed.decision_time > atomic_load(&task->slot->as_of_ms)) {
        atomic_store(&task->slot->as_of_ms, task->committed.decision_time);
    }
    TALLY_FAILPOINT(COMMIT_PUBLISH_AFTER);
    tally_series_set(task->position_series, task->committed.in_next);
    observe_latency(task, now_ms);
    task->append_count = 0;
    stream_task_send_replies(task);
}

void tally_stream_task_rollback(struct tally_stream_task *task)
{
    if (task->slot->store) {
        tally_store_rollback(task->slot->store);
    }
    task->next = task->committed;
    task->delivery = (struct tally_delivery){.last_offset = TALLY_OFFSET_NONE};
    task->append_count = 0;
    stream_task_drop_replies(task);
    stream_task_project_forget(task);
    task->evolved = NULL;
    task->proof_key = task->proof_id = TALLY_NONE;
    if (has_timers(task)) {
        task_timers_rollback(&task->timers);
    }
}
