/* http/graphql/graphql_resolve.h - what functions of fields get and give. A function may be called
 * several times for one field: it asks for the reads that it needs (graphql_reads.h) and returns
 * AGAIN until they are there, so that the reads of one level of the query are done together.
 * Everything it gives lives in the arena. @thread http */
#pragma once
#include "http/graphql/graphql_input.h"

enum graphql_out_kind {
    GRAPHQL_OUT_NULL,
    GRAPHQL_OUT_INT,
    GRAPHQL_OUT_BOOL,
    GRAPHQL_OUT_STRING, /* IDs, times and enums too */
    GRAPHQL_OUT_JSON,   /* text: encoded */
    GRAPHQL_OUT_OBJECT,
    GRAPHQL_OUT_LIST,
    GRAPHQL_OUT_ERROR /* of an item of a list: null, with this message (text) and code */
};
struct graphql_out {
    enum graphql_out_kind kind;
    const char *code;
    int64_t integer;
    struct tally_slice text;
    const struct graphql_object *object;
    const struct graphql_out *items;
    size_t count; /* of items */
};

struct graphql_property {
    const char *name;
    struct graphql_out value;
};
/* Fields without a function are its properties; those with one find what they need in data. */
struct graphql_object {
    const char *type; /* "Stock" */
    const void *data;
    struct graphql_property *properties;
    size_t count, capacity;
};

struct graphql_call {
    struct tally_arena *arena;
    const struct graphql_schema *schema;
    void *context;                       /* of the execution */
    const struct graphql_object *source; /* NULL: the root */
    const struct graphql_field *field;
    const struct graphql_input *const *arguments; /* by parameter; NULL: absent */
    const char *code;                             /* of graphql_call_fail; NULL: good */
    struct tally_slice message;
};

/* The value of a parameter; NULL: absent or null. */
const struct graphql_input *graphql_call_argument(const struct graphql_call *call,
        const char *name);
struct tally_slice graphql_call_text(const struct graphql_call *call,
        const char *name); /* data NULL: absent or null */
/* The field is null, with this error. Returns DONE. */
enum graphql_step graphql_call_fail(struct graphql_call *call, const char *code, const char *format,
        ...) TALLY_PRINTF(3, 4);

/* What graphql_call_fail said, as an item of a list; the call is good again. */
struct graphql_out graphql_call_take_error(struct graphql_call *call);

struct graphql_object *graphql_object_create(struct tally_arena *arena, const char *type,
        const void *data, size_t properties_max);
void graphql_object_set(struct graphql_object *object, const char *name, struct graphql_out value);
void graphql_object_text(struct graphql_object *object, const char *name,
        struct tally_slice text); /* data NULL: null */
void graphql_object_int(struct graphql_object *object, const char *name, int64_t integer);
void graphql_object_bool(struct graphql_object *object, const char *name, bool value);
void graphql_object_time(struct graphql_object *object, struct tally_arena *arena, const char *name,
        int64_t time_ms);

struct graphql_out graphql_out_object(const struct graphql_object *object); /* NULL: null */
struct graphql_out graphql_out_text(struct tally_slice text);
/* A list with room for so many; fill items. */
struct graphql_out graphql_out_list(struct tally_arena *arena, size_t count,
        struct graphql_out **items);
