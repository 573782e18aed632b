/* tests/unit/test_sink_task.c - the sink runtime on the broker in memory, with a target that keeps
 * what it is given and fails as it is told. Invariants are cited of connectors/sink_task.c and
 * connectors/sink_batch.c. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "connectors/sink_internal.h"
#include "engine/memory_client.h"
#include "schemas/stock_records.h"

enum { PARTITIONS = 2, RECORDS_MAX = 1000, SESSION_MS = 25000, RETRY_MAX_MS = 3000 };

/* What two instances of a target share. */
static struct {
    int times[PARTITIONS][RECORDS_MAX]; /* an event was written, by offset */
    int64_t next[PARTITIONS], epoch;
    int rebuilds;
} content;

struct target {
    struct tally_sink base;
    int64_t epoch;
    bool started, open;
    struct {
        int32_t partition;
        int64_t offset;
    } batch[RECORDS_MAX];
    size_t batch_count;
    enum tally_code start_code, put_code, flush_code; /* OK: works */
    int failures_left;                                /* then they work again; < 0: for ever */
    int starts, stops, flushes, closes;
    size_t largest;
};

static enum tally_code failing(struct target *target, enum tally_code code, struct tally_error *err)
{
    if (code == TALLY_OK || target->failures_left == 0) {
        return TALLY_OK;
    }
    target->failures_left -= target->failures_left > 0;
    return tally_error_set(err, code, "the target is told to fail");
}

static enum tally_code target_start(struct tally_sink *base, struct tally_error *err)
{
    struct target *target = (struct target *)base;
    enum tally_code code = failing(target, target->start_code, err);

    ck_assert(!target->started);
    target->starts++;
    target->started = code == TALLY_OK;
    return code;
}

static enum tally_code target_open(struct tally_sink *base,
        struct tally_topic_partition *partitions, size_t count, struct tally_error *err)
{
    struct target *target = (struct target *)base;

    (void)err;
    ck_assert(target->started);
    target->epoch = ++content.epoch;
    target->open = true;
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_ge(partitions[i].offset, 0); /* the end */
        partitions[i].offset = content.next[partitions[i].partition];
    }
    return TALLY_OK;
}

static enum tally_code target_put(struct tally_sink *base, const struct tally_sink_record *records,
        size_t count, struct tally_error *err)
{
    struct target *target = (struct target *)base;
    enum tally_code code = failing(target, target->put_code, err);

    ck_assert(target->open);
    for (size_t i = 0; i < count && !code; i++) {
        const struct stock_event *event = records[i].event->body;

        ck_assert_str_eq(records[i].topology, "stock");
        ck_assert_str_eq(records[i].topic, "p.stock.events");
        ck_assert(tally_slice_equal(records[i].event->key, event->sku));
        target->batch[target->batch_count].partition = records[i].partition;
        target->batch[target->batch_count++].offset = records[i].offset;
        if (tally_slice_starts(event->sku, TALLY_SLICE("BAD"))) {
            code = tally_error_set(err, TALLY_SINK_REFUSED, "column \"sku\" takes no such text");
        }
    }
    target->batch_count = code ? 0 : target->batch_count;
    return code;
}

static enum tally_code target_flush(struct tally_sink *base,
        const struct tally_topic_partition *positions, size_t count, struct tally_error *err)
{
    struct target *target = (struct target *)base;
    size_t records = target->batch_count;
    enum tally_code code = failing(target, target->flush_code, err);

    ck_assert(target->open);
    target->flushes++;
    target->batch_count = 0;
    if (!code && target->epoch != content.epoch) {
        code = tally_error_set(err, TALLY_FENCED, "epoch %lld is over", (long long)target->epoch);
    }
    for (size_t i = 0; i < records && !code; i++) {
        content.times[target->batch[i].partition][target->batch[i].offset]++;
    }
    for (size_t i = 0; i < count && !code; i++) {
        ck_assert_int_ge(positions[i].offset, content.next[positions[i].partition]);
        content.next[positions[i].partition] = positions[i].offset;
    }
    target->largest = records > target->largest ? records : target->largest;
    return code;
}

static void target_close(struct tally_sink *base, const struct tally_topic_partition *partitions,
        size_t count)
{
    struct target *target = (struct target *)base;

    (void)partitions;
    ck_assert(target->open && count > 0);
    target->closes++;
    target->open = false;
}

static void target_stop(struct tally_sink *base)
{
    struct target *target = (struct target *)base;

    target->stops++;
    target->started = target->open = false;
    target->batch_count = 0;
}

static enum tally_code target_rebuild(struct tally_sink *base, struct tally_error *err)
{
    (void)base;
    (void)err;
    memset(content.times, 0, sizeof content.times);
    content.next[0] = content.next[1] = TALLY_OFFSET_NONE;
    content.epoch++;
    content.rebuilds++;
    return TALLY_OK;
}

static void target_destroy(struct tally_sink *base)
{
    (void)base;
}

static const struct tally_sink_ops target_ops = {.name = "target",
        .start = target_start,
        .open = target_open,
        .put = target_put,
        .flush = target_flush,
        .close = target_close,
        .stop = target_stop,
        .rebuild = target_rebuild,
        .destroy = target_destroy};

/* --- the fixture ------------------------------------------------------------------------------ */

static struct tally_fake_clock fake;
static struct tally_memory_broker *broker;
static struct tally_client *client;
static struct tally_config config;
static char state_dir[] = "/tmp/tally-sink-XXXXXX";
static struct target target;
static struct tally_sink_task *task;
static const struct tally_sink_source source = {
        .topology = "stock", .topic = "p.stock.events", .types = stock_event_schemas};

static struct tally_sink_task *make(struct target *to, struct tally_client *with)
{
    *to = (struct target){.base.ops = &target_ops, .failures_left = -1};
    return tally_sink_task_create(&(struct tally_sink_task_options){.config = &config,
            .client = with,
            .clock = &fake.clock,
            .sink = &to->base,
            .sources = &source,
            .source_count = 1,
            .partitions = PARTITIONS});
}

static void setup(void)
{
    char *argv[] = {"test", "--topics.prefix", "p.", "--sink.retry.max.interval", "3s", NULL};
    int argc = 5;
    struct tally_buf mistakes;
    struct tally_error err = {.code = TALLY_OK};

    tally_buf_init(&mistakes, 4096);
    ck_assert_msg(tally_config_load(&config, &argc, argv, &mistakes, &err) == TALLY_OK, "%s",
            err.message);
    tally_buf_deinit(&mistakes);
    memcpy(state_dir + strlen(state_dir) - 6, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(state_dir));
    tally_free(config.state_dir);
    config.state_dir = tally_copy_string(state_dir);
    memset(&content, 0, sizeof content);
    content.next[0] = content.next[1] = TALLY_OFFSET_NONE;
    tally_fake_clock_init(&fake, 1000000);
    broker = tally_memory_broker_create(&fake.clock, 10000);
    tally_memory_broker_topic(broker, "p.stock.events", PARTITIONS, 1 << 20);
    tally_memory_broker_topic(broker, "p.tally.sink-target-dlt", PARTITIONS, 1 << 20);
    client = tally_memory_client_create(broker, "tally", "a");
    task = make(&target, client);
}

static void end(struct tally_sink_task *ended)
{
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_int_eq(tally_sink_task_stop(ended, 1000, &err), TALLY_OK);
    tally_sink_task_destroy(ended);
}

static void teardown(void)
{
    char path[64];

    end(task);
    ck_assert_int_eq(tally_memory_client_unreleased(client), 0);
    client->ops->destroy(client);
    tally_memory_broker_destroy(broker);
    tally_config_deinit(&config);
    (void)snprintf(path, sizeof path, "%s/sink-target.paused", state_dir);
    (void)unlink(path);
    ck_assert_int_eq(rmdir(state_dir), 0);
}

/* --- what happens ----------------------------------------------------------------------------- */

static void append_typed(int32_t partition, const char *sku, const char *type)
{
    static int number;
    char text[512];

    (void)snprintf(text, sizeof text,
            "{\"id\":\"stock/%d@%d\",\"type\":\"%s\",\"version\":\"1.0\","
            "\"source\":\"tally/stock\",\"time\":\"2026-01-15T10:02:00.012Z\","
            "\"correlation_id\":\"c-9\",\"causation_id\":\"c-9\",\"payload\":{\"sku\":\"%s\","
            "\"warehouse\":\"AMS1\",\"seq\":915,\"version\":915,\"kind\":\"SHIP\","
            "\"deltas\":{\"on_hand\":-2},\"after\":{\"on_hand\":38,\"available\":24},"
            "\"outcome\":{\"command\":\"ShipStock\",\"fingerprint\":\"b2f82488424d7f5c\","
            "\"status\":\"ACCEPTED\"}}}",
            (int)partition, number++, type, sku);
    ck_assert_int_ge(tally_memory_broker_append(broker, "p.stock.events", partition,
                             tally_slice_string(sku), tally_slice_string(text), NULL, 0),
            0);
}

static void append(int32_t partition, const char *sku, int count)
{
    for (int i = 0; i < count; i++) {
        append_typed(partition, sku, "StockShipped");
    }
}

static void turns(struct tally_sink_task *of, int count)
{
    for (int i = 0; i < count; i++) {
        tally_sink_task_turn(of, 0);
        tally_fake_clock_advance(&fake, 100);
    }
}

static int written(int32_t partition)
{
    int count = 0;

    for (int i = 0; i < RECORDS_MAX; i++) {
        ck_assert_int_le(content.times[partition][i], 1); /* never twice: the target's rows and its
                                                             position are one */
        count += content.times[partition][i];
    }
    return count;
}

static struct tally_sink_info info_of(struct tally_sink_task *of)
{
    struct tally_sink_info info;

    tally_sink_task_info(of, &info);
    return info;
}

static int letters(const char *reason, const char *stage)
{
    static const char *const names[] = {
            "__streams.errors.exception", "__streams.errors.stacktrace", "__streams.errors.topic"};
    const char *const wanted[] = {reason, stage, "p.stock.events"};
    int count = 0;

    for (int32_t partition = 0; partition < PARTITIONS; partition++) {
        struct tally_memory_record record = {.offset = -1};

        while (tally_memory_broker_read(broker, "p.tally.sink-target-dlt", partition,
                record.offset + 1, &record)) {
            bool all = true;

            for (size_t i = 0; i < 3; i++) {
                bool found = false;

                for (size_t k = 0; k < record.header_count; k++) {
                    found = found || (tally_slice_equal(record.headers[k].name,
                                              tally_slice_string(names[i])) &&
                                             tally_slice_equal(record.headers[k].value,
                                                     tally_slice_string(wanted[i])));
                }
                all = all && found;
            }
            count += all;
        }
    }
    return count;
}

START_TEST(writes_everything_once_and_moves_on)
{
    append(0, "A", 10);
    append(1, "B", 5);
    turns(task, 10);
    ck_assert_int_eq(written(0) + written(1), 15);
    ck_assert_int_eq(content.next[0], 10);
    ck_assert_int_eq(content.next[1], 5);
    append(1, "B", 1);
    turns(task, 3);
    ck_assert_int_eq(written(1), 6);
    ck_assert_int_eq(target.starts, 1);
    turns(task, 20);
    ck_assert_int_eq(info_of(task).lag, 0);
    ck_assert_int_eq(info_of(task).state, TALLY_SINK_RUNNING);
    ck_assert_int_eq(info_of(task).records, 16);
}
END_TEST

START_TEST(an_idle_sink_looks_at_its_target)
{
    int flushes;

    append(0, "A", 1);
    turns(task, 5);
    flushes = target.flushes;
    turns(task, 50); /* 5 s */
    ck_assert_int_ge(target.flushes - flushes, 3);
    ck_assert_int_le(target.flushes - flushes, 6);
    ck_assert_int_eq(content.next[0], 1);
    ck_assert_int_eq(content.next[1], 0);
}
END_TEST

START_TEST(a_batch_ends_at_its_records)
{
    config.sink_batch_records = 7;
    append(0, "A", 50);
    turns(task, 20);
    ck_assert_int_eq(written(0), 50);
    ck_assert_uint_eq(target.largest, 7);
}
END_TEST

START_TEST(no_wait_makes_no_batches_of_one)
{
    config.sink_batch_interval = 0;
    append(0, "A", 50);
    turns(task, 5);
    ck_assert_int_eq(written(0), 50);
    ck_assert_uint_eq(target.largest, 50);
}
END_TEST

START_TEST(a_batch_ends_at_its_memory)
{
    config.sink_fetch_memory = 10000;
    append(0, "A", 50);
    turns(task, 60);
    ck_assert_int_eq(written(0), 50);
    ck_assert_uint_gt(target.largest, 1);
    ck_assert_uint_lt(target.largest, 20);
}
END_TEST

START_TEST(goes_on_where_the_target_is)
{
    append(0, "A", 10);
    content.next[0] = 4;
    turns(task, 5);
    ck_assert_int_eq(written(0), 6);
    ck_assert_int_eq(content.times[0][3], 0);
    ck_assert_int_eq(content.times[0][4], 1);
}
END_TEST

START_TEST(no_position_outside_the_topic)
{
    append(0, "A", 10);
    content.next[0] = 11;
    turns(task, 5);
    ck_assert_int_eq(info_of(task).state, TALLY_SINK_FAILED);
    ck_assert_int_eq(info_of(task).code, TALLY_EVENTS_TRUNCATED);
    ck_assert_ptr_nonnull(strstr(info_of(task).last.message, "tally sink rebuild target"));
    tally_memory_broker_truncate(broker, "p.stock.events", 0, 3);
    for (int64_t position = TALLY_OFFSET_NONE; position < 3; position++) {
        content.next[0] = position;
        turns(task, 100);
        ck_assert_int_eq(info_of(task).code, TALLY_EVENTS_INCOMPLETE);
    }
    ck_assert_int_eq(written(0), 0);
    content.next[0] = 3;
    turns(task, 100);
    ck_assert_int_eq(info_of(task).state, TALLY_SINK_RUNNING);
    ck_assert_int_eq(written(0), 7);
}
END_TEST

/* --- what the target refuses ------------------------------------------------------------------ */

START_TEST(a_refused_record_goes_to_the_dead_letters)
{
    append(0, "A", 20);
    append(0, "BAD", 1);
    append(0, "A", 30);
    append(0, "BAD", 2);
    append(1, "B", 9);
    turns(task, 10);
    ck_assert_int_eq(written(0), 50);
    ck_assert_int_eq(written(1), 9);
    ck_assert_int_eq(content.times[0][20], 0);
    ck_assert_int_eq(content.next[0], 53);
    ck_assert_int_eq(letters("SINK_REFUSED", "write"), 3);
    ck_assert_int_eq(info_of(task).state, TALLY_SINK_RUNNING);
    ck_assert_int_eq(info_of(task).dead_letters, 3);
}
END_TEST

START_TEST(what_cannot_be_decoded_goes_to_the_dead_letters)
{
    append(0, "A", 3);
    append_typed(0, "A", "StockTeleported");
    append(0, "A", 3);
    tally_memory_broker_append(broker, "p.stock.events", 0, TALLY_SLICE("x"), TALLY_SLICE("hello"),
            NULL, 0);
    tally_memory_broker_append(broker, "p.stock.events", 0, TALLY_SLICE("x"),
            TALLY_SLICE("{\"id\":\"other/0@1\"}"), NULL, 0); /* foreign: passed over */
    append(0, "A", 1);
    turns(task, 5);
    ck_assert_int_eq(written(0), 7);
    ck_assert_int_eq(content.next[0], 10);
    ck_assert_int_eq(letters("EVENT_UNKNOWN", "decode"), 1);
    ck_assert_int_eq(letters("BAD_RECORD", "decode"), 1);
    ck_assert_int_eq(info_of(task).dead_letters, 2);
}
END_TEST

START_TEST(no_position_without_its_dead_letter)
{
    append(0, "A", 3);
    append(0, "BAD", 1);
    append(0, "A", 3);
    tally_memory_broker_fault(broker,
            &(struct tally_memory_fault){
                    .op = TALLY_MEMORY_PUBLISH, .nth = 1, .code = TALLY_UNAVAILABLE});
    for (int i = 0; i < 10 && info_of(task).state != TALLY_SINK_BACKING_OFF; i++) {
        turns(task, 1);
    }
    ck_assert_int_eq(info_of(task).state, TALLY_SINK_BACKING_OFF);
    ck_assert_int_eq(content.next[0], 3);
    turns(task, 20);
    ck_assert_int_eq(written(0), 6);
    ck_assert_int_eq(letters("SINK_REFUSED", "write"), 1);
}
END_TEST

START_TEST(a_target_that_refuses_everything_is_out_of_order)
{
    append(0, "BAD", 150);
    turns(task, 20);
    ck_assert_int_eq(info_of(task).state, TALLY_SINK_FAILED);
    ck_assert_int_eq(info_of(task).code, TALLY_SINK_REFUSED);
    ck_assert_int_eq(letters("SINK_REFUSED", "write"), 100);
    ck_assert_int_eq(content.next[0], 100);
    turns(task, 200);
    ck_assert_int_eq(content.next[0], 100);
    ck_assert_int_eq(tally_sink_task_resume(task, NULL), TALLY_OK); /* go on all the same */
    turns(task, 20);
    ck_assert_int_eq(content.next[0], 150);
    ck_assert_int_eq(letters("SINK_REFUSED", "write"), 150);
}
END_TEST

/* --- outages ---------------------------------------------------------------------------------- */

START_TEST(an_outage_loses_nothing)
{
    static const enum tally_code codes[] = {TALLY_UNAVAILABLE, TALLY_TIMEOUT, TALLY_SINK_SCHEMA,
            TALLY_SINK_DENIED, TALLY_SINK_FULL};
    enum tally_code code = codes[_i % 5];
    bool slow = _i % 5 > 1;

    append(0, "A", 10);
    turns(task, 5);
    *(_i < 5 ? &target.flush_code : _i < 10 ? &target.put_code : &target.start_code) = code;
    append(0, "A", 200);
    if (_i >= 10) { /* the connection is gone */
        target.flush_code = TALLY_UNAVAILABLE;
    }
    turns(task, 100);
    ck_assert_int_eq(written(0), 10);
    ck_assert_int_eq(content.next[0], 10);
    ck_assert_int_eq(info_of(task).state, slow ? TALLY_SINK_FAILED : TALLY_SINK_BACKING_OFF);
    ck_assert_int_eq(info_of(task).code, code);
    ck_assert_int_ne(info_of(task).breaker, TALLY_BREAKER_CLOSED);
    ck_assert_int_eq(info_of(task).lag, 200);
    ck_assert_int_lt(target.starts, 20); /* 10 s */
    ck_assert_uint_eq(task->count, 0);
    target.largest = 0;
    target.failures_left = 0;
    for (int i = 0; i < 100 && written(0) == 10; i++) {
        turns(task, 1);
    }
    ck_assert_uint_eq(target.largest, 100); /* half-open: a small batch first */
    turns(task, 20);
    ck_assert_int_eq(written(0), 210);
    ck_assert_int_eq(info_of(task).state, TALLY_SINK_RUNNING);
    ck_assert_int_eq(info_of(task).breaker, TALLY_BREAKER_CLOSED);
    ck_assert_int_eq(info_of(task).code, TALLY_OK);
    ck_assert_int_eq(info_of(task).last.code, code);
}
END_TEST

START_TEST(the_broker_away_is_no_fault_of_the_target)
{
    append(0, "A", 3);
    turns(task, 5);
    for (unsigned i = 1; i <= 5; i++) {
        tally_memory_broker_fault(broker,
                &(struct tally_memory_fault){
                        .op = TALLY_MEMORY_POLL, .nth = i, .code = TALLY_UNAVAILABLE});
    }
    append(0, "A", 3);
    turns(task, 10);
    ck_assert_int_eq(written(0), 6);
    ck_assert_int_eq(target.starts, 1);
}
END_TEST

START_TEST(the_breaker_waits_longer_and_longer)
{
    struct sink_breaker breaker;
    int64_t now_ms = 1000, least_ms = 100;

    sink_breaker_init(&breaker, RETRY_MAX_MS, (uint64_t)_i * 77);
    ck_assert(sink_breaker_allows(&breaker, now_ms));
    for (int i = 1; i < 12; i++) {
        int64_t wait_ms;

        sink_breaker_failed(&breaker, now_ms, false);
        wait_ms = breaker.retry_ms - now_ms;
        ck_assert_int_ge(wait_ms, least_ms / 2);
        ck_assert_int_le(wait_ms, least_ms);
        ck_assert_int_eq(breaker.state, i < 5 ? TALLY_BREAKER_CLOSED : TALLY_BREAKER_OPEN);
        ck_assert(!sink_breaker_allows(&breaker, now_ms + wait_ms - 1));
        ck_assert(sink_breaker_allows(&breaker, now_ms + wait_ms));
        ck_assert_int_eq(breaker.state, i < 5 ? TALLY_BREAKER_CLOSED : TALLY_BREAKER_HALF_OPEN);
        now_ms += wait_ms;
        least_ms = least_ms * 2 < RETRY_MAX_MS ? least_ms * 2 : RETRY_MAX_MS;
    }
    sink_breaker_succeeded(&breaker);
    ck_assert_int_eq(breaker.state, TALLY_BREAKER_CLOSED);
    ck_assert(sink_breaker_allows(&breaker, now_ms));
}
END_TEST

/* --- the group -------------------------------------------------------------------------------- */

START_TEST(a_fenced_sink_joins_again)
{
    int starts;

    append(0, "A", 3);
    turns(task, 5);
    starts = target.starts;
    content.epoch++; /* somebody else has opened it */
    append(0, "A", 3);
    turns(task, 30);
    ck_assert_int_eq(written(0), 6);
    ck_assert_int_gt(target.starts, starts);
    ck_assert_int_eq(info_of(task).state, TALLY_SINK_RUNNING);
}
END_TEST

START_TEST(two_instances_share_and_a_zombie_writes_nothing)
{
    struct target other_target;
    struct tally_client *other_client = tally_memory_client_create(broker, "tally", "b");
    struct tally_sink_task *other = make(&other_target, other_client);
    int flushes;

    tally_memory_broker_group_times(broker, SESSION_MS, SESSION_MS, 100);
    append(0, "A", 3);
    turns(task, 10);
    ck_assert_int_eq(written(0), 3);
    append(0, "A", 10); /* the first one stands still, with these on their way */
    for (int i = 0; i < 400; i++) {
        turns(other, 1);
    }
    ck_assert_int_eq(written(0), 13);
    ck_assert_uint_eq(info_of(other).partitions, 2);
    flushes = target.flushes;
    append(0, "A", 5);
    tally_sink_task_turn(task, 0); /* it wakes */
    ck_assert_int_eq(written(0), 13);
    ck_assert_int_eq(target.flushes, flushes);
    for (int i = 0; i < 100; i++) { /* and takes its share again */
        turns(task, 1);
        turns(other, 1);
    }
    ck_assert_uint_eq(info_of(task).partitions, 1);
    ck_assert_uint_eq(info_of(other).partitions, 1);
    ck_assert_int_eq(written(0), 18);
    end(other);
    ck_assert_int_eq(tally_memory_client_unreleased(other_client), 0);
    other_client->ops->destroy(other_client);
}
END_TEST

START_TEST(a_revoke_writes_the_batch_first)
{
    config.sink_batch_interval = 60000;
    append(0, "A", 3);
    turns(task, 5);
    tally_memory_broker_rebalance(broker, false);
    turns(task, 1);
    ck_assert_int_eq(target.closes, 1);
    turns(task, 5);
    ck_assert_int_eq(written(0), 3);
}
END_TEST

START_TEST(a_loss_writes_nothing)
{
    append(0, "A", 3);
    turns(task, 2);
    append(0, "A", 3);
    tally_memory_broker_rebalance(broker, true);
    turns(task, 20);
    ck_assert_int_eq(written(0), 6);
}
END_TEST

/* --- requests --------------------------------------------------------------------------------- */

START_TEST(paused_over_a_restart)
{
    append(0, "A", 3);
    turns(task, 5);
    ck_assert_int_eq(tally_sink_task_pause(task, NULL), TALLY_OK);
    append(0, "A", 3);
    turns(task, 20);
    ck_assert_int_eq(written(0), 3);
    ck_assert(!target.started);
    ck_assert_int_eq(info_of(task).state, TALLY_SINK_PAUSED);
    ck_assert_int_eq(info_of(task).lag, 3);
    end(task);
    task = make(&target, client);
    turns(task, 20);
    ck_assert_int_eq(info_of(task).state, TALLY_SINK_PAUSED);
    ck_assert_int_eq(info_of(task).lag, -1); /* nobody has asked the target */
    ck_assert_int_eq(written(0), 3);
    ck_assert_int_eq(tally_sink_task_resume(task, NULL), TALLY_OK);
    turns(task, 20);
    ck_assert_int_eq(info_of(task).state, TALLY_SINK_RUNNING);
    ck_assert_int_eq(written(0), 6);
    end(task);
    task = make(&target, client);
    ck_assert_int_ne(info_of(task).state, TALLY_SINK_PAUSED);
}
END_TEST

START_TEST(a_rebuild_begins_at_the_first_event)
{
    config.sink_batch_records = 10;
    append(0, "A", 100);
    append(1, "B", 40);
    turns(task, 40);
    ck_assert_int_eq(written(0) + written(1), 140);
    tally_sink_task_rebuild(task);
    turns(task, 2);
    ck_assert_int_eq(content.rebuilds, 1);
    ck_assert_int_eq(info_of(task).state, TALLY_SINK_REBUILDING);
    turns(task, 60);
    ck_assert_int_eq(written(0) + written(1), 140);
    ck_assert_int_eq(info_of(task).state, TALLY_SINK_RUNNING);
}
END_TEST

START_TEST(a_thread_starts_and_ends)
{
    config.sink_batch_interval = 0;
    append(0, "A", 3);
    tally_sink_task_start(task);
    while (info_of(task).records != 3) {
        usleep(1000);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sink_task");
    TCase *tests = tcase_create("sink_task");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, writes_everything_once_and_moves_on);
    tcase_add_test(tests, an_idle_sink_looks_at_its_target);
    tcase_add_test(tests, a_batch_ends_at_its_records);
    tcase_add_test(tests, no_wait_makes_no_batches_of_one);
    tcase_add_test(tests, a_batch_ends_at_its_memory);
    tcase_add_test(tests, goes_on_where_the_target_is);
    tcase_add_test(tests, no_position_outside_the_topic);
    tcase_add_test(tests, a_refused_record_goes_to_the_dead_letters);
    tcase_add_test(tests, what_cannot_be_decoded_goes_to_the_dead_letters);
    tcase_add_test(tests, no_position_without_its_dead_letter);
    tcase_add_test(tests, a_target_that_refuses_everything_is_out_of_order);
    tcase_add_loop_test(tests, an_outage_loses_nothing, 0, 15);
    tcase_add_test(tests, the_broker_away_is_no_fault_of_the_target);
    tcase_add_loop_test(tests, the_breaker_waits_longer_and_longer, 0, 20);
    tcase_add_test(tests, a_fenced_sink_joins_again);
    tcase_add_test(tests, two_instances_share_and_a_zombie_writes_nothing);
    tcase_add_test(tests, a_revoke_writes_the_batch_first);
    tcase_add_test(tests, a_loss_writes_nothing);
    tcase_add_test(tests, paused_over_a_restart);
    tcase_add_test(tests, a_rebuild_begins_at_the_first_event);
    tcase_add_test(tests, a_thread_starts_and_ends);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
