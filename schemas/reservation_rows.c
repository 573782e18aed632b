/* schemas/reservation_rows.c - store rows of the reservation topology, packed and unpacked.
 * Form: a version byte, then bytes, zigzag varints and counted text in the order of the struct.
 * Invariants
 *  (1) A row is a function of its struct; unpack(pack(x)) = x.
 *  (2) Unpacking a damaged row gives false; it never reads beyond the row. */
#include "schemas/reservation_records.h"

#include "schemas/row_internal.h"

#define ROW_VERSION    1
#define WAREHOUSES_MAX 64

static struct row_reader open_row(struct tally_slice row)
{
    struct row_reader reader = {.left = row, .fine = true};

    if (row_u8(&reader) != ROW_VERSION) {
        reader.fine = false;
    }
    return reader;
}

void reservation_pack(const struct reservation_row *reservation, struct tally_buf *row)
{
    struct row_writer writer;

    row_begin(&writer, row,
            2 + 8 * ROW_VARINT_MAX + reservation->owner.len + reservation->order_id.len);
    row_put_u8(&writer, ROW_VERSION);
    row_put_u8(&writer, reservation->state);
    row_put_int(&writer, reservation->version);
    row_put_int(&writer, reservation->ttl_s);
    row_put_int(&writer, reservation->pending);
    row_put_int(&writer, reservation->attempt);
    row_put_int(&writer, reservation->expires_at);
    row_put_int(&writer, reservation->updated_at);
    row_put_text(&writer, reservation->owner);
    row_put_text(&writer, reservation->order_id);
    row_end(&writer);
}

bool reservation_unpack(struct tally_slice row, struct reservation_row *reservation)
{
    struct row_reader reader = open_row(row);

    *reservation = (struct reservation_row){.state = row_u8(&reader)};
    reservation->version = row_int(&reader);
    reservation->ttl_s = row_int(&reader);
    reservation->pending = row_int(&reader);
    reservation->attempt = row_int(&reader);
    reservation->expires_at = row_int(&reader);
    reservation->updated_at = row_int(&reader);
    reservation->owner = row_text(&reader);
    reservation->order_id = row_text(&reader);
    return row_done(&reader) && reservation->state < RESERVATION_STATES;
}

/* Members that most lines lack: a byte of bits says which are there. */
enum { LINE_TEXTS = 3, LINE_AVAILABLE = LINE_TEXTS };
static void list_texts(struct reservation_line *line, struct tally_slice *texts[static LINE_TEXTS])
{
    texts[0] = &line->warehouse;
    texts[1] = &line->position;
    texts[2] = &line->code;
}
static const uint8_t text_bits[LINE_TEXTS] = {
        RESERVATION_LINE_WAREHOUSE, RESERVATION_LINE_POSITION, RESERVATION_LINE_CODE};
#define LINE_ALWAYS                                                                         \
    (TALLY_BIT(RESERVATION_LINE_NUMBER) | TALLY_BIT(RESERVATION_LINE_SKU) |                 \
            TALLY_BIT(RESERVATION_LINE_QUANTITY) | TALLY_BIT(RESERVATION_LINE_WAREHOUSES) | \
            TALLY_BIT(RESERVATION_LINE_STATE) | TALLY_BIT(RESERVATION_LINE_SHIPPED))

void reservation_line_pack(const struct reservation_line *line, struct tally_buf *row)
{
    struct reservation_line copy = *line;
    const struct tally_slice *warehouses = line->warehouses.items;
    struct tally_slice *texts[LINE_TEXTS];
    size_t bound = 3 + 6 * ROW_VARINT_MAX + line->sku.len;
    uint8_t set = 0;
    struct row_writer writer;

    list_texts(&copy, texts);
    for (size_t i = 0; i < LINE_TEXTS; i++) {
        set |= (uint8_t)((texts[i]->len != 0) << i);
        bound += ROW_VARINT_MAX + texts[i]->len;
    }
    for (size_t i = 0; i < line->warehouses.count; i++) {
        bound += ROW_VARINT_MAX + warehouses[i].len;
    }
    set |= (uint8_t)((line->presence.present >> RESERVATION_LINE_AVAILABLE & 1) << LINE_AVAILABLE);
    row_begin(&writer, row, bound);
    row_put_u8(&writer, ROW_VERSION);
    row_put_u8(&writer, line->state);
    row_put_u8(&writer, set);
    row_put_int(&writer, line->line);
    row_put_int(&writer, line->quantity);
    row_put_int(&writer, line->shipped);
    row_put_text(&writer, line->sku);
    row_put_unsigned(&writer, line->warehouses.count);
    for (size_t i = 0; i < line->warehouses.count; i++) {
        row_put_text(&writer, warehouses[i]);
    }
    for (size_t i = 0; i < LINE_TEXTS; i++) {
        if (texts[i]->len) {
            row_put_text(&writer, *texts[i]);
        }
    }
    if (set >> LINE_AVAILABLE & 1) {
        row_put_int(&writer, line->available);
    }
    row_end(&writer);
}

static bool read_warehouses(struct row_reader *reader, struct tally_arena *arena,
        struct tally_array *warehouses)
{
    uint64_t count = row_unsigned(reader);
    struct tally_slice *names;

    if (!reader->fine || count > WAREHOUSES_MAX) {
        return false;
    }
    names = tally_arena_alloc(arena, (size_t)count * sizeof names[0] + 1);
    for (uint64_t i = 0; i < count; i++) {
        names[i] = row_text(reader);
    }
    *warehouses = (struct tally_array){.items = names, .count = (size_t)count};
    return reader->fine;
}

bool reservation_line_unpack(struct tally_slice row, struct tally_arena *arena,
        struct reservation_line *line)
{
    struct row_reader reader = open_row(row);
    struct tally_slice *texts[LINE_TEXTS];
    uint8_t set;

    *line = (struct reservation_line){.presence.present = LINE_ALWAYS, .state = row_u8(&reader)};
    set = row_u8(&reader);
    line->line = row_int(&reader);
    line->quantity = row_int(&reader);
    line->shipped = row_int(&reader);
    line->sku = row_text(&reader);
    if (!read_warehouses(&reader, arena, &line->warehouses)) {
        return false;
    }
    list_texts(line, texts);
    for (size_t i = 0; i < LINE_TEXTS; i++) {
        if (set >> i & 1) {
            *texts[i] = row_text(&reader);
            line->presence.present |= TALLY_BIT(text_bits[i]);
        }
    }
    if (set >> LINE_AVAILABLE & 1) {
        line->available = row_int(&reader);
        line->presence.present |= TALLY_BIT(RESERVATION_LINE_AVAILABLE);
    }
    return row_done(&reader) && line->state <= RESERVATION_REFUSED &&
           set >> (LINE_AVAILABLE + 1) == 0 && line->line >= 1 &&
           line->line <= RESERVATION_LINES_MAX && line->sku.len > 0;
}

void reservation_timer_pack(const struct reservation_timer_row *timer, struct tally_buf *row)
{
    struct row_writer writer;

    row_begin(&writer, row, 2 + ROW_VARINT_MAX);
    row_put_u8(&writer, ROW_VERSION);
    row_put_u8(&writer, timer->state);
    row_put_int(&writer, timer->attempt);
    row_end(&writer);
}

bool reservation_timer_unpack(struct tally_slice row, struct reservation_timer_row *timer)
{
    struct row_reader reader = open_row(row);

    *timer = (struct reservation_timer_row){.state = row_u8(&reader)};
    timer->attempt = row_int(&reader);
    return row_done(&reader) && timer->state <= RESERVATION_CONFIRMED;
}
