/* http/api_sockets.c - see api_sockets.h.
 * Invariants
 *  (1) Topics and filters are those of websocket_topics: a new one is told here by itself. */
#include "http/api_sockets.h"

#include <stdio.h>

#include "http/websocket/websocket_event.h"

enum { JSON_BYTES_MAX = 4096, NAME_BYTES_MAX = 64 };

enum channel { STREAM, GRAPHQL, CHANNELS };
enum senders { CLIENT = 1, SERVER = 2, BOTH = 3 };

static const struct {
    const char *name, *address, *about, *discriminator;
} channels[CHANNELS] = {
        [STREAM] = {"stream", "/v1/stream",
                "a WebSocket: what changes, as it is committed; subprotocol tally.v1", "op"},
        [GRAPHQL] = {"graphql", "/graphql",
                "a WebSocket for GraphQL; subprotocol graphql-transport-ws", "type"},
};

struct row {
    enum channel channel;
    enum senders senders;
    const char *name, *required, *properties, *help;
};
static const struct row rows[] = {
#define X(channel, senders, name, required, properties, help) \
    {channel, senders, name, required, properties, help},
#include "http/api_sockets.def"
#undef X
};
enum { ROWS = sizeof rows / sizeof *rows };

/* Written with ' for ". */
static void write_json(struct api_text *text, const char *name, struct tally_buf *json)
{
    for (size_t i = 0; i < json->len; i++) {
        json->data[i] = json->data[i] == '\'' ? '"' : json->data[i];
    }
    tally_buf_byte(json, 0);
    tally_assert(!json->failed);
    api_text_json(text, name, (const char *)json->data);
}

static void write_channel(struct api_text *text, enum channel channel)
{
    char reference[NAME_BYTES_MAX + sizeof "#/components/messages/"];

    api_text_map(text, channels[channel].name);
    api_text_string(text, "address", channels[channel].address);
    api_text_string(text, "description", channels[channel].about);
    api_text_map(text, "messages");
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].channel == channel) {
            snprintf(reference, sizeof reference, "#/components/messages/%s.%s",
                    channels[channel].name, rows[i].name);
            api_text_map(text, rows[i].name);
            api_text_string(text, "$ref", reference);
            api_text_close(text);
        }
    }
    api_text_close(text);
    api_text_json(text, "bindings", "{\"ws\":{\"method\":\"GET\"}}");
    api_text_close(text);
}

void api_sockets_channels(struct api_text *text)
{
    for (unsigned i = 0; i < CHANNELS; i++) {
        write_channel(text, (enum channel)i);
    }
}

static void write_operation(struct api_text *text, enum channel channel, enum senders sender)
{
    const char *action = sender == CLIENT ? "receive" : "send";
    char name[NAME_BYTES_MAX];

    snprintf(name, sizeof name, "%s.%s", action, channels[channel].name);
    api_text_map(text, name);
    api_text_string(text, "action", action);
    api_text_map(text, "channel");
    api_text_format(text, "$ref", "#/channels/%s", channels[channel].name);
    api_text_close(text);
    api_text_list(text, "messages");
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].channel == channel && (rows[i].senders & sender)) {
            api_text_map(text, NULL);
            api_text_format(text, "$ref", "#/channels/%s/messages/%s", channels[channel].name,
                    rows[i].name);
            api_text_close(text);
        }
    }
    api_text_close(text);
    api_text_close(text);
}

void api_sockets_operations(struct api_text *text)
{
    for (unsigned i = 0; i < CHANNELS; i++) {
        write_operation(text, (enum channel)i, CLIENT);
        write_operation(text, (enum channel)i, SERVER);
    }
}

static void write_message(struct api_text *text, const struct row *row)
{
    const char *discriminator = channels[row->channel].discriminator;
    char name[NAME_BYTES_MAX];
    struct tally_buf json;

    tally_buf_init(&json, JSON_BYTES_MAX);
    tally_buf_format(&json,
            "{'type':'object','required':['%s'%s],'properties':{'%s':{'const':'%s'}%s}}",
            discriminator, row->required, discriminator, row->name, row->properties);
    snprintf(name, sizeof name, "%s.%s", channels[row->channel].name, row->name);
    api_text_map(text, name);
    api_text_string(text, "name", row->name);
    api_text_string(text, "summary", row->help);
    api_text_string(text, "contentType", "application/json");
    write_json(text, "payload", &json);
    api_text_close(text);
    tally_buf_deinit(&json);
}

void api_sockets_messages(struct api_text *text)
{
    for (size_t i = 0; i < ROWS; i++) {
        write_message(text, &rows[i]);
    }
}

/* The members that a filter may have, each once. */
static void write_filter(struct tally_buf *json)
{
    static const char list[] = "{'type':'array','minItems':1,'items':{'type':'string'}}";

    tally_buf_format(json,
            "{'type':'object','additionalProperties':false,'properties':{"
            "'warehouse':%s,'kind':%s",
            list, list);
    for (unsigned i = 0; i < WEBSOCKET_TOPICS; i++) {
        const char *id = websocket_topics[i].id;
        bool there = false;

        for (unsigned j = 0; j < i; j++) {
            there = there || strcmp(websocket_topics[j].id, id) == 0;
        }
        if (!there) {
            tally_buf_format(json, ",'%s':%s", id, list);
        }
    }
    tally_buf_string(json, "}}");
}

void api_sockets_schemas(struct api_text *text)
{
    struct tally_buf json;

    tally_buf_init(&json, JSON_BYTES_MAX);
    tally_buf_string(&json, "{'enum':[");
    for (unsigned i = 0; i < WEBSOCKET_TOPICS; i++) {
        tally_buf_format(&json, "%s'%s'", i > 0 ? "," : "", websocket_topics[i].name);
    }
    tally_buf_string(&json, "]}");
    write_json(text, "StreamTopic", &json);
    tally_buf_clear(&json);
    write_filter(&json);
    write_json(text, "StreamFilter", &json);
    tally_buf_deinit(&json);
}
