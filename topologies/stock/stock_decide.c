/* topologies/stock/stock_decide.c - what each command means. Reads state and emits; writes nothing.
 * Checks follow one order, first failure decides: existence, expected_version, then the codes of
 * the command in the order of its rule, last QUANTITY_OVERFLOW of the result.
 * Invariants
 *  (1) A command about a level ends in change_finish, or in one rejection or acceptance before it.
 *  (2) No number of a level passes +-QUANTITY_LIMIT, so sums of all ten fit an int64. */
#include <inttypes.h>

#include "topologies/stock/stock_internal.h"
#include "topologies/stock/stock_topology.h"

/* 9 * 10^15: exact in JSON readers that use doubles. */
#define QUANTITY_LIMIT INT64_C(9000000000000000)

/* A command about one (sku, warehouse): the rows it found, and the event it becomes. */
struct change {
    struct tally_context *ctx;
    const struct stock_command *cmd;
    struct stock_level_row before, after; /* zeros when there is none */
    struct stock_setting_row setting;     /* zeros are the default */
    uint8_t warehouse_state;
    struct stock_event event;
};

static bool has(const struct stock_command *cmd, unsigned bit)
{
    return cmd->head.presence.present & TALLY_BIT(bit);
}

/* There, and not null. */
static bool has_value(const struct stock_command *cmd, unsigned bit)
{
    return cmd->head.presence.present & ~cmd->head.presence.nulls & TALLY_BIT(bit);
}

static void mark(struct tally_presence *presence, unsigned bit)
{
    presence->present |= TALLY_BIT(bit);
}

/* --- reads ------------------------------------------------------------------------------------ */

/* Rows that cannot be unpacked are a bug: storage damage is found by the store's checksums. */
static bool read_sku(struct tally_context *ctx, struct tally_slice sku, struct stock_sku_row *found)
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

static bool read_warehouse_state(struct tally_context *ctx, struct tally_slice warehouse,
        uint8_t *state)
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

static void read_level(struct change *change)
{
    const struct stock_command *cmd = change->cmd;
    struct tally_key key = stock_level_key(TALLY_STORE_LEVEL, cmd->sku, cmd->warehouse);
    struct tally_slice row;

    change->before = (struct stock_level_row){.version = 0};
    change->setting = (struct stock_setting_row){.policy = STOCK_DENY};
    if (tally_get(change->ctx, &key, &row)) {
        tally_assert(stock_level_unpack(row, &change->before));
    }
    key = stock_level_key(TALLY_STORE_SETTING, cmd->sku, cmd->warehouse);
    if (tally_get(change->ctx, &key, &row)) {
        tally_assert(stock_setting_unpack(row, &change->setting));
    }
    change->after = change->before;
}

/* --- checks ----------------------------------------------------------------------------------- */

static bool version_matches(struct tally_context *ctx, const struct stock_command *cmd,
        int64_t actual)
{
    int64_t expected = cmd->head.expected_version;

    if (!has_value(cmd, TALLY_HAS_EXPECTED_VERSION) || expected == actual) {
        return true;
    }
    tally_reject(ctx, TALLY_REJECT_VERSION_CONFLICT, "/expected_version",
            (struct tally_meta[]){
                    TALLY_META_I("expected", expected), TALLY_META_I("actual", actual)},
            2, "expected version %" PRId64 ", actual %" PRId64, expected, actual);
    return false;
}

/* Reads what the command is about. false: rejected. */
static bool change_begin(struct change *change, struct tally_context *ctx,
        const struct stock_command *cmd)
{
    bool required = tally_setting_is(ctx, TALLY_STOCK_REQUIRE_REGISTRATION);
    struct stock_sku_row sku;

    *change = (struct change){.ctx = ctx, .cmd = cmd};
    if (required && !read_sku(ctx, cmd->sku, &sku)) {
        tally_reject(ctx, TALLY_REJECT_UNKNOWN_SKU, "/sku",
                (struct tally_meta[]){TALLY_META_S("sku", cmd->sku)}, 1,
                "SKU %.*s is not registered", (int)cmd->sku.len, (const char *)cmd->sku.data);
        return false;
    }
    if (!read_warehouse_state(ctx, cmd->warehouse, &change->warehouse_state) && required) {
        tally_reject(ctx, TALLY_REJECT_UNKNOWN_WAREHOUSE, "/warehouse",
                (struct tally_meta[]){TALLY_META_S("warehouse", cmd->warehouse)}, 1,
                "warehouse %.*s is not registered", (int)cmd->warehouse.len,
                (const char *)cmd->warehouse.data);
        return false;
    }
    read_level(change);
    return version_matches(ctx, cmd, change->before.version);
}

/* What a bucket holds; SELLABLE is what no other bucket has of on_hand. */
static int64_t bucket_of(const struct stock_level_row *level, uint8_t bucket)
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

/* Commands bring at most 10^12 at a time and levels stay within QUANTITY_LIMIT: no overflow. */
static void change_bucket(struct change *change, uint8_t bucket, int64_t delta)
{
    change->after.n[STOCK_ON_HAND] += delta;
    if (bucket == STOCK_DAMAGED) {
        change->after.n[STOCK_DAMAGED_BUCKET] += delta;
    } else if (bucket == STOCK_QUALITY_CONTROL) {
        change->after.n[STOCK_QUALITY_CONTROL_BUCKET] += delta;
    }
}

static bool bucket_stays_positive(const struct change *change, uint8_t bucket, int64_t delta,
        const char *pointer)
{
    const struct stock_command *cmd = change->cmd;
    int64_t now = bucket_of(&change->before, bucket);
    struct tally_slice name = tally_slice_string(stock_bucket_names[bucket]);

    if (now + delta >= 0) {
        return true;
    }
    tally_reject(change->ctx, TALLY_REJECT_NEGATIVE_ON_HAND, pointer,
            (struct tally_meta[]){TALLY_META_S("sku", cmd->sku),
                    TALLY_META_S("warehouse", cmd->warehouse), TALLY_META_S("bucket", name),
                    TALLY_META_I("actual", now), TALLY_META_I("delta", delta)},
            5, "%s %" PRId64 ", change %" PRId64, stock_bucket_names[bucket], now, delta);
    return false;
}

/* The value that the sender based the change on is still the one it is. */
static bool change_from_holds(const struct change *change, int64_t actual)
{
    int64_t from = change->cmd->change_from;

    if (!has_value(change->cmd, STOCK_HAS_CHANGE_FROM) || from == actual) {
        return true;
    }
    tally_reject(change->ctx, TALLY_REJECT_CHANGE_FROM_STALE, "/change_from",
            (struct tally_meta[]){TALLY_META_I("actual", actual),
                    TALLY_META_I("version", change->before.version)},
            2, "change from %" PRId64 ", actual %" PRId64, from, actual);
    return false;
}

static bool stays_within_limit(const struct change *change, const char *pointer)
{
    for (size_t i = 0; i < STOCK_BUCKETS; i++) {
        int64_t number = change->after.n[i];

        if (number > QUANTITY_LIMIT || number < -QUANTITY_LIMIT) {
            tally_reject(change->ctx, TALLY_REJECT_QUANTITY_OVERFLOW, pointer,
                    (struct tally_meta[]){TALLY_META_S("sku", change->cmd->sku),
                            TALLY_META_S("warehouse", change->cmd->warehouse),
                            TALLY_META_I("limit", QUANTITY_LIMIT)},
                    3, "%s would be %" PRId64 ", limit %" PRId64, stock_number_names[i], number,
                    QUANTITY_LIMIT);
            return false;
        }
    }
    return true;
}

/* --- the event -------------------------------------------------------------------------------- */

static void set_number(struct stock_numbers *numbers, unsigned index, int64_t value, bool always)
{
    numbers->n[index] = value;
    if (value != 0 || always) {
        mark(&numbers->presence, index);
    }
}

static void set_numbers(struct change *change)
{
    struct stock_event *event = &change->event;

    for (unsigned i = 0; i < STOCK_BUCKETS; i++) {
        set_number(&event->deltas, i, change->after.n[i] - change->before.n[i], false);
        set_number(&event->after, i, change->after.n[i], i == STOCK_ON_HAND);
    }
    set_number(&event->after, STOCK_AVAILABLE, stock_level_available(&change->after), true);
    set_number(&event->after, STOCK_BACKORDERED, stock_level_backordered(&change->after), false);
    mark(&event->presence, STOCK_EVENT_DELTAS);
    mark(&event->presence, STOCK_EVENT_AFTER);
}

/* A signal is given when available passes a mark, never when only the mark moves. */
static void set_signals(struct change *change, struct tally_slice *names)
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
        mark(&change->event.presence, STOCK_EVENT_SIGNALS);
    }
}

static void set_head(struct change *change, enum stock_kind kind)
{
    const struct stock_command *cmd = change->cmd;
    struct stock_event *event = &change->event;

    event->sku = cmd->sku;
    event->warehouse = cmd->warehouse;
    event->seq = event->version = change->before.version + 1;
    event->kind = (uint8_t)kind;
    mark(&event->presence, STOCK_EVENT_SKU);
    mark(&event->presence, STOCK_EVENT_WAREHOUSE);
    mark(&event->presence, STOCK_EVENT_SEQ);
    mark(&event->presence, STOCK_EVENT_VERSION);
    mark(&event->presence, STOCK_EVENT_KIND);
    if (has_value(cmd, STOCK_HAS_REASON)) {
        event->reason = cmd->reason;
        mark(&event->presence, STOCK_EVENT_REASON);
    }
    if (has_value(cmd, TALLY_HAS_NOTE)) {
        event->note = cmd->head.note;
        mark(&event->presence, STOCK_EVENT_NOTE);
    }
    if (has_value(cmd, TALLY_HAS_REFERENCE)) {
        event->reference = cmd->head.reference;
        mark(&event->presence, STOCK_EVENT_REFERENCE);
    }
}

/* Emits what `after` became; pointer names the field to blame when a number would pass a limit. */
static void change_finish(struct change *change, enum stock_event_type type, enum stock_kind kind,
        const char *pointer)
{
    struct tally_slice signals[STOCK_LOW_STOCK_CLEARED + 1];

    if (!stays_within_limit(change, pointer)) {
        return;
    }
    set_head(change, kind);
    set_numbers(change);
    set_signals(change, signals);
    tally_emit(change->ctx, type, &change->event);
}

/* --- commands --------------------------------------------------------------------------------- */

static void decide_register_sku(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_event event = {.sku = cmd->sku};
    struct stock_sku_row row;
    bool known = read_sku(ctx, cmd->sku, &row);
    bool names_product = has_value(cmd, STOCK_HAS_PRODUCT_ID);

    if (!version_matches(ctx, cmd, row.version)) {
        return;
    }
    if (names_product && row.product_id.len > 0 &&
            !tally_slice_equal(row.product_id, cmd->product_id)) {
        struct tally_slice owner = tally_arena_copy(tally_scratch(ctx), row.product_id);

        tally_reject(ctx, TALLY_REJECT_SKU_TAKEN, "/product_id",
                (struct tally_meta[]){
                        TALLY_META_S("sku", cmd->sku), TALLY_META_S("product_id", owner)},
                2, "SKU %.*s belongs to product %.*s", (int)cmd->sku.len,
                (const char *)cmd->sku.data, (int)owner.len, (const char *)owner.data);
        return;
    }
    if (known && (!names_product || row.product_id.len > 0)) {
        tally_accept(ctx); /* registered, and owned as asked */
        return;
    }
    event.state = row.state;
    event.version = row.version + 1;
    mark(&event.presence, STOCK_EVENT_SKU);
    mark(&event.presence, STOCK_EVENT_STATE);
    mark(&event.presence, STOCK_EVENT_VERSION);
    if (names_product) {
        event.product_id = cmd->product_id;
        mark(&event.presence, STOCK_EVENT_PRODUCT_ID);
    }
    tally_emit(ctx, STOCK_SKU_REGISTERED, &event);
}

static void set_setting(struct change *change)
{
    const struct stock_setting_row *row = &change->setting;
    struct stock_setting *setting = &change->event.setting;

    setting->policy = row->policy;
    setting->safety_stock = row->safety_stock;
    setting->backorder_limit = row->backorder_limit;
    setting->low_stock_threshold = row->low_stock_threshold;
    for (unsigned i = STOCK_SETTING_POLICY; i <= STOCK_SETTING_LOW_STOCK_THRESHOLD; i++) {
        mark(&setting->presence, i);
    }
    if (!row->has_backorder_limit) {
        setting->presence.nulls |= TALLY_BIT(STOCK_SETTING_BACKORDER_LIMIT);
    }
    if (!row->has_low_stock_threshold) {
        setting->presence.nulls |= TALLY_BIT(STOCK_SETTING_LOW_STOCK_THRESHOLD);
    }
    mark(&change->event.presence, STOCK_EVENT_SETTING);
}

/* Absent keeps, null is the default. */
static void decide_configure(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct change change;
    struct stock_setting_row *row = &change.setting;

    if (!change_begin(&change, ctx, cmd)) {
        return;
    }
    if (has(cmd, STOCK_HAS_POLICY)) {
        row->policy = has_value(cmd, STOCK_HAS_POLICY) ? cmd->policy : STOCK_DENY;
    }
    if (has(cmd, STOCK_HAS_BACKORDER_LIMIT)) {
        row->has_backorder_limit = has_value(cmd, STOCK_HAS_BACKORDER_LIMIT);
        row->backorder_limit = row->has_backorder_limit ? cmd->backorder_limit : 0;
    }
    if (has(cmd, STOCK_HAS_SAFETY_STOCK)) {
        row->safety_stock = has_value(cmd, STOCK_HAS_SAFETY_STOCK) ? cmd->safety_stock : 0;
    }
    if (has(cmd, STOCK_HAS_LOW_STOCK_THRESHOLD)) {
        row->has_low_stock_threshold = has_value(cmd, STOCK_HAS_LOW_STOCK_THRESHOLD);
        row->low_stock_threshold = row->has_low_stock_threshold ? cmd->low_stock_threshold : 0;
    }
    change.after.n[STOCK_SAFETY_STOCK] = row->safety_stock;
    set_setting(&change);
    change_finish(&change, STOCK_CONFIGURED, STOCK_KIND_CONFIGURE, "/safety_stock");
}

static void decide_receive(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct change change;

    if (!change_begin(&change, ctx, cmd)) {
        return;
    }
    if (change.warehouse_state == STOCK_WAREHOUSE_CLOSED) {
        tally_reject(ctx, TALLY_REJECT_WAREHOUSE_CLOSED, "/warehouse",
                (struct tally_meta[]){TALLY_META_S("warehouse", cmd->warehouse)}, 1,
                "warehouse %.*s is closed", (int)cmd->warehouse.len,
                (const char *)cmd->warehouse.data);
        return;
    }
    change_bucket(&change, cmd->bucket, cmd->quantity);
    change_finish(&change, STOCK_RECEIVED, STOCK_KIND_RECEIVE, "/quantity");
}

static bool reason_is_given(struct tally_context *ctx, const struct stock_command *cmd)
{
    if (!has_value(cmd, STOCK_HAS_REASON)) {
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
    struct change change;

    if (!change_begin(&change, ctx, cmd) || !reason_is_given(ctx, cmd) ||
            !change_from_holds(&change, bucket_of(&change.before, cmd->bucket)) ||
            !bucket_stays_positive(&change, cmd->bucket, cmd->delta, "/delta")) {
        return;
    }
    change_bucket(&change, cmd->bucket, cmd->delta);
    change_finish(&change, STOCK_ADJUSTED, STOCK_KIND_ADJUST, "/delta");
}

static int64_t value_named(const struct stock_level_row *level, uint8_t name)
{
    return name == STOCK_SET_AVAILABLE ? stock_level_available(level) : level->n[STOCK_ON_HAND];
}

/* The numbers that the level had at version as_of_version; 0 is before its first entry. */
static bool level_as_of(const struct change *change, struct stock_level_row *level)
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
    struct change change;
    struct stock_level_row counted;
    int64_t delta;

    if (!change_begin(&change, ctx, cmd) ||
            !change_from_holds(&change, value_named(&change.before, cmd->set_name))) {
        return;
    }
    counted = change.before;
    if (has_value(cmd, STOCK_HAS_AS_OF_VERSION) && !level_as_of(&change, &counted)) {
        return;
    }
    delta = cmd->quantity - value_named(&counted, cmd->set_name);
    if (delta == 0) {
        tally_accept(ctx);
        return;
    }
    if (bucket_stays_positive(&change, STOCK_SELLABLE, delta, "/quantity")) {
        change_bucket(&change, STOCK_SELLABLE, delta);
        change_finish(&change, STOCK_ADJUSTED, STOCK_KIND_SET, "/quantity");
    }
}

/* Without force, what is available bounds a shipment; that is never more than what is sellable. */
static void decide_ship(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct change change;
    int64_t available;

    if (!change_begin(&change, ctx, cmd)) {
        return;
    }
    if (has_value(cmd, STOCK_HAS_RESERVATION_ID)) { /* no reservation holds stock yet */
        tally_reject(ctx, TALLY_REJECT_RESERVATION_NOT_FOUND, "/reservation_id",
                (struct tally_meta[]){TALLY_META_S("reservation_id", cmd->reservation_id)}, 1,
                "reservation %.*s holds nothing of this SKU here", (int)cmd->reservation_id.len,
                (const char *)cmd->reservation_id.data);
        return;
    }
    available = stock_level_available(&change.before);
    if (!cmd->force && cmd->quantity > available) {
        tally_reject(ctx, TALLY_REJECT_INSUFFICIENT_STOCK, "/quantity",
                (struct tally_meta[]){TALLY_META_S("sku", cmd->sku),
                        TALLY_META_S("warehouse", cmd->warehouse),
                        TALLY_META_I("requested", cmd->quantity),
                        TALLY_META_I("available", available)},
                4, "available %" PRId64 ", requested %" PRId64, available, cmd->quantity);
        return;
    }
    change_bucket(&change, STOCK_SELLABLE, -cmd->quantity);
    change.event.cause.shipment_id = cmd->shipment_id;
    mark(&change.event.cause.presence, STOCK_CAUSE_SHIPMENT_ID);
    mark(&change.event.presence, STOCK_EVENT_CAUSE);
    change_finish(&change, STOCK_SHIPPED, STOCK_KIND_SHIP, "/quantity");
}

/* From the catalogue, which owns warehouses: this partition's copy. Its id makes it once. */
static void decide_apply_warehouse(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_event event = {
            .warehouse = cmd->warehouse, .name = cmd->name, .state = cmd->state};

    mark(&event.presence, STOCK_EVENT_WAREHOUSE);
    mark(&event.presence, STOCK_EVENT_NAME);
    mark(&event.presence, STOCK_EVENT_STATE);
    tally_emit(ctx, STOCK_WAREHOUSE_APPLIED, &event);
}

typedef void (*decide_fn)(struct tally_context *ctx, const struct stock_command *cmd);

static const decide_fn decide_of[STOCK_COMMAND_TYPES] = {
        [STOCK_REGISTER_SKU] = decide_register_sku,
        [STOCK_CONFIGURE] = decide_configure,
        [STOCK_RECEIVE] = decide_receive,
        [STOCK_ADJUST] = decide_adjust,
        [STOCK_SET] = decide_set,
        [STOCK_SHIP] = decide_ship,
        [STOCK_APPLY_WAREHOUSE] = decide_apply_warehouse,
};

void stock_decide(struct tally_context *ctx, const struct tally_command *command)
{
    decide_fn decide = decide_of[command->schema->id];

    if (decide) {
        decide(ctx, (const struct stock_command *)command->fields);
    } else { /* described, but not decided by this release */
        tally_reject(ctx, TALLY_REJECT_UNKNOWN_COMMAND, NULL, NULL, 0, "unknown command \"%s\"",
                command->schema->name);
    }
}
