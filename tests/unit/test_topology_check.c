/* tests/unit/test_topology_check.c - what a projection must have, and how one is described. Of
 * aggregates: test_topology.c. */
#include <check.h>
#include <stdlib.h>

#include "engine/topology.h"

static const struct tally_schema received = {.name = "Received", .id = 0};
static const struct tally_schema *const events[] = {&received, NULL};
static const struct tally_window hour = {
        .name = "hour", .size_ms = 3600000, .grace_ms = 60000, .retention_ms = 86400000};

static void touch(struct tally_touch *touching, const struct tally_event *event)
{
    (void)touching;
    (void)event;
}
static void apply(struct tally_context *ctx, const struct tally_event *event)
{
    (void)ctx;
    (void)event;
}

static struct tally_projection whole(void)
{
    return (struct tally_projection){.name = "movements",
            .events = "stock.events",
            .source = "stock",
            .event_types = events,
            .version = 3,
            .touch = touch,
            .apply = apply};
}

static struct tally_topology *with(const struct tally_projection *projection,
        enum tally_store_kind kind, const struct tally_window *window)
{
    struct tally_topology *topology = tally_topology_create("movements", "acme.");

    tally_store(topology, TALLY_STORE_MOVEMENT, kind);
    if (window) {
        tally_windows(topology, window);
    }
    tally_projection(topology, projection);
    return topology;
}

static void refused(struct tally_topology *topology, const char *message)
{
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_int_eq(tally_topology_validate(topology, &err), TALLY_CONFIG);
    ck_assert_str_eq(err.message, message);
    tally_topology_destroy(topology);
}

START_TEST(a_projection_reads_events_and_has_a_group_of_its_own)
{
    struct tally_projection projection = whole();
    struct tally_topology *topology = with(&projection, TALLY_CHANGELOGGED, &hour);
    const struct tally_window *windows;

    ck_assert_int_eq(tally_topology_validate(topology, NULL), TALLY_OK);
    ck_assert_str_eq(tally_topology_input(topology), "acme.stock.events");
    ck_assert_str_eq(tally_topology_output(topology), "acme.tally-movements-movement-changelog");
    ck_assert_str_eq(tally_topology_group(topology), "movements");
    ck_assert_uint_eq(tally_topology_version(topology), 3);
    ck_assert_uint_eq(tally_topology_windows(topology, &windows), 1);
    ck_assert_int_eq(windows[0].size_ms, 3600000);
    ck_assert_ptr_null(tally_topology_aggregate(topology));
    ck_assert_ptr_null(tally_topology_commands(topology));
    ck_assert_ptr_null(tally_topology_events(topology));
    ck_assert_ptr_null(tally_topology_dead_letters(topology));
    ck_assert_ptr_nonnull(tally_topology_projection(topology));
    tally_topology_destroy(topology);
}
END_TEST

START_TEST(a_projection_is_complete)
{
    struct tally_projection projection = whole();
    struct tally_window window = hour;
    struct tally_topology *topology;

    refused(with(&projection, TALLY_EVENT_SOURCED, NULL),
            "topology \"movements\": projection \"movements\" needs one store, changelogged");
    topology = with(&projection, TALLY_CHANGELOGGED, NULL);
    tally_projection(topology, &projection);
    refused(topology, "topology \"movements\": projection \"movements\" is a second one");
    topology = with(&projection, TALLY_CHANGELOGGED, NULL);
    tally_sends_to(topology, "stock.commands");
    refused(topology, "topology \"movements\": projection \"movements\" sends to a topic");
    projection.apply = NULL;
    refused(with(&projection, TALLY_CHANGELOGGED, NULL),
            "topology \"movements\": projection \"movements\" lacks touch or apply");
    projection = whole();
    projection.source = NULL;
    refused(with(&projection, TALLY_CHANGELOGGED, NULL),
            "topology \"movements\": projection \"movements\" lacks its events topic or their "
            "aggregate");
    projection = whole();
    projection.version = 0;
    refused(with(&projection, TALLY_CHANGELOGGED, NULL),
            "topology \"movements\": projection \"movements\" has version 0: start with 1");
    projection = whole();
    projection.event_types = (const struct tally_schema *const[]){NULL};
    refused(with(&projection, TALLY_CHANGELOGGED, NULL),
            "topology \"movements\": projection has no event types");
    projection = whole();
    window.retention_ms = window.grace_ms - 1;
    refused(with(&projection, TALLY_CHANGELOGGED, &window),
            "topology \"movements\": window \"hour\": its rows go while it still takes events");
    window = hour;
    window.name = "an hour";
    refused(with(&projection, TALLY_CHANGELOGGED, &window),
            "topology \"movements\": window 0 has no legal name");
}
END_TEST

static void describes(enum tally_describe form, const char *expected)
{
    struct tally_projection projection = whole();
    struct tally_topology *topology = with(&projection, TALLY_CHANGELOGGED, &hour);
    struct tally_buf out;

    ck_assert_int_eq(tally_topology_validate(topology, NULL), TALLY_OK);
    tally_buf_init(&out, 65536);
    tally_topology_describe(&topology, 1, form, &out);
    tally_buf_byte(&out, 0);
    ck_assert_str_eq((const char *)out.data, expected);
    tally_buf_deinit(&out);
    tally_topology_destroy(topology);
}

START_TEST(it_is_described)
{
    describes(TALLY_DESCRIBE_TEXT,
            "Topologies:\n   Sub-topology: 0\n"
            "    Source: movements-events (topics: [acme.stock.events])\n"
            "      --> movements\n"
            "    Processor: movements (stores: [movement])\n"
            "      --> movements-changelog\n"
            "      <-- movements-events\n"
            "    Sink: movements-changelog (topic: acme.tally-movements-movement-changelog)\n"
            "      <-- movements\n\n");
    describes(TALLY_DESCRIBE_MERMAID,
            "flowchart LR\n  subgraph s0 [\"movements\"]\n    p0[\"movements: apply\"]\n"
            "    p0 <--> p0_0[(movement)]\n  end\n"
            "  topic_acme_stock_events[\"acme.stock.events\"] --> p0\n"
            "  p0 -- changelog --> topic_acme_tally_movements_movement_changelog"
            "[\"acme.tally-movements-movement-changelog\"]\n");
    describes(TALLY_DESCRIBE_JSON,
            "{\"topologies\":[{\"name\":\"movements\",\"projection\":\"movements\","
            "\"version\":3,\"events\":\"acme.stock.events\",\"source\":\"stock\","
            "\"changelog\":\"acme.tally-movements-movement-changelog\","
            "\"stores\":[{\"name\":\"movement\",\"kind\":\"changelogged\"}],"
            "\"windows\":[{\"name\":\"hour\",\"size_ms\":3600000,\"grace_ms\":60000,"
            "\"retention_ms\":86400000}],"
            "\"event_types\":[{\"type\":\"Received\",\"internal\":false}]}]}\n");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("topology_check");
    TCase *tcase = tcase_create("projections");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, a_projection_reads_events_and_has_a_group_of_its_own);
    tcase_add_test(tcase, a_projection_is_complete);
    tcase_add_test(tcase, it_is_described);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
