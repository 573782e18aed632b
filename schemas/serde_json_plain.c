/* schemas/serde_json_plain.c - JSON without anything unusual, in one pass and without a call for
 * each value: nearly every record that a producer sends.
 * Invariants
 *  (1) What is accepted here gives the tokens that yajl's callbacks would have made of it. Whatever
 *      is not ASCII, holds an escape, breaks a rule or comes near a limit is left to them, so that
 *      errors are told in one place.
 *  (2) Every byte is compared with the end before it is read. */
#include "schemas/serde_internal.h"

#define PLAIN_BYTES_MAX (32 * 1024) /* an element takes two bytes at least: no limit is near */
#define PLAIN_DEPTH_MAX 8
#define DIGITS_MAX      18 /* more may be no int64 */

struct plain {
    const uint8_t *at, *end;
    struct serde_builder *builder;
};

static bool scan_value(struct plain *plain);

static inline void skip_space(struct plain *plain)
{
    while (plain->at < plain->end &&
            (*plain->at == ' ' || *plain->at == '\n' || *plain->at == '\r' || *plain->at == '\t')) {
        plain->at++;
    }
}

static inline bool take(struct plain *plain, uint8_t byte)
{
    if (plain->at == plain->end || *plain->at != byte) {
        return false;
    }
    plain->at++;
    return true;
}

/* Of eight bytes of ASCII: the high bit of each that is a quote, an escape or a control. */
static inline uint64_t special(uint64_t word)
{
    const uint64_t high = UINT64_C(0x8080808080808080), one = UINT64_C(0x0101010101010101);
    uint64_t quote = word ^ (one * '"'), escape = word ^ (one * '\\');

    return ((quote - one) | (escape - one) | (word - one * 0x20)) & high;
}

/* Behind the opening quote. */
static inline bool scan_text(struct plain *plain, struct tally_slice *text)
{
    const uint8_t *at = plain->at;

    while (plain->end - at >= 8) {
        uint64_t word, found;

        memcpy(&word, at, sizeof word);
        found = special(word); /* a borrow goes upwards: the lowest one is right */
        if (found) {
            at += __builtin_ctzll(found) / 8;
            break;
        }
        at += 8;
    }
    while (at < plain->end && *at != '"') {
        if (*at < 0x20 || *at == '\\') {
            return false;
        }
        at++;
    }
    if (at == plain->end) {
        return false;
    }
    *text = tally_slice_of(plain->at, (size_t)(at - plain->at));
    plain->at = at + 1;
    return true;
}

static inline bool scan_string(struct plain *plain)
{
    struct tally_slice text;

    if (!scan_text(plain, &text)) {
        return false;
    }
    serde_builder_add(plain->builder, TALLY_STRING)->string = text;
    return true;
}

static bool scan_number(struct plain *plain)
{
    bool negative = take(plain, '-');
    const uint8_t *begin = plain->at;
    int64_t value = 0;
    size_t digits;

    while (plain->at < plain->end && *plain->at >= '0' && *plain->at <= '9' &&
            plain->at - begin <= DIGITS_MAX) {
        value = 10 * value + (*plain->at++ - '0');
    }
    digits = (size_t)(plain->at - begin);
    if (digits == 0 || digits > DIGITS_MAX || (begin[0] == '0' && digits > 1) ||
            plain->at == plain->end || *plain->at == '.' || (*plain->at | 0x20) == 'e') {
        return false;
    }
    serde_builder_add(plain->builder, TALLY_INT)->integer = negative ? -value : value;
    return true;
}

static bool scan_word(struct plain *plain, const char *word, size_t len)
{
    if ((size_t)(plain->end - plain->at) < len || memcmp(plain->at, word, len) != 0) {
        return false;
    }
    plain->at += len;
    return true;
}

static bool scan_bool(struct plain *plain)
{
    bool value = *plain->at == 't';

    if (!(value ? scan_word(plain, "true", 4) : scan_word(plain, "false", 5))) {
        return false;
    }
    serde_builder_add(plain->builder, TALLY_BOOL)->integer = value;
    return true;
}

static bool scan_null(struct plain *plain)
{
    if (!scan_word(plain, "null", 4)) {
        return false;
    }
    (void)serde_builder_add(plain->builder, TALLY_NULL);
    return true;
}

static inline bool scan_name(struct plain *plain)
{
    skip_space(plain);
    if (!take(plain, '"') || !scan_string(plain)) {
        return false;
    }
    skip_space(plain);
    return take(plain, ':');
}

/* Members or items up to the end of the container that the builder has opened last. */
static bool scan_rest(struct plain *plain, bool map)
{
    struct serde_builder *builder = plain->builder;
    uint32_t container = builder->open[builder->depth - 1], count = 0;
    uint8_t end = map ? '}' : ']';

    skip_space(plain);
    if (!take(plain, end)) {
        do {
            if ((map && !scan_name(plain)) || !scan_value(plain)) {
                return false;
            }
            count++;
            skip_space(plain);
        } while (take(plain, ','));
        if (!take(plain, end)) {
            return false;
        }
    }
    builder->tokens[container].count = count;
    return serde_builder_close(builder).data == NULL;
}

static bool scan_container(struct plain *plain, enum tally_token_type type)
{
    struct serde_builder *builder = plain->builder;

    if (builder->depth == PLAIN_DEPTH_MAX) {
        return false;
    }
    plain->at++;
    (void)serde_builder_add(builder, type);
    builder->open[builder->depth++] = builder->count - 1;
    return scan_rest(plain, type == TALLY_MAP);
}

static bool scan_value(struct plain *plain)
{
    skip_space(plain);
    if (plain->at == plain->end) {
        return false;
    }
    switch (*plain->at) {
    case '"':
        plain->at++;
        return scan_string(plain);
    case '{':
        return scan_container(plain, TALLY_MAP);
    case '[':
        return scan_container(plain, TALLY_ARRAY);
    case 't':
    case 'f':
        return scan_bool(plain);
    case 'n':
        return scan_null(plain);
    default:
        return scan_number(plain);
    }
}

bool serde_json_plain(struct tally_slice bytes, struct tally_arena *arena,
        const struct tally_token **root)
{
    TALLY_UNINITIALIZED struct serde_builder builder;
    struct plain plain = {.at = bytes.data, .end = bytes.data + bytes.len, .builder = &builder};

    if (bytes.len == 0 || bytes.data[0] != '{' || bytes.len > PLAIN_BYTES_MAX ||
            !serde_text_plain(bytes)) {
        return false;
    }
    serde_builder_init(&builder, arena);
    if (!scan_value(&plain)) {
        return false;
    }
    skip_space(&plain);
    if (plain.at < plain.end) {
        return false;
    }
    *root = serde_builder_finish(&builder);
    return true;
}
