/* http/stock_query.c - see stock_query.h.
 * Invariants
 *  (1) One answer is one commit's state of one task.
 *  (2) The version, and so the entity tag, is known before any of the body is written. */
#include "http/stock_query.h"

#include "http/as_of_query.h"
#include "http/elsewhere.h"
#include "http/problem.h"
#include "http/reading.h"
#include "http/stock_cached.h"
#include "schemas/stock_records.h"

enum { LEVELS_MAX = 4096, ROW_BYTES_MAX = 64 * 1024 };

bool stock_query_is_sku(struct tally_slice text)
{
    return tally_text_is(text, TALLY_TEXT_ID);
}

bool stock_query_is_warehouse(struct tally_slice text)
{
    return tally_text_is(text, TALLY_TEXT_WAREHOUSE);
}

void stock_query_unknown_sku(struct exchange *exchange, struct tally_slice sku)
{
    problem_reject(exchange, TALLY_REJECT_UNKNOWN_SKU, NULL, "no SKU \"%.*s\" is registered",
            (int)sku.len, (const char *)sku.data);
}

static void level_key(struct tally_key *key, enum tally_store_id store, struct tally_slice sku,
        struct tally_slice warehouse)
{
    tally_key_begin(key, store);
    tally_key_string(key, sku);
    tally_key_tail(key, warehouse);
}

static bool see_any(void *context, struct tally_slice key, struct tally_slice value)
{
    (void)key;
    (void)value;
    *(bool *)context = true;
    return false;
}

/* Rows of a store whose first part is the SKU. */
static enum tally_code scan_sku(struct tally_read *read, enum tally_store_id store,
        struct tally_slice sku, tally_row_fn row, void *context, struct tally_error *err)
{
    struct tally_key lower, upper;

    tally_key_begin(&lower, store);
    tally_key_string(&lower, sku);
    upper = tally_key_behind(lower);
    return tally_read_scan(read, tally_key_bytes(&lower), tally_key_bytes(&upper), false, row,
            context, err);
}

enum tally_code stock_query_sku_exists(struct tally_read *read, struct tally_slice sku,
        bool *exists, struct tally_error *err)
{
    struct tally_key key;
    struct tally_buf value;
    enum tally_code code;

    tally_key_begin(&key, TALLY_STORE_SKU);
    tally_key_tail(&key, sku);
    tally_buf_init(&value, ROW_BYTES_MAX);
    code = tally_read_get(read, tally_key_bytes(&key), &value, err);
    tally_buf_deinit(&value);
    *exists = code == TALLY_OK;
    if (code != TALLY_NOT_FOUND) {
        return code;
    }
    return scan_sku(read, TALLY_STORE_LEVEL, sku, see_any, exists, err);
}

static bool is_wanted(const struct stock_query_sku *stock, struct tally_slice warehouse)
{
    for (size_t i = 0; i < stock->filter_count; i++) {
        if (tally_slice_equal(stock->filter[i], warehouse)) {
            return true;
        }
    }
    return stock->filter_count == 0;
}

static struct tally_slice warehouse_of(const struct stock_query_sku *stock, struct tally_slice key)
{
    size_t before = 1 + stock->sku.len + 1;

    tally_assert(key.len > before);
    return tally_slice_of(key.data + before, key.len - before);
}

static bool add_level(void *context, struct tally_slice key, struct tally_slice value)
{
    struct stock_query_sku *stock = context;
    struct tally_slice warehouse = warehouse_of(stock, key);
    struct stock_query_level *level;

    stock->has_level = true;
    if (!is_wanted(stock, warehouse)) {
        return true;
    }
    level = tally_arena_alloc(stock->arena, sizeof *level);
    *level = (struct stock_query_level){.warehouse = tally_arena_copy(stock->arena, warehouse)};
    if (!stock_level_unpack(value, &level->row)) {
        stock->damaged = true;
        return false;
    }
    *(stock->last ? &stock->last->next : &stock->first) = level;
    stock->last = level;
    stock->count++;
    stock->version += level->row.version;
    return stock->count < LEVELS_MAX;
}

/* Settings come in the order of the levels. */
static bool add_setting(void *context, struct tally_slice key, struct tally_slice value)
{
    struct stock_query_sku *stock = context;
    struct tally_slice warehouse = warehouse_of(stock, key);

    for (struct stock_query_level *level = stock->first; level; level = level->next) {
        if (tally_slice_equal(level->warehouse, warehouse)) {
            stock->damaged = !stock_setting_unpack(value, &level->setting);
            break;
        }
    }
    return !stock->damaged;
}

static enum tally_code read_sku_row(struct tally_read *read, struct stock_query_sku *stock,
        struct tally_error *err)
{
    struct tally_key key;
    struct tally_buf value;
    enum tally_code code;

    tally_key_begin(&key, TALLY_STORE_SKU);
    tally_key_tail(&key, stock->sku);
    tally_buf_init(&value, ROW_BYTES_MAX);
    code = tally_read_get(read, tally_key_bytes(&key), &value, err);
    if (code == TALLY_OK) {
        stock->has_row = true;
        stock->damaged = !stock_sku_unpack(tally_arena_copy(stock->arena, tally_buf_bytes(&value)),
                &stock->row);
        stock->version += stock->row.version;
    }
    tally_buf_deinit(&value);
    return code == TALLY_NOT_FOUND ? TALLY_OK : code;
}

static enum tally_code damaged(const struct stock_query_sku *stock, struct tally_error *err)
{
    return tally_error_set(err, TALLY_STORE_CORRUPT, "a row of SKU \"%.*s\" is damaged",
            (int)stock->sku.len, (const char *)stock->sku.data);
}

enum tally_code stock_query_read(struct tally_read *read, struct stock_query_sku *stock,
        struct tally_error *err)
{
    enum tally_code code = read_sku_row(read, stock, err);

    if (!code) {
        code = scan_sku(read, TALLY_STORE_LEVEL, stock->sku, add_level, stock, err);
    }
    if (!code && stock->first) {
        code = scan_sku(read, TALLY_STORE_SETTING, stock->sku, add_setting, stock, err);
    }
    if (!code && stock->damaged) {
        code = damaged(stock, err);
    }
    return code;
}

static void range_item(const struct stock_query_sku *stock, enum tally_store_id store,
        struct elsewhere_item *item)
{
    struct tally_key lower, upper;

    tally_key_begin(&lower, store);
    tally_key_string(&lower, stock->sku);
    upper = tally_key_behind(lower);
    item->kind = ELSEWHERE_ROWS;
    item->key = tally_arena_copy(stock->arena, tally_key_bytes(&lower));
    item->upper = tally_arena_copy(stock->arena, tally_key_bytes(&upper));
    item->limit = LEVELS_MAX;
}

void stock_query_ask(const struct stock_query_sku *stock, int32_t partition,
        struct elsewhere_item items[static STOCK_QUERY_ITEMS])
{
    struct tally_key key;

    for (size_t i = 0; i < STOCK_QUERY_ITEMS; i++) {
        items[i] = (struct elsewhere_item){.topology = "stock", .partition = partition};
    }
    tally_key_begin(&key, TALLY_STORE_SKU);
    tally_key_tail(&key, stock->sku);
    items[STOCK_QUERY_ROW].key = tally_arena_copy(stock->arena, tally_key_bytes(&key));
    range_item(stock, TALLY_STORE_LEVEL, &items[STOCK_QUERY_LEVELS]);
    range_item(stock, TALLY_STORE_SETTING, &items[STOCK_QUERY_SETTINGS]);
}

enum tally_code stock_query_take(struct stock_query_sku *stock,
        const struct elsewhere_item items[static STOCK_QUERY_ITEMS], struct tally_error *err)
{
    for (size_t i = 0; i < STOCK_QUERY_ITEMS; i++) {
        if (items[i].code && items[i].code != TALLY_NOT_FOUND) {
            return tally_error_set(err, items[i].code, "%s", items[i].message);
        }
    }
    if (items[STOCK_QUERY_ROW].code == TALLY_OK) {
        stock->has_row = true;
        stock->damaged = !stock_sku_unpack(items[STOCK_QUERY_ROW].value, &stock->row);
        stock->version += stock->row.version;
    }
    for (size_t i = 0; i < items[STOCK_QUERY_LEVELS].count && !stock->damaged; i++) {
        const struct elsewhere_row *row = &items[STOCK_QUERY_LEVELS].rows[i];

        (void)add_level(stock, row->key, row->value);
    }
    for (size_t i = 0; i < items[STOCK_QUERY_SETTINGS].count && !stock->damaged; i++) {
        const struct elsewhere_row *row = &items[STOCK_QUERY_SETTINGS].rows[i];

        (void)add_setting(stock, row->key, row->value);
    }
    return stock->damaged ? damaged(stock, err) : TALLY_OK;
}

static void write_string(struct tally_writer *writer, const char *name, struct tally_slice value)
{
    tally_write_name(writer, name);
    if (value.len > 0) {
        tally_write_string(writer, value);
    } else {
        tally_write_null(writer);
    }
}

static void write_int(struct tally_writer *writer, const char *name, bool has, int64_t value)
{
    tally_write_name(writer, name);
    if (has) {
        tally_write_int(writer, value);
    } else {
        tally_write_null(writer);
    }
}

static void write_totals(struct tally_writer *writer, const struct stock_query_sku *stock)
{
    int64_t totals[STOCK_NUMBERS] = {0};

    for (const struct stock_query_level *level = stock->first; level; level = level->next) {
        for (size_t i = 0; i < STOCK_BUCKETS; i++) {
            totals[i] += level->row.n[i];
        }
        totals[STOCK_AVAILABLE] += stock_level_available(&level->row);
        totals[STOCK_BACKORDERED] += stock_level_backordered(&level->row);
    }
    tally_write_name(writer, "totals");
    tally_write_map(writer, STOCK_NUMBERS);
    for (size_t i = 0; i < STOCK_NUMBERS; i++) {
        write_int(writer, stock_number_names[i], true, totals[i]);
    }
}

static void answer_sku(struct exchange *exchange, const struct stock_query_sku *stock)
{
    enum stock_sku_state state = stock->has_row ? stock->row.state : STOCK_SKU_ACTIVE;
    struct tally_writer writer;

    response_json(&exchange->response, 200, &writer);
    tally_write_map(&writer, 6);
    write_string(&writer, "sku", stock->sku);
    write_string(&writer, "product_id", stock->has_row ? stock->row.product_id : TALLY_NONE);
    write_string(&writer, "state", tally_slice_string(stock_sku_states[state]));
    write_int(&writer, "version", true, stock->version);
    tally_write_name(&writer, "levels");
    tally_write_array(&writer, stock->count);
    for (const struct stock_query_level *level = stock->first; level; level = level->next) {
        stock_level_json(&writer, stock->sku, level->warehouse, &level->row, &level->setting);
    }
    write_totals(&writer, stock);
}

static bool read_filter(struct exchange *exchange, struct stock_query_sku *stock)
{
    struct tally_slice rest = request_query(&exchange->request, "warehouse"), name;

    while (request_list_next(&rest, ',', &name)) {
        if (stock->filter_count == STOCK_QUERY_WAREHOUSES_MAX || !stock_query_is_warehouse(name)) {
            problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                    "warehouse: expected names of warehouses joined by commas, at most %d",
                    STOCK_QUERY_WAREHOUSES_MAX);
            return false;
        }
        stock->filter[stock->filter_count++] = name;
    }
    return true;
}

void stock_query_sku(struct exchange *exchange)
{
    struct stock_query_sku stock = {.arena = &exchange->arena, .sku = exchange->request.params[0]};
    struct tally_read *read;
    bool away;
    struct tally_error err = {0};
    enum tally_code code;

    if (!read_filter(exchange, &stock)) {
        return;
    }
    if (!stock_query_is_sku(stock.sku)) {
        stock_query_unknown_sku(exchange, stock.sku);
        return;
    }
    read = reading_at_owner(exchange, "stock", stock.sku, -1, &away);
    if (away && !stock_cached_sku(exchange, &stock)) {
        read = reading_last(exchange, "stock", stock.sku, -1);
    }
    if (!read) {
        return;
    }
    code = stock_query_read(read, &stock, &err);
    if (code) {
        problem_error(exchange, code, &err);
    } else if (!stock.has_row && !stock.has_level) {
        stock_query_unknown_sku(exchange, stock.sku);
    } else if (!reading_not_modified(exchange, tally_read_info(read)->partition, stock.version)) {
        answer_sku(exchange, &stock);
    }
    tally_read_close(read);
}

/* --- one level -------------------------------------------------------------------------------- */

enum tally_code stock_query_read_level(struct exchange *exchange, struct tally_read *read,
        struct tally_slice sku, struct stock_query_level *level, struct tally_error *err)
{
    struct tally_key key;
    struct tally_slice row;
    enum tally_code code;

    level_key(&key, TALLY_STORE_LEVEL, sku, level->warehouse);
    code = reading_row(exchange, read, &key, &row, err);
    if (code) {
        return code;
    }
    if (!stock_level_unpack(row, &level->row)) {
        return tally_error_set(err, TALLY_STORE_CORRUPT, "a level of SKU \"%.*s\" is damaged",
                (int)sku.len, (const char *)sku.data);
    }
    level_key(&key, TALLY_STORE_SETTING, sku, level->warehouse);
    code = reading_row(exchange, read, &key, &row, err);
    if (code == TALLY_NOT_FOUND) {
        return TALLY_OK;
    }
    if (!code && !stock_setting_unpack(row, &level->setting)) {
        code = tally_error_set(err, TALLY_STORE_CORRUPT, "a setting of SKU \"%.*s\" is damaged",
                (int)sku.len, (const char *)sku.data);
    }
    return code;
}

enum tally_code stock_query_find_names(struct exchange *exchange, struct tally_read *read,
        struct tally_slice sku, struct tally_slice warehouse, struct tally_error *err)
{
    struct tally_key key;
    struct tally_slice row;
    bool exists = false;
    enum tally_code code = stock_query_sku_exists(read, sku, &exists, err);

    if (code) {
        return code;
    }
    if (!exists) {
        stock_query_unknown_sku(exchange, sku);
        return TALLY_OK;
    }
    code = TALLY_NOT_FOUND;
    if (stock_query_is_warehouse(warehouse)) {
        tally_key_begin(&key, TALLY_STORE_WAREHOUSE);
        tally_key_tail(&key, warehouse);
        code = reading_row(exchange, read, &key, &row, err);
    }
    if (code == TALLY_NOT_FOUND) {
        problem_reject(exchange, TALLY_REJECT_UNKNOWN_WAREHOUSE, NULL,
                "no warehouse \"%.*s\" is registered", (int)warehouse.len,
                (const char *)warehouse.data);
        code = TALLY_OK;
    }
    return code;
}

void stock_query_level(struct exchange *exchange)
{
    struct tally_slice sku = exchange->request.params[0];
    struct stock_query_level level = {.warehouse = exchange->request.params[1]};
    struct tally_slice as_of = request_query(&exchange->request, "as_of");
    struct tally_read *read;
    bool away;
    struct tally_error err = {0};
    enum tally_code code;

    if (!stock_query_is_sku(sku)) {
        stock_query_unknown_sku(exchange, sku);
        return;
    }
    if (as_of.data) {
        as_of_query(exchange, as_of);
        return;
    }
    read = reading_at_owner(exchange, "stock", sku, -1, &away);
    if (away && !stock_cached_level(exchange, sku, level.warehouse)) {
        read = reading_last(exchange, "stock", sku, -1);
    }
    if (!read) {
        return;
    }
    code = stock_query_is_warehouse(level.warehouse)
                   ? stock_query_read_level(exchange, read, sku, &level, &err)
                   : TALLY_NOT_FOUND;
    if (code == TALLY_NOT_FOUND && exchange->hurried) {
        exchange->late = true; /* whether the names are known is asked of many rows */
    } else if (code == TALLY_NOT_FOUND) {
        code = stock_query_find_names(exchange, read, sku, level.warehouse, &err);
    }
    if (code) {
        problem_error(exchange, code, &err);
    } else if (exchange->response.status == 0 &&
               !reading_not_modified(exchange, tally_read_info(read)->partition,
                       level.row.version)) {
        struct tally_writer writer;

        response_json(&exchange->response, 200, &writer);
        stock_level_json(&writer, sku, level.warehouse, &level.row, &level.setting);
    }
    tally_read_close(read);
}

/* --- warehouses ------------------------------------------------------------------------------- */

struct warehouse {
    struct tally_slice name, title;
    uint8_t state;
    struct warehouse *next;
};
struct warehouse_list {
    struct tally_arena *arena;
    struct warehouse *first, *last;
    uint32_t count;
    bool damaged;
};

static bool add_warehouse(void *context, struct tally_slice key, struct tally_slice value)
{
    struct warehouse_list *list = context;
    struct warehouse *warehouse = tally_arena_alloc(list->arena, sizeof *warehouse);
    struct stock_warehouse_row row;

    if (!stock_warehouse_unpack(tally_arena_copy(list->arena, value), &row)) {
        list->damaged = true;
        return false;
    }
    *warehouse = (struct warehouse){
            .name = tally_arena_copy(list->arena, tally_slice_of(key.data + 1, key.len - 1)),
            .title = row.name,
            .state = row.state,
    };
    *(list->last ? &list->last->next : &list->first) = warehouse;
    list->last = warehouse;
    list->count++;
    return true;
}

static void answer_warehouses(struct exchange *exchange, const struct warehouse_list *list)
{
    struct tally_writer writer;

    response_json(&exchange->response, 200, &writer);
    tally_write_map(&writer, 1);
    tally_write_name(&writer, "items");
    tally_write_array(&writer, list->count);
    for (const struct warehouse *warehouse = list->first; warehouse; warehouse = warehouse->next) {
        tally_write_map(&writer, 3);
        write_string(&writer, "warehouse", warehouse->name);
        write_string(&writer, "name", warehouse->title);
        write_string(&writer, "state",
                tally_slice_string(stock_warehouse_states[warehouse->state]));
    }
}

static enum tally_code open_first(struct exchange *exchange, enum tally_read_of of,
        struct reading_positions *positions, struct tally_read **read, struct tally_error *err)
{
    int32_t partitions = tally_runtime_partitions(exchange->runtime);
    enum tally_code code = TALLY_FENCED;

    positions->options.of = of;
    for (int32_t partition = 0; partition < partitions && code; partition++) {
        code = tally_read_open(exchange->runtime, "stock", TALLY_NONE, partition,
                &positions->options, read, err);
    }
    return code;
}

/* Every stock task has every warehouse: the first that answers will do, here or not. NULL with
 * OK: another instance has answered. */
static enum tally_code open_any(struct exchange *exchange, struct reading_positions *positions,
        struct tally_read **read, struct tally_error *err)
{
    int32_t partitions = tally_runtime_partitions(exchange->runtime);
    enum tally_code code = open_first(exchange, TALLY_READ_RUNNING, positions, read, err);

    for (int32_t partition = 0; partition < partitions && code == TALLY_FENCED; partition++) {
        if (reading_elsewhere(exchange, "stock", partition)) {
            return TALLY_OK;
        }
    }
    return code == TALLY_FENCED ? open_first(exchange, reading_of(exchange), positions, read, err)
                                : code;
}

void stock_query_warehouses(struct exchange *exchange)
{
    struct warehouse_list list = {.arena = &exchange->arena};
    struct reading_positions positions;
    struct tally_read *read = NULL;
    struct tally_key lower, upper;
    struct tally_error err = {0};
    enum tally_code code;

    if (!reading_positions_wanted(exchange, &positions)) {
        return;
    }
    code = open_any(exchange, &positions, &read, &err);
    if (code) {
        problem_error(exchange, code, &err);
        return;
    }
    if (!read) {
        return; /* answered */
    }
    (void)reading_positions_read(exchange, &positions); /* Preference-Applied */
    reading_headers(exchange, tally_read_info(read));
    tally_key_begin(&lower, TALLY_STORE_WAREHOUSE);
    upper = tally_key_behind(lower);
    code = tally_read_scan(read, tally_key_bytes(&lower), tally_key_bytes(&upper), false,
            add_warehouse, &list, &err);
    if (!code && list.damaged) {
        code = tally_error_set(&err, TALLY_STORE_CORRUPT, "a warehouse's row is damaged");
    }
    if (code) {
        problem_error(exchange, code, &err);
    } else {
        answer_warehouses(exchange, &list);
    }
    tally_read_close(read);
}
