/* http/document_pointer.c - see document_pointer.h. Reads what the decoder has read up to the
 * number that it refused, so nothing is checked here but bounds. Names are taken as they stand. */
#include "http/document_pointer.h"

#include "schemas/serde.h"

struct level {
    struct tally_slice name; /* of the member, in a map */
    size_t index;            /* of the item, in a list */
    bool list, named;        /* named: what comes is the member's value */
};
struct walk {
    struct level levels[TALLY_DOCUMENT_DEPTH_MAX];
    size_t depth;
};

static bool begin(struct walk *walk, bool list)
{
    if (walk->depth == TALLY_DOCUMENT_DEPTH_MAX) {
        return false;
    }
    walk->levels[walk->depth++] = (struct level){.list = list};
    return true;
}

static void go_on(struct walk *walk)
{
    if (walk->depth > 0) {
        walk->levels[walk->depth - 1].index++;
        walk->levels[walk->depth - 1].named = false;
    }
}

/* From its first quote; returns where it ends. */
static size_t pass_string(struct walk *walk, struct tally_slice json, size_t at)
{
    size_t from = at + 1, end = from;

    while (end < json.len && json.data[end] != '"') {
        end += json.data[end] == '\\' ? 2 : 1;
    }
    if (end >= json.len) {
        return json.len;
    }
    if (walk->depth > 0 && !walk->levels[walk->depth - 1].list &&
            !walk->levels[walk->depth - 1].named) {
        walk->levels[walk->depth - 1].name = tally_slice_of(json.data + from, end - from);
        walk->levels[walk->depth - 1].named = true;
    }
    return end + 1;
}

static bool is_of_number(uint8_t c)
{
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* A '~' and a '/' of a name have an escape in a pointer (RFC 6901). */
static void put_name(struct tally_buf *out, struct tally_slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] == '~') {
            tally_buf_string(out, "~0");
        } else if (name.data[i] == '/') {
            tally_buf_string(out, "~1");
        } else {
            tally_buf_byte(out, name.data[i]);
        }
    }
}

static void put(const struct walk *walk, char pointer[static DOCUMENT_POINTER_LEN_MAX + 1])
{
    struct tally_buf out;

    tally_buf_init(&out, DOCUMENT_POINTER_LEN_MAX);
    for (size_t i = 0; i < walk->depth; i++) {
        tally_buf_byte(&out, '/');
        if (walk->levels[i].list) {
            tally_buf_format(&out, "%zu", walk->levels[i].index);
        } else {
            put_name(&out, walk->levels[i].name);
        }
    }
    if (!out.failed && out.len > 0) {
        memcpy(pointer, out.data, out.len);
        pointer[out.len] = '\0';
    }
    tally_buf_deinit(&out);
}

void document_pointer_of_number(struct tally_slice json,
        char pointer[static DOCUMENT_POINTER_LEN_MAX + 1])
{
    struct walk walk = {.depth = 0};
    size_t at = 0;

    pointer[0] = '\0';
    while (at < json.len) {
        uint8_t c = json.data[at];
        size_t end = at + 1;
        int64_t value;

        if (c == '"') {
            end = pass_string(&walk, json, at);
        } else if ((c == '{' || c == '[') && !begin(&walk, c == '[')) {
            return;
        } else if ((c == '}' || c == ']') && walk.depth > 0) {
            walk.depth--;
        } else if (c == ',') {
            go_on(&walk);
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            while (end < json.len && is_of_number(json.data[end])) {
                end++;
            }
            if (!tally_parse_int(tally_slice_of(json.data + at, end - at), &value)) {
                put(&walk, pointer);
                return;
            }
        }
        at = end;
    }
}
