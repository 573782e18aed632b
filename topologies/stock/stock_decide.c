/* topologies/stock/stock_decide.c - what each command means: the quantities of a level here, SKUs,
 * holds and transfers in the files beside. Reads state and emits; writes nothing.
 * Checks follow one order, first failure decides: existence, expected_version, then the codes of
 * the command in the order of its rule, last QUANTITY_OVERFLOW of the result. */
#include <inttypes.h>

#include "topologies/stock/stock_change_internal.h"

/* --- checks ----------------------------------------------------------------------------------- */

/* The value that the sender based the change on is still the one it is. */
static bool change_from_holds(const struct stock_change *change, int64_t actual)
{
    int64_t from = change->cmd->change_from;

    if (!stock_has_value(change->cmd, STOCK_HAS_CHANGE_FROM) || from == actual) {
        return true;
    }
    tally_reject(change->ctx, TALLY_REJECT_CHANGE_FROM_STALE, "/change_from",
            (struct tally_meta[]){TALLY_META_I("actual", actual),
                    TALLY_META_I("version", change->before.version)},
            2, "change from %" PRId64 ", actual %" PRId64, from, actual);
    return false;
}

/* --- commands --------------------------------------------------------------------------------- */

static void set_setting(struct stock_change *change)
{
    const struct stock_setting_row *row = &change->setting;
    struct stock_setting *setting = &change->event.setting;

    setting->policy = row->policy;
    setting->safety_stock = row->safety_stock;
    setting->backorder_limit = row->backorder_limit;
    setting->low_stock_threshold = row->low_stock_threshold;
    for (unsigned i = STOCK_SETTING_POLICY; i <= STOCK_SETTING_LOW_STOCK_THRESHOLD; i++) {
        stock_mark(&setting->presence, i);
    }
    if (!row->has_backorder_limit) {
        setting->presence.nulls |= TALLY_BIT(STOCK_SETTING_BACKORDER_LIMIT);
    }
    if (!row->has_low_stock_threshold) {
        setting->presence.nulls |= TALLY_BIT(STOCK_SETTING_LOW_STOCK_THRESHOLD);
    }
    stock_mark(&change->event.presence, STOCK_EVENT_SETTING);
}

/* Absent keeps, null is the default. */
static void decide_configure(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_change change;
    struct stock_setting_row *row = &change.setting;

    if (!stock_change_begin(&change, ctx, cmd)) {
        return;
    }
    if (stock_has(cmd, STOCK_HAS_POLICY)) {
        row->policy = stock_has_value(cmd, STOCK_HAS_POLICY) ? cmd->policy : STOCK_DENY;
    }
    if (stock_has(cmd, STOCK_HAS_BACKORDER_LIMIT)) {
        row->has_backorder_limit = stock_has_value(cmd, STOCK_HAS_BACKORDER_LIMIT);
        row->backorder_limit = row->has_backorder_limit ? cmd->backorder_limit : 0;
    }
    if (stock_has(cmd, STOCK_HAS_SAFETY_STOCK)) {
        row->safety_stock = stock_has_value(cmd, STOCK_HAS_SAFETY_STOCK) ? cmd->safety_stock : 0;
    }
    if (stock_has(cmd, STOCK_HAS_LOW_STOCK_THRESHOLD)) {
        row->has_low_stock_threshold = stock_has_value(cmd, STOCK_HAS_LOW_STOCK_THRESHOLD);
        row->low_stock_threshold = row->has_low_stock_threshold ? cmd->low_stock_threshold : 0;
    }
    change.after.n[STOCK_SAFETY_STOCK] = row->safety_stock;
    set_setting(&change);
    stock_change_finish(&change, STOCK_CONFIGURED, STOCK_KIND_CONFIGURE, "/safety_stock");
}

static void decide_receive(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_change change;

    if (!stock_change_begin(&change, ctx, cmd)) {
        return;
    }
    if (change.warehouse_state == STOCK_WAREHOUSE_CLOSED) {
        stock_reject_warehouse(ctx, TALLY_REJECT_WAREHOUSE_CLOSED, "/warehouse", cmd->warehouse);
        return;
    }
    stock_change_bucket(&change, cmd->bucket, cmd->quantity);
    stock_change_finish(&change, STOCK_RECEIVED, STOCK_KIND_RECEIVE, "/quantity");
}

static bool reason_is_given(struct tally_context *ctx, const struct stock_command *cmd)
{
    if (!stock_has_value(cmd, STOCK_HAS_REASON)) {
        tally_reject(ctx, TALLY_REJECT_REASON_REQUIRED, "/reason", NULL, 0,
                "a change of stock needs a reason");
        return false;
    }
    if (cmd->reason == STOCK_REASON_OTHER && cmd->head.note.len == 0) {
        tally_reject(ctx, TALLY_REJECT_REASON_REQUIRED, "/note", NULL, 0,
                "reason OTHER needs a note");
        return false;
    }
    return true;
}

static void decide_adjust(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_change change;

    if (!stock_change_begin(&change, ctx, cmd) || !reason_is_given(ctx, cmd) ||
            !change_from_holds(&change, stock_bucket_of(&change.before, cmd->bucket)) ||
            !stock_bucket_stays_positive(&change, cmd->bucket, cmd->delta, "/delta")) {
        return;
    }
    stock_change_bucket(&change, cmd->bucket, cmd->delta);
    stock_change_finish(&change, STOCK_ADJUSTED, STOCK_KIND_ADJUST, "/delta");
}

static int64_t value_named(const struct stock_level_row *level, uint8_t name)
{
    return name == STOCK_SET_AVAILABLE ? stock_level_available(level) : level->n[STOCK_ON_HAND];
}

/* The numbers that the level had at version as_of_version; 0 is before its first entry. */
static bool level_as_of(const struct stock_change *change, struct stock_level_row *level)
{
    const struct stock_command *cmd = change->cmd;
    struct stock_ledger_row entry;
    struct tally_slice row;
    struct tally_key key;

    *level = (struct stock_level_row){.version = cmd->as_of_version};
    if (cmd->as_of_version == 0) {
        return true;
    }
    if (cmd->as_of_version == change->before.version) {
        memcpy(level->n, change->before.n, sizeof level->n); /* known without a ledger too */
        return true;
    }
    key = stock_ledger_key(cmd->sku, cmd->warehouse, cmd->as_of_version);
    if (cmd->as_of_version < change->before.version && tally_get(change->ctx, &key, &row)) {
        tally_assert(stock_ledger_unpack(row, &entry));
        memcpy(level->n, entry.after, sizeof level->n);
        return true;
    }
    tally_reject(change->ctx, TALLY_REJECT_AS_OF_TOO_OLD, "/as_of_version",
            (struct tally_meta[]){TALLY_META_I("as_of_version", cmd->as_of_version),
                    TALLY_META_I("version", change->before.version)},
            2, "version %" PRId64 " is not in the ledger, which ends at %" PRId64,
            cmd->as_of_version, change->before.version);
    return false;
}

/* Somebody counted `quantity` when the value was change_from, or when the level had as_of_version:
 * what has happened since a named version is kept. */
static void decide_set(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_change change;
    struct stock_level_row counted;
    int64_t delta;

    if (!stock_change_begin(&change, ctx, cmd) ||
            !change_from_holds(&change, value_named(&change.before, cmd->set_name))) {
        return;
    }
    counted = change.before;
    if (stock_has_value(cmd, STOCK_HAS_AS_OF_VERSION) && !level_as_of(&change, &counted)) {
        return;
    }
    delta = cmd->quantity - value_named(&counted, cmd->set_name);
    if (delta == 0) {
        tally_accept(ctx);
        return;
    }
    if (stock_bucket_stays_positive(&change, STOCK_SELLABLE, delta, "/quantity")) {
        stock_change_bucket(&change, STOCK_SELLABLE, delta);
        stock_change_finish(&change, STOCK_ADJUSTED, STOCK_KIND_SET, "/quantity");
    }
}

static void decide_return(struct tally_context *ctx, const struct stock_command *cmd)
{
    static const uint8_t bucket_of[] = {[STOCK_RESELLABLE] = STOCK_SELLABLE,
            [STOCK_CONDITION_DAMAGED] = STOCK_DAMAGED,
            [STOCK_INSPECT] = STOCK_QUALITY_CONTROL};
    struct stock_change change;

    if (!stock_change_begin(&change, ctx, cmd)) {
        return;
    }
    stock_change_bucket(&change, bucket_of[cmd->condition], cmd->quantity);
    change.event.cause.return_id = cmd->return_id;
    stock_mark(&change.event.cause.presence, STOCK_CAUSE_RETURN_ID);
    stock_mark(&change.event.presence, STOCK_EVENT_CAUSE);
    stock_change_finish(&change, STOCK_RETURNED, STOCK_KIND_RETURN, "/quantity");
}

/* Without force, what is available bounds a shipment; that is never more than what is sellable. */
static void decide_ship(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_change change;
    int64_t available;

    if (stock_has_value(cmd, STOCK_HAS_RESERVATION_ID)) {
        stock_decide_ship_hold(ctx, cmd);
        return;
    }
    if (!stock_change_begin(&change, ctx, cmd)) {
        return;
    }
    available = stock_level_available(&change.before);
    if (!cmd->force && cmd->quantity > available) {
        stock_reject_insufficient(&change, available);
        return;
    }
    stock_change_bucket(&change, STOCK_SELLABLE, -cmd->quantity);
    change.event.cause.shipment_id = cmd->shipment_id;
    stock_mark(&change.event.cause.presence, STOCK_CAUSE_SHIPMENT_ID);
    stock_mark(&change.event.presence, STOCK_EVENT_CAUSE);
    stock_change_finish(&change, STOCK_SHIPPED, STOCK_KIND_SHIP, "/quantity");
}

/* From the catalogue, which owns warehouses: this partition's copy. Its id makes it once. */
static void decide_apply_warehouse(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_event event = {
            .warehouse = cmd->warehouse, .name = cmd->name, .state = cmd->state};

    stock_mark(&event.presence, STOCK_EVENT_WAREHOUSE);
    stock_mark(&event.presence, STOCK_EVENT_NAME);
    stock_mark(&event.presence, STOCK_EVENT_STATE);
    tally_emit(ctx, STOCK_WAREHOUSE_APPLIED, &event);
}

typedef void (*decide_fn)(struct tally_context *ctx, const struct stock_command *cmd);

static const decide_fn decide_of[STOCK_COMMAND_TYPES] = {
        [STOCK_REGISTER_SKU] = stock_decide_register_sku,
        [STOCK_CONFIGURE] = decide_configure,
        [STOCK_RECEIVE] = decide_receive,
        [STOCK_ADJUST] = decide_adjust,
        [STOCK_SET] = decide_set,
        [STOCK_SHIP] = decide_ship,
        [STOCK_APPLY_WAREHOUSE] = decide_apply_warehouse,
        [STOCK_RETURN] = decide_return,
        [STOCK_CLAIM_SKU] = stock_decide_claim_sku,
        [STOCK_RELEASE_SKU] = stock_decide_release_sku,
        [STOCK_FREEZE_SKU] = stock_decide_freeze_sku,
        [STOCK_HOLD] = stock_decide_hold,
        [STOCK_CONFIRM_HOLD] = stock_decide_confirm_hold,
        [STOCK_COMMIT_HOLD] = stock_decide_commit_hold,
        [STOCK_RELEASE_HOLD] = stock_decide_release_hold,
        [STOCK_TRANSFER_OUT] = stock_decide_transfer_out,
        [STOCK_TRANSFER_BACK] = stock_decide_transfer_back,
        [STOCK_TRANSFER_EXPECT] = stock_decide_transfer_expect,
        [STOCK_TRANSFER_IN] = stock_decide_transfer_in,
        [STOCK_TRANSFER_LOSS] = stock_decide_transfer_loss,
};

void stock_decide(struct tally_context *ctx, const struct tally_command *command)
{
    decide_of[command->schema->id](ctx, (const struct stock_command *)command->fields);
}
