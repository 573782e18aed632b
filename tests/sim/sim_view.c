/* tests/sim/sim_view.c - at rest, the rows of the low_stock projection are what stock's own levels
 * and settings say: every event was applied, none twice, and no row of an aborted transaction
 * stayed. */
#include "tests/sim/sim.h"

#include "schemas/analytics_rows.h"
#include "schemas/stock_records.h"

enum { VALUE_MAX = 4096 };

struct comparison {
    struct sim *sim;
    int32_t partition;
    struct tally_view *stock, *low;
    size_t expected, found;
};

static bool get(struct comparison *comparison, struct tally_view *view, struct tally_slice key,
        struct tally_buf *value)
{
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code = tally_view_get(view, key, value, &err);

    if (code && code != TALLY_NOT_FOUND) {
        sim_violation(comparison->sim, "state can be read", "%s", err.message);
    }
    return code == TALLY_OK;
}

/* What stands behind the store's byte is the same in LEVEL, SETTING and, behind the severity, in
 * LOW_STOCK. */
static struct tally_key key_like(enum tally_store_id store, int severity, struct tally_slice level)
{
    struct tally_key key;

    tally_key_begin(&key, store);
    if (severity >= 0) {
        tally_key_u8(&key, (uint8_t)severity);
    }
    memcpy(key.bytes + key.len, level.data + 1, level.len - 1);
    key.len = (uint16_t)(key.len + level.len - 1);
    return key;
}

static int severity_of(const struct low_stock_row *low)
{
    return low->available < 0                 ? LOW_STOCK_OVERSOLD
           : low->available == 0              ? LOW_STOCK_OUT
           : !low->has_threshold              ? LOW_STOCK_SEVERITIES
           : low->available <= low->threshold ? LOW_STOCK_LOW
                                              : LOW_STOCK_FINE;
}

static void compare_level(struct comparison *comparison, struct tally_slice key,
        struct tally_slice row)
{
    struct tally_key setting_key = key_like(TALLY_STORE_SETTING, -1, key), low_key;
    struct stock_setting_row setting = {.has_low_stock_threshold = false};
    struct low_stock_row expected = {0}, found = {0};
    struct stock_level_row level;
    struct tally_buf value;
    int severity;

    tally_buf_init(&value, VALUE_MAX);
    tally_assert(stock_level_unpack(row, &level));
    if (get(comparison, comparison->stock, tally_key_bytes(&setting_key), &value)) {
        tally_assert(stock_setting_unpack(tally_buf_bytes(&value), &setting));
    }
    expected = (struct low_stock_row){.available = stock_level_available(&level),
            .has_threshold = setting.has_low_stock_threshold,
            .threshold = setting.low_stock_threshold};
    severity = severity_of(&expected);
    if (severity != LOW_STOCK_SEVERITIES) {
        low_key = key_like(TALLY_STORE_LOW_STOCK, severity, key);
        comparison->expected++;
        if (!get(comparison, comparison->low, tally_key_bytes(&low_key), &value) ||
                !analytics_low_stock_unpack(tally_buf_bytes(&value), &found) ||
                found.available != expected.available || found.version != level.version ||
                found.has_threshold != expected.has_threshold) {
            sim_violation(comparison->sim, "a projection is what the events add up to",
                    "low_stock/%d: severity %d, available %lld at version %lld, found %lld at %lld",
                    (int)comparison->partition, severity, (long long)expected.available,
                    (long long)level.version, (long long)found.available, (long long)found.version);
        }
    }
    tally_buf_deinit(&value);
}

static void walk(struct comparison *comparison, struct tally_view *view, bool levels)
{
    struct tally_iterator *iterator = tally_view_iterate(view, TALLY_NONE, TALLY_NONE, false);
    struct tally_slice key, value;
    enum tally_code code = TALLY_OK;

    while (tally_iterator_next(iterator, &key, &value, &code, NULL)) {
        if (!levels) {
            comparison->found++;
        } else if (key.data[0] == tally_store_byte(TALLY_STORE_LEVEL)) {
            compare_level(comparison, key, value);
        }
    }
    if (code) {
        sim_violation(comparison->sim, "state can be read", "%s", tally_code_name(code));
    }
    tally_iterator_destroy(iterator);
}

void sim_view_check(struct sim *sim)
{
    for (int32_t p = 0; p < sim->plan.partitions; p++) {
        struct comparison comparison = {.sim = sim,
                .partition = p,
                .stock = tally_task_slot_view(sim_running_slot(sim, SIM_STOCK, p)),
                .low = tally_task_slot_view(sim_running_slot(sim, SIM_LOW_STOCK, p))};

        walk(&comparison, comparison.stock, true);
        walk(&comparison, comparison.low, false);
        if (comparison.found != comparison.expected) {
            sim_violation(sim, "a projection is what the events add up to",
                    "low_stock/%d has %zu rows, expected %zu", (int)p, comparison.found,
                    comparison.expected);
        }
        tally_view_unref(comparison.stock);
        tally_view_unref(comparison.low);
    }
}
