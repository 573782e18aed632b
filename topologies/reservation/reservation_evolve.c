/* topologies/reservation/reservation_evolve.c - what each event leaves behind. Puts and deletes;
 * reads nothing. All events say the same of a reservation, so they leave the same. */
#include "topologies/reservation/reservation_internal.h"

/* A line: 64 names of warehouses, its position; an operation: a reply topic, a correlation id. */
#define ROW_MAX (8 * 1024)

static bool has(const struct reservation_event *event, unsigned bit)
{
    return event->presence.present & TALLY_BIT(bit);
}

static void delete_row(struct tally_context *ctx, struct tally_key key)
{
    tally_delete(ctx, &key);
}

static void put_header(struct tally_context *ctx, const struct tally_event *envelope,
        const struct reservation_event *event, struct tally_buf *row)
{
    struct reservation_row header = {
            .state = event->state,
            .version = event->version,
            .ttl_s = event->ttl_s,
            .pending = event->pending,
            .attempt = event->attempt,
            .expires_at = has(event, RESERVATION_EVENT_EXPIRES_AT) ? event->expires_at : 0,
            .updated_at = envelope->time_ms,
            .owner = event->owner,
            .order_id = event->order_id,
    };

    reservation_pack(&header, row);
    tally_put_row(ctx, reservation_key(TALLY_STORE_RESERVATION, event->reservation_id), row);
}

static void put_lines(struct tally_context *ctx, const struct reservation_event *event,
        struct tally_buf *row)
{
    const struct reservation_line *lines = event->lines.items;

    for (size_t i = 0; i < event->lines.count; i++) {
        reservation_line_pack(&lines[i], row);
        tally_put_row(ctx, reservation_line_key(event->reservation_id, lines[i].line), row);
    }
}

/* Clear comes before set: it may be the same time. */
static void put_timer(struct tally_context *ctx, const struct reservation_event *event,
        struct tally_buf *row)
{
    const struct reservation_timer *timer = &event->timer;
    bool set = timer->presence.present & TALLY_BIT(RESERVATION_TIMER_SET);
    bool clear = timer->presence.present & TALLY_BIT(RESERVATION_TIMER_CLEAR);
    struct reservation_timer_row kept = {.state = event->state, .attempt = event->attempt};

    if (clear && !(set && timer->set == timer->clear)) {
        delete_row(ctx, reservation_timer_key(timer->clear, event->reservation_id));
    }
    if (set) {
        reservation_timer_pack(&kept, row);
        tally_put_row(ctx, reservation_timer_key(timer->set, event->reservation_id), row);
    }
}

void reservation_evolve(struct tally_context *ctx, const struct tally_event *envelope)
{
    const struct reservation_event *event = envelope->body;
    struct tally_key op_key =
            reservation_key(TALLY_STORE_RESERVATION_OPERATION, event->reservation_id);
    TALLY_UNINITIALIZED uint8_t space[ROW_MAX]; /* no allocation for each event */
    struct tally_buf row = {.data = space, .capacity = sizeof space, .max = sizeof space};

    put_header(ctx, envelope, event, &row);
    put_lines(ctx, event, &row);
    if (has(event, RESERVATION_EVENT_TIMER)) {
        put_timer(ctx, event, &row);
    }
    if (has(event, RESERVATION_EVENT_OP)) {
        reservation_op_pack(&event->op, &row);
        tally_put_row(ctx, op_key, &row);
    }
    if (envelope->has_completes) {
        delete_row(ctx, op_key);
    }
}
