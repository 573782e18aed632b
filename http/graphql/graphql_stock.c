/* http/graphql/graphql_stock.c - Stock and StockLevel.
 *   the SKU's row, warehouses --> rows of its levels and their settings
 * Where every warehouse is registered, its levels are known by name: one multi-get for all SKUs of
 * the request that a task owns. Elsewhere they are found by a scan for each SKU. */
#include <stdlib.h>

#include "http/graphql/graphql_fields.h"
#include "http/stock_query.h"
#include "schemas/stock_records.h"

enum { NAMED_MAX = 64, LEVELS_MAX = 4096, ID_BYTES_MAX = 256 };

struct level {
    struct tally_slice warehouse;
    const struct graphql_load *row, *setting; /* by name */
    struct tally_slice row_value, setting_value;
};

struct stock {
    struct graphql_call *call;
    struct graphql_reads *reads;
    struct graphql_owner *owner;
    struct tally_slice sku;
    const struct graphql_load *sku_row;
    struct level *levels;
    size_t count;
    bool exists;
    const struct graphql_load *failed; /* a load that did */
    const struct tally_read_info *info;
};

static void level_key(struct tally_key *key, enum tally_store_id store, struct tally_slice sku,
        struct tally_slice warehouse)
{
    tally_key_begin(key, store);
    tally_key_string(key, sku);
    tally_key_tail(key, warehouse);
}

static const struct graphql_load *load_store(const struct stock *stock, enum tally_store_id store,
        bool of_sku, size_t limit)
{
    struct tally_key lower, upper;

    tally_key_begin(&lower, store);
    if (of_sku) {
        tally_key_string(&lower, stock->sku);
    }
    upper = tally_key_behind(lower);
    return graphql_reads_rows(stock->reads, stock->owner, &lower, &upper, false, limit);
}

/* Whether a load is there and good; an absent row is. */
static bool is_good(struct stock *stock, const struct graphql_load *load)
{
    if (load->code && load->code != TALLY_NOT_FOUND) {
        stock->failed = load;
        return false;
    }
    stock->info = load->info;
    return true;
}

/* --- which warehouses ------------------------------------------------------------------------- */

enum names { NAMES_KNOWN, NAMES_UNKNOWN, NAMES_AGAIN };

static struct level *make_levels(struct stock *stock, size_t count)
{
    stock->levels = tally_arena_alloc(stock->call->arena, (count + 1) * sizeof *stock->levels);
    memset(stock->levels, 0, (count + 1) * sizeof *stock->levels);
    stock->count = count;
    return stock->levels;
}

static bool is_repeated(const struct stock *stock, struct tally_slice name)
{
    for (size_t i = 0; i < stock->count; i++) {
        if (tally_slice_equal(stock->levels[i].warehouse, name)) {
            return true;
        }
    }
    return false;
}

static int compare_levels(const void *a, const void *b)
{
    const struct level *left = a, *right = b;

    return tally_slice_compare(left->warehouse, right->warehouse);
}

static enum names read_names(struct stock *stock, const struct graphql_input *warehouses)
{
    const struct tally_config *config = tally_runtime_config(stock->reads->exchange->runtime);
    const struct graphql_load *registered;

    if (warehouses) {
        struct level *levels = make_levels(stock, warehouses->count);

        stock->count = 0;
        for (const struct graphql_input *name = warehouses->first; name; name = name->next) {
            if (stock_query_is_warehouse(name->text) && !is_repeated(stock, name->text)) {
                levels[stock->count++].warehouse = name->text;
            }
        }
        qsort(levels, stock->count, sizeof *levels, compare_levels);
        return NAMES_KNOWN;
    }
    if (!config->stock_require_registration) {
        return NAMES_UNKNOWN;
    }
    registered = load_store(stock, TALLY_STORE_WAREHOUSE, false, NAMED_MAX);
    if (!registered) {
        return NAMES_AGAIN;
    }
    if (!is_good(stock, registered) || registered->more) {
        return NAMES_UNKNOWN;
    }
    make_levels(stock, registered->count);
    for (size_t i = 0; i < registered->count; i++) {
        struct tally_slice key = registered->rows[i].key;

        stock->levels[i].warehouse = tally_slice_of(key.data + 1, key.len - 1);
    }
    return NAMES_KNOWN;
}

/* --- their rows ------------------------------------------------------------------------------- */

/* true: all are there. */
static bool load_named(struct stock *stock)
{
    bool all = true;

    for (size_t i = 0; i < stock->count; i++) {
        struct level *level = &stock->levels[i];
        struct tally_key key;

        level_key(&key, TALLY_STORE_LEVEL, stock->sku, level->warehouse);
        level->row = graphql_reads_row(stock->reads, stock->owner, &key);
        level_key(&key, TALLY_STORE_SETTING, stock->sku, level->warehouse);
        level->setting = graphql_reads_row(stock->reads, stock->owner, &key);
        all = all && level->row && level->setting;
    }
    return all;
}

/* Keeps the levels that exist. */
static void take_named(struct stock *stock)
{
    size_t count = 0;

    for (size_t i = 0; i < stock->count && !stock->failed; i++) {
        struct level *level = &stock->levels[i];

        if (!is_good(stock, level->row) || !is_good(stock, level->setting) || level->row->code) {
            continue;
        }
        level->row_value = level->row->value;
        level->setting_value = level->setting->code ? TALLY_NONE : level->setting->value;
        stock->levels[count++] = *level;
    }
    stock->count = count;
    stock->exists = stock->exists || count > 0;
}

static struct tally_slice warehouse_of(const struct stock *stock, struct tally_slice key)
{
    size_t before = 1 + stock->sku.len + 1;

    tally_assert(key.len > before);
    return tally_slice_of(key.data + before, key.len - before);
}

/* Settings come in the order of levels. */
static enum graphql_step take_scanned(struct stock *stock)
{
    const struct graphql_load *levels = load_store(stock, TALLY_STORE_LEVEL, true, LEVELS_MAX);
    const struct graphql_load *settings = load_store(stock, TALLY_STORE_SETTING, true, LEVELS_MAX);
    size_t at = 0;

    if (!levels || !settings) {
        return GRAPHQL_AGAIN;
    }
    if (!is_good(stock, levels) || !is_good(stock, settings)) {
        return GRAPHQL_DONE;
    }
    make_levels(stock, levels->count);
    stock->exists = stock->exists || levels->count > 0;
    for (size_t i = 0; i < levels->count; i++) {
        struct level *level = &stock->levels[i];

        level->warehouse = warehouse_of(stock, levels->rows[i].key);
        level->row_value = levels->rows[i].value;
        while (at < settings->count &&
                tally_slice_compare(warehouse_of(stock, settings->rows[at].key), level->warehouse) <
                        0) {
            at++;
        }
        if (at < settings->count &&
                tally_slice_equal(warehouse_of(stock, settings->rows[at].key), level->warehouse)) {
            level->setting_value = settings->rows[at].value;
        }
    }
    return GRAPHQL_DONE;
}

/* A SKU that nobody registered exists if it has a level, in whatever warehouse. */
static enum graphql_step find_any_level(struct stock *stock)
{
    const struct graphql_load *any;

    if (stock->exists || stock->failed) {
        return GRAPHQL_DONE;
    }
    any = load_store(stock, TALLY_STORE_LEVEL, true, 1);
    if (any && is_good(stock, any)) {
        stock->exists = any->count > 0;
    }
    return any ? GRAPHQL_DONE : GRAPHQL_AGAIN;
}

static enum graphql_step load_levels(struct stock *stock, const struct graphql_input *warehouses)
{
    switch (read_names(stock, warehouses)) {
    case NAMES_AGAIN:
        return GRAPHQL_AGAIN;
    case NAMES_UNKNOWN:
        return stock->failed ? GRAPHQL_DONE : take_scanned(stock);
    default:
        if (!load_named(stock)) {
            return GRAPHQL_AGAIN;
        }
        take_named(stock);
        return find_any_level(stock);
    }
}

/* --- objects ---------------------------------------------------------------------------------- */

struct graphql_out graphql_quantities(struct tally_arena *arena, const int64_t n[],
        const struct graphql_input *names, bool zeros)
{
    static const char *const buckets[STOCK_NUMBERS] = {"ON_HAND", "DAMAGED", "QUALITY_CONTROL",
            "HELD", "RESERVED", "COMMITTED", "SAFETY_STOCK", "INCOMING", "AVAILABLE",
            "BACKORDERED"};
    struct graphql_out list, *items;
    size_t count = 0;

    list = graphql_out_list(arena, STOCK_NUMBERS, &items);
    for (size_t i = 0; i < STOCK_NUMBERS; i++) {
        const struct graphql_input *name = names ? names->first : NULL;
        struct graphql_object *object;

        while (name && !tally_slice_equal(name->text, tally_slice_string(buckets[i]))) {
            name = name->next;
        }
        if ((names && !name) || (!zeros && n[i] == 0)) {
            continue;
        }
        object = graphql_object_create(arena, "Quantity", NULL, 2);
        graphql_object_text(object, "name", tally_slice_string(buckets[i]));
        graphql_object_int(object, "quantity", n[i]);
        items[count++] = graphql_out_object(object);
    }
    list.count = count;
    return list;
}

/* A level's data. */
struct level_data {
    struct tally_slice sku, warehouse;
    int64_t n[STOCK_NUMBERS];
};

static bool level_out(struct stock *stock, const struct level *level, struct graphql_out *out,
        struct stock_level_row *row)
{
    struct tally_arena *arena = stock->call->arena;
    struct level_data *data = tally_arena_alloc(arena, sizeof *data);
    struct stock_setting_row setting = {.policy = STOCK_DENY};
    struct graphql_object *object = graphql_object_create(arena, "StockLevel", data, 5);

    if (!stock_level_unpack(level->row_value, row) ||
            (level->setting_value.data && !stock_setting_unpack(level->setting_value, &setting))) {
        return false;
    }
    *data = (struct level_data){.sku = stock->sku, .warehouse = level->warehouse};
    memcpy(data->n, row->n, sizeof row->n);
    data->n[STOCK_AVAILABLE] = stock_level_available(row);
    data->n[STOCK_BACKORDERED] = stock_level_backordered(row);
    graphql_object_text(object, "sku", stock->sku);
    graphql_object_text(object, "warehouse", level->warehouse);
    graphql_object_int(object, "version", row->version);
    if (setting.has_low_stock_threshold) {
        graphql_object_int(object, "lowStockThreshold", setting.low_stock_threshold);
    }
    graphql_object_time(object, arena, "updatedAt", row->updated_at);
    *out = graphql_out_object(object);
    return true;
}

static enum graphql_step damaged(struct stock *stock)
{
    return graphql_call_fail(stock->call, "STORE_ERROR", "stock of SKU \"%.*s\" is damaged",
            (int)stock->sku.len, (const char *)stock->sku.data);
}

static int64_t lag_of(const struct stock *stock)
{
    int64_t now_ms = tally_wall_ms(tally_runtime_clock(stock->reads->exchange->runtime));
    int64_t lag_ms = now_ms - stock->info->as_of_ms;

    return lag_ms < 0 ? 0 : lag_ms > INT32_MAX ? INT32_MAX : lag_ms;
}

static enum graphql_step stock_out(struct stock *stock, const struct stock_sku_row *sku,
        struct graphql_out *out)
{
    struct tally_arena *arena = stock->call->arena;
    struct tally_slice *product_id = tally_arena_alloc(arena, sizeof *product_id);
    struct graphql_object *object = graphql_object_create(arena, "Stock", product_id, 7);
    struct graphql_out levels, *items;
    int64_t version = sku->version, available = 0;
    struct tally_buf id;

    levels = graphql_out_list(arena, stock->count, &items);
    for (size_t i = 0; i < stock->count; i++) {
        struct stock_level_row row;

        if (!level_out(stock, &stock->levels[i], &items[i], &row)) {
            return damaged(stock);
        }
        version += row.version;
        available += stock_level_available(&row);
    }
    *product_id = sku->product_id;
    tally_buf_init(&id, ID_BYTES_MAX);
    tally_buf_format(&id, "Stock:%.*s", (int)stock->sku.len, (const char *)stock->sku.data);
    graphql_object_text(object, "id", tally_arena_copy(arena, tally_buf_bytes(&id)));
    tally_buf_deinit(&id);
    graphql_object_text(object, "sku", stock->sku);
    graphql_object_int(object, "version", version);
    graphql_object_int(object, "available", available);
    graphql_object_set(object, "levels", levels);
    graphql_object_text(object, "position",
            graphql_reads_position(arena, stock->info, stock->info->position));
    graphql_object_int(object, "lagMs", lag_of(stock));
    *out = graphql_out_object(object);
    return GRAPHQL_DONE;
}

enum graphql_step graphql_stock_find(struct graphql_call *call, struct tally_slice sku,
        const struct graphql_input *warehouses, struct graphql_out *out)
{
    struct graphql_world *world = call->context;
    struct stock stock = {.call = call, .reads = &world->reads, .sku = sku};
    struct stock_sku_row row = {.version = 0};
    struct tally_key key;
    enum graphql_step step;

    if (!stock_query_is_sku(sku)) {
        return GRAPHQL_DONE;
    }
    stock.owner = graphql_reads_owner(stock.reads, "stock", sku);
    tally_key_begin(&key, TALLY_STORE_SKU);
    tally_key_tail(&key, sku);
    stock.sku_row = graphql_reads_row(stock.reads, stock.owner, &key);
    if (stock.sku_row && is_good(&stock, stock.sku_row)) {
        stock.exists = stock.sku_row->code == TALLY_OK;
    }
    step = stock.failed ? GRAPHQL_DONE : load_levels(&stock, warehouses);
    if (step == GRAPHQL_AGAIN || !stock.sku_row) {
        return GRAPHQL_AGAIN;
    }
    if (stock.failed) {
        return graphql_reads_fail(call, stock.failed);
    }
    if (!stock.exists) {
        return GRAPHQL_DONE;
    }
    if (stock.sku_row->code == TALLY_OK && !stock_sku_unpack(stock.sku_row->value, &row)) {
        return damaged(&stock);
    }
    return stock_out(&stock, &row, out);
}

/* A number of a document; 0: it is not there. */
static int64_t number_of(const struct tally_token *map, const char *name)
{
    const struct tally_token *token = tally_token_member(map, name);

    return token && token->type == TALLY_INT ? token->integer : 0;
}

struct graphql_out graphql_stock_level(struct tally_arena *arena, const struct tally_token *level)
{
    const struct tally_token *threshold = tally_token_member(level, "low_stock_threshold");
    struct level_data *data = tally_arena_alloc(arena, sizeof *data);
    struct graphql_object *object = graphql_object_create(arena, "StockLevel", data, 5);

    *data = (struct level_data){.sku = graphql_member_text(level, "sku"),
            .warehouse = graphql_member_text(level, "warehouse")};
    for (size_t i = 0; i < STOCK_NUMBERS; i++) {
        data->n[i] = number_of(level, stock_number_names[i]);
    }
    graphql_object_text(object, "sku", data->sku);
    graphql_object_text(object, "warehouse", data->warehouse);
    graphql_object_int(object, "version", number_of(level, "version"));
    if (threshold && threshold->type == TALLY_INT) {
        graphql_object_int(object, "lowStockThreshold", threshold->integer);
    }
    graphql_object_text(object, "updatedAt", graphql_member_text(level, "updated_at"));
    return graphql_out_object(object);
}

/* --- fields ----------------------------------------------------------------------------------- */

static enum graphql_step query_stock(struct graphql_call *call, struct graphql_out *out)
{
    return graphql_stock_find(call, graphql_call_text(call, "sku"),
            graphql_call_argument(call, "warehouses"), out);
}

static enum graphql_step query_stocks(struct graphql_call *call, struct graphql_out *out)
{
    const struct graphql_input *skus = graphql_call_argument(call, "skus");
    enum graphql_step step = GRAPHQL_DONE;
    struct graphql_out *items;
    size_t at = 0;

    *out = graphql_out_list(call->arena, skus->count, &items);
    for (const struct graphql_input *sku = skus->first; sku; sku = sku->next, at++) {
        if (graphql_stock_find(call, sku->text, NULL, &items[at]) == GRAPHQL_AGAIN) {
            step = GRAPHQL_AGAIN;
        } else if (call->code) {
            items[at] = graphql_call_take_error(call);
        }
    }
    return step;
}

static enum graphql_step stock_product(struct graphql_call *call, struct graphql_out *out)
{
    const struct tally_slice *product_id = call->source->data;

    return product_id->len > 0 ? graphql_product_find(call, *product_id, out) : GRAPHQL_DONE;
}

static enum graphql_step level_quantities(struct graphql_call *call, struct graphql_out *out)
{
    const struct level_data *level = call->source->data;

    *out = graphql_quantities(call->arena, level->n, graphql_call_argument(call, "names"), true);
    return GRAPHQL_DONE;
}

void graphql_stock_bind(struct graphql_schema *schema)
{
    graphql_schema_bind(schema, "Query.stock", query_stock);
    graphql_schema_bind(schema, "Query.stocks", query_stocks);
    graphql_schema_bind(schema, "Stock.product", stock_product);
    graphql_schema_bind(schema, "StockLevel.quantities", level_quantities);
}
