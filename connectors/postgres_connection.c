/* connectors/postgres_connection.c - one connection to PostgreSQL.
 * Invariants
 *  (1) Every wait ends: statement_timeout ends a statement in the server, and where no server
 *      answers, this side stops waiting a little later. Such a connection is broken: it would give
 *      a late answer to the next question.
 *  (2) Statements are constant texts; what varies is a parameter. No simple query but for scripts.
 * What libpq understands may stand in the URL and wins over what is set here, but for the password
 * and the encoding. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "connectors/postgres_internal.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"

enum {
    MARGIN_MS = 5000, /* beyond statement_timeout: the answer is on its way */
    CONNECT_S = 5,    /* a host, unless the URL says otherwise */
    OPTIONS_MAX = 12
};
#define COPY_PIECE (256 * 1024)

/* Warnings of the server; libpq would print them. */
static void say(void *context, const char *message)
{
    (void)context;
    tally_log(TALLY_LOG_WARN, "PostgreSQL warns",
            TALLY_LOG_BYTES("text", tally_slice_of(message, strcspn(message, "\n"))));
}

static int64_t now_ms(void)
{
    return tally_mono_ms(tally_clock_real());
}

/* Waits for the socket; false: the time is over. */
static bool wait_for(PGconn *handle, short events, int64_t until_ms)
{
    struct pollfd fd = {.fd = PQsocket(handle), .events = events};
    int64_t left;

    while ((left = until_ms - now_ms()) > 0) {
        int ready = poll(&fd, 1, (int)left);

        if (ready > 0 || (ready < 0 && errno != EINTR)) {
            return true; /* of an error libpq tells */
        }
    }
    return false;
}

static enum tally_code overdue(struct postgres_connection *connection, const char *what,
        struct tally_error *err)
{
    connection->broken = true;
    return tally_error_set(err, TALLY_TIMEOUT, "%s: PostgreSQL has not answered for %" PRId64 " ms",
            what, connection->wait_ms);
}

/* --- open ------------------------------------------------------------------------------------- */

/* What the URL says of a connection's time, over all of its hosts. */
static int64_t connect_wait_ms(PGconn *handle)
{
    PQconninfoOption *options = PQconninfo(handle);
    int64_t seconds = CONNECT_S, hosts = 1;

    for (const PQconninfoOption *at = options; at && at->keyword; at++) {
        if (at->val && strcmp(at->keyword, "connect_timeout") == 0) {
            int64_t value;

            if (tally_parse_int(tally_slice_string(at->val), &value) && value > 0) {
                seconds = value;
            }
        } else if (at->val && (strcmp(at->keyword, "host") == 0)) {
            for (const char *comma = at->val; (comma = strchr(comma, ',')); comma++) {
                hosts++;
            }
        }
    }
    PQconninfoFree(options);
    return seconds * hosts * 1000;
}

static enum tally_code connect_within(struct postgres_connection *connection,
        struct tally_error *err)
{
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    int64_t until_ms = now_ms() + connect_wait_ms(connection->handle);

    while (status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING) {
        short events = status == PGRES_POLLING_READING ? POLLIN : POLLOUT;

        if (!wait_for(connection->handle, events, until_ms)) {
            return tally_error_set(err, TALLY_UNAVAILABLE,
                    "could not connect to PostgreSQL in time: check postgres.url");
        }
        status = PQconnectPoll(connection->handle);
    }
    return status == PGRES_POLLING_OK
                   ? TALLY_OK
                   : postgres_error_set(connection->handle, NULL, err, "could not connect");
}

static enum tally_code check_version(PGconn *handle, struct tally_error *err)
{
    int server = PQserverVersion(handle), library = PQlibVersion();

    if (server < POSTGRES_VERSION_MIN || library < POSTGRES_VERSION_MIN) {
        return tally_error_set(err, TALLY_SINK_SCHEMA,
                "PostgreSQL %d with libpq %d: expected at least %d of both: upgrade", server,
                library, POSTGRES_VERSION_MIN);
    }
    return TALLY_OK;
}

static enum tally_code set_session(struct postgres_connection *connection,
        const struct postgres_options *options, struct tally_error *err)
{
    char timeout[24];
    const char *values[] = {timeout, options->search_path, options->read_only ? "on" : NULL};

    (void)snprintf(timeout, sizeof timeout, "%" PRId64, options->statement_ms);
    return postgres_connection_run(connection, "could not begin a session",
            "SELECT set_config('statement_timeout', $1, false),"
            " set_config('idle_in_transaction_session_timeout', $1, false),"
            " set_config('search_path', $2, false),"
            " set_config('default_transaction_read_only',"
            "            coalesce($3, current_setting('default_transaction_read_only')), false),"
            " set_config('TimeZone', 'UTC', false),"
            " set_config('client_min_messages', 'warning', false)",
            3, values, err);
}

enum tally_code postgres_connection_open(struct postgres_connection *connection,
        const struct postgres_options *options, struct tally_error *err)
{
    /* Later ones win; the URL's own stand in the place of dbname. */
    const char *names[OPTIONS_MAX] = {"fallback_application_name", "gssencmode", "keepalives_idle",
            "keepalives_interval", "keepalives_count", "tcp_user_timeout", "dbname",
            "client_encoding", "password", NULL};
    const char *values[OPTIONS_MAX] = {options->name, "disable", "10", "5", "3", "20000",
            options->url, "UTF8", options->password, NULL};
    enum tally_code code;

    if (!options->password || !*options->password) {
        names[8] = NULL;
    }
    *connection = (struct postgres_connection){.wait_ms = options->statement_ms + MARGIN_MS};
    connection->handle = PQconnectStartParams(names, values, 1);
    if (!connection->handle) {
        return tally_error_set(err, TALLY_UNAVAILABLE, "could not connect: no memory in libpq");
    }
    if (PQstatus(connection->handle) == CONNECTION_BAD) {
        code = postgres_error_set(connection->handle, NULL, err, "could not connect");
        goto out;
    }
    (void)PQsetErrorVerbosity(connection->handle, PQERRORS_VERBOSE);
    (void)PQsetNoticeProcessor(connection->handle, say, NULL);
    code = connect_within(connection, err);
    if (code)
        goto out;
    code = check_version(connection->handle, err);
    if (code)
        goto out;
    (void)PQsetnonblocking(connection->handle, 1);
    code = set_session(connection, options, err);
out:
    if (code) {
        postgres_connection_close(connection);
    }
    return code;
}

void postgres_connection_close(struct postgres_connection *connection)
{
    PQfinish(connection->handle);
    connection->handle = NULL;
}

/* --- statements ------------------------------------------------------------------------------- */

/* Hands over what is queued; reads meanwhile, or both sides may wait for the other. */
static enum tally_code send_queued(struct postgres_connection *connection, const char *what,
        int64_t until_ms, struct tally_error *err)
{
    int left;

    while ((left = PQflush(connection->handle)) == 1) {
        if (!wait_for(connection->handle, POLLIN | POLLOUT, until_ms)) {
            return overdue(connection, what, err);
        }
        if (!PQconsumeInput(connection->handle)) {
            left = -1;
            break;
        }
    }
    return left ? postgres_error_set(connection->handle, NULL, err, what) : TALLY_OK;
}

/* The next result, NULL when there is none left. */
static enum tally_code take_result(struct postgres_connection *connection, const char *what,
        PGresult **result, struct tally_error *err)
{
    int64_t until_ms = now_ms() + connection->wait_ms;
    enum tally_code code = send_queued(connection, what, until_ms, err);

    *result = NULL;
    if (code) {
        return code;
    }
    while (PQisBusy(connection->handle)) {
        if (!wait_for(connection->handle, POLLIN, until_ms)) {
            return overdue(connection, what, err);
        }
        if (!PQconsumeInput(connection->handle)) {
            return postgres_error_set(connection->handle, NULL, err, what);
        }
    }
    *result = PQgetResult(connection->handle);
    return TALLY_OK;
}

static bool failed(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    return status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && status != PGRES_COPY_IN;
}

/* All results of what was sent; the first failure counts, *last is the last one that is none. */
static enum tally_code finish(struct postgres_connection *connection, const char *what,
        PGresult **last, struct tally_error *err)
{
    enum tally_code first = TALLY_OK;
    PGresult *result;

    *last = NULL;
    for (;;) {
        enum tally_code code = take_result(connection, what, &result, first ? NULL : err);

        if (code) {
            first = first ? first : code;
            break;
        }
        if (!result) {
            break;
        }
        if (!first && failed(result)) {
            first = postgres_error_set(connection->handle, result, err, what);
        }
        PQclear(*last);
        *last = result;
        if (PQresultStatus(result) == PGRES_COPY_IN) {
            break; /* it waits for us */
        }
    }
    if (first) {
        PQclear(*last);
        *last = NULL;
    }
    return first;
}

static enum tally_code sent(struct postgres_connection *connection, int fine, const char *what,
        PGresult **result, struct tally_error *err)
{
    *result = NULL;
    return fine ? finish(connection, what, result, err)
                : postgres_error_set(connection->handle, NULL, err, what);
}

enum tally_code postgres_connection_query(struct postgres_connection *connection, const char *what,
        const char *statement, int count, const char *const *values, PGresult **result,
        struct tally_error *err)
{
    return sent(connection,
            PQsendQueryParams(connection->handle, statement, count, NULL, values, NULL, NULL, 0),
            what, result, err);
}

enum tally_code postgres_connection_run(struct postgres_connection *connection, const char *what,
        const char *statement, int count, const char *const *values, struct tally_error *err)
{
    PGresult *result;
    enum tally_code code =
            postgres_connection_query(connection, what, statement, count, values, &result, err);

    PQclear(result);
    return code;
}

enum tally_code postgres_connection_script(struct postgres_connection *connection, const char *what,
        const char *script, struct tally_error *err)
{
    PGresult *result;
    enum tally_code code =
            sent(connection, PQsendQuery(connection->handle, script), what, &result, err);

    PQclear(result);
    return code;
}

enum tally_code postgres_connection_prepare(struct postgres_connection *connection,
        const char *name, const char *statement, struct tally_error *err)
{
    PGresult *result;
    enum tally_code code =
            sent(connection, PQsendPrepare(connection->handle, name, statement, 0, NULL),
                    "could not prepare a statement", &result, err);

    PQclear(result);
    return code;
}

enum tally_code postgres_connection_execute(struct postgres_connection *connection,
        const char *name, const struct postgres_parameters *parameters, PGresult **result,
        int64_t *rows, struct tally_error *err)
{
    char what[64];
    PGresult *answer;
    enum tally_code code;

    (void)snprintf(what, sizeof what, "could not write %s", name);
    code = sent(connection,
            PQsendQueryPrepared(connection->handle, name, parameters->count, parameters->values,
                    parameters->lengths, parameters->formats, 0),
            what, &answer, err);
    if (rows) {
        *rows = code ? 0 : strtoll(PQcmdTuples(answer), NULL, 10);
    }
    if (result) {
        *result = answer;
    } else {
        PQclear(answer);
    }
    return code;
}

static enum tally_code put_copy(struct postgres_connection *connection, const char *what,
        struct tally_slice bytes, struct tally_error *err)
{
    int64_t until_ms = now_ms() + connection->wait_ms;

    for (size_t at = 0; at < bytes.len;) {
        size_t piece = bytes.len - at < COPY_PIECE ? bytes.len - at : COPY_PIECE;
        int taken = PQputCopyData(connection->handle, (const char *)bytes.data + at, (int)piece);
        enum tally_code code;

        if (taken < 0) {
            return postgres_error_set(connection->handle, NULL, err, what);
        }
        at += taken ? piece : 0;
        code = send_queued(connection, what, until_ms, err);
        if (code) {
            return code;
        }
    }
    return TALLY_OK;
}

enum tally_code postgres_connection_copy(struct postgres_connection *connection, const char *what,
        const char *statement, struct tally_slice bytes, struct tally_error *err)
{
    PGresult *result;
    enum tally_code code = sent(connection,
            PQsendQueryParams(connection->handle, statement, 0, NULL, NULL, NULL, NULL, 0), what,
            &result, err);

    PQclear(result);
    if (!code) {
        code = put_copy(connection, what, bytes, err);
    }
    if (!code) {
        code = sent(connection, PQputCopyEnd(connection->handle, NULL) > 0, what, &result, err);
        PQclear(result);
    }
    return code;
}
