/* schemas/stock_rows.c - store rows of the stock topology, packed and unpacked.
 * Form: a version byte, then bytes, zigzag varints and counted text in the order of the struct. A
 * set of numbers is one byte of bits, then the numbers that are not 0. Invariants (1) A row is a
 * function of its struct; unpack(pack(x)) = x. (2) Unpacking a damaged row gives false; it never
 * reads beyond the row. */
#include "schemas/stock_records.h"

#include "schemas/row_internal.h"

#define ROW_VERSION  1
#define NUMBERS_MAX  (1 + STOCK_BUCKETS * ROW_VARINT_MAX)
/* Far beyond what decide lets a level hold, and small enough that sums of these do not overflow. */
#define NUMBER_LIMIT INT64_C(100000000000000000)

int64_t stock_level_available(const struct stock_level_row *level)
{
    return level->n[STOCK_ON_HAND] - level->n[STOCK_DAMAGED_BUCKET] -
           level->n[STOCK_QUALITY_CONTROL_BUCKET] - level->n[STOCK_HELD] -
           level->n[STOCK_RESERVED] - level->n[STOCK_COMMITTED] - level->n[STOCK_SAFETY_STOCK];
}

int64_t stock_level_backordered(const struct stock_level_row *level)
{
    int64_t sellable = level->n[STOCK_ON_HAND] - level->n[STOCK_DAMAGED_BUCKET] -
                       level->n[STOCK_QUALITY_CONTROL_BUCKET];
    int64_t promised = level->n[STOCK_HELD] + level->n[STOCK_RESERVED] + level->n[STOCK_COMMITTED];

    return promised > sellable ? promised - sellable : 0;
}

static void put_numbers(struct row_writer *writer, const int64_t numbers[static STOCK_BUCKETS])
{
    uint8_t set = 0;

    for (int i = 0; i < STOCK_BUCKETS; i++) {
        set |= (uint8_t)((numbers[i] != 0) << i);
    }
    row_put_u8(writer, set);
    for (unsigned left = set; left; left &= left - 1) { /* few are not 0 */
        row_put_int(writer, numbers[__builtin_ctz(left)]);
    }
}

static void read_numbers(struct row_reader *reader, int64_t numbers[static STOCK_BUCKETS])
{
    uint8_t set = row_u8(reader);

    for (int i = 0; i < STOCK_BUCKETS; i++) {
        numbers[i] = set >> i & 1 ? row_int(reader) : 0;
    }
}

/* Every row begins with its version. */
static struct row_reader open_row(struct tally_slice row)
{
    struct row_reader reader = {.left = row, .fine = true};

    if (row_u8(&reader) != ROW_VERSION) {
        reader.fine = false;
    }
    return reader;
}

void stock_level_pack(const struct stock_level_row *level, struct tally_buf *row)
{
    struct row_writer writer;

    row_begin(&writer, row, 1 + NUMBERS_MAX + 2 * ROW_VARINT_MAX);
    row_put_u8(&writer, ROW_VERSION);
    put_numbers(&writer, level->n);
    row_put_int(&writer, level->version);
    row_put_int(&writer, level->updated_at);
    row_end(&writer);
}

bool stock_level_unpack(struct tally_slice row, struct stock_level_row *level)
{
    struct row_reader reader = open_row(row);

    read_numbers(&reader, level->n);
    level->version = row_int(&reader);
    level->updated_at = row_int(&reader);
    for (int i = 0; i < STOCK_BUCKETS; i++) {
        if (level->n[i] > NUMBER_LIMIT || level->n[i] < -NUMBER_LIMIT) {
            return false;
        }
    }
    return row_done(&reader);
}

/* --- ledger -------------------------------------------------------------------------------- */

#define LAST_REASON(kind) \
    ((kind) == STOCK_KIND_RELEASE ? (int)STOCK_RELEASE_EXPIRED : (int)STOCK_REASON_OTHER)

/* The texts of an entry, most of which are absent: one varint of bits says which are there. */
enum { LEDGER_TEXTS = 9 };
static const size_t ledger_texts[LEDGER_TEXTS] = {
        offsetof(struct stock_ledger_row, command_id),
        offsetof(struct stock_ledger_row, note),
        offsetof(struct stock_ledger_row, reference),
        offsetof(struct stock_ledger_row, actor),
        offsetof(struct stock_ledger_row, reservation_id),
        offsetof(struct stock_ledger_row, order_id),
        offsetof(struct stock_ledger_row, shipment_id),
        offsetof(struct stock_ledger_row, return_id),
        offsetof(struct stock_ledger_row, transfer_id),
};

void stock_ledger_pack(const struct stock_ledger_row *entry, struct tally_buf *row)
{
    const struct tally_slice *texts[LEDGER_TEXTS];
    size_t bound = 4 + 2 * NUMBERS_MAX + 5 * ROW_VARINT_MAX;
    uint64_t set = 0;
    struct row_writer writer;

    for (int i = 0; i < LEDGER_TEXTS; i++) {
        texts[i] = (const void *)((const uint8_t *)entry + ledger_texts[i]);
        set |= (uint64_t)(texts[i]->len != 0) << i;
        bound += ROW_VARINT_MAX + texts[i]->len;
    }
    row_begin(&writer, row, bound);
    row_put_u8(&writer, ROW_VERSION);
    row_put_u8(&writer, entry->type);
    row_put_u8(&writer, entry->kind);
    row_put_u8(&writer, entry->has_reason ? (uint8_t)(entry->reason + 1) : 0);
    put_numbers(&writer, entry->deltas);
    put_numbers(&writer, entry->after);
    row_put_unsigned(&writer, entry->signals);
    row_put_int(&writer, entry->line);
    row_put_int(&writer, entry->recorded_at);
    row_put_int(&writer, entry->offset);
    row_put_unsigned(&writer, set);
    for (unsigned left = (unsigned)set; left; left &= left - 1) {
        row_put_text(&writer, *texts[__builtin_ctz(left)]);
    }
    row_end(&writer);
}

bool stock_ledger_unpack(struct tally_slice row, struct stock_ledger_row *entry)
{
    struct row_reader reader = open_row(row);
    uint64_t set, signals;
    uint8_t reason;

    *entry = (struct stock_ledger_row){0};
    entry->type = row_u8(&reader);
    entry->kind = row_u8(&reader);
    reason = row_u8(&reader);
    entry->has_reason = reason > 0;
    entry->reason = reason ? (uint8_t)(reason - 1) : 0;
    read_numbers(&reader, entry->deltas);
    read_numbers(&reader, entry->after);
    signals = row_unsigned(&reader);
    entry->signals = (uint32_t)signals;
    entry->line = row_int(&reader);
    entry->recorded_at = row_int(&reader);
    entry->offset = row_int(&reader);
    set = row_unsigned(&reader);
    for (int i = 0; i < LEDGER_TEXTS; i++) {
        if (set >> i & 1) {
            *(struct tally_slice *)(void *)((uint8_t *)entry + ledger_texts[i]) = row_text(&reader);
        }
    }
    return row_done(&reader) && entry->type < STOCK_EVENT_TYPES && entry->kind < STOCK_KINDS &&
           entry->reason <= LAST_REASON(entry->kind) &&
           signals >> (STOCK_LOW_STOCK_CLEARED + 1) == 0 && set >> LEDGER_TEXTS == 0;
}

struct tally_slice stock_ledger_reason(const struct stock_ledger_row *entry)
{
    const char *const *names =
            entry->kind == STOCK_KIND_RELEASE ? stock_release_reason_names : stock_reason_names;

    return entry->has_reason ? tally_slice_string(names[entry->reason]) : TALLY_NONE;
}

/* --- the others ---------------------------------------------------------------------------- */

void stock_setting_pack(const struct stock_setting_row *setting, struct tally_buf *row)
{
    struct row_writer writer;

    row_begin(&writer, row, 3 + 3 * ROW_VARINT_MAX);
    row_put_u8(&writer, ROW_VERSION);
    row_put_u8(&writer, setting->policy);
    row_put_u8(&writer,
            (uint8_t)(setting->has_backorder_limit | setting->has_low_stock_threshold << 1));
    row_put_int(&writer, setting->has_backorder_limit ? setting->backorder_limit : 0);
    row_put_int(&writer, setting->safety_stock);
    row_put_int(&writer, setting->has_low_stock_threshold ? setting->low_stock_threshold : 0);
    row_end(&writer);
}

bool stock_setting_unpack(struct tally_slice row, struct stock_setting_row *setting)
{
    struct row_reader reader = open_row(row);
    uint8_t set;

    *setting = (struct stock_setting_row){0};
    setting->policy = row_u8(&reader);
    set = row_u8(&reader);
    setting->has_backorder_limit = set & 1;
    setting->has_low_stock_threshold = set >> 1 & 1;
    setting->backorder_limit = row_int(&reader);
    setting->safety_stock = row_int(&reader);
    setting->low_stock_threshold = row_int(&reader);
    return row_done(&reader) && setting->policy <= STOCK_BACKORDER && set <= 3;
}

void stock_sku_pack(const struct stock_sku_row *sku, struct tally_buf *row)
{
    struct row_writer writer;

    row_begin(&writer, row, 2 + 3 * ROW_VARINT_MAX + sku->product_id.len + sku->op_id.len);
    row_put_u8(&writer, ROW_VERSION);
    row_put_u8(&writer, sku->state);
    row_put_int(&writer, sku->version);
    row_put_text(&writer, sku->product_id);
    row_put_text(&writer, sku->op_id);
    row_end(&writer);
}

bool stock_sku_unpack(struct tally_slice row, struct stock_sku_row *sku)
{
    struct row_reader reader = open_row(row);

    *sku = (struct stock_sku_row){0};
    sku->state = row_u8(&reader);
    sku->version = row_int(&reader);
    sku->product_id = row_text(&reader);
    sku->op_id = row_text(&reader);
    return row_done(&reader) && sku->state <= STOCK_SKU_ARCHIVED;
}

void stock_hold_pack(const struct stock_hold_row *hold, struct tally_buf *row)
{
    struct row_writer writer;

    row_begin(&writer, row, 2 + 6 * ROW_VARINT_MAX + hold->sku.len + hold->warehouse.len);
    row_put_u8(&writer, ROW_VERSION);
    row_put_u8(&writer, hold->state);
    row_put_int(&writer, hold->attempt);
    row_put_int(&writer, hold->quantity);
    row_put_int(&writer, hold->shipped);
    row_put_int(&writer, hold->updated_at);
    row_put_text(&writer, hold->sku);
    row_put_text(&writer, hold->warehouse);
    row_end(&writer);
}

bool stock_hold_unpack(struct tally_slice row, struct stock_hold_row *hold)
{
    struct row_reader reader = open_row(row);

    *hold = (struct stock_hold_row){0};
    hold->state = row_u8(&reader);
    hold->attempt = row_int(&reader);
    hold->quantity = row_int(&reader);
    hold->shipped = row_int(&reader);
    hold->updated_at = row_int(&reader);
    hold->sku = row_text(&reader);
    hold->warehouse = row_text(&reader);
    return row_done(&reader) && hold->state <= STOCK_HOLD_RELEASED &&
           hold->quantity <= NUMBER_LIMIT && hold->shipped >= 0 && hold->shipped <= hold->quantity;
}

void stock_warehouse_pack(const struct stock_warehouse_row *warehouse, struct tally_buf *row)
{
    struct row_writer writer;

    row_begin(&writer, row, 2 + ROW_VARINT_MAX + warehouse->name.len);
    row_put_u8(&writer, ROW_VERSION);
    row_put_u8(&writer, warehouse->state);
    row_put_text(&writer, warehouse->name);
    row_end(&writer);
}

bool stock_warehouse_unpack(struct tally_slice row, struct stock_warehouse_row *warehouse)
{
    struct row_reader reader = open_row(row);

    *warehouse = (struct stock_warehouse_row){0};
    warehouse->state = row_u8(&reader);
    warehouse->name = row_text(&reader);
    return row_done(&reader) && warehouse->state <= STOCK_WAREHOUSE_CLOSED;
}
