/* topologies/reservation/reservation_decide.c - what each command means, but for those of the saga
 * (reservation_hold.c). Reads state, emits and sends; writes nothing.
 * Checks follow one order, first failure decides: existence, an operation in progress,
 * expected_version, the state. Between commit and expiry the order of their records decides:
 * neither looks at the clock. */
#include "topologies/reservation/reservation_internal.h"

/* --- checks ----------------------------------------------------------------------------------- */

bool reservation_is_idle(struct reservation *reservation)
{
    if (!reservation->found || reservation->row.state != RESERVATION_HOLDING) {
        return true;
    }
    tally_reject(reservation->ctx, TALLY_REJECT_OPERATION_IN_PROGRESS, "/reservation_id",
            (struct tally_meta[]){TALLY_META_S("state", TALLY_SLICE("HOLDING"))}, 1,
            "the lines of the reservation are being held");
    return false;
}

bool reservation_version_matches(struct reservation *reservation)
{
    return tally_version_matches(reservation->ctx,
            reservation->found ? reservation->row.version : 0);
}

static bool exists(struct reservation *reservation)
{
    struct tally_slice id = reservation->cmd->reservation_id;

    if (reservation->found) {
        return true;
    }
    tally_reject(reservation->ctx, TALLY_REJECT_RESERVATION_NOT_FOUND, "/reservation_id",
            (struct tally_meta[]){TALLY_META_S("reservation_id", id)}, 1,
            "reservation %.*s is not known", (int)id.len, (const char *)id.data);
    return false;
}

static void reject_state(struct reservation *reservation)
{
    const char *state = reservation_state_names[reservation->row.state];

    tally_reject(reservation->ctx,
            reservation->row.state == RESERVATION_EXPIRED ? TALLY_REJECT_RESERVATION_EXPIRED
                                                          : TALLY_REJECT_RESERVATION_CLOSED,
            "/reservation_id",
            (struct tally_meta[]){TALLY_META_S("state", tally_slice_string(state))}, 1,
            "the reservation is %s", state);
}

/* Opens what a client names; false: rejected. */
static bool open_known(struct reservation *reservation, struct tally_context *ctx,
        const struct reservation_command *cmd)
{
    reservation_open(reservation, ctx, cmd);
    return exists(reservation) && reservation_is_idle(reservation) &&
           reservation_version_matches(reservation);
}

/* --- commands of clients ---------------------------------------------------------------------- */

static void decide_extend(struct tally_context *ctx, const struct reservation_command *cmd)
{
    struct reservation reservation;
    int64_t expires_at = tally_time(ctx) + cmd->ttl_s * 1000;

    if (!open_known(&reservation, ctx, cmd)) {
        return;
    }
    if (reservation.row.state != RESERVATION_CONFIRMED) {
        reject_state(&reservation);
        return;
    }
    if (expires_at <= reservation.row.expires_at) {
        tally_accept(ctx);
        return;
    }
    reservation_set_state(&reservation, RESERVATION_CONFIRMED);
    reservation.event.expires_at = expires_at;
    reservation_set_timer(&reservation, expires_at);
    reservation_emit(&reservation, RESERVATION_WAS_EXTENDED);
}

static void decide_commit(struct tally_context *ctx, const struct reservation_command *cmd)
{
    struct reservation reservation;

    if (!open_known(&reservation, ctx, cmd)) {
        return;
    }
    if (reservation.row.state == RESERVATION_COMMITTED &&
            tally_slice_equal(reservation.row.order_id, cmd->order_id)) {
        tally_accept(ctx);
        return;
    }
    if (reservation.row.state != RESERVATION_CONFIRMED) {
        reject_state(&reservation);
        return;
    }
    reservation_read_lines(&reservation);
    reservation_set_state(&reservation, RESERVATION_COMMITTED);
    reservation_set_timer(&reservation, 0);
    reservation.event.order_id = cmd->order_id;
    for (size_t i = 0; i < reservation.line_count; i++) {
        reservation_send_commit(&reservation, &reservation.lines[i]);
    }
    reservation_emit(&reservation, RESERVATION_WAS_COMMITTED);
}

/* The ReserveStock that is being carried out ends here too. */
static void complete_released(struct reservation *reservation)
{
    tally_complete_rejected(reservation->ctx, &reservation->op.operation,
            TALLY_REJECT_RESERVATION_CLOSED, "/reservation_id",
            (struct tally_meta[]){TALLY_META_S("state", TALLY_SLICE("RELEASED"))}, 1,
            "the reservation was released before all lines were held");
}

/* An unknown one is released as well: ReserveStock may still be on its way. */
static void decide_release(struct tally_context *ctx, const struct reservation_command *cmd)
{
    struct reservation reservation;

    reservation_open(&reservation, ctx, cmd);
    if (!reservation_version_matches(&reservation)) {
        return;
    }
    if (reservation.found) {
        switch ((enum reservation_state)reservation.row.state) {
        case RESERVATION_HOLDING:
            if (reservation_read_op(&reservation)) { /* else it could not be read now */
                complete_released(&reservation);
            }
            break;
        case RESERVATION_CONFIRMED:
        case RESERVATION_COMMITTED:
            break;
        case RESERVATION_RELEASED:
            tally_accept(ctx);
            return;
        default:
            reject_state(&reservation);
            return;
        }
        reservation_read_lines(&reservation);
        reservation_send_releases(&reservation, STOCK_RELEASE_RELEASED);
    }
    reservation_set_state(&reservation, RESERVATION_RELEASED);
    reservation_set_timer(&reservation, 0);
    reservation_emit(&reservation, RESERVATION_WAS_RELEASED);
}

/* --- commands of tally's own ------------------------------------------------------------------ */

static void decide_expire(struct tally_context *ctx, const struct reservation_command *cmd)
{
    struct reservation reservation;

    reservation_open(&reservation, ctx, cmd);
    if (!reservation.found || reservation.row.state != RESERVATION_CONFIRMED ||
            reservation.row.expires_at > cmd->due_at) {
        tally_accept(ctx);
        return;
    }
    reservation_read_lines(&reservation);
    reservation_set_state(&reservation, RESERVATION_EXPIRED);
    reservation_set_timer(&reservation, 0);
    reservation_send_releases(&reservation, STOCK_RELEASE_EXPIRED);
    reservation_emit(&reservation, RESERVATION_DID_EXPIRE);
}

static bool all_shipped(struct reservation *reservation, const struct reservation_line *changed)
{
    reservation_read_lines(reservation);
    for (size_t i = 0; i < reservation->line_count; i++) {
        const struct reservation_line *line = &reservation->lines[i];

        line = line->line == changed->line ? changed : line;
        if (line->shipped < line->quantity) {
            return false;
        }
    }
    return true;
}

/* What was shipped before a release reached stock is no longer its business. */
static void decide_hold_shipped(struct tally_context *ctx, const struct reservation_command *cmd)
{
    struct reservation reservation;
    struct reservation_line line;
    bool fulfilled;

    reservation_open(&reservation, ctx, cmd);
    if (!reservation.found || reservation.row.state != RESERVATION_COMMITTED ||
            !reservation_read_line(&reservation, cmd->line, &line) ||
            cmd->quantity > line.quantity - line.shipped) {
        tally_accept(ctx);
        return;
    }
    line.shipped += cmd->quantity;
    fulfilled = all_shipped(&reservation, &line);
    reservation_set_state(&reservation, fulfilled ? RESERVATION_FULFILLED : RESERVATION_COMMITTED);
    reservation_set_lines(&reservation, &line, 1);
    reservation_emit(&reservation, fulfilled ? RESERVATION_WAS_FULFILLED : RESERVATION_WAS_SHIPPED);
}

typedef void (*decide_fn)(struct tally_context *ctx, const struct reservation_command *cmd);

static const decide_fn decide_of[RESERVATION_COMMAND_TYPES] = {
        [RESERVATION_HOLD_REPLY] = reservation_decide_hold_reply,
        [RESERVATION_HOLD_SHIPPED] = decide_hold_shipped,
        [RESERVATION_RESERVE] = reservation_decide_reserve,
        [RESERVATION_EXTEND] = decide_extend,
        [RESERVATION_COMMIT] = decide_commit,
        [RESERVATION_RELEASE] = decide_release,
        [RESERVATION_EXPIRE] = decide_expire,
        [RESERVATION_TIME_OUT] = reservation_decide_time_out,
};

void reservation_decide(struct tally_context *ctx, const struct tally_command *command)
{
    decide_of[command->schema->id](ctx, (const struct reservation_command *)command->fields);
}
