/* http/elsewhere_cached.c - see elsewhere_cached.h.
 * Invariants
 *  (1) What Redis does not have says nothing: such an item is not answered.
 *  (2) But the levels of a SKU are in one hash: a level that it does not have does not exist, if it
 *      is known how far the hash is complete.
 *  (3) Rows are as their stores have them, so that whoever asked cannot tell them apart. */
#include "http/elsewhere_cached.h"

#include <stdlib.h>

#include "http/forwarding.h"
#include "http/reading.h"
#include "schemas/catalogue_records.h"
#include "schemas/stock_records.h"

enum { DOCUMENT_BYTES_MAX = 1024 * 1024, ROW_BYTES_MAX = 64 * 1024, KEY_BYTES_MAX = 1024 };

struct cached_level {
    struct tally_slice warehouse, row, setting;
};
struct cached_sku {
    struct tally_slice sku;
    bool known;
    struct cached_level *levels; /* by warehouse */
    size_t count, capacity;
    bool damaged;
    struct tally_read_model_info info;
    struct cached_sku *next;
};
struct cached {
    struct exchange *exchange;
    struct tally_read_cache *cache;
    struct cached_sku *skus; /* of this call */
};

/* --- documents -> rows ------------------------------------------------------------------------ */

static struct tally_slice keep(struct cached *cached, struct tally_buf *row)
{
    struct tally_slice bytes = tally_arena_copy(&cached->exchange->arena, tally_buf_bytes(row));

    tally_buf_deinit(row);
    return bytes;
}

static const struct tally_token *parse(struct cached *cached, struct tally_slice document)
{
    const struct tally_token *root = NULL;
    enum tally_refusal refusal;

    return tally_document_parse(document, &cached->exchange->arena, &root, &refusal, NULL) ? NULL
                                                                                           : root;
}

static bool take_int(const struct tally_token *members, const char *name, int64_t *value)
{
    const struct tally_token *member = tally_token_member(members, name);
    bool there = member && member->type == TALLY_INT;

    *value = there ? member->integer : 0;
    return there;
}

static struct tally_slice text_of(const struct tally_token *members, const char *name)
{
    const struct tally_token *member = tally_token_member(members, name);

    return member && member->type == TALLY_STRING ? member->string : TALLY_NONE;
}

/* false: it is none of them. */
static bool take_name(const struct tally_token *members, const char *name, const char *const *names,
        uint8_t *value)
{
    struct tally_slice text = text_of(members, name);

    for (uint8_t i = 0; text.data && names[i]; i++) {
        if (tally_slice_equal(text, tally_slice_string(names[i]))) {
            *value = i;
            return true;
        }
    }
    return false;
}

static bool take_level(struct cached *cached, const struct tally_token *members,
        struct cached_level *level)
{
    struct stock_level_row row = {.version = 0};
    struct stock_setting_row setting = {.policy = STOCK_DENY};
    struct tally_buf bytes;
    bool good = members && take_int(members, "version", &row.version) &&
                tally_parse_time(text_of(members, "updated_at"), &row.updated_at) &&
                take_name(members, "policy", stock_policy_names, &setting.policy);

    for (size_t i = 0; good && i < STOCK_BUCKETS; i++) {
        good = take_int(members, stock_number_names[i], &row.n[i]);
    }
    if (!good) {
        return false;
    }
    setting.safety_stock = row.n[STOCK_SAFETY_STOCK];
    setting.has_backorder_limit = take_int(members, "backorder_limit", &setting.backorder_limit);
    setting.has_low_stock_threshold =
            take_int(members, "low_stock_threshold", &setting.low_stock_threshold);
    tally_buf_init(&bytes, ROW_BYTES_MAX);
    stock_level_pack(&row, &bytes);
    level->row = keep(cached, &bytes);
    tally_buf_init(&bytes, ROW_BYTES_MAX);
    stock_setting_pack(&setting, &bytes);
    level->setting = keep(cached, &bytes);
    return true;
}

/* --- levels ----------------------------------------------------------------------------------- */

struct adding {
    struct cached *cached;
    struct cached_sku *sku;
};

static bool add_level(void *context, struct tally_slice warehouse, struct tally_slice document)
{
    struct adding *adding = context;
    struct cached_sku *sku = adding->sku;
    struct tally_arena *arena = &adding->cached->exchange->arena;

    if (sku->count == sku->capacity) {
        struct cached_level *levels = sku->levels;

        sku->capacity = sku->capacity ? 2 * sku->capacity : 8;
        sku->levels = tally_arena_alloc(arena, sku->capacity * sizeof *levels);
        if (sku->count > 0) {
            memcpy(sku->levels, levels, sku->count * sizeof *levels);
        }
    }
    sku->levels[sku->count] =
            (struct cached_level){.warehouse = tally_arena_copy(arena, warehouse)};
    sku->damaged = !take_level(adding->cached,
            parse(adding->cached, tally_arena_copy(arena, document)), &sku->levels[sku->count]);
    sku->count++;
    return !sku->damaged;
}

static int compare(const void *a, const void *b)
{
    const struct cached_level *left = a, *right = b;

    return tally_slice_compare(left->warehouse, right->warehouse);
}

/* Asked for once in a call. */
static const struct cached_sku *levels_of(struct cached *cached, struct tally_slice name)
{
    struct cached_sku *sku = cached->skus;
    struct adding adding = {.cached = cached};
    struct tally_error err = {0};
    enum tally_code code;

    while (sku && !tally_slice_equal(sku->sku, name)) {
        sku = sku->next;
    }
    if (sku) {
        return sku;
    }
    sku = tally_arena_alloc(&cached->exchange->arena, sizeof *sku);
    *sku = (struct cached_sku){.sku = name, .next = cached->skus};
    cached->skus = sku;
    adding.sku = sku;
    code = cached->cache->ops->levels(cached->cache, name, add_level, &adding, &sku->info, &err);
    sku->known = (!code || code == TALLY_NOT_FOUND) && sku->info.position >= 0 && !sku->damaged;
    if (sku->count > 0) {
        qsort(sku->levels, sku->count, sizeof *sku->levels, compare);
    }
    return sku;
}

/* A key of LEVEL and SETTING: the SKU behind the store's byte, with its 0x00; then the warehouse,
 * if it is no bound of a range. */
static bool split(struct tally_slice key, struct tally_slice *sku, struct tally_slice *warehouse)
{
    const uint8_t *end = key.len > 1 ? memchr(key.data + 1, 0, key.len - 1) : NULL;

    if (!end) {
        return false;
    }
    *sku = tally_slice_of(key.data + 1, (size_t)(end - key.data) - 1);
    *warehouse = tally_slice_of(end + 1, key.len - (size_t)(end - key.data) - 1);
    return true;
}

static void fill_range(struct cached *cached, const struct cached_sku *sku, bool is_level,
        struct elsewhere_item *item)
{
    struct tally_arena *arena = &cached->exchange->arena;

    item->rows = tally_arena_alloc(arena, (sku->count + 1) * sizeof *item->rows);
    item->count = 0;
    item->more = sku->count > item->limit;
    for (size_t i = 0; i < sku->count && i < item->limit; i++) {
        const struct cached_level *level = &sku->levels[item->backwards ? sku->count - 1 - i : i];
        struct tally_buf key;

        tally_buf_init(&key, KEY_BYTES_MAX);
        tally_buf_slice(&key, item->key);
        tally_buf_slice(&key, level->warehouse);
        item->rows[item->count++] =
                (struct elsewhere_row){keep(cached, &key), is_level ? level->row : level->setting};
    }
}

static bool read_levels(struct cached *cached, bool is_level, struct elsewhere_item *item,
        struct tally_read_model_info *info)
{
    struct tally_slice name, warehouse;
    const struct cached_sku *sku;

    if (!split(item->key, &name, &warehouse) ||
            (item->kind == ELSEWHERE_ROWS && warehouse.len > 0)) {
        return false;
    }
    sku = levels_of(cached, name);
    if (!sku->known) {
        return false;
    }
    *info = sku->info;
    if (item->kind == ELSEWHERE_ROWS) {
        item->code = TALLY_OK;
        fill_range(cached, sku, is_level, item);
        return true;
    }
    item->code = TALLY_NOT_FOUND;
    for (size_t i = 0; i < sku->count; i++) {
        if (tally_slice_equal(sku->levels[i].warehouse, warehouse)) {
            item->code = TALLY_OK;
            item->value = is_level ? sku->levels[i].row : sku->levels[i].setting;
        }
    }
    return true;
}

/* --- single rows ------------------------------------------------------------------------------ */

typedef enum tally_code (*read_fn)(struct tally_read_cache *cache, struct tally_slice name,
        struct tally_buf *document, struct tally_read_model_info *info, struct tally_error *err);

/* What stands under the name that the key has behind its store's byte. data NULL: nothing. */
static struct tally_slice document_of(struct cached *cached, struct tally_slice key, read_fn read,
        struct tally_read_model_info *info)
{
    struct tally_error err = {0};
    struct tally_buf document;
    enum tally_code code;

    tally_buf_init(&document, DOCUMENT_BYTES_MAX);
    code = read(cached->cache, tally_slice_of(key.data + 1, key.len - 1), &document, info, &err);
    if (code) {
        tally_buf_deinit(&document);
        return TALLY_NONE;
    }
    return keep(cached, &document);
}

static bool read_sku(struct cached *cached, struct elsewhere_item *item,
        struct tally_read_model_info *info)
{
    struct tally_slice document = document_of(cached, item->key, cached->cache->ops->sku, info);
    const struct tally_token *members = document.data ? parse(cached, document) : NULL;
    struct stock_sku_row row = {.version = 0};
    struct tally_buf bytes;

    if (!members || !take_int(members, "version", &row.version) ||
            !take_name(members, "state", stock_sku_states, &row.state)) {
        return false;
    }
    row.product_id = text_of(members, "product_id");
    tally_buf_init(&bytes, ROW_BYTES_MAX);
    stock_sku_pack(&row, &bytes);
    item->value = keep(cached, &bytes);
    item->code = TALLY_OK;
    return true;
}

static bool read_product(struct cached *cached, struct elsewhere_item *item,
        struct tally_read_model_info *info)
{
    item->value = document_of(cached, item->key, cached->cache->ops->product, info);
    item->code = item->value.data ? TALLY_OK : item->code;
    return item->value.data != NULL;
}

/* Which operation has claimed it is not known. */
static bool read_slug(struct cached *cached, struct elsewhere_item *item,
        struct tally_read_model_info *info)
{
    struct catalogue_slug_row row = {
            .product_id = document_of(cached, item->key, cached->cache->ops->slug, info)};
    struct tally_buf bytes;

    if (!row.product_id.data) {
        return false;
    }
    tally_buf_init(&bytes, ROW_BYTES_MAX);
    catalogue_slug_pack(&row, &bytes);
    item->value = keep(cached, &bytes);
    item->code = TALLY_OK;
    return true;
}

/* --- which ------------------------------------------------------------------------------------ */

static bool read_item(struct cached *cached, struct elsewhere_item *item,
        struct tally_read_model_info *info)
{
    bool is_row = item->kind == ELSEWHERE_ROW;
    enum tally_store_id store;

    if ((!is_row && item->kind != ELSEWHERE_ROWS) ||
            !tally_store_of_key(item->topology, item->key, &store)) {
        return false;
    }
    switch (store) {
    case TALLY_STORE_LEVEL:
    case TALLY_STORE_SETTING:
        return read_levels(cached, store == TALLY_STORE_LEVEL, item, info);
    case TALLY_STORE_SKU:
        return is_row && read_sku(cached, item, info);
    case TALLY_STORE_PRODUCT:
        return is_row && read_product(cached, item, info);
    case TALLY_STORE_SLUG:
        return is_row && read_slug(cached, item, info);
    default:
        return false;
    }
}

/* Redis has no list of them: there are more than none. Levels are found without it. */
static bool is_all_warehouses(const struct elsewhere_item *item)
{
    enum tally_store_id store;

    return item->kind == ELSEWHERE_ROWS && strcmp(item->topology, "stock") == 0 &&
           tally_store_of_key(item->topology, item->key, &store) && store == TALLY_STORE_WAREHOUSE;
}

void elsewhere_cached(struct exchange *exchange, struct elsewhere_item *items, size_t count)
{
    struct cached cached = {.exchange = exchange, .cache = exchange->cache};

    if (!exchange->cache || !reading_may_be_old(exchange) || forwarding_is_forwarded(exchange)) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct tally_read_model_info info = {.position = -1};
        struct elsewhere_item *item = &items[i], tried = *item;
        const struct tally_topology *topology;

        if (item->code != TALLY_FENCED && item->code != TALLY_UNAVAILABLE) {
            continue;
        }
        if (is_all_warehouses(item)) {
            item->code = TALLY_OK;
            item->more = true;
            continue;
        }
        topology = reading_topology(exchange, tally_slice_string(item->topology));
        if (!topology || !read_item(&cached, &tried, &info) || info.position < 0) {
            continue;
        }
        tried.message = NULL;
        tried.cached = true;
        tried.info = (struct tally_read_info){.topology = item->topology,
                .partition = item->partition,
                .state = TALLY_TASK_PARKED,
                .topic = tally_topology_commands(topology),
                .position = info.position,
                .as_of_ms = info.as_of_ms};
        *item = tried;
    }
}
