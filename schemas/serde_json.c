/* schemas/serde_json.c - JSON to tokens, through yajl's callbacks.
 * Invariants
 *  (1) Strings borrow from the input unless they hold an escape; those are copied to the arena.
 *  (2) No malloc for a record: yajl's own memory is a piece of the stack, then the arena.
 *  (3) Numbers are int64 or refused; yajl's double is never used.
 * yajl 2.1 is told not to check UTF-8, because it accepts surrogates and overlong forms; it is
 * checked here, once for the whole text when that is ASCII. It also turns lone surrogate escapes
 * into other characters, so escapes are checked on the raw text. A handle cannot be used again
 * after a document, so each record makes one. */
#include <yajl/yajl_parse.h>

#include "schemas/serde_internal.h"

#define YAJL_LOCAL 1024 /* bytes; a document without escapes needs about 600 */

struct parser {
    struct serde_builder builder;
    yajl_handle handle;
    const uint8_t *begin, *end;
    size_t root_end; /* bytes up to the end of the root object; 0: it is open */
    bool plain;      /* the whole text is ASCII */
    enum tally_refusal *refusal;
    struct tally_error *err;
    size_t local_used;
    _Alignas(16) uint8_t local[YAJL_LOCAL];
};

/* --- yajl's memory
 * ----------------------------------------------------------------------------------- */

#define BLOCK_HEAD 16 /* holds the size, keeps the alignment */

static void *block_alloc(void *context, size_t size)
{
    struct parser *parser = context;
    size_t whole = (BLOCK_HEAD + size + 15) & ~(size_t)15;
    uint8_t *block;

    if (whole <= sizeof parser->local - parser->local_used) {
        block = parser->local + parser->local_used;
        parser->local_used += whole;
    } else {
        block = tally_arena_alloc(parser->builder.arena, whole);
    }
    memcpy(block, &size, sizeof size);
    return block + BLOCK_HEAD;
}

static void block_free(void *context, void *block)
{
    (void)context;
    (void)block;
}

static void *block_realloc(void *context, void *block, size_t size)
{
    size_t old = 0;
    void *moved;

    if (block) {
        memcpy(&old, (uint8_t *)block - BLOCK_HEAD, sizeof old);
        if (size <= old) {
            return block;
        }
    }
    moved = block_alloc(context, size);
    if (old) {
        memcpy(moved, block, old);
    }
    return moved;
}

/* --- callbacks: 0 stops yajl
 * -------------------------------------------------------------------------- */

static size_t offset_of(const struct parser *parser)
{
    return yajl_get_bytes_consumed(parser->handle);
}

static int stop(struct parser *parser, enum tally_refusal reason, const char *what)
{
    (void)serde_refuse(parser->refusal, reason, parser->err, "%s before byte %zu", what,
            offset_of(parser));
    return 0;
}

/* Counts a value of the container it stands in. false: one too many. */
static bool count_value(struct parser *parser)
{
    struct serde_builder *builder = &parser->builder;
    struct tally_token *container;

    if (builder->depth == 0) {
        return true;
    }
    container = &builder->tokens[builder->open[builder->depth - 1]];
    if (container->type == TALLY_ARRAY) {
        container->count++;
        return ++builder->elements <= TALLY_DOCUMENT_ELEMENTS_MAX;
    }
    return true;
}

static struct tally_token *add_value(struct parser *parser, enum tally_token_type type)
{
    if (!count_value(parser)) {
        stop(parser, TALLY_REFUSAL_OVER_LIMIT, "too many elements");
        return NULL;
    }
    return serde_builder_add(&parser->builder, type);
}

static int on_null(void *context)
{
    return add_value(context, TALLY_NULL) != NULL;
}

static int on_boolean(void *context, int value)
{
    struct tally_token *token = add_value(context, TALLY_BOOL);

    if (token) {
        token->integer = value != 0;
    }
    return token != NULL;
}

static int on_number(void *context, const char *text, size_t len)
{
    struct parser *parser = context;
    struct tally_token *token = add_value(parser, TALLY_INT);
    int64_t value;

    if (!token) {
        return 0;
    }
    if (!tally_parse_int(tally_slice_of(text, len), &value)) {
        return stop(parser, TALLY_REFUSAL_BAD_NUMBER, "number that is no int64");
    }
    token->integer = value;
    return 1;
}

static int hex_value(uint8_t digit)
{
    return digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10;
}

/* The code unit of the escape \uXXXX at `at`, whose digits the lexer has checked; -1: there is
 * none. */
static int32_t unit_at(const uint8_t *at, const uint8_t *end)
{
    int32_t unit = 0;

    if (end - at < 6 || at[0] != '\\' || at[1] != 'u') {
        return -1;
    }
    for (int i = 2; i < 6; i++) {
        unit = unit << 4 | hex_value(at[i]);
    }
    return unit;
}

/* Surrogate escapes come in pairs, the high one first. */
static bool surrogates_paired(const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        int32_t unit = unit_at(at, end);

        if (*at != '\\') {
            at++;
        } else if (unit < 0) {
            at += 2;
        } else if (unit >= 0xd800 && unit <= 0xdbff) {
            int32_t low = unit_at(at + 6, end);

            if (low < 0xdc00 || low > 0xdfff) {
                return false;
            }
            at += 12;
        } else if (unit >= 0xdc00 && unit <= 0xdfff) {
            return false;
        } else {
            at += 6;
        }
    }
    return true;
}

/* The raw text of the string that ends before `consumed`: back to the quote that no backslash
 * covers. */
static const uint8_t *raw_begin(const struct parser *parser, const uint8_t *close)
{
    const uint8_t *at = close;

    while (at > parser->begin) {
        const uint8_t *before = --at;

        if (*at != '"') {
            continue;
        }
        while (before > parser->begin && before[-1] == '\\') {
            before--;
        }
        if ((at - before) % 2 == 0) {
            return at + 1;
        }
    }
    return close;
}

static bool take_text(struct parser *parser, const unsigned char *text, size_t len,
        struct tally_slice *slice)
{
    const uint8_t *close;

    *slice = tally_slice_of(text, len);
    if ((uintptr_t)text >= (uintptr_t)parser->begin && (uintptr_t)text < (uintptr_t)parser->end) {
        return parser->plain || tally_utf8_valid(*slice);
    }
    close = parser->begin + offset_of(parser) - 1;
    if (!surrogates_paired(raw_begin(parser, close), close)) {
        return false;
    }
    *slice = tally_arena_copy(parser->builder.arena, *slice);
    return tally_utf8_valid(*slice);
}

static int on_string(void *context, const unsigned char *text, size_t len)
{
    struct parser *parser = context;
    struct tally_token *token = add_value(parser, TALLY_STRING);
    struct tally_slice slice;

    if (!token) {
        return 0;
    }
    if (!take_text(parser, text, len, &slice)) {
        return stop(parser, TALLY_REFUSAL_INVALID_UTF8, "string that is not UTF-8 or holds NUL");
    }
    token->string = slice;
    return 1;
}

static int on_name(void *context, const unsigned char *text, size_t len)
{
    struct parser *parser = context;
    struct serde_builder *builder = &parser->builder;
    struct tally_slice slice;

    builder->tokens[builder->open[builder->depth - 1]].count++;
    if (++builder->elements > TALLY_DOCUMENT_ELEMENTS_MAX) {
        return stop(parser, TALLY_REFUSAL_OVER_LIMIT, "too many elements");
    }
    if (!take_text(parser, text, len, &slice)) {
        return stop(parser, TALLY_REFUSAL_INVALID_UTF8, "name that is not UTF-8 or holds NUL");
    }
    serde_builder_add(builder, TALLY_STRING)->string = slice;
    return 1;
}

static int open_container(struct parser *parser, enum tally_token_type type)
{
    struct serde_builder *builder = &parser->builder;

    if (builder->depth == TALLY_DOCUMENT_DEPTH_MAX) {
        return stop(parser, TALLY_REFUSAL_OVER_LIMIT, "nesting that is too deep");
    }
    if (!add_value(parser, type)) {
        return 0;
    }
    builder->open[builder->depth++] = builder->count - 1;
    return 1;
}

static int on_map(void *context)
{
    return open_container(context, TALLY_MAP);
}

static int on_array(void *context)
{
    return open_container(context, TALLY_ARRAY);
}

static int on_end(void *context)
{
    struct parser *parser = context;
    struct tally_slice twice = serde_builder_close(&parser->builder);

    if (twice.data) {
        (void)serde_refuse(parser->refusal, TALLY_REFUSAL_DUPLICATE_FIELD, parser->err,
                "member \"%.*s\" stands twice in the object that ends at byte %zu",
                twice.len < 64 ? (int)twice.len : 64, (const char *)twice.data, offset_of(parser));
        return 0;
    }
    if (parser->builder.depth == 0) {
        parser->root_end = offset_of(parser);
    }
    return 1;
}

/* --- the document
 * -------------------------------------------------------------------------------------- */

/* Only space follows the root. yajl does not see it: it takes the begin of a token, as in "{} 1" or
 * "{} tru", for one that goes on in a next piece of text. */
static bool ends_with_root(const struct parser *parser)
{
    for (const uint8_t *at = parser->begin + parser->root_end; at < parser->end; at++) {
        if (*at != ' ' && *at != '\t' && *at != '\n' && *at != '\r') {
            return false;
        }
    }
    return true;
}

/* yajl's words, without its line break. */
static enum tally_code malformed(struct parser *parser)
{
    unsigned char *text =
            yajl_get_error(parser->handle, 0, parser->begin, (size_t)(parser->end - parser->begin));
    const char *words = text ? (const char *)text : "syntax error";
    int len = (int)strcspn(words, "\n");

    return serde_refuse(parser->refusal, TALLY_REFUSAL_MALFORMED_JSON, parser->err,
            "malformed JSON at byte %zu: %.*s", offset_of(parser), len, words);
}

enum tally_code serde_json_parse(struct tally_slice bytes, struct tally_arena *arena,
        const struct tally_token **root, enum tally_refusal *refusal, struct tally_error *err)
{
    static const yajl_callbacks callbacks = {.yajl_null = on_null,
            .yajl_boolean = on_boolean,
            .yajl_number = on_number,
            .yajl_string = on_string,
            .yajl_start_map = on_map,
            .yajl_map_key = on_name,
            .yajl_end_map = on_end,
            .yajl_start_array = on_array,
            .yajl_end_array = on_end};
    TALLY_UNINITIALIZED struct parser parser;
    yajl_alloc_funcs memory = {
            .malloc = block_alloc, .realloc = block_realloc, .free = block_free, .ctx = &parser};
    yajl_status status;

    serde_builder_init(&parser.builder, arena);
    parser.begin = bytes.data;
    parser.end = bytes.data + bytes.len;
    parser.plain = serde_text_plain(bytes);
    parser.refusal = refusal;
    parser.err = err;
    parser.root_end = 0;
    parser.local_used = 0;
    parser.handle = yajl_alloc(&callbacks, &memory, &parser);
    tally_assert(parser.handle != NULL);
    (void)yajl_config(parser.handle, yajl_dont_validate_strings, 1);
    status = yajl_parse(parser.handle, bytes.data, bytes.len);
    if (status == yajl_status_client_canceled) {
        return TALLY_BAD_RECORD;
    }
    if (status != yajl_status_ok) {
        return malformed(&parser);
    }
    if (parser.builder.count == 0 || parser.builder.depth > 0) {
        return serde_refuse(refusal, TALLY_REFUSAL_MALFORMED_JSON, err,
                "malformed JSON: ends early at byte %zu", bytes.len);
    }
    if (!ends_with_root(&parser)) {
        return serde_refuse(refusal, TALLY_REFUSAL_MALFORMED_JSON, err,
                "malformed JSON: bytes follow the object that ends at byte %zu", parser.root_end);
    }
    *root = serde_builder_finish(&parser.builder);
    return TALLY_OK;
}
