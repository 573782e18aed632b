/* http/explain_query.c - see explain_query.h.
 * Invariants
 *  (1) Entries come newest first, each seq once: from the ledger while it has them, from there on
 *      from the events topic.
 *  (2) The check has seen every entry that was looked at, whether it is of the page or not.
 *  (3) Nothing of the store is held while Kafka is read.
 *  (4) A page reads a bounded number of entries of the ledger, and Kafka for a bounded time. */
#include "http/explain_query.h"

#include "engine/base/clock.h"
#include "http/explain_page.h"
#include "http/header_field.h"
#include "http/ledger_time.h"
#include "http/problem.h"
#include "http/reading.h"

enum { FILTER_BYTES_MAX = 4096, SEQ_BYTES = 8, PLACE_BYTES = 8 * (2 + STOCK_BUCKETS) };

/* --- what is asked for ------------------------------------------------------------------------ */

static bool read_bucket(struct explain *explain)
{
    struct tally_slice text = request_query(&explain->exchange->request, "bucket");

    explain->bucket = -1;
    for (int i = 0; text.data && i < STOCK_NUMBERS; i++) {
        if (tally_slice_equal(text, tally_slice_string(stock_number_names[i]))) {
            explain->bucket = i;
        }
    }
    if (text.data && explain->bucket < 0) {
        problem_answer(explain->exchange, PROBLEM_INVALID_PARAMETER,
                "bucket: \"%.*s\" is none: expected on_hand, available or another number of a "
                "level",
                (int)text.len, (const char *)text.data);
    }
    return !text.data || explain->bucket >= 0;
}

static void add_filter(struct explain *explain, struct tally_slice part)
{
    tally_buf_slice(&explain->filter, part);
    tally_buf_byte(&explain->filter, 0);
}

static bool read_place(struct explain *explain)
{
    struct tally_buf bytes;
    bool good;

    add_filter(explain, TALLY_SLICE("explain"));
    add_filter(explain, explain->sku);
    add_filter(explain, explain->warehouse);
    add_filter(explain, request_query(&explain->exchange->request, "bucket"));
    add_filter(explain, request_query(&explain->exchange->request, "as_of"));
    tally_buf_init(&bytes, CURSOR_PLACE_BYTES_MAX);
    good = reading_cursor(explain->exchange, tally_buf_bytes(&explain->filter), &bytes);
    explain->has_place = good && bytes.len == PLACE_BYTES;
    if (explain->has_place) {
        explain->place.seq = (int64_t)tally_read_u64(bytes.data);
        explain->place.below = (int64_t)tally_read_u64(bytes.data + 8);
        for (size_t i = 0; i < STOCK_BUCKETS; i++) {
            explain->place.n[i] = (int64_t)tally_read_u64(bytes.data + 16 + 8 * i);
        }
    }
    tally_buf_deinit(&bytes);
    return good;
}

static bool read_query(struct explain *explain)
{
    struct exchange *exchange = explain->exchange;

    return reading_limit(exchange, &explain->limit) && read_bucket(explain) &&
           reading_time(exchange, "as_of", &explain->has_as_of, &explain->as_of_ms) &&
           read_place(explain);
}

/* --- the ledger ------------------------------------------------------------------------------- */

/* Stops where an entry is missing. */
static bool take_row(void *context, struct tally_slice key, struct tally_slice value)
{
    struct explain *explain = context;
    struct explain_entry entry = {.seq = (int64_t)tally_read_u64(key.data + key.len - SEQ_BYTES),
            .event_offset = TALLY_OFFSET_NONE};

    if (!stock_ledger_unpack(value, &entry.row)) {
        explain->damaged = true;
        return false;
    }
    if (explain->checking && entry.seq != explain->check.seq) {
        return false;
    }
    explain->from_ledger = true;
    return explain_page_take(explain, &entry);
}

/* Below which entry the page begins. */
static enum tally_code find_top(struct explain *explain, const struct ledger_place *place,
        uint64_t *below, struct tally_error *err)
{
    uint64_t newest;
    enum tally_code code;

    if (explain->has_place) {
        *below = (uint64_t)explain->place.seq + 1;
        return TALLY_OK;
    }
    *below = UINT64_MAX;
    if (!explain->has_as_of) {
        return TALLY_OK;
    }
    tally_assert(explain->as_of_ms < INT64_MAX); /* years end with 9999 */
    code = ledger_time_newest(place, UINT64_MAX, &newest, err);
    if (code || newest != (uint64_t)explain->level.row.version) {
        *below = 0; /* its newest entries are missing, and so may be the one of that time */
        return code;
    }
    code = ledger_time_find(place, newest, explain->as_of_ms + 1, below, err);
    explain->ended = *below == 1;
    return code;
}

static enum tally_code from_ledger(struct explain *explain, struct tally_read *read,
        struct tally_error *err)
{
    struct ledger_place place = {
            .read = read, .sku = explain->sku, .warehouse = explain->warehouse};
    struct tally_key lower, upper;
    uint64_t below;
    enum tally_code code = find_top(explain, &place, &below, err);

    if (!code) {
        ledger_time_key(&lower, &place, 0);
        ledger_time_key(&upper, &place, below);
        code = tally_read_scan(read, tally_key_bytes(&lower), tally_key_bytes(&upper), true,
                take_row, explain, err);
    }
    if (!code && explain->damaged) {
        code = tally_error_set(err, TALLY_STORE_CORRUPT, "a ledger entry is damaged");
    }
    return code;
}

static bool keeps_ledger(struct exchange *exchange)
{
    struct tally_topology *topology = reading_topology(exchange, TALLY_SLICE("stock"));

    return topology && tally_topology_keeps(topology, TALLY_STORE_LEDGER);
}

/* The level, and what the ledger says of it. TALLY_OK too if 404 is answered. */
static enum tally_code read_store(struct explain *explain, struct tally_read *read,
        struct tally_error *err)
{
    struct exchange *exchange = explain->exchange;
    enum tally_code code = TALLY_NOT_FOUND;

    if (stock_query_is_warehouse(explain->warehouse)) {
        code = stock_query_read_level(exchange, read, explain->sku, &explain->level, err);
    }
    if (code == TALLY_NOT_FOUND) {
        code = stock_query_find_names(exchange, read, explain->sku, explain->warehouse, err);
        explain->ended = true;
    }
    explain_page_begin(explain);
    if (!code && !explain->ended && keeps_ledger(exchange) &&
            (!explain->has_place || explain->place.below < 0)) {
        code = from_ledger(explain, read, err);
    }
    explain->info = *tally_read_info(read);
    return code;
}

/* --- the request ------------------------------------------------------------------------------ */

static void say_why_events(struct explain *explain)
{
    if (!keeps_ledger(explain->exchange)) {
        explain_page_note(explain, "stock.ledger is false: entries are read from %s",
                explain->info.log);
    } else if (!explain->has_place) {
        explain_page_note(explain,
                "the ledger has no entries up to %lld any more: they are read from %s",
                (long long)(explain->checking ? explain->check.seq : explain->level.row.version),
                explain->info.log);
    }
}

/* Three quarters of what another instance that passes on the request waits for the answer. */
static int64_t end_ms(const struct exchange *exchange)
{
    int64_t limit_ms = tally_runtime_config(exchange->runtime)->http_forward_timeout * 3 / 4;
    int64_t wait_s = 0;

    if (header_field_prefer_wait(&exchange->request, &wait_s)) {
        limit_ms += wait_s * 1000;
    }
    return tally_mono_ms(tally_clock_real()) + limit_ms;
}

static bool may_search(struct exchange *exchange)
{
    if (reading_wait_begin(exchange->searching)) {
        return true;
    }
    problem_answer(exchange, PROBLEM_OVERLOADED,
            "too many requests look for events: ask again, or for the ledger");
    return false;
}

/* (3): the read is closed. */
static void search(struct explain *explain)
{
    struct exchange *exchange = explain->exchange;
    struct tally_error err = {0};
    enum tally_code code = TALLY_OK;

    if (!may_search(exchange)) {
        return;
    }
    explain->end_ms = end_ms(exchange);
    if (!explain->ended && !explain->has_next) {
        say_why_events(explain);
        code = explain_events_read(explain, &err);
    }
    if (!code) {
        explain_events_find(explain);
    }
    reading_wait_end(exchange->searching);
    if (code == TALLY_UNAVAILABLE || code == TALLY_TIMEOUT) {
        problem_answer(exchange, PROBLEM_KAFKA_UNAVAILABLE, "%s", err.message);
    } else if (code) {
        problem_error(exchange, code, &err);
    }
}

static void query(struct explain *explain)
{
    struct exchange *exchange = explain->exchange;
    struct tally_error err = {0};
    struct tally_read *read;
    enum tally_code code;

    if (!read_query(explain)) {
        return;
    }
    if (!stock_query_is_sku(explain->sku)) {
        stock_query_unknown_sku(exchange, explain->sku);
        return;
    }
    read = reading_open(exchange, "stock", explain->sku, -1);
    if (!read) {
        return;
    }
    code = read_store(explain, read, &err);
    tally_read_close(read);
    if (code) {
        problem_error(exchange, code, &err);
        return;
    }
    if (exchange->response.status == 0 && (explain->count > 0 || !explain->ended)) {
        search(explain);
    }
    if (exchange->response.status == 0) {
        explain_answer(explain);
    }
}

void explain_query(struct exchange *exchange)
{
    struct explain explain = {.exchange = exchange,
            .client = exchange->client,
            .arena = &exchange->arena,
            .sku = exchange->request.params[0],
            .level = {.warehouse = exchange->request.params[1]},
            .warehouse = exchange->request.params[1],
            .last_command = TALLY_OFFSET_NONE};

    tally_buf_init(&explain.filter, FILTER_BYTES_MAX);
    query(&explain);
    tally_buf_deinit(&explain.filter);
}
