/* tests/fuzz/fuzz_websocket.c - any bytes as what a WebSocket sends. Cut in other places they give
 * the same messages and the same end; what is kept of them is bounded; a text is a subscription or
 * refused with a code; a message of graphql-transport-ws has what its kind needs, or is none. */
#include <stdlib.h>

#include "http/websocket/websocket_frame.h"
#include "http/websocket/websocket_graphql_message.h"
#include "http/websocket/websocket_spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEEN_MAX = 1024 * 1024, PARTITIONS = 4 };

static void subscribe(struct tally_slice text)
{
    static struct tally_arena arena;
    const struct tally_token *root = NULL;
    enum tally_refusal why;
    struct tally_error err;
    struct websocket_refusal refusal = {.code = NULL};
    struct websocket_place places[PARTITIONS] = {{.named = false}};
    struct websocket_spec *spec;

    if (!arena.block_size) {
        tally_arena_init(&arena, 4096);
    }
    tally_arena_reset(&arena, 65536);
    if (text.len == 0 || text.data[0] != '{' ||
            tally_document_parse(text, &arena, &root, &why, &err)) {
        return;
    }
    spec = websocket_spec_read(root, &refusal);
    tally_assert(!spec == !!refusal.code);
    if (spec && !websocket_spec_places(spec, "stock.events", places, PARTITIONS, &refusal)) {
        tally_assert(refusal.code);
    }
    websocket_spec_release(spec);
}

static void read_graphql(struct tally_slice text)
{
    static struct tally_arena arena;
    struct websocket_graphql_message message;

    if (!arena.block_size) {
        tally_arena_init(&arena, 4096);
    }
    tally_arena_reset(&arena, 65536);
    if (websocket_graphql_message_read(text, &arena, &message)) {
        return;
    }
    tally_assert(message.kind < WEBSOCKET_GRAPHQL_KINDS);
    tally_assert(message.id.len <= WEBSOCKET_GRAPHQL_ID_BYTES_MAX);
    if (message.kind == WEBSOCKET_GRAPHQL_SUBSCRIBE) {
        tally_assert(message.id.len > 0 && message.payload && message.request.query.data);
    }
}

/* All messages, one after the other, and the end; fed in pieces. */
static void read_all(struct tally_slice bytes, size_t piece, struct tally_buf *seen)
{
    struct websocket_reader reader;
    struct websocket_message message;
    enum websocket_status status = WEBSOCKET_OPEN, end = WEBSOCKET_OPEN;

    websocket_reader_init(&reader);
    while (bytes.len > 0) {
        size_t len = piece < bytes.len ? piece : bytes.len;
        struct tally_slice part = tally_slice_of(bytes.data, len);

        while (websocket_reader_next(&reader, &part, &message, &status)) {
            tally_buf_format(seen, "%d:%d:", (int)message.opcode, (int)message.status);
            tally_buf_slice(seen, message.payload);
            tally_assert(!end && message.payload.len <= WEBSOCKET_MESSAGE_BYTES_MAX);
            if (message.opcode == WEBSOCKET_TEXT && piece > 1) {
                subscribe(message.payload);
                read_graphql(message.payload);
            }
        }
        tally_assert(part.len == 0 && !(end && status));
        end = status ? status : end;
        status = WEBSOCKET_OPEN;
        tally_assert(reader.message.len <= WEBSOCKET_MESSAGE_BYTES_MAX);
        bytes = tally_slice_of(bytes.data + len, bytes.len - len);
    }
    tally_buf_format(seen, "=%d", (int)end);
    websocket_reader_deinit(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tally_buf whole, bytewise;
    struct tally_slice bytes = tally_slice_of(data, size);

    tally_buf_init(&whole, SEEN_MAX);
    tally_buf_init(&bytewise, SEEN_MAX);
    read_all(bytes, SIZE_MAX, &whole);
    read_all(bytes, 1, &bytewise);
    tally_assert(tally_slice_equal(tally_buf_bytes(&whole), tally_buf_bytes(&bytewise)));
    subscribe(bytes);
    read_graphql(bytes);
    tally_buf_deinit(&whole);
    tally_buf_deinit(&bytewise);
    return 0;
}
