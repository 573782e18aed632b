/* topologies/stock/stock_hold.c - what is promised to the lines of reservations.
 *
 *   --[HoldStock]--> HELD --[ConfirmHold]--> RESERVED --[CommitHold]--> COMMITTED
 *   COMMITTED --[ShipStock of all]--> SHIPPED!
 *   HELD, RESERVED, COMMITTED --[ReleaseHold]--> RELEASED!    none --[ReleaseHold]--> RELEASED!
 *
 * A hold is a line's: each attempt of its reservation is one, the latest is kept. What is released
 * before it was held leaves a tombstone, a RELEASED hold of nothing, which cancels holds up to its
 * attempt. Invariants
 *  (1) held, reserved and committed of a level are the sums of its holds in that state, less what
 *      they have shipped.
 *  (2) Held, reserved and committed units of a level are together no more than a quantity may be,
 *      so that a hold can always advance.
 *  (3) HoldStock is answered, whatever is decided.
 *  (4) Stock never ends a hold by itself. */
#include <inttypes.h>

#include "topologies/stock/stock_change_internal.h"
#include "topologies/stock/stock_topology.h"

/* Ended holds and tombstones count as absent after this, in partition time: 7 days. */
#define ENDED_RETENTION_MS INT64_C(604800000)

static bool is_open(const struct stock_hold_row *hold)
{
    return hold->state != STOCK_HOLD_SHIPPED && hold->state != STOCK_HOLD_RELEASED;
}

/* The number of a level that an open hold is part of. */
static unsigned number_of(uint8_t state)
{
    return state == STOCK_HOLD_HELD       ? STOCK_HELD
           : state == STOCK_HOLD_RESERVED ? STOCK_RESERVED
                                          : STOCK_COMMITTED;
}

/* The hold of the command's line, its texts copied; false: none, or one that ended long ago. */
static bool read_hold(struct tally_context *ctx, const struct stock_command *cmd,
        struct stock_hold_row *hold)
{
    struct tally_key key = stock_hold_key(cmd->reservation_id, cmd->line);
    struct tally_slice row;

    if (!tally_get(ctx, &key, &row)) {
        return false;
    }
    tally_assert(stock_hold_unpack(row, hold));
    if (!is_open(hold) && hold->updated_at + ENDED_RETENTION_MS <= tally_time(ctx)) {
        return false;
    }
    hold->sku = tally_arena_copy(tally_scratch(ctx), hold->sku);
    hold->warehouse = tally_arena_copy(tally_scratch(ctx), hold->warehouse);
    return true;
}

/* --- events ----------------------------------------------------------------------------------- */

static void set_hold(struct stock_event *event, const struct stock_command *cmd,
        const struct stock_hold_row *hold)
{
    event->cause.reservation_id = cmd->reservation_id;
    event->cause.line = cmd->line;
    stock_mark(&event->cause.presence, STOCK_CAUSE_RESERVATION_ID);
    stock_mark(&event->cause.presence, STOCK_CAUSE_LINE);
    stock_mark(&event->presence, STOCK_EVENT_CAUSE);
    event->hold.attempt = hold->attempt;
    event->hold.quantity = hold->quantity;
    event->hold.shipped = hold->shipped;
    event->hold.state = hold->state;
    stock_mark(&event->hold.presence, STOCK_HOLD_ATTEMPT);
    stock_mark(&event->hold.presence, STOCK_HOLD_QUANTITY);
    stock_mark(&event->hold.presence, STOCK_HOLD_SHIPPED_UNITS);
    stock_mark(&event->hold.presence, STOCK_HOLD_STATE);
    stock_mark(&event->presence, STOCK_EVENT_HOLD);
}

static void emit_tombstone(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_hold_row none = {.attempt = cmd->attempt, .state = STOCK_HOLD_RELEASED};
    struct stock_event event = {.presence = {.present = 0}};

    set_hold(&event, cmd, &none);
    tally_emit(ctx, STOCK_HOLD_TOMBSTONED, &event);
}

/* --- HoldStock: where ------------------------------------------------------------------------- */

struct candidate {
    struct candidate *next;
    struct tally_slice warehouse;
    struct stock_level_row level;
    int64_t available;
};

struct choice {
    struct tally_context *ctx;
    const struct stock_command *cmd;
    struct candidate *first, **end; /* as named, or by name */
    bool ranked;                    /* those with more available come before */
    bool contended, has_backorder;
    int64_t largest; /* available; 0 without candidates */
};

static void add_candidate(struct choice *choice, struct tally_slice warehouse,
        const struct stock_level_row *level)
{
    struct candidate *candidate = tally_arena_alloc(tally_scratch(choice->ctx), sizeof *candidate);

    *candidate = (struct candidate){
            .warehouse = warehouse, .level = *level, .available = stock_level_available(level)};
    *choice->end = candidate;
    choice->end = &candidate->next;
}

static bool add_row(void *context, struct tally_slice key, struct tally_slice row)
{
    struct choice *choice = context;
    size_t before = 1 + choice->cmd->sku.len + 1; /* store, SKU, its end */
    struct stock_level_row level;

    tally_assert(stock_level_unpack(row, &level));
    add_candidate(choice,
            tally_arena_copy(tally_scratch(choice->ctx),
                    tally_slice_of(key.data + before, key.len - before)),
            &level);
    return true;
}

static void drop_closed(struct choice *choice)
{
    struct candidate **at = &choice->first;
    uint8_t state;

    while (*at) {
        (void)stock_read_warehouse(choice->ctx, (*at)->warehouse, &state);
        if (state == STOCK_WAREHOUSE_CLOSED) {
            *at = (*at)->next;
        } else {
            at = &(*at)->next;
        }
    }
}

/* The warehouses that the command names, or all that have a level of the SKU; of them the open. */
static void collect(struct choice *choice)
{
    const struct tally_slice *names = choice->cmd->warehouses.items;
    struct stock_level_row level;
    struct tally_key prefix;

    choice->ranked = choice->cmd->warehouses.count == 0;
    if (choice->ranked) {
        prefix = stock_sku_prefix(TALLY_STORE_LEVEL, choice->cmd->sku);
        tally_scan(choice->ctx, &prefix, add_row, choice);
    }
    for (size_t i = 0; i < choice->cmd->warehouses.count; i++) {
        (void)stock_read_level(choice->ctx, choice->cmd->sku, names[i], &level);
        add_candidate(choice, names[i], &level);
    }
    drop_closed(choice);
}

/* Whether `one`, which is met after `best`, comes before it. */
static bool comes_first(const struct choice *choice, const struct candidate *best,
        const struct candidate *one)
{
    return !best || (choice->ranked && one->available > best->available);
}

static const struct candidate *find_available(struct choice *choice)
{
    const struct candidate *best = NULL;
    int64_t quantity = choice->cmd->quantity;

    for (const struct candidate *one = choice->first; one; one = one->next) {
        if (one == choice->first || one->available > choice->largest) {
            choice->largest = one->available;
        }
        if (one->available + one->level.n[STOCK_HELD] >= quantity) {
            choice->contended = true; /* if those who hold it now give it back */
        }
        if (one->available >= quantity && comes_first(choice, best, one)) {
            best = one;
        }
    }
    return best;
}

static const struct candidate *find_backorder(struct choice *choice)
{
    const struct stock_command *cmd = choice->cmd;
    const struct candidate *best = NULL;

    for (const struct candidate *one = choice->first; one; one = one->next) {
        struct stock_level_row after = one->level;
        struct stock_setting_row setting;

        (void)stock_read_setting(choice->ctx, cmd->sku, one->warehouse, &setting);
        if (setting.policy != STOCK_BACKORDER) {
            continue;
        }
        choice->has_backorder = true;
        after.n[STOCK_HELD] += cmd->quantity;
        if ((!setting.has_backorder_limit ||
                    stock_level_backordered(&after) <= setting.backorder_limit) &&
                comes_first(choice, best, one)) {
            best = one;
        }
    }
    return best;
}

/* --- HoldStock: whether ----------------------------------------------------------------------- */

static void answer_refused(struct tally_context *ctx, const struct stock_command *cmd,
        enum tally_reject code)
{
    stock_send_hold_reply(ctx, cmd, &(struct stock_hold_answer){.code = code});
}

/* The command's own warehouses are known. false: refused. */
static bool are_known(struct tally_context *ctx, const struct stock_command *cmd)
{
    const struct tally_slice *names = cmd->warehouses.items;
    uint8_t state;

    for (size_t i = 0; i < cmd->warehouses.count; i++) {
        if (!stock_read_warehouse(ctx, names[i], &state)) {
            answer_refused(ctx, cmd, TALLY_REJECT_UNKNOWN_WAREHOUSE);
            stock_reject_warehouse(ctx, TALLY_REJECT_UNKNOWN_WAREHOUSE, "/warehouses", names[i]);
            return false;
        }
    }
    return true;
}

static bool exists(struct tally_context *ctx, const struct stock_command *cmd)
{
    bool required = tally_setting_is(ctx, TALLY_STOCK_REQUIRE_REGISTRATION);
    struct stock_sku_row sku;
    bool known = stock_read_sku(ctx, cmd->sku, &sku);
    uint8_t state = sku.state;

    if (required && !known) {
        answer_refused(ctx, cmd, TALLY_REJECT_UNKNOWN_SKU);
        stock_reject_unknown_sku(ctx, cmd->sku);
        return false;
    }
    if (required && !are_known(ctx, cmd)) {
        return false;
    }
    if (state == STOCK_SKU_ARCHIVED) {
        answer_refused(ctx, cmd, TALLY_REJECT_SKU_ARCHIVED);
        tally_reject(ctx, TALLY_REJECT_SKU_ARCHIVED, "/sku",
                (struct tally_meta[]){TALLY_META_S("sku", cmd->sku)}, 1, "SKU %.*s is archived",
                (int)cmd->sku.len, (const char *)cmd->sku.data);
        return false;
    }
    return true;
}

/* Neither cancelled before it came, nor there already. */
static bool is_wanted(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_hold_row hold;
    enum tally_reject code;

    if (!read_hold(ctx, cmd, &hold) || (!is_open(&hold) && hold.attempt < cmd->attempt)) {
        return true;
    }
    code = is_open(&hold) ? TALLY_REJECT_OPERATION_IN_PROGRESS : TALLY_REJECT_CANCELLED;
    answer_refused(ctx, cmd, code);
    tally_reject(ctx, code, "/attempt",
            (struct tally_meta[]){TALLY_META_S("reservation_id", cmd->reservation_id),
                    TALLY_META_I("line", cmd->line), TALLY_META_I("attempt", hold.attempt)},
            3, "attempt %" PRId64 " of the line is %s", hold.attempt,
            stock_hold_states[hold.state]);
    return false;
}

static void refuse_quantity(struct choice *choice)
{
    const struct stock_command *cmd = choice->cmd;
    enum tally_reject code = choice->contended       ? TALLY_REJECT_CONTENDED
                             : choice->has_backorder ? TALLY_REJECT_BACKORDER_LIMIT
                                                     : TALLY_REJECT_INSUFFICIENT_STOCK;

    stock_send_hold_reply(choice->ctx, cmd,
            &(struct stock_hold_answer){
                    .code = code, .has_available = true, .available = choice->largest});
    tally_reject(choice->ctx, code, "/quantity",
            (struct tally_meta[]){TALLY_META_S("sku", cmd->sku),
                    TALLY_META_I("requested", cmd->quantity),
                    TALLY_META_I("available", choice->largest)},
            3, "available %" PRId64 ", requested %" PRId64, choice->largest, cmd->quantity);
}

/* Invariant (2). false: refused. */
static bool may_promise(struct stock_change *change)
{
    const struct stock_level_row *level = &change->before;
    int64_t promised = level->n[STOCK_HELD] + level->n[STOCK_RESERVED] + level->n[STOCK_COMMITTED] +
                       change->cmd->quantity;

    if (promised <= STOCK_QUANTITY_LIMIT) {
        return true;
    }
    answer_refused(change->ctx, change->cmd, TALLY_REJECT_QUANTITY_OVERFLOW);
    tally_reject(change->ctx, TALLY_REJECT_QUANTITY_OVERFLOW, "/quantity",
            (struct tally_meta[]){TALLY_META_S("sku", change->cmd->sku),
                    TALLY_META_S("warehouse", change->warehouse),
                    TALLY_META_I("limit", STOCK_QUANTITY_LIMIT)},
            3, "promised would be %" PRId64 ", limit %" PRId64, promised, STOCK_QUANTITY_LIMIT);
    return false;
}

void stock_decide_hold(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct choice choice = {.ctx = ctx, .cmd = cmd, .end = &choice.first};
    const struct candidate *best;
    struct stock_change change;

    if (!exists(ctx, cmd)) {
        return;
    }
    collect(&choice);
    if (!choice.first && !choice.ranked) {
        const struct tally_slice *names = cmd->warehouses.items;

        answer_refused(ctx, cmd, TALLY_REJECT_WAREHOUSE_CLOSED);
        stock_reject_warehouse(ctx, TALLY_REJECT_WAREHOUSE_CLOSED, "/warehouses", names[0]);
        return;
    }
    if (!is_wanted(ctx, cmd)) {
        return;
    }
    best = find_available(&choice);
    if (!best) {
        best = find_backorder(&choice);
    }
    if (!best) {
        refuse_quantity(&choice);
        return;
    }
    stock_change_open(&change, ctx, cmd, best->warehouse);
    if (!may_promise(&change)) {
        return;
    }
    stock_send_hold_reply(ctx, cmd, &(struct stock_hold_answer){.warehouse = best->warehouse});
    change.after.n[STOCK_HELD] += cmd->quantity;
    set_hold(&change.event, cmd,
            &(struct stock_hold_row){
                    .state = STOCK_HOLD_HELD, .attempt = cmd->attempt, .quantity = cmd->quantity});
    stock_change_finish(&change, STOCK_UNITS_HELD, STOCK_KIND_HOLD, "/quantity");
}

/* --- ConfirmHold, CommitHold, ReleaseHold ----------------------------------------------------- */

/* Opens a change of the level that this attempt of the line holds something of in `state`. false:
 * it does not. */
static bool open_hold(struct stock_change *change, struct tally_context *ctx,
        const struct stock_command *cmd, uint8_t state, struct stock_hold_row *hold)
{
    if (!read_hold(ctx, cmd, hold) || hold->state != state || hold->attempt != cmd->attempt ||
            !tally_slice_equal(hold->sku, cmd->sku)) {
        return false;
    }
    stock_change_open(change, ctx, cmd, hold->warehouse);
    return true;
}

static void advance(struct stock_change *change, struct stock_hold_row *hold)
{
    change->after.n[number_of(hold->state)] -= hold->quantity;
    hold->state++;
    change->after.n[number_of(hold->state)] += hold->quantity;
    set_hold(&change->event, change->cmd, hold);
}

void stock_decide_confirm_hold(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_change change;
    struct stock_hold_row hold;

    if (!open_hold(&change, ctx, cmd, STOCK_HOLD_HELD, &hold)) {
        tally_accept(ctx);
        return;
    }
    advance(&change, &hold);
    stock_change_finish(&change, STOCK_UNITS_RESERVED, STOCK_KIND_RESERVE, NULL);
}

void stock_decide_commit_hold(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_change change;
    struct stock_hold_row hold;

    if (!open_hold(&change, ctx, cmd, STOCK_HOLD_RESERVED, &hold)) {
        tally_accept(ctx);
        return;
    }
    advance(&change, &hold);
    change.event.cause.order_id = cmd->order_id;
    stock_mark(&change.event.cause.presence, STOCK_CAUSE_ORDER_ID);
    stock_change_finish(&change, STOCK_UNITS_COMMITTED, STOCK_KIND_COMMIT, NULL);
}

static void release(struct tally_context *ctx, const struct stock_command *cmd,
        struct stock_hold_row *hold)
{
    struct stock_change change;

    stock_change_open(&change, ctx, cmd, hold->warehouse);
    change.after.n[number_of(hold->state)] -= hold->quantity - hold->shipped;
    hold->state = STOCK_HOLD_RELEASED;
    hold->attempt = cmd->attempt;
    set_hold(&change.event, cmd, hold);
    change.event.reason = cmd->release_reason;
    stock_mark(&change.event.presence, STOCK_EVENT_REASON);
    stock_change_finish(&change, STOCK_UNITS_RELEASED, STOCK_KIND_RELEASE, NULL);
}

/* An open hold of an earlier attempt is given back as this one would be: nobody else will. */
void stock_decide_release_hold(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_hold_row hold;

    if (!read_hold(ctx, cmd, &hold)) {
        emit_tombstone(ctx, cmd);
    } else if (hold.attempt > cmd->attempt || !tally_slice_equal(hold.sku, cmd->sku)) {
        tally_accept(ctx);
    } else if (is_open(&hold)) {
        release(ctx, cmd, &hold);
    } else if (hold.attempt < cmd->attempt && hold.state == STOCK_HOLD_RELEASED) {
        emit_tombstone(ctx, cmd);
    } else {
        tally_accept(ctx);
    }
}

/* --- ShipStock of a reservation --------------------------------------------------------------- */

static void reject_hold(struct tally_context *ctx, const struct stock_command *cmd,
        enum tally_reject code, const struct stock_hold_row *hold)
{
    const char *state = stock_hold_states[hold->state];

    tally_reject(ctx, code, "/reservation_id",
            (struct tally_meta[]){TALLY_META_S("reservation_id", cmd->reservation_id),
                    TALLY_META_I("line", cmd->line),
                    TALLY_META_S("state", tally_slice_string(state))},
            3, "line %" PRId64 " of reservation %.*s is %s", cmd->line,
            (int)cmd->reservation_id.len, (const char *)cmd->reservation_id.data, state);
}

/* false: refused, the line has no committed hold here. */
static bool find_committed(struct stock_change *change, struct stock_hold_row *hold)
{
    struct tally_context *ctx = change->ctx;
    const struct stock_command *cmd = change->cmd;

    if (!read_hold(ctx, cmd, hold) || !tally_slice_equal(hold->sku, cmd->sku) ||
            !tally_slice_equal(hold->warehouse, cmd->warehouse)) {
        tally_reject(ctx, TALLY_REJECT_RESERVATION_NOT_FOUND, "/reservation_id",
                (struct tally_meta[]){TALLY_META_S("reservation_id", cmd->reservation_id)}, 1,
                "reservation %.*s holds nothing of this SKU here", (int)cmd->reservation_id.len,
                (const char *)cmd->reservation_id.data);
        return false;
    }
    if (hold->state == STOCK_HOLD_HELD || hold->state == STOCK_HOLD_RESERVED) {
        reject_hold(ctx, cmd, TALLY_REJECT_OPERATION_IN_PROGRESS, hold);
        return false;
    }
    if (!is_open(hold)) {
        reject_hold(ctx, cmd, TALLY_REJECT_RESERVATION_CLOSED, hold);
        return false;
    }
    return true;
}

/* No more than the line has still to come, and than is there. */
static bool may_ship(const struct stock_change *change, const struct stock_hold_row *hold)
{
    const struct stock_command *cmd = change->cmd;
    int64_t unshipped = hold->quantity - hold->shipped;

    if (cmd->quantity > unshipped) {
        tally_reject(change->ctx, TALLY_REJECT_QTY_EXCEEDS_COMMITTED, "/quantity",
                (struct tally_meta[]){TALLY_META_S("reservation_id", cmd->reservation_id),
                        TALLY_META_I("line", cmd->line), TALLY_META_I("requested", cmd->quantity),
                        TALLY_META_I("committed", unshipped)},
                4, "committed %" PRId64 ", requested %" PRId64, unshipped, cmd->quantity);
        return false;
    }
    return cmd->force ||
           stock_bucket_stays_positive(change, STOCK_SELLABLE, -cmd->quantity, "/quantity");
}

void stock_decide_ship_hold(struct tally_context *ctx, const struct stock_command *cmd)
{
    struct stock_change change;
    struct stock_hold_row hold;

    if (!stock_change_begin(&change, ctx, cmd) || !find_committed(&change, &hold) ||
            !may_ship(&change, &hold)) {
        return;
    }
    stock_change_bucket(&change, STOCK_SELLABLE, -cmd->quantity);
    change.after.n[STOCK_COMMITTED] -= cmd->quantity;
    hold.shipped += cmd->quantity;
    if (hold.shipped == hold.quantity) {
        hold.state = STOCK_HOLD_SHIPPED;
    }
    set_hold(&change.event, cmd, &hold);
    change.event.cause.shipment_id = cmd->shipment_id;
    stock_mark(&change.event.cause.presence, STOCK_CAUSE_SHIPMENT_ID);
    if (stock_change_fits(&change)) {
        stock_send_hold_shipped(ctx, cmd, change.before.version + 1);
    }
    stock_change_finish(&change, STOCK_SHIPPED, STOCK_KIND_SHIP, "/quantity");
}
