/* http/graphql/graphql_route.c - see graphql_route.h.
 * Invariants
 *  (1) What is no GraphQL request is answered as a problem; what is one, and is refused or
 *      executed, as {errors, data, extensions}.
 *  (2) A refused request is 400 for those who know application/graphql-response+json; those who ask
 *      for application/json alone may be behind something that takes 400 for no answer: 200.
 *  (3) A mutation comes by POST only; a subscription by WebSocket (websocket_graphql.c). */
#include "http/graphql/graphql_route.h"

#include "http/graphql/graphql_fields.h"
#include "http/graphql/graphql_run.h"
#include "http/header_field.h"
#include "http/problem.h"
#include "http/router.h"
#include "http/websocket/websocket_handshake.h"

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

static bool read_members(struct exchange *exchange, const struct tally_token *body,
        struct graphql_request *request)
{
    const char *wrong = graphql_run_read(body, request);

    if (wrong) {
        bad(exchange, wrong);
    }
    return !wrong;
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

static void refuse(struct exchange *exchange, const struct graphql_errors *errors)
{
    begin_answer(exchange, true);
    graphql_errors_write(errors, &exchange->response.body);
    tally_buf_byte(&exchange->response.body, '}');
}

static void execute(struct exchange *exchange, const struct graphql_prepared *prepared,
        struct graphql_errors *errors)
{
    struct graphql_ran ran;
    struct tally_buf text;

    tally_buf_init(&text, RESPONSE_BODY_BYTES_MAX);
    if (graphql_run(exchange, prepared, NULL, errors, &text, &ran)) {
        begin_answer(exchange, false);
        tally_buf_slice(&exchange->response.body, tally_buf_bytes(&text));
        exchange->response.body.failed = exchange->response.body.failed || text.failed;
        graphql_run_cost(prepared, &ran, &exchange->response.body);
        tally_buf_byte(&exchange->response.body, '}');
    }
    tally_buf_deinit(&text);
}

/* A mutation by GET, or by a client that may not write: answered here. */
static bool may_execute(struct exchange *exchange, const struct graphql_prepared *prepared,
        struct graphql_errors *errors)
{
    if (prepared->operation->kind == GRAPHQL_SUBSCRIPTION) {
        graphql_errors_add(errors, GRAPHQL_INVALID, prepared->operation->at,
                "A subscription is made over a WebSocket, with the subprotocol "
                "graphql-transport-ws.");
        refuse(exchange, errors);
        return false;
    }
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
        refuse(exchange, &errors);
    } else if (may_execute(exchange, &prepared, &errors)) {
        execute(exchange, &prepared, &errors);
    }
}

void graphql_route_get(struct exchange *exchange)
{
    struct graphql_request request = {.hides_schema = graphql_run_hides_schema(exchange)};

    if (websocket_handshake_wanted(&exchange->request)) {
        websocket_handshake(exchange, WEBSOCKET_GRAPHQL);
    } else if (read_get(exchange, &request)) {
        answer(exchange, &request);
    }
}

void graphql_route_post(struct exchange *exchange)
{
    struct graphql_request request = {.hides_schema = graphql_run_hides_schema(exchange)};

    if (read_post(exchange, &request)) {
        answer(exchange, &request);
    }
}
