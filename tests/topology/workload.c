/* tests/topology/workload.c - see workload.h. */
#include "tests/topology/workload.h"

#include <check.h>
#include <stdio.h>

#define SKUS        5
#define COMMAND_MAX 512

void workload_prepare(struct driver_fixture *fixture)
{
    driver_fixture_pipe(fixture, "catalogue.commands",
            "{\"type\":\"RegisterWarehouse\",\"command_id\":\"w-1\",\"warehouse\":\"AMS1\","
            "\"name\":\"Amsterdam\"}");
    driver_fixture_pipe(fixture, "catalogue.commands",
            "{\"type\":\"RegisterWarehouse\",\"command_id\":\"w-2\",\"warehouse\":\"RTM2\","
            "\"name\":\"Rotterdam\"}");
    driver_fixture_run(fixture);
}

/* A generator of its own, so that every run is the same (Numerical Recipes' constants). */
static uint32_t next_random(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 16) % below;
}

/* Messages of reservations and transfers: kinds from here on. */
#define MESSAGES 8
#define KINDS    18

/* A few lines of each SKU, so that what is sent meets what is there. */
static void message_of(uint32_t kind, uint32_t sku, uint32_t number, char *fields)
{
    static const char *const moves[] = {"Confirm", "Commit", "Release"};
    static const char *const more[] = {"", ",\"order_id\":\"O-1\"", ",\"reason\":\"RELEASED\""};
    uint32_t move = kind - MESSAGES - 1;

    if (kind == MESSAGES) {
        snprintf(fields, COMMAND_MAX,
                "\"type\":\"HoldStock\",\"reservation_id\":\"R-%u-%u\",\"line\":1,\"attempt\":%u,"
                "\"quantity\":%u,\"warehouses\":[%s]",
                sku, number % 3, number % 2 + 1, number % 5 + 1, number % 4 ? "" : "\"RTM2\"");
    } else if (move < 3) {
        snprintf(fields, COMMAND_MAX,
                "\"type\":\"%sHold\",\"reservation_id\":\"R-%u-%u\",\"line\":1,\"attempt\":%u%s",
                moves[move], sku, number % 3, number % 2 + 1, more[move]);
    } else if (number % 2) {
        snprintf(fields, COMMAND_MAX,
                "\"type\":\"TransferOut\",\"warehouse\":\"AMS1\",\"transfer_id\":\"T-%u\","
                "\"quantity\":%u,\"to\":\"RTM2\"",
                number, number % 5 + 1);
    } else {
        snprintf(fields, COMMAND_MAX,
                "\"type\":\"Transfer%s\",\"warehouse\":\"RTM2\",\"transfer_id\":\"T-%u\","
                "\"quantity\":%u",
                number % 4 ? "Expect" : "In", number, number % 5 + 1);
    }
}

static const char *fields_of(uint32_t kind, uint32_t sku, uint32_t number, char *fields)
{
    if (kind >= MESSAGES && kind < MESSAGES + 5) {
        message_of(kind, sku, number, fields);
        return fields;
    }
    switch (kind) {
    case 0:
        return "\"type\":\"RegisterSku\"";
    case 1:
        snprintf(fields, COMMAND_MAX,
                "\"type\":\"ConfigureStock\",\"warehouse\":\"AMS1\",\"safety_stock\":%u,"
                "\"low_stock_threshold\":%u",
                number % 3, number % 7);
        return fields;
    case 2:
        snprintf(fields, COMMAND_MAX,
                "\"type\":\"ShipStock\",\"warehouse\":\"AMS1\",\"quantity\":%u,"
                "\"shipment_id\":\"S-%u\",\"force\":%s",
                number % 9 + 1, number, number % 5 ? "false" : "true");
        return fields;
    case 3:
        snprintf(fields, COMMAND_MAX,
                "\"type\":\"AdjustStock\",\"warehouse\":\"RTM2\",\"delta\":%d,\"bucket\":\"%s\","
                "\"reason\":\"CYCLE_COUNT\"",
                (int)(number % 9) - 4, number % 2 ? "DAMAGED" : "SELLABLE");
        return fields;
    case 4:
        snprintf(fields, COMMAND_MAX,
                "\"type\":\"SetStock\",\"warehouse\":\"RTM2\",\"quantity\":%u,"
                "\"as_of_version\":%u",
                number % 20, number % 4);
        return fields;
    case 6:
        snprintf(fields, COMMAND_MAX,
                "\"type\":\"ReturnStock\",\"warehouse\":\"AMS1\",\"quantity\":%u,"
                "\"return_id\":\"B-1\",\"condition\":\"%s\"",
                number % 3 + 1, number % 2 ? "INSPECT" : "RESELLABLE");
        return fields;
    case 7:
        snprintf(fields, COMMAND_MAX,
                "\"type\":\"ShipStock\",\"warehouse\":\"RTM2\",\"quantity\":%u,"
                "\"shipment_id\":\"S-%u\",\"reservation_id\":\"R-%u-%u\",\"line\":1",
                number % 2 + 1, number, sku, number % 3);
        return fields;
    case 5:
        return "\"type\":\"ReceiveStock\",\"warehouse\":\"NOPE\",\"quantity\":1";
    default:
        snprintf(fields, COMMAND_MAX,
                "\"type\":\"ReceiveStock\",\"warehouse\":\"%s\",\"quantity\":%u",
                number % 2 ? "AMS1" : "RTM2", number % 30 + 1);
        return fields;
    }
}

static void pipe_poison(struct driver_fixture *fixture, uint32_t number, int32_t partitions)
{
    static const char *const values[] = {"", "{", "[]", "{\"type\":\"ReceiveStock\",\"sku\":\"X\"}",
            "{\"type\":\"ReceiveStock\",\"command_id\":\"p\",\"sku\":\"OTHER\"}"};
    const char *value = values[number % 5];

    ck_assert_int_ge(tally_topology_driver_pipe(fixture->driver, "stock.commands",
                             (int32_t)number % partitions, TALLY_SLICE("SKU-1"),
                             tally_slice_string(value), NULL, 0),
            0);
}

void workload_pipe(struct driver_fixture *fixture, int count, bool misrouted)
{
    struct tally_header reply = {
            .name = TALLY_SLICE("reply-topic"), .value = TALLY_SLICE(TALLY_DRIVER_REPLY_TOPIC)};
    uint32_t seed = 7;
    int32_t partitions;

    for (partitions = 0; tally_memory_broker_end(tally_topology_driver_broker(fixture->driver),
                                 "stock.commands", partitions) >= 0;
            partitions++) {
    }
    for (int i = 0; i < count; i++) {
        uint32_t sku = next_random(&seed, SKUS), kind = next_random(&seed, KINDS);
        uint32_t number = next_random(&seed, 1000);
        char fields[COMMAND_MAX], command[2 * COMMAND_MAX], key[16];
        int32_t partition = misrouted && i % 11 == 0 ? (int32_t)number % partitions : -1;

        if (i < SKUS) { /* every SKU but one is registered first */
            sku = (uint32_t)i;
            kind = i == SKUS - 1 ? KINDS : 0;
        }
        if (i % 13 == 12) {
            pipe_poison(fixture, number, partitions);
            continue;
        }
        snprintf(key, sizeof key, "SKU-%u", sku);
        snprintf(command, sizeof command, "{%s,\"command_id\":\"%sc-%d\",\"sku\":\"%s\"}",
                fields_of(kind, sku, number, fields),
                kind >= MESSAGES && kind < MESSAGES + 5 ? "~" : "", i % 10 == 9 ? i - 5 : i, key);
        ck_assert_int_ge(tally_topology_driver_pipe(fixture->driver, "stock.commands", partition,
                                 tally_slice_string(key), tally_slice_string(command), &reply, 1),
                0);
    }
}
