/* engine/stream_thread.c - the loop: poll -> process -> commit. Errors are reacted to here only.
 *
 *   CREATED -> STARTING -> ASSIGNED <-> RUNNING; both -> REVOKED -> ASSIGNED
 *   ASSIGNED, RUNNING, REVOKED -> RECOVERING -> ASSIGNED, REVOKED
 *   any -> PENDING_SHUTDOWN -> DEAD
 *
 * STARTING: clients are made, the group is joined. ASSIGNED: a task is not restored yet.
 * RECOVERING: there is no producer that may begin. A commit happens when input runs dry, after
 * engine.commit.interval, or when the open transaction holds engine.uncommitted.max.bytes, or about
 * a batch for one partition. */
#include "engine/base/failpoint.h"
#include "engine/restore_check.h"
#include "engine/stream_thread_internal.h"

#include <stdio.h>

#define BIT(n) (1u << (n))
enum {
    GATHER_US = 2500,
    UPKEEP_EVERY_MS = 100,
    RESTORE_BUDGET_MS = 50,
    KEEP_WRONG_MS = 5000,
    RECOVER_WAIT_MS = 5
};

static const char *const state_names[] = {"CREATED", "STARTING", "ASSIGNED", "RUNNING", "REVOKED",
        "RECOVERING", "PENDING_SHUTDOWN", "DEAD"};

static const unsigned successors[] = {
        [THREAD_CREATED] = BIT(THREAD_STARTING) | BIT(THREAD_PENDING_SHUTDOWN),
        [THREAD_STARTING] = BIT(THREAD_ASSIGNED) | BIT(THREAD_REVOKED) | BIT(THREAD_RECOVERING) |
                            BIT(THREAD_PENDING_SHUTDOWN),
        [THREAD_ASSIGNED] = BIT(THREAD_ASSIGNED) | BIT(THREAD_RUNNING) | BIT(THREAD_REVOKED) |
                            BIT(THREAD_RECOVERING) | BIT(THREAD_PENDING_SHUTDOWN),
        [THREAD_RUNNING] = BIT(THREAD_ASSIGNED) | BIT(THREAD_REVOKED) | BIT(THREAD_RECOVERING) |
                           BIT(THREAD_PENDING_SHUTDOWN),
        [THREAD_REVOKED] = BIT(THREAD_ASSIGNED) | BIT(THREAD_REVOKED) | BIT(THREAD_RECOVERING) |
                           BIT(THREAD_PENDING_SHUTDOWN),
        [THREAD_RECOVERING] = BIT(THREAD_ASSIGNED) | BIT(THREAD_REVOKED) | BIT(THREAD_RECOVERING) |
                              BIT(THREAD_PENDING_SHUTDOWN),
        [THREAD_PENDING_SHUTDOWN] = BIT(THREAD_ASSIGNED) | BIT(THREAD_REVOKED) |
                                    BIT(THREAD_RECOVERING) | BIT(THREAD_DEAD) |
                                    BIT(THREAD_PENDING_SHUTDOWN),
        [THREAD_DEAD] = 0,
};

void stream_thread_set_state(struct tally_stream_thread *thread, enum thread_state next)
{
    int now = atomic_load(&thread->state);

    tally_assert(successors[now] & BIT(next));
    if (now != THREAD_PENDING_SHUTDOWN || next == THREAD_DEAD) {
        atomic_store(&thread->state, (int)next);
    }
}

const char *tally_stream_thread_state_name(const struct tally_stream_thread *thread)
{
    return state_names[atomic_load(&thread->state)];
}

int64_t tally_stream_thread_beat(const struct tally_stream_thread *thread)
{
    return atomic_load(&thread->beat_ms);
}

bool tally_stream_thread_backs_off(const struct tally_stream_thread *thread)
{
    return !thread->consumer && tally_mono_ms(thread->options.clock) < thread->retry_at_ms;
}

bool tally_stream_thread_joined(const struct tally_stream_thread *thread)
{
    return atomic_load(&thread->joined);
}

static void find_series(struct tally_stream_thread *thread)
{
    thread->commit_series = tally_series_of(TALLY_METRIC_COMMIT_TIME, NULL);
    thread->committed_series = tally_series_of(TALLY_METRIC_TRANSACTIONS, "committed");
    thread->aborted_series = tally_series_of(TALLY_METRIC_TRANSACTIONS, "aborted");
    thread->unknown_series = tally_series_of(TALLY_METRIC_TRANSACTIONS, "unknown");
    thread->fenced_series = tally_series_of(TALLY_METRIC_TRANSACTIONS, "fenced");
}

struct tally_stream_thread *
tally_stream_thread_create(const struct tally_stream_thread_options *options)
{
    struct tally_stream_thread *thread = tally_alloc_zero(1, sizeof *thread);

    thread->options = *options;
    atomic_init(&thread->state, THREAD_CREATED);
    atomic_init(&thread->beat_ms, tally_mono_ms(options->clock));
    thread->collector = tally_collector_create(options->client);
    thread->manager = tally_task_manager_create(&(struct tally_task_manager_options){
            .thread = options->index,
            .group = options->group,
            .config = options->config,
            .client = options->client,
            .clock = options->clock,
            .state = options->state,
            .registry = options->registry,
            .collector = thread->collector,
            .partitions = options->partitions,
    });
    thread->restorer = tally_restorer_create(&(struct tally_restorer_options){
            .thread = options->index,
            .config = options->config,
            .client = options->client,
            .clock = options->clock,
            .state = options->state,
            .context = thread,
            .restored = stream_thread_restored,
            .failed = stream_thread_restore_failed,
    });
    thread->batch_capacity = (size_t)options->config->batch_records;
    thread->batch_limit = thread->batch_capacity;
    thread->batch = tally_alloc_zero(thread->batch_capacity, sizeof thread->batch[0]);
    find_series(thread);
    return thread;
}

void stream_thread_drop_batch(struct tally_stream_thread *thread)
{
    for (size_t i = 0; i < thread->batch_count; i++) {
        thread->consumer->ops->release(thread->consumer, &thread->batch[i]);
    }
    thread->batch_count = 0;
}

/* --- start ------------------------------------------------------------------------------------ */

/* Every input of the group's topologies, once. */
static enum tally_code subscribe(struct tally_stream_thread *thread, struct tally_error *err)
{
    struct tally_task_registry *registry = thread->options.registry;
    size_t slots = tally_task_registry_count(registry);
    const char **topics = tally_alloc_zero(slots + 1, sizeof topics[0]);
    size_t count = 0;
    enum tally_code code;

    for (size_t i = 0; i < slots; i++) {
        struct tally_task_slot *slot = tally_task_registry_at(registry, i);

        if (slot->partition == 0 && tally_task_slot_in_group(slot, thread->options.group)) {
            topics[count++] = tally_topology_input(slot->topology);
        }
    }
    code = thread->consumer->ops->subscribe(thread->consumer, topics, count, err);
    tally_free(topics);
    return code;
}

/* R1 before the group is joined: the producer settles what this member left open. */
static enum tally_code start(struct tally_stream_thread *thread, struct tally_error *err)
{
    struct tally_client *client = thread->options.client;
    struct tally_rebalance_listener listener = {
            .context = thread,
            .assigned = stream_thread_assigned,
            .revoked = stream_thread_revoked,
    };
    enum tally_code code;

    if (atomic_load(&thread->state) == THREAD_CREATED) {
        stream_thread_set_state(thread, THREAD_STARTING);
    }
    code = stream_thread_recover(thread, err);
    if (code) {
        return code;
    }
    thread->consumer = client->ops->consumer(client, thread->options.group, thread->options.member,
            &listener, err);
    if (!thread->consumer) {
        return err->code;
    }
    return subscribe(thread, err);
}

/* --- one turn --------------------------------------------------------------------------------- */

/* Which end of the topic a task's position is beyond; a broker only says that it is. */
static enum tally_code out_of_range(struct tally_stream_thread *thread, enum tally_code code,
        struct tally_error *err)
{
    struct tally_stream_task *task = thread->current;
    int32_t partition = tally_stream_task_slot(task)->partition;
    int64_t next = tally_stream_task_next(task)->in_next, low, high;
    struct tally_error better = {.code = TALLY_OK};

    if (!thread->consumer->ops->watermarks(thread->consumer, tally_stream_task_input(task),
                partition, SLICE_MS, &low, &high, &better) &&
            tally_check_input(tally_stream_task_input(task), partition, next, next, low, high,
                    &better)) {
        *err = better;
        return better.code;
    }
    return code;
}

/* An error that poll gave: of one task where a topic is named, else of the thread. */
static enum tally_code poll_failed(struct tally_stream_thread *thread, enum tally_code code,
        const struct tally_record *record, struct tally_error *err)
{
    if (tally_code_reaction(code) == TALLY_REACT_RETRY) {
        return TALLY_OK; /* librdkafka reconnects by itself */
    }
    thread->current = record->topic ? tally_task_manager_find(thread->manager, record->topic,
                                              record->partition)
                                    : NULL;
    if (thread->current && tally_stream_task_state(thread->current) != TALLY_TASK_RUNNING) {
        return TALLY_OK; /* a paused task: its restore decides */
    }
    return thread->current && code == TALLY_INPUT_LOST ? out_of_range(thread, code, err) : code;
}

/* The broker refuses a transaction until it has written the markers of the one before. So what
 * arrives meanwhile may join it, instead of waiting for the next. */
static bool may_gather(const struct tally_stream_thread *thread)
{
    return thread->batch_count > 0 && !thread->open &&
           tally_mono_us(thread->options.clock) - thread->committed_us < GATHER_US;
}

/* Fills the batch with what is there; waits only for the first record, and soon after a commit.
 * *dry: there was no more. */
static enum tally_code poll_batch(struct tally_stream_thread *thread, int wait_ms, bool *dry,
        struct tally_error *err)
{
    struct tally_consumer *consumer = thread->consumer;
    int patience = GATHER_US / 1000 + 1; /* in empty polls: a clock may stand still */

    *dry = false;
    while (thread->batch_count < thread->batch_limit) {
        struct tally_record record = {.topic = NULL};
        bool gather = patience > 0 && may_gather(thread);
        enum tally_code code = consumer->ops->poll(consumer,
                thread->batch_count == 0 ? wait_ms : gather, &record, err);

        if (code == TALLY_OK) {
            thread->batch[thread->batch_count++] = record;
            continue;
        }
        if (code == TALLY_AGAIN && gather) {
            patience--;
            continue;
        }
        *dry = true;
        if (code != TALLY_AGAIN) {
            code = poll_failed(thread, code, &record, err);
            if (record.message) {
                consumer->ops->release(consumer, &record);
            }
            return code;
        }
        return TALLY_OK;
    }
    return TALLY_OK;
}

/* Records of one partition that follow each other. */
static size_t run_length(const struct tally_stream_thread *thread, size_t from)
{
    const struct tally_record *first = &thread->batch[from];
    size_t end = from + 1;

    while (end < thread->batch_count && thread->batch[end].topic == first->topic &&
            thread->batch[end].partition == first->partition) {
        end++;
    }
    return end - from;
}

enum tally_code stream_thread_produce(struct tally_stream_thread *thread, struct tally_error *err)
{
    enum tally_code code = tally_collector_flush(thread->collector, thread->producer, err);

    thread->produced = true;
    if (!code) {
        code = thread->producer->ops->poll(thread->producer, 0, err);
        code = code ? code : TALLY_FAILPOINT_CODE(LOOP_SERVE_AFTER, TALLY_DELIVERY_FAILED, err);
    }
    return code;
}

/* The first of the records is what was found too large, alone in a transaction. */
static enum tally_code skip_too_large(struct tally_stream_thread *thread,
        struct tally_stream_task *task, const struct tally_record *record, struct tally_error *err)
{
    const struct tally_topology *topology = tally_stream_task_slot(task)->topology;

    if (!tally_topology_dead_letters(topology)) { /* a row is smaller than any changelog's limit */
        return tally_error_set(err, TALLY_TOPIC_CONFIG,
                "topic \"%s\" does not take what one event changes: its max.message.bytes was "
                "lowered",
                tally_topology_output(topology));
    }
    tally_stream_task_skip_too_large(task, record, thread->consumer, thread->too_large.tries > 0);
    thread->too_large.written = true;
    return TALLY_OK;
}

static enum tally_code process_run(struct tally_stream_thread *thread,
        const struct tally_record *records, size_t count, bool dry, struct tally_error *err)
{
    struct tally_stream_task *task =
            tally_task_manager_find(thread->manager, records->topic, records->partition);
    enum tally_code code;

    if (!task || tally_stream_task_state(task) != TALLY_TASK_RUNNING ||
            records[count - 1].offset < tally_stream_task_next(task)->in_next) {
        return TALLY_OK; /* fetched before a seek or a revoke; it comes again where it is due */
    }
    thread->current = task;
    code = stream_thread_begin(thread, err);
    if (code) {
        return code;
    }
    thread->records.count += count;
    thread->records.task = task;
    thread->records.offset = records->offset;
    if (thread->too_large.task == task && thread->too_large.offset == records->offset) {
        code = skip_too_large(thread, task, records, err);
        records++;
        count--;
    }
    if (!code && count > 0) {
        code = tally_stream_task_process(task, records, count, thread->consumer, err);
    }
    if (dry && !thread->produced) {
        return code; /* the commit follows at once and does it */
    }
    return code ? code : stream_thread_produce(thread, err);
}

static enum tally_code process_batch(struct tally_stream_thread *thread, bool dry,
        struct tally_error *err)
{
    enum tally_code code = TALLY_OK;
    size_t from = 0;

    while (from < thread->batch_count && !code) {
        size_t count = run_length(thread, from);

        code = process_run(thread, &thread->batch[from], count, dry, err);
        from += count;
    }
    stream_thread_drop_batch(thread);
    return code;
}

/* Whether a transaction may begin without a record: nothing stands in its way. */
static bool may_begin(const struct tally_stream_thread *thread)
{
    return thread->producer && !thread->paused;
}

/* Wait for a record no longer than until the next timer is due. */
static int timer_wait(struct tally_stream_thread *thread, int wait_ms)
{
    int64_t now_ms = tally_wall_ms(thread->options.clock);

    for (size_t i = 0;
            wait_ms > 0 && may_begin(thread) && i < tally_task_manager_count(thread->manager);
            i++) {
        struct tally_stream_task *task = tally_task_manager_at(thread->manager, i);
        int64_t due_ms = tally_stream_task_due_ms(task);

        if (tally_stream_task_state(task) == TALLY_TASK_RUNNING && due_ms < now_ms + wait_ms) {
            wait_ms = due_ms > now_ms ? (int)(due_ms - now_ms) : 0;
        }
    }
    return wait_ms;
}

static enum tally_code fire_timers(struct tally_stream_thread *thread, bool dry, bool *busy,
        struct tally_error *err)
{
    int64_t now_ms = tally_wall_ms(thread->options.clock);
    size_t fired = 0, count;
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; may_begin(thread) && i < tally_task_manager_count(thread->manager) && !code;
            i++) {
        struct tally_stream_task *task = tally_task_manager_at(thread->manager, i);

        if (tally_stream_task_state(task) == TALLY_TASK_RUNNING &&
                tally_stream_task_due_ms(task) <= now_ms) {
            thread->current = task;
            code = tally_stream_task_fire(task, now_ms, thread->batch_limit, &count, err);
            fired += count;
        }
    }
    if (code || fired == 0) {
        return code;
    }
    *busy = true;
    code = TALLY_FAILPOINT_CODE(TIMER_FIRE_AFTER, TALLY_TXN_ABORTED, err);
    code = code ? code : stream_thread_begin(thread, err);
    if (code || (dry && !thread->produced)) {
        return code; /* the commit follows at once and hands them over */
    }
    return stream_thread_produce(thread, err);
}

/* Tasks that stand still go behind what no reader is shown: see position_watch.h. Nothing of their
 * input is on its way, because no record can come from there. */
static enum tally_code pass_tails(struct tally_stream_thread *thread, struct tally_error *err)
{
    bool moved = false;

    for (size_t i = 0; may_begin(thread) && i < tally_task_manager_count(thread->manager); i++) {
        struct tally_stream_task *task = tally_task_manager_at(thread->manager, i);
        struct tally_positions *next = tally_stream_task_next(task);
        int64_t from, to;

        if (tally_stream_task_state(task) == TALLY_TASK_RUNNING &&
                tally_task_slot_take_pass(tally_stream_task_slot(task), &from, &to) &&
                from <= next->in_next && next->in_next < to) {
            next->in_next = to;
            moved = true;
        }
    }
    return moved ? stream_thread_begin(thread, err) : TALLY_OK;
}

static bool commit_is_due(const struct tally_stream_thread *thread, bool dry)
{
    const struct tally_config *config = thread->options.config;
    size_t bytes;

    if (!thread->open) {
        return false;
    }
    bytes = tally_collector_bytes(thread->collector) +
            tally_task_manager_uncommitted(thread->manager);
    return dry || thread->batch_limit < thread->batch_capacity || /* looking for what fails */
           bytes >= (size_t)config->uncommitted_bytes || tally_collector_full(thread->collector) ||
           tally_mono_ms(thread->options.clock) - thread->begin_ms >= config->commit_interval ||
           tally_state_full(thread->options.state);
}

/* --- upkeep ----------------------------------------------------------------------------------- */

/* Lag, and up to when reads are complete: now, once nothing that a broker told us of is left. */
static void show_progress(struct tally_stream_thread *thread, bool dry)
{
    int64_t wall_ms = tally_wall_ms(thread->options.clock);
    bool reachable = thread->options.client->ops->reachable(thread->options.client, NULL);

    if (reachable) {
        tally_task_registry_contact(thread->options.registry, tally_mono_ms(thread->options.clock));
    }
    for (size_t i = 0; i < tally_task_manager_count(thread->manager); i++) {
        struct tally_stream_task *task = tally_task_manager_at(thread->manager, i);
        struct tally_task_slot *slot = tally_stream_task_slot(task);
        const char *input = tally_stream_task_input(task);
        int64_t high, position;

        if (tally_stream_task_state(task) != TALLY_TASK_RUNNING) {
            continue;
        }
        high = thread->consumer->ops->cached_high(thread->consumer, input, slot->partition);
        position = thread->consumer->ops->position(thread->consumer, input, slot->partition);
        position = position > tally_stream_task_committed(task)->in_next
                           ? position
                           : tally_stream_task_committed(task)->in_next;
        tally_task_slot_set_lag(slot, high < 0 ? -1 : high > position ? high - position : 0);
        if (dry && reachable && !thread->open && high >= 0 && position >= high) {
            atomic_store(&slot->as_of_ms, wall_ms);
        }
    }
}

/* A store whose background flush found damage is rebuilt; full memory stops deciding until a flush
 * made room. */
static void check_stores(struct tally_stream_thread *thread)
{
    bool full = tally_state_full(thread->options.state);

    if (!thread->open) {
        stream_thread_rebuild_damaged(thread);
    }
    if (full && !thread->paused) {
        tally_log(TALLY_LOG_WARN, "deciding stops until state is flushed: state.memory is used up");
        stream_thread_pause_all(thread);
    }
}

/* The task may have gone on in the new topic, and its last records are then those of that: with
 * them a recheck or a restart would find that all is well. So what it is proved by goes back to
 * the records that are gone. */
static void keep_wrong(struct tally_stream_thread *thread, struct tally_stream_task *task,
        const struct tally_positions *wrong)
{
    struct tally_positions *next = tally_stream_task_next(task);
    struct tally_error err = {.code = TALLY_OK};

    next->in_last = wrong->in_last;
    next->in_crc = wrong->in_crc;
    next->out_last = wrong->out_last;
    next->out_crc = wrong->out_crc;
    tally_stream_task_commit(task, tally_wall_ms(thread->options.clock));
    if (tally_store_flush(tally_stream_task_slot(task)->store, true, KEEP_WRONG_MS, &err)) {
        tally_log_error(TALLY_LOG_WARN, "the halt is not on disk yet", &err);
    }
}

/* What the watch over positions has found out about running tasks halts them. */
static enum tally_code take_doubts(struct tally_stream_thread *thread)
{
    for (size_t i = 0; i < tally_task_manager_count(thread->manager); i++) {
        struct tally_stream_task *task = tally_task_manager_at(thread->manager, i);
        struct tally_error err = {.code = TALLY_OK};
        struct tally_positions wrong;

        if (tally_task_slot_take_doubt(tally_stream_task_slot(task), &err, &wrong) &&
                tally_stream_task_state(task) == TALLY_TASK_RUNNING) {
            enum tally_code code;

            thread->current = task;
            code = stream_thread_react(thread, err.code, &err);
            if (code) {
                return code;
            }
            if (err.code == TALLY_TOPIC_RECREATED) {
                keep_wrong(thread, task, &wrong);
            }
        }
    }
    return TALLY_OK;
}

static enum tally_code upkeep(struct tally_stream_thread *thread, bool dry)
{
    int64_t now = tally_mono_ms(thread->options.clock);

    if (now < thread->upkeep_ms) {
        return TALLY_OK;
    }
    thread->upkeep_ms = now + UPKEEP_EVERY_MS;
    stream_thread_claim_waiting(thread);
    stream_thread_recheck_halted(thread);
    check_stores(thread);
    show_progress(thread, dry);
    return take_doubts(thread);
}

/* After recovery or a restore: which state the thread is in. */
static void settle(struct tally_stream_thread *thread)
{
    int state = atomic_load(&thread->state);
    size_t count = tally_task_manager_count(thread->manager);
    bool all_running = true;

    for (size_t i = 0; i < count; i++) {
        enum tally_task_state task =
                tally_stream_task_state(tally_task_manager_at(thread->manager, i));

        all_running = all_running && task == TALLY_TASK_RUNNING;
    }
    if (state == THREAD_RECOVERING && thread->producer) {
        stream_thread_set_state(thread, count > 0 ? THREAD_ASSIGNED : THREAD_REVOKED);
    } else if (state == THREAD_ASSIGNED && all_running) {
        stream_thread_set_state(thread, THREAD_RUNNING);
    } else if (state == THREAD_RUNNING && !all_running) {
        stream_thread_set_state(thread, THREAD_ASSIGNED);
    }
}

static bool may_recover(const struct tally_stream_thread *thread)
{
    return tally_task_manager_count(thread->manager) > 0 ||
           atomic_load(&thread->state) != THREAD_RECOVERING;
}

/* Without a producer nothing is decided, but the group still needs polls. Paused partitions bring
 * no record that would end one, so it ends when the producer may be made again. */
static enum tally_code turn_without_producer(struct tally_stream_thread *thread, int wait_ms,
        struct tally_error *err)
{
    int64_t left_ms = thread->retry_at_ms - tally_mono_ms(thread->options.clock);
    bool dry;
    enum tally_code code;

    if (may_recover(thread) && left_ms < wait_ms) {
        wait_ms = left_ms > RECOVER_WAIT_MS ? (int)left_ms : RECOVER_WAIT_MS;
    }
    code = poll_batch(thread, wait_ms, &dry, err);
    stream_thread_drop_batch(thread);
    if (code) {
        return stream_thread_react(thread, code, err);
    }
    if (may_recover(thread)) {
        code = stream_thread_recover(thread, err);
    }
    return code == TALLY_AGAIN ? TALLY_OK : code;
}

static enum tally_code turn(struct tally_stream_thread *thread, int wait_ms, bool *busy,
        struct tally_error *err)
{
    const struct tally_config *config = thread->options.config;
    bool restoring = !tally_restorer_idle(thread->restorer);
    bool dry = false;
    enum tally_code code;

    code = poll_batch(thread, thread->open || restoring ? 0 : timer_wait(thread, wait_ms), &dry,
            err);
    if (thread->batch_count > 0) {
        TALLY_FAILPOINT(LOOP_POLL_AFTER);
    }
    if (!code) {
        *busy = thread->batch_count > 0 || thread->open || restoring;
        code = thread->producer ? process_batch(thread, dry, err) : TALLY_OK;
        code = code ? code : fire_timers(thread, dry, busy, err);
        code = code || !dry ? code : pass_tails(thread, err);
    }
    stream_thread_drop_batch(thread);
    if (!code && commit_is_due(thread, dry)) {
        thread->current = NULL;
        code = stream_thread_commit(thread, config->max_poll_interval / 2, err);
    }
    if (code) {
        return stream_thread_react(thread, code, err);
    }
    if (thread->producer && !thread->open) {
        if (thread->paused && !tally_state_full(thread->options.state)) {
            stream_thread_resume_all(thread);
            *busy = *busy || !thread->paused; /* their timers come with the next turn */
        }
        stream_thread_begin_restores(thread);
        code = tally_restorer_step(thread->restorer, RESTORE_BUDGET_MS, err);
    }
    return code ? code : upkeep(thread, dry);
}

enum tally_code tally_stream_thread_step(struct tally_stream_thread *thread, int wait_ms,
        bool *busy, struct tally_error *err)
{
    enum tally_code code;

    *busy = false;
    atomic_store(&thread->beat_ms, tally_mono_ms(thread->options.clock));
    if (!thread->consumer) {
        code = start(thread, err);
        return code == TALLY_AGAIN || tally_code_reaction(code) == TALLY_REACT_RETRY ? TALLY_OK
                                                                                     : code;
    }
    if (!thread->producer) {
        code = turn_without_producer(thread, wait_ms, err);
        *busy = thread->producer != NULL;
    } else {
        code = turn(thread, wait_ms, busy, err);
    }
    settle(thread);
    return code;
}

/* --- end -------------------------------------------------------------------------------------- */

static void destroy_clients(struct tally_stream_thread *thread)
{
    if (thread->consumer) {
        thread->consumer->ops->destroy(thread->consumer);
        thread->consumer = NULL;
    }
    if (thread->starting) {
        thread->starting->ops->destroy(thread->starting);
        thread->starting = NULL;
    }
    if (thread->producer) {
        thread->producer->ops->destroy(thread->producer);
        thread->producer = NULL;
    }
    tally_collector_reset(thread->collector);
}

void tally_stream_thread_close(struct tally_stream_thread *thread)
{
    int64_t budget_ms = thread->options.config->shutdown_timeout / 2;
    struct tally_error err = {.code = TALLY_OK};

    stream_thread_set_state(thread, THREAD_PENDING_SHUTDOWN);
    stream_thread_drop_batch(thread);
    if (thread->open && stream_thread_commit(thread, budget_ms, &err)) {
        tally_log_error(TALLY_LOG_WARN,
                "last commit failed; its records are decided again at the next start", &err);
        thread->open = false;
        tally_task_manager_rollback(thread->manager);
    }
    TALLY_FAILPOINT(EDGES_DRAIN_COMMITTED);
    tally_restorer_clear(thread->restorer);
    tally_task_manager_park_all(thread->manager, budget_ms);
    TALLY_FAILPOINT(EDGES_DRAIN_CLOSED);
    destroy_clients(thread);
    stream_thread_set_state(thread, THREAD_DEAD);
}

void tally_stream_thread_crash(struct tally_stream_thread *thread)
{
    stream_thread_drop_batch(thread);
    tally_restorer_clear(thread->restorer);
    tally_task_manager_abandon_all(thread->manager);
    thread->open = false;
    destroy_clients(thread);
    stream_thread_set_state(thread, THREAD_PENDING_SHUTDOWN);
    stream_thread_set_state(thread, THREAD_DEAD);
}

void tally_stream_thread_destroy(struct tally_stream_thread *thread)
{
    if (!thread) {
        return;
    }
    tally_assert(!thread->consumer && !thread->producer);
    tally_restorer_destroy(thread->restorer);
    tally_task_manager_destroy(thread->manager);
    tally_collector_destroy(thread->collector);
    for (size_t i = 0; i < thread->waiting_count; i++) {
        tally_free(thread->waiting[i].topic);
    }
    tally_free(thread->waiting);
    tally_free(thread->batch);
    tally_free(thread);
}
