/* http/sink_ops.c - see the header. What is asked for takes effect at the sink's next turn, so the
 * answer is 202 with the sink as it is now. A body is not looked at. */
#include "http/sink_ops.h"

#include "engine/base/clock.h"
#include "http/problem.h"

enum { POSITIONS_BYTES_MAX = 1024 * 1024 };

static void write_text(struct tally_writer *writer, const char *name, const char *text)
{
    tally_write_name(writer, name);
    tally_write_string(writer, tally_slice_string(text));
}

static void write_number(struct tally_writer *writer, const char *name, int64_t number)
{
    tally_write_name(writer, name);
    if (number >= 0) {
        tally_write_int(writer, number);
    } else {
        tally_write_null(writer);
    }
}

/* "stock.events/0@1042,...": the next offset of each partition; "": none is written yet. */
static void write_positions(struct exchange *exchange, struct tally_writer *writer,
        struct tally_sinks *sinks, size_t index)
{
    size_t max = sinks->ops->positions(sinks, index, NULL, 0), count;
    struct tally_topic_partition *list =
            tally_arena_alloc(&exchange->arena, (max + 1) * sizeof *list);
    struct tally_buf text;

    tally_buf_init(&text, POSITIONS_BYTES_MAX);
    count = sinks->ops->positions(sinks, index, list, max);
    for (size_t i = 0; i < count && i < max; i++) {
        if (list[i].offset >= 0) {
            tally_buf_format(&text, "%s%s/%d@%lld", text.len > 0 ? "," : "", list[i].topic,
                    (int)list[i].partition, (long long)list[i].offset);
        }
    }
    tally_write_name(writer, "positions");
    tally_write_string(writer, tally_buf_bytes(&text));
    tally_buf_deinit(&text);
}

static void write_error(struct tally_writer *writer, const struct tally_sink_info *info)
{
    tally_write_name(writer, "error");
    if (info->failed_ms == 0) {
        tally_write_null(writer);
        return;
    }
    tally_write_map(writer, 3);
    write_text(writer, "code", tally_code_name(info->last.code));
    write_text(writer, "detail", info->last.message);
    tally_write_name(writer, "at");
    tally_write_time(writer, info->failed_ms);
}

static void write_sink(struct exchange *exchange, struct tally_writer *writer,
        struct tally_sinks *sinks, size_t index)
{
    int64_t now_ms = tally_wall_ms(tally_runtime_clock(exchange->runtime));
    struct tally_sink_info info;

    sinks->ops->info(sinks, index, &info);
    tally_write_map(writer, 12);
    write_text(writer, "name", info.name);
    write_text(writer, "state", tally_sink_state_name(info.state));
    write_text(writer, "breaker", tally_sink_breaker_name(info.breaker));
    write_number(writer, "partitions", (int64_t)info.partitions);
    write_positions(exchange, writer, sinks, index);
    write_number(writer, "lag", info.lag);
    tally_write_name(writer, "as_of");
    if (info.as_of_ms > 0) {
        tally_write_time(writer, info.as_of_ms);
    } else {
        tally_write_null(writer);
    }
    write_number(writer, "lag_ms",
            info.as_of_ms > 0 ? (now_ms > info.as_of_ms ? now_ms - info.as_of_ms : 0) : -1);
    write_number(writer, "records", info.records);
    write_number(writer, "batches", info.batches);
    write_number(writer, "dead_letters", info.dead_letters);
    write_error(writer, &info);
}

void sink_ops_list(struct exchange *exchange)
{
    struct tally_sinks *sinks = tally_runtime_sinks(exchange->runtime);
    size_t count = sinks ? sinks->ops->count(sinks) : 0;
    struct tally_writer writer;

    response_json(&exchange->response, 200, &writer);
    tally_write_map(&writer, 1);
    tally_write_name(&writer, "items");
    tally_write_array(&writer, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        write_sink(exchange, &writer, sinks, i);
    }
}

/* The sink of the path; false: the problem is answered. */
static bool find(struct exchange *exchange, struct tally_sinks **sinks, size_t *index)
{
    struct tally_slice name = exchange->request.params[0];
    size_t count;

    *sinks = tally_runtime_sinks(exchange->runtime);
    count = *sinks ? (*sinks)->ops->count(*sinks) : 0;
    for (*index = 0; *index < count; *index += 1) {
        struct tally_sink_info info;

        (*sinks)->ops->info(*sinks, *index, &info);
        if (tally_slice_equal(name, tally_slice_string(info.name))) {
            return true;
        }
    }
    problem_answer(exchange, PROBLEM_NOT_FOUND,
            "this instance has no such sink: see GET /v1/ops/sinks, and postgres.url and redis.url "
            "in its settings");
    return false;
}

static void answer(struct exchange *exchange, struct tally_sinks *sinks, size_t index,
        enum tally_code code, const struct tally_error *err)
{
    struct tally_writer writer;

    if (code) {
        problem_error(exchange, code, err);
        return;
    }
    response_json(&exchange->response, 200, &writer);
    write_sink(exchange, &writer, sinks, index);
}

void sink_ops_pause(struct exchange *exchange)
{
    struct tally_error err = {.code = TALLY_OK};
    struct tally_sinks *sinks;
    size_t index;

    if (find(exchange, &sinks, &index)) {
        enum tally_code code = sinks->ops->pause(sinks, index, &err);

        answer(exchange, sinks, index, code, &err);
    }
}

void sink_ops_resume(struct exchange *exchange)
{
    struct tally_error err = {.code = TALLY_OK};
    struct tally_sinks *sinks;
    size_t index;

    if (find(exchange, &sinks, &index)) {
        enum tally_code code = sinks->ops->resume(sinks, index, &err);

        answer(exchange, sinks, index, code, &err);
    }
}

void sink_ops_rebuild(struct exchange *exchange)
{
    struct tally_error err = {.code = TALLY_OK};
    struct tally_sinks *sinks;
    size_t index;

    if (find(exchange, &sinks, &index)) {
        enum tally_code code = sinks->ops->rebuild(sinks, index, &err);

        answer(exchange, sinks, index, code, &err);
    }
}
