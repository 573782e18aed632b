/* http/header_field.c - see header_field.h. */
#include "http/header_field.h"

#include <strings.h>

enum { COMMAND_ID_LEN_MAX = 64 };

static struct tally_slice unquote(struct tally_slice text)
{
    if (text.len >= 2 && text.data[0] == '"' && text.data[text.len - 1] == '"') {
        return tally_slice_of(text.data + 1, text.len - 2);
    }
    return text;
}

/* Divides "name=value"; without '=' the value is empty. */
static void split(struct tally_slice text, struct tally_slice *name, struct tally_slice *value)
{
    const uint8_t *equals = text.len > 0 ? memchr(text.data, '=', text.len) : NULL;
    size_t len = equals ? (size_t)(equals - text.data) : text.len;

    *name = request_trim(tally_slice_of(text.data, len));
    *value = equals ? unquote(request_trim(tally_slice_of(equals + 1, text.len - len - 1)))
                    : tally_slice_of("", 0);
}

bool header_field_prefer_wait(const struct request *request, int64_t *seconds)
{
    for (size_t i = 0; i < request->header_count; i++) {
        struct tally_slice rest = tally_slice_string(request->headers[i].value), preference;

        if (strcasecmp(request->headers[i].name, "Prefer") != 0) {
            continue;
        }
        while (request_list_next(&rest, ',', &preference)) {
            struct tally_slice token, name, value;

            if (!request_list_next(&preference, ';', &token)) {
                continue;
            }
            split(token, &name, &value);
            if (request_equals(name, "wait")) { /* RFC 7240: the first one counts */
                return tally_parse_int(value, seconds) && *seconds >= 1 &&
                       *seconds <= HEADER_FIELD_WAIT_MAX_S;
            }
        }
    }
    return false;
}

/* q as thousandths; a q that is none counts as 1. */
static int quality(struct tally_slice parameters)
{
    struct tally_slice parameter, name, value;

    while (request_list_next(&parameters, ';', &parameter)) {
        split(parameter, &name, &value);
        if (!request_equals(name, "q") || value.len == 0) {
            continue;
        }
        for (size_t i = 0; i < value.len; i++) {
            if (value.data[i] != '0' && value.data[i] != '.') {
                return 1000;
            }
        }
        return 0;
    }
    return 1000;
}

/* How well a range of Accept names the type: 3 exactly, 2 by its first half, 1 by * / *, 0 not. */
static int precision(struct tally_slice range, const char *type)
{
    size_t len = strcspn(type, ";"), half = strcspn(type, "/") + 1;

    if (range.len == len && strncasecmp((const char *)range.data, type, len) == 0) {
        return 3;
    }
    if (range.len == half + 1 && range.data[half] == '*' &&
            strncasecmp((const char *)range.data, type, half) == 0) {
        return 2;
    }
    return request_equals(range, "*/*") ? 1 : 0;
}

bool header_field_accepts(struct tally_slice accept, const char *type)
{
    struct tally_slice rest = accept, item, range;
    int best = 0, weight = 0;

    if (!accept.data) {
        return true;
    }
    while (request_list_next(&rest, ',', &item)) {
        int precise;

        if (!request_list_next(&item, ';', &range)) {
            continue;
        }
        precise = precision(range, type);
        if (precise > best) { /* RFC 9110 12.5.1: the most specific range decides */
            best = precise;
            weight = quality(item);
        }
    }
    return best > 0 && weight > 0;
}

bool header_field_is_type(struct tally_slice content_type, const char *type)
{
    struct tally_slice rest = content_type, item, name, value;

    if (!request_list_next(&rest, ';', &item) || !request_equals(item, type)) {
        return false;
    }
    while (request_list_next(&rest, ';', &item)) {
        split(item, &name, &value);
        if (request_equals(name, "charset") && !request_equals(value, "utf-8")) {
            return false;
        }
    }
    return true;
}

static struct tally_slice without_weak(struct tally_slice tag)
{
    return tally_slice_starts(tag, TALLY_SLICE("W/")) ? tally_slice_of(tag.data + 2, tag.len - 2)
                                                      : tag;
}

bool header_field_none_match(struct tally_slice if_none_match, struct tally_slice etag)
{
    struct tally_slice rest = if_none_match, tag;

    if (request_equals(if_none_match, "*")) {
        return true;
    }
    while (request_list_next(&rest, ',', &tag)) {
        if (tag.len > 0 && tally_slice_equal(without_weak(tag), without_weak(etag))) {
            return true;
        }
    }
    return false;
}

static size_t digits(struct tally_slice text, size_t at)
{
    size_t end = at;

    while (end < text.len && text.data[end] >= '0' && text.data[end] <= '9') {
        end++;
    }
    return end - at;
}

bool header_field_match_version(struct tally_slice if_match, bool *any, int64_t *version)
{
    struct tally_slice tag = unquote(if_match);
    size_t partition, end;

    *any = request_equals(if_match, "*");
    if (*any) {
        return true;
    }
    if (tag.len == if_match.len || tag.len < 4 || tag.data[0] != 'p') {
        return false; /* a weak tag never matches strongly */
    }
    partition = digits(tag, 1);
    end = 1 + partition;
    if (partition == 0 || tag.len - end < 3 || tag.data[end] != '-' || tag.data[end + 1] != 'v') {
        return false;
    }
    end += 2;
    return digits(tag, end) == tag.len - end &&
           tally_parse_int(tally_slice_of(tag.data + end, tag.len - end), version);
}

bool header_field_is_command_id(struct tally_slice text)
{
    if (text.len < 1 || text.len > COMMAND_ID_LEN_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i], letter = c | 0x20;

        if (!(letter >= 'a' && letter <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '_' &&
                c != ':' && c != '-') {
            return false;
        }
    }
    return true;
}

bool header_field_command_id(struct tally_slice value, struct tally_slice *id)
{
    *id = unquote(value);
    return header_field_is_command_id(*id);
}
