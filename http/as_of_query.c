/* http/as_of_query.c - see as_of_query.h. */
#include "http/as_of_query.h"

#include "http/ledger_query.h"
#include "http/ledger_time.h"
#include "http/problem.h"
#include "http/reading.h"
#include "http/stock_query.h"

enum { ROW_BYTES_MAX = 64 * 1024 };

/* *seq: the last entry recorded at or before the time; 0: there was none. */
static enum tally_code read_entry(const struct ledger_place *place, int64_t time_ms, uint64_t *seq,
        struct tally_buf *value, struct stock_ledger_row *row, struct tally_error *err)
{
    uint64_t newest, first = 1;
    enum tally_code code = ledger_time_newest(place, UINT64_MAX, &newest, err);

    if (!code && newest > 0 && time_ms < INT64_MAX) {
        code = ledger_time_find(place, newest, time_ms + 1, &first, err);
    }
    *seq = first - 1;
    return code || *seq == 0 ? code : ledger_time_entry(place, *seq, value, row, err);
}

static void answer(struct exchange *exchange, const struct ledger_place *place, uint64_t seq,
        const struct stock_ledger_row *row)
{
    struct stock_level_row level = {.version = (int64_t)seq, .updated_at = row->recorded_at};
    struct tally_writer writer;

    memcpy(level.n, row->after, sizeof level.n);
    response_json(&exchange->response, 200, &writer);
    stock_level_json(&writer, place->sku, place->warehouse, &level, NULL);
}

static void answer_none(struct exchange *exchange, const struct ledger_place *place,
        struct tally_slice as_of)
{
    struct tally_error err = {0};
    bool exists = false;
    enum tally_code code = stock_query_sku_exists(place->read, place->sku, &exists, &err);

    if (code) {
        problem_error(exchange, code, &err);
    } else if (!exists) {
        stock_query_unknown_sku(exchange, place->sku);
    } else {
        problem_answer(exchange, PROBLEM_NOT_FOUND,
                "nothing had moved SKU \"%.*s\" in warehouse \"%.*s\" by %.*s", (int)place->sku.len,
                (const char *)place->sku.data, (int)place->warehouse.len,
                (const char *)place->warehouse.data, (int)as_of.len, (const char *)as_of.data);
    }
}

static void query(struct exchange *exchange, const struct ledger_place *place,
        struct tally_slice as_of, int64_t time_ms)
{
    struct stock_ledger_row row;
    struct tally_error err = {0};
    struct tally_buf value;
    uint64_t seq;
    enum tally_code code;

    tally_buf_init(&value, ROW_BYTES_MAX);
    code = read_entry(place, time_ms, &seq, &value, &row, &err);
    if (code) {
        problem_error(exchange, code, &err);
    } else if (seq == 0) {
        answer_none(exchange, place, as_of);
    } else if (!reading_not_modified(exchange, tally_read_info(place->read)->partition,
                       (int64_t)seq)) {
        answer(exchange, place, seq, &row);
    }
    tally_buf_deinit(&value);
}

void as_of_query(struct exchange *exchange, struct tally_slice as_of)
{
    struct ledger_place place = {
            .sku = exchange->request.params[0], .warehouse = exchange->request.params[1]};
    int64_t time_ms;
    bool given;

    if (!reading_time(exchange, "as_of", &given, &time_ms) || !ledger_query_is_kept(exchange)) {
        return;
    }
    place.read = reading_open(exchange, "stock", place.sku, -1);
    if (place.read) {
        query(exchange, &place, as_of, time_ms);
        tally_read_close(place.read);
    }
}
