/* engine/task_manager.c - see task_manager.h. */
#include "engine/task_manager.h"

#include "engine/base/log.h"

#include <stdio.h>

enum { TASKS_MAX = 16384 };

struct tally_task_manager {
    struct tally_task_manager_options options;
    struct tally_stream_task **tasks;
    size_t count, capacity;
    const char *last_topic; /* of the record looked up last, by address */
    int32_t last_partition;
    struct tally_stream_task *last;
};

struct tally_task_manager *
tally_task_manager_create(const struct tally_task_manager_options *options)
{
    struct tally_task_manager *manager = tally_alloc_zero(1, sizeof *manager);

    manager->options = *options;
    return manager;
}

void tally_task_manager_destroy(struct tally_task_manager *manager)
{
    if (!manager) {
        return;
    }
    tally_assert(manager->count == 0);
    tally_free(manager->tasks);
    tally_free(manager);
}

struct tally_store_identity tally_task_identity(const struct tally_task_slot *slot,
        const struct tally_config *config, struct tally_client *client, int32_t partitions)
{
    return (struct tally_store_identity){
            .topology = tally_topology_name(slot->topology),
            .partition = slot->partition,
            .partitions = partitions,
            .cluster_id = client->ops->cluster_id(client),
            .group = config->app_id,
            .commands_topic = tally_topology_input(slot->topology),
            .events_topic = tally_topology_output(slot->topology),
            .evolve_version = tally_topology_version(slot->topology),
            .settings = tally_topology_settings(slot->topology),
            .omitted = tally_topology_omitted(slot->topology),
    };
}

size_t tally_task_manager_count(const struct tally_task_manager *manager)
{
    return manager->count;
}

struct tally_stream_task *tally_task_manager_at(const struct tally_task_manager *manager,
        size_t index)
{
    return manager->tasks[index];
}

struct tally_stream_task *tally_task_manager_find(struct tally_task_manager *manager,
        const char *topic, int32_t partition)
{
    if (manager->last && manager->last_topic == topic && manager->last_partition == partition) {
        return manager->last;
    }
    for (size_t i = 0; i < manager->count; i++) {
        struct tally_stream_task *task = manager->tasks[i];

        if (tally_stream_task_slot(task)->partition == partition &&
                strcmp(tally_stream_task_input(task), topic) == 0) {
            manager->last = task;
            manager->last_topic = topic;
            manager->last_partition = partition;
            return task;
        }
    }
    return NULL;
}

enum tally_code tally_task_manager_assign(struct tally_task_manager *manager, const char *topic,
        int32_t partition, struct tally_error *err)
{
    const struct tally_task_manager_options *options = &manager->options;
    struct tally_task_slot *slot =
            tally_task_registry_find_input(options->registry, options->group, topic, partition);
    struct tally_stream_task_options task = {
            .slot = slot,
            .config = options->config,
            .client = options->client,
            .clock = options->clock,
            .collector = options->collector,
            .partitions = options->partitions,
    };

    if (!slot) {
        return tally_error_set(err, TALLY_TOPIC_CONFIG,
                "%s/%d was assigned, but tasks are made for %d partitions: partitions cannot be "
                "added to a running system",
                topic, partition, options->partitions);
    }
    if (tally_task_manager_find(manager, topic, partition)) {
        return TALLY_OK;
    }
    if (!tally_task_slot_claim(slot, options->thread)) {
        return TALLY_AGAIN;
    }
    if (manager->count == manager->capacity) {
        tally_assert(manager->capacity < TASKS_MAX);
        manager->capacity = manager->capacity ? manager->capacity * 2 : 8;
        manager->tasks = tally_realloc(manager->tasks,
                manager->capacity * sizeof(struct tally_stream_task *));
    }
    manager->tasks[manager->count++] = tally_stream_task_create(&task);
    return TALLY_OK;
}

/* --- stores ----------------------------------------------------------------------------------- */

static enum tally_code set_aside(struct tally_task_manager *manager,
        const struct tally_task_slot *slot, const struct tally_error *why, struct tally_error *err)
{
    tally_log(TALLY_LOG_WARN, "state set aside; it will be restored from its log",
            TALLY_LOG_STR("topology", tally_topology_name(slot->topology)),
            TALLY_LOG_INT("partition", slot->partition),
            TALLY_LOG_STR("code", tally_code_name(why->code)),
            TALLY_LOG_STR("reason", why->message));
    return tally_store_set_aside(manager->options.state, tally_topology_name(slot->topology),
            slot->partition, err);
}

enum tally_code tally_task_manager_open_store(struct tally_task_manager *manager,
        struct tally_stream_task *task, struct tally_error *err)
{
    const struct tally_task_manager_options *options = &manager->options;
    struct tally_task_slot *slot = tally_stream_task_slot(task);
    struct tally_store_identity identity =
            tally_task_identity(slot, options->config, options->client, options->partitions);
    struct tally_store *store = NULL;
    enum tally_code code;

    if (slot->store) {
        return TALLY_OK;
    }
    code = tally_store_open(options->state, &identity, &store, err);
    if (code && tally_code_reaction(code) == TALLY_REACT_REBUILD) {
        struct tally_error why = *err;

        code = set_aside(manager, slot, &why, err);
        if (!code) {
            code = tally_store_open(options->state, &identity, &store, err);
        }
    }
    if (code) {
        return code;
    }
    tally_task_slot_set_store(slot, store);
    tally_stream_task_load(task);
    return TALLY_OK;
}

enum tally_code tally_task_manager_rebuild(struct tally_task_manager *manager,
        struct tally_stream_task *task, struct tally_error *err)
{
    struct tally_task_slot *slot = tally_stream_task_slot(task);
    struct tally_store *store = slot->store;
    struct tally_error why = *err;
    enum tally_code code = TALLY_OK;

    if (tally_stream_task_state(task) != TALLY_TASK_CREATED) {
        tally_stream_task_set_state(task, TALLY_TASK_CREATED);
    }
    if (store) {
        tally_task_slot_set_store(slot, NULL);
        tally_store_close(store, false);
        code = set_aside(manager, slot, &why, err);
    }
    if (code) {
        return code;
    }
    return tally_task_manager_open_store(manager, task, err);
}

/* --- giving up -------------------------------------------------------------------------------- */

static void forget_all(struct tally_task_manager *manager)
{
    manager->count = 0;
    manager->last = NULL;
}

void tally_task_manager_park_all(struct tally_task_manager *manager, int64_t flush_ms)
{
    int64_t until_ms = tally_mono_ms(manager->options.clock) + flush_ms;

    for (size_t i = 0; i < manager->count; i++) {
        struct tally_stream_task *task = manager->tasks[i];
        struct tally_task_slot *slot = tally_stream_task_slot(task);
        int64_t left_ms = until_ms - tally_mono_ms(manager->options.clock);
        struct tally_error err;

        tally_stream_task_rollback(task);
        if (slot->store && flush_ms > 0 && left_ms > 0 &&
                tally_store_flush(slot->store, true, left_ms, &err)) {
            tally_error_context(&err, "%s", tally_stream_task_name(task));
            tally_log_error(TALLY_LOG_WARN, "state not flushed; restore will read a longer tail",
                    &err);
        }
        if (tally_stream_task_state(task) != TALLY_TASK_PARKED) {
            tally_stream_task_set_state(task, slot->store ? TALLY_TASK_PARKED : TALLY_TASK_CLOSED);
        }
        tally_task_slot_release(slot);
        tally_stream_task_destroy(task);
    }
    forget_all(manager);
}

void tally_task_manager_abandon_all(struct tally_task_manager *manager)
{
    for (size_t i = 0; i < manager->count; i++) {
        struct tally_stream_task *task = manager->tasks[i];
        struct tally_task_slot *slot = tally_stream_task_slot(task);
        struct tally_store *store = slot->store;

        if (store) {
            tally_task_slot_set_store(slot, NULL);
            tally_store_close(store, false);
        }
        tally_stream_task_set_state(task, TALLY_TASK_CLOSED);
        tally_task_slot_release(slot);
        tally_stream_task_destroy(task);
    }
    forget_all(manager);
}

/* --- the transaction -------------------------------------------------------------------------- */

static bool is_running(const struct tally_stream_task *task)
{
    return tally_stream_task_state(task) == TALLY_TASK_RUNNING;
}

size_t tally_task_manager_offsets(const struct tally_task_manager *manager,
        struct tally_topic_partition *offsets, size_t max)
{
    size_t count = 0;

    for (size_t i = 0; i < manager->count; i++) {
        struct tally_stream_task *task = manager->tasks[i];

        if (!is_running(task)) {
            continue;
        }
        tally_assert(count < max);
        offsets[count++] = (struct tally_topic_partition){
                .topic = tally_stream_task_input(task),
                .partition = tally_stream_task_slot(task)->partition,
                .offset = tally_stream_task_next(task)->in_next,
        };
    }
    return count;
}

enum tally_code tally_task_manager_finish(struct tally_task_manager *manager, bool *added,
        struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    *added = false;
    for (size_t i = 0; i < manager->count && !code; i++) {
        if (is_running(manager->tasks[i])) {
            code = tally_stream_task_finish(manager->tasks[i], added, err);
        }
    }
    return code;
}

void tally_task_manager_commit(struct tally_task_manager *manager)
{
    int64_t now_ms = tally_wall_ms(manager->options.clock);

    for (size_t i = 0; i < manager->count; i++) {
        if (is_running(manager->tasks[i])) {
            tally_stream_task_commit(manager->tasks[i], now_ms);
        }
    }
}

void tally_task_manager_rollback(struct tally_task_manager *manager)
{
    for (size_t i = 0; i < manager->count; i++) {
        if (is_running(manager->tasks[i])) {
            tally_stream_task_rollback(manager->tasks[i]); /* what a restore has applied stays */
        }
    }
}

size_t tally_task_manager_uncommitted(const struct tally_task_manager *manager)
{
    size_t bytes = 0;

    for (size_t i = 0; i < manager->count; i++) {
        struct tally_task_slot *slot = tally_stream_task_slot(manager->tasks[i]);

        bytes += is_running(manager->tasks[i]) ? tally_store_uncommitted(slot->store) : 0;
    }
    return bytes;
}
