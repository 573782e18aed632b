/* tests/sim/sim_workload.c - what clients send: few keys, so that commands contend; repeats, ids
 * used again for something else, records that are no command, keys on the wrong partition. */
#include <stdio.h>
#include <string.h>

#include "tests/sim/sim.h"
#include "tests/sim/sim_decode.h"

static const char *const warehouses[SIM_WAREHOUSES] = {"AMS1", "RTM2"};
static const char *const poisons[] = {"", "{", "[]", "{\"type\":\"ReceiveStock\",\"sku\":\"X\"}",
        "{\"type\":\"ReceiveStock\",\"command_id\":\"p\",\"sku\":\"ELSE\"}", "\xc1",
        "{\"type\":\"ShipStock\",\"command_id\":\"\",\"sku\":\"K0\"}"};
enum { POISONS = sizeof poisons / sizeof poisons[0], LONG_NOTE = 490, FIRST_STOCK = 25 };

static void make_value(struct sim_command *command, int number)
{
    static const char *const types[SIM_KINDS] = {[SIM_RECEIVE] = "ReceiveStock",
            [SIM_SHIP] = "ShipStock",
            [SIM_ADJUST] = "AdjustStock",
            [SIM_UNKNOWN_TYPE] = "JuggleStock"};
    char value[SIM_VALUE_MAX];
    char more[96] = "";
    char expected[40] = "";

    if (command->expected_version >= 0) {
        (void)snprintf(expected, sizeof expected, ",\"expected_version\":%lld",
                (long long)command->expected_version);
    }
    switch (command->kind) {
    case SIM_RECEIVE:
        (void)snprintf(more, sizeof more, ",\"quantity\":%lld", (long long)command->quantity);
        break;
    case SIM_SHIP:
        (void)snprintf(more, sizeof more, ",\"quantity\":%lld,\"shipment_id\":\"s\"",
                (long long)command->quantity);
        break;
    case SIM_ADJUST:
        (void)snprintf(more, sizeof more, ",\"delta\":%lld,\"reason\":\"CYCLE_COUNT\"",
                (long long)command->quantity);
        break;
    default:
        break;
    }
    (void)snprintf(value, sizeof value,
            "{\"type\":\"%s\",\"command_id\":\"%s\",\"sku\":\"%s\",\"warehouse\":\"%s\"%s%s,"
            "\"note\":\"#%d%*s\"}",
            types[command->kind], command->id, command->key, warehouses[command->warehouse], more,
            expected, number, command->large ? LONG_NOTE : 0, "");
    memcpy(command->value, value, sizeof value);
}

static void make_register(struct sim_command *command, int number)
{
    char value[SIM_VALUE_MAX];

    (void)snprintf(command->key, sizeof command->key, "warehouse:%s",
            warehouses[command->warehouse]);
    (void)snprintf(value, sizeof value,
            "{\"type\":\"RegisterWarehouse\",\"command_id\":\"%s\",\"warehouse\":\"%s\","
            "\"name\":\"W\",\"note\":\"#%d\"}",
            command->id, warehouses[command->warehouse], number);
    memcpy(command->value, value, sizeof value);
}

/* Reservations are made first, then committed or released, then shipped; stock moves all the
 * time. */
static enum sim_kind draw_saga(struct sim *sim, int number)
{
    int third = 3 * number / sim->plan.commands;

    if (third == 0) {
        return SIM_RESERVE;
    }
    if (third == 1) {
        return sim_random_below(&sim->random, 4) ? SIM_COMMIT : SIM_RELEASE;
    }
    return sim_random_below(&sim->random, 6) ? SIM_SHIP_HELD : SIM_RELEASE;
}

static enum sim_kind draw_kind(struct sim *sim, int number, uint32_t dice)
{
    struct sim_random *random = &sim->random;

    if (sim->plan.catalogue && sim_random_below(random, 8) == 0) {
        return SIM_REGISTER;
    }
    if (sim->plan.sagas && sim_random_below(random, 2)) {
        return draw_saga(sim, number);
    }
    return dice < 9    ? SIM_RECEIVE
           : dice < 14 ? SIM_SHIP
           : dice < 18 ? SIM_ADJUST
           : dice < 19 ? SIM_UNKNOWN_TYPE
                       : SIM_POISON;
}

static void make_command(struct sim *sim, int number)
{
    struct sim_command *command = &sim->commands[number];
    struct sim_random *random = &sim->random;
    uint32_t dice = sim_random_below(random, 20);

    *command = (struct sim_command){.sku = (int)sim_random_below(random, SIM_SKUS),
            .warehouse = (int)sim_random_below(random, SIM_WAREHOUSES),
            .quantity = 1 + sim_random_below(random, 20),
            .expected_version = -1};
    command->large = sim_random_below(random, 40) == 0 && !sim->plan.sagas;
    if (sim_random_below(random, 5) == 0) {
        command->expected_version = sim_random_below(random, 6);
    }
    command->kind = draw_kind(sim, number, dice);
    if (sim->plan.sagas && number < SIM_SKUS) { /* something to reserve */
        *command = (struct sim_command){.kind = SIM_RECEIVE,
                .sku = number,
                .warehouse = number % SIM_WAREHOUSES,
                .quantity = FIRST_STOCK,
                .expected_version = -1};
    }
    if (command->kind == SIM_ADJUST && sim_random_below(random, 2)) {
        command->quantity = -command->quantity;
    }
    (void)snprintf(command->id, sizeof command->id, "c-%d", number);
    (void)snprintf(command->key, sizeof command->key, "K%d", command->sku);
    if (number > 0 && sim_random_below(random, 12) == 0) { /* an id for the second time */
        (void)snprintf(command->id, sizeof command->id, "c-%u",
                sim_random_below(random, (uint32_t)number));
    }
    if (command->kind == SIM_POISON) {
        (void)snprintf(command->value, sizeof command->value, "%s",
                poisons[sim_random_below(random, POISONS)]);
    } else if (command->kind == SIM_REGISTER) {
        make_register(command, number);
    } else if (sim_is_reservation(command) || command->kind == SIM_SHIP_HELD) {
        sim_saga_make(sim, command, number);
    } else {
        make_value(command, number);
    }
}

void sim_workload_prepare(struct sim *sim)
{
    sim->command_count = sim->plan.commands;
    tally_assert(sim->command_count <= SIM_COMMANDS);
    for (int i = 0; i < sim->command_count; i++) {
        make_command(sim, i);
    }
}

struct record {
    int number;
    const char *topic;
    int32_t partition;
    struct tally_slice key, value;
};

/* The next command, or one again; sometimes on a partition that is not its key's. */
static struct record draw_record(struct sim *sim)
{
    struct sim_random *random = &sim->random;
    bool again = sim->sent > 0 && sim_random_below(random, 8) == 0;
    int number = again ? (int)sim_random_below(random, (uint32_t)sim->sent) : sim->sent++;
    const struct sim_command *command = &sim->commands[number];
    bool misrouted = sim_random_below(random, 12) == 0;
    struct tally_slice key = tally_slice_string(command->key);

    return (struct record){.number = number,
            .topic = command->kind == SIM_REGISTER ? SIM_CATALOGUE ".commands"
                     : sim_is_reservation(command) ? SIM_RESERVATION ".commands"
                                                   : SIM_STOCK ".commands",
            .partition = misrouted || command->kind == SIM_POISON
                                 ? (int32_t)sim_random_below(random, (uint32_t)sim->plan.partitions)
                                 : sim_partition_of(key, sim->plan.partitions),
            .key = key,
            .value = tally_slice_string(command->value)};
}

void sim_workload_send(struct sim *sim)
{
    struct record record = draw_record(sim);
    struct tally_header header = {
            .name = TALLY_SLICE("reply-topic"), .value = TALLY_SLICE(SIM_REPLY_TOPIC)};
    int64_t offset = tally_memory_broker_append(sim->broker, record.topic, record.partition,
            record.key, record.value, &header, sim_random_below(&sim->random, 2));

    tally_assert(offset >= 0);
    sim_trace(sim, -1, "sent", record.number, record.partition * 1000 + offset);
}

/* --- a client with transactions of its own ---------------------------------------------------- */

static void end_foreign(struct sim *sim)
{
    if (sim->foreign_producer) {
        sim->foreign_producer->ops->destroy(sim->foreign_producer);
        sim->foreign_producer = NULL;
    }
}

static void write_foreign(struct sim *sim)
{
    struct tally_producer *producer = sim->foreign_producer;

    for (uint32_t i = 1 + sim_random_below(&sim->random, 3);
            i > 0 && sim->sent < sim->plan.commands; i--) {
        struct record record = draw_record(sim);
        struct tally_produce produce = {.key = record.key, .value = record.value};
        size_t done;

        if (producer->ops->produce(producer, record.topic, record.partition, &produce, 1, &done,
                    NULL)) {
            return;
        }
        sim_trace(sim, -1, "sent in a transaction", record.number, record.partition);
    }
}

/* Begins, writes, then commits or aborts, a step at a time: the last stable offset of the inputs
 * waits for it. Fenced by a timeout: a new producer. */
void sim_workload_foreign(struct sim *sim, bool end)
{
    struct tally_producer *producer = sim->foreign_producer;
    bool commit = !end && sim_random_below(&sim->random, 2);

    if (!producer && !end) {
        producer = sim->foreign->ops->producer(sim->foreign, NULL, 0, NULL);
        sim->foreign_producer = producer;
        if (producer->ops->init_transactions(producer, 1000, NULL) ||
                producer->ops->begin(producer, NULL)) {
            end_foreign(sim);
        }
        return;
    }
    if (producer && !end && sim_random_below(&sim->random, 2)) {
        write_foreign(sim);
        return;
    }
    if (producer) {
        enum tally_code code = commit ? producer->ops->commit(producer, 1000, NULL)
                                      : producer->ops->abort(producer, 1000, NULL);

        sim_trace(sim, -1, commit ? "client commits" : "client aborts", code, 0);
        sim->counts[SIM_FOREIGN]++;
        end_foreign(sim);
    }
}
