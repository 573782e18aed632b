/* engine/topology.c - the builder: what a topology reads, keeps, writes and depends on.
 * Invariants
 *  (1) The builder keeps its first error; later calls do nothing, tally_topology_validate tells it.
 *  (2) A topology that validated is complete: the engine checks none of this again.
 *  (3) Every name in it is legal in Kafka, in paths and in documents without escaping.
 *  (4) Settings are kept sorted by name: their text is part of a task directory's identity.
 * Ownership: names, schemas and functions of an aggregate are borrowed from the caller, who keeps
 * them as long as the topology (they are constants); names with prefix are made here.
 * Leaves out: what must be there (topology_check.c), topics between topologies (topics.c of the
 * tools), the text forms (topology_describe.c).
 * @thread init, then any: read only. */
#include "engine/topology.h"

#include <stdio.h>

#include "engine/base/mem.h"
#include "engine/topology_internal.h"

struct tally_topology *tally_topology_create(const char *name, const char *topics_prefix)
{
    struct tally_topology *topology = tally_alloc_zero(1, sizeof *topology);

    topology->name = tally_copy_string(name);
    topology->prefix = tally_copy_string(topics_prefix ? topics_prefix : "");
    topology->settings_text = tally_copy_string("");
    topology->omitted_text = tally_copy_string("");
    return topology;
}

void tally_topology_destroy(struct tally_topology *topology)
{
    if (!topology) {
        return;
    }
    for (size_t i = 0; i < topology->target_count; i++) {
        tally_free(topology->targets[i].name);
        tally_free(topology->targets[i].topic);
    }
    for (size_t i = 0; i < topology->setting_count; i++) {
        tally_free(topology->settings[i].name);
    }
    tally_free(topology->commands);
    tally_free(topology->events);
    tally_free(topology->dead_letters);
    tally_free(topology->source);
    tally_free(topology->changelog);
    tally_free(topology->settings_text);
    tally_free(topology->omitted_text);
    tally_free(topology->prefix);
    tally_free(topology->name);
    tally_free(topology);
}

/* --- builder ---------------------------------------------------------------------------------- */

#define fail topology_fail

/* Names of the stores that are left out, sorted, so that the text does not depend on the order in
 * which they were declared. */
static void write_omitted_text(struct tally_topology *topology)
{
    const char *last = "", *next;
    struct tally_buf text;

    tally_buf_init(&text, TALLY_STORES * 64);
    do {
        next = NULL;
        for (enum tally_store_id store = 0; store < TALLY_STORES; store++) {
            const char *name = tally_store_name(store);

            if (topology->omitted[store] && strcmp(name, last) > 0 &&
                    (!next || strcmp(name, next) < 0)) {
                next = name;
            }
        }
        if (next) {
            tally_buf_format(&text, "%s%s", text.len > 0 ? "," : "", next);
            last = next;
        }
    } while (next);
    tally_buf_byte(&text, 0);
    tally_assert(!text.failed);
    tally_free(topology->omitted_text);
    topology->omitted_text = tally_copy_string((const char *)text.data);
    tally_buf_deinit(&text);
}

void tally_store(struct tally_topology *topology, enum tally_store_id store,
        enum tally_store_kind kind)
{
    enum tally_store_id known;
    bool declared;

    if (topology->error.code) {
        return;
    }
    if ((unsigned)store >= TALLY_STORES) {
        fail(topology, "store %d is not in key_schema.def: add a row", (int)store);
        return;
    }
    if (!tally_store_find(topology->name, tally_store_name(store), &known) || known != store) {
        fail(topology, "store \"%s\" is not a store of this topology: see key_schema.def",
                tally_store_name(store));
        return;
    }
    declared = topology->omitted[store];
    for (size_t i = 0; i < topology->store_count; i++) {
        declared |= topology->stores[i] == store;
    }
    if (declared) {
        fail(topology, "store \"%s\" is declared twice", tally_store_name(store));
        return;
    }
    if (kind == TALLY_OMITTED) {
        topology->omitted[store] = true;
        write_omitted_text(topology);
        return;
    }
    topology->stores[topology->store_count++] = store; /* distinct ids, so it fits */
    topology->changelogged[store] = kind == TALLY_CHANGELOGGED;
    if (kind == TALLY_CHANGELOGGED && !topology->changelog) {
        topology->changelog = tally_copy_format("%stally-%s-%s-changelog", topology->prefix,
                topology->name, tally_store_name(store));
    }
}

void tally_store_if(struct tally_topology *topology, enum tally_store_id store, bool kept)
{
    tally_store(topology, store, kept ? TALLY_EVENT_SOURCED : TALLY_OMITTED);
}

void tally_aggregate(struct tally_topology *topology, const struct tally_aggregate *aggregate)
{
    if (topology->error.code) {
        return;
    }
    if (topology->has_aggregate) {
        fail(topology, "aggregate \"%s\" is a second one", aggregate->name ? aggregate->name : "");
        return;
    }
    topology->aggregate = *aggregate;
    topology->has_aggregate = true;
    if (aggregate->commands) {
        topology->commands = tally_copy_format("%s%s", topology->prefix, aggregate->commands);
        topology->dead_letters =
                tally_copy_format("%s%s-dlt", topology->prefix, aggregate->commands);
    }
    if (aggregate->events) {
        topology->events = tally_copy_format("%s%s", topology->prefix, aggregate->events);
    }
}

void tally_projection(struct tally_topology *topology, const struct tally_projection *projection)
{
    if (topology->error.code) {
        return;
    }
    if (topology->has_projection) {
        fail(topology, "projection \"%s\" is a second one",
                projection->name ? projection->name : "");
        return;
    }
    topology->projection = *projection;
    topology->has_projection = true;
    if (projection->events) {
        topology->source = tally_copy_format("%s%s", topology->prefix, projection->events);
    }
}

void tally_windows(struct tally_topology *topology, const struct tally_window *window)
{
    if (topology->error.code) {
        return;
    }
    if (topology->window_count == TOPOLOGY_WINDOWS_MAX) {
        fail(topology, "window \"%s\" is one more than %d", window->name, TOPOLOGY_WINDOWS_MAX);
        return;
    }
    topology->windows[topology->window_count++] = *window;
}

void tally_sends_to(struct tally_topology *topology, const char *topic)
{
    struct topology_target *target;

    if (topology->error.code) {
        return;
    }
    if (tally_topology_target(topology, topic)) {
        fail(topology, "target topic \"%s\" is named twice", topic);
        return;
    }
    if (topology->target_count == TOPOLOGY_TARGETS_MAX) {
        fail(topology, "target topic \"%s\" is one more than %d", topic, TOPOLOGY_TARGETS_MAX);
        return;
    }
    target = &topology->targets[topology->target_count++];
    target->name = tally_copy_string(topic);
    target->topic = tally_copy_format("%s%s", topology->prefix, topic);
}

static void write_settings_text(struct tally_topology *topology)
{
    struct tally_buf text;

    tally_buf_init(&text, TOPOLOGY_SETTINGS_MAX * 160);
    for (size_t i = 0; i < topology->setting_count; i++) {
        tally_buf_format(&text, "%s%s=%s", i ? "," : "", topology->settings[i].name,
                topology->settings[i].value ? "true" : "false");
    }
    tally_buf_byte(&text, 0);
    tally_assert(!text.failed);
    tally_free(topology->settings_text);
    topology->settings_text = tally_copy_string((const char *)text.data);
    tally_buf_deinit(&text);
}

void tally_setting(struct tally_topology *topology, const char *name, bool value)
{
    size_t at = 0;

    if (topology->error.code) {
        return;
    }
    while (at < topology->setting_count && strcmp(topology->settings[at].name, name) < 0) {
        at++;
    }
    if (at < topology->setting_count && !strcmp(topology->settings[at].name, name)) {
        fail(topology, "setting \"%s\" is named twice", name);
        return;
    }
    if (topology->setting_count == TOPOLOGY_SETTINGS_MAX || !topology_name_legal(name)) {
        fail(topology, "setting \"%s\" is one more than %d, or not a name", name,
                TOPOLOGY_SETTINGS_MAX);
        return;
    }
    memmove(&topology->settings[at + 1], &topology->settings[at],
            (topology->setting_count - at) * sizeof topology->settings[0]);
    topology->settings[at] = (struct topology_setting){tally_copy_string(name), value};
    topology->setting_count++;
    write_settings_text(topology);
}

/* --- validation ------------------------------------------------------------------------------- */

bool topology_name_legal(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len > 128 || !strcmp(name, ".") || !strcmp(name, "..")) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        char c = name[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
                c != '.' && c != '_' && c != '-') {
            return false;
        }
    }
    return true;
}

enum tally_code tally_topology_validate(struct tally_topology *topology, struct tally_error *err)
{
    topology_check(topology);
    if (topology->error.code && err) {
        *err = topology->error;
        tally_error_context(err, "topology \"%s\"", topology->name);
    }
    return topology->error.code;
}

/* --- a built topology ------------------------------------------------------------------------- */

const char *tally_topology_name(const struct tally_topology *topology)
{
    return topology->name;
}

const struct tally_aggregate *tally_topology_aggregate(const struct tally_topology *topology)
{
    return topology->has_aggregate ? &topology->aggregate : NULL;
}

const struct tally_projection *tally_topology_projection(const struct tally_topology *topology)
{
    return topology->has_projection ? &topology->projection : NULL;
}

const char *tally_topology_input(const struct tally_topology *topology)
{
    return topology->has_projection ? topology->source : topology->commands;
}

const char *tally_topology_output(const struct tally_topology *topology)
{
    return topology->has_projection ? topology->changelog : topology->events;
}

const char *tally_topology_group(const struct tally_topology *topology)
{
    return topology->has_projection ? topology->name : NULL;
}

uint32_t tally_topology_version(const struct tally_topology *topology)
{
    return topology->has_projection ? topology->projection.version
                                    : topology->aggregate.evolve_version;
}

size_t tally_topology_windows(const struct tally_topology *topology,
        const struct tally_window **windows)
{
    *windows = topology->windows;
    return topology->window_count;
}

const char *tally_topology_commands(const struct tally_topology *topology)
{
    return topology->commands;
}

const char *tally_topology_events(const struct tally_topology *topology)
{
    return topology->events;
}

const char *tally_topology_dead_letters(const struct tally_topology *topology)
{
    return topology->dead_letters;
}

const char *tally_topology_target(const struct tally_topology *topology, const char *topic)
{
    for (size_t i = 0; i < topology->target_count; i++) {
        if (!strcmp(topology->targets[i].name, topic)) {
            return !topology->commands || strcmp(topology->targets[i].topic, topology->commands)
                           ? topology->targets[i].topic
                           : topology->commands; /* one list with forwards */
        }
    }
    return NULL;
}

const char *tally_topology_settings(const struct tally_topology *topology)
{
    return topology->settings_text;
}

bool tally_topology_setting(const struct tally_topology *topology, const char *name)
{
    size_t at = 0;

    while (at < topology->setting_count && strcmp(topology->settings[at].name, name)) {
        at++;
    }
    tally_assert(at < topology->setting_count); /* decide asks only for what its topology named */
    return topology->settings[at].value;
}

size_t tally_topology_stores(const struct tally_topology *topology,
        const enum tally_store_id **stores)
{
    *stores = topology->stores;
    return topology->store_count;
}

bool tally_topology_keeps(const struct tally_topology *topology, enum tally_store_id store)
{
    return !topology->omitted[store];
}

const char *tally_topology_omitted(const struct tally_topology *topology)
{
    return topology->omitted_text;
}
