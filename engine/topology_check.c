/* engine/topology_check.c - what must be there before a topology may run: its names, its functions,
 * its types, its stores. The first mistake stays (topology.c, invariant 1). @thread init */
#include "engine/topology_internal.h"

#define fail topology_fail

/* Schemas stand at the index of their id (tally_emit relies on it) and have names of their own. */
static void check_schemas(struct tally_topology *topology, const char *what,
        const struct tally_schema *const *schemas, bool commands)
{
    if (!schemas || !schemas[0]) {
        fail(topology, "%s has no %s types", topology->has_projection ? "projection" : "aggregate",
                what);
        return;
    }
    for (uint32_t i = 0; schemas[i]; i++) {
        const struct tally_schema *schema = schemas[i];

        if (!schema->name || !topology_name_legal(schema->name)) {
            fail(topology, "%s type %u has no legal name", what, i);
            return;
        }
        if (schema->id != i) {
            fail(topology, "%s type \"%s\" has id %u at index %u", what, schema->name, schema->id,
                    i);
        }
        if (commands && (!schema->key_field || !schema->key_prefix)) {
            fail(topology, "%s type \"%s\" does not name its key field", what, schema->name);
        }
        if (!commands && (!strcmp(schema->name, TALLY_EVENT_ACCEPTED) ||
                                 !strcmp(schema->name, TALLY_EVENT_REJECTED))) {
            fail(topology, "%s type \"%s\" is the engine's own", what, schema->name);
        }
        for (uint32_t other = 0; other < i; other++) {
            if (!strcmp(schemas[other]->name, schema->name)) {
                fail(topology, "%s type \"%s\" is named twice", what, schema->name);
            }
        }
    }
}

static bool keeps(const struct tally_topology *topology, enum tally_store_id store)
{
    for (size_t i = 0; i < topology->store_count; i++) {
        if (topology->stores[i] == store) {
            return true;
        }
    }
    return false;
}

static void check_timers(struct tally_topology *topology)
{
    const struct tally_aggregate *aggregate = &topology->aggregate;

    if (!aggregate->has_timers) {
        if (aggregate->due) {
            fail(topology, "aggregate \"%s\" has due, but no timers", aggregate->name);
        }
        return;
    }
    if (!aggregate->due) {
        fail(topology, "aggregate \"%s\" has timers, but lacks due", aggregate->name);
        return;
    }
    if (!keeps(topology, aggregate->timers)) {
        fail(topology, "aggregate \"%s\" has timers in a store that is not declared, or left out",
                aggregate->name);
        return;
    }
    if (tally_store_parts(aggregate->timers)[0] != 'q') {
        fail(topology, "store \"%s\" is not one of timers: its keys begin with no number",
                tally_store_name(aggregate->timers));
    }
    if (aggregate->commands && !tally_topology_target(topology, aggregate->commands)) {
        fail(topology, "aggregate \"%s\" has timers, but does not send to its own commands",
                aggregate->name);
    }
}

static void check_aggregate(struct tally_topology *topology)
{
    const struct tally_aggregate *aggregate = &topology->aggregate;

    if (!aggregate->name || !topology_name_legal(aggregate->name)) {
        fail(topology, "aggregate has no legal name");
        return;
    }
    if (!aggregate->commands || !aggregate->events) {
        fail(topology, "aggregate \"%s\" lacks its commands or events topic", aggregate->name);
    }
    if (!aggregate->touch || !aggregate->decide || !aggregate->evolve || !aggregate->remember ||
            !aggregate->result) {
        fail(topology, "aggregate \"%s\" lacks one of touch, decide, evolve, remember, result",
                aggregate->name);
    }
    if (aggregate->evolve_version == 0) {
        fail(topology, "aggregate \"%s\" has evolve_version 0: start with 1", aggregate->name);
    }
    check_schemas(topology, "command", aggregate->command_types, true);
    check_schemas(topology, "event", aggregate->event_types, false);
}

static void check_topics(struct tally_topology *topology)
{
    const char *own[] = {topology->commands, topology->events, topology->dead_letters};

    for (size_t i = 0; i < 3; i++) {
        if (!topology_name_legal(own[i])) {
            fail(topology, "topic \"%s\" is not a legal name", own[i]);
        }
        for (size_t other = 0; other < i; other++) {
            if (!strcmp(own[i], own[other])) {
                fail(topology, "topic \"%s\" has two roles", own[i]);
            }
        }
    }
    for (size_t i = 0; i < topology->target_count; i++) {
        const char *topic = topology->targets[i].topic;

        if (!topology_name_legal(topic)) {
            fail(topology, "target topic \"%s\" is not a legal name", topic);
        }
        /* A saga may send to its own commands; events and dead letters have one writer each. */
        if (!strcmp(topic, own[1]) || !strcmp(topic, own[2])) {
            fail(topology, "target topic \"%s\" is an output of this topology", topic);
        }
    }
}

static void check_stores(struct tally_topology *topology)
{
    for (size_t i = 0; i < topology->store_count; i++) {
        if (topology->changelogged[topology->stores[i]]) {
            fail(topology, "store \"%s\" of an aggregate is changelogged: its events restore it",
                    tally_store_name(topology->stores[i]));
        }
    }
    if (!topology->omitted[TALLY_STORE_DEDUP] && !keeps(topology, TALLY_STORE_DEDUP)) {
        fail(topology, "store \"dedup\" is missing: outcomes are kept there");
    }
    if (topology->window_count > 0) {
        fail(topology, "window \"%s\" of an aggregate: only projections have windows",
                topology->windows[0].name);
    }
}

static void check_windows(struct tally_topology *topology)
{
    for (size_t i = 0; i < topology->window_count; i++) {
        const struct tally_window *window = &topology->windows[i];

        if (!window->name || !topology_name_legal(window->name)) {
            fail(topology, "window %zu has no legal name", i);
            return;
        }
        if (window->size_ms <= 0 || window->grace_ms < 0 ||
                window->retention_ms < window->grace_ms) {
            fail(topology, "window \"%s\": its rows go while it still takes events", window->name);
        }
    }
}

static void check_projection(struct tally_topology *topology)
{
    const struct tally_projection *projection = &topology->projection;

    if (!projection->name || !topology_name_legal(projection->name)) {
        fail(topology, "projection has no legal name");
        return;
    }
    if (!projection->events || !projection->source || !topology_name_legal(topology->source)) {
        fail(topology, "projection \"%s\" lacks its events topic or their aggregate",
                projection->name);
    }
    if (!projection->touch || !projection->apply) {
        fail(topology, "projection \"%s\" lacks touch or apply", projection->name);
    }
    if (projection->version == 0) {
        fail(topology, "projection \"%s\" has version 0: start with 1", projection->name);
    }
    if (topology->store_count != 1 || !topology->changelog) {
        fail(topology, "projection \"%s\" needs one store, changelogged", projection->name);
    } else if (!topology_name_legal(topology->changelog)) {
        fail(topology, "topic \"%s\" is not a legal name", topology->changelog);
    }
    if (topology->target_count > 0) {
        fail(topology, "projection \"%s\" sends to a topic", projection->name);
    }
    check_schemas(topology, "event", projection->event_types, false);
    check_windows(topology);
}

void topology_check(struct tally_topology *topology)
{
    if (!topology_name_legal(topology->name)) {
        fail(topology, "its name is not legal");
    }
    if (topology->has_aggregate == topology->has_projection) {
        fail(topology, topology->has_aggregate ? "an aggregate and a projection"
                                               : "no aggregate and no projection");
        return;
    }
    if (topology->has_projection) {
        check_projection(topology);
        return;
    }
    check_aggregate(topology);
    if (!topology->error.code) {
        check_topics(topology);
        check_timers(topology);
    }
    check_stores(topology);
}
