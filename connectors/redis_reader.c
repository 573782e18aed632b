/* connectors/redis_reader.c - see redis_reader.h. */
#include "connectors/redis_reader.h"

#include <stdatomic.h>
#include <stdio.h>

#include "connectors/redis_lock.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"

enum { KEY_MAX = 1024, TOPICS = 2 };

static const char *const topics[TOPICS] = {"catalogue.events", "stock.events"};
enum { CATALOGUE, STOCK };

struct redis_reader {
    struct tally_read_cache cache;
    char *prefix, *password; /* topics.prefix */
    struct tally_buf base;
    int32_t partitions;
    struct redis_pool *pool;
    _Atomic int64_t *seen; /* by topic, then partition: how far it was, at most */
};

/* One key and the partition that it belongs to. */
struct place {
    struct tally_buf value, partition;
    _Atomic int64_t *seen;
};

static struct redis_reader *self(struct tally_read_cache *cache)
{
    return (struct redis_reader *)cache;
}

static struct tally_slice make_key(const struct redis_reader *reader, struct tally_buf *key,
        const char *family, struct tally_slice id)
{
    tally_buf_init(key, KEY_MAX);
    tally_buf_slice(key, tally_buf_bytes(&reader->base));
    tally_buf_string(key, family);
    tally_buf_slice(key, id);
    return tally_buf_bytes(key);
}

/* record_prefix: of the key in Kafka, "slug:" */
static void place_init(struct redis_reader *reader, struct place *place, const char *family,
        struct tally_slice id, int topic, const char *record_prefix)
{
    struct tally_buf record;
    int32_t partition;

    tally_buf_init(&record, KEY_MAX);
    tally_buf_string(&record, record_prefix);
    tally_buf_slice(&record, id);
    partition = tally_partition_of(tally_buf_bytes(&record), reader->partitions);
    tally_buf_deinit(&record);
    make_key(reader, &place->value, family, id);
    make_key(reader, &place->partition, "sink:", TALLY_NONE);
    tally_buf_format(&place->partition, "%s%s/%d", reader->prefix, topics[topic], (int)partition);
    place->seen = &reader->seen[topic * reader->partitions + partition];
}

static void place_deinit(struct place *place)
{
    tally_buf_deinit(&place->value);
    tally_buf_deinit(&place->partition);
}

/* Notes how far the partition is. false: it does not count. */
static bool proved(const struct place *place, int64_t seen_before, const redisReply *reply,
        const char *run, struct tally_read_model_info *info)
{
    struct tally_slice said = redis_connection_element(reply, 0);
    int64_t complete, seen = seen_before;

    if (!tally_slice_equal(said, tally_slice_string(run)) ||
            !redis_connection_element_int(reply, 1, &complete) || complete < seen_before) {
        return false;
    }
    while (seen < complete && !atomic_compare_exchange_weak(place->seen, &seen, complete)) {
    }
    if (!redis_connection_element_int(reply, 2, &info->position)) {
        info->position = -1;
    }
    if (!redis_connection_element_int(reply, 3, &info->as_of_ms)) {
        info->as_of_ms = 0;
    }
    return true;
}

/* The reply's element 4 is the value, and is there; the caller frees it. */
static enum tally_code read_value(struct redis_reader *reader, const struct place *place,
        const char *type, redisReply **reply, struct tally_read_model_info *info,
        struct tally_error *err)
{
    struct redis_pool_call call = {.script = REDIS_SCRIPT_READ,
            .keys = {tally_buf_bytes(&place->value), tally_buf_bytes(&place->partition)},
            .key_count = 2,
            .arguments = {tally_slice_string(type)},
            .argument_count = 1};
    int64_t seen = atomic_load(place->seen); /* of others that are on their way nothing is known */
    char run[REDIS_CONNECTION_RUN_LEN + 1];
    enum tally_code code;

    *info = (struct tally_read_model_info){.position = -1};
    if (place->value.failed || place->partition.failed) {
        *reply = NULL;
        return TALLY_NOT_FOUND; /* no id is as long */
    }
    code = redis_pool_run(reader->pool, &call, run, reply, err);
    if (code) {
        return code;
    }
    if ((*reply)->type != REDIS_REPLY_ARRAY || (*reply)->elements != 5) {
        code = tally_error_set(err, TALLY_SINK_SCHEMA,
                "redis answers a script with something else");
    } else if (!proved(place, seen, *reply, run, info) ||
               (*reply)->element[4]->type == REDIS_REPLY_NIL ||
               ((*reply)->element[4]->type == REDIS_REPLY_ARRAY &&
                       (*reply)->element[4]->elements == 0)) {
        code = TALLY_NOT_FOUND;
    }
    if (code) {
        freeReplyObject(*reply);
        *reply = NULL;
    }
    return code;
}

static enum tally_code read_string(struct redis_reader *reader, struct place *place,
        struct tally_buf *out, struct tally_read_model_info *info, struct tally_error *err)
{
    redisReply *reply;
    enum tally_code code = read_value(reader, place, "string", &reply, info, err);

    if (!code) {
        tally_buf_slice(out, redis_connection_element(reply, 4));
        freeReplyObject(reply);
    }
    place_deinit(place);
    return code;
}

static enum tally_code redis_reader_product(struct tally_read_cache *cache,
        struct tally_slice product_id, struct tally_buf *document,
        struct tally_read_model_info *info, struct tally_error *err)
{
    struct place place;

    place_init(self(cache), &place, "product:", product_id, CATALOGUE, "");
    return read_string(self(cache), &place, document, info, err);
}

static enum tally_code redis_reader_slug(struct tally_read_cache *cache, struct tally_slice slug,
        struct tally_buf *product_id, struct tally_read_model_info *info, struct tally_error *err)
{
    struct place place;

    place_init(self(cache), &place, "slug:", slug, CATALOGUE, "slug:");
    return read_string(self(cache), &place, product_id, info, err);
}

static enum tally_code redis_reader_sku(struct tally_read_cache *cache, struct tally_slice sku,
        struct tally_buf *document, struct tally_read_model_info *info, struct tally_error *err)
{
    struct place place;

    place_init(self(cache), &place, "sku:", sku, STOCK, "");
    return read_string(self(cache), &place, document, info, err);
}

static enum tally_code redis_reader_levels(struct tally_read_cache *cache, struct tally_slice sku,
        tally_document_fn row, void *context, struct tally_read_model_info *info,
        struct tally_error *err)
{
    struct place place;
    redisReply *reply;
    enum tally_code code;

    place_init(self(cache), &place, "level:", sku, STOCK, "");
    code = read_value(self(cache), &place, "hash", &reply, info, err);
    for (size_t i = 0; !code && i + 1 < reply->element[4]->elements; i += 2) {
        if (!row(context, redis_connection_element(reply->element[4], i),
                    redis_connection_element(reply->element[4], i + 1))) {
            break;
        }
    }
    freeReplyObject(reply);
    place_deinit(&place);
    return code;
}

/* --- filling ---------------------------------------------------------------------------------- */

struct gap {
    struct place place;
    struct tally_buf lock, fence, control;
};

static void gap_init(struct redis_reader *reader, struct gap *gap, struct tally_slice product_id)
{
    place_init(reader, &gap->place, "product:", product_id, CATALOGUE, "");
    make_key(reader, &gap->lock, "lock:product:", product_id);
    make_key(reader, &gap->fence, "lock:fence", TALLY_NONE);
    make_key(reader, &gap->control, "sink", TALLY_NONE);
}

static void gap_deinit(struct gap *gap)
{
    place_deinit(&gap->place);
    tally_buf_deinit(&gap->lock);
    tally_buf_deinit(&gap->fence);
    tally_buf_deinit(&gap->control);
}

static bool redis_reader_claim(struct tally_read_cache *cache, struct tally_slice product_id,
        struct tally_read_claim *claim)
{
    struct redis_lock lock;
    struct tally_error err;
    struct gap gap;
    enum tally_code code;

    gap_init(self(cache), &gap, product_id);
    code = redis_lock_take(self(cache)->pool,
            &(struct redis_lock_keys){tally_buf_bytes(&gap.lock), tally_buf_bytes(&gap.fence),
                    tally_buf_bytes(&gap.control), tally_buf_bytes(&gap.place.partition),
                    tally_buf_bytes(&gap.place.value)},
            &lock, &err);
    gap_deinit(&gap);
    if (!code) {
        memcpy(claim->token, lock.token, sizeof claim->token);
        claim->fence = lock.fence;
    }
    return code == TALLY_OK;
}

/* The version is in the tail of a product's document: its last member of that name. */
static struct tally_slice version_of(struct tally_slice document)
{
    struct tally_slice name = TALLY_SLICE("\"version\":");
    size_t at = document.len, len = 0;

    while (at > 0 &&
            !tally_slice_starts(tally_slice_of(document.data + at, document.len - at), name)) {
        at--;
    }
    at += at > 0 ? name.len : document.len;
    while (at + len < document.len && document.data[at + len] >= '0' &&
            document.data[at + len] <= '9') {
        len++;
    }
    return tally_slice_of(document.data + at, len);
}

static void redis_reader_fill(struct tally_read_cache *cache, struct tally_slice product_id,
        const struct tally_read_claim *claim, struct tally_slice document)
{
    struct redis_reader *reader = self(cache);
    struct tally_slice version = document.len > 0 ? version_of(document) : TALLY_NONE;
    struct gap gap;

    gap_init(reader, &gap, product_id);
    if (version.len == 0) {
        struct redis_lock lock;

        memcpy(lock.token, claim->token, sizeof lock.token);
        redis_lock_release(reader->pool, tally_buf_bytes(&gap.lock), &lock);
    } else {
        struct redis_pool_call call = {.script = REDIS_SCRIPT_FILL,
                .keys = {tally_buf_bytes(&gap.lock), tally_buf_bytes(&gap.place.value),
                        tally_buf_bytes(&gap.control), tally_buf_bytes(&gap.place.partition)},
                .key_count = 4,
                .arguments = {tally_slice_string(claim->token), version, document, TALLY_NONE},
                .argument_count = 4};
        char run[REDIS_CONNECTION_RUN_LEN + 1];
        struct tally_error err;
        redisReply *reply;

        /* If it fails, the next miss fills. */
        (void)!redis_pool_run(reader->pool, &call, run, &reply, &err);
        freeReplyObject(reply);
    }
    gap_deinit(&gap);
}

/* --- life ------------------------------------------------------------------------------------- */

static void redis_reader_destroy(struct tally_read_cache *cache)
{
    struct redis_reader *reader = self(cache);

    redis_pool_destroy(reader->pool);
    tally_buf_deinit(&reader->base);
    tally_free(reader->prefix);
    tally_free(reader->password);
    tally_free((void *)reader->seen);
    tally_free(reader);
}

static const struct tally_read_cache_ops redis_reader_ops = {
        .product = redis_reader_product,
        .slug = redis_reader_slug,
        .levels = redis_reader_levels,
        .sku = redis_reader_sku,
        .claim = redis_reader_claim,
        .fill = redis_reader_fill,
        .destroy = redis_reader_destroy,
};

enum tally_code tally_redis_reader_create(const struct tally_config *config, int32_t partitions,
        struct tally_read_cache **cache, struct tally_error *err)
{
    struct redis_reader *reader;
    struct redis_place place;
    enum tally_code code = redis_connection_place(config, &place, err);

    *cache = NULL;
    if (code) {
        return code;
    }
    tally_assert(partitions > 0);
    reader = tally_alloc_zero(1, sizeof *reader);
    reader->cache.ops = &redis_reader_ops;
    reader->prefix = tally_copy_string(config->topics_prefix);
    reader->password = tally_copy_string(place.password);
    place.password = reader->password;
    tally_buf_init(&reader->base, KEY_MAX);
    redis_connection_base(config, &reader->base);
    reader->partitions = partitions;
    reader->seen = tally_alloc_zero((size_t)(TOPICS * partitions), sizeof *reader->seen);
    reader->pool = redis_pool_create(&place);
    *cache = &reader->cache;
    return TALLY_OK;
}
