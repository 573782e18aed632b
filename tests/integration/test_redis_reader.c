/* tests/integration/test_redis_reader.c - what readers get of a real Redis, what they do not take
 * from it, how a gap is filled, and the limiter.
 * Invariants: redis_reader.h (1) (2), redis_pool.h (1) (2) (3), read_model.h, limiter.h (1). */
#include "connectors/redis_reader.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "connectors/redis_limiter.h"
#include "engine/base/thread.h"
#include "tests/integration/redis_fixture.h"
#include "tests/integration/suite.h"

static struct redis_fixture fixture;
static struct tally_sink *sink;
static struct tally_read_cache *cache;
static struct tally_error err;
static struct tally_buf text;
static struct tally_read_model_info info;

static void open_sink(int64_t end)
{
    struct tally_topic_partition partitions[] = {
            {.topic = STOCK_TOPIC, .offset = end}, {.topic = CATALOGUE_TOPIC, .offset = end}};

    redis_ok(sink->ops->start(sink, &err));
    redis_ok(sink->ops->open(sink, partitions, 2, &err));
}

static enum tally_code write_one(struct tally_sink_record record)
{
    struct tally_topic_partition position = {
            .topic = record.topic, .partition = 0, .offset = record.offset + 1};
    enum tally_code code = sink->ops->put(sink, &record, 1, &err);

    code = code ? code : sink->ops->flush(sink, &position, 1, &err);
    return code ? code : sink->ops->settle(sink, &err);
}

static void setup(void)
{
    redis_fixture_start(&fixture);
    redis_ok(tally_redis_sink_create(&fixture.config, &sink, &err));
    redis_ok(tally_redis_reader_create(&fixture.config, 1, &cache, &err));
    tally_buf_init(&text, 65536);
    open_sink(0);
}

static void teardown(void)
{
    cache->ops->destroy(cache);
    sink->ops->destroy(sink);
    tally_buf_deinit(&text);
    redis_fixture_stop(&fixture);
    redis_fixture_forget();
}

typedef enum tally_code (*read_fn)(struct tally_read_cache *cache, struct tally_slice id,
        struct tally_buf *out, struct tally_read_model_info *info, struct tally_error *err);

static enum tally_code read_text(read_fn read, const char *id)
{
    tally_buf_clear(&text);
    return read(cache, tally_slice_string(id), &text, &info, &err);
}

static bool text_has(const char *part)
{
    return memmem(text.data, text.len, part, strlen(part)) != NULL;
}

static bool add_level(void *context, struct tally_slice name, struct tally_slice document)
{
    int *count = context;

    tally_buf_slice(&text, name);
    tally_buf_byte(&text, '=');
    tally_buf_slice(&text, document);
    tally_buf_byte(&text, '\n');
    return ++*count < 3;
}

static enum tally_code read_levels(const char *sku, int *count)
{
    *count = 0;
    tally_buf_clear(&text);
    return cache->ops->levels(cache, tally_slice_string(sku), add_level, count, &info, &err);
}

/* --- reading ---------------------------------------------------------------------------------- */

START_TEST(values)
{
    static const char *const warehouses[] = {"AMS1", "RTM2", "UTR3", "GRQ4"};
    int count;

    ck_assert_int_eq(read_text(cache->ops->product, "P-1"), TALLY_NOT_FOUND);
    redis_ok(write_one(redis_fixture_product(CATALOGUE_PRODUCT_CREATED, 0, "P-1", "red", 1)));
    redis_ok(write_one(redis_fixture_slug(CATALOGUE_SLUG_CLAIMED, 1, "red", "P-1")));
    redis_ok(read_text(cache->ops->product, "P-1"));
    ck_assert(text_has("\"version\":1,\"created_at\""));
    ck_assert_int_eq(info.position, 1001);
    ck_assert_int_eq(info.as_of_ms, INT64_C(1768471320001));
    redis_ok(read_text(cache->ops->slug, "red"));
    ck_assert(tally_slice_equal(tally_buf_bytes(&text), TALLY_SLICE("P-1")));
    ck_assert_int_eq(read_text(cache->ops->slug, "blue"), TALLY_NOT_FOUND);

    ck_assert_int_eq(read_levels("S-1", &count), TALLY_NOT_FOUND);
    for (int i = 0; i < 2; i++) {
        redis_ok(write_one(redis_fixture_level(STOCK_RECEIVED, i, "S-1", warehouses[i], 1,
                10 + i)));
    }
    redis_ok(read_levels("S-1", &count));
    ck_assert_int_eq(count, 2);
    ck_assert(text_has("AMS1={\"sku\":\"S-1\",\"warehouse\":\"AMS1\",\"version\":1,\"on_hand\":"
                       "10"));
    ck_assert(text_has("RTM2={\"sku\":\"S-1\",\"warehouse\":\"RTM2\",\"version\":1,\"on_hand\":"
                       "11"));
    for (int i = 2; i < 4; i++) {
        redis_ok(write_one(redis_fixture_level(STOCK_RECEIVED, i, "S-1", warehouses[i], 1, 1)));
    }
    redis_ok(read_levels("S-1", &count));
    ck_assert_int_eq(count, 3); /* it said that it wants no more */
    redis_ok(write_one(redis_fixture_sku(STOCK_SKU_REGISTERED, 4, "S-1", 1, "P-1")));
    redis_ok(read_text(cache->ops->sku, "S-1"));
    ck_assert(text_has("\"product_id\":\"P-1\""));
    ck_assert_int_eq(info.position, 1004);
}
END_TEST

/* Emptied: all is a miss at once, until the sink has read again what was there. */
START_TEST(flushall)
{
    redis_ok(write_one(redis_fixture_product(CATALOGUE_PRODUCT_CREATED, 0, "P-1", "red", 1)));
    redis_ok(write_one(redis_fixture_product(CATALOGUE_PRODUCT_UPDATED, 1, "P-1", "red", 2)));
    redis_ok(read_text(cache->ops->product, "P-1"));
    redis_fixture_ask(&fixture, "FLUSHALL");
    ck_assert_int_eq(read_text(cache->ops->product, "P-1"), TALLY_NOT_FOUND);
    open_sink(2);
    redis_ok(write_one(redis_fixture_product(CATALOGUE_PRODUCT_CREATED, 0, "P-1", "red", 1)));
    ck_assert_int_eq(read_text(cache->ops->product, "P-1"), TALLY_NOT_FOUND); /* not version 1 */
    redis_ok(write_one(redis_fixture_product(CATALOGUE_PRODUCT_UPDATED, 1, "P-1", "red", 2)));
    redis_ok(read_text(cache->ops->product, "P-1"));
    ck_assert(text_has("\"version\":2,"));
}
END_TEST

/* Restarted with a copy from before: what is older than what was read is not read. */
START_TEST(older_data)
{
    redis_ok(write_one(redis_fixture_product(CATALOGUE_PRODUCT_CREATED, 0, "P-1", "red", 1)));
    redis_fixture_ask(&fixture, "SAVE");
    redis_ok(write_one(redis_fixture_product(CATALOGUE_PRODUCT_UPDATED, 1, "P-1", "red", 2)));
    redis_ok(read_text(cache->ops->product, "P-1"));
    redis_fixture_kill(&fixture);
    ck_assert_int_eq(read_text(cache->ops->product, "P-1"), TALLY_UNAVAILABLE);
    redis_fixture_restart(&fixture);
    while (read_text(cache->ops->product, "P-1") == TALLY_UNAVAILABLE) {
        (void)poll(NULL, 0, 50);
    }
    ck_assert_int_eq(read_text(cache->ops->product, "P-1"), TALLY_NOT_FOUND);
    open_sink(2);
    ck_assert_int_eq(read_text(cache->ops->product, "P-1"), TALLY_NOT_FOUND);
    redis_ok(write_one(redis_fixture_product(CATALOGUE_PRODUCT_UPDATED, 1, "P-1", "red", 2)));
    redis_ok(read_text(cache->ops->product, "P-1"));
    ck_assert(text_has("\"version\":2,"));
}
END_TEST

/* The same data set replaced under a server that goes on: known by how far it was. */
START_TEST(seen_further)
{
    redis_ok(write_one(redis_fixture_product(CATALOGUE_PRODUCT_CREATED, 0, "P-1", "red", 1)));
    redis_ok(write_one(redis_fixture_product(CATALOGUE_PRODUCT_UPDATED, 1, "P-1", "red", 2)));
    redis_ok(read_text(cache->ops->product, "P-1"));
    redis_fixture_ask(&fixture, "HSET tally:sink:" CATALOGUE_TOPIC "/0 complete 1");
    ck_assert_int_eq(read_text(cache->ops->product, "P-1"), TALLY_NOT_FOUND);
    redis_fixture_ask(&fixture, "HSET tally:sink:" CATALOGUE_TOPIC "/0 complete 2");
    redis_ok(read_text(cache->ops->product, "P-1"));
}
END_TEST

/* Connections that were closed while idle cost nobody an answer. */
START_TEST(closed_connections)
{
    redis_ok(write_one(redis_fixture_product(CATALOGUE_PRODUCT_CREATED, 0, "P-1", "red", 1)));
    for (int i = 0; i < 5; i++) {
        redis_ok(read_text(cache->ops->product, "P-1"));
        redis_fixture_ask(&fixture, "CLIENT KILL TYPE normal SKIPME yes");
        redis_fixture_ask(&fixture, "SCRIPT FLUSH");
    }
    redis_ok(read_text(cache->ops->product, "P-1"));
}
END_TEST

START_TEST(away)
{
    struct tally_read_cache *other;

    fixture.config.redis_url = (char[]){"redis://127.0.0.1:1"};
    fixture.config.redis_password[0] = '\0';
    redis_ok(tally_redis_reader_create(&fixture.config, 1, &other, &err));
    tally_buf_clear(&text);
    for (int i = 0; i < 1000; i++) { /* most of them fail without a try */
        ck_assert_int_eq(other->ops->product(other, TALLY_SLICE("P-1"), &text, &info, &err),
                TALLY_UNAVAILABLE);
        ck_assert(strstr(err.message, "could not connect"));
    }
    other->ops->destroy(other);
}
END_TEST

/* --- filling ---------------------------------------------------------------------------------- */

#define OWNERS                                                                                \
    "{\"product_id\":\"P-1\",\"slug\":\"red\",\"attributes\":{\"version\":88},\"version\":7," \
    "\"created_at\":\"2026-01-15T10:02:00.012Z\",\"updated_at\":\"2026-01-15T10:02:00.012Z\"}"

enum { READERS = 1000 };
static struct {
    atomic_int missed, claimed, from_owner, refused;
    struct tally_mutex mutex;
    struct tally_cond all;
} crowd;

/* As http does: Redis, then the owner; one fills. */
static void read_through(void *argument)
{
    struct tally_read_model_info own;
    struct tally_read_claim claim;
    struct tally_error here = {0};
    struct tally_buf out;

    (void)argument;
    tally_buf_init(&out, 65536);
    if (cache->ops->product(cache, TALLY_SLICE("P-1"), &out, &own, &here) != TALLY_NOT_FOUND) {
        atomic_fetch_add(&crowd.refused, 1);
    }
    tally_mutex_lock(&crowd.mutex); /* all have missed before anybody fills */
    if (atomic_fetch_add(&crowd.missed, 1) + 1 == READERS) {
        tally_cond_broadcast(&crowd.all);
    }
    while (atomic_load(&crowd.missed) < READERS) {
        (void)tally_cond_wait(&crowd.all, &crowd.mutex, -1);
    }
    tally_mutex_unlock(&crowd.mutex);
    if (cache->ops->claim(cache, TALLY_SLICE("P-1"), &claim)) {
        atomic_fetch_add(&crowd.claimed, 1);
        cache->ops->fill(cache, TALLY_SLICE("P-1"), &claim, TALLY_SLICE(OWNERS));
    }
    atomic_fetch_add(&crowd.from_owner, 1);
    tally_buf_deinit(&out);
}

START_TEST(thousand_misses)
{
    static struct tally_thread threads[READERS];

    fixture.config.redis_timeout = 60000;
    cache->ops->destroy(cache);
    redis_ok(tally_redis_reader_create(&fixture.config, 1, &cache, &err));
    tally_mutex_init(&crowd.mutex, TALLY_LOCK_RUNTIME);
    tally_cond_init(&crowd.all);
    for (int i = 0; i < READERS; i++) {
        tally_thread_start(&threads[i], "reader", read_through, NULL);
    }
    for (int i = 0; i < READERS; i++) {
        tally_thread_join(&threads[i]);
    }
    ck_assert_int_eq(atomic_load(&crowd.refused), 0);
    ck_assert_int_eq(atomic_load(&crowd.missed), READERS);
    ck_assert_int_eq(atomic_load(&crowd.from_owner), READERS);
    ck_assert_int_eq(atomic_load(&crowd.claimed), 1);
    redis_ok(read_text(cache->ops->product, "P-1"));
    ck_assert(tally_slice_equal(tally_buf_bytes(&text), TALLY_SLICE(OWNERS)));
    /* 16 of readers, the sink's, the fixture's */
    ck_assert_int_le(strtol(strstr(redis_fixture_ask(&fixture, "INFO clients"),
                                    "connected_clients:") +
                                     18,
                             NULL, 10),
            18);
}
END_TEST

START_TEST(claims)
{
    struct tally_slice id = TALLY_SLICE("P-1");
    struct tally_read_claim first, second;

    ck_assert(cache->ops->claim(cache, id, &first));
    ck_assert(!cache->ops->claim(cache, id, &second)); /* it is taken */
    cache->ops->fill(cache, id, &first, TALLY_NONE);   /* the owner has none */
    ck_assert(cache->ops->claim(cache, id, &second));
    ck_assert_int_gt(second.fence, first.fence);
    cache->ops->fill(cache, id, &first, TALLY_SLICE(OWNERS)); /* too late */
    ck_assert_str_eq(redis_fixture_ask(&fixture, "EXISTS tally:product:P-1"), "0");
    cache->ops->fill(cache, id, &first, TALLY_NONE); /* nor does it free another's lock */
    ck_assert_str_eq(redis_fixture_ask(&fixture, "EXISTS tally:lock:product:P-1"), "1");
    ck_assert_str_ne(redis_fixture_ask(&fixture, "PTTL tally:lock:product:P-1"), "-1");

    redis_ok(write_one(redis_fixture_product(CATALOGUE_PRODUCT_UPDATED, 0, "P-1", "red", 8)));
    cache->ops->fill(cache, id, &second, TALLY_SLICE(OWNERS)); /* 7 is older than 8 */
    ck_assert(strstr(redis_fixture_ask(&fixture, "GET tally:product:P-1"), "\"version\":8,"));
    ck_assert(!cache->ops->claim(cache, id, &first)); /* there is no gap */
    redis_fixture_ask(&fixture, "DEL tally:product:P-1");
    ck_assert(cache->ops->claim(cache, id, &first));
    cache->ops->fill(cache, id, &first, TALLY_SLICE(OWNERS));
    ck_assert_str_eq(redis_fixture_ask(&fixture, "GET tally:product:P-1"), OWNERS);
    redis_ok(write_one(redis_fixture_product(CATALOGUE_PRODUCT_UPDATED, 1, "P-1", "red", 7)));
    ck_assert_str_eq(redis_fixture_ask(&fixture, "GET tally:product:P-1"), OWNERS);
}
END_TEST

/* Nothing is filled into what is not proved, or into a rebuild, also if the claim is older. */
START_TEST(claims_while_building)
{
    struct tally_slice id = TALLY_SLICE("P-1");
    struct tally_read_claim claim;

    ck_assert(cache->ops->claim(cache, id, &claim));
    redis_ok(sink->ops->rebuild(sink, &err));
    cache->ops->fill(cache, id, &claim, TALLY_SLICE(OWNERS));
    ck_assert_str_eq(redis_fixture_ask(&fixture, "EXISTS tally:product:P-1"), "0");
    ck_assert(!cache->ops->claim(cache, id, &claim));
    redis_fixture_ask(&fixture, "FLUSHALL");
    ck_assert(!cache->ops->claim(cache, id, &claim));
    open_sink(1);
    ck_assert(!cache->ops->claim(cache, id, &claim));
}
END_TEST

/* --- limiter ---------------------------------------------------------------------------------- */

/* The clock that the limiter goes by. */
static int64_t redis_ms(void)
{
    const char *now = redis_fixture_ask(&fixture, "TIME");

    return strtoll(now, NULL, 10) * 1000 + strtoll(strchr(now, '|') + 1, NULL, 10) / 1000;
}

START_TEST(window)
{
    static const struct tally_limit limit = {.policy = "search", .quota = 3, .window_ms = 400};
    static const struct tally_limit long_limit = {
            .policy = "write", .quota = 2, .window_ms = 60000};
    struct tally_limit_log *log, *other;
    struct tally_limit_answer answer;
    struct tally_slice client = TALLY_SLICE("[2001:db8::1]");
    int allowed = 0;

    redis_ok(tally_redis_limiter_create(&fixture.config, &log, &err));
    redis_ok(tally_redis_limiter_create(&fixture.config, &other, &err)); /* another instance */
    redis_ok(log->ops->take(log, &long_limit, client, &answer, &err));
    ck_assert(answer.allowed);
    ck_assert_int_eq(answer.remaining, 1);
    ck_assert_int_eq(answer.reset_ms, 60000);
    redis_ok(other->ops->take(other, &long_limit, client, &answer, &err));
    ck_assert(answer.allowed);
    ck_assert_int_eq(answer.remaining, 0);
    redis_ok(log->ops->take(log, &long_limit, client, &answer, &err));
    ck_assert(!answer.allowed);
    ck_assert_int_eq(answer.remaining, 0);
    ck_assert_int_gt(answer.reset_ms, 0);
    ck_assert_int_le(answer.reset_ms, 60000);
    redis_ok(log->ops->take(log, &long_limit, TALLY_SLICE("10.0.0.1"), &answer, &err));
    ck_assert(answer.allowed);
    ck_assert_str_eq(redis_fixture_ask(&fixture, "ZCARD tally:rl:write:[2001:db8::1]"), "2");
    ck_assert_int_gt(strtol(redis_fixture_ask(&fixture, "PTTL tally:rl:write:[2001:db8::1]"), NULL,
                             10),
            0);

    /* However often it is asked, a window never holds more than its quota: 3 each 400 ms. */
    for (int64_t start = redis_ms(); allowed < 9;) {
        redis_ok(log->ops->take(log, &limit, client, &answer, &err));
        allowed += answer.allowed;
        ck_assert_int_le(allowed, 3 * ((redis_ms() - start) / 400 + 1));
        (void)poll(NULL, 0, answer.allowed ? 0 : 20);
    }
    log->ops->destroy(log);
    other->ops->destroy(other);
}
END_TEST

/* Many at once: never one too many, whoever comes first. */
static struct tally_limit_log *shared_log;

static void take_many(void *argument)
{
    static const struct tally_limit limit = {.policy = "search", .quota = 100, .window_ms = 600000};
    struct tally_limit_answer answer;
    struct tally_error here = {0};

    for (int i = 0; i < 50; i++) {
        if (shared_log->ops->take(shared_log, &limit, TALLY_SLICE("c"), &answer, &here)) {
            atomic_fetch_add((atomic_int *)argument, 100000);
        }
        atomic_fetch_add((atomic_int *)argument, answer.allowed);
    }
}

START_TEST(window_of_many)
{
    struct tally_thread threads[20];
    atomic_int allowed = 0;

    redis_ok(tally_redis_limiter_create(&fixture.config, &shared_log, &err));
    for (int i = 0; i < 20; i++) {
        tally_thread_start(&threads[i], "client", take_many, &allowed);
    }
    for (int i = 0; i < 20; i++) {
        tally_thread_join(&threads[i]);
    }
    ck_assert_int_eq(atomic_load(&allowed), 100);
    shared_log->ops->destroy(shared_log);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, values);
    tcase_add_test(tcase, flushall);
    tcase_add_test(tcase, older_data);
    tcase_add_test(tcase, seen_further);
    tcase_add_test(tcase, closed_connections);
    tcase_add_test(tcase, away);
    tcase_add_test(tcase, thousand_misses);
    tcase_add_test(tcase, claims);
    tcase_add_test(tcase, claims_while_building);
    tcase_add_test(tcase, window);
    tcase_add_test(tcase, window_of_many);
}

int main(void)
{
    return suite_main("redis_reader", add);
}
