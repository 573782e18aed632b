/* topologies/stock/stock_evolve.c - what each event leaves behind. Puts only; reads nothing. */
#include "topologies/stock/stock_internal.h"

#define ROW_MAX 4096 /* a ledger row: note 500, reference 256, ids, 16 numbers */

static bool has(const struct stock_event *event, unsigned bit)
{
    return event->presence.present & TALLY_BIT(bit);
}

static void put_level(struct tally_context *ctx, const struct tally_event *envelope,
        const struct stock_event *event, struct tally_buf *row)
{
    struct stock_level_row level = {.version = event->version, .updated_at = envelope->time_ms};

    memcpy(level.n, event->after.n, sizeof level.n);
    stock_level_pack(&level, row);
    tally_put_row(ctx, stock_level_key(TALLY_STORE_LEVEL, event->sku, event->warehouse), row);
}

static void put_ledger(struct tally_context *ctx, const struct tally_event *envelope,
        const struct stock_event *event, struct tally_buf *row)
{
    const struct stock_cause *cause = &event->cause;
    struct stock_ledger_row entry = {
            .type = (uint8_t)envelope->schema->id,
            .kind = event->kind,
            .has_reason = has(event, STOCK_EVENT_REASON),
            .reason = event->reason,
            .signals = stock_event_signals(event),
            .note = event->note,
            .reference = event->reference,
            .actor = envelope->actor,
            .command_id = envelope->command_id,
            .reservation_id = cause->reservation_id,
            .order_id = cause->order_id,
            .shipment_id = cause->shipment_id,
            .return_id = cause->return_id,
            .transfer_id = cause->transfer_id,
            .line = cause->line,
            .recorded_at = envelope->time_ms,
            .offset = envelope->command_offset,
    };

    memcpy(entry.deltas, event->deltas.n, sizeof entry.deltas);
    memcpy(entry.after, event->after.n, sizeof entry.after);
    stock_ledger_pack(&entry, row);
    tally_put_row(ctx, stock_ledger_key(event->sku, event->warehouse, event->seq), row);
}

/* Every event with a seq: the level after it, and its ledger entry where those are kept. */
static void evolve_entry(struct tally_context *ctx, const struct tally_event *envelope,
        const struct stock_event *event, struct tally_buf *row)
{
    put_level(ctx, envelope, event, row);
    if (tally_keeps(ctx, TALLY_STORE_LEDGER)) {
        put_ledger(ctx, envelope, event, row);
    }
}

static void put_hold(struct tally_context *ctx, const struct tally_event *envelope,
        const struct stock_event *event, struct tally_buf *row)
{
    struct stock_hold_row hold = {
            .state = event->hold.state,
            .attempt = event->hold.attempt,
            .quantity = event->hold.quantity,
            .shipped = event->hold.shipped,
            .updated_at = envelope->time_ms,
            .sku = envelope->key,
            .warehouse = event->warehouse,
    };

    stock_hold_pack(&hold, row);
    tally_put_row(ctx, stock_hold_key(event->cause.reservation_id, event->cause.line), row);
}

/* What is about a line of a reservation, which a shipment may be. */
static void evolve_hold(struct tally_context *ctx, const struct tally_event *envelope,
        const struct stock_event *event, struct tally_buf *row)
{
    evolve_entry(ctx, envelope, event, row);
    if (has(event, STOCK_EVENT_HOLD)) {
        put_hold(ctx, envelope, event, row);
    }
}

static void evolve_configured(struct tally_context *ctx, const struct tally_event *envelope,
        const struct stock_event *event, struct tally_buf *row)
{
    const struct stock_setting *setting = &event->setting;
    uint64_t there = setting->presence.present & ~setting->presence.nulls;
    struct stock_setting_row kept = {
            .policy = setting->policy,
            .has_backorder_limit = there & TALLY_BIT(STOCK_SETTING_BACKORDER_LIMIT),
            .has_low_stock_threshold = there & TALLY_BIT(STOCK_SETTING_LOW_STOCK_THRESHOLD),
            .backorder_limit = setting->backorder_limit,
            .safety_stock = setting->safety_stock,
            .low_stock_threshold = setting->low_stock_threshold,
    };

    evolve_entry(ctx, envelope, event, row);
    stock_setting_pack(&kept, row);
    tally_put_row(ctx, stock_level_key(TALLY_STORE_SETTING, event->sku, event->warehouse), row);
}

static void evolve_sku(struct tally_context *ctx, const struct tally_event *envelope,
        const struct stock_event *event, struct tally_buf *row)
{
    struct stock_sku_row sku = {.state = event->state,
            .version = event->version,
            .product_id = event->product_id,
            .op_id = event->op_id};

    (void)envelope;
    stock_sku_pack(&sku, row);
    tally_put_row(ctx, stock_name_key(TALLY_STORE_SKU, event->sku), row);
}

static void evolve_warehouse_applied(struct tally_context *ctx, const struct tally_event *envelope,
        const struct stock_event *event, struct tally_buf *row)
{
    struct stock_warehouse_row warehouse = {.state = event->state, .name = event->name};

    (void)envelope;
    stock_warehouse_pack(&warehouse, row);
    tally_put_row(ctx, stock_name_key(TALLY_STORE_WAREHOUSE, event->warehouse), row);
}

typedef void (*evolve_fn)(struct tally_context *ctx, const struct tally_event *envelope,
        const struct stock_event *event, struct tally_buf *row);

static const evolve_fn evolve_of[STOCK_EVENT_TYPES] = {
        [STOCK_SKU_REGISTERED] = evolve_sku,
        [STOCK_CONFIGURED] = evolve_configured,
        [STOCK_RECEIVED] = evolve_entry,
        [STOCK_ADJUSTED] = evolve_entry,
        [STOCK_SHIPPED] = evolve_hold,
        [STOCK_WAREHOUSE_APPLIED] = evolve_warehouse_applied,
        [STOCK_RETURNED] = evolve_entry,
        [STOCK_UNITS_HELD] = evolve_hold,
        [STOCK_UNITS_RESERVED] = evolve_hold,
        [STOCK_UNITS_COMMITTED] = evolve_hold,
        [STOCK_UNITS_RELEASED] = evolve_hold,
        [STOCK_HOLD_TOMBSTONED] = put_hold,
        [STOCK_TRANSFERRED_OUT] = evolve_entry,
        [STOCK_TRANSFERRED_BACK] = evolve_entry,
        [STOCK_TRANSFER_EXPECTED] = evolve_entry,
        [STOCK_TRANSFERRED_IN] = evolve_entry,
        [STOCK_TRANSFER_LOST] = evolve_entry,
        [STOCK_SKU_RELEASED] = evolve_sku,
        [STOCK_SKU_FROZEN] = evolve_sku,
};

void stock_evolve(struct tally_context *ctx, const struct tally_event *event)
{
    TALLY_UNINITIALIZED uint8_t space[ROW_MAX]; /* no allocation for each event */
    struct tally_buf row = {.data = space, .capacity = sizeof space, .max = sizeof space};

    evolve_of[event->schema->id](ctx, event, event->body, &row);
}
