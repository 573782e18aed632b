/* http/graphql/graphql_execute.h - a prepared request to its answer, level by level.
 * Invariants
 *  (1) The fields of one level are asked together, and what they wish to read is read before any of
 *      them is asked again: the number of rounds depends on the depth of the query alone.
 *  (2) A null where none may be makes its parent null, up to the nearest place that may be null.
 *  (3) The fields of a mutation are done one after the other, in order.
 * @thread http */
#pragma once
#include "http/graphql/graphql.h"
#include "http/graphql/graphql_collect.h"

#define GRAPHQL_TIME_MAX_MS 2000
#define GRAPHQL_OBJECTS_MAX 20000 /* of one answer, for their memory */

struct graphql_execution {
    void *context;               /* of the functions of fields */
    void (*load)(void *context); /* does the reads that were asked for */
    struct tally_clock *clock;
    int64_t end_ms; /* mono; 0: no end */
};

/* Appends `"data":...`. Errors of fields are added. */
void graphql_execute(const struct graphql_prepared *prepared,
        const struct graphql_execution *execution, struct graphql_errors *errors,
        struct tally_buf *out);

/* Gives the fields of introspection their functions. @thread init */
void graphql_introspection_bind(struct graphql_schema *schema);
