/* connectors/postgres_schema.c - see the header.
 * Invariants
 *  (1) A file is applied whole or not at all, to both contents at once, and never twice.
 *  (2) The database knows what it was made of by checksums, which it computes itself.
 *  (3) Two migrations never run at the same time: an advisory lock. */
#include "connectors/postgres_schema.h"

#include <stdio.h>

#include "connectors/postgres_internal.h"
#include "connectors/postgres_migrations.h"

enum { MIGRATION_MS = 3600 * 1000 }; /* a statement of it: an index over everything */

#define FOR_CONTROL "-- for: control\n"
#define FOR_CONTENT "-- for: content\n"

/* Whether the file is there, with the same content. */
static enum tally_code find_applied(struct postgres_connection *connection,
        const struct postgres_migration *migration, bool *applied, struct tally_error *err)
{
    const char *values[] = {migration->name, migration->text};
    PGresult *result;
    enum tally_code code = postgres_connection_query(connection, "could not read migrations",
            "SELECT checksum = encode(sha256(convert_to($2, 'UTF8')), 'hex')"
            " FROM tally_sink.schema_migration WHERE name = $1",
            2, values, &result, err);

    *applied = !code && PQntuples(result) == 1;
    if (*applied && PQgetvalue(result, 0, 0)[0] != 't') {
        code = tally_error_set(err, TALLY_SINK_SCHEMA,
                "migration %s was applied with another content: run the release that wrote it, or "
                "migrate an empty database and rebuild",
                migration->name);
    }
    PQclear(result);
    return code;
}

enum tally_code postgres_schema_check(struct postgres_connection *connection,
        struct tally_error *err)
{
    for (const struct postgres_migration *at = postgres_migrations; at->name; at++) {
        bool applied;
        enum tally_code code = find_applied(connection, at, &applied, err);

        if (code) {
            return code;
        }
        if (!applied) {
            return tally_error_set(err, TALLY_SINK_SCHEMA,
                    "migration %s has not been applied: run `tally sink migrate`", at->name);
        }
    }
    return TALLY_OK;
}

static enum tally_code run_in(struct postgres_connection *connection, const char *schema,
        const struct postgres_migration *migration, struct tally_error *err)
{
    enum tally_code code = postgres_connection_run(connection, "could not choose a schema",
            "SELECT set_config('search_path', $1, true)", 1, &schema, err);

    return code ? code
                : postgres_connection_script(connection, migration->name, migration->text, err);
}

static enum tally_code run_file(struct postgres_connection *connection,
        const struct postgres_migration *migration, struct tally_error *err)
{
    struct tally_slice text = tally_slice_string(migration->text);
    enum tally_code code;

    if (tally_slice_starts(text, TALLY_SLICE(FOR_CONTROL))) {
        return run_in(connection, "tally_sink", migration, err);
    }
    tally_assert(tally_slice_starts(text, TALLY_SLICE(FOR_CONTENT)));
    code = run_in(connection, "tally", migration, err);
    return code ? code : run_in(connection, "tally_next", migration, err);
}

static enum tally_code apply(struct postgres_connection *connection,
        const struct postgres_migration *migration, struct tally_error *err)
{
    const char *values[] = {migration->name, migration->text};
    enum tally_code code =
            postgres_connection_run(connection, "could not begin", "BEGIN", 0, NULL, err);

    if (!code) {
        code = run_file(connection, migration, err);
    }
    if (!code) {
        code = postgres_connection_run(connection, "could not note a migration",
                "INSERT INTO tally_sink.schema_migration (name, checksum)"
                " VALUES ($1, encode(sha256(convert_to($2, 'UTF8')), 'hex'))",
                2, values, err);
    }
    if (!code) {
        return postgres_connection_run(connection, "could not commit", "COMMIT", 0, NULL, err);
    }
    if (!connection->broken) {
        (void)!postgres_connection_run(connection, "could not roll back", "ROLLBACK", 0, NULL,
                NULL);
    }
    return code;
}

static enum tally_code prepare(struct postgres_connection *connection, struct tally_error *err)
{
    return postgres_connection_script(connection, "could not make the schemas",

            "SELECT pg_advisory_lock(8388081, 0);"
            "CREATE SCHEMA IF NOT EXISTS tally;"
            "CREATE SCHEMA IF NOT EXISTS tally_next;"
            "CREATE SCHEMA IF NOT EXISTS tally_sink;"
            "CREATE TABLE IF NOT EXISTS tally_sink.schema_migration ("
            " name text COLLATE \"C\" PRIMARY KEY, checksum text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT clock_timestamp());",
            err);
}

static enum tally_code migrate(struct postgres_connection *connection, tally_migration_fn report,
        void *context, struct tally_error *err)
{
    enum tally_code code = prepare(connection, err);
    size_t count = 0, done = 0;
    bool applied;

    /* All are looked at before one is applied. */
    for (; !code && postgres_migrations[count].name; count++) {
        code = find_applied(connection, &postgres_migrations[count], &applied, err);
    }
    for (; !code && done < count; done++) {
        code = find_applied(connection, &postgres_migrations[done], &applied, err);
        if (!code && !applied) {
            code = apply(connection, &postgres_migrations[done], err);
        }
        if (!code && report) {
            report(context, postgres_migrations[done].name, !applied);
        }
    }
    return code ? code
                : postgres_connection_run(connection, "could not grant",
                          "SELECT tally_sink.grant_roles()", 0, NULL, err);
}

static struct postgres_options migration_options(const struct tally_config *config)
{
    return (struct postgres_options){.name = "tally-migrate",
            .url = config->postgres_url,
            .password = config->postgres_password,
            .statement_ms = MIGRATION_MS,
            .search_path = "tally_sink"};
}

enum tally_code tally_postgres_migrate(const struct tally_config *config, tally_migration_fn report,
        void *context, struct tally_error *err)
{
    struct postgres_options options = migration_options(config);
    struct postgres_connection connection;
    enum tally_code code = postgres_connection_open(&connection, &options, err);

    if (!code) {
        code = migrate(&connection, report, context, err);
        postgres_connection_close(&connection); /* and with it the lock */
    }
    return code;
}

static enum tally_code find_migrations(struct postgres_connection *connection,
        tally_migration_fn report, void *context, struct tally_error *err)
{
    PGresult *result;
    enum tally_code code = postgres_connection_query(connection, "could not look for migrations",
            "SELECT to_regclass('tally_sink.schema_migration') IS NULL", 0, NULL, &result, err);
    bool empty = !code && PQgetvalue(result, 0, 0)[0] == 't';

    PQclear(result);
    for (const struct postgres_migration *at = postgres_migrations; !code && at->name; at++) {
        bool applied = false;

        code = empty ? TALLY_OK : find_applied(connection, at, &applied, err);
        if (!code) {
            report(context, at->name, !applied);
        }
    }
    return code;
}

enum tally_code tally_postgres_migrations(const struct tally_config *config,
        tally_migration_fn report, void *context, struct tally_error *err)
{
    struct postgres_options options = migration_options(config);
    struct postgres_connection connection;
    enum tally_code code = postgres_connection_open(&connection, &options, err);

    if (!code) {
        code = find_migrations(&connection, report, context, err);
        postgres_connection_close(&connection);
    }
    return code;
}
