/* http/graphql/graphql_ast.h - a GraphQL document as the parser leaves it: trees of the arena,
 * whose texts borrow from the source or the arena. Lists are linked by `next`, in order.
 * @thread any */
#pragma once
#include "engine/base/bytes.h"
#include "engine/base/mem.h"

struct graphql_type;
struct graphql_type_ref;

struct graphql_location {
    uint32_t line, column; /* from 1; line 0: none */
};

enum graphql_value_kind {
    GRAPHQL_VALUE_VARIABLE,
    GRAPHQL_VALUE_INT,
    GRAPHQL_VALUE_FLOAT,
    GRAPHQL_VALUE_STRING,
    GRAPHQL_VALUE_BOOLEAN,
    GRAPHQL_VALUE_NULL,
    GRAPHQL_VALUE_ENUM,
    GRAPHQL_VALUE_LIST,
    GRAPHQL_VALUE_OBJECT
};
struct graphql_value {
    enum graphql_value_kind kind;
    struct graphql_location at;
    struct tally_slice text; /* name of a variable or enum, digits, string, "true" */
    struct tally_slice name; /* of a member of an object */
    struct graphql_value *first;
    struct graphql_value *next;
};

struct graphql_argument {
    struct tally_slice name;
    struct graphql_location at;
    struct graphql_value *value;
    struct graphql_argument *next;
};

struct graphql_directive {
    struct tally_slice name;
    struct graphql_location at;
    struct graphql_argument *arguments;
    struct graphql_directive *next;
};

/* A type as it is written: `[ID!]!`. Resolved against a schema by graphql_schema_type. */
enum graphql_wrap { GRAPHQL_NAMED, GRAPHQL_LIST_OF, GRAPHQL_NON_NULL };
struct graphql_type_ref {
    enum graphql_wrap wrap;
    struct graphql_location at;
    struct tally_slice name;         /* NAMED */
    const struct graphql_type *type; /* NAMED: what the name means; NULL: unknown */
    struct graphql_type_ref *of;     /* LIST_OF, NON_NULL */
};

enum graphql_selection_kind { GRAPHQL_FIELD, GRAPHQL_SPREAD, GRAPHQL_INLINE };
struct graphql_selection {
    enum graphql_selection_kind kind;
    struct graphql_location at;
    struct tally_slice key;  /* FIELD: the alias, or the name */
    struct tally_slice name; /* of the field or the fragment; INLINE: the type, len 0: none */
    bool has_alias;
    struct graphql_argument *arguments;
    struct graphql_directive *directives;
    struct graphql_selection *selections;
    struct graphql_fragment *fragment; /* SPREAD: set by the validator */
    struct graphql_selection *next;
};

struct graphql_variable {
    struct tally_slice name;
    struct graphql_location at;
    struct graphql_type_ref *type;
    struct graphql_value *default_value;
    struct graphql_directive *directives;
    struct graphql_variable *next;
};

enum graphql_operation_kind { GRAPHQL_QUERY, GRAPHQL_MUTATION, GRAPHQL_SUBSCRIPTION };
struct graphql_operation {
    enum graphql_operation_kind kind;
    struct graphql_location at;
    struct tally_slice name; /* len 0: none */
    struct graphql_location name_at;
    struct graphql_variable *variables;
    struct graphql_directive *directives;
    struct graphql_selection *selections;
    struct graphql_operation *next;
};

struct graphql_fragment {
    struct tally_slice name;
    struct graphql_location at, name_at, type_at;
    struct tally_slice type_name;
    const struct graphql_type *type; /* set by the validator; NULL: unknown */
    struct graphql_directive *directives;
    struct graphql_selection *selections;
    size_t index; /* among the document's fragments */
    struct graphql_fragment *next;
};

struct graphql_document {
    struct graphql_operation *operations;
    struct graphql_fragment *fragments;
    size_t operation_count, fragment_count;
};
