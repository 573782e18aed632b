/* schemas/writer.c - documents out: JSON and MessagePack behind one interface, by hand or by
 * schema. Invariants (1) The same calls give the same bytes; nothing depends on addresses or on
 * earlier documents. (2) A container ends by itself when its announced members are written;
 * announcing wrongly is a bug and asserts in JSON. (3) After the buffer's maximum is passed,
 * writing goes on without effect; the caller checks `failed` once. */
#include "schemas/serde_internal.h"

void tally_write_begin(struct tally_writer *writer, struct tally_buf *out, enum tally_format format)
{
    writer->out = out;
    writer->format = format;
    writer->depth = 0;
}

static void put_byte(struct tally_buf *out, uint8_t byte)
{
    uint8_t *to = serde_room(out, 1);

    if (to) {
        *to = byte;
        out->len++;
    }
}

/* What stands before a value in JSON: a comma between items. */
static void json_before(struct tally_writer *writer)
{
    if (writer->depth == 0) {
        return;
    }
    tally_assert(writer->level[writer->depth - 1].left > 0);
    if (writer->level[writer->depth - 1].map) {
        tally_assert(writer->level[writer->depth - 1].value_next);
        return;
    }
    if (!writer->level[writer->depth - 1].first) {
        put_byte(writer->out, ',');
    }
    writer->level[writer->depth - 1].first = false;
}

/* Ends every container whose last value was just written; each is a value of the one around it. */
static void json_after(struct tally_writer *writer)
{
    while (writer->depth > 0) {
        writer->level[writer->depth - 1].value_next = false;
        if (--writer->level[writer->depth - 1].left > 0) {
            return;
        }
        put_byte(writer->out, writer->level[writer->depth - 1].map ? '}' : ']');
        writer->depth--;
    }
}

static void json_open(struct tally_writer *writer, bool map, uint32_t count)
{
    json_before(writer);
    if (count == 0) {
        tally_buf_string(writer->out, map ? "{}" : "[]");
        json_after(writer);
        return;
    }
    tally_assert(writer->depth < sizeof writer->level / sizeof writer->level[0]);
    put_byte(writer->out, map ? '{' : '[');
    writer->level[writer->depth].left = count;
    writer->level[writer->depth].map = map;
    writer->level[writer->depth].first = true;
    writer->level[writer->depth].value_next = false;
    writer->depth++;
}

/* Control characters have no other form in JSON than an escape. */
static void json_escape(struct tally_buf *out, uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t text[6] = {'\\', byte};
    size_t len = 2;

    switch (byte) {
    case '"':
    case '\\':
        break;
    case '\n':
        text[1] = 'n';
        break;
    case '\r':
        text[1] = 'r';
        break;
    case '\t':
        text[1] = 't';
        break;
    default:
        memcpy(text + 1, "u00", 3);
        text[4] = (uint8_t)digits[byte >> 4];
        text[5] = (uint8_t)digits[byte & 15];
        len = 6;
        break;
    }
    tally_buf_append(out, text, len);
}

static bool is_escaped(uint8_t byte)
{
    return byte < 0x20 || byte == '"' || byte == '\\';
}

/* Whether any of eight bytes is: below 0x20, or made zero by the sign's bits. */
static bool has_escaped(uint64_t word)
{
    const uint64_t high = UINT64_C(0x8080808080808080), one = UINT64_C(0x0101010101010101);
    uint64_t quote = word ^ one * '"', slash = word ^ one * '\\';

    return (((word - one * 0x20) & ~word) | ((quote - one) & ~quote) | ((slash - one) & ~slash)) &
           high;
}

static bool is_plain(struct tally_slice text)
{
    uint64_t word;
    uint32_t first, last;
    size_t at = 0;

    if (text.len < 4) {
        while (at < text.len && !is_escaped(text.data[at])) {
            at++;
        }
        return at == text.len;
    }
    if (text.len < 8) {
        memcpy(&first, text.data, 4);
        memcpy(&last, text.data + text.len - 4, 4);
        return !has_escaped((uint64_t)first << 32 | last);
    }
    for (; at + 8 <= text.len; at += 8) {
        memcpy(&word, text.data + at, 8);
        if (has_escaped(word)) {
            return false;
        }
    }
    memcpy(&word, text.data + text.len - 8, 8); /* the rest, some of it again */
    return !has_escaped(word);
}

static void json_escaped(struct tally_buf *out, struct tally_slice text)
{
    size_t at = 0;

    put_byte(out, '"');
    while (at < text.len) {
        size_t from = at;

        for (; at < text.len && !is_escaped(text.data[at]); at++) {
        }
        if (at > from) {
            tally_buf_append(out, text.data + from, at - from);
        }
        if (at < text.len) {
            json_escape(out, text.data[at++]);
        }
    }
    put_byte(out, '"');
}

/* Text in quotes that needs no escapes, between these two; 0: neither. */
static inline void json_plain(struct tally_buf *out, uint8_t before, struct tally_slice text,
        uint8_t behind)
{
    uint8_t *to = serde_room(out, text.len + 2 + (before != 0) + (behind != 0));

    if (!to) {
        return;
    }
    if (before) {
        *to++ = before;
    }
    *to++ = '"';
    tally_copy_short(to, text.data, text.len);
    to += text.len;
    *to++ = '"';
    if (behind) {
        *to++ = behind;
    }
    out->len = (size_t)(to - out->data);
}

static void json_string(struct tally_buf *out, uint8_t before, struct tally_slice text,
        uint8_t behind)
{
    if (is_plain(text)) {
        json_plain(out, before, text, behind);
        return;
    }
    if (before) {
        put_byte(out, before);
    }
    json_escaped(out, text);
    if (behind) {
        put_byte(out, behind);
    }
}

static void json_int(struct tally_buf *out, int64_t value)
{
    uint8_t *to = serde_room(out, TALLY_DECIMAL_MAX);

    if (to) {
        out->len += tally_put_decimal(to, value);
    }
}

/* --- values
 * ---------------------------------------------------------------------------------------- */

void tally_write_map(struct tally_writer *writer, uint32_t members)
{
    uint8_t *to;

    if (writer->format == TALLY_FORMAT_JSON) {
        json_open(writer, true, members);
        return;
    }
    to = serde_room(writer->out, SERDE_HEAD_MAX);
    if (to) {
        writer->out->len += serde_put_map(to, members);
    }
}

void tally_write_array(struct tally_writer *writer, uint32_t items)
{
    uint8_t *to;

    if (writer->format == TALLY_FORMAT_JSON) {
        json_open(writer, false, items);
        return;
    }
    to = serde_room(writer->out, SERDE_HEAD_MAX);
    if (to) {
        writer->out->len += serde_put_array(to, items);
    }
}

static void msgpack_string(struct tally_buf *out, struct tally_slice text)
{
    uint8_t *to = serde_room(out, SERDE_HEAD_MAX + text.len);

    if (to) {
        out->len += serde_put_string(to, text.data, text.len);
    }
}

/* What stands before a name. */
static uint8_t begin_name(struct tally_writer *writer)
{
    bool first;

    tally_assert(writer->depth > 0 && writer->level[writer->depth - 1].map &&
                 !writer->level[writer->depth - 1].value_next);
    first = writer->level[writer->depth - 1].first;
    writer->level[writer->depth - 1].first = false;
    writer->level[writer->depth - 1].value_next = true;
    return first ? 0 : ',';
}

void serde_write_name_json(struct tally_writer *writer, struct tally_slice name)
{
    json_plain(writer->out, begin_name(writer), name, ':');
}

/* Names may come from anybody's document. */
static void write_name(struct tally_writer *writer, struct tally_slice name)
{
    if (writer->format == TALLY_FORMAT_JSON) {
        json_string(writer->out, begin_name(writer), name, ':');
    } else {
        serde_write_name(writer, name);
    }
}

void tally_write_name(struct tally_writer *writer, const char *name)
{
    write_name(writer, tally_slice_string(name));
}

void tally_write_string(struct tally_writer *writer, struct tally_slice text)
{
    if (writer->format == TALLY_FORMAT_JSON) {
        json_before(writer);
        json_string(writer->out, 0, text, 0);
        json_after(writer);
        return;
    }
    msgpack_string(writer->out, text);
}

void tally_write_int(struct tally_writer *writer, int64_t value)
{
    uint8_t *to;

    if (writer->format == TALLY_FORMAT_JSON) {
        json_before(writer);
        json_int(writer->out, value);
        json_after(writer);
        return;
    }
    to = serde_room(writer->out, SERDE_HEAD_MAX);
    if (to) {
        writer->out->len += serde_put_int(to, value);
    }
}

/* A member, behind what `before` is: its name in quotes, a colon, and the number. */
static inline uint8_t *put_member(uint8_t *to, uint8_t before, struct tally_slice name,
        int64_t value)
{
    *to = before;
    to += before != 0;
    *to++ = '"';
    tally_copy_short(to, name.data, name.len);
    to += name.len;
    *to++ = '"';
    *to++ = ':';
    if (value >= 0 && value <= 9) { /* most are 0 */
        *to++ = (uint8_t)('0' + value);
        return to;
    }
    return to + tally_put_decimal(to, value);
}

/* In JSON with one look at the state, and at the room, for all. */
static void json_ints(struct tally_writer *writer, const struct tally_slice *names,
        const int64_t *values, size_t count)
{
    uint8_t before = begin_name(writer), *to;
    size_t size = 0;

    tally_assert(writer->level[writer->depth - 1].left >= count);
    for (size_t i = 0; i < count; i++) {
        size += names[i].len + strlen(",\"\":") + TALLY_DECIMAL_MAX;
    }
    to = serde_room(writer->out, size);
    for (size_t i = 0; to && i < count; i++) {
        to = put_member(to, before, names[i], values[i]);
        before = ',';
    }
    if (to) {
        writer->out->len = (size_t)(to - writer->out->data);
    }
    writer->level[writer->depth - 1].left -= (uint32_t)count - 1;
    json_after(writer);
}

void serde_write_ints(struct tally_writer *writer, const struct tally_slice *names,
        const int64_t *values, size_t count)
{
    if (writer->format == TALLY_FORMAT_JSON && count > 0) {
        json_ints(writer, names, values, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        serde_write_name(writer, names[i]);
        tally_write_int(writer, values[i]);
    }
}

static void write_word(struct tally_writer *writer, const char *json, uint8_t msgpack)
{
    if (writer->format == TALLY_FORMAT_JSON) {
        json_before(writer);
        tally_buf_string(writer->out, json);
        json_after(writer);
        return;
    }
    put_byte(writer->out, msgpack);
}

void tally_write_bool(struct tally_writer *writer, bool value)
{
    write_word(writer, value ? "true" : "false", value ? 0xc3 : 0xc2);
}

void tally_write_null(struct tally_writer *writer)
{
    write_word(writer, "null", 0xc0);
}

void tally_write_time(struct tally_writer *writer, int64_t time_ms)
{
    char text[TALLY_TIME_LEN + 1];

    tally_format_time(time_ms, text);
    tally_write_string(writer, tally_slice_of(text, TALLY_TIME_LEN));
}

void tally_write_raw(struct tally_writer *writer, struct tally_slice encoded)
{
    if (writer->format == TALLY_FORMAT_JSON) {
        json_before(writer);
        tally_buf_slice(writer->out, encoded);
        json_after(writer);
        return;
    }
    tally_buf_slice(writer->out, encoded);
}

/* Tokens are in the order of the bytes; only JSON has to be told where names stand. The inner
 * writer has levels of its own, so that a deep value fits at any depth of the outer one. */
static void json_tokens(struct tally_buf *out, const struct tally_token *root)
{
    struct tally_writer inner;

    tally_write_begin(&inner, out, TALLY_FORMAT_JSON);
    for (uint32_t i = 0; i < root->skip; i++) {
        const struct tally_token *token = &root[i];
        bool in_map = inner.depth > 0 && inner.level[inner.depth - 1].map;

        switch ((enum tally_token_type)token->type) {
        case TALLY_NULL:
            tally_write_null(&inner);
            break;
        case TALLY_BOOL:
            tally_write_bool(&inner, token->integer != 0);
            break;
        case TALLY_INT:
            tally_write_int(&inner, token->integer);
            break;
        case TALLY_STRING:
            if (in_map && !inner.level[inner.depth - 1].value_next) {
                write_name(&inner, token->string);
            } else {
                tally_write_string(&inner, token->string);
            }
            break;
        case TALLY_ARRAY:
            tally_write_array(&inner, token->count);
            break;
        case TALLY_MAP:
            tally_write_map(&inner, token->count);
            break;
        }
    }
}

void tally_token_write(const struct tally_token *token, enum tally_format format,
        struct tally_buf *out)
{
    uint8_t *to;

    if (format == TALLY_FORMAT_JSON) {
        json_tokens(out, token);
        return;
    }
    to = serde_room(out, serde_msgpack_bound(token));
    if (to) {
        out->len += (size_t)(serde_msgpack_put(to, token) - to);
    }
}

void tally_write_token(struct tally_writer *writer, const struct tally_token *token)
{
    if (writer->format == TALLY_FORMAT_JSON) {
        json_before(writer);
        json_tokens(writer->out, token);
        json_after(writer);
        return;
    }
    tally_token_write(token, TALLY_FORMAT_MSGPACK, writer->out);
}
