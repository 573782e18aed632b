/* http/websocket/websocket_graphql.c - see websocket_graphql.h.
 * Invariants
 *  (1) An id is one operation's from `subscribe` until its `complete` or `error` is sent, or the
 *      client completes it; nothing is sent about it after that.
 *  (2) Of a subscription at most CREDIT changes wait to be executed, of a snapshot all. What
 *      comes meanwhile waits in the hub, where levels and reservations are conflated.
 *  (3) What breaks the protocol ends the socket with the code that the protocol has for it; what is
 *      wrong with one operation ends that operation. */
#include "http/websocket/websocket_graphql.h"

#include "http/auth.h"
#include "http/websocket/websocket.h"
#include "http/websocket/websocket_graphql_message.h"

enum {
    OPERATIONS_MAX = 20,
    CREDIT = WEBSOCKET_OPERATION_TOLD_MAX,
    INIT_MS = 3000,
    ARENA_BLOCK_BYTES = 4096,
    ARENA_KEEP_BYTES = 16 * 1024,
    TEXT_BYTES_MAX = 1024 * 1024
};

struct session;
struct follow { /* one operation of a client, of whatever kind */
    struct session *session;
    struct follow *next;
    struct tally_slice id; /* as it is written in JSON, with quotes */
    struct websocket_operation *operation;
    bool flying;                                 /* the operation is with its threads */
    struct websocket_subscription *subscription; /* NULL: not one, or not yet */
    struct websocket_told *told;                 /* what waits for the operation, in order */
    size_t count, capacity;
    size_t of_snapshot; /* of those, the first so many took no credit */
    size_t owed;        /* credit that those have taken which fly */
};
struct session {
    struct websocket *websocket;
    struct websocket_socket *socket;
    bool ready;
    int64_t since_ms; /* of the first tick; 0: none yet */
    struct follow *follows;
    size_t count;
    struct tally_arena arena; /* of one message */
    struct tally_buf text;
};

/* --- telling ---------------------------------------------------------------------------------- */

static void write_string(struct tally_buf *out, struct tally_slice text)
{
    struct tally_writer writer;

    tally_write_begin(&writer, out, TALLY_FORMAT_JSON);
    tally_write_string(&writer, text);
}

static void send_text(struct session *session)
{
    struct tally_slice text = tally_buf_bytes(&session->text);

    websocket_socket_send(session->socket, &text, 1);
}

/* {"id":"...","type":"...","payload":...} */
static void send_payload(struct session *session, struct tally_slice id, const char *type,
        struct tally_slice payload)
{
    struct tally_slice parts[3];

    tally_buf_clear(&session->text);
    tally_buf_string(&session->text, "{\"id\":");
    tally_buf_slice(&session->text, id);
    tally_buf_format(&session->text, ",\"type\":\"%s\"%s", type,
            payload.len > 0 ? ",\"payload\":" : "");
    parts[0] = tally_buf_bytes(&session->text);
    parts[1] = payload;
    parts[2] = TALLY_SLICE("}");
    websocket_socket_send(session->socket, parts, 3);
}

static void send_error(struct session *session, struct tally_slice id, const char *code,
        const char *detail)
{
    tally_buf_clear(&session->text);
    tally_buf_string(&session->text, "{\"id\":");
    tally_buf_slice(&session->text, id);
    tally_buf_string(&session->text, ",\"type\":\"error\",\"payload\":[{\"message\":");
    write_string(&session->text, tally_slice_string(detail));
    tally_buf_format(&session->text, ",\"extensions\":{\"code\":\"%s\"}}]}", code);
    send_text(session);
}

/* --- operations ------------------------------------------------------------------------------- */

static void end_follow(struct follow *follow)
{
    struct session *session = follow->session;
    struct follow **at = &session->follows;

    while (*at != follow) {
        at = &(*at)->next;
    }
    *at = follow->next;
    session->count--;
    if (follow->subscription) {
        websocket_hub_unsubscribe(follow->subscription);
    }
    for (size_t i = 0; i < follow->count; i++) {
        websocket_event_release(follow->told[i].event);
    }
    if (follow->flying) {
        follow->operation->owner = NULL;
        atomic_store(&follow->operation->cancelled, true);
    } else {
        websocket_operation_destroy(follow->operation);
    }
    tally_free(follow->told);
    tally_free((void *)(uintptr_t)follow->id.data);
    tally_free(follow);
}

/* Lets what waits be executed, as much as goes at once. */
static void pump(struct follow *follow)
{
    struct websocket_operation *operation = follow->operation;
    size_t count = follow->count < WEBSOCKET_OPERATION_TOLD_MAX ? follow->count
                                                                : WEBSOCKET_OPERATION_TOLD_MAX;
    size_t free_of_credit = count < follow->of_snapshot ? count : follow->of_snapshot;

    if (follow->flying || count == 0) {
        return;
    }
    memcpy(operation->told, follow->told, count * sizeof *follow->told);
    operation->told_count = count;
    follow->count -= count;
    memmove(follow->told, follow->told + count, follow->count * sizeof *follow->told);
    follow->of_snapshot -= free_of_credit;
    follow->owed = count - free_of_credit;
    follow->flying = websocket_operations_ask(follow->session->websocket->operations, operation);
    tally_assert(follow->flying);
}

static void append(struct follow *follow, struct websocket_event *event, bool conflated)
{
    if (follow->count == follow->capacity) {
        follow->capacity = follow->capacity ? 2 * follow->capacity : 4;
        follow->told = tally_realloc(follow->told, follow->capacity * sizeof *follow->told);
    }
    follow->told[follow->count++] =
            (struct websocket_told){.event = websocket_event_share(event), .conflated = conflated};
}

static void begun(void *context, struct tally_slice positions)
{
    (void)context; /* the protocol has no word for it */
    (void)positions;
}

static void snapshot(void *context, struct websocket_event *const *items, size_t count, bool last)
{
    struct follow *follow = context;

    (void)last;
    for (size_t i = 0; i < count; i++) {
        append(follow, items[i], false);
    }
    follow->of_snapshot += count;
    pump(follow);
}

static void delta(void *context, struct websocket_event *event, bool conflated)
{
    struct follow *follow = context;

    append(follow, event, conflated);
    pump(follow);
}

static void failed(void *context, const char *code, const char *detail)
{
    struct follow *follow = context;

    send_error(follow->session, follow->id, code, detail);
    end_follow(follow);
}

static const struct websocket_listener listener = {
        .begun = begun, .snapshot = snapshot, .delta = delta, .failed = failed};

/* false: it is refused, and gone. */
static bool follow_hub(struct follow *follow)
{
    struct websocket_refusal refusal = {.code = NULL};
    struct websocket_spec *spec = follow->operation->spec;
    struct session *session = follow->session;

    follow->operation->spec = NULL;
    follow->subscription = websocket_hub_subscribe(session->websocket->hub, session->socket, spec,
            CREDIT, &listener, follow, &refusal);
    if (!follow->subscription) {
        send_error(session, follow->id,
                strcmp(refusal.code, "BAD_REQUEST") == 0 ? "INVALID_PARAMETER" : refusal.code,
                refusal.detail);
        end_follow(follow);
        return false;
    }
    return true;
}

static void send_results(struct follow *follow)
{
    const struct websocket_operation *operation = follow->operation;
    size_t from = 0;

    for (size_t i = 0; i < operation->end_count; i++) {
        send_payload(follow->session, follow->id, "next",
                tally_slice_of(operation->out.data + from, operation->ends[i] - from));
        from = operation->ends[i];
    }
}

/* What the operation's threads did. */
static void take_done(struct follow *follow)
{
    struct websocket_operation *operation = follow->operation;
    size_t owed = follow->owed;

    follow->flying = false;
    follow->owed = 0;
    switch (operation->state) {
    case WEBSOCKET_OPERATION_ANSWERED:
        send_results(follow);
        send_payload(follow->session, follow->id, "complete", TALLY_NONE);
        end_follow(follow);
        break;
    case WEBSOCKET_OPERATION_FOLLOWS:
        send_results(follow);
        if (operation->spec && !follow_hub(follow)) {
            break;
        }
        pump(follow);
        if (owed > 0) {
            websocket_hub_credit(follow->subscription, (int64_t)owed);
        }
        break;
    default:
        send_payload(follow->session, follow->id, "error", tally_buf_bytes(&operation->out));
        end_follow(follow);
        break;
    }
}

void websocket_graphql_work(struct websocket *websocket)
{
    struct websocket_operation *operation = websocket_operations_take(websocket->operations);

    while (operation) {
        struct websocket_operation *next = operation->next;

        if (operation->owner) {
            take_done(operation->owner);
        } else {
            websocket_operation_destroy(operation);
        }
        operation = next;
    }
}

/* --- what a client says ----------------------------------------------------------------------- */

static struct follow *find(struct session *session, struct tally_slice id)
{
    struct follow *follow = session->follows;

    while (follow && !tally_slice_equal(follow->id, id)) {
        follow = follow->next;
    }
    return follow;
}

/* The id in JSON, in the arena. */
static struct tally_slice written(struct session *session, struct tally_slice id)
{
    tally_buf_clear(&session->text);
    write_string(&session->text, id);
    return tally_arena_copy(&session->arena, tally_buf_bytes(&session->text));
}

static void init(struct session *session)
{
    if (session->ready) {
        websocket_socket_close(session->socket, WEBSOCKET_TOO_MANY,
                "Too many initialisation requests");
        return;
    }
    session->ready = true;
    tally_buf_clear(&session->text);
    tally_buf_string(&session->text, "{\"type\":\"connection_ack\"}");
    send_text(session);
}

static void pong(struct session *session, const struct tally_token *payload)
{
    tally_buf_clear(&session->text);
    tally_buf_string(&session->text, "{\"type\":\"pong\"");
    if (payload) {
        tally_buf_string(&session->text, ",\"payload\":");
        tally_token_write(payload, TALLY_FORMAT_JSON, &session->text);
    }
    tally_buf_byte(&session->text, '}');
    send_text(session);
}

static void begin_operation(struct session *session, struct tally_slice id, struct tally_slice text)
{
    struct follow *follow = tally_alloc_zero(1, sizeof *follow);

    follow->session = session;
    follow->id = tally_slice_of(tally_alloc(id.len), id.len);
    memcpy((void *)(uintptr_t)follow->id.data, id.data, id.len);
    follow->operation =
            websocket_operation_create(follow, websocket_socket_visitor(session->socket), text);
    follow->next = session->follows;
    session->follows = follow;
    session->count++;
    follow->flying = websocket_operations_ask(session->websocket->operations, follow->operation);
    if (!follow->flying) {
        send_error(session, follow->id, "OVERLOADED", "too many operations wait: try again later");
        end_follow(follow);
    }
}

static void subscribe(struct session *session, struct tally_slice id, struct tally_slice text)
{
    if (!session->ready) {
        websocket_socket_close(session->socket, WEBSOCKET_UNAUTHORIZED, "Unauthorized");
    } else if (find(session, id)) {
        websocket_socket_close(session->socket, WEBSOCKET_DUPLICATE,
                "Subscriber for this id already exists");
    } else if (session->count == OPERATIONS_MAX) {
        send_error(session, id, "TOO_MANY_SUBSCRIPTIONS", "a socket has at most 20 operations");
    } else {
        begin_operation(session, id, text);
    }
}

static void message(void *context, struct tally_slice text)
{
    struct session *session = context;
    struct websocket_graphql_message message;
    struct follow *follow;
    const char *wrong;

    tally_arena_reset(&session->arena, ARENA_KEEP_BYTES);
    wrong = websocket_graphql_message_read(text, &session->arena, &message);
    if (wrong) {
        websocket_socket_close(session->socket, WEBSOCKET_BAD_REQUEST, wrong);
        return;
    }
    switch (message.kind) {
    case WEBSOCKET_GRAPHQL_INIT:
        init(session);
        break;
    case WEBSOCKET_GRAPHQL_PING:
        pong(session, message.payload);
        break;
    case WEBSOCKET_GRAPHQL_SUBSCRIBE:
        subscribe(session, written(session, message.id), text);
        break;
    case WEBSOCKET_GRAPHQL_COMPLETE: /* of what has ended by itself meanwhile: nothing */
        follow = find(session, written(session, message.id));
        if (follow) {
            end_follow(follow);
        }
        break;
    default:
        break;
    }
}

/* --- life ------------------------------------------------------------------------------------- */

static void *open_session(void *context, struct websocket_socket *socket)
{
    struct session *session = tally_alloc_zero(1, sizeof *session);

    session->websocket = context;
    session->socket = socket;
    tally_arena_init(&session->arena, ARENA_BLOCK_BYTES);
    tally_buf_init(&session->text, TEXT_BYTES_MAX);
    if (websocket_socket_visitor(socket)->unacceptable) {
        websocket_socket_close(socket, WEBSOCKET_NOT_ACCEPTABLE, "Subprotocol not acceptable");
    }
    return session;
}

static void ready(void *context)
{
    struct session *session = context;

    for (struct follow *follow = session->follows; follow; follow = follow->next) {
        if (follow->subscription) {
            websocket_hub_pump(follow->subscription);
        }
    }
}

static void tick(void *context, int64_t now_ms)
{
    struct session *session = context;

    session->since_ms = session->since_ms ? session->since_ms : now_ms;
    if (!session->ready && now_ms - session->since_ms >= INIT_MS) {
        websocket_socket_close(session->socket, WEBSOCKET_TIMEOUT,
                "Connection initialisation timeout");
    } else if (!auth_is_current(session->websocket->auth,
                       &websocket_socket_visitor(session->socket)->principal)) {
        websocket_socket_close(session->socket, WEBSOCKET_FORBIDDEN, "Forbidden");
    }
}

static void closed(void *context)
{
    struct session *session = context;

    while (session->follows) {
        end_follow(session->follows);
    }
    tally_arena_deinit(&session->arena);
    tally_buf_deinit(&session->text);
    tally_free(session);
}

const struct websocket_protocol_ops websocket_graphql_ops = {
        .open = open_session, .message = message, .ready = ready, .tick = tick, .closed = closed};
