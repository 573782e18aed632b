/* tests/packages/outside.c - a program of somebody else on the installed library: an aggregate that
 * counts visits, run on the broker in memory and built again from its log.
 * Built with nothing but what `pkg-config tally` says. Stores are those of key_schema.def, so the
 * aggregate goes by the name that owns the store it takes. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/tally.h"
#include "engine/topology_driver.h"

#define STORE TALLY_STORE_TRANSFER

struct visit {
    struct tally_presence presence;
    struct tally_slice page;
    int64_t count;
};
enum { VISIT_PAGE, VISIT_COUNT };

static const struct tally_field visit_fields[] = {
        {TALLY_FIELD_NAME("page"), .bit = VISIT_PAGE, .kind = TALLY_KIND_STRING,
                .flags = TALLY_REQUIRED, .text = TALLY_TEXT_ID, .low = 1, .high = 64,
                .offset = offsetof(struct visit, page)},
};
static const struct tally_field visited_fields[] = {
        {TALLY_FIELD_NAME("page"), .bit = VISIT_PAGE, .kind = TALLY_KIND_STRING,
                .flags = TALLY_REQUIRED, .text = TALLY_TEXT_ID, .low = 1, .high = 64,
                .offset = offsetof(struct visit, page)},
        {TALLY_FIELD_NAME("count"), .bit = VISIT_COUNT, .kind = TALLY_KIND_INT,
                .flags = TALLY_REQUIRED, .low = 1, .high = INT64_MAX,
                .offset = offsetof(struct visit, count)},
};
static const struct tally_schema visit_schema = {.name = "Visit",
        .fields = visit_fields,
        .field_count = 1,
        .size = sizeof(struct visit),
        .key_field = "page",
        .key_prefix = ""};
static const struct tally_schema visited_schema = {.name = "Visited",
        .fields = visited_fields,
        .field_count = 2,
        .size = sizeof(struct visit)};
static const struct tally_schema *const commands[] = {&visit_schema, NULL};
static const struct tally_schema *const events[] = {&visited_schema, NULL};

static struct tally_key key_of(struct tally_slice page)
{
    struct tally_key key;

    tally_key_begin(&key, STORE);
    tally_key_tail(&key, page);
    return key;
}

static void visits_touch(struct tally_touch *touch, const struct tally_command *command)
{
    struct tally_key key = key_of(((const struct visit *)(const void *)command->fields)->page);

    tally_touch_key(touch, &key);
}

static void visits_decide(struct tally_context *ctx, const struct tally_command *command)
{
    struct visit visited = *(const struct visit *)(const void *)command->fields;
    struct tally_key key = key_of(visited.page);
    struct tally_slice row;

    visited.presence.present = TALLY_BIT(VISIT_PAGE) | TALLY_BIT(VISIT_COUNT);
    visited.count = tally_get(ctx, &key, &row) ? row.data[0] + 1 : 1;
    tally_emit(ctx, visited_schema.id, &visited);
}

static void visits_evolve(struct tally_context *ctx, const struct tally_event *event)
{
    const struct visit *visited = event->body;
    struct tally_key key = key_of(visited->page);
    uint8_t count = (uint8_t)visited->count;

    tally_put(ctx, &key, tally_slice_of(&count, 1));
}

static void visits_remember(const struct tally_event *event, struct tally_buf *memo)
{
    (void)event;
    (void)memo;
}

static void visits_result(struct tally_context *ctx, struct tally_slice key,
        const struct tally_outcome *outcome, struct tally_writer *writer, int64_t *version)
{
    (void)ctx;
    (void)key;
    (void)outcome;
    tally_write_null(writer);
    *version = 0;
}

static void fail_at(const char *what, enum tally_code code, const struct tally_error *err)
{
    if (code) {
        fprintf(stderr, "%s: %s\n", what, err->message);
        exit(1);
    }
}

static void print_row(void *context, struct tally_slice key, struct tally_slice row)
{
    (void)context;
    if (key.data[0] == tally_store_byte(STORE)) {
        printf("visits of %.*s: %d\n", (int)key.len - 1, (const char *)key.data + 1, row.data[0]);
    }
}

int main(void)
{
    static const char *const pages[] = {"home", "about", "home", "home"};
    struct tally_topology *topology = tally_topology_create("transfer", "");
    struct tally_topology_driver *driver;
    struct tally_config config;
    struct tally_buf mistakes;
    struct tally_error err = {.message = ""};
    char name[] = "outside", *argv[] = {name, NULL};
    int argc = 1;

    tally_buf_init(&mistakes, 65536);
    fail_at("settings", tally_config_load(&config, &argc, argv, &mistakes, &err), &err);
    tally_store(topology, STORE, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_DEDUP, TALLY_EVENT_SOURCED);
    tally_aggregate(topology, &(struct tally_aggregate){.name = "transfer",
                                      .commands = "visits.commands",
                                      .events = "visits.events",
                                      .command_types = commands,
                                      .event_types = events,
                                      .evolve_version = 1,
                                      .touch = visits_touch,
                                      .decide = visits_decide,
                                      .evolve = visits_evolve,
                                      .remember = visits_remember,
                                      .result = visits_result});
    fail_at("topology", tally_topology_validate(topology, &err), &err);
    fail_at("driver",
            tally_topology_driver_create(&(struct tally_topology_driver_options){.topologies =
                                                                                         &topology,
                                                 .topology_count = 1,
                                                 .config = &config,
                                                 .partitions = 1,
                                                 .now_ms = 1767225600000},
                    &driver, &err),
            &err);
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        char text[128];

        (void)snprintf(text, sizeof text,
                "{\"type\":\"Visit\",\"command_id\":\"v-%zu\",\"page\":\"%s\"}", i, pages[i]);
        tally_topology_driver_command(driver, "visits.commands", tally_slice_string(text));
    }
    fail_at("run", tally_topology_driver_run(driver, &err), &err);
    tally_topology_driver_crash(driver);
    fail_at("start again", tally_topology_driver_start(driver, &err), &err);
    fail_at("run again", tally_topology_driver_run(driver, &err), &err);
    if (!tally_topology_driver_scan(driver, "transfer", 0, print_row, NULL)) {
        fprintf(stderr, "the task has no store: %s\n",
                tally_topology_driver_state(driver, "transfer", 0));
        return 1;
    }
    tally_topology_driver_destroy(driver);
    tally_topology_destroy(topology);
    tally_config_deinit(&config);
    tally_buf_deinit(&mistakes);
    return 0;
}
