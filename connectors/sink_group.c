/* connectors/sink_group.c - the group of a sink: which partitions this member has, paused or not.
 * Invariants
 *  (1) The protocol is eager: a revoke takes every partition, an assignment names every partition.
 *  (2) What is assigned is paused until the target has said where it goes on.
 *  (3) Offsets are told to the group for tools that show lag, and never read. @thread owner */
#include "connectors/kafka_client.h"
#include "connectors/sink_internal.h"
#include "engine/base/log.h"

enum { SLICE_MS = 1000 /* of one call to a broker */ };

/* --- partitions ------------------------------------------------------------------------------- */

struct sink_partition *sink_group_find(struct tally_sink_task *task, const char *topic,
        int32_t partition)
{
    for (size_t i = 0; i < task->options.source_count; i++) {
        if (strcmp(task->options.sources[i].topic, topic) == 0 && partition >= 0 &&
                partition < task->options.partitions) {
            return &task->partitions[i * (size_t)task->options.partitions + (size_t)partition];
        }
    }
    return NULL;
}

struct tally_topic_partition *sink_group_owned(const struct tally_sink_task *task, size_t *count)
{
    struct tally_topic_partition *list = tally_alloc_zero(task->partition_count + 1, sizeof *list);

    *count = 0;
    for (size_t i = 0; i < task->partition_count; i++) {
        const struct sink_partition *partition = &task->partitions[i];

        if (partition->owned) {
            list[(*count)++] = (struct tally_topic_partition){.topic = partition->source->topic,
                    .partition = partition->partition,
                    .offset = partition->next};
        }
    }
    return list;
}

void sink_group_pause(struct tally_sink_task *task)
{
    struct tally_error err = {.code = TALLY_OK};
    size_t count;
    struct tally_topic_partition *list = sink_group_owned(task, &count);

    if (task->consumer && count > 0 &&
            task->consumer->ops->pause(task->consumer, list, count, &err)) {
        tally_log_error(TALLY_LOG_WARN, "partitions not paused", &err);
    }
    task->flowing = false;
    tally_free(list);
}

static void forget_positions(struct tally_sink_task *task)
{
    for (size_t i = 0; i < task->partition_count; i++) {
        struct sink_partition *partition = &task->partitions[i];

        partition->seen = false;
        if (partition->owned) {
            partition->stale = task->consumer->ops->position(task->consumer,
                    partition->source->topic, partition->partition);
        }
    }
}

enum tally_code sink_group_resume(struct tally_sink_task *task, struct tally_error *err)
{
    size_t count;
    struct tally_topic_partition *list = sink_group_owned(task, &count);
    enum tally_code code = TALLY_OK;

    if (count > 0) {
        code = task->consumer->ops->seek(task->consumer, list, count, SLICE_MS, err);
        forget_positions(task);
        code = code ? code : task->consumer->ops->resume(task->consumer, list, count, err);
    }
    task->flowing = code == TALLY_OK;
    tally_free(list);
    return code;
}

int64_t sink_group_position(const struct tally_sink_task *task,
        const struct sink_partition *partition)
{
    int64_t shown = task->consumer->ops->position(task->consumer, partition->source->topic,
            partition->partition);

    /* After a seek librdkafka tells the position before it, until something comes. */
    return shown > partition->next && (partition->seen || shown != partition->stale)
                   ? shown
                   : partition->next;
}

bool sink_group_at_end(const struct tally_sink_task *task)
{
    for (size_t i = 0; i < task->partition_count; i++) {
        const struct sink_partition *partition = &task->partitions[i];
        int64_t high;

        if (!partition->owned) {
            continue;
        }
        high = task->consumer->ops->cached_high(task->consumer, partition->source->topic,
                partition->partition);
        if (high < 0 || sink_group_position(task, partition) < high) {
            return false;
        }
    }
    return true;
}

/* --- the group -------------------------------------------------------------------------------- */

/* Where the consumer stands until the target has said where to go on; it is paused there. */
static int64_t first_offset(struct tally_sink_task *task, const struct tally_topic_partition *at,
        bool *asking)
{
    struct tally_error err = {.code = TALLY_OK};
    int64_t low = 0, high = 0;

    if (*asking && task->consumer->ops->watermarks(task->consumer, at->topic, at->partition,
                           SLICE_MS, &low, &high, &err)) {
        *asking = false; /* the others would take as long */
        low = 0;
    }
    return low;
}

static void on_assigned(void *context, const struct tally_topic_partition *partitions, size_t count)
{
    struct tally_sink_task *task = context;
    struct tally_topic_partition *list = tally_alloc_zero(count + 1, sizeof *list);
    struct tally_error err = {.code = TALLY_OK};
    bool asking = true;

    task->generation++;
    for (size_t i = 0; i < count; i++) {
        struct sink_partition *partition =
                sink_group_find(task, partitions[i].topic, partitions[i].partition);

        list[i] = partitions[i];
        list[i].offset = first_offset(task, &partitions[i], &asking);
        if (partition) {
            partition->owned = true;
            partition->seen = partition->placed = false;
            partition->next = list[i].offset;
            partition->written = partition->high = partition->told = TALLY_OFFSET_NONE;
            task->owned_count++;
        }
    }
    if (task->consumer->ops->assign(task->consumer, list, count, &err)) {
        tally_log_error(TALLY_LOG_WARN, "partitions of a sink not assigned", &err);
    }
    tally_free(list);
    sink_group_pause(task);
    tally_log(TALLY_LOG_INFO, "partitions of a sink assigned", TALLY_LOG_STR("sink", task->name),
            TALLY_LOG_INT("partitions", count));
}

void sink_group_tell(struct tally_sink_task *task)
{
    size_t count = 0;

    task->told_ms = sink_task_now_ms(task);
    for (size_t i = 0; i < task->partition_count; i++) {
        struct sink_partition *partition = &task->partitions[i];

        if (partition->owned && partition->written > partition->told) {
            partition->told = partition->written;
            task->positions[count++] =
                    (struct tally_topic_partition){.topic = partition->source->topic,
                            .partition = partition->partition,
                            .offset = partition->written};
        }
    }
    if (count > 0) {
        tally_kafka_consumer_tell(task->consumer, task->positions, count);
    }
}

/* Gives the partitions up; the batch is written first where nobody else can have them yet. */
static void on_revoked(void *context, const struct tally_topic_partition *partitions, size_t count,
        bool lost)
{
    struct tally_sink_task *task = context;
    struct tally_error err = {.code = TALLY_OK};

    (void)partitions;
    if (task->opened && !lost && !task->writing && (task->count > 0 || task->flying) &&
            sink_batch_write_once(task, &err)) {
        tally_log_error(TALLY_LOG_WARN, "last batch of a sink not written; it is read again", &err);
        task->sink->ops->stop(task->sink);
        task->started = task->opened = false;
    }
    sink_batch_drop(task);
    if (!lost) {
        sink_group_tell(task);
    }
    if (task->opened) {
        struct tally_topic_partition *list = sink_group_owned(task, &count);

        task->sink->ops->close(task->sink, list, count);
        tally_free(list);
    }
    task->opened = task->flowing = task->flying = false;
    for (size_t i = 0; i < task->partition_count; i++) {
        task->partitions[i].owned = task->partitions[i].seen = false;
    }
    task->owned_count = 0;
    (void)task->consumer->ops->assign(task->consumer, NULL, 0, &err);
    tally_log(lost ? TALLY_LOG_WARN : TALLY_LOG_INFO, "partitions of a sink given up",
            TALLY_LOG_STR("sink", task->name), TALLY_LOG_STR("lost", lost ? "true" : "false"));
}

enum tally_code sink_group_join(struct tally_sink_task *task, struct tally_error *err)
{
    struct tally_client *client = task->options.client;
    const struct tally_rebalance_listener listener = {
            .context = task, .assigned = on_assigned, .revoked = on_revoked};
    const char **topics = tally_alloc((task->options.source_count + 1) * sizeof *topics);
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; i < task->options.source_count; i++) {
        topics[i] = task->options.sources[i].topic;
    }
    task->consumer = client->ops->consumer(client, task->group, 0, &listener, err);
    if (!task->consumer) {
        code = TALLY_CONFIG;
    } else {
        code = task->consumer->ops->subscribe(task->consumer, topics, task->options.source_count,
                err);
        if (code) {
            task->consumer->ops->destroy(task->consumer);
            task->consumer = NULL;
        }
    }
    task->polled_ms = sink_task_now_ms(task);
    tally_free(topics);
    return code;
}

void sink_group_leave(struct tally_sink_task *task)
{
    if (task->consumer) {
        task->consumer->ops->destroy(task->consumer);   /* calls on_revoked */
        if (task->count > 0 || task->owned_count > 0) { /* but not a consumer that was killed */
            task->count = 0;
            sink_batch_drop(task);
        }
        task->consumer = NULL;
    }
    for (size_t i = 0; i < task->partition_count; i++) {
        task->partitions[i].owned = false;
    }
    task->owned_count = 0;
    task->opened = task->flowing = task->flying = false;
}
