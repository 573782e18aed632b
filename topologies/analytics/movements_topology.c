/* topologies/analytics/movements_topology.c - how much was moved, by hour and by day, by warehouse
 * and kind of movement.
 *   stock.events --apply--> movement
 * Invariants
 *  (1) A row counts the events of one window, warehouse and kind, and the units that they moved:
 *      the largest change of a bucket, whichever way, safety stock apart.
 *  (2) Time is the event's, so the counts are the same however late they are made. */
#include "topologies/analytics/movements_topology.h"

#include "schemas/analytics_rows.h"
#include "schemas/stock_records.h"

#define VERSION 1
#define ROW_MAX 32
#define HOUR_MS INT64_C(3600000)
#define DAY_MS  (24 * HOUR_MS)

enum { WINDOW_HOUR, WINDOW_DAY, WINDOWS };

/* Decision times of a partition never fall, so grace is for what other writers of events do. */
static const struct tally_window windows[WINDOWS] = {
        [WINDOW_HOUR] = {.name = "hour",
                .size_ms = HOUR_MS,
                .grace_ms = HOUR_MS,
                .retention_ms = 14 * DAY_MS},
        [WINDOW_DAY] = {.name = "day",
                .size_ms = DAY_MS,
                .grace_ms = DAY_MS,
                .retention_ms = 732 * DAY_MS},
};

static void end_key(struct tally_key *key, const struct stock_event *event)
{
    tally_key_string(key, event->warehouse);
    tally_key_tail(key, tally_slice_string(stock_kind_names[event->kind]));
}

static void movements_touch(struct tally_touch *touch, const struct tally_event *envelope)
{
    const struct stock_event *event = envelope->body;

    for (uint8_t number = 0; stock_event_has_level(event) && number < WINDOWS; number++) {
        struct tally_key key;

        tally_touch_window(touch, number, envelope->time_ms, &key);
        end_key(&key, event);
        tally_touch_key(touch, &key);
    }
}

static int64_t units_of(const struct stock_event *event)
{
    int64_t most = 0;

    for (int i = 0; i < STOCK_BUCKETS; i++) {
        int64_t delta = event->deltas.n[i];

        delta = delta < 0 ? -delta : delta;
        most = i != STOCK_SAFETY_STOCK && delta > most ? delta : most;
    }
    return most;
}

/* Stops at the largest number rather than begin again below. */
static int64_t add(int64_t sum, int64_t more)
{
    return sum > INT64_MAX - more ? INT64_MAX : sum + more;
}

static void count(struct tally_context *ctx, const struct tally_key *key,
        const struct stock_event *event)
{
    uint8_t space[ROW_MAX];
    struct tally_buf row = {.data = space, .capacity = sizeof space, .max = sizeof space};
    struct movement_row movement = {.count = 0};
    struct tally_slice stored;

    if (tally_get(ctx, key, &stored)) {
        tally_assert(analytics_movement_unpack(stored, &movement));
    }
    movement.count = add(movement.count, 1);
    movement.quantity = add(movement.quantity, units_of(event));
    analytics_movement_pack(&movement, &row);
    tally_put_row(ctx, *key, &row);
}

static void movements_apply(struct tally_context *ctx, const struct tally_event *envelope)
{
    const struct stock_event *event = envelope->body;

    for (uint8_t number = 0; stock_event_has_level(event) && number < WINDOWS; number++) {
        struct tally_key key;

        if (tally_window_open(ctx, number, envelope->time_ms, &key)) {
            end_key(&key, event);
            count(ctx, &key, event);
        }
    }
}

enum tally_code tally_movements_build(struct tally_topology *topology,
        const struct tally_config *config, struct tally_error *err)
{
    (void)config;
    tally_store(topology, TALLY_STORE_MOVEMENT, TALLY_CHANGELOGGED);
    for (size_t i = 0; i < WINDOWS; i++) {
        tally_windows(topology, &windows[i]);
    }
    tally_projection(topology, &(struct tally_projection){
                                       .name = "movements",
                                       .events = "stock.events",
                                       .source = "stock",
                                       .event_types = stock_event_schemas,
                                       .version = VERSION,
                                       .touch = movements_touch,
                                       .apply = movements_apply,
                               });
    return tally_topology_validate(topology, err);
}
