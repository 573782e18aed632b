/* http/websocket/websocket_reservations.c - see websocket_reservations.h.
 * Every event has all that is said of a reservation but the lines that it leaves as they are. The
 * lines are kept, packed as in the store; a place in the table belongs to whoever came last. */
#include "http/websocket/websocket_reservations.h"

#include <stdio.h>

#include "engine/base/hash.h"

enum {
    PLACES = 4096,
    LINES_BYTES_MAX = 2 * 1024 * 1024,
    ROW_BYTES_MAX = 16 * 1024,
    PATH_BYTES = 200,
    OK_STATUS = 200
};

struct place {
    char id[TALLY_RECORD_KEY_MAX + 1];
    size_t len; /* 0: free */
    int64_t version;
    struct tally_buf lines; /* each with its length before it, by number */
};
struct websocket_reservations {
    struct place *places; /* made when the first one comes */
};

struct websocket_reservations *websocket_reservations_create(void)
{
    return tally_alloc_zero(1, sizeof(struct websocket_reservations));
}

void websocket_reservations_destroy(struct websocket_reservations *reservations)
{
    for (size_t i = 0; reservations->places && i < PLACES; i++) {
        tally_buf_deinit(&reservations->places[i].lines);
    }
    tally_free(reservations->places);
    tally_free(reservations);
}

static struct place *place_of(struct websocket_reservations *reservations, struct tally_slice id)
{
    if (!reservations->places) {
        reservations->places = tally_alloc_zero(PLACES, sizeof *reservations->places);
        for (size_t i = 0; i < PLACES; i++) {
            tally_buf_init(&reservations->places[i].lines, LINES_BYTES_MAX);
        }
    }
    return &reservations->places[tally_crc32c(0, id) % PLACES];
}

static bool is_of(const struct place *place, struct tally_slice id)
{
    return place->len > 0 && tally_slice_equal(tally_slice_of(place->id, place->len), id);
}

static void keep(struct place *place, struct tally_slice id, int64_t version,
        const struct reservation_line *lines, size_t count)
{
    uint8_t space[ROW_BYTES_MAX];

    tally_assert(id.len < sizeof place->id);
    memcpy(place->id, id.data, id.len);
    place->len = id.len;
    place->version = version;
    tally_buf_clear(&place->lines);
    for (size_t i = 0; i < count; i++) {
        struct tally_buf row = {.data = space, .capacity = sizeof space, .max = sizeof space};

        reservation_line_pack(&lines[i], &row);
        tally_buf_varint(&place->lines, row.len);
        tally_buf_slice(&place->lines, tally_buf_bytes(&row));
    }
}

/* The lines that are kept, in the arena. */
static size_t kept(const struct place *place, struct tally_arena *arena,
        struct reservation_line *lines)
{
    struct tally_slice rest =
            tally_arena_copy(arena, tally_slice_of(place->lines.data, place->lines.len));
    uint64_t len;
    size_t count = 0;

    while (count < RESERVATION_LINES_MAX && rest.len > 0 && tally_read_varint(&rest, &len) &&
            len <= rest.len &&
            reservation_line_unpack(tally_slice_of(rest.data, (size_t)len), arena, &lines[count])) {
        rest = tally_slice_of(rest.data + len, rest.len - (size_t)len);
        count++;
    }
    return count;
}

static size_t merge(struct reservation_line *lines, size_t count, const struct tally_array *changed)
{
    const struct reservation_line *items = changed->items;

    for (size_t i = 0; i < changed->count; i++) {
        size_t at = 0;

        while (at < count && lines[at].line != items[i].line) {
            at++;
        }
        if (at < RESERVATION_LINES_MAX) {
            lines[at] = items[i];
            count += at == count;
        }
    }
    return count;
}

static bool has_all_lines(const struct reservation_event *event, uint32_t type)
{
    return event->lines.count > 0 &&
           (type == RESERVATION_WAS_REQUESTED || type == RESERVATION_WAS_CONFIRMED ||
                   type == RESERVATION_DID_FAIL);
}

static void write(const struct reservation_event *event, struct reservation_line *lines,
        size_t count, struct tally_buf *out)
{
    struct reservation_event whole = *event;

    whole.presence.present &=
            ~(TALLY_BIT(RESERVATION_EVENT_TIMER) | TALLY_BIT(RESERVATION_EVENT_OP));
    whole.presence.present |= TALLY_BIT(RESERVATION_EVENT_LINES);
    whole.lines = (struct tally_array){.items = lines, .count = count};
    tally_encode(reservation_event_schemas[RESERVATION_WAS_CONFIRMED], &whole, TALLY_FORMAT_JSON,
            out);
}

/* As its owner has it now. */
static enum tally_code read(struct place *place, const struct reservation_event *event,
        struct websocket_fold *fold, struct tally_buf *out, struct tally_error *err)
{
    struct reservation_event whole = {.version = 0};
    struct tally_violations violations = {.count = 0};
    const struct tally_token *document;
    struct tally_slice body;
    char path[PATH_BYTES];
    int status;

    snprintf(path, sizeof path, "/v1/reservations/%.*s", (int)event->reservation_id.len,
            (const char *)event->reservation_id.data);
    status = websocket_inner_get(fold->inner, path, "", fold->positions, &body);
    document = status == OK_STATUS ? websocket_inner_document(fold->inner) : NULL;
    if (!document) {
        return tally_error_set(err, TALLY_UNAVAILABLE, "%s: %d %s", path, status,
                websocket_inner_problem(fold->inner));
    }
    tally_bind(document, reservation_event_schemas[RESERVATION_WAS_CONFIRMED], false, NULL,
            fold->arena, &whole, &violations);
    fold->version = whole.version;
    fold->newer = whole.version > event->version;
    keep(place, event->reservation_id, whole.version, whole.lines.items, whole.lines.count);
    tally_buf_slice(out, body);
    return TALLY_OK;
}

enum tally_code websocket_reservations_fold(struct websocket_reservations *reservations,
        const struct reservation_event *event, struct websocket_fold *fold, struct tally_buf *out,
        struct tally_error *err)
{
    struct place *place = place_of(reservations, event->reservation_id);
    bool known = is_of(place, event->reservation_id);
    struct reservation_line *lines;
    size_t count = 0;

    fold->version = event->version;
    fold->newer = fold->old = false;
    if (known && event->version <= place->version) {
        fold->old = true;
        return TALLY_OK;
    }
    if (!has_all_lines(event, fold->type) && !(known && event->version == place->version + 1)) {
        return read(place, event, fold, out, err);
    }
    lines = tally_arena_alloc(fold->arena, RESERVATION_LINES_MAX * sizeof *lines);
    count = has_all_lines(event, fold->type) ? 0 : kept(place, fold->arena, lines);
    count = merge(lines, count, &event->lines);
    keep(place, event->reservation_id, event->version, lines, count);
    write(event, lines, count, out);
    return TALLY_OK;
}
