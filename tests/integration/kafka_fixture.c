/* tests/integration/kafka_fixture.c - see kafka_fixture.h. */
#include "tests/integration/kafka_fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "connectors/kafka_admin.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "tests/integration/suite.h"

static int64_t now_ms(void)
{
    return tally_mono_ms(tally_clock_real());
}

const char *kafka_fixture_servers(void)
{
    const char *servers = getenv("TEST_KAFKA");

    return servers ? servers : getenv("TALLY_TEST_KAFKA");
}

static long broker_pid(void)
{
    const char *pid = getenv("TEST_KAFKA_PID");

    pid = pid ? pid : getenv("TALLY_TEST_KAFKA_PID");
    return pid ? strtol(pid, NULL, 10) : 0;
}

bool kafka_fixture_may_pause(void)
{
    return broker_pid() > 1;
}

void kafka_fixture_pause(void)
{
    ck_assert_int_eq(kill((pid_t)broker_pid(), SIGSTOP), 0);
}

void kafka_fixture_unpause(void)
{
    ck_assert_int_eq(kill((pid_t)broker_pid(), SIGCONT), 0);
}

void kafka_fixture_init(struct kafka_fixture *fixture, const char *instance)
{
    static int count;

    *fixture = (struct kafka_fixture){.config = {.topics_prefix = "",
                                              .postgres_url = "",
                                              .redis_url = "",
                                              .topics_partitions = 2,
                                              .topics_replication = 1,
                                              .kafka_guard = true,
                                              .engine_threads = 1,
                                              .fetch_memory = 64 << 20,
                                              .uncommitted_bytes = 32 << 20,
                                              .transaction_timeout = 10000,
                                              .session_timeout = 25000,
                                              .max_poll_interval = 60000}};
    (void)snprintf(fixture->name, sizeof fixture->name, "t%ld-%d-%d",
            (long)tally_wall_ms(tally_clock_real()), (int)getpid(), ++count);
    fixture->config.app_id = fixture->name;
    fixture->config.instance_id = tally_copy_string(instance);
    fixture->config.kafka_servers = tally_copy_string(kafka_fixture_servers());
}

void kafka_fixture_open(struct kafka_fixture *fixture, const char *instance)
{
    struct tally_error err = {.code = TALLY_OK};

    kafka_fixture_init(fixture, instance);
    kafka_ok(tally_kafka_client_create(&fixture->config, "127.0.0.1:8080", &fixture->client, &err));
}

void kafka_fixture_open_second(struct kafka_fixture *second, const struct kafka_fixture *first,
        const char *instance)
{
    struct tally_error err = {.code = TALLY_OK};

    kafka_fixture_init(second, instance);
    memcpy(second->name, first->name, sizeof second->name);
    kafka_ok(tally_kafka_client_create(&second->config, "", &second->client, &err));
}

void kafka_fixture_close(struct kafka_fixture *fixture)
{
    if (fixture->client) {
        fixture->client->ops->destroy(fixture->client);
    }
    tally_free(fixture->config.instance_id);
    tally_free(fixture->config.kafka_servers);
}

const char *kafka_fixture_topic(struct kafka_fixture *fixture, const char *suffix, int partitions)
{
    static struct tally_topic_spec specs[256];
    static size_t used;
    struct tally_topic_spec *spec = &specs[used++ % 256];
    struct tally_error err = {.code = TALLY_OK};
    enum tally_topic_state state = TALLY_TOPIC_FAILED;
    struct tally_buf mistakes;

    *spec = (struct tally_topic_spec){.partitions = partitions, .replication = 1};
    (void)snprintf(spec->name, sizeof spec->name, "%s.%s", fixture->name, suffix);
    tally_buf_init(&mistakes, 4096);
    kafka_ok(tally_topics_create(&fixture->config, spec, 1, KAFKA_FIXTURE_WAIT_MS, &state,
            &mistakes, &err));
    ck_assert_int_eq(state, TALLY_TOPIC_CREATED);
    tally_buf_deinit(&mistakes);
    return spec->name;
}

bool kafka_fixture_exists(struct kafka_fixture *fixture, const char *topic)
{
    struct tally_topic_spec spec = {.partitions = 1, .replication = 1};
    struct tally_error err = {.code = TALLY_OK};
    struct tally_buf mistakes;
    int32_t partitions = 0;
    enum tally_code code = TALLY_OK;

    (void)snprintf(spec.name, sizeof spec.name, "%s", topic);
    tally_buf_init(&mistakes, 4096);
    code = tally_topics_check(&fixture->config, &spec, 1, KAFKA_FIXTURE_WAIT_MS, &partitions,
            &mistakes, &err);
    ck_assert_int_ne(code, TALLY_UNAVAILABLE);
    tally_buf_deinit(&mistakes);
    return partitions > 0;
}

void kafka_fixture_fill(struct kafka_fixture *fixture, const char *topic, int count)
{
    for (int i = 0; i < count; i++) {
        struct tally_error err = {.code = TALLY_OK};
        char value[16];
        int32_t partition = -1;
        int64_t offset = -1;

        (void)snprintf(value, sizeof value, "%d", i);
        kafka_ok(fixture->client->ops->publish(fixture->client, topic, TALLY_SLICE("key"),
                tally_slice_string(value), NULL, 0, KAFKA_FIXTURE_WAIT_MS, &partition, &offset,
                &err));
    }
}

struct tally_producer *kafka_fixture_producer(struct kafka_fixture *fixture, int thread)
{
    struct tally_error err = {.code = TALLY_OK};
    struct tally_producer *producer =
            fixture->client->ops->producer(fixture->client, NULL, thread, &err);
    int64_t deadline_ms = now_ms() + KAFKA_FIXTURE_WAIT_MS;
    enum tally_code code = TALLY_TIMEOUT;

    ck_assert_msg(producer != NULL, "%s", err.message);
    while (tally_code_reaction(code) == TALLY_REACT_RETRY && now_ms() < deadline_ms) {
        code = producer->ops->init_transactions(producer, 1000, &err);
    }
    kafka_ok(code);
    return producer;
}

void kafka_fixture_produce(struct tally_producer *producer, const char *topic, int32_t partition,
        const char *value, struct tally_delivery *delivery)
{
    struct tally_error err = {.code = TALLY_OK};
    struct tally_produce record = {
            .key = TALLY_SLICE("key"), .value = tally_slice_string(value), .delivery = delivery};
    size_t done = 0;

    kafka_ok(producer->ops->produce(producer, topic, partition, &record, 1, &done, &err));
    ck_assert_uint_eq(done, 1);
}

enum tally_code kafka_fixture_commit(struct tally_producer *producer)
{
    struct tally_error err = {.code = TALLY_OK};
    int64_t deadline_ms = now_ms() + KAFKA_FIXTURE_WAIT_MS;
    enum tally_code code = TALLY_TIMEOUT;

    while (tally_code_reaction(code) == TALLY_REACT_RETRY && now_ms() < deadline_ms) {
        code = producer->ops->commit(producer, 1000, &err);
    }
    return code;
}

/* --- members --- */

static void on_assigned(void *context, const struct tally_topic_partition *partitions, size_t count)
{
    struct kafka_member *member = context;
    struct tally_consumer *consumer = member->consumer;
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_uint_le(count, sizeof member->partitions / sizeof *member->partitions);
    memcpy(member->partitions, partitions, count * sizeof *partitions);
    member->count = count;
    member->assigned++;
    if (count) {
        kafka_ok(consumer->ops->committed(consumer, member->partitions, count,
                KAFKA_FIXTURE_WAIT_MS, &err));
    }
    for (size_t i = 0; i < count; i++) {
        member->partitions[i].offset =
                member->partitions[i].offset < 0 ? 0 : member->partitions[i].offset;
    }
    kafka_ok(consumer->ops->assign(consumer, member->partitions, count, &err));
}

static void on_revoked(void *context, const struct tally_topic_partition *partitions, size_t count,
        bool lost)
{
    struct kafka_member *member = context;
    struct tally_error err = {.code = TALLY_OK};

    (void)partitions;
    (void)count;
    member->revoked++;
    member->lost += lost;
    member->count = 0;
    kafka_ok(member->consumer->ops->assign(member->consumer, NULL, 0, &err));
}

void kafka_member_join(struct kafka_member *member, struct kafka_fixture *fixture, int thread,
        const char *topic)
{
    struct tally_rebalance_listener listener = {
            .context = member, .assigned = on_assigned, .revoked = on_revoked};
    struct tally_error err = {.code = TALLY_OK};

    *member = (struct kafka_member){.consumer = NULL};
    member->consumer =
            fixture->client->ops->consumer(fixture->client, NULL, thread, &listener, &err);
    ck_assert_msg(member->consumer != NULL, "%s", err.message);
    kafka_ok(member->consumer->ops->subscribe(member->consumer, &topic, 1, &err));
}

void kafka_member_await(struct kafka_member *member, size_t partitions)
{
    int64_t deadline_ms = now_ms() + KAFKA_FIXTURE_WAIT_MS;

    while (member->count != partitions && now_ms() < deadline_ms) {
        struct tally_record record;

        if (member->consumer->ops->poll(member->consumer, 50, &record, NULL) == TALLY_OK) {
            struct tally_error err = {.code = TALLY_OK};
            struct tally_topic_partition back = {
                    .topic = record.topic, .partition = record.partition, .offset = record.offset};

            kafka_ok(member->consumer->ops->seek(member->consumer, &back, 1, KAFKA_FIXTURE_WAIT_MS,
                    &err));
            member->consumer->ops->release(member->consumer, &record);
        }
    }
    ck_assert_uint_eq(member->count, partitions);
}

void kafka_member_leave(struct kafka_member *member)
{
    member->consumer->ops->destroy(member->consumer);
    member->consumer = NULL;
}

void kafka_member_next(struct tally_consumer *consumer, struct tally_record *record)
{
    int64_t deadline_ms = now_ms() + KAFKA_FIXTURE_WAIT_MS;
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code = TALLY_AGAIN;

    while ((code == TALLY_AGAIN || code == TALLY_UNAVAILABLE) && now_ms() < deadline_ms) {
        code = consumer->ops->poll(consumer, 100, record, &err);
    }
    kafka_ok(code);
}

char *kafka_fixture_read(struct kafka_fixture *fixture, const char *topic, int32_t partition)
{
    struct tally_error err = {.code = TALLY_OK};
    struct tally_consumer *consumer =
            fixture->client->ops->restore_consumer(fixture->client, 0, &err);
    struct tally_topic_partition from = {.topic = topic, .partition = partition, .offset = 0};
    int64_t low = -1, high = -1, deadline_ms = now_ms() + KAFKA_FIXTURE_WAIT_MS;
    char *values = tally_copy_string("");

    ck_assert_msg(consumer != NULL, "%s", err.message);
    kafka_ok(consumer->ops->watermarks(consumer, topic, partition, KAFKA_FIXTURE_WAIT_MS, &low,
            &high, &err));
    kafka_ok(consumer->ops->assign(consumer, &from, 1, &err));
    while (high > 0 && consumer->ops->position(consumer, topic, partition) < high) {
        struct tally_record record;
        enum tally_code code = consumer->ops->poll(consumer, 100, &record, &err);

        ck_assert_msg(now_ms() < deadline_ms, "position never reached %ld", (long)high);
        if (code == TALLY_OK) {
            char *longer = tally_copy_format("%s%s%.*s", values, *values ? "," : "",
                    (int)record.value.len, (const char *)record.value.data);

            tally_free(values);
            values = longer;
            consumer->ops->release(consumer, &record);
        }
    }
    consumer->ops->destroy(consumer);
    return values;
}

int kafka_fixture_main(const char *name, void (*add)(TCase *tcase))
{
    if (!kafka_fixture_servers()) {
        (void)fprintf(stderr, "%s: no broker, set TEST_KAFKA=host:port\n", name);
        return EXIT_FAILURE;
    }
    return suite_main(name, add);
}
