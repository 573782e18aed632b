/* connectors/postgres_sink.c - writes committed events to PostgreSQL, exactly once in effect.
 * Invariants
 *  (1) Rows and positions are one transaction, which begins with the positions: rows of
 *      sink_position with this owner's epochs. One is missing: FENCED, nothing is written.
 *  (2) Epochs are of one sequence for both contents, and are given under a lock: a later takeover
 *      has a higher one, and none fits the other content.
 *  (3) A COMMIT without an answer is settled by open, which reads the positions.
 *  (4) A rebuild is state of the database: whoever opens finds it. What is read and what is built
 *      change places in one transaction that no flush overlaps.
 *
 *   content: tally --[rebuild, by anybody: fenced]--> tally_next, from the beginning
 *            tally_next --[all partitions have got as far: swap]--> tally
 *
 * A swap renames schemas; with search_path set again, statements find what has the name now. */
#include "connectors/postgres_sink.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "connectors/postgres_internal.h"
#include "engine/base/clock.h"
#include "engine/base/failpoint.h"
#include "engine/base/log.h"

#define MONTHS_MAX ((9999 - 1970 + 1) * 12)
#define LOCK_MS    "5000" /* for what waits for readers; they go on */

struct postgres_partition {
    char *topic;
    int32_t partition;
    int64_t epoch;
};
struct postgres_sink {
    struct tally_sink sink;
    struct postgres_options options;
    struct postgres_connection connection;
    struct postgres_batch batch;
    struct postgres_writer writer;
    struct postgres_partition *partitions;
    size_t partition_count;
    const struct tally_sink_record **records; /* of the batch */
    size_t record_count, record_capacity;
    bool building;                      /* tally_next is written */
    uint8_t months[MONTHS_MAX / 8 + 1]; /* of which the ledger has partitions, as far as is known */
};

static struct postgres_sink *self(struct tally_sink *sink)
{
    return (struct postgres_sink *)(void *)sink;
}

struct postgres_writer *postgres_sink_writer(struct tally_sink *sink)
{
    return &self(sink)->writer;
}

static const char *content(const struct postgres_sink *sink)
{
    return sink->building ? "tally_next" : "tally";
}

static void forget_records(struct postgres_sink *sink)
{
    sink->record_count = 0;
    postgres_facts_clear(&sink->batch);
}

static void forget_partitions(struct postgres_sink *sink)
{
    for (size_t i = 0; i < sink->partition_count; i++) {
        tally_free(sink->partitions[i].topic);
    }
    sink->partition_count = 0;
}

/* Ends what has begun; the connection may be gone, and then the server does the same. */
static void roll_back(struct postgres_sink *sink)
{
    postgres_write_rolled_back(&sink->writer);
    if (!sink->connection.broken && PQtransactionStatus(sink->connection.handle) != PQTRANS_IDLE) {
        (void)!postgres_connection_run(&sink->connection, "could not roll back", "ROLLBACK", 0,
                NULL, NULL);
    }
}

static enum tally_code run(struct postgres_sink *sink, const char *what, const char *statement,
        struct tally_error *err)
{
    return postgres_connection_run(&sink->connection, what, statement, 0, NULL, err);
}

/* --- start, stop ------------------------------------------------------------------------------ */

static void stop(struct tally_sink *base)
{
    struct postgres_sink *sink = self(base);

    postgres_connection_close(&sink->connection);
    forget_records(sink);
    forget_partitions(sink);
    postgres_write_forget(&sink->writer);
    memset(sink->months, 0, sizeof sink->months);
}

static enum tally_code check_writable(struct postgres_sink *sink, struct tally_error *err)
{
    PGresult *result;
    enum tally_code code = postgres_connection_query(&sink->connection, "could not ask the server",
            "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean", 0,
            NULL, &result, err);

    if (!code && PQgetvalue(result, 0, 0)[0] == 't') {
        code = tally_error_set(err, TALLY_SINK_FULL,
                "the server takes no writes: give the URL of the primary");
    }
    PQclear(result);
    return code;
}

static enum tally_code start(struct tally_sink *base, struct tally_error *err)
{
    struct postgres_sink *sink = self(base);
    enum tally_code code;

    stop(base);
    code = postgres_connection_open(&sink->connection, &sink->options, err);
    if (!code) {
        code = check_writable(sink, err);
    }
    if (!code) {
        code = postgres_schema_check(&sink->connection, err);
    }
    if (code) {
        stop(base);
    }
    return code;
}

/* --- which content ---------------------------------------------------------------------------- */

static enum tally_code choose_content(struct postgres_sink *sink, struct tally_error *err)
{
    const char *name;
    PGresult *result;
    enum tally_code code =
            postgres_connection_query(&sink->connection, "could not ask for a rebuild",
                    "SELECT building FROM tally_sink.rebuild", 0, NULL, &result, err);
    bool building = !code && PQntuples(result) == 1 && PQgetvalue(result, 0, 0)[0] == 't';

    PQclear(result);
    if (code) {
        return code;
    }
    if (building != sink->building) {
        memset(sink->months, 0, sizeof sink->months);
    }
    sink->building = building;
    name = content(sink);
    return postgres_connection_run(&sink->connection, "could not choose a schema",
            "SELECT set_config('search_path', $1, false)", 1, &name, err);
}

/* The old content, once it is read no more; that it is there harms nobody. */
static void discard_old(struct postgres_sink *sink)
{
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code = run(sink, "could not begin", "BEGIN", &err);

    if (!code) {
        code = run(sink, "could not limit a wait", "SET LOCAL lock_timeout = " LOCK_MS, &err);
    }
    if (!code) {
        code = run(sink, "could not empty the old content", "SELECT tally_sink.discard_old()",
                &err);
    }
    if (!code) {
        code = run(sink, "could not commit", "COMMIT", &err);
    }
    if (code) {
        tally_log_error(TALLY_LOG_WARN, "old content stays for now", &err);
        roll_back(sink);
    }
}

/* Lets the new content take the old one's place, if it is complete. */
static enum tally_code try_swap(struct postgres_sink *sink, struct tally_error *err)
{
    PGresult *result;
    enum tally_code code = TALLY_FAILPOINT_CODE(PG_SWAP_BEFORE, TALLY_UNAVAILABLE, err);
    bool swapped;

    if (code) {
        return code;
    }
    code = postgres_connection_query(&sink->connection, "could not finish the rebuild",
            "SELECT tally_sink.rebuild_swap()", 0, NULL, &result, err);
    swapped = !code && PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    if (!code && swapped) {
        code = TALLY_FAILPOINT_CODE(PG_SWAP_AFTER, TALLY_UNAVAILABLE, err);
    }
    if (!code && swapped) {
        tally_log(TALLY_LOG_INFO, "rebuilt content is read now", TALLY_LOG_STR("sink", "postgres"));
        code = choose_content(sink, err);
        discard_old(sink);
    }
    return code;
}

/* --- open, close ------------------------------------------------------------------------------ */

static struct postgres_partition *find(struct postgres_sink *sink, const char *topic,
        int32_t partition)
{
    for (size_t i = 0; i < sink->partition_count; i++) {
        if (sink->partitions[i].partition == partition &&
                strcmp(sink->partitions[i].topic, topic) == 0) {
            return &sink->partitions[i];
        }
    }
    return NULL;
}

static void remember(struct postgres_sink *sink, const char *topic, int32_t partition,
        int64_t epoch)
{
    struct postgres_partition *known = find(sink, topic, partition);

    if (!known) {
        sink->partitions = tally_realloc(sink->partitions,
                (sink->partition_count + 1) * sizeof *sink->partitions);
        known = &sink->partitions[sink->partition_count++];
        *known = (struct postgres_partition){
                .topic = tally_copy_string(topic), .partition = partition};
    }
    known->epoch = epoch;
}

static int64_t number_of(const PGresult *result, int column)
{
    int64_t value = 0;

    tally_assert(tally_parse_int(tally_slice_string(PQgetvalue(result, 0, column)), &value));
    return value;
}

static enum tally_code take_over(struct postgres_sink *sink,
        struct tally_topic_partition *partition, struct tally_error *err)
{
    char number[16];
    const char *values[] = {partition->topic, number};
    PGresult *result;
    enum tally_code code;

    (void)snprintf(number, sizeof number, "%" PRId32, partition->partition);
    code = postgres_connection_query(&sink->connection, "could not take over a partition",
            "INSERT INTO sink_position AS t (topic, partition, epoch)"
            " VALUES ($1, $2, nextval('tally_sink.epoch'))"
            " ON CONFLICT (topic, partition) DO UPDATE SET epoch = excluded.epoch"
            " RETURNING epoch, next_offset",
            2, values, &result, err);
    if (!code) {
        partition->offset = PQgetisnull(result, 0, 1) ? TALLY_OFFSET_NONE : number_of(result, 1);
        partition->code = TALLY_OK;
        remember(sink, partition->topic, partition->partition, number_of(result, 0));
    }
    PQclear(result);
    return code;
}

static enum tally_code take_over_all(struct postgres_sink *sink,
        struct tally_topic_partition *partitions, size_t count, struct tally_error *err)
{
    enum tally_code code = run(sink, "could not begin", "BEGIN", err);

    if (!code) {
        code = run(sink, "could not wait for other takeovers", "SELECT tally_sink.serialize()",
                err);
    }
    if (!code) {
        code = choose_content(sink, err);
    }
    for (size_t i = 0; !code && i < count; i++) {
        code = take_over(sink, &partitions[i], err);
    }
    if (!code) {
        code = run(sink, "could not commit", "COMMIT", err);
    }
    if (code) {
        roll_back(sink);
    }
    return code;
}

static enum tally_code open_partitions(struct tally_sink *base,
        struct tally_topic_partition *partitions, size_t count, struct tally_error *err)
{
    struct postgres_sink *sink = self(base);
    enum tally_code code = take_over_all(sink, partitions, count, err);

    /* A swap that failed, or whose server went away, is made up for here. */
    return !code && sink->building ? try_swap(sink, err) : code;
}

static enum tally_code look_at(struct postgres_sink *sink, struct tally_topic_partition *partition,
        struct tally_error *err)
{
    char number[16];
    const char *values[] = {partition->topic, number};
    PGresult *result;
    enum tally_code code;

    (void)snprintf(number, sizeof number, "%" PRId32, partition->partition);
    code = postgres_connection_query(&sink->connection, "could not read a position",
            "SELECT next_offset FROM sink_position WHERE topic = $1 AND partition = $2", 2, values,
            &result, err);
    partition->offset = !code && PQntuples(result) == 1 && !PQgetisnull(result, 0, 0)
                                ? number_of(result, 0)
                                : TALLY_OFFSET_NONE;
    PQclear(result);
    return code;
}

static enum tally_code look(struct tally_sink *base, struct tally_topic_partition *partitions,
        size_t count, struct tally_error *err)
{
    enum tally_code code = choose_content(self(base), err);

    for (size_t i = 0; !code && i < count; i++) {
        code = look_at(self(base), &partitions[i], err);
    }
    return code;
}

static void close_partitions(struct tally_sink *base,
        const struct tally_topic_partition *partitions, size_t count)
{
    struct postgres_sink *sink = self(base);

    forget_records(sink);
    for (size_t i = 0; i < count; i++) {
        struct postgres_partition *known = find(sink, partitions[i].topic, partitions[i].partition);

        if (known) {
            tally_free(known->topic);
            *known = sink->partitions[--sink->partition_count];
        }
    }
}

/* --- put -------------------------------------------------------------------------------------- */

static enum tally_code put(struct tally_sink *base, const struct tally_sink_record *records,
        size_t count, struct tally_error *err)
{
    struct postgres_sink *sink = self(base);

    (void)err;
    if (sink->record_count + count > sink->record_capacity) {
        sink->record_capacity = (sink->record_count + count) * 2;
        sink->records = tally_realloc(sink->records, sink->record_capacity * sizeof *sink->records);
    }
    for (size_t i = 0; i < count; i++) {
        sink->records[sink->record_count++] = &records[i];
    }
    return TALLY_OK;
}

/* --- flush ------------------------------------------------------------------------------------ */

/* One partition of the ledger for each month, made before the transaction of the rows. */
static enum tally_code make_month(struct postgres_sink *sink, int64_t time_ms,
        struct tally_error *err)
{
    time_t seconds = (time_t)(time_ms / 1000);
    char day[32];
    const char *values[] = {content(sink), day};
    enum tally_code code;
    struct tm tm;
    size_t month;

    tally_assert(gmtime_r(&seconds, &tm));
    month = (size_t)(tm.tm_year - 70) * 12 + (size_t)tm.tm_mon;
    if (sink->months[month / 8] & 1U << month % 8) {
        return TALLY_OK;
    }
    (void)snprintf(day, sizeof day, "%d-%02d-01", tm.tm_year + 1900, tm.tm_mon + 1);
    code = postgres_connection_run(&sink->connection, "could not make a partition of the ledger",
            "SELECT tally_sink.ledger_partition($1, $2::date)", 2, values, err);
    if (!code) {
        sink->months[month / 8] |= (uint8_t)(1U << month % 8);
    }
    return code;
}

static enum tally_code make_months(struct postgres_sink *sink, struct tally_error *err)
{
    const struct postgres_rows *rows = &sink->batch.sets[POSTGRES_LEDGER];
    int time = rows->table->column_count - 2; /* recorded_at */
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; !code && i < rows->count; i++) {
        code = make_month(sink, postgres_rows_at(rows, i)[time].integer, err);
    }
    return code;
}

static int64_t last_time(const struct postgres_sink *sink,
        const struct tally_topic_partition *position)
{
    for (size_t i = sink->record_count; i > 0; i--) {
        const struct tally_sink_record *record = sink->records[i - 1];

        if (record->partition == position->partition &&
                strcmp(record->topic, position->topic) == 0) {
            return record->timestamp_ms;
        }
    }
    return -1;
}

/* false: one of them is not this owner's. */
static bool add_positions(struct postgres_sink *sink, const struct tally_topic_partition *positions,
        size_t count)
{
    int64_t now_ms = tally_wall_ms(tally_clock_real());

    for (size_t i = 0; i < count; i++) {
        const struct tally_topic_partition *at = &positions[i];
        const struct postgres_partition *known = find(sink, at->topic, at->partition);
        struct postgres_cell key[] = {
                postgres_text(tally_slice_string(at->topic)), postgres_int(at->partition)};
        struct postgres_cell *row;
        int64_t time_ms;

        if (!known || !(row = postgres_rows_take(&sink->batch.sets[POSTGRES_POSITION], key, 0))) {
            return false;
        }
        /* Without records, all partitions are read to their ends. */
        time_ms = sink->record_count ? last_time(sink, at) : now_ms;
        row[2] = postgres_null_unless(at->offset >= 0, at->offset);
        row[3] = postgres_int(known->epoch);
        row[4] = postgres_null_unless(time_ms >= 0, time_ms);
    }
    return true;
}

static enum tally_code fenced(struct tally_error *err)
{
    return tally_error_set(err, TALLY_FENCED,
            "another owner has taken over a partition, or a rebuild has begun");
}

/* OK only with all positions moved, in an open transaction. */
static enum tally_code move_positions(struct postgres_sink *sink, struct tally_error *err)
{
    const struct postgres_rows *rows = &sink->batch.sets[POSTGRES_POSITION];
    int64_t moved = 0;
    enum tally_code code = TALLY_FAILPOINT_CODE(PG_BEGIN, TALLY_UNAVAILABLE, err);

    code = code ? code : run(sink, "could not begin", "BEGIN", err);
    if (!code && !sink->record_count) { /* nothing that the next flush would not repeat */
        code = run(sink, "could not begin", "SET LOCAL synchronous_commit = off", err);
    }
    if (!code) {
        code = postgres_write(&sink->writer, &sink->connection, rows, POSTGRES_POSITION, &moved,
                err);
    }
    return !code && moved != (int64_t)rows->count ? fenced(err) : code;
}

static enum tally_code write_rows(struct postgres_sink *sink, struct tally_error *err)
{
    enum tally_code code = TALLY_FAILPOINT_CODE(PG_ROWS, TALLY_UNAVAILABLE, err);

    for (int set = POSTGRES_POSITION + 1; !code && set < POSTGRES_SETS; set++) {
        const struct postgres_rows *rows = &sink->batch.sets[set];

        if (rows->count) {
            code = postgres_write(&sink->writer, &sink->connection, rows, (enum postgres_set)set,
                    NULL, err);
        }
    }
    return code;
}

static enum tally_code write_batch(struct postgres_sink *sink, struct tally_error *err)
{
    enum tally_code code = make_months(sink, err);

    if (!code) {
        code = move_positions(sink, err);
    }
    if (!code) {
        code = write_rows(sink, err);
    }
    code = code ? code : TALLY_FAILPOINT_CODE(PG_COMMIT_BEFORE, TALLY_UNAVAILABLE, err);
    code = code ? code : run(sink, "could not commit", "COMMIT", err);
    return code ? code : TALLY_FAILPOINT_CODE(PG_COMMIT_AFTER, TALLY_UNAVAILABLE, err);
}

/* A swap by another owner has renamed what this one writes; its epochs went along. */
static enum tally_code write_batch_anywhere(struct postgres_sink *sink, struct tally_error *err)
{
    enum tally_code code = write_batch(sink, err);

    if (code != TALLY_FENCED || !sink->building) {
        return code;
    }
    roll_back(sink);
    code = choose_content(sink, err);
    return code ? code : sink->building ? fenced(err) : write_batch(sink, err);
}

static enum tally_code flush(struct tally_sink *base, const struct tally_topic_partition *positions,
        size_t count, struct tally_error *err)
{
    struct postgres_sink *sink = self(base);
    enum tally_code code;

    for (size_t i = 0; i < sink->record_count; i++) {
        postgres_facts_add(&sink->batch, sink->records[i]);
    }
    postgres_facts_finish(&sink->batch);
    code = add_positions(sink, positions, count) ? write_batch_anywhere(sink, err) : fenced(err);
    if (code) {
        roll_back(sink);
    }
    forget_records(sink);
    return !code && sink->building ? try_swap(sink, err) : code;
}

/* --- rebuild ---------------------------------------------------------------------------------- */

static enum tally_code rebuild(struct tally_sink *base, struct tally_error *err)
{
    struct postgres_sink *sink = self(base);
    enum tally_code code =
            postgres_connection_is_open(&sink->connection) ? TALLY_OK : start(base, err);

    if (!code) {
        code = run(sink, "could not begin a rebuild", "SELECT tally_sink.rebuild_begin()", err);
    }
    if (!code) {
        forget_records(sink);
        forget_partitions(sink);
    }
    return code;
}

static bool is_rebuilding(const struct tally_sink *base)
{
    return ((const struct postgres_sink *)(const void *)base)->building;
}

static void destroy(struct tally_sink *base)
{
    struct postgres_sink *sink = self(base);

    stop(base);
    postgres_facts_deinit(&sink->batch);
    postgres_write_deinit(&sink->writer);
    tally_free(sink->partitions);
    tally_free(sink->records);
    tally_free(sink);
}

static const struct tally_sink_ops ops = {.name = "postgres",
        .start = start,
        .open = open_partitions,
        .look = look,
        .put = put,
        .flush = flush,
        .close = close_partitions,
        .stop = stop,
        .rebuild = rebuild,
        .rebuilding = is_rebuilding,
        .destroy = destroy};

enum tally_code tally_postgres_sink_create(const struct tally_config *config,
        struct tally_sink **sink, struct tally_error *err)
{
    struct postgres_sink *made;

    *sink = NULL;
    if (!config->postgres_url || !*config->postgres_url) {
        return tally_error_set(err, TALLY_CONFIG, "postgres.url is empty: there is no such sink");
    }
    made = tally_alloc_zero(1, sizeof *made);
    made->sink.ops = &ops;
    made->options = (struct postgres_options){.name = "tally-sink",
            .url = config->postgres_url,
            .password = config->postgres_password,
            .statement_ms = config->postgres_statement_timeout,
            .search_path = "tally"};
    postgres_facts_init(&made->batch);
    postgres_write_init(&made->writer);
    *sink = &made->sink;
    return TALLY_OK;
}
