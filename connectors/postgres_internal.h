/* connectors/postgres_internal.h - what the files on libpq share; nobody else includes this.
 * In reading order: postgres_error.c, postgres_connection.c, postgres_schema.c, postgres_rows.c,
 * postgres_tables.c, postgres_facts.c, postgres_write.c, postgres_sink.c, postgres_reader.c. */
#pragma once
#include <libpq-fe.h>

#include "engine/base/config.h"
#include "engine/base/mem.h"
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
