/* tests/unit/test_kafka_config.c - what every librdkafka handle is told, and what kafka.properties
 * may change (connectors/kafka_config.c). */
#include <check.h>
#include <stdlib.h>

#include "connectors/kafka_admin.h"
#include "connectors/kafka_internal.h"
#include "engine/base/mem.h"

static char *properties[1];
static struct tally_config config;

static void setup(void)
{
    config = (struct tally_config){.app_id = "app",
            .instance_id = "x",
            .topics_prefix = "",
            .kafka_servers = "127.0.0.1:9092",
            .engine_threads = 2,
            .fetch_memory = 64 << 20,
            .uncommitted_bytes = 32 << 20,
            .transaction_timeout = 10000,
            .session_timeout = 25000,
            .max_poll_interval = 60000,
            .kafka_guard = true,
            .kafka_properties = {.items = properties, .count = 0}};
}

static rd_kafka_conf_t *conf_of(enum kafka_kind kind)
{
    struct kafka_options options = {
            .config = &config, .http_address = "10.0.0.1:8080", .thread = 3};
    struct tally_error err = {.code = TALLY_OK};
    rd_kafka_conf_t *conf = kafka_config_create(kind, &options, &err);

    ck_assert_msg(conf != NULL, "%s", err.message);
    return conf;
}

static void ck_is(rd_kafka_conf_t *conf, const char *name, const char *expected)
{
    char value[256] = "";
    size_t size = sizeof value;

    ck_assert_msg(rd_kafka_conf_get(conf, name, value, &size) == RD_KAFKA_CONF_OK, "%s", name);
    ck_assert_msg(strcmp(value, expected) == 0, "%s is %s, expected %s", name, value, expected);
}

/* A commit hands over all rows of a projection's transaction, so batches become as large as a
 * producer makes them. */
START_TEST(a_changelog_takes_a_full_batch)
{
    const struct tally_topic_owner owner = {
            .name = "seen", .events = "stock.events", .changelog = "seen-changelog"};
    rd_kafka_conf_t *conf = conf_of(KAFKA_KIND_PRODUCER);
    struct tally_topic_spec *specs;
    size_t count;
    int seen = 0;

    ck_assert_int_eq(tally_topics_of(&config, &owner, 1, &specs, &count, NULL), TALLY_OK);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < specs[i].setting_count; k++) {
            const struct tally_topic_setting *setting = &specs[i].settings[k];

            if (!strcmp(specs[i].name, owner.changelog) &&
                    !strcmp(setting->name, "max.message.bytes")) {
                ck_assert_int_eq(setting->compare, TALLY_TOPIC_AT_LEAST);
                ck_assert_int_gt(strtoll(setting->value, NULL, 10),
                        kafka_config_int(conf, "batch.size"));
                seen++;
            }
        }
    }
    ck_assert_int_eq(seen, 1);
    tally_free(specs);
    rd_kafka_conf_destroy(conf);
}
END_TEST

START_TEST(configures_the_group_consumer)
{
    rd_kafka_conf_t *conf = conf_of(KAFKA_KIND_CONSUMER);

    ck_is(conf, "group.id", "app");
    ck_is(conf, "group.instance.id", "app-x-3");
    ck_is(conf, "client.id", "app-x-3-consumer@10.0.0.1:8080");
    ck_is(conf, "partition.assignment.strategy", "range");
    ck_is(conf, "enable.auto.commit", "false");
    ck_is(conf, "enable.auto.offset.store", "false");
    ck_is(conf, "isolation.level", "read_committed");
    ck_is(conf, "auto.offset.reset", "error");
    ck_is(conf, "allow.auto.create.topics", "false");
    ck_is(conf, "check.crcs", "true");
    ck_is(conf, "session.timeout.ms", "25000");
    ck_is(conf, "max.poll.interval.ms", "60000");
    ck_is(conf, "queued.max.messages.kbytes", "6553"); /* half of a fifth of 64 MB */
    ck_is(conf, "queued.min.messages", "10000000");
    ck_is(conf, "fetch.wait.max.ms", "250"); /* idle, it asks four times a second */
    ck_is(conf, "socket.nagle.disable", "true");
    rd_kafka_conf_destroy(conf);
    config.fetch_memory = 0; /* a quarter of state.memory */
    config.state_memory = 160 << 20;
    conf = conf_of(KAFKA_KIND_CONSUMER);
    ck_is(conf, "queued.max.messages.kbytes", "4096");
    rd_kafka_conf_destroy(conf);
}
END_TEST

START_TEST(configures_the_transactional_producer)
{
    rd_kafka_conf_t *conf = conf_of(KAFKA_KIND_PRODUCER);

    ck_is(conf, "transactional.id", "app-x-3");
    ck_is(conf, "transaction.timeout.ms", "10000");
    ck_is(conf, "message.timeout.ms", "8000");
    ck_is(conf, "socket.timeout.ms", "6000");
    ck_is(conf, "acks", "-1"); /* all */
    ck_is(conf, "enable.idempotence", "true");
    ck_is(conf, "partitioner", "murmur2_random");
    ck_is(conf, "delivery.report.only.error", "false");
    ck_is(conf, "retry.backoff.ms", "1");
    ck_is(conf, "linger.ms", "1000"); /* a commit flushes */
    ck_is(conf, "batch.num.messages", "100000");
    ck_is(conf, "batch.size", "400000");
    ck_is(conf, "message.max.bytes", "4194304");
    ck_is(conf, "queue.buffering.max.kbytes", "131072"); /* four times what is uncommitted */
    rd_kafka_conf_destroy(conf);
    config.transaction_timeout = 2000;
    conf = conf_of(KAFKA_KIND_PRODUCER); /* the shorter ones follow it down */
    ck_is(conf, "message.timeout.ms", "1600");
    ck_is(conf, "socket.timeout.ms", "1200");
    rd_kafka_conf_destroy(conf);
    config.transaction_timeout = 1000; /* the shortest that the setting takes */
    conf = conf_of(KAFKA_KIND_PRODUCER);
    ck_is(conf, "message.timeout.ms", "800");
    ck_is(conf, "linger.ms", "250");
    rd_kafka_conf_destroy(conf);
}
END_TEST

START_TEST(asks_watermarks_uncommitted)
{
    rd_kafka_conf_t *conf = conf_of(KAFKA_KIND_WATERMARK);

    ck_is(conf, "isolation.level", "read_uncommitted");
    rd_kafka_conf_destroy(conf);
    conf = conf_of(KAFKA_KIND_RESTORE);
    ck_is(conf, "isolation.level", "read_committed");
    ck_is(conf, "group.id", "app-restore");
    rd_kafka_conf_destroy(conf);
}
END_TEST

START_TEST(applies_properties_last_to_every_handle)
{
    config.kafka_properties.count = 1;
    for (enum kafka_kind kind = KAFKA_KIND_CONSUMER; kind < KAFKA_KINDS; kind++) {
        rd_kafka_conf_t *conf = NULL;

        properties[0] = "reconnect.backoff.max.ms=777";
        conf = conf_of(kind);
        ck_is(conf, "reconnect.backoff.max.ms", "777");
        rd_kafka_conf_destroy(conf);
        properties[0] = "message.timeout.ms=soon";
        {
            struct kafka_options options = {.config = &config};
            struct tally_error err = {.code = TALLY_OK};

            ck_assert_ptr_null(kafka_config_create(kind, &options, &err));
            ck_assert_ptr_nonnull(strstr(err.message, "\"message.timeout.ms\" has an invalid"));
        }
    }
}
END_TEST

static const struct {
    char *property;
    const char *expected;
} refused[] = {
        {"fetch.wait.max=20", "did you mean \"fetch.wait.max.ms\"?"},
        {"rubbish=1", "unknown property \"rubbish\""},
        {"isolation.level=read_uncommitted", "\"isolation.level\" is set by tally"},
        {"transactional.id=mine", "\"transactional.id\" is set by tally"},
        {"socket.max.fails=0", "\"socket.max.fails\" is set by tally"}, /* blinds the guard */
        {"plugin.library.paths=x.so", "\"plugin.library.paths\" is not allowed"},
        {"test.mock.num.brokers=3", "\"test.mock.num.brokers\" is not allowed"},
        {"novalue", "expected name=value"},
        {"=1", "expected name=value"},
};

START_TEST(names_each_handle_by_its_role)
{
    static const char *const roles[KAFKA_KINDS] = {
            [KAFKA_KIND_CONSUMER] = "-consumer",
            [KAFKA_KIND_PROBE] = "-probe",
            [KAFKA_KIND_PRODUCER] = "-producer",
            [KAFKA_KIND_SENDER] = "-sender",
            [KAFKA_KIND_WATERMARK] = "-watermark",
            [KAFKA_KIND_ADMIN] = "-admin",
    };
    struct kafka_options options = {.config = &config};
    struct tally_error err = {.code = TALLY_OK};

    for (enum kafka_kind kind = 0; kind < KAFKA_KINDS; kind++) {
        rd_kafka_conf_t *conf = kafka_config_create(kind, &options, &err);
        char id[128] = "";
        size_t size = sizeof id;

        ck_assert_ptr_nonnull(conf);
        ck_assert_int_eq(rd_kafka_conf_get(conf, "client.id", id, &size), RD_KAFKA_CONF_OK);
        ck_assert_msg(strstr(id, roles[kind] ? roles[kind] : "-") != NULL, "%s", id);
        rd_kafka_conf_destroy(conf);
    }
}
END_TEST

START_TEST(refuses_a_property)
{
    struct kafka_options options = {.config = &config};
    struct tally_error err = {.code = TALLY_OK};

    config.kafka_properties.count = 1;
    properties[0] = refused[_i].property;
    ck_assert_ptr_null(kafka_config_create(KAFKA_KIND_CONSUMER, &options, &err));
    ck_assert_int_eq(err.code, TALLY_CONFIG);
    ck_assert_msg(strstr(err.message, refused[_i].expected) != NULL, "%s", err.message);
}
END_TEST

START_TEST(lets_a_tool_choose_its_isolation)
{
    rd_kafka_conf_t *conf = NULL;

    config.kafka_properties.count = 1;
    properties[0] = "isolation.level=read_uncommitted";
    conf = conf_of(KAFKA_KIND_READER);
    ck_is(conf, "isolation.level", "read_uncommitted");
    rd_kafka_conf_destroy(conf);
}
END_TEST

START_TEST(counts_threads)
{
    ck_assert_int_eq(kafka_config_threads(&config), 2);
    config.engine_threads = 0;
    ck_assert_int_ge(kafka_config_threads(&config), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kafka config");
    TCase *tcase = tcase_create("properties");
    SRunner *runner = NULL;
    int failed = 0;

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, a_changelog_takes_a_full_batch);
    tcase_add_test(tcase, configures_the_group_consumer);
    tcase_add_test(tcase, configures_the_transactional_producer);
    tcase_add_test(tcase, asks_watermarks_uncommitted);
    tcase_add_test(tcase, applies_properties_last_to_every_handle);
    tcase_add_test(tcase, names_each_handle_by_its_role);
    tcase_add_loop_test(tcase, refuses_a_property, 0, (int)(sizeof refused / sizeof *refused));
    tcase_add_test(tcase, lets_a_tool_choose_its_isolation);
    tcase_add_test(tcase, counts_threads);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
