/* http/graphql/graphql_input.h - values that come in: literals of the document and variables of the
 * request, made into what a field's parameter or a variable is declared as. @thread any */
#pragma once
#include "http/graphql/graphql_schema.h"

enum graphql_input_kind {
    GRAPHQL_INPUT_NULL,
    GRAPHQL_INPUT_INT, /* Int, Int64; BOOL: 0, 1 */
    GRAPHQL_INPUT_BOOL,
    GRAPHQL_INPUT_STRING, /* ID, enums and times too */
    GRAPHQL_INPUT_LIST,
    GRAPHQL_INPUT_OBJECT /* of JSON alone */
};
struct graphql_input {
    enum graphql_input_kind kind;
    int64_t integer; /* of a DateTime its milliseconds, beside the text */
    struct tally_slice text, name;
    size_t count;
    const struct graphql_input *first, *next;
};

/* A variable with the value that it has in this request. input NULL: it has none. */
struct graphql_binding {
    struct tally_slice name;
    const struct graphql_input *input;
    const struct graphql_binding *next;
};

/* Makes `value` one of `type`. false: it is none, and *problem says why. *input NULL: it is a
 * variable that has no value. checks_only: variables stand for whatever is right. */
struct graphql_coercion {
    struct tally_arena *arena;
    const struct graphql_binding *bindings;
    bool checks_only;
    bool from_json; /* the value is a variable's: enums are strings */
    struct graphql_location at;
    char problem[256];
};
bool graphql_input_coerce(struct graphql_coercion *coercion, const struct graphql_type_ref *type,
        const struct graphql_value *value, const struct graphql_input **input);

/* The variables of an operation from the request's `variables` (NULL: none), with their defaults.
 * false: errors are added. */
bool graphql_input_variables(const struct graphql_operation *operation,
        const struct tally_token *values, struct tally_arena *arena, struct graphql_errors *errors,
        const struct graphql_binding **bindings);
/* What a directive says with its `if`, or a parameter's value; absent ones have their default. */
bool graphql_input_argument(struct graphql_coercion *coercion,
        const struct graphql_parameter *parameter, const struct graphql_argument *arguments,
        const struct graphql_input **input);

/* As GraphQL writes it. */
void graphql_input_print(const struct graphql_value *value, struct tally_buf *out);
/* As JSON. */
void graphql_input_write(const struct graphql_input *input, struct tally_buf *out);
