/* connectors/postgres_internal.h - what the files on libpq share; nobody else includes this.
 * In reading order: postgres_error.c, postgres_connection.c, postgres_schema.c, postgres_rows.c,
 * postgres_tables.c, postgres_facts.c, postgres_write.c, postgres_sink.c, postgres_lists.c,
 * postgres_reader.c. */
#pragma once
#include <libpq-fe.h>

#include "engine/base/config.h"
#include "engine/base/mem.h"
#include "engine/read_model.h"
#include "engine/sink.h"

/* --- postgres_error.c: SQLSTATEs as tally codes --- */

#define POSTGRES_STATE_LEN 5
/* The one table; never TALLY_OK. NULL or "": no answer came. */
enum tally_code postgres_error_classify(const char *sqlstate);
/* Converts a failed result, without clearing it; NULL: the connection is what failed. text: what
 * could not be done. */
enum tally_code postgres_error_set(const PGconn *connection, const PGresult *result,
        struct tally_error *err, const char *text);

/* --- postgres_connection.c: a connection that never waits for ever --- */

#define POSTGRES_VERSION_MIN 150000 /* of libpq and of the server */

struct postgres_options {
    const char *name; /* application_name: "tally-sink" */
    const char *url, *password;
    int64_t statement_ms; /* statement_timeout; this side waits a little longer */
    bool read_only;
    const char *search_path;
};
struct postgres_connection {
    PGconn *handle;
    int64_t wait_ms; /* for one answer */
    bool broken;     /* an answer did not come: only close is left */
};
/* SINK_SCHEMA: an old server or libpq. What was opened in part is closed. */
TALLY_MUST_CHECK enum tally_code postgres_connection_open(struct postgres_connection *connection,
        const struct postgres_options *options, struct tally_error *err);
void postgres_connection_close(struct postgres_connection *connection); /* fine when closed */
static inline bool postgres_connection_is_open(const struct postgres_connection *connection)
{
    return connection->handle != NULL;
}

#define POSTGRES_PARAMETERS_MAX 40
struct postgres_parameters {
    int count;
    Oid types[POSTGRES_PARAMETERS_MAX]; /* 0: as the statement has it */
    const char *values[POSTGRES_PARAMETERS_MAX];
    int lengths[POSTGRES_PARAMETERS_MAX], formats[POSTGRES_PARAMETERS_MAX]; /* 1: binary */
};
/* One statement whose parameters are text, given after text; *result is to be cleared, NULL after
 * an error. statement: constant text. */
TALLY_MUST_CHECK enum tally_code postgres_connection_query(struct postgres_connection *connection,
        const char *what, const char *statement, int count, const char *const *values,
        PGresult **result, struct tally_error *err);
/* As query, without rows. */
TALLY_MUST_CHECK enum tally_code postgres_connection_run(struct postgres_connection *connection,
        const char *what, const char *statement, int count, const char *const *values,
        struct tally_error *err);
/* Several statements in one text, as they stand in a file. */
TALLY_MUST_CHECK enum tally_code postgres_connection_script(struct postgres_connection *connection,
        const char *what, const char *script, struct tally_error *err);
TALLY_MUST_CHECK enum tally_code postgres_connection_prepare(struct postgres_connection *connection,
        const char *name, const char *statement, struct tally_error *err);
/* *result may be NULL: rows are not wanted, only how many there were. */
TALLY_MUST_CHECK enum tally_code postgres_connection_execute(struct postgres_connection *connection,
        const char *name, const struct postgres_parameters *parameters, PGresult **result,
        int64_t *rows, struct tally_error *err);
/* COPY ... FROM STDIN (FORMAT binary) of these bytes. */
TALLY_MUST_CHECK enum tally_code postgres_connection_copy(struct postgres_connection *connection,
        const char *what, const char *statement, struct tally_slice bytes, struct tally_error *err);

/* --- postgres_schema.c --- */

/* SINK_SCHEMA unless every migration of this release has been applied. */
TALLY_MUST_CHECK enum tally_code postgres_schema_check(struct postgres_connection *connection,
        struct tally_error *err);

/* --- postgres_rows.c: rows to write, the last version of each key alone --- */

enum postgres_type {
    POSTGRES_TEXT,
    POSTGRES_INT,
    POSTGRES_TIME,  /* ms since 1970 */
    POSTGRES_JSON,  /* text */
    POSTGRES_JSONB, /* text */
    POSTGRES_TEXTS  /* text of an array, {"a","b"} */
};
struct postgres_column {
    const char *name;
    enum postgres_type type;
};
struct postgres_table {
    const char *set;  /* names what is prepared, and the table that is copied into */
    const char *head; /* what is written, up to the rows: "UPDATE ... FROM"; NULL: an INSERT into
                         table with all columns */
    const char *table;
    const char *tail; /* what comes after the rows, which are called u; the table is called t */
    const struct postgres_column *columns;
    int column_count;
    int key_count; /* the first ones; rows of the same key are one row */
    int version;   /* column whose higher value wins among them; -1: the first one stays */
};
/* Borrows its bytes. */
struct postgres_cell {
    union {
        const uint8_t *bytes;
        int64_t integer;
    };
    int32_t len; /* of bytes; -1: null */
};
struct postgres_rows {
    const struct postgres_table *table;
    struct postgres_cell *cells; /* by row, with one more at the end of each: where it comes from */
    uint32_t *slots;             /* hash table of row numbers from 1 */
    size_t count, capacity, slot_count;
};
void postgres_rows_init(struct postgres_rows *rows, const struct postgres_table *table);
void postgres_rows_deinit(struct postgres_rows *rows);
void postgres_rows_clear(struct postgres_rows *rows);
/* The row of a key, with the key and the version filled in and all others null; NULL: the one that
 * is there stays. Valid until the next call. */
struct postgres_cell *postgres_rows_take(struct postgres_rows *rows,
        const struct postgres_cell *key, int64_t version);
static inline struct postgres_cell *postgres_rows_at(const struct postgres_rows *rows, size_t row)
{
    return rows->cells + row * ((size_t)rows->table->column_count + 1);
}
/* Numbers of the rows by their keys, so that two who write never wait for each other in a circle;
 * in the arena. */
uint32_t *postgres_rows_sorted(const struct postgres_rows *rows, struct tally_arena *arena);
static inline struct postgres_cell postgres_text(struct tally_slice text) /* empty: null */
{
    return (struct postgres_cell){.bytes = text.data, .len = text.len ? (int32_t)text.len : -1};
}
/* A text that may be empty. */
static inline struct postgres_cell postgres_any_text(struct tally_slice text)
{
    return (struct postgres_cell){.bytes = text.data, .len = (int32_t)text.len};
}
static inline struct postgres_cell postgres_int(int64_t value)
{
    return (struct postgres_cell){.integer = value, .len = 8};
}
static inline struct postgres_cell postgres_null_unless(bool there, int64_t value)
{
    return (struct postgres_cell){.integer = value, .len = there ? 8 : -1};
}

/* --- postgres_tables.c: what is written, in this order, so that references hold --- */

enum postgres_set {
    POSTGRES_POSITION,
    POSTGRES_NAMED_WAREHOUSE,
    POSTGRES_WAREHOUSE,
    POSTGRES_NAMED_PRODUCT,
    POSTGRES_PRODUCT,
    POSTGRES_NAMED_SKU,
    POSTGRES_SKU,
    POSTGRES_SLUG,
    POSTGRES_VARIANT,
    POSTGRES_CATEGORY,
    POSTGRES_CATEGORY_GONE,
    POSTGRES_PRICE,
    POSTGRES_PRICE_GONE,
    POSTGRES_LEVEL,
    POSTGRES_SETTING,
    POSTGRES_LEDGER,
    POSTGRES_RESERVATION,
    POSTGRES_LINE,
    POSTGRES_TRANSFER,
    POSTGRES_SETS
};
extern const struct postgres_table postgres_tables[POSTGRES_SETS];

/* --- postgres_facts.c: events as rows --- */

struct postgres_batch {
    struct postgres_rows sets[POSTGRES_SETS];
    struct tally_arena arena; /* of texts that are made */
};
void postgres_facts_init(struct postgres_batch *batch);
void postgres_facts_deinit(struct postgres_batch *batch);
void postgres_facts_clear(struct postgres_batch *batch);
/* The rows of one event, which lives until the batch is written. */
void postgres_facts_add(struct postgres_batch *batch, const struct tally_sink_record *record);
/* After the last one: what the products consist of. */
void postgres_facts_finish(struct postgres_batch *batch);

/* --- postgres_write.c: rows as one statement --- */

/* Rows. Fewer are faster as arrays (100: 1.8 times), more by copying (4000: 1.3 times and up). */
#define POSTGRES_COPY_FROM 2000

struct postgres_writer {
    struct tally_buf buf;
    struct tally_arena arena; /* of one write */
    bool prepared[POSTGRES_SETS][2], staged[POSTGRES_SETS];
    size_t copy_from; /* as many rows are copied and merged; fewer are arrays */
};
void postgres_write_init(struct postgres_writer *writer);
void postgres_write_deinit(struct postgres_writer *writer);
void postgres_write_forget(struct postgres_writer *writer); /* the connection was another one */
/* Temporary tables are gone with the transaction that made them. */
void postgres_write_rolled_back(struct postgres_writer *writer);
/* *changed (may be NULL): rows that were inserted, updated or deleted. SINK_REFUSED too when the
 * rows together are larger than a message may be. */
TALLY_MUST_CHECK enum tally_code postgres_write(struct postgres_writer *writer,
        struct postgres_connection *connection, const struct postgres_rows *rows,
        enum postgres_set set, int64_t *changed, struct tally_error *err);

/* --- postgres_sink.c --- */

/* For tests and measurements: which way rows are written. */
struct postgres_writer *postgres_sink_writer(struct tally_sink *sink);

/* --- postgres_lists.c: lists of HTTP --- */

enum { POSTGRES_FILTERS_MAX = 4 };
struct postgres_list {
    const char *what; /* could not be done */
    const char *statement;
    const char *of_sku; /* where a SKU is given, which is then its last parameter; NULL: the same */
    const char *topologies; /* whose events are in it, divided by spaces */
    int filter_count;
    enum tally_filter filters[POSTGRES_FILTERS_MAX]; /* $3 and those after it */
};
const struct postgres_list *postgres_lists_get(enum tally_list list);
