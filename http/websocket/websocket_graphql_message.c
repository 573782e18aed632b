/* http/websocket/websocket_graphql_message.c - see websocket_graphql_message.h. */
#include "http/websocket/websocket_graphql_message.h"

#include "http/graphql/graphql_run.h"
#include "http/websocket/websocket_spec.h"

static const char *const kinds[WEBSOCKET_GRAPHQL_KINDS] = {
        "connection_init", "ping", "pong", "subscribe", "complete"};

static const struct tally_token *parse(struct tally_slice text, struct tally_arena *arena)
{
    const struct tally_token *root = NULL;
    enum tally_refusal refusal;

    text = websocket_trim(text);
    if (text.len == 0 || text.data[0] != '{' ||
            tally_document_parse(text, arena, &root, &refusal, NULL)) {
        return NULL;
    }
    return root;
}

static bool read_kind(const struct tally_token *root, enum websocket_graphql_kind *kind)
{
    const struct tally_token *type = tally_token_member(root, "type");

    if (!type || type->type != TALLY_STRING) {
        return false;
    }
    for (unsigned i = 0; i < WEBSOCKET_GRAPHQL_KINDS; i++) {
        if (tally_slice_equal(type->string, tally_slice_string(kinds[i]))) {
            *kind = (enum websocket_graphql_kind)i;
            return true;
        }
    }
    return false;
}

static bool read_id(const struct tally_token *root, struct tally_slice *id)
{
    const struct tally_token *member = tally_token_member(root, "id");

    if (!member || member->type != TALLY_STRING || member->string.len == 0 ||
            member->string.len > WEBSOCKET_GRAPHQL_ID_BYTES_MAX) {
        return false;
    }
    *id = member->string;
    return true;
}

const char *websocket_graphql_message_read(struct tally_slice text, struct tally_arena *arena,
        struct websocket_graphql_message *message)
{
    const struct tally_token *root = parse(text, arena), *payload;
    bool names;

    *message = (struct websocket_graphql_message){.id = TALLY_NONE};
    if (!root) {
        return "expected a JSON object whose numbers are whole";
    }
    if (!read_kind(root, &message->kind)) {
        return "type: expected connection_init, ping, pong, subscribe or complete";
    }
    names = message->kind == WEBSOCKET_GRAPHQL_SUBSCRIBE ||
            message->kind == WEBSOCKET_GRAPHQL_COMPLETE;
    if (names && !read_id(root, &message->id)) {
        return "id: expected a string of 1 to 128 bytes";
    }
    payload = tally_token_member(root, "payload");
    if (payload && payload->type != TALLY_NULL && payload->type != TALLY_MAP) {
        return "payload: expected an object";
    }
    message->payload = payload && payload->type == TALLY_MAP ? payload : NULL;
    if (message->kind != WEBSOCKET_GRAPHQL_SUBSCRIBE) {
        return NULL;
    }
    return message->payload ? graphql_run_read(message->payload, &message->request)
                            : "payload: expected {query, operationName, variables}";
}
