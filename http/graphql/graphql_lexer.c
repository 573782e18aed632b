/* http/graphql/graphql_lexer.c - see graphql_lexer.h.
 * Invariants
 *  (1) Every token moves position on, and none goes beyond the source.
 *  (2) What a token's text needs of memory is at most the bytes of its source. */
#include "http/graphql/graphql_lexer.h"

#include <stdio.h>

#define SYNTAX "MALFORMED_REQUEST"

void graphql_lexer_init(struct graphql_lexer *lexer, struct tally_slice source, size_t tokens_max,
        struct graphql_errors *errors)
{
    *lexer = (struct graphql_lexer){
            .source = source,
            .at = {1, 1},
            .errors = errors,
            .tokens_left = tokens_max,
    };
}

/* The byte so far ahead; -1: behind the end. */
static int peek(const struct graphql_lexer *lexer, size_t ahead)
{
    size_t position = lexer->position + ahead;

    return position < lexer->source.len ? lexer->source.data[position] : -1;
}

static bool looks_at(const struct graphql_lexer *lexer, const char *text)
{
    size_t len = strlen(text);

    return lexer->source.len - lexer->position >= len &&
           memcmp(lexer->source.data + lexer->position, text, len) == 0;
}

/* Columns are characters: the bytes that go on with one do not count. */
static void skip(struct graphql_lexer *lexer, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        lexer->at.column += (lexer->source.data[lexer->position + i] & 0xc0) != 0x80;
    }
    lexer->position += bytes;
}

static void skip_line_end(struct graphql_lexer *lexer)
{
    lexer->position += looks_at(lexer, "\r\n") ? 2 : 1;
    lexer->at = (struct graphql_location){lexer->at.line + 1, 1};
}

static bool is_line_end(int c)
{
    return c == '\n' || c == '\r';
}

static bool is_name_start(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static void skip_ignored(struct graphql_lexer *lexer)
{
    for (;;) {
        int c = peek(lexer, 0);

        if (is_line_end(c)) {
            skip_line_end(lexer);
        } else if (c == ' ' || c == '\t' || c == ',') {
            skip(lexer, 1);
        } else if (looks_at(lexer, "\xef\xbb\xbf")) {
            skip(lexer, 3);
        } else if (c == '#') {
            while (peek(lexer, 0) >= 0 && !is_line_end(peek(lexer, 0))) {
                skip(lexer, 1);
            }
        } else {
            return;
        }
    }
}

static void fail(struct graphql_lexer *lexer, struct graphql_token *token, const char *what)
{
    graphql_errors_add(lexer->errors, SYNTAX, lexer->at, "Syntax Error: %s", what);
    token->kind = GRAPHQL_TOKEN_ERROR;
    lexer->tokens_left = 0;
}

static void fail_character(struct graphql_lexer *lexer, struct graphql_token *token,
        const char *before)
{
    size_t len = 1;
    char what[96];
    int c = peek(lexer, 0);

    if (c < 0) {
        snprintf(what, sizeof what, "%s <EOF>.", before);
    } else if (c < 0x20 || c == 0x7f) {
        snprintf(what, sizeof what, "%s U+%04X.", before, (unsigned)c);
    } else {
        while ((peek(lexer, len) & 0xc0) == 0x80 && peek(lexer, len) >= 0) {
            len++;
        }
        snprintf(what, sizeof what, "%s \"%.*s\".", before, (int)len,
                (const char *)lexer->source.data + lexer->position);
    }
    fail(lexer, token, what);
}

/* --- numbers ---------------------------------------------------------------------------------- */

static bool skip_digits(struct graphql_lexer *lexer, struct graphql_token *token)
{
    if (!is_digit(peek(lexer, 0))) {
        fail_character(lexer, token, "Invalid number, expected digit but got:");
        return false;
    }
    while (is_digit(peek(lexer, 0))) {
        skip(lexer, 1);
    }
    return true;
}

static void read_number(struct graphql_lexer *lexer, struct graphql_token *token)
{
    size_t start = lexer->position;

    token->kind = GRAPHQL_TOKEN_INT;
    skip(lexer, peek(lexer, 0) == '-');
    if (peek(lexer, 0) == '0') {
        skip(lexer, 1);
        if (is_digit(peek(lexer, 0))) {
            fail_character(lexer, token, "Invalid number, unexpected digit after 0:");
            return;
        }
    } else if (!skip_digits(lexer, token)) {
        return;
    }
    if (peek(lexer, 0) == '.') {
        token->kind = GRAPHQL_TOKEN_FLOAT;
        skip(lexer, 1);
        if (!skip_digits(lexer, token)) {
            return;
        }
    }
    if (peek(lexer, 0) == 'e' || peek(lexer, 0) == 'E') {
        token->kind = GRAPHQL_TOKEN_FLOAT;
        skip(lexer, 1);
        skip(lexer, peek(lexer, 0) == '+' || peek(lexer, 0) == '-');
        if (!skip_digits(lexer, token)) {
            return;
        }
    }
    if (peek(lexer, 0) == '.' || is_name_start(peek(lexer, 0))) {
        fail_character(lexer, token, "Invalid number, expected digit but got:");
        return;
    }
    token->text = tally_slice_of(lexer->source.data + start, lexer->position - start);
}

/* --- strings ---------------------------------------------------------------------------------- */

static size_t put_utf8(uint8_t *to, uint32_t c)
{
    if (c < 0x80) {
        to[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        to[0] = (uint8_t)(0xc0 | c >> 6);
        to[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        to[0] = (uint8_t)(0xe0 | c >> 12);
        to[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        to[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    to[0] = (uint8_t)(0xf0 | c >> 18);
    to[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    to[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    to[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

static int hex_digit(int c)
{
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Four digits so far ahead; false: they are none. */
static bool hex4(const struct graphql_lexer *lexer, size_t ahead, uint32_t *c)
{
    *c = 0;
    for (size_t i = 0; i < 4; i++) {
        int digit = hex_digit(peek(lexer, ahead + i));

        if (digit < 0) {
            return false;
        }
        *c = *c << 4 | (uint32_t)digit;
    }
    return true;
}

/* The length of an escape `\u{1F600}`; 0: it is none. */
static size_t braced(const struct graphql_lexer *lexer, uint32_t *c)
{
    size_t at = 3;

    *c = 0;
    for (int digit; (digit = hex_digit(peek(lexer, at))) >= 0; at++) {
        *c = *c << 4 | (uint32_t)digit;
        if (*c > 0x10ffff) {
            return 0;
        }
    }
    return at > 3 && peek(lexer, at) == '}' ? at + 1 : 0;
}

static bool is_scalar(uint32_t c)
{
    return c > 0 && (c < 0xd800 || c > 0xdfff) && c <= 0x10ffff;
}

/* An escape `\u...`, of which two may make one character; returns its length, 0: it is none. */
static size_t unicode_escape(const struct graphql_lexer *lexer, uint32_t *c)
{
    size_t len = 6;
    uint32_t low;

    if (peek(lexer, 2) == '{') {
        len = braced(lexer, c);
    } else if (!hex4(lexer, 2, c)) {
        return 0;
    } else if (*c >= 0xd800 && *c <= 0xdbff && peek(lexer, 6) == '\\' && peek(lexer, 7) == 'u' &&
               hex4(lexer, 8, &low) && low >= 0xdc00 && low <= 0xdfff) {
        *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
        len = 12;
    }
    return is_scalar(*c) ? len : 0; /* NUL too is refused: no text of tally holds one */
}

/* Appends what an escape means; false: it is none. */
static bool read_escape(struct graphql_lexer *lexer, struct graphql_token *token, uint8_t *to,
        size_t *len)
{
    static const char marks[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    int c = peek(lexer, 1);
    const char *mark = c > 0 ? strchr(marks, c) : NULL;
    uint32_t character;
    size_t size;

    if (mark) {
        to[(*len)++] = (uint8_t)meanings[mark - marks];
        skip(lexer, 2);
        return true;
    }
    if (c == 'u') {
        size = unicode_escape(lexer, &character);
        if (size > 0) {
            *len += put_utf8(to + *len, character);
            skip(lexer, size);
            return true;
        }
        fail(lexer, token, "Invalid Unicode escape sequence.");
        return false;
    }
    fail(lexer, token, "Invalid character escape sequence.");
    return false;
}

static bool has_quotes(const struct graphql_lexer *lexer, size_t ahead)
{
    return peek(lexer, ahead) == '"' && peek(lexer, ahead + 1) == '"' &&
           peek(lexer, ahead + 2) == '"';
}

/* Bytes up to the quotes that end a string, or to the end of the source. */
static size_t string_room(const struct graphql_lexer *lexer, bool block)
{
    size_t room = block ? 3 : 1;

    for (int c; (c = peek(lexer, room)) >= 0;) {
        if (block ? has_quotes(lexer, room) : c == '"') {
            break;
        }
        if (c == '\\' && block) {
            room += has_quotes(lexer, room + 1) ? 4 : 1;
        } else {
            room += c == '\\' ? 2 : 1;
        }
    }
    return room;
}

static void read_string(struct graphql_lexer *lexer, struct graphql_token *token)
{
    uint8_t *to = tally_arena_alloc(lexer->errors->arena, string_room(lexer, false) + 4);
    size_t len = 0;

    skip(lexer, 1);
    for (;;) {
        int c = peek(lexer, 0);

        if (c < 0 || is_line_end(c)) {
            fail(lexer, token, "Unterminated string.");
            return;
        }
        if (c == '"') {
            break;
        }
        if (c != '\\') {
            to[len++] = (uint8_t)c;
            skip(lexer, 1);
        } else if (!read_escape(lexer, token, to, &len)) {
            return;
        }
    }
    skip(lexer, 1);
    token->kind = GRAPHQL_TOKEN_STRING;
    token->text = tally_slice_of(to, len);
}

/* A line of a block string: [start, end) and how many blanks it begins with. */
static size_t line_at(struct tally_slice text, size_t start, size_t *blanks)
{
    size_t end = start;

    while (end < text.len && text.data[end] != '\n') {
        end++;
    }
    *blanks = 0;
    while (start + *blanks < end &&
            (text.data[start + *blanks] == ' ' || text.data[start + *blanks] == '\t')) {
        (*blanks)++;
    }
    return end;
}

/* BlockStringValue() of the specification: takes away the indentation that all lines but the first
 * have, and blank lines at both ends. */
static struct tally_slice dedent(struct tally_slice text, uint8_t *to)
{
    size_t common = SIZE_MAX, len = 0, keep = 0, blanks;
    bool begun = false;

    for (size_t start = 0, end; start <= text.len; start = end + 1) {
        end = line_at(text, start, &blanks);
        if (start > 0 && blanks < end - start && blanks < common) {
            common = blanks;
        }
    }
    for (size_t start = 0, end; start <= text.len; start = end + 1) {
        size_t cut;

        end = line_at(text, start, &blanks);
        if (blanks == end - start && !begun) {
            continue;
        }
        if (begun) {
            to[len++] = '\n';
        }
        begun = true;
        cut = start == 0 || common == SIZE_MAX ? 0 : common < end - start ? common : end - start;
        memmove(to + len, text.data + start + cut, end - start - cut);
        len += end - start - cut;
        keep = blanks < end - start ? len : keep;
    }
    return tally_slice_of(to, keep);
}

static void read_block_string(struct graphql_lexer *lexer, struct graphql_token *token)
{
    size_t room = string_room(lexer, true) + 4, len = 0;
    uint8_t *raw = tally_arena_alloc(lexer->errors->arena, room);

    skip(lexer, 3);
    while (!looks_at(lexer, "\"\"\"")) {
        int c = peek(lexer, 0);

        if (c < 0) {
            fail(lexer, token, "Unterminated string.");
            return;
        }
        if (is_line_end(c)) {
            skip_line_end(lexer);
            raw[len++] = '\n';
        } else if (looks_at(lexer, "\\\"\"\"")) {
            memcpy(raw + len, "\"\"\"", 3);
            len += 3;
            skip(lexer, 4);
        } else {
            raw[len++] = (uint8_t)c;
            skip(lexer, 1);
        }
    }
    skip(lexer, 3);
    token->kind = GRAPHQL_TOKEN_STRING;
    token->text = dedent(tally_slice_of(raw, len), tally_arena_alloc(lexer->errors->arena, room));
}

/* --- tokens ----------------------------------------------------------------------------------- */

static void read_name(struct graphql_lexer *lexer, struct graphql_token *token)
{
    size_t start = lexer->position;

    while (is_name_start(peek(lexer, 0)) || is_digit(peek(lexer, 0))) {
        skip(lexer, 1);
    }
    token->kind = GRAPHQL_TOKEN_NAME;
    token->text = tally_slice_of(lexer->source.data + start, lexer->position - start);
}

void graphql_lexer_next(struct graphql_lexer *lexer, struct graphql_token *token)
{
    int c;

    *token = (struct graphql_token){.kind = GRAPHQL_TOKEN_ERROR, .text = tally_slice_of("", 0)};
    if (lexer->errors->count > 0) {
        return;
    }
    skip_ignored(lexer);
    token->at = lexer->at;
    c = peek(lexer, 0);
    if (c < 0) {
        token->kind = GRAPHQL_TOKEN_END;
        return;
    }
    if (lexer->tokens_left-- == 0) {
        fail(lexer, token, "Document contains too many tokens. Parsing aborted.");
    } else if (is_name_start(c)) {
        read_name(lexer, token);
    } else if (is_digit(c) || c == '-') {
        read_number(lexer, token);
    } else if (looks_at(lexer, "\"\"\"")) {
        read_block_string(lexer, token);
    } else if (c == '"') {
        read_string(lexer, token);
    } else if (looks_at(lexer, "...") || strchr("!$&():=@[]{|}", c)) {
        size_t len = c == '.' ? 3 : 1;

        token->kind = GRAPHQL_TOKEN_PUNCTUATOR;
        token->text = tally_slice_of(lexer->source.data + lexer->position, len);
        skip(lexer, len);
    } else {
        fail_character(lexer, token, "Unexpected character:");
    }
}
