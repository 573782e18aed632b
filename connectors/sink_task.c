/* connectors/sink_task.c - see the header. What the sink is told, and when:
 *
 *   STARTING --[start, open]--> RUNNING     RUNNING --[rebuild]--> REBUILDING --[there]--> RUNNING
 *   STARTING, RUNNING, REBUILDING --[an error that passes]--> BACKING_OFF --[written]--> RUNNING
 *   STARTING, RUNNING, REBUILDING --[an error to see to]--> FAILED --[written]--> RUNNING
 *   any --[pause]--> PAUSED --[resume]--> STARTING
 *   REBUILDING comes of the target, also for RUNNING: whoever began it, and when
 *
 * Invariants
 *  (1) Where a partition goes on is what the target says, compared with what the topic has; the
 *      group's offset is never read. A position outside of the topic is an error, never a jump.
 *  (2) After an error the batch is dropped, the sink stopped, and read again from the target's
 *      position: nothing is remembered that the target does not know.
 *  (3) The consumer is polled all the time, with its partitions paused while the target takes
 *      nothing: so the group keeps them here, and memory does not grow.
 *  (4) Pauses and rebuilds that were asked for outlast this process, as files in state.dir, the
 *      latter until the target remembers it.
 *  (5) Before a sink is opened, which fences whoever had its partitions, this member has heard of
 *      its group within the session timeout: a process that slept for longer joins anew first. */
#include "connectors/sink_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/base/failpoint.h"
#include "engine/base/log.h"

enum {
    TURN_MS = 250,
    SLICE_MS = 1000,     /* of one call to a broker */
    MORE_MS = 20,        /* a batch goes on behind its interval while there are records */
    POSITIONS_MS = 1000, /* between positions without rows */
    LOG_MS = 60000,      /* the same failure again */
};

int64_t sink_task_now_ms(const struct tally_sink_task *task)
{
    return tally_mono_ms(task->options.clock);
}

/* --- what was asked for, as files in state.dir ------------------------------------------------ */

static enum tally_code make_file(const char *path, struct tally_error *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    enum tally_code code = TALLY_OK;

    if (fd < 0 || fsync(fd) < 0) {
        code = tally_error_set(err, TALLY_SYSTEM, "could not make \"%.150s\": %m", path);
    }
    if (fd >= 0) {
        close(fd);
    }
    return code;
}

static enum tally_code remove_file(const char *path, struct tally_error *err)
{
    if (unlink(path) < 0 && errno != ENOENT) {
        return tally_error_set(err, TALLY_SYSTEM, "could not remove \"%.150s\": %m", path);
    }
    return TALLY_OK;
}

/* --- the target ------------------------------------------------------------------------------- */

static void disconnect(struct tally_sink_task *task)
{
    if (task->started) {
        task->sink->ops->stop(task->sink);
    }
    task->started = task->opened = task->flying = false;
}

static enum tally_code stood_still(int64_t silent_ms, struct tally_error *err)
{
    return tally_error_set(err, TALLY_ASSIGNMENT_LOST,
            "this process stood still for %lld ms: joining the group anew", (long long)silent_ms);
}

/* Whether the group may have given the partitions to somebody else without our knowing. */
static enum tally_code check_membership(struct tally_sink_task *task, struct tally_error *err)
{
    int64_t silent_ms = sink_task_now_ms(task) - task->polled_ms;

    if (silent_ms > task->options.config->session_timeout ||
            task->consumer->ops->assignment_lost(task->consumer)) {
        return stood_still(silent_ms, err);
    }
    return TALLY_OK;
}

static enum tally_code start_sink(struct tally_sink_task *task, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    if (!task->started) {
        code = task->sink->ops->start(task->sink, err);
        task->started = true; /* stop is fine in any case */
    }
    return code;
}

/* Where the partitions begin and end now; the ends also into list. */
static enum tally_code ask_ranges(struct tally_sink_task *task, struct tally_topic_partition *list,
        size_t count, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; i < count && !code; i++) {
        struct sink_partition *partition = sink_group_find(task, list[i].topic, list[i].partition);

        code = task->consumer->ops->watermarks(task->consumer, list[i].topic, list[i].partition,
                SLICE_MS, &partition->low, &partition->high, err);
        list[i].offset = partition->high;
    }
    return code;
}

/* The positions of the target, into list. */
static enum tally_code open_sink(struct tally_sink_task *task, struct tally_topic_partition *list,
        size_t count, struct tally_error *err)
{
    enum tally_code code = check_membership(task, err);

    code = code ? code : start_sink(task, err);
    code = code ? code : ask_ranges(task, list, count, err);
    code = code ? code : check_membership(task, err);
    return code ? code : task->sink->ops->open(task->sink, list, count, err);
}

static enum tally_code set_position(struct tally_sink_task *task, struct sink_partition *partition,
        int64_t position, struct tally_error *err)
{
    const char *topic = partition->source->topic;

    if (position < partition->low && !(position == TALLY_OFFSET_NONE && partition->low == 0)) {
        return tally_error_set(err, TALLY_EVENTS_INCOMPLETE,
                "the next event for %s is %.80s/%d@%lld, but the topic begins at %lld: restore the "
                "topic, or delete it and see `tally reset`, then `tally sink rebuild %s`",
                task->name, topic, (int)partition->partition,
                (long long)(position < 0 ? 0 : position), (long long)partition->low, task->name);
    }
    if (position > partition->high) {
        return tally_error_set(err, TALLY_EVENTS_TRUNCATED,
                "%s has the events of %.80s/%d before %lld, but the topic ends at %lld: if the "
                "topic is right, `tally sink rebuild %s`",
                task->name, topic, (int)partition->partition, (long long)position,
                (long long)partition->high, task->name);
    }
    partition->placed = true;
    partition->written = position;
    partition->next = position == TALLY_OFFSET_NONE ? partition->low : position;
    return TALLY_OK;
}

/* The target remembers from now on, unless somebody has asked once more. A file that stays leads to
 * another rebuild after a restart, and to none before. */
static void forget_wish(struct tally_sink_task *task)
{
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code = TALLY_OK;

    tally_mutex_lock(&task->mutex);
    if (!atomic_load(&task->want_rebuild)) {
        code = remove_file(task->rebuild_file, &err);
    }
    tally_mutex_unlock(&task->mutex);
    if (code) {
        tally_log_error(TALLY_LOG_WARN, "sink will be built anew once more after a restart", &err);
    }
}

static enum tally_code rebuild(struct tally_sink_task *task, struct tally_error *err)
{
    enum tally_code code = start_sink(task, err);

    code = code ? code : task->sink->ops->rebuild(task->sink, err);
    code = code ? code : TALLY_FAILPOINT_CODE(SINK_REBUILD_BEGUN, TALLY_UNAVAILABLE, err);
    if (code) {
        return code;
    }
    forget_wish(task);
    tally_log(TALLY_LOG_INFO, "sink is built anew", TALLY_LOG_STR("sink", task->name));
    task->rebuild_wanted = false;
    task->rebuilding = true;
    disconnect(task); /* every owner is fenced, this one too */
    return TALLY_OK;
}

/* Start, open, and go on where the target is. */
static enum tally_code connect_sink(struct tally_sink_task *task, struct tally_error *err)
{
    size_t count;
    struct tally_topic_partition *list = sink_group_owned(task, &count);
    uint64_t generation = task->generation;
    enum tally_code code = open_sink(task, list, count, err);

    task->opened = code == TALLY_OK;
    for (size_t i = 0; i < count && !code; i++) {
        struct sink_partition *partition = sink_group_find(task, list[i].topic, list[i].partition);

        code = set_position(task, partition, list[i].offset, err);
    }
    code = code ? code : sink_group_resume(task, err);
    tally_assert(generation == task->generation);
    tally_free(list);
    return code;
}

enum tally_code sink_task_reopen(struct tally_sink_task *task, struct tally_error *err)
{
    size_t count;
    struct tally_topic_partition *list = sink_group_owned(task, &count);
    enum tally_code code = TALLY_OK;

    disconnect(task);
    code = open_sink(task, list, count, err);
    task->opened = code == TALLY_OK;
    for (size_t i = 0; i < count && !code; i++) {
        if (sink_group_find(task, list[i].topic, list[i].partition)->written != list[i].offset) {
            code = TALLY_AGAIN;
        }
    }
    tally_free(list);
    return code;
}

/* --- records ---------------------------------------------------------------------------------- */

static enum tally_code poll(struct tally_sink_task *task, int timeout_ms,
        struct tally_record *record, struct tally_error *err)
{
    static _Thread_local struct tally_log_limit limit;
    int64_t start_ms = sink_task_now_ms(task);
    enum tally_code code = task->consumer->ops->poll(task->consumer, timeout_ms, record, err);

    task->polled_ms = sink_task_now_ms(task);
    if (task->polled_ms - start_ms > timeout_ms + task->options.config->session_timeout) {
        if (!code) {
            task->consumer->ops->release(task->consumer, record);
        }
        return stood_still(task->polled_ms - start_ms, err);
    }
    if (code && tally_code_reaction(code) == TALLY_REACT_RETRY) {
        if (tally_log_allowed(&limit, LOG_MS)) {
            tally_log_error(TALLY_LOG_WARN, "sink waits for kafka", err);
        }
        return TALLY_AGAIN;
    }
    return code;
}

/* Nothing is wanted but to stay in the group. */
static enum tally_code poll_idle(struct tally_sink_task *task, int timeout_ms,
        struct tally_error *err)
{
    struct tally_record record;
    enum tally_code code;

    if (task->flowing) {
        sink_group_pause(task);
    }
    code = poll(task, timeout_ms, &record, err);
    if (!code) { /* what was on its way; it is read again */
        task->consumer->ops->release(task->consumer, &record);
    }
    return code == TALLY_AGAIN ? TALLY_OK : code;
}

/* With more records at hand it goes on a little, so that an interval of 0 makes no batches of 1. */
static bool is_over(const struct tally_sink_task *task, bool dry)
{
    int64_t limit_ms = task->options.config->sink_batch_interval + (dry ? 0 : MORE_MS);

    return task->count > 0 && sink_task_now_ms(task) - task->batch_ms >= limit_ms;
}

/* Until the batch is full or its time is over; *due: it is to be written. */
static enum tally_code collect(struct tally_sink_task *task, int wait_ms, bool *due,
        struct tally_error *err)
{
    int64_t interval_ms = task->options.config->sink_batch_interval;

    for (*due = false; !*due && !atomic_load(&task->stop);) {
        int64_t now_ms = sink_task_now_ms(task);
        int64_t left_ms = task->count    ? task->batch_ms + interval_ms - now_ms
                          : task->flying ? 0
                                         : wait_ms;
        struct tally_record record;
        struct sink_partition *partition;
        enum tally_code code = poll(task, left_ms > 0 ? (int)left_ms : 0, &record, err);

        if (!code) {
            partition = sink_group_find(task, record.topic, record.partition);
            if (partition && partition->owned && record.offset >= partition->next) {
                task->batch_ms = task->count ? task->batch_ms : sink_task_now_ms(task);
                sink_batch_add(task, partition, &record);
            } else {
                task->consumer->ops->release(task->consumer, &record);
            }
        } else if (code != TALLY_AGAIN) {
            return code;
        }
        *due = sink_batch_full(task) || is_over(task, code == TALLY_AGAIN);
        if (code == TALLY_AGAIN && !*due && task->flying) { /* there is time */
            code = sink_batch_settle(task, err);
            if (code) {
                return code;
            }
        } else if (code == TALLY_AGAIN) {
            break; /* the next turn goes on with this batch */
        }
    }
    return TALLY_OK;
}

/* Everything is read, so positions go behind what no reader is shown (commit markers), and the sink
 * has a look at its target. */
static bool positions_due(struct tally_sink_task *task)
{
    int64_t now_ms = sink_task_now_ms(task);

    if (task->count > 0 || now_ms - task->positions_ms < POSITIONS_MS || !sink_group_at_end(task)) {
        return false;
    }
    task->positions_ms = now_ms;
    return true;
}

static void succeeded(struct tally_sink_task *task)
{
    if (task->failure) {
        tally_log(TALLY_LOG_INFO, "sink has recovered", TALLY_LOG_STR("sink", task->name));
    }
    task->failure = TALLY_OK;
    task->slow = false;
    sink_breaker_succeeded(&task->breaker);
}

static enum tally_code work(struct tally_sink_task *task, int wait_ms, struct tally_error *err)
{
    bool due = false;
    enum tally_code code = TALLY_OK;

    if (!task->opened) {
        code = connect_sink(task, err);
    }
    if (!code && !task->flowing) {
        code = sink_group_resume(task, err);
    }
    code = code ? code : collect(task, wait_ms, &due, err);
    if (!code && task->opened && (due || positions_due(task))) {
        code = sink_batch_write(task, err);
        due = !code;
    }
    if (!code && !task->flying &&
            due) { /* not when it has only come back: it has to take a batch */
        succeeded(task);
    }
    return code;
}

/* --- reactions -------------------------------------------------------------------------------- */

static bool rejoins(enum tally_code code)
{
    return code == TALLY_FENCED || code == TALLY_ASSIGNMENT_LOST || code == TALLY_CONSUMER_FATAL ||
           code == TALLY_INSTANCE_FENCED;
}

/* Somebody has to do something. */
static bool is_slow(enum tally_code code)
{
    return code == TALLY_INSTANCE_FENCED ||
           (!rejoins(code) && tally_code_reaction(code) != TALLY_REACT_RETRY);
}

static void log_failure(struct tally_sink_task *task, const struct tally_error *err)
{
    bool again = task->failure == err->code && strcmp(task->info.last.message, err->message) == 0 &&
                 sink_task_now_ms(task) - task->logged_ms < LOG_MS;

    if (!again) {
        task->logged_ms = sink_task_now_ms(task);
        tally_log_error(task->slow ? TALLY_LOG_ERROR : TALLY_LOG_WARN,
                task->slow ? "sink has failed; it is tried again now and then" : "sink backs off",
                err);
    }
}

static void react(struct tally_sink_task *task, const struct tally_error *err)
{
    tally_series_add(tally_series_of(TALLY_METRIC_SINK_ERRORS, task->name,
                             tally_code_name(err->code)),
            1);
    sink_batch_drop(task);
    disconnect(task);
    task->careful = true;
    if (task->flowing) {
        sink_group_pause(task);
    }
    task->slow = is_slow(err->code);
    log_failure(task, err);
    task->failure = err->code;
    sink_breaker_failed(&task->breaker, sink_task_now_ms(task), task->slow);
    tally_mutex_lock(&task->mutex);
    task->info.last = *err;
    task->info.failed_ms = tally_wall_ms(task->options.clock);
    tally_mutex_unlock(&task->mutex);
    if (rejoins(err->code)) {
        sink_group_leave(task);
    }
}

/* --- what others ask for ---------------------------------------------------------------------- */

static void take_requests(struct tally_sink_task *task)
{
    if (atomic_exchange(&task->want_resume, false)) {
        task->paused = false;
        task->refused_in_row = 0;
        sink_breaker_hurry(&task->breaker);
    }
    if (atomic_exchange(&task->want_rebuild, false)) {
        task->rebuild_wanted = true;
        sink_breaker_hurry(&task->breaker);
    }
    if (atomic_exchange(&task->want_pause, false) && !task->paused) {
        task->paused = true;
        if (task->count > 0) { /* read again */
            sink_batch_drop(task);
        }
        disconnect(task);
        task->failure = TALLY_OK;
    }
}

/* --- the loop --------------------------------------------------------------------------------- */

static enum tally_code turn(struct tally_sink_task *task, int wait_ms, struct tally_error *err)
{
    bool allowed = sink_breaker_allows(&task->breaker, sink_task_now_ms(task));
    bool works = allowed && !task->paused; /* a paused one has partitions all the same */
    enum tally_code code = TALLY_OK;

    if (!task->consumer && allowed) {
        code = sink_group_join(task, err);
    }
    if (!code && works && task->rebuild_wanted) {
        code = rebuild(task, err);
    }
    if (code) {
        return code;
    }
    if (works && task->owned_count > 0) {
        return work(task, wait_ms, err);
    }
    if (!allowed) {
        int64_t left_ms = task->breaker.retry_ms - sink_task_now_ms(task);

        wait_ms = left_ms < wait_ms ? (int)left_ms : wait_ms;
    }
    return task->consumer ? poll_idle(task, wait_ms, err) : TALLY_OK;
}

void tally_sink_task_turn(struct tally_sink_task *task, int wait_ms)
{
    struct tally_error err = {.code = TALLY_OK};
    enum tally_sink_state before = task->info.state;
    enum tally_code code;

    take_requests(task);
    code = turn(task, wait_ms, &err);
    if (code == TALLY_AGAIN) {
        sink_batch_drop(task);
        disconnect(task);
    } else if (code) {
        react(task, &err);
    }
    if (!task->consumer && wait_ms > 0) {
        tally_mutex_lock(&task->mutex);
        (void)tally_cond_wait(&task->wake, &task->mutex, wait_ms);
        tally_mutex_unlock(&task->mutex);
    }
    sink_look_rebuild(task);
    sink_look(task, sink_look_state(task) != before);
}

static void run(void *argument)
{
    struct tally_sink_task *task = argument;

    while (!atomic_load(&task->stop)) {
        tally_sink_task_turn(task, TURN_MS);
    }
    sink_group_leave(task);
    disconnect(task);
}

/* --- life ------------------------------------------------------------------------------------- */

static void find_series(struct tally_sink_task *task)
{
    const char *name = task->name;

    task->series.written = tally_series_of(TALLY_METRIC_SINK_RECORDS, name, "written");
    task->series.foreign = tally_series_of(TALLY_METRIC_SINK_RECORDS, name, "foreign");
    task->series.dead = tally_series_of(TALLY_METRIC_SINK_RECORDS, name, "dead");
    task->series.ok = tally_series_of(TALLY_METRIC_SINK_BATCHES, name, "ok");
    task->series.failed = tally_series_of(TALLY_METRIC_SINK_BATCHES, name, "failed");
    task->series.lag = tally_series_of(TALLY_METRIC_SINK_LAG_RECORDS, name);
    task->series.lag_seconds = tally_series_of(TALLY_METRIC_SINK_LAG_SECONDS, name);
    task->series.state = tally_series_of(TALLY_METRIC_SINK_STATE, name);
    task->series.breaker = tally_series_of(TALLY_METRIC_SINK_BREAKER, name);
    task->series.flush = tally_series_of(TALLY_METRIC_SINK_FLUSH_TIME, name);
}

struct tally_sink_task *tally_sink_task_create(const struct tally_sink_task_options *options)
{
    struct tally_sink_task *task = tally_alloc_zero(1, sizeof *task);
    const struct tally_config *config = options->config;

    task->options = *options;
    task->sink = options->sink;
    task->name = options->sink->ops->name;
    task->group = tally_copy_format("sink-%s", task->name);
    task->dead_letters =
            tally_copy_format("%s" TALLY_SINK_DEAD_LETTERS, config->topics_prefix, task->name);
    task->pause_file = tally_copy_format("%s/sink-%s.paused", config->state_dir, task->name);
    task->rebuild_file = tally_copy_format("%s/sink-%s.rebuild", config->state_dir, task->name);
    task->partition_count = options->source_count * (size_t)options->partitions;
    task->partitions = tally_alloc_zero(task->partition_count + 1, sizeof *task->partitions);
    task->shown = tally_alloc_zero(task->partition_count + 1, sizeof *task->shown);
    for (size_t i = 0; i < task->partition_count; i++) {
        task->partitions[i] = (struct sink_partition){
                .source = &options->sources[i / (size_t)options->partitions],
                .partition = (int32_t)(i % (size_t)options->partitions),
                .written = TALLY_OFFSET_NONE,
                .high = TALLY_OFFSET_NONE,
                .told = TALLY_OFFSET_NONE};
    }
    task->paused = access(task->pause_file, F_OK) == 0;
    task->rebuild_wanted = access(task->rebuild_file, F_OK) == 0;
    task->info.name = task->name;
    task->info.lag = -1;
    sink_batch_init(task);
    sink_breaker_init(&task->breaker, config->sink_retry_max,
            (uint64_t)tally_mono_us(options->clock) ^ (uint64_t)(uintptr_t)task);
    tally_mutex_init(&task->mutex, TALLY_LOCK_CONNECTOR);
    tally_cond_init(&task->wake);
    find_series(task);
    sink_look_show(task, -1);
    return task;
}

void tally_sink_task_start(struct tally_sink_task *task)
{
    char name[16];

    (void)snprintf(name, sizeof name, "sink-%.10s", task->name);
    tally_thread_start(&task->thread, name, run, task);
}

static void wake(struct tally_sink_task *task)
{
    tally_mutex_lock(&task->mutex);
    tally_cond_broadcast(&task->wake);
    tally_mutex_unlock(&task->mutex);
}

void tally_sink_task_ask_stop(struct tally_sink_task *task)
{
    atomic_store(&task->stop, true);
    wake(task);
}

enum tally_code tally_sink_task_stop(struct tally_sink_task *task, int64_t timeout_ms,
        struct tally_error *err)
{
    tally_sink_task_ask_stop(task);
    if (!task->thread.started) {
        sink_group_leave(task);
        disconnect(task);
    } else if (!tally_thread_join_within(&task->thread, timeout_ms)) {
        return tally_error_set(err, TALLY_TIMEOUT, "sink \"%s\" did not end within %lld ms",
                task->name, (long long)timeout_ms);
    }
    return TALLY_OK;
}

void tally_sink_task_destroy(struct tally_sink_task *task)
{
    if (!task) {
        return;
    }
    tally_assert(!task->consumer);
    sink_batch_deinit(task);
    task->sink->ops->destroy(task->sink);
    tally_cond_deinit(&task->wake);
    tally_mutex_deinit(&task->mutex);
    tally_free(task->partitions);
    tally_free(task->shown);
    tally_free(task->group);
    tally_free(task->dead_letters);
    tally_free(task->pause_file);
    tally_free(task->rebuild_file);
    tally_free(task);
}

/* --- any thread ------------------------------------------------------------------------------- */

void tally_sink_task_info(struct tally_sink_task *task, struct tally_sink_info *info)
{
    tally_mutex_lock(&task->mutex);
    *info = task->info;
    tally_mutex_unlock(&task->mutex);
}

size_t tally_sink_task_positions(struct tally_sink_task *task,
        struct tally_topic_partition *positions, size_t max)
{
    size_t count;

    tally_mutex_lock(&task->mutex);
    count = task->shown_count;
    for (size_t i = 0; i < count && i < max; i++) {
        positions[i] = task->shown[i];
    }
    tally_mutex_unlock(&task->mutex);
    return count;
}

enum tally_code tally_sink_task_pause(struct tally_sink_task *task, struct tally_error *err)
{
    enum tally_code code = make_file(task->pause_file, err);

    if (!code) {
        atomic_store(&task->want_pause, true);
        wake(task);
    }
    return code;
}

enum tally_code tally_sink_task_resume(struct tally_sink_task *task, struct tally_error *err)
{
    enum tally_code code = remove_file(task->pause_file, err);

    if (!code) {
        atomic_store(&task->want_resume, true);
        wake(task);
    }
    return code;
}

enum tally_code tally_sink_task_rebuild(struct tally_sink_task *task, struct tally_error *err)
{
    enum tally_code code;

    tally_mutex_lock(&task->mutex); /* against forget_wish */
    code = make_file(task->rebuild_file, err);
    if (!code) {
        atomic_store(&task->want_rebuild, true);
        tally_cond_broadcast(&task->wake);
    }
    tally_mutex_unlock(&task->mutex);
    return code;
}
