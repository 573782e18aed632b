/* engine/replay.c - see replay.h. */
#include "engine/replay.h"

#include "engine/base/mem.h"
#include "engine/restorer.h"
#include "engine/task_manager.h"

enum {
    THREAD = 0, /* there is only one */
    POLL_MS = 20,
    WATERMARKS_TIMEOUT_MS = 5000,
    SILENT_MS = 30000, /* of a log that has more */
};

struct tally_replay {
    struct tally_replay_options options;
    struct tally_state *state;
    struct tally_task_registry *registry;
    struct tally_restorer *restorer;
    struct tally_consumer *consumer;
    struct tally_collector *collector; /* nothing comes into it */
    /* of the task */
    struct tally_task_slot *slot;
    struct tally_stream_task *task;
    int64_t last;
    bool restored, failed;
    struct tally_error err; /* how it failed */
};

static void restored(void *context, struct tally_stream_task *task)
{
    struct tally_replay *replay = context;

    (void)task;
    replay->restored = true;
}

static void failed(void *context, struct tally_stream_task *task, const struct tally_error *err)
{
    struct tally_replay *replay = context;

    (void)task;
    replay->failed = true;
    replay->err = *err;
}

enum tally_code tally_replay_create(const struct tally_replay_options *options,
        struct tally_replay **created, struct tally_error *err)
{
    const struct tally_config *config = options->config;
    struct tally_replay *replay = tally_alloc_zero(1, sizeof *replay);
    enum tally_code code;

    *created = replay;
    replay->options = *options;
    code = tally_state_open(&(struct tally_state_options){.dir = options->dir,
                                    .memory_bytes = config->state_memory,
                                    .flush_interval_ms = config->state_flush_interval,
                                    .flush_bytes = config->state_flush_bytes,
                                    .dedup_retention_ms = config->dedup_retention,
                                    .clock = options->clock},
            &replay->state, err);
    if (!code) {
        replay->consumer = options->client->ops->restore_consumer(options->client, THREAD, err);
        code = replay->consumer ? TALLY_OK : err->code;
    }
    if (code) {
        tally_replay_destroy(replay);
        *created = NULL;
        return code;
    }
    replay->registry = tally_task_registry_create(options->topologies, options->topology_count,
            options->partitions, 1);
    replay->collector = tally_collector_create(options->client);
    replay->restorer = tally_restorer_create(&(struct tally_restorer_options){
            .thread = THREAD,
            .config = config,
            .client = options->client,
            .clock = options->clock,
            .state = replay->state,
            .context = replay,
            .restored = restored,
            .failed = failed,
    });
    return TALLY_OK;
}

void tally_replay_destroy(struct tally_replay *replay)
{
    if (!replay) {
        return;
    }
    tally_replay_end(replay);
    tally_restorer_destroy(replay->restorer);
    if (replay->collector) {
        tally_collector_destroy(replay->collector);
    }
    if (replay->registry) {
        tally_task_registry_destroy(replay->registry);
    }
    if (replay->consumer) {
        replay->consumer->ops->destroy(replay->consumer);
    }
    if (replay->state) {
        tally_state_close(replay->state);
    }
    tally_free(replay);
}

static struct tally_store_identity identity_of(const struct tally_replay *replay,
        const struct tally_task_slot *slot)
{
    return tally_task_identity(slot, replay->options.config, replay->options.client,
            replay->options.partitions);
}

static enum tally_code find_slot(const struct tally_replay *replay, const char *topology,
        int32_t partition, struct tally_task_slot **slot, struct tally_error *err)
{
    *slot = tally_task_registry_find(replay->registry, topology, partition);
    return *slot ? TALLY_OK
                 : tally_error_set(err, TALLY_NOT_FOUND, "the settings have no task %s/%d",
                           topology, (int)partition);
}

enum tally_code tally_replay_positions(const struct tally_replay *replay, const char *state_dir,
        const char *topology, int32_t partition, struct tally_positions *positions,
        struct tally_error *err)
{
    struct tally_store_identity identity;
    struct tally_task_slot *slot;
    enum tally_code code = find_slot(replay, topology, partition, &slot, err);

    if (code) {
        return code;
    }
    identity = identity_of(replay, slot);
    return tally_store_check(state_dir, false, &identity, positions, err);
}

enum tally_code tally_replay_begin(struct tally_replay *replay, const char *topology,
        int32_t partition, int64_t last, struct tally_error *err)
{
    const struct tally_replay_options *options = &replay->options;
    struct tally_store_identity identity;
    struct tally_store *store;
    enum tally_code code = find_slot(replay, topology, partition, &replay->slot, err);

    if (code) {
        return code;
    }
    identity = identity_of(replay, replay->slot);
    code = tally_store_open(replay->state, &identity, &store, err);
    if (code) {
        return code;
    }
    tally_assert(tally_task_slot_claim(replay->slot, THREAD));
    tally_task_slot_set_store(replay->slot, store);
    replay->task = tally_stream_task_create(&(struct tally_stream_task_options){
            .slot = replay->slot,
            .config = options->config,
            .client = options->client,
            .clock = options->clock,
            .collector = replay->collector,
            .partitions = options->partitions,
    });
    tally_stream_task_set_state(replay->task, TALLY_TASK_RESTORING);
    replay->last = last;
    replay->restored = replay->failed = false;
    return tally_restorer_replay(replay->restorer, replay->task, replay->consumer, last, err);
}

enum tally_code tally_replay_step(struct tally_replay *replay, int64_t budget_ms,
        struct tally_error *err)
{
    enum tally_code code = tally_restorer_step(replay->restorer, budget_ms, err);

    if (!code && replay->failed) {
        *err = replay->err;
        return replay->err.code;
    }
    return code || replay->restored ? code : TALLY_AGAIN;
}

void tally_replay_progress(const struct tally_replay *replay, int64_t *done, int64_t *total)
{
    *total = replay->restored ? 0 : atomic_load(&replay->slot->restore_total);
    *done = *total - atomic_load(&replay->slot->restore_left);
}

struct tally_view *tally_replay_view(struct tally_replay *replay)
{
    tally_assert(replay->restored);
    return tally_store_view(replay->slot->store);
}

/* --- what came later -------------------------------------------------------------------------- */

/* Up to `end`; what no reader is shown moves the position alone. */
static enum tally_code read_keys(struct tally_replay *replay, const char *topic, int64_t end,
        void (*key)(void *context, struct tally_slice key), void *context, struct tally_error *err)
{
    struct tally_consumer *consumer = replay->consumer;
    int64_t heard_ms = tally_mono_ms(replay->options.clock);
    enum tally_code code = TALLY_OK;

    while (consumer->ops->position(consumer, topic, replay->slot->partition) < end) {
        struct tally_record record;

        code = consumer->ops->poll(consumer, POLL_MS, &record, err);
        if (code == TALLY_OK) {
            key(context, record.key);
            consumer->ops->release(consumer, &record);
            heard_ms = tally_mono_ms(replay->options.clock);
        } else if (tally_mono_ms(replay->options.clock) - heard_ms > SILENT_MS) {
            return tally_error_set(err, TALLY_TIMEOUT, "%s/%d cannot be read up to %lld", topic,
                    (int)replay->slot->partition, (long long)end);
        } else if (code != TALLY_AGAIN && tally_code_reaction(code) != TALLY_REACT_RETRY) {
            return code;
        }
    }
    return TALLY_OK;
}

enum tally_code tally_replay_later(struct tally_replay *replay,
        void (*key)(void *context, struct tally_slice key), void *context, struct tally_error *err)
{
    struct tally_consumer *consumer = replay->consumer;
    struct tally_topic_partition from = {
            .topic = tally_topology_output(replay->slot->topology),
            .partition = replay->slot->partition,
            .offset = replay->last + 1,
    };
    int64_t low, high;
    enum tally_code code;

    if (!tally_topology_projection(replay->slot->topology)) {
        return TALLY_OK;
    }
    code = consumer->ops->watermarks(consumer, from.topic, from.partition, WATERMARKS_TIMEOUT_MS,
            &low, &high, err);
    if (code || from.offset >= high) {
        return code;
    }
    code = consumer->ops->assign(consumer, &from, 1, err);
    if (!code) {
        code = read_keys(replay, from.topic, high, key, context, err);
    }
    if (consumer->ops->assign(consumer, NULL, 0, NULL) && !code) {
        code = tally_error_set(err, TALLY_UNAVAILABLE, "the consumer keeps its partitions");
    }
    return code;
}

void tally_replay_end(struct tally_replay *replay)
{
    struct tally_store *store;

    if (!replay->slot) {
        return;
    }
    if (replay->task) {
        tally_restorer_remove(replay->restorer, replay->task);
        tally_stream_task_set_state(replay->task, TALLY_TASK_CLOSED);
        tally_stream_task_destroy(replay->task);
        store = replay->slot->store;
        tally_task_slot_set_store(replay->slot, NULL);
        tally_task_slot_release(replay->slot);
        tally_store_close(store, false);
    }
    replay->task = NULL;
    replay->slot = NULL;
}
