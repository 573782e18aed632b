/* http/exposition.c - see exposition.h. */
#include "http/exposition.h"

#include <stdatomic.h>

#include "engine/base/clock.h"
#include "engine/base/metrics.h"
#include "http/router.h"

enum { CLASSES = 6 };

void exposition_metrics(struct exchange *exchange)
{
    response_begin(&exchange->response, 200, RESPONSE_METRICS);
    tally_metrics_print(&exchange->response.body);
}

/* Found once, then read without a lock; two threads may find the same one. */
static struct tally_series *series_of(_Atomic(struct tally_series *) *known,
        enum tally_metric metric, const char *const *labels)
{
    struct tally_series *series = atomic_load_explicit(known, memory_order_acquire);

    if (!series) {
        series = tally_series_get(metric, labels);
        atomic_store_explicit(known, series, memory_order_release);
    }
    return series;
}

static void count(const struct route *route, int status, int64_t us, int64_t times)
{
    static _Atomic(struct tally_series *) requests[ROUTES + 1][CLASSES], durations[ROUTES + 1];
    size_t row = route ? (size_t)route->id : ROUTES;
    static const char *const classes[CLASSES] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    int class = status / 100 < CLASSES ? status / 100 : 0;

    tally_series_add(series_of(&requests[row][class], TALLY_METRIC_HTTP_REQUESTS,
                             (const char *const[]){
                                     route ? route->pattern : "none", classes[class], NULL}),
            times);
    tally_series_observe_many_us(series_of(&durations[row], TALLY_METRIC_HTTP_TIME,
                                         (const char *const[]){
                                                 route ? route->pattern : "none", NULL}),
            us, times);
}

void exposition_count(const struct route *route, int status, int64_t us)
{
    count(route, status, us, 1);
}

void exposition_round_add(struct exposition_round *round, const struct route *route, int status)
{
    if (round->route != route || round->status != status) {
        exposition_round_end(round);
        round->route = route;
        round->status = status;
    }
    round->count++;
}

void exposition_round_end(struct exposition_round *round)
{
    if (round->count > 0) {
        count(round->route, round->status, tally_mono_us(tally_clock_real()) - round->begun_us,
                round->count);
        round->count = 0;
    }
}
