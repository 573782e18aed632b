/* tests/integration/postgres_fixture.c - see postgres_fixture.h. */
#include "tests/integration/postgres_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "connectors/postgres_schema.h"
#include "tests/integration/suite.h"

static PGconn *connect_to(const char *database)
{
    char info[512];
    PGconn *connection;

    (void)snprintf(info, sizeof info, "%s dbname=%s options='-c client_min_messages=warning'",
            getenv("TEST_POSTGRES"), database);
    connection = PQconnectdb(info);
    ck_assert_msg(PQstatus(connection) == CONNECTION_OK, "%s", PQerrorMessage(connection));
    return connection;
}

static void run(PGconn *connection, const char *statements)
{
    PGresult *result = PQexec(connection, statements);

    ck_assert_msg(PQresultStatus(result) == PGRES_COMMAND_OK ||
                          PQresultStatus(result) == PGRES_TUPLES_OK,
            "%s: %s", statements, PQerrorMessage(connection));
    PQclear(result);
}

static void run_as_admin(const char *format, const char *name)
{
    PGconn *connection = connect_to("postgres");
    char statement[128];

    (void)snprintf(statement, sizeof statement, format, name);
    run(connection, statement);
    PQfinish(connection);
}

void postgres_fixture_open(struct postgres_fixture *fixture, bool migrated)
{
    static int count;
    struct tally_error err = {.code = TALLY_OK};
    char url[512];

    *fixture = (struct postgres_fixture){.config = {.postgres_statement_timeout = 20000}};
    (void)snprintf(fixture->name, sizeof fixture->name, "t%d_%d", (int)getpid(), ++count);
    run_as_admin("CREATE DATABASE %s", fixture->name);
    fixture->admin = connect_to(fixture->name);
    (void)snprintf(url, sizeof url, "%s dbname=%s", getenv("TEST_POSTGRES"), fixture->name);
    fixture->config.postgres_url = tally_copy_string(url);
    fixture->config.postgres_password = tally_copy_string("");
    if (migrated) {
        postgres_ok(tally_postgres_migrate(&fixture->config, NULL, NULL, &err));
    }
}

void postgres_fixture_close(struct postgres_fixture *fixture)
{
    PQfinish(fixture->admin);
    run_as_admin("DROP DATABASE %s WITH (FORCE)", fixture->name);
    tally_free(fixture->config.postgres_url);
    tally_free(fixture->config.postgres_password);
}

void postgres_fixture_run(struct postgres_fixture *fixture, const char *statements)
{
    run(fixture->admin, statements);
}

char *postgres_fixture_ask(struct postgres_fixture *fixture, const char *statement)
{
    PGresult *result = PQexec(fixture->admin, statement);
    struct tally_buf text;

    ck_assert_msg(PQresultStatus(result) == PGRES_TUPLES_OK, "%s: %s", statement,
            PQerrorMessage(fixture->admin));
    tally_buf_init(&text, 64 << 20);
    for (int row = 0; row < PQntuples(result); row++) {
        for (int column = 0; column < PQnfields(result); column++) {
            tally_buf_string(&text, column ? "|" : row ? "\n" : "");
            tally_buf_string(&text, PQgetvalue(result, row, column));
        }
    }
    tally_buf_byte(&text, 0);
    PQclear(result);
    return (char *)text.data;
}

void postgres_fixture_expect(struct postgres_fixture *fixture, const char *statement,
        const char *answer)
{
    char *got = postgres_fixture_ask(fixture, statement);

    ck_assert_msg(strcmp(got, answer) == 0, "%s:\n%s\nexpected:\n%s", statement, got, answer);
    tally_free(got);
}

int postgres_fixture_main(const char *name, void (*add)(TCase *tcase))
{
    if (!getenv("TEST_POSTGRES")) {
        (void)fprintf(stderr, "%s: no server, set TEST_POSTGRES to its connection string\n", name);
        return EXIT_FAILURE;
    }
    return suite_main(name, add);
}
