/* http/graphql/graphql_parser.c - see graphql_parser.h.
 * Invariants
 *  (1) The first error ends it: what was parsed so far is never used.
 *  (2) Every recursion goes through enter(), so none is deeper than GRAPHQL_NESTING_MAX.
 *  (3) Every loop takes a token in each round, or ends. */
#include "http/graphql/graphql_parser.h"

#include <stdio.h>

#define SYNTAX "MALFORMED_REQUEST"

/* Appends to a list, whose end is kept in `end`. */
#define APPEND(end, item)      \
    do {                       \
        *(end) = (item);       \
        (end) = &(item)->next; \
    } while (0)

static void *make(struct graphql_parser *parser, size_t size)
{
    void *made = tally_arena_alloc(parser->arena, size);

    memset(made, 0, size);
    return made;
}

void graphql_parser_advance(struct graphql_parser *parser)
{
    if (!parser->failed) {
        graphql_lexer_next(&parser->lexer, &parser->token);
        parser->failed = parser->token.kind == GRAPHQL_TOKEN_ERROR;
    }
    if (parser->failed) {
        parser->token.kind = GRAPHQL_TOKEN_ERROR;
        parser->token.text = tally_slice_of("", 0);
    }
}

void graphql_parser_init(struct graphql_parser *parser, struct tally_slice source,
        size_t tokens_max, struct graphql_errors *errors)
{
    *parser = (struct graphql_parser){.arena = errors->arena};
    graphql_lexer_init(&parser->lexer, source, tokens_max, errors);
    graphql_parser_advance(parser);
}

static void fail(struct graphql_parser *parser, const char *what)
{
    if (!parser->failed) {
        graphql_errors_add(parser->lexer.errors, SYNTAX, parser->token.at, "Syntax Error: %s",
                what);
    }
    parser->failed = true;
    graphql_parser_advance(parser);
}

static void describe(const struct graphql_token *token, char *to, size_t size)
{
    static const char *const kinds[] = {
            [GRAPHQL_TOKEN_NAME] = "Name ",
            [GRAPHQL_TOKEN_INT] = "Int ",
            [GRAPHQL_TOKEN_FLOAT] = "Float ",
            [GRAPHQL_TOKEN_STRING] = "String ",
    };
    size_t len = token->text.len < 64 ? token->text.len : 64;

    while (len > 0 && len < token->text.len && (token->text.data[len] & 0xc0) == 0x80) {
        len--;
    }
    if (token->kind == GRAPHQL_TOKEN_END) {
        snprintf(to, size, "<EOF>");
    } else {
        snprintf(to, size, "%s\"%.*s\"", kinds[token->kind] ? kinds[token->kind] : "", (int)len,
                (const char *)token->text.data);
    }
}

static void unexpected(struct graphql_parser *parser, const char *expected)
{
    char found[96], what[192];

    if (parser->failed) {
        return;
    }
    describe(&parser->token, found, sizeof found);
    if (expected) {
        snprintf(what, sizeof what, "Expected %s, found %s.", expected, found);
    } else {
        snprintf(what, sizeof what, "Unexpected %s.", found);
    }
    fail(parser, what);
}

static bool sees(const struct graphql_parser *parser, const char *punctuator)
{
    return parser->token.kind == GRAPHQL_TOKEN_PUNCTUATOR &&
           tally_slice_equal(parser->token.text, tally_slice_string(punctuator));
}

bool graphql_parser_sees_word(const struct graphql_parser *parser, const char *word)
{
    return parser->token.kind == GRAPHQL_TOKEN_NAME &&
           tally_slice_equal(parser->token.text, tally_slice_string(word));
}

bool graphql_parser_take(struct graphql_parser *parser, const char *punctuator)
{
    if (!sees(parser, punctuator)) {
        return false;
    }
    graphql_parser_advance(parser);
    return true;
}

void graphql_parser_expect(struct graphql_parser *parser, const char *punctuator)
{
    char quoted[8];

    if (!graphql_parser_take(parser, punctuator)) {
        snprintf(quoted, sizeof quoted, "\"%s\"", punctuator);
        unexpected(parser, quoted);
    }
}

struct tally_slice graphql_parser_name(struct graphql_parser *parser)
{
    struct tally_slice name = parser->token.text;

    if (parser->token.kind != GRAPHQL_TOKEN_NAME) {
        unexpected(parser, "Name");
        return tally_slice_of("", 0);
    }
    graphql_parser_advance(parser);
    return name;
}

/* Begins a nested construct; every true is followed by a leave(). */
static bool enter(struct graphql_parser *parser)
{
    if (parser->failed) {
        return false;
    }
    if (parser->nesting == GRAPHQL_NESTING_MAX) {
        fail(parser, "Document is nested too deeply.");
        return false;
    }
    parser->nesting++;
    return true;
}

static void leave(struct graphql_parser *parser)
{
    parser->nesting--;
}

/* Whether a list goes on: not at its end, and nothing has failed. */
static bool goes_on(struct graphql_parser *parser, const char *end)
{
    return !parser->failed && !graphql_parser_take(parser, end) && !parser->failed;
}

/* --- types and values ------------------------------------------------------------------------- */

struct graphql_type_ref *graphql_parser_type(struct graphql_parser *parser)
{
    struct graphql_type_ref *type = make(parser, sizeof *type);

    type->at = parser->token.at;
    if (!enter(parser)) {
        return type;
    }
    if (graphql_parser_take(parser, "[")) {
        type->wrap = GRAPHQL_LIST_OF;
        type->of = graphql_parser_type(parser);
        graphql_parser_expect(parser, "]");
    } else {
        type->wrap = GRAPHQL_NAMED;
        type->name = graphql_parser_name(parser);
    }
    leave(parser);
    if (graphql_parser_take(parser, "!")) {
        struct graphql_type_ref *outer = make(parser, sizeof *outer);

        *outer = (struct graphql_type_ref){.wrap = GRAPHQL_NON_NULL, .at = type->at, .of = type};
        return outer;
    }
    return type;
}

static void parse_list(struct graphql_parser *parser, bool constant, struct graphql_value *value)
{
    struct graphql_value **end = &value->first;

    value->kind = GRAPHQL_VALUE_LIST;
    graphql_parser_expect(parser, "[");
    while (goes_on(parser, "]")) {
        struct graphql_value *item = graphql_parser_value(parser, constant);

        APPEND(end, item);
    }
}

static void parse_object(struct graphql_parser *parser, bool constant, struct graphql_value *value)
{
    struct graphql_value **end = &value->first;

    value->kind = GRAPHQL_VALUE_OBJECT;
    graphql_parser_expect(parser, "{");
    while (goes_on(parser, "}")) {
        struct graphql_location at = parser->token.at;
        struct tally_slice name = graphql_parser_name(parser);
        struct graphql_value *member;

        graphql_parser_expect(parser, ":");
        member = graphql_parser_value(parser, constant);
        member->name = name;
        member->at = at;
        APPEND(end, member);
    }
}

static enum graphql_value_kind word_kind(const struct graphql_parser *parser)
{
    if (graphql_parser_sees_word(parser, "true") || graphql_parser_sees_word(parser, "false")) {
        return GRAPHQL_VALUE_BOOLEAN;
    }
    return graphql_parser_sees_word(parser, "null") ? GRAPHQL_VALUE_NULL : GRAPHQL_VALUE_ENUM;
}

static void parse_scalar(struct graphql_parser *parser, struct graphql_value *value)
{
    switch (parser->token.kind) {
    case GRAPHQL_TOKEN_NAME:
        value->kind = word_kind(parser);
        break;
    case GRAPHQL_TOKEN_INT:
        value->kind = GRAPHQL_VALUE_INT;
        break;
    case GRAPHQL_TOKEN_FLOAT:
        value->kind = GRAPHQL_VALUE_FLOAT;
        break;
    case GRAPHQL_TOKEN_STRING:
        value->kind = GRAPHQL_VALUE_STRING;
        break;
    default:
        unexpected(parser, NULL);
        return;
    }
    value->text = parser->token.text;
    graphql_parser_advance(parser);
}

struct graphql_value *graphql_parser_value(struct graphql_parser *parser, bool constant)
{
    struct graphql_value *value = make(parser, sizeof *value);

    value->at = parser->token.at;
    if (!enter(parser)) {
        return value;
    }
    if (sees(parser, "[")) {
        parse_list(parser, constant, value);
    } else if (sees(parser, "{")) {
        parse_object(parser, constant, value);
    } else if (sees(parser, "$") && !constant) {
        graphql_parser_advance(parser);
        value->kind = GRAPHQL_VALUE_VARIABLE;
        value->text = graphql_parser_name(parser);
    } else {
        parse_scalar(parser, value);
    }
    leave(parser);
    return value;
}

/* --- selections ------------------------------------------------------------------------------- */

static struct graphql_argument *parse_arguments(struct graphql_parser *parser, bool constant)
{
    struct graphql_argument *first = NULL, **end = &first;

    if (!graphql_parser_take(parser, "(")) {
        return NULL;
    }
    do {
        struct graphql_argument *argument = make(parser, sizeof *argument);

        argument->at = parser->token.at;
        argument->name = graphql_parser_name(parser);
        graphql_parser_expect(parser, ":");
        argument->value = graphql_parser_value(parser, constant);
        APPEND(end, argument);
    } while (goes_on(parser, ")"));
    return first;
}

static struct graphql_directive *parse_directives(struct graphql_parser *parser, bool constant)
{
    struct graphql_directive *first = NULL, **end = &first;

    while (sees(parser, "@")) {
        struct graphql_directive *directive = make(parser, sizeof *directive);

        directive->at = parser->token.at;
        graphql_parser_advance(parser);
        directive->name = graphql_parser_name(parser);
        directive->arguments = parse_arguments(parser, constant);
        APPEND(end, directive);
    }
    return first;
}

static struct graphql_selection *parse_selections(struct graphql_parser *parser);

static void parse_field(struct graphql_parser *parser, struct graphql_selection *field)
{
    field->kind = GRAPHQL_FIELD;
    field->name = graphql_parser_name(parser);
    field->key = field->name;
    if (graphql_parser_take(parser, ":")) {
        field->has_alias = true;
        field->name = graphql_parser_name(parser);
    }
    field->arguments = parse_arguments(parser, false);
    field->directives = parse_directives(parser, false);
    if (sees(parser, "{")) {
        field->selections = parse_selections(parser);
    }
}

/* Behind the dots. */
static void parse_spread(struct graphql_parser *parser, struct graphql_selection *spread)
{
    bool has_type = graphql_parser_sees_word(parser, "on");

    spread->name = tally_slice_of("", 0);
    if (parser->token.kind == GRAPHQL_TOKEN_NAME && !has_type) {
        spread->kind = GRAPHQL_SPREAD;
        spread->name = graphql_parser_name(parser);
        spread->directives = parse_directives(parser, false);
        return;
    }
    spread->kind = GRAPHQL_INLINE;
    if (has_type) {
        graphql_parser_advance(parser);
        spread->name = graphql_parser_name(parser);
    }
    spread->directives = parse_directives(parser, false);
    spread->selections = parse_selections(parser);
}

static struct graphql_selection *parse_selections(struct graphql_parser *parser)
{
    struct graphql_selection *first = NULL, **end = &first;

    if (!enter(parser)) {
        return NULL;
    }
    graphql_parser_expect(parser, "{");
    do {
        struct graphql_selection *selection = make(parser, sizeof *selection);

        selection->at = parser->token.at;
        if (graphql_parser_take(parser, "...")) {
            parse_spread(parser, selection);
        } else {
            parse_field(parser, selection);
        }
        APPEND(end, selection);
    } while (goes_on(parser, "}"));
    leave(parser);
    return first;
}

/* --- definitions ------------------------------------------------------------------------------ */

static struct graphql_variable *parse_variables(struct graphql_parser *parser)
{
    struct graphql_variable *first = NULL, **end = &first;

    if (!graphql_parser_take(parser, "(")) {
        return NULL;
    }
    do {
        struct graphql_variable *variable = make(parser, sizeof *variable);

        variable->at = parser->token.at;
        graphql_parser_expect(parser, "$");
        variable->name = graphql_parser_name(parser);
        graphql_parser_expect(parser, ":");
        variable->type = graphql_parser_type(parser);
        if (graphql_parser_take(parser, "=")) {
            variable->default_value = graphql_parser_value(parser, true);
        }
        variable->directives = parse_directives(parser, true);
        APPEND(end, variable);
    } while (goes_on(parser, ")"));
    return first;
}

static struct graphql_operation *parse_operation(struct graphql_parser *parser)
{
    struct graphql_operation *operation = make(parser, sizeof *operation);

    operation->at = parser->token.at;
    operation->name = tally_slice_of("", 0);
    operation->kind = graphql_parser_sees_word(parser, "mutation")       ? GRAPHQL_MUTATION
                      : graphql_parser_sees_word(parser, "subscription") ? GRAPHQL_SUBSCRIPTION
                                                                         : GRAPHQL_QUERY;
    if (!sees(parser, "{")) {
        graphql_parser_advance(parser);
        operation->name_at = parser->token.at;
        if (parser->token.kind == GRAPHQL_TOKEN_NAME) {
            operation->name = graphql_parser_name(parser);
        }
        operation->variables = parse_variables(parser);
        operation->directives = parse_directives(parser, false);
    }
    operation->selections = parse_selections(parser);
    return operation;
}

static struct graphql_fragment *parse_fragment(struct graphql_parser *parser)
{
    struct graphql_fragment *fragment = make(parser, sizeof *fragment);

    fragment->at = parser->token.at;
    graphql_parser_advance(parser);
    fragment->name_at = parser->token.at;
    if (graphql_parser_sees_word(parser, "on")) {
        unexpected(parser, NULL);
    }
    fragment->name = graphql_parser_name(parser);
    if (!graphql_parser_sees_word(parser, "on")) {
        unexpected(parser, "\"on\"");
    }
    graphql_parser_advance(parser);
    fragment->type_at = parser->token.at;
    fragment->type_name = graphql_parser_name(parser);
    fragment->directives = parse_directives(parser, false);
    fragment->selections = parse_selections(parser);
    return fragment;
}

static bool begins_operation(const struct graphql_parser *parser)
{
    return sees(parser, "{") || graphql_parser_sees_word(parser, "query") ||
           graphql_parser_sees_word(parser, "mutation") ||
           graphql_parser_sees_word(parser, "subscription");
}

struct graphql_document *graphql_parse(struct tally_slice source, size_t tokens_max,
        struct graphql_errors *errors)
{
    struct graphql_parser parser;
    struct graphql_document *document;
    struct graphql_operation **operations;
    struct graphql_fragment **fragments;

    graphql_parser_init(&parser, source, tokens_max, errors);
    document = make(&parser, sizeof *document);
    operations = &document->operations;
    fragments = &document->fragments;
    do {
        if (begins_operation(&parser)) {
            struct graphql_operation *operation = parse_operation(&parser);

            APPEND(operations, operation);
            document->operation_count++;
        } else if (graphql_parser_sees_word(&parser, "fragment")) {
            struct graphql_fragment *fragment = parse_fragment(&parser);

            fragment->index = document->fragment_count++;
            APPEND(fragments, fragment);
        } else {
            unexpected(&parser, NULL);
        }
    } while (!parser.failed && parser.token.kind != GRAPHQL_TOKEN_END);
    return parser.failed ? NULL : document;
}
