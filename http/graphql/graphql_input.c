/* http/graphql/graphql_input.c - see graphql_input.h.
 * Invariants
 *  (1) What was coerced is of its type: resolvers check meaning, never form.
 *  (2) Recursion is as deep as the document or the JSON may be nested, no deeper. */
#include "http/graphql/graphql_input.h"

#include <stdarg.h>
#include <stdio.h>

enum { PRINTED_BYTES_MAX = 96, TEXT_BYTES_MAX = 64 * 1024 };

static bool problem(struct graphql_coercion *coercion, const struct graphql_value *value,
        const char *format, ...) TALLY_PRINTF(3, 4);

static bool problem(struct graphql_coercion *coercion, const struct graphql_value *value,
        const char *format, ...)
{
    va_list args;

    coercion->at = value->at;
    va_start(args, format);
    vsnprintf(coercion->problem, sizeof coercion->problem, format, args);
    va_end(args);
    return false;
}

/* A value in a message: its beginning. */
struct printed {
    char text[PRINTED_BYTES_MAX];
};
static struct printed print(const struct graphql_value *value)
{
    struct printed printed;
    struct tally_buf out;
    size_t len;

    tally_buf_init(&out, TEXT_BYTES_MAX);
    graphql_input_print(value, &out);
    len = out.len < sizeof printed.text ? out.len : sizeof printed.text - 1;
    while (len > 0 && len < out.len && (out.data[len] & 0xc0) == 0x80) {
        len--;
    }
    memcpy(printed.text, len > 0 ? (const char *)out.data : "", len);
    printed.text[len] = '\0';
    tally_buf_deinit(&out);
    return printed;
}

static struct graphql_input *make(struct graphql_coercion *coercion, enum graphql_input_kind kind,
        struct tally_slice text)
{
    struct graphql_input *input = tally_arena_alloc(coercion->arena, sizeof *input);

    *input = (struct graphql_input){.kind = kind, .text = text};
    return input;
}

/* --- scalars and enums ------------------------------------------------------------------------ */

static bool coerce_number(struct graphql_coercion *coercion, const struct graphql_type *type,
        const struct graphql_value *value, struct graphql_input **input)
{
    bool is_int = tally_slice_equal(type->name, TALLY_SLICE("Int"));
    bool is_number =
            value->kind == GRAPHQL_VALUE_INT || (!is_int && value->kind == GRAPHQL_VALUE_STRING);

    *input = make(coercion, GRAPHQL_INPUT_INT, value->text);
    if (!is_number) {
        return problem(coercion, value, "%.*s cannot represent non-integer value: %s",
                (int)type->name.len, (const char *)type->name.data, print(value).text);
    }
    if (!tally_parse_int(value->text, &(*input)->integer) ||
            (is_int && ((*input)->integer < INT32_MIN || (*input)->integer > INT32_MAX))) {
        return problem(coercion, value, "%.*s cannot represent non %d-bit signed integer value: %s",
                (int)type->name.len, (const char *)type->name.data, is_int ? 32 : 64,
                print(value).text);
    }
    return true;
}

static bool coerce_time(struct graphql_coercion *coercion, const struct graphql_value *value,
        struct graphql_input **input)
{
    *input = make(coercion, GRAPHQL_INPUT_STRING, value->text);
    if (value->kind == GRAPHQL_VALUE_STRING && tally_parse_time(value->text, &(*input)->integer)) {
        return true;
    }
    return problem(coercion, value,
            "DateTime cannot represent %s: expected a time like \"2026-01-15T10:00:00.000Z\"",
            print(value).text);
}

/* Any value whose numbers are whole. */
static bool coerce_json(struct graphql_coercion *coercion, const struct graphql_value *value,
        struct graphql_input **input)
{
    const struct graphql_input **end;

    switch (value->kind) {
    case GRAPHQL_VALUE_NULL:
        *input = make(coercion, GRAPHQL_INPUT_NULL, TALLY_NONE);
        return true;
    case GRAPHQL_VALUE_BOOLEAN:
        *input = make(coercion, GRAPHQL_INPUT_BOOL, value->text);
        (*input)->integer = value->text.len == 4;
        return true;
    case GRAPHQL_VALUE_STRING:
        *input = make(coercion, GRAPHQL_INPUT_STRING, value->text);
        return true;
    case GRAPHQL_VALUE_INT:
        *input = make(coercion, GRAPHQL_INPUT_INT, value->text);
        if (tally_parse_int(value->text, &(*input)->integer)) {
            return true;
        }
        break;
    case GRAPHQL_VALUE_VARIABLE: {
        const struct graphql_binding *binding = coercion->bindings;

        while (binding && !tally_slice_equal(binding->name, value->text)) {
            binding = binding->next;
        }
        *input = make(coercion, GRAPHQL_INPUT_NULL, TALLY_NONE);
        if (binding && binding->input) {
            **input = *binding->input;
            (*input)->next = NULL;
        }
        return true;
    }
    case GRAPHQL_VALUE_LIST:
    case GRAPHQL_VALUE_OBJECT:
        *input = make(coercion,
                value->kind == GRAPHQL_VALUE_LIST ? GRAPHQL_INPUT_LIST : GRAPHQL_INPUT_OBJECT,
                TALLY_NONE);
        end = &(*input)->first;
        for (const struct graphql_value *item = value->first; item; item = item->next) {
            struct graphql_input *made;

            if (!coerce_json(coercion, item, &made)) {
                return false;
            }
            made->name = item->name;
            (*input)->count++;
            *end = made;
            end = &made->next;
        }
        return true;
    default:
        break;
    }
    return problem(coercion, value, "JSON cannot represent %s: numbers are whole and have 64 bits",
            print(value).text);
}

static bool coerce_scalar(struct graphql_coercion *coercion, const struct graphql_type *type,
        const struct graphql_value *value, struct graphql_input **input)
{
    struct tally_slice name = type->name;

    if (tally_slice_equal(name, TALLY_SLICE("String"))) {
        *input = make(coercion, GRAPHQL_INPUT_STRING, value->text);
        return value->kind == GRAPHQL_VALUE_STRING ||
               problem(coercion, value, "String cannot represent a non string value: %s",
                       print(value).text);
    }
    if (tally_slice_equal(name, TALLY_SLICE("ID"))) {
        *input = make(coercion, GRAPHQL_INPUT_STRING, value->text);
        return value->kind == GRAPHQL_VALUE_STRING || value->kind == GRAPHQL_VALUE_INT ||
               problem(coercion, value, "ID cannot represent %svalue: %s",
                       coercion->from_json ? "" : "a non-string and non-integer ",
                       print(value).text);
    }
    if (tally_slice_equal(name, TALLY_SLICE("Boolean"))) {
        *input = make(coercion, GRAPHQL_INPUT_BOOL, value->text);
        (*input)->integer = value->text.len == 4;
        return value->kind == GRAPHQL_VALUE_BOOLEAN ||
               problem(coercion, value, "Boolean cannot represent a non boolean value: %s",
                       print(value).text);
    }
    if (tally_slice_equal(name, TALLY_SLICE("Int")) ||
            tally_slice_equal(name, TALLY_SLICE("Int64"))) {
        return coerce_number(coercion, type, value, input);
    }
    if (tally_slice_equal(name, TALLY_SLICE("DateTime"))) {
        return coerce_time(coercion, value, input);
    }
    return coerce_json(coercion, value, input);
}

static bool coerce_enum(struct graphql_coercion *coercion, const struct graphql_type *type,
        const struct graphql_value *value, struct graphql_input **input)
{
    enum graphql_value_kind wanted =
            coercion->from_json ? GRAPHQL_VALUE_STRING : GRAPHQL_VALUE_ENUM;

    *input = make(coercion, GRAPHQL_INPUT_STRING, value->text);
    if (value->kind != wanted) {
        return problem(coercion, value, "Enum \"%.*s\" cannot represent non-%s value: %s.",
                (int)type->name.len, (const char *)type->name.data,
                coercion->from_json ? "string" : "enum", print(value).text);
    }
    for (const struct graphql_enum_value *item = type->values; item; item = item->next) {
        if (tally_slice_equal(item->name, value->text)) {
            return true;
        }
    }
    return problem(coercion, value, "Value \"%.*s\" does not exist in \"%.*s\" enum.",
            value->text.len < 64 ? (int)value->text.len : 64, (const char *)value->text.data,
            (int)type->name.len, (const char *)type->name.data);
}

/* --- any type --------------------------------------------------------------------------------- */

static bool coerce_null(struct graphql_coercion *coercion, const struct graphql_type_ref *type,
        const struct graphql_value *value)
{
    struct tally_buf text;

    tally_buf_init(&text, 256);
    graphql_schema_print_type(type, &text);
    problem(coercion, value, "Expected value of type \"%.*s\", found null.", (int)text.len,
            (const char *)text.data);
    tally_buf_deinit(&text);
    return false;
}

static bool coerce_variable(struct graphql_coercion *coercion, const struct graphql_type_ref *type,
        const struct graphql_value *value, const struct graphql_input **input)
{
    const struct graphql_binding *binding = coercion->bindings;

    *input = NULL;
    while (binding && !tally_slice_equal(binding->name, value->text)) {
        binding = binding->next;
    }
    if (binding) {
        *input = binding->input;
    }
    if (type->wrap != GRAPHQL_NON_NULL || coercion->checks_only) {
        return true;
    }
    return (*input && (*input)->kind != GRAPHQL_INPUT_NULL) || coerce_null(coercion, type, value);
}

static bool coerce_list(struct graphql_coercion *coercion, const struct graphql_type_ref *type,
        const struct graphql_value *value, const struct graphql_input **input)
{
    struct graphql_input *list = make(coercion, GRAPHQL_INPUT_LIST, TALLY_NONE);
    const struct graphql_input **end = &list->first;
    bool is_list = value->kind == GRAPHQL_VALUE_LIST;

    *input = list;
    for (const struct graphql_value *item = is_list ? value->first : value; item;
            item = is_list ? item->next : NULL) {
        const struct graphql_input *made = NULL;
        struct graphql_input *copy;

        if (!graphql_input_coerce(coercion, type->of, item, &made)) {
            return false;
        }
        copy = make(coercion, GRAPHQL_INPUT_NULL, TALLY_NONE);
        if (made) {
            *copy = *made; /* a variable's value may stand in several lists */
            copy->next = NULL;
        }
        *end = copy;
        end = &copy->next;
        list->count++;
    }
    return true;
}

bool graphql_input_coerce(struct graphql_coercion *coercion, const struct graphql_type_ref *type,
        const struct graphql_value *value, const struct graphql_input **input)
{
    struct graphql_input *made = NULL;
    bool good;

    if (value->kind == GRAPHQL_VALUE_VARIABLE) {
        return coerce_variable(coercion, type, value, input);
    }
    if (type->wrap == GRAPHQL_NON_NULL) {
        return value->kind != GRAPHQL_VALUE_NULL
                       ? graphql_input_coerce(coercion, type->of, value, input)
                       : coerce_null(coercion, type, value);
    }
    if (value->kind == GRAPHQL_VALUE_NULL) {
        *input = make(coercion, GRAPHQL_INPUT_NULL, TALLY_NONE);
        return true;
    }
    if (type->wrap == GRAPHQL_LIST_OF) {
        return coerce_list(coercion, type, value, input);
    }
    good = type->type->kind == GRAPHQL_ENUM ? coerce_enum(coercion, type->type, value, &made)
                                            : coerce_scalar(coercion, type->type, value, &made);
    *input = made;
    return good;
}

bool graphql_input_argument(struct graphql_coercion *coercion,
        const struct graphql_parameter *parameter, const struct graphql_argument *arguments,
        const struct graphql_input **input)
{
    *input = NULL;
    while (arguments && !tally_slice_equal(arguments->name, parameter->name)) {
        arguments = arguments->next;
    }
    if (arguments && arguments->value->kind == GRAPHQL_VALUE_VARIABLE) {
        const struct graphql_binding *binding = coercion->bindings;

        while (binding && !tally_slice_equal(binding->name, arguments->value->text)) {
            binding = binding->next;
        }
        if ((!binding || !binding->input) && parameter->default_value) {
            arguments = NULL;
        }
    }
    if (arguments) {
        return graphql_input_coerce(coercion, parameter->type, arguments->value, input);
    }
    return !parameter->default_value ||
           graphql_input_coerce(coercion, parameter->type, parameter->default_value, input);
}

/* --- variables -------------------------------------------------------------------------------- */

/* JSON as the literal that says the same. */
static struct graphql_value *value_of(const struct tally_token *token, struct tally_arena *arena)
{
    static const enum graphql_value_kind kinds[] = {
            [TALLY_NULL] = GRAPHQL_VALUE_NULL,
            [TALLY_BOOL] = GRAPHQL_VALUE_BOOLEAN,
            [TALLY_INT] = GRAPHQL_VALUE_INT,
            [TALLY_STRING] = GRAPHQL_VALUE_STRING,
            [TALLY_ARRAY] = GRAPHQL_VALUE_LIST,
            [TALLY_MAP] = GRAPHQL_VALUE_OBJECT,
    };
    struct graphql_value *value = tally_arena_alloc(arena, sizeof *value), **end = &value->first;
    bool is_map = token->type == TALLY_MAP;
    char digits[24];

    *value = (struct graphql_value){.kind = kinds[token->type], .text = tally_slice_of("", 0)};
    if (token->type == TALLY_STRING) {
        value->text = token->string;
    } else if (token->type == TALLY_BOOL) {
        value->text = token->integer ? TALLY_SLICE("true") : TALLY_SLICE("false");
    } else if (token->type == TALLY_INT) {
        int len = snprintf(digits, sizeof digits, "%lld", (long long)token->integer);

        value->text = tally_arena_copy(arena, tally_slice_of(digits, (size_t)len));
    } else if (is_map || token->type == TALLY_ARRAY) {
        const struct tally_token *item = token + 1;

        for (uint32_t i = 0; i < token->count; i++) {
            const struct tally_token *name = item;

            item = is_map ? tally_token_next(item) : item;
            *end = value_of(item, arena);
            (*end)->name = is_map ? name->string : TALLY_NONE;
            end = &(*end)->next;
            item = tally_token_next(item);
        }
    }
    return value;
}

static const struct tally_token *member(const struct tally_token *values, struct tally_slice name)
{
    const struct tally_token *at = values ? values + 1 : NULL;

    for (uint32_t i = 0; values && i < values->count; i++) {
        if (tally_slice_equal(at->string, name)) {
            return tally_token_next(at);
        }
        at = tally_token_next(tally_token_next(at));
    }
    return NULL;
}

static void missing(const struct graphql_variable *variable, bool is_null,
        struct graphql_errors *errors)
{
    struct tally_buf type;

    tally_buf_init(&type, 512);
    graphql_schema_print_type(variable->type, &type);
    graphql_errors_add(errors, "INVALID_PARAMETER", variable->at,
            "Variable \"$%.*s\" of %s type \"%.*s\" %s", (int)variable->name.len,
            (const char *)variable->name.data, is_null ? "non-null" : "required", (int)type.len,
            (const char *)type.data, is_null ? "must not be null." : "was not provided.");
    tally_buf_deinit(&type);
}

static const struct graphql_input *bind(const struct graphql_variable *variable,
        const struct tally_token *given, struct graphql_coercion *coercion,
        struct graphql_errors *errors)
{
    const struct graphql_input *input = NULL;
    const struct graphql_value *value =
            given ? value_of(given, coercion->arena) : variable->default_value;

    coercion->from_json = given != NULL;
    if (!value) {
        if (variable->type->wrap == GRAPHQL_NON_NULL) {
            missing(variable, false, errors);
        }
        return NULL;
    }
    if (value->kind == GRAPHQL_VALUE_NULL && variable->type->wrap == GRAPHQL_NON_NULL) {
        missing(variable, true, errors);
        return NULL;
    }
    if (!graphql_input_coerce(coercion, variable->type, value, &input)) {
        graphql_errors_add(errors, "INVALID_PARAMETER", variable->at,
                "Variable \"$%.*s\" got invalid value %s; %s", (int)variable->name.len,
                (const char *)variable->name.data, print(value).text, coercion->problem);
        return NULL;
    }
    return input;
}

bool graphql_input_variables(const struct graphql_operation *operation,
        const struct tally_token *values, struct tally_arena *arena, struct graphql_errors *errors,
        const struct graphql_binding **bindings)
{
    struct graphql_coercion coercion = {.arena = arena};
    const struct graphql_binding **end = bindings;
    size_t before = errors->count;

    *bindings = NULL;
    for (const struct graphql_variable *variable = operation->variables; variable;
            variable = variable->next) {
        struct graphql_binding *binding = tally_arena_alloc(arena, sizeof *binding);

        *binding = (struct graphql_binding){
                .name = variable->name,
                .input = bind(variable, member(values, variable->name), &coercion, errors),
        };
        *end = binding;
        end = &binding->next;
    }
    return errors->count == before;
}

/* --- printing --------------------------------------------------------------------------------- */

void graphql_input_print(const struct graphql_value *value, struct tally_buf *out)
{
    bool is_list = value->kind == GRAPHQL_VALUE_LIST;

    switch (value->kind) {
    case GRAPHQL_VALUE_STRING:
        graphql_write_string(out, value->text);
        return;
    case GRAPHQL_VALUE_VARIABLE:
        tally_buf_byte(out, '$');
        break;
    case GRAPHQL_VALUE_NULL:
        tally_buf_string(out, "null");
        return;
    case GRAPHQL_VALUE_LIST:
    case GRAPHQL_VALUE_OBJECT:
        tally_buf_string(out, is_list ? "[" : "{ ");
        for (const struct graphql_value *item = value->first; item; item = item->next) {
            if (!is_list) {
                tally_buf_slice(out, item->name);
                tally_buf_string(out, ": ");
            }
            graphql_input_print(item, out);
            tally_buf_string(out, item->next ? ", " : "");
        }
        tally_buf_string(out, is_list ? "]" : " }");
        return;
    default:
        break;
    }
    tally_buf_slice(out, value->text);
}

void graphql_input_write(const struct graphql_input *input, struct tally_buf *out)
{
    bool is_list = input->kind == GRAPHQL_INPUT_LIST;

    switch (input->kind) {
    case GRAPHQL_INPUT_NULL:
        tally_buf_string(out, "null");
        return;
    case GRAPHQL_INPUT_INT:
        tally_buf_format(out, "%lld", (long long)input->integer);
        return;
    case GRAPHQL_INPUT_BOOL:
        tally_buf_string(out, input->integer ? "true" : "false");
        return;
    case GRAPHQL_INPUT_STRING:
        graphql_write_string(out, input->text);
        return;
    default:
        break;
    }
    tally_buf_byte(out, is_list ? '[' : '{');
    for (const struct graphql_input *item = input->first; item; item = item->next) {
        if (!is_list) {
            graphql_write_string(out, item->name);
            tally_buf_byte(out, ':');
        }
        graphql_input_write(item, out);
        tally_buf_string(out, item->next ? "," : "");
    }
    tally_buf_byte(out, is_list ? ']' : '}');
}
