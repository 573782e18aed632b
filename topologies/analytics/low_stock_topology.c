/* topologies/analytics/low_stock_topology.c - levels that need attention, the worst first.
 *   stock.events --apply--> low_stock
 * Invariants
 *  (1) A level has at most one row; its key says how bad it is.
 *  (2) The threshold comes with StockConfigured alone, so a level that has one keeps a row when it
 *      is fine (LOW_STOCK_FINE). */
#include "topologies/analytics/low_stock_topology.h"

#include "schemas/analytics_rows.h"
#include "schemas/stock_records.h"

#define VERSION 2
#define ROW_MAX 64

static bool has(const struct stock_event *event, unsigned bit)
{
    return event->presence.present & TALLY_BIT(bit);
}

static struct tally_key row_key(int severity, const struct stock_event *event)
{
    struct tally_key key;

    tally_key_begin(&key, TALLY_STORE_LOW_STOCK);
    tally_key_u8(&key, (uint8_t)severity);
    tally_key_string(&key, event->sku);
    tally_key_tail(&key, event->warehouse);
    return key;
}

static void low_stock_touch(struct tally_touch *touch, const struct tally_event *envelope)
{
    const struct stock_event *event = envelope->body;

    for (int severity = 0; stock_event_has_level(event) && severity < LOW_STOCK_SEVERITIES;
            severity++) {
        struct tally_key key = row_key(severity, event);

        tally_touch_key(touch, &key);
    }
}

/* The level's row and its severity, LOW_STOCK_SEVERITIES: none. */
static int find_row(struct tally_context *ctx, const struct stock_event *event,
        struct low_stock_row *low)
{
    *low = (struct low_stock_row){.has_threshold = false};
    for (int severity = 0; severity < LOW_STOCK_SEVERITIES; severity++) {
        struct tally_key key = row_key(severity, event);
        struct tally_slice row;

        if (tally_get(ctx, &key, &row)) {
            tally_assert(analytics_low_stock_unpack(row, low));
            return severity;
        }
    }
    return LOW_STOCK_SEVERITIES;
}

static int severity_of(const struct low_stock_row *low)
{
    if (low->available < 0) {
        return LOW_STOCK_OVERSOLD;
    }
    if (low->available == 0) {
        return LOW_STOCK_OUT;
    }
    if (!low->has_threshold) {
        return LOW_STOCK_SEVERITIES;
    }
    return low->available <= low->threshold ? LOW_STOCK_LOW : LOW_STOCK_FINE;
}

static void take_threshold(const struct stock_setting *setting, struct low_stock_row *low)
{
    uint64_t there = setting->presence.present & ~setting->presence.nulls;

    low->has_threshold = there & TALLY_BIT(STOCK_SETTING_LOW_STOCK_THRESHOLD);
    low->threshold = low->has_threshold ? setting->low_stock_threshold : 0;
}

static void put_row(struct tally_context *ctx, const struct tally_key *key,
        const struct low_stock_row *low)
{
    uint8_t space[ROW_MAX];
    struct tally_buf row = {.data = space, .capacity = sizeof space, .max = sizeof space};

    analytics_low_stock_pack(low, &row);
    tally_put_row(ctx, *key, &row);
}

static void low_stock_apply(struct tally_context *ctx, const struct tally_event *envelope)
{
    const struct stock_event *event = envelope->body;
    struct low_stock_row low;
    struct tally_key key;
    int was, is;

    if (!stock_event_has_level(event)) {
        return;
    }
    was = find_row(ctx, event, &low);
    if (has(event, STOCK_EVENT_SETTING)) {
        take_threshold(&event->setting, &low);
    }
    low.available = event->after.n[STOCK_AVAILABLE];
    low.version = event->version;
    is = severity_of(&low);
    low.updated_at = tally_time(ctx);
    if (was != is && was != LOW_STOCK_SEVERITIES) {
        key = row_key(was, event);
        tally_delete(ctx, &key);
    }
    if (is != LOW_STOCK_SEVERITIES) {
        key = row_key(is, event);
        put_row(ctx, &key, &low);
    }
}

enum tally_code tally_low_stock_build(struct tally_topology *topology,
        const struct tally_config *config, struct tally_error *err)
{
    (void)config;
    tally_store(topology, TALLY_STORE_LOW_STOCK, TALLY_CHANGELOGGED);
    tally_projection(topology, &(struct tally_projection){
                                       .name = "low_stock",
                                       .events = "stock.events",
                                       .source = "stock",
                                       .event_types = stock_event_schemas,
                                       .version = VERSION,
                                       .touch = low_stock_touch,
                                       .apply = low_stock_apply,
                               });
    return tally_topology_validate(topology, err);
}
