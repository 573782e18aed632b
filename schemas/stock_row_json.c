/* schemas/stock_row_json.c - rows of the stock stores as JSON, for dumps and operators; a level for
 * users. */
#include "schemas/row_json_internal.h"
#include "schemas/serde_internal.h"
#include "schemas/stock_records.h"

static void write_level_numbers(struct tally_writer *writer, const struct stock_level_row *level)
{
    static const struct tally_slice names[STOCK_NUMBERS] = {
#define X(number, name) [number] = {(const uint8_t *)(name), sizeof(name) - 1},
        STOCK_NUMBER_NAMES(X)
#undef X
    };
    int64_t numbers[STOCK_NUMBERS];

    memcpy(numbers, level->n, STOCK_BUCKETS * sizeof *numbers);
    numbers[STOCK_AVAILABLE] = stock_level_available(level);
    numbers[STOCK_BACKORDERED] = stock_level_backordered(level);
    serde_write_ints(writer, names, numbers, STOCK_NUMBERS);
}

static bool level_json(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    struct stock_level_row level;

    (void)arena;
    if (!stock_level_unpack(row, &level)) {
        return false;
    }
    tally_write_map(writer, STOCK_NUMBERS + 2);
    write_level_numbers(writer, &level);
    row_json_int(writer, "version", level.version);
    row_json_time(writer, "updated_at", level.updated_at);
    return true;
}

void stock_level_json(struct tally_writer *writer, struct tally_slice sku,
        struct tally_slice warehouse, const struct stock_level_row *level,
        const struct stock_setting_row *setting)
{
    tally_write_map(writer, 3 + STOCK_NUMBERS + (setting ? 4 : 1));
    row_json_text(writer, "sku", sku);
    row_json_text(writer, "warehouse", warehouse);
    row_json_int(writer, "version", level->version);
    write_level_numbers(writer, level);
    if (setting) {
        row_json_text(writer, "policy", tally_slice_string(stock_policy_names[setting->policy]));
        row_json_int_or_null(writer, "backorder_limit", setting->has_backorder_limit,
                setting->backorder_limit);
        row_json_int_or_null(writer, "low_stock_threshold", setting->has_low_stock_threshold,
                setting->low_stock_threshold);
    }
    if (level->version > 0) {
        row_json_time(writer, "updated_at", level->updated_at);
    } else {
        tally_write_name(writer, "updated_at");
        tally_write_null(writer);
    }
}

static void write_numbers(struct tally_writer *writer, const char *name,
        const int64_t numbers[static STOCK_BUCKETS], bool all)
{
    uint32_t count = 0;

    for (int i = 0; i < STOCK_BUCKETS; i++) {
        count += all || numbers[i] != 0;
    }
    tally_write_name(writer, name);
    tally_write_map(writer, count);
    for (int i = 0; i < STOCK_BUCKETS; i++) {
        if (all || numbers[i] != 0) {
            row_json_int(writer, stock_number_names[i], numbers[i]);
        }
    }
}

static void write_signals(struct tally_writer *writer, uint32_t signals)
{
    tally_write_name(writer, "signals");
    tally_write_array(writer, (uint32_t)__builtin_popcount(signals));
    for (int i = 0; stock_signal_names[i]; i++) {
        if (signals >> i & 1) {
            tally_write_string(writer, tally_slice_string(stock_signal_names[i]));
        }
    }
}

static bool ledger_json(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    struct stock_ledger_row entry;

    (void)arena;
    if (!stock_ledger_unpack(row, &entry)) {
        return false;
    }
    tally_write_map(writer, 18);
    row_json_text(writer, "type", tally_slice_string(stock_event_schemas[entry.type]->name));
    row_json_text(writer, "kind", tally_slice_string(stock_kind_names[entry.kind]));
    write_numbers(writer, "deltas", entry.deltas, false);
    write_numbers(writer, "after", entry.after, true);
    row_json_text_or_null(writer, "reason", stock_ledger_reason(&entry));
    write_signals(writer, entry.signals);
    row_json_text_or_null(writer, "note", entry.note);
    row_json_text_or_null(writer, "reference", entry.reference);
    row_json_text_or_null(writer, "actor", entry.actor);
    row_json_text_or_null(writer, "command_id", entry.command_id);
    row_json_text_or_null(writer, "reservation_id", entry.reservation_id);
    row_json_int_or_null(writer, "line", entry.line != 0, entry.line);
    row_json_text_or_null(writer, "order_id", entry.order_id);
    row_json_text_or_null(writer, "shipment_id", entry.shipment_id);
    row_json_text_or_null(writer, "return_id", entry.return_id);
    row_json_text_or_null(writer, "transfer_id", entry.transfer_id);
    row_json_time(writer, "recorded_at", entry.recorded_at);
    row_json_int(writer, "offset", entry.offset);
    return true;
}

static bool setting_json(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    struct stock_setting_row setting;

    (void)arena;
    if (!stock_setting_unpack(row, &setting)) {
        return false;
    }
    tally_write_map(writer, 4);
    row_json_text(writer, "policy", tally_slice_string(stock_policy_names[setting.policy]));
    row_json_int_or_null(writer, "backorder_limit", setting.has_backorder_limit,
            setting.backorder_limit);
    row_json_int(writer, "safety_stock", setting.safety_stock);
    row_json_int_or_null(writer, "low_stock_threshold", setting.has_low_stock_threshold,
            setting.low_stock_threshold);
    return true;
}

static bool sku_json(struct tally_slice row, struct tally_arena *arena, struct tally_writer *writer)
{
    struct stock_sku_row sku;

    (void)arena;
    if (!stock_sku_unpack(row, &sku)) {
        return false;
    }
    tally_write_map(writer, 4);
    row_json_text(writer, "state", tally_slice_string(stock_sku_states[sku.state]));
    row_json_text_or_null(writer, "product_id", sku.product_id);
    row_json_text_or_null(writer, "op_id", sku.op_id);
    row_json_int(writer, "version", sku.version);
    return true;
}

static bool hold_json(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    struct stock_hold_row hold;

    (void)arena;
    if (!stock_hold_unpack(row, &hold)) {
        return false;
    }
    tally_write_map(writer, 7);
    row_json_text_or_null(writer, "sku", hold.sku);
    row_json_text_or_null(writer, "warehouse", hold.warehouse);
    row_json_int(writer, "attempt", hold.attempt);
    row_json_int(writer, "quantity", hold.quantity);
    row_json_int(writer, "shipped", hold.shipped);
    row_json_text(writer, "state", tally_slice_string(stock_hold_states[hold.state]));
    row_json_time(writer, "updated_at", hold.updated_at);
    return true;
}

bool row_json_warehouse(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    struct stock_warehouse_row warehouse;

    (void)arena;
    if (!stock_warehouse_unpack(row, &warehouse)) {
        return false;
    }
    tally_write_map(writer, 2);
    row_json_text(writer, "name", warehouse.name);
    row_json_text(writer, "state", tally_slice_string(stock_warehouse_states[warehouse.state]));
    return true;
}

const struct row_json_store stock_row_stores[] = {{"level", level_json}, {"ledger", ledger_json},
        {"setting", setting_json}, {"sku", sku_json}, {"hold", hold_json},
        {"warehouse", row_json_warehouse}, {NULL, NULL}};
