/* http/websocket/websocket_metrics.c - see websocket_metrics.h.
 * Invariants
 *  (1) A sample is made by its thread and never changed after; the gateway's thread reads it
 *      without a lock, and computes no metric.
 *  (2) Nothing waits for a client: while it takes nothing it is told nothing, and then of the
 *      latest sample what differs from the one that it knows. */
#include "http/websocket/websocket_metrics.h"

#include <stdlib.h>

#include "engine/base/clock.h"
#include "engine/base/metrics.h"
#include "engine/base/thread.h"

enum { TEXT_BYTES_MAX = 16 * 1024 * 1024, ITEMS_A_FRAME = 100 };

/* One line of /metrics. */
struct gauge {
    struct tally_slice key; /* name{labels} */
    struct tally_slice name, labels, value;
};
struct websocket_sample {
    _Atomic int references;
    int64_t number, at_ms;
    struct tally_buf text; /* what gauges borrow from */
    struct gauge *gauges;  /* by key */
    size_t count, capacity;
};
struct websocket_metrics {
    struct tally_thread thread;
    struct tally_mutex mutex; /* guards newest, followers and stop */
    struct tally_cond changed;
    struct websocket_sample *newest; /* NULL: nobody follows, or it is being made */
    size_t followers;
    bool stop;
};
struct websocket_gauges {
    struct websocket_metrics *metrics;
    struct websocket_spec *spec;
    struct websocket_sample *known; /* NULL: it has not begun */
    int64_t credit;
    struct tally_buf text;
};

/* --- samples ---------------------------------------------------------------------------------- */

static struct websocket_sample *share(struct websocket_sample *sample)
{
    if (sample) {
        atomic_fetch_add_explicit(&sample->references, 1, memory_order_relaxed);
    }
    return sample;
}

static void release(struct websocket_sample *sample)
{
    if (sample && atomic_fetch_sub_explicit(&sample->references, 1, memory_order_acq_rel) == 1) {
        tally_buf_deinit(&sample->text);
        tally_free(sample->gauges);
        tally_free(sample);
    }
}

static bool ends_with(struct tally_slice text, const char *end)
{
    size_t len = strlen(end);

    return text.len >= len && memcmp(text.data + text.len - len, end, len) == 0;
}

/* `name{a="b"} 5`, `name 5`. Labels may hold spaces, values do not. Buckets are left out: what is
 * told of a histogram is its count and its sum. */
static void take_line(struct websocket_sample *sample, struct tally_slice line)
{
    struct gauge *gauge;
    size_t space = line.len, brace;

    while (space > 0 && line.data[space - 1] != ' ') {
        space--;
    }
    if (space == 0 || line.data[0] == '#') {
        return;
    }
    if (sample->count == sample->capacity) {
        sample->capacity = sample->capacity ? 2 * sample->capacity : 256;
        sample->gauges = tally_realloc(sample->gauges, sample->capacity * sizeof *gauge);
    }
    gauge = &sample->gauges[sample->count];
    gauge->key = tally_slice_of(line.data, space - 1);
    gauge->value = tally_slice_of(line.data + space, line.len - space);
    brace = 0;
    while (brace < gauge->key.len && gauge->key.data[brace] != '{') {
        brace++;
    }
    gauge->name = tally_slice_of(line.data, brace);
    gauge->labels = brace + 2 < gauge->key.len
                            ? tally_slice_of(line.data + brace + 1, gauge->key.len - brace - 2)
                            : TALLY_NONE;
    sample->count += ends_with(gauge->name, "_bucket") ? 0 : 1;
}

static int by_key(const void *left, const void *right)
{
    return tally_slice_compare(((const struct gauge *)left)->key,
            ((const struct gauge *)right)->key);
}

static struct websocket_sample *make_sample(int64_t number)
{
    struct websocket_sample *sample = tally_alloc_zero(1, sizeof *sample);
    struct tally_slice rest;

    atomic_init(&sample->references, 1);
    sample->number = number;
    sample->at_ms = tally_wall_ms(tally_clock_real());
    tally_buf_init(&sample->text, TEXT_BYTES_MAX);
    tally_metrics_print(&sample->text);
    rest = tally_buf_bytes(&sample->text);
    while (rest.len > 0) {
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        size_t len = end ? (size_t)(end - rest.data) : rest.len;

        take_line(sample, tally_slice_of(rest.data, len));
        rest = end ? tally_slice_of(end + 1, rest.len - len - 1) : TALLY_NONE;
    }
    qsort(sample->gauges, sample->count, sizeof *sample->gauges, by_key);
    return sample;
}

/* --- the thread ------------------------------------------------------------------------------- */

/* Waits for somebody who follows. false: the end. */
static bool await(struct websocket_metrics *metrics)
{
    bool stop;

    tally_mutex_lock(&metrics->mutex);
    while (!metrics->stop && metrics->followers == 0) {
        (void)tally_cond_wait(&metrics->changed, &metrics->mutex, -1);
    }
    stop = metrics->stop;
    tally_mutex_unlock(&metrics->mutex);
    return !stop;
}

static void publish(struct websocket_metrics *metrics, struct websocket_sample *sample)
{
    struct websocket_sample *old;

    tally_mutex_lock(&metrics->mutex);
    old = metrics->newest;
    metrics->newest = metrics->followers > 0 ? share(sample) : NULL;
    if (!metrics->stop) {
        (void)tally_cond_wait(&metrics->changed, &metrics->mutex, WEBSOCKET_METRICS_MS);
    }
    tally_mutex_unlock(&metrics->mutex);
    release(old);
    release(sample);
}

static void run(void *argument)
{
    struct websocket_metrics *metrics = argument;

    for (int64_t number = 0; await(metrics); number++) {
        publish(metrics, make_sample(number));
    }
}

/* --- following -------------------------------------------------------------------------------- */

struct websocket_gauges *websocket_metrics_follow(struct websocket_metrics *metrics,
        struct websocket_spec *spec, int64_t credit)
{
    struct websocket_gauges *gauges = tally_alloc_zero(1, sizeof *gauges);

    gauges->metrics = metrics;
    gauges->spec = spec;
    gauges->credit = credit;
    tally_buf_init(&gauges->text, TEXT_BYTES_MAX);
    tally_mutex_lock(&metrics->mutex);
    if (metrics->followers++ == 0) {
        tally_cond_broadcast(&metrics->changed);
    }
    tally_mutex_unlock(&metrics->mutex);
    return gauges;
}

void websocket_metrics_leave(struct websocket_gauges *gauges)
{
    struct websocket_metrics *metrics = gauges->metrics;
    struct websocket_sample *old = NULL;

    tally_mutex_lock(&metrics->mutex);
    if (--metrics->followers == 0) {
        old = metrics->newest;
        metrics->newest = NULL;
    }
    tally_mutex_unlock(&metrics->mutex);
    release(old);
    release(gauges->known);
    websocket_spec_release(gauges->spec);
    tally_buf_deinit(&gauges->text);
    tally_free(gauges);
}

void websocket_metrics_credit(struct websocket_gauges *gauges, int64_t credit)
{
    gauges->credit += credit < INT64_MAX - gauges->credit ? credit : 0;
}

/* By its name, or by that of the histogram that it is a part of. */
static bool is_wanted(const struct websocket_gauges *gauges, const struct gauge *gauge)
{
    const struct websocket_names *names = &gauges->spec->ids;
    struct tally_slice family = gauge->name;

    if (ends_with(family, "_count")) {
        family.len -= sizeof "_count" - 1;
    } else if (ends_with(family, "_sum")) {
        family.len -= sizeof "_sum" - 1;
    }
    return websocket_names_have(names, gauge->name) || websocket_names_have(names, family);
}

/* `a="b",c="d"`: JSON but for the names, whose escapes JSON has too. */
static void write_labels(struct tally_slice labels, struct tally_buf *out)
{
    bool quoted = false, name = true;

    for (size_t i = 0; i < labels.len; i++) {
        uint8_t c = labels.data[i];

        if (!quoted && name) {
            tally_buf_byte(out, '"');
            name = false;
        }
        if (!quoted && c == '=') {
            tally_buf_string(out, "\":");
            continue;
        }
        if (quoted && c < ' ') {
            tally_buf_format(out, "\\u%04x", c);
            continue;
        }
        tally_buf_byte(out, c);
        if (quoted && c == '\\' && i + 1 < labels.len) {
            tally_buf_byte(out, labels.data[++i]);
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted && c == ',') {
            name = true;
        }
    }
}

/* value: NULL: the series is not shown any more. */
static void write_gauge(const struct gauge *gauge, bool gone, struct tally_buf *out)
{
    tally_buf_string(out, "{\"name\":\"");
    tally_buf_slice(out, gauge->name);
    tally_buf_string(out, "\",\"labels\":{");
    write_labels(gauge->labels, out);
    tally_buf_string(out, "},\"value\":");
    if (gone) {
        tally_buf_string(out, "null");
    } else {
        tally_buf_slice(out, gauge->value);
    }
    tally_buf_byte(out, '}');
}

static void add(struct websocket_gauges *gauges, const struct gauge *gauge, bool gone,
        size_t *count)
{
    if (is_wanted(gauges, gauge)) {
        tally_buf_string(&gauges->text, (*count)++ > 0 ? "," : "");
        write_gauge(gauge, gone, &gauges->text);
    }
}

/* Both are sorted. Returns how many differ. */
static size_t write_changes(struct websocket_gauges *gauges, const struct websocket_sample *before,
        const struct websocket_sample *now)
{
    size_t i = 0, j = 0, count = 0;

    while (i < before->count || j < now->count) {
        int order = i == before->count ? 1
                    : j == now->count
                            ? -1
                            : tally_slice_compare(before->gauges[i].key, now->gauges[j].key);

        if (order < 0) {
            add(gauges, &before->gauges[i], true, &count);
        } else if (order > 0 || !tally_slice_equal(before->gauges[i].value, now->gauges[j].value)) {
            add(gauges, &now->gauges[j], false, &count);
        }
        i += order <= 0;
        j += order >= 0;
    }
    return count;
}

static void tell_snapshot(struct websocket_gauges *gauges, const struct websocket_sample *sample,
        const struct websocket_metrics_listener *listener, void *context)
{
    size_t count = 0;

    tally_buf_clear(&gauges->text);
    for (size_t i = 0; i < sample->count; i++) {
        if (count == ITEMS_A_FRAME) {
            listener->snapshot(context, tally_buf_bytes(&gauges->text), false);
            tally_buf_clear(&gauges->text);
            count = 0;
        }
        add(gauges, &sample->gauges[i], false, &count);
    }
    listener->snapshot(context, tally_buf_bytes(&gauges->text), true);
}

static void tell_delta(struct websocket_gauges *gauges, const struct websocket_sample *sample,
        const struct websocket_metrics_listener *listener, void *context)
{
    char time[TALLY_TIME_LEN + 1];

    tally_format_time(sample->at_ms, time);
    tally_buf_clear(&gauges->text);
    tally_buf_format(&gauges->text, "{\"time\":\"%s\",\"metrics\":[", time);
    if (write_changes(gauges, gauges->known, sample) > 0) {
        tally_buf_string(&gauges->text, "]}");
        gauges->credit--;
        listener->delta(context, tally_buf_bytes(&gauges->text),
                sample->number > gauges->known->number + 1);
    }
}

void websocket_metrics_tell(struct websocket_gauges *gauges, bool has_room,
        const struct websocket_metrics_listener *listener, void *context)
{
    struct websocket_metrics *metrics = gauges->metrics;
    struct websocket_sample *sample;
    bool begins = !gauges->known;

    tally_mutex_lock(&metrics->mutex);
    sample = share(metrics->newest);
    tally_mutex_unlock(&metrics->mutex);
    if (!sample || sample == gauges->known || (!begins && (gauges->credit == 0 || !has_room))) {
        release(sample);
        return;
    }
    if (begins) {
        listener->begun(context);
        if (gauges->spec->from == WEBSOCKET_FROM_SNAPSHOT) {
            tell_snapshot(gauges, sample, listener, context);
        }
    } else {
        tell_delta(gauges, sample, listener, context);
    }
    release(gauges->known);
    gauges->known = sample;
}

/* --- life ------------------------------------------------------------------------------------- */

struct websocket_metrics *websocket_metrics_create(void)
{
    struct websocket_metrics *metrics = tally_alloc_zero(1, sizeof *metrics);

    tally_mutex_init(&metrics->mutex, TALLY_LOCK_HTTP);
    tally_cond_init(&metrics->changed);
    return metrics;
}

void websocket_metrics_start(struct websocket_metrics *metrics)
{
    tally_thread_start(&metrics->thread, "websocket-gauge", run, metrics);
}

void websocket_metrics_stop(struct websocket_metrics *metrics)
{
    tally_mutex_lock(&metrics->mutex);
    metrics->stop = true;
    tally_cond_broadcast(&metrics->changed);
    tally_mutex_unlock(&metrics->mutex);
    tally_thread_join(&metrics->thread);
}

void websocket_metrics_destroy(struct websocket_metrics *metrics)
{
    release(metrics->newest);
    tally_cond_deinit(&metrics->changed);
    tally_mutex_deinit(&metrics->mutex);
    tally_free(metrics);
}
