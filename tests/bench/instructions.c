/* tests/bench/instructions.c - the work of the live path on a fixed load, for callgrind to count:
 * stream thread and stock topology over the broker in memory, state in RocksDB, a clock that stands
 * still. Counted are ROUNDS commits, the last with a flush, after as many of a warm-up.
 * bench_instructions DIR   DIR: an empty folder for the state
 * The only line it prints is what it is and its load, as JSON. */
#include <stdio.h>
#include <valgrind/callgrind.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/version.h"
#include "tests/bench/fixed_load.h"

enum {
    ROUNDS = 10,
    ROUND_COMMANDS = 3000, /* a task that is one of four, at 120 000 a second; the check is quick */
    ROUND_MS = 100,
    FLUSH_MS = (ROUNDS - 1) * ROUND_MS, /* at the last commit of either half */
    WAREHOUSES = 3,
    QUANTITY_MAX = 9,
    VALUE_MAX = 160
};

static struct fixed_load load;
static int64_t commands;
static size_t value_bytes; /* of all commands */

/* Of the same shape and size as those of generator.c. */
static void pipe_command(void)
{
    char sku[16], value[VALUE_MAX];
    int len;

    (void)snprintf(sku, sizeof sku, "SKU-%08u", fixed_load_sku(&load));
    len = snprintf(value, sizeof value,
            "{\"type\":\"ReceiveStock\",\"command_id\":\"00000000-0000-7000-8000-%012llx\","
            "\"sku\":\"%s\",\"warehouse\":\"W%u\",\"quantity\":%u}",
            (long long)commands++, sku, (unsigned)(1 + fixed_load_random(&load) % WAREHOUSES),
            (unsigned)(1 + fixed_load_random(&load) % QUANTITY_MAX));
    tally_assert(len > 0 && len < VALUE_MAX);
    value_bytes += (size_t)len;
    tally_assert(tally_topology_driver_pipe(load.driver, "stock.commands", -1,
                         tally_slice_string(sku), tally_slice_of(value, (size_t)len), NULL,
                         0) >= 0);
}

/* A commit each; the last one flushes. */
static enum tally_code run_rounds(bool count, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    for (int round = 0; round < ROUNDS && !code; round++) {
        for (int i = 0; i < ROUND_COMMANDS; i++) {
            pipe_command();
        }
        if (count) {
            CALLGRIND_START_INSTRUMENTATION;
        }
        code = tally_topology_driver_run(load.driver, err);
        if (count) {
            CALLGRIND_STOP_INSTRUMENTATION;
        }
        tally_topology_driver_advance(load.driver, ROUND_MS);
    }
    return code;
}

static enum tally_code run(const char *dir, struct tally_error *err)
{
    enum tally_code code = fixed_load_init(&load, err);

    load.config.state_flush_interval = FLUSH_MS;
    code = code ? code : fixed_load_open(&load, (const char *const[]){"stock", NULL}, dir, err);
    code = code ? code : run_rounds(false, err);
    code = code ? code : run_rounds(true, err);
    fixed_load_close(&load);
    fixed_load_deinit(&load);
    return code;
}

int main(int argc, char **argv)
{
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code;

    if (argc != 2) {
        (void)fprintf(stderr, "usage: bench_instructions DIR\n");
        return 2;
    }
    tally_log_init(TALLY_LOG_WARN, TALLY_LOG_LOGFMT);
    code = run(argv[1], &err);
    if (code) {
        (void)fprintf(stderr, "bench_instructions: %s: %s\n", tally_code_name(code), err.message);
        return 1;
    }
    printf("{\"commit\":\"%s\",\"load\":{\"records\":%d,\"warm_up\":%d,\"bytes\":%.0f,\"skus\":%d,"
           "\"keys\":\"zipf0.99\",\"partitions\":1,\"threads\":1,\"format\":\"json\",\"commits\":%"
           "d,"
           "\"flushes\":1}}\n",
            tally_commit(), ROUNDS * ROUND_COMMANDS, ROUNDS * ROUND_COMMANDS,
            (double)value_bytes / (double)commands, FIXED_SKUS, ROUNDS);
    return 0;
}
