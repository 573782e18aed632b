/* connectors/postgres_write.c - rows of one table as one statement: arrays that the server unnests,
 * or, when there are many, a copy into a temporary table that is merged from there. Both ways are
 * binary, and end in the same rule about rows that are there already.
 * Statements are made of postgres_tables.c alone; no data is ever in their text. */
#include <stdio.h>

#include "connectors/postgres_internal.h"

#define ARENA_BLOCK   (64 * 1024)
#define ARENA_KEEP    (1024 * 1024)
#define BYTES_MAX     ((size_t)512 << 20) /* the server takes less than 1 GiB at once */
#define BYTES_KEEP    ((size_t)16 << 20)
#define STATEMENT_MAX 8192
#define EPOCH_2000_MS INT64_C(946684800000)

enum { TEXT_OID = 25, INT_OID = 20, TIME_OID = 1184 };

static const struct {
    const char *type, *cast;
    uint32_t oid;
} types[] = {
        [POSTGRES_TEXT] = {"text", "", TEXT_OID},
        [POSTGRES_INT] = {"bigint", "", INT_OID},
        [POSTGRES_TIME] = {"timestamptz", "", TIME_OID},
        [POSTGRES_JSON] = {"text", "::json", TEXT_OID},
        [POSTGRES_JSONB] = {"text", "::jsonb", TEXT_OID},
        [POSTGRES_TEXTS] = {"text", "::text[]", TEXT_OID},
};

void postgres_write_init(struct postgres_writer *writer)
{
    *writer = (struct postgres_writer){.copy_from = POSTGRES_COPY_FROM};
    tally_buf_init(&writer->buf, BYTES_MAX);
    tally_arena_init(&writer->arena, ARENA_BLOCK);
}

void postgres_write_deinit(struct postgres_writer *writer)
{
    tally_buf_deinit(&writer->buf);
    tally_arena_deinit(&writer->arena);
}

void postgres_write_rolled_back(struct postgres_writer *writer)
{
    memset(writer->staged, 0, sizeof writer->staged);
}

void postgres_write_forget(struct postgres_writer *writer)
{
    memset(writer->prepared, 0, sizeof writer->prepared);
    memset(writer->staged, 0, sizeof writer->staged);
}

/* --- statements ------------------------------------------------------------------------------- */

static void put_names(struct tally_buf *text, const struct postgres_table *table,
        const char *prefix, bool cast)
{
    for (int i = 0; i < table->column_count; i++) {
        const struct postgres_column *column = &table->columns[i];

        tally_buf_format(text, "%s%s%s%s", i ? ", " : "", prefix, column->name,
                cast ? types[column->type].cast : "");
    }
}

static void put_statement(struct tally_buf *text, const struct postgres_table *table, bool copied)
{
    if (table->head) {
        tally_buf_format(text, "%s ", table->head);
    } else {
        tally_buf_format(text, "INSERT INTO %s AS t (", table->table);
        put_names(text, table, "", false);
        tally_buf_string(text, ") SELECT ");
        put_names(text, table, "u.", true);
        tally_buf_string(text, " FROM ");
    }
    if (copied) {
        tally_buf_format(text, "pg_temp.copied_%s AS u ", table->set);
    } else {
        for (int i = 0; i < table->column_count; i++) {
            tally_buf_format(text, "%s$%d::%s[]", i ? ", " : "unnest(", i + 1,
                    types[table->columns[i].type].type);
        }
        tally_buf_string(text, ") AS u (");
        put_names(text, table, "", false);
        tally_buf_string(text, ") ");
    }
    tally_buf_string(text, table->tail);
    tally_buf_byte(text, 0);
    tally_assert(!text->failed);
}

static enum tally_code prepare(struct postgres_writer *writer,
        struct postgres_connection *connection, enum postgres_set set, bool copied,
        const char *name, struct tally_error *err)
{
    struct tally_buf text;
    enum tally_code code;

    if (writer->prepared[set][copied]) {
        return TALLY_OK;
    }
    tally_buf_init(&text, STATEMENT_MAX);
    put_statement(&text, &postgres_tables[set], copied);
    code = postgres_connection_prepare(connection, name, (const char *)text.data, err);
    writer->prepared[set][copied] = !code;
    tally_buf_deinit(&text);
    return code;
}

/* --- values ----------------------------------------------------------------------------------- */

static void put_i32(struct tally_buf *buf, int32_t value)
{
    uint8_t bytes[4];

    tally_put_u32(bytes, (uint32_t)value);
    tally_buf_append(buf, bytes, sizeof bytes);
}

static void put_cell(struct tally_buf *buf, enum postgres_type type,
        const struct postgres_cell *cell)
{
    uint8_t bytes[12];
    int64_t value = cell->integer;

    if (cell->len < 0) {
        put_i32(buf, -1);
        return;
    }
    if (type != POSTGRES_INT && type != POSTGRES_TIME) {
        put_i32(buf, cell->len);
        tally_buf_append(buf, cell->bytes, (size_t)cell->len);
        return;
    }
    if (type == POSTGRES_TIME) {
        value = (value - EPOCH_2000_MS) * 1000;
    }
    tally_put_u32(bytes, 8);
    tally_put_u64(bytes + 4, (uint64_t)value);
    tally_buf_append(buf, bytes, sizeof bytes);
}

static enum tally_code too_large(struct postgres_writer *writer, const struct postgres_table *table,
        struct tally_error *err)
{
    tally_buf_clear(&writer->buf);
    return tally_error_set(err, TALLY_SINK_REFUSED,
            "%s: rows of more than %zu bytes cannot be written together", table->set, BYTES_MAX);
}

static void forget_values(struct postgres_writer *writer)
{
    if (writer->buf.capacity > BYTES_KEEP) {
        tally_buf_deinit(&writer->buf);
        tally_buf_init(&writer->buf, BYTES_MAX);
    }
    tally_arena_reset(&writer->arena, ARENA_KEEP);
}

/* --- arrays ----------------------------------------------------------------------------------- */

static void put_array(struct tally_buf *buf, const struct postgres_rows *rows, int column,
        const uint32_t *order)
{
    enum postgres_type type = rows->table->columns[column].type;

    put_i32(buf, 1); /* dimensions */
    put_i32(buf, 1); /* nulls are possible */
    put_i32(buf, (int32_t)types[type].oid);
    put_i32(buf, (int32_t)rows->count);
    put_i32(buf, 1); /* the first index */
    for (size_t i = 0; i < rows->count; i++) {
        put_cell(buf, type, &postgres_rows_at(rows, order[i])[column]);
    }
}

static enum tally_code write_arrays(struct postgres_writer *writer,
        struct postgres_connection *connection, const struct postgres_rows *rows, const char *name,
        int64_t *changed, struct tally_error *err)
{
    const struct postgres_table *table = rows->table;
    struct postgres_parameters parameters = {.count = table->column_count};
    uint32_t *order = postgres_rows_sorted(rows, &writer->arena);
    size_t starts[POSTGRES_PARAMETERS_MAX + 1] = {0};

    tally_buf_clear(&writer->buf);
    for (int i = 0; i < table->column_count; i++) {
        put_array(&writer->buf, rows, i, order);
        starts[i + 1] = writer->buf.len;
    }
    if (writer->buf.failed) {
        return too_large(writer, table, err);
    }
    for (int i = 0; i < table->column_count; i++) {
        parameters.values[i] = (const char *)writer->buf.data + starts[i];
        parameters.lengths[i] = (int)(starts[i + 1] - starts[i]);
        parameters.formats[i] = 1;
    }
    return postgres_connection_execute(connection, name, &parameters, NULL, changed, err);
}

/* --- copy and merge --------------------------------------------------------------------------- */

static enum tally_code stage(struct postgres_writer *writer, struct postgres_connection *connection,
        const struct postgres_table *table, enum postgres_set set, struct tally_error *err)
{
    struct tally_buf text;
    enum tally_code code;

    if (writer->staged[set]) {
        return TALLY_OK;
    }
    tally_buf_init(&text, STATEMENT_MAX);
    tally_buf_format(&text, "CREATE TEMPORARY TABLE IF NOT EXISTS copied_%s (", table->set);
    for (int i = 0; i < table->column_count; i++) {
        tally_buf_format(&text, "%s%s %s", i ? ", " : "", table->columns[i].name,
                types[table->columns[i].type].type);
    }
    tally_buf_string(&text, ") ON COMMIT DELETE ROWS");
    tally_buf_byte(&text, 0);
    code = postgres_connection_run(connection, "could not make a temporary table",
            (const char *)text.data, 0, NULL, err);
    writer->staged[set] = !code;
    tally_buf_deinit(&text);
    return code;
}

static void put_copied(struct tally_buf *buf, const struct postgres_rows *rows,
        const uint32_t *order)
{
    static const uint8_t head[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"; /* no flags, no extension */
    uint8_t count[2];

    tally_buf_append(buf, head, 19);
    tally_put_u16(count, (uint16_t)rows->table->column_count);
    for (size_t i = 0; i < rows->count; i++) {
        tally_buf_append(buf, count, sizeof count);
        for (int column = 0; column < rows->table->column_count; column++) {
            put_cell(buf, rows->table->columns[column].type,
                    &postgres_rows_at(rows, order[i])[column]);
        }
    }
    tally_put_u16(count, UINT16_MAX);
    tally_buf_append(buf, count, sizeof count);
}

static enum tally_code write_copy(struct postgres_writer *writer,
        struct postgres_connection *connection, const struct postgres_rows *rows, const char *name,
        int64_t *changed, struct tally_error *err)
{
    const struct postgres_table *table = rows->table;
    struct postgres_parameters parameters = {.count = 0};
    char statement[96];
    enum tally_code code;

    tally_buf_clear(&writer->buf);
    put_copied(&writer->buf, rows, postgres_rows_sorted(rows, &writer->arena));
    if (writer->buf.failed) {
        return too_large(writer, table, err);
    }
    (void)snprintf(statement, sizeof statement, "COPY pg_temp.copied_%s FROM STDIN (FORMAT binary)",
            table->set);
    code = postgres_connection_copy(connection, table->set, statement,
            tally_buf_bytes(&writer->buf), err);
    return code ? code
                : postgres_connection_execute(connection, name, &parameters, NULL, changed, err);
}

enum tally_code postgres_write(struct postgres_writer *writer,
        struct postgres_connection *connection, const struct postgres_rows *rows,
        enum postgres_set set, int64_t *changed, struct tally_error *err)
{
    bool copied = rows->count >= writer->copy_from;
    char name[48];
    enum tally_code code = TALLY_OK;

    (void)snprintf(name, sizeof name, "%s%s", rows->table->set, copied ? " (copied)" : "");
    if (copied) {
        code = stage(writer, connection, rows->table, set, err);
    }
    if (!code) {
        code = prepare(writer, connection, set, copied, name, err);
    }
    if (!code) {
        code = copied ? write_copy(writer, connection, rows, name, changed, err)
                      : write_arrays(writer, connection, rows, name, changed, err);
    }
    forget_values(writer);
    return code;
}
