/* apps/watch_line.c - see watch_line.h. A message's data stay bytes: a product may be larger than a
 * document that is parsed here may be, and there is nothing to change in it. */
#include "apps/watch_line.h"

#include <stdio.h>

#define END_LAST "],\"last\":true}" /* of a frame of a snapshot */
#define END_MORE "],\"last\":false}"

/* --- places ----------------------------------------------------------------------------------- */

static bool take_place(struct watch_places *places, struct tally_slice text)
{
    const uint8_t *mark = text.len ? memchr(text.data, '@', text.len) : NULL;
    const uint8_t *slash = mark ? memrchr(text.data, '/', (size_t)(mark - text.data)) : NULL;
    struct watch_place place;
    size_t at = 0, topic_len = slash ? (size_t)(slash - text.data) : 0;

    if (!slash || topic_len == 0 || topic_len >= sizeof places->topic ||
            !tally_parse_int(tally_slice_of(slash + 1, (size_t)(mark - slash - 1)),
                    &place.partition) ||
            !tally_parse_int(tally_slice_of(mark + 1, text.len - (size_t)(mark + 1 - text.data)),
                    &place.offset) ||
            place.partition < 0 || place.offset < -1) {
        return false;
    }
    while (at < places->count && places->items[at].partition != place.partition) {
        at++;
    }
    if (at == WATCH_PARTITIONS_MAX ||
            (places->count > 0 && (strlen(places->topic) != topic_len ||
                                          memcmp(places->topic, text.data, topic_len) != 0))) {
        return false;
    }
    snprintf(places->topic, sizeof places->topic, "%.*s", (int)topic_len, (const char *)text.data);
    places->items[at] = place;
    places->count += at == places->count;
    return true;
}

bool watch_places_take(struct watch_places *places, struct tally_slice positions)
{
    while (positions.len > 0) {
        const uint8_t *comma = memchr(positions.data, ',', positions.len);
        size_t len = comma ? (size_t)(comma - positions.data) : positions.len;

        if (!take_place(places, tally_slice_of(positions.data, len)) ||
                (comma && len + 1 == positions.len)) {
            return false;
        }
        positions = comma ? tally_slice_of(comma + 1, positions.len - len - 1) : TALLY_NONE;
    }
    return true;
}

void watch_places_write(const struct watch_places *places, struct tally_buf *out)
{
    for (size_t i = 0; i < places->count; i++) {
        tally_buf_format(out, "%s%s/%lld@%lld", i ? "," : "", places->topic,
                (long long)places->items[i].partition, (long long)places->items[i].offset);
    }
}

/* --- messages --------------------------------------------------------------------------------- */

/* Whether the message has `mark`; *before ends there, *behind begins after it. */
static bool split(struct tally_slice message, const char *mark, struct tally_slice *before,
        struct tally_slice *behind)
{
    size_t len = strlen(mark);
    const uint8_t *at = message.len ? memmem(message.data, message.len, mark, len) : NULL;

    if (!at) {
        return false;
    }
    *before = tally_slice_of(message.data, (size_t)(at - message.data));
    *behind = tally_slice_of(at + len, message.len - before->len - len);
    return true;
}

static bool ends_with(struct tally_slice text, const char *end)
{
    size_t len = strlen(end);

    return text.len >= len && memcmp(text.data + text.len - len, end, len) == 0;
}

static struct tally_slice text_of(const struct tally_token *map, const char *name)
{
    const struct tally_token *token = tally_token_member(map, name);

    return token && token->type == TALLY_STRING ? token->string : TALLY_NONE;
}

static const struct tally_token *parse(struct tally_slice text, struct tally_arena *arena)
{
    const struct tally_token *root = NULL;
    enum tally_refusal refusal;
    struct tally_error err;

    return tally_document_parse(text, arena, &root, &refusal, &err) ? NULL : root;
}

/* What stands before the data is a document once it is closed. */
static const struct tally_token *parse_head(struct tally_slice head, struct tally_arena *arena)
{
    struct tally_slice copy = tally_arena_copy(arena, head);
    uint8_t *text = tally_arena_alloc(arena, copy.len + 1);

    memcpy(text, copy.data, copy.len);
    text[copy.len] = '}';
    return parse(tally_slice_of(text, copy.len + 1), arena);
}

struct watch_message watch_line_parse(struct tally_slice message, struct tally_arena *arena)
{
    struct watch_message parsed = {.op = WATCH_STRANGE};
    const struct tally_token *head = NULL, *conflated;
    struct tally_slice before, op;

    if (tally_slice_starts(message, TALLY_SLICE("{\"op\":\"delta\"")) &&
            split(message, ",\"data\":", &before, &parsed.data) && ends_with(parsed.data, "}")) {
        parsed.data.len--;
        head = parse_head(before, arena);
    } else if (tally_slice_starts(message, TALLY_SLICE("{\"op\":\"snapshot\"")) &&
               split(message, ",\"items\":[", &before, &parsed.data) &&
               (ends_with(parsed.data, END_LAST) || ends_with(parsed.data, END_MORE))) {
        parsed.last = ends_with(parsed.data, END_LAST);
        parsed.data.len -= strlen(parsed.last ? END_LAST : END_MORE);
        head = parse_head(before, arena);
    } else {
        head = parse(message, arena);
    }
    if (!head || head->type != TALLY_MAP) {
        return parsed;
    }
    op = text_of(head, "op");
    conflated = tally_token_member(head, "conflated");
    parsed.op = tally_slice_equal(op, TALLY_SLICE("delta"))        ? WATCH_DELTA
                : tally_slice_equal(op, TALLY_SLICE("snapshot"))   ? WATCH_SNAPSHOT
                : tally_slice_equal(op, TALLY_SLICE("subscribed")) ? WATCH_SUBSCRIBED
                : tally_slice_equal(op, TALLY_SLICE("error"))      ? WATCH_ERROR
                                                                   : WATCH_NOTHING;
    parsed.position = text_of(head, "position");
    parsed.code = text_of(head, "code");
    parsed.detail = text_of(head, "detail");
    parsed.conflated = conflated && conflated->type == TALLY_BOOL && conflated->integer;
    return parsed;
}

bool watch_line_item(struct tally_slice *data, struct tally_slice *item)
{
    size_t at = 0, begin;
    int depth = 0;
    bool quoted = false;

    while (at < data->len && (data->data[at] == ',' || data->data[at] == ' ')) {
        at++;
    }
    begin = at;
    for (; at < data->len; at++) {
        uint8_t byte = data->data[at];

        if (quoted) {
            at += byte == '\\';
            quoted = byte != '"';
        } else if (byte == ',' && depth == 0) {
            break;
        } else {
            quoted = byte == '"';
            depth += byte == '{' || byte == '[';
            depth -= byte == '}' || byte == ']';
        }
    }
    at = at < data->len ? at : data->len;
    *item = tally_slice_of(data->data + begin, at - begin);
    *data = tally_slice_of(data->data + at, data->len - at);
    return item->len > 0;
}

void watch_line_write(const struct watch_line *line, const struct watch_places *places,
        struct tally_buf *out)
{
    tally_buf_format(out, "{\"topic\":\"%s\",\"change\":\"%s\",\"position\":", line->topic,
            line->change);
    if (line->position.len > 0) {
        tally_buf_format(out, "\"%.*s\"", (int)line->position.len,
                (const char *)line->position.data);
    } else {
        tally_buf_string(out, "null");
    }
    tally_buf_format(out, ",\"conflated\":%s,\"data\":", line->conflated ? "true" : "false");
    tally_buf_slice(out, line->data);
    tally_buf_string(out, ",\"resume\":\"");
    watch_places_write(places, out);
    tally_buf_string(out, "\"}\n");
}
