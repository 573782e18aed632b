/* http/graphql/graphql_schema.c - see graphql_schema.h. */
#include "http/graphql/graphql_schema.h"

enum { ARENA_BLOCK_BYTES = 64 * 1024, TOKENS_MAX = 20000 };

const char *const graphql_kind_names[GRAPHQL_KINDS] = {
        "SCALAR", "OBJECT", "INTERFACE", "UNION", "ENUM"};

/* --- the text --------------------------------------------------------------------------------- */

static void *make(struct graphql_parser *parser, size_t size)
{
    void *made = tally_arena_alloc(parser->arena, size);

    memset(made, 0, size);
    return made;
}

/* A description, or the empty text. */
static struct tally_slice read_description(struct graphql_parser *parser)
{
    struct tally_slice text = parser->token.text;

    if (parser->token.kind != GRAPHQL_TOKEN_STRING) {
        return tally_slice_of("", 0);
    }
    graphql_parser_advance(parser);
    return text;
}

static struct graphql_parameter *read_parameters(struct graphql_parser *parser, size_t *count)
{
    struct graphql_parameter *first = NULL, **end = &first;

    *count = 0;
    if (!graphql_parser_take(parser, "(")) {
        return NULL;
    }
    while (!graphql_parser_take(parser, ")")) {
        struct graphql_parameter *parameter = make(parser, sizeof *parameter);

        tally_assert(!parser->failed);
        parameter->description = read_description(parser);
        parameter->name = graphql_parser_name(parser);
        graphql_parser_expect(parser, ":");
        parameter->type = graphql_parser_type(parser);
        if (graphql_parser_take(parser, "=")) {
            parameter->default_value = graphql_parser_value(parser, true);
        }
        parameter->index = (*count)++;
        *end = parameter;
        end = &parameter->next;
    }
    return first;
}

static void read_fields(struct graphql_parser *parser, struct graphql_type *type)
{
    struct graphql_field **end = &type->fields;

    graphql_parser_expect(parser, "{");
    while (!graphql_parser_take(parser, "}")) {
        struct graphql_field *field = make(parser, sizeof *field);

        tally_assert(!parser->failed);
        field->description = read_description(parser);
        field->name = graphql_parser_name(parser);
        field->parameters = read_parameters(parser, &field->parameter_count);
        graphql_parser_expect(parser, ":");
        field->type = graphql_parser_type(parser);
        *end = field;
        end = &field->next;
    }
}

static void read_names(struct graphql_parser *parser, const char *divider,
        struct tally_slice *names, size_t *count)
{
    do {
        tally_assert(*count < GRAPHQL_MEMBERS_MAX);
        names[(*count)++] = graphql_parser_name(parser);
    } while (graphql_parser_take(parser, divider));
}

static void read_values(struct graphql_parser *parser, struct graphql_type *type)
{
    struct graphql_enum_value **end = &type->values;

    graphql_parser_expect(parser, "{");
    while (!graphql_parser_take(parser, "}")) {
        struct graphql_enum_value *value = make(parser, sizeof *value);

        tally_assert(!parser->failed);
        value->description = read_description(parser);
        value->name = graphql_parser_name(parser);
        *end = value;
        end = &value->next;
    }
}

static enum graphql_kind kind_of(struct tally_slice word)
{
    static const char *const words[GRAPHQL_KINDS] = {
            "scalar", "type", "interface", "union", "enum"};
    size_t kind = 0;

    while (kind < GRAPHQL_KINDS && !tally_slice_equal(word, tally_slice_string(words[kind]))) {
        kind++;
    }
    tally_assert(kind < GRAPHQL_KINDS);
    return (enum graphql_kind)kind;
}

static struct graphql_type *read_type(struct graphql_parser *parser)
{
    struct graphql_type *type = make(parser, sizeof *type);

    type->kind = kind_of(graphql_parser_name(parser));
    type->name = graphql_parser_name(parser);
    if (graphql_parser_sees_word(parser, "implements")) {
        graphql_parser_advance(parser);
        read_names(parser, "&", type->names, &type->name_count);
    }
    if (type->kind == GRAPHQL_OBJECT || type->kind == GRAPHQL_INTERFACE) {
        read_fields(parser, type);
    } else if (type->kind == GRAPHQL_ENUM) {
        read_values(parser, type);
    } else if (type->kind == GRAPHQL_UNION) {
        graphql_parser_expect(parser, "=");
        read_names(parser, "|", type->names, &type->name_count);
    }
    return type;
}

static struct graphql_directive_type *read_directive(struct graphql_parser *parser)
{
    struct graphql_directive_type *directive = make(parser, sizeof *directive);
    size_t count;

    graphql_parser_expect(parser, "@");
    directive->name = graphql_parser_name(parser);
    directive->parameters = read_parameters(parser, &count);
    tally_assert(graphql_parser_sees_word(parser, "on"));
    graphql_parser_advance(parser);
    read_names(parser, "|", directive->locations, &directive->location_count);
    return directive;
}

static void read_text(struct graphql_schema *schema, const char *sdl, struct graphql_type ***types,
        struct graphql_directive_type ***directives)
{
    struct graphql_errors errors;
    struct graphql_parser parser;

    graphql_errors_init(&errors, &schema->arena);
    graphql_parser_init(&parser, tally_slice_string(sdl), TOKENS_MAX, &errors);
    while (parser.token.kind != GRAPHQL_TOKEN_END) {
        struct tally_slice description = read_description(&parser);

        tally_assert(!parser.failed);
        if (graphql_parser_sees_word(&parser, "directive")) {
            graphql_parser_advance(&parser);
            **directives = read_directive(&parser);
            (**directives)->description = description;
            *directives = &(**directives)->next;
        } else {
            **types = read_type(&parser);
            (**types)->description = description;
            *types = &(**types)->next;
        }
    }
}

/* --- meaning ---------------------------------------------------------------------------------- */

static struct graphql_type *find(const struct graphql_schema *schema, struct tally_slice name)
{
    for (struct graphql_type *type = schema->types; type; type = type->next) {
        if (tally_slice_equal(type->name, name)) {
            return type;
        }
    }
    return NULL;
}

static void add_possible(struct graphql_type *type, const struct graphql_type *object)
{
    tally_assert(type && type->possible_count < GRAPHQL_MEMBERS_MAX);
    type->possible[type->possible_count++] = object;
}

static void link_members(const struct graphql_schema *schema, struct graphql_type *type)
{
    if (type->kind == GRAPHQL_OBJECT) {
        add_possible(type, type);
    }
    for (size_t i = 0; i < type->name_count; i++) {
        struct graphql_type *other = find(schema, type->names[i]);

        tally_assert(other);
        if (type->kind == GRAPHQL_UNION) {
            add_possible(type, other);
        } else {
            type->interfaces[type->interface_count++] = other;
            if (type->kind == GRAPHQL_OBJECT) {
                add_possible(other, type);
            }
        }
    }
}

static void link_parameters(const struct graphql_schema *schema,
        struct graphql_parameter *parameters)
{
    for (; parameters; parameters = parameters->next) {
        tally_assert(graphql_schema_resolve(schema, parameters->type));
    }
}

static void link_types(struct graphql_schema *schema)
{
    for (struct graphql_type *type = schema->types; type; type = type->next) {
        link_members(schema, type);
        for (struct graphql_field *field = type->fields; field; field = field->next) {
            tally_assert(graphql_schema_resolve(schema, field->type));
            link_parameters(schema, field->parameters);
        }
    }
    for (struct graphql_directive_type *directive = schema->directives; directive;
            directive = directive->next) {
        link_parameters(schema, directive->parameters);
    }
}

/* The fields that are not of one type stand in the text as those of Meta__, which is none. */
static void take_meta(struct graphql_schema *schema)
{
    struct graphql_type **at = &schema->types;

    while (!tally_slice_equal((*at)->name, TALLY_SLICE("Meta__"))) {
        at = &(*at)->next;
        tally_assert(*at);
    }
    schema->typename_field = (*at)->fields;
    schema->schema_field = schema->typename_field->next;
    schema->type_field = schema->schema_field->next;
    *at = (*at)->next;
}

struct graphql_schema *graphql_schema_create(const char *sdl)
{
    struct graphql_schema *schema = tally_alloc_zero(1, sizeof *schema);
    struct graphql_type **types = &schema->types;
    struct graphql_directive_type **directives = &schema->directives;

    tally_arena_init(&schema->arena, ARENA_BLOCK_BYTES);
    read_text(schema, sdl, &types, &directives);
    read_text(schema, graphql_sdl_builtin, &types, &directives);
    link_types(schema);
    take_meta(schema);
    schema->query = find(schema, TALLY_SLICE("Query"));
    schema->mutation = find(schema, TALLY_SLICE("Mutation"));
    schema->subscription = find(schema, TALLY_SLICE("Subscription"));
    tally_assert(schema->query);
    return schema;
}

void graphql_schema_destroy(struct graphql_schema *schema)
{
    if (schema) {
        tally_arena_deinit(&schema->arena);
        tally_free(schema);
    }
}

void graphql_schema_bind(struct graphql_schema *schema, const char *name,
        graphql_resolve_fn resolve)
{
    const char *dot = strchr(name, '.');
    struct graphql_type *type = find(schema, tally_slice_of(name, (size_t)(dot - name)));
    struct graphql_field *field;

    tally_assert(type);
    field = type->fields;
    while (!tally_slice_equal(field->name, tally_slice_string(dot + 1))) {
        field = field->next;
        tally_assert(field);
    }
    field->resolve = resolve;
}

/* --- questions -------------------------------------------------------------------------------- */

const struct graphql_type *graphql_schema_type(const struct graphql_schema *schema,
        struct tally_slice name)
{
    return find(schema, name);
}

const struct graphql_type *graphql_schema_root(const struct graphql_schema *schema,
        enum graphql_operation_kind kind)
{
    return kind == GRAPHQL_QUERY      ? schema->query
           : kind == GRAPHQL_MUTATION ? schema->mutation
                                      : schema->subscription;
}

bool graphql_schema_resolve(const struct graphql_schema *schema, struct graphql_type_ref *type)
{
    while (type->wrap != GRAPHQL_NAMED) {
        type = type->of;
    }
    type->type = find(schema, type->name);
    return type->type != NULL;
}

const struct graphql_field *graphql_schema_field(const struct graphql_schema *schema,
        const struct graphql_type *type, struct tally_slice name)
{
    if (tally_slice_equal(name, schema->typename_field->name)) {
        return schema->typename_field;
    }
    if (type == schema->query && tally_slice_equal(name, schema->schema_field->name)) {
        return schema->schema_field;
    }
    if (type == schema->query && tally_slice_equal(name, schema->type_field->name)) {
        return schema->type_field;
    }
    for (const struct graphql_field *field = type->fields; field; field = field->next) {
        if (tally_slice_equal(field->name, name)) {
            return field;
        }
    }
    return NULL;
}

const struct graphql_parameter *graphql_schema_parameter(const struct graphql_parameter *parameters,
        struct tally_slice name)
{
    while (parameters && !tally_slice_equal(parameters->name, name)) {
        parameters = parameters->next;
    }
    return parameters;
}

const struct graphql_directive_type *graphql_schema_directive(const struct graphql_schema *schema,
        struct tally_slice name)
{
    const struct graphql_directive_type *directive = schema->directives;

    while (directive && !tally_slice_equal(directive->name, name)) {
        directive = directive->next;
    }
    return directive;
}

const struct graphql_type *graphql_schema_named(const struct graphql_type_ref *type)
{
    while (type->wrap != GRAPHQL_NAMED) {
        type = type->of;
    }
    return type->type;
}

bool graphql_schema_is_composite(const struct graphql_type *type)
{
    return type->kind == GRAPHQL_OBJECT || type->kind == GRAPHQL_INTERFACE ||
           type->kind == GRAPHQL_UNION;
}

bool graphql_schema_is_possible(const struct graphql_type *type, const struct graphql_type *object)
{
    for (size_t i = 0; i < type->possible_count; i++) {
        if (type->possible[i] == object) {
            return true;
        }
    }
    return false;
}

bool graphql_schema_overlap(const struct graphql_type *a, const struct graphql_type *b)
{
    for (size_t i = 0; i < a->possible_count; i++) {
        if (graphql_schema_is_possible(b, a->possible[i])) {
            return true;
        }
    }
    return false;
}

void graphql_schema_print_type(const struct graphql_type_ref *type, struct tally_buf *out)
{
    char ends[2 * GRAPHQL_NESTING_MAX + 2];
    size_t count = 0;

    for (; type->wrap != GRAPHQL_NAMED && count < sizeof ends; type = type->of) {
        if (type->wrap == GRAPHQL_LIST_OF) {
            tally_buf_byte(out, '[');
        }
        ends[count++] = type->wrap == GRAPHQL_LIST_OF ? ']' : '!';
    }
    tally_buf_slice(out, type->name);
    while (count > 0) {
        tally_buf_byte(out, (uint8_t)ends[--count]);
    }
}
