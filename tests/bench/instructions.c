/* tests/bench/instructions.c - the work of the live path on a fixed load, for callgrind to count:
 * stream thread and stock topology over the broker in memory, state in RocksDB, a clock that stands
 * still. Counted are ROUNDS commits, the last with a flush, after as many of a warm-up.
 * bench_instructions DIR   DIR: an empty folder for the state
 * The only line it prints is what it is and its load, as JSON. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <valgrind/callgrind.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/version.h"
#include "engine/topology_driver.h"
#include "topologies/registry.h"

enum {
    ROUNDS = 10,
    ROUND_COMMANDS = 3000, /* a task that is one of four, at 120 000 a second; the check is quick */
    ROUND_MS = 100,
    FLUSH_MS = (ROUNDS - 1) * ROUND_MS, /* at the last commit of either half */
    SKUS = 20000,
    WAREHOUSES = 3,
    QUANTITY_MAX = 9,
    VALUE_MAX = 160,
    TEXT_MAX = 65536
};
#define NOW_MS   INT64_C(1700000000000)
#define EXPONENT 0.99

/* The seed of the store's hash tables comes from here too: it must not differ from run to run. */
ssize_t getrandom(void *bytes, size_t len, unsigned flags)
{
    (void)flags;
    memset(bytes, 0x5a, len);
    return (ssize_t)len;
}

struct load {
    uint64_t random;
    double weights[SKUS]; /* cumulative */
    int64_t commands;
    size_t bytes; /* of all values */
};

static struct load load = {.random = 42};

/* splitmix64 */
static uint64_t next_random(void)
{
    uint64_t mixed = load.random += UINT64_C(0x9e3779b97f4a7c15);

    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

static void weigh(void)
{
    double total = 0;

    for (size_t i = 0; i < SKUS; i++) {
        total += pow((double)i + 1, -EXPONENT);
        load.weights[i] = total;
    }
}

/* A Zipf rank, scattered so that neighbours in rank are none in key order. */
static unsigned next_sku(void)
{
    double wanted = (double)(next_random() >> 11) * 0x1p-53 * load.weights[SKUS - 1];
    size_t low = 0, high = SKUS - 1;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (load.weights[middle] < wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return (unsigned)(low * UINT64_C(2654435761) % SKUS);
}

/* Of the same shape and size as those of generator.c. */
static void pipe_command(struct tally_topology_driver *driver)
{
    char sku[16], value[VALUE_MAX];
    int len;

    (void)snprintf(sku, sizeof sku, "SKU-%08u", next_sku());
    len = snprintf(value, sizeof value,
            "{\"type\":\"ReceiveStock\",\"command_id\":\"00000000-0000-7000-8000-%012llx\","
            "\"sku\":\"%s\",\"warehouse\":\"W%u\",\"quantity\":%u}",
            (long long)load.commands++, sku, (unsigned)(1 + next_random() % WAREHOUSES),
            (unsigned)(1 + next_random() % QUANTITY_MAX));
    tally_assert(len > 0 && len < VALUE_MAX);
    load.bytes += (size_t)len;
    tally_assert(tally_topology_driver_pipe(driver, "stock.commands", -1, tally_slice_string(sku),
                         tally_slice_of(value, (size_t)len), NULL, 0) >= 0);
}

/* A commit each; the last one flushes. */
static enum tally_code run_rounds(struct tally_topology_driver *driver, bool count,
        struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    for (int round = 0; round < ROUNDS && !code; round++) {
        for (int i = 0; i < ROUND_COMMANDS; i++) {
            pipe_command(driver);
        }
        if (count) {
            CALLGRIND_START_INSTRUMENTATION;
        }
        code = tally_topology_driver_run(driver, err);
        if (count) {
            CALLGRIND_STOP_INSTRUMENTATION;
        }
        tally_topology_driver_advance(driver, ROUND_MS);
    }
    return code;
}

static enum tally_code load_config(struct tally_config *config, struct tally_error *err)
{
    char *argv[] = {(char[]){"bench_instructions"}, NULL};
    int argc = 1;
    struct tally_buf mistakes;
    enum tally_code code;

    tally_buf_init(&mistakes, TEXT_MAX);
    code = tally_config_load(config, &argc, argv, &mistakes, err);
    tally_buf_deinit(&mistakes);
    config->stock_require_registration = false;
    config->state_flush_interval = FLUSH_MS;
    return code;
}

static enum tally_code run(const struct tally_config *config, const char *dir,
        struct tally_error *err)
{
    struct tally_topology *topology = NULL;
    struct tally_topology_driver *driver = NULL;
    enum tally_code code = tally_registry_create("stock", config, &topology, err);

    if (!code) {
        code = tally_topology_driver_create(
                &(struct tally_topology_driver_options){
                        .topologies = &topology,
                        .topology_count = 1,
                        .config = config,
                        .partitions = 1,
                        .state_dir = dir,
                        .now_ms = NOW_MS,
                },
                &driver, err);
    }
    code = code ? code : run_rounds(driver, false, err);
    code = code ? code : run_rounds(driver, true, err);
    tally_topology_driver_destroy(driver);
    tally_topology_destroy(topology);
    return code;
}

int main(int argc, char **argv)
{
    struct tally_error err = {.code = TALLY_OK};
    struct tally_config config;
    enum tally_code code;

    if (argc != 2) {
        (void)fprintf(stderr, "usage: bench_instructions DIR\n");
        return 2;
    }
    tally_log_init(TALLY_LOG_WARN, TALLY_LOG_LOGFMT);
    weigh();
    code = load_config(&config, &err);
    code = code ? code : run(&config, argv[1], &err);
    tally_config_deinit(&config);
    if (code) {
        (void)fprintf(stderr, "bench_instructions: %s: %s\n", tally_code_name(code), err.message);
        return 1;
    }
    printf("{\"commit\":\"%s\",\"load\":{\"records\":%d,\"warm_up\":%d,\"bytes\":%.0f,\"skus\":%d,"
           "\"keys\":\"zipf%.2f\",\"partitions\":1,\"threads\":1,\"format\":\"json\",\"commits\":%"
           "d,"
           "\"flushes\":1}}\n",
            tally_commit(), ROUNDS * ROUND_COMMANDS, ROUNDS * ROUND_COMMANDS,
            (double)load.bytes / (double)load.commands, SKUS, EXPONENT, ROUNDS);
    return 0;
}
