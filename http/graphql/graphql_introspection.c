/* http/graphql/graphql_introspection.c - the schema as data: the fields of __Schema and what it
 * leads to. A type is told as it is written, list and non-null as types around it. */
#include "http/graphql/graphql_execute.h"

enum { TEXT_BYTES_MAX = 4096 };

static struct tally_slice text_or_null(struct tally_slice text)
{
    return text.len > 0 ? text : TALLY_NONE;
}

static struct graphql_out type_out(struct graphql_call *call, const struct graphql_type_ref *ref)
{
    static const char *const wraps[] = {
            [GRAPHQL_LIST_OF] = "LIST", [GRAPHQL_NON_NULL] = "NON_NULL"};
    struct graphql_object *object = graphql_object_create(call->arena, "__Type", ref, 3);
    bool named = ref->wrap == GRAPHQL_NAMED;

    graphql_object_text(object, "kind",
            tally_slice_string(named ? graphql_kind_names[ref->type->kind] : wraps[ref->wrap]));
    graphql_object_text(object, "name", named ? ref->type->name : TALLY_NONE);
    graphql_object_text(object, "description",
            named ? text_or_null(ref->type->description) : TALLY_NONE);
    return graphql_out_object(object);
}

static struct graphql_out named_out(struct graphql_call *call, const struct graphql_type *type)
{
    struct graphql_type_ref *ref = tally_arena_alloc(call->arena, sizeof *ref);

    *ref = (struct graphql_type_ref){.wrap = GRAPHQL_NAMED, .name = type->name, .type = type};
    return type_out(call, ref);
}

static struct graphql_out parameters_out(struct graphql_call *call,
        const struct graphql_parameter *parameters)
{
    size_t count = 0;
    struct graphql_out list, *items;

    for (const struct graphql_parameter *at = parameters; at; at = at->next) {
        count++;
    }
    list = graphql_out_list(call->arena, count, &items);
    for (; parameters; parameters = parameters->next) {
        struct graphql_object *object =
                graphql_object_create(call->arena, "__InputValue", parameters, 4);

        graphql_object_text(object, "name", parameters->name);
        graphql_object_text(object, "description", text_or_null(parameters->description));
        graphql_object_bool(object, "isDeprecated", false);
        if (parameters->default_value) {
            struct tally_buf text;

            tally_buf_init(&text, TEXT_BYTES_MAX);
            graphql_input_print(parameters->default_value, &text);
            graphql_object_text(object, "defaultValue",
                    tally_arena_copy(call->arena, tally_buf_bytes(&text)));
            tally_buf_deinit(&text);
        }
        *items++ = graphql_out_object(object);
    }
    return list;
}

/* --- __schema, __type ------------------------------------------------------------------------- */

static enum graphql_step schema_of(struct graphql_call *call, struct graphql_out *out)
{
    *out = graphql_out_object(graphql_object_create(call->arena, "__Schema", NULL, 0));
    return GRAPHQL_DONE;
}

static enum graphql_step type_named(struct graphql_call *call, struct graphql_out *out)
{
    const struct graphql_type *type =
            graphql_schema_type(call->schema, graphql_call_text(call, "name"));

    if (type) {
        *out = named_out(call, type);
    }
    return GRAPHQL_DONE;
}

static enum graphql_step schema_types(struct graphql_call *call, struct graphql_out *out)
{
    size_t count = 0;
    struct graphql_out *items;

    for (const struct graphql_type *type = call->schema->types; type; type = type->next) {
        count++;
    }
    *out = graphql_out_list(call->arena, count, &items);
    for (const struct graphql_type *type = call->schema->types; type; type = type->next) {
        *items++ = named_out(call, type);
    }
    return GRAPHQL_DONE;
}

static enum graphql_step schema_query(struct graphql_call *call, struct graphql_out *out)
{
    *out = named_out(call, call->schema->query);
    return GRAPHQL_DONE;
}

static enum graphql_step schema_mutation(struct graphql_call *call, struct graphql_out *out)
{
    if (call->schema->mutation) {
        *out = named_out(call, call->schema->mutation);
    }
    return GRAPHQL_DONE;
}

static enum graphql_step schema_subscription(struct graphql_call *call, struct graphql_out *out)
{
    if (call->schema->subscription) {
        *out = named_out(call, call->schema->subscription);
    }
    return GRAPHQL_DONE;
}

static enum graphql_step schema_directives(struct graphql_call *call, struct graphql_out *out)
{
    const struct graphql_directive_type *directives = call->schema->directives;
    size_t count = 0;
    struct graphql_out *items;

    for (const struct graphql_directive_type *at = directives; at; at = at->next) {
        count++;
    }
    *out = graphql_out_list(call->arena, count, &items);
    for (; directives; directives = directives->next) {
        struct graphql_object *object =
                graphql_object_create(call->arena, "__Directive", directives, 5);
        struct graphql_out locations, *location;

        locations = graphql_out_list(call->arena, directives->location_count, &location);
        for (size_t i = 0; i < directives->location_count; i++) {
            location[i] = graphql_out_text(directives->locations[i]);
        }
        graphql_object_text(object, "name", directives->name);
        graphql_object_text(object, "description", text_or_null(directives->description));
        graphql_object_bool(object, "isRepeatable", false);
        graphql_object_set(object, "locations", locations);
        graphql_object_set(object, "args", parameters_out(call, directives->parameters));
        *items++ = graphql_out_object(object);
    }
    return GRAPHQL_DONE;
}

/* --- __Type ----------------------------------------------------------------------------------- */

/* NULL: a list or non-null. */
static const struct graphql_type *named_source(const struct graphql_call *call)
{
    const struct graphql_type_ref *ref = call->source->data;

    return ref->wrap == GRAPHQL_NAMED ? ref->type : NULL;
}

static enum graphql_step type_fields(struct graphql_call *call, struct graphql_out *out)
{
    const struct graphql_type *type = named_source(call);
    size_t count = 0;
    struct graphql_out *items;

    if (!type || (type->kind != GRAPHQL_OBJECT && type->kind != GRAPHQL_INTERFACE)) {
        return GRAPHQL_DONE;
    }
    for (const struct graphql_field *field = type->fields; field; field = field->next) {
        count++;
    }
    *out = graphql_out_list(call->arena, count, &items);
    for (const struct graphql_field *field = type->fields; field; field = field->next) {
        struct graphql_object *object = graphql_object_create(call->arena, "__Field", field, 3);

        graphql_object_text(object, "name", field->name);
        graphql_object_text(object, "description", text_or_null(field->description));
        graphql_object_bool(object, "isDeprecated", false);
        *items++ = graphql_out_object(object);
    }
    return GRAPHQL_DONE;
}

static void list_types(struct graphql_call *call, const struct graphql_type *const *types,
        size_t count, struct graphql_out *out)
{
    struct graphql_out *items;

    *out = graphql_out_list(call->arena, count, &items);
    for (size_t i = 0; i < count; i++) {
        items[i] = named_out(call, types[i]);
    }
}

static enum graphql_step type_interfaces(struct graphql_call *call, struct graphql_out *out)
{
    const struct graphql_type *type = named_source(call);

    if (type && (type->kind == GRAPHQL_OBJECT || type->kind == GRAPHQL_INTERFACE)) {
        list_types(call, type->interfaces, type->interface_count, out);
    }
    return GRAPHQL_DONE;
}

static enum graphql_step type_possible(struct graphql_call *call, struct graphql_out *out)
{
    const struct graphql_type *type = named_source(call);

    if (type && (type->kind == GRAPHQL_UNION || type->kind == GRAPHQL_INTERFACE)) {
        list_types(call, type->possible, type->possible_count, out);
    }
    return GRAPHQL_DONE;
}

static enum graphql_step type_values(struct graphql_call *call, struct graphql_out *out)
{
    const struct graphql_type *type = named_source(call);
    size_t count = 0;
    struct graphql_out *items;

    if (!type || type->kind != GRAPHQL_ENUM) {
        return GRAPHQL_DONE;
    }
    for (const struct graphql_enum_value *value = type->values; value; value = value->next) {
        count++;
    }
    *out = graphql_out_list(call->arena, count, &items);
    for (const struct graphql_enum_value *value = type->values; value; value = value->next) {
        struct graphql_object *object = graphql_object_create(call->arena, "__EnumValue", value, 3);

        graphql_object_text(object, "name", value->name);
        graphql_object_text(object, "description", text_or_null(value->description));
        graphql_object_bool(object, "isDeprecated", false);
        *items++ = graphql_out_object(object);
    }
    return GRAPHQL_DONE;
}

static enum graphql_step type_of(struct graphql_call *call, struct graphql_out *out)
{
    const struct graphql_type_ref *ref = call->source->data;

    if (ref->wrap != GRAPHQL_NAMED) {
        *out = type_out(call, ref->of);
    }
    return GRAPHQL_DONE;
}

/* --- __Field, __InputValue -------------------------------------------------------------------- */

static enum graphql_step field_type(struct graphql_call *call, struct graphql_out *out)
{
    const struct graphql_field *field = call->source->data;

    *out = type_out(call, field->type);
    return GRAPHQL_DONE;
}

static enum graphql_step field_args(struct graphql_call *call, struct graphql_out *out)
{
    const struct graphql_field *field = call->source->data;

    *out = parameters_out(call, field->parameters);
    return GRAPHQL_DONE;
}

static enum graphql_step parameter_type(struct graphql_call *call, struct graphql_out *out)
{
    const struct graphql_parameter *parameter = call->source->data;

    *out = type_out(call, parameter->type);
    return GRAPHQL_DONE;
}

void graphql_introspection_bind(struct graphql_schema *schema)
{
    schema->schema_field->resolve = schema_of;
    schema->type_field->resolve = type_named;
    graphql_schema_bind(schema, "__Schema.types", schema_types);
    graphql_schema_bind(schema, "__Schema.queryType", schema_query);
    graphql_schema_bind(schema, "__Schema.mutationType", schema_mutation);
    graphql_schema_bind(schema, "__Schema.subscriptionType", schema_subscription);
    graphql_schema_bind(schema, "__Schema.directives", schema_directives);
    graphql_schema_bind(schema, "__Type.fields", type_fields);
    graphql_schema_bind(schema, "__Type.interfaces", type_interfaces);
    graphql_schema_bind(schema, "__Type.possibleTypes", type_possible);
    graphql_schema_bind(schema, "__Type.enumValues", type_values);
    graphql_schema_bind(schema, "__Type.ofType", type_of);
    graphql_schema_bind(schema, "__Field.type", field_type);
    graphql_schema_bind(schema, "__Field.args", field_args);
    graphql_schema_bind(schema, "__InputValue.type", parameter_type);
}
