/* http/graphql/graphql_collect.h - which fields an object of a type is asked for: all selections of
 * one response key as one field, fragments and @skip and @include applied. Made once for each type
 * at each place of the query, however many objects are there. @thread any */
#pragma once
#include "http/graphql/graphql_resolve.h"

struct graphql_plan;

/* Selections that are merged. */
struct graphql_merged {
    const struct graphql_selection *selection;
    const struct graphql_merged *next;
};

struct graphql_planned {
    struct tally_slice key;
    const struct graphql_field *field;
    const struct graphql_input *const *arguments; /* by parameter */
    const char *problem;                          /* of an argument; NULL: none */
    struct graphql_location at;
    struct graphql_merged *merged, *last;
    struct graphql_plan *plans; /* of what it leads to, by type */
    size_t index;
    struct graphql_planned *next;
};

struct graphql_plan {
    const struct graphql_type *type;
    struct graphql_planned *fields;
    size_t count;
    struct graphql_plan *next;
};

struct graphql_collector {
    const struct graphql_schema *schema;
    const struct graphql_binding *bindings;
    size_t fragment_count;
    struct tally_arena *arena;
};

struct graphql_plan *graphql_collect_root(struct graphql_collector *collector,
        const struct graphql_type *type, const struct graphql_selection *selections);
/* Of objects that a field gives. */
struct graphql_plan *graphql_collect(struct graphql_collector *collector,
        struct graphql_planned *field, const struct graphql_type *type);
