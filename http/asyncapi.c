/* http/asyncapi.c - AsyncAPI 3 of the topics of this instance's topologies: a channel for each
 * topic that tally reads or writes, a message for each record that may be on it; and of its
 * WebSockets (api_sockets.c).
 * Invariants
 *  (1) Every topic of a topology is a channel, and every row of a record table is a message of the
 *      channel that it is written to. */
#include "http/api_documents.h"

#include <stdio.h>

#include "engine/base/version.h"
#include "http/api_schema.h"
#include "http/api_sockets.h"
#include "http/audit.h"

enum { NAME_BYTES_MAX = 320 };

static const char *const outcome_schema =
        "{\"type\":\"object\",\"required\":[\"command\",\"fingerprint\",\"status\"],\"properties\":"
        "{"
        "\"command\":{\"type\":\"string\"},\"fingerprint\":{\"type\":\"string\"},"
        "\"status\":{\"type\":\"string\",\"enum\":[\"ACCEPTED\",\"REJECTED\",\"PENDING\"]}}}";

#define NULLABLE "{\"type\":[\"string\",\"null\"]}"
static const char *const audit_schema =
        "{\"type\":\"object\",\"required\":[\"time\",\"instance\",\"principal\",\"by\",\"role\","
        "\"client\",\"method\",\"route\",\"path\",\"command_id\",\"type\",\"outcome\",\"code\","
        "\"position\",\"status\"],\"properties\":{\"time\":{\"type\":\"string\",\"format\":"
        "\"date-time\"},\"instance\":{\"type\":\"string\"},\"principal\":" NULLABLE
        ",\"by\":" NULLABLE ",\"role\":{\"type\":\"string\"},\"client\":" NULLABLE
        ",\"method\":{\"type\":\"string\"},\"route\":{\"type\":\"string\"},\"path\":{\"type\":"
        "\"string\"},\"command_id\":" NULLABLE ",\"type\":" NULLABLE ",\"outcome\":" NULLABLE
        ",\"code\":" NULLABLE ",\"position\":" NULLABLE ",\"status\":{\"type\":\"integer\"}}}";
#undef NULLABLE

struct name {
    char text[NAME_BYTES_MAX];
};

static struct name name_of(const char *first, const char *second)
{
    struct name name;

    snprintf(name.text, sizeof name.text, "%.150s%s%.150s", first, second[0] ? "." : "", second);
    return name;
}

static struct name name_of_topic(const struct tally_config *config, const char *topic)
{
    struct name name;

    snprintf(name.text, sizeof name.text, "%.64s%.200s", config->topics_prefix, topic);
    return name;
}

/* "stock.commands", whatever topics.prefix is. */
static struct name channel_of(const struct tally_aggregate *aggregate, bool commands)
{
    return name_of(commands ? aggregate->commands : aggregate->events, "");
}

static void write_reference(struct api_text *text, const char *name, const char *kind,
        const char *component)
{
    api_text_map(text, name);
    api_text_format(text, "$ref", "#/%s/%s", kind, component);
    api_text_close(text);
}

/* --- channels --------------------------------------------------------------------------------- */

static void begin_channel(struct api_text *text, const char *name, const char *topic,
        const char *about)
{
    api_text_map(text, name);
    api_text_string(text, "address", topic);
    api_text_string(text, "description", about);
}

static void write_messages(struct api_text *text, const char *channel,
        const struct tally_schema *const *types, bool events)
{
    static const char *const outcomes[] = {TALLY_EVENT_ACCEPTED, TALLY_EVENT_REJECTED};

    api_text_map(text, "messages");
    for (; *types; types++) {
        write_reference(text, (*types)->name, "components/messages",
                name_of(channel, (*types)->name).text);
    }
    for (size_t i = 0; events && i < 2; i++) {
        write_reference(text, outcomes[i], "components/messages", outcomes[i]);
    }
    api_text_close(text);
}

static void write_plain(struct api_text *text, const char *name, const char *topic,
        const char *about, const char *message)
{
    begin_channel(text, name, topic, about);
    api_text_map(text, "messages");
    write_reference(text, message, "components/messages", message);
    api_text_close(text);
    api_text_close(text);
}

static void write_aggregate_channels(struct api_text *text, const struct tally_topology *topology)
{
    const struct tally_aggregate *aggregate = tally_topology_aggregate(topology);
    struct name commands = channel_of(aggregate, true), events = channel_of(aggregate, false);

    begin_channel(text, commands.text, tally_topology_commands(topology),
            "commands, decided one after the other by the owner of their key; 'internal' ones are "
            "tally's own");
    write_messages(text, commands.text, aggregate->command_types, false);
    api_text_close(text);
    begin_channel(text, events.text, tally_topology_events(topology),
            "one event for each command: what happened, or its outcome alone; never deleted");
    write_messages(text, events.text, aggregate->event_types, true);
    api_text_close(text);
    write_plain(text, name_of(aggregate->commands, "dead-letters").text,
            tally_topology_dead_letters(topology),
            "what cannot be decoded, unchanged, with the reason in headers", "DeadLetter");
}

static void write_channels(struct api_text *text, const struct tally_config *config,
        struct tally_topology *const *topologies, size_t count)
{
    api_text_map(text, "channels");
    for (size_t i = 0; i < count; i++) {
        if (tally_topology_aggregate(topologies[i])) {
            write_aggregate_channels(text, topologies[i]);
        } else {
            write_plain(text, name_of(tally_topology_name(topologies[i]), "changelog").text,
                    tally_topology_output(topologies[i]),
                    "the last value of each row of a projection; private to tally", "Row");
        }
    }
    begin_channel(text, "replies", "tally.replies",
            "outcomes for those who asked with the headers reply-topic and correlation-id; the "
            "address is the sender's choice");
    api_text_map(text, "messages");
    write_reference(text, "Outcome", "components/messages", "Outcome");
    api_text_close(text);
    api_text_close(text);
    if (config->http_audit) {
        write_plain(text, "audit", name_of_topic(config, AUDIT_TOPIC).text,
                "who has written or operated what over HTTP; best effort", "Audit");
    }
    api_sockets_channels(text);
    api_text_close(text);
}

/* --- operations ------------------------------------------------------------------------------- */

static void write_operation(struct api_text *text, const char *action, const char *channel,
        bool replies)
{
    api_text_map(text, name_of(action, channel).text);
    api_text_string(text, "action", action);
    write_reference(text, "channel", "channels", channel);
    if (replies) {
        api_text_map(text, "reply");
        api_text_map(text, "address");
        api_text_string(text, "location", "$message.header#/reply-topic");
        api_text_close(text);
        write_reference(text, "channel", "channels", "replies");
        api_text_close(text);
    }
    api_text_close(text);
}

static void write_operations(struct api_text *text, const struct tally_config *config,
        struct tally_topology *const *topologies, size_t count)
{
    api_text_map(text, "operations");
    for (size_t i = 0; i < count; i++) {
        const struct tally_aggregate *aggregate = tally_topology_aggregate(topologies[i]);

        if (aggregate) {
            write_operation(text, "receive", channel_of(aggregate, true).text, true);
            write_operation(text, "send", channel_of(aggregate, false).text, false);
            write_operation(text, "send", name_of(aggregate->commands, "dead-letters").text, false);
        } else {
            write_operation(text, "send",
                    name_of(tally_topology_name(topologies[i]), "changelog").text, false);
        }
    }
    if (config->http_audit) {
        write_operation(text, "send", "audit", false);
    }
    api_sockets_operations(text);
    api_text_close(text);
}

/* --- messages --------------------------------------------------------------------------------- */

static void write_command(struct api_text *text, const char *channel,
        const struct tally_schema *schema)
{
    api_text_map(text, name_of(channel, schema->name).text);
    api_text_string(text, "name", schema->name);
    api_text_string(text, "title", schema->name);
    api_text_string(text, "summary", schema->help ? schema->help : "");
    api_text_string(text, "contentType", "application/json");
    api_text_bool(text, "x-tally-internal", schema->internal);
    api_text_format(text, "x-tally-key", "%s%s", schema->key_prefix, schema->key_field);
    api_schema_record(text, "payload", schema, API_COMMAND, NULL);
    api_text_close(text);
}

/* The envelope, with the members of the table in `payload`. schema NULL: an outcome alone. */
static void write_event(struct api_text *text, const char *key, const char *type,
        const struct tally_schema *schema)
{
    api_text_map(text, key);
    api_text_string(text, "name", type);
    api_text_string(text, "title", type);
    api_text_string(text, "contentType", "application/msgpack");
    api_text_map(text, "payload");
    api_text_string(text, "type", "object");
    api_text_json(text, "required",
            "[\"id\",\"type\",\"version\",\"time\",\"causation_id\",\"payload\"]");
    api_text_map(text, "properties");
    api_text_json(text, "id", "{\"type\":\"string\"}");
    api_text_map(text, "type");
    api_text_string(text, "const", type);
    api_text_close(text);
    api_text_json(text, "version", "{\"type\":\"string\"}");
    api_text_json(text, "source", "{\"type\":\"string\"}");
    api_text_json(text, "time", "{\"type\":\"string\",\"format\":\"date-time\"}");
    api_text_json(text, "actor", "{\"type\":\"string\"}");
    api_text_json(text, "correlation_id", "{\"type\":\"string\"}");
    api_text_json(text, "causation_id", "{\"type\":\"string\"}");
    api_text_map(text, "payload");
    api_text_list(text, "allOf");
    if (schema) {
        api_schema_record(text, NULL, schema, API_OPEN, NULL);
    }
    api_text_map(text, NULL);
    api_text_string(text, "type", "object");
    api_text_map(text, "properties");
    api_text_json(text, "outcome", outcome_schema);
    api_text_close(text);
    for (int i = 0; i < 6; i++) {
        api_text_close(text);
    }
}

static void write_message(struct api_text *text, const char *name, const char *summary,
        const char *type, const char *payload)
{
    api_text_map(text, name);
    api_text_string(text, "name", name);
    api_text_string(text, "summary", summary);
    api_text_string(text, "contentType", type);
    api_text_json(text, "payload", payload);
    api_text_close(text);
}

static void write_all_messages(struct api_text *text, struct tally_topology *const *topologies,
        size_t count)
{
    api_text_map(text, "messages");
    for (size_t i = 0; i < count; i++) {
        const struct tally_aggregate *aggregate = tally_topology_aggregate(topologies[i]);

        for (size_t j = 0; aggregate && aggregate->command_types[j]; j++) {
            write_command(text, aggregate->commands, aggregate->command_types[j]);
        }
        for (size_t j = 0; aggregate && aggregate->event_types[j]; j++) {
            write_event(text, name_of(aggregate->events, aggregate->event_types[j]->name).text,
                    aggregate->event_types[j]->name, aggregate->event_types[j]);
        }
    }
    write_event(text, TALLY_EVENT_ACCEPTED, TALLY_EVENT_ACCEPTED, NULL);
    write_event(text, TALLY_EVENT_REJECTED, TALLY_EVENT_REJECTED, NULL);
    write_message(text, "DeadLetter", "the record as it came", "application/octet-stream",
            "{\"type\":\"string\"}");
    write_message(text, "Row", "a row of a store", "application/octet-stream",
            "{\"type\":\"string\"}");
    write_message(text, "Outcome", "what came of a command", "application/json",
            "{\"type\":\"object\",\"required\":[\"command_id\",\"type\",\"key\",\"status\","
            "\"duplicate\"]}");
    write_message(text, "Audit", "a command or an operation over HTTP, and who asked for it",
            "application/json", audit_schema);
    api_sockets_messages(text);
    api_text_close(text);
}

void asyncapi_write(struct tally_runtime *runtime, struct tally_buf *out)
{
    size_t count;
    struct tally_topology *const *topologies = tally_runtime_topologies(runtime, &count);
    const struct tally_config *config = tally_runtime_config(runtime);
    struct api_text text;

    api_text_begin(&text, out, API_YAML);
    api_text_string(&text, "asyncapi", "3.0.0");
    api_text_map(&text, "info");
    api_text_string(&text, "title", "tally");
    api_text_string(&text, "version", tally_version());
    api_text_string(&text, "description",
            "Commands and events of tally on Kafka. A record is a JSON object or a MessagePack "
            "map; partitions by murmur2 of the key. And the messages of its WebSockets.");
    api_text_close(&text);
    write_channels(&text, config, topologies, count);
    write_operations(&text, config, topologies, count);
    api_text_map(&text, "components");
    api_text_map(&text, "schemas");
    api_text_json(&text, "CommandId", "{\"type\":\"string\",\"minLength\":1,\"maxLength\":64}");
    api_sockets_schemas(&text);
    api_text_close(&text);
    write_all_messages(&text, topologies, count);
    api_text_close(&text);
    api_text_end(&text);
}
