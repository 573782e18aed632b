/* http/list_query.c - see list_query.h. A parameter whose name is that of a filter is that filter,
 * and is checked alike wherever it is taken.
 * Invariants
 *  (1) What PostgreSQL is asked with has passed its check, and times have one form.
 *  (2) Movements of all SKUs are of whole days, and of a bounded number of them. */
#include "http/list_query.h"

#include "http/problem.h"
#include "http/reading.h"
#include "http/router.h"
#include "http/search_page.h"
#include "http/stock_query.h"
#include "schemas/catalogue_records.h"
#include "schemas/reservation_records.h"

enum { DAY_MS = 86400000, DAYS_DEFAULT = 30, DAYS_MAX = 92 };
#define TIME_MS_MAX INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

/* --- filters ---------------------------------------------------------------------------------- */

static bool is_one_of(const char *const *names, struct tally_slice text)
{
    for (size_t i = 0; names[i]; i++) {
        if (tally_slice_equal(text, tally_slice_string(names[i]))) {
            return true;
        }
    }
    return false;
}

static bool is_number(struct tally_slice text)
{
    int64_t number;

    return tally_parse_int(text, &number);
}

static bool is_state(struct tally_slice text)
{
    return is_one_of(reservation_state_names, text);
}

static bool is_kinds(struct tally_slice text)
{
    struct tally_slice rest = text, name;
    bool good = false;

    while (request_list_next(&rest, ',', &name)) {
        if (!is_one_of(stock_kind_names, name)) {
            return false;
        }
        good = true;
    }
    return good;
}

static bool is_currency(struct tally_slice text)
{
    return is_one_of(catalogue_currencies, text);
}

static bool is_time(struct tally_slice text)
{
    int64_t time_ms;

    return tally_parse_time(text, &time_ms);
}

static const struct {
    const char *name;
    bool (*good)(struct tally_slice text);
    const char *expected;
} filters[TALLY_FILTERS] = {
        [TALLY_FILTER_WAREHOUSE] = {"warehouse", stock_query_is_warehouse, "the name of one"},
        [TALLY_FILTER_SKU] = {"sku", stock_query_is_sku, "a SKU"},
        [TALLY_FILTER_PREFIX] = {"prefix", stock_query_is_sku, "how a SKU begins"},
        [TALLY_FILTER_BELOW] = {"below", is_number, "a whole number"},
        [TALLY_FILTER_STATE] = {"state", is_state,
                "HOLDING, CONFIRMED, COMMITTED, FULFILLED, FAILED, RELEASED or EXPIRED"},
        [TALLY_FILTER_KIND] = {"kind", is_kinds, "kinds of ledger entries joined by commas"},
        [TALLY_FILTER_CURRENCY] = {"currency", is_currency, "a code of ISO 4217, like EUR"},
        [TALLY_FILTER_FROM] = {"from", is_time, "a time like 2026-01-15T00:00:00.000Z"},
        [TALLY_FILTER_TO] = {"to", is_time, "a time like 2026-01-15T00:00:00.000Z"},
};

static bool read_filters(struct exchange *exchange, struct tally_list_query *query)
{
    for (size_t i = 0; i < TALLY_FILTERS; i++) {
        struct tally_slice text = request_query(&exchange->request, filters[i].name);

        if (text.data && !filters[i].good(text)) {
            problem_answer(exchange, PROBLEM_INVALID_PARAMETER, "%s: expected %s", filters[i].name,
                    filters[i].expected);
            return false;
        }
        query->filters[i] = text;
    }
    return true;
}

static void set_time(struct exchange *exchange, struct tally_slice *filter, int64_t time_ms)
{
    char text[TALLY_TIME_LEN + 1];

    tally_format_time(time_ms, text);
    *filter = tally_arena_copy(&exchange->arena, tally_slice_of(text, TALLY_TIME_LEN));
}

/* The days that from and to touch; the last 30 of them, or those up to or from the one given. */
static bool read_days(struct exchange *exchange, struct tally_list_query *query)
{
    struct tally_slice *from = &query->filters[TALLY_FILTER_FROM];
    struct tally_slice *to = &query->filters[TALLY_FILTER_TO];
    int64_t to_ms = tally_wall_ms(tally_runtime_clock(exchange->runtime)) + 1, from_ms = 0;
    bool has_from = tally_parse_time(*from, &from_ms), has_to = tally_parse_time(*to, &to_ms);

    if (has_from && !has_to && from_ms + (int64_t)DAYS_DEFAULT * DAY_MS < to_ms) {
        to_ms = from_ms + (int64_t)DAYS_DEFAULT * DAY_MS;
    }
    to_ms += (DAY_MS - to_ms % DAY_MS) % DAY_MS;
    if (!has_from) {
        from_ms = to_ms - (int64_t)DAYS_DEFAULT * DAY_MS;
    }
    from_ms -= from_ms % DAY_MS;
    if (to_ms - from_ms > (int64_t)DAYS_MAX * DAY_MS) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                "from: expected at most %d days before to, or a sku", DAYS_MAX);
        return false;
    }
    set_time(exchange, from, from_ms > 0 ? from_ms : 0);
    set_time(exchange, to, to_ms < TIME_MS_MAX ? to_ms : TIME_MS_MAX);
    return true;
}

/* --- lists ------------------------------------------------------------------------------------ */

static bool read_by(struct exchange *exchange, struct tally_list_query *query)
{
    struct tally_slice by = request_query(&exchange->request, "by");

    if (tally_slice_equal(by, TALLY_SLICE("warehouse"))) {
        query->list = TALLY_LIST_VALUATION_TOTALS;
    } else if (by.data && !tally_slice_equal(by, TALLY_SLICE("sku"))) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER, "by: expected sku or warehouse");
        return false;
    }
    return true;
}

static bool read_query(struct exchange *exchange, struct tally_list_query *query)
{
    if (!read_filters(exchange, query)) {
        return false;
    }
    switch (exchange->route->id) {
    case ROUTE_WAREHOUSE_STOCK:
        query->list = TALLY_LIST_STOCK;
        query->filters[TALLY_FILTER_WAREHOUSE] = exchange->request.params[0];
        return true;
    case ROUTE_RESERVATIONS:
        query->list = TALLY_LIST_RESERVATIONS;
        return true;
    case ROUTE_MOVEMENTS:
        query->list = TALLY_LIST_MOVEMENTS;
        return query->filters[TALLY_FILTER_SKU].data || read_days(exchange, query);
    case ROUTE_VALUATION:
        query->list = TALLY_LIST_VALUATION;
        return read_by(exchange, query);
    default:
        tally_assert(exchange->route->id == ROUTE_TURNOVER);
        query->list = TALLY_LIST_TURNOVER;
        return true;
    }
}

void list_query(struct exchange *exchange)
{
    struct tally_list_query query = {.limit = 0};
    struct tally_read_model_info info = {.position = -1};
    struct tally_error err = {0};
    struct search_page page;
    enum tally_code code;

    search_page_init(&page, exchange);
    if (read_query(exchange, &query) && search_page_read(&page)) {
        query.limit = page.limit;
        query.after = tally_buf_bytes(&page.after);
        code = exchange->search->ops->list(exchange->search, &query, search_page_add, &page,
                &page.next, &info, &err);
        search_page_answer(&page, code, &info, &err);
    }
    search_page_deinit(&page);
}
