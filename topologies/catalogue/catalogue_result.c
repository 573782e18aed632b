/* topologies/catalogue/catalogue_result.c - what is kept of a fact, and its result told again.
 * Invariants
 *  (1) The result depends on the memo alone: a repeat of the command is answered as the first time,
 *      whatever has happened to the product since.
 *  (2) A memo starts with its form: WAREHOUSE state warehouse, or PRODUCT status version slug.
 *      Facts that nobody asks for a result of leave it empty. */
#include "schemas/stock_records.h"
#include "topologies/catalogue/catalogue_internal.h"

#define WAREHOUSE_VERSION 1 /* no command changes a warehouse after its registration */

enum { MEMO_WAREHOUSE = 1, MEMO_PRODUCT = 2 };

static void remember_product(const struct catalogue_product *product, struct tally_buf *memo)
{
    tally_buf_byte(memo, MEMO_PRODUCT);
    tally_buf_byte(memo, product->status);
    tally_buf_varint(memo, (uint64_t)product->version);
    tally_buf_slice(memo, product->slug);
}

void catalogue_remember(const struct tally_event *event, struct tally_buf *memo)
{
    const struct catalogue_event *body = event->body;

    switch ((enum catalogue_event_type)event->schema->id) {
    case CATALOGUE_WAREHOUSE_REGISTERED:
        tally_buf_byte(memo, MEMO_WAREHOUSE);
        tally_buf_byte(memo, body->state);
        tally_buf_slice(memo, body->warehouse);
        break;
    case CATALOGUE_PRODUCT_CREATED:
    case CATALOGUE_PRODUCT_UPDATED:
    case CATALOGUE_VARIANT_ADDED:
    case CATALOGUE_PRODUCT_PUBLISHED:
    case CATALOGUE_PRODUCT_ARCHIVED:
    case CATALOGUE_PRICE_CHANGED:
    case CATALOGUE_PRICE_SCHEDULED:
        remember_product(&body->product, memo);
        break;
    case CATALOGUE_OPERATION_FAILED:
    case CATALOGUE_OPERATION_STARTED:
    case CATALOGUE_OPERATION_PROGRESSED:
    case CATALOGUE_SLUG_CLAIMED:
    case CATALOGUE_SLUG_RELEASED:
    case CATALOGUE_EVENT_TYPES:
        break;
    }
}

static void write_text(struct tally_writer *writer, const char *name, struct tally_slice text)
{
    tally_write_name(writer, name);
    tally_write_string(writer, text);
}

static void write_product(struct tally_writer *writer, struct tally_slice key, uint8_t status,
        struct tally_slice memo, int64_t *version)
{
    uint64_t number;

    tally_assert(tally_read_varint(&memo, &number));
    *version = (int64_t)number;
    tally_write_map(writer, 4);
    write_text(writer, "product_id", key);
    write_text(writer, "slug", memo);
    write_text(writer, "status", tally_slice_string(catalogue_status_names[status]));
    tally_write_name(writer, "version");
    tally_write_int(writer, *version);
}

static void write_warehouse(struct tally_writer *writer, uint8_t state, struct tally_slice name)
{
    tally_write_map(writer, 2);
    write_text(writer, "warehouse", name);
    write_text(writer, "state", tally_slice_string(stock_warehouse_states[state]));
}

void catalogue_result(struct tally_context *ctx, struct tally_slice key,
        const struct tally_outcome *outcome, struct tally_writer *writer, int64_t *version)
{
    struct tally_slice memo = outcome->memo;
    struct tally_slice rest;

    (void)ctx;
    if (memo.len == 0) {
        tally_write_null(writer);
        return;
    }
    rest = tally_slice_of(memo.data + 2, memo.len - 2);
    if (memo.data[0] == MEMO_PRODUCT) {
        write_product(writer, key, memo.data[1], rest, version);
    } else {
        *version = WAREHOUSE_VERSION;
        write_warehouse(writer, memo.data[1], rest);
    }
}
