/* http/graphql/graphql_resolve.c - see graphql_resolve.h. */
#include "http/graphql/graphql_resolve.h"

#include <stdarg.h>
#include <stdio.h>

enum { MESSAGE_BYTES_MAX = 400 };

const struct graphql_input *graphql_call_argument(const struct graphql_call *call, const char *name)
{
    const struct graphql_parameter *parameter =
            graphql_schema_parameter(call->field->parameters, tally_slice_string(name));
    const struct graphql_input *input = parameter ? call->arguments[parameter->index] : NULL;

    tally_assert(parameter);
    return input && input->kind != GRAPHQL_INPUT_NULL ? input : NULL;
}

struct tally_slice graphql_call_text(const struct graphql_call *call, const char *name)
{
    const struct graphql_input *input = graphql_call_argument(call, name);

    return input ? input->text : TALLY_NONE;
}

enum graphql_step graphql_call_fail(struct graphql_call *call, const char *code, const char *format,
        ...)
{
    char text[MESSAGE_BYTES_MAX];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    len = len < 0 ? 0 : len >= MESSAGE_BYTES_MAX ? MESSAGE_BYTES_MAX - 1 : len;
    call->code = code;
    call->message = tally_arena_copy(call->arena, tally_slice_of(text, (size_t)len));
    return GRAPHQL_DONE;
}

struct graphql_out graphql_call_take_error(struct graphql_call *call)
{
    struct graphql_out error = {
            .kind = GRAPHQL_OUT_ERROR, .code = call->code, .text = call->message};

    call->code = NULL;
    return error;
}

struct graphql_object *graphql_object_create(struct tally_arena *arena, const char *type,
        const void *data, size_t properties_max)
{
    struct graphql_object *object = tally_arena_alloc(arena, sizeof *object);

    *object = (struct graphql_object){
            .type = type,
            .data = data,
            .properties =
                    tally_arena_alloc(arena, (properties_max + 1) * sizeof *object->properties),
            .capacity = properties_max,
    };
    return object;
}

void graphql_object_set(struct graphql_object *object, const char *name, struct graphql_out value)
{
    tally_assert(object->count < object->capacity);
    object->properties[object->count++] = (struct graphql_property){name, value};
}

void graphql_object_text(struct graphql_object *object, const char *name, struct tally_slice text)
{
    graphql_object_set(object, name, graphql_out_text(text));
}

void graphql_object_int(struct graphql_object *object, const char *name, int64_t integer)
{
    graphql_object_set(object, name,
            (struct graphql_out){.kind = GRAPHQL_OUT_INT, .integer = integer});
}

void graphql_object_bool(struct graphql_object *object, const char *name, bool value)
{
    graphql_object_set(object, name,
            (struct graphql_out){.kind = GRAPHQL_OUT_BOOL, .integer = value});
}

void graphql_object_time(struct graphql_object *object, struct tally_arena *arena, const char *name,
        int64_t time_ms)
{
    char text[TALLY_TIME_LEN + 1];

    tally_format_time(time_ms, text);
    graphql_object_text(object, name, tally_arena_copy(arena, tally_slice_string(text)));
}

struct graphql_out graphql_out_object(const struct graphql_object *object)
{
    return (struct graphql_out){
            .kind = object ? GRAPHQL_OUT_OBJECT : GRAPHQL_OUT_NULL, .object = object};
}

struct graphql_out graphql_out_text(struct tally_slice text)
{
    return (struct graphql_out){
            .kind = text.data ? GRAPHQL_OUT_STRING : GRAPHQL_OUT_NULL, .text = text};
}

struct graphql_out graphql_out_list(struct tally_arena *arena, size_t count,
        struct graphql_out **items)
{
    *items = tally_arena_alloc(arena, (count + 1) * sizeof **items);
    memset(*items, 0, (count + 1) * sizeof **items);
    return (struct graphql_out){.kind = GRAPHQL_OUT_LIST, .items = *items, .count = count};
}
