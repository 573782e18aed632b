/* tests/bench/raw_consumer.c - the control of the benchmarks: reads a topic to its end with
 * librdkafka alone and does nothing with the records. Prints one line of JSON. bench_raw_consumer
 * BROKERS TOPIC PARTITIONS [name=value ...]   name=value: librdkafka options */
#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define BATCH          10000
#define TIMEOUT_MS     10 /* a batch that is not full waits so long */
#define PARTITIONS_MAX 1024

struct totals {
    int64_t records, bytes;
    int32_t ended;
    int64_t first_us, last_us;
};

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t cpu_us(const struct rusage *usage)
{
    return (int64_t)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000 +
           usage->ru_utime.tv_usec + usage->ru_stime.tv_usec;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char message[512];

    if (rd_kafka_conf_set(conf, name, value, message, sizeof message) != RD_KAFKA_CONF_OK) {
        fprintf(stderr, "bench_raw_consumer: %s\n", message);
        exit(2);
    }
}

static void set_pair(rd_kafka_conf_t *conf, const char *pair)
{
    const char *equals = strchr(pair, '=');
    char name[128];

    if (!equals || (size_t)(equals - pair) >= sizeof name) {
        fprintf(stderr, "bench_raw_consumer: \"%s\" is no name=value\n", pair);
        exit(2);
    }
    snprintf(name, sizeof name, "%.*s", (int)(equals - pair), pair);
    set(conf, name, equals + 1);
}

static rd_kafka_t *connect_to(const char *brokers, char **options, int count)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char message[512];
    rd_kafka_t *consumer;

    /* As tally has them; `./dev bench` gives both sides the same CRC setting. */
    set(conf, "bootstrap.servers", brokers);
    set(conf, "group.id", "bench-raw");
    set(conf, "enable.auto.commit", "false");
    set(conf, "enable.partition.eof", "true");
    set(conf, "isolation.level", "read_committed");
    set(conf, "check.crcs", "true");
    set(conf, "queued.min.messages", "10000000");
    set(conf, "queued.max.messages.kbytes", "65536");
    set(conf, "fetch.message.max.bytes", "4194304");
    set(conf, "socket.nagle.disable", "true");
    for (int i = 0; i < count; i++) {
        set_pair(conf, options[i]);
    }
    consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, message, sizeof message);
    if (!consumer) {
        fprintf(stderr, "bench_raw_consumer: %s\n", message);
        exit(1);
    }
    rd_kafka_poll_set_consumer(consumer);
    return consumer;
}

static void take(struct totals *totals, const rd_kafka_message_t *message)
{
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        totals->ended++;
    } else if (message->err) {
        fprintf(stderr, "bench_raw_consumer: %s\n", rd_kafka_message_errstr(message));
        exit(1);
    } else {
        totals->first_us = totals->first_us ? totals->first_us : now_us();
        totals->records++;
        totals->bytes += (int64_t)message->len;
    }
}

static void read_all(rd_kafka_t *consumer, int32_t partitions, struct totals *totals)
{
    static rd_kafka_message_t *messages[BATCH];
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(consumer);

    while (totals->ended < partitions) {
        ssize_t count = rd_kafka_consume_batch_queue(queue, TIMEOUT_MS, messages, BATCH);
        int64_t before = totals->records;

        for (ssize_t i = 0; i < count; i++) {
            take(totals, messages[i]);
            rd_kafka_message_destroy(messages[i]);
        }
        totals->last_us = totals->records > before ? now_us() : totals->last_us;
    }
    rd_kafka_queue_destroy(queue);
}

int main(int argc, char **argv)
{
    struct totals totals = {.records = 0};
    rd_kafka_topic_partition_list_t *list;
    struct rusage usage;
    rd_kafka_t *consumer;
    long partitions = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
    double seconds;

    if (partitions < 1 || partitions > PARTITIONS_MAX) {
        fprintf(stderr, "usage: bench_raw_consumer BROKERS TOPIC PARTITIONS [name=value ...]\n");
        return 2;
    }
    consumer = connect_to(argv[1], argv + 4, argc - 4);
    list = rd_kafka_topic_partition_list_new((int)partitions);
    for (int32_t i = 0; i < partitions; i++) {
        rd_kafka_topic_partition_list_add(list, argv[2], i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    }
    if (rd_kafka_assign(consumer, list)) {
        fprintf(stderr, "bench_raw_consumer: could not assign %s\n", argv[2]);
        return 1;
    }
    read_all(consumer, (int32_t)partitions, &totals);
    getrusage(RUSAGE_SELF, &usage);
    seconds = (double)(totals.last_us - totals.first_us) / 1e6;
    printf("{\"records\":%lld,\"bytes\":%lld,\"seconds\":%.3f,\"records_per_s\":%.0f,"
           "\"cpu_us_per_record\":%.3f,\"max_rss_mb\":%ld,\"librdkafka\":\"%s\"}\n",
            (long long)totals.records, (long long)totals.bytes, seconds,
            (double)totals.records / (seconds > 0 ? seconds : 1e-6),
            (double)cpu_us(&usage) / (double)(totals.records ? totals.records : 1),
            usage.ru_maxrss / 1024, rd_kafka_version_str());
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    return 0;
}
