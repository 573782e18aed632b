/* http/graphql/graphql_command.c - Mutation.submit and Query.command.
 * submit is POST /v1/commands/{type} made by this process of its own: the same checks, the same
 * record, the same waiting; its answer becomes an object of CommandOutcome, or an error where HTTP
 * has refused the command and nothing was written. */
#include "http/graphql/graphql_fields.h"

#include <stdio.h>

#include "http/auth.h"
#include "http/commands.h"
#include "http/header_field.h"
#include "http/problem.h"

enum { WAIT_MAX_MS = 30000, FIELDS_BYTES_MAX = TALLY_DOCUMENT_BYTES_MAX };

/* --- outcomes --------------------------------------------------------------------------------- */

static const struct tally_token *member_of(const struct tally_token *map, const char *name,
        enum tally_token_type type)
{
    const struct tally_token *member = tally_token_member(map, name);

    return member && member->type == type ? member : NULL;
}

static struct tally_slice text_of(const struct tally_token *map, const char *name)
{
    const struct tally_token *member = member_of(map, name, TALLY_STRING);

    return member ? member->string : TALLY_NONE;
}

static bool flag_of(const struct tally_token *map, const char *name)
{
    const struct tally_token *member = member_of(map, name, TALLY_BOOL);

    return member && member->integer;
}

static struct graphql_out json_of(struct graphql_call *call, const struct tally_token *map,
        const char *name)
{
    const struct tally_token *member = tally_token_member(map, name);
    struct graphql_out out = {.kind = GRAPHQL_OUT_NULL};
    struct tally_buf text;

    if (member && member->type != TALLY_NULL) {
        tally_buf_init(&text, 2 * TALLY_DOCUMENT_BYTES_MAX);
        tally_token_write(member, TALLY_FORMAT_JSON, &text);
        out = (struct graphql_out){.kind = GRAPHQL_OUT_JSON,
                .text = tally_arena_copy(call->arena, tally_buf_bytes(&text))};
        tally_buf_deinit(&text);
    }
    return out;
}

static struct graphql_out accepted_out(struct graphql_call *call, const struct tally_token *record)
{
    struct graphql_object *object = graphql_object_create(call->arena, "Accepted", NULL, 5);
    const struct tally_token *version = member_of(record, "version", TALLY_INT);

    graphql_object_text(object, "commandId", text_of(record, "command_id"));
    if (version) {
        graphql_object_int(object, "version", version->integer);
    }
    graphql_object_text(object, "position", text_of(record, "position"));
    graphql_object_bool(object, "duplicate", flag_of(record, "duplicate"));
    graphql_object_set(object, "result", json_of(call, record, "result"));
    return graphql_out_object(object);
}

/* An outcome record, or a problem; both have these members. */
static struct graphql_out rejected_out(struct graphql_call *call, const struct tally_token *record,
        struct tally_slice id)
{
    struct graphql_object *object = graphql_object_create(call->arena, "Rejected", NULL, 6);

    graphql_object_text(object, "commandId", id);
    graphql_object_text(object, "code", text_of(record, "code"));
    graphql_object_bool(object, "retryable", flag_of(record, "retryable"));
    graphql_object_text(object, "detail", text_of(record, "detail"));
    graphql_object_set(object, "errors", json_of(call, record, "errors"));
    graphql_object_bool(object, "duplicate", flag_of(record, "duplicate"));
    return graphql_out_object(object);
}

static struct graphql_out pending_out(struct graphql_call *call, const struct tally_token *record)
{
    struct graphql_object *object = graphql_object_create(call->arena, "Pending", NULL, 2);

    graphql_object_text(object, "commandId", text_of(record, "command_id"));
    graphql_object_text(object, "position", text_of(record, "position"));
    return graphql_out_object(object);
}

static struct graphql_out outcome_out(struct graphql_call *call, const struct tally_token *record)
{
    struct tally_slice status = text_of(record, "status");

    if (tally_slice_equal(status, TALLY_SLICE("ACCEPTED"))) {
        return accepted_out(call, record);
    }
    return tally_slice_equal(status, TALLY_SLICE("REJECTED"))
                   ? rejected_out(call, record, text_of(record, "command_id"))
                   : pending_out(call, record);
}

/* --- command ---------------------------------------------------------------------------------- */

static enum graphql_step command_out(struct graphql_call *call, struct tally_slice record,
        struct graphql_out *out)
{
    const struct tally_token *members;
    enum tally_refusal refusal;

    if (tally_document_parse(record, call->arena, &members, &refusal, NULL)) {
        return graphql_call_fail(call, "INTERNAL", "the outcome cannot be read");
    }
    *out = outcome_out(call, members);
    return GRAPHQL_DONE;
}

static enum graphql_step query_command(struct graphql_call *call, struct graphql_out *out)
{
    static const char *const order[] = {"catalogue", "stock", "reservation", "transfer"};
    struct graphql_world *world = call->context;
    struct exchange *exchange = world->exchange;
    int32_t partitions = tally_runtime_partitions(exchange->runtime);
    struct tally_slice id = graphql_call_text(call, "id");
    const struct graphql_load *missed = NULL;
    enum graphql_step step = GRAPHQL_DONE;

    if (!header_field_is_command_id(id)) {
        return GRAPHQL_DONE; /* no client can have used it */
    }
    if (tally_runtime_config(exchange->runtime)->dedup_retention == 0) {
        return graphql_call_fail(call, "NOT_KEPT",
                "no outcomes are kept: dedup.retention is 0 here");
    }
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        bool runs = reading_topology(exchange, tally_slice_string(order[i])) != NULL;

        for (int32_t partition = 0; runs && partition < partitions; partition++) {
            const struct graphql_load *load = graphql_reads_outcome(&world->reads,
                    graphql_reads_task(&world->reads, order[i], partition), id);

            if (!load) {
                step = GRAPHQL_AGAIN;
            } else if (step == GRAPHQL_DONE && load->code == TALLY_OK) {
                return command_out(call, load->value, out);
            } else if (load->code != TALLY_NOT_FOUND) {
                missed = load;
            }
        }
    }
    return step == GRAPHQL_DONE && missed ? graphql_reads_fail(call, missed) : step;
}

/* --- submit ----------------------------------------------------------------------------------- */

static const char *text_copy(struct graphql_call *call, struct tally_slice text)
{
    char *copy = tally_arena_alloc(call->arena, text.len + 1);

    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return copy;
}

static void add_header(struct request *request, const char *name, const char *value)
{
    request->headers[request->header_count++] = (struct request_header){name, value};
}

/* The request that a client of REST would send. */
static void make_request(struct graphql_call *call, struct tally_slice fields, int64_t wait_ms,
        struct request *request)
{
    const struct request *own = &((struct graphql_world *)call->context)->exchange->request;
    struct tally_slice actor = request_header(own, "X-Actor");
    char wait[32];

    *request = *own;
    request->method = REQUEST_POST;
    request->header_count = 0;
    request->query_count = 0;
    request->params[0] = graphql_call_text(call, "type");
    request->body = fields;
    add_header(request, "Content-Type", "application/json");
    add_header(request, "Idempotency-Key", text_copy(call, graphql_call_text(call, "commandId")));
    if (actor.data) {
        add_header(request, "X-Actor", text_copy(call, actor));
    }
    if (wait_ms > 0) {
        snprintf(wait, sizeof wait, "wait=%lld", (long long)((wait_ms + 999) / 1000));
        add_header(request, "Prefer", text_copy(call, tally_slice_string(wait)));
    }
}

static enum graphql_step read_answer(struct graphql_call *call, const struct response *response,
        struct graphql_out *out)
{
    struct tally_slice id = graphql_call_text(call, "commandId"), code, detail;
    struct tally_slice body = tally_arena_copy(call->arena, tally_buf_bytes(&response->body));
    const struct tally_token *members;
    enum tally_refusal refusal;

    if (tally_document_parse(body, call->arena, &members, &refusal, NULL)) {
        return graphql_call_fail(call, "INTERNAL", "the outcome cannot be read");
    }
    if (response->status < 300) {
        *out = outcome_out(call, members);
        return GRAPHQL_DONE;
    }
    code = text_of(members, "code");
    if (tally_reject_find(code) != TALLY_REJECT_NONE) {
        *out = rejected_out(call, members, id);
        return GRAPHQL_DONE;
    }
    detail = text_of(members, "detail");
    return graphql_call_fail(call, text_copy(call, code), "%.*s",
            detail.len < 300 ? (int)detail.len : 300, detail.data ? (const char *)detail.data : "");
}

/* The exchange is lent to the command, and is afterwards what it was. */
static enum graphql_step send(struct graphql_call *call, struct tally_slice fields, int64_t wait_ms,
        struct graphql_out *out)
{
    struct exchange *exchange = ((struct graphql_world *)call->context)->exchange;
    struct request request = exchange->request;
    struct response response = exchange->response;
    enum graphql_step step;

    if (auth_asks(exchange->auth) &&
            !auth_allows(exchange, PERMISSION_WRITER)) { /* however the mutation came here */
        return graphql_call_fail(call, "FORBIDDEN", "a mutation needs the role of a writer");
    }
    make_request(call, fields, wait_ms, &exchange->request);
    response_init(&exchange->response);
    commands_send(exchange);
    step = read_answer(call, &exchange->response, out);
    response_deinit(&exchange->response);
    exchange->request = request;
    exchange->response = response;
    return step;
}

static enum graphql_step submit(struct graphql_call *call, struct graphql_out *out)
{
    struct graphql_world *world = call->context;
    const struct graphql_input *fields = graphql_call_argument(call, "fields");
    const struct graphql_input *wait = graphql_call_argument(call, "waitMs");
    int64_t wait_ms = wait ? wait->integer : 0;
    int64_t left_ms = world->wait_end_ms - tally_mono_ms(tally_clock_real());
    struct tally_slice body = TALLY_NONE;
    struct tally_buf text;

    if (wait_ms < 0 || wait_ms > WAIT_MAX_MS) {
        return graphql_call_fail(call, "INVALID_PARAMETER", "waitMs: expected 0 to %d",
                WAIT_MAX_MS);
    }
    if (!fields || fields->kind != GRAPHQL_INPUT_OBJECT) {
        return graphql_call_fail(call, "INVALID_PARAMETER", "fields: expected an object");
    }
    if (!header_field_is_command_id(graphql_call_text(call, "commandId"))) {
        return graphql_call_fail(call, "INVALID_PARAMETER",
                "commandId: expected 1 to 64 of A-Z a-z 0-9 . _ : -");
    }
    tally_buf_init(&text, FIELDS_BYTES_MAX);
    graphql_input_write(fields, &text);
    if (!text.failed) {
        body = tally_arena_copy(call->arena, tally_buf_bytes(&text));
    }
    tally_buf_deinit(&text);
    if (!body.data) {
        return graphql_call_fail(call, "BODY_TOO_LARGE", "fields: over 1 MiB");
    }
    return send(call, body, wait_ms < left_ms ? wait_ms : left_ms, out);
}

void graphql_command_bind(struct graphql_schema *schema)
{
    graphql_schema_bind(schema, "Query.command", query_command);
    graphql_schema_bind(schema, "Mutation.submit", submit);
}
