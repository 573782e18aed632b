/* schemas/serde_msgpack.c - MessagePack to tokens and back.
 * Invariants
 *  (1) Every length and count is checked against the bytes that are left, and counts against the
 *      limit of elements, before anything is stored for them.
 *  (2) One value fills the bytes. Names are strings. There is no float (BAD_NUMBER, as in JSON), no
 *      bin, no ext, no int outside int64.
 *  (3) Writing uses the shortest form of everything, integers from 0 up unsigned.
 * The scan checks every bound itself, so no second parser stands behind it. */
#include <inttypes.h>

#include "schemas/serde_internal.h"

struct scan {
    const uint8_t *begin, *at, *end;
    struct serde_builder builder;
    uint32_t left[TALLY_DOCUMENT_DEPTH_MAX]; /* values still to come, names included */
    enum tally_refusal *refusal;
    struct tally_error *err;
};

static size_t offset_of(const struct scan *scan)
{
    return (size_t)(scan->at - scan->begin);
}

/* The length of `width` big-endian bytes after the type byte; moves behind it. */
static enum tally_code read_unsigned(struct scan *scan, size_t width, uint64_t *value)
{
    if ((size_t)(scan->end - scan->at) <= width) {
        return serde_refuse(scan->refusal, TALLY_REFUSAL_MALFORMED_MSGPACK, scan->err,
                "MessagePack ends early in the value at byte %zu", offset_of(scan));
    }
    *value = 0;
    for (size_t i = 1; i <= width; i++) {
        *value = *value << 8 | scan->at[i];
    }
    scan->at += 1 + width;
    return TALLY_OK;
}

static enum tally_code add_string(struct scan *scan, uint64_t len)
{
    struct tally_token *token;
    struct tally_slice text;

    if (len > (uint64_t)(scan->end - scan->at)) {
        return serde_refuse(scan->refusal, TALLY_REFUSAL_MALFORMED_MSGPACK, scan->err,
                "MessagePack string before byte %zu asks for %" PRIu64 " bytes, %zu are left",
                offset_of(scan), len, (size_t)(scan->end - scan->at));
    }
    text = tally_slice_of(scan->at, (size_t)len);
    if (!serde_text_plain(text) && !tally_utf8_valid(text)) {
        return serde_refuse(scan->refusal, TALLY_REFUSAL_INVALID_UTF8, scan->err,
                "string at byte %zu is not UTF-8 or holds NUL", offset_of(scan));
    }
    token = serde_builder_add(&scan->builder, TALLY_STRING);
    token->string = text;
    scan->at += len;
    return TALLY_OK;
}

static enum tally_code add_int(struct scan *scan, size_t width, bool is_signed)
{
    size_t offset = offset_of(scan);
    uint64_t value = 0;
    enum tally_code code = read_unsigned(scan, width, &value);

    if (code) {
        return code;
    }
    if (!is_signed && value > INT64_MAX) {
        return serde_refuse(scan->refusal, TALLY_REFUSAL_BAD_NUMBER, scan->err,
                "number %" PRIu64 " at byte %zu is no int64", value, offset);
    }
    if (is_signed && width < 8 && (value >> (8 * width - 1)) & 1) {
        value |= UINT64_MAX << (8 * width);
    }
    serde_builder_add(&scan->builder, TALLY_INT)->integer = (int64_t)value;
    return TALLY_OK;
}

/* Opens a container; its members and items follow. */
static enum tally_code add_container(struct scan *scan, enum tally_token_type type, uint64_t count)
{
    struct serde_builder *builder = &scan->builder;
    uint64_t values = type == TALLY_MAP ? 2 * count : count;
    struct tally_token *token;

    if (builder->depth == TALLY_DOCUMENT_DEPTH_MAX) {
        return serde_refuse(scan->refusal, TALLY_REFUSAL_OVER_LIMIT, scan->err,
                "nesting before byte %zu is deeper than %d", offset_of(scan),
                TALLY_DOCUMENT_DEPTH_MAX);
    }
    if (values > (uint64_t)(scan->end - scan->at)) {
        return serde_refuse(scan->refusal, TALLY_REFUSAL_MALFORMED_MSGPACK, scan->err,
                "MessagePack asks for %" PRIu64 " values before byte %zu, %zu bytes are left",
                values, offset_of(scan), (size_t)(scan->end - scan->at));
    }
    if (builder->elements + count > TALLY_DOCUMENT_ELEMENTS_MAX) {
        return serde_refuse(scan->refusal, TALLY_REFUSAL_OVER_LIMIT, scan->err,
                "more than %d elements before byte %zu", TALLY_DOCUMENT_ELEMENTS_MAX,
                offset_of(scan));
    }
    builder->elements += (uint32_t)count;
    token = serde_builder_add(builder, type);
    token->count = (uint32_t)count;
    scan->left[builder->depth] = (uint32_t)values;
    builder->open[builder->depth++] = builder->count - 1;
    return TALLY_OK;
}

/* Type bytes from 0xc0 to 0xdf. */
static enum tally_code read_typed(struct scan *scan, uint8_t type)
{
    size_t offset = offset_of(scan);
    uint64_t length = 0;
    enum tally_code code = TALLY_OK;

    switch (type) {
    case 0xc0:
        scan->at++;
        (void)serde_builder_add(&scan->builder, TALLY_NULL);
        return TALLY_OK;
    case 0xc2:
    case 0xc3:
        scan->at++;
        serde_builder_add(&scan->builder, TALLY_BOOL)->integer = type & 1;
        return TALLY_OK;
    case 0xca:
    case 0xcb:
        return serde_refuse(scan->refusal, TALLY_REFUSAL_BAD_NUMBER, scan->err, "float at byte %zu",
                offset);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        return add_int(scan, (size_t)1 << (type - 0xcc), false);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        return add_int(scan, (size_t)1 << (type - 0xd0), true);
    case 0xd9:
    case 0xda:
    case 0xdb:
        code = read_unsigned(scan, (size_t)1 << (type - 0xd9), &length);
        return code ? code : add_string(scan, length);
    case 0xdc:
    case 0xdd:
        code = read_unsigned(scan, type == 0xdc ? 2 : 4, &length);
        return code ? code : add_container(scan, TALLY_ARRAY, length);
    case 0xde:
    case 0xdf:
        code = read_unsigned(scan, type == 0xde ? 2 : 4, &length);
        return code ? code : add_container(scan, TALLY_MAP, length);
    default: /* bin, ext, and 0xc1, which MessagePack never uses */
        return serde_refuse(scan->refusal, TALLY_REFUSAL_MALFORMED_MSGPACK, scan->err,
                "MessagePack type 0x%02x at byte %zu is not accepted", type, offset);
    }
}

static enum tally_code read_value(struct scan *scan)
{
    uint8_t type = *scan->at;

    if (type >= 0xa0 && type <= 0xbf) {
        scan->at++;
        return add_string(scan, type & 0x1f);
    }
    if (type <= 0x7f || type >= 0xe0) {
        scan->at++;
        serde_builder_add(&scan->builder, TALLY_INT)->integer = (int8_t)type;
        return TALLY_OK;
    }
    if (type <= 0x8f) {
        scan->at++;
        return add_container(scan, TALLY_MAP, type & 0x0f);
    }
    if (type <= 0x9f) {
        scan->at++;
        return add_container(scan, TALLY_ARRAY, type & 0x0f);
    }
    return read_typed(scan, type);
}

/* Ends every container whose last value was just read. */
static enum tally_code close_full(struct scan *scan)
{
    while (scan->builder.depth > 0 && scan->left[scan->builder.depth - 1] == 0) {
        struct tally_slice twice = serde_builder_close(&scan->builder);

        if (twice.data) {
            return serde_refuse(scan->refusal, TALLY_REFUSAL_DUPLICATE_FIELD, scan->err,
                    "member \"%.*s\" stands twice in the map that ends at byte %zu",
                    twice.len < 64 ? (int)twice.len : 64, (const char *)twice.data,
                    offset_of(scan));
        }
    }
    return TALLY_OK;
}

/* One value of the innermost container, or the document's root. */
static enum tally_code read_next(struct scan *scan)
{
    uint32_t depth = scan->builder.depth;
    bool name = false;
    size_t offset = offset_of(scan);
    enum tally_code code;

    if (scan->at == scan->end) {
        return serde_refuse(scan->refusal, TALLY_REFUSAL_MALFORMED_MSGPACK, scan->err,
                "MessagePack ends early at byte %zu", offset);
    }
    if (depth > 0) {
        const struct tally_token *container = &scan->builder.tokens[scan->builder.open[depth - 1]];

        name = container->type == TALLY_MAP && scan->left[depth - 1] % 2 == 0;
        scan->left[depth - 1]--;
    }
    code = read_value(scan);
    if (code) {
        return code;
    }
    if (name && scan->builder.tokens[scan->builder.count - 1].type != TALLY_STRING) {
        return serde_refuse(scan->refusal, TALLY_REFUSAL_MALFORMED_MSGPACK, scan->err,
                "name of a member at byte %zu is no string", offset);
    }
    return close_full(scan);
}

enum tally_code serde_msgpack_parse(struct tally_slice bytes, struct tally_arena *arena,
        const struct tally_token **root, enum tally_refusal *refusal, struct tally_error *err)
{
    struct scan scan;
    enum tally_code code;

    scan.begin = scan.at = bytes.data;
    scan.end = bytes.data + bytes.len;
    scan.refusal = refusal;
    scan.err = err;
    serde_builder_init(&scan.builder, arena);
    do {
        code = read_next(&scan);
        if (code) {
            return code;
        }
    } while (scan.builder.depth > 0);
    if (scan.at != scan.end) {
        return serde_refuse(refusal, TALLY_REFUSAL_MALFORMED_MSGPACK, err,
                "%zu bytes follow the MessagePack value that ends at byte %zu",
                (size_t)(scan.end - scan.at), offset_of(&scan));
    }
    *root = serde_builder_finish(&scan.builder);
    return TALLY_OK;
}

/* --- writing
 * --------------------------------------------------------------------------------------- */

static size_t put_signed(uint8_t *to, int64_t value)
{
    if (value >= -32) {
        to[0] = (uint8_t)value;
        return 1;
    }
    if (value >= INT8_MIN) {
        to[0] = 0xd0;
        to[1] = (uint8_t)value;
        return 2;
    }
    if (value >= INT16_MIN) {
        to[0] = 0xd1;
        tally_put_u16(to + 1, (uint16_t)value);
        return 3;
    }
    if (value >= INT32_MIN) {
        to[0] = 0xd2;
        tally_put_u32(to + 1, (uint32_t)value);
        return 5;
    }
    to[0] = 0xd3;
    tally_put_u64(to + 1, (uint64_t)value);
    return 9;
}

size_t serde_put_int(uint8_t *to, int64_t value)
{
    if (value < 0) {
        return put_signed(to, value);
    }
    if (value <= 0x7f) {
        to[0] = (uint8_t)value;
        return 1;
    }
    if (value <= UINT8_MAX) {
        to[0] = 0xcc;
        to[1] = (uint8_t)value;
        return 2;
    }
    if (value <= UINT16_MAX) {
        to[0] = 0xcd;
        tally_put_u16(to + 1, (uint16_t)value);
        return 3;
    }
    if (value <= UINT32_MAX) {
        to[0] = 0xce;
        tally_put_u32(to + 1, (uint32_t)value);
        return 5;
    }
    to[0] = 0xcf;
    tally_put_u64(to + 1, (uint64_t)value);
    return 9;
}

size_t serde_msgpack_bound(const struct tally_token *token)
{
    size_t size = 0;

    for (uint32_t i = 0; i < token->skip; i++) {
        size += SERDE_HEAD_MAX + (token[i].type == TALLY_STRING ? token[i].string.len : 0);
    }
    return size;
}

/* The tokens are in the order of the bytes, so no recursion is needed. */
uint8_t *serde_msgpack_put(uint8_t *to, const struct tally_token *token)
{
    for (uint32_t i = 0; i < token->skip; i++) {
        switch ((enum tally_token_type)token[i].type) {
        case TALLY_NULL:
            *to++ = 0xc0;
            break;
        case TALLY_BOOL:
            *to++ = token[i].integer ? 0xc3 : 0xc2;
            break;
        case TALLY_INT:
            to += serde_put_int(to, token[i].integer);
            break;
        case TALLY_STRING:
            to += serde_put_string(to, token[i].string.data, token[i].string.len);
            break;
        case TALLY_ARRAY:
            to += serde_put_array(to, token[i].count);
            break;
        case TALLY_MAP:
            to += serde_put_map(to, token[i].count);
            break;
        }
    }
    return to;
}
