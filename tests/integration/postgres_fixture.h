/* tests/integration/postgres_fixture.h - a database of its own on the server of TEST_POSTGRES, and
 * questions to it. Everything asserts: a broken fixture is a failed test. */
#pragma once
#include <check.h>
#include <libpq-fe.h>

#include "engine/base/config.h"
#include "engine/base/mem.h"

struct postgres_fixture {
    struct tally_config config; /* url and password of the sink */
    char name[48];
    PGconn *admin; /* in the database, as its owner */
};
/* An empty database; migrated: with the tables. */
void postgres_fixture_open(struct postgres_fixture *fixture, bool migrated);
void postgres_fixture_close(struct postgres_fixture *fixture); /* drops it */
void postgres_fixture_run(struct postgres_fixture *fixture, const char *statements);
/* All rows as text: columns joined by '|', rows by '\n', null as "". The caller's to free. */
char *postgres_fixture_ask(struct postgres_fixture *fixture, const char *statement);
void postgres_fixture_expect(struct postgres_fixture *fixture, const char *statement,
        const char *answer);

#define postgres_ok(expression)                                                             \
    do {                                                                                    \
        enum tally_code code_ = (expression);                                               \
        ck_assert_msg(code_ == TALLY_OK, "%s: %s: %s", #expression, tally_code_name(code_), \
                err.message);                                                               \
    } while (0)
#define postgres_fails(expected, text, expression)                                                 \
    do {                                                                                           \
        enum tally_code code_ = (expression);                                                      \
        ck_assert_msg(code_ == (expected), "%s: %s: %s", #expression, tally_code_name(code_),      \
                err.message);                                                                      \
        ck_assert_msg(strstr(err.message, (text)) != NULL, "%s: no \"%s\" in \"%s\"", #expression, \
                (text), err.message);                                                              \
    } while (0)
/* Runs a suite's cases, or says what is missing and fails. */
int postgres_fixture_main(const char *name, void (*add)(TCase *tcase));
