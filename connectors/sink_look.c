/* connectors/sink_look.c - what others see of a sink: its state, how far the target is behind the
 * topics, positions, metrics. Looked at once a second, and when the state changes. @thread owner */
#include "connectors/sink_internal.h"
#include "engine/base/log.h"

enum {
    SLICE_MS = 1000, /* of one call to a broker */
    LOOK_MS = 1000,  /* between looks at the ends of topics */
    TELL_MS = 1000,  /* between offsets of the group */
};

/* --- what others see -------------------------------------------------------------------------- */

enum tally_sink_state sink_look_state(const struct tally_sink_task *task)
{
    if (task->paused) {
        return TALLY_SINK_PAUSED;
    }
    if (task->failure) {
        return task->slow ? TALLY_SINK_FAILED : TALLY_SINK_BACKING_OFF;
    }
    if (task->rebuilding || task->rebuild_wanted) {
        return TALLY_SINK_REBUILDING;
    }
    return task->opened ? TALLY_SINK_RUNNING : TALLY_SINK_STARTING;
}

/* Ends of partitions from brokers, when nothing is fetched that would tell; as many as are asked
 * within a look, the next look goes on. */
static void ask_ends(struct tally_sink_task *task)
{
    int64_t end_ms = sink_task_now_ms(task) + LOOK_MS / 2;
    struct tally_error err = {.code = TALLY_OK};
    int64_t low = 0, high = 0;

    for (size_t i = 0; i < task->partition_count && sink_task_now_ms(task) <= end_ms; i++) {
        struct sink_partition *partition =
                &task->partitions[task->look_at++ % task->partition_count];

        if (!partition->owned) {
            continue;
        }
        if (task->consumer->ops->watermarks(task->consumer, partition->source->topic,
                    partition->partition, SLICE_MS, &low, &high, &err)) {
            return;
        }
        partition->high = high;
    }
}

/* Records that the target does not have; -1: not known. */
static int64_t lag_of(struct tally_sink_task *task)
{
    int64_t lag = 0;

    for (size_t i = 0; i < task->partition_count; i++) {
        struct sink_partition *partition = &task->partitions[i];
        const char *topic = partition->source->topic;
        int64_t at = partition->written, high;

        if (!partition->owned) {
            continue;
        }
        high = task->flowing ? task->consumer->ops->cached_high(task->consumer, topic,
                                       partition->partition)
                             : TALLY_OFFSET_NONE;
        partition->high = high > partition->high ? high : partition->high;
        if (task->opened && task->count == 0 && !task->flying) { /* a commit marker is no lag */
            at = sink_group_position(task, partition);
        }
        at = at > 0 ? at : 0;
        if (partition->high < 0 || !partition->placed) {
            return -1;
        }
        lag += partition->high > at ? partition->high - at : 0;
    }
    return lag;
}

void sink_look_rebuild(struct tally_sink_task *task)
{
    bool rebuilding = task->rebuilding;

    if (task->opened) {
        task->rebuilding = task->sink->ops->rebuilding(task->sink);
    }
    if (rebuilding && !task->rebuilding) {
        tally_log(TALLY_LOG_INFO, "sink is built", TALLY_LOG_STR("sink", task->name));
    }
}

void sink_look_show(struct tally_sink_task *task, int64_t lag)
{
    int64_t wall_ms = tally_wall_ms(task->options.clock);
    struct tally_sink_info *info = &task->info;

    tally_mutex_lock(&task->mutex);
    info->state = sink_look_state(task);
    info->breaker = task->breaker.state;
    info->partitions = task->owned_count;
    info->code = task->failure;
    info->lag = task->owned_count > 0 ? lag : 0;
    if (task->owned_count > 0 && lag == 0 && task->opened) {
        info->as_of_ms = wall_ms;
    }
    task->shown_count = 0;
    for (size_t i = 0; i < task->partition_count; i++) {
        const struct sink_partition *partition = &task->partitions[i];

        if (partition->owned) {
            task->shown[task->shown_count++] =
                    (struct tally_topic_partition){.topic = partition->source->topic,
                            .partition = partition->partition,
                            .offset = partition->written};
        }
    }
    tally_series_set(task->series.lag, info->lag);
    tally_series_set(task->series.lag_seconds,
            info->as_of_ms > 0 && info->lag != 0 ? (wall_ms - info->as_of_ms) / 1000 : 0);
    tally_series_set(task->series.state, (int64_t)info->state);
    tally_series_set(task->series.breaker, (int64_t)info->breaker);
    tally_mutex_unlock(&task->mutex);
}

void sink_look(struct tally_sink_task *task, bool now)
{
    int64_t now_ms = sink_task_now_ms(task), lag = -1;

    if (!now && now_ms - task->looked_ms < LOOK_MS) {
        return;
    }
    task->looked_ms = now_ms;
    if (task->consumer) {
        if (!task->flowing && task->owned_count > 0) {
            ask_ends(task);
        }
        lag = lag_of(task);
        if (now_ms - task->told_ms >= TELL_MS) {
            sink_group_tell(task);
        }
    }
    sink_look_show(task, lag);
}
