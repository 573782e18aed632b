/* topologies/stock/stock_result.c - what is kept of a fact, and its result told again.
 * Invariants
 *  (1) The result depends on the memo and on rows that never change (ledger entries): a repeat of
 *      the command is answered as the first time, whatever has happened since.
 *  (2) A memo starts with its form: ENTRY seq warehouse, or SKU version state product_id. Facts
 *      that nobody asks for a result of (internal commands) leave it empty. */
#include "topologies/stock/stock_internal.h"

enum { MEMO_ENTRY = 1, MEMO_SKU = 2 };

void stock_remember(const struct tally_event *envelope, struct tally_buf *memo)
{
    const struct stock_event *event = envelope->body;

    switch ((enum stock_event_type)envelope->schema->id) {
    case STOCK_SKU_REGISTERED:
        tally_buf_byte(memo, MEMO_SKU);
        tally_buf_varint(memo, (uint64_t)event->version);
        tally_buf_byte(memo, event->state);
        tally_buf_slice(memo, event->product_id);
        break;
    case STOCK_CONFIGURED:
    case STOCK_RECEIVED:
    case STOCK_ADJUSTED:
    case STOCK_SHIPPED:
    case STOCK_RETURNED:
        tally_buf_byte(memo, MEMO_ENTRY);
        tally_buf_varint(memo, (uint64_t)event->seq);
        tally_buf_slice(memo, event->warehouse);
        break;
    default: /* of messages */
        break;
    }
}

static void write_sku(struct tally_writer *writer, struct tally_slice sku, struct tally_slice memo)
{
    tally_write_map(writer, 3);
    tally_write_name(writer, "sku");
    tally_write_string(writer, sku);
    tally_write_name(writer, "product_id");
    if (memo.len > 1) {
        tally_write_string(writer, tally_slice_of(memo.data + 1, memo.len - 1));
    } else {
        tally_write_null(writer);
    }
    tally_write_name(writer, "state");
    tally_write_string(writer, tally_slice_string(stock_sku_states[memo.data[0]]));
}

static void write_after(struct tally_writer *writer, const struct stock_ledger_row *entry)
{
    struct stock_level_row level = {.version = 0};

    memcpy(level.n, entry->after, sizeof level.n);
    tally_write_map(writer, STOCK_NUMBERS);
    for (size_t i = 0; i < STOCK_BUCKETS; i++) {
        tally_write_name(writer, stock_number_names[i]);
        tally_write_int(writer, level.n[i]);
    }
    tally_write_name(writer, stock_number_names[STOCK_AVAILABLE]);
    tally_write_int(writer, stock_level_available(&level));
    tally_write_name(writer, stock_number_names[STOCK_BACKORDERED]);
    tally_write_int(writer, stock_level_backordered(&level));
}

static void write_entry(struct tally_context *ctx, struct tally_writer *writer,
        struct tally_slice sku, struct tally_slice memo, int64_t seq)
{
    uint8_t name[TALLY_KEY_MAX]; /* the memo may borrow from a read that the next one ends */
    struct tally_slice warehouse = tally_slice_of(name, memo.len);
    struct tally_key key = stock_ledger_key(sku, memo, seq); /* asserts that memo fits a key */
    struct stock_ledger_row entry;
    struct tally_slice row;

    memcpy(name, memo.data, memo.len);
    if (!tally_get(ctx, &key, &row)) { /* the read failed, which the context has latched: the caller
                                          drops this answer */
        tally_write_null(writer);
        return;
    }
    tally_assert(stock_ledger_unpack(row, &entry));
    tally_write_map(writer, 5);
    tally_write_name(writer, "sku");
    tally_write_string(writer, sku);
    tally_write_name(writer, "warehouse");
    tally_write_string(writer, warehouse);
    tally_write_name(writer, "seq");
    tally_write_int(writer, seq);
    tally_write_name(writer, "version");
    tally_write_int(writer, seq);
    tally_write_name(writer, "after");
    write_after(writer, &entry);
}

void stock_result(struct tally_context *ctx, struct tally_slice key,
        const struct tally_outcome *outcome, struct tally_writer *writer, int64_t *version)
{
    struct tally_slice memo = outcome->memo;
    uint64_t number;
    uint8_t form;

    if (memo.len == 0) {
        tally_write_null(writer);
        return;
    }
    form = memo.data[0];
    memo = tally_slice_of(memo.data + 1, memo.len - 1);
    tally_assert(tally_read_varint(&memo, &number));
    *version = (int64_t)number;
    if (form == MEMO_SKU) {
        write_sku(writer, key, memo);
    } else {
        write_entry(ctx, writer, key, memo, *version);
    }
}
