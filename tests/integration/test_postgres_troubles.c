/* tests/integration/test_postgres_troubles.c - what a sink says of a server that does not do what
 * it should, that nothing is lost by it, and that a former owner writes nothing
 * (connectors/postgres_sink.c). Numbers in brackets are invariants of that file. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "connectors/postgres_internal.h"
#include "connectors/postgres_sink.h"
#include "tests/integration/postgres_fixture.h"
#include "tests/integration/sink_fixture.h"

static struct postgres_fixture db;
static struct sink_fixture events;
static struct tally_error err;

static void set_up(void)
{
    postgres_fixture_open(&db, true);
    sink_fixture_init(&events);
}

static void tear_down(void)
{
    sink_fixture_deinit(&events);
    postgres_fixture_close(&db);
}

static void open_all(struct tally_sink *sink)
{
    postgres_ok(sink_fixture_open(sink, "stock", 0, NULL, &err));
    postgres_ok(sink_fixture_open(sink, "stock", 1, NULL, &err));
}

static struct tally_sink *create(void)
{
    struct tally_sink *sink;

    postgres_ok(tally_postgres_sink_create(&db.config, &sink, &err));
    return sink;
}

static struct tally_sink *begin(void)
{
    struct tally_sink *sink = create();

    postgres_ok(sink->ops->start(sink, &err));
    open_all(sink);
    return sink;
}

/* As its runtime does after an error. */
static void again(struct tally_sink *sink)
{
    sink->ops->stop(sink);
    postgres_ok(sink->ops->start(sink, &err));
    open_all(sink);
}

static void receive(int32_t partition, int64_t offset, int seq, int on_hand)
{
    char payload[256];

    (void)snprintf(payload, sizeof payload,
            "'sku':'S%d','warehouse':'AMS1','seq':%d,'version':%d,'kind':'RECEIVE',"
            "'deltas':{'on_hand':1},'after':{'on_hand':%d,'available':%d}",
            partition, seq, seq, on_hand, on_hand);
    sink_fixture_event(&events, "stock", partition, offset, "StockReceived", "S", payload);
}

static void add_option(const char *option)
{
    char *url = tally_copy_format("%s %s", db.config.postgres_url, option);

    tally_free(db.config.postgres_url);
    db.config.postgres_url = url;
}

static void expect_levels(const char *answer)
{
    postgres_fixture_expect(&db, "SELECT sku, version FROM tally.stock_level ORDER BY 1", answer);
}

/* --- owners ----------------------------------------------------------------------------------- */

START_TEST(a_zombie_writes_nothing) /* (1), (2) */
{
    struct tally_sink *zombie = begin(), *owner;
    int64_t offset = 0;

    receive(0, 5, 1, 1);
    postgres_ok(sink_fixture_flush(&events, zombie, &err));
    owner = create();
    postgres_ok(owner->ops->start(owner, &err));
    postgres_ok(sink_fixture_open(owner, "stock", 0, &offset, &err));
    ck_assert_int_eq(offset, 6);
    receive(0, 6, 2, 2);
    postgres_fails(TALLY_FENCED, "another owner", sink_fixture_flush(&events, zombie, &err));
    receive(0, 6, 2, 2);
    receive(1, 1, 1, 1); /* also what is still its own: a batch is one */
    postgres_fails(TALLY_FENCED, "another owner", sink_fixture_flush(&events, zombie, &err));
    expect_levels("S0|1");
    receive(1, 1, 1, 1);
    postgres_ok(sink_fixture_flush(&events, zombie, &err));
    receive(0, 6, 2, 2);
    postgres_ok(sink_fixture_flush(&events, owner, &err));
    expect_levels("S0|2\nS1|1");
    zombie->ops->destroy(zombie);
    owner->ops->destroy(owner);
}
END_TEST

START_TEST(a_position_never_goes_back) /* (1) */
{
    struct tally_sink *sink = begin();

    receive(0, 5, 1, 1);
    postgres_ok(sink_fixture_flush(&events, sink, &err));
    receive(0, 3, 1, 1);
    postgres_fails(TALLY_FENCED, "", sink_fixture_flush(&events, sink, &err));
    postgres_fixture_expect(&db, "SELECT next_offset FROM tally.sink_position WHERE partition = 0",
            "6");
    sink->ops->destroy(sink);
}
END_TEST

START_TEST(positions_without_records)
{
    struct tally_topic_partition position = {.topic = "stock.events", .offset = 9};
    struct tally_sink *sink = begin();

    postgres_ok(sink->ops->flush(sink, &position, 1, &err));
    postgres_fixture_expect(&db,
            "SELECT next_offset, now() - as_of < interval '1 minute' FROM tally.sink_position"
            " WHERE partition = 0",
            "9|t");
    postgres_fixture_run(&db, "TRUNCATE tally.sink_position"); /* as an old backup would */
    postgres_fails(TALLY_FENCED, "", sink->ops->flush(sink, &position, 1, &err));
    sink->ops->destroy(sink);
}
END_TEST

START_TEST(takeovers_at_once_leave_one_owner) /* (2) */
{
    struct tally_sink *sinks[8];
    int owners = 0;

    for (int i = 0; i < 8; i++) {
        sinks[i] = begin();
    }
    for (int i = 0; i < 8; i++) {
        receive(0, 5, 1, 1);
        owners += sink_fixture_flush(&events, sinks[i], &err) == TALLY_OK;
    }
    ck_assert_int_eq(owners, 1);
    postgres_fixture_expect(&db,
            "SELECT count(DISTINCT epoch), max(epoch) FROM tally.sink_position", "2|16");
    for (int i = 0; i < 8; i++) {
        sinks[i]->ops->destroy(sinks[i]);
    }
}
END_TEST

/* --- the server ------------------------------------------------------------------------------- */

START_TEST(tables_that_are_not_there)
{
    struct tally_sink *sink = begin();

    postgres_fixture_run(&db, "ALTER TABLE tally.stock_level RENAME TO elsewhere");
    receive(0, 5, 1, 1);
    postgres_fails(TALLY_SINK_SCHEMA, "tally sink migrate",
            sink_fixture_flush(&events, sink, &err));
    postgres_fixture_run(&db, "ALTER TABLE tally.elsewhere RENAME TO stock_level");
    again(sink);
    receive(0, 5, 1, 1);
    postgres_ok(sink_fixture_flush(&events, sink, &err));
    postgres_fixture_run(&db, "DELETE FROM tally_sink.schema_migration WHERE name LIKE '0004%'");
    sink->ops->stop(sink);
    postgres_fails(TALLY_SINK_SCHEMA, "0004_views.sql", sink->ops->start(sink, &err));
    postgres_fixture_run(&db, "DROP SCHEMA tally, tally_next, tally_sink CASCADE");
    postgres_fails(TALLY_SINK_SCHEMA, "tally sink migrate", sink->ops->start(sink, &err));
    sink->ops->destroy(sink);
    add_option("dbname=nowhere");
    sink = create();
    postgres_fails(TALLY_SINK_SCHEMA, "create the database", sink->ops->start(sink, &err));
    sink->ops->destroy(sink);
}
END_TEST

START_TEST(a_user_without_rights)
{
    struct tally_sink *sink = create();
    char statement[256];

    (void)snprintf(statement, sizeof statement, "CREATE ROLE %s_poor LOGIN", db.name);
    postgres_fixture_run(&db, statement);
    (void)snprintf(statement, sizeof statement, "user=%s_poor", db.name);
    add_option(statement);
    sink->ops->destroy(sink);
    sink = create();
    postgres_fails(TALLY_SINK_DENIED, "tally_writer", sink->ops->start(sink, &err));
    add_option("user=nobody_of_this_name");
    sink->ops->destroy(sink);
    sink = create();
    postgres_fails(TALLY_SINK_DENIED, "postgres.url", sink->ops->start(sink, &err));
    (void)snprintf(statement, sizeof statement, "DROP ROLE %s_poor", db.name);
    postgres_fixture_run(&db, statement);
    sink->ops->destroy(sink);
}
END_TEST

START_TEST(a_server_that_takes_no_writes)
{
    struct tally_sink *sink = create();
    char statement[128];

    (void)snprintf(statement, sizeof statement,
            "ALTER DATABASE %s SET default_transaction_read_only = on", db.name);
    postgres_fixture_run(&db, statement);
    postgres_fails(TALLY_SINK_FULL, "primary", sink->ops->start(sink, &err));
    sink->ops->destroy(sink);
}
END_TEST

START_TEST(a_statement_that_takes_too_long)
{
    struct tally_sink *sink;

    db.config.postgres_statement_timeout = 300;
    sink = begin();
    postgres_fixture_run(&db, "BEGIN; LOCK TABLE tally.stock_level");
    receive(0, 5, 1, 1);
    postgres_fails(TALLY_TIMEOUT, "statement timeout", sink_fixture_flush(&events, sink, &err));
    postgres_fixture_run(&db, "ROLLBACK");
    again(sink);
    receive(0, 5, 1, 1);
    postgres_ok(sink_fixture_flush(&events, sink, &err));
    expect_levels("S0|1");
    sink->ops->destroy(sink);
}
END_TEST

static pid_t backend(void)
{
    char *pid = postgres_fixture_ask(&db,
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'tally-sink'"
            " AND datname = current_database()");
    long number = strtol(pid, NULL, 10);

    tally_free(pid);
    ck_assert_int_gt(number, 1);
    return (pid_t)number;
}

START_TEST(a_server_that_does_not_answer)
{
    struct tally_sink *sink;
    pid_t stopped;

    db.config.postgres_statement_timeout = 100;
    sink = begin();
    stopped = backend();
    ck_assert_int_eq(kill(stopped, SIGSTOP), 0);
    receive(0, 5, 1, 1);
    postgres_fails(TALLY_TIMEOUT, "has not answered", sink_fixture_flush(&events, sink, &err));
    again(sink); /* the old backend waits with what it was told */
    receive(0, 5, 1, 1);
    postgres_ok(sink_fixture_flush(&events, sink, &err));
    ck_assert_int_eq(kill(stopped, SIGCONT), 0);
    expect_levels("S0|1");
    sink->ops->destroy(sink);
}
END_TEST

START_TEST(a_connection_that_is_killed)
{
    struct tally_sink *sink = begin();

    postgres_fixture_run(&db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                              " WHERE application_name = 'tally-sink'"
                              " AND datname = current_database()");
    receive(0, 5, 1, 1);
    postgres_fails(TALLY_UNAVAILABLE, "", sink_fixture_flush(&events, sink, &err));
    again(sink);
    receive(0, 5, 1, 1);
    postgres_ok(sink_fixture_flush(&events, sink, &err));
    expect_levels("S0|1");
    sink->ops->destroy(sink);
}
END_TEST

/* The runtime halves the batch without starting again. */
START_TEST(a_record_that_is_refused)
{
    struct tally_sink *sink = begin();

    postgres_sink_writer(sink)->copy_from = 1; /* temporary tables go with a transaction */
    postgres_fixture_run(&db,
            "ALTER TABLE tally.stock_level ADD CONSTRAINT few CHECK (on_hand < 9)");
    receive(0, 5, 1, 1);
    receive(1, 5, 1, 99);
    postgres_fails(TALLY_SINK_REFUSED, "constraint few", sink_fixture_flush(&events, sink, &err));
    expect_levels("");
    receive(0, 5, 1, 1);
    postgres_ok(sink_fixture_flush(&events, sink, &err));
    receive(1, 5, 1, 99);
    postgres_fails(TALLY_SINK_REFUSED, "constraint few", sink_fixture_flush(&events, sink, &err));
    expect_levels("S0|1");
    postgres_fixture_expect(&db,
            "SELECT partition, next_offset FROM tally.sink_position ORDER BY 1", "0|6\n1|");
    sink->ops->destroy(sink);
}
END_TEST

/* I3: a command of a partition leaves one entry. */
START_TEST(a_command_has_one_entry)
{
    struct tally_sink *sink = begin();

    receive(0, 5, 1, 1);
    postgres_ok(sink_fixture_flush(&events, sink, &err));
    postgres_fixture_run(&db, "UPDATE tally.sink_position SET next_offset = 5");
    receive(0, 5, 2, 2);
    postgres_fails(TALLY_SINK_REFUSED, "command_id", sink_fixture_flush(&events, sink, &err));
    expect_levels("S0|1");
    sink->ops->destroy(sink);
}
END_TEST

START_TEST(a_ledger_of_many_months)
{
    struct tally_sink *sink = begin();

    for (int i = 0; i < 5; i++) {
        receive(0, 1 + i * 40 * 86400, 1 + i, 1 + i); /* a second an offset */
    }
    postgres_ok(sink_fixture_flush(&events, sink, &err));
    postgres_fixture_expect(&db,
            "SELECT string_agg(right(relname, 6), ' ' ORDER BY relname) FROM pg_inherits"
            " JOIN pg_class AS c ON c.oid = inhrelid"
            " WHERE inhparent = 'tally.ledger_entry'::regclass",
            "202601 202602 202604 202605 202606");
    postgres_fixture_expect(&db, "SELECT count(*) FROM tally.ledger_entry", "5");
    sink->ops->destroy(sink);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_zombie_writes_nothing);
    tcase_add_test(tcase, a_position_never_goes_back);
    tcase_add_test(tcase, positions_without_records);
    tcase_add_test(tcase, takeovers_at_once_leave_one_owner);
    tcase_add_test(tcase, tables_that_are_not_there);
    tcase_add_test(tcase, a_user_without_rights);
    tcase_add_test(tcase, a_server_that_takes_no_writes);
    tcase_add_test(tcase, a_statement_that_takes_too_long);
    tcase_add_test(tcase, a_server_that_does_not_answer);
    tcase_add_test(tcase, a_connection_that_is_killed);
    tcase_add_test(tcase, a_record_that_is_refused);
    tcase_add_test(tcase, a_command_has_one_entry);
    tcase_add_test(tcase, a_ledger_of_many_months);
}

int main(void)
{
    return postgres_fixture_main("postgres_troubles", add);
}
