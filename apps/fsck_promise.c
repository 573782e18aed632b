/* apps/fsck_promise.c - what reservations, transfers and the catalogue say about themselves, and
 * what they have with stock.
 *  (1) What one task says about its own rows is checked strictly.
 *  (2) Between topologies a message may be on its way: such things are settled or not. */
#include "apps/fsck_check_internal.h"

#include <stdio.h>

#include "schemas/catalogue_records.h"
#include "schemas/reservation_records.h"
#include "schemas/transfer_records.h"
#include "state/key_schema.h"

static bool is(struct tally_slice text, const char *name)
{
    return tally_slice_equal(text, tally_slice_string(name));
}

/* "1768471230000.R-77" -> "R-77". */
static struct tally_slice behind_due(struct tally_slice key)
{
    const uint8_t *dot = memchr(key.data, '.', key.len);
    size_t at = dot ? (size_t)(dot - key.data) + 1 : key.len;

    return tally_slice_of(key.data + at, key.len - at);
}

/* --- reservations ----------------------------------------------------------------------------- */

static void reservation_row(struct fsck_check *check, struct tally_slice key,
        const struct tally_token *value)
{
    struct fsck_reservation *reservation = fsck_table_at(&check->reservations, key);
    int state = fsck_name(reservation_state_names, fsck_text(value, "state"));

    fsck_expect(check, FSCK_I6, !reservation->is_row, key, "the reservation is in two partitions");
    if (fsck_expect(check, FSCK_I6, state >= 0, key, "the reservation is in no known state")) {
        reservation->is_row = true;
        reservation->state = (uint8_t)state;
    }
}

static void line_row(struct fsck_check *check, struct tally_slice key,
        const struct tally_token *value)
{
    struct fsck_line *line = fsck_table_at(&check->lines, key);

    *line = (struct fsck_line){.held = is(fsck_text(value, "state"), "HELD"),
            .quantity = fsck_number(value, "quantity"),
            .shipped = fsck_number(value, "shipped")};
    fsck_expect(check, FSCK_I8, line->shipped >= 0 && line->shipped <= line->quantity, key,
            "%lld of %lld shipped", (long long)line->shipped, (long long)line->quantity);
}

/* HOLDING waits for its lines, so it has an operation and a timer; CONFIRMED expires. */
static void check_reservation(struct fsck_check *check, struct tally_slice key,
        const struct fsck_reservation *reservation)
{
    bool holding = reservation->state == RESERVATION_HOLDING;
    bool confirmed = reservation->state == RESERVATION_CONFIRMED;
    const char *name;

    if (!fsck_expect(check, FSCK_I6, reservation->is_row, key,
                "an operation or a timer is left of a reservation that is not there")) {
        return;
    }
    name = reservation_state_names[reservation->state];
    fsck_expect(check, FSCK_I6, reservation->has_operation == holding, key, "%s %s an operation",
            name, reservation->has_operation ? "has" : "has not");
    fsck_expect(check, FSCK_I6, reservation->timers == (holding || confirmed ? 1u : 0u), key,
            "%s has %u timers", name, reservation->timers);
    fsck_expect_settled(check, FSCK_I8, !holding, key, "HOLDING, and nothing is on its way");
}

/* The reservation of a line, whose key is that of lines and of holds. */
static const struct fsck_reservation *reservation_of(const struct fsck_check *check,
        struct tally_slice line)
{
    const struct fsck_reservation *reservation;
    struct tally_key key;

    if (tally_key_parse(TALLY_STORE_RESERVATION_LINE, line, &key, NULL) != TALLY_OK) {
        return NULL;
    }
    reservation = fsck_table_find(&check->reservations,
            tally_slice_string((const char *)key.bytes + 1)); /* its first part ends with 0 */
    return reservation && reservation->is_row ? reservation : NULL;
}

/* A line of a reservation against stock's hold. */
static void check_line(struct fsck_check *check, struct tally_slice key,
        const struct fsck_line *line)
{
    const struct fsck_reservation *reservation = reservation_of(check, key);
    const struct fsck_hold *hold = fsck_table_find(&check->holds, key);
    bool shipped_all = line->shipped == line->quantity;
    uint8_t wanted;

    if (!fsck_expect(check, FSCK_I8, reservation != NULL, key, "a line without its reservation")) {
        return;
    }
    if (reservation->state != RESERVATION_CONFIRMED &&
            reservation->state != RESERVATION_COMMITTED) {
        return;
    }
    fsck_expect(check, FSCK_I8, line->held, key, "%s, but the line is not held",
            reservation_state_names[reservation->state]);
    wanted = reservation->state == RESERVATION_CONFIRMED ? STOCK_HOLD_RESERVED
             : shipped_all                               ? STOCK_HOLD_SHIPPED
                                                         : STOCK_HOLD_COMMITTED;
    if (!hold) { /* one that ended is forgotten after a time */
        fsck_expect_settled(check, FSCK_I8, shipped_all, key, "%s, but stock holds nothing for it",
                reservation_state_names[reservation->state]);
        return;
    }
    fsck_expect_settled(check, FSCK_I8, hold->state == wanted, key, "%s, but stock's hold is %s",
            reservation_state_names[reservation->state], stock_hold_states[hold->state]);
    fsck_expect_settled(check, FSCK_I8,
            hold->quantity == line->quantity && hold->shipped == line->shipped, key,
            "%lld of %lld shipped, but %lld of %lld for stock", (long long)line->shipped,
            (long long)line->quantity, (long long)hold->shipped, (long long)hold->quantity);
}

/* Stock's hold that is open: a reservation must own it. */
static void check_hold(struct fsck_check *check, struct tally_slice key,
        const struct fsck_hold *hold)
{
    const struct fsck_reservation *reservation = reservation_of(check, key);
    bool owned;

    if (hold->state == STOCK_HOLD_SHIPPED || hold->state == STOCK_HOLD_RELEASED) {
        return;
    }
    owned = reservation &&
            (reservation->state == RESERVATION_HOLDING ||
                    reservation->state == RESERVATION_CONFIRMED ||
                    reservation->state == RESERVATION_COMMITTED) &&
            fsck_table_find(&check->lines, key);
    fsck_expect_settled(check, FSCK_I8, owned, key, "%s in stock, but its reservation is %s",
            stock_hold_states[hold->state],
            reservation ? reservation_state_names[reservation->state] : "not there");
}

/* --- transfers -------------------------------------------------------------------------------- */

static void transfer_row(struct fsck_check *check, struct tally_slice key,
        const struct tally_token *value)
{
    struct fsck_transfer *transfer = fsck_table_at(&check->transfers, key);
    int state = fsck_name(transfer_state_names, fsck_text(value, "state"));

    fsck_expect(check, FSCK_I6, !transfer->is_row, key, "the transfer is in two partitions");
    if (!fsck_expect(check, FSCK_I6, state >= 0, key, "the transfer is in no known state")) {
        return;
    }
    transfer->is_row = true;
    transfer->state = (uint8_t)state;
    transfer->quantity = fsck_number(value, "quantity");
    transfer->received = fsck_number(value, "received");
    transfer->returned = fsck_number(value, "returned");
    transfer->lost = fsck_number(value, "lost");
}

/* Once dispatched, what left is what came, came back, was lost, or is still in transit. */
static void check_transfer(struct fsck_check *check, struct tally_slice key,
        const struct fsck_transfer *transfer)
{
    int64_t ended = transfer->received + transfer->returned + transfer->lost;
    bool dispatching, none;
    int64_t left;

    if (!fsck_expect_settled(check, FSCK_I8, transfer->is_row, key,
                "goods moved for a transfer that is not there")) {
        return;
    }
    dispatching = transfer->state == TRANSFER_DISPATCHING;
    none = transfer->state == TRANSFER_FAILED;
    fsck_expect(check, FSCK_I6,
            transfer->has_operation == dispatching && transfer->timers == (dispatching ? 1u : 0u),
            key, "%s with %s operation and %u timers", transfer_state_names[transfer->state],
            transfer->has_operation ? "an" : "no", transfer->timers);
    fsck_expect_settled(check, FSCK_I8, !dispatching, key,
            "DISPATCHING, and nothing is on its way");
    if (dispatching) {
        return;
    }
    if (transfer->state == TRANSFER_RECEIVED || transfer->state == TRANSFER_CANCELLED) {
        fsck_expect(check, FSCK_I5, ended == transfer->quantity, key,
                "ended with %lld of %lld received, returned or lost", (long long)ended,
                (long long)transfer->quantity);
    }
    if (!check->has_ledger) {
        return;
    }
    left = none ? 0 : transfer->quantity;
    fsck_expect_settled(check, FSCK_I5,
            transfer->out == left + (none ? transfer->back : 0) && transfer->expect == left, key,
            "%lld left and %lld are expected by stock, the transfer says %lld",
            (long long)transfer->out, (long long)transfer->expect, (long long)left);
    if (!none) {
        fsck_expect_settled(check, FSCK_I5,
                transfer->in == transfer->received && transfer->back == transfer->returned &&
                        transfer->loss == transfer->lost + transfer->returned,
                key, "stock has %lld in, %lld back, %lld lost; the transfer %lld, %lld, %lld",
                (long long)transfer->in, (long long)transfer->back, (long long)transfer->loss,
                (long long)transfer->received, (long long)transfer->returned,
                (long long)(transfer->lost + transfer->returned));
    }
}

/* --- catalogue -------------------------------------------------------------------------------- */

static struct fsck_claim *claim_at(struct fsck_check *check, const char *kind,
        struct tally_slice name)
{
    char key[320];
    int len = snprintf(key, sizeof key, "%s:%.*s", kind, (int)(name.len < 256 ? name.len : 256),
            (const char *)name.data);

    return fsck_table_at(&check->claims, tally_slice_of(key, (size_t)len));
}

static void owned_row(struct fsck_check *check, const char *kind, struct tally_slice key,
        const struct tally_token *value)
{
    struct fsck_claim *claim = claim_at(check, kind, key);

    claim->product_id = tally_arena_copy(&check->kept, fsck_text(value, "product_id"));
}

void fsck_promise_sku(struct fsck_check *check, struct tally_slice key,
        const struct tally_token *value)
{
    owned_row(check, "sku", key, value);
}

/* What the product says it owns is asked of slugs and SKUs when all rows are in. */
static void product_row(struct fsck_check *check, struct tally_slice key,
        const struct tally_token *value)
{
    const struct tally_token *variants = tally_token_member(value, "variants"), *variant;

    check->products++;
    claim_at(check, "slug", fsck_text(value, "slug"))->wanted_by =
            tally_arena_copy(&check->kept, key);
    variant = variants ? variants + 1 : NULL;
    for (uint32_t i = 0; variants && i < variants->count; i++) {
        claim_at(check, "sku", fsck_text(variant, "sku"))->wanted_by =
                tally_arena_copy(&check->kept, key);
        variant = tally_token_next(variant);
    }
}

static void check_claim(struct fsck_check *check, struct tally_slice key,
        const struct fsck_claim *claim)
{
    bool product = tally_slice_starts(key, TALLY_SLICE("product:"));

    if (product) {
        fsck_expect(check, FSCK_I6, claim->timers == (claim->has_operation ? 1u : 0u), key,
                "%s operation and %u timers", claim->has_operation ? "an" : "no", claim->timers);
        fsck_expect_settled(check, FSCK_CATALOGUE, !claim->has_operation, key,
                "an operation waits, and nothing is on its way");
    } else if (claim->wanted_by.len > 0) {
        fsck_expect_settled(check, FSCK_CATALOGUE,
                tally_slice_equal(claim->product_id, claim->wanted_by), key,
                "product %.*s has it, but it belongs to \"%.*s\"", (int)claim->wanted_by.len,
                (const char *)claim->wanted_by.data, (int)claim->product_id.len,
                (const char *)claim->product_id.data);
    }
}

/* --- rows ------------------------------------------------------------------------------------- */

static void catalogue_row(struct fsck_check *check, struct tally_slice store,
        struct tally_slice key, const struct tally_token *value)
{
    if (is(store, "product")) {
        product_row(check, key, value);
    } else if (is(store, "slug")) {
        owned_row(check, "slug", key, value);
    } else if (is(store, "operation")) {
        claim_at(check, "product", key)->has_operation = true;
    } else if (is(store, "timer")) {
        claim_at(check, "product", behind_due(key))->timers++;
    }
}

static void reservation_store(struct fsck_check *check, struct tally_slice store,
        struct tally_slice key, const struct tally_token *value)
{
    struct fsck_reservation *reservation;

    if (is(store, "reservation")) {
        reservation_row(check, key, value);
    } else if (is(store, "line")) {
        line_row(check, key, value);
    } else if (is(store, "operation")) {
        reservation = fsck_table_at(&check->reservations, key);
        reservation->has_operation = true;
    } else if (is(store, "timer")) {
        reservation = fsck_table_at(&check->reservations, behind_due(key));
        reservation->timers++;
    }
}

static void transfer_store(struct fsck_check *check, struct tally_slice store,
        struct tally_slice key, const struct tally_token *value)
{
    struct fsck_transfer *transfer;

    if (is(store, "transfer")) {
        transfer_row(check, key, value);
    } else if (is(store, "operation")) {
        transfer = fsck_table_at(&check->transfers, key);
        transfer->has_operation = true;
    } else if (is(store, "timer")) {
        transfer = fsck_table_at(&check->transfers, behind_due(key));
        transfer->timers++;
    }
}

void fsck_promise_row(struct fsck_check *check, struct tally_slice topology,
        struct tally_slice store, struct tally_slice key, const struct tally_token *value)
{
    if (is(topology, "catalogue")) {
        catalogue_row(check, store, key, value);
    } else if (is(topology, "reservation")) {
        reservation_store(check, store, key, value);
    } else if (is(topology, "transfer")) {
        transfer_store(check, store, key, value);
    }
}

void fsck_promise_finish(struct fsck_check *check)
{
    struct tally_slice key;
    const void *at = NULL;

    fsck_place(check, "reservation");
    while ((at = fsck_table_next(&check->reservations, at, &key))) {
        check_reservation(check, key, at);
    }
    while ((at = fsck_table_next(&check->lines, at, &key))) {
        check_line(check, key, at);
    }
    fsck_place(check, "stock");
    while ((at = fsck_table_next(&check->holds, at, &key))) {
        check_hold(check, key, at);
    }
    fsck_place(check, "transfer");
    while ((at = fsck_table_next(&check->transfers, at, &key))) {
        check_transfer(check, key, at);
    }
    fsck_place(check, "catalogue");
    while ((at = fsck_table_next(&check->claims, at, &key))) {
        check_claim(check, key, at);
    }
}
