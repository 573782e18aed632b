/* http/request.c - see request.h. */
#include "http/request.h"

#include <strings.h>

enum request_method request_method_of(const char *name)
{
    if (strcmp(name, "GET") == 0) {
        return REQUEST_GET;
    }
    if (strcmp(name, "HEAD") == 0) {
        return REQUEST_HEAD;
    }
    return strcmp(name, "POST") == 0 ? REQUEST_POST : REQUEST_OTHER;
}

struct tally_slice request_trim(struct tally_slice text)
{
    while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.len--;
    }
    while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t')) {
        text.len--;
    }
    return text;
}

bool request_equals(struct tally_slice text, const char *other)
{
    size_t len = strlen(other);

    return text.len == len && (len == 0 || strncasecmp((const char *)text.data, other, len) == 0);
}

/* Every request is asked for a dozen names, and nearly all differ in their first letter. */
static bool is_named(const struct request_header *header, const char *name)
{
    return (header->name[0] | 0x20) == (name[0] | 0x20) && strcasecmp(header->name, name) == 0;
}

static bool may_have(const struct request *request, const char *name)
{
    return !request->letters || request->letters >> (name[0] & 31) & 1;
}

struct tally_slice request_header(const struct request *request, const char *name)
{
    if (!may_have(request, name)) {
        return TALLY_NONE;
    }
    for (size_t i = 0; i < request->header_count; i++) {
        if (is_named(&request->headers[i], name)) {
            return request_trim(tally_slice_string(request->headers[i].value));
        }
    }
    return TALLY_NONE;
}

size_t request_header_count(const struct request *request, const char *name)
{
    size_t count = 0;

    for (size_t i = 0; i < request->header_count && may_have(request, name); i++) {
        count += is_named(&request->headers[i], name);
    }
    return count;
}

bool request_list_next(struct tally_slice *rest, char divider, struct tally_slice *item)
{
    size_t at = 0;
    bool quoted = false;

    if (!rest->data) {
        return false;
    }
    for (; at < rest->len && (quoted || rest->data[at] != (uint8_t)divider); at++) {
        quoted ^= rest->data[at] == '"';
    }
    *item = request_trim(tally_slice_of(rest->data, at));
    *rest = at < rest->len ? tally_slice_of(rest->data + at + 1, rest->len - at - 1) : TALLY_NONE;
    return true;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Of application/x-www-form-urlencoded: %XX and '+'. false: no valid UTF-8, or a bad escape. */
static bool decode(struct tally_slice text, struct tally_arena *arena, struct tally_slice *decoded)
{
    uint8_t *to = tally_arena_alloc(arena, text.len + 1);
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        int high, low;

        if (text.data[i] != '%') {
            to[len++] = text.data[i] == '+' ? ' ' : text.data[i];
            continue;
        }
        if (text.len - i < 3) {
            return false;
        }
        high = hex_digit(text.data[i + 1]);
        low = hex_digit(text.data[i + 2]);
        if (high < 0 || low < 0) {
            return false;
        }
        to[len++] = (uint8_t)(high << 4 | low);
        i += 2;
    }
    *decoded = tally_slice_of(to, len);
    return tally_utf8_valid(*decoded);
}

static bool is_listed(struct tally_slice name, const char *list)
{
    struct tally_slice rest = tally_slice_string(list), item;

    while (request_list_next(&rest, ',', &item)) {
        if (item.len > 0 && tally_slice_equal(item, name)) {
            return true;
        }
    }
    return false;
}

static bool add_parameter(struct request *request, struct request_parameter parameter,
        const char *allowed, const char **wrong)
{
    if (!is_listed(parameter.name, allowed)) {
        *wrong = "is not a parameter of this route";
        return false;
    }
    for (size_t i = 0; i < request->query_count; i++) {
        if (tally_slice_equal(request->queries[i].name, parameter.name)) {
            *wrong = "is there twice";
            return false;
        }
    }
    tally_assert(request->query_count < REQUEST_QUERIES_MAX); /* names are few and come once */
    request->queries[request->query_count++] = parameter;
    return true;
}

bool request_query_parse(struct request *request, const char *allowed, struct tally_arena *arena,
        struct tally_slice *name, const char **wrong)
{
    struct tally_slice rest = request->query, pair;

    request->query_count = 0;
    for (; rest.len > 0; rest = pair.len < rest.len ? tally_slice_of(rest.data + pair.len + 1,
                                                              rest.len - pair.len - 1)
                                                    : TALLY_NONE) {
        const uint8_t *end = memchr(rest.data, '&', rest.len);
        const uint8_t *equals;
        struct request_parameter parameter;

        pair = tally_slice_of(rest.data, end ? (size_t)(end - rest.data) : rest.len);
        if (pair.len == 0) {
            continue;
        }
        equals = memchr(pair.data, '=', pair.len);
        *name = tally_slice_of(pair.data, equals ? (size_t)(equals - pair.data) : pair.len);
        parameter.value = equals ? tally_slice_of(equals + 1, pair.len - name->len - 1)
                                 : tally_slice_of(pair.data, 0);
        if (!decode(*name, arena, &parameter.name) ||
                !decode(parameter.value, arena, &parameter.value)) {
            *wrong = "is not valid percent-encoded UTF-8";
            return false;
        }
        if (!add_parameter(request, parameter, allowed, wrong)) {
            return false;
        }
    }
    return true;
}

struct tally_slice request_query(const struct request *request, const char *name)
{
    for (size_t i = 0; i < request->query_count; i++) {
        if (tally_slice_equal(request->queries[i].name, tally_slice_string(name))) {
            return request->queries[i].value;
        }
    }
    return TALLY_NONE;
}

bool request_keep_alive(const struct request *request)
{
    struct tally_slice rest = request_header(request, "Connection"), option;
    bool keep = !rest.data && request->version && strcmp(request->version, "1.1") == 0;

    while (request_list_next(&rest, ',', &option)) {
        if (request_equals(option, "upgrade")) {
            return false; /* nothing here is upgraded, and the library then ends the connection */
        }
        keep |= request_equals(option, "keep-alive");
    }
    return keep;
}
