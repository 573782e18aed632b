/* tests/integration/test_postgres_schema.c - migrations on a real server
 * (connectors/postgres_schema.c). Numbers in brackets are invariants of that file. */
#include <stdio.h>
#include <stdlib.h>

#include "connectors/postgres_internal.h"
#include "connectors/postgres_migrations.h"
#include "connectors/postgres_schema.h"
#include "engine/base/thread.h"
#include "tests/integration/postgres_fixture.h"

struct told {
    int now, before;
};

static void tell(void *context, const char *file, bool now)
{
    struct told *told = context;

    ck_assert_str_eq(file, postgres_migrations[told->now + told->before].name);
    told->now += now;
    told->before += !now;
}

static int files(void)
{
    int count = 0;

    while (postgres_migrations[count].name) {
        count++;
    }
    return count;
}

START_TEST(migrates_once) /* (1) */
{
    struct tally_error err = {.code = TALLY_OK};
    struct told first = {0}, second = {0};
    struct postgres_fixture fixture;
    char count[16];

    postgres_fixture_open(&fixture, false);
    postgres_ok(tally_postgres_migrate(&fixture.config, tell, &first, &err));
    ck_assert_int_eq(first.now, files());
    postgres_ok(tally_postgres_migrate(&fixture.config, tell, &second, &err));
    ck_assert_int_eq(second.now, 0);
    ck_assert_int_eq(second.before, files());
    (void)snprintf(count, sizeof count, "%d", files());
    postgres_fixture_expect(&fixture, "SELECT count(*) FROM tally_sink.schema_migration", count);
    /* both contents are the same */
    postgres_fixture_expect(&fixture,
            "SELECT count(*) > 100, count(*) FILTER (WHERE n <> 2) FROM (SELECT count(*) AS n FROM"
            " information_schema.columns WHERE table_schema IN ('tally', 'tally_next')"
            " GROUP BY table_name, column_name, data_type, is_nullable, ordinal_position) AS c",
            "t|0");
    postgres_fixture_close(&fixture);
}
END_TEST

START_TEST(refuses_a_changed_file) /* (2) */
{
    struct tally_error err = {.code = TALLY_OK};
    struct postgres_fixture fixture;

    postgres_fixture_open(&fixture, true);
    postgres_fixture_run(&fixture,
            "DELETE FROM tally_sink.schema_migration WHERE name LIKE '0004%';"
            "UPDATE tally_sink.schema_migration SET checksum = 'another'"
            " WHERE name LIKE '0002%'");
    postgres_fails(TALLY_SINK_SCHEMA, "0002_tables.sql",
            tally_postgres_migrate(&fixture.config, NULL, NULL, &err));
    postgres_fixture_expect(&fixture,
            "SELECT count(*) FROM tally_sink.schema_migration WHERE name LIKE '0004%'", "0");
    postgres_fixture_close(&fixture);
}
END_TEST

START_TEST(a_file_that_fails_leaves_nothing) /* (1) */
{
    struct tally_error err = {.code = TALLY_OK};
    struct postgres_fixture fixture;

    postgres_fixture_open(&fixture, false);
    postgres_fixture_run(&fixture, "CREATE SCHEMA tally_next; CREATE TABLE tally_next.transfer ()");
    postgres_fails(TALLY_SINK_SCHEMA, "0002_tables.sql",
            tally_postgres_migrate(&fixture.config, NULL, NULL, &err));
    postgres_fixture_expect(&fixture, "SELECT to_regclass('tally.product') IS NULL", "t");
    postgres_fixture_run(&fixture, "DROP TABLE tally_next.transfer");
    postgres_ok(tally_postgres_migrate(&fixture.config, NULL, NULL, &err));
    postgres_fixture_close(&fixture);
}
END_TEST

static void migrate(void *context)
{
    struct tally_error err = {.code = TALLY_OK};

    postgres_ok(tally_postgres_migrate(context, NULL, NULL, &err));
}

START_TEST(several_at_once_are_one_after_the_other) /* (3) */
{
    struct tally_thread threads[4];
    struct postgres_fixture fixture;

    postgres_fixture_open(&fixture, false);
    for (int i = 0; i < 4; i++) {
        tally_thread_start(&threads[i], "migrate", migrate, &fixture.config);
    }
    for (int i = 0; i < 4; i++) {
        tally_thread_join(&threads[i]);
    }
    postgres_fixture_expect(&fixture, "SELECT count(*) FROM tally_sink.rebuild", "1");
    postgres_fixture_close(&fixture);
}
END_TEST

START_TEST(every_table_and_column_is_explained)
{
    struct postgres_fixture fixture;

    postgres_fixture_open(&fixture, true);
    postgres_fixture_expect(&fixture,
            "SELECT c.relname, a.attname FROM pg_class AS c JOIN pg_namespace AS n"
            " ON n.oid = c.relnamespace LEFT JOIN pg_attribute AS a"
            " ON a.attrelid = c.oid AND a.attnum > 0 AND c.relkind <> 'v'"
            " WHERE n.nspname = 'tally' AND c.relkind IN ('r', 'p', 'v')"
            " AND (obj_description(c.oid) IS NULL OR"
            "      (c.relkind <> 'v' AND col_description(c.oid, a.attnum) IS NULL))",
            "");
    postgres_fixture_close(&fixture);
}
END_TEST

START_TEST(rights_are_those_of_the_roles)
{
    struct postgres_fixture fixture;

    postgres_fixture_open(&fixture, false);
    postgres_fixture_run(&fixture,
            "DO $$ BEGIN CREATE ROLE tally_writer; EXCEPTION WHEN duplicate_object THEN END $$;"
            "DO $$ BEGIN CREATE ROLE tally_reader; EXCEPTION WHEN duplicate_object THEN END $$");
    migrate(&fixture.config);
    postgres_fixture_expect(&fixture,
            "SELECT has_table_privilege('tally_reader', 'tally.product', 'SELECT'),"
            " has_table_privilege('tally_reader', 'tally.turnover', 'SELECT'),"
            " has_table_privilege('tally_reader', 'tally.product', 'INSERT'),"
            " has_table_privilege('tally_writer', 'tally.stock_level', 'INSERT, UPDATE'),"
            " has_table_privilege('tally_writer', 'tally.stock_level', 'DELETE'),"
            " has_table_privilege('tally_writer', 'tally.price', 'DELETE'),"
            " has_function_privilege('tally_writer', 'tally_sink.rebuild_begin()', 'EXECUTE'),"
            " has_function_privilege('tally_reader', 'tally_sink.rebuild_begin()', 'EXECUTE'),"
            " has_function_privilege('tally_writer', 'tally_sink.empty_next()', 'EXECUTE')",
            "t|t|f|t|f|t|t|f|f");
    postgres_fixture_close(&fixture);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_test(tcase, migrates_once);
    tcase_add_test(tcase, refuses_a_changed_file);
    tcase_add_test(tcase, a_file_that_fails_leaves_nothing);
    tcase_add_test(tcase, several_at_once_are_one_after_the_other);
    tcase_add_test(tcase, every_table_and_column_is_explained);
    tcase_add_test(tcase, rights_are_those_of_the_roles);
}

int main(void)
{
    return postgres_fixture_main("postgres_schema", add);
}
