/* http/graphql/graphql_error.h - what is wrong with a request, as the `errors` of an answer.
 * Errors live in the arena. @thread any */
#pragma once
#include "http/graphql/graphql_ast.h"
#include "schemas/serde.h"

#define GRAPHQL_ERRORS_MAX    50 /* more are dropped: nobody reads them */
#define GRAPHQL_LOCATIONS_MAX 2

/* One step of a path: a response key, or with key.data NULL an index. */
struct graphql_path {
    const struct graphql_path *before; /* NULL: this is the first */
    struct tally_slice key;
    size_t index;
};

struct graphql_error {
    struct tally_slice message;
    const char *code; /* extensions.code */
    struct graphql_location at[GRAPHQL_LOCATIONS_MAX];
    const struct graphql_path *path; /* NULL: none */
    struct graphql_error *next;
};

struct graphql_errors {
    struct tally_arena *arena;
    struct graphql_error *first, *last;
    size_t count;
};

void graphql_errors_init(struct graphql_errors *errors, struct tally_arena *arena);
/* Adds one. NULL: there were too many already. */
struct graphql_error *graphql_errors_add(struct graphql_errors *errors, const char *code,
        struct graphql_location at, const char *format, ...) TALLY_PRINTF(4, 5);
/* `"errors":[...]` */
void graphql_errors_write(const struct graphql_errors *errors, struct tally_buf *out);
/* One JSON string. */
void graphql_write_string(struct tally_buf *out, struct tally_slice text);
