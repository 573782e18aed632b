/* http/server.c - see server.h.
 *   begin_request: read -> guard -> route -> limits -> authorize -> query, Accept -> body ->
 *   handler -> write
 * Invariants
 *  (1) Every request that can be answered gets exactly one answer, in one write (but for dumps).
 *  (2) civetweb never serves anything by itself: begin_request always handles the request.
 *  (3) What guard.c refuses, and every body that was not read to its end, ends the connection.
 *  (4) Which of both answers, a worker or a lane, makes no difference to the answer.
 * Threads: civetweb's workers, each with its own exchange; civetweb has one worker for each open
 * connection, so http.threads is the number of connections. Between reads a worker gives its
 * connection to a lane (lane.h), which answers with an exchange of its own. */
#include "http/server.h"

#include <civetweb.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>

#include "engine/base/failpoint.h"
#include "engine/base/log.h"
#include "engine/base/mem_idle.h"
#include "engine/base/metrics.h"
#include "engine/base/thread.h"
#include "http/api_documents.h"
#include "http/audit.h"
#include "http/auth.h"
#include "http/body.h"
#include "http/cors.h"
#include "http/exposition.h"
#include "http/forwarding_mark.h"
#include "http/guard.h"
#include "http/graphql/graphql_route.h"
#include "http/header_field.h"
#include "http/lane.h"
#include "http/limits.h"
#include "http/low_stock_metrics.h"
#include "http/problem.h"
#include "http/quick_read.h"
#include "http/reading.h"
#include "http/router.h"
#include "http/websocket/websocket.h"

enum {
    OUT_BYTES_MAX = RESPONSE_BODY_BYTES_MAX + 64 * 1024,
    ARENA_BLOCK_BYTES = 16 * 1024,
    ARENA_KEEP_BYTES = 256 * 1024,
    STOP_TIMEOUT_MS = 10000,
    SEARCHES_MAX = 4, /* each has a connection to Kafka of its own */
    WORKER_KEEP_BYTES = 256 * 1024,
    MS_US = 1000,
    SLICE_US = 100,
    DATE_US = 100 * 1000, /* how old a date may be */
    ADDRESS_LEN_MAX = 80,
    CONTINUE_LEN = 25,
    TYPE_BYTES_MAX = 96,
    STATUS_SILENT = 444,
    IDLE_MS = 5000,
    READS_FIRST = 2, /* in a row, before a connection waits in a lane */
    MISSES_MAX = 2,  /* times that it waited there for nothing, before it has to have had */
    READS_LATER = 64
};

/* Of the connection that a worker has. */
struct link {
    uint64_t taken; /* bytes of it that were read, as far as requests were made of them */
    bool lost;      /* how many it was */
    unsigned reads, misses;
    bool in_vain; /* it has just waited in a lane, for nothing that was answered there */
};

struct worker {
    struct tally_http *http;
    struct exchange exchange;
    struct tally_buf out, body;
    size_t index;
    bool rests;                    /* has had no request yet */
    struct exposition_round round; /* of a lane */
    const char *buffer; /* where the library's buffer of this thread begins, as far as is known */
    int64_t date_us, date_ms; /* mono and wall, when exchange.date was written */
    struct link link;
    struct lane_place place;
};

struct tally_http {
    struct mg_context *context;
    struct tally_runtime *runtime;
    struct tally_http_readers readers;
    struct cursor_key cursor_key;
    struct graphql_schema *graphql;
    struct websocket websocket;
    struct waiting waiting;
    struct waiting searching;
    struct api_documents documents;
    struct limits limits;
    struct auth *auth;
    struct body_watch watch;
    struct lanes *lanes;
    int64_t started_us;
    char address[ADDRESS_LEN_MAX];
    char failure[192]; /* what the library said when it did not start */
    size_t workers_max;
    _Atomic size_t worker_count;
    _Atomic bool started, stopping;
    _Atomic size_t active; /* requests being answered */
    struct tally_mutex mutex;
    struct tally_cond idle; /* while stopping: active is 0 */
};

/* --- reading the request ---------------------------------------------------------------------- */

static void read_headers(struct request *request, const struct mg_request_info *info)
{
    request->header_count = info->num_headers > 0 ? (size_t)info->num_headers : 0;
    if (request->header_count > REQUEST_HEADERS_MAX) {
        request->header_count = REQUEST_HEADERS_MAX;
    }
    for (size_t i = 0; i < request->header_count; i++) {
        request->headers[i] =
                (struct request_header){info->http_headers[i].name, info->http_headers[i].value};
    }
}

static void read_request(struct worker *worker, const struct mg_request_info *info)
{
    struct request *request = &worker->exchange.request;

    request->method_name = info->request_method;
    request->method = request_method_of(info->request_method);
    request->version = info->http_version;
    request->path = tally_slice_string(info->request_uri);
    request->query = tally_slice_string(info->query_string);
    request->peer = info->remote_addr;
    request->from_loopback = strncmp(info->remote_addr, "127.", 4) == 0;
    read_headers(request, info);
    if (!worker->buffer || request->method_name < worker->buffer) {
        worker->buffer = request->method_name;
    }
    request->skipped = (size_t)(request->method_name - worker->buffer);
}

static void begin_exchange(struct worker *worker, struct mg_connection *connection, int64_t now_us)
{
    struct exchange *exchange = &worker->exchange;

    exchange->connection = connection;
    exchange->route = NULL;
    exchange->problem = NULL;
    exchange->keep_alive = false;
    exchange->late = false;
    exchange->principal = (struct principal){.by = ""};
    exchange->audit = (struct audit){0};
    exchange->request.method = REQUEST_OTHER;
    exchange->request.method_name = NULL;
    exchange->request.path = TALLY_NONE;
    exchange->request.query = TALLY_NONE;
    exchange->request.body = TALLY_NONE;
    exchange->request.header_count = 0;
    exchange->request.query_count = 0;
    response_reset(&exchange->response);
    if (now_us - worker->date_us >= DATE_US || worker->date_us == 0) {
        worker->date_us = now_us;
        worker->date_ms = tally_wall_ms(tally_clock_real());
        response_date(worker->date_ms, exchange->date);
    }
}

static void end_exchange(struct worker *worker)
{
    tally_arena_reset(&worker->exchange.arena, ARENA_KEEP_BYTES);
    if (worker->out.capacity > WORKER_KEEP_BYTES) {
        tally_buf_deinit(&worker->out);
        tally_buf_init(&worker->out, OUT_BYTES_MAX);
    }
    if (worker->body.capacity > WORKER_KEEP_BYTES) {
        tally_buf_deinit(&worker->body);
        tally_buf_init(&worker->body, GUARD_BODY_BYTES_MAX + WORKER_KEEP_BYTES);
    }
}

/* --- answering -------------------------------------------------------------------------------- */

static void write_answer(struct worker *worker)
{
    struct exchange *exchange = &worker->exchange;
    struct response *response = &exchange->response;

    exchange->keep_alive = exchange->keep_alive && !response->close;
    if (!exchange->keep_alive) {
        mg_disable_connection_keep_alive(exchange->connection);
    }
    if (response->streamed) {
        return;
    }
    if (response->body.failed) {
        problem_answer(exchange, PROBLEM_INTERNAL, "the answer is too large");
    }
    tally_buf_clear(&worker->out);
    response_compose(response, exchange->request.method, exchange->date, exchange->keep_alive,
            &worker->out);
    (void)mg_write(exchange->connection, worker->out.data, worker->out.len);
}

static void find_route(struct exchange *exchange)
{
    char allowed[ROUTER_ALLOW_LEN];

    exchange->route = router_find(&exchange->request, allowed);
    if (exchange->route) {
        return;
    }
    if (allowed[0] && cors_preflight(exchange)) {
        return;
    }
    if (allowed[0]) {
        response_header(&exchange->response, "Allow", "%s", allowed);
        problem_answer(exchange, PROBLEM_METHOD_NOT_ALLOWED, "expected %s", allowed);
    } else {
        problem_answer(exchange, PROBLEM_NOT_FOUND, "there is no such route");
    }
}

/* Of the types that a route answers with, joined by commas. */
static bool accepts_any(struct tally_slice accept, const char *types)
{
    struct tally_slice rest = tally_slice_string(types), type;
    char text[TYPE_BYTES_MAX];

    if (!accept.data) {
        return true;
    }
    while (request_list_next(&rest, ',', &type)) {
        snprintf(text, sizeof text, "%.*s", (int)type.len, (const char *)type.data);
        if (header_field_accepts(accept, text)) {
            return true;
        }
    }
    return false;
}

/* What a route asks of every request, before its body is read. */
static void check_route(struct exchange *exchange)
{
    const struct route *route = exchange->route;
    struct tally_slice name;
    const char *wrong;

    if (!auth_admit(exchange, route->permission)) {
        exchange->response.close = guard_has_body(&exchange->request); /* which nobody reads */
    } else if (!request_query_parse(&exchange->request, route->queries, &exchange->arena, &name,
                       &wrong)) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER, "%.*s: %s", (int)name.len,
                (const char *)name.data, wrong);
    } else if (!accepts_any(request_header(&exchange->request, "Accept"), route->answers)) {
        problem_answer(exchange, PROBLEM_NOT_ACCEPTABLE, "the answer is %s", route->answers);
    }
}

static void refuse_body(struct exchange *exchange, enum body_result result)
{
    if (result == BODY_TOO_LARGE) {
        problem_answer(exchange, PROBLEM_BODY_TOO_LARGE, "the body is over 1 MiB");
    } else if (result == BODY_TIMEOUT) {
        problem_answer(exchange, PROBLEM_REQUEST_TIMEOUT, "the body did not come in %d s",
                BODY_TIMEOUT_MS / 1000);
    } else {
        problem_answer(exchange, PROBLEM_MALFORMED_REQUEST,
                "the body ended early, or its chunks are none");
    }
    exchange->response.close = true;
}

/* A body that no handler wants is read as well, so that the connection can go on. */
static void read_body(struct worker *worker)
{
    struct exchange *exchange = &worker->exchange;
    bool asks = request_equals(request_header(&exchange->request, "Expect"), "100-continue") &&
                strcmp(exchange->request.version, "1.1") == 0;
    enum body_result result;

    if (!guard_has_body(&exchange->request) || exchange->response.close) {
        return;
    }
    if (asks && exchange->response.status != 0) {
        exchange->response.close = true; /* instead of a 100: the body may never come */
        return;
    }
    if (asks) {
        (void)mg_write(exchange->connection, "HTTP/1.1 100 Continue\r\n\r\n", CONTINUE_LEN);
    }
    result = body_read(exchange, &worker->http->watch, worker->index, &worker->body);
    if (result != BODY_OK) {
        refuse_body(exchange, result);
    }
    exchange->request.body = tally_buf_bytes(&worker->body);
}

/* Once this instance stops: of probes, of metrics, and of instances that a client has asked before
 * its tasks are elsewhere. */
static bool is_answered_to_the_end(const struct exchange *exchange)
{
    return exchange->route->permission == PERMISSION_PUBLIC ||
           strcmp(exchange->route->pattern, "/metrics") == 0 || forwarding_mark_is_good(exchange);
}

static void serve(struct worker *worker)
{
    struct exchange *exchange = &worker->exchange;
    bool stopping = atomic_load(&worker->http->stopping);

    exchange->keep_alive = exchange->keep_alive && !stopping;
    cors_headers(exchange);
    find_route(exchange);
    if (exchange->hurried && !quick_read_is(exchange)) {
        exchange->late = true;
        return;
    }
    if (exchange->route && stopping && !is_answered_to_the_end(exchange)) {
        problem_answer(exchange, PROBLEM_SHUTTING_DOWN, "this instance stops");
        exchange->response.close = true;
    } else if (exchange->route && limits_take(exchange)) {
        check_route(exchange);
    }
    read_body(worker);
    if (exchange->response.status == 0) {
        exchange->route->handler(exchange);
        tally_assert(exchange->response.status != 0);
    }
}

/* Returns the status for the library; it only has to be positive. */
static int answer(struct worker *worker)
{
    struct exchange *exchange = &worker->exchange;
    enum problem_code code = PROBLEM_NONE;
    const char *detail = NULL;
    enum guard_verdict verdict = guard_check(&exchange->request, &code, &detail);

    if (verdict == GUARD_SILENT) {
        mg_disable_connection_keep_alive(exchange->connection);
        return STATUS_SILENT;
    }
    if (verdict == GUARD_REFUSE) {
        problem_answer(exchange, code, "%s", detail);
        exchange->response.close = true;
    } else {
        exchange->keep_alive = request_keep_alive(&exchange->request);
        serve(worker);
    }
    write_answer(worker);
    TALLY_FAILPOINT(EDGES_HTTP_REPLY);
    if (exchange->response.close) {
        body_linger(exchange);
    }
    return exchange->response.status;
}

/* --- lanes ------------------------------------------------------------------------------------ */

static struct request *begin_read(void *desk, struct lane_place *place, int64_t round_us)
{
    struct worker *worker = desk;
    struct request *request = &worker->exchange.request;

    worker->round.begun_us = round_us;
    begin_exchange(worker, place->connection, round_us);
    worker->exchange.now_ms = worker->date_ms + (round_us - worker->date_us) / MS_US;
    request->peer = place->peer;
    request->from_loopback = strncmp(place->peer, "127.", 4) == 0;
    return request;
}

static bool answer_read(void *desk, struct tally_buf *out)
{
    struct worker *worker = desk;
    struct exchange *exchange = &worker->exchange;
    const struct response *response = &exchange->response;
    bool good;

    exchange->keep_alive = true; /* as request_head.h says */
    serve(worker);
    good = !exchange->late && exchange->keep_alive && !response->close && !response->streamed &&
           !response->body.failed;
    if (good) {
        response_compose(response, exchange->request.method, exchange->date, true, out);
        audit_end(exchange);
        exposition_round_add(&worker->round, exchange->route, response->status);
    }
    end_exchange(worker);
    return good;
}

static void end_reads(void *desk)
{
    exposition_round_end(&((struct worker *)desk)->round);
    tally_reads_drop(&((struct worker *)desk)->exchange.kept);
}

/* Bytes of a request that guard.c has let pass. */
static uint64_t request_len(const struct request *request)
{
    const struct request_header *last = &request->headers[request->header_count - 1];
    const char *end = last->value + strlen(last->value) + 2 * strlen("\r\n");

    return request->skipped + (uint64_t)(end - request->method_name) +
           (uint64_t)guard_content_length(request);
}

/* Whether the connection may wait in a lane for its next request. Where the library has read more
 * than this one, the next is in its buffer. */
static bool is_for_lane(struct worker *worker)
{
    const struct exchange *exchange = &worker->exchange;
    struct link *link = &worker->link;

    if (!exchange->keep_alive) {
        return false;
    }
    link->lost |= guard_is_chunked(&exchange->request);
    link->taken += request_len(&exchange->request);
    if (link->lost || !quick_read_is(exchange) || exchange->request.method == REQUEST_POST) {
        link->misses += link->in_vain;
        link->in_vain = false;
        link->reads = 0;
        return false;
    }
    link->in_vain = false; /* it was a read: what it has read is in memory now */
    return ++link->reads >= (link->misses < MISSES_MAX ? READS_FIRST : READS_LATER);
}

static void wait_in_lane(struct worker *worker, struct mg_connection *connection)
{
    struct lane_place *place = &worker->place;
    struct link *link = &worker->link;
    enum lane_event event = LANE_REST;

    place->socket = body_socket(connection);
    place->connection = connection;
    place->peer = mg_get_request_info(connection)->remote_addr;
    while (event == LANE_REST && place->socket >= 0 && lane_has_all(place->socket, link->taken)) {
        event = lane_wait(worker->http->lanes, worker->index, place);
        link->taken += place->taken;
        link->misses = place->answered > 0 ? 0 : link->misses;
        link->in_vain = place->answered == 0;
        if (event == LANE_REST &&
                mg_write(connection, place->rest.data, place->rest.len) != (int)place->rest.len) {
            event = LANE_END;
        }
    }
    if (event == LANE_END) {
        mg_disable_connection_keep_alive(connection);
    }
}

/* --- civetweb's callbacks ------------------------------------------------------------------- */

/* Who stops waits for the last one, and says so before it looks whether there is any. */
static void end_active(struct tally_http *http)
{
    if (atomic_fetch_sub(&http->active, 1) == 1 && atomic_load(&http->stopping)) {
        tally_mutex_lock(&http->mutex);
        tally_cond_broadcast(&http->idle);
        tally_mutex_unlock(&http->mutex);
    }
}

static int begin_request(struct mg_connection *connection)
{
    struct worker *worker = mg_get_thread_pointer(connection);
    int64_t before_us = tally_mono_us(tally_clock_real());
    bool for_lane;
    int status;

    if (worker->rests) {
        tally_mem_idle_thread(false);
        worker->rests = false;
    }
    atomic_fetch_add(&worker->http->active, 1);
    begin_exchange(worker, connection, before_us);
    read_request(worker, mg_get_request_info(connection));
    status = answer(worker);
    if (status != STATUS_SILENT) {
        audit_end(&worker->exchange);
        exposition_count(worker->exchange.route, status,
                tally_mono_us(tally_clock_real()) - before_us);
    }
    for_lane = status != STATUS_SILENT && is_for_lane(worker);
    end_exchange(worker);
    end_active(worker->http);
    if (for_lane) {
        wait_in_lane(worker, connection);
    }
    return status;
}

static int init_connection(const struct mg_connection *connection, void **data)
{
    struct worker *worker = mg_get_thread_pointer(connection);

    worker->link = (struct link){.taken = 0};
    *data = NULL;
    return 0;
}

/* What the library refuses by itself: requests that it cannot read. Its 411 is a Content-Length
 * that is no number, its 413 a header block that is too long. */
static int http_error(struct mg_connection *connection, int status, const char *message)
{
    struct worker *worker = mg_get_thread_pointer(connection);
    enum problem_code code = status == 505   ? PROBLEM_VERSION_UNSUPPORTED
                             : status >= 500 ? PROBLEM_INTERNAL
                                             : PROBLEM_MALFORMED_REQUEST;

    (void)message;
    begin_exchange(worker, connection, tally_mono_us(tally_clock_real()));
    problem_answer(&worker->exchange, code,
            code == PROBLEM_MALFORMED_REQUEST
                    ? "the request cannot be read: bad request line or headers, headers "
                      "over 16 KiB, or not complete in time"
                    : NULL);
    worker->exchange.response.close = true;
    write_answer(worker);
    exposition_count(NULL, worker->exchange.response.status, 0);
    body_linger(&worker->exchange);
    end_exchange(worker);
    return 0;
}

/* What every request may use. */
static void equip(struct tally_http *http, struct exchange *exchange)
{
    exchange->runtime = http->runtime;
    exchange->cache = http->readers.cache;
    exchange->search = http->readers.search;
    exchange->forward = http->readers.forward;
    exchange->client = http->readers.client;
    exchange->documents = &http->documents;
    exchange->limits = &http->limits;
    exchange->auth = http->auth;
    exchange->cursor_key = &http->cursor_key;
    exchange->graphql = http->graphql;
    exchange->waiting = &http->waiting;
    exchange->searching = &http->searching;
    exchange->started_us = http->started_us;
    exchange->gateway = http->websocket.gateway;
}

static void *create_worker(void *context)
{
    struct tally_http *http = context;
    struct worker *worker = tally_alloc_zero(1, sizeof *worker);

    worker->http = http;
    worker->exchange.hurried = true;
    lane_place_init(&worker->place);
    tally_buf_init(&worker->out, OUT_BYTES_MAX);
    tally_buf_init(&worker->body, GUARD_BODY_BYTES_MAX + WORKER_KEEP_BYTES);
    response_init(&worker->exchange.response);
    tally_arena_init(&worker->exchange.arena, ARENA_BLOCK_BYTES);
    equip(http, &worker->exchange);
    return worker;
}

static void destroy_worker(void *desk)
{
    struct worker *worker = desk;

    lane_place_deinit(&worker->place);
    tally_buf_deinit(&worker->out);
    tally_buf_deinit(&worker->body);
    response_deinit(&worker->exchange.response);
    tally_arena_deinit(&worker->exchange.arena);
    tally_free(worker);
}

static void *init_thread(const struct mg_context *context, int type)
{
    struct tally_http *http = mg_get_user_data(context);
    struct worker *worker;

    if (type != 1) {
        return NULL;
    }
    tally_log_thread("http");
    tally_mem_idle_thread(true);
    tally_thread_prompt(SLICE_US, 0);
    worker = create_worker(http);
    worker->exchange.hurried = false;
    worker->rests = true;
    worker->index = atomic_fetch_add(&http->worker_count, 1);
    tally_assert(worker->index < http->workers_max);
    return worker;
}

static void exit_thread(const struct mg_context *context, int type, void *pointer)
{
    (void)context;
    (void)type;
    if (pointer) {
        destroy_worker(pointer);
    }
}

/* The library's own complaints: kept while it starts, else for the log. There is no callback for
 * its access log: with one it makes a line for every request, and asks for the time zone's file. */
static int log_message(const struct mg_connection *connection, const char *message)
{
    struct tally_http *http = mg_get_user_context_data(connection);
    static struct tally_log_limit limit;

    if (http && !atomic_load(&http->started)) {
        snprintf(http->failure, sizeof http->failure, "%s", message);
    } else if (tally_log_allowed(&limit, 1000)) {
        tally_log(TALLY_LOG_DEBUG, "http server", TALLY_LOG_STR("reason", message));
    }
    return 1;
}

/* --- start and stop ------------------------------------------------------------------------- */

/* Only digits behind the last ':'. civetweb would take "443s" for TLS, and "80,81" for two ports.
 */
static bool is_address(const char *listen)
{
    const char *colon = strrchr(listen, ':');

    return colon && colon[1] && strspn(colon + 1, "0123456789") == strlen(colon + 1) &&
           !strpbrk(listen, ", []");
}

static void read_address(struct tally_http *http, const char *listen)
{
    struct mg_server_port port = {0};

    mg_get_server_ports(http->context, 1, &port);
    snprintf(http->address, sizeof http->address, "%.*s:%d", (int)(strrchr(listen, ':') - listen),
            listen, port.port);
}

static enum tally_code start_library(struct tally_http *http, const struct tally_config *config,
        struct tally_error *err)
{
    const struct mg_callbacks callbacks = {
            .begin_request = begin_request,
            .http_error = http_error,
            .log_message = log_message,
            .init_connection = init_connection,
            .init_thread = init_thread,
            .exit_thread = exit_thread,
    };
    char threads[24];
    const char *options[] = {"listening_ports", config->http_listen, "num_threads", threads,
            "enable_keep_alive", "yes", "request_timeout_ms", "5000", "keep_alive_timeout_ms",
            "5000", "max_request_size", "16384", "tcp_nodelay", "1", "connection_queue", "128",
            "listen_backlog", "512", "decode_url", "no", "decode_query_string", "no",
            "enable_directory_listing", "no", "enable_auth_domain_check", "no",
            "access_control_allow_origin", "", "access_control_allow_methods", "",
            "access_control_allow_headers", "", NULL};
    sigset_t all, before;

    snprintf(threads, sizeof threads, "%zu", http->workers_max);
    sigfillset(&all); /* signals are for the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    http->context = mg_start(&callbacks, http, options);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!http->context) {
        return tally_error_set(err, TALLY_CONFIG, "cannot listen on http.listen \"%s\": %s",
                config->http_listen,
                http->failure[0] ? http->failure : "the address is taken, or is none of this host");
    }
    atomic_store(&http->started, true);
    read_address(http, config->http_listen);
    return TALLY_OK;
}

static void start_lanes(struct tally_http *http)
{
    const struct lane_ops ops = {.open = create_worker,
            .close = destroy_worker,
            .begin = begin_read,
            .answer = answer_read,
            .end = end_reads,
            .context = http};

    http->lanes = lane_start(&ops, IDLE_MS);
}

static void start_websockets(struct tally_http *http, const struct tally_config *config)
{
    struct exchange prototype = {.runtime = NULL};

    equip(http, &prototype);
    websocket_start(&http->websocket,
            &(struct websocket_options){
                    .config = config, .client = http->readers.client, .prototype = &prototype});
}

static void destroy(struct tally_http *http)
{
    lane_destroy(http->lanes);
    websocket_destroy(&http->websocket);
    body_watch_stop(&http->watch);
    graphql_route_schema_destroy(http->graphql);
    auth_destroy(http->auth);
    api_documents_deinit(&http->documents);
    tally_cond_deinit(&http->idle);
    tally_mutex_deinit(&http->mutex);
    tally_free(http);
    mg_exit_library();
}

enum tally_code tally_http_start(struct tally_runtime *runtime,
        const struct tally_http_readers *readers, struct tally_http **out, struct tally_error *err)
{
    const struct tally_config *config = tally_runtime_config(runtime);
    struct tally_http *http;
    enum tally_code code;

    *out = NULL;
    if (!is_address(config->http_listen)) {
        return tally_error_set(err, TALLY_CONFIG, "http.listen: expected address:port, got \"%s\"",
                config->http_listen);
    }
    mg_init_library(MG_FEATURES_DEFAULT);
    http = tally_alloc_zero(1, sizeof *http);
    http->runtime = runtime;
    limits_init(&http->limits, config, readers->limiter);
    http->readers = *readers;
    http->waiting.max = config->http_wait_max;
    http->searching.max = SEARCHES_MAX;
    http->workers_max = (size_t)config->http_threads;
    http->started_us = tally_mono_us(tally_clock_real());
    tally_mutex_init(&http->mutex, TALLY_LOCK_HTTP);
    tally_cond_init(&http->idle);
    api_documents_init(&http->documents, runtime);
    body_watch_start(&http->watch, http->workers_max);
    http->graphql = graphql_route_schema();
    code = auth_create(config, &http->auth, err);
    if (!code) {
        code = cursor_key_make(config->http_cursor_key, &http->cursor_key, err);
    }
    if (!code) {
        start_websockets(http, config);
        start_lanes(http);
        code = start_library(http, config, err);
    }
    if (code) {
        destroy(http);
        return code;
    }
    tally_metrics_collector(low_stock_metrics_collect, runtime);
    *out = http;
    return TALLY_OK;
}

void tally_http_close(struct tally_http *http)
{
    atomic_store(&http->stopping, true);
    websocket_close(&http->websocket);
}

void tally_http_stop(struct tally_http *http)
{
    int64_t end_ms = tally_mono_ms(tally_clock_real()) + STOP_TIMEOUT_MS;

    tally_http_close(http);
    websocket_stop(&http->websocket);
    tally_mutex_lock(&http->mutex);
    while (atomic_load(&http->active) > 0) {
        int64_t left_ms = end_ms - tally_mono_ms(tally_clock_real());

        if (left_ms <= 0 || !tally_cond_wait(&http->idle, &http->mutex, left_ms)) {
            break;
        }
    }
    tally_mutex_unlock(&http->mutex);
    lane_stop(http->lanes);
    mg_stop(http->context);
    tally_metrics_collector_remove(low_stock_metrics_collect, http->runtime);
    destroy(http);
}

enum tally_code tally_http_check(const struct tally_config *config, struct tally_error *err)
{
    struct auth *auth = NULL;
    enum tally_code code = auth_create(config, &auth, err);

    auth_destroy(auth);
    return code;
}

enum tally_code tally_http_reload(struct tally_http *http, struct tally_error *err)
{
    return auth_reload(http->auth, err);
}

const char *tally_http_address(const struct tally_http *http)
{
    return http->address;
}
