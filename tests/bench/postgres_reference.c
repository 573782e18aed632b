/* tests/bench/postgres_reference.c - the control of the Postgres sink: writes the same rows into
 * the same tables, with what libpq and Postgres do best, and nothing else to do: no Kafka, no
 * decoding, rows parsed before the clock runs. Prints one line of JSON.
 * bench_postgres_reference CONNINFO copy|unnest BATCH <rows
 *   copy    COPY into temporary tables, merged from there
 *   unnest  arrays in binary form, a prepared statement each
 * A row is a ledger entry as COPY writes it, after the number of its level and its time in
 * microseconds since 2000. Levels are the last of their key in a batch. */
#include <arpa/inet.h>
#include <endian.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum type { TEXT, INT4, INT8, TIME, TYPES };
static const struct {
    const char *array;
    uint32_t oid;
    int size; /* 0: as long as the text */
} types[TYPES] = {
        {"text[]", 25, 0}, {"int4[]", 23, 4}, {"int8[]", 20, 8}, {"timestamptz[]", 1184, 8}};

struct column {
    const char *name;
    enum type type;
    int field; /* of a row; its place in `ledger` where it is -1 */
};
#define NUMBERS(suffix)                                                      \
    {"on_hand" suffix, INT8, -1}, {"damaged" suffix, INT8, -1},              \
            {"quality_control" suffix, INT8, -1}, {"held" suffix, INT8, -1}, \
            {"reserved" suffix, INT8, -1}, {"committed" suffix, INT8, -1},   \
            {"safety_stock" suffix, INT8, -1},                               \
    {                                                                        \
        "incoming" suffix, INT8, -1                                          \
    }
static const struct column ledger[] = {{"sku", TEXT, -1}, {"warehouse", TEXT, -1},
        {"seq", INT8, -1}, {"type", TEXT, -1}, {"kind", TEXT, -1}, NUMBERS("_delta"), NUMBERS(""),
        {"reason", TEXT, -1}, {"note", TEXT, -1}, {"reference", TEXT, -1},
        {"reservation_id", TEXT, -1}, {"line", INT4, -1}, {"order_id", TEXT, -1},
        {"shipment_id", TEXT, -1}, {"return_id", TEXT, -1}, {"transfer_id", TEXT, -1},
        {"signals", TEXT, -1}, {"actor", TEXT, -1}, {"command_id", TEXT, -1},
        {"partition", INT4, -1}, {"command_offset", INT8, -1}, {"recorded_at", TIME, -1}};
#define FIELDS      ((int)(sizeof ledger / sizeof *ledger))
#define FIRST_DELTA 5
#define FIRST_AFTER 13
static const struct column level[] = {{"sku", TEXT, 0}, {"warehouse", TEXT, 1},
        {"on_hand", INT8, FIRST_AFTER}, {"damaged", INT8, FIRST_AFTER + 1},
        {"quality_control", INT8, FIRST_AFTER + 2}, {"held", INT8, FIRST_AFTER + 3},
        {"reserved", INT8, FIRST_AFTER + 4}, {"committed", INT8, FIRST_AFTER + 5},
        {"safety_stock", INT8, FIRST_AFTER + 6}, {"incoming", INT8, FIRST_AFTER + 7},
        {"version", INT8, 2}, {"updated_at", TIME, FIELDS - 1}};
#define LEVEL_FIELDS ((int)(sizeof level / sizeof *level))
static const struct column named[] = {{"sku", TEXT, 0}, {"warehouse", TEXT, 1}};

struct row {
    long key;
    int64_t time_us;
    const char *line;         /* as COPY has it */
    const char *text[FIELDS]; /* not terminated; NULL: null */
    int len[FIELDS];
    int64_t number[FIELDS];
};
struct buffer {
    char *data;
    size_t len, capacity;
};

static PGconn *connection;

static void fail(const char *what)
{
    fprintf(stderr, "bench_postgres_reference: %s: %s", what, PQerrorMessage(connection));
    exit(1);
}

static void *must_have(void *memory)
{
    if (!memory) {
        abort();
    }
    return memory;
}

static void append(struct buffer *buffer, const void *data, size_t len)
{
    if (buffer->len + len > buffer->capacity) {
        buffer->capacity = (buffer->len + len) * 2;
        buffer->data = must_have(realloc(buffer->data, buffer->capacity));
    }
    memcpy(buffer->data + buffer->len, data, len);
    buffer->len += len;
}

static void append_int4(struct buffer *buffer, int64_t value)
{
    uint32_t wire = htonl((uint32_t)value);

    append(buffer, &wire, sizeof wire);
}

static void append_int8(struct buffer *buffer, int64_t value)
{
    uint64_t wire = htobe64((uint64_t)value);

    append(buffer, &wire, sizeof wire);
}

static void check(PGresult *result, ExecStatusType expected, const char *what)
{
    if (PQresultStatus(result) != expected) {
        fail(what);
    }
    PQclear(result);
}

static void run(const char *sql)
{
    check(PQexec(connection, sql), PGRES_COMMAND_OK, sql);
}

/* --- rows ------------------------------------------------------------------------------------- */

static void parse(struct row *row, char *line)
{
    char *at = line, *end;

    row->key = strtol(at, &end, 10);
    row->time_us = strtoll(end + 1, &end, 10);
    row->line = at = end + 1;
    for (int i = 0; i < FIELDS; i++) {
        size_t len = strcspn(at, "\t\n");

        if (len != 2 || memcmp(at, "\\N", 2) != 0) {
            row->text[i] = at;
            row->len[i] = (int)len;
            row->number[i] = strtoll(at, NULL, 10);
        }
        at += len + 1;
    }
}

static struct row *read_rows(size_t *count, long *keys)
{
    struct row *rows = NULL;
    size_t capacity = 0, size = 0;
    char *line = NULL;

    *count = 0;
    *keys = 0;
    while (getline(&line, &size, stdin) > 0) {
        if (*count == capacity) {
            capacity = capacity ? capacity * 2 : 1024;
            rows = must_have(realloc(rows, capacity * sizeof *rows));
        }
        memset(&rows[*count], 0, sizeof *rows);
        parse(&rows[*count], line);
        *keys = rows[*count].key >= *keys ? rows[*count].key + 1 : *keys;
        ++*count;
        line = NULL; /* the row has it */
        size = 0;
    }
    return rows;
}

static int by_key(const void *one, const void *other)
{
    const struct row *a = *(const struct row *const *)one, *b = *(const struct row *const *)other;

    return (a->key > b->key) - (a->key < b->key);
}

/* The last row of each key of a batch, in order of the keys. */
static size_t coalesce(const struct row *rows, size_t count, const struct row **last,
        const struct row **levels)
{
    size_t distinct = 0;

    for (size_t i = 0; i < count; i++) {
        last[rows[i].key] = &rows[i];
    }
    for (size_t i = 0; i < count; i++) {
        if (last[rows[i].key] == &rows[i]) {
            levels[distinct++] = &rows[i];
        }
    }
    qsort(levels, distinct, sizeof *levels, by_key);
    return distinct;
}

/* --- statements ------------------------------------------------------------------------------- */

static void names_of(struct buffer *sql, const struct column *columns, int count,
        const char *separator)
{
    for (int i = 0; i < count; i++) {
        append(sql, i ? separator : "", i ? strlen(separator) : 0);
        append(sql, columns[i].name, strlen(columns[i].name));
    }
}

static void append_text(struct buffer *buffer, const char *text)
{
    append(buffer, text, strlen(text));
}

/* INSERT INTO tally.<table> (...) SELECT ... FROM <source> <conflict> */
static char *insert_of(const char *table, const struct column *columns, int count, const char *more,
        const char *value, const char *source, const char *conflict)
{
    struct buffer sql = {0};

    append_text(&sql, "INSERT INTO tally.");
    append_text(&sql, table);
    append_text(&sql, " (");
    names_of(&sql, columns, count, ", ");
    append_text(&sql, more);
    append_text(&sql, ") SELECT ");
    for (int i = 0; i < count; i++) {
        append_text(&sql, i ? ", " : "");
        append_text(&sql, columns[i].name);
        append_text(&sql, strcmp(columns[i].name, "signals") == 0 ? "::text[]" : "");
    }
    append_text(&sql, value);
    append_text(&sql, " FROM ");
    append_text(&sql, source);
    append_text(&sql, conflict);
    append(&sql, "", 1);
    return sql.data;
}

static char *unnest_of(const struct column *columns, int count)
{
    struct buffer sql = {0};
    char argument[32];

    append_text(&sql, "unnest(");
    for (int i = 0; i < count; i++) {
        snprintf(argument, sizeof argument, "%s$%d::%s", i ? ", " : "", i + 1,
                types[columns[i].type].array);
        append_text(&sql, argument);
    }
    append_text(&sql, ") AS u(");
    names_of(&sql, columns, count, ", ");
    append_text(&sql, ")");
    append(&sql, "", 1);
    return sql.data;
}

static const char *const newer =
        " ON CONFLICT (sku, warehouse) DO UPDATE SET on_hand = excluded.on_hand, damaged = "
        "excluded.damaged, quality_control = excluded.quality_control, held = excluded.held, "
        "reserved = excluded.reserved, committed = excluded.committed, safety_stock = "
        "excluded.safety_stock, incoming = excluded.incoming, version = excluded.version, "
        "updated_at = excluded.updated_at WHERE stock_level.version < excluded.version";
static const char *const nothing = " ON CONFLICT DO NOTHING";

static struct {
    char *sku, *warehouse, *level, *ledger;
} statements;

static void prepare_unnest(void)
{
    char *skus = unnest_of(named, 1), *warehouses = unnest_of(named + 1, 1);
    char *levels = unnest_of(level, LEVEL_FIELDS), *entries = unnest_of(ledger, FIELDS);

    statements.sku = insert_of("sku", named, 1, ", version", ", 0", skus, nothing);
    statements.warehouse =
            insert_of("warehouse", named + 1, 1, ", event_offset", ", -1", warehouses, nothing);
    statements.level = insert_of("stock_level", level, LEVEL_FIELDS, "", "", levels, newer);
    statements.ledger = insert_of("ledger_entry", ledger, FIELDS, "", "", entries, nothing);
    check(PQprepare(connection, "sku", statements.sku, 0, NULL), PGRES_COMMAND_OK, "prepare");
    check(PQprepare(connection, "warehouse", statements.warehouse, 0, NULL), PGRES_COMMAND_OK,
            "prepare");
    check(PQprepare(connection, "level", statements.level, 0, NULL), PGRES_COMMAND_OK, "prepare");
    check(PQprepare(connection, "ledger", statements.ledger, 0, NULL), PGRES_COMMAND_OK, "prepare");
    free(skus);
    free(warehouses);
    free(levels);
    free(entries);
}

static void prepare_copy(void)
{
    run("CREATE TEMPORARY TABLE new_level ON COMMIT DELETE ROWS AS SELECT sku, warehouse, on_hand, "
        "damaged, quality_control, held, reserved, committed, safety_stock, incoming, version, "
        "updated_at FROM tally.stock_level LIMIT 0");
    run("CREATE TEMPORARY TABLE new_entry (LIKE tally.ledger_entry) ON COMMIT DELETE ROWS");
    statements.sku = insert_of("sku", named, 1, ", version", ", 0",
            "(SELECT DISTINCT sku FROM new_level) AS u", nothing);
    statements.warehouse = insert_of("warehouse", named + 1, 1, ", event_offset", ", -1",
            "(SELECT DISTINCT warehouse FROM new_level) AS u", nothing);
    statements.level = insert_of("stock_level", level, LEVEL_FIELDS, "", "", "new_level", newer);
    statements.ledger = insert_of("ledger_entry", ledger, FIELDS, "", "", "new_entry", nothing);
}

/* --- unnest ----------------------------------------------------------------------------------- */

static void array_of(struct buffer *array, const struct column *column, int place,
        const struct row *const *rows, size_t count)
{
    int field = column->field < 0 ? place : column->field;

    array->len = 0;
    append_int4(array, 1);
    append_int4(array, 1); /* may hold nulls */
    append_int4(array, types[column->type].oid);
    append_int4(array, (int64_t)count);
    append_int4(array, 1);
    for (size_t i = 0; i < count; i++) {
        if (column->type == TIME) {
            append_int4(array, 8);
            append_int8(array, rows[i]->time_us);
        } else if (!rows[i]->text[field]) {
            append_int4(array, -1);
        } else if (column->type == TEXT) {
            append_int4(array, rows[i]->len[field]);
            append(array, rows[i]->text[field], (size_t)rows[i]->len[field]);
        } else if (column->type == INT4) {
            append_int4(array, 4);
            append_int4(array, rows[i]->number[field]);
        } else {
            append_int4(array, 8);
            append_int8(array, rows[i]->number[field]);
        }
    }
}

static void execute(const char *name, const struct column *columns, int column_count,
        const struct row *const *rows, size_t count)
{
    static struct buffer arrays[FIELDS];
    const char *values[FIELDS];
    int lengths[FIELDS], formats[FIELDS];

    for (int i = 0; i < column_count; i++) {
        array_of(&arrays[i], &columns[i], i, rows, count);
        values[i] = arrays[i].data;
        lengths[i] = (int)arrays[i].len;
        formats[i] = 1;
    }
    check(PQexecPrepared(connection, name, column_count, values, lengths, formats, 1),
            PGRES_COMMAND_OK, name);
}

static void write_unnest(const struct row *const *entries, size_t count,
        const struct row *const *levels, size_t level_count)
{
    execute("sku", named, 1, levels, level_count);
    execute("warehouse", named + 1, 1, levels, level_count);
    execute("level", level, LEVEL_FIELDS, levels, level_count);
    execute("ledger", ledger, FIELDS, entries, count);
}

/* --- copy ------------------------------------------------------------------------------------- */

static void copy(const char *sql, const struct buffer *lines)
{
    PGresult *result;

    check(PQexec(connection, sql), PGRES_COPY_IN, sql);
    if (PQputCopyData(connection, lines->data, (int)lines->len) != 1 ||
            PQputCopyEnd(connection, NULL) != 1) {
        fail(sql);
    }
    result = PQgetResult(connection);
    check(result, PGRES_COMMAND_OK, sql);
    while ((result = PQgetResult(connection))) {
        PQclear(result);
    }
}

static void write_copy(const struct row *const *entries, size_t count,
        const struct row *const *levels, size_t level_count)
{
    static struct buffer lines;

    lines.len = 0;
    for (size_t i = 0; i < level_count; i++) {
        for (int j = 0; j < LEVEL_FIELDS; j++) {
            append(&lines, levels[i]->text[level[j].field], (size_t)levels[i]->len[level[j].field]);
            append(&lines, j == LEVEL_FIELDS - 1 ? "\n" : "\t", 1);
        }
    }
    copy("COPY new_level FROM STDIN", &lines);
    lines.len = 0;
    for (size_t i = 0; i < count; i++) {
        append(&lines, entries[i]->line, strlen(entries[i]->line));
    }
    copy("COPY new_entry FROM STDIN", &lines);
    run(statements.sku);
    run(statements.warehouse);
    run(statements.level);
    run(statements.ledger);
}

/* --- all of it -------------------------------------------------------------------------------- */

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    const struct row **last, **levels, **entries;
    size_t count, batch, level_rows = 0;
    struct row *rows;
    double begin;
    bool copies;
    long keys;

    if (argc != 4 || (strcmp(argv[2], "copy") != 0 && strcmp(argv[2], "unnest") != 0) ||
            (batch = strtoul(argv[3], NULL, 10)) == 0) {
        fprintf(stderr, "usage: bench_postgres_reference CONNINFO copy|unnest BATCH <rows\n");
        return 2;
    }
    copies = strcmp(argv[2], "copy") == 0;
    rows = read_rows(&count, &keys);
    last = must_have(calloc((size_t)keys + 1, sizeof *last));
    levels = must_have(calloc(batch, sizeof *levels));
    entries = must_have(calloc(count + 1, sizeof *entries));
    for (size_t i = 0; i < count; i++) {
        entries[i] = &rows[i];
    }
    connection = PQconnectdb(argv[1]);
    if (PQstatus(connection) != CONNECTION_OK) {
        fail("connect");
    }
    run("SET client_min_messages = warning");
    copies ? prepare_copy() : prepare_unnest();
    begin = now_s();
    for (size_t i = 0; i < count; i += batch) {
        size_t part = count - i < batch ? count - i : batch;
        size_t distinct = coalesce(rows + i, part, last, levels);

        run("BEGIN");
        (copies ? write_copy : write_unnest)(entries + i, part, levels, distinct);
        run("UPDATE tally.sink_position SET next_offset = coalesce(next_offset, 0) + 1");
        run("COMMIT");
        level_rows += distinct;
    }
    printf("{\"entries\":%zu,\"levels\":%zu,\"seconds\":%.4f}\n", count, level_rows,
            now_s() - begin);
    PQfinish(connection);
    return 0;
}
