/* tests/unit/sink_task_fixture.c - see sink_task_fixture.h. */
#include "tests/unit/sink_task_fixture.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "schemas/stock_records.h"

struct sink_content content;

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
    target->open = true;
    for (size_t i = 0; i < count; i++) {
        target->epoch[partitions[i].partition] = ++content.epoch[partitions[i].partition];
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

    ck_assert(target->open && !target->flying);
    target->flushes++;
    target->batch_count = 0;
    for (size_t i = 0; i < count && !code; i++) {
        int32_t partition = positions[i].partition;

        if (target->epoch[partition] != content.epoch[partition]) {
            code = tally_error_set(err, TALLY_FENCED, "epoch %lld is over",
                    (long long)target->epoch[partition]);
        }
    }
    for (size_t i = 0; i < records && !code; i++) {
        content.times[target->batch[i].partition][target->batch[i].offset]++;
    }
    for (size_t i = 0; i < count && !code; i++) {
        ck_assert_int_ge(positions[i].offset, content.next[positions[i].partition]);
        content.next[positions[i].partition] = positions[i].offset;
    }
    if (!code && content.next[0] >= content.goal && content.next[1] >= content.goal) {
        content.building = false;
    }
    target->largest = records > target->largest ? records : target->largest;
    return code;
}

/* A target that answers late: of a flush nothing is there before it is settled. */
static enum tally_code late_put(struct tally_sink *base, const struct tally_sink_record *records,
        size_t count, struct tally_error *err)
{
    struct target *target = (struct target *)base;

    ck_assert(!target->flying);
    target->late_code = target_put(base, records, count, err);
    target->late_err = *err;
    return TALLY_OK;
}

static enum tally_code late_flush(struct tally_sink *base,
        const struct tally_topic_partition *positions, size_t count, struct tally_error *err)
{
    struct target *target = (struct target *)base;

    (void)err;
    ck_assert(!target->flying && count <= PARTITIONS);
    target->flying = true;
    target->flown_count = count;
    memcpy(target->flown, positions, count * sizeof *positions);
    return TALLY_OK;
}

static enum tally_code late_settle(struct tally_sink *base, struct tally_error *err)
{
    struct target *target = (struct target *)base;
    enum tally_code code = target->late_code;

    ck_assert(target->flying);
    target->flying = false;
    target->late_code = TALLY_OK;
    if (code) {
        *err = target->late_err;
        return code;
    }
    return target_flush(base, target->flown, target->flown_count, err);
}

static void target_close(struct tally_sink *base, const struct tally_topic_partition *partitions,
        size_t count)
{
    struct target *target = (struct target *)base;

    (void)partitions;
    ck_assert(target->open && count > 0);
    target->closes++;
    target->open = target->flying = false;
    target->batch_count = 0;
}

static void target_stop(struct tally_sink *base)
{
    struct target *target = (struct target *)base;

    target->stops++;
    target->started = target->open = target->flying = false;
    target->late_code = TALLY_OK;
    target->batch_count = 0;
}

static enum tally_code target_rebuild(struct tally_sink *base, struct tally_error *err)
{
    (void)base;
    (void)err;
    memset(content.times, 0, sizeof content.times);
    content.goal = content.next[0] < content.next[1] ? content.next[0] : content.next[1];
    content.next[0] = content.next[1] = TALLY_OFFSET_NONE;
    content.epoch[0]++;
    content.epoch[1]++;
    content.rebuilds++;
    content.building = true;
    return TALLY_OK;
}

static bool target_rebuilding(const struct tally_sink *base)
{
    (void)base;
    return content.building;
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
        .rebuilding = target_rebuilding,
        .destroy = target_destroy};
static const struct tally_sink_ops late_ops = {.name = "target",
        .start = target_start,
        .open = target_open,
        .put = late_put,
        .flush = late_flush,
        .settle = late_settle,
        .close = target_close,
        .stop = target_stop,
        .rebuild = target_rebuild,
        .rebuilding = target_rebuilding,
        .destroy = target_destroy};

/* --- the fixture ------------------------------------------------------------------------------ */

struct tally_fake_clock fake;
struct tally_memory_broker *broker;
struct tally_client *client;
struct tally_config config;
static char state_dir[] = "/tmp/tally-sink-XXXXXX";
struct target the_target;
struct tally_sink_task *the_task;
static const struct tally_sink_source source = {
        .topology = "stock", .topic = "p.stock.events", .types = stock_event_schemas};

static const struct tally_sink_ops *ops_of_all = &target_ops;

struct tally_sink_task *make(struct target *to, struct tally_client *with)
{
    *to = (struct target){.base.ops = ops_of_all, .failures_left = -1};
    return tally_sink_task_create(&(struct tally_sink_task_options){.config = &config,
            .client = with,
            .clock = &fake.clock,
            .sink = &to->base,
            .sources = &source,
            .source_count = 1,
            .partitions = PARTITIONS});
}

void setup(void)
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
    the_task = make(&the_target, client);
}

void end(struct tally_sink_task *ended)
{
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_int_eq(tally_sink_task_stop(ended, 1000, &err), TALLY_OK);
    tally_sink_task_destroy(ended);
}

void teardown(void)
{
    char path[64];

    end(the_task);
    ck_assert_int_eq(tally_memory_client_unreleased(client), 0);
    client->ops->destroy(client);
    tally_memory_broker_destroy(broker);
    tally_config_deinit(&config);
    (void)snprintf(path, sizeof path, "%s/sink-target.paused", state_dir);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/sink-target.rebuild", state_dir);
    (void)unlink(path);
    ck_assert_int_eq(rmdir(state_dir), 0);
}

void make_late(void)
{
    end(the_task);
    ops_of_all = &late_ops;
    the_task = make(&the_target, client);
}

/* --- what happens ----------------------------------------------------------------------------- */

void append_typed(int32_t partition, const char *sku, const char *type)
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

void append(int32_t partition, const char *sku, int count)
{
    for (int i = 0; i < count; i++) {
        append_typed(partition, sku, "StockShipped");
    }
}

void turns(struct tally_sink_task *of, int count)
{
    for (int i = 0; i < count; i++) {
        tally_sink_task_turn(of, 0);
        tally_fake_clock_advance(&fake, 100);
    }
}

int written(int32_t partition)
{
    int count = 0;

    for (int i = 0; i < RECORDS_MAX; i++) {
        ck_assert_int_le(content.times[partition][i], 1); /* never twice: the target's rows and its
                                                             position are one */
        count += content.times[partition][i];
    }
    return count;
}

struct tally_sink_info info_of(struct tally_sink_task *of)
{
    struct tally_sink_info info;

    tally_sink_task_info(of, &info);
    return info;
}

int letters(const char *reason, const char *stage)
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
