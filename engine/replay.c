/* engine/replay.c - see replay.h. */
#include "engine/replay.h"

#include <stdio.h>

#include "engine/base/mem.h"
#include "engine/task_manager.h"

enum {
    POLL_MS = 20,
    WATERMARKS_TIMEOUT_MS = 5000,
    SILENT_MS = 30000, /* of a log that has more */
    FLUSH_MS = 120000, /* of one task's runs: state.memory at most, on a slow disk */
    GROUP_MAX = 300,
};

struct tally_replay_place {
    struct tally_replay_options options;
    struct tally_state *state; /* NULL: not opened yet */
    struct tally_task_registry *registry;
};

struct tally_replay {
    struct tally_replay_place *place;
    int thread;
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

struct tally_replay_place *tally_replay_place_create(const struct tally_replay_options *options)
{
    struct tally_replay_place *place = tally_alloc_zero(1, sizeof *place);

    place->options = *options;
    place->registry = tally_task_registry_create(options->topologies, options->topology_count,
            options->partitions, 1);
    return place;
}

enum tally_code tally_replay_place_open(struct tally_replay_place *place, struct tally_error *err)
{
    const struct tally_config *config = place->options.config;

    return tally_state_open(&(struct tally_state_options){.dir = place->options.dir,
                                    .memory_bytes = config->state_memory,
                                    .flush_interval_ms = config->state_flush_interval,
                                    .flush_bytes = config->state_flush_bytes,
                                    .dedup_retention_ms = config->dedup_retention,
                                    .clock = place->options.clock},
            &place->state, err);
}

void tally_replay_place_destroy(struct tally_replay_place *place)
{
    if (!place) {
        return;
    }
    tally_task_registry_destroy(place->registry);
    if (place->state) {
        tally_state_close(place->state);
    }
    tally_free(place);
}

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

enum tally_code tally_replay_create(struct tally_replay_place *place, int thread,
        struct tally_replay **created, struct tally_error *err)
{
    const struct tally_replay_options *options = &place->options;
    struct tally_replay *replay = tally_alloc_zero(1, sizeof *replay);

    tally_assert(place->state);
    *created = NULL;
    replay->place = place;
    replay->thread = thread;
    replay->consumer = options->client->ops->restore_consumer(options->client, thread, err);
    if (!replay->consumer) {
        tally_free(replay);
        return err->code;
    }
    replay->collector = tally_collector_create(options->client);
    replay->restorer = tally_restorer_create(&(struct tally_restorer_options){
            .thread = thread,
            .config = options->config,
            .client = options->client,
            .clock = options->clock,
            .state = place->state,
            .context = replay,
            .restored = restored,
            .failed = failed,
    });
    *created = replay;
    return TALLY_OK;
}

void tally_replay_destroy(struct tally_replay *replay)
{
    if (!replay) {
        return;
    }
    tally_replay_end(replay);
    tally_restorer_destroy(replay->restorer);
    tally_collector_destroy(replay->collector);
    replay->consumer->ops->destroy(replay->consumer);
    tally_free(replay);
}

/* Who the directory belongs to. The fold of a later part of a log is nobody's state: the name of
 * its group, written to `group`, says so. */
static struct tally_store_identity identity_of(const struct tally_replay_place *place,
        const struct tally_task_slot *slot, int64_t from, char group[static GROUP_MAX])
{
    const struct tally_replay_options *options = &place->options;
    struct tally_store_identity identity =
            tally_task_identity(slot, options->config, options->client, options->partitions);

    if (from >= 0) {
        (void)snprintf(group, GROUP_MAX, "%s, replayed from %lld", identity.group, (long long)from);
        identity.group = group;
    }
    return identity;
}

static enum tally_code find_slot(const struct tally_replay_place *place, const char *topology,
        int32_t partition, struct tally_task_slot **slot, struct tally_error *err)
{
    *slot = tally_task_registry_find(place->registry, topology, partition);
    return *slot ? TALLY_OK
                 : tally_error_set(err, TALLY_NOT_FOUND, "the settings have no task %s/%d",
                           topology, (int)partition);
}

enum tally_code tally_replay_positions(const struct tally_replay_place *place,
        const char *state_dir, const char *topology, int32_t partition, int64_t from,
        struct tally_positions *positions, struct tally_error *err)
{
    struct tally_store_identity identity;
    struct tally_task_slot *slot;
    char group[GROUP_MAX];
    enum tally_code code = find_slot(place, topology, partition, &slot, err);

    if (code) {
        return code;
    }
    identity = identity_of(place, slot, from, group);
    return tally_store_check(state_dir, false, &identity, positions, err);
}

enum tally_code tally_replay_begin(struct tally_replay *replay, const char *topology,
        int32_t partition, const struct tally_log_part *part, struct tally_error *err)
{
    const struct tally_replay_options *options = &replay->place->options;
    struct tally_store_identity identity;
    struct tally_task_slot *slot;
    struct tally_store *store;
    char group[GROUP_MAX];
    enum tally_code code = find_slot(replay->place, topology, partition, &slot, err);

    if (code) {
        return code;
    }
    identity = identity_of(replay->place, slot, part->from, group);
    code = tally_store_open(replay->place->state, &identity, &store, err);
    if (code) {
        return code;
    }
    replay->slot = slot;
    tally_assert(tally_task_slot_claim(replay->slot, replay->thread));
    tally_task_slot_set_store(replay->slot, store);
    replay->task = tally_stream_task_create(&(struct tally_stream_task_options){
            .slot = replay->slot,
            .config = options->config,
            .client = options->client,
            .clock = options->clock,
            .collector = replay->collector,
            .partitions = options->partitions,
            .strict = options->strict,
    });
    tally_stream_task_set_state(replay->task, TALLY_TASK_RESTORING);
    replay->last = part->last;
    replay->restored = replay->failed = false;
    return tally_restorer_replay(replay->restorer, replay->task, replay->consumer, part, err);
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
    int64_t heard_ms = tally_mono_ms(replay->place->options.clock);
    enum tally_code code = TALLY_OK;

    while (consumer->ops->position(consumer, topic, replay->slot->partition) < end) {
        struct tally_record record;

        code = consumer->ops->poll(consumer, POLL_MS, &record, err);
        if (code == TALLY_OK) {
            key(context, record.key);
            consumer->ops->release(consumer, &record);
            heard_ms = tally_mono_ms(replay->place->options.clock);
        } else if (tally_mono_ms(replay->place->options.clock) - heard_ms > SILENT_MS) {
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

static void give_up(struct tally_replay *replay)
{
    tally_restorer_remove(replay->restorer, replay->task);
    tally_stream_task_set_state(replay->task, TALLY_TASK_CLOSED);
    tally_stream_task_destroy(replay->task);
    tally_task_slot_release(replay->slot);
    replay->task = NULL;
    replay->slot = NULL;
}

void tally_replay_end(struct tally_replay *replay)
{
    struct tally_store *store;

    if (replay->slot) {
        store = replay->slot->store;
        tally_task_slot_set_store(replay->slot, NULL);
        give_up(replay);
        tally_store_close(store, false);
    }
}

void tally_replay_keep(struct tally_replay *replay)
{
    if (tally_store_uncommitted(replay->slot->store) > 0) {
        tally_stream_task_commit(replay->task, tally_wall_ms(replay->place->options.clock));
    }
    give_up(replay);
}

enum tally_code tally_replay_place_settle(struct tally_replay_place *place, const char *topology,
        int32_t partition, struct tally_error *err)
{
    struct tally_task_slot *slot;
    struct tally_store *store;
    enum tally_code code = find_slot(place, topology, partition, &slot, err);

    store = code ? NULL : slot->store;
    if (!store) {
        return code;
    }
    code = tally_store_flush(store, true, FLUSH_MS, err);
    tally_task_slot_set_store(slot, NULL);
    tally_store_close(store, false);
    return code;
}
