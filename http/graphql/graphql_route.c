/* http/graphql/graphql_route.c - see graphql_route.h.
 * Invariants
 *  (1) What is no GraphQL request is answered as a problem; what is one, and is refused or
 *      executed, as {errors, data, extensions}.
 *  (2) A refused request is 400 for those who know application/graphql-response+json; those who ask
 *      for application/json alone may be behind something that takes 400 for no answer: 200.
 *  (3) A mutation comes by POST only. */
#include "http/graphql/graphql_route.h"

#include "engine/base/clock.h"
#include "http/graphql/graphql_execute.h"
#include "http/graphql/graphql_fields.h"
#include "http/header_field.h"
#include "http/problem.h"
#include "http/router.h"

enum { WAIT_ALL_MS = 30000 };

struct graphql_schema *graphql_route_schema(void)
{
    struct graphql_schema *schema = graphql_schema_create(graphql_sdl);

    graphql_fields_bind(schema);
    return schema;
}

void graphql_route_schema_destroy(struct graphql_schema *schema)
{
    graphql_schema_destroy(schema);
}

/* --- the request ------------------------------------------------------------------------------ */

static void bad(struct exchange *exchange, const char *what)
{
    problem_answer(exchange, PROBLEM_MALFORMED_BODY, "%s", what);
}

/* A JSON object that fills the text; NULL: it is none. */
static const struct tally_token *parse_object(struct exchange *exchange, struct tally_slice text)
{
    const struct tally_token *object = NULL;
    enum tally_refusal refusal;

    text = request_trim(text);
    while (text.len > 0 && (text.data[0] == '\n' || text.data[0] == '\r')) {
        text = request_trim(tally_slice_of(text.data + 1, text.len - 1));
    }
    while (text.len > 0 && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r')) {
        text = request_trim(tally_slice_of(text.data, text.len - 1));
    }
    if (text.len == 0 || text.data[0] != '{' ||
            tally_document_parse(text, &exchange->arena, &object, &refusal, NULL)) {
        return NULL;
    }
    return object;
}

static bool is_absent(const struct tally_token *token)
{
    return !token || token->type == TALLY_NULL;
}

static bool read_members(struct exchange *exchange, const struct tally_token *body,
        struct graphql_request *request)
{
    const struct tally_token *query = tally_token_member(body, "query");
    const struct tally_token *name = tally_token_member(body, "operationName");
    const struct tally_token *variables = tally_token_member(body, "variables");
    const struct tally_token *extensions = tally_token_member(body, "extensions");

    if (!query || query->type != TALLY_STRING) {
        bad(exchange, "query: expected the text of a document");
    } else if (!is_absent(name) && name->type != TALLY_STRING) {
        bad(exchange, "operationName: expected a string");
    } else if (!is_absent(variables) && variables->type != TALLY_MAP) {
        bad(exchange, "variables: expected an object");
    } else if (!is_absent(extensions) && extensions->type != TALLY_MAP) {
        bad(exchange, "extensions: expected an object");
    } else {
        request->query = query->string;
        request->operation_name = is_absent(name) ? TALLY_NONE : name->string;
        request->variables = is_absent(variables) ? NULL : variables;
        return true;
    }
    return false;
}

static bool read_post(struct exchange *exchange, struct graphql_request *request)
{
    struct tally_slice type = request_header(&exchange->request, "Content-Type");
    struct tally_slice encoding = request_header(&exchange->request, "Content-Encoding");
    const struct tally_token *body;

    if (!header_field_is_type(type, "application/json") ||
            (encoding.data && !request_equals(encoding, "identity"))) {
        problem_answer(exchange, PROBLEM_UNSUPPORTED_MEDIA_TYPE,
                "Content-Type: expected application/json, not encoded");
        return false;
    }
    body = parse_object(exchange, exchange->request.body);
    if (!body) {
        bad(exchange, "expected a JSON object {query, operationName, variables}, whose numbers "
                      "are whole");
        return false;
    }
    return read_members(exchange, body, request);
}

static bool read_get(struct exchange *exchange, struct graphql_request *request)
{
    struct tally_slice variables = request_query(&exchange->request, "variables");
    struct tally_slice extensions = request_query(&exchange->request, "extensions");
    struct tally_slice name = request_query(&exchange->request, "operationName");

    request->query = request_query(&exchange->request, "query");
    request->operation_name = name.len > 0 ? name : TALLY_NONE;
    if (!request->query.data) {
        bad(exchange, "query: expected the text of a document");
        return false;
    }
    if (variables.len > 0) {
        request->variables = parse_object(exchange, variables);
    }
    if ((variables.len > 0 && !request->variables) ||
            (extensions.len > 0 && !parse_object(exchange, extensions))) {
        bad(exchange, "variables, extensions: expected a JSON object whose numbers are whole");
        return false;
    }
    return true;
}

/* --- the answer ------------------------------------------------------------------------------- */

/* Whether the client names the type of GraphQL; one that takes anything says nothing, and gets what
 * everybody can read. */
static bool knows_type(const struct exchange *exchange)
{
    struct tally_slice accept = request_header(&exchange->request, "Accept"), rest = accept, item;

    while (accept.data && request_list_next(&rest, ',', &item)) {
        struct tally_slice range;

        if (request_list_next(&item, ';', &range) &&
                (request_equals(range, RESPONSE_GRAPHQL) ||
                        request_equals(range, "application/*"))) {
            return header_field_accepts(accept, RESPONSE_GRAPHQL);
        }
    }
    return !accept.data;
}

static void begin_answer(struct exchange *exchange, bool refused)
{
    bool knows = knows_type(exchange);

    response_begin(&exchange->response, refused && knows ? 400 : 200,
            knows ? RESPONSE_GRAPHQL "; charset=utf-8" : RESPONSE_JSON "; charset=utf-8");
    tally_buf_byte(&exchange->response.body, '{');
}

static void load(void *context)
{
    struct graphql_world *world = context;

    graphql_reads_run(&world->reads);
}

static void execute(struct exchange *exchange, const struct graphql_prepared *prepared,
        struct graphql_errors *errors)
{
    struct tally_clock *clock = tally_clock_real();
    bool writes = prepared->operation->kind == GRAPHQL_MUTATION;
    int64_t now_ms = tally_mono_ms(clock);
    struct graphql_world world = {.exchange = exchange, .wait_end_ms = now_ms + WAIT_ALL_MS};
    struct graphql_execution execution = {
            .context = &world,
            .load = load,
            .clock = clock,
            .end_ms = writes ? 0 : now_ms + GRAPHQL_TIME_MAX_MS,
    };
    struct tally_buf data;

    if (!graphql_reads_begin(&world.reads, exchange, execution.end_ms)) {
        return;
    }
    tally_buf_init(&data, RESPONSE_BODY_BYTES_MAX);
    graphql_execute(prepared, &execution, errors, &data);
    begin_answer(exchange, false);
    if (errors->count > 0) {
        graphql_errors_write(errors, &exchange->response.body);
        tally_buf_byte(&exchange->response.body, ',');
    }
    tally_buf_slice(&exchange->response.body, tally_buf_bytes(&data));
    exchange->response.body.failed = exchange->response.body.failed || data.failed;
    tally_buf_format(&exchange->response.body, ",\"extensions\":{\"cost\":%lld,\"reads\":%zu}}",
            (long long)prepared->cost.cost, world.reads.multi_gets + world.reads.scans);
    graphql_reads_headers(&world.reads);
    graphql_reads_end(&world.reads);
    tally_buf_deinit(&data);
}

/* A mutation by GET, or by a client that may not write: answered here. */
static bool may_execute(struct exchange *exchange, const struct graphql_prepared *prepared)
{
    if (prepared->operation->kind != GRAPHQL_MUTATION) {
        return true;
    }
    if (exchange->request.method != REQUEST_POST) {
        response_header(&exchange->response, "Allow", "POST");
        problem_answer(exchange, PROBLEM_METHOD_NOT_ALLOWED, "a mutation is sent by POST");
        return false;
    }
    return auth_require(exchange, PERMISSION_WRITER, "a mutation");
}

static void answer(struct exchange *exchange, const struct graphql_request *request)
{
    struct graphql_prepared prepared;
    struct graphql_errors errors;

    graphql_errors_init(&errors, &exchange->arena);
    if (!graphql_prepare(exchange->graphql, request, &errors, &prepared)) {
        begin_answer(exchange, true);
        graphql_errors_write(&errors, &exchange->response.body);
        tally_buf_byte(&exchange->response.body, '}');
    } else if (may_execute(exchange, &prepared)) {
        execute(exchange, &prepared, &errors);
    }
}

static struct graphql_request begin(const struct exchange *exchange)
{
    const struct tally_config *config = tally_runtime_config(exchange->runtime);

    bool hides = auth_asks(exchange->auth) && !auth_allows(exchange, PERMISSION_OPERATOR);

    return (struct graphql_request){.hides_schema = hides || !config->graphql_introspection};
}

void graphql_route_get(struct exchange *exchange)
{
    struct graphql_request request = begin(exchange);

    if (read_get(exchange, &request)) {
        answer(exchange, &request);
    }
}

void graphql_route_post(struct exchange *exchange)
{
    struct graphql_request request = begin(exchange);

    if (read_post(exchange, &request)) {
        answer(exchange, &request);
    }
}
