/* http/low_stock_metrics.c - see low_stock_metrics.h.
 * Invariants
 *  (1) A scrape is cheap however many levels there are: rows are counted up to a bound, and not at
 *      every scrape.
 *  (2) Partitions of other instances are not counted: the sum over instances is the whole. */
#include "http/low_stock_metrics.h"

#include <stdatomic.h>

#include "engine/base/clock.h"
#include "engine/base/metrics.h"
#include "engine/query.h"
#include "engine/runtime.h"
#include "schemas/analytics_rows.h"

enum { COUNT_EVERY_MS = 15000, COUNTED_MAX = 10000 };

static const char *const severities[LOW_STOCK_FINE] = {"oversold", "out", "low"};

struct count {
    int64_t rows;
};

static bool count_row(void *context, struct tally_slice key, struct tally_slice value)
{
    struct count *count = context;

    (void)key;
    (void)value;
    return ++count->rows < COUNTED_MAX;
}

/* false: the partition is not here, or cannot be read now. */
static bool count_partition(struct tally_runtime *runtime, int32_t partition,
        int64_t counts[static LOW_STOCK_FINE])
{
    struct tally_read_options options = {.wait_ms = 0};
    struct tally_error err = {0};
    struct tally_read *read = NULL;
    bool good;

    good = !tally_read_open(runtime, "low_stock", TALLY_NONE, partition, &options, &read, &err) &&
           tally_read_info(read)->state == TALLY_TASK_RUNNING;
    for (unsigned severity = 0; good && severity < LOW_STOCK_FINE; severity++) {
        struct count count = {0};
        struct tally_key lower, upper;

        tally_key_begin(&lower, TALLY_STORE_LOW_STOCK);
        upper = lower;
        tally_key_u8(&lower, (uint8_t)severity);
        tally_key_u8(&upper, (uint8_t)(severity + 1));
        good = !tally_read_scan(read, tally_key_bytes(&lower), tally_key_bytes(&upper), false,
                count_row, &count, &err);
        counts[severity] += count.rows;
    }
    tally_read_close(read);
    return good;
}

void low_stock_metrics_collect(void *context)
{
    static _Atomic int64_t next_ms;
    struct tally_runtime *runtime = context;
    int64_t now_ms = tally_mono_ms(tally_runtime_clock(runtime)), due_ms = atomic_load(&next_ms);
    int64_t counts[LOW_STOCK_FINE] = {0};
    bool any = false;

    if (now_ms < due_ms ||
            !atomic_compare_exchange_strong(&next_ms, &due_ms, now_ms + COUNT_EVERY_MS)) {
        return;
    }
    for (int32_t partition = 0; partition < tally_runtime_partitions(runtime); partition++) {
        any |= count_partition(runtime, partition, counts);
    }
    for (unsigned severity = 0; severity < LOW_STOCK_FINE; severity++) {
        tally_series_set(tally_series_of(TALLY_METRIC_LOW_STOCK, severities[severity]),
                any ? counts[severity] : TALLY_SERIES_HIDDEN);
    }
}
