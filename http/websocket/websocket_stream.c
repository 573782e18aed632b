/* http/websocket/websocket_stream.c - see websocket_stream.h.
 * Invariants
 *  (1) A message that is JSON and not understood is answered by an error, with its id where it has
 *      one; text that is no JSON ends the socket, because nobody knows what else is wrong with it.
 *  (2) After `error` about a subscription that was there, it is there no more. */
#include "http/websocket/websocket_stream.h"

#include "engine/base/log.h"
#include "http/websocket/websocket.h"

enum {
    SUBSCRIPTIONS_MAX = 20,
    ID_BYTES_MAX = 128,
    CREDIT_DEFAULT = 1000,
    CREDIT_MAX = 1000000000,
    ARENA_BLOCK_BYTES = 4096,
    ARENA_KEEP_BYTES = 16 * 1024,
    TEXT_BYTES_MAX = 1024 * 1024,
    METRICS_FLOW_BYTES = 64 * 1024, /* of a socket's queue, below which metrics are sent */
    PARTS_MAX = 2 * 100 + 2
};

struct stream;
struct follow { /* one subscription of a client */
    struct stream *stream;
    struct follow *next;
    struct websocket_subscription *subscription;
    struct websocket_gauges *gauges; /* of topic metrics, which has no subscription */
    struct tally_slice id;           /* as it is written in JSON, with quotes */
};
struct stream {
    struct websocket *websocket;
    struct websocket_socket *socket;
    struct follow *follows;
    size_t count;
    struct tally_arena arena; /* of one message */
    struct tally_buf text;
};

/* --- telling ---------------------------------------------------------------------------------- */

static void send(struct stream *stream)
{
    struct tally_slice text = tally_buf_bytes(&stream->text);

    websocket_socket_send(stream->socket, &text, 1);
}

static void write_string(struct tally_buf *out, struct tally_slice text)
{
    struct tally_writer writer;

    tally_write_begin(&writer, out, TALLY_FORMAT_JSON);
    tally_write_string(&writer, text);
}

/* {"op":"...","id":"..." */
static void begin(struct stream *stream, const char *op, struct tally_slice id)
{
    tally_buf_clear(&stream->text);
    tally_buf_format(&stream->text, "{\"op\":\"%s\"", op);
    if (id.len > 0) {
        tally_buf_string(&stream->text, ",\"id\":");
        tally_buf_slice(&stream->text, id);
    }
}

static void refuse(struct stream *stream, struct tally_slice id, const char *code,
        const char *detail)
{
    begin(stream, "error", id);
    tally_buf_format(&stream->text, ",\"code\":\"%s\",\"detail\":", code);
    write_string(&stream->text, tally_slice_string(detail));
    tally_buf_byte(&stream->text, '}');
    send(stream);
}

static void end_follow(struct follow *follow)
{
    struct stream *stream = follow->stream;
    struct follow **at = &stream->follows;

    while (*at != follow) {
        at = &(*at)->next;
    }
    *at = follow->next;
    stream->count--;
    if (follow->gauges) {
        websocket_metrics_leave(follow->gauges);
    } else {
        websocket_hub_unsubscribe(follow->subscription);
    }
    tally_free((void *)(uintptr_t)follow->id.data);
    tally_free(follow);
}

static void begun(void *context, struct tally_slice positions)
{
    struct follow *follow = context;

    begin(follow->stream, "subscribed", follow->id);
    tally_buf_string(&follow->stream->text, ",\"position\":\"");
    tally_buf_slice(&follow->stream->text, positions);
    tally_buf_string(&follow->stream->text, "\"}");
    send(follow->stream);
}

static void snapshot(void *context, struct websocket_event *const *items, size_t count, bool last)
{
    struct follow *follow = context;
    struct tally_slice parts[PARTS_MAX];
    size_t used = 0;

    begin(follow->stream, "snapshot", follow->id);
    tally_buf_string(&follow->stream->text, ",\"items\":[");
    parts[used++] = tally_buf_bytes(&follow->stream->text);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            parts[used++] = TALLY_SLICE(",");
        }
        parts[used++] = items[i]->data;
    }
    parts[used++] = last ? TALLY_SLICE("],\"last\":true}") : TALLY_SLICE("],\"last\":false}");
    websocket_socket_send(follow->stream->socket, parts, used);
}

static void delta(void *context, struct websocket_event *event, bool conflated)
{
    struct follow *follow = context;
    struct tally_buf *text = &follow->stream->text;
    struct tally_slice parts[3];

    begin(follow->stream, "delta", follow->id);
    tally_buf_string(text, ",\"position\":\"");
    websocket_event_position(event, text);
    tally_buf_format(text, "\",\"conflated\":%s,\"data\":", conflated ? "true" : "false");
    parts[0] = tally_buf_bytes(text);
    parts[1] = event->data;
    parts[2] = TALLY_SLICE("}");
    websocket_socket_send(follow->stream->socket, parts, 3);
}

static void failed(void *context, const char *code, const char *detail)
{
    struct follow *follow = context;

    refuse(follow->stream, follow->id, code, detail);
    end_follow(follow);
}

static const struct websocket_listener listener = {
        .begun = begun, .snapshot = snapshot, .delta = delta, .failed = failed};

/* --- metrics ---------------------------------------------------------------------------------- */

static void metrics_begun(void *context)
{
    struct follow *follow = context;

    begin(follow->stream, "subscribed", follow->id);
    tally_buf_byte(&follow->stream->text, '}');
    send(follow->stream);
}

static void metrics_snapshot(void *context, struct tally_slice items, bool last)
{
    struct follow *follow = context;
    struct tally_slice parts[3];

    begin(follow->stream, "snapshot", follow->id);
    tally_buf_string(&follow->stream->text, ",\"items\":[");
    parts[0] = tally_buf_bytes(&follow->stream->text);
    parts[1] = items;
    parts[2] = last ? TALLY_SLICE("],\"last\":true}") : TALLY_SLICE("],\"last\":false}");
    websocket_socket_send(follow->stream->socket, parts, 3);
}

static void metrics_delta(void *context, struct tally_slice data, bool conflated)
{
    struct follow *follow = context;
    struct tally_slice parts[3];

    begin(follow->stream, "delta", follow->id);
    tally_buf_format(&follow->stream->text,
            ",\"conflated\":%s,\"data\":", conflated ? "true" : "false");
    parts[0] = tally_buf_bytes(&follow->stream->text);
    parts[1] = data;
    parts[2] = TALLY_SLICE("}");
    websocket_socket_send(follow->stream->socket, parts, 3);
}

static const struct websocket_metrics_listener metrics_listener = {
        .begun = metrics_begun, .snapshot = metrics_snapshot, .delta = metrics_delta};

static void tick(void *session, int64_t now_ms)
{
    struct stream *stream = session;

    (void)now_ms;
    for (struct follow *follow = stream->follows; follow; follow = follow->next) {
        if (follow->gauges) {
            websocket_metrics_tell(follow->gauges,
                    websocket_socket_queued(stream->socket) < METRICS_FLOW_BYTES, &metrics_listener,
                    follow);
        }
    }
}

/* --- what a client says ----------------------------------------------------------------------- */

static struct follow *find(struct stream *stream, struct tally_slice id)
{
    struct follow *follow = stream->follows;

    while (follow && !tally_slice_equal(follow->id, id)) {
        follow = follow->next;
    }
    return follow;
}

static bool read_number(const struct tally_token *message, const char *name, int64_t standard,
        int64_t *number)
{
    const struct tally_token *token = tally_token_member(message, name);

    *number = standard;
    if (token && token->type != TALLY_NULL) {
        *number = token->type == TALLY_INT ? token->integer : -1;
    }
    return *number >= 0 && *number <= CREDIT_MAX;
}

static void subscribe(struct stream *stream, const struct tally_token *message,
        struct tally_slice id)
{
    struct websocket_refusal refusal = {.code = NULL};
    struct websocket_spec *spec = NULL;
    struct follow *follow;
    int64_t credit;

    if (find(stream, id)) {
        /* the one that is there goes on */
        refuse(stream, id, "DUPLICATE_ID", "a subscription has this id");
        return;
    }
    if (stream->count == SUBSCRIPTIONS_MAX) {
        refuse(stream, id, "TOO_MANY_SUBSCRIPTIONS", "a socket has at most 20 subscriptions");
        return;
    }
    if (!read_number(message, "credit", CREDIT_DEFAULT, &credit)) {
        refuse(stream, id, "BAD_REQUEST", "credit: expected a number of deltas");
        return;
    }
    spec = websocket_spec_read(message, &refusal);
    if (!spec) {
        refuse(stream, id, refusal.code, refusal.detail);
        return;
    }
    follow = tally_alloc_zero(1, sizeof *follow);
    follow->stream = stream;
    follow->id = tally_slice_of(tally_alloc(id.len), id.len);
    memcpy((void *)(uintptr_t)follow->id.data, id.data, id.len);
    if (spec->topic == WEBSOCKET_METRICS) {
        follow->gauges = websocket_metrics_follow(stream->websocket->metrics, spec, credit);
    } else {
        follow->subscription = websocket_hub_subscribe(stream->websocket->hub, stream->socket, spec,
                credit, &listener, follow, &refusal);
    }
    if (!follow->subscription && !follow->gauges) {
        refuse(stream, id, refusal.code, refusal.detail);
        tally_free((void *)(uintptr_t)follow->id.data);
        tally_free(follow);
        return;
    }
    follow->next = stream->follows;
    stream->follows = follow;
    stream->count++;
}

/* What is about a subscription that is there. */
static void about(struct stream *stream, const struct tally_token *message, struct tally_slice op,
        struct tally_slice id)
{
    struct follow *follow = find(stream, id);
    int64_t credit;

    if (!follow) {
        refuse(stream, id, "BAD_REQUEST", "no subscription has this id");
    } else if (tally_slice_equal(op, TALLY_SLICE("unsubscribe"))) {
        end_follow(follow);
        begin(stream, "unsubscribed", id);
        tally_buf_byte(&stream->text, '}');
        send(stream);
    } else if (!read_number(message, "n", -1, &credit) || credit == 0) {
        refuse(stream, id, "BAD_REQUEST", "n: expected a number of deltas");
    } else if (follow->gauges) {
        websocket_metrics_credit(follow->gauges, credit);
    } else {
        websocket_hub_credit(follow->subscription, credit);
    }
}

/* The id in JSON, in the arena; len 0: none, or not a good one. */
static struct tally_slice id_of(struct stream *stream, const struct tally_token *message)
{
    const struct tally_token *id = tally_token_member(message, "id");
    struct tally_slice text = TALLY_NONE;
    struct tally_buf out;

    if (!id || id->type != TALLY_STRING || id->string.len == 0 || id->string.len > ID_BYTES_MAX) {
        return text;
    }
    tally_buf_init(&out, TEXT_BYTES_MAX);
    write_string(&out, id->string);
    text = tally_arena_copy(&stream->arena, tally_buf_bytes(&out));
    tally_buf_deinit(&out);
    return text;
}

static void obey(struct stream *stream, const struct tally_token *message)
{
    const struct tally_token *op = tally_token_member(message, "op");
    struct tally_slice name = op && op->type == TALLY_STRING ? op->string : TALLY_NONE;
    struct tally_slice id = id_of(stream, message);
    bool subscribes = tally_slice_equal(name, TALLY_SLICE("subscribe"));

    if (tally_slice_equal(name, TALLY_SLICE("ping"))) {
        begin(stream, "pong", TALLY_NONE);
        tally_buf_byte(&stream->text, '}');
        send(stream);
    } else if (!subscribes && !tally_slice_equal(name, TALLY_SLICE("unsubscribe")) &&
               !tally_slice_equal(name, TALLY_SLICE("credit"))) {
        refuse(stream, id, "BAD_REQUEST", "op: expected subscribe, credit, unsubscribe or ping");
    } else if (id.len == 0) {
        refuse(stream, id, "BAD_REQUEST", "id: expected a string of 1 to 128 bytes");
    } else if (subscribes) {
        subscribe(stream, message, id);
    } else {
        about(stream, message, name, id);
    }
}

/* JSON that is no object, or is beyond the limits of documents, is not understood; what cannot be
 * read as JSON at all ends the socket. */
static void message(void *session, struct tally_slice text)
{
    struct stream *stream = session;
    const struct tally_token *root = NULL;
    enum tally_refusal refusal = TALLY_REFUSAL_NONE;
    struct tally_error err;
    enum tally_code code;

    text = websocket_trim(text);
    tally_arena_reset(&stream->arena, ARENA_KEEP_BYTES);
    code = text.len > 0 && text.data[0] == '{'
                   ? tally_document_parse(text, &stream->arena, &root, &refusal, &err)
                   : TALLY_BAD_RECORD;
    if (!code) {
        obey(stream, root);
    } else if (refusal == TALLY_REFUSAL_BAD_NUMBER || refusal == TALLY_REFUSAL_DUPLICATE_FIELD ||
               refusal == TALLY_REFUSAL_OVER_LIMIT) {
        refuse(stream, TALLY_NONE, "BAD_REQUEST", err.message);
    } else {
        websocket_socket_close(stream->socket, WEBSOCKET_INVALID_DATA, "expected a JSON object");
    }
}

/* --- life ------------------------------------------------------------------------------------- */

static void *open_stream(void *context, struct websocket_socket *socket)
{
    struct stream *stream = tally_alloc_zero(1, sizeof *stream);

    stream->websocket = context;
    stream->socket = socket;
    tally_arena_init(&stream->arena, ARENA_BLOCK_BYTES);
    tally_buf_init(&stream->text, TEXT_BYTES_MAX);
    return stream;
}

static void ready(void *session)
{
    struct stream *stream = session;

    for (struct follow *follow = stream->follows; follow; follow = follow->next) {
        if (follow->subscription) {
            websocket_hub_pump(follow->subscription);
        }
    }
}

static void closed(void *session)
{
    struct stream *stream = session;

    while (stream->follows) {
        end_follow(stream->follows);
    }
    tally_arena_deinit(&stream->arena);
    tally_buf_deinit(&stream->text);
    tally_free(stream);
}

const struct websocket_protocol_ops websocket_stream_ops = {
        .open = open_stream, .message = message, .ready = ready, .tick = tick, .closed = closed};

void websocket_stream_route(struct exchange *exchange)
{
    websocket_handshake(exchange, WEBSOCKET_TALLY);
}
