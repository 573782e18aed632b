/* schemas/analytics_rows.c - see analytics_rows.h. A row begins with its version. */
#include "schemas/analytics_rows.h"

#include "schemas/row_internal.h"
#include "schemas/row_json_internal.h"

enum { ROW_VERSION = 1 };

static struct row_reader open_row(struct tally_slice row)
{
    struct row_reader reader = {.left = row, .fine = true};

    reader.fine = row_u8(&reader) == ROW_VERSION;
    return reader;
}

void analytics_low_stock_pack(const struct low_stock_row *low, struct tally_buf *row)
{
    struct row_writer writer;

    row_begin(&writer, row, 2 + 4 * ROW_VARINT_MAX);
    row_put_u8(&writer, ROW_VERSION);
    row_put_u8(&writer, low->has_threshold);
    row_put_int(&writer, low->available);
    row_put_int(&writer, low->threshold);
    row_put_int(&writer, low->version);
    row_put_int(&writer, low->updated_at);
    row_end(&writer);
}

bool analytics_low_stock_unpack(struct tally_slice row, struct low_stock_row *low)
{
    struct row_reader reader = open_row(row);
    uint8_t has_threshold = row_u8(&reader);

    low->has_threshold = has_threshold == 1;
    low->available = row_int(&reader);
    low->threshold = row_int(&reader);
    low->version = row_int(&reader);
    low->updated_at = row_int(&reader);
    return has_threshold <= 1 && row_done(&reader);
}

void analytics_movement_pack(const struct movement_row *movement, struct tally_buf *row)
{
    struct row_writer writer;

    row_begin(&writer, row, 1 + 2 * ROW_VARINT_MAX);
    row_put_u8(&writer, ROW_VERSION);
    row_put_int(&writer, movement->count);
    row_put_int(&writer, movement->quantity);
    row_end(&writer);
}

bool analytics_movement_unpack(struct tally_slice row, struct movement_row *movement)
{
    struct row_reader reader = open_row(row);

    movement->count = row_int(&reader);
    movement->quantity = row_int(&reader);
    return row_done(&reader);
}

void analytics_expiring_pack(const struct expiring_row *expiring, struct tally_buf *row)
{
    struct row_writer writer;

    row_begin(&writer, row, 1 + 4 * ROW_VARINT_MAX + expiring->owner.len);
    row_put_u8(&writer, ROW_VERSION);
    row_put_int(&writer, expiring->version);
    row_put_int(&writer, expiring->lines);
    row_put_int(&writer, expiring->units);
    row_put_text(&writer, expiring->owner);
    row_end(&writer);
}

bool analytics_expiring_unpack(struct tally_slice row, struct expiring_row *expiring)
{
    struct row_reader reader = open_row(row);

    expiring->version = row_int(&reader);
    expiring->lines = row_int(&reader);
    expiring->units = row_int(&reader);
    expiring->owner = row_text(&reader);
    return row_done(&reader);
}

/* --- JSON ------------------------------------------------------------------------------------- */

static bool low_stock_json(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    struct low_stock_row low;

    (void)arena;
    if (!analytics_low_stock_unpack(row, &low)) {
        return false;
    }
    tally_write_map(writer, 4);
    row_json_int(writer, "available", low.available);
    row_json_int_or_null(writer, "threshold", low.has_threshold, low.threshold);
    row_json_int(writer, "version", low.version);
    row_json_time(writer, "updated_at", low.updated_at);
    return true;
}

static bool movement_json(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    struct movement_row movement;

    (void)arena;
    if (!analytics_movement_unpack(row, &movement)) {
        return false;
    }
    tally_write_map(writer, 2);
    row_json_int(writer, "count", movement.count);
    row_json_int(writer, "quantity", movement.quantity);
    return true;
}

static bool expiring_json(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    struct expiring_row expiring;

    (void)arena;
    if (!analytics_expiring_unpack(row, &expiring)) {
        return false;
    }
    tally_write_map(writer, 4);
    row_json_int(writer, "version", expiring.version);
    row_json_int(writer, "lines", expiring.lines);
    row_json_int(writer, "units", expiring.units);
    row_json_text_or_null(writer, "owner", expiring.owner);
    return true;
}

const struct row_json_store analytics_row_stores[] = {{"expiring", expiring_json},
        {"low_stock", low_stock_json}, {"movement", movement_json}, {NULL, NULL}};
