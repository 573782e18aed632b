/* tests/topology/driver_fixture.c - see driver_fixture.h. */
#include "tests/topology/driver_fixture.h"

#include <check.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "topologies/registry.h"

#define SMALL_BATCH_RECORDS 5
#define ANSWER_BYTES_MAX    (1024 * 1024)
#define TEXT_MAX            (64 * 1024 * 1024)

static void load_config(struct tally_config *config)
{
    char *argv[] = {(char[]){"test"}, NULL};
    int argc = 1;
    struct tally_buf mistakes;
    struct tally_error err = {.code = TALLY_OK};

    tally_buf_init(&mistakes, TEXT_MAX);
    ck_assert_msg(tally_config_load(config, &argc, argv, &mistakes, &err) == TALLY_OK, "%.*s",
            (int)mistakes.len, (const char *)mistakes.data);
    tally_buf_deinit(&mistakes);
}

/* Settings and the topologies that are made of them. */
static void make(struct driver_fixture *fixture, const struct driver_fixture_options *options)
{
    static const char *const usual[] = {"catalogue", "stock", NULL};
    const char *const *names = options->topologies ? options->topologies : usual;
    struct tally_error err = {.code = TALLY_OK};

    load_config(&fixture->config);
    fixture->config.stock_require_registration = !options->registration_optional;
    if (options->json_events) {
        tally_free(fixture->config.events_format);
        fixture->config.events_format = tally_copy_string("json");
    }
    if (options->small_transactions) {
        fixture->config.batch_records = SMALL_BATCH_RECORDS;
        fixture->config.uncommitted_bytes = 1; /* commits after every batch */
        fixture->config.state_flush_bytes = 1;
    }
    if (options->no_outcomes) {
        fixture->config.dedup_retention = 0;
    }
    fixture->config.stock_ledger = !options->no_ledger;
    fixture->topology_count = 0;
    for (size_t i = 0; names[i]; i++) {
        enum tally_code code =
                tally_registry_create(names[i], &fixture->config, &fixture->topologies[i], &err);

        ck_assert_msg(code == TALLY_OK, "%s", err.message);
        ck_assert_uint_le(++fixture->topology_count, FIXTURE_TOPOLOGIES);
    }
}

static void unmake(struct driver_fixture *fixture)
{
    for (size_t i = 0; i < fixture->topology_count; i++) {
        tally_topology_destroy(fixture->topologies[i]);
    }
    tally_config_deinit(&fixture->config);
}

void driver_fixture_open(struct driver_fixture *fixture,
        const struct driver_fixture_options *options)
{
    /* Topologies that are not run here, but that those which are send to. */
    static const char *const answered[] = {"reservation.commands", "transfer.commands"};
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code;

    tally_log_init(TALLY_LOG_ERROR, TALLY_LOG_LOGFMT);
    make(fixture, options);
    code = tally_topology_driver_create(
            &(struct tally_topology_driver_options){
                    .topologies = fixture->topologies,
                    .topology_count = fixture->topology_count,
                    .config = &fixture->config,
                    .partitions = options->partitions,
                    .state_dir = options->state_dir,
                    .now_ms = FIXTURE_NOW_MS,
            },
            &fixture->driver, &err);
    ck_assert_msg(code == TALLY_OK, "%s", err.message);
    for (size_t i = 0; i < sizeof answered / sizeof *answered; i++) {
        tally_memory_broker_topic(tally_topology_driver_broker(fixture->driver), answered[i],
                options->partitions, ANSWER_BYTES_MAX);
    }
}

void driver_fixture_close(struct driver_fixture *fixture)
{
    tally_topology_driver_destroy(fixture->driver);
    unmake(fixture);
}

void driver_fixture_configure(struct driver_fixture *fixture,
        const struct driver_fixture_options *options)
{
    unmake(fixture);
    make(fixture, options);
}

void driver_fixture_pipe(struct driver_fixture *fixture, const char *topic, const char *json)
{
    ck_assert_int_ge(tally_topology_driver_command(fixture->driver, topic,
                             tally_slice_string(json)),
            0);
}

void driver_fixture_run(struct driver_fixture *fixture)
{
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code = tally_topology_driver_run(fixture->driver, &err);

    ck_assert_msg(code == TALLY_OK, "%s: %s", tally_code_name(code), err.message);
}

static char *text_of(struct tally_buf *buf)
{
    char *text;

    tally_buf_byte(buf, 0);
    ck_assert(!buf->failed);
    text = tally_copy_string((const char *)buf->data);
    tally_buf_deinit(buf);
    return text;
}

char *driver_fixture_records(struct driver_fixture *fixture, const char *topic)
{
    struct tally_buf buf;

    tally_buf_init(&buf, TEXT_MAX);
    tally_topology_driver_print(fixture->driver, topic, -1, &buf);
    return text_of(&buf);
}

char *driver_fixture_dump(struct driver_fixture *fixture)
{
    struct tally_buf buf;

    tally_buf_init(&buf, TEXT_MAX);
    tally_topology_driver_dump(fixture->driver, &buf);
    return text_of(&buf);
}
