/* engine/base/bytes.h - borrowed byte ranges, bounded growing buffers, big-endian integers. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/error.h"

/* Borrowed bytes; whoever hands one out says how long it lives. data NULL means absent. */
struct tally_slice {
    const uint8_t *data;
    size_t len;
};

#define TALLY_SLICE(literal) \
    ((struct tally_slice){(const uint8_t *)("" literal), sizeof(literal) - 1})
#define TALLY_NONE ((struct tally_slice){NULL, 0})

static inline struct tally_slice tally_slice_of(const void *data, size_t len)
{
    return (struct tally_slice){(const uint8_t *)data, len};
}

static inline struct tally_slice tally_slice_string(const char *text)
{
    return (struct tally_slice){(const uint8_t *)text, text ? strlen(text) : 0};
}

static inline bool tally_slice_equal(struct tally_slice a, struct tally_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool tally_slice_starts(struct tally_slice bytes, struct tally_slice prefix)
{
    return bytes.len >= prefix.len &&
           (prefix.len == 0 || memcmp(bytes.data, prefix.data, prefix.len) == 0);
}

/* Bytewise order, a shorter prefix first: <0, 0, >0. */
static inline int tally_slice_compare(struct tally_slice a, struct tally_slice b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp(a.data, b.data, shorter) : 0;

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* memcpy of what is short and of no fixed length: names, ids, keys. Without loops, of which a
 * compiler would make calls of memcpy again. */
static inline void tally_copy_short(uint8_t *to, const uint8_t *from, size_t len)
{
    if (len > 64) {
        memcpy(to, from, len);
    } else if (len >= 16) {
        memcpy(to, from, 16);
        if (len > 32) {
            memcpy(to + 16, from + 16, 16);
        }
        if (len > 48) {
            memcpy(to + 32, from + 32, 16);
        }
        memcpy(to + len - 16, from + len - 16, 16); /* the rest, some of it again */
    } else if (len >= 8) {
        memcpy(to, from, 8);
        memcpy(to + len - 8, from + len - 8, 8);
    } else if (len >= 4) {
        memcpy(to + len - 4, from + len - 4, 4);
        memcpy(to, from, 4);
    } else if (len > 0) {
        to[0] = from[0];
        to[len / 2] = from[len / 2];
        to[len - 1] = from[len - 1];
    }
}

/* A growing buffer with a maximum. After a failed append `failed` stays set and later appends do
 * nothing, so a writer may check once at its end. */
struct tally_buf {
    uint8_t *data;
    size_t len, capacity, max;
    bool failed; /* an append would have passed max */
};

void tally_buf_init(struct tally_buf *buf, size_t max);
void tally_buf_deinit(struct tally_buf *buf);
static inline void tally_buf_clear(struct tally_buf *buf)
{
    buf->len = 0;
    buf->failed = false;
}
/* Room for size more bytes at the returned address, len not moved; NULL (and failed) over max. */
uint8_t *tally_buf_reserve(struct tally_buf *buf, size_t size);
void tally_buf_append_growing(struct tally_buf *buf, const void *data, size_t len);
/* Inline, so that text of the program itself is copied without calls. */
static inline __attribute__((always_inline)) void tally_buf_append(struct tally_buf *buf,
        const void *data, size_t len)
{
    if (buf->failed || buf->capacity - buf->len <= len) {
        tally_buf_append_growing(buf, data, len);
    } else if (len > 0) {
        memcpy(buf->data + buf->len, data, len);
        buf->len += len;
    }
}
static inline __attribute__((always_inline)) void tally_buf_string(struct tally_buf *buf,
        const char *text)
{
    tally_buf_append(buf, text, strlen(text));
}
void tally_buf_int(struct tally_buf *buf, int64_t value); /* decimal */
#define TALLY_DECIMAL_MAX 20                              /* bytes of an int64_t, with its sign */
size_t tally_put_decimal(uint8_t *to, int64_t value);     /* returns how many bytes it has */
void tally_buf_format(struct tally_buf *buf, const char *format, ...) TALLY_PRINTF(2, 3);
static inline void tally_buf_slice(struct tally_buf *buf, struct tally_slice bytes)
{
    tally_buf_append(buf, bytes.data, bytes.len);
}
static inline void tally_buf_byte(struct tally_buf *buf, uint8_t byte)
{
    tally_buf_append(buf, &byte, 1);
}
static inline struct tally_slice tally_buf_bytes(const struct tally_buf *buf)
{
    return (struct tally_slice){buf->data, buf->len};
}

static inline void tally_put_u16(uint8_t *to, uint16_t value)
{
    value = __builtin_bswap16(value);
    memcpy(to, &value, sizeof value);
}
static inline void tally_put_u32(uint8_t *to, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(to, &value, sizeof value);
}
static inline void tally_put_u64(uint8_t *to, uint64_t value)
{
    value = __builtin_bswap64(value);
    memcpy(to, &value, sizeof value);
}
static inline uint16_t tally_read_u16(const uint8_t *from)
{
    uint16_t value;

    memcpy(&value, from, sizeof value);
    return __builtin_bswap16(value);
}
static inline uint32_t tally_read_u32(const uint8_t *from)
{
    uint32_t value;

    memcpy(&value, from, sizeof value);
    return __builtin_bswap32(value);
}
static inline uint64_t tally_read_u64(const uint8_t *from)
{
    uint64_t value;

    memcpy(&value, from, sizeof value);
    return __builtin_bswap64(value);
}

/* LEB128 varint: at most 10 bytes; signed values through zigzag. `*at` moves; false: cut short. */
size_t tally_put_varint(uint8_t *to, uint64_t value);
static inline void tally_buf_varint(struct tally_buf *buf, uint64_t value)
{
    uint8_t bytes[10];

    tally_buf_append(buf, bytes, tally_put_varint(bytes, value));
}
bool tally_read_varint(struct tally_slice *at, uint64_t *value);
static inline uint64_t tally_zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}
static inline int64_t tally_unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

/* Strict UTF-8 (RFC 3629): no surrogates, no overlong forms; NUL is refused too. */
bool tally_utf8_valid(struct tally_slice text);
/* A decimal int64 that fills the slice, with an optional '-'; false: not one, or out of range. */
bool tally_parse_int(struct tally_slice text, int64_t *value);
/* RFC 3339 in UTC ("Z"), with 0-9 digits of a second (more than 3 are cut) <-> milliseconds since
 * 1970, years 1970-9999. Writing always gives 24 characters, 2026-01-15T10:00:00.004Z. */
bool tally_parse_time(struct tally_slice text, int64_t *time_ms);
#define TALLY_TIME_LEN 24
void tally_format_time(int64_t time_ms, char text[static TALLY_TIME_LEN + 1]);
