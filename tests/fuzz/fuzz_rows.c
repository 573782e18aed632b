/* tests/fuzz/fuzz_rows.c - any bytes as a store row; the first byte chooses the store. A row that
 * is read is packed and read again to the same struct, seen through a second packing. */
#include <stdlib.h>

#include "schemas/analytics_rows.h"
#include "schemas/catalogue_records.h"
#include "schemas/reservation_records.h"
#include "schemas/row_json.h"
#include "schemas/stock_records.h"
#include "schemas/transfer_records.h"

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

static bool repack_product(struct tally_slice row, struct tally_buf *out)
{
    struct catalogue_product product;
    struct tally_arena arena;
    struct tally_slice slug = TALLY_NONE;
    int64_t version = 0;
    bool fine;

    (void)catalogue_product_glance(row, &slug, &version); /* of anything: it stays inside */
    tally_arena_init(&arena, 65536);
    fine = catalogue_product_unpack(row, &arena, &product);
    if (fine) {
        catalogue_product_pack(&product, out);
        tally_assert(catalogue_product_glance(tally_buf_bytes(out), &slug, &version) &&
                     tally_slice_equal(slug, product.slug) && version == product.version);
    }
    tally_arena_deinit(&arena);
    return fine;
}

static bool repack_product_operation(struct tally_slice row, struct tally_buf *out)
{
    struct catalogue_operation operation;
    struct tally_arena arena;
    int64_t due_ms;
    bool fine;

    tally_arena_init(&arena, 65536);
    fine = catalogue_operation_unpack(row, &arena, &operation, &due_ms);
    if (fine) {
        catalogue_operation_pack(&operation, due_ms, out);
    }
    tally_arena_deinit(&arena);
    return fine;
}

static bool repack_slug(struct tally_slice row, struct tally_buf *out)
{
    struct catalogue_slug_row slug;

    if (!catalogue_slug_unpack(row, &slug)) {
        return false;
    }
    catalogue_slug_pack(&slug, out);
    return true;
}

static bool repack_product_timer(struct tally_slice row, struct tally_buf *out)
{
    struct catalogue_timer_row timer;

    if (!catalogue_timer_unpack(row, &timer)) {
        return false;
    }
    catalogue_timer_pack(&timer, out);
    return true;
}

static bool repack_low_stock(struct tally_slice row, struct tally_buf *out)
{
    struct low_stock_row low;

    if (!analytics_low_stock_unpack(row, &low)) {
        return false;
    }
    analytics_low_stock_pack(&low, out);
    return true;
}

static bool repack_movement(struct tally_slice row, struct tally_buf *out)
{
    struct movement_row movement;

    if (!analytics_movement_unpack(row, &movement)) {
        return false;
    }
    analytics_movement_pack(&movement, out);
    return true;
}

static bool repack_expiring(struct tally_slice row, struct tally_buf *out)
{
    struct expiring_row expiring;

    if (!analytics_expiring_unpack(row, &expiring)) {
        return false;
    }
    analytics_expiring_pack(&expiring, out);
    return true;
}

static bool repack_reservation(struct tally_slice row, struct tally_buf *out)
{
    struct reservation_row reservation;

    if (!reservation_unpack(row, &reservation)) {
        return false;
    }
    reservation_pack(&reservation, out);
    return true;
}

static bool repack_line(struct tally_slice row, struct tally_buf *out)
{
    struct reservation_line line;
    struct tally_arena arena;
    bool fine;

    tally_arena_init(&arena, 4096);
    fine = reservation_line_unpack(row, &arena, &line);
    if (fine) {
        reservation_line_pack(&line, out);
    }
    tally_arena_deinit(&arena);
    return fine;
}

static bool repack_reservation_timer(struct tally_slice row, struct tally_buf *out)
{
    struct reservation_timer_row timer;

    if (!reservation_timer_unpack(row, &timer)) {
        return false;
    }
    reservation_timer_pack(&timer, out);
    return true;
}

static bool repack_reservation_op(struct tally_slice row, struct tally_buf *out)
{
    struct reservation_op op;
    struct tally_arena arena;
    bool fine;

    tally_arena_init(&arena, 4096);
    fine = reservation_op_unpack(row, &arena, &op);
    if (fine) {
        reservation_op_pack(&op, out);
    }
    tally_arena_deinit(&arena);
    return fine;
}

static bool repack_transfer(struct tally_slice row, struct tally_buf *out)
{
    struct transfer_row transfer;

    if (!transfer_unpack(row, &transfer)) {
        return false;
    }
    transfer_pack(&transfer, out);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        const char *topology, *store;
        repack_fn repack;
    } stores[] = {{"stock", "level", repack_level}, {"stock", "ledger", repack_ledger},
            {"stock", "setting", repack_setting}, {"stock", "sku", repack_sku},
            {"stock", "warehouse", repack_warehouse}, {"stock", "dedup", repack_outcome},
            {"stock", "hold", repack_hold}, {"catalogue", "product", repack_product},
            {"catalogue", "operation", repack_product_operation},
            {"catalogue", "slug", repack_slug}, {"catalogue", "timer", repack_product_timer},
            {"low_stock", "low_stock", repack_low_stock},
            {"movements", "movement", repack_movement}, {"expiring", "expiring", repack_expiring},
            {"reservation", "reservation", repack_reservation},
            {"reservation", "line", repack_line},
            {"reservation", "timer", repack_reservation_timer},
            {"reservation", "operation", repack_reservation_op},
            {"transfer", "transfer", repack_transfer}};
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
    (void)tally_row_json(stores[store].topology, stores[store].store, row, &first);
    tally_buf_deinit(&first);
    tally_buf_deinit(&second);
    return 0;
}
