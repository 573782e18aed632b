/* tests/topology/test_fsck.c - a state with every kind of promise in it is sound; each difference
 * that is planted into its files is found under the name of the invariant that it breaks; and what
 * no row says of another is found by what the log gives. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "apps/fsck_replay.h"
#include "apps/state_reader.h"
#include "engine/base/mem.h"
#include "http/row_line.h"
#include "schemas/analytics_rows.h"
#include "schemas/catalogue_records.h"
#include "schemas/reservation_records.h"
#include "schemas/stock_records.h"
#include "schemas/transfer_records.h"
#include "tests/topology/driver_fixture.h"

#define PARTITION  0 /* of one: any key is in it */
#define CLUSTER_ID "memory"
#define TEXT_MAX   (1024 * 1024)
#define TASKS      6

static char dir[64];
static struct driver_fixture fixture;
static const char *const topologies[] = {
        "catalogue", "low_stock", "movements", "reservation", "stock", "transfer", NULL};

static void send(const char *topology, const char *json)
{
    char topic[64];

    (void)snprintf(topic, sizeof topic, "%s.commands", topology);
    driver_fixture_pipe(&fixture, topic, json);
    driver_fixture_run(&fixture);
}

/* Reservations in every state, a transfer that is open and one that ended, forced shipments. */
static void live(void)
{
    static const char *const commands[][2] = {
            {"catalogue", "{\"type\":\"RegisterWarehouse\",\"command_id\":\"w-1\",\"warehouse\":"
                          "\"AMS1\",\"name\":\"A\"}"},
            {"catalogue", "{\"type\":\"RegisterWarehouse\",\"command_id\":\"w-2\",\"warehouse\":"
                          "\"RTM2\",\"name\":\"R\"}"},
            {"catalogue", "{\"type\":\"CreateProduct\",\"command_id\":\"p-1\",\"product_id\":\"P-"
                          "1\",\"slug\":\"red-shirt\",\"name\":\"Red "
                          "shirt\",\"variants\":[{\"sku\":\"TS.RED\"},{\"sku\":\"TS.BLUE\"}]}"},
            {"stock", "{\"type\":\"ReceiveStock\",\"command_id\":\"s-1\",\"sku\":\"TS.RED\","
                      "\"warehouse\":\"AMS1\",\"quantity\":100}"},
            {"stock", "{\"type\":\"ReceiveStock\",\"command_id\":\"s-2\",\"sku\":\"TS.BLUE\","
                      "\"warehouse\":\"AMS1\",\"quantity\":10}"},
            {"stock", "{\"type\":\"AdjustStock\",\"command_id\":\"s-3\",\"sku\":\"TS.BLUE\","
                      "\"warehouse\":\"AMS1\",\"delta\":3,\"bucket\":\"DAMAGED\",\"reason\":"
                      "\"FOUND\"}"},
            {"stock", "{\"type\":\"ShipStock\",\"command_id\":\"s-4\",\"sku\":\"TS.BLUE\","
                      "\"warehouse\":\"RTM2\",\"quantity\":4,\"shipment_id\":\"S-1\",\"force\":"
                      "true}"},
            {"reservation", "{\"type\":\"ReserveStock\",\"command_id\":\"r-1\",\"reservation_id\":"
                            "\"R-1\",\"lines\":[{\"sku\":\"TS.RED\",\"quantity\":5},{\"sku\":\"TS."
                            "BLUE\",\"quantity\":2}]}"},
            {"reservation", "{\"type\":\"ReserveStock\",\"command_id\":\"r-2\",\"reservation_id\":"
                            "\"R-2\",\"lines\":[{\"sku\":\"TS.RED\",\"quantity\":7}]}"},
            {"reservation", "{\"type\":\"CommitReservation\",\"command_id\":\"r-3\",\"reservation_"
                            "id\":\"R-2\",\"order_id\":\"O-2\"}"},
            {"stock", "{\"type\":\"ShipStock\",\"command_id\":\"s-5\",\"sku\":\"TS.RED\","
                      "\"warehouse\":\"AMS1\",\"quantity\":3,\"shipment_id\":\"S-2\",\"reservation_"
                      "id\":\"R-2\",\"line\":1}"},
            {"reservation", "{\"type\":\"ReserveStock\",\"command_id\":\"r-4\",\"reservation_id\":"
                            "\"R-3\",\"lines\":[{\"sku\":\"TS.RED\",\"quantity\":500}]}"},
            {"reservation", "{\"type\":\"ReserveStock\",\"command_id\":\"r-5\",\"reservation_id\":"
                            "\"R-4\",\"lines\":[{\"sku\":\"TS.BLUE\",\"quantity\":1}]}"},
            {"reservation", "{\"type\":\"ReleaseReservation\",\"command_id\":\"r-6\",\"reservation_"
                            "id\":\"R-4\"}"},
            {"transfer",
                    "{\"type\":\"DispatchTransfer\",\"command_id\":\"t-1\",\"transfer_id\":\"T-1\","
                    "\"sku\":\"TS.RED\",\"quantity\":10,\"from\":\"AMS1\",\"to\":\"RTM2\"}"},
            {"transfer", "{\"type\":\"ReceiveTransfer\",\"command_id\":\"t-2\",\"transfer_id\":\"T-"
                         "1\",\"quantity\":4}"},
            {"transfer",
                    "{\"type\":\"DispatchTransfer\",\"command_id\":\"t-3\",\"transfer_id\":\"T-2\","
                    "\"sku\":\"TS.RED\",\"quantity\":6,\"from\":\"AMS1\",\"to\":\"RTM2\"}"},
            {"transfer", "{\"type\":\"CancelTransfer\",\"command_id\":\"t-4\",\"transfer_id\":\"T-"
                         "2\",\"disposition\":\"RESTOCK\"}"},
            {"transfer",
                    "{\"type\":\"DispatchTransfer\",\"command_id\":\"t-5\",\"transfer_id\":\"T-3\","
                    "\"sku\":\"TS.RED\",\"quantity\":900,\"from\":\"AMS1\",\"to\":\"RTM2\"}"},
    };

    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        send(commands[i][0], commands[i][1]);
    }
}

static void setup(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/tally-fsck-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    driver_fixture_open(&fixture,
            &(struct driver_fixture_options){
                    .partitions = 1, .topologies = topologies, .state_dir = dir});
    live();
    tally_topology_driver_stop(fixture.driver);
}

static void teardown(void)
{
    char command[128];

    driver_fixture_close(&fixture);
    (void)snprintf(command, sizeof command, "rm -r %s", dir);
    ck_assert_int_eq(system(command), 0);
}

/* --- planting --------------------------------------------------------------------------------- */

struct planting {
    struct tally_state *state;
    struct tally_store *store;
    struct tally_error err;
};

static void open_store(struct planting *planting, const char *name)
{
    struct tally_topology *topology = NULL;
    struct tally_store_identity identity;

    for (size_t i = 0; i < fixture.topology_count; i++) {
        if (!strcmp(tally_topology_name(fixture.topologies[i]), name)) {
            topology = fixture.topologies[i];
        }
    }
    ck_assert_ptr_nonnull(topology);
    identity = (struct tally_store_identity){.topology = name,
            .partition = PARTITION,
            .partitions = 1,
            .cluster_id = CLUSTER_ID,
            .group = fixture.config.app_id,
            .commands_topic = tally_topology_input(topology),
            .events_topic = tally_topology_output(topology),
            .evolve_version = tally_topology_version(topology),
            .settings = tally_topology_settings(topology),
            .omitted = tally_topology_omitted(topology)};
    *planting = (struct planting){.state = NULL};
    ck_assert_int_eq(tally_state_open(&(struct tally_state_options){.dir = dir,
                                              .memory_bytes = 64 * 1024 * 1024,
                                              .flush_interval_ms = 1000,
                                              .flush_bytes = 1024 * 1024,
                                              .dedup_retention_ms = fixture.config.dedup_retention,
                                              .clock = tally_clock_real(),
                                              .flush_inline = true},
                             &planting->state, &planting->err),
            TALLY_OK);
    ck_assert_msg(tally_store_open(planting->state, &identity, &planting->store, &planting->err) ==
                          TALLY_OK,
            "%s", planting->err.message);
}

static void close_store(struct planting *planting)
{
    struct tally_view *view = tally_store_view(planting->store);
    struct tally_positions positions = *tally_view_positions(view);

    tally_view_unref(view);
    tally_store_commit(planting->store, &positions);
    ck_assert_int_eq(tally_store_flush(planting->store, true, 10000, &planting->err), TALLY_OK);
    tally_store_close(planting->store, true);
    tally_state_close(planting->state);
}

/* Puts a row in the place of the one that is there, or none, and gives that back in *old. */
static void replace(const char *topology, enum tally_store_id store, const char *key_text,
        const struct tally_buf *row, struct tally_buf *old)
{
    struct planting planting;
    struct tally_slice value;
    struct tally_key key;

    open_store(&planting, topology);
    ck_assert_int_eq(tally_key_parse(store, tally_slice_string(key_text), &key, &planting.err),
            TALLY_OK);
    if (old) {
        ck_assert_msg(tally_store_get(planting.store, tally_key_bytes(&key), &value,
                              &planting.err) == TALLY_OK,
                "%s: no row", key_text);
        tally_buf_clear(old);
        tally_buf_slice(old, value);
    }
    if (row) {
        tally_store_put(planting.store, tally_key_bytes(&key), tally_buf_bytes(row));
    } else {
        tally_store_delete(planting.store, tally_key_bytes(&key));
    }
    close_store(&planting);
}

static void read_row(const char *topology, enum tally_store_id store, const char *key_text,
        struct tally_buf *row)
{
    struct planting planting;
    struct tally_slice value;
    struct tally_key key;

    open_store(&planting, topology);
    ck_assert_int_eq(tally_key_parse(store, tally_slice_string(key_text), &key, &planting.err),
            TALLY_OK);
    ck_assert_msg(tally_store_get(planting.store, tally_key_bytes(&key), &value, &planting.err) ==
                          TALLY_OK,
            "%s: no row", key_text);
    tally_buf_clear(row);
    tally_buf_slice(row, value);
    close_store(&planting);
}

/* --- checking --------------------------------------------------------------------------------- */

struct findings {
    struct fsck_check *check;
    struct tally_buf text, line;
};

static void found(void *context, const char *text)
{
    struct findings *findings = context;

    tally_buf_format(&findings->text, "%s\n", text);
}

static bool take_row(void *context, const struct state_task *task, struct tally_slice key,
        struct tally_slice value)
{
    struct findings *findings = context;
    struct tally_error err = {.code = TALLY_OK};

    tally_buf_clear(&findings->line);
    (void)tally_row_line_write(task->topology, task->partition, key, value, &findings->line);
    ck_assert_msg(fsck_check_row(findings->check, tally_buf_bytes(&findings->line), &err) ==
                          TALLY_OK,
            "%s", err.message);
    return true;
}

/* What `tally fsck --state dir` finds, one difference a line; "" when all is well. */
static char *check_files(bool settled, struct tally_buf *report)
{
    static const uint8_t first_store[] = {1};
    struct findings findings;
    struct state_task *tasks;
    struct tally_error err = {.code = TALLY_OK};
    size_t count;
    char *text;

    tally_buf_init(&findings.text, TEXT_MAX);
    tally_buf_init(&findings.line, TEXT_MAX);
    findings.check =
            fsck_check_create(&(struct fsck_check_options){.differs = found, .context = &findings});
    ck_assert_int_eq(state_reader_tasks(dir, &tasks, &count, &err), TALLY_OK);
    ck_assert_uint_eq(count, TASKS);
    for (size_t i = 0; i < count; i++) {
        ck_assert_msg(state_reader_scan(dir, &tasks[i], tally_slice_of(first_store, 1), TALLY_NONE,
                              take_row, &findings, &err) == TALLY_OK,
                "%s", err.message);
    }
    tally_free(tasks);
    fsck_check_finish(findings.check, settled);
    if (report) {
        fsck_check_report(findings.check, report);
    }
    ck_assert_uint_eq(fsck_check_differences(findings.check) > 0, findings.text.len > 0);
    tally_buf_byte(&findings.text, 0);
    text = tally_copy_string((const char *)findings.text.data);
    fsck_check_destroy(findings.check);
    tally_buf_deinit(&findings.text);
    tally_buf_deinit(&findings.line);
    return text;
}

static void must_find(const char *what)
{
    char *text = check_files(true, NULL);

    ck_assert_msg(strstr(text, what), "\"%s\" is not in:\n%s", what, text);
    tally_free(text);
}

static void must_be_sound(void)
{
    char *text = check_files(true, NULL);

    ck_assert_str_eq(text, "");
    tally_free(text);
}

/* --- tests ------------------------------------------------------------------------------------ */

START_TEST(a_living_state_is_sound)
{
    struct tally_buf report;
    char *text;

    tally_buf_init(&report, TEXT_MAX);
    text = check_files(true, &report);
    ck_assert_str_eq(text, "");
    tally_free(text);
    tally_buf_byte(&report, 0);
    ck_assert_ptr_nonnull(strstr((const char *)report.data, " 4 reservations, 3 transfers"));
    ck_assert_ptr_nonnull(strstr((const char *)report.data, " not checked\n"));
    for (const char *name = "12345678"; *name; name++) { /* each of them looked at something */
        char line[8] = {'\n', 'I', *name, ' ', 0};
        const char *at = strstr((const char *)report.data, line);

        const char *none = at ? strstr(at, " 0 checked") : NULL;

        ck_assert_msg(at && (!none || none > strchr(at + 1, '\n')), "I%c: %s", *name,
                (char *)report.data);
    }
    tally_buf_deinit(&report);
}
END_TEST

/* The row as it is, changed by the statement, found, and put back. */
#define PLANTED(topology, store, key, type, unpack, pack, change, what) \
    do {                                                                \
        struct tally_buf old, changed;                                  \
        type row_;                                                      \
        tally_buf_init(&old, TEXT_MAX);                                 \
        tally_buf_init(&changed, TEXT_MAX);                             \
        read_row(topology, store, key, &old);                           \
        ck_assert(unpack(tally_buf_bytes(&old), &row_));                \
        change;                                                         \
        pack(&row_, &changed);                                          \
        replace(topology, store, key, &changed, NULL);                  \
        must_find(what);                                                \
        replace(topology, store, key, &old, NULL);                      \
        must_be_sound();                                                \
        tally_buf_deinit(&old);                                         \
        tally_buf_deinit(&changed);                                     \
    } while (0)

static void planted_loss(const char *topology, enum tally_store_id store, const char *key,
        const char *what)
{
    struct tally_buf old;

    tally_buf_init(&old, TEXT_MAX);
    replace(topology, store, key, NULL, &old);
    must_find(what);
    replace(topology, store, key, &old, NULL);
    must_be_sound();
    tally_buf_deinit(&old);
}

START_TEST(a_difference_in_a_level_is_found)
{
    PLANTED("stock", TALLY_STORE_LEVEL, "TS%2ERED.AMS1", struct stock_level_row, stock_level_unpack,
            stock_level_pack, row_.n[STOCK_ON_HAND]++, "I1 stock/0 TS%2ERED.AMS1: on_hand");
    PLANTED("stock", TALLY_STORE_LEVEL, "TS%2ERED.AMS1", struct stock_level_row, stock_level_unpack,
            stock_level_pack, row_.version++, "I7 stock/0 TS%2ERED.AMS1: version");
    planted_loss("stock", TALLY_STORE_LEVEL, "TS%2EBLUE.RTM2", "I7 stock TS%2EBLUE.RTM2: there is");
}
END_TEST

START_TEST(a_difference_in_a_ledger_is_found)
{
    planted_loss("stock", TALLY_STORE_LEDGER, "TS%2ERED.AMS1.2",
            "I7 stock/0 TS%2ERED.AMS1.3: follows");
    PLANTED("stock", TALLY_STORE_LEDGER, "TS%2ERED.AMS1.1", struct stock_ledger_row,
            stock_ledger_unpack, stock_ledger_pack, row_.deltas[STOCK_ON_HAND]--,
            "I1 stock/0 TS%2ERED.AMS1.1: on_hand");
    PLANTED("stock", TALLY_STORE_LEDGER, "TS%2EBLUE.AMS1.2", struct stock_ledger_row,
            stock_ledger_unpack, stock_ledger_pack,
            (row_.deltas[STOCK_DAMAGED_BUCKET] = -3, row_.after[STOCK_DAMAGED_BUCKET] = -3),
            "I3 stock/0 TS%2EBLUE.AMS1.2: damaged");
    PLANTED("stock", TALLY_STORE_LEDGER, "TS%2EBLUE.RTM2.1", struct stock_ledger_row,
            stock_ledger_unpack, stock_ledger_pack, row_.kind = STOCK_KIND_HOLD,
            "I5 stock/0 TS%2EBLUE.RTM2.1: HOLD changed on_hand");
    PLANTED("stock", TALLY_STORE_LEDGER, "TS%2EBLUE.RTM2.1", struct stock_ledger_row,
            stock_ledger_unpack, stock_ledger_pack, row_.kind = STOCK_KIND_HOLD,
            "I4 stock/0 TS%2EBLUE.RTM2.1: a hold left -4");
}
END_TEST

START_TEST(a_difference_in_a_hold_is_found)
{
    PLANTED("stock", TALLY_STORE_HOLD, "R-1.1", struct stock_hold_row, stock_hold_unpack,
            stock_hold_pack, row_.quantity++, "I2 stock TS%2ERED.AMS1: reserved");
    PLANTED("stock", TALLY_STORE_HOLD, "R-2.1", struct stock_hold_row, stock_hold_unpack,
            stock_hold_pack, row_.shipped--, "I8 reservation R-2.1: 3 of 7 shipped, but 2 of 7");
    PLANTED("stock", TALLY_STORE_HOLD, "R-4.1", struct stock_hold_row, stock_hold_unpack,
            stock_hold_pack, row_.state = STOCK_HOLD_HELD,
            "I8 stock R-4.1: HELD in stock, but its reservation is RELEASED");
    planted_loss("stock", TALLY_STORE_HOLD, "R-1.2",
            "I8 reservation R-1.2: CONFIRMED, but stock holds");
}
END_TEST

START_TEST(a_difference_in_a_reservation_is_found)
{
    PLANTED("reservation", TALLY_STORE_RESERVATION, "R-1", struct reservation_row,
            reservation_unpack, reservation_pack, row_.state = RESERVATION_RELEASED,
            "I6 reservation R-1: RELEASED has 1 timers");
    PLANTED("reservation", TALLY_STORE_RESERVATION, "R-3", struct reservation_row,
            reservation_unpack, reservation_pack, row_.state = RESERVATION_HOLDING,
            "I8 reservation R-3: HOLDING, and nothing is on its way");
    planted_loss("reservation", TALLY_STORE_RESERVATION, "R-2",
            "I8 reservation R-2.1: a line without");
}
END_TEST

START_TEST(a_difference_in_a_transfer_is_found)
{
    PLANTED("transfer", TALLY_STORE_TRANSFER, "T-1", struct transfer_row, transfer_unpack,
            transfer_pack, row_.received++, "I5 transfer T-1: stock has 4 in");
    PLANTED("transfer", TALLY_STORE_TRANSFER, "T-2", struct transfer_row, transfer_unpack,
            transfer_pack, row_.returned--, "I5 transfer T-2: ended with 5 of 6");
    planted_loss("transfer", TALLY_STORE_TRANSFER, "T-1", "I8 transfer T-1: goods moved");
}
END_TEST

START_TEST(a_difference_in_the_catalogue_is_found)
{
    PLANTED("catalogue", TALLY_STORE_SLUG, "red-shirt", struct catalogue_slug_row,
            catalogue_slug_unpack, catalogue_slug_pack, row_.product_id = TALLY_SLICE("P-2"),
            "claims catalogue slug:red-shirt: product P-1 has it");
    planted_loss("stock", TALLY_STORE_SKU, "TS.BLUE",
            "claims catalogue sku:TS.BLUE: product P-1 has");
}
END_TEST

/* A message may be on its way between topologies: then it is no difference. */
START_TEST(what_may_be_on_its_way_is_counted_apart)
{
    struct tally_buf old, report;
    char *text;

    tally_buf_init(&old, TEXT_MAX);
    tally_buf_init(&report, TEXT_MAX);
    replace("stock", TALLY_STORE_SKU, "TS.BLUE", NULL, &old);
    text = check_files(false, &report);
    ck_assert_str_eq(text, "");
    tally_free(text);
    tally_buf_byte(&report, 0);
    ck_assert_ptr_nonnull(strstr((const char *)report.data, "may be on its way: 1\n"));
    tally_buf_deinit(&old);
    tally_buf_deinit(&report);
}
END_TEST

/* --- the log ---------------------------------------------------------------------------------- */

static bool compare_row(void *context, const struct state_task *task, struct tally_slice key,
        struct tally_slice value)
{
    struct fsck_replay *replay = context;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_buf line;

    tally_buf_init(&line, TEXT_MAX);
    (void)tally_row_line_write(task->topology, task->partition, key, value, &line);
    /* as a directory gives them, and as an instance does */
    ck_assert_int_eq(value.len % 2 ? fsck_replay_row(replay, key, tally_buf_bytes(&line), &err)
                                   : fsck_replay_line(replay, tally_buf_bytes(&line), &err),
            TALLY_OK);
    tally_buf_deinit(&line);
    return true;
}

static void compare_task(struct fsck_replay *replay, const struct state_task *task,
        struct tally_buf *text)
{
    static const uint8_t first_store[] = {1};
    struct tally_error err = {.code = TALLY_OK};

    if (fsck_replay_begin_directory(replay, task->topology, task->partition, &err)) {
        tally_buf_format(text, "%s: %s\n", tally_code_name(err.code), err.message);
        return;
    }
    ck_assert_int_eq(state_reader_scan(dir, task, tally_slice_of(first_store, 1), TALLY_NONE,
                             compare_row, replay, &err),
            TALLY_OK);
    ck_assert_int_eq(fsck_replay_finish(replay, false, &err), TALLY_OK);
}

/* What the logs of all tasks say about the files, one difference a line. */
static char *check_log(void)
{
    struct tally_client *client =
            tally_memory_client_create(tally_topology_driver_broker(fixture.driver),
                    fixture.config.app_id, "fsck");
    struct findings findings;
    struct fsck_replay_options options = {.state_dir = dir};
    struct fsck_replay *replay;
    struct progress progress;
    struct state_task *tasks;
    struct tally_error err = {.code = TALLY_OK};
    size_t count;
    char *text;

    tally_buf_init(&findings.text, TEXT_MAX);
    progress_begin(&progress, tally_clock_real(), false);
    options.check =
            fsck_check_create(&(struct fsck_check_options){.differs = found, .context = &findings});
    options.progress = &progress;
    options.replay = (struct tally_replay_options){.topologies = fixture.topologies,
            .topology_count = fixture.topology_count,
            .config = &fixture.config,
            .client = client,
            .clock = tally_clock_real(),
            .partitions = 1};
    ck_assert_msg(fsck_replay_create(&options, &replay, &err) == TALLY_OK, "%s", err.message);
    ck_assert_int_eq(state_reader_tasks(dir, &tasks, &count, &err), TALLY_OK);
    ck_assert_uint_eq(count, TASKS); /* the folder of the replay is none */
    for (size_t i = 0; i < count; i++) {
        compare_task(replay, &tasks[i], &findings.text);
    }
    tally_free(tasks);
    fsck_replay_destroy(replay);
    fsck_check_destroy(options.check);
    client->ops->destroy(client);
    tally_buf_byte(&findings.text, 0);
    text = tally_copy_string((const char *)findings.text.data);
    tally_buf_deinit(&findings.text);
    return text;
}

static void log_must_find(const char *what)
{
    char *text = check_log();

    ck_assert_msg(strncmp(text, what, strlen(what)) == 0, "not \"%s\" but:\n%s", what, text);
    ck_assert_msg(strchr(text, '\n') + 1 == text + strlen(text), "more than one: %s", text);
    tally_free(text);
}

static void log_must_agree(void)
{
    char path[128], *text = check_log();

    ck_assert_str_eq(text, "");
    tally_free(text);
    (void)snprintf(path, sizeof path, "%s/%s", dir, FSCK_REPLAY_FOLDER);
    ck_assert_int_ne(access(path, F_OK), 0);
}

/* No row says anything else about it. */
#define UNSEEN(topology, store, key, type, unpack, pack, change, what) \
    do {                                                               \
        struct tally_buf old, changed;                                 \
        type row_;                                                     \
        tally_buf_init(&old, TEXT_MAX);                                \
        tally_buf_init(&changed, TEXT_MAX);                            \
        read_row(topology, store, key, &old);                          \
        ck_assert(unpack(tally_buf_bytes(&old), &row_));               \
        change;                                                        \
        pack(&row_, &changed);                                         \
        replace(topology, store, key, &changed, NULL);                 \
        must_be_sound();                                               \
        log_must_find(what);                                           \
        replace(topology, store, key, &old, NULL);                     \
        tally_buf_deinit(&old);                                        \
        tally_buf_deinit(&changed);                                    \
    } while (0)

START_TEST(the_log_gives_the_same_rows)
{
    log_must_agree();
    UNSEEN("stock", TALLY_STORE_LEDGER, "TS%2ERED.AMS1.1", struct stock_ledger_row,
            stock_ledger_unpack, stock_ledger_pack, row_.note = TALLY_SLICE("planted"),
            "I9 stock/0 ledger TS%2ERED.AMS1.1: the state has ...");
    UNSEEN("movements", TALLY_STORE_MOVEMENT, "0.1768471200000.AMS1.RECEIVE", struct movement_row,
            analytics_movement_unpack, analytics_movement_pack, row_.quantity++,
            "I9 movements/0 movement 0.1768471200000.AMS1.RECEIVE: the state has ...");
    log_must_agree();
}
END_TEST

START_TEST(a_row_too_many_or_too_few_is_found)
{
    struct tally_buf old;

    tally_buf_init(&old, TEXT_MAX);
    replace("stock", TALLY_STORE_DEDUP, "s-3.TS%2EBLUE", NULL, &old);
    must_be_sound();
    log_must_find("I9 stock/0 dedup s-3.TS%2EBLUE: its log gives this row, the state has none\n");
    replace("stock", TALLY_STORE_DEDUP, "s-3.TS%2EBLUE", &old, NULL);
    replace("stock", TALLY_STORE_DEDUP, "s-3.TS%2EBLUF", &old, NULL);
    must_be_sound();
    log_must_find("I9 stock/0 dedup s-3.TS%2EBLUF: the state has this row, its log gives none\n");
    replace("stock", TALLY_STORE_DEDUP, "s-3.TS%2EBLUF", NULL, NULL);
    log_must_agree();
    tally_buf_deinit(&old);
}
END_TEST

/* The state is that of an earlier moment: the log is read up to there; of a changelog, which keeps
 * the newest rows alone, those that came later are not compared. */
START_TEST(a_log_that_goes_on_is_read_up_to_the_state)
{
    struct tally_error err = {.code = TALLY_OK};
    char command[256];

    (void)snprintf(command, sizeof command, "cp -r %s %s.kept", dir, dir);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(tally_topology_driver_start(fixture.driver, &err), TALLY_OK);
    send("stock", "{\"type\":\"ReceiveStock\",\"command_id\":\"s-9\",\"sku\":\"TS.RED\","
                  "\"warehouse\":\"AMS1\",\"quantity\":1}");
    tally_topology_driver_stop(fixture.driver);
    log_must_agree();
    (void)snprintf(command, sizeof command, "rm -r %s && mv %s.kept %s", dir, dir, dir);
    ck_assert_int_eq(system(command), 0);
    log_must_agree();
    UNSEEN("movements", TALLY_STORE_MOVEMENT, "0.1768471200000.AMS1.SHIP", struct movement_row,
            analytics_movement_unpack, analytics_movement_pack, row_.quantity++,
            "I9 movements/0 movement 0.1768471200000.AMS1.SHIP: the state has ...");
    replace("movements", TALLY_STORE_MOVEMENT, "0.1768471200000.AMS1.RECEIVE", NULL, NULL);
    log_must_agree();
}
END_TEST

START_TEST(a_log_that_begins_too_late_is_named)
{
    struct tally_memory_broker *broker = tally_topology_driver_broker(fixture.driver);

    tally_memory_broker_truncate(broker, tally_topology_events(fixture.topologies[5]), 0, 1);
    log_must_find("EVENTS_INCOMPLETE: ");
}
END_TEST

START_TEST(a_line_that_is_no_row_is_refused)
{
    struct fsck_check *check = fsck_check_create(&(struct fsck_check_options){.differs = found});
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_int_eq(fsck_check_row(check, TALLY_SLICE("{}"), &err), TALLY_BAD_RECORD);
    ck_assert_int_eq(fsck_check_row(check, TALLY_SLICE("nonsense"), &err), TALLY_BAD_RECORD);
    fsck_check_destroy(check);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fsck");
    TCase *tcase = tcase_create("fsck");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, a_living_state_is_sound);
    tcase_add_test(tcase, a_difference_in_a_level_is_found);
    tcase_add_test(tcase, a_difference_in_a_ledger_is_found);
    tcase_add_test(tcase, a_difference_in_a_hold_is_found);
    tcase_add_test(tcase, a_difference_in_a_reservation_is_found);
    tcase_add_test(tcase, a_difference_in_a_transfer_is_found);
    tcase_add_test(tcase, a_difference_in_the_catalogue_is_found);
    tcase_add_test(tcase, what_may_be_on_its_way_is_counted_apart);
    tcase_add_test(tcase, the_log_gives_the_same_rows);
    tcase_add_test(tcase, a_row_too_many_or_too_few_is_found);
    tcase_add_test(tcase, a_log_that_goes_on_is_read_up_to_the_state);
    tcase_add_test(tcase, a_log_that_begins_too_late_is_named);
    tcase_add_test(tcase, a_line_that_is_no_row_is_refused);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
