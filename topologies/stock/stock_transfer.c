/* topologies/stock/stock_transfer.c - units that go from one warehouse to another, and may be on
 * the way between them.
 * Invariants
 *  (1) TransferOut alone may be refused for what is in stock, and is answered; what follows of a
 *      transfer tells what has happened.
 *  (2) on_hand of both warehouses and what is in transit change in pairs: out/back, expect/in. */
#include "topologies/stock/stock_change_internal.h"
#include "topologies/stock/stock_topology.h"

static void finish(struct stock_change *change, enum stock_event_type type, enum stock_kind kind)
{
    struct stock_event *event = &change->event;

    event->cause.transfer_id = change->cmd->transfer_id;
    stock_mark(&event->cause.presence, STOCK_CAUSE_TRANSFER_ID);
    stock_mark(&event->presence, STOCK_EVENT_CAUSE);
    stock_change_finish(change, type, kind, "/quantity");
}

/* Everything that may be wrong is refused here, and the transfer told so: the units have not left
 * yet. */
void stock_decide_transfer_out(struct tally_context *ctx, const struct stock_command *cmd)
{
    bool required = tally_setting_is(ctx, TALLY_STOCK_REQUIRE_REGISTRATION);
    struct stock_change change;
    struct stock_sku_row sku;
    uint8_t from_state, to_state;
    bool known = stock_read_sku(ctx, cmd->sku, &sku);
    bool from_known = stock_read_warehouse(ctx, cmd->warehouse, &from_state);
    bool to_known = stock_read_warehouse(ctx, cmd->to, &to_state);
    int64_t available;

    stock_change_open(&change, ctx, cmd, cmd->warehouse);
    available = stock_level_available(&change.before);
    if (required && !known) {
        stock_send_transfer_reply(ctx, cmd, TALLY_REJECT_UNKNOWN_SKU, NULL);
        stock_reject_unknown_sku(ctx, cmd->sku);
    } else if (required && !from_known) {
        stock_send_transfer_reply(ctx, cmd, TALLY_REJECT_UNKNOWN_WAREHOUSE, NULL);
        stock_reject_warehouse(ctx, TALLY_REJECT_UNKNOWN_WAREHOUSE, "/warehouse", cmd->warehouse);
    } else if (required && !to_known) {
        stock_send_transfer_reply(ctx, cmd, TALLY_REJECT_UNKNOWN_WAREHOUSE, NULL);
        stock_reject_warehouse(ctx, TALLY_REJECT_UNKNOWN_WAREHOUSE, "/to", cmd->to);
    } else if (to_state == STOCK_WAREHOUSE_CLOSED) {
        stock_send_transfer_reply(ctx, cmd, TALLY_REJECT_WAREHOUSE_CLOSED, NULL);
        stock_reject_warehouse(ctx, TALLY_REJECT_WAREHOUSE_CLOSED, "/to", cmd->to);
    } else if (cmd->quantity > available) {
        stock_send_transfer_reply(ctx, cmd, TALLY_REJECT_INSUFFICIENT_STOCK, &available);
        stock_reject_insufficient(&change, available);
    } else { /* takes away no more than there is: passes no limit */
        stock_send_transfer_reply(ctx, cmd, TALLY_REJECT_NONE, NULL);
        stock_change_bucket(&change, STOCK_SELLABLE, -cmd->quantity);
        finish(&change, STOCK_TRANSFERRED_OUT, STOCK_KIND_TRANSFER_OUT);
    }
}

void stock_decide_transfer_back(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_change change;

    stock_change_open(&change, ctx, cmd, cmd->warehouse);
    stock_change_bucket(&change, STOCK_SELLABLE, cmd->quantity);
    finish(&change, STOCK_TRANSFERRED_BACK, STOCK_KIND_TRANSFER_BACK);
}

void stock_decide_transfer_expect(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_change change;

    stock_change_open(&change, ctx, cmd, cmd->warehouse);
    change.after.n[STOCK_INCOMING] += cmd->quantity;
    finish(&change, STOCK_TRANSFER_EXPECTED, STOCK_KIND_TRANSFER_EXPECT);
}

void stock_decide_transfer_in(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_change change;

    stock_change_open(&change, ctx, cmd, cmd->warehouse);
    change.after.n[STOCK_INCOMING] -= cmd->quantity;
    stock_change_bucket(&change, cmd->bucket, cmd->quantity);
    finish(&change, STOCK_TRANSFERRED_IN, STOCK_KIND_TRANSFER_IN);
}

void stock_decide_transfer_loss(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_change change;

    stock_change_open(&change, ctx, cmd, cmd->warehouse);
    change.after.n[STOCK_INCOMING] -= cmd->quantity;
    finish(&change, STOCK_TRANSFER_LOST, STOCK_KIND_TRANSFER_LOSS);
}
