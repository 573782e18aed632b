/* tests/unit/test_saga_records.c - tables and store rows of reservations and transfers.
 * Invariants: reservation_rows.c (1) (2), transfer_records.c (1) (2). */
#include <check.h>
#include <stdlib.h>

#include "schemas/reservation_records.h"
#include "schemas/row_json.h"
#include "schemas/transfer_records.h"

static struct tally_arena arena;
static struct tally_buf buf, json;

static void setup(void)
{
    tally_arena_init(&arena, 4096);
    tally_buf_init(&buf, 1u << 20);
    tally_buf_init(&json, 1u << 20);
}

static void teardown(void)
{
    tally_arena_deinit(&arena);
    tally_buf_deinit(&buf);
    tally_buf_deinit(&json);
}

/* --- tables ----------------------------------------------------------------------------------- */

static void check_table(const struct tally_schema *const *schemas, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct tally_schema *schema = schemas[i];
        uint64_t bits = 0;

        ck_assert_uint_eq(schema->id, i);
        ck_assert_str_eq(schema->fields[0].name, schema->key_field);
        for (size_t j = 0; j < schema->field_count; j++) {
            ck_assert_msg(!(bits & TALLY_BIT(schema->fields[j].bit)), "%s.%s: bit used twice",
                    schema->name, schema->fields[j].name);
            bits |= TALLY_BIT(schema->fields[j].bit);
            ck_assert_uint_lt(schema->fields[j].offset, schema->size);
            ck_assert(schema->fields[j].help && schema->fields[j].help[0]);
        }
    }
    ck_assert_ptr_null(schemas[count]);
}

START_TEST(tables_are_sound)
{
    check_table(reservation_command_schemas, RESERVATION_COMMAND_TYPES);
    check_table(reservation_event_schemas, RESERVATION_EVENT_TYPES);
    check_table(transfer_command_schemas, TRANSFER_COMMAND_TYPES);
    check_table(transfer_event_schemas, TRANSFER_EVENT_TYPES);
    ck_assert_str_eq(reservation_state_names[RESERVATION_EXPIRED], "EXPIRED");
    ck_assert_ptr_null(reservation_state_names[RESERVATION_STATES]);
    ck_assert_str_eq(reservation_line_state_names[RESERVATION_REFUSED], "REFUSED");
    ck_assert_str_eq(transfer_state_names[TRANSFER_FAILED], "FAILED");
    ck_assert_ptr_null(transfer_state_names[TRANSFER_STATES]);
    ck_assert_str_eq(transfer_disposition_names[TRANSFER_WRITE_OFF], "WRITE_OFF");
}
END_TEST

/* --- rows ------------------------------------------------------------------------------------- */

static void text_is(const char *topology, const char *store, const char *expected)
{
    tally_buf_clear(&json);
    ck_assert(tally_row_json(topology, store, tally_buf_bytes(&buf), &json));
    tally_buf_byte(&json, 0);
    ck_assert_str_eq((const char *)json.data, expected);
}

/* A row that is cut, or that has more behind it, is damaged; one with another byte is at least read
 * without harm. */
static void damage_is_seen(const char *topology, const char *store)
{
    struct tally_slice row = tally_arena_copy(&arena, tally_buf_bytes(&buf));
    uint8_t *changed = malloc(row.len + 1);

    ck_assert_ptr_nonnull(changed);
    memcpy(changed, row.data, row.len);
    for (size_t len = 0; len <= row.len + 1; len++) {
        uint8_t *cut = malloc(len + 1);

        ck_assert_ptr_nonnull(cut);
        memcpy(cut, row.data, len < row.len ? len : row.len);
        cut[len > row.len ? row.len : len] = 0;
        tally_buf_clear(&json);
        ck_assert_int_eq(tally_row_json(topology, store, tally_slice_of(cut, len), &json),
                len == row.len);
        free(cut);
    }
    for (size_t at = 0; at < row.len; at++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            changed[at] = (uint8_t)byte;
            tally_buf_clear(&json);
            (void)tally_row_json(topology, store, tally_slice_of(changed, row.len), &json);
        }
        changed[at] = row.data[at];
    }
    free(changed);
}

START_TEST(a_reservation_comes_back)
{
    struct reservation_row row = {.state = RESERVATION_CONFIRMED,
            .version = 7,
            .ttl_s = 900,
            .attempt = 2,
            .pending = 0,
            .expires_at = INT64_C(1768472100120),
            .updated_at = INT64_C(1768471200120),
            .owner = TALLY_SLICE("cart:9"),
            .order_id = TALLY_SLICE("O-1")};
    struct reservation_row back;

    reservation_pack(&row, &buf);
    ck_assert(reservation_unpack(tally_buf_bytes(&buf), &back));
    ck_assert_int_eq(back.version, 7);
    ck_assert_int_eq(back.attempt, 2);
    text_is("reservation", "reservation",
            "{\"state\":\"CONFIRMED\",\"version\":7,\"owner\":\"cart:9\",\"ttl_s\":900,"
            "\"attempt\":2,\"pending\":0,\"expires_at\":\"2026-01-15T10:15:00.120Z\","
            "\"order_id\":\"O-1\",\"updated_at\":\"2026-01-15T10:00:00.120Z\"}");
    damage_is_seen("reservation", "reservation");
    buf.data[1] = RESERVATION_STATES;
    ck_assert(!reservation_unpack(tally_buf_bytes(&buf), &back));
}
END_TEST

static struct reservation_line some_line(void)
{
    static struct tally_slice warehouses[2];

    warehouses[0] = TALLY_SLICE("RTM2");
    warehouses[1] = TALLY_SLICE("AMS1");
    return (struct reservation_line){
            .presence.present = TALLY_BIT(RESERVATION_LINE_AVAILABLE) - 1,
            .line = 200,
            .sku = TALLY_SLICE("TS-RED-M"),
            .quantity = INT64_C(1000000000000),
            .shipped = 3,
            .warehouses = {.items = warehouses, .count = 2},
            .state = RESERVATION_HELD,
            .warehouse = TALLY_SLICE("AMS1"),
            .position = TALLY_SLICE("stock.commands/2@991"),
            .code = TALLY_SLICE("CONTENDED"),
    };
}

START_TEST(a_line_comes_back)
{
    struct reservation_line line = some_line(), back;

    line.presence.present |= TALLY_BIT(RESERVATION_LINE_AVAILABLE);
    line.available = -4;
    reservation_line_pack(&line, &buf);
    ck_assert(reservation_line_unpack(tally_buf_bytes(&buf), &arena, &back));
    ck_assert_uint_eq(back.presence.present, line.presence.present);
    text_is("reservation", "line",
            "{\"line\":200,\"sku\":\"TS-RED-M\",\"quantity\":1000000000000,"
            "\"warehouses\":[\"RTM2\",\"AMS1\"],\"state\":\"HELD\",\"shipped\":3,"
            "\"warehouse\":\"AMS1\",\"position\":\"stock.commands/2@991\",\"code\":\"CONTENDED\","
            "\"available\":-4}");
    damage_is_seen("reservation", "line");
}
END_TEST

START_TEST(a_line_without_what_may_be_absent_comes_back)
{
    struct reservation_line line = some_line();

    line.warehouses.count = 0;
    line.state = RESERVATION_PENDING;
    line.warehouse = line.position = line.code = TALLY_NONE;
    reservation_line_pack(&line, &buf);
    text_is("reservation", "line",
            "{\"line\":200,\"sku\":\"TS-RED-M\",\"quantity\":1000000000000,\"warehouses\":[],"
            "\"state\":\"PENDING\",\"shipped\":3}");
    damage_is_seen("reservation", "line");
}
END_TEST

static struct tally_operation some_operation(void)
{
    return (struct tally_operation){
            .presence.present = TALLY_BIT(TALLY_OPERATION_FAMILY) - 1,
            .op_id = TALLY_SLICE("c-7"),
            .command = TALLY_SLICE("ReserveStock"),
            .fingerprint = TALLY_SLICE("24027fe619e6e115"),
            .reply = {.presence.present =
                              TALLY_BIT(TALLY_REPLY_TOPIC) | TALLY_BIT(TALLY_REPLY_FORMAT),
                    .topic = TALLY_SLICE("replies")},
    };
}

START_TEST(operations_and_timers_come_back)
{
    struct reservation_op op = {.operation = some_operation(), .due_at = INT64_C(1768471230000)};
    struct transfer_op transfer = {.operation = some_operation(), .due_at = op.due_at};
    struct reservation_timer_row timer = {.state = RESERVATION_HOLDING, .attempt = 3};

    op.operation.presence.present |= TALLY_BIT(RESERVATION_OP_DUE_AT);
    reservation_op_pack(&op, &buf);
    text_is("reservation", "operation",
            "{\"op_id\":\"c-7\",\"command\":\"ReserveStock\",\"fingerprint\":\"24027fe619e6e115\","
            "\"reply\":{\"topic\":\"replies\",\"format\":\"JSON\"},"
            "\"due_at\":\"2026-01-15T10:00:30.000Z\"}");
    damage_is_seen("reservation", "operation");
    tally_buf_clear(&buf);
    transfer.operation.presence.present |= TALLY_BIT(TRANSFER_OP_DUE_AT);
    transfer_op_pack(&transfer, &buf);
    damage_is_seen("transfer", "operation");
    tally_buf_clear(&buf);
    reservation_timer_pack(&timer, &buf);
    text_is("reservation", "timer", "{\"state\":\"HOLDING\",\"attempt\":3}");
    damage_is_seen("reservation", "timer");
}
END_TEST

START_TEST(a_transfer_comes_back)
{
    struct transfer_row row = {.state = TRANSFER_PARTIALLY_RECEIVED,
            .version = 3,
            .quantity = 9,
            .received = 4,
            .returned = 1,
            .lost = 2,
            .updated_at = INT64_C(1768471200000),
            .sku = TALLY_SLICE("TS-RED-M"),
            .from = TALLY_SLICE("AMS1"),
            .to = TALLY_SLICE("RTM2")};
    struct transfer_row back;

    transfer_pack(&row, &buf);
    ck_assert(transfer_unpack(tally_buf_bytes(&buf), &back));
    text_is("transfer", "transfer",
            "{\"state\":\"PARTIALLY_RECEIVED\",\"version\":3,\"sku\":\"TS-RED-M\",\"quantity\":9,"
            "\"from\":\"AMS1\",\"to\":\"RTM2\",\"received\":4,\"returned\":1,\"lost\":2,"
            "\"updated_at\":\"2026-01-15T10:00:00.000Z\"}");
    damage_is_seen("transfer", "transfer");
    buf.data[1] = TRANSFER_STATES;
    ck_assert(!transfer_unpack(tally_buf_bytes(&buf), &back));
}
END_TEST

START_TEST(a_store_of_another_topology_has_no_rows_here)
{
    tally_buf_byte(&buf, 1);
    ck_assert(!tally_row_json("reservation", "transfer", tally_buf_bytes(&buf), &json));
    ck_assert(!tally_row_json("transfer", "line", tally_buf_bytes(&buf), &json));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("saga_records");
    TCase *tests = tcase_create("saga_records");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, tables_are_sound);
    tcase_add_test(tests, a_reservation_comes_back);
    tcase_add_test(tests, a_line_comes_back);
    tcase_add_test(tests, a_line_without_what_may_be_absent_comes_back);
    tcase_add_test(tests, operations_and_timers_come_back);
    tcase_add_test(tests, a_transfer_comes_back);
    tcase_add_test(tests, a_store_of_another_topology_has_no_rows_here);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
