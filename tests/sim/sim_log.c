/* tests/sim/sim_log.c - the events topics as they grow, and whether what readers and waiting
 * clients are told is committed. Follows each partition up to its first undecided record.
 * Invariants that are checked
 *  (1) An event's seq is the one after its level's last.
 *  (2) A view holds what the events up to its own position say, and these are committed.
 *  (3) A reply tells an outcome that is committed. */
#include <stdio.h>

#include "engine/base/mem.h"
#include "schemas/stock_records.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_decode.h"

#define EVENTS_TOPIC SIM_STOCK ".events"

struct level_event {
    int64_t offset;
    int level;
    int64_t seq, on_hand;
};

struct followed {
    int64_t next; /* first offset that is not looked at yet */
    struct level_event *events;
    size_t count, capacity;
};

struct sim_log {
    struct followed partitions[SIM_PARTITIONS];
    int64_t last_seq[SIM_LEVELS];
    int64_t replies_next;
};

void sim_log_open(struct sim *sim)
{
    sim->log = tally_alloc_zero(1, sizeof *sim->log);
}

void sim_log_close(struct sim *sim)
{
    for (int p = 0; p < SIM_PARTITIONS; p++) {
        tally_free(sim->log->partitions[p].events);
    }
    tally_free(sim->log);
}

static int level_of(const struct sim_event *event)
{
    int sku = event->sku.len == 2 ? event->sku.data[1] - '0' : 0;

    int warehouse = tally_slice_equal(event->warehouse, TALLY_SLICE("RTM2")) ? 1 : 0;

    return sku * SIM_WAREHOUSES + warehouse;
}

static void take(struct sim *sim, int32_t partition, const struct tally_memory_record *record)
{
    struct followed *followed = &sim->log->partitions[partition];
    struct sim_event event;
    int level;

    if (!sim_event_decode(record->value, &event)) {
        sim_violation(sim, "events decode", "%s/%d@%lld", EVENTS_TOPIC, partition,
                (long long)record->offset);
    }
    sim_trace(sim, -1, "event", partition, event.command_offset);
    if (event.seq == 0) {
        return;
    }
    level = level_of(&event);
    if (event.seq != sim->log->last_seq[level] + 1) {
        sim_violation(sim, "versions without gaps",
                "%.*s of %.*s has seq %lld after %lld, at %s/%d@%lld", (int)event.type.len,
                (const char *)event.type.data, (int)event.sku.len, (const char *)event.sku.data,
                (long long)event.seq, (long long)sim->log->last_seq[level], EVENTS_TOPIC, partition,
                (long long)record->offset);
    }
    sim->log->last_seq[level] = event.seq;
    if (followed->count == followed->capacity) {
        followed->capacity = followed->capacity ? 2 * followed->capacity : 64;
        followed->events =
                tally_realloc(followed->events, followed->capacity * sizeof followed->events[0]);
    }
    followed->events[followed->count++] =
            (struct level_event){record->offset, level, event.seq, event.on_hand};
}

void sim_log_follow(struct sim *sim)
{
    for (int32_t p = 0; p < sim->plan.partitions; p++) {
        struct followed *followed = &sim->log->partitions[p];
        int64_t end = tally_memory_broker_end(sim->broker, EVENTS_TOPIC, p);

        for (; followed->next < end; followed->next++) {
            struct tally_memory_record record;
            enum tally_memory_fate fate =
                    tally_memory_broker_fate(sim->broker, EVENTS_TOPIC, p, followed->next, &record);

            if (fate == TALLY_FATE_OPEN) {
                break;
            }
            if (fate == TALLY_FATE_COMMITTED) {
                take(sim, p, &record);
            }
        }
    }
}

/* --- reads ------------------------------------------------------------------------------------ */

static const struct level_event *last_event(const struct followed *followed, int level,
        int64_t offset)
{
    for (size_t i = followed->count; i > 0; i--) {
        const struct level_event *event = &followed->events[i - 1];

        if (event->level == level && event->offset <= offset) {
            return event;
        }
    }
    return NULL;
}

static void check_level(struct sim *sim, struct tally_task_slot *slot, struct tally_view *view)
{
    static const char *const warehouses[SIM_WAREHOUSES] = {"AMS1", "RTM2"};
    const struct followed *followed = &sim->log->partitions[slot->partition];
    int64_t out_last = tally_view_positions(view)->out_last;
    int level = (int)sim_random_below(&sim->random, SIM_LEVELS);
    const struct level_event *event = last_event(followed, level, out_last);
    uint8_t space[256];
    struct tally_buf row = {.data = space, .capacity = sizeof space, .max = sizeof space};
    struct stock_level_row found = {.version = 0};
    struct tally_key key;
    char sku[16];
    enum tally_code code;

    (void)snprintf(sku, sizeof sku, "K%d", level / SIM_WAREHOUSES);
    tally_key_begin(&key, TALLY_STORE_LEVEL);
    tally_key_string(&key, tally_slice_string(sku));
    tally_key_tail(&key, tally_slice_string(warehouses[level % SIM_WAREHOUSES]));
    code = tally_view_get(view, tally_key_bytes(&key), &row, NULL);
    if (code != TALLY_OK && code != TALLY_NOT_FOUND) {
        return; /* the disk said no */
    }
    if (code == TALLY_OK && !stock_level_unpack(tally_buf_bytes(&row), &found)) {
        sim_violation(sim, "rows unpack", "level %s", sku);
    }
    if (found.version != (event ? event->seq : 0) ||
            found.n[STOCK_ON_HAND] != (event ? event->on_hand : 0)) {
        sim_violation(sim, "views are folds of committed events",
                "level %s/%s of stock/%d: version %lld, on_hand %lld, but the events up to %lld "
                "say %lld, %lld",
                sku, warehouses[level % SIM_WAREHOUSES], slot->partition, (long long)found.version,
                (long long)found.n[STOCK_ON_HAND], (long long)out_last,
                (long long)(event ? event->seq : 0), (long long)(event ? event->on_hand : 0));
    }
    sim->counts[SIM_READS]++;
}

static void check_view(struct sim *sim, struct tally_task_slot *slot, struct tally_view *view)
{
    int64_t out_last = tally_view_positions(view)->out_last;
    struct tally_memory_record record;

    if (out_last >= 0 &&
            (out_last >= tally_memory_broker_end(sim->broker, EVENTS_TOPIC, slot->partition) ||
                    tally_memory_broker_fate(sim->broker, EVENTS_TOPIC, slot->partition, out_last,
                            &record) != TALLY_FATE_COMMITTED)) {
        sim_violation(sim, "readers see committed state only",
                "a view of stock/%d is at event %lld, which is not committed", slot->partition,
                (long long)out_last);
    }
    if (out_last < sim->log->partitions[slot->partition].next) {
        check_level(sim, slot, view);
    }
}

void sim_log_check_reads(struct sim *sim)
{
    struct sim_instance *instance =
            &sim->instances[sim_random_below(&sim->random, (uint32_t)sim->plan.instances)];
    int32_t partition = (int32_t)sim_random_below(&sim->random, (uint32_t)sim->plan.partitions);
    struct tally_task_slot *slot;
    struct tally_view *view;

    if (!instance->life || !instance->life->registry) {
        return;
    }
    sim_log_follow(sim);
    slot = tally_task_registry_find(instance->life->registry, SIM_STOCK, partition);
    view = tally_task_slot_view(slot);
    if (view) {
        check_view(sim, slot, view);
        tally_view_unref(view);
    }
}

/* --- replies ---------------------------------------------------------------------------------- */

/* Whether a committed event is the outcome of that command under that key. */
static bool is_committed(struct sim *sim, const char *topic, struct tally_slice id,
        struct tally_slice key, struct tally_slice status)
{
    for (int32_t p = 0; p < sim->plan.partitions; p++) {
        int64_t end = tally_memory_broker_end(sim->broker, topic, p);

        for (int64_t offset = 0; offset < end; offset++) {
            struct tally_memory_record record;
            struct sim_event event;

            if (tally_memory_broker_fate(sim->broker, topic, p, offset, &record) ==
                            TALLY_FATE_COMMITTED &&
                    tally_slice_equal(record.key, key) && sim_event_decode(record.value, &event) &&
                    ((tally_slice_equal(event.command_id, id) &&
                             (status.len == 0 || tally_slice_equal(event.status, status))) ||
                            (tally_slice_equal(event.completes_id, id) &&
                                    tally_slice_equal(event.completes_status, status)))) {
                return true;
            }
        }
    }
    return false;
}

static void check_reply(struct sim *sim, struct tally_slice value)
{
    struct tally_slice id = sim_json_member(value, "command_id");
    struct tally_slice key = sim_json_member(value, "key");
    struct tally_slice code = sim_json_member(value, "code");
    struct tally_slice status = sim_json_member(value, "status");
    struct tally_slice type = sim_json_member(value, "type");
    bool reused = tally_slice_equal(code, TALLY_SLICE("IDEMPOTENCY_KEY_REUSED"));
    const char *topic = tally_slice_equal(type, TALLY_SLICE("RegisterWarehouse")) ? SIM_CATALOGUE
                                ".events"
                        : memmem(type.data, type.len, "Reserv", 6) ? SIM_RESERVATION ".events"
                                                                   : EVENTS_TOPIC;

    if (!is_committed(sim, topic, id, key, reused ? TALLY_NONE : status)) {
        sim_violation(sim, "replies tell committed outcomes", "%.*s of %.*s", (int)id.len,
                (const char *)id.data, (int)key.len, (const char *)key.data);
    }
    sim->counts[SIM_REPLIES]++;
    sim->counts[SIM_COMPLETED] +=
            tally_slice_equal(type, TALLY_SLICE("ReserveStock")) &&
            tally_slice_equal(status, TALLY_SLICE("ACCEPTED")) &&
            memmem(value.data, value.len, "\"duplicate\":false", strlen("\"duplicate\":false"));
}

void sim_log_check_replies(struct sim *sim)
{
    int64_t end = tally_memory_broker_end(sim->broker, SIM_REPLY_TOPIC, 0);

    for (; sim->log->replies_next < end; sim->log->replies_next++) {
        struct tally_memory_record record;

        if (tally_memory_broker_fate(sim->broker, SIM_REPLY_TOPIC, 0, sim->log->replies_next,
                    &record) == TALLY_FATE_COMMITTED) {
            check_reply(sim, record.value);
        }
    }
}
