/* tests/unit/test_stock_records.c - tables of the stock records and the rows of its stores.
 * Invariants: stock_rows.c (1) (2). */
#include "schemas/row_json.h"
#include "schemas/stock_records.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "schemas/catalogue_records.h"

static struct tally_arena arena;
static struct tally_buf buf;

static void setup(void)
{
    tally_arena_init(&arena, 4096);
    tally_buf_init(&buf, 1u << 20);
}

static void teardown(void)
{
    tally_arena_deinit(&arena);
    tally_buf_deinit(&buf);
}

/* --- tables ------------------------------------------------------------------------------------
 */

static const char *const envelope_names[] = {"id", "command_id", "type", "version", "source",
        "actor", "correlation_id", "causation_id", "time", "headers", "payload"};

/* What a table must not do, or records would be read wrongly in silence. */
static void check_table(const struct tally_schema *schema, bool command)
{
    uint64_t bits = 0;
    bool key_found = false;

    ck_assert_uint_le(schema->field_count, 64);
    ck_assert_uint_gt(strlen(schema->help), 0);
    for (size_t i = 0; i < schema->field_count; i++) {
        const struct tally_field *field = &schema->fields[i];

        ck_assert_msg(!(bits & TALLY_BIT(field->bit)), "%s.%s: bit used twice", schema->name,
                field->name);
        bits |= TALLY_BIT(field->bit);
        ck_assert_uint_ge(field->offset, sizeof(struct tally_presence));
        ck_assert_uint_lt(field->offset, schema->size);
        ck_assert_msg(field->help && field->help[0], "%s.%s: no help", schema->name, field->name);
        ck_assert_int_le(field->low, field->high);
        key_found = key_found || (schema->key_field && strcmp(field->name, schema->key_field) == 0);
        for (size_t j = 0; j < i; j++) {
            ck_assert_str_ne(field->name, schema->fields[j].name);
        }
        for (size_t j = 0; command && j < sizeof envelope_names / sizeof envelope_names[0]; j++) {
            ck_assert_str_ne(field->name, envelope_names[j]);
        }
    }
    /* Of an event the record's key is enough; a command's is checked against its field. */
    ck_assert_msg(key_found || (!command && !schema->key_field), "%s: no key field", schema->name);
    ck_assert(!schema->broadcast || schema->internal);
    if (command) { /* public ones take all common fields, internal ones a deadline at most */
        uint64_t common = bits & (TALLY_BIT(TALLY_HAS_FAMILY) - 1);

        ck_assert(schema->internal ? !(common & ~TALLY_BIT(TALLY_HAS_DEADLINE))
                                   : common == TALLY_BIT(TALLY_HAS_FAMILY) - 1);
    }
}

START_TEST(tables_are_sound)
{
    for (uint32_t i = 0; i < STOCK_COMMAND_TYPES; i++) {
        ck_assert_uint_eq(stock_command_schemas[i]->id, i);
        check_table(stock_command_schemas[i], true);
    }
    ck_assert_ptr_null(stock_command_schemas[STOCK_COMMAND_TYPES]);
    for (uint32_t i = 0; i < STOCK_EVENT_TYPES; i++) {
        ck_assert_uint_eq(stock_event_schemas[i]->id, i);
        check_table(stock_event_schemas[i], false);
    }
    ck_assert_ptr_null(stock_event_schemas[STOCK_EVENT_TYPES]);
    for (uint32_t i = 0; i < CATALOGUE_COMMAND_TYPES; i++) {
        check_table(catalogue_command_schemas[i], true);
    }
    for (uint32_t i = 0; i < CATALOGUE_EVENT_TYPES; i++) {
        check_table(catalogue_event_schemas[i], false);
    }
}
END_TEST

static size_t names_count(const char *const *names)
{
    size_t count = 0;

    while (names[count]) {
        count++;
    }
    return count;
}

START_TEST(names_match_their_enums)
{
    ck_assert_uint_eq(names_count(stock_bucket_names), STOCK_QUALITY_CONTROL + 1);
    ck_assert_uint_eq(names_count(stock_policy_names), STOCK_BACKORDER + 1);
    ck_assert_uint_eq(names_count(stock_reason_names), STOCK_REASON_OTHER + 1);
    ck_assert_uint_eq(names_count(stock_set_names), STOCK_SET_AVAILABLE + 1);
    ck_assert_uint_eq(names_count(stock_kind_names), STOCK_KINDS);
    ck_assert_uint_eq(names_count(stock_condition_names), STOCK_INSPECT + 1);
    ck_assert_uint_eq(names_count(stock_release_reason_names), STOCK_RELEASE_EXPIRED + 1);
    ck_assert_uint_eq(names_count(stock_hold_states), STOCK_HOLD_RELEASED + 1);
    ck_assert_uint_eq(names_count(stock_sku_states), STOCK_SKU_ARCHIVED + 1);
    ck_assert_uint_eq(names_count(stock_warehouse_states), STOCK_WAREHOUSE_CLOSED + 1);
    ck_assert_uint_eq(names_count(stock_signal_names), STOCK_LOW_STOCK_CLEARED + 1);
    ck_assert_str_eq(stock_reason_names[STOCK_REASON_PROMO], "PROMO");
    ck_assert_str_eq(stock_kind_names[STOCK_KIND_CONFIGURE], "CONFIGURE");
    ck_assert_str_eq(stock_kind_names[STOCK_KIND_TRANSFER_LOSS], "TRANSFER_LOSS");
    ck_assert_str_eq(stock_hold_states[STOCK_HOLD_SHIPPED], "SHIPPED");
    ck_assert_str_eq(stock_signal_names[STOCK_OVERSOLD], "OVERSOLD");
    for (int i = 0; i < STOCK_NUMBERS; i++) {
        ck_assert_ptr_nonnull(stock_number_names[i]);
    }
}
END_TEST

/* --- commands ----------------------------------------------------------------------------------
 */

static struct tally_command command;

static const struct stock_command *decode(const char *type, const char *fields)
{
    struct tally_error err;
    enum tally_refusal refusal;
    char json[1024];

    snprintf(json, sizeof json, "{\"type\":\"%s\",\"id\":\"c\",\"sku\":\"S\"%s%s}", type,
            fields[0] ? "," : "", fields);
    ck_assert_int_eq(tally_command_decode(tally_arena_copy(&arena, tally_slice_string(json)),
                             stock_command_schemas, &arena, &command, &refusal, &err),
            TALLY_OK);
    return (const struct stock_command *)command.fields;
}

static const char *broken_by(const char *type, const char *fields)
{
    static char text[2048];
    size_t len = 0;

    (void)decode(type, fields);
    text[0] = 0;
    for (size_t i = 0; command.violations && i < command.violations->count; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s %s", i ? "; " : "",
                command.violations->items[i].pointer, command.violations->items[i].code);
    }
    return text;
}

START_TEST(each_command_takes_its_fields)
{
    const struct stock_command *fields;

    ck_assert_str_eq(broken_by("RegisterSku", ""), "");
    ck_assert_str_eq(broken_by("RegisterSku", "\"product_id\":\"P-1\""), "");
    ck_assert_str_eq(broken_by("RegisterSku", "\"warehouse\":\"W\""), "/warehouse UNKNOWN_FIELD");
    ck_assert_str_eq(broken_by("ReceiveStock", "\"warehouse\":\"w\",\"quantity\":1000000000001"),
            "/warehouse BAD_FORMAT; /quantity OUT_OF_RANGE");
    ck_assert_str_eq(broken_by("ReceiveStock", "\"warehouse\":\"W\",\"quantity\":1000000000000,"
                                               "\"bucket\":\"DAMAGED\""),
            "");
    ck_assert_str_eq(broken_by("AdjustStock", "\"warehouse\":\"W\",\"delta\":0"),
            "/delta OUT_OF_RANGE");
    ck_assert_str_eq(broken_by("AdjustStock", "\"warehouse\":\"W\",\"delta\":-1000000000000"), "");
    ck_assert_str_eq(broken_by("AdjustStock", "\"warehouse\":\"W\",\"delta\":-1000000000001"),
            "/delta OUT_OF_RANGE");
    ck_assert_str_eq(broken_by("AdjustStock",
                             "\"warehouse\":\"W\",\"delta\":1,\"change_from\":null"),
            "/change_from WRONG_TYPE");
    fields = decode("AdjustStock",
            "\"warehouse\":\"W\",\"delta\":-3,\"reason\":\"CYCLE_COUNT\",\"change_from\":-7");
    ck_assert_uint_eq(fields->reason, STOCK_REASON_CYCLE_COUNT);
    ck_assert_int_eq(fields->change_from, -7);
    ck_assert_str_eq(broken_by("ShipStock", "\"warehouse\":\"W\",\"quantity\":1"),
            "/shipment_id REQUIRED");
    ck_assert_str_eq(broken_by("ShipStock", "\"warehouse\":\"W\",\"quantity\":1,\"shipment_id\":"
                                            "\"S\",\"force\":true"),
            "");
    ck_assert_str_eq(broken_by("ShipStock",
                             "\"warehouse\":\"W\",\"quantity\":1,\"shipment_id\":\"S\",\"line\":1"),
            "/line NOT_ALLOWED");
    ck_assert_str_eq(broken_by("ShipStock", "\"warehouse\":\"W\",\"quantity\":1,\"shipment_id\":"
                                            "\"S\",\"reservation_id\":\"R\""),
            "/line REQUIRED");
    fields = decode("ShipStock", "\"warehouse\":\"W\",\"quantity\":1,\"shipment_id\":\"S\","
                                 "\"reservation_id\":\"R\",\"line\":2");
    ck_assert_ptr_null(command.violations);
    ck_assert_int_eq(fields->line, 2);
    ck_assert(tally_slice_equal(fields->reservation_id, TALLY_SLICE("R")));
    ck_assert(fields->head.presence.present & TALLY_BIT(STOCK_HAS_LINE));
}
END_TEST

START_TEST(a_set_names_what_it_compares_with)
{
    const struct stock_command *fields;

    ck_assert_str_eq(broken_by("SetStock", "\"warehouse\":\"W\",\"quantity\":0"),
            "/change_from REQUIRED");
    ck_assert_str_eq(broken_by("SetStock", "\"warehouse\":\"W\",\"quantity\":0,\"change_from\":1,"
                                           "\"as_of_version\":0"),
            "/change_from NOT_ALLOWED");
    ck_assert_str_eq(broken_by("SetStock",
                             "\"warehouse\":\"W\",\"quantity\":0,\"as_of_version\":-1"),
            "/as_of_version OUT_OF_RANGE");
    fields = decode("SetStock",
            "\"warehouse\":\"W\",\"quantity\":0,\"change_from\":null,\"name\":\"AVAILABLE\"");
    ck_assert_ptr_null(command.violations);
    ck_assert(fields->head.presence.present & TALLY_BIT(STOCK_HAS_CHANGE_FROM));
    ck_assert(fields->head.presence.nulls & TALLY_BIT(STOCK_HAS_CHANGE_FROM));
    ck_assert_uint_eq(fields->set_name, STOCK_SET_AVAILABLE);
    ck_assert_str_eq(broken_by("SetStock",
                             "\"warehouse\":\"W\",\"quantity\":5,\"as_of_version\":0"),
            "");
}
END_TEST

START_TEST(null_configures_the_default)
{
    const struct stock_command *fields =
            decode("ConfigureStock", "\"warehouse\":\"W\",\"policy\":null,\"backorder_limit\":7,"
                                     "\"low_stock_threshold\":null");
    uint64_t present = fields->head.presence.present, nulls = fields->head.presence.nulls;

    ck_assert_ptr_null(command.violations);
    ck_assert(present & TALLY_BIT(STOCK_HAS_POLICY));
    ck_assert(nulls & TALLY_BIT(STOCK_HAS_POLICY));
    ck_assert(present & TALLY_BIT(STOCK_HAS_BACKORDER_LIMIT));
    ck_assert(!(nulls & TALLY_BIT(STOCK_HAS_BACKORDER_LIMIT)));
    ck_assert(!(present & TALLY_BIT(STOCK_HAS_SAFETY_STOCK)));
    ck_assert(nulls & TALLY_BIT(STOCK_HAS_LOW_STOCK_THRESHOLD));
    ck_assert_int_eq(fields->backorder_limit, 7);
    ck_assert_str_eq(broken_by("ConfigureStock", "\"warehouse\":\"W\",\"safety_stock\":-1,"
                                                 "\"backorder_limit\":1000000000001"),
            "/safety_stock OUT_OF_RANGE; /backorder_limit OUT_OF_RANGE");
}
END_TEST

/* --- rows --------------------------------------------------------------------------------------
 */

static struct stock_ledger_row full_entry(void)
{
    return (struct stock_ledger_row){.type = STOCK_ADJUSTED,
            .kind = STOCK_KIND_SET,
            .deltas = {INT64_MIN, 1, 0, 0, 0, 0, 0, INT64_MAX},
            .after = {9, 8, 7, 6, 5, 4, 3, 2},
            .has_reason = true,
            .reason = STOCK_REASON_OTHER,
            .signals = 31,
            .note = TALLY_SLICE("note"),
            .reference = TALLY_SLICE("reference"),
            .actor = TALLY_SLICE("actor"),
            .command_id = TALLY_SLICE("c-1"),
            .reservation_id = TALLY_SLICE("R"),
            .order_id = TALLY_SLICE("O"),
            .shipment_id = TALLY_SLICE("S"),
            .return_id = TALLY_SLICE("B"),
            .transfer_id = TALLY_SLICE("T"),
            .line = 65535,
            .recorded_at = 1768471200004,
            .offset = INT64_MAX};
}

START_TEST(levels_come_back)
{
    struct stock_level_row level = {
            .n = {40, 1, 2, 3, 4, 8, 2, 5}, .version = 911, .updated_at = 1768471200004};
    struct stock_level_row back, zero = {.version = 0};

    ck_assert_int_eq(stock_level_available(&level), 20);
    ck_assert_int_eq(stock_level_backordered(&level), 0);
    stock_level_pack(&level, &buf);
    ck_assert(stock_level_unpack(tally_buf_bytes(&buf), &back));
    ck_assert_mem_eq(&back, &level, sizeof level);
    tally_buf_clear(&buf);
    stock_level_pack(&zero, &buf);
    ck_assert_uint_eq(buf.len, 4);
    ck_assert(stock_level_unpack(tally_buf_bytes(&buf), &back));
    ck_assert_mem_eq(&back, &zero, sizeof zero);
    level = (struct stock_level_row){.n = {10, 2, 1, 3, 4, 5, 6, 0}};
    ck_assert_int_eq(stock_level_available(&level), -11);
    ck_assert_int_eq(stock_level_backordered(&level), 5);
    level.n[STOCK_ON_HAND] = INT64_MAX;
    tally_buf_clear(&buf);
    stock_level_pack(&level, &buf);
    ck_assert(!stock_level_unpack(tally_buf_bytes(&buf), &back));
}
END_TEST

START_TEST(ledger_entries_come_back)
{
    struct stock_ledger_row entry = full_entry(), back;
    struct tally_buf again;

    tally_buf_init(&again, 4096);
    stock_ledger_pack(&entry, &buf);
    ck_assert(stock_ledger_unpack(tally_buf_bytes(&buf), &back));
    ck_assert_mem_eq(back.deltas, entry.deltas, sizeof entry.deltas);
    ck_assert_mem_eq(back.after, entry.after, sizeof entry.after);
    ck_assert(back.has_reason);
    ck_assert_uint_eq(back.reason, STOCK_REASON_OTHER);
    ck_assert_uint_eq(back.signals, 31);
    ck_assert_int_eq(back.line, 65535);
    ck_assert_int_eq(back.offset, INT64_MAX);
    ck_assert(tally_slice_equal(back.transfer_id, TALLY_SLICE("T")));
    ck_assert(tally_slice_equal(back.note, TALLY_SLICE("note")));
    stock_ledger_pack(&back, &again);
    ck_assert(tally_slice_equal(tally_buf_bytes(&buf), tally_buf_bytes(&again)));
    entry = (struct stock_ledger_row){.type = STOCK_RECEIVED, .deltas = {1}, .after = {1}};
    tally_buf_clear(&buf);
    stock_ledger_pack(&entry, &buf);
    ck_assert(stock_ledger_unpack(tally_buf_bytes(&buf), &back));
    ck_assert(!back.has_reason);
    ck_assert_ptr_null(back.note.data);
    ck_assert_uint_le(buf.len, 16);
    tally_buf_deinit(&again);
}
END_TEST

START_TEST(small_rows_come_back)
{
    struct stock_setting_row setting = {STOCK_BACKORDER, true, false, 5, 6, 7}, setting_back;
    struct stock_sku_row sku = {STOCK_SKU_ARCHIVED, 3, TALLY_SLICE("P"), TALLY_NONE}, sku_back;
    struct stock_warehouse_row warehouse = {STOCK_WAREHOUSE_CLOSED, TALLY_SLICE("Amsterdam")},
                               warehouse_back;

    stock_setting_pack(&setting, &buf);
    ck_assert(stock_setting_unpack(tally_buf_bytes(&buf), &setting_back));
    ck_assert_uint_eq(setting_back.policy, STOCK_BACKORDER);
    ck_assert(setting_back.has_backorder_limit);
    ck_assert(!setting_back.has_low_stock_threshold);
    ck_assert_int_eq(setting_back.backorder_limit, 5);
    ck_assert_int_eq(setting_back.safety_stock, 6);
    ck_assert_int_eq(setting_back.low_stock_threshold, 0);
    tally_buf_clear(&buf);
    stock_sku_pack(&sku, &buf);
    ck_assert(stock_sku_unpack(tally_buf_bytes(&buf), &sku_back));
    ck_assert_uint_eq(sku_back.state, STOCK_SKU_ARCHIVED);
    ck_assert_int_eq(sku_back.version, 3);
    ck_assert(tally_slice_equal(sku_back.product_id, TALLY_SLICE("P")));
    ck_assert_ptr_null(sku_back.op_id.data);
    tally_buf_clear(&buf);
    stock_warehouse_pack(&warehouse, &buf);
    ck_assert(stock_warehouse_unpack(tally_buf_bytes(&buf), &warehouse_back));
    ck_assert_uint_eq(warehouse_back.state, STOCK_WAREHOUSE_CLOSED);
    ck_assert(tally_slice_equal(warehouse_back.name, TALLY_SLICE("Amsterdam")));
}
END_TEST

START_TEST(holds_come_back)
{
    struct stock_hold_row hold = {.state = STOCK_HOLD_COMMITTED,
            .attempt = 65535,
            .quantity = INT64_C(1000000000000),
            .shipped = INT64_C(999999999999),
            .updated_at = 1768471200004,
            .sku = TALLY_SLICE("TS-RED-M"),
            .warehouse = TALLY_SLICE("AMS1")};
    struct stock_hold_row back, none = {.state = STOCK_HOLD_RELEASED, .attempt = 1};

    stock_hold_pack(&hold, &buf);
    ck_assert(stock_hold_unpack(tally_buf_bytes(&buf), &back));
    ck_assert_uint_eq(back.state, STOCK_HOLD_COMMITTED);
    ck_assert_int_eq(back.attempt, hold.attempt);
    ck_assert_int_eq(back.quantity, hold.quantity);
    ck_assert_int_eq(back.shipped, hold.shipped);
    ck_assert_int_eq(back.updated_at, hold.updated_at);
    ck_assert(tally_slice_equal(back.sku, hold.sku));
    ck_assert(tally_slice_equal(back.warehouse, hold.warehouse));
    tally_buf_clear(&buf);
    stock_hold_pack(&none, &buf);
    ck_assert(stock_hold_unpack(tally_buf_bytes(&buf), &back));
    ck_assert_ptr_null(back.warehouse.data);
    hold.shipped = hold.quantity + 1;
    tally_buf_clear(&buf);
    stock_hold_pack(&hold, &buf);
    ck_assert(!stock_hold_unpack(tally_buf_bytes(&buf), &back));
    hold.shipped = 0;
    hold.state = STOCK_HOLD_RELEASED + 1;
    tally_buf_clear(&buf);
    stock_hold_pack(&hold, &buf);
    ck_assert(!stock_hold_unpack(tally_buf_bytes(&buf), &back));
}
END_TEST

/* A release has reasons of its own. */
START_TEST(reasons_are_those_of_the_kind)
{
    struct stock_ledger_row entry = {.type = STOCK_UNITS_RELEASED,
            .kind = STOCK_KIND_RELEASE,
            .has_reason = true,
            .reason = STOCK_RELEASE_EXPIRED};
    struct stock_ledger_row back;

    ck_assert(tally_slice_equal(stock_ledger_reason(&entry), TALLY_SLICE("EXPIRED")));
    stock_ledger_pack(&entry, &buf);
    ck_assert(stock_ledger_unpack(tally_buf_bytes(&buf), &back));
    entry.reason = STOCK_RELEASE_EXPIRED + 1;
    tally_buf_clear(&buf);
    stock_ledger_pack(&entry, &buf);
    ck_assert(!stock_ledger_unpack(tally_buf_bytes(&buf), &back));
    entry = full_entry();
    ck_assert(tally_slice_equal(stock_ledger_reason(&entry), TALLY_SLICE("OTHER")));
    entry.kind = STOCK_KIND_TRANSFER_LOSS;
    entry.type = STOCK_TRANSFER_LOST;
    entry.has_reason = false;
    ck_assert_uint_eq(stock_ledger_reason(&entry).len, 0);
    tally_buf_clear(&buf);
    stock_ledger_pack(&entry, &buf);
    ck_assert(stock_ledger_unpack(tally_buf_bytes(&buf), &back));
    entry.kind = STOCK_KINDS;
    tally_buf_clear(&buf);
    stock_ledger_pack(&entry, &buf);
    ck_assert(!stock_ledger_unpack(tally_buf_bytes(&buf), &back));
}
END_TEST

static bool unpacks(const char *store, struct tally_slice row)
{
    struct tally_buf out;
    bool fine;

    tally_buf_init(&out, 1u << 16);
    fine = tally_row_json("stock", store, row, &out);
    tally_buf_deinit(&out);
    return fine;
}

static void pack(const char *store, struct tally_buf *row)
{
    struct stock_level_row level = {.n = {40, -1, 2, 3, 4, 8, 2, INT64_C(9000000000000000)},
            .version = 911,
            .updated_at = 1};
    struct stock_ledger_row entry = full_entry();

    tally_buf_clear(row);
    if (strcmp(store, "level") == 0) {
        stock_level_pack(&level, row);
    } else if (strcmp(store, "ledger") == 0) {
        stock_ledger_pack(&entry, row);
    } else if (strcmp(store, "setting") == 0) {
        stock_setting_pack(&(struct stock_setting_row){1, true, true, 1, 2, 3}, row);
    } else if (strcmp(store, "sku") == 0) {
        stock_sku_pack(&(struct stock_sku_row){1, 2, TALLY_SLICE("P"), TALLY_SLICE("C")}, row);
    } else if (strcmp(store, "hold") == 0) {
        stock_hold_pack(&(struct stock_hold_row){STOCK_HOLD_COMMITTED, 1, 3, 2, 4, TALLY_SLICE("S"),
                                TALLY_SLICE("W")},
                row);
    } else {
        stock_warehouse_pack(&(struct stock_warehouse_row){1, TALLY_SLICE("N")}, row);
    }
}

/* Cut anywhere, made longer, of another version, or with any one byte turned over. */
START_TEST(damaged_rows_are_told)
{
    static const char *const stores[] = {"level", "ledger", "setting", "sku", "hold", "warehouse"};

    for (size_t i = 0; i < sizeof stores / sizeof stores[0]; i++) {
        pack(stores[i], &buf);
        ck_assert(unpacks(stores[i], tally_buf_bytes(&buf)));
        for (size_t len = 0; len < buf.len; len++) {
            uint8_t *cut = tally_alloc(len + 1);

            memcpy(cut, buf.data, len);
            ck_assert(!unpacks(stores[i], tally_slice_of(cut, len)));
            tally_free(cut);
        }
        for (size_t at = 0; at < buf.len; at++) {
            uint8_t *copy = tally_alloc(buf.len);

            memcpy(copy, buf.data, buf.len);
            copy[at] = (uint8_t)~copy[at];
            (void)unpacks(stores[i], tally_slice_of(copy, buf.len));
            tally_free(copy);
        }
        tally_buf_byte(&buf, 0);
        ck_assert(!unpacks(stores[i], tally_buf_bytes(&buf)));
        pack(stores[i], &buf);
        buf.data[0] = 2;
        ck_assert(!unpacks(stores[i], tally_buf_bytes(&buf)));
    }
    ck_assert(!unpacks("nope", tally_buf_bytes(&buf)));
}
END_TEST

START_TEST(rows_are_dumped_in_fixed_order)
{
    struct tally_buf out;

    tally_buf_init(&out, 1u << 16);
    stock_level_pack(&(struct stock_level_row){.n = {40, 0, 0, 0, 4, 8, 2},
                             .version = 911,
                             .updated_at = 1768471320012},
            &buf);
    ck_assert(tally_row_json("stock", "level", tally_buf_bytes(&buf), &out));
    ck_assert(tally_slice_equal(tally_buf_bytes(&out),
            TALLY_SLICE("{\"on_hand\":40,\"damaged\":0,\"quality_control\":0,\"held\":0,"
                        "\"reserved\":4,\"committed\":8,"
                        "\"safety_stock\":2,\"incoming\":0,\"available\":26,\"backordered\":0,"
                        "\"version\":911,"
                        "\"updated_at\":\"2026-01-15T10:02:00.012Z\"}")));
    tally_buf_clear(&out);
    pack("sku", &buf);
    ck_assert(tally_row_json("stock", "sku", tally_buf_bytes(&buf), &out));
    ck_assert(tally_slice_equal(tally_buf_bytes(&out),
            TALLY_SLICE("{\"state\":\"ARCHIVED\",\"product_id\":\"P\",\"op_id\":\"C\",\"version\":"
                        "2}")));
    tally_buf_clear(&out);
    pack("hold", &buf);
    ck_assert(tally_row_json("stock", "hold", tally_buf_bytes(&buf), &out));
    ck_assert(tally_slice_equal(tally_buf_bytes(&out),
            TALLY_SLICE("{\"sku\":\"S\",\"warehouse\":\"W\",\"attempt\":1,\"quantity\":3,"
                        "\"shipped\":2,\"state\":\"COMMITTED\","
                        "\"updated_at\":\"1970-01-01T00:00:00.004Z\"}")));
    tally_buf_deinit(&out);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stock_records");
    TCase *tests = tcase_create("stock_records");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, tables_are_sound);
    tcase_add_test(tests, names_match_their_enums);
    tcase_add_test(tests, each_command_takes_its_fields);
    tcase_add_test(tests, a_set_names_what_it_compares_with);
    tcase_add_test(tests, null_configures_the_default);
    tcase_add_test(tests, levels_come_back);
    tcase_add_test(tests, ledger_entries_come_back);
    tcase_add_test(tests, small_rows_come_back);
    tcase_add_test(tests, holds_come_back);
    tcase_add_test(tests, reasons_are_those_of_the_kind);
    tcase_add_test(tests, damaged_rows_are_told);
    tcase_add_test(tests, rows_are_dumped_in_fixed_order);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
