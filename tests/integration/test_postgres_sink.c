/* tests/integration/test_postgres_sink.c - events of all types become rows on a real server
 * (connectors/postgres_sink.c, postgres_facts.c, postgres_write.c); what repeated, reordered and
 * late delivery leaves behind. Numbers in brackets are invariants of postgres_sink.c. */
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

/* A sink that owns partition 0 of all topics. */
static struct tally_sink *begin(void)
{
    struct tally_sink *sink;

    postgres_ok(tally_postgres_sink_create(&db.config, &sink, &err));
    postgres_ok(sink->ops->start(sink, &err));
    for (int i = 0; i < 4; i++) {
        postgres_ok(sink_fixture_open(sink, topologies[i], 0, NULL, &err));
    }
    return sink;
}

/* All columns of all tables but the ledger's, which has a test of its own. */
static void expect_everything(void)
{
    postgres_fixture_expect(&db,
            "SELECT warehouse, name, state, event_offset FROM tally.warehouse ORDER BY 1",
            "AMS1|Amsterdam|OPEN|1\nNEWWH|||-2\nRTM2|Rotterdam|OPEN|-1\nUTR3|||-2");
    postgres_fixture_expect(&db,
            "SELECT product_id, slug, name, description, status, attributes, media, version,"
            " created_at AT TIME ZONE 'UTC', updated_at AT TIME ZONE 'UTC' FROM tally.product "
            "ORDER BY 1",
            "P-1|red-shirt|Red \"shirt\"|Cotton, \\ and more|ARCHIVED|{\"a\": {\"b\": [1, null]}}|"
            "{\"x\\\"y\",\"\\\\z\",\"\"}|7|2026-01-15 09:00:00.23|2026-01-15 09:00:01.5\n"
            "P-2|||||||0||");
    postgres_fixture_expect(&db,
            "SELECT document->>'name', document->'variants'->1->>'barcode',"
            " document->'variants'->0->'prices'->0->>'amount_minor', document->'version'"
            " FROM tally.product WHERE product_id = 'P-1'",
            "Red \"shirt\"|4006381333931|1100|7");
    postgres_fixture_expect(&db, "SELECT search FROM tally.product WHERE product_id = 'P-1'",
            "'and':6C 'cotton':5C 'more':7C 'red':1A,3B 'shirt':2A,4B");
    postgres_fixture_expect(&db, "SELECT * FROM tally.slug ORDER BY 1",
            "gone||c-11|12\nred-shirt|P-1|c-2|3");
    postgres_fixture_expect(&db, "SELECT * FROM tally.sku ORDER BY 1",
            "NEW||||0\nTS|P-1|ARCHIVED|c-2|2\nTS-L||||0\nTS-X||ACTIVE||2");
    postgres_fixture_expect(&db, "SELECT * FROM tally.variant ORDER BY 1",
            "TS|P-1|0||{\"size\": "
            "\"M\"}|pcs|0|ACTIVE|7\nTS-L|P-1|1|4006381333931|{}|kg|3|ACTIVE|7");
    postgres_fixture_expect(&db, "SELECT * FROM tally.product_category ORDER BY 2",
            "P-1|c2|1|7\nP-1|c3|0|7");
    postgres_fixture_expect(&db,
            "SELECT sku, price_id, product_id, kind, list, currency, amount_minor, "
            "compare_at_minor,"
            " valid_from AT TIME ZONE 'UTC', valid_until, product_version FROM tally.price ORDER "
            "BY 2",
            "TS|b-2|P-1|BASE|default|EUR|1100||||7\n"
            "TS|s-1|P-1|SALE|default|EUR|900|1000|2026-02-01 00:00:00||7");
    postgres_fixture_expect(&db,
            "SELECT sku, warehouse, on_hand, damaged, quality_control, held, reserved, committed,"
            " safety_stock, incoming, available, backordered, policy, backorder_limit,"
            " low_stock_threshold, setting_version, version, updated_at AT TIME ZONE 'UTC'"
            " FROM tally.stock_level ORDER BY 2",
            "TS|AMS1|33|1|1|0|0|0|2|0|29|0|BACKORDER|50|10|1|11|2026-01-15 10:00:14\n"
            "TS|RTM2|3|0|0|0|0|0|0|0|3|0|DENY|||0|3|2026-01-15 10:00:17");
    postgres_fixture_expect(&db,
            "SELECT count(*), count(*) FILTER (WHERE reservation_id LIKE 'R-1_')"
            " FROM tally.reservation",
            "10|8");
    postgres_fixture_expect(&db,
            "SELECT reservation_id, state, owner, order_id, ttl_s, attempt, pending,"
            " expires_at AT TIME ZONE 'UTC', version, updated_at AT TIME ZONE 'UTC'"
            " FROM tally.reservation WHERE reservation_id IN ('R-1', 'R-2') ORDER BY 1",
            "R-1|FAILED|cart:9||900|2|0||1|2026-01-15 10:00:11\n"
            "R-2|COMMITTED||O-1|900|1|0||2|2026-01-15 10:00:13");
    postgres_fixture_expect(&db, "SELECT * FROM tally.reservation_line ORDER BY 1",
            "R-1|1|TS|4|0|REFUSED|{AMS1,RTM2}|||INSUFFICIENT_STOCK|3|1\n"
            "R-2|1|NEW|4|2|HELD|{}|NEWWH|stock.commands/2@991|||2");
    postgres_fixture_expect(&db,
            "SELECT transfer_id, state, sku, quantity, from_warehouse, to_warehouse, received,"
            " returned, lost, version, updated_at AT TIME ZONE 'UTC' FROM tally.transfer",
            "T-1|PARTIALLY_RECEIVED|TS|5|AMS1|UTR3|4|1|2|5|2026-01-15 10:00:05");
    postgres_fixture_expect(&db,
            "SELECT topic, partition, next_offset, epoch > 0, as_of AT TIME ZONE 'UTC'"
            " FROM tally.sink_position ORDER BY 1",
            "catalogue.events|0|16|t|2026-01-15 10:00:15\nreservation.events|0|14|t|2026-01-15 "
            "10:00:13\n"
            "stock.events|0|21|t|2026-01-15 10:00:20\ntransfer.events|0|6|t|2026-01-15 10:00:05");
}

static void expect_ledger(void)
{
    postgres_fixture_expect(&db,
            "SELECT warehouse, seq, type, kind, on_hand_delta, damaged_delta, "
            "quality_control_delta,"
            " held_delta, reserved_delta, committed_delta, safety_stock_delta, incoming_delta,"
            " on_hand, damaged, quality_control, held, reserved, committed, safety_stock, incoming"
            " FROM tally.ledger_entry ORDER BY 1, 2",
            "AMS1|1|StockConfigured|CONFIGURE|0|0|0|0|0|0|2|0|0|0|0|0|0|0|2|0\n"
            "AMS1|2|StockReceived|RECEIVE|40|1|0|0|0|0|0|0|40|1|0|0|0|0|2|0\n"
            "AMS1|3|StockHeld|HOLD|0|0|0|4|0|0|0|0|40|1|0|4|0|0|2|0\n"
            "AMS1|4|StockReserved|RESERVE|0|0|0|-4|4|0|0|0|40|1|0|0|4|0|2|0\n"
            "AMS1|5|StockCommitted|COMMIT|0|0|0|0|-4|4|0|0|40|1|0|0|0|4|2|0\n"
            "AMS1|6|StockShipped|SHIP|-3|0|0|0|0|-3|0|0|37|1|0|0|0|1|2|0\n"
            "AMS1|7|StockReleased|RELEASE|0|0|0|0|0|-1|0|0|37|1|0|0|0|0|2|0\n"
            "AMS1|8|StockReturned|RETURN|1|0|1|0|0|0|0|0|38|1|1|0|0|0|2|0\n"
            "AMS1|9|StockAdjusted|ADJUST|-1|0|0|0|0|0|0|0|37|1|1|0|0|0|2|0\n"
            "AMS1|10|TransferOut|TRANSFER_OUT|-5|0|0|0|0|0|0|0|32|1|1|0|0|0|2|0\n"
            "AMS1|11|TransferBack|TRANSFER_BACK|1|0|0|0|0|0|0|0|33|1|1|0|0|0|2|0\n"
            "RTM2|1|TransferExpect|TRANSFER_EXPECT|0|0|0|0|0|0|0|5|0|0|0|0|0|0|0|5\n"
            "RTM2|2|TransferIn|TRANSFER_IN|3|0|0|0|0|0|0|-3|3|0|0|0|0|0|0|2\n"
            "RTM2|3|TransferLoss|TRANSFER_LOSS|0|0|0|0|0|0|0|-2|3|0|0|0|0|0|0|0");
    postgres_fixture_expect(&db,
            "SELECT seq, reason, note, reference IS NOT NULL, reservation_id, line, order_id,"
            " shipment_id, return_id, transfer_id, signals, actor, command_id, partition,"
            " command_offset, recorded_at AT TIME ZONE 'UTC' FROM tally.ledger_entry"
            " WHERE warehouse = 'AMS1' ORDER BY 1",
            "1|||f|||||||{OUT_OF_STOCK,LOW_STOCK_REACHED}|ann|c-3|0|3|2026-01-15 10:00:03\n"
            "2||n|t||||||||ann|c-4|0|4|2026-01-15 10:00:04\n"
            "3|||f|R-1|1||||||ann|c-5|0|5|2026-01-15 10:00:05\n"
            "4|||f|R-1|1||||||ann|c-6|0|6|2026-01-15 10:00:06\n"
            "5|||f|R-1|1|O-1|||||ann|c-7|0|7|2026-01-15 10:00:07\n"
            "6|||f|R-1|1||S-1||||ann|c-8|0|8|2026-01-15 10:00:08\n"
            "7|RELEASED||f|R-1|1||||||ann|c-9|0|9|2026-01-15 10:00:09\n"
            "8|||f|||||RT-1|||ann|c-11|0|11|2026-01-15 10:00:11\n"
            "9|CYCLE_COUNT||f||||||||ann|c-12|0|12|2026-01-15 10:00:12\n"
            "10|||f||||||T-1||ann|c-13|0|13|2026-01-15 10:00:13\n"
            "11|||f||||||T-1||ann|c-14|0|14|2026-01-15 10:00:14");
}

START_TEST(every_event_in_one_batch)
{
    struct tally_sink *sink = begin();

    sink_fixture_all(&events);
    postgres_ok(sink_fixture_flush(&events, sink, &err));
    expect_everything();
    expect_ledger();
    sink->ops->destroy(sink);
}
END_TEST

/* References hold whichever topic is read first, and the content is the same. */
START_TEST(every_event_in_a_batch_of_its_own_the_topics_backwards)
{
    struct sink_fixture all;
    struct tally_sink *sink = begin();

    for (int i = 3; i >= 0; i--) {
        sink_fixture_topic(&events, topologies[i]);
    }
    all = events;
    for (size_t i = 0, count = all.count; i < count; i++) {
        events.records = all.records + i;
        events.count = 1;
        postgres_ok(sink_fixture_flush(&events, sink, &err));
    }
    events = all;
    events.count = 0;
    expect_everything();
    expect_ledger();
    sink->ops->destroy(sink);
}
END_TEST

START_TEST(copied_and_merged) /* postgres_write.c: both ways leave the same */
{
    struct tally_sink *sink = begin();

    postgres_sink_writer(sink)->copy_from = 1;
    sink_fixture_all(&events);
    postgres_ok(sink_fixture_flush(&events, sink, &err));
    expect_everything();
    expect_ledger();
    sink->ops->destroy(sink);
}
END_TEST

/* What was written comes again, all of it and each event alone, with positions that do not go back:
 * versions do not either. */
START_TEST(repeated_and_late)
{
    struct sink_fixture all;
    struct tally_sink *sink = begin();

    sink_fixture_all(&events);
    all = events;
    postgres_ok(sink_fixture_flush(&events, sink, &err));
    postgres_fixture_run(&db, "UPDATE tally.sink_position SET next_offset = NULL");
    for (size_t i = 0; i < all.count; i++) {
        events.records = all.records + i;
        events.count = 1;
        postgres_ok(sink_fixture_flush(&events, sink, &err));
    }
    events = all;
    postgres_ok(sink_fixture_flush(&events, sink, &err));
    expect_everything();
    expect_ledger();
    sink->ops->destroy(sink);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, every_event_in_one_batch);
    tcase_add_test(tcase, every_event_in_a_batch_of_its_own_the_topics_backwards);
    tcase_add_test(tcase, copied_and_merged);
    tcase_add_test(tcase, repeated_and_late);
}

int main(void)
{
    return postgres_fixture_main("postgres_sink", add);
}
