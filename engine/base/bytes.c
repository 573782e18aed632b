/* engine/base/bytes.c - bounded buffers, varints, UTF-8, decimal numbers and times.
 * Invariants
 *  (1) A buffer's len never passes its max, and nothing is appended after a failure, so the bytes
 *      of a failed buffer are a prefix of what was meant.
 *  (2) Parsing takes the whole slice or refuses it. */
#include "engine/base/bytes.h"

#include <stdarg.h>
#include <stdio.h>

#include "engine/base/bytes_internal.h"
#include "engine/base/mem.h"

#define CAPACITY_MIN 64u
#define DAY_LEN      10 /* "2026-01-15" */
#define DAY_MS       INT64_C(86400000)
#define TIME_MS_MAX  INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */

void tally_buf_init(struct tally_buf *buf, size_t max)
{
    *buf = (struct tally_buf){.max = max};
}

void tally_buf_deinit(struct tally_buf *buf)
{
    tally_free(buf->data);
    tally_buf_init(buf, buf->max);
}

uint8_t *tally_buf_reserve(struct tally_buf *buf, size_t size)
{
    size_t capacity;

    if (buf->failed || size > buf->max - buf->len) {
        buf->failed = true;
        return NULL;
    }
    if (size > buf->capacity - buf->len || !buf->data) {
        capacity = buf->capacity > buf->max / 2 ? buf->max : buf->capacity * 2;
        if (capacity < buf->len + size) {
            capacity = buf->len + size;
        }
        if (capacity < CAPACITY_MIN) {
            capacity = buf->max < CAPACITY_MIN ? buf->max : CAPACITY_MIN;
        }
        buf->data = tally_realloc(buf->data, capacity);
        buf->capacity = capacity;
    }
    return buf->data + buf->len;
}

void tally_buf_append_growing(struct tally_buf *buf, const void *data, size_t len)
{
    uint8_t *to = tally_buf_reserve(buf, len);

    if (to && len) {
        memcpy(to, data, len);
        buf->len += len;
    }
}

static const char pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
        "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
        "8081828384858687888990919293949596979899";

static size_t digits_of(uint64_t value)
{
    uint64_t limit = 10;
    size_t count = 1;

    while (count < 20 && value >= limit) {
        limit *= 10;
        count++;
    }
    return count;
}

size_t tally_put_decimal(uint8_t *to, int64_t value)
{
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    size_t len = digits_of(left) + (value < 0);
    uint8_t *at = to + len;

    while (left >= 100) {
        at -= 2;
        memcpy(at, pairs + 2 * (left % 100), 2);
        left /= 100;
    }
    if (left >= 10) {
        memcpy(at - 2, pairs + 2 * left, 2);
    } else {
        at[-1] = (uint8_t)('0' + left);
    }
    if (value < 0) {
        to[0] = '-';
    }
    return len;
}

void tally_buf_int(struct tally_buf *buf, int64_t value)
{
    uint8_t text[TALLY_DECIMAL_MAX];

    if (!buf->failed && buf->capacity - buf->len >= TALLY_DECIMAL_MAX) {
        buf->len += tally_put_decimal(buf->data + buf->len, value);
    } else {
        tally_buf_append(buf, text, tally_put_decimal(text, value));
    }
}

void tally_buf_format(struct tally_buf *buf, const char *format, ...)
{
    va_list arguments;
    char *text;
    size_t room;
    int len;

    if (!tally_buf_reserve(buf, 0)) {
        return;
    }
    room = buf->capacity - buf->len;
    va_start(arguments, format);
    len = vsnprintf((char *)buf->data + buf->len, room, format, arguments);
    va_end(arguments);
    tally_assert(len >= 0);
    if ((size_t)len >= room) { /* vsnprintf wants a byte for its NUL, which may not exist at max */
        text = tally_alloc((size_t)len + 1);
        va_start(arguments, format);
        (void)vsnprintf(text, (size_t)len + 1, format, arguments);
        va_end(arguments);
        tally_buf_append(buf, text, (size_t)len);
        tally_free(text);
        return;
    }
    buf->len += (size_t)len;
}

size_t tally_put_varint(uint8_t *to, uint64_t value)
{
    size_t len = 0;

    while (value >= 0x80) {
        to[len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    to[len++] = (uint8_t)value;
    return len;
}

bool tally_read_varint(struct tally_slice *at, uint64_t *value)
{
    uint64_t result = 0;

    for (size_t i = 0; i < at->len && i < 10; i++) {
        uint8_t byte = at->data[i];

        if (i == 9 && byte > 1) {
            return false; /* more than 64 bits */
        }
        result |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *value = result;
            at->data += i + 1;
            at->len -= i + 1;
            return true;
        }
    }
    return false;
}

/* The table of RFC 3629 section 4: the first byte fixes the length and the range of the second
 * byte, which is what excludes overlong forms, surrogates and values over U+10FFFF. */
size_t bytes_utf8_step(struct tally_slice text, uint32_t *code_point)
{
    uint8_t first = text.len ? text.data[0] : 0xff;
    uint8_t low = 0x80, high = 0xbf;
    size_t len = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    uint32_t value;

    if (first < 0x80) {
        *code_point = first;
        return 1;
    }
    if (first < 0xc2 || first > 0xf4 || text.len < len) {
        return 0;
    }
    if (first == 0xe0) {
        low = 0xa0;
    } else if (first == 0xed) {
        high = 0x9f;
    } else if (first == 0xf0) {
        low = 0x90;
    } else if (first == 0xf4) {
        high = 0x8f;
    }
    if (text.data[1] < low || text.data[1] > high) {
        return 0;
    }
    value = first & (0x7fu >> len);
    value = value << 6 | (text.data[1] & 0x3f);
    for (size_t i = 2; i < len; i++) {
        if ((text.data[i] & 0xc0) != 0x80) {
            return 0;
        }
        value = value << 6 | (text.data[i] & 0x3f);
    }
    *code_point = value;
    return len;
}

bool tally_utf8_valid(struct tally_slice text)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = UINT64_C(0x8080808080808080);

    while (text.len) {
        uint32_t code_point = 0;
        size_t step;

        while (text.len >= 8) {
            uint64_t word;

            memcpy(&word, text.data, sizeof word);
            if (((word | (word - ones)) & tops) != 0) {
                break; /* a byte over 0x7f, or a NUL that borrowed */
            }
            text.data += 8;
            text.len -= 8;
        }
        step = bytes_utf8_step(text, &code_point);
        if (text.len && (step == 0 || code_point == 0)) {
            return false;
        }
        text.data += step;
        text.len -= step;
    }
    return true;
}

bool tally_parse_int(struct tally_slice text, int64_t *value)
{
    bool negative = text.len > 0 && text.data[0] == '-';
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    uint64_t result = 0;

    if (text.len == (negative ? 1u : 0u)) {
        return false;
    }
    for (size_t i = negative ? 1 : 0; i < text.len; i++) {
        uint64_t digit = (uint64_t)text.data[i] - '0';

        if (digit > 9 || result > (limit - digit) / 10) {
            return false;
        }
        result = result * 10 + digit;
    }
    *value = negative ? (int64_t)(0 - result) : (int64_t)result;
    return true;
}

/* Days from 1970-01-01 of a day in the proleptic Gregorian calendar. Years begin in March here,
 * so that the leap day is the last one and (153 m + 2) / 5 counts the days before month m. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month > 2 ? year : year - 1;
    int64_t m = month > 2 ? month - 3 : month + 9;

    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static bool leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int64_t days_in_month(int64_t year, int64_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return days[month - 1] + (month == 2 && leap(year) ? 1 : 0);
}

static bool digits(const uint8_t *text, size_t count, int64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        *value = *value * 10 + (text[i] - '0');
    }
    return true;
}

/* The number of two digits; of anything else, one over 99. */
static inline unsigned pair(const uint8_t *text)
{
    unsigned tens = (unsigned)text[0] - '0', ones = (unsigned)text[1] - '0';

    return tens > 9 || ones > 9 ? 100 : 10 * tens + ones;
}

/* The date at the begin of a time: days since 1970, or -1. */
static int64_t parse_days(const uint8_t *t)
{
    unsigned century = pair(t), years = pair(t + 2), month = pair(t + 5), day = pair(t + 8);
    unsigned year = 100 * century + years;

    if (century > 99 || years > 99 || year < 1970 || month < 1 || month > 12 || day < 1 ||
            day > days_in_month(year, month)) {
        return -1;
    }
    return days_of(year, month, day);
}

bool tally_parse_time(struct tally_slice text, int64_t *time_ms)
{
    const uint8_t *t = text.data;
    int64_t days, ms = 0;
    unsigned hour, minute, second;
    size_t fraction;

    if (text.len < 20 || text.len > 30 || t[4] != '-' || t[7] != '-' || t[10] != 'T' ||
            t[13] != ':' || t[16] != ':' || t[text.len - 1] != 'Z') {
        return false;
    }
    days = parse_days(t);
    hour = pair(t + 11);
    minute = pair(t + 14);
    second = pair(t + 17);
    if (days < 0 || hour > 23 || minute > 59 || second > 59) {
        return false;
    }
    if (text.len > 20) {
        fraction = text.len - 21;
        if (t[19] != '.' || fraction == 0 || !digits(t + 20, fraction, &ms)) {
            return false;
        }
        if (fraction != 3) {
            (void)digits(t + 20, fraction < 3 ? fraction : 3, &ms);
            ms *= fraction == 1 ? 100 : fraction == 2 ? 10 : 1;
        }
    }
    *time_ms = days * DAY_MS;
    *time_ms += (((int64_t)hour * 60 + minute) * 60 + second) * 1000 + ms;
    return true;
}

static void put_digits(char *to, size_t count, int64_t value)
{
    while (count) {
        to[--count] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* "2026-01-15" of a day since 1970. */
static void format_day(int64_t days, char *text)
{
    int64_t year = 1969 + days * 400 / 146097, month = 1;

    while (days_of(year + 1, 1, 1) <= days) {
        year++; /* the average year of 146097/400 days is at most two years short */
    }
    days -= days_of(year, 1, 1);
    while (days >= days_in_month(year, month)) {
        days -= days_in_month(year, month++);
    }
    memcpy(text, "0000-00-00", DAY_LEN);
    put_digits(text, 4, year);
    put_digits(text + 5, 2, month);
    put_digits(text + 8, 2, days + 1);
}

void tally_format_time(int64_t time_ms, char text[static TALLY_TIME_LEN + 1])
{
    static _Thread_local struct {
        int64_t days;
        char text[DAY_LEN];
    } last = {.days = -1}; /* records come in the order of time, nearly all on one day */
    int64_t clamped = time_ms < 0 ? 0 : time_ms > TIME_MS_MAX ? TIME_MS_MAX : time_ms;
    int64_t days = clamped / DAY_MS;
    uint32_t in_day = (uint32_t)(clamped % DAY_MS);

    if (days != last.days) {
        format_day(days, last.text);
        last.days = days;
    }
    memcpy(text, last.text, DAY_LEN);
    memcpy(text + DAY_LEN, "T00:00:00.000Z", sizeof "T00:00:00.000Z");
    memcpy(text + 11, pairs + 2 * (size_t)(in_day / 3600000), 2);
    memcpy(text + 14, pairs + 2 * (size_t)(in_day / 60000 % 60), 2);
    memcpy(text + 17, pairs + 2 * (size_t)(in_day / 1000 % 60), 2);
    put_digits(text + 20, 3, in_day % 1000);
}
