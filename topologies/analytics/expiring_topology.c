/* topologies/analytics/expiring_topology.c - reservations without an order, by when they expire.
 *   reservation.events --apply--> expiring
 * Invariants
 *  (1) A CONFIRMED reservation has one row, at its expires_at; any other has none.
 *  (2) What a row is replaced or ended by names its time: a CONFIRMED reservation has one timer,
 *      set to expires_at, and the event that ends or moves it clears it. */
#include "topologies/analytics/expiring_topology.h"

#include "schemas/analytics_rows.h"
#include "schemas/reservation_records.h"

#define VERSION 1
#define ROW_MAX 256

static struct tally_key row_key(int64_t expires_at, const struct reservation_event *event)
{
    struct tally_key key;

    tally_key_begin(&key, TALLY_STORE_EXPIRING);
    tally_key_u64(&key, (uint64_t)expires_at);
    tally_key_tail(&key, event->reservation_id);
    return key;
}

static bool clears(const struct reservation_event *event)
{
    return event->timer.presence.present & TALLY_BIT(RESERVATION_TIMER_CLEAR);
}

static void expiring_touch(struct tally_touch *touch, const struct tally_event *envelope)
{
    const struct reservation_event *event = envelope->body;

    if (clears(event)) {
        struct tally_key key = row_key(event->timer.clear, event);

        tally_touch_key(touch, &key);
    }
}

/* Takes away the row that the reservation had; what it knew stays where the event says nothing. */
static void take_old(struct tally_context *ctx, const struct reservation_event *event,
        struct expiring_row *expiring)
{
    struct tally_key key;
    struct tally_slice row;

    if (!clears(event)) {
        return;
    }
    key = row_key(event->timer.clear, event);
    if (tally_get(ctx, &key, &row)) {
        tally_assert(analytics_expiring_unpack(row, expiring));
        tally_delete(ctx, &key);
    }
}

static void count_lines(const struct reservation_event *event, struct expiring_row *expiring)
{
    const struct reservation_line *lines = event->lines.items;

    if (event->lines.count == 0) {
        return; /* only its time has changed */
    }
    expiring->lines = (int64_t)event->lines.count;
    expiring->units = 0;
    for (size_t i = 0; i < event->lines.count; i++) {
        expiring->units += lines[i].quantity;
    }
}

static void expiring_apply(struct tally_context *ctx, const struct tally_event *envelope)
{
    const struct reservation_event *event = envelope->body;
    struct expiring_row expiring = {.lines = 0};
    uint8_t space[ROW_MAX];
    struct tally_buf row = {.data = space, .capacity = sizeof space, .max = sizeof space};

    take_old(ctx, event, &expiring);
    if (event->state != RESERVATION_CONFIRMED) {
        return;
    }
    count_lines(event, &expiring);
    expiring.version = event->version;
    expiring.owner = event->owner;
    analytics_expiring_pack(&expiring, &row);
    tally_put_row(ctx, row_key(event->expires_at, event), &row);
}

enum tally_code tally_expiring_build(struct tally_topology *topology,
        const struct tally_config *config, struct tally_error *err)
{
    (void)config;
    tally_store(topology, TALLY_STORE_EXPIRING, TALLY_CHANGELOGGED);
    tally_projection(topology, &(struct tally_projection){
                                       .name = "expiring",
                                       .events = "reservation.events",
                                       .source = "reservation",
                                       .event_types = reservation_event_schemas,
                                       .version = VERSION,
                                       .touch = expiring_touch,
                                       .apply = expiring_apply,
                               });
    return tally_topology_validate(topology, err);
}
