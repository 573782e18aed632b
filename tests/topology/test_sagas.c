/* tests/topology/test_sagas.c - PENDING commands, the events that complete them, who hears of it
 * and when; what the engine refuses; scans; ids of tally's own at their longest. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "tests/topology/saga_fixture.h"

#define REPLIES TALLY_DRIVER_REPLY_TOPIC
#define EVENTS  "reservation.events"

static struct saga_fixture fixture;

static void setup(void)
{
    saga_fixture_open(&fixture, &(struct saga_fixture_options){.json_events = false});
}

static void teardown(void)
{
    saga_fixture_close(&fixture);
}

static size_t replies(const char *text)
{
    return saga_fixture_count(&fixture, REPLIES, text);
}

static void stays_the_same_when_restored(void)
{
    char *live = saga_fixture_dump(&fixture), *restored;

    saga_fixture_restart(&fixture); /* state in memory: all of it comes from the events */
    saga_fixture_run(&fixture);
    restored = saga_fixture_dump(&fixture);
    ck_assert_str_eq(restored, live);
    tally_free(live);
    tally_free(restored);
}

static void clear(const char *id)
{
    char json[256];

    snprintf(json, sizeof json,
            "{\"type\":\"Clear\",\"command_id\":\"c-%s\",\"reservation_id\":\"%s\"}", id, id);
    saga_fixture_ask(&fixture, json, TALLY_NONE);
}

START_TEST(a_pending_command_is_answered_when_it_is_completed)
{
    saga_fixture_begin(&fixture, "A", "WAIT", 30000);
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(saga_fixture_count(&fixture, EVENTS, "\"status\":\"PENDING\""), 1);
    ck_assert_uint_eq(replies("\n"), 0);
    clear("A");
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(saga_fixture_count(&fixture, EVENTS,
                              "\"completes\":{\"command_id\":\"b-A\",\"command\":\"Begin\","),
            1);
    ck_assert_uint_eq(replies("\n"), 2);
    ck_assert_uint_eq(replies("{\"command_id\":\"b-A\",\"type\":\"Begin\",\"key\":\"A\","
                              "\"status\":\"ACCEPTED\",\"code\":null"),
            1);
    ck_assert_uint_eq(replies("{\"command_id\":\"c-A\",\"type\":\"Clear\""), 1);
    ck_assert_uint_eq(replies("\"version\":7"), 2);
    ck_assert_uint_eq(replies("\"result\":\"Ended\",\"duplicate\":false"), 2);
    stays_the_same_when_restored();
    ck_assert_uint_eq(replies("\n"), 2);
}
END_TEST

START_TEST(a_message_completes_across_transactions)
{
    saga_fixture_begin(&fixture, "A", "GRANT", 30000);
    saga_fixture_begin(&fixture, "B", "REFUSE", 30000);
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(replies("\n"), 2);
    ck_assert_uint_eq(replies("\"command_id\":\"b-A\",\"type\":\"Begin\",\"key\":\"A\","
                              "\"status\":\"ACCEPTED\""),
            1);
    ck_assert_uint_eq(replies("\"command_id\":\"b-B\",\"type\":\"Begin\",\"key\":\"B\","
                              "\"status\":\"REJECTED\",\"code\":\"INSUFFICIENT_STOCK\","
                              "\"retryable\":false,\"detail\":\"no luck with B\","
                              "\"errors\":[{\"pointer\":\"/way\",\"code\":\"INSUFFICIENT_STOCK\","
                              "\"meta\":{\"line\":1}}],\"version\":null,"),
            1);
    ck_assert_uint_eq(replies("\"result\":null"), 1);
    stays_the_same_when_restored();
}
END_TEST

/* Events as JSON take another way through the decoder. */
START_TEST(json_events_complete_too)
{
    saga_fixture_close(&fixture);
    saga_fixture_open(&fixture, &(struct saga_fixture_options){.json_events = true});
    saga_fixture_begin(&fixture, "A", "GRANT", 30000);
    saga_fixture_begin(&fixture, "B", "REFUSE", 30000);
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(replies("\"status\":\"ACCEPTED\""), 1);
    ck_assert_uint_eq(replies("\"status\":\"REJECTED\""), 1);
    stays_the_same_when_restored();
}
END_TEST

START_TEST(a_repeat_is_told_what_is_known)
{
    saga_fixture_begin(&fixture, "A", "WAIT", 30000);
    saga_fixture_begin(&fixture, "A", "WAIT", 30000);
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(replies("\n"), 1);
    ck_assert_uint_eq(replies("\"status\":\"PENDING\""), 1);
    ck_assert_uint_eq(replies("\"version\":null"), 1);
    ck_assert_uint_eq(replies("\"result\":null,\"duplicate\":true"), 1);
    saga_fixture_begin(&fixture, "A", "STAY", 30000);
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(replies("\"code\":\"IDEMPOTENCY_KEY_REUSED\""), 1);
    clear("A");
    saga_fixture_begin(&fixture, "A", "WAIT", 30000);
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(replies("\"command_id\":\"b-A\",\"type\":\"Begin\",\"key\":\"A\","
                              "\"status\":\"ACCEPTED\""),
            2);
    ck_assert_uint_eq(replies("\"result\":\"Ended\",\"duplicate\":true"), 1);
    ck_assert_uint_eq(saga_fixture_count(&fixture, EVENTS, "\"type\":\"Begun\""), 1);
}
END_TEST

START_TEST(another_command_meets_an_operation_in_progress)
{
    saga_fixture_begin(&fixture, "A", "WAIT", 30000);
    saga_fixture_ask(&fixture,
            "{\"type\":\"Begin\",\"command_id\":\"other\",\"reservation_id\":\"A\","
            "\"way\":\"GRANT\",\"ttl_ms\":1}",
            TALLY_NONE);
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(replies("\"code\":\"OPERATION_IN_PROGRESS\",\"retryable\":true,"
                              "\"detail\":\"since b-A\""),
            1);
}
END_TEST

/* Of the reply to b-A; there are others. */
static struct tally_slice correlation_of_reply(void)
{
    struct tally_memory_record record = {.offset = -1};

    do {
        ck_assert(tally_memory_broker_read(tally_topology_driver_broker(fixture.driver), REPLIES, 0,
                record.offset + 1, &record));
    } while (!tally_slice_equal(record.key, TALLY_SLICE("b-A")));
    for (size_t i = 0; i < record.header_count; i++) {
        if (tally_slice_equal(record.headers[i].name, TALLY_SLICE("correlation-id"))) {
            return record.headers[i].value;
        }
    }
    return TALLY_NONE;
}

START_TEST(correlation_ids_survive)
{
    static uint8_t longest[TALLY_CORRELATION_MAX];
    const struct tally_slice ids[] = {TALLY_NONE, TALLY_SLICE(""), TALLY_SLICE("corr-1"),
            TALLY_SLICE("\x00\x01\xff\xfe"), TALLY_SLICE("a\0b"), TALLY_SLICE("\xc3\xa9"),
            tally_slice_of(longest, sizeof longest)};
    struct tally_slice found;

    memset(longest, 0x80, sizeof longest); /* no text: twice as long in digits */
    saga_fixture_ask(&fixture,
            "{\"type\":\"Begin\",\"command_id\":\"b-A\",\"reservation_id\":\"A\","
            "\"way\":\"WAIT\",\"ttl_ms\":30000}",
            ids[_i]);
    saga_fixture_run(&fixture);
    stays_the_same_when_restored();
    saga_fixture_ask(&fixture, "{\"type\":\"Clear\",\"command_id\":\"c\",\"reservation_id\":\"A\"}",
            TALLY_SLICE("other"));
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(replies("\n"), 2);
    found = correlation_of_reply();
    ck_assert_int_eq(found.data == NULL, ids[_i].data == NULL);
    ck_assert(tally_slice_equal(found, ids[_i]));
}
END_TEST

START_TEST(a_correlation_id_may_be_too_long_to_keep)
{
    static uint8_t bytes[TALLY_CORRELATION_MAX + 1];

    saga_fixture_ask(&fixture,
            "{\"type\":\"Begin\",\"command_id\":\"b-A\",\"reservation_id\":\"A\","
            "\"way\":\"GRANT\",\"ttl_ms\":30000}",
            tally_slice_of(bytes, sizeof bytes));
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(saga_fixture_count(&fixture, EVENTS, "\"type\":\"Ended\""), 1);
    ck_assert_uint_eq(replies("\n"), 0);
}
END_TEST

/* Of commands of tally's own alone, and whatever check of the engine it is. */
START_TEST(a_refused_message_is_answered)
{
    static const char *const steps[] = {
            "{\"type\":\"Step\",\"id\":\"~Step:A:2\",\"payload\":{\"reservation_id\":\"A\","
            "\"granted\":true,\"deadline\":\"2026-01-15T09:00:00.000Z\"}}",
            "{\"type\":\"Step\",\"id\":\"~Step:A:3\",\"payload\":{\"reservation_id\":\"A\"}}",
            "{\"type\":\"Step\",\"id\":\"c-3\",\"payload\":{\"reservation_id\":\"A\","
            "\"granted\":true}}"};
    static const char *const codes[] = {
            "DEADLINE_EXCEEDED", "VALIDATION_FAILED", "VALIDATION_FAILED"};

    saga_fixture_ask(&fixture, steps[_i], TALLY_NONE);
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(saga_fixture_count(&fixture, EVENTS, "\"type\":\"CommandRejected\""), 1);
    ck_assert_uint_eq(saga_fixture_count(&fixture, EVENTS, codes[_i]), _i == 0 ? 2 : 1);
    ck_assert_uint_eq(saga_fixture_count(&fixture, EVENTS, "\"type\":\"Noted\""), _i < 2);
    saga_fixture_ask(&fixture, steps[_i], TALLY_NONE); /* a repeat answers nobody again */
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(saga_fixture_count(&fixture, EVENTS, "\"type\":\"Noted\""), _i < 2);
}
END_TEST

static void count_ids(const char *prefix)
{
    static int asked;
    char json[256];

    /* on the partition of the rows: all ids here are of the same one */
    snprintf(json, sizeof json,
            "{\"type\":\"Count\",\"command_id\":\"n-%d\",\"reservation_id\":\"A\","
            "\"prefix\":\"%s\"}",
            asked++, prefix);
    saga_fixture_ask(&fixture, json, TALLY_NONE);
}

/* Ids with this begin that are on the partition of "A". */
static void next_id(const char *begin, int *from, char id[static 16])
{
    do {
        snprintf(id, 16, "%s%03d", begin, (*from)++);
    } while (tally_partition_of(tally_slice_string(id), SAGA_PARTITIONS) !=
             tally_partition_of(TALLY_SLICE("A"), SAGA_PARTITIONS));
}

static void counted(const char *ids)
{
    char text[256];

    snprintf(text, sizeof text, "\"ids\":\"%s\"", ids);
    if (saga_fixture_count(&fixture, EVENTS, text) == 0) {
        char *events = saga_fixture_records(&fixture, EVENTS);

        ck_abort_msg("no %s in\n%s", text, events);
    }
}

START_TEST(a_scan_sees_what_its_transaction_wrote)
{
    char ids[3][16], expected[128];
    int from = 0;

    for (int i = 0; i < 3; i++) {
        next_id("s", &from, ids[i]);
    }
    count_ids("s");
    saga_fixture_begin(&fixture, ids[2], "WAIT", 30000);
    count_ids("s");
    saga_fixture_begin(&fixture, ids[0], "WAIT", 30000);
    count_ids("s");
    saga_fixture_run(&fixture);
    counted("");
    snprintf(expected, sizeof expected, "%s=OPEN ", ids[2]);
    counted(expected);
    snprintf(expected, sizeof expected, "%s=OPEN %s=OPEN ", ids[0], ids[2]);
    counted(expected);
    clear(ids[2]);
    saga_fixture_begin(&fixture, ids[1], "WAIT", 0);
    count_ids("s");
    count_ids("t");
    saga_fixture_run(&fixture); /* the timer of ids[1] is due at once */
    snprintf(expected, sizeof expected, "%s=OPEN %s=OPEN %s=DONE ", ids[0], ids[1], ids[2]);
    counted(expected);
    count_ids("s"); /* committed rows alone, one of them deleted */
    saga_fixture_run(&fixture);
    snprintf(expected, sizeof expected, "%s=OPEN %s=DONE ", ids[0], ids[2]);
    counted(expected);
    stays_the_same_when_restored();
}
END_TEST

START_TEST(a_scan_ends_where_it_is_told)
{
    int from = 0;
    char first[16], last[32], begin[16];

    next_id("u", &from, first);
    do {
        next_id("v", &from, begin);
        snprintf(last, sizeof last, "%s_", begin);
    } while (tally_partition_of(tally_slice_string(last), SAGA_PARTITIONS) !=
             tally_partition_of(TALLY_SLICE("A"), SAGA_PARTITIONS));
    saga_fixture_begin(&fixture, last, "WAIT", 30000);
    saga_fixture_begin(&fixture, "A", "WAIT", 30000);
    count_ids("");
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(saga_fixture_count(&fixture, EVENTS, "\"ids\":\"A=OPEN v"), 1);
    saga_fixture_begin(&fixture, "w", "WAIT", 30000);
    count_ids("v");
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(saga_fixture_count(&fixture, EVENTS, "_=OPEN \""), 2);
}
END_TEST

/* ~ClaimReply:<64>:slug:<96> under slug:<96>, and what it leads to. */
START_TEST(ids_of_tally_have_room)
{
    char json[1024], long_key[129], id[193];

    memset(long_key, 'k', 128);
    long_key[128] = 0;
    memset(id, 'i', 192);
    id[192] = 0;
    id[0] = '~';
    snprintf(json, sizeof json,
            "{\"type\":\"Begin\",\"command_id\":\"%.64s\",\"reservation_id\":\"%s\","
            "\"way\":\"WAIT\",\"ttl_ms\":30000}",
            id + 1, long_key);
    saga_fixture_ask(&fixture, json, TALLY_NONE);
    /* whose ids are the causation and correlation ids of a message that it leads to */
    snprintf(json, sizeof json,
            "{\"type\":\"Step\",\"id\":\"%s\",\"payload\":{\"reservation_id\":\"%s\"}}", id,
            long_key);
    saga_fixture_ask(&fixture, json, TALLY_NONE);
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(saga_fixture_count(&fixture, "reservation.commands-dlt", "\n"), 0);
    ck_assert_uint_eq(saga_fixture_count(&fixture, EVENTS, "\"type\":\"Noted\""), 1);
    snprintf(json, sizeof json,
            "{\"type\":\"Step\",\"id\":\"%.179s\",\"payload\":{\"reservation_id\":\"%s\","
            "\"granted\":true}}",
            id, long_key);
    saga_fixture_ask(&fixture, json, TALLY_NONE);
    saga_fixture_run(&fixture);
    ck_assert_uint_eq(saga_fixture_count(&fixture, EVENTS, "\"type\":\"Ended\""), 1);
    ck_assert_uint_eq(replies("\"type\":\"Begin\""), 1);
    stays_the_same_when_restored();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sagas");
    TCase *tcase = tcase_create("sagas");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_pending_command_is_answered_when_it_is_completed);
    tcase_add_test(tcase, a_message_completes_across_transactions);
    tcase_add_test(tcase, json_events_complete_too);
    tcase_add_test(tcase, a_repeat_is_told_what_is_known);
    tcase_add_test(tcase, another_command_meets_an_operation_in_progress);
    tcase_add_loop_test(tcase, correlation_ids_survive, 0, 7);
    tcase_add_test(tcase, a_correlation_id_may_be_too_long_to_keep);
    tcase_add_loop_test(tcase, a_refused_message_is_answered, 0, 3);
    tcase_add_test(tcase, a_scan_sees_what_its_transaction_wrote);
    tcase_add_test(tcase, a_scan_ends_where_it_is_told);
    tcase_add_test(tcase, ids_of_tally_have_room);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
