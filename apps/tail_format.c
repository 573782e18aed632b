/* apps/tail_format.c - see the header. Tokens and escapes are kcat's:
 *   %t topic  %p partition  %o offset  %k key  %K its size  %s payload  %S its size
 *   %T timestamp in ms  %h headers  %% percent   \n \r \t \xNN
 * A null key or payload has size -1. */
#include "apps/tail_format.h"

#include <stdlib.h>

#include "schemas/serde.h"

#define TEXT_MAX (16 * 1024 * 1024)

static bool is_msgpack_map(struct tally_slice value)
{
    return value.len > 0 &&
           ((value.data[0] & 0xf0) == 0x80 || value.data[0] == 0xde || value.data[0] == 0xdf);
}

/* The payload as it is shown: JSON text in the arena, or the bytes themselves. */
static struct tally_slice shown_payload(const struct tail_format *format, struct tally_slice value,
        struct tally_arena *arena)
{
    const struct tally_token *root;
    enum tally_refusal refusal;
    struct tally_error err;
    struct tally_slice text;
    struct tally_buf json;

    if (format->raw || !is_msgpack_map(value) ||
            tally_document_parse(value, arena, &root, &refusal, &err) != TALLY_OK) {
        return value;
    }
    tally_buf_init(&json, TEXT_MAX);
    tally_token_write(root, TALLY_FORMAT_JSON, &json);
    text = json.failed ? value : tally_arena_copy(arena, tally_buf_bytes(&json));
    tally_buf_deinit(&json);
    return text;
}

static void put_bytes(const struct tail_format *format, struct tally_slice bytes,
        struct tally_buf *out)
{
    if (bytes.data) {
        tally_buf_slice(out, bytes);
    } else if (format->nulls) {
        tally_buf_string(out, "NULL");
    }
}

static void put_headers(const struct tail_record *record, struct tally_buf *out)
{
    for (size_t i = 0; i < record->header_count; i++) {
        const struct tally_header *header = &record->headers[i];

        tally_buf_string(out, i ? "," : "");
        tally_buf_slice(out, header->name);
        tally_buf_byte(out, '=');
        if (header->value.data) {
            tally_buf_slice(out, header->value);
        } else {
            tally_buf_string(out, "NULL");
        }
    }
}

/* The byte that an escape stands for; *at moves to its last character. */
static uint8_t escaped(const char **at)
{
    char digits[3] = "";
    char *end;
    unsigned long value;

    switch (**at) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'x':
        digits[0] = (*at)[1];
        digits[1] = digits[0] ? (*at)[2] : '\0';
        value = strtoul(digits, &end, 16);
        *at += end - digits;
        return (uint8_t)value;
    default:
        return (uint8_t) * *at;
    }
}

static void put_token(const struct tail_format *format, const struct tail_record *record,
        struct tally_slice payload, char token, struct tally_buf *out)
{
    const struct tally_record *of = record->record;

    switch (token) {
    case 't':
        tally_buf_string(out, of->topic);
        break;
    case 'p':
        tally_buf_format(out, "%d", (int)of->partition);
        break;
    case 'o':
        tally_buf_format(out, "%lld", (long long)of->offset);
        break;
    case 'k':
        put_bytes(format, of->key, out);
        break;
    case 'K':
        tally_buf_format(out, "%lld", of->key.data ? (long long)of->key.len : -1LL);
        break;
    case 's':
        put_bytes(format, payload, out);
        break;
    case 'S':
        tally_buf_format(out, "%lld", payload.data ? (long long)payload.len : -1LL);
        break;
    case 'T':
        tally_buf_format(out, "%lld", (long long)of->timestamp_ms);
        break;
    case 'h':
        put_headers(record, out);
        break;
    default:
        tally_buf_byte(out, (uint8_t)token);
    }
}

static void put_format(const struct tail_format *format, const struct tail_record *record,
        struct tally_slice payload, const char *text, struct tally_buf *out)
{
    for (const char *at = text; *at; at++) {
        if (*at == '\\' && at[1]) {
            at++;
            tally_buf_byte(out, escaped(&at));
        } else if (*at == '%' && at[1]) {
            at++;
            put_token(format, record, payload, *at, out);
        } else {
            tally_buf_byte(out, (uint8_t)*at);
        }
    }
}

char tail_format_unknown(const char *text)
{
    for (; text && *text; text++) {
        if (*text == '\\' && text[1]) {
            text++;
        } else if (*text == '%') {
            text++;
            if (!*text || !strchr("tpokKsSTh%", *text)) {
                return *text ? *text : '%';
            }
        }
    }
    return '\0';
}

/* JSON text must be UTF-8: what is not becomes U+FFFD, byte by byte. */
struct tally_slice tail_format_text(struct tally_slice bytes, struct tally_arena *arena)
{
    struct tally_slice text;
    struct tally_buf buf;
    size_t at = 0;

    if (tally_utf8_valid(bytes)) {
        return bytes;
    }
    tally_buf_init(&buf, TEXT_MAX);
    while (at < bytes.len) {
        size_t len = 1;

        while (len <= 4 && at + len <= bytes.len &&
                !tally_utf8_valid(tally_slice_of(bytes.data + at, len))) {
            len++;
        }
        if (bytes.data[at] == 0) {
            tally_buf_byte(&buf, 0);
            at++;
        } else if (len > 4 || at + len > bytes.len) {
            tally_buf_string(&buf, "\xef\xbf\xbd");
            at++;
        } else {
            tally_buf_append(&buf, bytes.data + at, len);
            at += len;
        }
    }
    text = tally_arena_copy(arena, tally_buf_bytes(&buf));
    tally_buf_deinit(&buf);
    return text;
}

static void write_text(struct tally_writer *writer, struct tally_slice bytes,
        struct tally_arena *arena)
{
    if (bytes.data) {
        tally_write_string(writer, tail_format_text(bytes, arena));
    } else {
        tally_write_null(writer);
    }
}

static void put_envelope(const struct tail_record *record, struct tally_slice payload,
        struct tally_arena *arena, struct tally_buf *out)
{
    const struct tally_record *of = record->record;
    struct tally_writer writer;

    tally_write_begin(&writer, out, TALLY_FORMAT_JSON);
    tally_write_map(&writer, record->header_count ? 9 : 8);
    tally_write_name(&writer, "topic");
    tally_write_string(&writer, tally_slice_string(of->topic));
    tally_write_name(&writer, "partition");
    tally_write_int(&writer, of->partition);
    tally_write_name(&writer, "offset");
    tally_write_int(&writer, of->offset);
    tally_write_name(&writer, "tstype");
    tally_write_string(&writer, tally_slice_string(record->timestamp_type));
    tally_write_name(&writer, "ts");
    tally_write_int(&writer, of->timestamp_ms);
    tally_write_name(&writer, "broker");
    tally_write_int(&writer, record->broker);
    if (record->header_count) {
        tally_write_name(&writer, "headers");
        tally_write_array(&writer, (uint32_t)(2 * record->header_count));
        for (size_t i = 0; i < record->header_count; i++) {
            write_text(&writer, record->headers[i].name, arena);
            write_text(&writer, record->headers[i].value, arena);
        }
    }
    tally_write_name(&writer, "key");
    write_text(&writer, of->key, arena);
    tally_write_name(&writer, "payload");
    write_text(&writer, payload, arena);
    tally_buf_byte(out, '\n');
}

void tail_format_record(const struct tail_format *format, const struct tail_record *record,
        struct tally_arena *arena, struct tally_buf *out)
{
    struct tally_slice payload;

    tally_arena_reset(arena, 1024 * 1024);
    payload = shown_payload(format, record->record->value, arena);
    if (format->json) {
        put_envelope(record, payload, arena, out);
        return;
    }
    if (format->format) {
        put_format(format, record, payload, format->format, out);
        return;
    }
    if (format->key_delimiter) {
        put_bytes(format, record->record->key, out);
        put_format(format, record, payload, format->key_delimiter, out);
    }
    put_bytes(format, payload, out);
    put_format(format, record, payload, format->record_delimiter, out);
}
