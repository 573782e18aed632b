/* tests/unit/test_topology_describe.c - the four forms of two small topologies. */
#include <check.h>
#include <stdlib.h>

#include "engine/topology.h"

static const struct tally_schema command = {
        .name = "Apply", .id = 0, .key_field = "sku", .key_prefix = "", .internal = true};
static const struct tally_schema event = {.name = "Applied", .id = 0};
static const struct tally_schema *const commands[] = {&command, NULL};
static const struct tally_schema *const events[] = {&event, NULL};

static void touch(struct tally_touch *touching, const struct tally_command *decided)
{
    (void)touching;
    (void)decided;
}
static void decide(struct tally_context *ctx, const struct tally_command *decided)
{
    (void)ctx;
    (void)decided;
}
static void evolve(struct tally_context *ctx, const struct tally_event *fact)
{
    (void)ctx;
    (void)fact;
}
static void remember(const struct tally_event *fact, struct tally_buf *memo)
{
    (void)fact;
    (void)memo;
}
static void result(struct tally_context *ctx, struct tally_slice key,
        const struct tally_outcome *outcome, struct tally_writer *writer, int64_t *version)
{
    (void)ctx;
    (void)key;
    (void)outcome;
    (void)writer;
    (void)version;
}

static struct tally_topology *topologies[2];

static void build(void)
{
    struct tally_aggregate aggregate = {.name = "catalogue",
            .commands = "catalogue.commands",
            .events = "catalogue.events",
            .command_types = commands,
            .event_types = events,
            .evolve_version = 1,
            .touch = touch,
            .decide = decide,
            .evolve = evolve,
            .remember = remember,
            .result = result};

    topologies[0] = tally_topology_create("catalogue", "acme.");
    tally_store(topologies[0], TALLY_STORE_CATALOGUE_WAREHOUSE, TALLY_EVENT_SOURCED);
    tally_store(topologies[0], TALLY_STORE_DEDUP, TALLY_EVENT_SOURCED);
    tally_aggregate(topologies[0], &aggregate);
    tally_sends_to(topologies[0], "stock.commands");

    aggregate.name = "stock";
    aggregate.commands = "stock.commands";
    aggregate.events = "stock.events";
    topologies[1] = tally_topology_create("stock", "acme.");
    tally_store(topologies[1], TALLY_STORE_DEDUP, TALLY_EVENT_SOURCED);
    tally_aggregate(topologies[1], &aggregate);
    tally_setting(topologies[1], "stock.require_registration", true);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(tally_topology_validate(topologies[i], NULL), TALLY_OK);
    }
}

static void describes(enum tally_describe form, const char *expected)
{
    struct tally_buf out;

    build();
    tally_buf_init(&out, 65536);
    tally_topology_describe(topologies, 2, form, &out);
    tally_buf_byte(&out, 0);
    ck_assert(!out.failed);
    ck_assert_str_eq((const char *)out.data, expected);
    tally_buf_deinit(&out);
    tally_topology_destroy(topologies[0]);
    tally_topology_destroy(topologies[1]);
}

START_TEST(text_has_the_form_of_kafka_streams)
{
    describes(TALLY_DESCRIBE_TEXT,
            "Topologies:\n"
            "   Sub-topology: 0\n"
            "    Source: catalogue-commands (topics: [acme.catalogue.commands])\n"
            "      --> catalogue\n"
            "    Processor: catalogue (stores: [warehouse, dedup])\n"
            "      --> catalogue-dead-letters, catalogue-events, catalogue-forwards, "
            "catalogue-to-stock.commands\n"
            "      <-- catalogue-commands\n"
            "    Sink: catalogue-dead-letters (topic: acme.catalogue.commands-dlt)\n"
            "      <-- catalogue\n"
            "    Sink: catalogue-events (topic: acme.catalogue.events)\n"
            "      <-- catalogue\n"
            "    Sink: catalogue-forwards (topic: acme.catalogue.commands)\n"
            "      <-- catalogue\n"
            "    Sink: catalogue-to-stock.commands (topic: acme.stock.commands)\n"
            "      <-- catalogue\n"
            "\n"
            "  Sub-topology: 1\n"
            "    Source: stock-commands (topics: [acme.stock.commands])\n"
            "      --> stock\n"
            "    Processor: stock (stores: [dedup])\n"
            "      --> stock-dead-letters, stock-events, stock-forwards\n"
            "      <-- stock-commands\n"
            "    Sink: stock-dead-letters (topic: acme.stock.commands-dlt)\n"
            "      <-- stock\n"
            "    Sink: stock-events (topic: acme.stock.events)\n"
            "      <-- stock\n"
            "    Sink: stock-forwards (topic: acme.stock.commands)\n"
            "      <-- stock\n"
            "\n");
}
END_TEST

START_TEST(dot_is_one_graph)
{
    describes(TALLY_DESCRIBE_DOT,
            "digraph tally {\n"
            "  rankdir=LR;\n"
            "  subgraph cluster_0 {\n"
            "    label=\"catalogue\";\n"
            "    \"processor catalogue\" [shape=box, label=\"catalogue\\ndecide, evolve\"];\n"
            "    \"store catalogue warehouse\" [shape=cylinder, label=\"warehouse\"];\n"
            "    \"processor catalogue\" -> \"store catalogue warehouse\" [dir=both];\n"
            "    \"store catalogue dedup\" [shape=cylinder, label=\"dedup\"];\n"
            "    \"processor catalogue\" -> \"store catalogue dedup\" [dir=both];\n"
            "  }\n"
            "  \"acme.catalogue.commands\" -> \"processor catalogue\";\n"
            "  \"processor catalogue\" -> \"acme.catalogue.commands-dlt\" "
            "[label=\"dead-letters\"];\n"
            "  \"processor catalogue\" -> \"acme.catalogue.events\" [label=\"events\"];\n"
            "  \"processor catalogue\" -> \"acme.catalogue.commands\" [label=\"forwards\"];\n"
            "  \"processor catalogue\" -> \"acme.stock.commands\" [label=\"to-stock.commands\"];\n"
            "  subgraph cluster_1 {\n"
            "    label=\"stock\";\n"
            "    \"processor stock\" [shape=box, label=\"stock\\ndecide, evolve\"];\n"
            "    \"store stock dedup\" [shape=cylinder, label=\"dedup\"];\n"
            "    \"processor stock\" -> \"store stock dedup\" [dir=both];\n"
            "  }\n"
            "  \"acme.stock.commands\" -> \"processor stock\";\n"
            "  \"processor stock\" -> \"acme.stock.commands-dlt\" [label=\"dead-letters\"];\n"
            "  \"processor stock\" -> \"acme.stock.events\" [label=\"events\"];\n"
            "  \"processor stock\" -> \"acme.stock.commands\" [label=\"forwards\"];\n"
            "}\n");
}
END_TEST

START_TEST(mermaid_is_one_flowchart)
{
    describes(TALLY_DESCRIBE_MERMAID,
            "flowchart LR\n"
            "  subgraph s0 [\"catalogue\"]\n"
            "    p0[\"catalogue: decide, evolve\"]\n"
            "    p0 <--> p0_0[(warehouse)]\n"
            "    p0 <--> p0_1[(dedup)]\n"
            "  end\n"
            "  topic_acme_catalogue_commands[\"acme.catalogue.commands\"] --> p0\n"
            "  p0 -- dead-letters --> "
            "topic_acme_catalogue_commands_dlt[\"acme.catalogue.commands-dlt\"]\n"
            "  p0 -- events --> topic_acme_catalogue_events[\"acme.catalogue.events\"]\n"
            "  p0 -- forwards --> topic_acme_catalogue_commands[\"acme.catalogue.commands\"]\n"
            "  p0 -- to-stock.commands --> topic_acme_stock_commands[\"acme.stock.commands\"]\n"
            "  subgraph s1 [\"stock\"]\n"
            "    p1[\"stock: decide, evolve\"]\n"
            "    p1 <--> p1_0[(dedup)]\n"
            "  end\n"
            "  topic_acme_stock_commands[\"acme.stock.commands\"] --> p1\n"
            "  p1 -- dead-letters --> topic_acme_stock_commands_dlt[\"acme.stock.commands-dlt\"]\n"
            "  p1 -- events --> topic_acme_stock_events[\"acme.stock.events\"]\n"
            "  p1 -- forwards --> topic_acme_stock_commands[\"acme.stock.commands\"]\n");
}
END_TEST

START_TEST(json_names_everything)
{
    describes(TALLY_DESCRIBE_JSON,
            "{\"topologies\":[{\"name\":\"catalogue\",\"aggregate\":\"catalogue\",\"evolve_"
            "version\":1,"
            "\"commands\":\"acme.catalogue.commands\",\"events\":\"acme.catalogue.events\","
            "\"dead_letters\":\"acme.catalogue.commands-dlt\",\"sends_to\":[\"acme.stock."
            "commands\"],"
            "\"stores\":[{\"name\":\"warehouse\",\"kind\":\"event-sourced\"},"
            "{\"name\":\"dedup\",\"kind\":\"event-sourced\"}],\"timers\":null,\"settings\":{},"
            "\"command_types\":[{\"type\":\"Apply\",\"internal\":true}],"
            "\"event_types\":[{\"type\":\"Applied\",\"internal\":false}]},"
            "{\"name\":\"stock\",\"aggregate\":\"stock\",\"evolve_version\":1,"
            "\"commands\":\"acme.stock.commands\",\"events\":\"acme.stock.events\","
            "\"dead_letters\":\"acme.stock.commands-dlt\",\"sends_to\":[],"
            "\"stores\":[{\"name\":\"dedup\",\"kind\":\"event-sourced\"}],"
            "\"timers\":null,\"settings\":{\"stock.require_registration\":true},"
            "\"command_types\":[{\"type\":\"Apply\",\"internal\":true}],"
            "\"event_types\":[{\"type\":\"Applied\",\"internal\":false}]}]}\n");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("topology_describe");
    TCase *tcase = tcase_create("forms");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, text_has_the_form_of_kafka_streams);
    tcase_add_test(tcase, dot_is_one_graph);
    tcase_add_test(tcase, mermaid_is_one_flowchart);
    tcase_add_test(tcase, json_names_everything);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
