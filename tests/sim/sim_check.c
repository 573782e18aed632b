/* tests/sim/sim_check.c - what must hold at rest, by a model of its own: it reads what is committed
 * on the input topics, in order, decides it with the few rules below, and compares event by event,
 * dead letter by dead letter, row by row.
 * Invariants that are checked
 *  (1) Every record of an input has one outcome: its event, a repeat, a forward or a dead letter;
 *      in order, once, with the model's numbers.
 *  (2) The state of every task is what the model has; its positions are the group's and the log's.
 *  (3) A restart, and a restore from nothing, give the same rows and write nothing. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "schemas/stock_records.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_decode.h"

enum { KNOWN_MAX = 4096, FORWARDS_MAX = 512 };
#define FORWARDED_HEADER "tally-forwarded"

struct known {
    int32_t partition;
    int64_t offset;  /* of the command that had the outcome */
    int64_t time_ms; /* of the decision */
    bool rejected;
    struct tally_slice id, key;
};

struct forward {
    int32_t from, to;
    int64_t offset;
    bool arrived;
};

/* One topology, decided again. */
struct model {
    struct sim *sim;
    const char *commands, *events, *dead_letters, *name;
    struct {
        int64_t version, on_hand;
    } levels[SIM_LEVELS];
    bool warehouses[SIM_WAREHOUSES]; /* registered (catalogue) */
    int applied[SIM_WAREHOUSES][SIM_PARTITIONS];
    struct known known[KNOWN_MAX];
    size_t known_count;
    struct forward forwards[FORWARDS_MAX];
    size_t forward_count;
    int64_t in_next[SIM_PARTITIONS], out_last[SIM_PARTITIONS];
    int64_t time_ms[SIM_PARTITIONS]; /* of the last decision; never goes back */
};

/* What the model says of one command. */
struct outcome {
    const char *type; /* NULL: decided with what reservations hold, which the model does not know */
    const char *code; /* NULL: accepted */
    int64_t seq, on_hand;
};

/* --- deciding --------------------------------------------------------------------------------- */

static struct outcome refused(const char *code)
{
    return (struct outcome){.type = "CommandRejected", .code = code};
}

static struct outcome decide(struct model *model, const struct sim_command *command)
{
    int level = command->sku * SIM_WAREHOUSES + command->warehouse;
    int64_t version = model->levels[level].version, on_hand = model->levels[level].on_hand;
    const char *type = "StockReceived";

    if (command->kind == SIM_UNKNOWN_TYPE) {
        return refused("UNKNOWN_COMMAND");
    }
    if (command->expected_version >= 0 && command->expected_version != version) {
        return refused("VERSION_CONFLICT");
    }
    if (command->kind == SIM_SHIP) {
        if (command->quantity > on_hand) {
            return refused("INSUFFICIENT_STOCK");
        }
        type = "StockShipped";
        on_hand -= command->quantity;
    } else if (command->kind == SIM_ADJUST) {
        if (on_hand + command->quantity < 0) {
            return refused("NEGATIVE_ON_HAND");
        }
        type = "StockAdjusted";
        on_hand += command->quantity;
    } else {
        on_hand += command->quantity;
    }
    model->levels[level].version = version + 1;
    model->levels[level].on_hand = on_hand;
    return (struct outcome){.type = type, .seq = version + 1, .on_hand = on_hand};
}

/* Takes back what was decided: it can not be written. */
static void undo(struct model *model, const struct sim_command *command)
{
    int level = command->sku * SIM_WAREHOUSES + command->warehouse;

    model->levels[level].version--;
    model->levels[level].on_hand -=
            command->kind == SIM_SHIP ? -command->quantity : command->quantity;
}

static struct outcome decide_register(struct model *model, const struct sim_command *command)
{
    if (model->warehouses[command->warehouse]) {
        return refused("WAREHOUSE_EXISTS");
    }
    model->warehouses[command->warehouse] = true;
    return (struct outcome){.type = "WarehouseRegistered"};
}

/* What is known of an id under a key; a new one when there is none. */
static struct known *known_of(struct model *model, struct tally_slice id, struct tally_slice key)
{
    struct known *known;

    for (size_t i = 0; i < model->known_count; i++) {
        known = &model->known[i];
        if (tally_slice_equal(known->id, id) && tally_slice_equal(known->key, key)) {
            return known;
        }
    }
    tally_assert(model->known_count < KNOWN_MAX);
    known = &model->known[model->known_count++];
    *known = (struct known){.id = id, .key = key, .offset = -1};
    return known;
}

/* --- the log ---------------------------------------------------------------------------------- */

/* The first committed record at or behind *offset; false: none. */
static bool next_committed(struct sim *sim, const char *topic, int32_t partition, int64_t *offset,
        struct tally_memory_record *record)
{
    int64_t end = tally_memory_broker_end(sim->broker, topic, partition);

    for (; *offset < end; (*offset)++) {
        if (tally_memory_broker_fate(sim->broker, topic, partition, *offset, record) ==
                TALLY_FATE_COMMITTED) {
            (*offset)++;
            return true;
        }
    }
    return false;
}

static struct tally_slice header_of(const struct tally_memory_record *record, const char *name)
{
    for (size_t i = 0; i < record->header_count; i++) {
        if (tally_slice_equal(record->headers[i].name, tally_slice_string(name))) {
            return record->headers[i].value;
        }
    }
    return TALLY_NONE;
}

struct cursors {
    int64_t events, dead_letters;
};

static int level_of(const struct sim_event *event)
{
    int sku = event->sku.len == 2 ? event->sku.data[1] - '0' : 0;

    return sku * SIM_WAREHOUSES + tally_slice_equal(event->warehouse, TALLY_SLICE("RTM2"));
}

/* The numbers of an event become the model's, so that the state still is the fold of the events. */
static void take_as_it_is(struct model *model, const struct sim_event *event)
{
    if (event->seq > 0) {
        int level = level_of(event);

        model->levels[level].version = event->seq;
        model->levels[level].on_hand = event->on_hand;
    }
}

static void check_event(struct model *model, int32_t partition, int64_t offset,
        struct tally_slice id, const struct outcome *expected, struct cursors *at,
        struct sim_event *decided)
{
    struct sim *sim = model->sim;
    struct tally_memory_record record;
    struct sim_event event;

    if (!next_committed(sim, model->events, partition, &at->events, &record)) {
        sim_violation(sim, "one outcome per command", "%s/%d@%lld (%.*s) has no event",
                model->commands, partition, (long long)offset, (int)id.len, (const char *)id.data);
    }
    model->out_last[partition] = record.offset;
    tally_assert(sim_event_decode(record.value, &event));
    *decided = event;
    if (event.command_offset != offset || event.partition != partition ||
            !tally_slice_equal(event.command_id, id)) {
        sim_violation(sim, "one outcome per command",
                "%s/%d@%lld is the outcome of command %.*s@%lld, where that of %.*s@%lld must be",
                model->events, partition, (long long)record.offset, (int)event.command_id.len,
                (const char *)event.command_id.data, (long long)event.command_offset, (int)id.len,
                (const char *)id.data, (long long)offset);
    }
    if (!expected->type) {
        take_as_it_is(model, &event);
        return;
    }
    if (!tally_slice_equal(event.type, tally_slice_string(expected->type)) ||
            event.seq != expected->seq || event.on_hand != expected->on_hand ||
            (expected->code &&
                    !tally_slice_equal(event.code, tally_slice_string(expected->code)))) {
        sim_violation(sim, "outcomes are the model's",
                "%.*s: %.*s %.*s seq %lld on_hand %lld, expected %s %s seq %lld on_hand %lld",
                (int)id.len, (const char *)id.data, (int)event.type.len,
                (const char *)event.type.data, (int)event.code.len, (const char *)event.code.data,
                (long long)event.seq, (long long)event.on_hand, expected->type,
                expected->code ? expected->code : "-", (long long)expected->seq,
                (long long)expected->on_hand);
    }
}

static void check_dead_letter(struct model *model, int32_t partition,
        const struct tally_memory_record *input, struct cursors *at)
{
    struct sim *sim = model->sim;
    struct tally_memory_record record;
    char offset[24];

    (void)snprintf(offset, sizeof offset, "%lld", (long long)input->offset);
    if (!next_committed(sim, model->dead_letters, partition, &at->dead_letters, &record)) {
        sim_violation(sim, "one dead letter per poison record", "%s/%d@%lld has none",
                model->commands, partition, (long long)input->offset);
    }
    if (!tally_slice_equal(record.value, input->value) ||
            !tally_slice_equal(record.key, input->key) ||
            !tally_slice_equal(header_of(&record, "__streams.errors.offset"),
                    tally_slice_string(offset))) {
        sim_violation(sim, "one dead letter per poison record",
                "%s/%d@%lld is not the one of %s/%d@%lld", model->dead_letters, partition,
                (long long)record.offset, model->commands, partition, (long long)input->offset);
    }
    sim->counts[SIM_DEAD_LETTERS]++;
}

static void note_forward(struct model *model, int32_t from, int64_t offset, int32_t to)
{
    tally_assert(model->forward_count < FORWARDS_MAX);
    model->forwards[model->forward_count++] = (struct forward){from, to, offset, false};
    model->sim->counts[SIM_FORWARDED]++;
}

/* What is known of the command from now on, and of the one whose saga its event ends. */
static void know(struct model *model, struct known *known, const struct sim_event *event,
        struct tally_slice key, int64_t time_ms)
{
    known->partition = event->partition;
    known->offset = event->command_offset;
    known->time_ms = time_ms;
    known->rejected = tally_slice_equal(event->status, TALLY_SLICE("REJECTED"));
    model->sim->counts[SIM_REJECTED] += known->rejected;
    if (event->completes_id.len > 0 && !tally_slice_equal(event->completes_id, event->command_id)) {
        known = known_of(model, event->completes_id, key);
        known->partition = event->partition;
        known->offset = event->command_offset;
        known->time_ms = time_ms;
        known->rejected = tally_slice_equal(event->completes_status, TALLY_SLICE("REJECTED"));
    }
}

static void check_command(struct model *model, int32_t partition,
        const struct tally_memory_record *record, struct tally_slice id,
        const struct sim_command *command /* NULL: tells of a warehouse */, struct cursors *at)
{
    struct outcome outcome = {.type = "WarehouseApplied"};
    struct sim_event event;
    struct known *known = known_of(model, id, record->key);
    int64_t time_ms = record->timestamp_ms > model->time_ms[partition] ? record->timestamp_ms
                                                                       : model->time_ms[partition];

    if (known->offset >= 0 && known->time_ms + model->sim->config->dedup_retention > time_ms) {
        model->sim->counts[SIM_REPEATED]++;
        return;
    }
    model->sim->counts[SIM_EXPIRED_IDS] += known->offset >= 0;
    if (model->sim->plan.sagas && (!command || command->kind != SIM_REGISTER) &&
            !(id.len > 6 && memcmp(id.data, "~Apply", 6) == 0)) {
        outcome.type = NULL;
    } else if (command) {
        outcome = command->kind == SIM_REGISTER ? decide_register(model, command)
                                                : decide(model, command);
    }
    if (command && command->large && !outcome.code && command->kind != SIM_REGISTER) {
        undo(model, command);
        check_dead_letter(model, partition, record, at);
        model->sim->counts[SIM_TOO_LARGE]++;
        return;
    }
    check_event(model, partition, record->offset, id, &outcome, at, &event);
    model->time_ms[partition] = time_ms;
    know(model, known, &event, record->key, time_ms);
}

/* The command that a record is, as clients know it; NULL: none. */
static const struct sim_command *command_of(struct model *model, struct tally_slice value)
{
    struct tally_slice note =
            value.len > 0 && value.data[0] == '{' ? sim_json_member(value, "note") : TALLY_NONE;
    char text[16] = "";

    if (note.len < 2 || note.data[0] != '#') {
        return NULL;
    }
    memcpy(text, note.data + 1, note.len < sizeof text ? note.len - 1 : sizeof text - 1);
    return &model->sim->commands[strtol(text, NULL, 10)];
}

static void check_record(struct model *model, int32_t partition,
        const struct tally_memory_record *record, struct cursors *at)
{
    const struct sim_command *command = command_of(model, record->value);
    struct tally_slice id = sim_text(sim_member(record->value, "id"));
    int32_t target;

    if (!command && id.len > 0 && id.data[0] == '~') {
        int warehouse = memmem(id.data, id.len, "RTM2", 4) ? 1 : 0;

        if (id.len > 6 && memcmp(id.data, "~Apply", 6) == 0) {
            model->applied[warehouse][partition]++;
        }
        check_command(model, partition, record, id, NULL, at);
        return;
    }
    if (!command) {
        check_dead_letter(model, partition, record, at);
        return;
    }
    target = sim_partition_of(record->key, model->sim->plan.partitions);
    if (target != partition) {
        note_forward(model, partition, record->offset, target);
        return;
    }
    check_command(model, partition, record, tally_slice_string(command->id), command, at);
}

static void arrive(struct model *model, int32_t partition, const struct tally_memory_record *record)
{
    struct tally_slice from = header_of(record, FORWARDED_HEADER);
    char text[48];

    if (!from.data) {
        return;
    }
    for (size_t i = 0; i < model->forward_count; i++) {
        struct forward *forward = &model->forwards[i];

        (void)snprintf(text, sizeof text, "%d@%lld", forward->from, (long long)forward->offset);
        if (!forward->arrived && forward->to == partition &&
                tally_slice_equal(from, tally_slice_string(text))) {
            forward->arrived = true;
            return;
        }
    }
    sim_violation(model->sim, "one forward per misrouted record",
            "%s/%d@%lld was forwarded from %.*s twice, or without a reason", model->commands,
            partition, (long long)record->offset, (int)from.len, (const char *)from.data);
}

static void check_forwards(struct model *model)
{
    for (int32_t p = 0; p < model->sim->plan.partitions; p++) {
        struct tally_memory_record record;
        int64_t offset = 0;

        while (next_committed(model->sim, model->commands, p, &offset, &record)) {
            arrive(model, p, &record);
        }
    }
    for (size_t i = 0; i < model->forward_count; i++) {
        if (!model->forwards[i].arrived) {
            sim_violation(model->sim, "one forward per misrouted record",
                    "%s/%d@%lld was not forwarded", model->commands, model->forwards[i].from,
                    (long long)model->forwards[i].offset);
        }
    }
}

static void check_log(struct model *model)
{
    struct sim *sim = model->sim;
    struct tally_memory_record record;

    for (int32_t p = 0; p < sim->plan.partitions; p++) {
        struct cursors at = {0, 0};
        int64_t offset = 0;

        model->out_last[p] = -1;
        model->in_next[p] = 0;
        while (next_committed(sim, model->commands, p, &offset, &record)) {
            model->in_next[p] = record.offset + 1;
            check_record(model, p, &record, &at);
        }
        if (next_committed(sim, model->events, p, &at.events, &record)) {
            sim_violation(sim, "one outcome per command", "%s/%d@%lld is of no command",
                    model->events, p, (long long)record.offset);
        }
        if (next_committed(sim, model->dead_letters, p, &at.dead_letters, &record)) {
            sim_violation(sim, "one dead letter per poison record", "%s/%d@%lld is of no record",
                    model->dead_letters, p, (long long)record.offset);
        }
    }
    check_forwards(model);
}

/* --- state ------------------------------------------------------------------------------------ */

struct tally_task_slot *sim_running_slot(struct sim *sim, const char *topology, int32_t partition)
{
    for (int i = 0; i < sim->plan.instances; i++) {
        struct sim_life *life = sim->instances[i].life;
        struct tally_task_slot *slot =
                life ? tally_task_registry_find(life->registry, topology, partition) : NULL;

        if (slot && atomic_load(&slot->state) == TALLY_TASK_RUNNING) {
            return slot;
        }
    }
    sim_violation(sim, "comes to rest", "%s/%d runs nowhere", topology, partition);
}

static void check_positions(struct model *model, int32_t partition, const struct tally_view *view)
{
    const struct tally_positions *positions = tally_view_positions(view);
    struct sim *sim = model->sim;
    int64_t group = tally_memory_broker_committed(sim->broker, sim->config->app_id, model->commands,
            partition);

    if (positions->in_next != model->in_next[partition] ||
            (group != positions->in_next && !(group < 0 && positions->in_next == 0))) {
        sim_violation(sim, "the group's offset is the state's",
                "%s/%d: state %lld, group %lld, input consumed up to %lld", model->name, partition,
                (long long)positions->in_next, (long long)group,
                (long long)model->in_next[partition]);
    }
    if (positions->out_last != model->out_last[partition]) {
        sim_violation(sim, "the state has every event", "%s/%d is at %lld, the last event is %lld",
                model->name, partition, (long long)positions->out_last,
                (long long)model->out_last[partition]);
    }
}

static void check_outcome_row(struct model *model, const struct known *known,
        struct tally_view *view)
{
    struct tally_outcome outcome;
    struct tally_buf row;
    struct tally_key key;
    enum tally_code code;

    tally_buf_init(&row, 65536);
    tally_key_begin(&key, TALLY_STORE_DEDUP);
    tally_key_string(&key, known->id);
    tally_key_tail(&key, known->key);
    code = tally_view_get(view, tally_key_bytes(&key), &row, NULL);
    if (!code) {
        code = tally_outcome_unpack(tally_buf_bytes(&row), &outcome, NULL);
    }
    if (code || outcome.offset != known->offset ||
            (outcome.stamp.status == TALLY_REJECTED) != known->rejected) {
        sim_violation(model->sim, "outcomes are remembered", "%s/%d: %.*s under %.*s: %s",
                model->name, known->partition, (int)known->id.len, (const char *)known->id.data,
                (int)known->key.len, (const char *)known->key.data, tally_code_name(code));
    }
    tally_buf_deinit(&row);
}

static void check_level_row(struct model *model, int level, struct tally_view *view)
{
    uint8_t space[256];
    struct tally_buf row = {.data = space, .capacity = sizeof space, .max = sizeof space};
    struct stock_level_row found = {.version = 0};
    struct tally_key key;
    char sku[16];

    (void)snprintf(sku, sizeof sku, "K%d", level / SIM_WAREHOUSES);
    tally_key_begin(&key, TALLY_STORE_LEVEL);
    tally_key_string(&key, tally_slice_string(sku));
    tally_key_tail(&key, level % SIM_WAREHOUSES ? TALLY_SLICE("RTM2") : TALLY_SLICE("AMS1"));
    if (tally_view_get(view, tally_key_bytes(&key), &row, NULL) == TALLY_OK) {
        tally_assert(stock_level_unpack(tally_buf_bytes(&row), &found));
    }
    if (found.version != model->levels[level].version ||
            found.n[STOCK_ON_HAND] != model->levels[level].on_hand) {
        sim_violation(model->sim, "state is the fold of the events",
                "level %s/%d: version %lld, on_hand %lld, expected %lld, %lld", sku,
                level % SIM_WAREHOUSES, (long long)found.version, (long long)found.n[STOCK_ON_HAND],
                (long long)model->levels[level].version, (long long)model->levels[level].on_hand);
    }
}

/* Rows of a task, by store; also a hash over all of them. */
struct rows {
    size_t levels, entries, outcomes;
    uint64_t hash;
};

static uint64_t hash_bytes(uint64_t hash, struct tally_slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        hash = (hash ^ bytes.data[i]) * UINT64_C(0x100000001b3);
    }
    return (hash ^ bytes.len) * UINT64_C(0x100000001b3);
}

static struct rows count_rows(struct sim *sim, struct tally_view *view)
{
    struct tally_iterator *iterator = tally_view_iterate(view, TALLY_NONE, TALLY_NONE, false);
    struct rows rows = {.hash = UINT64_C(0xcbf29ce484222325)};
    struct tally_slice key, value;
    enum tally_code code = TALLY_OK;

    while (tally_iterator_next(iterator, &key, &value, &code, NULL)) {
        rows.levels += key.data[0] == tally_store_byte(TALLY_STORE_LEVEL);
        rows.entries += key.data[0] == tally_store_byte(TALLY_STORE_LEDGER);
        rows.outcomes += key.data[0] == tally_store_byte(TALLY_STORE_DEDUP);
        rows.hash = hash_bytes(hash_bytes(rows.hash, key), value);
    }
    if (code) {
        sim_violation(sim, "state can be read", "%s", tally_code_name(code));
    }
    tally_iterator_destroy(iterator);
    return rows;
}

static int32_t partition_of_level(const struct sim *sim, int level)
{
    char sku[16];

    (void)snprintf(sku, sizeof sku, "K%d", level / SIM_WAREHOUSES);
    return sim_partition_of(tally_slice_string(sku), sim->plan.partitions);
}

static void check_rows(struct model *model, int32_t partition, struct tally_view *view)
{
    struct rows rows = count_rows(model->sim, view);
    size_t levels = 0, entries = 0, outcomes = 0;

    for (int level = 0; level < SIM_LEVELS; level++) {
        if (partition_of_level(model->sim, level) == partition) {
            levels += model->levels[level].version > 0;
            entries += (size_t)model->levels[level].version;
            check_level_row(model, level, view);
        }
    }
    for (size_t i = 0; i < model->known_count; i++) {
        if (model->known[i].offset >= 0 && model->known[i].partition == partition &&
                model->time_ms[partition] - model->known[i].time_ms <=
                        model->sim->config->dedup_retention) {
            outcomes++;
            check_outcome_row(model, &model->known[i], view);
        }
    }
    if (rows.levels != levels || rows.entries != entries || rows.outcomes != outcomes) {
        sim_violation(model->sim, "state is the fold of the events",
                "%s/%d has %zu levels, %zu entries, %zu outcomes, expected %zu, %zu, %zu",
                model->name, partition, rows.levels, rows.entries, rows.outcomes, levels, entries,
                outcomes);
    }
}

static void check_state(struct model *model)
{
    for (int32_t p = 0; p < model->sim->plan.partitions; p++) {
        struct tally_task_slot *slot = sim_running_slot(model->sim, model->name, p);
        struct tally_view *view = tally_task_slot_view(slot);

        check_positions(model, p, view);
        check_rows(model, p, view);
        tally_view_unref(view);
    }
}

/* Every warehouse that was registered was told to every partition, once. */
static void check_applied(const struct model *catalogue, const struct model *stock)
{
    for (int w = 0; w < SIM_WAREHOUSES; w++) {
        for (int32_t p = 0; p < stock->sim->plan.partitions; p++) {
            if (stock->applied[w][p] != (catalogue->warehouses[w] ? 1 : 0)) {
                sim_violation(stock->sim, "messages are sent once",
                        "warehouse %d: %d messages to stock.commands/%d", w, stock->applied[w][p],
                        p);
            }
        }
    }
}

/* --- once more -------------------------------------------------------------------------------- */

struct finish {
    uint64_t hashes[SIM_TOPOLOGIES * SIM_PARTITIONS];
    int64_t ends[SIM_TOPOLOGIES * SIM_PARTITIONS];
};

static struct finish finish_of(struct sim *sim)
{
    struct finish finish = {{0}, {0}};

    for (size_t t = 0; t < sim->topology_count; t++) {
        for (int32_t p = 0; p < sim->plan.partitions; p++) {
            size_t i = t * SIM_PARTITIONS + (size_t)p;
            struct tally_task_slot *slot =
                    sim_running_slot(sim, tally_topology_name(sim->topologies[t]), p);
            struct tally_view *view = tally_task_slot_view(slot);

            finish.hashes[i] = count_rows(sim, view).hash;
            finish.ends[i] = tally_memory_broker_end(sim->broker,
                    tally_topology_output(sim->topologies[t]), p);
            tally_view_unref(view);
        }
    }
    return finish;
}

static void compare(struct sim *sim, const struct finish *before, const char *after_what)
{
    struct finish now = finish_of(sim);

    for (size_t i = 0; i < SIM_TOPOLOGIES * SIM_PARTITIONS; i++) {
        if (now.hashes[i] != before->hashes[i] || now.ends[i] != before->ends[i]) {
            sim_violation(sim, "restore gives the same", "%s/%zu differs after %s",
                    tally_topology_name(sim->topologies[i / SIM_PARTITIONS]), i % SIM_PARTITIONS,
                    after_what);
        }
    }
}

static void kill_all(struct sim *sim)
{
    for (int i = 0; i < sim->plan.instances; i++) {
        if (sim->instances[i].life) {
            sim_kill(sim, sim->instances[i].life);
        }
    }
}

/* Half of the time instances start on what their disks were at some time. */
static const char *maybe_older_disks(struct sim *sim)
{
    if (sim_random_below(&sim->random, 2)) {
        return "a restart";
    }
    for (int i = 0; i < sim->plan.instances; i++) {
        struct sim_instance *instance = &sim->instances[i];

        if (instance->old) {
            tally_memory_disk_destroy(instance->disk);
            instance->disk = instance->old;
            instance->old = NULL;
        }
    }
    return "a restart on older disks";
}

void sim_check(struct sim *sim)
{
    struct model stock = {.sim = sim,
            .name = SIM_STOCK,
            .commands = SIM_STOCK ".commands",
            .events = SIM_STOCK ".events",
            .dead_letters = SIM_STOCK ".commands-dlt"};
    struct model reservation = {.sim = sim,
            .name = SIM_RESERVATION,
            .commands = SIM_RESERVATION ".commands",
            .events = SIM_RESERVATION ".events",
            .dead_letters = SIM_RESERVATION ".commands-dlt"};
    struct model catalogue = {.sim = sim,
            .name = SIM_CATALOGUE,
            .commands = SIM_CATALOGUE ".commands",
            .events = SIM_CATALOGUE ".events",
            .dead_letters = SIM_CATALOGUE ".commands-dlt"};
    struct finish finish;
    const char *what;

    check_log(&stock);
    check_state(&stock);
    if (sim->plan.catalogue) {
        check_log(&catalogue);
        check_state(&catalogue);
    }
    check_applied(&catalogue, &stock);
    if (sim->plan.sagas) {
        check_log(&reservation);
        check_state(&reservation);
        sim_saga_check(sim);
    }
    if (sim->plan.projects) {
        sim_view_check(sim);
    }
    finish = finish_of(sim);
    kill_all(sim);
    what = maybe_older_disks(sim);
    sim_come_to_rest(sim);
    compare(sim, &finish, what);
    kill_all(sim);
    for (int i = 0; i < sim->plan.instances; i++) {
        tally_memory_disk_destroy(sim->instances[i].disk);
        sim->instances[i].disk = tally_memory_disk_create();
    }
    sim_come_to_rest(sim);
    compare(sim, &finish, "a restore from nothing");
}
