/* tests/bench/generator.c - the load of the benchmarks: receipts of stock over SKUs that are chosen
 * evenly or by Zipf's law (exponent 0.99). The same arguments always give the same records.
 *   bench_generator BROKERS TOPIC RECORDS SKUS uniform|zipf FIRST [RATE]
 * FIRST is the number of the first record: ids of other numbers are other commands. RATE: so many
 * a second, evenly; else as fast as it goes. Kafka's default partitioner, as every producer in Java
 * has it. */
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPONENT   0.99
#define SCATTER    UINT64_C(2654435761) /* hot keys do not sit side by side */
#define SKUS_MAX   100000000
#define POLL_EVERY 1000
#define PACE_EVERY 100
#define FULL_MS    100 /* the queue is full: deliveries make room */
#define FLUSH_MS   120000

static int64_t failed;

static void on_delivery(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
    (void)producer;
    (void)opaque;
    failed += message->err != RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
    char message[512];

    if (rd_kafka_conf_set(conf, name, value, message, sizeof message) != RD_KAFKA_CONF_OK) {
        fprintf(stderr, "bench_generator: %s\n", message);
        exit(2);
    }
}

static rd_kafka_t *connect_to(const char *brokers)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char message[512];
    rd_kafka_t *producer;

    set(conf, "bootstrap.servers", brokers);
    set(conf, "enable.idempotence", "true"); /* a record too many would make the topic dirty */
    set(conf, "log_level", "3");             /* a broker that has just started is no news */
    set(conf, "linger.ms", "20");
    set(conf, "batch.size", "1000000");
    set(conf, "queue.buffering.max.messages", "200000");
    set(conf, "partitioner", "murmur2_random");
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, message, sizeof message);
    if (!producer) {
        fprintf(stderr, "bench_generator: %s\n", message);
        exit(1);
    }
    return producer;
}

/* splitmix64 of a counter: record n is the same whichever record came first. */
static uint64_t scramble(uint64_t number)
{
    number = (number ^ (number >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ (number >> 27)) * UINT64_C(0x94d049bb133111eb);
    return number ^ (number >> 31);
}

static double *make_table(int64_t skus)
{
    double *sums = malloc((size_t)skus * sizeof *sums), sum = 0;

    if (!sums) {
        fprintf(stderr, "bench_generator: out of memory\n");
        exit(1);
    }
    for (int64_t i = 0; i < skus; i++) {
        sum += 1 / pow((double)(i + 1), EXPONENT);
        sums[i] = sum;
    }
    return sums;
}

/* Rank of the SKU that a number in [0, 1) falls on. */
static int64_t pick(const double *sums, int64_t skus, double share)
{
    int64_t low = 0, high = skus - 1;

    if (!sums) {
        return (int64_t)(share * (double)skus);
    }
    share *= sums[skus - 1];
    while (low < high) {
        int64_t middle = (low + high) / 2;

        if (sums[middle] < share) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void produce(rd_kafka_t *producer, const char *topic, int64_t number, const double *sums,
        int64_t skus)
{
    uint64_t random = scramble((uint64_t)number * UINT64_C(0x9e3779b97f4a7c15) + 42);
    int64_t rank = pick(sums, skus, (double)(random >> 11) / 9007199254740992.0);
    uint64_t more = scramble(random);
    char key[32], value[256];
    int key_len, len;
    rd_kafka_resp_err_t err;

    key_len =
            snprintf(key, sizeof key, "SKU-%08" PRIu64, (uint64_t)rank * SCATTER % (uint64_t)skus);
    len = snprintf(value, sizeof value,
            "{\"type\":\"ReceiveStock\",\"command_id\":\"%08" PRIx64 "-0000-7000-8000-%012" PRIx64
            "\",\"sku\":\"%s\",\"warehouse\":\"W%u\",\"quantity\":%u}",
            (uint64_t)number >> 32, (uint64_t)number, key, (unsigned)(1 + more % 3),
            (unsigned)(1 + more / 3 % 9));
    do {
        err = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic),
                RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, (size_t)key_len),
                RD_KAFKA_V_VALUE(value, (size_t)len), RD_KAFKA_V_END);
    } while (err == RD_KAFKA_RESP_ERR__QUEUE_FULL && rd_kafka_poll(producer, FULL_MS) >= 0);
    if (err) {
        fprintf(stderr, "bench_generator: %s\n", rd_kafka_err2str(err));
        exit(1);
    }
}

/* Waits until the record with this number is due. */
static void pace(const struct timespec *begin, int64_t number, double rate)
{
    double due_s = (double)number / rate;
    struct timespec at = {
            .tv_sec = begin->tv_sec + (time_t)due_s,
            .tv_nsec = begin->tv_nsec + (long)((due_s - (double)(time_t)due_s) * 1e9),
    };

    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

int main(int argc, char **argv)
{
    bool enough = argc == 7 || argc == 8;
    int64_t records = enough ? strtoll(argv[3], NULL, 10) : 0;
    int64_t skus = enough ? strtoll(argv[4], NULL, 10) : 0;
    int64_t first = enough ? strtoll(argv[6], NULL, 10) : 0;
    double rate = argc == 8 ? strtod(argv[7], NULL) : 0;
    bool zipf = enough && strcmp(argv[5], "zipf") == 0;
    struct timespec begin;
    rd_kafka_t *producer;
    double *sums;

    if (records < 1 || skus < 1 || skus > SKUS_MAX || first < 0 || rate < 0 ||
            (!zipf && strcmp(argv[5], "uniform") != 0)) {
        fprintf(stderr, "usage: bench_generator BROKERS TOPIC RECORDS SKUS uniform|zipf FIRST "
                        "[RATE]\n");
        return 2;
    }
    producer = connect_to(argv[1]);
    sums = zipf ? make_table(skus) : NULL;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int64_t i = 0; i < records; i++) {
        if (rate > 0 && i % PACE_EVERY == 0) {
            pace(&begin, i, rate);
        }
        produce(producer, argv[2], first + i, sums, skus);
        if (i % POLL_EVERY == 0) {
            rd_kafka_poll(producer, 0);
        }
    }
    failed += rd_kafka_flush(producer, FLUSH_MS) ? rd_kafka_outq_len(producer) : 0;
    rd_kafka_destroy(producer);
    free(sums);
    if (failed) {
        fprintf(stderr, "bench_generator: %" PRId64 " records were not delivered\n", failed);
        return 1;
    }
    return 0;
}
