/* http/reading.c - see reading.h. */
#include "http/reading.h"

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

bool reading_positions_read(struct exchange *exchange, struct reading_positions *positions)
{
    struct tally_slice text = request_header(&exchange->request, "Tally-Min-Position");
    int64_t seconds;

    positions->options = (struct tally_read_options){.positions = positions->items};
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
        response_header(&exchange->response, "Preference-Applied", "wait=%lld", (long long)seconds);
    }
    return true;
}

struct tally_read *reading_open(struct exchange *exchange, const char *topology,
        struct tally_slice key, int32_t partition)
{
    struct reading_positions positions;
    struct tally_read *read = NULL;
    struct tally_error err = {0};
    enum tally_code code;

    if (!reading_positions_read(exchange, &positions)) {
        return NULL;
    }
    code = tally_read_open(exchange->runtime, topology, key, partition, &positions.options, &read,
            &err);
    if (code) {
        problem_error(exchange, code, &err);
        return NULL;
    }
    reading_headers(exchange, tally_read_info(read));
    return read;
}

void reading_position_header(struct exchange *exchange, const char *topic, int32_t partition,
        int64_t offset)
{
    if (offset >= 0) {
        response_header(&exchange->response, "Tally-Position", "%s/%d@%lld", topic, (int)partition,
                (long long)offset);
    }
}

void reading_age_headers(struct exchange *exchange, const struct tally_read_info *info)
{
    int64_t now_ms = tally_wall_ms(tally_runtime_clock(exchange->runtime));
    int64_t lag_ms = now_ms > info->as_of_ms ? now_ms - info->as_of_ms : 0;
    char as_of[TALLY_TIME_LEN + 1];

    tally_format_time(info->as_of_ms, as_of);
    response_header(&exchange->response, "Tally-As-Of", "%s", as_of);
    response_header(&exchange->response, "Tally-Lag-Ms", "%lld", (long long)lag_ms);
    response_header(&exchange->response, "Tally-Source", "rocksdb");
}

void reading_headers(struct exchange *exchange, const struct tally_read_info *info)
{
    reading_position_header(exchange, info->topic, info->partition, info->position);
    reading_age_headers(exchange, info);
}

bool reading_not_modified(struct exchange *exchange, int32_t partition, int64_t version)
{
    struct tally_slice if_none_match = request_header(&exchange->request, "If-None-Match");
    struct tally_buf etag;
    bool same;

    tally_buf_init(&etag, 64);
    tally_buf_format(&etag, "\"p%d-v%lld\"", (int)partition, (long long)version);
    response_header(&exchange->response, "ETag", "%.*s", (int)etag.len, (const char *)etag.data);
    same = if_none_match.data && header_field_none_match(if_none_match, tally_buf_bytes(&etag));
    if (same) {
        response_empty(&exchange->response, 304);
    }
    tally_buf_deinit(&etag);
    return same;
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
