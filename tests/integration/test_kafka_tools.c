/* tests/integration/test_kafka_tools.c - topics, reader and writer of the command line on a real
 * broker (connectors/kafka_admin.c, kafka_reader.c, kafka_writer.c). */
#include <stdio.h>

#include "connectors/kafka_admin.h"
#include "connectors/kafka_reader.h"
#include "connectors/kafka_writer.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "tests/integration/kafka_fixture.h"

static const struct tally_topic_owner topologies[] = {{.name = "catalogue"}, {.name = "stock"}};

/* Configuration whose topics nobody else has. */
static void prefixed(struct kafka_fixture *fixture, char prefix[64])
{
    kafka_fixture_init(fixture, "a");
    (void)snprintf(prefix, 64, "%s-", fixture->name);
    fixture->config.topics_prefix = prefix;
}

static struct tally_topic_spec *specs_of(struct kafka_fixture *fixture, size_t *count)
{
    struct tally_topic_spec *specs = NULL;
    struct tally_error err = {.code = TALLY_OK};

    kafka_ok(tally_topics_of(&fixture->config, topologies, 2, &specs, count, &err));
    return specs;
}

START_TEST(makes_topics_once_and_finds_them_right)
{
    struct kafka_fixture fixture;
    char prefix[64];
    struct tally_error err = {.code = TALLY_OK};
    struct tally_buf mistakes;
    enum tally_topic_state states[16];
    size_t count = 0;
    struct tally_topic_spec *specs = NULL;
    int32_t partitions = 0;

    prefixed(&fixture, prefix);
    fixture.config.topics_partitions = 3;
    specs = specs_of(&fixture, &count);
    tally_buf_init(&mistakes, 65536);
    ck_assert_uint_eq(count, 7);
    ck_assert_int_eq(tally_topics_check(&fixture.config, specs, count, KAFKA_FIXTURE_WAIT_MS,
                             &partitions, &mistakes, &err),
            TALLY_TOPIC_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "tally topics create"));
    tally_buf_clear(&mistakes);
    kafka_ok(tally_topics_create(&fixture.config, specs, count, KAFKA_FIXTURE_WAIT_MS, states,
            &mistakes, &err));
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(states[i], TALLY_TOPIC_CREATED);
    }
    kafka_ok(tally_topics_create(&fixture.config, specs, count, KAFKA_FIXTURE_WAIT_MS, states,
            &mistakes, &err));
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(states[i], TALLY_TOPIC_EXISTS);
    }
    kafka_ok(tally_topics_check(&fixture.config, specs, count, KAFKA_FIXTURE_WAIT_MS, &partitions,
            &mistakes, &err));
    ck_assert_int_eq(partitions, 3);
    ck_assert_uint_eq(mistakes.len, 0);
    tally_buf_deinit(&mistakes);
    tally_free(specs);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(reports_every_mismatch_at_once)
{
    struct kafka_fixture fixture;
    char prefix[64];
    struct tally_error err = {.code = TALLY_OK};
    struct tally_buf mistakes;
    enum tally_topic_state states[16];
    size_t count = 0;
    struct tally_topic_spec *specs = NULL, *wrong = NULL;
    int32_t partitions = 0;

    prefixed(&fixture, prefix);
    specs = specs_of(&fixture, &count);
    wrong = specs_of(&fixture, &count);
    tally_buf_init(&mistakes, 65536);
    wrong[0].setting_count = 0; /* catalogue.commands with CreateTime */
    wrong[1].partitions = 5;    /* catalogue.events */
    (void)snprintf(wrong[4].settings[1].value, sizeof wrong[4].settings[1].value, "60000");
    (void)snprintf(wrong[5].settings[2].value, sizeof wrong[5].settings[2].value, "10");
    kafka_ok(tally_topics_create(&fixture.config, wrong, count - 1, KAFKA_FIXTURE_WAIT_MS, states,
            &mistakes, &err));
    ck_assert_int_eq(tally_topics_check(&fixture.config, specs, count, KAFKA_FIXTURE_WAIT_MS,
                             &partitions, &mistakes, &err),
            TALLY_TOPIC_CONFIG);
    tally_buf_byte(&mistakes, '\0');
    {
        const char *text = (const char *)mistakes.data;

        ck_assert_ptr_nonnull(strstr(text,
                "catalogue.commands\": message.timestamp.type is CreateTime, expected "
                "LogAppendTime"));
        ck_assert_ptr_nonnull(strstr(text, "catalogue.events\": has 5 partitions"));
        ck_assert_ptr_nonnull(strstr(text, "stock.events\": retention.ms is 60000, expected -1"));
        ck_assert_ptr_nonnull(strstr(text,
                "stock.commands-dlt\": max.message.bytes is 1048598, expected at least 1114124"));
        ck_assert_ptr_nonnull(strstr(text, "tally.replies\": does not exist"));
    }
    tally_buf_deinit(&mistakes);
    tally_free(specs);
    tally_free(wrong);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(says_that_no_broker_answers)
{
    struct kafka_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_buf mistakes;
    size_t count = 0;
    struct tally_topic_spec *specs = NULL;
    int32_t partitions = 0;

    kafka_fixture_init(&fixture, "a");
    tally_free(fixture.config.kafka_servers);
    fixture.config.kafka_servers = tally_copy_string("127.0.0.1:1");
    specs = specs_of(&fixture, &count);
    tally_buf_init(&mistakes, 4096);
    ck_assert_int_eq(tally_topics_check(&fixture.config, specs, count, 500, &partitions, &mistakes,
                             &err),
            TALLY_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(err.message, "127.0.0.1:1"));
    tally_buf_deinit(&mistakes);
    tally_free(specs);
    kafka_fixture_close(&fixture);
}
END_TEST

/* --- writer and reader --- */

struct delivered {
    uint64_t count;
    int64_t next[2];
};

static void on_delivered(void *context, void *tag, enum tally_code code, int32_t partition,
        int64_t offset)
{
    struct delivered *delivered = context;

    ck_assert_int_eq(code, TALLY_OK);
    ck_assert_ptr_eq(tag, context);
    ck_assert_int_eq(offset, delivered->next[partition]++);
    delivered->count++;
}

static const char *written(struct kafka_fixture *fixture, int count)
{
    struct tally_error err = {.code = TALLY_OK};
    struct delivered delivered = {.count = 0};
    struct tally_header header = {TALLY_SLICE("n"), TALLY_SLICE("1")};
    struct tally_writer *writer = NULL;
    struct tally_writer_counts counts;
    const char *topic = kafka_fixture_topic(fixture, "in", 2);

    kafka_ok(tally_writer_create(&fixture->config, on_delivered, &delivered, &writer, &err));
    for (int i = 0; i < count; i++) {
        char key[16], value[16];
        struct tally_slice name = {(const uint8_t *)key, (size_t)snprintf(key, 16, "k%d", i)};

        (void)snprintf(value, sizeof value, "%d", i);
        kafka_ok(tally_writer_produce(writer, topic, -1, name, tally_slice_string(value), &header,
                i % 2 ? 1 : 0, &delivered, &err));
    }
    kafka_ok(tally_writer_flush(writer, KAFKA_FIXTURE_WAIT_MS, &counts, &err));
    ck_assert_uint_eq(counts.produced, (uint64_t)count);
    ck_assert_uint_eq(counts.delivered, (uint64_t)count);
    ck_assert_uint_eq(counts.failed, 0);
    ck_assert_uint_eq(delivered.count, (uint64_t)count);
    ck_assert_int_eq(tally_writer_produce(writer, "no-such-topic", -1, TALLY_NONE, TALLY_SLICE("v"),
                             NULL, 0, NULL, &err),
            TALLY_NOT_FOUND);
    ck_assert_int_eq(tally_writer_produce(writer, topic, 2, TALLY_NONE, TALLY_SLICE("v"), NULL, 0,
                             NULL, &err),
            TALLY_NOT_FOUND);
    tally_writer_destroy(writer);
    return topic;
}

/* Reads until finished; the lowest and highest offset of partition 0 that came. */
static int64_t drain(struct tally_reader_options *options, int64_t *lowest, int64_t *highest)
{
    struct tally_error err = {.code = TALLY_OK};
    struct tally_reader *reader = NULL;
    enum tally_code code = TALLY_AGAIN;
    int64_t count = 0;

    *lowest = INT64_MAX;
    *highest = -1;
    kafka_ok(tally_reader_create(options, &reader, &err));
    for (int i = 0; i < 100000 && code != TALLY_NOT_FOUND; i++) {
        struct tally_record record;
        struct tally_header header;

        code = tally_reader_next(reader, 100, &record, &err);
        if (code == TALLY_OK) {
            count++;
            if (record.partition == 0) {
                *lowest = record.offset < *lowest ? record.offset : *lowest;
                *highest = record.offset > *highest ? record.offset : *highest;
            }
            ck_assert_int_eq(record.partition, tally_partition_of(record.key, 2));
            ck_assert_str_eq(tally_reader_timestamp_type(&record), "create");
            ck_assert_int_ge(tally_reader_broker(&record), 0);
            ck_assert_uint_le(tally_reader_headers(reader, &record, &header, 1), 1);
            tally_reader_release(reader, &record);
        } else {
            ck_assert_msg(code == TALLY_AGAIN || code == TALLY_NOT_FOUND, "%s", err.message);
        }
    }
    ck_assert_int_eq(code, TALLY_NOT_FOUND);
    tally_reader_destroy(reader);
    return count;
}

static void on_ended(void *context, int32_t partition, int64_t offset)
{
    int64_t *ends = context;

    ends[partition] = offset;
}

static void parse(struct tally_reader_options *options, const char *text)
{
    struct tally_error err = {.code = TALLY_OK};

    kafka_ok(tally_reader_range_parse(text, &options->range, &err));
}

START_TEST(reads_what_was_written)
{
    struct kafka_fixture fixture;
    int64_t ends[2] = {-1, -1}, lowest = 0, highest = 0, size = 0;
    int32_t zero = 0;
    struct tally_reader_options options = {.stop_at_end = true, .ended = on_ended, .context = ends};

    kafka_fixture_init(&fixture, "a");
    options.topic = written(&fixture, 200);
    options.config = &fixture.config;
    ck_assert_int_eq(drain(&options, &lowest, &highest), 200); /* beginning, all, -e */
    ck_assert_int_eq(ends[0] + ends[1], 200);
    ck_assert_int_eq(lowest, 0);
    size = ends[0];
    ck_assert_int_eq(highest, size - 1);

    options.partitions = &zero;
    options.partition_count = 1;
    parse(&options, "-5");
    ck_assert_int_eq(drain(&options, &lowest, &highest), 5);
    ck_assert_int_eq(lowest, size - 5);
    parse(&options, "-100000"); /* more than there are */
    ck_assert_int_eq(drain(&options, &lowest, &highest), size);
    parse(&options, "10");
    ck_assert_int_eq(drain(&options, &lowest, &highest), size - 10);
    ck_assert_int_eq(lowest, 10);
    options.count = 3;
    ck_assert_int_eq(drain(&options, &lowest, &highest), 3);
    ck_assert_int_eq(highest, 12);
    options.count = 0;
    parse(&options, "end");
    ck_assert_int_eq(drain(&options, &lowest, &highest), 0);
    parse(&options, "stored"); /* nothing stored: the end */
    ck_assert_int_eq(drain(&options, &lowest, &highest), 0);
    parse(&options, "s@1");
    ck_assert_int_eq(drain(&options, &lowest, &highest), size);
    parse(&options, "s@99999999999999");
    ck_assert_int_eq(drain(&options, &lowest, &highest), 0);
    parse(&options, "beginning");
    parse(&options, "e@1"); /* until 1970: ends at the first record, without -e */
    options.stop_at_end = false;
    ck_assert_int_eq(drain(&options, &lowest, &highest), 0);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(names_what_cannot_be_read)
{
    struct kafka_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_reader *reader = NULL;
    struct tally_record record;
    int32_t seven = 7;
    struct tally_reader_options options = {.topic = "no-such-topic"};
    enum tally_code code = TALLY_AGAIN;

    kafka_fixture_init(&fixture, "a");
    options.config = &fixture.config;
    ck_assert_int_eq(tally_reader_create(&options, &reader, &err), TALLY_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.message, "no-such-topic"));
    options.topic = written(&fixture, 4);
    options.partitions = &seven;
    options.partition_count = 1;
    ck_assert_int_eq(tally_reader_create(&options, &reader, &err), TALLY_NOT_FOUND);
    options.partition_count = 0;
    parse(&options, "1000");
    kafka_ok(tally_reader_create(&options, &reader, &err));
    for (int i = 0; i < 300 && code == TALLY_AGAIN; i++) {
        code = tally_reader_next(reader, 100, &record, &err);
    }
    ck_assert_int_eq(code, TALLY_INPUT_LOST);
    ck_assert_ptr_nonnull(strstr(err.message, options.topic));
    tally_reader_destroy(reader);
    kafka_fixture_close(&fixture);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_test(tcase, makes_topics_once_and_finds_them_right);
    tcase_add_test(tcase, reports_every_mismatch_at_once);
    tcase_add_test(tcase, says_that_no_broker_answers);
    tcase_add_test(tcase, reads_what_was_written);
    tcase_add_test(tcase, names_what_cannot_be_read);
}

int main(void)
{
    return kafka_fixture_main("kafka tools", add);
}
