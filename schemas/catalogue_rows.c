/* schemas/catalogue_rows.c - the catalogue's small rows, and what is read out of a product.
 * Form: a version byte, then counted text in the order of the struct.
 * Invariants
 *  (1) A row is a function of its struct; unpack(pack(x)) = x.
 *  (2) Unpacking a damaged row gives false; it never reads beyond the row. */
#include "schemas/catalogue_records.h"
#include "schemas/row_internal.h"

#define ROW_VERSION 1

static struct row_reader open_row(struct tally_slice row)
{
    struct row_reader reader = {.left = row, .fine = true};

    if (row_u8(&reader) != ROW_VERSION) {
        reader.fine = false;
    }
    return reader;
}

void catalogue_slug_pack(const struct catalogue_slug_row *slug, struct tally_buf *row)
{
    struct row_writer writer;

    row_begin(&writer, row, 1 + 2 * ROW_VARINT_MAX + slug->product_id.len + slug->op_id.len);
    row_put_u8(&writer, ROW_VERSION);
    row_put_text(&writer, slug->product_id);
    row_put_text(&writer, slug->op_id);
    row_end(&writer);
}

bool catalogue_slug_unpack(struct tally_slice row, struct catalogue_slug_row *slug)
{
    struct row_reader reader = open_row(row);

    slug->product_id = row_text(&reader);
    slug->op_id = row_text(&reader);
    return row_done(&reader);
}

void catalogue_timer_pack(const struct catalogue_timer_row *timer, struct tally_buf *row)
{
    struct row_writer writer;

    row_begin(&writer, row, 1 + ROW_VARINT_MAX + timer->op_id.len);
    row_put_u8(&writer, ROW_VERSION);
    row_put_text(&writer, timer->op_id);
    row_end(&writer);
}

bool catalogue_timer_unpack(struct tally_slice row, struct catalogue_timer_row *timer)
{
    struct row_reader reader = open_row(row);

    timer->op_id = row_text(&reader);
    return row_done(&reader);
}

static bool in_window(const struct catalogue_price *price, int64_t time_ms)
{
    uint64_t present = price->presence.present;

    return (!(present & TALLY_BIT(CATALOGUE_PRICE_VALID_FROM)) || time_ms >= price->valid_from) &&
           (!(present & TALLY_BIT(CATALOGUE_PRICE_VALID_UNTIL)) || time_ms < price->valid_until);
}

const struct catalogue_price *catalogue_price_at(const struct catalogue_variant *variant,
        struct tally_slice list, struct tally_slice currency, int64_t time_ms)
{
    const struct catalogue_price *prices = variant->prices.items, *base = NULL;

    for (size_t i = 0; i < variant->prices.count; i++) {
        if (!tally_slice_equal(prices[i].list, list) ||
                !tally_slice_equal(prices[i].currency, currency)) {
            continue;
        }
        if (prices[i].kind == CATALOGUE_BASE) {
            base = &prices[i];
        } else if (in_window(&prices[i], time_ms)) {
            return &prices[i]; /* windows do not overlap */
        }
    }
    return base;
}
