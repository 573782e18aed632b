/* http/websocket/websocket_operation.c - see websocket_operation.h.
 * Invariants
 *  (1) Of one operation one thing is done at a time, so what it is told stays in order.
 *  (2) What only turns an event into an answer waits for nothing that reads: it has a thread of its
 *      own. A subscription is there once its first event was answered without a read. */
#include "http/websocket/websocket_operation.h"

#include "engine/base/thread.h"
#include "http/audit.h"
#include "http/auth.h"
#include "http/graphql/graphql_run.h"
#include "http/graphql/graphql_subscription.h"
#include "http/limits.h"
#include "http/router.h"
#include "http/websocket/websocket_graphql_message.h"

enum {
    ARENA_BLOCK_BYTES = 4096,
    WORK_BLOCK_BYTES = 16 * 1024,
    WORK_KEEP_BYTES = 256 * 1024,
    WAITING_MAX = 1024, /* operations of all sockets that were not begun */
    OUT_BYTES_MAX = RESPONSE_BODY_BYTES_MAX + 64 * 1024,
    READERS = 2,
    WORKERS = READERS + 1
};

enum lane_kind { LANE_TELL, LANE_READ, LANES };
struct lane {
    struct tally_cond changed;
    struct websocket_operation *first, *last;
    size_t count;
};
struct worker {
    struct websocket_operations *operations;
    struct tally_thread thread;
    enum lane_kind lane;
    struct exchange exchange;
};
struct websocket_operations {
    struct tally_mutex mutex; /* guards lanes, done and stop */
    struct lane lanes[LANES];
    struct websocket_operation *done, *done_last;
    bool stop;
    void (*wake)(void *context);
    void *context;
    struct worker workers[WORKERS];
};

/* --- one -------------------------------------------------------------------------------------- */

struct websocket_operation *websocket_operation_create(void *owner,
        const struct websocket_visitor *visitor, struct tally_slice text)
{
    struct websocket_operation *operation = tally_alloc_zero(1, sizeof *operation);

    atomic_init(&operation->cancelled, false);
    operation->owner = owner;
    operation->reads = true;
    tally_arena_init(&operation->arena, ARENA_BLOCK_BYTES);
    tally_buf_init(&operation->out, OUT_BYTES_MAX);
    operation->visitor = (const void *)tally_arena_copy(&operation->arena,
            tally_slice_of(visitor, sizeof *visitor))
                                 .data;
    operation->text = tally_arena_copy(&operation->arena, text);
    return operation;
}

static void forget_told(struct websocket_operation *operation)
{
    for (size_t i = 0; i < operation->told_count; i++) {
        websocket_event_release(operation->told[i].event);
    }
    operation->told_count = 0;
}

void websocket_operation_destroy(struct websocket_operation *operation)
{
    forget_told(operation);
    websocket_spec_release(operation->spec);
    tally_buf_deinit(&operation->out);
    tally_arena_deinit(&operation->arena);
    tally_free(operation);
}

/* --- doing it --------------------------------------------------------------------------------- */

static void begin(struct worker *worker, const struct websocket_operation *operation)
{
    struct exchange *exchange = &worker->exchange;
    struct request *request = &exchange->request;

    tally_arena_reset(&exchange->arena, WORK_KEEP_BYTES);
    response_reset(&exchange->response);
    exchange->route = router_route(ROUTE_GRAPHQL_POST);
    exchange->problem = NULL;
    exchange->principal = operation->visitor->principal;
    exchange->audit = (struct audit){0};
    *request = (struct request){.method = REQUEST_POST,
            .method_name = "POST",
            .version = "1.1",
            .path = TALLY_SLICE("/graphql"),
            .peer = operation->visitor->client};
    if (operation->visitor->actor[0]) {
        request->headers[request->header_count++] =
                (struct request_header){"X-Actor", operation->visitor->actor};
    }
}

static void refuse(struct websocket_operation *operation, const struct graphql_errors *errors)
{
    struct tally_buf text;

    tally_buf_init(&text, OUT_BYTES_MAX);
    graphql_errors_write(errors, &text);
    tally_buf_clear(&operation->out);
    /* without its name: `"errors":[...]` */
    tally_buf_slice(&operation->out, tally_slice_of(text.data + sizeof "\"errors\":" - 1,
                                             text.len - (sizeof "\"errors\":" - 1)));
    tally_buf_deinit(&text);
    operation->state = WEBSOCKET_OPERATION_REFUSED;
}

static void refuse_one(struct websocket_operation *operation, const char *code, const char *message)
{
    struct graphql_errors errors;

    graphql_errors_init(&errors, &operation->arena);
    graphql_errors_add(&errors, code, (struct graphql_location){0}, "%s", message);
    refuse(operation, &errors);
}

static void end_payload(struct websocket_operation *operation)
{
    operation->ends[operation->end_count++] = operation->out.len;
}

static void answer(struct worker *worker, struct websocket_operation *operation)
{
    struct exchange *exchange = &worker->exchange;
    struct graphql_errors errors;
    struct graphql_ran ran = {.reads = 0};

    graphql_errors_init(&errors, &exchange->arena);
    tally_buf_byte(&operation->out, '{');
    (void)graphql_run(exchange, &operation->prepared, NULL, &errors, &operation->out, &ran);
    graphql_run_cost(&operation->prepared, &ran, &operation->out);
    tally_buf_byte(&operation->out, '}');
    end_payload(operation);
    operation->state = WEBSOCKET_OPERATION_ANSWERED;
    response_begin(&exchange->response, 200, RESPONSE_GRAPHQL);
    audit_end(exchange);
}

static void follow(struct websocket_operation *operation, struct graphql_errors *errors)
{
    struct websocket_refusal refusal = {.code = NULL};
    struct graphql_following following;

    if (!graphql_subscription_read(&operation->prepared, errors, &following)) {
        refuse(operation, errors);
        return;
    }
    operation->spec =
            websocket_spec_make(following.stock ? WEBSOCKET_STOCK : WEBSOCKET_RESERVATIONS,
                    following.ids, following.count, following.from, &refusal);
    if (operation->spec) {
        operation->state = WEBSOCKET_OPERATION_FOLLOWS;
        return;
    }
    graphql_errors_add(errors,
            strcmp(refusal.code, "BAD_REQUEST") == 0 ? GRAPHQL_INVALID : refusal.code, following.at,
            "%s", refusal.detail);
    refuse(operation, errors);
}

/* The message was read once already: it is good. */
static void prepare(struct worker *worker, struct websocket_operation *operation)
{
    struct exchange *exchange = &worker->exchange;
    struct websocket_graphql_message message;
    struct graphql_errors errors;
    bool good = !websocket_graphql_message_read(operation->text, &operation->arena, &message);

    tally_assert(good && message.kind == WEBSOCKET_GRAPHQL_SUBSCRIBE);
    message.request.hides_schema = operation->visitor->hides_schema;
    graphql_errors_init(&errors, &operation->arena);
    if (!auth_is_current(exchange->auth, &exchange->principal)) {
        refuse_one(operation, "UNAUTHENTICATED", "the credentials are not good any more");
    } else if (!limits_take(exchange)) {
        refuse_one(operation, "RATE_LIMITED", "too many requests: try again later");
    } else if (!graphql_prepare(exchange->graphql, &message.request, &errors,
                       &operation->prepared)) {
        refuse(operation, &errors);
    } else if (operation->prepared.operation->kind == GRAPHQL_SUBSCRIPTION) {
        follow(operation, &errors);
    } else if (operation->prepared.operation->kind == GRAPHQL_MUTATION &&
               auth_asks(exchange->auth) && !auth_allows(exchange, PERMISSION_WRITER)) {
        refuse_one(operation, "FORBIDDEN", "a mutation needs the role of a writer");
    } else {
        answer(worker, operation);
    }
}

static void tell(struct worker *worker, struct websocket_operation *operation,
        const struct websocket_told *told)
{
    struct exchange *exchange = &worker->exchange;
    const struct tally_token *document = NULL;
    struct graphql_errors errors;
    struct graphql_ran ran = {.reads = 0};
    enum tally_refusal refusal;
    enum tally_code code;

    begin(worker, operation);
    code = tally_document_parse(told->event->data, &exchange->arena, &document, &refusal, NULL);
    tally_assert(!code); /* the maker wrote it */
    graphql_errors_init(&errors, &exchange->arena);
    tally_buf_byte(&operation->out, '{');
    (void)graphql_run(exchange, &operation->prepared, document, &errors, &operation->out, &ran);
    tally_buf_string(&operation->out, ",\"extensions\":{\"position\":\"");
    websocket_event_position(told->event, &operation->out);
    tally_buf_format(&operation->out, "\",\"conflated\":%s}}", told->conflated ? "true" : "false");
    end_payload(operation);
    operation->reads = ran.reads > 0;
}

static void work(struct worker *worker, struct websocket_operation *operation)
{
    tally_buf_clear(&operation->out);
    operation->end_count = 0;
    if (atomic_load(&operation->cancelled)) {
        return;
    }
    if (operation->state == WEBSOCKET_OPERATION_NEW) {
        begin(worker, operation);
        prepare(worker, operation);
    }
    for (size_t i = 0; i < operation->told_count; i++) {
        tell(worker, operation, &operation->told[i]);
    }
    forget_told(operation);
    if (operation->out.failed) {
        refuse_one(operation, "BODY_TOO_LARGE", "the answer is too large: ask for less");
    }
}

/* --- the threads ------------------------------------------------------------------------------ */

static struct websocket_operation *take(struct worker *worker)
{
    struct websocket_operations *operations = worker->operations;
    struct lane *lane = &operations->lanes[worker->lane];
    struct websocket_operation *operation = NULL;

    tally_mutex_lock(&operations->mutex);
    while (!operations->stop && !lane->first) {
        (void)tally_cond_wait(&lane->changed, &operations->mutex, -1);
    }
    if (!operations->stop) {
        operation = lane->first;
        lane->first = operation->next;
        lane->last = lane->first ? lane->last : NULL;
        lane->count--;
    }
    tally_mutex_unlock(&operations->mutex);
    return operation;
}

static void give_back(struct websocket_operations *operations,
        struct websocket_operation *operation)
{
    bool wakes;

    operation->next = NULL;
    tally_mutex_lock(&operations->mutex);
    wakes = !operations->done;
    *(wakes ? &operations->done : &operations->done_last->next) = operation;
    operations->done_last = operation;
    tally_mutex_unlock(&operations->mutex);
    if (wakes) {
        operations->wake(operations->context);
    }
}

static void run(void *argument)
{
    struct worker *worker = argument;
    struct websocket_operation *operation;

    while ((operation = take(worker))) {
        work(worker, operation);
        give_back(worker->operations, operation);
    }
}

/* --- any thread ------------------------------------------------------------------------------- */

bool websocket_operations_ask(struct websocket_operations *operations,
        struct websocket_operation *operation)
{
    struct lane *lane = &operations->lanes[operation->reads ? LANE_READ : LANE_TELL];
    bool room;

    operation->next = NULL;
    tally_mutex_lock(&operations->mutex);
    /* subscriptions are bounded, and each asks once at a time */
    room = operation->state != WEBSOCKET_OPERATION_NEW || lane->count < WAITING_MAX;
    if (room) {
        *(lane->last ? &lane->last->next : &lane->first) = operation;
        lane->last = operation;
        lane->count++;
        tally_cond_signal(&lane->changed);
    }
    tally_mutex_unlock(&operations->mutex);
    return room;
}

struct websocket_operation *websocket_operations_take(struct websocket_operations *operations)
{
    struct websocket_operation *done;

    tally_mutex_lock(&operations->mutex);
    done = operations->done;
    operations->done = operations->done_last = NULL;
    tally_mutex_unlock(&operations->mutex);
    return done;
}

/* --- life ------------------------------------------------------------------------------------- */

struct websocket_operations *websocket_operations_create(const struct exchange *prototype,
        void (*wake)(void *context), void *context)
{
    struct websocket_operations *operations = tally_alloc_zero(1, sizeof *operations);

    tally_mutex_init(&operations->mutex, TALLY_LOCK_QUEUE);
    operations->wake = wake;
    operations->context = context;
    for (size_t i = 0; i < LANES; i++) {
        tally_cond_init(&operations->lanes[i].changed);
    }
    for (size_t i = 0; i < WORKERS; i++) {
        struct worker *worker = &operations->workers[i];

        worker->operations = operations;
        worker->lane = i < READERS ? LANE_READ : LANE_TELL;
        worker->exchange = *prototype;
        response_init(&worker->exchange.response);
        tally_arena_init(&worker->exchange.arena, WORK_BLOCK_BYTES);
    }
    return operations;
}

void websocket_operations_start(struct websocket_operations *operations)
{
    for (size_t i = 0; i < WORKERS; i++) {
        tally_thread_start(&operations->workers[i].thread, "websocket-gql", run,
                &operations->workers[i]);
    }
}

void websocket_operations_stop(struct websocket_operations *operations)
{
    tally_mutex_lock(&operations->mutex);
    operations->stop = true;
    for (size_t i = 0; i < LANES; i++) {
        tally_cond_broadcast(&operations->lanes[i].changed);
    }
    tally_mutex_unlock(&operations->mutex);
    for (size_t i = 0; i < WORKERS; i++) {
        tally_thread_join(&operations->workers[i].thread);
    }
}

static void destroy_all(struct websocket_operation *operation)
{
    while (operation) {
        struct websocket_operation *next = operation->next;

        websocket_operation_destroy(operation);
        operation = next;
    }
}

void websocket_operations_destroy(struct websocket_operations *operations)
{
    destroy_all(operations->done);
    for (size_t i = 0; i < LANES; i++) {
        destroy_all(operations->lanes[i].first);
        tally_cond_deinit(&operations->lanes[i].changed);
    }
    for (size_t i = 0; i < WORKERS; i++) {
        response_deinit(&operations->workers[i].exchange.response);
        tally_arena_deinit(&operations->workers[i].exchange.arena);
    }
    tally_mutex_deinit(&operations->mutex);
    tally_free(operations);
}
