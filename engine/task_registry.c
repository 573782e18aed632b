/* engine/task_registry.c - see task_registry.h.
 * Waiting for a position: a reader registers under WAITERS, checks in_next and sleeps on the
 * condition; publication stores in_next first and broadcasts under WAITERS only when someone is
 * registered, so no wake-up is lost and an idle registry costs one atomic load per commit. */
#include "engine/task_registry.h"

#include "engine/base/mem.h"
#include "engine/base/metrics.h"

#include <stdio.h>

struct tally_task_registry {
    struct tally_rwlock lock; /* store pointers, owners, halt messages */
    struct tally_mutex waiters_lock;
    struct tally_cond published;
    _Atomic int waiters;
    int waiters_max;
    _Atomic int64_t contact_ms;
    int32_t partitions;
    size_t count;
    struct tally_task_slot slots[];
};

static const char *const state_names[] = {
        [TALLY_TASK_CREATED] = "CREATED",
        [TALLY_TASK_RESTORING] = "RESTORING",
        [TALLY_TASK_RUNNING] = "RUNNING",
        [TALLY_TASK_PARKED] = "PARKED",
        [TALLY_TASK_HALTED] = "HALTED",
        [TALLY_TASK_CLOSED] = "CLOSED",
};

const char *tally_task_state_name(enum tally_task_state state)
{
    return state_names[state];
}

struct tally_task_registry *tally_task_registry_create(struct tally_topology *const *topologies,
        size_t count, int32_t partitions, int waiters_max)
{
    size_t slots = count * (size_t)partitions;
    struct tally_task_registry *registry =
            tally_alloc_zero(1, sizeof *registry + slots * sizeof registry->slots[0]);

    tally_rwlock_init(&registry->lock, TALLY_LOCK_TASKS);
    tally_mutex_init(&registry->waiters_lock, TALLY_LOCK_WAITERS);
    tally_cond_init(&registry->published);
    registry->waiters_max = waiters_max;
    registry->partitions = partitions;
    registry->count = slots;
    for (size_t i = 0; i < slots; i++) {
        struct tally_task_slot *slot = &registry->slots[i];

        slot->registry = registry;
        slot->topology = topologies[i / (size_t)partitions];
        slot->partition = (int32_t)(i % (size_t)partitions);
        slot->owner = -1;
        atomic_init(&slot->state, TALLY_TASK_CLOSED);
        atomic_init(&slot->in_next, -1);
        atomic_init(&slot->lag, -1);
    }
    return registry;
}

void tally_task_registry_destroy(struct tally_task_registry *registry)
{
    if (!registry) {
        return;
    }
    for (size_t i = 0; i < registry->count; i++) {
        struct tally_task_slot *slot = &registry->slots[i];

        tally_assert(slot->owner < 0);
        if (slot->store) {
            tally_store_close(slot->store, true);
        }
    }
    tally_rwlock_deinit(&registry->lock);
    tally_mutex_deinit(&registry->waiters_lock);
    tally_cond_deinit(&registry->published);
    tally_free(registry);
}

size_t tally_task_registry_count(const struct tally_task_registry *registry)
{
    return registry->count;
}

struct tally_task_slot *tally_task_registry_at(struct tally_task_registry *registry, size_t index)
{
    tally_assert(index < registry->count);
    return &registry->slots[index];
}

struct tally_task_slot *tally_task_registry_find(struct tally_task_registry *registry,
        const char *topology, int32_t partition)
{
    for (size_t i = 0; i < registry->count; i++) {
        struct tally_task_slot *slot = &registry->slots[i];

        if (slot->partition == partition &&
                strcmp(tally_topology_name(slot->topology), topology) == 0) {
            return slot;
        }
    }
    return NULL;
}

bool tally_task_slot_in_group(const struct tally_task_slot *slot, const char *group)
{
    const char *its = tally_topology_group(slot->topology);

    return its && group ? strcmp(its, group) == 0 : its == group;
}

struct tally_task_slot *tally_task_registry_find_input(struct tally_task_registry *registry,
        const char *group, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < registry->count; i++) {
        struct tally_task_slot *slot = &registry->slots[i];

        if (slot->partition == partition && tally_task_slot_in_group(slot, group) &&
                strcmp(tally_topology_input(slot->topology), topic) == 0) {
            return slot;
        }
    }
    return NULL;
}

bool tally_task_registry_owns_topic(const struct tally_task_registry *registry, const char *topic)
{
    for (size_t i = 0; i < registry->count; i++) {
        const struct tally_topology *topology = registry->slots[i].topology;

        const char *letters = tally_topology_dead_letters(topology);

        if (strcmp(tally_topology_input(topology), topic) == 0 ||
                strcmp(tally_topology_output(topology), topic) == 0 ||
                (letters && strcmp(letters, topic) == 0)) {
            return true;
        }
    }
    return false;
}

bool tally_task_slot_claim(struct tally_task_slot *slot, int owner)
{
    bool free_or_mine;

    tally_rwlock_write(&slot->registry->lock);
    free_or_mine = slot->owner < 0 || slot->owner == owner;
    if (free_or_mine) {
        slot->owner = owner;
    }
    tally_rwlock_unlock(&slot->registry->lock);
    return free_or_mine;
}

void tally_task_slot_release(struct tally_task_slot *slot)
{
    tally_task_slot_set_lag(slot, -1); /* whoever gets the partition knows it */
    tally_rwlock_write(&slot->registry->lock);
    slot->owner = -1;
    tally_rwlock_unlock(&slot->registry->lock);
}

bool tally_task_slot_is_owned(struct tally_task_slot *slot)
{
    bool owned;

    tally_rwlock_read(&slot->registry->lock);
    owned = slot->owner >= 0;
    tally_rwlock_unlock(&slot->registry->lock);
    return owned;
}

void tally_task_slot_set_lag(struct tally_task_slot *slot, int64_t lag)
{
    char partition[16];

    atomic_store(&slot->lag, lag);
    (void)snprintf(partition, sizeof partition, "%d", slot->partition);
    tally_series_set(tally_series_of(TALLY_METRIC_LAG_RECORDS, tally_topology_name(slot->topology),
                             partition),
            lag);
}

void tally_task_slot_set_store(struct tally_task_slot *slot, struct tally_store *store)
{
    tally_rwlock_write(&slot->registry->lock);
    slot->store = store;
    tally_rwlock_unlock(&slot->registry->lock);
}

static void show_state(const struct tally_task_slot *slot, enum tally_task_state state)
{
    char partition[16];

    (void)snprintf(partition, sizeof partition, "%d", slot->partition);
    tally_series_set(tally_series_of(TALLY_METRIC_TASK_STATE, tally_topology_name(slot->topology),
                             partition),
            state);
}

void tally_task_slot_set_state(struct tally_task_slot *slot, enum tally_task_state state)
{
    tally_rwlock_write(&slot->registry->lock);
    if (state != TALLY_TASK_CREATED && state != TALLY_TASK_RESTORING) { /* a recheck is no cure */
        slot->code = TALLY_OK;
        slot->message[0] = 0;
    }
    tally_rwlock_unlock(&slot->registry->lock);
    atomic_store(&slot->passed, false);
    atomic_store(&slot->doubted, false); /* it was about another life of the task */
    if (state != TALLY_TASK_RUNNING) {
        atomic_store(&slot->anchored, false);
    }
    atomic_store(&slot->state, state);
    show_state(slot, state);
}

void tally_task_way_out(const char *topology, int32_t partition, enum tally_code code,
        char text[static TALLY_WAY_OUT_MAX])
{
    const char *options, *remedy = tally_code_remedy(code, &options);

    if (options) {
        (void)snprintf(text, TALLY_WAY_OUT_MAX,
                "stop all instances, then: tally reset --topology %s --partition %d%s --execute "
                "(without --execute: only the plan)",
                topology, (int)partition, options);
    } else {
        (void)snprintf(text, TALLY_WAY_OUT_MAX, "%s", remedy ? remedy : "");
    }
}

void tally_task_slot_way_out(const struct tally_task_slot *slot, const struct tally_error *err,
        char text[static TALLY_HALT_TEXT_MAX])
{
    char way_out[TALLY_WAY_OUT_MAX];

    tally_task_way_out(tally_topology_name(slot->topology), slot->partition, err->code, way_out);
    (void)snprintf(text, TALLY_HALT_TEXT_MAX, "%s%s%s", err->message,
            way_out[0] ? "; way out: " : "", way_out);
}

void tally_task_slot_halt(struct tally_task_slot *slot, const struct tally_error *err)
{
    tally_rwlock_write(&slot->registry->lock);
    slot->code = err->code;
    tally_task_slot_way_out(slot, err, slot->message);
    tally_rwlock_unlock(&slot->registry->lock);
    atomic_store(&slot->state, TALLY_TASK_HALTED);
    show_state(slot, TALLY_TASK_HALTED);
}

void tally_task_slot_set_anchor(struct tally_task_slot *slot,
        const struct tally_positions *positions)
{
    if (positions->in_last < 0 || atomic_load(&slot->anchored)) {
        return;
    }
    tally_rwlock_write(&slot->registry->lock);
    slot->anchor = *positions;
    tally_rwlock_unlock(&slot->registry->lock);
    atomic_store(&slot->anchored, true);
}

bool tally_task_slot_get_anchor(struct tally_task_slot *slot, struct tally_positions *positions)
{
    if (!atomic_load(&slot->anchored)) {
        return false;
    }
    tally_rwlock_read(&slot->registry->lock);
    *positions = slot->anchor;
    tally_rwlock_unlock(&slot->registry->lock);
    return true;
}

void tally_task_slot_doubt(struct tally_task_slot *slot, const struct tally_error *err,
        const struct tally_positions *wrong)
{
    tally_rwlock_write(&slot->registry->lock);
    slot->doubt = *err;
    slot->wrong = *wrong;
    tally_rwlock_unlock(&slot->registry->lock);
    atomic_store(&slot->doubted, true);
}

bool tally_task_slot_take_doubt(struct tally_task_slot *slot, struct tally_error *err,
        struct tally_positions *wrong)
{
    if (!atomic_load(&slot->doubted) || !atomic_exchange(&slot->doubted, false)) {
        return false;
    }
    tally_rwlock_read(&slot->registry->lock);
    *err = slot->doubt;
    *wrong = slot->wrong;
    tally_rwlock_unlock(&slot->registry->lock);
    return true;
}

void tally_task_slot_pass(struct tally_task_slot *slot, int64_t from, int64_t to)
{
    tally_rwlock_write(&slot->registry->lock);
    slot->passed_from = from;
    slot->passed_to = to;
    tally_rwlock_unlock(&slot->registry->lock);
    atomic_store(&slot->passed, true);
}

bool tally_task_slot_take_pass(struct tally_task_slot *slot, int64_t *from, int64_t *to)
{
    if (!atomic_load(&slot->passed) || !atomic_exchange(&slot->passed, false)) {
        return false;
    }
    tally_rwlock_read(&slot->registry->lock);
    *from = slot->passed_from;
    *to = slot->passed_to;
    tally_rwlock_unlock(&slot->registry->lock);
    return true;
}

void tally_task_slot_publish(struct tally_task_slot *slot, int64_t in_next)
{
    struct tally_task_registry *registry = slot->registry;

    atomic_store(&slot->in_next, in_next);
    if (atomic_load(&registry->waiters) > 0) {
        tally_mutex_lock(&registry->waiters_lock);
        tally_cond_broadcast(&registry->published);
        tally_mutex_unlock(&registry->waiters_lock);
    }
}

struct tally_view *tally_task_slot_view(struct tally_task_slot *slot)
{
    struct tally_view *view = NULL;

    tally_rwlock_read(&slot->registry->lock);
    if (slot->store) {
        view = tally_store_view(slot->store);
    }
    tally_rwlock_unlock(&slot->registry->lock);
    return view;
}

enum tally_code tally_task_slot_wait(struct tally_task_slot *slot, int64_t offset, int64_t wait_ms)
{
    struct tally_task_registry *registry = slot->registry;
    struct tally_clock *clock = tally_clock_real();
    int64_t deadline_ms = tally_mono_ms(clock) + wait_ms;
    enum tally_code code = TALLY_OK;

    if (atomic_load(&slot->in_next) > offset) {
        return TALLY_OK;
    }
    tally_mutex_lock(&registry->waiters_lock);
    if (atomic_load(&registry->waiters) >= registry->waiters_max) {
        tally_mutex_unlock(&registry->waiters_lock);
        return TALLY_QUEUE_FULL;
    }
    atomic_fetch_add(&registry->waiters, 1);
    while (atomic_load(&slot->in_next) <= offset) {
        int64_t left_ms = deadline_ms - tally_mono_ms(clock);

        if (left_ms <= 0) {
            code = TALLY_TIMEOUT;
            break;
        }
        (void)tally_cond_wait(&registry->published, &registry->waiters_lock, left_ms);
    }
    atomic_fetch_sub(&registry->waiters, 1);
    tally_mutex_unlock(&registry->waiters_lock);
    return code;
}

void tally_task_slot_trouble(struct tally_task_slot *slot, const struct tally_error *err)
{
    tally_rwlock_write(&slot->registry->lock);
    slot->code = err->code;
    (void)snprintf(slot->message, sizeof slot->message, "%s", err->message);
    tally_rwlock_unlock(&slot->registry->lock);
}

enum tally_code tally_task_slot_halted(struct tally_task_slot *slot, char *message, size_t size)
{
    enum tally_code code;

    tally_rwlock_read(&slot->registry->lock);
    code = slot->code;
    (void)snprintf(message, size, "%s", slot->message);
    tally_rwlock_unlock(&slot->registry->lock);
    return code;
}

enum tally_code tally_task_slot_store_health(struct tally_task_slot *slot, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    tally_rwlock_read(&slot->registry->lock);
    if (slot->store) {
        code = tally_store_health(slot->store, err);
    }
    tally_rwlock_unlock(&slot->registry->lock);
    return code;
}

void tally_task_registry_contact(struct tally_task_registry *registry, int64_t now_ms)
{
    atomic_store(&registry->contact_ms, now_ms);
}

int64_t tally_task_registry_contact_ms(const struct tally_task_registry *registry)
{
    return atomic_load(&registry->contact_ms);
}

/* Slots of a topology stand together. */
void tally_task_registry_show_sizes(struct tally_task_registry *registry)
{
    int64_t bytes = 0, level0 = 0;

    for (size_t i = 0; i < registry->count; i++) {
        struct tally_task_slot *slot = &registry->slots[i];
        int64_t its_bytes = 0, its_level0 = 0;

        tally_rwlock_read(&registry->lock);
        if (slot->store) {
            tally_store_sizes(slot->store, &its_bytes, &its_level0);
        }
        tally_rwlock_unlock(&registry->lock);
        bytes += its_bytes;
        level0 = its_level0 > level0 ? its_level0 : level0;
        if (i + 1 == registry->count || registry->slots[i + 1].topology != slot->topology) {
            const char *topology = tally_topology_name(slot->topology);

            tally_series_set(tally_series_of(TALLY_METRIC_ROCKSDB_BYTES, topology), bytes);
            tally_series_set(tally_series_of(TALLY_METRIC_ROCKSDB_LEVEL0, topology), level0);
            bytes = level0 = 0;
        }
    }
}
