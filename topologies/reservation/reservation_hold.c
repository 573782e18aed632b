/* topologies/reservation/reservation_hold.c - the saga: from ReserveStock to CONFIRMED or FAILED.
 * Attempt 1 asks for all lines at once. When another reservation in flight holds what a line needs
 * (CONTENDED), everything is given back and the next attempt asks for one line after the other, in
 * the order of (sku, line), which is the same for all: two reservations of the same SKUs then wait
 * for each other at the first one that they share, and never hold what the other one waits for.
 * Invariants
 *  (1) A reply counts once: only that of the attempt which is running, to a line that is PENDING.
 *  (2) pending = lines that are not HELD yet. */
#include <inttypes.h>

#include "topologies/reservation/reservation_internal.h"

#define ATTEMPTS_MAX 3
#define QUANTITY_MAX INT64_C(1000000000000) /* of one line, as of every command */

/* --- ReserveStock ----------------------------------------------------------------------------- */

static bool same_warehouses(const struct reservation_line *a, const struct reservation_line *b)
{
    const struct tally_slice *names = a->warehouses.items, *others = b->warehouses.items;

    if (a->warehouses.count != b->warehouses.count) {
        return false;
    }
    for (size_t i = 0; i < a->warehouses.count; i++) {
        if (!tally_slice_equal(names[i], others[i])) {
            return false;
        }
    }
    return true;
}

/* One warehouse is a list of one. */
static struct reservation_line line_of(const struct reservation_asked *asked)
{
    struct reservation_line line = {
            .sku = asked->sku,
            .quantity = asked->quantity,
            .warehouses = asked->warehouses,
            .state = RESERVATION_PENDING,
    };

    line.presence.present = TALLY_BIT(RESERVATION_LINE_NUMBER) | TALLY_BIT(RESERVATION_LINE_SKU) |
                            TALLY_BIT(RESERVATION_LINE_QUANTITY) |
                            TALLY_BIT(RESERVATION_LINE_WAREHOUSES) |
                            TALLY_BIT(RESERVATION_LINE_STATE) | TALLY_BIT(RESERVATION_LINE_SHIPPED);
    if (asked->presence.present & TALLY_BIT(RESERVATION_ASKED_WAREHOUSE)) {
        line.warehouses = (struct tally_array){
                .items = (void *)(uintptr_t)&asked->warehouse, /* only read */
                .count = 1,
        };
    }
    return line;
}

static struct reservation_line *find_equal(struct reservation *reservation,
        const struct reservation_line *line)
{
    for (size_t i = 0; i < reservation->line_count; i++) {
        struct reservation_line *known = &reservation->lines[i];

        if (tally_slice_equal(known->sku, line->sku) && same_warehouses(known, line)) {
            return known;
        }
    }
    return NULL;
}

static void reject_line(struct reservation *reservation, enum tally_reject code, const char *what,
        int64_t actual, int64_t limit)
{
    tally_reject(reservation->ctx, code, "/lines",
            (struct tally_meta[]){TALLY_META_I(what, actual), TALLY_META_I("limit", limit)}, 2,
            "%s %" PRId64 ", limit %" PRId64, what, actual, limit);
}

/* Equal lines become one, at the place of the first. false: rejected. */
static bool merge_lines(struct reservation *reservation)
{
    const struct reservation_asked *asked = reservation->cmd->lines.items;
    size_t count = reservation->cmd->lines.count;
    size_t room = count < RESERVATION_LINES_MAX ? count : RESERVATION_LINES_MAX;

    reservation->lines =
            tally_arena_alloc(tally_scratch(reservation->ctx), room * sizeof reservation->lines[0]);
    for (size_t i = 0; i < count; i++) {
        struct reservation_line line = line_of(&asked[i]);
        struct reservation_line *known = find_equal(reservation, &line);

        if (known) {
            known->quantity += line.quantity;
            if (known->quantity > QUANTITY_MAX) {
                reject_line(reservation, TALLY_REJECT_QUANTITY_OVERFLOW, "quantity",
                        known->quantity, QUANTITY_MAX);
                return false;
            }
        } else if (reservation->line_count == RESERVATION_LINES_MAX) {
            reject_line(reservation, TALLY_REJECT_TOO_MANY_LINES, "lines",
                    RESERVATION_LINES_MAX + 1, RESERVATION_LINES_MAX);
            return false;
        } else {
            line.line = (int64_t)reservation->line_count + 1;
            reservation->lines[reservation->line_count++] = line;
        }
    }
    return true;
}

static bool is_new(struct reservation *reservation)
{
    struct tally_slice state = tally_slice_string(reservation_state_names[reservation->row.state]);
    bool released_before = reservation->row.attempt == 0;

    if (!reservation->found) {
        return true;
    }
    tally_reject(reservation->ctx,
            released_before ? TALLY_REJECT_RESERVATION_CLOSED : TALLY_REJECT_RESERVATION_EXISTS,
            "/reservation_id", (struct tally_meta[]){TALLY_META_S("state", state)}, 1, "%s",
            released_before ? "the reservation was released before it was requested"
                            : "the reservation exists");
    return false;
}

void reservation_decide_reserve(struct tally_context *ctx, const struct reservation_command *cmd)
{
    struct reservation reservation;
    struct reservation_event *event = &reservation.event;

    reservation_open(&reservation, ctx, cmd);
    if (!reservation_is_idle(&reservation) || !reservation_version_matches(&reservation) ||
            !is_new(&reservation) || !merge_lines(&reservation)) {
        return;
    }
    reservation_set_state(&reservation, RESERVATION_HOLDING);
    event->owner = cmd->owner;
    event->ttl_s = cmd->ttl_s;
    event->attempt = 1;
    event->pending = (int64_t)reservation.line_count;
    reservation_set_lines(&reservation, reservation.lines, reservation.line_count);
    tally_operation_begin(ctx, &reservation.op.operation);
    if (cmd->head.presence.present & TALLY_BIT(TALLY_HAS_DEADLINE)) {
        reservation.op.deadline = cmd->head.deadline;
        reservation.op.operation.presence.present |= TALLY_BIT(RESERVATION_OP_DEADLINE);
    }
    reservation_set_op(&reservation);
    for (size_t i = 0; i < reservation.line_count; i++) {
        reservation_send_hold(&reservation, &reservation.lines[i]);
    }
    reservation_emit_pending(&reservation, RESERVATION_WAS_REQUESTED);
}

/* --- granted ---------------------------------------------------------------------------------- */

static bool has(const struct reservation_command *cmd, unsigned bit)
{
    return cmd->head.presence.present & TALLY_BIT(bit);
}

static void set_held(struct reservation_line *line, const struct reservation_command *cmd)
{
    line->state = RESERVATION_HELD;
    line->position = cmd->position;
    line->presence.present |= TALLY_BIT(RESERVATION_LINE_POSITION);
    if (has(cmd, RESERVATION_HAS_WAREHOUSE)) {
        line->warehouse = cmd->warehouse;
        line->presence.present |= TALLY_BIT(RESERVATION_LINE_WAREHOUSE);
    }
}

static bool comes_before(const struct reservation_line *a, const struct reservation_line *b)
{
    int order = tally_slice_compare(a->sku, b->sku);

    return order != 0 ? order < 0 : a->line < b->line;
}

/* The first line, in the order that is the same for all, that waits for its turn. */
static struct reservation_line *find_next(struct reservation *reservation)
{
    struct reservation_line *next = NULL;

    for (size_t i = 0; i < reservation->line_count; i++) {
        struct reservation_line *line = &reservation->lines[i];

        if (line->state == RESERVATION_WAITING && (!next || comes_before(line, next))) {
            next = line;
        }
    }
    return next;
}

static void confirm(struct reservation *reservation)
{
    reservation->event.pending = 0;
    set_held(&reservation->lines[reservation->cmd->line - 1], reservation->cmd);
    reservation_set_state(reservation, RESERVATION_CONFIRMED);
    reservation->event.expires_at = tally_time(reservation->ctx) + reservation->event.ttl_s * 1000;
    reservation_set_timer(reservation, reservation->event.expires_at);
    reservation_set_lines(reservation, reservation->lines, reservation->line_count);
    tally_complete(reservation->ctx, &reservation->op.operation);
    for (size_t i = 0; i < reservation->line_count; i++) {
        reservation_send_confirm(reservation, &reservation->lines[i]);
    }
    reservation_emit(reservation, RESERVATION_WAS_CONFIRMED);
}

static void hold_line(struct reservation *reservation, const struct reservation_line *granted)
{
    struct reservation_line changed[2] = {*granted};
    struct reservation_line *next = NULL;
    size_t count = 1;

    set_held(&changed[0], reservation->cmd);
    if (reservation->row.attempt > 1) {
        reservation_read_lines(reservation);
        next = find_next(reservation);
    }
    if (next) {
        next->state = RESERVATION_PENDING;
        reservation_send_hold(reservation, next);
        changed[count++] = *next;
        if (next->line < granted->line) {
            changed[1] = changed[0];
            changed[0] = *next;
        }
    }
    reservation_set_lines(reservation, changed, count);
    reservation_emit(reservation, RESERVATION_LINE_WAS_HELD);
}

/* --- refused ---------------------------------------------------------------------------------- */

static void fail(struct reservation *reservation, const struct reservation_line *refused,
        enum tally_reject code, const char *why)
{
    struct tally_meta meta[] = {TALLY_META_I("line", refused->line),
            TALLY_META_S("sku", refused->sku), TALLY_META_I("requested", refused->quantity),
            TALLY_META_I("available", refused->available)};
    bool counted = refused->presence.present & TALLY_BIT(RESERVATION_LINE_AVAILABLE);

    reservation_set_state(reservation, RESERVATION_FAILED);
    reservation_set_timer(reservation, 0);
    reservation_set_lines(reservation, reservation->lines, reservation->line_count);
    tally_complete_rejected(reservation->ctx, &reservation->op.operation, code, "/lines", meta,
            counted ? 4 : 3, "line %" PRId64 ", SKU %.*s: %s", refused->line, (int)refused->sku.len,
            (const char *)refused->sku.data, why);
    reservation_send_releases(reservation, STOCK_RELEASE_FAILED);
    reservation_emit(reservation, RESERVATION_DID_FAIL);
}

/* A code that this release does not know can only say that the hold did not come about. */
static enum tally_reject code_of(const struct reservation_command *cmd)
{
    enum tally_reject code = tally_reject_find(cmd->code);

    return code == TALLY_REJECT_NONE ? TALLY_REJECT_CANCELLED : code;
}

static void refuse(struct reservation *reservation, struct reservation_line *line)
{
    const struct reservation_command *cmd = reservation->cmd;
    enum tally_reject code = code_of(cmd);

    line->state = RESERVATION_REFUSED;
    line->code = tally_slice_string(tally_reject_name(code));
    line->presence.present |= TALLY_BIT(RESERVATION_LINE_CODE);
    if (has(cmd, RESERVATION_HAS_AVAILABLE)) {
        line->available = cmd->available;
        line->presence.present |= TALLY_BIT(RESERVATION_LINE_AVAILABLE);
    }
    fail(reservation, line, code, tally_reject_title(code));
}

/* Everything goes back; then the lines are asked for one by one. */
static void retry(struct reservation *reservation, struct reservation_line *refused)
{
    struct reservation_line *first;

    refused->state = RESERVATION_REFUSED; /* nothing to give back */
    reservation_send_releases(reservation, STOCK_RELEASE_RETRIED);
    reservation->event.attempt++;
    reservation->event.pending = (int64_t)reservation->line_count;
    for (size_t i = 0; i < reservation->line_count; i++) {
        reservation_line_reset(&reservation->lines[i], RESERVATION_WAITING);
    }
    first = find_next(reservation);
    first->state = RESERVATION_PENDING;
    reservation_set_lines(reservation, reservation->lines, reservation->line_count);
    reservation_set_op(reservation);
    reservation_send_hold(reservation, first);
    reservation_emit(reservation, RESERVATION_WAS_RETRIED);
}

/* --- HoldReply, TimeOut ----------------------------------------------------------------------- */

/* Whether the attempt is the one that is running. What cannot be read now looks absent here and
 * below: the decision is thrown away then. */
static bool open_attempt(struct reservation *reservation, struct tally_context *ctx,
        const struct reservation_command *cmd)
{
    reservation_open(reservation, ctx, cmd);
    if (!reservation->found || reservation->row.state != RESERVATION_HOLDING ||
            reservation->row.attempt != cmd->attempt) {
        return false;
    }
    return reservation_read_op(reservation);
}

void reservation_decide_hold_reply(struct tally_context *ctx, const struct reservation_command *cmd)
{
    struct reservation reservation;
    struct reservation_line line;

    if (!open_attempt(&reservation, ctx, cmd) ||
            !reservation_read_line(&reservation, cmd->line, &line) ||
            line.state != RESERVATION_PENDING) {
        tally_accept(ctx);
        return;
    }
    if (cmd->granted && reservation.row.pending > 1) {
        reservation.event.pending--;
        hold_line(&reservation, &line);
        return;
    }
    reservation_read_lines(&reservation);
    if ((int64_t)reservation.line_count < cmd->line) {
        tally_accept(ctx);
    } else if (cmd->granted) {
        confirm(&reservation);
    } else if (code_of(cmd) == TALLY_REJECT_CONTENDED && cmd->attempt < ATTEMPTS_MAX) {
        retry(&reservation, &reservation.lines[cmd->line - 1]);
    } else {
        refuse(&reservation, &reservation.lines[cmd->line - 1]);
    }
}

/* Blames the first line that stock has not answered for. */
void reservation_decide_time_out(struct tally_context *ctx, const struct reservation_command *cmd)
{
    struct reservation reservation;
    size_t at = 0;

    if (open_attempt(&reservation, ctx, cmd)) {
        reservation_read_lines(&reservation);
    }
    while (at < reservation.line_count && reservation.lines[at].state != RESERVATION_PENDING) {
        at++;
    }
    if (at == reservation.line_count) {
        tally_accept(ctx);
        return;
    }
    fail(&reservation, &reservation.lines[at], TALLY_REJECT_OPERATION_TIMED_OUT,
            "no answer in time");
}
