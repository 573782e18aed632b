/* tests/unit/test_topology.c - the builder keeps its first error; validation refuses what is not
 * whole. */
#include <check.h>
#include <stdlib.h>

#include "engine/topology.h"

static const struct tally_schema receive = {
        .name = "Receive", .id = 0, .key_field = "sku", .key_prefix = ""};
static const struct tally_schema ship = {
        .name = "Ship", .id = 1, .key_field = "sku", .key_prefix = ""};
static const struct tally_schema received = {.name = "Received", .id = 0};
static const struct tally_schema *const commands[] = {&receive, &ship, NULL};
static const struct tally_schema *const events[] = {&received, NULL};

static void touch(struct tally_touch *touching, const struct tally_command *command)
{
    (void)touching;
    (void)command;
}
static void decide(struct tally_context *ctx, const struct tally_command *command)
{
    (void)ctx;
    (void)command;
}
static void evolve(struct tally_context *ctx, const struct tally_event *event)
{
    (void)ctx;
    (void)event;
}
static void remember(const struct tally_event *event, struct tally_buf *memo)
{
    (void)event;
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

static struct tally_aggregate whole(void)
{
    return (struct tally_aggregate){.name = "stock",
            .commands = "stock.commands",
            .events = "stock.events",
            .command_types = commands,
            .event_types = events,
            .evolve_version = 1,
            .touch = touch,
            .decide = decide,
            .evolve = evolve,
            .remember = remember,
            .result = result};
}

static void refused(struct tally_topology *topology, const char *message)
{
    struct tally_error err = {0};

    ck_assert_int_eq(tally_topology_validate(topology, &err), TALLY_CONFIG);
    ck_assert_str_eq(err.message, message);
    tally_topology_destroy(topology);
}

static struct tally_topology *with(const struct tally_aggregate *aggregate)
{
    struct tally_topology *topology = tally_topology_create("stock", "");

    tally_store(topology, TALLY_STORE_DEDUP, TALLY_EVENT_SOURCED);
    tally_aggregate(topology, aggregate);
    return topology;
}

START_TEST(a_whole_topology_is_valid)
{
    struct tally_aggregate aggregate = whole();
    struct tally_topology *topology = tally_topology_create("stock", "acme.");
    struct tally_error err = {0};
    const enum tally_store_id *stores;

    tally_store(topology, TALLY_STORE_LEVEL, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_DEDUP, TALLY_EVENT_SOURCED);
    tally_aggregate(topology, &aggregate);
    tally_sends_to(topology, "reservation.commands");
    tally_sends_to(topology, "stock.commands"); /* a saga may send to its own topic */
    tally_setting(topology, "stock.z", false);
    tally_setting(topology, "stock.a", true);
    ck_assert_int_eq(tally_topology_validate(topology, &err), TALLY_OK);

    ck_assert_str_eq(tally_topology_name(topology), "stock");
    ck_assert_str_eq(tally_topology_commands(topology), "acme.stock.commands");
    ck_assert_str_eq(tally_topology_events(topology), "acme.stock.events");
    ck_assert_str_eq(tally_topology_dead_letters(topology), "acme.stock.commands-dlt");
    ck_assert_str_eq(tally_topology_target(topology, "reservation.commands"),
            "acme.reservation.commands");
    ck_assert_ptr_null(tally_topology_target(topology, "transfer.commands"));
    ck_assert_str_eq(tally_topology_settings(topology), "stock.a=true,stock.z=false");
    ck_assert(tally_topology_setting(topology, "stock.a"));
    ck_assert(!tally_topology_setting(topology, "stock.z"));
    ck_assert_uint_eq(tally_topology_stores(topology, &stores), 2);
    ck_assert_int_eq(stores[0], TALLY_STORE_LEVEL);
    ck_assert_int_eq(stores[1], TALLY_STORE_DEDUP);
    ck_assert_ptr_eq(tally_topology_aggregate(topology)->decide, decide);
    tally_topology_destroy(topology);
    tally_topology_destroy(NULL);
}
END_TEST

START_TEST(the_builder_keeps_its_first_error)
{
    struct tally_aggregate aggregate = whole();
    struct tally_topology *topology = with(&aggregate);

    tally_store(topology, TALLY_STORE_LEVEL, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_LEVEL, TALLY_EVENT_SOURCED);
    tally_aggregate(topology, &aggregate);
    tally_sends_to(topology, "no legal topic");
    refused(topology, "topology \"stock\": store \"level\" is declared twice");
}
END_TEST

START_TEST(stores_are_those_of_the_topology)
{
    struct tally_aggregate aggregate = whole();
    struct tally_topology *topology = tally_topology_create("catalogue", "");

    tally_store(topology, TALLY_STORE_LEVEL, TALLY_EVENT_SOURCED);
    refused(topology, "topology \"catalogue\": store \"level\" is not a store of this topology: "
                      "see key_schema.def");

    topology = tally_topology_create("stock", "");
    tally_aggregate(topology, &aggregate);
    refused(topology, "topology \"stock\": store \"dedup\" is missing: outcomes are kept there");
}
END_TEST

START_TEST(stores_may_be_left_out)
{
    struct tally_aggregate aggregate = whole();
    struct tally_topology *topology = tally_topology_create("stock", "");
    const enum tally_store_id *stores;

    ck_assert_str_eq(tally_topology_omitted(topology), "");
    tally_store(topology, TALLY_STORE_LEDGER, TALLY_OMITTED);
    tally_store(topology, TALLY_STORE_LEVEL, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_DEDUP, TALLY_OMITTED);
    tally_aggregate(topology, &aggregate);
    ck_assert_int_eq(tally_topology_validate(topology, NULL), TALLY_OK);
    ck_assert_str_eq(tally_topology_omitted(topology), "dedup,ledger");
    ck_assert(!tally_topology_keeps(topology, TALLY_STORE_LEDGER));
    ck_assert(!tally_topology_keeps(topology, TALLY_STORE_DEDUP));
    ck_assert(tally_topology_keeps(topology, TALLY_STORE_LEVEL));
    ck_assert_uint_eq(tally_topology_stores(topology, &stores), 1);
    tally_store(topology, TALLY_STORE_LEDGER, TALLY_EVENT_SOURCED);
    refused(topology, "topology \"stock\": store \"ledger\" is declared twice");
}
END_TEST

START_TEST(an_aggregate_is_complete)
{
    struct tally_aggregate aggregate = whole();
    struct tally_topology *topology = tally_topology_create("stock", "");

    tally_store(topology, TALLY_STORE_DEDUP, TALLY_EVENT_SOURCED);
    refused(topology, "topology \"stock\": no aggregate and no projection");

    topology = with(&aggregate);
    tally_aggregate(topology, &aggregate);
    refused(topology, "topology \"stock\": aggregate \"stock\" is a second one");

    aggregate = whole();
    aggregate.events = NULL;
    refused(with(&aggregate),
            "topology \"stock\": aggregate \"stock\" lacks its commands or events topic");
    for (int missing = 0; missing < 5; missing++) {
        aggregate = whole();
        aggregate.touch = missing == 0 ? NULL : touch;
        aggregate.decide = missing == 1 ? NULL : decide;
        aggregate.evolve = missing == 2 ? NULL : evolve;
        aggregate.remember = missing == 3 ? NULL : remember;
        aggregate.result = missing == 4 ? NULL : result;
        refused(with(&aggregate),
                "topology \"stock\": aggregate \"stock\" lacks one of touch, decide, evolve, "
                "remember, result");
    }
    aggregate = whole();
    aggregate.evolve_version = 0;
    refused(with(&aggregate),
            "topology \"stock\": aggregate \"stock\" has evolve_version 0: start with 1");
}
END_TEST

static void due(struct tally_context *ctx, int64_t due_ms, struct tally_slice rest,
        struct tally_slice row)
{
    (void)ctx;
    (void)due_ms;
    (void)rest;
    (void)row;
}

static struct tally_topology *with_timers(enum tally_store_id store, enum tally_store_kind kind,
        bool calls_due, bool sends)
{
    struct tally_aggregate aggregate = whole();
    struct tally_topology *topology = tally_topology_create("reservation", "");

    aggregate.has_timers = true;
    aggregate.timers = store;
    aggregate.due = calls_due ? due : NULL;
    tally_store(topology, TALLY_STORE_DEDUP, TALLY_EVENT_SOURCED);
    tally_store(topology, TALLY_STORE_RESERVATION, TALLY_EVENT_SOURCED);
    if (store != TALLY_STORE_RESERVATION) {
        tally_store(topology, store, kind);
    }
    tally_aggregate(topology, &aggregate);
    if (sends) {
        tally_sends_to(topology, "stock.commands");
    }
    return topology;
}

START_TEST(timers_are_complete)
{
    struct tally_aggregate aggregate = whole();
    struct tally_topology *topology =
            with_timers(TALLY_STORE_RESERVATION_TIMER, TALLY_EVENT_SOURCED, true, true);

    ck_assert_int_eq(tally_topology_validate(topology, NULL), TALLY_OK);
    ck_assert_ptr_eq(tally_topology_target(topology, "stock.commands"),
            tally_topology_commands(topology));
    tally_topology_destroy(topology);
    aggregate.due = due;
    refused(with(&aggregate), "topology \"stock\": aggregate \"stock\" has due, but no timers");
    refused(with_timers(TALLY_STORE_RESERVATION_TIMER, TALLY_EVENT_SOURCED, false, true),
            "topology \"reservation\": aggregate \"stock\" has timers, but lacks due");
    refused(with_timers(TALLY_STORE_RESERVATION_TIMER, TALLY_OMITTED, true, true),
            "topology \"reservation\": aggregate \"stock\" has timers in a store that is not "
            "declared, or left out");
    refused(with_timers(TALLY_STORE_RESERVATION, TALLY_EVENT_SOURCED, true, true),
            "topology \"reservation\": store \"reservation\" is not one of timers: its keys begin "
            "with no number");
    refused(with_timers(TALLY_STORE_RESERVATION_TIMER, TALLY_EVENT_SOURCED, true, false),
            "topology \"reservation\": aggregate \"stock\" has timers, but does not send to its "
            "own "
            "commands");
}
END_TEST

START_TEST(types_are_named_once_and_stand_at_their_id)
{
    static const struct tally_schema again = {
            .name = "Receive", .id = 1, .key_field = "sku", .key_prefix = ""};
    static const struct tally_schema keyless = {.name = "Receive", .id = 0, .key_prefix = ""};
    static const struct tally_schema accepted = {.name = "CommandAccepted", .id = 0};
    struct tally_aggregate aggregate = whole();

    aggregate.command_types = (const struct tally_schema *const[]){NULL};
    refused(with(&aggregate), "topology \"stock\": aggregate has no command types");
    aggregate.command_types = (const struct tally_schema *const[]){&receive, &again, NULL};
    refused(with(&aggregate), "topology \"stock\": command type \"Receive\" is named twice");
    aggregate.command_types = (const struct tally_schema *const[]){&ship, NULL};
    refused(with(&aggregate), "topology \"stock\": command type \"Ship\" has id 1 at index 0");
    aggregate.command_types = (const struct tally_schema *const[]){&keyless, NULL};
    refused(with(&aggregate),
            "topology \"stock\": command type \"Receive\" does not name its key field");
    aggregate = whole();
    aggregate.event_types = (const struct tally_schema *const[]){&accepted, NULL};
    refused(with(&aggregate),
            "topology \"stock\": event type \"CommandAccepted\" is the engine's own");
}
END_TEST

START_TEST(topics_are_legal_and_have_one_role)
{
    struct tally_aggregate aggregate = whole();
    struct tally_topology *topology;

    aggregate.events = "stock.commands";
    refused(with(&aggregate), "topology \"stock\": topic \"stock.commands\" has two roles");
    aggregate.events = "stock events";
    refused(with(&aggregate), "topology \"stock\": topic \"stock events\" is not a legal name");
    aggregate = whole();
    topology = with(&aggregate);
    tally_sends_to(topology, "reservation.commands");
    tally_sends_to(topology, "reservation.commands");
    refused(topology, "topology \"stock\": target topic \"reservation.commands\" is named twice");
    topology = with(&aggregate);
    tally_sends_to(topology, "stock.events");
    refused(topology,
            "topology \"stock\": target topic \"stock.events\" is an output of this topology");
    topology = with(&aggregate);
    tally_setting(topology, "stock.a", true);
    tally_setting(topology, "stock.a", true);
    refused(topology, "topology \"stock\": setting \"stock.a\" is named twice");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("topology");
    TCase *tcase = tcase_create("builder");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, a_whole_topology_is_valid);
    tcase_add_test(tcase, the_builder_keeps_its_first_error);
    tcase_add_test(tcase, stores_are_those_of_the_topology);
    tcase_add_test(tcase, stores_may_be_left_out);
    tcase_add_test(tcase, an_aggregate_is_complete);
    tcase_add_test(tcase, timers_are_complete);
    tcase_add_test(tcase, types_are_named_once_and_stand_at_their_id);
    tcase_add_test(tcase, topics_are_legal_and_have_one_role);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
