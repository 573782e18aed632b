/* engine/base/metrics.h - counters, gauges and histograms, and their Prometheus text form.
 * Names, kinds, labels and help stand in metrics.def. A series is found once (registration takes a
 * lock) and then updated without locks: relaxed atomics, one cache line each.
 * Histograms are HDR-like: log-linear buckets, 16 per octave, 1 µs .. 2^40 µs; exposed with the
 * fixed `le` bounds of metrics.c in seconds. @thread any */
#pragma once
#include <stdint.h>

#include "engine/base/bytes.h"

enum tally_metric {
#define X(id, kind, name, labels, help) TALLY_METRIC_##id,
#include "engine/base/metrics.def"
#undef X
    TALLY_METRICS
};

struct tally_series;
/* The series of a metric with these label values (count as in metrics.def); made at first use,
 * lives as long as the process. Over 4000 series in all, a shared overflow series is returned. */
struct tally_series *tally_series_get(enum tally_metric metric, const char *const *label_values);
#define tally_series_of(metric, ...) \
    tally_series_get((metric), (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})
void tally_series_add(struct tally_series *series, int64_t by); /* counter */
void tally_series_set(struct tally_series *series, int64_t to); /* gauge */
#define TALLY_SERIES_HIDDEN INT64_MIN /* set to it, a gauge is not shown until it has a value */
void tally_series_observe_us(struct tally_series *series, int64_t us); /* histogram */
void tally_series_observe_many_us(struct tally_series *series, int64_t us, int64_t times);
int64_t tally_series_read(const struct tally_series *series); /* of a histogram: its count */
/* Value at quantile 0..1 in µs, never below the true one and at most 1/16 above; 0 without
 * observations. */
int64_t tally_series_quantile_us(const struct tally_series *series, double quantile);
/* Appends all series in Prometheus text format 0.0.4. Gauges that are computed on demand are set
 * by the collectors first. */
void tally_metrics_print(struct tally_buf *out);
typedef void (*tally_collect_fn)(void *context);
void tally_metrics_collector_remove(tally_collect_fn collect, void *context); /* @thread init */
void tally_metrics_collector(tally_collect_fn collect, void *context);        /* @thread init */
