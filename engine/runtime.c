/* engine/runtime.c - see runtime.h. */
#include "engine/runtime_internal.h"
#include "engine/runtime_metrics.h"

#include "engine/base/failpoint.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "engine/task_manager.h"

#include <time.h>
#include <stdio.h>
#include <unistd.h>

enum {
    IDLE_WAIT_MS = 200, /* a record ends it; else upkeep, and whether to stop */
    BACK_OFF_SLICE_MS = 10,
    START_RETRY_MS = 100,
    KAFKA_SILENT_MS = 30000, /* http.md: ready fails after 30 s without a broker */
};

/* Stream threads of the aggregates; each projection has one of its own, because it has a group of
 * its own: it falls behind or halts alone, and makes no commit of commands longer. */
static size_t aggregate_threads(const struct tally_runtime_options *options)
{
    const struct tally_config *config = options->config;
    bool any = false;

    long cores = config->engine_threads > 0 ? (long)config->engine_threads
                                            : sysconf(_SC_NPROCESSORS_ONLN);

    for (size_t i = 0; i < options->topology_count; i++) {
        any |= tally_topology_group(options->topologies[i]) == NULL;
    }
    return !any ? 0 : cores > 0 ? (size_t)cores : 1;
}

static void make_worker(struct tally_runtime *runtime, const char *group, int member)
{
    struct runtime_worker *worker = &runtime->workers[runtime->worker_count];

    worker->runtime = runtime;
    worker->stream = tally_stream_thread_create(&(struct tally_stream_thread_options){
            .index = (int)runtime->worker_count++,
            .group = group,
            .member = member,
            .config = runtime->options.config,
            .client = runtime->options.client,
            .clock = runtime->options.clock,
            .state = runtime->state,
            .registry = runtime->registry,
            .partitions = runtime->options.partitions,
    });
}

static void make_workers(struct tally_runtime *runtime)
{
    const struct tally_runtime_options *options = &runtime->options;
    size_t aggregates = aggregate_threads(options);

    runtime->workers =
            tally_alloc_zero(aggregates + options->topology_count, sizeof runtime->workers[0]);
    for (size_t i = 0; i < aggregates; i++) {
        make_worker(runtime, NULL, (int)i);
    }
    for (size_t i = 0; i < options->topology_count; i++) {
        const char *group = tally_topology_group(options->topologies[i]);

        if (group) {
            make_worker(runtime, group, 0);
        }
    }
}

enum tally_code tally_runtime_create(const struct tally_runtime_options *options,
        struct tally_runtime **runtime, struct tally_error *err)
{
    const struct tally_config *config = options->config;
    struct tally_state_options state_options = {
            .dir = config->state_dir,
            .memory_bytes = config->state_memory,
            .flush_interval_ms = config->state_flush_interval,
            .flush_bytes = config->state_flush_bytes,
            .dedup_retention_ms = config->dedup_retention,
            .clock = options->clock,
    };
    struct tally_runtime *made = tally_alloc_zero(1, sizeof *made);
    enum tally_code code;

    *runtime = NULL;
    made->options = *options;
    code = tally_state_open(&state_options, &made->state, err);
    if (code) {
        tally_free(made);
        return code;
    }
    tally_mutex_init(&made->lock, TALLY_LOCK_RUNTIME);
    tally_cond_init(&made->watch_cond);
    made->registry = tally_task_registry_create(options->topologies, options->topology_count,
            options->partitions, (int)config->http_wait_max);
    make_workers(made);
    tally_task_registry_contact(made->registry, tally_mono_ms(options->clock));
    tally_metrics_collector(tally_runtime_collect, made);
    *runtime = made;
    return TALLY_OK;
}

/* R4: what is on disk is readable (stale) before the group is joined. */
static enum tally_code park_local(struct tally_runtime *runtime, struct tally_task_slot *slot,
        struct tally_error *err)
{
    const struct tally_config *config = runtime->options.config;
    struct tally_store_identity identity =
            tally_task_identity(slot, config, runtime->options.client, runtime->options.partitions);
    char *dir =
            tally_copy_format("%s/%s/%d", config->state_dir, identity.topology, identity.partition);
    struct tally_store *store = NULL;
    enum tally_code code;

    code = access(dir, F_OK) == 0 ? tally_store_open(runtime->state, &identity, &store, err)
                                  : TALLY_NOT_FOUND;
    tally_free(dir);
    if (code == TALLY_NOT_FOUND) {
        return TALLY_OK;
    }
    if (code == TALLY_FOREIGN_STATE) {
        char text[TALLY_HALT_TEXT_MAX];

        tally_task_slot_way_out(slot, err, text);
        tally_log(TALLY_LOG_ERROR, "task cannot start",
                TALLY_LOG_STR("topology", identity.topology),
                TALLY_LOG_INT("partition", identity.partition),
                TALLY_LOG_STR("code", tally_code_name(code)), TALLY_LOG_STR("error", text));
        return code;
    }
    if (code) { /* the task that gets the partition sets it aside, or tries again */
        tally_error_context(err, "%s/%d", identity.topology, identity.partition);
        tally_log_error(TALLY_LOG_WARN, "state on disk not opened yet", err);
        return TALLY_OK;
    }
    tally_task_slot_set_store(slot, store);
    tally_task_slot_set_state(slot, TALLY_TASK_PARKED);
    return TALLY_OK;
}

static void fail(struct tally_runtime *runtime, const struct tally_error *err)
{
    tally_mutex_lock(&runtime->lock);
    if (!runtime->failure.code) {
        runtime->failure = *err;
    }
    tally_mutex_unlock(&runtime->lock);
}

static void run_worker(void *argument)
{
    static const struct timespec pause = {.tv_nsec = BACK_OFF_SLICE_MS * 1000000L};
    struct runtime_worker *worker = argument;
    struct tally_runtime *runtime = worker->runtime;
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code = TALLY_OK;

    while (!atomic_load(&runtime->stopping) && !code) {
        bool busy;

        code = tally_stream_thread_step(worker->stream, IDLE_WAIT_MS, &busy, &err);
        if (!code && tally_stream_thread_backs_off(worker->stream)) {
            (void)nanosleep(&pause, NULL);
        }
    }
    if (code) {
        fail(runtime, &err);
    }
    tally_stream_thread_close(worker->stream);
}

static void run_watch(void *argument)
{
    struct tally_runtime *runtime = argument;
    struct tally_position_watch *watch =
            tally_position_watch_create(&(struct tally_position_watch_options){
                    .client = runtime->options.client,
                    .clock = runtime->options.clock,
                    .registry = runtime->registry,
                    .topologies = runtime->options.topologies,
                    .topology_count = runtime->options.topology_count,
                    .partitions = runtime->options.partitions,
            });
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code = TALLY_OK;

    while (!atomic_load(&runtime->stopping) && !code) {
        tally_mutex_lock(&runtime->lock);
        if (!atomic_load(&runtime->stopping)) {
            (void)tally_cond_wait(&runtime->watch_cond, &runtime->lock, TALLY_WATCH_EVERY_MS);
        }
        tally_mutex_unlock(&runtime->lock);
        if (!atomic_load(&runtime->stopping)) {
            code = tally_position_watch_look(watch, &err);
        }
    }
    if (code) {
        fail(runtime, &err);
    }
    tally_position_watch_destroy(watch);
}

static void stop_threads(struct tally_runtime *runtime)
{
    tally_mutex_lock(&runtime->lock);
    atomic_store(&runtime->stopping, true);
    tally_cond_broadcast(&runtime->watch_cond);
    tally_mutex_unlock(&runtime->lock);
}

enum tally_code tally_runtime_start(struct tally_runtime *runtime, struct tally_error *err)
{
    for (size_t i = 0; i < tally_task_registry_count(runtime->registry); i++) {
        enum tally_code code =
                park_local(runtime, tally_task_registry_at(runtime->registry, i), err);

        if (code) {
            return code;
        }
    }
    for (size_t i = 0; i < runtime->worker_count; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "stream-%u", (unsigned)i % 10000);
        tally_thread_start(&runtime->workers[i].thread, name, run_worker, &runtime->workers[i]);
    }
    tally_thread_start(&runtime->watch_thread, "watch", run_watch, runtime);
    runtime->started = true;
    return TALLY_OK;
}

enum tally_code tally_runtime_drain(struct tally_runtime *runtime, struct tally_error *err)
{
    int64_t until_ms =
            tally_mono_ms(runtime->options.clock) + runtime->options.config->shutdown_timeout;

    TALLY_FAILPOINT(EDGES_DRAIN_ENTER);
    tally_runtime_shutting_down(runtime);
    stop_threads(runtime);
    /* First, so that it is joined even when a stream thread is stuck and the process gives up. */
    if (runtime->started && !tally_thread_join_within(&runtime->watch_thread,
                                    runtime->options.config->shutdown_timeout)) {
        return tally_error_set(err, TALLY_STUCK,
                "the watch over positions did not end within shutdown.timeout");
    }
    for (size_t i = 0; runtime->started && i < runtime->worker_count; i++) {
        int64_t left_ms = until_ms - tally_mono_ms(runtime->options.clock);

        if (!tally_thread_join_within(&runtime->workers[i].thread, left_ms > 0 ? left_ms : 0)) {
            return tally_error_set(err, TALLY_STUCK,
                    "stream thread %zu did not end within shutdown.timeout", i);
        }
    }
    runtime->started = false;
    return TALLY_OK;
}

void tally_runtime_destroy(struct tally_runtime *runtime)
{
    if (!runtime) {
        return;
    }
    tally_assert(!runtime->started);
    for (size_t i = 0; i < runtime->worker_count; i++) {
        tally_stream_thread_destroy(runtime->workers[i].stream);
    }
    tally_metrics_collector_remove(tally_runtime_collect, runtime);
    tally_task_registry_destroy(runtime->registry);
    tally_state_close(runtime->state);
    tally_cond_deinit(&runtime->watch_cond);
    tally_mutex_deinit(&runtime->lock);
    tally_free(runtime->workers);
    tally_free(runtime);
}

/* A thread that makes no turn for so long hangs in a call that should have ended. */
static int64_t stuck_after_ms(const struct tally_runtime *runtime)
{
    return 2 * runtime->options.config->max_poll_interval;
}

static bool is_beating(struct tally_runtime *runtime, struct runtime_worker *worker)
{
    int64_t now_ms = tally_mono_ms(runtime->options.clock), still_ms;

    tally_mutex_lock(&runtime->lock);
    still_ms = tally_stillness_look(&worker->stillness, tally_stream_thread_beat(worker->stream),
            now_ms);
    tally_mutex_unlock(&runtime->lock);
    return still_ms < stuck_after_ms(runtime);
}

enum tally_code tally_runtime_failure(struct tally_runtime *runtime, struct tally_error *err)
{
    enum tally_code code;

    for (size_t i = 0; runtime->started && i < runtime->worker_count; i++) {
        if (!is_beating(runtime, &runtime->workers[i])) {
            return tally_error_set(err, TALLY_STUCK, "stream thread %zu made no turn for %lld s", i,
                    (long long)(stuck_after_ms(runtime) / 1000));
        }
    }
    tally_mutex_lock(&runtime->lock);
    code = runtime->failure.code;
    if (code) {
        *err = runtime->failure;
    }
    tally_mutex_unlock(&runtime->lock);
    return code;
}

/* --- what others ask -------------------------------------------------------------------------- */

size_t tally_runtime_tasks(struct tally_runtime *runtime, struct tally_task_info *tasks, size_t max)
{
    size_t count = tally_task_registry_count(runtime->registry);
    int64_t now_ms = tally_wall_ms(runtime->options.clock);

    for (size_t i = 0; i < count && i < max; i++) {
        struct tally_task_slot *slot = tally_task_registry_at(runtime->registry, i);
        int64_t in_next = atomic_load(&slot->in_next);
        int64_t as_of_ms = atomic_load(&slot->as_of_ms);

        tasks[i] = (struct tally_task_info){
                .topology = tally_topology_name(slot->topology),
                .partition = slot->partition,
                .state = (enum tally_task_state)atomic_load(&slot->state),
                .topic = tally_topology_input(slot->topology),
                .position = in_next > 0 ? in_next - 1 : -1,
                .lag = atomic_load(&slot->lag),
                .as_of_ms = as_of_ms < now_ms ? as_of_ms : now_ms,
                .restore_left = atomic_load(&slot->restore_left),
                .restore_total = atomic_load(&slot->restore_total),
        };
        tasks[i].code = tally_task_slot_halted(slot, tasks[i].message, sizeof tasks[i].message);
    }
    return count;
}

enum tally_code tally_runtime_publish(struct tally_runtime *runtime, const char *topic,
        struct tally_slice key, struct tally_slice value, int timeout_ms, int32_t *partition,
        int64_t *offset, struct tally_error *err)
{
    struct tally_client *client = runtime->options.client;
    enum tally_code code = TALLY_FAILPOINT_CODE(EDGES_HTTP_BEFORE, TALLY_UNAVAILABLE, err);

    code = code ? code
                : client->ops->publish(client, topic, key, value, NULL, 0, timeout_ms, partition,
                          offset, err);
    return code ? code : TALLY_FAILPOINT_CODE(EDGES_HTTP_AFTER, TALLY_UNAVAILABLE, err);
}

bool tally_runtime_tell(struct tally_runtime *runtime, const char *topic, struct tally_slice key,
        struct tally_slice value)
{
    struct tally_client *client = runtime->options.client;

    return client->ops->reply(client, topic, -1, key, value, NULL, 0);
}

const struct tally_config *tally_runtime_config(const struct tally_runtime *runtime)
{
    return runtime->options.config;
}

struct tally_topology *const *tally_runtime_topologies(const struct tally_runtime *runtime,
        size_t *count)
{
    *count = runtime->options.topology_count;
    return runtime->options.topologies;
}

int32_t tally_runtime_partitions(const struct tally_runtime *runtime)
{
    return runtime->options.partitions;
}

struct tally_clock *tally_runtime_clock(const struct tally_runtime *runtime)
{
    return runtime->options.clock;
}

void tally_runtime_set_sinks(struct tally_runtime *runtime, struct tally_sinks *sinks)
{
    runtime->sinks = sinks;
}

struct tally_sinks *tally_runtime_sinks(const struct tally_runtime *runtime)
{
    return runtime->sinks;
}

void tally_runtime_shutting_down(struct tally_runtime *runtime)
{
    atomic_store(&runtime->shutting_down, true);
}

bool tally_runtime_is_shutting_down(const struct tally_runtime *runtime)
{
    return atomic_load(&runtime->shutting_down);
}

/* --- health ----------------------------------------------------------------------------------- */

static void line(struct tally_buf *lines, bool ok, const char *name, const char *detail)
{
    if (!lines) {
        return;
    }
    if (ok) {
        tally_buf_format(lines, "[+]%s ok\n", name);
    } else {
        tally_buf_format(lines, "[-]%s failed: %s\n", name, detail);
    }
}

static bool check_kafka(struct tally_runtime *runtime, struct tally_buf *lines)
{
    int64_t silent_ms = tally_mono_ms(runtime->options.clock) -
                        tally_task_registry_contact_ms(runtime->registry);
    struct tally_error err = {.message = "no broker answers"};
    bool ok = silent_ms < KAFKA_SILENT_MS;

    if (!ok) {
        (void)runtime->options.client->ops->reachable(runtime->options.client, &err);
    }
    line(lines, ok, "kafka", err.message);
    return ok;
}

static bool check_threads(struct tally_runtime *runtime, struct tally_buf *lines)
{
    struct tally_error err = {.code = TALLY_OK};
    bool ok = tally_runtime_failure(runtime, &err) == TALLY_OK;

    line(lines, ok, "threads", err.message);
    return ok;
}

static bool check_state(struct tally_runtime *runtime, struct tally_buf *lines)
{
    char text[TALLY_HALT_TEXT_MAX + 320];

    if (tally_state_full(runtime->state)) {
        line(lines, false, "state", "state.memory is used up until a flush succeeds");
        return false;
    }
    for (size_t i = 0; i < tally_task_registry_count(runtime->registry); i++) {
        struct tally_task_slot *slot = tally_task_registry_at(runtime->registry, i);
        char message[TALLY_HALT_TEXT_MAX];
        enum tally_code code = tally_task_slot_halted(slot, message, sizeof message);
        struct tally_error err = {.code = TALLY_OK};

        if (!code && tally_task_slot_store_health(slot, &err)) {
            code = err.code;
            (void)snprintf(message, sizeof message, "%s", err.message);
        }
        if (code) {
            (void)snprintf(text, sizeof text, "%s/%d %s %s: %s",
                    tally_topology_name(slot->topology), slot->partition,
                    tally_task_state_name((enum tally_task_state)atomic_load(&slot->state)),
                    tally_code_name(code), message);
            line(lines, false, "state", text);
            return false;
        }
    }
    line(lines, true, "state", NULL);
    return true;
}

/* A sink that does not work is told of, and nothing more: requests are answered without. */
static void tell_of_sinks(struct tally_runtime *runtime, struct tally_buf *lines)
{
    size_t count = runtime->sinks && lines ? runtime->sinks->ops->count(runtime->sinks) : 0;

    for (size_t i = 0; i < count; i++) {
        struct tally_sink_info info;

        runtime->sinks->ops->info(runtime->sinks, i, &info);
        if (info.code) {
            tally_buf_format(lines, "[-]%s failed: %s %s: %s (not required)\n", info.name,
                    tally_sink_state_name(info.state), tally_code_name(info.code),
                    info.last.message);
        } else {
            tally_buf_format(lines, "[+]%s ok: %s, lag %lld (not required)\n", info.name,
                    tally_sink_state_name(info.state), (long long)info.lag);
        }
    }
}

static bool all_joined(const struct tally_runtime *runtime)
{
    for (size_t i = 0; i < runtime->worker_count; i++) {
        if (!tally_stream_thread_joined(runtime->workers[i].stream)) {
            return false;
        }
    }
    return true;
}

/* Every assigned task is restored; an instance without tasks is started once it is in the group. */
static bool check_started(struct tally_runtime *runtime, struct tally_buf *lines)
{
    int64_t left = 0, total = 0, restoring = 0;

    for (size_t i = 0; i < tally_task_registry_count(runtime->registry); i++) {
        struct tally_task_slot *slot = tally_task_registry_at(runtime->registry, i);
        int state = atomic_load(&slot->state);

        left += atomic_load(&slot->restore_left);
        total += atomic_load(&slot->restore_total);
        restoring += state == TALLY_TASK_RESTORING || state == TALLY_TASK_CREATED;
    }
    if (restoring == 0 && all_joined(runtime)) {
        return true;
    }
    if (lines) {
        tally_buf_format(lines, "restoring %lld %%, %lld records left\n",
                (long long)(total > 0 ? (total - left) * 100 / total : 0), (long long)left);
    }
    return false;
}

bool tally_runtime_health(struct tally_runtime *runtime, enum tally_health health,
        struct tally_buf *lines)
{
    bool kafka, state, threads, open;

    switch (health) {
    case TALLY_HEALTH_LIVE:
        return check_threads(runtime, lines);
    case TALLY_HEALTH_STARTED:
        return check_started(runtime, lines);
    case TALLY_HEALTH_READY:
        break;
    }
    kafka = check_kafka(runtime, lines);
    state = check_state(runtime, lines);
    threads = check_threads(runtime, lines);
    open = !tally_runtime_is_shutting_down(runtime);
    line(lines, open, "shutdown", "draining");
    tell_of_sinks(runtime, lines);
    return kafka && state && threads && open;
}
