/* topologies/stock/stock_change.c - what the commands about one (sku, warehouse) share; see
 * stock_change_internal.h.
 * Invariants
 *  (1) A change ends in stock_change_finish, or in one rejection or acceptance before it.
 *  (2) No number of a level passes +-STOCK_QUANTITY_LIMIT, so sums of all ten fit an int64. */
#include "topologies/stock/stock_change_internal.h"

#include <inttypes.h>

#include "topologies/stock/stock_topology.h"

/* --- reads ------------------------------------------------------------------------------------ */

/* Rows that cannot be unpacked are a bug: storage damage is found by the store's checksums. */
bool stock_read_sku(struct tally_context *ctx, struct tally_slice sku, struct stock_sku_row *found)
{
    struct tally_key key = stock_name_key(TALLY_STORE_SKU, sku);
    struct tally_slice row;

    *found = (struct stock_sku_row){.state = STOCK_SKU_ACTIVE};
    if (!tally_get(ctx, &key, &row)) {
        return false;
    }
    tally_assert(stock_sku_unpack(row, found));
    return true;
}

bool stock_read_warehouse(struct tally_context *ctx, struct tally_slice warehouse, uint8_t *state)
{
    struct tally_key key = stock_name_key(TALLY_STORE_WAREHOUSE, warehouse);
    struct stock_warehouse_row found;
    struct tally_slice row;

    *state = STOCK_WAREHOUSE_OPEN;
    if (!tally_get(ctx, &key, &row)) {
        return false;
    }
    tally_assert(stock_warehouse_unpack(row, &found));
    *state = found.state;
    return true;
}

static bool read_level(struct tally_context *ctx, const struct tally_key *key,
        struct stock_level_row *found)
{
    struct tally_slice row;

    if (!tally_get(ctx, key, &row)) {
        *found = (struct stock_level_row){.version = 0};
        return false;
    }
    tally_assert(stock_level_unpack(row, found));
    return true;
}

static bool read_setting(struct tally_context *ctx, const struct tally_key *key,
        struct stock_setting_row *found)
{
    struct tally_slice row;

    if (!tally_get(ctx, key, &row)) {
        *found = (struct stock_setting_row){.policy = STOCK_DENY};
        return false;
    }
    tally_assert(stock_setting_unpack(row, found));
    return true;
}

bool stock_read_level(struct tally_context *ctx, struct tally_slice sku,
        struct tally_slice warehouse, struct stock_level_row *found)
{
    struct tally_key key = stock_level_key(TALLY_STORE_LEVEL, sku, warehouse);

    return read_level(ctx, &key, found);
}

bool stock_read_setting(struct tally_context *ctx, struct tally_slice sku,
        struct tally_slice warehouse, struct stock_setting_row *found)
{
    struct tally_key key = stock_level_key(TALLY_STORE_SETTING, sku, warehouse);

    return read_setting(ctx, &key, found);
}

/* --- refusals --------------------------------------------------------------------------------- */

void stock_reject_unknown_sku(struct tally_context *ctx, struct tally_slice sku)
{
    tally_reject(ctx, TALLY_REJECT_UNKNOWN_SKU, "/sku",
            (struct tally_meta[]){TALLY_META_S("sku", sku)}, 1, "SKU %.*s is not registered",
            (int)sku.len, (const char *)sku.data);
}

void stock_reject_warehouse(struct tally_context *ctx, enum tally_reject code, const char *pointer,
        struct tally_slice warehouse)
{
    tally_reject(ctx, code, pointer, (struct tally_meta[]){TALLY_META_S("warehouse", warehouse)}, 1,
            "warehouse %.*s is %s", (int)warehouse.len, (const char *)warehouse.data,
            code == TALLY_REJECT_UNKNOWN_WAREHOUSE ? "not registered" : "closed");
}

void stock_reject_insufficient(const struct stock_change *change, int64_t available)
{
    int64_t requested = change->cmd->quantity;

    tally_reject(change->ctx, TALLY_REJECT_INSUFFICIENT_STOCK, "/quantity",
            (struct tally_meta[]){TALLY_META_S("sku", change->cmd->sku),
                    TALLY_META_S("warehouse", change->warehouse),
                    TALLY_META_I("requested", requested), TALLY_META_I("available", available)},
            4, "available %" PRId64 ", requested %" PRId64, available, requested);
}

/* --- a change --------------------------------------------------------------------------------- */

static void read_rows(struct stock_change *change)
{
    struct tally_key key = stock_level_key(TALLY_STORE_LEVEL, change->cmd->sku, change->warehouse);

    (void)read_level(change->ctx, &key, &change->before);
    tally_key_move(&key, TALLY_STORE_SETTING);
    (void)read_setting(change->ctx, &key, &change->setting);
    change->after = change->before;
}

bool stock_change_begin(struct stock_change *change, struct tally_context *ctx,
        const struct stock_command *cmd)
{
    bool required = tally_setting_is(ctx, TALLY_STOCK_REQUIRE_REGISTRATION);
    struct stock_sku_row sku;

    *change = (struct stock_change){.ctx = ctx, .cmd = cmd, .warehouse = cmd->warehouse};
    if (required && !stock_read_sku(ctx, cmd->sku, &sku)) {
        stock_reject_unknown_sku(ctx, cmd->sku);
        return false;
    }
    if (!stock_read_warehouse(ctx, cmd->warehouse, &change->warehouse_state) && required) {
        stock_reject_warehouse(ctx, TALLY_REJECT_UNKNOWN_WAREHOUSE, "/warehouse", cmd->warehouse);
        return false;
    }
    read_rows(change);
    return tally_version_matches(ctx, change->before.version);
}

void stock_change_open(struct stock_change *change, struct tally_context *ctx,
        const struct stock_command *cmd, struct tally_slice warehouse)
{
    *change = (struct stock_change){.ctx = ctx, .cmd = cmd, .warehouse = warehouse};
    read_rows(change);
}

int64_t stock_bucket_of(const struct stock_level_row *level, uint8_t bucket)
{
    switch ((enum stock_bucket)bucket) {
    case STOCK_DAMAGED:
        return level->n[STOCK_DAMAGED_BUCKET];
    case STOCK_QUALITY_CONTROL:
        return level->n[STOCK_QUALITY_CONTROL_BUCKET];
    case STOCK_SELLABLE:
        break;
    }
    return level->n[STOCK_ON_HAND] - level->n[STOCK_DAMAGED_BUCKET] -
           level->n[STOCK_QUALITY_CONTROL_BUCKET];
}

void stock_change_bucket(struct stock_change *change, uint8_t bucket, int64_t delta)
{
    change->after.n[STOCK_ON_HAND] += delta;
    if (bucket == STOCK_DAMAGED) {
        change->after.n[STOCK_DAMAGED_BUCKET] += delta;
    } else if (bucket == STOCK_QUALITY_CONTROL) {
        change->after.n[STOCK_QUALITY_CONTROL_BUCKET] += delta;
    }
}

bool stock_bucket_stays_positive(const struct stock_change *change, uint8_t bucket, int64_t delta,
        const char *pointer)
{
    const struct stock_command *cmd = change->cmd;
    int64_t now = stock_bucket_of(&change->before, bucket);
    struct tally_slice name = tally_slice_string(stock_bucket_names[bucket]);

    if (now + delta >= 0) {
        return true;
    }
    tally_reject(change->ctx, TALLY_REJECT_NEGATIVE_ON_HAND, pointer,
            (struct tally_meta[]){TALLY_META_S("sku", cmd->sku),
                    TALLY_META_S("warehouse", change->warehouse), TALLY_META_S("bucket", name),
                    TALLY_META_I("actual", now), TALLY_META_I("delta", delta)},
            5, "%s %" PRId64 ", change %" PRId64, stock_bucket_names[bucket], now, delta);
    return false;
}

/* The first number that passes the limit; STOCK_BUCKETS: none does. */
static unsigned passing_limit(const struct stock_change *change)
{
    unsigned i = 0;

    while (i < STOCK_BUCKETS && change->after.n[i] <= STOCK_QUANTITY_LIMIT &&
            change->after.n[i] >= -STOCK_QUANTITY_LIMIT) {
        i++;
    }
    return i;
}

bool stock_change_fits(const struct stock_change *change)
{
    return passing_limit(change) == STOCK_BUCKETS;
}

static void reject_overflow(const struct stock_change *change, unsigned index, const char *pointer)
{
    tally_reject(change->ctx, TALLY_REJECT_QUANTITY_OVERFLOW, pointer,
            (struct tally_meta[]){TALLY_META_S("sku", change->cmd->sku),
                    TALLY_META_S("warehouse", change->warehouse),
                    TALLY_META_I("limit", STOCK_QUANTITY_LIMIT)},
            3, "%s would be %" PRId64 ", limit %" PRId64, stock_number_names[index],
            change->after.n[index], STOCK_QUANTITY_LIMIT);
}

/* --- the event -------------------------------------------------------------------------------- */

static void set_number(struct stock_numbers *numbers, unsigned index, int64_t value, bool always)
{
    numbers->n[index] = value;
    if (value != 0 || always) {
        stock_mark(&numbers->presence, index);
    }
}

static void set_numbers(struct stock_change *change)
{
    struct stock_event *event = &change->event;

    for (unsigned i = 0; i < STOCK_BUCKETS; i++) {
        set_number(&event->deltas, i, change->after.n[i] - change->before.n[i], false);
        set_number(&event->after, i, change->after.n[i], i == STOCK_ON_HAND);
    }
    set_number(&event->after, STOCK_AVAILABLE, stock_level_available(&change->after), true);
    set_number(&event->after, STOCK_BACKORDERED, stock_level_backordered(&change->after), false);
    stock_mark(&event->presence, STOCK_EVENT_DELTAS);
    stock_mark(&event->presence, STOCK_EVENT_AFTER);
}

/* A signal is given when available passes a mark, never when only the mark moves. */
static void set_signals(struct stock_change *change, struct tally_slice *names)
{
    int64_t before = stock_level_available(&change->before);
    int64_t after = stock_level_available(&change->after);
    int64_t low = change->setting.low_stock_threshold;
    bool has_low = change->setting.has_low_stock_threshold;
    const bool given[] = {
            [STOCK_OUT_OF_STOCK] = before > 0 && after <= 0,
            [STOCK_BACK_IN_STOCK] = before <= 0 && after > 0,
            [STOCK_OVERSOLD] = before >= 0 && after < 0,
            [STOCK_LOW_STOCK_REACHED] = has_low && before > low && after <= low,
            [STOCK_LOW_STOCK_CLEARED] = has_low && before <= low && after > low,
    };
    size_t count = 0;

    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++) {
        if (given[i]) {
            names[count++] = tally_slice_string(stock_signal_names[i]);
        }
    }
    if (count > 0) {
        change->event.signals = (struct tally_array){.items = names, .count = count};
        stock_mark(&change->event.presence, STOCK_EVENT_SIGNALS);
    }
}

static void set_head(struct stock_change *change, enum stock_kind kind)
{
    const struct stock_command *cmd = change->cmd;
    struct stock_event *event = &change->event;

    event->sku = cmd->sku;
    event->warehouse = change->warehouse;
    event->seq = event->version = change->before.version + 1;
    event->kind = (uint8_t)kind;
    stock_mark(&event->presence, STOCK_EVENT_SKU);
    stock_mark(&event->presence, STOCK_EVENT_WAREHOUSE);
    stock_mark(&event->presence, STOCK_EVENT_SEQ);
    stock_mark(&event->presence, STOCK_EVENT_VERSION);
    stock_mark(&event->presence, STOCK_EVENT_KIND);
    if (stock_has_value(cmd, STOCK_HAS_REASON)) {
        event->reason = cmd->reason;
        stock_mark(&event->presence, STOCK_EVENT_REASON);
    }
    if (stock_has_value(cmd, TALLY_HAS_NOTE)) {
        event->note = cmd->head.note;
        stock_mark(&event->presence, STOCK_EVENT_NOTE);
    }
    if (stock_has_value(cmd, TALLY_HAS_REFERENCE)) {
        event->reference = cmd->head.reference;
        stock_mark(&event->presence, STOCK_EVENT_REFERENCE);
    }
}

void stock_change_finish(struct stock_change *change, enum stock_event_type type,
        enum stock_kind kind, const char *pointer)
{
    struct tally_slice signals[STOCK_LOW_STOCK_CLEARED + 1];
    unsigned passing = passing_limit(change);

    if (passing < STOCK_BUCKETS) {
        reject_overflow(change, passing, pointer);
        return;
    }
    set_head(change, kind);
    set_numbers(change);
    set_signals(change, signals);
    tally_emit(change->ctx, type, &change->event);
}
