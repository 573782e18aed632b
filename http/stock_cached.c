/* http/stock_cached.c - see stock_cached.h.
 * Invariants
 *  (1) The documents of levels are the owner's bytes; versions, and so entity tags, are the same.
 *  (2) What is not there says nothing: no answer is 404. */
#include "http/stock_cached.h"

#include <stdlib.h>

#include "engine/base/hash.h"
#include "http/forwarding.h"
#include "http/reading.h"

enum { LEVELS_MAX = 4096, DOCUMENT_BYTES_MAX = 64 * 1024 };

struct cached_level {
    struct tally_slice warehouse, document;
    const struct tally_token *members;
};
struct cached {
    struct exchange *exchange;
    struct cached_level *levels;
    size_t count;
    bool damaged;
};

static const struct tally_token *parse(struct exchange *exchange, struct tally_slice document)
{
    const struct tally_token *root = NULL;
    enum tally_refusal refusal;

    return tally_document_parse(document, &exchange->arena, &root, &refusal, NULL) ? NULL : root;
}

static int64_t number(const struct tally_token *members, const char *name)
{
    const struct tally_token *member = tally_token_member(members, name);

    return member && member->type == TALLY_INT ? member->integer : 0;
}

static bool add_level(void *context, struct tally_slice warehouse, struct tally_slice document)
{
    struct cached *cached = context;
    struct tally_arena *arena = &cached->exchange->arena;
    struct cached_level *level = &cached->levels[cached->count];

    if (cached->count == LEVELS_MAX) {
        cached->damaged = true;
        return false;
    }
    *level = (struct cached_level){
            tally_arena_copy(arena, warehouse), tally_arena_copy(arena, document), NULL};
    level->members = parse(cached->exchange, level->document);
    cached->damaged = cached->damaged || !level->members;
    cached->count++;
    return !cached->damaged;
}

static int compare(const void *a, const void *b)
{
    const struct cached_level *left = a, *right = b;

    return tally_slice_compare(left->warehouse, right->warehouse);
}

static bool read_levels(struct exchange *exchange, struct tally_slice sku, struct cached *cached,
        struct tally_read_model_info *info)
{
    struct tally_error err = {0};
    enum tally_code code;

    *cached = (struct cached){.exchange = exchange,
            .levels = tally_arena_alloc(&exchange->arena, LEVELS_MAX * sizeof *cached->levels)};
    code = exchange->cache->ops->levels(exchange->cache, sku, add_level, cached, info, &err);
    if ((code && code != TALLY_NOT_FOUND) || cached->damaged || info->position < 0) {
        return false;
    }
    qsort(cached->levels, cached->count, sizeof *cached->levels, compare);
    return true;
}

/* Its own row; NULL: not known. */
static const struct tally_token *read_sku(struct exchange *exchange, struct tally_slice sku,
        struct tally_read_model_info *info)
{
    const struct tally_token *members = NULL;
    struct tally_error err = {0};
    struct tally_buf document;

    tally_buf_init(&document, DOCUMENT_BYTES_MAX);
    if (!exchange->cache->ops->sku(exchange->cache, sku, &document, info, &err)) {
        members = parse(exchange, tally_arena_copy(&exchange->arena, tally_buf_bytes(&document)));
    }
    tally_buf_deinit(&document);
    return members;
}

static void add_headers(struct exchange *exchange, int32_t partition,
        const struct tally_read_model_info *info)
{
    struct tally_topology *topology = reading_topology(exchange, TALLY_SLICE("stock"));

    if (topology) {
        reading_position_header(exchange, tally_topology_commands(topology), partition,
                info->position);
    }
    reading_source_headers(exchange, info->as_of_ms, "redis");
}

static bool may_ask(const struct exchange *exchange)
{
    return exchange->cache && reading_may_be_old(exchange) && !forwarding_is_forwarded(exchange);
}

static int32_t partition_of(const struct exchange *exchange, struct tally_slice sku)
{
    return tally_partition_of(sku, tally_runtime_partitions(exchange->runtime));
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

static void write_member(struct tally_writer *writer, const struct tally_token *members,
        const char *name)
{
    const struct tally_token *member = tally_token_member(members, name);

    tally_write_name(writer, name);
    if (member) {
        tally_write_token(writer, member);
    } else {
        tally_write_null(writer);
    }
}

static void answer(struct exchange *exchange, const struct stock_query_sku *stock,
        const struct tally_token *own, const struct cached *cached, int64_t version)
{
    struct tally_writer writer;

    response_json(&exchange->response, 200, &writer);
    tally_write_map(&writer, 6);
    tally_write_name(&writer, "sku");
    tally_write_string(&writer, stock->sku);
    write_member(&writer, own, "product_id");
    write_member(&writer, own, "state");
    tally_write_name(&writer, "version");
    tally_write_int(&writer, version);
    tally_write_name(&writer, "levels");
    tally_write_array(&writer, (uint32_t)cached->count);
    for (size_t i = 0; i < cached->count; i++) {
        tally_write_raw(&writer, cached->levels[i].document);
    }
    tally_write_name(&writer, "totals");
    tally_write_map(&writer, STOCK_NUMBERS);
    for (size_t i = 0; i < STOCK_NUMBERS; i++) {
        int64_t total = 0;

        for (size_t j = 0; j < cached->count; j++) {
            total += number(cached->levels[j].members, stock_number_names[i]);
        }
        tally_write_name(&writer, stock_number_names[i]);
        tally_write_int(&writer, total);
    }
}

bool stock_cached_sku(struct exchange *exchange, const struct stock_query_sku *stock)
{
    struct tally_read_model_info info = {.position = -1}, own_info = {.position = -1};
    const struct tally_token *own;
    struct cached cached;
    size_t count = 0;
    int64_t version;

    if (!may_ask(exchange) || !read_levels(exchange, stock->sku, &cached, &info)) {
        return false;
    }
    own = read_sku(exchange, stock->sku, &own_info);
    if (!own) {
        return false;
    }
    version = number(own, "version");
    for (size_t i = 0; i < cached.count; i++) {
        if (is_wanted(stock, cached.levels[i].warehouse)) {
            cached.levels[count++] = cached.levels[i];
            version += number(cached.levels[count - 1].members, "version");
        }
    }
    cached.count = count;
    add_headers(exchange, partition_of(exchange, stock->sku), &own_info);
    if (!reading_not_modified(exchange, partition_of(exchange, stock->sku), version)) {
        answer(exchange, stock, own, &cached, version);
    }
    return true;
}

bool stock_cached_level(struct exchange *exchange, struct tally_slice sku,
        struct tally_slice warehouse)
{
    struct tally_read_model_info info = {.position = -1};
    struct cached cached;

    if (!may_ask(exchange) || !read_levels(exchange, sku, &cached, &info)) {
        return false;
    }
    for (size_t i = 0; i < cached.count; i++) {
        const struct cached_level *level = &cached.levels[i];

        if (!tally_slice_equal(level->warehouse, warehouse)) {
            continue;
        }
        add_headers(exchange, partition_of(exchange, sku), &info);
        if (!reading_not_modified(exchange, partition_of(exchange, sku),
                    number(level->members, "version"))) {
            response_begin(&exchange->response, 200, RESPONSE_JSON);
            tally_buf_slice(&exchange->response.body, level->document);
        }
        return true;
    }
    return false;
}
