/* connectors/redis_sink.c - see redis_sink.h. */
#include "connectors/redis_sink.h"

#include <stdio.h>

#include "connectors/redis_rows.h"
#include "connectors/redis_script.h"
#include "connectors/redis_sweep.h"
#include "engine/base/clock.h"
#include "engine/base/failpoint.h"
#include "engine/base/log.h"

enum {
    SCRIPT_ROWS = 100,            /* a script's rows: longer ones make others wait in Redis */
    SCRIPT_BYTES = 1024 * 1024,   /* the same, of large documents */
    WINDOW_SCRIPTS = 48,          /* on their way at once: Redis has work while more is read */
    VALUE_MAX = 16 * 1024 * 1024, /* a document of 1 MiB, all of it escaped */
    BUFFER_MAX = 64 * 1024 * 1024,
    SWEEP_MS = 200, /* of a flush, while a rebuild ends */
    ROW_ARGUMENTS = 5,
    HEAD_ARGUMENTS = 9
};

struct partition {
    char *topic, *name; /* name: <topic>/<partition> */
    int32_t partition;
    bool open;
    char epoch[REDIS_SWEEP_TEXT];
    int64_t position; /* NONE: none */
    int64_t known;    /* the furthest that was written in this generation; NONE */
    char generation[REDIS_SWEEP_TEXT];
};

struct redis_sink {
    struct tally_sink sink;
    struct redis_place place;
    struct tally_buf base;
    struct redis_connection *connection; /* NULL: not started */
    struct partition *partitions;
    size_t partition_count;
    struct redis_rows rows;
    struct redis_sweep sweep;
    struct tally_buf out; /* a script */
    bool known;           /* Redis has run a script of this flush */
    size_t awaited;       /* scripts on their way; also when a flush has returned */
    struct tally_buf keys, arguments, value;
};

static struct redis_sink *self(struct tally_sink *sink)
{
    return (struct redis_sink *)sink;
}

/* --- keys ------------------------------------------------------------------------------------- */

static void append_key(struct redis_sink *sink, struct tally_buf *to, const char *family,
        struct tally_slice id)
{
    tally_buf_clear(&sink->value);
    tally_buf_slice(&sink->value, tally_buf_bytes(&sink->base));
    tally_buf_string(&sink->value, family);
    tally_buf_slice(&sink->value, id);
    redis_connection_bytes(to, tally_buf_bytes(&sink->value));
}

static void append_control(struct redis_sink *sink, struct tally_buf *to)
{
    append_key(sink, to, "sink", TALLY_NONE);
    append_key(sink, to, "sink:partitions", TALLY_NONE);
}

/* An offset; nothing where there is none. */
static void append_offset(struct tally_buf *to, int64_t offset)
{
    if (offset < 0) {
        redis_connection_text(to, "");
    } else {
        redis_connection_int(to, offset);
    }
}

static struct partition *find(struct redis_sink *sink, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < sink->partition_count; i++) {
        if (sink->partitions[i].partition == partition &&
                strcmp(sink->partitions[i].topic, topic) == 0) {
            return &sink->partitions[i];
        }
    }
    return NULL;
}

static struct partition *find_or_make(struct redis_sink *sink, const char *topic, int32_t number)
{
    struct partition *found = find(sink, topic, number);

    if (!found) {
        sink->partitions = tally_realloc(sink->partitions,
                (sink->partition_count + 1) * sizeof *sink->partitions);
        found = &sink->partitions[sink->partition_count++];
        *found = (struct partition){.topic = tally_copy_string(topic),
                .name = tally_copy_format("%s/%d", topic, (int)number),
                .partition = number,
                .position = TALLY_OFFSET_NONE,
                .known = TALLY_OFFSET_NONE};
    }
    return found;
}

/* --- replies ---------------------------------------------------------------------------------- */

static void take_phase(struct redis_sink *sink, redisReply *reply)
{
    struct tally_slice phase = redis_connection_string(reply);

    if (phase.len < sizeof sink->sweep.phase) {
        memcpy(sink->sweep.phase, phase.len ? (const char *)phase.data : "", phase.len);
        sink->sweep.phase[phase.len] = '\0';
    }
    freeReplyObject(reply);
}

/* Waits until at most `left` scripts are on their way; after an error until none is, as each reply
 * belongs to a command. */
static enum tally_code await(struct redis_sink *sink, size_t left, struct tally_error *err)
{
    enum tally_code failed = TALLY_OK;

    while (sink->awaited > (failed ? 0 : left) && !sink->connection->broken) {
        struct tally_error here = {0};
        redisReply *reply;
        enum tally_code code = redis_connection_reply(sink->connection, &reply, &here);

        sink->awaited--;
        if (!code) {
            take_phase(sink, reply);
        } else if (!failed) {
            failed = code;
            *err = here;
        }
    }
    if (failed == TALLY_AGAIN) {
        failed = tally_error_set(err, TALLY_UNAVAILABLE, "redis forgot a script in the middle");
    } else if (!failed && sink->awaited > left) {
        failed = tally_error_set(err, TALLY_UNAVAILABLE, "the connection to redis is broken");
    }
    return failed;
}

/* What a flush has left behind is not waited for by a settle: whether Redis took it, open tells. */
static void give_up(struct redis_sink *sink)
{
    struct tally_error late;

    if (sink->connection && sink->awaited > 0) {
        (void)await(sink, 0, &late);
    }
}

/* --- start, open, close ----------------------------------------------------------------------- */

static void redis_sink_stop(struct tally_sink *base)
{
    struct redis_sink *sink = self(base);

    redis_connection_close(sink->connection);
    sink->connection = NULL;
    sink->awaited = 0;
    redis_rows_clear(&sink->rows);
    for (size_t i = 0; i < sink->partition_count; i++) {
        sink->partitions[i].open = false;
    }
}

/* Keys without a time to live must stay: a hash that was evicted and written again would lack
 * fields. */
static enum tally_code check_policy(const struct redis_connection *connection,
        struct tally_error *err)
{
    if (strncmp(connection->policy, "allkeys", 7) == 0) {
        return tally_error_set(err, TALLY_SINK_SCHEMA,
                "redis would evict read models: set maxmemory-policy to noeviction, it is \"%s\"",
                connection->policy);
    }
    return TALLY_OK;
}

static enum tally_code redis_sink_start(struct tally_sink *base, struct tally_error *err)
{
    struct redis_sink *sink = self(base);
    enum tally_code code;

    redis_sink_stop(base);
    code = redis_connection_open(&sink->place, &sink->connection, err);
    code = code ? code : redis_script_prepare(sink->connection, err);
    code = code ? code : check_policy(sink->connection, err);
    if (code) {
        redis_sink_stop(base);
    }
    return code;
}

static bool take_text(const redisReply *reply, size_t index, char *text, size_t size)
{
    struct tally_slice found = redis_connection_element(reply, index);

    if (!found.data || found.len >= size) {
        return false;
    }
    memcpy(text, found.data, found.len);
    text[found.len] = '\0';
    return true;
}

static enum tally_code open_one(struct redis_sink *sink, struct partition *partition, int64_t end,
        struct tally_error *err)
{
    redisReply *reply;
    enum tally_code code;
    bool known;

    tally_buf_clear(&sink->out);
    redis_script_begin(sink->connection, REDIS_SCRIPT_OPEN, &sink->out, 3, 6);
    append_control(sink, &sink->out);
    append_key(sink, &sink->out, "sink:", tally_slice_string(partition->name));
    redis_connection_bytes(&sink->out, tally_buf_bytes(&sink->base));
    redis_connection_text(&sink->out, partition->name);
    redis_connection_text(&sink->out, sink->connection->run);
    redis_connection_int(&sink->out, end);
    redis_connection_int(&sink->out, partition->known);
    redis_connection_text(&sink->out, partition->generation);
    code = redis_script_call(sink->connection, REDIS_SCRIPT_OPEN, tally_buf_bytes(&sink->out),
            &reply, err);
    tally_buf_clear(&sink->out);
    if (code) {
        return code;
    }
    known = take_text(reply, 0, partition->epoch, sizeof partition->epoch) &&
            take_text(reply, 2, partition->generation, sizeof partition->generation) &&
            take_text(reply, 3, sink->sweep.phase, sizeof sink->sweep.phase);
    if (!redis_connection_element_int(reply, 1, &partition->position)) {
        partition->position = TALLY_OFFSET_NONE;
    }
    freeReplyObject(reply);
    if (!known) {
        return tally_error_set(err, TALLY_SINK_SCHEMA,
                "redis answers a script with something else");
    }
    if (partition->known > 0 && partition->known > partition->position) {
        tally_log(TALLY_LOG_WARN, "redis has lost content, or is rebuilt: it is read again",
                TALLY_LOG_STR("partition", partition->name),
                TALLY_LOG_INT("from", partition->position < 0 ? 0 : partition->position),
                TALLY_LOG_INT("was", partition->known));
    }
    partition->known = partition->position;
    partition->open = true;
    memcpy(sink->sweep.generation, partition->generation, sizeof sink->sweep.generation);
    return TALLY_OK;
}

static enum tally_code redis_sink_open(struct tally_sink *base,
        struct tally_topic_partition *partitions, size_t count, struct tally_error *err)
{
    struct redis_sink *sink = self(base);
    enum tally_code code = TALLY_OK;

    give_up(sink);
    for (size_t i = 0; i < count && !code; i++) {
        struct partition *partition =
                find_or_make(sink, partitions[i].topic, partitions[i].partition);

        code = open_one(sink, partition, partitions[i].offset, err);
        if (!code) {
            partitions[i].offset = partition->position;
        }
    }
    sink->sweep.scanning[0] = '\0'; /* whatever was scanned, it may be of another generation */
    return code;
}

/* HMGET key field other; the two values, "" where there is none. */
static enum tally_code look_at(struct redis_sink *sink, const char *name, const char *field,
        const char *other, char values[2][REDIS_SWEEP_TEXT], struct tally_error *err)
{
    redisReply *reply;
    enum tally_code code;

    tally_buf_clear(&sink->out);
    redis_connection_begin(&sink->out, 4);
    redis_connection_text(&sink->out, "HMGET");
    append_key(sink, &sink->out, "sink", tally_slice_string(name));
    redis_connection_text(&sink->out, field);
    redis_connection_text(&sink->out, other);
    code = redis_connection_call(sink->connection, tally_buf_bytes(&sink->out), &reply, err);
    tally_buf_clear(&sink->out);
    for (size_t i = 0; i < 2 && !code; i++) {
        if (!take_text(reply, i, values[i], REDIS_SWEEP_TEXT)) {
            values[i][0] = '\0';
        }
    }
    if (!code) {
        freeReplyObject(reply);
    }
    return code;
}

static enum tally_code redis_sink_look(struct tally_sink *base,
        struct tally_topic_partition *partitions, size_t count, struct tally_error *err)
{
    struct redis_sink *sink = self(base);
    char control[2][REDIS_SWEEP_TEXT], at[2][REDIS_SWEEP_TEXT];
    enum tally_code code = look_at(sink, "", "generation", "phase", control, err);

    if (!code) {
        memcpy(sink->sweep.phase, control[1], sizeof control[1]);
    }
    for (size_t i = 0; i < count && !code; i++) {
        char *name = tally_copy_format(":%s/%d", partitions[i].topic, (int)partitions[i].partition);

        code = look_at(sink, name, "position", "generation", at, err);
        if (!code && (strcmp(at[1], control[0]) != 0 ||
                             !tally_parse_int(tally_slice_string(at[0]), &partitions[i].offset))) {
            partitions[i].offset = TALLY_OFFSET_NONE;
        }
        tally_free(name);
    }
    return code;
}

static void redis_sink_close(struct tally_sink *base,
        const struct tally_topic_partition *partitions, size_t count)
{
    give_up(self(base));
    for (size_t i = 0; i < count; i++) {
        struct partition *found = find(self(base), partitions[i].topic, partitions[i].partition);

        if (found) {
            found->open = false;
        }
    }
}

/* --- writing ---------------------------------------------------------------------------------- */

static enum tally_code redis_sink_put(struct tally_sink *base,
        const struct tally_sink_record *records, size_t count, struct tally_error *err)
{
    (void)err;
    for (size_t i = 0; i < count; i++) {
        redis_rows_add(&self(base)->rows, &records[i]);
    }
    return TALLY_OK;
}

/* The first script of a flush is waited for, as Redis may have forgotten its text. */
static enum tally_code submit(struct redis_sink *sink, struct tally_error *err)
{
    struct tally_slice script = tally_buf_bytes(&sink->out);
    redisReply *reply;
    enum tally_code code;

    if (!sink->known) {
        code = redis_script_call(sink->connection, REDIS_SCRIPT_WRITE, script, &reply, err);
        if (!code) {
            take_phase(sink, reply);
            sink->known = true;
        }
    } else {
        code = redis_connection_send(sink->connection, script, err);
        sink->awaited += !code;
        code = code ? code : await(sink, WINDOW_SCRIPTS, err);
    }
    tally_buf_clear(&sink->out);
    return code;
}

static void append_row_key(struct redis_sink *sink, const struct redis_row *row)
{
    tally_buf_clear(&sink->value);
    tally_buf_slice(&sink->value, tally_buf_bytes(&sink->base));
    tally_buf_string(&sink->value, redis_rows_families[row->kind]);
    tally_buf_byte(&sink->value, ':');
    tally_buf_slice(&sink->value, row->id);
    redis_connection_bytes(&sink->keys, tally_buf_bytes(&sink->value));
}

static enum tally_code append_row(struct redis_sink *sink, const struct redis_row *row,
        struct tally_error *err)
{
    int64_t version = redis_rows_version(row);

    append_row_key(sink, row);
    redis_connection_text(&sink->arguments, redis_rows_kinds[row->kind]);
    redis_connection_bytes(&sink->arguments, row->warehouse);
    append_offset(&sink->arguments, version);
    redis_connection_int(&sink->arguments, row->offset);
    tally_buf_clear(&sink->value);
    redis_rows_value(row, &sink->value);
    redis_connection_bytes(&sink->arguments, tally_buf_bytes(&sink->value));
    if (sink->value.failed) {
        return tally_error_set(err, TALLY_SINK_REFUSED, "a document of more than %d bytes",
                VALUE_MAX);
    }
    return TALLY_OK;
}

/* What one script says besides its rows. to NONE: more scripts of the partition follow. */
struct step {
    int64_t number, to, command, as_of_ms;
    size_t rows;
};

static enum tally_code send_script(struct redis_sink *sink, const struct partition *partition,
        const struct step *step, struct tally_error *err)
{
    struct tally_buf *out = &sink->out;

    redis_script_begin(sink->connection, REDIS_SCRIPT_WRITE, out, 3 + step->rows,
            HEAD_ARGUMENTS + ROW_ARGUMENTS * step->rows);
    append_control(sink, out);
    append_key(sink, out, "sink:", tally_slice_string(partition->name));
    tally_buf_slice(out, tally_buf_bytes(&sink->keys));
    redis_connection_bytes(out, tally_buf_bytes(&sink->base));
    redis_connection_text(out, partition->epoch);
    redis_connection_text(out, sink->connection->run);
    append_offset(out, partition->position);
    redis_connection_int(out, step->number);
    append_offset(out, step->to);
    append_offset(out, step->command);
    append_offset(out, step->as_of_ms);
    tally_buf_clear(&sink->value);
    tally_buf_format(&sink->value, "\"topic\":\"%s\",\"partition\":%d", partition->topic,
            (int)partition->partition);
    redis_connection_bytes(out, tally_buf_bytes(&sink->value));
    tally_buf_slice(out, tally_buf_bytes(&sink->arguments));
    return submit(sink, err);
}

static enum tally_code write_partition(struct redis_sink *sink, const struct partition *partition,
        const struct redis_rows_partition *rows, int64_t to, struct tally_error *err)
{
    const struct redis_row *row = rows ? rows->first : NULL;
    struct step step = {.command = rows ? rows->command : -1,
            .as_of_ms = rows ? rows->time_ms : TALLY_OFFSET_NONE};
    enum tally_code code = TALLY_OK;

    if (sink->rows.record_count == 0) { /* read to the end */
        step.as_of_ms = tally_wall_ms(tally_clock_real());
    }
    do {
        tally_buf_clear(&sink->keys);
        tally_buf_clear(&sink->arguments);
        for (step.rows = 0;
                row && !code && step.rows < SCRIPT_ROWS && sink->arguments.len < SCRIPT_BYTES;
                row = row->next) {
            code = append_row(sink, row, err);
            step.rows++;
        }
        if (code) {
            return code;
        }
        step.to = row ? TALLY_OFFSET_NONE : to;
        code = send_script(sink, partition, &step, err);
        step.number++;
    } while (row && !code);
    return code;
}

static enum tally_code write_all(struct redis_sink *sink,
        const struct tally_topic_partition *positions, size_t count, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; i < count && !code; i++) {
        struct partition *partition = find(sink, positions[i].topic, positions[i].partition);
        const struct redis_rows_partition *rows =
                redis_rows_of(&sink->rows, positions[i].topic, positions[i].partition);

        if (!partition || !partition->open || positions[i].offset < 0 ||
                (!rows && sink->rows.record_count > 0 &&
                        positions[i].offset == partition->position)) {
            continue;
        }
        code = write_partition(sink, partition, rows, positions[i].offset, err);
        partition->position = positions[i].offset;
    }
    return code;
}

static enum tally_code redis_sink_flush(struct tally_sink *base,
        const struct tally_topic_partition *positions, size_t count, struct tally_error *err)
{
    struct redis_sink *sink = self(base);
    enum tally_code code;

    if (!sink->connection) {
        redis_rows_clear(&sink->rows);
        return tally_error_set(err, TALLY_UNAVAILABLE, "the redis sink is not started");
    }
    tally_buf_clear(&sink->out);
    sink->known = false;
    code = TALLY_FAILPOINT_CODE(REDIS_BEFORE, TALLY_UNAVAILABLE, err);
    code = code ? code : write_all(sink, positions, count, err);
    if (code) {
        give_up(sink);
    }
    redis_rows_clear(&sink->rows);
    return code;
}

static enum tally_code redis_sink_settle(struct tally_sink *base, struct tally_error *err)
{
    struct redis_sink *sink = self(base);
    enum tally_code code = await(sink, 0, err);

    for (size_t i = 0; i < sink->partition_count && !code; i++) {
        struct partition *partition = &sink->partitions[i];

        if (partition->open) {
            partition->known = partition->position;
        }
    }
    code = code ? code : TALLY_FAILPOINT_CODE(REDIS_AFTER, TALLY_UNAVAILABLE, err);
    return code ? code
                : redis_sweep_step(&sink->sweep, sink->connection, tally_buf_bytes(&sink->base),
                          SWEEP_MS, err);
}

static enum tally_code redis_sink_rebuild(struct tally_sink *base, struct tally_error *err)
{
    struct redis_sink *sink = self(base);
    redisReply *reply;
    enum tally_code code = sink->connection ? TALLY_OK : redis_sink_start(base, err);

    if (code) {
        return code;
    }
    give_up(sink);
    tally_buf_clear(&sink->out);
    redis_script_begin(sink->connection, REDIS_SCRIPT_REBUILD, &sink->out, 2, 1);
    append_control(sink, &sink->out);
    redis_connection_bytes(&sink->out, tally_buf_bytes(&sink->base));
    code = redis_script_call(sink->connection, REDIS_SCRIPT_REBUILD, tally_buf_bytes(&sink->out),
            &reply, err);
    tally_buf_clear(&sink->out);
    freeReplyObject(reply);
    return code;
}

static bool redis_sink_rebuilding(const struct tally_sink *base)
{
    return ((const struct redis_sink *)base)->sweep.phase[0] != '\0';
}

static void redis_sink_destroy(struct tally_sink *base)
{
    struct redis_sink *sink = self(base);

    redis_sink_stop(base);
    for (size_t i = 0; i < sink->partition_count; i++) {
        tally_free(sink->partitions[i].topic);
        tally_free(sink->partitions[i].name);
    }
    tally_free(sink->partitions);
    redis_rows_deinit(&sink->rows);
    tally_buf_deinit(&sink->base);
    tally_buf_deinit(&sink->out);
    tally_buf_deinit(&sink->keys);
    tally_buf_deinit(&sink->arguments);
    tally_buf_deinit(&sink->value);
    tally_free(sink);
}

static const struct tally_sink_ops redis_sink_ops = {
        .name = "redis",
        .start = redis_sink_start,
        .open = redis_sink_open,
        .look = redis_sink_look,
        .put = redis_sink_put,
        .flush = redis_sink_flush,
        .settle = redis_sink_settle,
        .close = redis_sink_close,
        .stop = redis_sink_stop,
        .rebuild = redis_sink_rebuild,
        .rebuilding = redis_sink_rebuilding,
        .destroy = redis_sink_destroy,
};

enum tally_code tally_redis_sink_create(const struct tally_config *config, struct tally_sink **sink,
        struct tally_error *err)
{
    struct redis_sink *made;
    struct redis_place place;
    enum tally_code code = redis_connection_place(config, &place, err);

    *sink = NULL;
    if (code) {
        return code;
    }
    made = tally_alloc_zero(1, sizeof *made);
    made->sink.ops = &redis_sink_ops;
    made->place = place;
    tally_buf_init(&made->base, 1024);
    redis_connection_base(config, &made->base);
    redis_rows_init(&made->rows);
    tally_buf_init(&made->out, BUFFER_MAX);
    tally_buf_init(&made->keys, BUFFER_MAX);
    tally_buf_init(&made->arguments, BUFFER_MAX);
    tally_buf_init(&made->value, VALUE_MAX);
    *sink = &made->sink;
    return TALLY_OK;
}
