/* http/graphql/graphql_lexer.h - source text to tokens, GraphQL October 2021 and later. @thread any
 */
#pragma once
#include "http/graphql/graphql_error.h"

enum graphql_token_kind {
    GRAPHQL_TOKEN_END,
    GRAPHQL_TOKEN_PUNCTUATOR, /* text: "!", "...", "{" */
    GRAPHQL_TOKEN_NAME,
    GRAPHQL_TOKEN_INT,
    GRAPHQL_TOKEN_FLOAT,
    GRAPHQL_TOKEN_STRING, /* text: its value; of block strings too */
    GRAPHQL_TOKEN_ERROR   /* the error is added */
};

struct graphql_token {
    enum graphql_token_kind kind;
    struct graphql_location at;
    struct tally_slice text;
};

struct graphql_lexer {
    struct tally_slice source; /* valid UTF-8 */
    size_t position;
    struct graphql_location at; /* of position */
    struct graphql_errors *errors;
    size_t tokens_left;
};

void graphql_lexer_init(struct graphql_lexer *lexer, struct tally_slice source, size_t tokens_max,
        struct graphql_errors *errors);
/* After an error, every next token is one too. */
void graphql_lexer_next(struct graphql_lexer *lexer, struct graphql_token *token);
