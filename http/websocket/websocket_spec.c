/* http/websocket/websocket_spec.c - see websocket_spec.h. */
#include "http/websocket/websocket_spec.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARENA_BLOCK_BYTES = 1024, NAME_BYTES_MAX = 128 };

/* --- life ------------------------------------------------------------------------------------- */

struct websocket_spec *websocket_spec_create(enum websocket_topic topic)
{
    struct websocket_spec *spec = tally_alloc_zero(1, sizeof *spec);

    atomic_init(&spec->references, 1);
    spec->topic = topic;
    tally_arena_init(&spec->arena, ARENA_BLOCK_BYTES);
    return spec;
}

struct websocket_spec *websocket_spec_share(struct websocket_spec *spec)
{
    atomic_fetch_add(&spec->references, 1);
    return spec;
}

void websocket_spec_release(struct websocket_spec *spec)
{
    if (spec && atomic_fetch_sub(&spec->references, 1) == 1) {
        tally_free(spec->places);
        tally_arena_deinit(&spec->arena);
        tally_free(spec);
    }
}

void websocket_refuse(struct websocket_refusal *refusal, const char *code, const char *detail, ...)
{
    va_list arguments;

    refusal->code = code;
    va_start(arguments, detail);
    (void)vsnprintf(refusal->detail, sizeof refusal->detail, detail, arguments);
    va_end(arguments);
}

/* --- names ------------------------------------------------------------------------------------ */

static int compare(const void *left, const void *right)
{
    return tally_slice_compare(*(const struct tally_slice *)left,
            *(const struct tally_slice *)right);
}

bool websocket_names_have(const struct websocket_names *names, struct tally_slice name)
{
    return !names->given || bsearch(&name, names->items, names->count, sizeof name, compare);
}

static void sort(struct websocket_names *names)
{
    size_t kept = 0;

    qsort(names->items, names->count, sizeof *names->items, compare);
    for (size_t i = 0; i < names->count; i++) {
        if (kept == 0 || compare(&names->items[kept - 1], &names->items[i]) != 0) {
            names->items[kept++] = names->items[i];
        }
    }
    names->count = kept;
}

static bool bad(struct websocket_refusal *refusal, const char *member, const char *expected)
{
    websocket_refuse(refusal, "BAD_REQUEST", "%.32s: expected %s", member, expected);
    return false;
}

static bool read_names(struct websocket_spec *spec, const char *member,
        const struct tally_token *list, struct websocket_names *names,
        struct websocket_refusal *refusal)
{
    const struct tally_token *item = list + 1;

    if (list->type != TALLY_ARRAY || list->count == 0 || list->count > WEBSOCKET_FILTER_MAX) {
        return bad(refusal, member, "a list of 1 to 4096 strings");
    }
    names->given = true;
    names->items = tally_arena_alloc(&spec->arena, list->count * sizeof *names->items);
    for (uint32_t i = 0; i < list->count; i++, item = tally_token_next(item)) {
        if (item->type != TALLY_STRING || item->string.len == 0 ||
                item->string.len > NAME_BYTES_MAX) {
            return bad(refusal, member, "strings of 1 to 128 bytes");
        }
        names->items[names->count++] = tally_arena_copy(&spec->arena, item->string);
    }
    sort(names);
    return true;
}

static bool read_kinds(struct websocket_spec *spec, const struct tally_token *list,
        struct websocket_refusal *refusal)
{
    struct websocket_names names = {.count = 0};

    if (!read_names(spec, "kind", list, &names, refusal)) {
        return false;
    }
    spec->kinds_given = true;
    for (size_t i = 0; i < names.count; i++) {
        unsigned kind = 0;

        while (stock_kind_names[kind] &&
                !tally_slice_equal(names.items[i], tally_slice_string(stock_kind_names[kind]))) {
            kind++;
        }
        if (!stock_kind_names[kind]) {
            return bad(refusal, "kind", "kinds of ledger entries");
        }
        spec->kinds |= UINT32_C(1) << kind;
    }
    return true;
}

/* --- messages --------------------------------------------------------------------------------- */

static bool is(struct tally_slice text, const char *other)
{
    return tally_slice_equal(text, tally_slice_string(other));
}

static bool read_filter(struct websocket_spec *spec, const struct tally_token *filter,
        struct websocket_refusal *refusal)
{
    const struct websocket_topic_info *info = &websocket_topics[spec->topic];
    const struct tally_token *name = filter + 1;

    if (filter->type != TALLY_MAP) {
        return bad(refusal, "filter", "an object");
    }
    for (uint32_t i = 0; i < filter->count; i++, name = tally_token_next(name + 1)) {
        bool good;

        if (info->id && is(name->string, info->id)) {
            good = read_names(spec, info->id, name + 1, &spec->ids, refusal);
        } else if (info->warehouses && is(name->string, "warehouse")) {
            good = read_names(spec, "warehouse", name + 1, &spec->warehouses, refusal);
        } else if (info->kinds && is(name->string, "kind")) {
            good = read_kinds(spec, name + 1, refusal);
        } else {
            websocket_refuse(refusal, "BAD_REQUEST", "filter: topic %s has no \"%.*s\"", info->name,
                    name->string.len < 32 ? (int)name->string.len : 32,
                    (const char *)name->string.data);
            good = false;
        }
        if (!good) {
            return false;
        }
    }
    return true;
}

static bool read_from(struct websocket_spec *spec, struct tally_slice from,
        struct websocket_refusal *refusal)
{
    if (from.len == 0) {
        return bad(refusal, "from", "latest, snapshot, or positions of the events topic");
    }
    if (is(from, "latest")) {
        return true;
    }
    if (spec->topic == WEBSOCKET_METRICS && is(from, "snapshot")) {
        spec->from = WEBSOCKET_FROM_SNAPSHOT; /* there are few, and they are at hand */
        return true;
    }
    if (spec->topic == WEBSOCKET_METRICS) {
        return bad(refusal, "from", "latest or snapshot: metrics have no positions");
    }
    if (!is(from, "snapshot")) {
        spec->from = WEBSOCKET_FROM_POSITIONS;
        spec->positions = tally_arena_copy(&spec->arena, from);
        return true;
    }
    spec->from = WEBSOCKET_FROM_SNAPSHOT;
    if (!websocket_topics[spec->topic].path) {
        websocket_refuse(refusal, "BAD_REQUEST",
                "from: topic %s has no snapshot: read pages by GET, then follow from latest",
                websocket_topics[spec->topic].name);
        return false;
    }
    if (!spec->ids.given || spec->ids.count > WEBSOCKET_SNAPSHOT_KEYS) {
        websocket_refuse(refusal, "SNAPSHOT_TOO_LARGE",
                "a snapshot needs a filter of 1 to %d values of %s", WEBSOCKET_SNAPSHOT_KEYS,
                websocket_topics[spec->topic].id ? websocket_topics[spec->topic].id : "a key");
        return false;
    }
    return true;
}

struct websocket_spec *websocket_spec_read(const struct tally_token *message,
        struct websocket_refusal *refusal)
{
    const struct tally_token *topic = tally_token_member(message, "topic");
    const struct tally_token *filter = tally_token_member(message, "filter");
    const struct tally_token *from = tally_token_member(message, "from");
    unsigned number = 0;
    struct websocket_spec *spec;

    if (!topic || topic->type != TALLY_STRING) {
        bad(refusal, "topic", "the name of a topic");
        return NULL;
    }
    while (number < WEBSOCKET_TOPICS && !is(topic->string, websocket_topics[number].name)) {
        number++;
    }
    if (number == WEBSOCKET_TOPICS) {
        websocket_refuse(refusal, "UNKNOWN_TOPIC", "there is no topic \"%.*s\"",
                topic->string.len < 64 ? (int)topic->string.len : 64,
                (const char *)topic->string.data);
        return NULL;
    }
    spec = websocket_spec_create((enum websocket_topic)number);
    if ((filter && filter->type != TALLY_NULL && !read_filter(spec, filter, refusal)) ||
            (from && from->type != TALLY_NULL &&
                    !read_from(spec, from->type == TALLY_STRING ? from->string : TALLY_NONE,
                            refusal))) {
        websocket_spec_release(spec);
        return NULL;
    }
    return spec;
}

struct websocket_spec *websocket_spec_make(enum websocket_topic topic,
        const struct tally_slice *ids, size_t count, struct tally_slice from,
        struct websocket_refusal *refusal)
{
    struct websocket_spec *spec = websocket_spec_create(topic);
    bool good = count > 0 && count <= WEBSOCKET_FILTER_MAX;

    spec->ids.given = true;
    spec->ids.items = tally_arena_alloc(&spec->arena, (count + 1) * sizeof *spec->ids.items);
    for (size_t i = 0; i < count && good; i++) {
        good = ids[i].len > 0 && ids[i].len <= NAME_BYTES_MAX;
        spec->ids.items[spec->ids.count++] = tally_arena_copy(&spec->arena, ids[i]);
    }
    if (!good) {
        bad(refusal, websocket_topics[topic].id, "one or more, each of 1 to 128 bytes");
    } else {
        sort(&spec->ids);
        good = !from.data || read_from(spec, from, refusal);
    }
    if (!good) {
        websocket_spec_release(spec);
        return NULL;
    }
    return spec;
}

struct tally_slice websocket_trim(struct tally_slice text)
{
    while (text.len > 0 && strchr(" \t\r\n", text.data[0]) && text.data[0]) {
        text = tally_slice_of(text.data + 1, text.len - 1);
    }
    while (text.len > 0 && strchr(" \t\r\n", text.data[text.len - 1]) && text.data[text.len - 1]) {
        text.len--;
    }
    return text;
}

/* --- positions -------------------------------------------------------------------------------- */

static bool read_place(struct tally_slice text, const char *topic, struct websocket_place *places,
        int32_t partitions)
{
    struct tally_slice name = tally_slice_string(topic);
    const uint8_t *mark;
    struct tally_slice rest;
    int64_t partition, offset;

    if (!tally_slice_starts(text, name) || text.len == name.len || text.data[name.len] != '/') {
        return false;
    }
    rest = tally_slice_of(text.data + name.len + 1, text.len - name.len - 1);
    mark = memchr(rest.data, '@', rest.len);
    if (!mark ||
            !tally_parse_int(tally_slice_of(rest.data, (size_t)(mark - rest.data)), &partition) ||
            !tally_parse_int(tally_slice_of(mark + 1, rest.len - (size_t)(mark + 1 - rest.data)),
                    &offset) ||
            partition < 0 || partition >= partitions || offset < -1 || offset == INT64_MAX ||
            places[partition].named) {
        return false;
    }
    places[partition].named = true;
    places[partition].next = offset + 1;
    return true;
}

bool websocket_spec_places(const struct websocket_spec *spec, const char *topic,
        struct websocket_place *places, int32_t partitions, struct websocket_refusal *refusal)
{
    struct tally_slice rest = spec->positions;

    for (size_t count = 0; rest.len > 0; count++) {
        const uint8_t *comma = memchr(rest.data, ',', rest.len);
        size_t len = comma ? (size_t)(comma - rest.data) : rest.len;

        if (count == WEBSOCKET_POSITIONS_MAX ||
                !read_place(tally_slice_of(rest.data, len), topic, places, partitions)) {
            websocket_refuse(refusal, "BAD_REQUEST",
                    "from: expected latest, snapshot, or positions like %.80s/0@12, each "
                    "partition once, joined by commas",
                    topic);
            return false;
        }
        rest = comma ? tally_slice_of(comma + 1, rest.len - len - 1) : TALLY_NONE;
        if (comma && rest.len == 0) {
            rest = TALLY_SLICE(","); /* nothing behind it: refused in the next turn */
        }
    }
    return true;
}

bool websocket_spec_takes(const struct websocket_spec *spec, const struct websocket_event *event)
{
    return event->topic == spec->topic && websocket_names_have(&spec->ids, event->id) &&
           websocket_names_have(&spec->warehouses, event->warehouse) &&
           (!spec->kinds_given || (spec->kinds & UINT32_C(1) << event->kind));
}
