/* engine/base/metrics.c - the table of series and its Prometheus text form.
 * Invariants
 *  (1) A series is never freed or moved, so a pointer to one stays good without a lock.
 *  (2) At most SERIES_MAX series exist; what would be more is counted in SERIES_REFUSED and its
 *      updates go to one series that is never shown.
 *  (3) A shown histogram is consistent in itself: _count is the sum of its buckets, and buckets
 *      are exact at their bounds, because each observation is counted once in `below`.
 *
 * Threads: updates are relaxed atomics; making and showing series takes the METRICS lock, which
 * is not held while collectors run. */
#include "engine/base/metrics.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "engine/base/mem.h"
#include "engine/base/thread.h"

#define SERIES_MAX       4000u
#define COLLECTORS_MAX   16u
#define LABELS_MAX_BYTES 1024u
#define CACHE_LINE       64
#define SUB_BITS         4u /* 16 buckets an octave */
#define OCTAVES          40u
#define BUCKETS          ((OCTAVES - SUB_BITS + 1u) << SUB_BITS)

enum kind { COUNTER, GAUGE, HISTOGRAM, SECONDS };

static const struct {
    const char *name, *labels, *help;
    enum kind kind;
} metrics[TALLY_METRICS] = {
#define X(id, kind, name, labels, help) {name, labels, help, kind},
#include "engine/base/metrics.def"
#undef X
};

static const struct {
    int64_t us;
    const char *seconds;
} bounds[] = {
        {1000, "0.001"},
        {2500, "0.0025"},
        {5000, "0.005"},
        {10000, "0.01"},
        {25000, "0.025"},
        {50000, "0.05"},
        {100000, "0.1"},
        {250000, "0.25"},
        {500000, "0.5"},
        {1000000, "1"},
        {5000000, "5"},
        {10000000, "10"},
        {60000000, "60"},
};
#define BOUNDS (sizeof bounds / sizeof bounds[0])

struct histogram {
    _Atomic int64_t sum_us;
    _Atomic int64_t below[BOUNDS + 1]; /* at most bounds[i], more than bounds[i - 1] */
    _Atomic int64_t buckets[BUCKETS];
};

struct tally_series {
    _Alignas(CACHE_LINE) _Atomic int64_t value; /* histogram: count */
    struct histogram *histogram;                /* NULL for counters and gauges */
    char *labels;                               /* a="x",b="y" */
    struct tally_series *next;                  /* of the same metric */
};

static struct tally_mutex lock = TALLY_MUTEX_INITIALIZER(TALLY_LOCK_METRICS);
static struct tally_series all_series[SERIES_MAX];
static struct tally_series *series_of[TALLY_METRICS];
static size_t series_count;
static struct histogram overflow_histogram;
static struct tally_series overflow = {.histogram = &overflow_histogram};
static struct {
    tally_collect_fn collect;
    void *context;
} collectors[COLLECTORS_MAX];
static size_t collector_count;

static size_t bucket_of(int64_t us)
{
    uint64_t value = us < 0 ? 0 : (uint64_t)us;
    unsigned octave;

    if (value < 1u << SUB_BITS) {
        return value;
    }
    octave = 63u - (unsigned)__builtin_clzll(value);
    if (octave >= OCTAVES) {
        return BUCKETS - 1;
    }
    return (size_t)(octave - SUB_BITS + 1) << SUB_BITS |
           (value >> (octave - SUB_BITS) & ((1u << SUB_BITS) - 1));
}

static int64_t bucket_highest(size_t bucket)
{
    unsigned octave = (unsigned)(bucket >> SUB_BITS) + SUB_BITS - 1;
    uint64_t step;

    if (bucket < 1u << SUB_BITS) {
        return (int64_t)bucket;
    }
    step = UINT64_C(1) << (octave - SUB_BITS);
    return (int64_t)((UINT64_C(1) << octave) + ((bucket & ((1u << SUB_BITS) - 1)) + 1) * step - 1);
}

static void put_label_value(struct tally_buf *labels, const char *value)
{
    for (; *value; value++) {
        if (*value == '\n') {
            tally_buf_string(labels, "\\n");
            continue;
        }
        if (*value == '"' || *value == '\\') {
            tally_buf_byte(labels, '\\');
        }
        tally_buf_byte(labels, (uint8_t)*value);
    }
}

/* a="x",b="y", NUL-terminated; failed when the values are too long together. */
static void put_labels(struct tally_buf *labels, const char *names, const char *const *values)
{
    while (*names) {
        size_t len = strcspn(names, ",");

        tally_assert(values && *values); /* as many values as metrics.def has labels */
        tally_buf_append(labels, names, len);
        tally_buf_string(labels, "=\"");
        put_label_value(labels, *values++);
        tally_buf_byte(labels, '"');
        names += len;
        if (*names == ',') {
            tally_buf_byte(labels, ',');
            names++;
        }
    }
    tally_buf_byte(labels, 0);
}

static struct tally_series *create_series(enum tally_metric metric, const char *labels)
{
    struct tally_series *series = &all_series[series_count++];
    struct tally_series **link = &series_of[metric];

    series->labels = tally_copy_string(labels);
    if (metrics[metric].kind == HISTOGRAM) {
        series->histogram = tally_alloc_zero(1, sizeof *series->histogram);
    }
    while (*link) {
        link = &(*link)->next;
    }
    *link = series;
    return series;
}

static struct tally_series *find_series(enum tally_metric metric, const char *labels)
{
    struct tally_series *series = series_of[metric];

    while (series && strcmp(series->labels, labels) != 0) {
        series = series->next;
    }
    return series;
}

/* Metrics without labels are shown as 0 from the start, so that a rate() sees their first step. */
static void create_plain_series(void)
{
    if (series_count) {
        return;
    }
    for (size_t metric = 0; metric < TALLY_METRICS; metric++) {
        if (!metrics[metric].labels[0]) {
            (void)create_series((enum tally_metric)metric, "");
        }
    }
}

struct tally_series *tally_series_get(enum tally_metric metric, const char *const *label_values)
{
    struct tally_series *series = NULL;
    struct tally_buf labels;

    tally_assert((unsigned)metric < TALLY_METRICS);
    tally_buf_init(&labels, LABELS_MAX_BYTES);
    put_labels(&labels, metrics[metric].labels, label_values);
    tally_mutex_lock(&lock);
    create_plain_series();
    if (!labels.failed) {
        series = find_series(metric, (const char *)labels.data);
        if (!series && series_count < SERIES_MAX) {
            series = create_series(metric, (const char *)labels.data);
        }
    }
    if (!series) {
        tally_series_add(series_of[TALLY_METRIC_SERIES_REFUSED], 1);
        series = &overflow;
    }
    tally_mutex_unlock(&lock);
    tally_buf_deinit(&labels);
    return series;
}

void tally_series_add(struct tally_series *series, int64_t by)
{
    atomic_fetch_add_explicit(&series->value, by, memory_order_relaxed);
}

void tally_series_set(struct tally_series *series, int64_t to)
{
    atomic_store_explicit(&series->value, to, memory_order_relaxed);
}

static void add(_Atomic int64_t *counter, int64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

static int64_t read_of(const _Atomic int64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void tally_series_observe_us(struct tally_series *series, int64_t us)
{
    tally_series_observe_many_us(series, us, 1);
}

void tally_series_observe_many_us(struct tally_series *series, int64_t us, int64_t times)
{
    struct histogram *histogram = series->histogram;
    size_t bound = 0;

    tally_assert(histogram);
    while (bound < BOUNDS && us > bounds[bound].us) {
        bound++;
    }
    add(&histogram->below[bound], times);
    add(&histogram->buckets[bucket_of(us)], times);
    add(&histogram->sum_us, us < 0 ? 0 : us * times);
    add(&series->value, times);
}

int64_t tally_series_read(const struct tally_series *series)
{
    return read_of(&series->value);
}

int64_t tally_series_quantile_us(const struct tally_series *series, double quantile)
{
    int64_t counts[BUCKETS];
    int64_t total = 0, wanted, seen = 0;
    size_t bucket = 0;

    tally_assert(series->histogram);
    for (size_t i = 0; i < BUCKETS; i++) {
        counts[i] = read_of(&series->histogram->buckets[i]);
        total += counts[i];
    }
    if (total == 0) {
        return 0;
    }
    wanted = (int64_t)(quantile * (double)total);
    if ((double)wanted < quantile * (double)total || wanted < 1) {
        wanted++; /* the smallest value that at least this share does not exceed */
    }
    while (bucket + 1 < BUCKETS && (seen += counts[bucket]) < wanted) {
        bucket++;
    }
    return bucket_highest(bucket);
}

static void print_head(struct tally_buf *out, size_t metric)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram", "counter"};

    tally_buf_format(out, "# HELP %s ", metrics[metric].name);
    for (const char *at = metrics[metric].help; *at; at++) {
        tally_buf_string(out, *at == '\\' ? "\\\\" : *at == '\n' ? "\\n" : (char[]){*at, 0});
    }
    tally_buf_format(out, "\n# TYPE %s %s\n", metrics[metric].name, kinds[metrics[metric].kind]);
}

static void print_sample(struct tally_buf *out, const char *name, const char *suffix,
        const char *labels)
{
    tally_buf_string(out, name);
    tally_buf_string(out, suffix);
    if (labels[0]) {
        tally_buf_format(out, "{%s}", labels);
    }
}

static void print_histogram(struct tally_buf *out, const char *name,
        const struct tally_series *series)
{
    int64_t sum_us = read_of(&series->histogram->sum_us), count = 0;

    for (size_t i = 0; i <= BOUNDS; i++) {
        count += read_of(&series->histogram->below[i]);
        tally_buf_format(out, "%s_bucket{%s%sle=\"%s\"} %" PRId64 "\n", name, series->labels,
                series->labels[0] ? "," : "", i < BOUNDS ? bounds[i].seconds : "+Inf", count);
    }
    print_sample(out, name, "_sum", series->labels);
    tally_buf_format(out, " %" PRId64 ".%06" PRId64 "\n", sum_us / 1000000, sum_us % 1000000);
    print_sample(out, name, "_count", series->labels);
    tally_buf_format(out, " %" PRId64 "\n", count);
}

static void print_series(struct tally_buf *out, size_t metric, const struct tally_series *series)
{
    int64_t value = tally_series_read(series);

    if (series->histogram) {
        print_histogram(out, metrics[metric].name, series);
        return;
    }
    print_sample(out, metrics[metric].name, "", series->labels);
    if (metrics[metric].kind == SECONDS) {
        tally_buf_format(out, " %" PRId64 ".%06" PRId64 "\n", value / 1000000, value % 1000000);
    } else {
        tally_buf_format(out, " %" PRId64 "\n", value);
    }
}

void tally_metrics_print(struct tally_buf *out)
{
    for (size_t i = 0; i < collector_count; i++) {
        collectors[i].collect(collectors[i].context);
    }
    tally_mutex_lock(&lock);
    create_plain_series();
    for (size_t metric = 0; metric < TALLY_METRICS; metric++) {
        bool has_head = false;

        for (const struct tally_series *series = series_of[metric]; series; series = series->next) {
            if (tally_series_read(series) == TALLY_SERIES_HIDDEN) {
                continue;
            }
            if (!has_head) {
                print_head(out, metric);
                has_head = true;
            }
            print_series(out, metric, series);
        }
    }
    tally_mutex_unlock(&lock);
}

void tally_metrics_collector(tally_collect_fn collect, void *context)
{
    tally_assert(collector_count < COLLECTORS_MAX);
    collectors[collector_count].collect = collect;
    collectors[collector_count++].context = context;
}

void tally_metrics_collector_remove(tally_collect_fn collect, void *context)
{
    for (size_t i = 0; i < collector_count; i++) {
        if (collectors[i].collect == collect && collectors[i].context == context) {
            collectors[i] = collectors[--collector_count];
            return;
        }
    }
}
