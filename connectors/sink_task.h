/* connectors/sink_task.h - drives one sink (engine/sink.h): a consumer of its own group, a thread,
 * batches, and what happens when something fails. The group is app.id + "-sink-" + name; where it
 * goes on is what the target says, and the group's offsets are only for tools that show lag.
 * Life: create -> start -> stop -> destroy. Tests may call turn instead of start. */
#pragma once
#include "engine/base/clock.h"
#include "engine/base/config.h"
#include "engine/sink.h"
#include "engine/sink_control.h"

/* The topic of its dead letters, behind topics.prefix. */
#define TALLY_SINK_DEAD_LETTERS "tally.sink-%s-dlt"

struct tally_schema;

/* The events of one topology. */
struct tally_sink_source {
    const char *topology;                    /* "stock" */
    const char *topic;                       /* with topics.prefix */
    const struct tally_schema *const *types; /* of its events, end with NULL */
};

struct tally_sink_task_options {
    const struct tally_config *config;
    struct tally_client *client; /* outlives the task */
    struct tally_clock *clock;
    struct tally_sink *sink;                 /* the task's from now on */
    const struct tally_sink_source *sources; /* outlive the task */
    size_t source_count;
    int32_t partitions; /* of each topic */
};

struct tally_sink_task;
/* @thread main. Reads from state.dir whether the sink is paused, or to be built anew. */
struct tally_sink_task *tally_sink_task_create(const struct tally_sink_task_options *options);
void tally_sink_task_start(struct tally_sink_task *task);
/* stop begins, and is not waited for. @thread any */
void tally_sink_task_ask_stop(struct tally_sink_task *task);
/* Writes what is in the batch, gives back the partitions, ends the thread. TIMEOUT: it still runs,
 * and nothing that it uses may be freed. A task that was not started is stopped at once. */
TALLY_MUST_CHECK enum tally_code tally_sink_task_stop(struct tally_sink_task *task,
        int64_t timeout_ms, struct tally_error *err);
void tally_sink_task_destroy(struct tally_sink_task *task); /* stopped before */
/* What the thread does again and again: waits at most wait_ms for events, and does one batch.
 * @thread owner */
void tally_sink_task_turn(struct tally_sink_task *task, int wait_ms);

/* As in tally_sinks_ops. @thread any */
void tally_sink_task_info(struct tally_sink_task *task, struct tally_sink_info *info);
size_t tally_sink_task_positions(struct tally_sink_task *task,
        struct tally_topic_partition *positions, size_t max);
TALLY_MUST_CHECK enum tally_code tally_sink_task_pause(struct tally_sink_task *task,
        struct tally_error *err);
TALLY_MUST_CHECK enum tally_code tally_sink_task_resume(struct tally_sink_task *task,
        struct tally_error *err);
TALLY_MUST_CHECK enum tally_code tally_sink_task_rebuild(struct tally_sink_task *task,
        struct tally_error *err);
