/* http/graphql/graphql_parser.h - tokens to a document: operations and fragments; and the pieces of
 * which a schema's text is made. @thread any */
#pragma once
#include "http/graphql/graphql_lexer.h"

/* How deep selections, values and types may be nested, so that reading them needs a known stack.
 * Queries that may be executed are far below it. */
#define GRAPHQL_NESTING_MAX 64

/* NULL: not a document, and the error is added. */
struct graphql_document *graphql_parse(struct tally_slice source, size_t tokens_max,
        struct graphql_errors *errors);

/* --- pieces ----------------------------------------------------------------------------------- */

struct graphql_parser {
    struct graphql_lexer lexer;
    struct graphql_token token; /* the next one */
    struct tally_arena *arena;
    size_t nesting;
    bool failed;
};
void graphql_parser_init(struct graphql_parser *parser, struct tally_slice source,
        size_t tokens_max, struct graphql_errors *errors);
void graphql_parser_advance(struct graphql_parser *parser);
bool graphql_parser_sees_word(const struct graphql_parser *parser, const char *word);
bool graphql_parser_take(struct graphql_parser *parser,
        const char *punctuator); /* if it is there */
void graphql_parser_expect(struct graphql_parser *parser, const char *punctuator);
struct tally_slice graphql_parser_name(struct graphql_parser *parser);
struct graphql_type_ref *graphql_parser_type(struct graphql_parser *parser);
struct graphql_value *graphql_parser_value(struct graphql_parser *parser, bool constant);
