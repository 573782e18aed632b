/* http/graphql/graphql_validate.h - the rules of the specification (5, Validation), and the limits
 * of tally. Nothing is executed that has not passed both. @thread any */
#pragma once
#include "http/graphql/graphql_input.h"

struct graphql_validation {
    const struct graphql_schema *schema;
    struct graphql_document *document;
    struct graphql_errors *errors;
    bool hides_schema; /* __schema and __type are no fields */
    bool has_cycle;    /* of fragments: what follows them would not end */
    size_t work_left;  /* comparisons of fields */
};

/* Checks a document, and sets in it what its fragments mean. false: errors are added. */
bool graphql_validate(const struct graphql_schema *schema, struct graphql_document *document,
        bool hides_schema, struct graphql_errors *errors);

/* Parts of it. */
void graphql_validate_variables(struct graphql_validation *validation);
void graphql_validate_merge(struct graphql_validation *validation);
void graphql_validate_subscriptions(struct graphql_validation *validation);
#define GRAPHQL_INVALID "INVALID_PARAMETER"

/* What an operation asks for; fragments count wherever they are spread. */
struct graphql_cost {
    int64_t depth, aliases, root_fields, directives, cost;
    int64_t introspection; /* lists of types within lists of types */
};
#define GRAPHQL_DOCUMENT_BYTES_MAX (16 * 1024)
#define GRAPHQL_TOKENS_MAX         2000
#define GRAPHQL_DEPTH_MAX          8
#define GRAPHQL_ALIASES_MAX        15
#define GRAPHQL_ROOT_FIELDS_MAX    10
#define GRAPHQL_DIRECTIVES_MAX     10
#define GRAPHQL_FIRST_MAX          200
#define GRAPHQL_COST_MAX           1000
#define GRAPHQL_INTROSPECTION_MAX  2
/* Measures a valid operation. false: it is over a limit, and errors are added. */
bool graphql_limits_check(const struct graphql_schema *schema,
        const struct graphql_document *document, const struct graphql_operation *operation,
        const struct graphql_binding *bindings, struct graphql_errors *errors,
        struct graphql_cost *cost);
