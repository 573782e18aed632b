/* engine/topology_describe.c - topologies as text, Graphviz, Mermaid and JSON.
 * TEXT has the form of Kafka Streams' TopologyDescription#toString, so that tools which draw that
 * form draw tally's too: each topology is one sub-topology with one source, one processor, and one
 * sink for each topic it writes, sinks sorted by name.
 * Every name is legal without escaping (topology.c, invariant 3). @thread any */
#include <stdio.h>

#include "engine/topology_internal.h"

#define SINKS_MAX     (TOPOLOGY_TARGETS_MAX + 4)
#define SINK_NAME_MAX 288

struct sink {
    char name[SINK_NAME_MAX];
    const char *topic;
};

static void add_sink(struct sink *sinks, size_t *count, const char *topic, const char *processor,
        const char *role)
{
    struct sink sink = {.topic = topic};
    size_t at = *count;

    snprintf(sink.name, sizeof sink.name, "%s-%s", processor, role);
    while (at > 0 && strcmp(sinks[at - 1].name, sink.name) > 0) {
        sinks[at] = sinks[at - 1];
        at--;
    }
    sinks[at] = sink;
    (*count)++;
}

static const char *processor_of(const struct tally_topology *topology)
{
    return topology->has_projection ? topology->projection.name : topology->aggregate.name;
}

static const char *functions_of(const struct tally_topology *topology)
{
    return topology->has_projection ? "apply" : "decide, evolve";
}

/* "commands" */
static const char *source_role(const struct tally_topology *topology)
{
    return topology->has_projection ? "events" : "commands";
}

/* Every topic that a transaction of this topology may write to. */
static size_t sinks_of(const struct tally_topology *topology, struct sink *sinks)
{
    const char *processor = processor_of(topology);
    size_t count = 0;

    if (topology->has_projection) {
        add_sink(sinks, &count, topology->changelog, processor, "changelog");
        return count;
    }
    add_sink(sinks, &count, topology->dead_letters, processor, "dead-letters");
    add_sink(sinks, &count, topology->events, processor, "events");
    add_sink(sinks, &count, topology->commands, processor, "forwards");
    if (topology->aggregate.has_timers) {
        add_sink(sinks, &count, topology->commands, processor, "timers");
    }
    for (size_t i = 0; i < topology->target_count; i++) {
        char role[SINK_NAME_MAX / 2];

        snprintf(role, sizeof role, "to-%s", topology->targets[i].name);
        add_sink(sinks, &count, topology->targets[i].topic, processor, role);
    }
    return count;
}

/* --- text ------------------------------------------------------------------------------------- */

static void describe_text(const struct tally_topology *topology, size_t index,
        struct tally_buf *out)
{
    const char *processor = processor_of(topology);
    struct sink sinks[SINKS_MAX];
    size_t count = sinks_of(topology, sinks);

    tally_buf_format(out, "  Sub-topology: %zu\n", index);
    tally_buf_format(out, "    Source: %s-%s (topics: [%s])\n      --> %s\n", processor,
            source_role(topology), tally_topology_input(topology), processor);
    tally_buf_format(out, "    Processor: %s (stores: [", processor);
    for (size_t i = 0; i < topology->store_count; i++) {
        tally_buf_format(out, "%s%s", i ? ", " : "", tally_store_name(topology->stores[i]));
    }
    tally_buf_string(out, "])\n      --> ");
    for (size_t i = 0; i < count; i++) {
        tally_buf_format(out, "%s%s", i ? ", " : "", sinks[i].name);
    }
    tally_buf_format(out, "\n      <-- %s-%s\n", processor, source_role(topology));
    for (size_t i = 0; i < count; i++) {
        tally_buf_format(out, "    Sink: %s (topic: %s)\n      <-- %s\n", sinks[i].name,
                sinks[i].topic, processor);
    }
    tally_buf_string(out, "\n");
}

/* --- Graphviz, Mermaid ------------------------------------------------------------------------ */

static void describe_dot(const struct tally_topology *topology, size_t index, struct tally_buf *out)
{
    const char *processor = processor_of(topology);
    struct sink sinks[SINKS_MAX];
    size_t count = sinks_of(topology, sinks);

    tally_buf_format(out, "  subgraph cluster_%zu {\n    label=\"%s\";\n", index, topology->name);
    tally_buf_format(out, "    \"processor %s\" [shape=box, label=\"%s\\n%s\"];\n", processor,
            processor, functions_of(topology));
    for (size_t i = 0; i < topology->store_count; i++) {
        const char *store = tally_store_name(topology->stores[i]);

        tally_buf_format(out, "    \"store %s %s\" [shape=cylinder, label=\"%s\"];\n", processor,
                store, store);
        tally_buf_format(out, "    \"processor %s\" -> \"store %s %s\" [dir=both];\n", processor,
                processor, store);
    }
    tally_buf_string(out, "  }\n");
    tally_buf_format(out, "  \"%s\" -> \"processor %s\";\n", tally_topology_input(topology),
            processor);
    for (size_t i = 0; i < count; i++) {
        tally_buf_format(out, "  \"processor %s\" -> \"%s\" [label=\"%s\"];\n", processor,
                sinks[i].topic, sinks[i].name + strlen(processor) + 1);
    }
}

/* Mermaid ids hold no '.' or '-', so nodes are numbered and named by their labels; a topic that two
 * topologies share has to be one node, hence an id made from its name. */
static void mermaid_id(const char *kind, const char *name, struct tally_buf *out)
{
    tally_buf_format(out, "%s_", kind);
    for (; *name; name++) {
        bool plain = *name != '.' && *name != '-';

        tally_buf_byte(out, plain ? (uint8_t)*name : '_');
    }
}

static void describe_mermaid(const struct tally_topology *topology, size_t index,
        struct tally_buf *out)
{
    struct sink sinks[SINKS_MAX];
    size_t count = sinks_of(topology, sinks);

    tally_buf_format(out, "  subgraph s%zu [\"%s\"]\n    p%zu[\"%s: %s\"]\n", index, topology->name,
            index, processor_of(topology), functions_of(topology));
    for (size_t i = 0; i < topology->store_count; i++) {
        tally_buf_format(out, "    p%zu <--> p%zu_%zu[(%s)]\n", index, index, i,
                tally_store_name(topology->stores[i]));
    }
    tally_buf_string(out, "  end\n  ");
    mermaid_id("topic", tally_topology_input(topology), out);
    tally_buf_format(out, "[\"%s\"] --> p%zu\n", tally_topology_input(topology), index);
    for (size_t i = 0; i < count; i++) {
        tally_buf_format(out, "  p%zu -- %s --> ", index,
                sinks[i].name + strlen(processor_of(topology)) + 1);
        mermaid_id("topic", sinks[i].topic, out);
        tally_buf_format(out, "[\"%s\"]\n", sinks[i].topic);
    }
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void json_types(const char *member, const struct tally_schema *const *schemas,
        struct tally_buf *out)
{
    tally_buf_format(out, ",\"%s\":[", member);
    for (size_t i = 0; schemas[i]; i++) {
        tally_buf_format(out, "%s{\"type\":\"%s\",\"internal\":%s}", i ? "," : "", schemas[i]->name,
                schemas[i]->internal ? "true" : "false");
    }
    tally_buf_string(out, "]");
}

static void json_windows(const struct tally_topology *topology, struct tally_buf *out)
{
    tally_buf_string(out, ",\"windows\":[");
    for (size_t i = 0; i < topology->window_count; i++) {
        const struct tally_window *window = &topology->windows[i];

        tally_buf_format(out,
                "%s{\"name\":\"%s\",\"size_ms\":%lld,\"grace_ms\":%lld,\"retention_ms\":%lld}",
                i ? "," : "", window->name, (long long)window->size_ms, (long long)window->grace_ms,
                (long long)window->retention_ms);
    }
    tally_buf_string(out, "]");
}

static void describe_json_projection(const struct tally_topology *topology, struct tally_buf *out)
{
    tally_buf_format(out, "{\"name\":\"%s\",\"projection\":\"%s\",\"version\":%u", topology->name,
            topology->projection.name, topology->projection.version);
    tally_buf_format(out, ",\"events\":\"%s\",\"source\":\"%s\",\"changelog\":\"%s\"",
            topology->source, topology->projection.source, topology->changelog);
    tally_buf_format(out, ",\"stores\":[{\"name\":\"%s\",\"kind\":\"changelogged\"}]",
            tally_store_name(topology->stores[0]));
    json_windows(topology, out);
    json_types("event_types", topology->projection.event_types, out);
    tally_buf_string(out, "}");
}

static void describe_json(const struct tally_topology *topology, struct tally_buf *out)
{
    const struct tally_aggregate *aggregate = &topology->aggregate;

    tally_buf_format(out, "{\"name\":\"%s\",\"aggregate\":\"%s\",\"evolve_version\":%u",
            topology->name, aggregate->name, aggregate->evolve_version);
    tally_buf_format(out,
            ",\"commands\":\"%s\",\"events\":\"%s\",\"dead_letters\":\"%s\",\"sends_to\":[",
            topology->commands, topology->events, topology->dead_letters);
    for (size_t i = 0; i < topology->target_count; i++) {
        tally_buf_format(out, "%s\"%s\"", i ? "," : "", topology->targets[i].topic);
    }
    tally_buf_string(out, "],\"stores\":[");
    for (size_t i = 0; i < topology->store_count; i++) {
        tally_buf_format(out, "%s{\"name\":\"%s\",\"kind\":\"event-sourced\"}", i ? "," : "",
                tally_store_name(topology->stores[i]));
    }
    tally_buf_string(out, "],\"timers\":");
    if (aggregate->has_timers) {
        tally_buf_format(out, "\"%s\"", tally_store_name(aggregate->timers));
    } else {
        tally_buf_string(out, "null");
    }
    tally_buf_string(out, ",\"settings\":{");
    for (size_t i = 0; i < topology->setting_count; i++) {
        tally_buf_format(out, "%s\"%s\":%s", i ? "," : "", topology->settings[i].name,
                topology->settings[i].value ? "true" : "false");
    }
    tally_buf_string(out, "}");
    json_types("command_types", aggregate->command_types, out);
    json_types("event_types", aggregate->event_types, out);
    tally_buf_string(out, "}");
}

void tally_topology_describe(struct tally_topology *const *topologies, size_t count,
        enum tally_describe form, struct tally_buf *out)
{
    static const char *const head[] = {[TALLY_DESCRIBE_TEXT] = "Topologies:\n ",
            [TALLY_DESCRIBE_DOT] = "digraph tally {\n  rankdir=LR;\n",
            [TALLY_DESCRIBE_MERMAID] = "flowchart LR\n",
            [TALLY_DESCRIBE_JSON] = "{\"topologies\":["};
    static const char *const foot[] = {[TALLY_DESCRIBE_TEXT] = "",
            [TALLY_DESCRIBE_DOT] = "}\n",
            [TALLY_DESCRIBE_MERMAID] = "",
            [TALLY_DESCRIBE_JSON] = "]}\n"};

    tally_buf_string(out, head[form]);
    for (size_t i = 0; i < count; i++) {
        switch (form) {
        case TALLY_DESCRIBE_TEXT:
            describe_text(topologies[i], i, out);
            break;
        case TALLY_DESCRIBE_DOT:
            describe_dot(topologies[i], i, out);
            break;
        case TALLY_DESCRIBE_MERMAID:
            describe_mermaid(topologies[i], i, out);
            break;
        case TALLY_DESCRIBE_JSON:
            tally_buf_string(out, i ? "," : "");
            if (topologies[i]->has_projection) {
                describe_json_projection(topologies[i], out);
            } else {
                describe_json(topologies[i], out);
            }
            break;
        }
    }
    tally_buf_string(out, foot[form]);
}
