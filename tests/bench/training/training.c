/* tests/bench/training/training.c - what the profile of a release build is taken from
 * (cmake/profile.cmake).
 *   steady   stock on RocksDB under a steady load: JSON, MessagePack, commits, flushes, a restart
 *   level    the same without ledger and outcomes
 *   sagas    all topologies in memory: refusals, repeats, reservations; a restore from the log
 *   reads    levels as they are answered over HTTP
 * No broker, clock or seed of a process has a say: every run gives the same profile.
 * tally_training DIR   DIR: an empty folder for the state */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "schemas/stock_records.h"
#include "tests/bench/fixed_load.h"

enum {
    ROUNDS = 10,
    ROUND_COMMANDS = 3000,
    ROUND_MS = 100,
    FLUSH_MS = 4 * ROUND_MS,
    WAREHOUSES = 3,
    QUANTITY_MAX = 9,
    RESERVATIONS_BEFORE = 200, /* so many ago was the one that is committed now */
    READS = 20000,
    SAGA_SKUS = 500, /* few: they run dry */
    VALUE_MAX = 4096,
    PATH_BYTES = 4096
};

struct training {
    struct fixed_load load;
    uint64_t commands, reservations;
    enum tally_format format;
    struct tally_buf value;
    struct tally_writer writer;
};

static unsigned some(struct training *training, unsigned limit)
{
    return (unsigned)(fixed_load_random(&training->load) % limit);
}

/* --- commands --------------------------------------------------------------------------------- */

/* A map of its type, its id and so many members more. */
static void begin(struct training *training, const char *type, uint32_t members)
{
    char id[40];

    (void)snprintf(id, sizeof id, "00000000-0000-7000-8000-%012llx",
            (unsigned long long)training->commands++);
    tally_buf_clear(&training->value);
    tally_write_begin(&training->writer, &training->value, training->format);
    tally_write_map(&training->writer, members + 2);
    tally_write_name(&training->writer, "type");
    tally_write_string(&training->writer, tally_slice_string(type));
    tally_write_name(&training->writer, "command_id");
    tally_write_string(&training->writer, tally_slice_string(id));
}

static void text(struct training *training, const char *name, const char *format, unsigned number)
{
    char value[32];

    (void)snprintf(value, sizeof value, format, number);
    tally_write_name(&training->writer, name);
    tally_write_string(&training->writer, tally_slice_string(value));
}

static void number(struct training *training, const char *name, int64_t value)
{
    tally_write_name(&training->writer, name);
    tally_write_int(&training->writer, value);
}

static void send(struct training *training, const char *topic)
{
    tally_assert(!training->value.failed);
    tally_assert(tally_topology_driver_command(training->load.driver, topic,
                         tally_buf_bytes(&training->value)) >= 0);
}

static void move_stock(struct training *training, unsigned sku)
{
    unsigned kind = some(training, 20), warehouse = 1 + some(training, WAREHOUSES);

    begin(training,
            kind < 12   ? "ReceiveStock"
            : kind < 18 ? "ShipStock"
                        : "AdjustStock",
            kind < 12 ? 3 : 4);
    text(training, "sku", "SKU-%08u", sku);
    text(training, "warehouse", "W%u", warehouse);
    if (kind < 18) {
        number(training, "quantity", 1 + some(training, QUANTITY_MAX));
        if (kind >= 12) {
            text(training, "shipment_id", "S-%u", (unsigned)training->commands);
        }
    } else {
        number(training, "delta", (int)some(training, QUANTITY_MAX) - 2);
        text(training, "reason", "CYCLE_COUNT", 0);
    }
    send(training, "stock.commands");
    if (kind == 0) {
        send(training, "stock.commands"); /* known already */
    }
}

static void reserve(struct training *training)
{
    unsigned lines = 1 + some(training, 3);

    begin(training, "ReserveStock", 2);
    text(training, "reservation_id", "R-%u", (unsigned)training->reservations);
    tally_write_name(&training->writer, "lines");
    tally_write_array(&training->writer, lines);
    for (unsigned line = 0; line < lines; line++) {
        tally_write_map(&training->writer, 2);
        text(training, "sku", "SKU-%08u", fixed_load_sku(&training->load) % SAGA_SKUS);
        number(training, "quantity", 1 + some(training, 2));
    }
    send(training, "reservation.commands");
    if (training->reservations++ >= RESERVATIONS_BEFORE) {
        begin(training, some(training, 4) ? "CommitReservation" : "ReleaseReservation", 1);
        text(training, "reservation_id", "R-%u",
                (unsigned)training->reservations - RESERVATIONS_BEFORE);
        send(training, "reservation.commands");
    }
}

/* --- phases ----------------------------------------------------------------------------------- */

/* A commit each. one_in: of how many commands one is a reservation, 0: none. */
static enum tally_code run_rounds(struct training *training, int rounds, unsigned skus,
        unsigned one_in, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    for (int round = 0; round < rounds && !code; round++) {
        for (int i = 0; i < ROUND_COMMANDS; i++) {
            if (one_in > 0 && some(training, one_in) == 0) {
                reserve(training);
            } else {
                move_stock(training, fixed_load_sku(&training->load) % skus);
            }
        }
        code = tally_topology_driver_run(training->load.driver, err);
        tally_topology_driver_advance(training->load.driver, ROUND_MS);
    }
    return code;
}

static enum tally_code start_again(struct training *training, struct tally_error *err)
{
    enum tally_code code;

    tally_topology_driver_stop(training->load.driver);
    code = tally_topology_driver_start(training->load.driver, err);
    return code ? code : tally_topology_driver_run(training->load.driver, err);
}

static enum tally_code train_stock(struct training *training, const char *dir, bool level_only,
        struct tally_error *err)
{
    enum tally_code code = fixed_load_init(&training->load, err);

    training->load.config.state_flush_interval = FLUSH_MS;
    if (level_only) {
        training->load.config.stock_ledger = false;
        training->load.config.dedup_retention = 0;
    }
    code = code ? code
                : fixed_load_open(&training->load, (const char *const[]){"stock", NULL}, dir, err);
    training->format = TALLY_FORMAT_JSON;
    code = code ? code : run_rounds(training, ROUNDS, FIXED_SKUS, 0, err);
    code = code ? code : start_again(training, err);
    training->format = TALLY_FORMAT_MSGPACK;
    code = code ? code : run_rounds(training, ROUNDS / 2, FIXED_SKUS, 0, err);
    fixed_load_close(&training->load);
    fixed_load_deinit(&training->load);
    return code;
}

static enum tally_code train_sagas(struct training *training, struct tally_error *err)
{
    enum tally_code code = fixed_load_init(&training->load, err);

    code = code ? code
                : fixed_load_open(&training->load,
                          (const char *const[]){
                                  "catalogue", "stock", "reservation", "transfer", NULL},
                          NULL, err);
    training->format = TALLY_FORMAT_JSON;
    code = code ? code : run_rounds(training, ROUNDS / 2, SAGA_SKUS, 10, err);
    code = code ? code : start_again(training, err);
    fixed_load_close(&training->load);
    fixed_load_deinit(&training->load);
    return code;
}

static void train_reads(struct training *training)
{
    const struct stock_setting_row setting = {.policy = STOCK_DENY};

    for (unsigned i = 0; i < READS; i++) {
        struct stock_level_row level = {.version = 1 + some(training, 1000),
                .updated_at = INT64_C(1767225600000) + some(training, 1000000)};

        level.n[STOCK_ON_HAND] = some(training, 5000);
        level.n[STOCK_RESERVED] = some(training, 20);
        tally_buf_clear(&training->value);
        tally_write_begin(&training->writer, &training->value, TALLY_FORMAT_JSON);
        stock_level_json(&training->writer, TALLY_SLICE("SKU-00000001"), TALLY_SLICE("W1"), &level,
                &setting);
    }
}

static enum tally_code train(struct training *training, const char *dir, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    for (int level_only = 0; level_only < 2 && !code; level_only++) {
        char path[PATH_BYTES];

        (void)snprintf(path, sizeof path, "%s/%s", dir, level_only ? "level" : "steady");
        if (mkdir(path, 0700)) {
            return tally_error_set(err, TALLY_STORE_ERROR, "could not make \"%s\"", path);
        }
        code = train_stock(training, path, level_only, err);
    }
    code = code ? code : train_sagas(training, err);
    train_reads(training);
    return code;
}

int main(int argc, char **argv)
{
    struct tally_error err = {.code = TALLY_OK};
    static struct training training;
    enum tally_code code;

    if (argc != 2) {
        (void)fprintf(stderr, "usage: tally_training DIR\n");
        return 2;
    }
    tally_log_init(TALLY_LOG_WARN, TALLY_LOG_LOGFMT);
    tally_buf_init(&training.value, VALUE_MAX);
    code = train(&training, argv[1], &err);
    tally_buf_deinit(&training.value);
    if (code) {
        (void)fprintf(stderr, "tally_training: %s: %s\n", tally_code_name(code), err.message);
        return 1;
    }
    return 0;
}
