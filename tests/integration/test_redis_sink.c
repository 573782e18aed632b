/* tests/integration/test_redis_sink.c - what the sink leaves in a real Redis, and what becomes of
 * it when Redis, or another instance, does what it should not.
 * Invariants: engine/sink.h (1) (2) (3), redis_sink.h (1) (2) (3), redis_sweep.h (1) (2). */
#include "connectors/redis_sink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/failpoint.h"
#include "tests/integration/redis_fixture.h"
#include "tests/integration/suite.h"

static struct redis_fixture fixture;
static struct tally_sink *sink;
static struct tally_error err;

static void setup(void)
{
    redis_fixture_start(&fixture);
    redis_ok(tally_redis_sink_create(&fixture.config, &sink, &err));
}

static void teardown(void)
{
    sink->ops->destroy(sink);
    redis_fixture_stop(&fixture);
    redis_fixture_forget();
}

/* --- driving a sink --------------------------------------------------------------------------- */

static int64_t open_at(struct tally_sink *at, const char *topic, int64_t end)
{
    struct tally_topic_partition partition = {.topic = topic, .partition = 0, .offset = end};

    redis_ok(at->ops->open(at, &partition, 1, &err));
    return partition.offset;
}

/* Starts and opens the stock events, whose end is at `end`; the next offset to read. */
static int64_t begin(struct tally_sink *at, int64_t end)
{
    redis_ok(at->ops->start(at, &err));
    return open_at(at, STOCK_TOPIC, end);
}

static enum tally_code put(struct tally_sink *at, const struct tally_sink_record *records,
        size_t count)
{
    return at->ops->put(at, records, count, &err);
}

static enum tally_code flush(struct tally_sink *at, const char *topic, int64_t offset)
{
    struct tally_topic_partition position = {.topic = topic, .partition = 0, .offset = offset};

    enum tally_code code = at->ops->flush(at, &position, 1, &err);

    return code ? code : at->ops->settle(at, &err);
}

/* One record and the position behind it. */
static enum tally_code write_one(struct tally_sink *at, struct tally_sink_record record)
{
    enum tally_code code = put(at, &record, 1);

    return code ? code : flush(at, record.topic, record.offset + 1);
}

static enum tally_code write_level(struct tally_sink *at, int64_t offset, int64_t version,
        int64_t on_hand)
{
    return write_one(at,
            redis_fixture_level(STOCK_RECEIVED, offset, "TS-RED-M", "AMS1", version, on_hand));
}

static const char *level_text(int64_t version, int64_t on_hand, const char *setting)
{
    static char text[1024];

    (void)snprintf(text, sizeof text,
            "{\"sku\":\"TS-RED-M\",\"warehouse\":\"AMS1\",\"version\":%lld,\"on_hand\":%lld,"
            "\"damaged\":0,\"quality_control\":0,\"held\":0,\"reserved\":4,\"committed\":0,"
            "\"safety_stock\":0,\"incoming\":0,\"available\":%lld,\"backordered\":%lld,"
            "%s,\"updated_at\":\"2026-01-15T10:02:00.012Z\"}",
            (long long)version, (long long)on_hand, (long long)(on_hand - 4),
            (long long)(on_hand < 4 ? 4 - on_hand : 0), setting);
    return text;
}

#define PLAIN      "\"policy\":\"DENY\",\"backorder_limit\":null,\"low_stock_threshold\":null"
#define CONFIGURED "\"policy\":\"BACKORDER\",\"backorder_limit\":null,\"low_stock_threshold\":10"

#define key_is(expected, ...) ck_assert_str_eq(redis_fixture_ask(&fixture, __VA_ARGS__), expected)
#define level_is(version, on_hand, setting) \
    key_is(level_text(version, on_hand, setting), "HGET tally:level:TS-RED-M AMS1")
#define state_is(field, expected) key_is(expected, "HGET tally:sink:" STOCK_TOPIC "/0 %s", field)

static bool readable(void)
{
    char run[64];

    (void)snprintf(run, sizeof run, "%s",
            redis_fixture_ask(&fixture, "HGET tally:sink:" STOCK_TOPIC "/0 run"));
    return run[0] && strstr(redis_fixture_ask(&fixture, "INFO server"), run);
}

/* --- content ---------------------------------------------------------------------------------- */

START_TEST(every_event)
{
    static const enum stock_event_type levels[] = {STOCK_RECEIVED, STOCK_ADJUSTED, STOCK_SHIPPED,
            STOCK_RETURNED, STOCK_UNITS_HELD, STOCK_UNITS_RESERVED, STOCK_UNITS_COMMITTED,
            STOCK_UNITS_RELEASED, STOCK_TRANSFERRED_OUT, STOCK_TRANSFERRED_BACK,
            STOCK_TRANSFER_EXPECTED, STOCK_TRANSFERRED_IN, STOCK_TRANSFER_LOST};
    static const enum catalogue_event_type products[] = {CATALOGUE_PRODUCT_CREATED,
            CATALOGUE_PRODUCT_UPDATED, CATALOGUE_VARIANT_ADDED, CATALOGUE_PRODUCT_PUBLISHED,
            CATALOGUE_PRODUCT_ARCHIVED, CATALOGUE_PRICE_CHANGED, CATALOGUE_PRICE_SCHEDULED};
    int64_t offset = 0, version = 0;

    ck_assert_int_eq(begin(sink, 0), TALLY_OFFSET_NONE);
    ck_assert_int_eq(open_at(sink, CATALOGUE_TOPIC, 0), TALLY_OFFSET_NONE);
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        version++;
        redis_ok(write_one(sink, redis_fixture_level(levels[i], offset++, "TS-RED-M", "AMS1",
                                         version, 10 * version)));
        level_is(version, 10 * version, PLAIN);
    }
    redis_ok(write_one(sink, redis_fixture_setting(offset++, "TS-RED-M", "AMS1", ++version, 2)));
    level_is(version, 2, CONFIGURED);
    redis_ok(write_one(sink,
            redis_fixture_level(STOCK_RECEIVED, offset++, "TS-RED-M", "AMS1", ++version, 7)));
    level_is(version, 7, CONFIGURED); /* settings stay */
    key_is("1", "HLEN tally:level:TS-RED-M");

    redis_ok(write_one(sink, redis_fixture_sku(STOCK_SKU_REGISTERED, offset++, "S-1", 1, "P-1")));
    key_is("{\"sku\":\"S-1\",\"product_id\":\"P-1\",\"state\":\"ACTIVE\",\"version\":1}",
            "GET tally:sku:S-1");
    redis_ok(write_one(sink, redis_fixture_sku(STOCK_SKU_RELEASED, offset++, "S-1", 2, NULL)));
    key_is("{\"sku\":\"S-1\",\"product_id\":null,\"state\":\"ACTIVE\",\"version\":2}",
            "GET tally:sku:S-1");
    redis_ok(write_one(sink, redis_fixture_sku(STOCK_SKU_FROZEN, offset++, "S-1", 3, "P-1")));
    key_is("{\"sku\":\"S-1\",\"product_id\":\"P-1\",\"state\":\"ARCHIVED\",\"version\":3}",
            "GET tally:sku:S-1");
    redis_ok(write_one(sink, redis_fixture_outcome(offset++)));
    state_is("position", "19");
    state_is("complete", "19");
    state_is("complete_command", "1018");
    state_is("complete_as_of", "1768471320018");

    for (size_t i = 0; i < sizeof products / sizeof products[0]; i++) {
        char expected[512];

        redis_ok(write_one(sink, redis_fixture_product(products[i], (int64_t)i, "P-1", "red-shirt",
                                         (int64_t)i + 1)));
        (void)snprintf(expected, sizeof expected,
                "{\"product_id\":\"P-1\",\"slug\":\"red-shirt\",\"name\":"
                "\"A \\\"version\\\":9999 of it\",\"status\":\"DRAFT\",\"version\":%d,"
                "\"created_at\":\"2026-01-15T10:02:00.012Z\","
                "\"updated_at\":\"2026-01-15T10:02:00.012Z\"}",
                (int)i + 1);
        key_is(expected, "GET tally:product:P-1");
    }
    redis_ok(write_one(sink, redis_fixture_slug(CATALOGUE_SLUG_CLAIMED, 7, "red-shirt", "P-1")));
    redis_ok(write_one(sink, redis_fixture_slug(CATALOGUE_SLUG_CLAIMED, 8, "blue", "P-2")));
    key_is("P-1|P-2", "MGET tally:slug:red-shirt tally:slug:blue");
    redis_ok(write_one(sink, redis_fixture_slug(CATALOGUE_SLUG_RELEASED, 9, "blue", "P-2")));
    key_is("P-1|-", "MGET tally:slug:red-shirt tally:slug:blue");
    /* 3 rows of stock and catalogue, what is said of the sink, and nothing else. */
    key_is("8", "DBSIZE");
}
END_TEST

/* More rows than a script takes, and a window; of each key the last one is left. */
START_TEST(large_batches)
{
    enum { KEYS = 25000, ROUNDS = 3 };
    struct tally_sink_record *records = tally_alloc(KEYS * ROUNDS * sizeof *records);
    static char names[KEYS][16];
    int64_t offset = 0;

    begin(sink, 0);
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(names[i], sizeof names[i], "S-%d", i);
    }
    for (int round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < KEYS; i++, offset++) {
            records[offset] =
                    i % 10 == 0 && round == 2
                            ? redis_fixture_setting(offset, names[i], "AMS1", round, round)
                            : redis_fixture_level(STOCK_RECEIVED, offset, names[i], "AMS1", round,
                                      round);
        }
    }
    redis_ok(put(sink, records, KEYS)); /* one round alone, then two in one batch */
    redis_ok(flush(sink, STOCK_TOPIC, KEYS));
    redis_ok(put(sink, records + KEYS, 2 * KEYS));
    redis_ok(flush(sink, STOCK_TOPIC, offset));
    state_is("position", "75000");
    key_is("25003", "DBSIZE");
    for (int i = 0; i < KEYS; i += 999) {
        const char *text = redis_fixture_ask(&fixture, "HGET tally:level:%s AMS1", names[i]);

        ck_assert(strstr(text, "\"version\":3,\"on_hand\":3,"));
        ck_assert(strstr(text, i % 10 == 0 ? CONFIGURED : PLAIN));
    }
    tally_free(records);
}
END_TEST

/* --- versions and positions ------------------------------------------------------------------- */

/* Read again from the start, as after its position was lost alone: nothing goes back. */
START_TEST(repeated_and_older)
{
    begin(sink, 0);
    redis_ok(write_one(sink, redis_fixture_setting(0, "TS-RED-M", "AMS1", 1, 5)));
    redis_ok(write_level(sink, 1, 2, 9));
    redis_ok(write_level(sink, 2, 3, 8));
    key_is("1", "DEL tally:sink:" STOCK_TOPIC "/0");
    ck_assert_int_eq(write_level(sink, 3, 4, 7), TALLY_UNAVAILABLE);
    level_is(3, 8, CONFIGURED);
    ck_assert_int_eq(begin(sink, 3), TALLY_OFFSET_NONE);
    ck_assert(!readable());
    redis_ok(write_one(sink, redis_fixture_setting(0, "TS-RED-M", "AMS1", 1, 5)));
    level_is(3, 8, CONFIGURED);
    redis_ok(write_level(sink, 1, 2, 9));
    level_is(3, 8, CONFIGURED);
    ck_assert(!readable());
    redis_ok(write_level(sink, 2, 3, 8));
    level_is(3, 8, CONFIGURED);
    ck_assert(readable());
    redis_ok(write_level(sink, 3, 4, 7));
    level_is(4, 7, CONFIGURED);
}
END_TEST

/* A batch that is not where Redis is writes nothing. */
START_TEST(wrong_position)
{
    begin(sink, 0);
    redis_ok(write_level(sink, 0, 1, 1));
    key_is("0", "HSET tally:sink:" STOCK_TOPIC "/0 position 77");
    ck_assert_int_eq(write_level(sink, 1, 2, 2), TALLY_UNAVAILABLE);
    level_is(1, 1, PLAIN);
}
END_TEST

START_TEST(stale_epoch)
{
    struct tally_sink *second;

    redis_ok(tally_redis_sink_create(&fixture.config, &second, &err));
    begin(sink, 0);
    redis_ok(write_level(sink, 0, 1, 1));
    ck_assert_int_eq(begin(second, 1), 1);
    ck_assert(readable()); /* a change of owner takes nothing from readers */
    ck_assert_int_eq(write_level(sink, 1, 2, 2), TALLY_FENCED);
    ck_assert_int_eq(flush(sink, STOCK_TOPIC, 1), TALLY_FENCED);
    level_is(1, 1, PLAIN);
    redis_ok(write_level(second, 1, 2, 3));
    ck_assert_int_eq(write_level(sink, 1, 2, 2), TALLY_FENCED);
    level_is(2, 3, PLAIN);
    ck_assert_int_eq(begin(sink, 2), 2); /* it has it again, and the second is the zombie now */
    ck_assert_int_eq(write_level(second, 2, 3, 4), TALLY_FENCED);
    redis_ok(write_level(sink, 2, 3, 5));
    level_is(3, 5, PLAIN);
    second->ops->destroy(second);
}
END_TEST

/* Of partitions that were closed nothing is written. */
START_TEST(closed_partition)
{
    struct tally_topic_partition partition = {.topic = STOCK_TOPIC, .partition = 0};

    begin(sink, 0);
    redis_ok(write_level(sink, 0, 1, 1));
    sink->ops->close(sink, &partition, 1);
    redis_ok(write_level(sink, 1, 2, 2));
    level_is(1, 1, PLAIN);
    state_is("position", "1");
}
END_TEST

/* --- content that is lost --------------------------------------------------------------------- */

START_TEST(flushall)
{
    char epoch[64];

    begin(sink, 0);
    redis_ok(write_level(sink, 0, 1, 1));
    redis_ok(write_level(sink, 1, 2, 2));
    (void)snprintf(epoch, sizeof epoch, "%s",
            redis_fixture_ask(&fixture, "HGET tally:sink:" STOCK_TOPIC "/0 epoch"));
    key_is("OK", "FLUSHALL");
    ck_assert_int_eq(flush(sink, STOCK_TOPIC, 2), TALLY_UNAVAILABLE); /* an idle one notices too */
    ck_assert_int_eq(write_level(sink, 2, 3, 3), TALLY_UNAVAILABLE);
    key_is("0", "DBSIZE");
    ck_assert_int_eq(begin(sink, 3), TALLY_OFFSET_NONE);
    ck_assert_str_gt(redis_fixture_ask(&fixture, "HGET tally:sink:" STOCK_TOPIC "/0 epoch"), epoch);
    redis_ok(write_level(sink, 0, 1, 1));
    redis_ok(write_level(sink, 1, 2, 2));
    ck_assert(!readable()); /* 2 was read before, but so may 3 have been */
    redis_ok(write_level(sink, 2, 3, 3));
    ck_assert(readable());
    level_is(3, 3, PLAIN);
}
END_TEST

/* Restarted with a copy of its data from before: what was lost is read again, and until then nobody
 * is told that anything is complete. */
START_TEST(older_data)
{
    begin(sink, 0);
    redis_ok(write_one(sink, redis_fixture_setting(0, "TS-RED-M", "AMS1", 1, 1)));
    key_is("OK", "SAVE");
    redis_ok(write_level(sink, 1, 2, 2));
    redis_ok(write_level(sink, 2, 3, 3));
    redis_fixture_kill(&fixture);
    ck_assert_int_eq(flush(sink, STOCK_TOPIC, 3), TALLY_UNAVAILABLE);
    redis_fixture_restart(&fixture);
    level_is(1, 1, CONFIGURED);
    ck_assert(!readable());
    ck_assert_int_eq(begin(sink, 4), 1);
    ck_assert(!readable());
    redis_ok(write_level(sink, 1, 2, 2));
    redis_ok(write_level(sink, 2, 3, 3));
    ck_assert(!readable());
    state_is("complete", "1");
    redis_ok(flush(sink, STOCK_TOPIC, 4)); /* a control record */
    ck_assert(readable());
    state_is("complete", "4");
    level_is(3, 3, CONFIGURED);
}
END_TEST

/* The same with an instance that knows of nothing: the end of the log is enough. */
START_TEST(older_data_new_instance)
{
    struct tally_sink *second;

    begin(sink, 0);
    redis_ok(write_level(sink, 0, 1, 1));
    key_is("OK", "SAVE");
    redis_ok(write_level(sink, 1, 2, 2));
    redis_fixture_kill(&fixture);
    redis_fixture_restart(&fixture);
    redis_ok(tally_redis_sink_create(&fixture.config, &second, &err));
    ck_assert_int_eq(begin(second, 2), 1);
    ck_assert(!readable());
    redis_ok(write_level(second, 1, 2, 2));
    ck_assert(readable());
    level_is(2, 2, PLAIN);
    second->ops->destroy(second);
}
END_TEST

/* --- rebuild ---------------------------------------------------------------------------------- */

/* Flushes without records until a rebuild has ended. */
static void end_rebuild(struct tally_sink *at, int64_t position)
{
    for (int i = 0; redis_fixture_ask(&fixture, "HGET tally:sink phase")[0]; i++) {
        ck_assert_int_lt(i, 100);
        redis_ok(flush(at, STOCK_TOPIC, position));
    }
}

/* Keys, fields and values that no event stands for are gone after it, what is right stays as it is,
 * and all the time readers have what they had. */
START_TEST(rebuild)
{
    begin(sink, 0);
    redis_ok(write_one(sink, redis_fixture_setting(0, "TS-RED-M", "AMS1", 1, 1)));
    redis_ok(write_level(sink, 1, 2, 2));
    redis_ok(write_one(sink, redis_fixture_sku(STOCK_SKU_REGISTERED, 2, "TS-RED-M", 1, "P-1")));
    redis_fixture_ask(&fixture, "HSET tally:level:TS-RED-M NOWHERE {}");
    redis_fixture_ask(&fixture, "HSET tally:level:TS-GONE AMS1 {}");
    redis_fixture_ask(&fixture, "SET tally:slug:gone P-9");
    redis_fixture_ask(&fixture, "SET tally:sku:TS-RED-M {\"version\":99}");
    redis_fixture_ask(&fixture, "SET tally:@other:sku:X 1"); /* of another tally */
    redis_fixture_ask(&fixture, "SET tallyho 1");            /* of nobody */
    redis_ok(sink->ops->rebuild(sink, &err));
    ck_assert_int_eq(flush(sink, STOCK_TOPIC, 3), TALLY_FENCED);
    ck_assert(readable());
    level_is(2, 2, CONFIGURED);
    ck_assert_int_eq(begin(sink, 4), TALLY_OFFSET_NONE);

    redis_ok(write_one(sink, redis_fixture_setting(0, "TS-RED-M", "AMS1", 1, 1)));
    level_is(2, 2, CONFIGURED);
    state_is("complete", "3");
    redis_ok(sink->ops->start(sink, &err)); /* as after a restart */
    ck_assert_int_eq(open_at(sink, STOCK_TOPIC, 4), 1);
    ck_assert(sink->ops->rebuilding(sink));
    redis_ok(write_level(sink, 1, 2, 2));
    redis_ok(write_one(sink, redis_fixture_sku(STOCK_SKU_REGISTERED, 2, "TS-RED-M", 1, "P-1")));
    ck_assert(readable());
    key_is("1", "EXISTS tally:slug:gone"); /* not before the new content is as far */
    redis_ok(write_level(sink, 3, 3, 3));
    key_is("adopting", "HGET tally:sink phase");
    redis_ok(write_level(sink, 4, 4, 4)); /* not to be replaced by what waits */
    level_is(4, 4, CONFIGURED);
    end_rebuild(sink, 5);
    ck_assert(!sink->ops->rebuilding(sink));
    level_is(4, 4, CONFIGURED);
    key_is("1", "HLEN tally:level:TS-RED-M");
    key_is("{\"sku\":\"TS-RED-M\",\"product_id\":\"P-1\",\"state\":\"ACTIVE\",\"version\":1}",
            "GET tally:sku:TS-RED-M");
    key_is("0", "EXISTS tally:slug:gone tally:level:TS-GONE");
    key_is("2", "EXISTS tally:@other:sku:X tallyho");
    key_is("7", "DBSIZE"); /* these, level, SKU, and what is said of the sink */
    state_is("complete", "5");
    ck_assert(readable());
    redis_ok(write_level(sink, 5, 5, 5));
    level_is(5, 5, CONFIGURED);
}
END_TEST

/* Begun again in the middle: what the first had written is gone in the end. */
START_TEST(rebuild_again)
{
    begin(sink, 0);
    redis_ok(write_level(sink, 0, 1, 1));
    redis_ok(sink->ops->rebuild(sink, &err));
    begin(sink, 1);
    redis_ok(put(sink, &(struct tally_sink_record){0}, 0));
    redis_fixture_ask(&fixture, "SET tally:new:%s:sku:LEFT 1",
            redis_fixture_ask(&fixture, "HGET tally:sink generation"));
    redis_ok(sink->ops->rebuild(sink, &err));
    ck_assert_int_eq(begin(sink, 1), TALLY_OFFSET_NONE);
    redis_ok(write_level(sink, 0, 1, 1));
    end_rebuild(sink, 1);
    level_is(1, 1, PLAIN);
    key_is("4", "DBSIZE");
}
END_TEST

/* Two owners, each of one partition: it ends when both are as far, and each may do its end. */
START_TEST(rebuild_of_two)
{
    struct tally_sink *second;

    redis_ok(tally_redis_sink_create(&fixture.config, &second, &err));
    begin(sink, 0);
    redis_ok(second->ops->start(second, &err));
    open_at(second, CATALOGUE_TOPIC, 0);
    redis_ok(write_level(sink, 0, 1, 1));
    redis_ok(write_one(second, redis_fixture_slug(CATALOGUE_SLUG_CLAIMED, 0, "blue", "P-2")));
    redis_ok(write_one(second, redis_fixture_slug(CATALOGUE_SLUG_RELEASED, 1, "blue", "P-2")));
    redis_ok(write_one(second, redis_fixture_slug(CATALOGUE_SLUG_CLAIMED, 2, "red", "P-1")));
    redis_ok(sink->ops->rebuild(sink, &err));
    begin(sink, 1);
    redis_ok(second->ops->start(second, &err));
    ck_assert_int_eq(open_at(second, CATALOGUE_TOPIC, 3), TALLY_OFFSET_NONE);
    redis_ok(write_level(sink, 0, 1, 1));
    redis_ok(write_level(sink, 1, 2, 2));
    level_is(1, 1, PLAIN); /* the other one is not as far */
    redis_ok(write_one(second, redis_fixture_slug(CATALOGUE_SLUG_CLAIMED, 0, "blue", "P-2")));
    key_is("-", "GET tally:slug:blue"); /* what once was is not seen again */
    redis_ok(write_one(second, redis_fixture_slug(CATALOGUE_SLUG_RELEASED, 1, "blue", "P-2")));
    redis_ok(write_one(second, redis_fixture_slug(CATALOGUE_SLUG_CLAIMED, 2, "red", "P-1")));
    end_rebuild(sink, 2);
    level_is(2, 2, PLAIN);
    key_is("P-1|-", "MGET tally:slug:red tally:slug:blue");
    redis_ok(write_level(sink, 2, 3, 3));
    redis_ok(write_one(second, redis_fixture_slug(CATALOGUE_SLUG_CLAIMED, 3, "green", "P-3")));
    key_is("P-3", "GET tally:slug:green");
    second->ops->destroy(second);
}
END_TEST

/* Redis goes back to before the end of a rebuild: nothing is taken for complete that is not. */
START_TEST(rebuild_and_older_data)
{
    begin(sink, 0);
    redis_ok(write_level(sink, 0, 1, 1));
    redis_ok(write_level(sink, 1, 2, 2));
    redis_ok(sink->ops->rebuild(sink, &err));
    begin(sink, 2);
    redis_ok(write_level(sink, 0, 1, 1));
    key_is("OK", "SAVE");
    redis_ok(write_level(sink, 1, 2, 2));
    end_rebuild(sink, 2);
    redis_ok(write_level(sink, 2, 3, 3));
    redis_fixture_kill(&fixture);
    redis_fixture_restart(&fixture);
    ck_assert_int_eq(begin(sink, 3), 1);
    ck_assert(!readable());
    redis_ok(write_level(sink, 1, 2, 2));
    ck_assert(!readable());
    redis_ok(write_level(sink, 2, 3, 3));
    end_rebuild(sink, 3);
    ck_assert(readable());
    level_is(3, 3, PLAIN);
}
END_TEST

/* --- a Redis in trouble ----------------------------------------------------------------------- */

START_TEST(scripts_forgotten)
{
    begin(sink, 0);
    redis_ok(write_level(sink, 0, 1, 1));
    key_is("OK", "SCRIPT FLUSH");
    redis_ok(write_level(sink, 1, 2, 2));
    level_is(2, 2, PLAIN);
}
END_TEST

START_TEST(paused)
{
    fixture.config.redis_timeout = 100;
    sink->ops->destroy(sink);
    redis_ok(tally_redis_sink_create(&fixture.config, &sink, &err));
    begin(sink, 0);
    redis_ok(write_level(sink, 0, 1, 1));
    key_is("OK", "CLIENT PAUSE 60000 WRITE");
    ck_assert_int_eq(write_level(sink, 1, 2, 2), TALLY_TIMEOUT);
    ck_assert_int_eq(write_level(sink, 1, 2, 2), TALLY_UNAVAILABLE); /* never used again */
    key_is("OK", "CLIENT UNPAUSE");
    ck_assert_int_ge(begin(sink, 2), 1); /* the late write may have come through */
    redis_fixture_ask(&fixture, "PING");
    if (strcmp(redis_fixture_ask(&fixture, "HGET tally:sink:" STOCK_TOPIC "/0 position"), "1") ==
            0) {
        redis_ok(write_level(sink, 1, 2, 2));
    }
    level_is(2, 2, PLAIN);
}
END_TEST

static void start_fails(enum tally_code code, const char *part)
{
    struct tally_error here = {0};

    ck_assert_int_eq(sink->ops->start(sink, &here), code);
    ck_assert_msg(strstr(here.message, part) != NULL, "\"%s\" not in: %s", part, here.message);
}

START_TEST(user_refused)
{
    redis_fixture_ask(&fixture, "ACL SETUSER tally resetpass >other");
    start_fails(TALLY_SINK_DENIED, "correct redis.password");
    redis_fixture_ask(&fixture, "ACL SETUSER tally >%s", "a secret");
    redis_fixture_ask(&fixture, "ACL SETUSER tally resetpass nopass -evalsha -eval");
    start_fails(TALLY_SINK_DENIED, "docs/redis.md");
    redis_fixture_ask(&fixture, "ACL SETUSER tally +evalsha +eval -hset");
    redis_ok(sink->ops->start(sink, &err)); /* inside a script it shows later */
    ck_assert_int_eq(sink->ops->open(sink, &(struct tally_topic_partition){.topic = STOCK_TOPIC}, 1,
                             &err),
            TALLY_SINK_DENIED);
    redis_fixture_ask(&fixture, "ACL SETUSER tally +hset");
    redis_fixture_ask(&fixture, "CONFIG SET maxmemory-policy allkeys-lru");
    start_fails(TALLY_SINK_SCHEMA, "noeviction");
    redis_fixture_ask(&fixture, "CONFIG SET maxmemory-policy volatile-lru"); /* locks, limits */
    redis_ok(sink->ops->start(sink, &err));
    sink->ops->stop(sink);
    fixture.config.redis_password[0] = '\0';
    fixture.config.redis_url = (char[]){"redis://127.0.0.1:1"};
    sink->ops->destroy(sink);
    redis_ok(tally_redis_sink_create(&fixture.config, &sink, &err));
    start_fails(TALLY_UNAVAILABLE, "could not connect to redis 127.0.0.1:1");
    ck_assert_int_eq(flush(sink, STOCK_TOPIC, 1), TALLY_UNAVAILABLE);
}
END_TEST

/* Asked for a password where it has one for nobody, and the other way around. */
START_TEST(no_password)
{
    char url[64];

    (void)snprintf(url, sizeof url, "redis://127.0.0.1:%d", fixture.port);
    sink->ops->destroy(sink);
    fixture.config.redis_url = url;
    redis_ok(tally_redis_sink_create(&fixture.config, &sink, &err));
    start_fails(TALLY_SINK_DENIED, "redis.password");
    redis_fixture_ask(&fixture, "CONFIG SET requirepass other");
    fixture.config.redis_password[0] = '\0';
    start_fails(TALLY_SINK_DENIED, "set redis.password");
}
END_TEST

START_TEST(out_of_memory)
{
    begin(sink, 0);
    redis_ok(write_level(sink, 0, 1, 1));
    key_is("OK", "CONFIG SET maxmemory 1");
    ck_assert_int_eq(write_level(sink, 1, 2, 2), TALLY_SINK_FULL);
    ck_assert(strstr(err.message, "maxmemory"));
    level_is(1, 1, PLAIN);
    state_is("position", "1");
    key_is("OK", "CONFIG SET maxmemory 0");
    ck_assert_int_eq(begin(sink, 2), 1);
    redis_ok(write_level(sink, 1, 2, 2));
    level_is(2, 2, PLAIN);
}
END_TEST

START_TEST(replica)
{
    begin(sink, 0);
    redis_ok(write_level(sink, 0, 1, 1));
    key_is("OK", "REPLICAOF 127.0.0.1 1");
    ck_assert_int_eq(write_level(sink, 1, 2, 2), TALLY_SINK_FULL);
    ck_assert(strstr(err.message, "replica"));
    key_is("OK", "REPLICAOF NO ONE");
    ck_assert_int_eq(begin(sink, 2), 1);
    redis_ok(write_level(sink, 1, 2, 2));
    level_is(2, 2, PLAIN);
}
END_TEST

/* A foreign key of another type at one of our names: said, and nothing is passed over. */
START_TEST(foreign_key)
{
    begin(sink, 0);
    redis_fixture_ask(&fixture, "SET tally:level:TS-RED-M x");
    ck_assert_int_eq(write_level(sink, 0, 1, 1), TALLY_SINK_SCHEMA);
    redis_fixture_ask(&fixture, "DEL tally:level:TS-RED-M");
    ck_assert_int_eq(begin(sink, 1), TALLY_OFFSET_NONE);
    redis_ok(write_level(sink, 0, 1, 1));
    level_is(1, 1, PLAIN);
}
END_TEST

/* The user of docs/redis.md got all that this file does done, and may do nothing that harms. */
START_TEST(rights)
{
    static const char *const refused[] = {"FLUSHALL", "FLUSHDB", "CONFIG GET *", "KEYS *", "BGSAVE",
            "ACL LIST", "SHUTDOWN", "SCRIPT FLUSH", "CLIENT LIST", "MONITOR", "GET other",
            "SET other 1", "PUBLISH other x", "SUBSCRIBE other", "INFO clients", "REPLICAOF NO ONE",
            "EVAL return(redis.call('GET',KEYS[1])) 1 other"};
    redisContext *user = redisConnect("127.0.0.1", fixture.port);
    redisReply *reply = redisCommand(user, "AUTH tally %s", REDIS_FIXTURE_PASSWORD);

    ck_assert_int_eq(reply->type, REDIS_REPLY_STATUS);
    freeReplyObject(reply);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        reply = redisCommand(user, refused[i]);
        ck_assert_msg(reply->type == REDIS_REPLY_ERROR, "%s is allowed", refused[i]);
        ck_assert_msg(strncmp(reply->str, "NOPERM", 6) == 0, "%s: %s", refused[i], reply->str);
        freeReplyObject(reply);
    }
    redisFree(user);
}
END_TEST

/* --- calls that fail -------------------------------------------------------------------------- */

#if TALLY_HAS_FAILPOINTS
static enum tally_failpoint_action fail_at(void *context, enum tally_failpoint site, uint64_t hit)
{
    return site == *(enum tally_failpoint *)context && hit == 1 ? TALLY_FAILPOINT_ERROR
                                                                : TALLY_FAILPOINT_PASS;
}

/* Before and after Redis has a batch, and in the middle of the end of a rebuild: the sink is opened
 * again and goes on where Redis is. */
START_TEST(failing_sites)
{
    enum tally_failpoint sites[] = {TALLY_FAILPOINT_REDIS_BEFORE, TALLY_FAILPOINT_REDIS_AFTER};
    enum tally_failpoint rebuilding = TALLY_FAILPOINT_REDIS_REBUILD;

    begin(sink, 0);
    redis_ok(write_level(sink, 0, 1, 1));
    for (int i = 0; i < 2; i++) {
        tally_failpoint_set_handler(fail_at, &sites[i]);
        ck_assert_int_eq(write_level(sink, 1, 2, 2), TALLY_UNAVAILABLE);
        ck_assert_int_eq(begin(sink, 2), 1 + i);
    }
    level_is(2, 2, PLAIN);
    redis_ok(sink->ops->rebuild(sink, &err));
    begin(sink, 2);
    redis_ok(write_level(sink, 0, 1, 1));
    tally_failpoint_set_handler(fail_at, &rebuilding);
    ck_assert_int_eq(write_level(sink, 1, 2, 2), TALLY_UNAVAILABLE);
    ck_assert_int_eq(begin(sink, 2), 2);
    end_rebuild(sink, 2);
    tally_failpoint_set_handler(NULL, NULL);
    level_is(2, 2, PLAIN);
    key_is("4", "DBSIZE");
}
END_TEST
#endif

/* --- publication ------------------------------------------------------------------------------ */

static const char *heard(redisContext *listener)
{
    static char text[512];
    redisReply *reply = NULL;

    ck_assert_int_eq(redisGetReply(listener, (void **)&reply), REDIS_OK);
    ck_assert_uint_eq(reply->elements, 4);
    (void)snprintf(text, sizeof text, "%s %s", reply->element[2]->str, reply->element[3]->str);
    freeReplyObject(reply);
    return text;
}

START_TEST(publication)
{
    redisContext *listener = redisConnect("127.0.0.1", fixture.port);
    struct tally_sink_record twice[2];

    freeReplyObject(redisCommand(listener, "PSUBSCRIBE tally:changes:*"));
    begin(sink, 0); /* an empty log: readable at once */
    ck_assert_str_eq(heard(listener), "tally:changes:product {\"reset\":true}");
    ck_assert_str_eq(heard(listener), "tally:changes:slug {\"reset\":true}");
    ck_assert_str_eq(heard(listener), "tally:changes:level {\"reset\":true}");
    ck_assert_str_eq(heard(listener), "tally:changes:sku {\"reset\":true}");
    twice[0] = redis_fixture_level(STOCK_RECEIVED, 0, "TS-RED-M", "AMS1", 1, 1);
    twice[1] = redis_fixture_level(STOCK_SHIPPED, 1, "TS-RED-M", "AMS1", 2, 0);
    redis_ok(put(sink, twice, 2));
    redis_ok(flush(sink, STOCK_TOPIC, 2));
    ck_assert_str_eq(heard(listener),
            "tally:changes:level {\"topic\":\"stock.events\",\"partition\":0,\"offset\":1,"
            "\"key\":\"TS-RED-M\",\"warehouse\":\"AMS1\",\"version\":2}");
    open_at(sink, CATALOGUE_TOPIC, 0);
    for (int i = 0; i < 4; i++) {
        heard(listener);
    }
    redis_ok(write_one(sink, redis_fixture_slug(CATALOGUE_SLUG_CLAIMED, 0, "blue", "P-2")));
    ck_assert_str_eq(heard(listener),
            "tally:changes:slug {\"topic\":\"catalogue.events\",\"partition\":0,\"offset\":0,"
            "\"key\":\"blue\"}");
    redisFree(listener);
}
END_TEST

/* Two tallys in one Redis know nothing of each other. */
START_TEST(other_application)
{
    struct tally_config other = fixture.config;
    struct tally_sink *second;

    other.app_id = (char[]){"shop"};
    other.topics_prefix = (char[]){"eu."};
    redis_ok(tally_redis_sink_create(&other, &second, &err));
    begin(sink, 0);
    ck_assert_int_eq(begin(second, 0), TALLY_OFFSET_NONE);
    redis_ok(write_level(sink, 0, 1, 1));
    redis_ok(write_level(second, 0, 1, 9));
    level_is(1, 1, PLAIN);
    key_is(level_text(1, 9, PLAIN), "HGET tally:@eu.shop:level:TS-RED-M AMS1");
    second->ops->destroy(second);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, every_event);
    tcase_add_test(tcase, large_batches);
    tcase_add_test(tcase, repeated_and_older);
    tcase_add_test(tcase, wrong_position);
    tcase_add_test(tcase, stale_epoch);
    tcase_add_test(tcase, closed_partition);
    tcase_add_test(tcase, flushall);
    tcase_add_test(tcase, older_data);
    tcase_add_test(tcase, older_data_new_instance);
    tcase_add_test(tcase, rebuild);
    tcase_add_test(tcase, rebuild_again);
    tcase_add_test(tcase, rebuild_of_two);
    tcase_add_test(tcase, rebuild_and_older_data);
    tcase_add_test(tcase, scripts_forgotten);
    tcase_add_test(tcase, paused);
    tcase_add_test(tcase, user_refused);
    tcase_add_test(tcase, no_password);
    tcase_add_test(tcase, out_of_memory);
    tcase_add_test(tcase, replica);
    tcase_add_test(tcase, foreign_key);
    tcase_add_test(tcase, rights);
#if TALLY_HAS_FAILPOINTS
    tcase_add_test(tcase, failing_sites);
#endif
    tcase_add_test(tcase, publication);
    tcase_add_test(tcase, other_application);
}

int main(void)
{
    return suite_main("redis_sink", add);
}
