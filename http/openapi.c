/* http/openapi.c - OpenAPI 3.1 of routes.def: every route with its parameters, bodies, answers and
 * errors. Commands are described by their tables, other answers by api_answers.def.
 * Invariants
 *  (1) A row of routes.def is an operation; what api_routes.def does not say of it is left open.
 *  (2) An error stands under its status with the codes that it may have. */
#include <stdio.h>

#include "engine/base/version.h"
#include "http/api_documents.h"
#include "http/api_schema.h"
#include "http/availability_query.h"
#include "http/limits.h"
#include "http/problem.h"
#include "http/router.h"
#include "schemas/catalogue_records.h"
#include "schemas/reservation_records.h"
#include "schemas/transfer_records.h"

enum { STATUS_MAX = 600, NAME_LEN_MAX = 64 };

struct api_route {
    const char *answer, *body, *codes;
    bool tagged, known;
};
static const struct api_route api_routes[ROUTES] = {
#define X(route, answer, body, tagged, codes) [ROUTE_##route] = {answer, body, codes, tagged, true},
#include "http/api_routes.def"
#undef X
};

static const char *const route_names[ROUTES] = {
#define X(id, method, pattern, handler, permission, by, answers, queries, help) [ROUTE_##id] = #id,
#include "http/routes.def"
#undef X
};

static const struct api_parameter {
    const char *route, *name, *schema, *help;
} parameters[] = {
#define X(route, name, schema, help) {route, name, schema, help},
#include "http/api_parameters.def"
#undef X
};

/* JSON with ' for ". */
static void write_quoted(struct api_text *text, const char *name, const char *quoted)
{
    struct tally_buf json;

    tally_buf_init(&json, 64 * 1024);
    for (; *quoted; quoted++) {
        tally_buf_byte(&json, *quoted == '\'' ? '"' : (uint8_t)*quoted);
    }
    tally_buf_byte(&json, 0);
    api_text_json(text, name, (const char *)json.data);
    tally_buf_deinit(&json);
}

static void write_reference(struct api_text *text, const char *name, const char *kind,
        const char *component)
{
    api_text_map(text, name);
    api_text_format(text, "$ref", "#/components/%s/%s", kind, component);
    api_text_close(text);
}

static bool is_by(const struct route *route, const char *letter)
{
    return strcmp(route->by, letter) == 0;
}

static bool reads_state(const struct route *route)
{
    return is_by(route, "S") || is_by(route, "R");
}

/* --- parameters ------------------------------------------------------------------------------- */

static const struct api_parameter *find_parameter(const struct route *route,
        struct tally_slice name)
{
    static const struct api_parameter unknown = {"", "", "{'type':'string'}", ""};

    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++) {
        const struct api_parameter *row = &parameters[i];

        if (tally_slice_equal(name, tally_slice_string(row->name)) &&
                (!row->route[0] || strcmp(row->route, route_names[route->id]) == 0)) {
            return row;
        }
    }
    return &unknown;
}

static void write_parameter(struct api_text *text, const struct route *route,
        struct tally_slice name, const char *in, bool required)
{
    const struct api_parameter *row = find_parameter(route, name);

    api_text_map(text, NULL);
    api_text_slice(text, "name", name);
    api_text_string(text, "in", in);
    api_text_bool(text, "required", required);
    if (row->help[0]) {
        api_text_string(text, "description", row->help);
    }
    write_quoted(text, "schema", row->schema);
    api_text_close(text);
}

static void write_path_parameters(struct api_text *text, const struct route *route)
{
    for (const char *at = strchr(route->pattern, '{'); at; at = strchr(at, '{')) {
        const char *end = strchr(at, '}');

        write_parameter(text, route,
                tally_slice_of((const uint8_t *)at + 1, (size_t)(end - at - 1)), "path", true);
        at = end;
    }
}

static bool is_required(const struct route *route, struct tally_slice name)
{
    return (route->id == ROUTE_STOCK_LEDGER && tally_slice_equal(name, TALLY_SLICE("warehouse"))) ||
           route->id == ROUTE_OPS_DUMP;
}

static void write_header_parameters(struct api_text *text, const struct route *route)
{
    bool sends = route->id == ROUTE_COMMAND_SEND;

    if (reads_state(route)) {
        write_reference(text, NULL, "parameters", "MinPosition");
    }
    if (reads_state(route) || is_by(route, "K")) {
        write_reference(text, NULL, "parameters", "Prefer");
    }
    if (api_routes[route->id].tagged) {
        write_reference(text, NULL, "parameters", "IfNoneMatch");
    }
    if (sends) {
        write_reference(text, NULL, "parameters", "IdempotencyKey");
        write_reference(text, NULL, "parameters", "IfMatch");
    }
    if (is_by(route, "K")) {
        write_reference(text, NULL, "parameters", "Actor");
    }
}

static void write_parameters(struct api_text *text, const struct route *route)
{
    struct tally_slice rest = tally_slice_string(route->queries), name;

    api_text_list(text, "parameters");
    write_path_parameters(text, route);
    while (rest.len > 0 && request_list_next(&rest, ',', &name)) {
        write_parameter(text, route, name, "query", is_required(route, name));
    }
    write_header_parameters(text, route);
    api_text_close(text);
}

/* --- answers ---------------------------------------------------------------------------------- */

/* types: one media type, or several joined by commas. */
static void write_content(struct api_text *text, const char *types, const char *component)
{
    struct tally_slice rest = tally_slice_string(types), type;

    api_text_map(text, "content");
    while (request_list_next(&rest, ',', &type)) {
        bool plain = tally_slice_starts(type, TALLY_SLICE("text/")) ||
                     tally_slice_equal(type, TALLY_SLICE(RESPONSE_YAML)) ||
                     tally_slice_equal(type, TALLY_SLICE(RESPONSE_NDJSON));
        char name[NAME_LEN_MAX];

        tally_assert(type.len < sizeof name);
        memcpy(name, type.data, type.len);
        name[type.len] = '\0';
        api_text_map(text, name);
        if (component && component[0] && !plain) {
            write_reference(text, "schema", "schemas", component);
        } else {
            api_text_json(text, "schema",
                    plain && !tally_slice_equal(type, TALLY_SLICE(RESPONSE_YAML))
                            ? "{\"type\":\"string\"}"
                            : "{\"type\":\"object\"}");
        }
        api_text_close(text);
    }
    api_text_close(text);
}

static void write_headers(struct api_text *text, const struct route *route)
{
    if (!reads_state(route) && !is_by(route, "P")) {
        return;
    }
    api_text_map(text, "headers");
    if (api_routes[route->id].tagged) {
        write_reference(text, "ETag", "headers", "ETag");
    }
    if (reads_state(route)) {
        write_reference(text, "Tally-Position", "headers", "Tally-Position");
    }
    write_reference(text, "Tally-As-Of", "headers", "Tally-As-Of");
    write_reference(text, "Tally-Lag-Ms", "headers", "Tally-Lag-Ms");
    write_reference(text, "Tally-Source", "headers", "Tally-Source");
    api_text_close(text);
}

/* --- links ------------------------------------------------------------------------------------ */

static const struct api_link {
    enum route_id route, target;
    const char *status, *name, *parameter, *value;
} links[] = {
#define X(route, status, link, target, parameter, value) \
    {ROUTE_##route, ROUTE_##target, status, link, parameter, value},
#include "http/api_links.def"
#undef X
};

static void begin_link(struct api_text *text, const char *name, enum route_id target)
{
    api_text_map(text, name);
    api_text_string(text, "operationId", route_names[target]);
    api_text_map(text, "parameters");
}

/* The next page is asked for with the same filter. */
static void write_next_page(struct api_text *text, const struct route *route)
{
    struct tally_slice rest = tally_slice_string(route->queries), name;

    begin_link(text, "next", route->id);
    while (request_list_next(&rest, ',', &name)) {
        char parameter[NAME_LEN_MAX];

        snprintf(parameter, sizeof parameter, "%.*s", (int)name.len, (const char *)name.data);
        if (strcmp(parameter, "cursor") == 0) {
            api_text_string(text, parameter, "$response.body#/next_cursor");
        } else {
            api_text_format(text, parameter, "$request.query.%s", parameter);
        }
    }
    for (const char *at = strchr(route->pattern, '{'); at; at = strchr(at + 1, '{')) {
        int len = (int)strcspn(at + 1, "}");
        char parameter[NAME_LEN_MAX];

        snprintf(parameter, sizeof parameter, "%.*s", len, at + 1);
        api_text_format(text, parameter, "$request.path.%s", parameter);
    }
    api_text_close(text);
    api_text_close(text);
}

static void write_links(struct api_text *text, const struct route *route, const char *status)
{
    bool pages = strcmp(status, "200") == 0 && strstr(route->queries, "cursor"), any = pages;
    const struct api_link *open = NULL;

    for (size_t i = 0; i < sizeof links / sizeof *links && !any; i++) {
        any = links[i].route == route->id && strcmp(links[i].status, status) == 0;
    }
    if (!any) {
        return;
    }
    api_text_map(text, "links");
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        if (links[i].route != route->id || strcmp(links[i].status, status) != 0) {
            continue;
        }
        if (!open) {
            begin_link(text, links[i].name, links[i].target);
            open = &links[i];
        }
        api_text_string(text, links[i].parameter, links[i].value);
    }
    if (open) {
        api_text_close(text);
        api_text_close(text);
    }
    if (pages) {
        write_next_page(text, route);
    }
    api_text_close(text);
}

static void write_successes(struct api_text *text, const struct route *route)
{
    const struct api_route *api = &api_routes[route->id];

    if (route->id == ROUTE_STREAM) {
        api_text_json(text, "101", "{\"description\":\"a WebSocket; see docs/stream.md\"}");
        return;
    }
    api_text_map(text, "200");
    api_text_string(text, "description",
            is_by(route, "K") ? "what came of it: every outcome is known" : "the answer");
    write_headers(text, route);
    write_content(text, route->answers, api->answer);
    write_links(text, route, "200");
    api_text_close(text);
    if (is_by(route, "K")) {
        api_text_map(text, "202");
        api_text_string(text, "description", "written; what came of it is not known yet");
        write_content(text, route->answers,
                route->id == ROUTE_COMMAND_SEND ? "Pending" : api->answer);
        write_links(text, route, "202");
        api_text_close(text);
    }
    if (route->id == ROUTE_PRODUCT_SLUG) {
        api_text_json(text, "301",
                "{\"description\":\"the slug that the product has now is in Location\","
                "\"headers\":{\"Location\":{\"schema\":{\"type\":\"string\"}}}}");
    }
    if (api->tagged) {
        api_text_json(text, "304", "{\"description\":\"nothing has changed\"}");
    }
}

/* The codes of a route: HTTP's own and those of the business. */
struct codes {
    bool own[PROBLEM_CODES], rejects[TALLY_REJECTS];
};

static void add_own(struct codes *codes, const enum problem_code *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        codes->own[list[i]] = true;
    }
}
#define ADD(codes, ...)                                      \
    add_own(codes, (const enum problem_code[]){__VA_ARGS__}, \
            sizeof((const enum problem_code[]){__VA_ARGS__}) / sizeof(enum problem_code))

static void add_business(struct codes *codes, const char *names)
{
    struct tally_slice rest = tally_slice_string(names ? names : ""), name;
    bool all = names && strcmp(names, "*") == 0;

    for (int i = TALLY_REJECT_NONE + 1; i < TALLY_REJECTS && all; i++) {
        codes->rejects[i] = true;
    }
    while (!all && request_list_next(&rest, ',', &name)) {
        codes->rejects[tally_reject_find(name)] = true;
    }
}

static void collect(const struct route *route, struct codes *codes)
{
    ADD(codes, PROBLEM_MALFORMED_REQUEST, PROBLEM_INVALID_PARAMETER, PROBLEM_NOT_ACCEPTABLE,
            PROBLEM_REQUEST_TIMEOUT, PROBLEM_BODY_TOO_LARGE, PROBLEM_URI_TOO_LONG,
            PROBLEM_TOO_MANY_HEADERS, PROBLEM_INTERNAL, PROBLEM_SHUTTING_DOWN,
            PROBLEM_VERSION_UNSUPPORTED);
    if (limits_policy_of(route) != LIMITS_NONE) {
        ADD(codes, PROBLEM_RATE_LIMITED);
    }
    if (route->method == REQUEST_POST) {
        ADD(codes, PROBLEM_LENGTH_REQUIRED);
    }
    if (api_routes[route->id].body && api_routes[route->id].body[0]) {
        ADD(codes, PROBLEM_MALFORMED_BODY, PROBLEM_UNSUPPORTED_MEDIA_TYPE);
    }
    if (strstr(route->queries, "cursor")) {
        ADD(codes, PROBLEM_INVALID_CURSOR);
    }
    if (reads_state(route)) {
        ADD(codes, PROBLEM_NOT_OWNER, PROBLEM_POSITION_NOT_REACHED, PROBLEM_STORE_ERROR,
                PROBLEM_OVERLOADED);
    }
    if (is_by(route, "K")) {
        ADD(codes, PROBLEM_KAFKA_UNAVAILABLE, PROBLEM_OVERLOADED);
    }
    if (is_by(route, "P")) {
        ADD(codes, PROBLEM_POSTGRES_UNAVAILABLE, PROBLEM_MIN_POSITION_UNSUPPORTED);
    }
    if (route->permission != PERMISSION_PUBLIC) {
        ADD(codes, PROBLEM_UNAUTHENTICATED, PROBLEM_FORBIDDEN);
    }
    if (route->id == ROUTE_COMMAND_SEND) {
        ADD(codes, PROBLEM_IDEMPOTENCY_KEY_MISSING, PROBLEM_REQUEST_IN_PROGRESS);
    }
    if (route->id == ROUTE_COMMAND_READ) {
        ADD(codes, PROBLEM_COMMAND_NOT_FOUND, PROBLEM_NOT_KEPT);
    }
    if (route->id == ROUTE_STOCK_LEDGER || route->id == ROUTE_STOCK_LEVEL) {
        ADD(codes, PROBLEM_NOT_KEPT, PROBLEM_NOT_FOUND);
    }
    if (route->id == ROUTE_STOCK_EXPLAIN) {
        ADD(codes, PROBLEM_KAFKA_UNAVAILABLE, PROBLEM_OVERLOADED);
    }
    if (route->id == ROUTE_OPS_STORE || route->id == ROUTE_OPS_DUMP) {
        ADD(codes, PROBLEM_NOT_FOUND, PROBLEM_NOT_OWNER, PROBLEM_STORE_ERROR);
    }
    if (strchr(route->pattern, '{')) { /* what stands there may make it another path */
        ADD(codes, PROBLEM_NOT_FOUND);
    }
    if (route->id == ROUTE_GRAPHQL_GET) {
        ADD(codes, PROBLEM_MALFORMED_BODY);
    }
    if (route->id == ROUTE_INTERNAL_READS) {
        ADD(codes, PROBLEM_MALFORMED_BODY, PROBLEM_UNSUPPORTED_MEDIA_TYPE);
    }
    if (route->id == ROUTE_STREAM) {
        ADD(codes, PROBLEM_UPGRADE_REQUIRED, PROBLEM_ORIGIN_REFUSED, PROBLEM_OVERLOADED);
    }
    add_business(codes, api_routes[route->id].codes);
}

/* All codes of one status. */
static void write_problem(struct api_text *text, int status, const struct codes *codes)
{
    char name[16];

    snprintf(name, sizeof name, "%d", status);
    api_text_map(text, name);
    api_text_string(text, "description", "refused; code says why");
    api_text_map(text, "content");
    api_text_map(text, RESPONSE_PROBLEM);
    api_text_map(text, "schema");
    api_text_list(text, "allOf");
    write_reference(text, NULL, "schemas", "Problem");
    api_text_map(text, NULL);
    api_text_map(text, "properties");
    api_text_map(text, "code");
    api_text_list(text, "enum");
    for (int i = PROBLEM_NONE + 1; i < PROBLEM_CODES; i++) {
        bool elsewhere = i == PROBLEM_NOT_OWNER && status == 421;

        if (codes->own[i] && (problem_status((enum problem_code)i) == status || elsewhere)) {
            api_text_string(text, NULL, problem_name((enum problem_code)i));
        }
    }
    for (int i = TALLY_REJECT_NONE + 1; i < TALLY_REJECTS; i++) {
        if (codes->rejects[i] && tally_reject_http((enum tally_reject)i) == status) {
            api_text_string(text, NULL, tally_reject_name((enum tally_reject)i));
        }
    }
    for (int i = 0; i < 9; i++) {
        api_text_close(text);
    }
}

static void write_problems(struct api_text *text, const struct route *route)
{
    bool statuses[STATUS_MAX] = {false};
    struct codes codes = {{false}, {false}};

    collect(route, &codes);
    for (int i = PROBLEM_NONE + 1; i < PROBLEM_CODES; i++) {
        if (codes.own[i]) {
            statuses[problem_status((enum problem_code)i)] = true;
        }
    }
    for (int i = TALLY_REJECT_NONE + 1; i < TALLY_REJECTS; i++) {
        if (codes.rejects[i]) {
            statuses[tally_reject_http((enum tally_reject)i)] = true;
        }
    }
    statuses[421] = codes.own[PROBLEM_NOT_OWNER];
    for (int status = 0; status < STATUS_MAX; status++) {
        if (statuses[status]) {
            write_problem(text, status, &codes);
        }
    }
}

/* --- paths ------------------------------------------------------------------------------------ */

static void write_body(struct api_text *text, const struct route *route)
{
    const char *body = api_routes[route->id].body;

    if (!body || !body[0]) {
        return;
    }
    api_text_map(text, "requestBody");
    api_text_bool(text, "required", true);
    api_text_map(text, "content");
    for (int i = 0; i < (route->id == ROUTE_GRAPHQL_POST ? 1 : 2); i++) {
        api_text_map(text, i == 0 ? RESPONSE_JSON : "application/msgpack");
        write_reference(text, "schema", "schemas", body);
        api_text_close(text);
    }
    api_text_close(text);
    api_text_close(text);
}

static void write_operation(struct api_text *text, const struct route *route)
{
    api_text_map(text, route->method == REQUEST_POST ? "post" : "get");
    api_text_string(text, "operationId", route_names[route->id]);
    api_text_string(text, "summary", route->help);
    api_text_string(text, "x-tally-role",
            route->permission == PERMISSION_PUBLIC ? "public"
                                                   : role_name((enum role)route->permission));
    if (route->permission == PERMISSION_PUBLIC) {
        api_text_json(text, "security", "[]");
    }
    write_parameters(text, route);
    write_body(text, route);
    api_text_map(text, "responses");
    write_successes(text, route);
    write_problems(text, route);
    api_text_close(text);
    api_text_close(text);
}

/* The routes of a path stand behind each other in the document, wherever they are in the table. Two
 * paths that differ in the name of a parameter alone are told apart by their methods. */
static void write_paths(struct api_text *text)
{
    bool done[ROUTES] = {false};

    api_text_map(text, "paths");
    for (size_t i = 0; i < ROUTES; i++) {
        const struct route *first = router_route((enum route_id)i);

        if (done[i]) {
            continue;
        }
        api_text_map(text, first->pattern);
        for (size_t j = i; j < ROUTES; j++) {
            const struct route *route = router_route((enum route_id)j);

            if (strcmp(route->pattern, first->pattern) == 0) {
                write_operation(text, route);
                done[j] = true;
            }
        }
        api_text_close(text);
    }
    api_text_close(text);
}

/* --- components ------------------------------------------------------------------------------- */

typedef void (*command_fn)(struct api_text *text, const struct tally_schema *schema);

static void write_command(struct api_text *text, const struct tally_schema *schema)
{
    api_schema_record(text, schema->name, schema, API_COMMAND, NULL);
}

static void refer_command(struct api_text *text, const struct tally_schema *schema)
{
    write_reference(text, NULL, "schemas", schema->name);
}

static void each_command(struct api_text *text, struct tally_runtime *runtime, command_fn write)
{
    size_t count;
    struct tally_topology *const *topologies = tally_runtime_topologies(runtime, &count);

    for (size_t i = 0; i < count; i++) {
        const struct tally_aggregate *aggregate = tally_topology_aggregate(topologies[i]);

        for (size_t j = 0; aggregate && aggregate->command_types[j]; j++) {
            if (!aggregate->command_types[j]->internal) {
                write(text, aggregate->command_types[j]);
            }
        }
    }
}

static const struct tally_schema *product_schema(void)
{
    const struct tally_schema *event = catalogue_event_schemas[CATALOGUE_PRODUCT_CREATED];

    for (size_t i = 0; i < event->field_count; i++) {
        if (strcmp(event->fields[i].name, "product") == 0) {
            return event->fields[i].schema;
        }
    }
    tally_assert(false);
    return NULL;
}

static void write_schemas(struct api_text *text, struct tally_runtime *runtime)
{
    static const char *const inner[] = {"op", "timer", NULL};

    api_text_map(text, "schemas");
    each_command(text, runtime, write_command);
    api_text_map(text, "Command");
    api_text_list(text, "anyOf");
    each_command(text, runtime, refer_command);
    api_text_close(text);
    api_text_close(text);
    api_text_json(text, "CommandBatch",
            "{\"type\":\"object\",\"required\":[\"commands\"],\"properties\":{\"commands\":{"
            "\"type\":\"array\",\"minItems\":1,\"maxItems\":1000,\"items\":{\"allOf\":[{\"$ref\":"
            "\"#/components/schemas/Command\"},{\"required\":[\"type\",\"command_id\"]}]}}},"
            "\"additionalProperties\":false}");
    api_schema_record(text, "AvailabilityQuery", &availability_query_schema, API_CLOSED, NULL);
    api_schema_record(text, "Product", product_schema(), API_OPEN, NULL);
    api_schema_record(text, "Reservation", reservation_event_schemas[RESERVATION_WAS_CONFIRMED],
            API_CLOSED, inner);
    api_schema_record(text, "Transfer", transfer_event_schemas[TRANSFER_WAS_DISPATCHED], API_CLOSED,
            inner);
#define X(name, schema) write_quoted(text, #name, schema);
#include "http/api_answers.def"
#undef X
    api_text_close(text);
}

static void write_header_components(struct api_text *text)
{
    static const struct {
        const char *component, *name, *schema, *help;
        bool required;
    } rows[] = {
            {"MinPosition", "Tally-Min-Position",
                    "{'type':'string','pattern':'^[A-Za-z0-9._-]{1,249}/[0-9]{1,9}@[0-9]{1,18}"
                    "(,[A-Za-z0-9._-]{1,249}/[0-9]{1,9}@[0-9]{1,18}){0,15}$'}",
                    "waits until these positions are applied", false},
            {"Prefer", "Prefer", "{'type':'string'}",
                    "wait=n, n from 1 to 30: seconds to wait; other preferences are not looked at",
                    false},
            {"IfNoneMatch", "If-None-Match", "{'type':'string'}", "entity tags that the client has",
                    false},
            {"IdempotencyKey", "Idempotency-Key", "{'$ref':'#/components/schemas/CommandId'}",
                    "the command's id; the same again is the same command", true},
            {"IfMatch", "If-Match", "{'type':'string'}",
                    "entity tag of what the command changes: refused when it has changed", false},
            {"Actor", "X-Actor", "{'type':'string','maxLength':128}", "who does it", false},
    };
    static const char *const answers[] = {
            "ETag", "Tally-Position", "Tally-As-Of", "Tally-Lag-Ms", "Tally-Source"};

    api_text_map(text, "parameters");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        api_text_map(text, rows[i].component);
        api_text_string(text, "name", rows[i].name);
        api_text_string(text, "in", "header");
        api_text_bool(text, "required", rows[i].required);
        api_text_string(text, "description", rows[i].help);
        write_quoted(text, "schema", rows[i].schema);
        api_text_close(text);
    }
    api_text_close(text);
    api_text_map(text, "headers");
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        api_text_json(text, answers[i], "{\"schema\":{\"type\":\"string\"}}");
    }
    api_text_close(text);
}

void openapi_write(struct tally_runtime *runtime, struct tally_buf *out)
{
    bool asks = strcmp(tally_runtime_config(runtime)->http_auth, "none") != 0;
    struct api_text text;

    api_text_begin(&text, out, API_JSON);
    api_text_string(&text, "openapi", "3.1.0");
    api_text_map(&text, "info");
    api_text_string(&text, "title", "tally");
    api_text_string(&text, "version", tally_version());
    api_text_string(&text, "description",
            "Stock and catalogue on Kafka. Every GET also answers HEAD; another method is 405 with "
            "Allow, another path 404.");
    api_text_close(&text);
    api_text_json(&text, "security", asks ? "[{\"bearer\":[]}]" : "[{},{\"bearer\":[]}]");
    write_paths(&text);
    api_text_map(&text, "components");
    api_text_json(&text, "securitySchemes",
            "{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":\"a JWT or an "
            "API "
            "key, with the role x-tally-role of the operation\"}}");
    write_schemas(&text, runtime);
    write_header_components(&text);
    api_text_close(&text);
    api_text_end(&text);
}
