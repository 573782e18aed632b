/* topologies/stock/stock_sku.c - SKUs: registered by whoever keeps stock, claimed and given up by
 * products, frozen when their product is archived.
 * Invariants
 *  (1) A SKU belongs to at most one product; it changes hands only through nobody's.
 *  (2) ReleaseSku undoes only what the same operation of the same product claimed.
 *  (3) A claim is answered, whatever is decided. */
#include "topologies/stock/stock_change_internal.h"
#include "topologies/stock/stock_topology.h"

/* The SKU with its texts copied: they are needed after the next call on ctx. */
static bool read_sku(struct tally_context *ctx, struct tally_slice sku, struct stock_sku_row *row)
{
    bool known = stock_read_sku(ctx, sku, row);

    row->product_id = tally_arena_copy(tally_scratch(ctx), row->product_id);
    row->op_id = tally_arena_copy(tally_scratch(ctx), row->op_id);
    return known;
}

/* The SKU after the event: `row` with the next version. Empty texts are absent. */
static void emit_sku(struct tally_context *ctx, const struct stock_command *cmd,
        enum stock_event_type type, const struct stock_sku_row *row)
{
    struct stock_event event = {.sku = cmd->sku,
            .product_id = row->product_id,
            .op_id = row->op_id,
            .state = row->state,
            .version = row->version + 1};

    stock_mark(&event.presence, STOCK_EVENT_SKU);
    stock_mark(&event.presence, STOCK_EVENT_STATE);
    stock_mark(&event.presence, STOCK_EVENT_VERSION);
    if (row->product_id.len) {
        stock_mark(&event.presence, STOCK_EVENT_PRODUCT_ID);
    }
    if (row->op_id.len) {
        stock_mark(&event.presence, STOCK_EVENT_OP_ID);
    }
    tally_emit(ctx, type, &event);
}

static void reject_taken(struct tally_context *ctx, const struct stock_command *cmd,
        struct tally_slice owner)
{
    tally_reject(ctx, TALLY_REJECT_SKU_TAKEN, "/product_id",
            (struct tally_meta[]){TALLY_META_S("sku", cmd->sku), TALLY_META_S("product_id", owner)},
            2, "SKU %.*s belongs to product %.*s", (int)cmd->sku.len, (const char *)cmd->sku.data,
            (int)owner.len, (const char *)owner.data);
}

void stock_decide_register_sku(struct tally_context *ctx, const struct stock_command *cmd)
{
    bool names_product = stock_has_value(cmd, STOCK_HAS_PRODUCT_ID);
    struct stock_sku_row row;
    bool known = read_sku(ctx, cmd->sku, &row);

    if (!tally_version_matches(ctx, row.version)) {
        return;
    }
    if (names_product && row.product_id.len > 0 &&
            !tally_slice_equal(row.product_id, cmd->product_id)) {
        reject_taken(ctx, cmd, row.product_id);
        return;
    }
    if (known && (!names_product || row.product_id.len > 0)) {
        tally_accept(ctx); /* registered, and owned as asked */
        return;
    }
    row.product_id = names_product ? cmd->product_id : TALLY_NONE;
    row.op_id = TALLY_NONE;
    emit_sku(ctx, cmd, STOCK_SKU_REGISTERED, &row);
}

/* Free: it is the product's now. Its own: nothing to do. The answer goes out in every case. */
void stock_decide_claim_sku(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_sku_row row;

    (void)read_sku(ctx, cmd->sku, &row);
    if (row.product_id.len > 0 && !tally_slice_equal(row.product_id, cmd->product_id)) {
        stock_send_claim_reply(ctx, cmd, TALLY_REJECT_SKU_TAKEN);
        reject_taken(ctx, cmd, row.product_id);
        return;
    }
    stock_send_claim_reply(ctx, cmd, TALLY_REJECT_NONE);
    if (row.product_id.len > 0) {
        tally_accept(ctx);
        return;
    }
    row.product_id = cmd->product_id;
    row.op_id = cmd->op_id;
    emit_sku(ctx, cmd, STOCK_SKU_REGISTERED, &row);
}

void stock_decide_release_sku(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_sku_row row;

    (void)read_sku(ctx, cmd->sku, &row);
    /* Two products may be created under one command id: the SKU of the other is not undone. */
    if (!row.product_id.len || !tally_slice_equal(row.op_id, cmd->op_id) ||
            !tally_slice_equal(row.product_id, cmd->product_id)) {
        tally_accept(ctx); /* somebody else's, or nobody's */
        return;
    }
    row.product_id = row.op_id = TALLY_NONE;
    emit_sku(ctx, cmd, STOCK_SKU_RELEASED, &row);
}

void stock_decide_freeze_sku(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_sku_row row;

    if (!read_sku(ctx, cmd->sku, &row) && tally_setting_is(ctx, TALLY_STOCK_REQUIRE_REGISTRATION)) {
        stock_reject_unknown_sku(ctx, cmd->sku);
        return;
    }
    if (row.state == STOCK_SKU_ARCHIVED || !tally_slice_equal(row.product_id, cmd->product_id)) {
        tally_accept(ctx);
        return;
    }
    row.state = STOCK_SKU_ARCHIVED;
    emit_sku(ctx, cmd, STOCK_SKU_FROZEN, &row);
}
