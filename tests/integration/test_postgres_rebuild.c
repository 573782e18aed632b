/* tests/integration/test_postgres_rebuild.c - content that is built anew while the old one is read
 * (connectors/postgres_sink.c, invariant 4). */
#include <stdio.h>
#include <stdlib.h>

#include "connectors/postgres_internal.h"
#include "connectors/postgres_sink.h"
#include "tests/integration/postgres_fixture.h"
#include "tests/integration/sink_fixture.h"

static struct postgres_fixture db;
static struct sink_fixture events;
static struct tally_error err;

static const char *const topologies[] = {"catalogue", "stock", "reservation", "transfer"};

/* All that the content is, but for epochs and times of writing. */
static const char CONTENT[] =
        "SELECT (SELECT json_agg(t ORDER BY product_id) FROM tally.product AS t),"
        " (SELECT json_agg(t ORDER BY sku) FROM tally.sku AS t),"
        " (SELECT json_agg(t ORDER BY slug) FROM tally.slug AS t),"
        " (SELECT json_agg(t ORDER BY sku) FROM tally.variant AS t),"
        " (SELECT json_agg(t ORDER BY price_id) FROM tally.price AS t),"
        " (SELECT json_agg(t ORDER BY category_id) FROM tally.product_category AS t),"
        " (SELECT json_agg(t ORDER BY warehouse) FROM tally.warehouse AS t),"
        " (SELECT json_agg(t ORDER BY sku, warehouse) FROM tally.stock_level AS t),"
        " (SELECT json_agg(t ORDER BY sku, warehouse, seq) FROM tally.ledger_entry AS t),"
        " (SELECT json_agg(t ORDER BY reservation_id) FROM tally.reservation AS t),"
        " (SELECT json_agg(t ORDER BY reservation_id) FROM tally.reservation_line AS t),"
        " (SELECT json_agg(t ORDER BY transfer_id) FROM tally.transfer AS t)";

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

static struct tally_sink *start(void)
{
    struct tally_sink *sink;

    postgres_ok(tally_postgres_sink_create(&db.config, &sink, &err));
    postgres_ok(sink->ops->start(sink, &err));
    return sink;
}

static void take(struct tally_sink *sink, int from, int to, int64_t expected)
{
    for (int i = from; i < to; i++) {
        int64_t offset = 0;

        postgres_ok(sink_fixture_open(sink, topologies[i], 0, &offset, &err));
        if (expected != 0) {
            ck_assert_int_eq(offset, expected);
        }
    }
}

static void write(struct tally_sink *sink, int from, int to)
{
    for (int i = from; i < to; i++) {
        sink_fixture_topic(&events, topologies[i]);
    }
    postgres_ok(sink_fixture_flush(&events, sink, &err));
}

static void expect_building(const char *building)
{
    postgres_fixture_expect(&db, "SELECT building FROM tally_sink.rebuild", building);
}

static struct tally_sink *written(char **content)
{
    struct tally_sink *sink = start();

    take(sink, 0, 4, TALLY_OFFSET_NONE);
    write(sink, 0, 4);
    *content = postgres_fixture_ask(&db, CONTENT);
    return sink;
}

START_TEST(the_old_content_is_read_until_the_new_one_is_complete)
{
    char *content;
    struct tally_sink *owner = written(&content), *other = start();

    postgres_ok(other->ops->rebuild(other, &err));
    expect_building("t");
    sink_fixture_topic(&events, "stock");
    postgres_fails(TALLY_FENCED, "rebuild", sink_fixture_flush(&events, owner, &err));
    take(other, 0, 4, TALLY_OFFSET_NONE);
    for (int i = 0; i < 3; i++) {
        write(other, i, i + 1);
        postgres_fixture_expect(&db, CONTENT, content);
        expect_building("t");
    }
    postgres_fixture_expect(&db, "SELECT count(*) FROM tally_next.transfer", "0");
    write(other, 3, 4);
    expect_building("f");
    postgres_fixture_expect(&db, CONTENT, content);
    postgres_fixture_expect(&db, /* the old one is gone */
            "SELECT discard, (SELECT count(*) FROM tally_next.product) FROM tally_sink.rebuild",
            "f|0");
    sink_fixture_event(&events, "transfer", 0, 7, "TransferCancelled", "T-2",
            "'transfer_id':'T-2','version':1,'state':'FAILED','sku':'TS','quantity':5,'from':'A',"
            "'to':'B','received':0,'returned':0,'lost':0");
    postgres_ok(sink_fixture_flush(&events, other, &err)); /* it goes on in the new one */
    postgres_fixture_expect(&db, "SELECT count(*) FROM tally.transfer", "2");
    owner->ops->destroy(owner);
    other->ops->destroy(other);
    tally_free(content);
}
END_TEST

START_TEST(several_owners_and_a_restart)
{
    char *content;
    struct tally_sink *first = written(&content), *second;

    postgres_ok(first->ops->rebuild(first, &err));
    take(first, 0, 2, TALLY_OFFSET_NONE);
    write(first, 0, 2);
    first->ops->destroy(first); /* the rebuild is of the database */
    first = start();
    take(first, 0, 1, 16);
    ck_assert(first->ops->rebuilding(first));
    second = start();
    take(second, 1, 4, 0);
    write(second, 2, 4); /* with this it is complete */
    expect_building("f");
    ck_assert(!second->ops->rebuilding(second));
    postgres_fixture_expect(&db, CONTENT, content);
    sink_fixture_event(&events, "catalogue", 0, 16, "CommandAccepted", "P-1", "'key':'P-1'");
    postgres_ok(sink_fixture_flush(&events, first, &err)); /* the swap fences nobody */
    ck_assert(!first->ops->rebuilding(first));
    postgres_fixture_expect(&db,
            "SELECT next_offset FROM tally.sink_position WHERE topic = 'catalogue.events'", "17");
    first->ops->destroy(first);
    second->ops->destroy(second);
    tally_free(content);
}
END_TEST

START_TEST(a_rebuild_within_a_rebuild_begins_again)
{
    char *content;
    struct tally_sink *sink = written(&content);

    postgres_ok(sink->ops->rebuild(sink, &err));
    take(sink, 0, 4, TALLY_OFFSET_NONE);
    write(sink, 0, 2);
    postgres_ok(sink->ops->rebuild(sink, &err));
    take(sink, 0, 4, TALLY_OFFSET_NONE);
    write(sink, 2, 4);
    expect_building("t");
    postgres_fixture_expect(&db, CONTENT, content);
    write(sink, 0, 2);
    expect_building("f");
    postgres_fixture_expect(&db, CONTENT, content);
    sink->ops->destroy(sink);
    tally_free(content);
}
END_TEST

/* A reader with an open transaction delays the emptying of the old content, not the swap. */
START_TEST(readers_do_not_hold_up_a_swap)
{
    char *content;
    struct tally_sink *sink = written(&content);

    postgres_fixture_run(&db, "BEGIN; SELECT count(*) FROM tally.product");
    postgres_ok(sink->ops->rebuild(sink, &err));
    take(sink, 0, 4, TALLY_OFFSET_NONE);
    write(sink, 0, 4);
    expect_building("f");
    postgres_fixture_expect(&db, "SELECT discard FROM tally_sink.rebuild", "t");
    postgres_fixture_expect(&db, CONTENT, content);
    postgres_fixture_run(&db, "COMMIT");
    postgres_ok(sink->ops->rebuild(sink, &err));
    postgres_fixture_expect(&db, "SELECT discard FROM tally_sink.rebuild", "f");
    sink->ops->destroy(sink);
    tally_free(content);
}
END_TEST

START_TEST(nobody_reached_swaps_at_the_next_open)
{
    char *content;
    struct tally_sink *sink = written(&content);

    postgres_ok(sink->ops->rebuild(sink, &err));
    take(sink, 0, 4, TALLY_OFFSET_NONE);
    write(sink, 0, 3);
    postgres_fixture_run(&db, "UPDATE tally_next.sink_position SET next_offset = 100");
    sink->ops->destroy(sink);
    sink = start();
    take(sink, 0, 1, 0);
    expect_building("f");
    sink->ops->destroy(sink);
    tally_free(content);
}
END_TEST

/* The role of the sink may do all of this, and no more. */
START_TEST(with_the_rights_of_a_writer)
{
    char *content, option[128], statement[256];
    struct tally_sink *sink;

    postgres_fixture_run(&db,
            "DO $$ BEGIN CREATE ROLE tally_writer; EXCEPTION WHEN duplicate_object THEN END $$;"
            "SELECT tally_sink.grant_roles()");
    (void)snprintf(statement, sizeof statement, "CREATE ROLE %s_w LOGIN IN ROLE tally_writer",
            db.name);
    postgres_fixture_run(&db, statement);
    (void)snprintf(option, sizeof option, "%s user=%s_w", db.config.postgres_url, db.name);
    tally_free(db.config.postgres_url);
    db.config.postgres_url = tally_copy_string(option);
    sink = written(&content);
    postgres_ok(sink->ops->rebuild(sink, &err));
    take(sink, 0, 4, TALLY_OFFSET_NONE);
    write(sink, 0, 4);
    expect_building("f");
    postgres_fixture_expect(&db, CONTENT, content);
    sink->ops->destroy(sink);
    tally_free(content);
    (void)snprintf(statement, sizeof statement, "DROP OWNED BY tally_writer; DROP ROLE %s_w",
            db.name);
    postgres_fixture_run(&db, statement);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, the_old_content_is_read_until_the_new_one_is_complete);
    tcase_add_test(tcase, several_owners_and_a_restart);
    tcase_add_test(tcase, a_rebuild_within_a_rebuild_begins_again);
    tcase_add_test(tcase, readers_do_not_hold_up_a_swap);
    tcase_add_test(tcase, nobody_reached_swaps_at_the_next_open);
    tcase_add_test(tcase, with_the_rights_of_a_writer);
}

int main(void)
{
    return postgres_fixture_main("postgres_rebuild", add);
}
