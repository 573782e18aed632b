/* tests/fuzz/fuzz_graphql.c - any bytes as a GraphQL request: a document, and behind a NUL its
 * variables. It is refused with errors, or it may be executed; never both, and in little memory.
 * What may be executed is: introspection for real, of all else the fields are null. The answer is
 * valid UTF-8. */
#include <stdlib.h>

#include "engine/base/clock.h"
#include "http/graphql/graphql_execute.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct graphql_schema *schema;
static struct tally_arena arena;

static const struct tally_token *read_variables(struct tally_slice text)
{
    const struct tally_token *variables = NULL;
    enum tally_refusal refusal;

    if (text.len == 0 || text.data[0] != '{' ||
            tally_document_parse(text, &arena, &variables, &refusal, NULL)) {
        return NULL;
    }
    return variables;
}

static void load(void *context)
{
    (void)context;
}

static void execute(const struct graphql_prepared *prepared, struct graphql_errors *errors)
{
    const struct graphql_execution execution = {.load = load, .clock = tally_clock_real()};
    struct tally_buf out;

    tally_buf_init(&out, 16u << 20);
    tally_buf_byte(&out, '{');
    graphql_execute(prepared, &execution, errors, &out);
    tally_buf_byte(&out, ',');
    graphql_errors_write(errors, &out);
    tally_buf_byte(&out, '}');
    tally_assert(out.failed || tally_utf8_valid(tally_buf_bytes(&out)));
    tally_buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size > 0 ? memchr(data, 0, size) : NULL;
    struct tally_slice text = tally_slice_of(data, nul ? (size_t)(nul - data) : size);
    struct graphql_request request = {.query = text};
    struct graphql_errors errors;
    struct graphql_prepared prepared;
    struct tally_buf out;
    bool good;

    if (!schema) {
        schema = graphql_schema_create(graphql_sdl);
        graphql_introspection_bind(schema);
        tally_arena_init(&arena, 1u << 16);
    }
    graphql_errors_init(&errors, &arena);
    if (nul) {
        request.variables = read_variables(tally_slice_of(nul + 1, size - text.len - 1));
    }
    good = graphql_prepare(schema, &request, &errors, &prepared);
    tally_assert(good == (errors.count == 0));
    tally_assert(!good || (prepared.operation && prepared.cost.cost <= GRAPHQL_COST_MAX));
    tally_buf_init(&out, 1u << 20);
    graphql_errors_write(&errors, &out);
    tally_assert(!out.failed && tally_utf8_valid(tally_buf_bytes(&out)));
    tally_buf_deinit(&out);
    if (good) {
        execute(&prepared, &errors);
    }
    tally_assert(tally_arena_size(&arena) < 256u << 20);
    tally_arena_reset(&arena, 1u << 20);
    return 0;
}
