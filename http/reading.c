/* http/reading.c - see reading.h. */
#include "http/reading.h"

#include "engine/base/hash.h"
#include "http/forwarding.h"
#include "http/header_field.h"
#include "http/problem.h"

enum { WAIT_DEFAULT_MS = 1000, LIMIT_DEFAULT = 50, LIMIT_MAX = 200 };

bool reading_wait_begin(struct waiting *waiting)
{
    if (atomic_fetch_add(&waiting->count, 1) < waiting->max) {
        return true;
    }
    atomic_fetch_sub(&waiting->count, 1);
    return false;
}

void reading_wait_end(struct waiting *waiting)
{
    atomic_fetch_sub(&waiting->count, 1);
}

static bool read_positions(struct exchange *exchange, struct reading_positions *positions,
        bool says)
{
    struct tally_slice text = request_header(&exchange->request, "Tally-Min-Position");
    int64_t seconds;

    positions->options = (struct tally_read_options){.ready = exchange->hurried,
            .kept = exchange->hurried ? &exchange->kept : NULL,
            .positions = positions->items};
    if (!text.data) {
        return true;
    }
    if (!tally_positions_parse(text, positions->items, &positions->options.position_count)) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                "Tally-Min-Position: expected positions like stock.commands/2@990, at most %d "
                "joined by commas",
                TALLY_MIN_POSITIONS_MAX);
        return false;
    }
    positions->options.wait_ms = WAIT_DEFAULT_MS;
    if (header_field_prefer_wait(&exchange->request, &seconds)) {
        positions->options.wait_ms = seconds * 1000;
        if (says) {
            response_header(&exchange->response, "Preference-Applied", "wait=%lld",
                    (long long)seconds);
        }
    }
    return true;
}

bool reading_positions_read(struct exchange *exchange, struct reading_positions *positions)
{
    return read_positions(exchange, positions, true);
}

bool reading_positions_wanted(struct exchange *exchange, struct reading_positions *positions)
{
    return read_positions(exchange, positions, false);
}

bool reading_may_be_old(const struct exchange *exchange)
{
    return !request_header(&exchange->request, "Tally-Min-Position").data;
}

/* Of the tasks here. NULL with *code FENCED: none that may be read. */
static struct tally_read *open_here(struct exchange *exchange, const char *topology,
        int32_t partition, enum tally_read_of of, enum tally_code *code, struct tally_error *err)
{
    struct reading_positions positions;
    struct tally_read *read = NULL;

    *code = TALLY_OK;
    if (!reading_positions_wanted(exchange, &positions)) {
        return NULL;
    }
    positions.options.of = of;
    *code = tally_read_open(exchange->runtime, topology, TALLY_NONE, partition, &positions.options,
            &read, err);
    if (read) {
        (void)reading_positions_read(exchange, &positions); /* Preference-Applied */
        reading_headers(exchange, tally_read_info(read));
    }
    return read;
}

static int32_t partition_of(const struct exchange *exchange, struct tally_slice key,
        int32_t partition)
{
    return partition >= 0 ? partition
                          : tally_partition_of(key, tally_runtime_partitions(exchange->runtime));
}

struct tally_read *reading_at_owner(struct exchange *exchange, const char *topology,
        struct tally_slice key, int32_t partition, bool *away)
{
    struct tally_error err = {0};
    enum tally_code code;
    struct tally_read *read;

    *away = false;
    partition = partition_of(exchange, key, partition);
    read = open_here(exchange, topology, partition, TALLY_READ_RUNNING, &code, &err);
    if (code == TALLY_FENCED && exchange->hurried) {
        exchange->late = true;
        problem_error(exchange, code, &err);
    } else if (code == TALLY_FENCED) {
        *away = !forwarding_answer(exchange, topology, partition);
    } else if (code) {
        problem_error(exchange, code, &err);
    }
    return read;
}

bool reading_elsewhere(struct exchange *exchange, const char *topology, int32_t partition)
{
    return !tally_read_is_here(exchange->runtime, topology, partition) &&
           forwarding_answer(exchange, topology, partition);
}

/* Another instance asks whoever owns the task; what is parked here was owned once. */
enum tally_read_of reading_of(const struct exchange *exchange)
{
    return forwarding_is_forwarded(exchange) || !reading_may_be_old(exchange) ? TALLY_READ_OURS
                                                                              : TALLY_READ_OPEN;
}

struct tally_read *reading_last(struct exchange *exchange, const char *topology,
        struct tally_slice key, int32_t partition)
{
    struct tally_error err = {0};
    enum tally_code code;
    struct tally_read *read = open_here(exchange, topology, partition_of(exchange, key, partition),
            reading_of(exchange), &code, &err);

    if (code) {
        problem_error(exchange, code, &err);
    }
    return read;
}

struct tally_read *reading_open(struct exchange *exchange, const char *topology,
        struct tally_slice key, int32_t partition)
{
    bool away;
    struct tally_read *read = reading_at_owner(exchange, topology, key, partition, &away);

    return away ? reading_last(exchange, topology, key, partition) : read;
}

static void write_position(struct tally_buf *out, const char *topic, int32_t partition,
        int64_t offset)
{
    tally_buf_string(out, topic);
    tally_buf_byte(out, '/');
    tally_buf_int(out, partition);
    tally_buf_byte(out, '@');
    tally_buf_int(out, offset);
}

void reading_position_header(struct exchange *exchange, const char *topic, int32_t partition,
        int64_t offset)
{
    if (offset >= 0) {
        struct tally_buf *headers = &exchange->response.headers;

        tally_buf_string(headers, "Tally-Position: ");
        write_position(headers, topic, partition, offset);
        tally_buf_string(headers, "\r\n");
    }
}

void reading_positions_add(struct tally_buf *positions, const struct tally_read_info *info)
{
    if (info->position >= 0) {
        if (positions->len > 0) {
            tally_buf_byte(positions, ',');
        }
        write_position(positions, info->topic, info->partition, info->position);
    }
}

void reading_positions_header(struct exchange *exchange, const struct tally_buf *positions)
{
    struct tally_buf *headers = &exchange->response.headers;

    if (positions->len > 0 && !positions->failed) {
        tally_buf_string(headers, "Tally-Position: ");
        tally_buf_slice(headers, tally_buf_bytes(positions));
        tally_buf_string(headers, "\r\n");
    }
}

void reading_source_headers(struct exchange *exchange, int64_t as_of_ms, const char *source)
{
    int64_t now_ms = exchange->now_ms ? exchange->now_ms
                                      : tally_wall_ms(tally_runtime_clock(exchange->runtime));
    struct tally_buf *headers = &exchange->response.headers;
    char as_of[TALLY_TIME_LEN + 1];

    if (as_of_ms > 0) {
        as_of_ms = as_of_ms < now_ms ? as_of_ms : now_ms; /* the broker's clock may be ahead */
        tally_format_time(as_of_ms, as_of);
        tally_buf_string(headers, "Tally-As-Of: ");
        tally_buf_append(headers, as_of, TALLY_TIME_LEN);
        tally_buf_string(headers, "\r\nTally-Lag-Ms: ");
        tally_buf_int(headers, now_ms - as_of_ms);
        tally_buf_string(headers, "\r\n");
    }
    tally_buf_string(headers, "Tally-Source: ");
    tally_buf_string(headers, source);
    tally_buf_string(headers, "\r\n");
}

void reading_age_headers(struct exchange *exchange, const struct tally_read_info *info)
{
    reading_source_headers(exchange, info->as_of_ms, "rocksdb");
}

void reading_headers(struct exchange *exchange, const struct tally_read_info *info)
{
    reading_position_header(exchange, info->topic, info->partition, info->position);
    reading_age_headers(exchange, info);
}

bool reading_not_modified(struct exchange *exchange, int32_t partition, int64_t version)
{
    struct tally_slice if_none_match = request_header(&exchange->request, "If-None-Match");
    struct tally_buf *headers = &exchange->response.headers;
    size_t from, len;

    tally_buf_string(headers, "ETag: ");
    from = headers->len;
    tally_buf_string(headers, "\"p");
    tally_buf_int(headers, partition);
    tally_buf_string(headers, "-v");
    tally_buf_int(headers, version);
    tally_buf_byte(headers, '"');
    len = headers->len - from;
    tally_buf_string(headers, "\r\n");
    if (!if_none_match.data || headers->failed ||
            !header_field_none_match(if_none_match, tally_slice_of(headers->data + from, len))) {
        return false;
    }
    response_empty(&exchange->response, 304);
    return true;
}

struct tally_topology *reading_topology(struct exchange *exchange, struct tally_slice name)
{
    size_t count;
    struct tally_topology *const *topologies = tally_runtime_topologies(exchange->runtime, &count);

    for (size_t i = 0; i < count; i++) {
        if (tally_slice_equal(name, tally_slice_string(tally_topology_name(topologies[i])))) {
            return topologies[i];
        }
    }
    return NULL;
}

struct tally_topology *reading_topology_of_topic(struct exchange *exchange,
        struct tally_slice topic)
{
    size_t count;
    struct tally_topology *const *topologies = tally_runtime_topologies(exchange->runtime, &count);

    for (size_t i = 0; i < count; i++) {
        const char *commands = tally_topology_commands(topologies[i]);

        if (commands && tally_slice_equal(topic, tally_slice_string(commands))) {
            return topologies[i];
        }
    }
    return NULL;
}

bool reading_limit(struct exchange *exchange, size_t *limit)
{
    struct tally_slice text = request_query(&exchange->request, "limit");
    int64_t number = LIMIT_DEFAULT;

    if (text.data && (!tally_parse_int(text, &number) || number < 1 || number > LIMIT_MAX)) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER, "limit: expected 1 to %d", LIMIT_MAX);
        return false;
    }
    *limit = (size_t)number;
    return true;
}

enum tally_code reading_row(struct exchange *exchange, struct tally_read *read,
        const struct tally_key *key, struct tally_slice *row, struct tally_error *err)
{
    struct tally_buf *value = &exchange->response.scratch;
    enum tally_code code;

    tally_buf_clear(value);
    code = tally_read_get(read, tally_key_bytes(key), value, err);
    exchange->late |= code == TALLY_AGAIN;
    *row = code ? TALLY_NONE : tally_arena_copy(&exchange->arena, tally_buf_bytes(value));
    return code;
}

bool reading_time(struct exchange *exchange, const char *name, bool *has, int64_t *time_ms)
{
    struct tally_slice text = request_query(&exchange->request, name);

    *has = text.data != NULL;
    if (text.data && !tally_parse_time(text, time_ms)) {
        problem_answer(exchange, PROBLEM_INVALID_PARAMETER,
                "%s: expected a time like 2026-01-15T10:00:00.000Z", name);
        return false;
    }
    return true;
}

void reading_cursor_write(struct exchange *exchange, struct tally_writer *writer,
        struct tally_slice filter, struct tally_slice place)
{
    struct tally_buf text;

    tally_write_name(writer, "next_cursor");
    if (place.len == 0) {
        tally_write_null(writer);
        return;
    }
    tally_buf_init(&text, 2 * CURSOR_PLACE_BYTES_MAX);
    cursor_seal(exchange->cursor_key, filter, place, &text);
    tally_write_string(writer, tally_buf_bytes(&text));
    tally_buf_deinit(&text);
}

bool reading_cursor(struct exchange *exchange, struct tally_slice filter, struct tally_buf *place)
{
    struct tally_slice text = request_query(&exchange->request, "cursor");

    if (text.data && !cursor_unseal(exchange->cursor_key, filter, text, place)) {
        problem_answer(exchange, PROBLEM_INVALID_CURSOR, "the cursor is not of this query");
        return false;
    }
    return true;
}
