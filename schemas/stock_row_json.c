/* schemas/stock_row_json.c - rows of the stock stores as JSON, for dumps and operators. Members
 * come in a fixed order, so that two dumps of the same state are the same bytes. */
#include <stdio.h>

#include "schemas/row_internal.h"
#include "schemas/stock_records.h"

static void write_text(struct tally_writer *writer, const char *name, struct tally_slice text)
{
    tally_write_name(writer, name);
    tally_write_string(writer, text);
}

static void write_int(struct tally_writer *writer, const char *name, int64_t value)
{
    tally_write_name(writer, name);
    tally_write_int(writer, value);
}

static void write_int_or_null(struct tally_writer *writer, const char *name, bool present,
        int64_t value)
{
    tally_write_name(writer, name);
    if (present) {
        tally_write_int(writer, value);
    } else {
        tally_write_null(writer);
    }
}

static void write_text_or_null(struct tally_writer *writer, const char *name,
        struct tally_slice text)
{
    tally_write_name(writer, name);
    if (text.len) {
        tally_write_string(writer, text);
    } else {
        tally_write_null(writer);
    }
}

static void write_time(struct tally_writer *writer, const char *name, int64_t time_ms)
{
    tally_write_name(writer, name);
    tally_write_time(writer, time_ms);
}

static bool level_json(struct tally_slice row, struct tally_writer *writer)
{
    struct stock_level_row level;

    if (!stock_level_unpack(row, &level)) {
        return false;
    }
    tally_write_map(writer, STOCK_NUMBERS + 2);
    for (int i = 0; i < STOCK_BUCKETS; i++) {
        write_int(writer, stock_number_names[i], level.n[i]);
    }
    write_int(writer, stock_number_names[STOCK_AVAILABLE], stock_level_available(&level));
    write_int(writer, stock_number_names[STOCK_BACKORDERED], stock_level_backordered(&level));
    write_int(writer, "version", level.version);
    write_time(writer, "updated_at", level.updated_at);
    return true;
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
            write_int(writer, stock_number_names[i], numbers[i]);
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

static bool ledger_json(struct tally_slice row, struct tally_writer *writer)
{
    struct stock_ledger_row entry;

    if (!stock_ledger_unpack(row, &entry)) {
        return false;
    }
    tally_write_map(writer, 18);
    write_text(writer, "type", tally_slice_string(stock_event_schemas[entry.type]->name));
    write_text(writer, "kind", tally_slice_string(stock_kind_names[entry.kind]));
    write_numbers(writer, "deltas", entry.deltas, false);
    write_numbers(writer, "after", entry.after, true);
    write_text_or_null(writer, "reason", stock_ledger_reason(&entry));
    write_signals(writer, entry.signals);
    write_text_or_null(writer, "note", entry.note);
    write_text_or_null(writer, "reference", entry.reference);
    write_text_or_null(writer, "actor", entry.actor);
    write_text_or_null(writer, "command_id", entry.command_id);
    write_text_or_null(writer, "reservation_id", entry.reservation_id);
    write_int_or_null(writer, "line", entry.line != 0, entry.line);
    write_text_or_null(writer, "order_id", entry.order_id);
    write_text_or_null(writer, "shipment_id", entry.shipment_id);
    write_text_or_null(writer, "return_id", entry.return_id);
    write_text_or_null(writer, "transfer_id", entry.transfer_id);
    write_time(writer, "recorded_at", entry.recorded_at);
    write_int(writer, "offset", entry.offset);
    return true;
}

static bool setting_json(struct tally_slice row, struct tally_writer *writer)
{
    struct stock_setting_row setting;

    if (!stock_setting_unpack(row, &setting)) {
        return false;
    }
    tally_write_map(writer, 4);
    write_text(writer, "policy", tally_slice_string(stock_policy_names[setting.policy]));
    write_int_or_null(writer, "backorder_limit", setting.has_backorder_limit,
            setting.backorder_limit);
    write_int(writer, "safety_stock", setting.safety_stock);
    write_int_or_null(writer, "low_stock_threshold", setting.has_low_stock_threshold,
            setting.low_stock_threshold);
    return true;
}

static bool sku_json(struct tally_slice row, struct tally_writer *writer)
{
    struct stock_sku_row sku;

    if (!stock_sku_unpack(row, &sku)) {
        return false;
    }
    tally_write_map(writer, 4);
    write_text(writer, "state", tally_slice_string(stock_sku_states[sku.state]));
    write_text_or_null(writer, "product_id", sku.product_id);
    write_text_or_null(writer, "op_id", sku.op_id);
    write_int(writer, "version", sku.version);
    return true;
}

static bool hold_json(struct tally_slice row, struct tally_writer *writer)
{
    struct stock_hold_row hold;

    if (!stock_hold_unpack(row, &hold)) {
        return false;
    }
    tally_write_map(writer, 7);
    write_text_or_null(writer, "sku", hold.sku);
    write_text_or_null(writer, "warehouse", hold.warehouse);
    write_int(writer, "attempt", hold.attempt);
    write_int(writer, "quantity", hold.quantity);
    write_int(writer, "shipped", hold.shipped);
    write_text(writer, "state", tally_slice_string(stock_hold_states[hold.state]));
    write_time(writer, "updated_at", hold.updated_at);
    return true;
}

static bool warehouse_json(struct tally_slice row, struct tally_writer *writer)
{
    struct stock_warehouse_row warehouse;

    if (!stock_warehouse_unpack(row, &warehouse)) {
        return false;
    }
    tally_write_map(writer, 2);
    write_text(writer, "name", warehouse.name);
    write_text(writer, "state", tally_slice_string(stock_warehouse_states[warehouse.state]));
    return true;
}

bool stock_row_json(const char *store, struct tally_slice row, struct tally_buf *out)
{
    static const struct {
        const char *store;
        bool (*write)(struct tally_slice row, struct tally_writer *writer);
    } stores[] = {{"level", level_json}, {"ledger", ledger_json}, {"setting", setting_json},
            {"sku", sku_json}, {"hold", hold_json}, {"warehouse", warehouse_json}};
    struct tally_writer writer;

    tally_write_begin(&writer, out, TALLY_FORMAT_JSON);
    for (size_t i = 0; i < sizeof stores / sizeof stores[0]; i++) {
        if (strcmp(stores[i].store, store) == 0) {
            return stores[i].write(row, &writer);
        }
    }
    return false;
}
