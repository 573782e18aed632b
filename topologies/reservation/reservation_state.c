/* topologies/reservation/reservation_state.c - a reservation while it is decided: reading it, and
 * the event that it becomes.
 *
 *   (none) --[ReserveStock]--> HOLDING --[last HoldReply]--> CONFIRMED
 *   CONFIRMED --[CommitReservation]--> COMMITTED --[last HoldShipped]--> FULFILLED
 *   HOLDING --[refusal, TimeOut]--> FAILED        CONFIRMED --[ExpireReservation]--> EXPIRED
 *   (none), HOLDING, CONFIRMED, COMMITTED --[ReleaseReservation]--> RELEASED
 *
 * Invariants
 *  (1) An id has one life: one that ended stays. Only a tombstone, released before it was
 *      requested, counts as absent RETENTION_MS later, in time of the partition. Its version goes
 *      on all the same: whoever guards writes by it (sinks, caches) must not take the life for an
 *      older one.
 *  (2) Every event says all there is to know of the reservation itself, so its row is a function of
 *      the event. */
#include "topologies/reservation/reservation_internal.h"

#define RETENTION_MS (INT64_C(7) * 24 * 3600 * 1000)
#define TIME_OUT_MS  (INT64_C(30) * 1000) /* of an attempt to hold all lines */
#define FIRST_LINES  4                    /* room for that many at first: most have fewer */

#define BIT(n) (1u << (n))
static const unsigned successors[RESERVATION_STATES] = {
        [RESERVATION_HOLDING] = BIT(RESERVATION_HOLDING) | BIT(RESERVATION_CONFIRMED) |
                                BIT(RESERVATION_FAILED) | BIT(RESERVATION_RELEASED),
        [RESERVATION_CONFIRMED] = BIT(RESERVATION_CONFIRMED) | BIT(RESERVATION_COMMITTED) |
                                  BIT(RESERVATION_RELEASED) | BIT(RESERVATION_EXPIRED),
        [RESERVATION_COMMITTED] =
                BIT(RESERVATION_COMMITTED) | BIT(RESERVATION_FULFILLED) | BIT(RESERVATION_RELEASED),
        [RESERVATION_FULFILLED] = 0,
        [RESERVATION_FAILED] = 0,
        [RESERVATION_RELEASED] = 0,
        [RESERVATION_EXPIRED] = 0,
};
static const unsigned first_states = BIT(RESERVATION_HOLDING) | BIT(RESERVATION_RELEASED);

/* --- reading ---------------------------------------------------------------------------------- */

/* What an event leaves as it is. */
static void begin_event(struct reservation *reservation)
{
    const struct reservation_row *row = &reservation->row;

    reservation->event = (struct reservation_event){
            .reservation_id = reservation->cmd->reservation_id,
            .version = row->version + 1,
            .state = row->state,
            .owner = row->owner,
            .order_id = row->order_id,
            .ttl_s = row->ttl_s,
            .attempt = row->attempt,
            .pending = row->pending,
            .expires_at = row->expires_at,
    };
}

void reservation_open(struct reservation *reservation, struct tally_context *ctx,
        const struct reservation_command *cmd)
{
    struct tally_key key = reservation_key(TALLY_STORE_RESERVATION, cmd->reservation_id);
    struct tally_slice row;
    struct reservation_row *found = &reservation->row;

    *reservation = (struct reservation){.ctx = ctx, .cmd = cmd};
    if (!tally_get(ctx, &key, &row)) {
        begin_event(reservation);
        return;
    }
    tally_assert(reservation_unpack(tally_arena_copy(tally_scratch(ctx), row), found));
    reservation->found = true;
    if (found->attempt == 0 && found->updated_at + RETENTION_MS <= tally_time(ctx)) {
        *found = (struct reservation_row){.version = found->version};
        reservation->found = false;
    }
    begin_event(reservation);
}

bool reservation_read_line(struct reservation *reservation, int64_t line,
        struct reservation_line *found)
{
    struct tally_arena *scratch = tally_scratch(reservation->ctx);
    struct tally_key key = reservation_line_key(reservation->cmd->reservation_id, line);
    struct tally_slice row;

    if (!tally_get(reservation->ctx, &key, &row)) {
        return false;
    }
    tally_assert(reservation_line_unpack(tally_arena_copy(scratch, row), scratch, found));
    return true;
}

/* Lines are numbered without a gap: the first number that is absent ends them. */
void reservation_read_lines(struct reservation *reservation)
{
    struct tally_arena *scratch = tally_scratch(reservation->ctx);
    size_t capacity = FIRST_LINES;
    struct reservation_line line;

    if (reservation->lines) {
        return;
    }
    reservation->lines = tally_arena_alloc(scratch, capacity * sizeof reservation->lines[0]);
    while (reservation->line_count < RESERVATION_LINES_MAX &&
            reservation_read_line(reservation, (int64_t)reservation->line_count + 1, &line)) {
        if (reservation->line_count == capacity) {
            struct reservation_line *more =
                    tally_arena_alloc(scratch, 2 * capacity * sizeof more[0]);

            memcpy(more, reservation->lines, capacity * sizeof more[0]);
            reservation->lines = more;
            capacity *= 2;
        }
        reservation->lines[reservation->line_count++] = line;
    }
}

bool reservation_read_op(struct reservation *reservation)
{
    struct tally_arena *scratch = tally_scratch(reservation->ctx);
    struct tally_key key =
            reservation_key(TALLY_STORE_RESERVATION_OPERATION, reservation->cmd->reservation_id);
    struct tally_slice row;

    if (!tally_get(reservation->ctx, &key, &row)) {
        return false;
    }
    tally_assert(reservation_op_unpack(tally_arena_copy(scratch, row), scratch, &reservation->op));
    return true;
}

/* --- the event -------------------------------------------------------------------------------- */

void reservation_set_state(struct reservation *reservation, enum reservation_state next)
{
    unsigned legal = reservation->found ? successors[reservation->row.state] : first_states;

    tally_assert(legal & BIT(next));
    reservation->event.state = (uint8_t)next;
}

static void mark(struct reservation *reservation, unsigned bit)
{
    reservation->event.presence.present |= TALLY_BIT(bit);
}

/* The one that is running: a HOLDING one's ends the attempt, a CONFIRMED one's is its expiry. */
static int64_t timer_before(const struct reservation *reservation)
{
    if (!reservation->found) {
        return 0;
    }
    switch ((enum reservation_state)reservation->row.state) {
    case RESERVATION_HOLDING:
        return reservation->op.due_at;
    case RESERVATION_CONFIRMED:
        return reservation->row.expires_at;
    default:
        return 0;
    }
}

void reservation_set_timer(struct reservation *reservation, int64_t due_ms)
{
    struct reservation_timer *timer = &reservation->event.timer;
    int64_t before = timer_before(reservation);

    if (due_ms) {
        timer->set = due_ms;
        timer->presence.present |= TALLY_BIT(RESERVATION_TIMER_SET);
        mark(reservation, RESERVATION_EVENT_TIMER);
    }
    if (before) {
        timer->clear = before;
        timer->presence.present |= TALLY_BIT(RESERVATION_TIMER_CLEAR);
        mark(reservation, RESERVATION_EVENT_TIMER);
    }
}

void reservation_set_op(struct reservation *reservation)
{
    int64_t due_ms = tally_time(reservation->ctx) + TIME_OUT_MS;

    reservation_set_timer(reservation, due_ms);
    reservation->op.due_at = due_ms;
    reservation->op.operation.presence.present |= TALLY_BIT(RESERVATION_OP_DUE_AT);
    reservation->event.op = reservation->op;
    mark(reservation, RESERVATION_EVENT_OP);
}

void reservation_set_lines(struct reservation *reservation, struct reservation_line *lines,
        size_t count)
{
    reservation->event.lines = (struct tally_array){.items = lines, .count = count};
    mark(reservation, RESERVATION_EVENT_LINES);
}

void reservation_line_reset(struct reservation_line *line, enum reservation_line_state state)
{
    line->state = (uint8_t)state;
    line->warehouse = line->position = line->code = TALLY_NONE;
    line->available = 0;
    line->presence.present &=
            ~(TALLY_BIT(RESERVATION_LINE_WAREHOUSE) | TALLY_BIT(RESERVATION_LINE_POSITION) |
                    TALLY_BIT(RESERVATION_LINE_CODE) | TALLY_BIT(RESERVATION_LINE_AVAILABLE));
}

static void mark_head(struct reservation *reservation)
{
    const struct reservation_event *event = &reservation->event;

    mark(reservation, RESERVATION_EVENT_RESERVATION_ID);
    mark(reservation, RESERVATION_EVENT_VERSION);
    mark(reservation, RESERVATION_EVENT_STATE);
    mark(reservation, RESERVATION_EVENT_TTL_S);
    mark(reservation, RESERVATION_EVENT_ATTEMPT);
    mark(reservation, RESERVATION_EVENT_PENDING);
    if (event->owner.len) {
        mark(reservation, RESERVATION_EVENT_OWNER);
    }
    if (event->order_id.len) {
        mark(reservation, RESERVATION_EVENT_ORDER_ID);
    }
    if (event->expires_at) {
        mark(reservation, RESERVATION_EVENT_EXPIRES_AT);
    }
}

void reservation_emit(struct reservation *reservation, enum reservation_event_type type)
{
    mark_head(reservation);
    tally_emit(reservation->ctx, type, &reservation->event);
}

void reservation_emit_pending(struct reservation *reservation, enum reservation_event_type type)
{
    mark_head(reservation);
    tally_emit_pending(reservation->ctx, type, &reservation->event);
}
