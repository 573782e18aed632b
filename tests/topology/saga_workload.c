/* tests/topology/saga_workload.c - see saga_workload.h. Numbers are drawn one in a statement: the
 * order in which arguments are evaluated is the compiler's. */
#include "tests/topology/saga_workload.h"

#include <check.h>
#include <stdio.h>

#define SKUS         5
#define LINES_MAX    4
#define TOGETHER_MAX 12
#define COMMAND_MAX  2048

static const char *const warehouses[] = {"AMS1", "RTM2"};

static uint32_t below(struct saga_workload *workload, uint32_t limit)
{
    return sim_random_below(&workload->random, limit);
}

static const char *some_warehouse(struct saga_workload *workload)
{
    return warehouses[below(workload, 2)];
}

static void pipe(struct saga_workload *workload, struct driver_fixture *fixture, const char *topic,
        const char *type, const char *fields)
{
    char command[COMMAND_MAX];

    snprintf(command, sizeof command, "{\"type\":\"%s\",\"command_id\":\"c-%u\",%s}", type,
            workload->commands++, fields);
    driver_fixture_pipe(fixture, topic, command);
}

void saga_workload_stock(struct saga_workload *workload, struct driver_fixture *fixture)
{
    for (uint32_t sku = 0; sku < SKUS; sku++) {
        for (size_t i = 0; i < 2; i++) {
            char fields[COMMAND_MAX];

            snprintf(fields, sizeof fields,
                    "\"sku\":\"SKU-%u\",\"warehouse\":\"%s\",\"quantity\":%u", sku, warehouses[i],
                    1 + below(workload, 6));
            pipe(workload, fixture, "stock.commands", "ReceiveStock", fields);
        }
    }
    driver_fixture_run(fixture);
}

/* --- reservations ----------------------------------------------------------------------------- */

/* An id lives once: the SKU of its first line is that of the first time. */
static void note_sku(struct saga_workload *workload, uint32_t sku)
{
    uint32_t *noted = &workload->skus[workload->reservations];

    *noted = *noted ? *noted : sku + 1;
}

static size_t add_line(struct saga_workload *workload, char *to, size_t size, bool first)
{
    static const char *const places[] = {"", ",\"warehouse\":\"AMS1\"",
            ",\"warehouses\":[\"RTM2\",\"AMS1\"]", ",\"warehouses\":[\"AMS1\"]"};
    uint32_t sku = below(workload, SKUS);
    uint32_t quantity = 1 + below(workload, 3);
    uint32_t place = below(workload, 4);

    if (first) {
        note_sku(workload, sku);
    }
    return (size_t)snprintf(to, size, "%s{\"sku\":\"SKU-%u\",\"quantity\":%u%s}", first ? "" : ",",
            sku, quantity, places[place]);
}

static void reserve(struct saga_workload *workload, struct driver_fixture *fixture)
{
    char lines[COMMAND_MAX / 2], fields[COMMAND_MAX - 128];
    uint32_t count = 1 + below(workload, LINES_MAX);
    size_t len = 0;

    for (uint32_t i = 0; i < count; i++) {
        len += add_line(workload, lines + len, sizeof lines - len, i == 0);
    }
    snprintf(fields, sizeof fields, "\"reservation_id\":\"R-%u\",\"ttl_s\":%u,\"lines\":[%s]",
            workload->reservations, 1 + below(workload, 100), lines);
    workload->reservations = (workload->reservations + 1) % SAGA_RESERVATIONS;
    pipe(workload, fixture, "reservation.commands", "ReserveStock", fields);
}

static void change_reservation(struct saga_workload *workload, struct driver_fixture *fixture)
{
    static const struct {
        const char *type, *fields;
    } changes[] = {
            {"CommitReservation", ",\"order_id\":\"O-1\""},
            {"CommitReservation", ",\"order_id\":\"O-1\""},
            {"ReleaseReservation", ""},
            {"ExtendReservation", ",\"ttl_s\":60"},
    };
    uint32_t kind = below(workload, 4);
    uint32_t reservation = below(workload, SAGA_RESERVATIONS);
    char fields[COMMAND_MAX];

    snprintf(fields, sizeof fields, "\"reservation_id\":\"R-%u\"%s", reservation,
            changes[kind].fields);
    pipe(workload, fixture, "reservation.commands", changes[kind].type, fields);
}

static void ship(struct saga_workload *workload, struct driver_fixture *fixture)
{
    const char *warehouse = some_warehouse(workload);
    uint32_t reservation = below(workload, SAGA_RESERVATIONS);
    uint32_t line = 1 + below(workload, 4) / 3;
    uint32_t sku = below(workload, 3) && workload->skus[reservation]
                           ? workload->skus[reservation] - 1
                           : below(workload, SKUS);
    char fields[COMMAND_MAX];

    snprintf(fields, sizeof fields,
            "\"sku\":\"SKU-%u\",\"warehouse\":\"%s\",\"quantity\":1,\"shipment_id\":\"S-1\","
            "\"reservation_id\":\"R-%u\",\"line\":%u",
            sku, warehouse, reservation, line);
    pipe(workload, fixture, "stock.commands", "ShipStock", fields);
}

/* --- transfers -------------------------------------------------------------------------------- */

static void dispatch(struct saga_workload *workload, struct driver_fixture *fixture)
{
    const char *from = some_warehouse(workload);
    uint32_t sku = below(workload, SKUS);
    uint32_t quantity = 1 + below(workload, 3);
    char fields[COMMAND_MAX];

    snprintf(fields, sizeof fields,
            "\"transfer_id\":\"T-%u\",\"sku\":\"SKU-%u\",\"quantity\":%u,\"from\":\"%s\","
            "\"to\":\"%s\"",
            workload->transfers++ % SAGA_TRANSFERS, sku, quantity, from,
            warehouses[from == warehouses[0]]);
    pipe(workload, fixture, "transfer.commands", "DispatchTransfer", fields);
}

static void end_transfer(struct saga_workload *workload, struct driver_fixture *fixture)
{
    static const char *const fields[] = {"\"quantity\":1", "\"quantity\":2,\"close\":true",
            "\"quantity\":1,\"bucket\":\"DAMAGED\""};
    uint32_t transfer = below(workload, SAGA_TRANSFERS);
    char text[COMMAND_MAX];

    if (below(workload, 3)) {
        snprintf(text, sizeof text, "\"transfer_id\":\"T-%u\",%s", transfer,
                fields[below(workload, 3)]);
        pipe(workload, fixture, "transfer.commands", "ReceiveTransfer", text);
    } else {
        snprintf(text, sizeof text, "\"transfer_id\":\"T-%u\",\"disposition\":\"%s\"", transfer,
                below(workload, 2) ? "RESTOCK" : "WRITE_OFF");
        pipe(workload, fixture, "transfer.commands", "CancelTransfer", text);
    }
}

void saga_workload_pipe(struct saga_workload *workload, struct driver_fixture *fixture)
{
    uint32_t count = 1 + below(workload, TOGETHER_MAX);

    for (uint32_t i = 0; i < count; i++) {
        switch (below(workload, 10)) {
        case 0:
        case 1:
        case 2:
        case 3:
            reserve(workload, fixture);
            break;
        case 4:
        case 5:
        case 6:
            change_reservation(workload, fixture);
            break;
        case 7:
            ship(workload, fixture);
            break;
        case 8:
            dispatch(workload, fixture);
            break;
        default:
            end_transfer(workload, fixture);
            break;
        }
    }
}
