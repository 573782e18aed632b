/* connectors/postgres_error.c - what PostgreSQL answers, as tally codes.
 * The longest row that a SQLSTATE starts with decides; what no row names is UNAVAILABLE: tried
 * again, and seen. Texts say what to do where the code alone does not. */
#include <ctype.h>
#include <stdio.h>

#include "connectors/postgres_internal.h"

static const struct {
    const char *state; /* a class, or one of it */
    enum tally_code code;
    const char *remedy; /* NULL: the server's message says it all */
} table[] = {
        {"08", TALLY_UNAVAILABLE, NULL},
        {"0A", TALLY_SINK_SCHEMA, "run `tally sink migrate`"},
        {"21", TALLY_SINK_REFUSED, NULL},
        {"22", TALLY_SINK_REFUSED, NULL},
        {"23", TALLY_SINK_REFUSED, NULL},
        {"25006", TALLY_SINK_FULL, "the server takes no writes: give the URL of the primary"},
        {"28", TALLY_SINK_DENIED, "check the user of postgres.url and postgres.password"},
        {"3D000", TALLY_SINK_SCHEMA, "create the database, then run `tally sink migrate`"},
        {"3F000", TALLY_SINK_SCHEMA, "run `tally sink migrate`"},
        {"40", TALLY_TIMEOUT, NULL},
        {"42", TALLY_SINK_SCHEMA, "run `tally sink migrate`"},
        {"42501", TALLY_SINK_DENIED, "grant the role tally_writer to the user of postgres.url"},
        {"53", TALLY_UNAVAILABLE, NULL},
        {"53100", TALLY_SINK_FULL, "make room on the server's disk"},
        {"53200", TALLY_SINK_FULL, "give the server more memory"},
        {"54", TALLY_SINK_REFUSED, NULL},
        {"55P03", TALLY_TIMEOUT, NULL},
        {"57", TALLY_UNAVAILABLE, NULL},
        {"57014", TALLY_TIMEOUT, "see postgres.statement.timeout"},
};

static size_t row_of(const char *sqlstate)
{
    size_t best = sizeof table / sizeof table[0], length = 0;

    for (size_t i = 0; sqlstate && i < sizeof table / sizeof table[0]; i++) {
        size_t len = strlen(table[i].state);

        if (len > length && strncmp(sqlstate, table[i].state, len) == 0) {
            best = i;
            length = len;
        }
    }
    return best;
}

enum tally_code postgres_error_classify(const char *sqlstate)
{
    size_t row = row_of(sqlstate);

    return row < sizeof table / sizeof table[0] ? table[row].code : TALLY_UNAVAILABLE;
}

/* A failed connection has no fields. With PQERRORS_VERBOSE its text has the state in front:
 * "... FATAL:  28P01: password authentication failed". */
static bool state_in(const char *message, char state[static POSTGRES_STATE_LEN + 1])
{
    for (const char *at = strstr(message, ":  "); at; at = strstr(at + 1, ":  ")) {
        size_t len = 0;

        while (len < POSTGRES_STATE_LEN &&
                (isdigit((unsigned char)at[3 + len]) || isupper((unsigned char)at[3 + len]))) {
            len++;
        }
        if (len == POSTGRES_STATE_LEN && at[3 + len] == ':') {
            memcpy(state, at + 3, POSTGRES_STATE_LEN);
            state[POSTGRES_STATE_LEN] = '\0';
            return true;
        }
    }
    return false;
}

enum tally_code postgres_error_set(const PGconn *connection, const PGresult *result,
        struct tally_error *err, const char *text)
{
    const char *message = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *constraint = result ? PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME) : NULL;
    const char *remedy = NULL;
    char found[POSTGRES_STATE_LEN + 1];
    size_t row;

    if (!message) {
        message = PQerrorMessage(connection);
        state = state_in(message, found) ? found : NULL;
    }
    row = row_of(state);
    if (row < sizeof table / sizeof table[0]) {
        remedy = table[row].remedy;
    }
    return tally_error_set(err, postgres_error_classify(state), "%s: %.*s%s%s%s%s", text,
            (int)strcspn(message, "\n"), message, constraint && *constraint ? ", constraint " : "",
            constraint ? constraint : "", remedy ? ": " : "", remedy ? remedy : "");
}
