/* http/graphql/graphql_schema.h - what can be asked: types and their fields, made once from one
 * text. Queries are validated, executed and told about themselves (introspection) by it alone.
 * Immutable once made. @thread any */
#pragma once
#include "http/graphql/graphql_parser.h"

#define GRAPHQL_MEMBERS_MAX   8 /* types of a union or with an interface, interfaces of a type */
#define GRAPHQL_DEFAULT_FIRST 50

enum graphql_kind {
    GRAPHQL_SCALAR,
    GRAPHQL_OBJECT,
    GRAPHQL_INTERFACE,
    GRAPHQL_UNION,
    GRAPHQL_ENUM,
    GRAPHQL_KINDS
};
extern const char *const graphql_kind_names[GRAPHQL_KINDS]; /* "SCALAR" */

struct graphql_parameter {
    struct tally_slice name, description;
    struct graphql_type_ref *type;
    struct graphql_value *default_value; /* NULL: none */
    size_t index;                        /* among those of its field */
    struct graphql_parameter *next;
};

struct graphql_call;
struct graphql_out;
/* DONE: *out is the value. AGAIN: reads were asked for; call again when they are done. */
enum graphql_step { GRAPHQL_DONE, GRAPHQL_AGAIN };
typedef enum graphql_step (*graphql_resolve_fn)(struct graphql_call *call, struct graphql_out *out);

struct graphql_field {
    struct tally_slice name, description;
    struct graphql_parameter *parameters;
    size_t parameter_count;
    struct graphql_type_ref *type;
    graphql_resolve_fn resolve; /* NULL: a property of the object */
    struct graphql_field *next;
};

struct graphql_enum_value {
    struct tally_slice name, description;
    struct graphql_enum_value *next;
};

struct graphql_type {
    enum graphql_kind kind;
    struct tally_slice name, description;
    struct graphql_field *fields;
    struct graphql_enum_value *values;
    /* UNION, INTERFACE: the objects that it may be; an object is its own. */
    const struct graphql_type *possible[GRAPHQL_MEMBERS_MAX];
    size_t possible_count;
    const struct graphql_type *interfaces[GRAPHQL_MEMBERS_MAX];
    size_t interface_count;
    struct tally_slice names[GRAPHQL_MEMBERS_MAX]; /* as written: interfaces, members of a union */
    size_t name_count;
    struct graphql_type *next;
};

struct graphql_directive_type {
    struct tally_slice name, description;
    struct graphql_parameter *parameters;
    struct tally_slice locations[GRAPHQL_MEMBERS_MAX];
    size_t location_count;
    struct graphql_directive_type *next;
};

struct graphql_schema {
    struct tally_arena arena;
    struct graphql_type *types;
    struct graphql_directive_type *directives;
    const struct graphql_type *query, *mutation, *subscription; /* the last two: NULL without */
    /* Of every object, and of the query alone. */
    struct graphql_field *typename_field, *schema_field, *type_field;
};

extern const char graphql_sdl[];         /* tally's own types */
extern const char graphql_sdl_builtin[]; /* scalars, directives, introspection */

/* From texts that are ours, so a mistake asserts. @thread init */
struct graphql_schema *graphql_schema_create(const char *sdl);
void graphql_schema_destroy(struct graphql_schema *schema);
/* Gives a field, "Query.product", its function. */
void graphql_schema_bind(struct graphql_schema *schema, const char *field,
        graphql_resolve_fn resolve);

const struct graphql_type *graphql_schema_type(const struct graphql_schema *schema,
        struct tally_slice name);
/* Of an operation. NULL: the schema has none. */
const struct graphql_type *graphql_schema_root(const struct graphql_schema *schema,
        enum graphql_operation_kind kind);
/* Sets what the names in a written type mean. false: one is unknown. */
bool graphql_schema_resolve(const struct graphql_schema *schema, struct graphql_type_ref *type);
/* With __typename, and for the query __schema and __type. NULL: none. */
const struct graphql_field *graphql_schema_field(const struct graphql_schema *schema,
        const struct graphql_type *type, struct tally_slice name);
const struct graphql_parameter *graphql_schema_parameter(const struct graphql_parameter *parameters,
        struct tally_slice name);
const struct graphql_directive_type *graphql_schema_directive(const struct graphql_schema *schema,
        struct tally_slice name);
const struct graphql_type *graphql_schema_named(const struct graphql_type_ref *type);
bool graphql_schema_is_composite(const struct graphql_type *type); /* has fields, or members */
/* Whether an object of this type may also be of that. */
bool graphql_schema_is_possible(const struct graphql_type *type, const struct graphql_type *object);
bool graphql_schema_overlap(const struct graphql_type *a, const struct graphql_type *b);
void graphql_schema_print_type(const struct graphql_type_ref *type, struct tally_buf *out);
