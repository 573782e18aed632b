/* http/graphql/graphql_run.c - see graphql_run.h. */
#include "http/graphql/graphql_run.h"

#include "engine/base/clock.h"
#include "http/auth.h"
#include "http/graphql/graphql_execute.h"
#include "http/graphql/graphql_fields.h"

enum { WAIT_ALL_MS = 30000 };

static bool is_absent(const struct tally_token *token)
{
    return !token || token->type == TALLY_NULL;
}

const char *graphql_run_read(const struct tally_token *body, struct graphql_request *request)
{
    const struct tally_token *query = tally_token_member(body, "query");
    const struct tally_token *name = tally_token_member(body, "operationName");
    const struct tally_token *variables = tally_token_member(body, "variables");
    const struct tally_token *extensions = tally_token_member(body, "extensions");

    if (!query || query->type != TALLY_STRING) {
        return "query: expected the text of a document";
    }
    if (!is_absent(name) && name->type != TALLY_STRING) {
        return "operationName: expected a string";
    }
    if (!is_absent(variables) && variables->type != TALLY_MAP) {
        return "variables: expected an object";
    }
    if (!is_absent(extensions) && extensions->type != TALLY_MAP) {
        return "extensions: expected an object";
    }
    request->query = query->string;
    request->operation_name = is_absent(name) ? TALLY_NONE : name->string;
    request->variables = is_absent(variables) ? NULL : variables;
    return NULL;
}

bool graphql_run_hides_schema(const struct exchange *exchange)
{
    const struct tally_config *config = tally_runtime_config(exchange->runtime);
    bool hides = auth_asks(exchange->auth) && !auth_allows(exchange, PERMISSION_OPERATOR);

    return hides || !config->graphql_introspection;
}

static void load(void *context)
{
    struct graphql_world *world = context;

    graphql_reads_run(&world->reads);
}

bool graphql_run(struct exchange *exchange, const struct graphql_prepared *prepared,
        const struct tally_token *event, struct graphql_errors *errors, struct tally_buf *out,
        struct graphql_ran *ran)
{
    struct tally_clock *clock = tally_clock_real();
    bool writes = prepared->operation->kind == GRAPHQL_MUTATION;
    int64_t now_ms = tally_mono_ms(clock);
    struct graphql_world world = {
            .exchange = exchange, .wait_end_ms = now_ms + WAIT_ALL_MS, .event = event};
    struct graphql_execution execution = {
            .context = &world,
            .load = load,
            .clock = clock,
            .end_ms = writes ? 0 : now_ms + GRAPHQL_TIME_MAX_MS,
    };
    struct tally_buf data;

    if (!graphql_reads_begin(&world.reads, exchange, execution.end_ms)) {
        return false;
    }
    tally_buf_init(&data, RESPONSE_BODY_BYTES_MAX);
    graphql_execute(prepared, &execution, errors, &data);
    if (errors->count > 0) {
        graphql_errors_write(errors, out);
        tally_buf_byte(out, ',');
    }
    tally_buf_slice(out, tally_buf_bytes(&data));
    out->failed = out->failed || data.failed;
    ran->reads = world.reads.multi_gets + world.reads.scans;
    graphql_reads_headers(&world.reads);
    graphql_reads_end(&world.reads);
    tally_buf_deinit(&data);
    return true;
}

void graphql_run_cost(const struct graphql_prepared *prepared, const struct graphql_ran *ran,
        struct tally_buf *out)
{
    tally_buf_format(out, ",\"extensions\":{\"cost\":%lld,\"reads\":%zu}",
            (long long)prepared->cost.cost, ran->reads);
}
