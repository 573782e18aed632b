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

static void json_string(struct tally_buf *out, struct tally_slice text)
{
    uint8_t *to = serde_room(out, text.len + 2);
    size_t at = 0;

    if (!to) {
        return;
    }
    to[0] = '"';
    for (; at < text.len && !is_escaped(text.data[at]); at++) {
        to[at + 1] = text.data[at];
    }
    out->len += at + 1;
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

size_t serde_put_decimal(uint8_t *to, int64_t value)
{
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    uint8_t text[SERDE_DECIMAL_MAX];
    size_t at = sizeof text;

    do {
        text[--at] = (uint8_t)('0' + left % 10);
        left /= 10;
    } while (left);
    if (value < 0) {
        text[--at] = '-';
    }
    memcpy(to, text + at, sizeof text - at);
    return sizeof text - at;
}

static void json_int(struct tally_buf *out, int64_t value)
{
    uint8_t *to = serde_room(out, SERDE_DECIMAL_MAX);

    if (to) {
        out->len += serde_put_decimal(to, value);
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

void serde_write_name_json(struct tally_writer *writer, struct tally_slice name)
{
    tally_assert(writer->depth > 0 && writer->level[writer->depth - 1].map &&
                 !writer->level[writer->depth - 1].value_next);
    if (!writer->level[writer->depth - 1].first) {
        put_byte(writer->out, ',');
    }
    writer->level[writer->depth - 1].first = false;
    writer->level[writer->depth - 1].value_next = true;
    json_string(writer->out, name);
    put_byte(writer->out, ':');
}

void tally_write_name(struct tally_writer *writer, const char *name)
{
    serde_write_name(writer, tally_slice_string(name));
}

void tally_write_string(struct tally_writer *writer, struct tally_slice text)
{
    if (writer->format == TALLY_FORMAT_JSON) {
        json_before(writer);
        json_string(writer->out, text);
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
                serde_write_name(&inner, token->string);
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
