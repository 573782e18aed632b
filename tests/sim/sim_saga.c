/* tests/sim/sim_saga.c - reservations over several SKUs: clients' commands, and what must hold at
 * rest. The saga itself is decided by no model here (tests/property has one); what must hold
 * whatever was killed in between is that stock and reservations agree, and that nothing hangs. */
#include <stdio.h>

#include "apps/fsck_check.h"
#include "http/row_line.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_decode.h"

enum {
    LINES_MAX = 3,
    LINE_TEXT_MAX = 80,
    SETTLE_MS = 45000,
    OVERDUE_MS = 1000,
    CUT_ONE_IN = 2,
    DUMP_LINE_MAX = 1024 * 1024
};

bool sim_is_reservation(const struct sim_command *command)
{
    return command->kind == SIM_RESERVE || command->kind == SIM_COMMIT ||
           command->kind == SIM_RELEASE;
}

/* --- commands --------------------------------------------------------------------------------- */

/* Time to live: over before the seed ends, or never. */
static void make_reserve(struct sim *sim, struct sim_command *command, char *text, size_t size)
{
    static const char *const warehouses[] = {
            "", ",\"warehouse\":\"AMS1\"", ",\"warehouses\":[\"RTM2\",\"AMS1\"]"};
    struct sim_random *random = &sim->random;
    int lines = 1 + (int)sim_random_below(random, LINES_MAX);
    int ttl_s = sim_random_below(random, 3) ? 86400 : 1 + (int)sim_random_below(random, 20);
    int len = snprintf(text, size, "\"ttl_s\":%d,\"lines\":[", ttl_s);

    for (int i = 0; i < lines; i++) {
        int sku = i ? (int)sim_random_below(random, SIM_SKUS) : command->sku;
        uint32_t quantity = 1 + sim_random_below(random, 4);
        uint32_t place = sim_random_below(random, 3);

        len += snprintf(text + len, size - (size_t)len, "%s{\"sku\":\"K%d\",\"quantity\":%u%s}",
                i ? "," : "", sku, quantity, warehouses[place]);
    }
    (void)snprintf(text + len, size - (size_t)len, "]");
}

/* Goods leave for the first line of the reservation as it was asked for first. */
static void pick_line(struct sim *sim, struct sim_command *command, int number)
{
    for (int i = 0; i < number; i++) {
        const struct sim_command *earlier = &sim->commands[i];

        if (earlier->kind == SIM_RESERVE && earlier->reservation == command->reservation) {
            command->sku = earlier->sku;
            command->warehouse = earlier->sku % SIM_WAREHOUSES; /* where the first stock is */
            (void)snprintf(command->key, sizeof command->key, "K%d", command->sku);
            return;
        }
    }
}

void sim_saga_make(struct sim *sim, struct sim_command *command, int number)
{
    static const char *const types[SIM_KINDS] = {[SIM_RESERVE] = "ReserveStock",
            [SIM_COMMIT] = "CommitReservation",
            [SIM_RELEASE] = "ReleaseReservation",
            [SIM_SHIP_HELD] = "ShipStock"};
    static const char *const warehouses[SIM_WAREHOUSES] = {"AMS1", "RTM2"};
    char more[64 + LINES_MAX * LINE_TEXT_MAX] = "\"deadline\":\"2100-01-01T00:00:00.000Z\"";
    char value[SIM_VALUE_MAX], key[SIM_ID_MAX];

    command->reservation = (int)sim_random_below(&sim->random, SIM_RESERVATIONS);
    if (command->kind == SIM_SHIP_HELD) {
        pick_line(sim, command, number);
    }
    (void)snprintf(key, sizeof key, "\"reservation_id\":\"R%d\"", command->reservation);
    if (command->kind == SIM_RESERVE) {
        make_reserve(sim, command, more, sizeof more);
    } else if (command->kind == SIM_COMMIT) {
        (void)snprintf(more, sizeof more, "\"order_id\":\"O%d\"", command->reservation);
    } else if (command->kind == SIM_SHIP_HELD) {
        (void)snprintf(more, sizeof more,
                "\"sku\":\"K%d\",\"warehouse\":\"%s\",\"quantity\":%u,\"shipment_id\":\"s\","
                "\"line\":1",
                command->sku, warehouses[command->warehouse],
                1 + sim_random_below(&sim->random, 4) / 3);
    }
    if (command->kind != SIM_SHIP_HELD) {
        (void)snprintf(command->key, sizeof command->key, "R%d", command->reservation);
    }
    (void)snprintf(value, sizeof value,
            "{\"type\":\"%s\",\"command_id\":\"%s\",%s,%s,\"note\":\"#%d\"}", types[command->kind],
            command->id, key, more, number);
    memcpy(command->value, value, sizeof value);
}

/* Whether the group has something left to decide. */
static bool is_busy(struct sim *sim)
{
    for (size_t t = 0; t < sim->topology_count; t++) {
        const char *topic = tally_topology_commands(sim->topologies[t]);

        for (int32_t p = 0; topic && p < sim->plan.partitions; p++) {
            struct tally_memory_record record;
            int64_t next =
                    tally_memory_broker_committed(sim->broker, sim->config->app_id, topic, p);

            if (tally_memory_broker_read(sim->broker, topic, p, next < 0 ? 0 : next, &record)) {
                return true;
            }
        }
    }
    return false;
}

bool sim_saga_goes_on(const struct sim *sim)
{
    return sim->plan.sagas && sim->sent < sim->plan.commands;
}

bool sim_saga_waits(struct sim *sim)
{
    enum sim_kind kind = sim->commands[sim->sent].kind;

    return (kind == SIM_COMMIT || kind == SIM_RELEASE || kind == SIM_SHIP_HELD) && is_busy(sim);
}

/* --- deaths ----------------------------------------------------------------------------------- */

static const struct {
    const char *type;
    enum sim_count count;
    bool seldom; /* few of the deaths by chance hit it */
} hops[] = {{"ReserveStock", SIM_DIED_RESERVE, false}, {"HoldStock", SIM_DIED_HOLD, false},
        {"HoldReply", SIM_DIED_REPLY, false}, {"ConfirmHold", SIM_DIED_CONFIRM, false},
        {"CommitHold", SIM_DIED_COMMIT, true}, {"ReleaseHold", SIM_DIED_RELEASE, false},
        {"HoldShipped", SIM_DIED_SHIPPED, true}};
#define HOPS (sizeof hops / sizeof hops[0])

/* How many records of each hop the tasks of this life have not read yet. */
static void count_unread(struct sim *sim, const struct sim_life *life, int64_t unread[static HOPS])
{
    size_t tasks = sim->topology_count * (size_t)sim->plan.partitions;

    memset(unread, 0, HOPS * sizeof unread[0]);
    for (size_t i = 0; sim->plan.sagas && life->registry && i < tasks; i++) {
        struct tally_task_slot *slot = tally_task_registry_at(life->registry, i);
        const char *topic = tally_topology_commands(slot->topology);
        struct tally_memory_record record;
        int64_t next = atomic_load(&slot->in_next);

        next = next < 0 ? 0 : next;
        while (topic && atomic_load(&slot->state) == TALLY_TASK_RUNNING &&
                tally_memory_broker_read(sim->broker, topic, slot->partition, next, &record)) {
            struct tally_slice value = record.value;
            struct tally_slice type = value.len > 0 && value.data[0] == '{'
                                              ? sim_json_member(value, "type")
                                              : sim_text(sim_member(value, "type"));

            for (size_t hop = 0; hop < HOPS; hop++) {
                unread[hop] += tally_slice_equal(type, tally_slice_string(hops[hop].type));
            }
            next = record.offset + 1;
        }
    }
}

void sim_saga_died(struct sim *sim, const struct sim_life *life)
{
    int64_t unread[HOPS];

    count_unread(sim, life, unread);
    for (size_t hop = 0; hop < HOPS; hop++) {
        sim->counts[hops[hop].count] += unread[hop];
    }
}

bool sim_saga_cuts(struct sim *sim, const struct sim_life *life)
{
    int64_t unread[HOPS];
    bool seldom = false;

    if (!sim->plan.sagas || sim->healing) {
        return false;
    }
    count_unread(sim, life, unread);
    for (size_t hop = 0; hop < HOPS; hop++) {
        seldom = seldom || (hops[hop].seldom && unread[hop] > 0);
    }
    return seldom && sim_random_below(&sim->random, CUT_ONE_IN) == 0;
}

/* --- at rest ---------------------------------------------------------------------------------- */

/* Short times to live run out, and so would an operation that hangs. The transaction that carries
 * what timers send may be aborted, and nothing restarts its instance then. */
void sim_saga_settle(struct sim *sim)
{
    static const struct tally_memory_fault aborts = {
            .op = TALLY_MEMORY_SEND_OFFSETS, .nth = 1, .code = TALLY_TXN_ABORTED};

    if (sim->plan.sagas) {
        sim_advance(sim, SETTLE_MS);
        if (sim_random_below(&sim->random, 2)) {
            tally_memory_broker_fault(sim->broker, &aborts);
        }
        sim_come_to_rest(sim);
    }
}

static void differs(void *context, const char *text)
{
    sim_violation(context, "stock and reservations agree", "%s", text);
}

/* A timer's row goes with the event of the command that it sends. */
static void check_timer(struct sim *sim, const char *topology, struct tally_slice key)
{
    int64_t now_ms = tally_wall_ms(&sim->clock.clock), due_ms;
    enum tally_store_id store;

    if (!tally_store_of_key(topology, key, &store) || strcmp(tally_store_name(store), "timer")) {
        return;
    }
    due_ms = (int64_t)tally_read_u64(key.data + 1);
    if (due_ms + OVERDUE_MS < now_ms) {
        sim_violation(sim, "no timer is overdue", "%s: %.*s since %lld ms", topology,
                (int)key.len - 9, (const char *)key.data + 9, (long long)(now_ms - due_ms));
    }
}

static void check_task(struct sim *sim, struct fsck_check *check, const char *topology,
        int32_t partition, struct tally_buf *line)
{
    static const uint8_t first_store[] = {1}; /* byte 0 is the store's own */
    struct tally_view *view = tally_task_slot_view(sim_running_slot(sim, topology, partition));
    struct tally_iterator *iterator =
            tally_view_iterate(view, tally_slice_of(first_store, 1), TALLY_NONE, false);
    struct tally_slice key, value;
    enum tally_code code = TALLY_OK;
    struct tally_error err = {.code = TALLY_OK};

    while (tally_iterator_next(iterator, &key, &value, &code, &err)) {
        check_timer(sim, topology, key);
        tally_buf_clear(line);
        (void)tally_row_line_write(topology, partition, key, value, line);
        if (fsck_check_row(check, tally_buf_bytes(line), &err)) {
            sim_violation(sim, "rows can be dumped", "%s", err.message);
        }
    }
    tally_iterator_destroy(iterator);
    tally_view_unref(view);
}

static void count_event(struct sim *sim, struct tally_slice value)
{
    static const struct {
        const char *type;
        enum sim_count count;
    } kinds[] = {{"ReservationConfirmed", SIM_CONFIRMED}, {"ReservationFailed", SIM_FAILED},
            {"ReservationRetried", SIM_RETRIED}, {"ReservationCommitted", SIM_PROMISED},
            {"ReservationReleased", SIM_RELEASED}, {"ReservationExpired", SIM_EXPIRED_TTL},
            {"ReservationFulfilled", SIM_FULFILLED}};
    struct sim_event event;

    for (size_t i = 0; sim_event_decode(value, &event) && i < sizeof kinds / sizeof kinds[0]; i++) {
        sim->counts[kinds[i].count] +=
                tally_slice_equal(event.type, tally_slice_string(kinds[i].type));
    }
}

void sim_saga_check(struct sim *sim)
{
    struct fsck_check *check =
            fsck_check_create(&(struct fsck_check_options){.differs = differs, .context = sim});
    struct tally_buf line;

    tally_buf_init(&line, DUMP_LINE_MAX);
    for (size_t t = 0; t < sim->topology_count; t++) {
        for (int32_t p = 0; p < sim->plan.partitions; p++) {
            check_task(sim, check, tally_topology_name(sim->topologies[t]), p, &line);
        }
    }
    fsck_check_finish(check, true);
    fsck_check_destroy(check);
    tally_buf_deinit(&line);
    for (int32_t p = 0; p < sim->plan.partitions; p++) {
        struct tally_memory_record record;
        int64_t end = tally_memory_broker_end(sim->broker, SIM_RESERVATION ".events", p);

        for (int64_t offset = 0; offset < end; offset++) {
            if (tally_memory_broker_fate(sim->broker, SIM_RESERVATION ".events", p, offset,
                        &record) == TALLY_FATE_COMMITTED) {
                count_event(sim, record.value);
            }
        }
    }
}
