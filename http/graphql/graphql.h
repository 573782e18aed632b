/* http/graphql/graphql.h - a GraphQL request, from its text to what may be executed. @thread any */
#pragma once
#include "http/graphql/graphql_validate.h"

struct graphql_request {
    struct tally_slice query;
    struct tally_slice operation_name;   /* data NULL: none */
    const struct tally_token *variables; /* a map; NULL: none */
    bool hides_schema;                   /* introspection is refused */
};

/* A request that may be executed. */
struct graphql_prepared {
    const struct graphql_schema *schema;
    const struct graphql_document *document;
    const struct graphql_operation *operation;
    const struct graphql_binding *bindings;
    struct graphql_cost cost;
};

/* Parses, validates, finds the operation, binds the variables, checks the limits. false: it is
 * refused, and errors are added. */
bool graphql_prepare(const struct graphql_schema *schema, const struct graphql_request *request,
        struct graphql_errors *errors, struct graphql_prepared *prepared);
