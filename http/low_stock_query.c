/* http/low_stock_query.c - see low_stock_query.h.
 *   a run of rows of each task, up to where it was cut -> merged, up to the first cut -> a page
 * Invariants
 *  (1) The order is that of the keys: severity, sku, warehouse, over all tasks. The mark of the
 *      next page is a key; the page holds what comes after it in every task.
 *  (2) Each task is read at one commit, but they are not read at the same moment: a level that
 *      changes meanwhile is in the page as its task had it.
 *  (3) A list without the levels of one task would say that they are fine: all are here, or 503. */
#include "http/low_stock_query.h"

#include <stdlib.h>

#include "http/elsewhere.h"
#include "http/problem.h"
#include "http/reading.h"
#include "schemas/analytics_rows.h"

enum { WAREHOUSES_MAX = 64, SCANNED_MAX = 20000, FILTERED_ROWS = 1000, FILTER_BYTES_MAX = 4096 };

static const char *const severities[] = {
        [LOW_STOCK_OVERSOLD] = "OVERSOLD", [LOW_STOCK_OUT] = "OUT", [LOW_STOCK_LOW] = "LOW", NULL};

struct low {
    struct tally_slice key, sku, warehouse;
    struct low_stock_row row;
    struct low *next;
};

struct list {
    struct tally_arena *arena;
    struct tally_slice warehouses[WAREHOUSES_MAX]; /* none: all */
    size_t warehouse_count;
    bool severities[LOW_STOCK_FINE], has_severities;
    size_t limit;
    struct tally_buf filter; /* what a cursor is bound to */
    struct tally_key after;  /* len 0: from the beginning */

    struct low *found; /* in no order */
    size_t count;
    size_t of_task, scanned; /* of the task that is being read: found, and looked at */
    struct tally_key last;   /* the one it looked at last */
    struct tally_key cut;    /* keys up to this one were read in every task; len 0: all were */
    bool damaged;
    struct tally_buf positions;
    int64_t as_of_ms; /* of the task that is furthest behind */
};

/* --- the query -------------------------------------------------------------------------------- */

static bool read_warehouses(struct exchange *exchange, struct list *list)
{
    struct tally_slice rest = request_query(&exchange->request, "warehouse"), name;

    while (request_list_next(&rest, ',', &name)) {
        if (list->warehouse_count == WAREHOUSES_MAX || !tally_text_is(name, TALLY_TEXT_WAREHOUSE)) {
            problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                    "warehouse: expected names of warehouses joined by commas, at most %d",
                    WAREHOUSES_MAX);
            return false;
        }
        list->warehouses[list->warehouse_count++] = name;
    }
    return true;
}

static bool read_severities(struct exchange *exchange, struct list *list)
{
    struct tally_slice rest = request_query(&exchange->request, "severity"), name;

    while (request_list_next(&rest, ',', &name)) {
        size_t severity = 0;

        while (severities[severity] &&
                !tally_slice_equal(name, tally_slice_string(severities[severity]))) {
            severity++;
        }
        if (!severities[severity]) {
            problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                    "severity: expected OVERSOLD, OUT, LOW, joined by commas");
            return false;
        }
        list->severities[severity] = true;
        list->has_severities = true;
    }
    return true;
}

static bool read_cursor(struct exchange *exchange, struct list *list)
{
    static const char *const names[] = {"warehouse", "severity"};
    struct tally_buf place;
    bool good;

    tally_buf_string(&list->filter, "low");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        tally_buf_byte(&list->filter, 0);
        tally_buf_slice(&list->filter, request_query(&exchange->request, names[i]));
    }
    tally_buf_init(&place, CURSOR_PLACE_BYTES_MAX);
    good = reading_cursor(exchange, tally_buf_bytes(&list->filter), &place);
    if (good && place.len > 0) {
        tally_assert(place.len < TALLY_KEY_MAX); /* signed: it was a key */
        memcpy(list->after.bytes, place.data, place.len);
        list->after.len = (uint16_t)place.len;
    }
    tally_buf_deinit(&place);
    return good;
}

/* --- the rows --------------------------------------------------------------------------------- */

static bool split_key(struct tally_slice key, struct low *low)
{
    const uint8_t *end = key.len > 2 ? memchr(key.data + 2, 0, key.len - 2) : NULL;

    if (!end) {
        return false;
    }
    low->key = key;
    low->sku = tally_slice_of(key.data + 2, (size_t)(end - key.data) - 2);
    low->warehouse = tally_slice_of(end + 1, (size_t)(key.data + key.len - end) - 1);
    return true;
}

static bool is_wanted(const struct list *list, const struct low *low)
{
    bool wanted = !list->has_severities || list->severities[low->key.data[1]];

    for (size_t i = 0; wanted && i < list->warehouse_count; i++) {
        if (tally_slice_equal(list->warehouses[i], low->warehouse)) {
            return true;
        }
    }
    return wanted && list->warehouse_count == 0;
}

static void copy_key(struct tally_key *to, struct tally_slice key)
{
    memcpy(to->bytes, key.data, key.len);
    to->len = (uint16_t)key.len;
}

static bool add_row(void *context, struct tally_slice key, struct tally_slice value)
{
    struct list *list = context;
    struct low seen = {.key = TALLY_NONE}, *low;
    bool wanted;

    if (!split_key(key, &seen) || key.data[1] >= LOW_STOCK_FINE ||
            !analytics_low_stock_unpack(value, &seen.row)) {
        list->damaged = true;
        return false;
    }
    wanted = is_wanted(list, &seen);
    if (list->scanned == SCANNED_MAX || (wanted && list->of_task == list->limit)) {
        if (list->cut.len == 0 || tally_slice_compare(tally_key_bytes(&list->last),
                                          tally_key_bytes(&list->cut)) < 0) {
            list->cut = list->last;
        }
        return false;
    }
    list->scanned++;
    copy_key(&list->last, key);
    if (wanted) {
        low = tally_arena_alloc(list->arena, sizeof *low);
        *low = seen;
        (void)split_key(tally_arena_copy(list->arena, key), low);
        low->next = list->found;
        list->found = low;
        list->of_task++;
        list->count++;
    }
    return true;
}

/* Which rows of a task the page may hold. */
static void range_of(const struct list *list, struct tally_key *lower, struct tally_key *upper)
{
    tally_key_begin(lower, TALLY_STORE_LOW_STOCK);
    *upper = *lower;
    tally_key_u8(upper, LOW_STOCK_FINE);
    if (list->after.len > 0) {
        *lower = list->after;
        lower->bytes[lower->len++] = 0; /* the first key behind it */
    }
}

static void begin_task(struct list *list)
{
    list->of_task = 0;
    list->scanned = 0;
}

static enum tally_code end_task(struct list *list, const struct tally_read_info *info,
        struct tally_error *err)
{
    reading_positions_add(&list->positions, info);
    if (list->as_of_ms == 0 || info->as_of_ms < list->as_of_ms) {
        list->as_of_ms = info->as_of_ms;
    }
    return list->damaged
                   ? tally_error_set(err, TALLY_STORE_CORRUPT, "a row of low_stock is damaged")
                   : TALLY_OK;
}

static enum tally_code scan_task(struct exchange *exchange, struct reading_positions *positions,
        int32_t partition, struct list *list, struct tally_error *err)
{
    struct tally_key lower, upper;
    struct tally_read *read = NULL;
    enum tally_code code;

    positions->options.of = reading_of(exchange);
    code = tally_read_open(exchange->runtime, "low_stock", TALLY_NONE, partition,
            &positions->options, &read, err);
    if (!code) {
        range_of(list, &lower, &upper);
        begin_task(list);
        code = tally_read_scan(read, tally_key_bytes(&lower), tally_key_bytes(&upper), false,
                add_row, list, err);
        code = code ? code : end_task(list, tally_read_info(read), err);
    }
    tally_read_close(read);
    return code;
}

/* Rows that an instance was asked for at first; with a filter a page takes more of them. */
static size_t rows_asked(const struct list *list)
{
    return list->has_severities || list->warehouse_count > 0 ? FILTERED_ROWS : list->limit + 1;
}

/* The rows of one task that runs elsewhere: those that came, and as long as the page wants more,
 * the next ones. */
static enum tally_code take_task(struct exchange *exchange, struct elsewhere_item *item,
        struct list *list, struct tally_error *err)
{
    begin_task(list);
    for (bool first = true;; first = false) {
        struct tally_key next;
        size_t i = 0;

        if (item->code && item->code != TALLY_NOT_FOUND) { /* after the first, nobody else can */
            return tally_error_set(err, first ? item->code : TALLY_ASSIGNMENT_LOST, "%s",
                    item->message);
        }
        while (i < item->count && add_row(list, item->rows[i].key, item->rows[i].value)) {
            i++;
        }
        if (i < item->count || !item->more || item->count == 0) {
            return end_task(list, &item->info, err);
        }
        copy_key(&next, item->rows[i - 1].key);
        next.bytes[next.len++] = 0;
        item->key = tally_arena_copy(list->arena, tally_key_bytes(&next));
        elsewhere_ask(exchange, item, 1, 0);
    }
}

/* Asks the tasks that run elsewhere, one request for each instance; NULL items: here. */
static struct elsewhere_item **ask_others(struct exchange *exchange, const struct list *list)
{
    int32_t partitions = tally_runtime_partitions(exchange->runtime);
    struct elsewhere_item *items =
            tally_arena_alloc(list->arena, (size_t)partitions * sizeof *items);
    struct elsewhere_item **of =
            tally_arena_alloc(list->arena, (size_t)partitions * sizeof(struct elsewhere_item *));
    struct tally_key lower, upper;
    size_t count = 0;

    range_of(list, &lower, &upper);
    for (int32_t partition = 0; partition < partitions; partition++) {
        of[partition] = NULL;
        if (!tally_read_is_here(exchange->runtime, "low_stock", partition)) {
            of[partition] = &items[count];
            items[count++] = (struct elsewhere_item){.kind = ELSEWHERE_ROWS,
                    .topology = "low_stock",
                    .partition = partition,
                    .key = tally_arena_copy(list->arena, tally_key_bytes(&lower)),
                    .upper = tally_arena_copy(list->arena, tally_key_bytes(&upper)),
                    .limit = rows_asked(list)};
        }
    }
    elsewhere_ask(exchange, items, count, 0);
    return of;
}

static enum tally_code scan_tasks(struct exchange *exchange, struct reading_positions *positions,
        struct list *list, struct tally_error *err)
{
    int32_t partitions = tally_runtime_partitions(exchange->runtime);
    struct elsewhere_item **others = ask_others(exchange, list);
    enum tally_code code = TALLY_OK;

    for (int32_t partition = 0; partition < partitions && !code; partition++) {
        code = others[partition] ? take_task(exchange, others[partition], list, err) : TALLY_FENCED;
        if (code == TALLY_FENCED || code == TALLY_UNAVAILABLE) { /* here, or last of all */
            code = scan_task(exchange, positions, partition, list, err);
        }
    }
    return code;
}

/* --- the answer ------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const struct low *const *left = a, *const *right = b;

    return tally_slice_compare((*left)->key, (*right)->key);
}

static void write_text(struct tally_writer *writer, const char *name, struct tally_slice text)
{
    tally_write_name(writer, name);
    tally_write_string(writer, text);
}

static void write_low(struct tally_writer *writer, const struct low *low)
{
    tally_write_map(writer, 7);
    write_text(writer, "sku", low->sku);
    write_text(writer, "warehouse", low->warehouse);
    write_text(writer, "severity", tally_slice_string(severities[low->key.data[1]]));
    tally_write_name(writer, "available");
    tally_write_int(writer, low->row.available);
    tally_write_name(writer, "low_stock_threshold");
    if (low->row.has_threshold) {
        tally_write_int(writer, low->row.threshold);
    } else {
        tally_write_null(writer);
    }
    tally_write_name(writer, "version");
    tally_write_int(writer, low->row.version);
    tally_write_name(writer, "updated_at");
    tally_write_time(writer, low->row.updated_at);
}

/* How many of the sorted ones are a page, and where the next one begins; len 0: nowhere. */
static size_t cut_page(const struct list *list, struct low *const *sorted, struct tally_slice *next)
{
    size_t count = 0;

    while (count < list->count && count < list->limit &&
            (list->cut.len == 0 ||
                    tally_slice_compare(sorted[count]->key, tally_key_bytes(&list->cut)) <= 0)) {
        count++;
    }
    *next = TALLY_NONE;
    if (count == list->limit && (count < list->count || list->cut.len > 0)) {
        *next = sorted[count - 1]->key;
    } else if (list->cut.len > 0) {
        *next = tally_key_bytes(&list->cut);
    }
    return count;
}

static void answer(struct exchange *exchange, const struct list *list)
{
    struct low **sorted = tally_arena_alloc(list->arena, (list->count + 1) * sizeof *sorted);
    struct tally_read_info info = {.position = -1, .as_of_ms = list->as_of_ms};
    struct tally_writer writer;
    struct tally_slice next;
    size_t count = 0;

    for (struct low *low = list->found; low; low = low->next) {
        sorted[count++] = low;
    }
    qsort(sorted, count, sizeof *sorted, compare);
    count = cut_page(list, sorted, &next);
    reading_positions_header(exchange, &list->positions);
    reading_age_headers(exchange, &info);
    response_json(&exchange->response, 200, &writer);
    tally_write_map(&writer, 2);
    tally_write_name(&writer, "items");
    tally_write_array(&writer, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        write_low(&writer, sorted[i]);
    }
    reading_cursor_write(exchange, &writer, tally_buf_bytes(&list->filter), next);
}

static void query(struct exchange *exchange, struct list *list)
{
    struct reading_positions positions;
    struct tally_error err = {0};
    enum tally_code code;

    if (!reading_limit(exchange, &list->limit) || !read_warehouses(exchange, list) ||
            !read_severities(exchange, list) || !read_cursor(exchange, list) ||
            !reading_positions_read(exchange, &positions)) {
        return;
    }
    code = scan_tasks(exchange, &positions, list, &err);
    if (code) {
        problem_error(exchange, code, &err);
    } else {
        answer(exchange, list);
    }
}

void low_stock_query(struct exchange *exchange)
{
    struct list list = {.arena = &exchange->arena};

    tally_buf_init(&list.filter, FILTER_BYTES_MAX);
    tally_buf_init(&list.positions, READING_POSITIONS_BYTES_MAX);
    query(exchange, &list);
    tally_buf_deinit(&list.filter);
    tally_buf_deinit(&list.positions);
}
