/* http/graphql/graphql.c - see graphql.h. */
#include "http/graphql/graphql.h"

static const struct graphql_operation *find_operation(const struct graphql_document *document,
        struct tally_slice name, struct graphql_errors *errors)
{
    const struct graphql_location nowhere = {0};
    const struct graphql_operation *operation = document->operations;

    if (!name.data) {
        if (document->operation_count == 1) {
            return operation;
        }
        graphql_errors_add(errors, GRAPHQL_INVALID, nowhere, "%s",
                operation ? "Must provide operation name if query contains multiple operations."
                          : "Must provide an operation.");
        return NULL;
    }
    while (operation && !tally_slice_equal(operation->name, name)) {
        operation = operation->next;
    }
    if (!operation) {
        graphql_errors_add(errors, GRAPHQL_INVALID, nowhere, "Unknown operation named \"%.*s\".",
                name.len < 100 ? (int)name.len : 100, (const char *)name.data);
    }
    return operation;
}

bool graphql_prepare(const struct graphql_schema *schema, const struct graphql_request *request,
        struct graphql_errors *errors, struct graphql_prepared *prepared)
{
    const struct graphql_location nowhere = {0};
    struct graphql_document *document;

    *prepared = (struct graphql_prepared){.schema = schema};
    if (request->query.len > GRAPHQL_DOCUMENT_BYTES_MAX) {
        graphql_errors_add(errors, GRAPHQL_INVALID, nowhere,
                "The document has %zu bytes, at most %d are allowed.", request->query.len,
                GRAPHQL_DOCUMENT_BYTES_MAX);
        return false;
    }
    if (!tally_utf8_valid(request->query)) {
        graphql_errors_add(errors, "MALFORMED_REQUEST", nowhere,
                "Syntax Error: the document is not UTF-8, or holds a NUL.");
        return false;
    }
    document = graphql_parse(request->query, GRAPHQL_TOKENS_MAX, errors);
    if (!document || !graphql_validate(schema, document, request->hides_schema, errors)) {
        return false;
    }
    prepared->document = document;
    prepared->operation = find_operation(document, request->operation_name, errors);
    return prepared->operation &&
           graphql_input_variables(prepared->operation, request->variables, errors->arena, errors,
                   &prepared->bindings) &&
           graphql_limits_check(schema, document, prepared->operation, prepared->bindings, errors,
                   &prepared->cost);
}
