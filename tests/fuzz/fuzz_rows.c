/* tests/fuzz/fuzz_rows.c - any bytes as a store row; the first byte chooses the store. A row that
 * is read is packed and read again to the same struct, seen through a second packing. */
#include <stdlib.h>

#include "schemas/stock_records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Packs what `row` holds; false: damaged. */
typedef bool (*repack_fn)(struct tally_slice row, struct tally_buf *out);

static bool repack_level(struct tally_slice row, struct tally_buf *out)
{
    struct stock_level_row level;

    if (!stock_level_unpack(row, &level)) {
        return false;
    }
    (void)stock_level_available(&level);
    (void)stock_level_backordered(&level);
    stock_level_pack(&level, out);
    return true;
}

static bool repack_ledger(struct tally_slice row, struct tally_buf *out)
{
    struct stock_ledger_row entry;

    if (!stock_ledger_unpack(row, &entry)) {
        return false;
    }
    stock_ledger_pack(&entry, out);
    return true;
}

static bool repack_setting(struct tally_slice row, struct tally_buf *out)
{
    struct stock_setting_row setting;

    if (!stock_setting_unpack(row, &setting)) {
        return false;
    }
    stock_setting_pack(&setting, out);
    return true;
}

static bool repack_sku(struct tally_slice row, struct tally_buf *out)
{
    struct stock_sku_row sku;

    if (!stock_sku_unpack(row, &sku)) {
        return false;
    }
    stock_sku_pack(&sku, out);
    return true;
}

static bool repack_warehouse(struct tally_slice row, struct tally_buf *out)
{
    struct stock_warehouse_row warehouse;

    if (!stock_warehouse_unpack(row, &warehouse)) {
        return false;
    }
    stock_warehouse_pack(&warehouse, out);
    return true;
}

static bool repack_hold(struct tally_slice row, struct tally_buf *out)
{
    struct stock_hold_row hold;

    if (!stock_hold_unpack(row, &hold)) {
        return false;
    }
    stock_hold_pack(&hold, out);
    return true;
}

static bool repack_outcome(struct tally_slice row, struct tally_buf *out)
{
    struct tally_outcome outcome;
    struct tally_error err;

    if (tally_outcome_unpack(row, &outcome, &err) != TALLY_OK) {
        return false;
    }
    tally_outcome_pack(&outcome, out);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        const char *store;
        repack_fn repack;
    } stores[] = {{"level", repack_level}, {"ledger", repack_ledger}, {"setting", repack_setting},
            {"sku", repack_sku}, {"warehouse", repack_warehouse}, {"dedup", repack_outcome},
            {"hold", repack_hold}};
    struct tally_buf first, second;
    struct tally_slice row;
    size_t store;

    if (size == 0) {
        return 0;
    }
    store = data[0] % (sizeof stores / sizeof stores[0]);
    row = tally_slice_of(data + 1, size - 1);
    tally_buf_init(&first, 8 * TALLY_DOCUMENT_BYTES_MAX);
    tally_buf_init(&second, 8 * TALLY_DOCUMENT_BYTES_MAX);
    if (stores[store].repack(row, &first)) {
        tally_assert(stores[store].repack(tally_buf_bytes(&first), &second));
        tally_assert(tally_slice_equal(tally_buf_bytes(&first), tally_buf_bytes(&second)));
    }
    tally_buf_clear(&first);
    (void)stock_row_json(stores[store].store, row, &first);
    tally_buf_deinit(&first);
    tally_buf_deinit(&second);
    return 0;
}
