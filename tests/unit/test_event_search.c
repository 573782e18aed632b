/* test_event_search.c - events of a long topic are found by their commands and by time, and read
 * backwards; what the ledger lacks comes from there. */
#include "http/event_search.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/memory_client.h"
#include "http/explain_page.h"

enum { EVENTS = 9000, PATIENCE_MS = 30000, FIRST_MS = 1000000, STEP_MS = 1000, KEYS = 10 };

static struct tally_fake_clock fake;
static struct tally_memory_broker *broker;
static struct tally_client *client;
static struct event_search *search;
static struct tally_error err;
static int64_t offsets[EVENTS]; /* of the events, by number */

/* Commands of which some have no event of their own; bursts, so that a guess is a bad one. */
static int64_t command_of(int64_t number)
{
    return number < EVENTS / 2 ? number * 2 : EVENTS + (number - EVENTS / 2) * 50;
}

/* Three in a row at the same time. */
static int64_t time_of(int64_t number)
{
    return FIRST_MS + number / 3 * STEP_MS;
}

static struct tally_slice key_of(int64_t number)
{
    static char keys[KEYS][8];
    size_t index = (size_t)number % KEYS;

    snprintf(keys[index], sizeof keys[index], "S-%zu", index);
    return tally_slice_string(keys[index]);
}

static void append_event(int64_t number)
{
    int64_t seq = number / KEYS + 1;
    char text[1024], time[TALLY_TIME_LEN + 1];
    struct tally_slice key = key_of(number);

    tally_format_time(time_of(number), time);
    snprintf(text, sizeof text,
            "{\"id\":\"stock/0@%lld\",\"type\":\"StockReceived\",\"version\":\"1.0\","
            "\"source\":\"tally/stock\",\"time\":\"%s\",\"actor\":\"ann\","
            "\"correlation_id\":\"order\",\"causation_id\":\"c-%lld\",\"payload\":{\"sku\":\"%.*"
            "s\","
            "\"warehouse\":\"W1\",\"seq\":%lld,\"version\":%lld,\"kind\":\"RECEIVE\","
            "\"deltas\":{\"on_hand\":2},\"after\":{\"on_hand\":%lld,\"available\":%lld},"
            "\"outcome\":{\"command\":\"ReceiveStock\",\"fingerprint\":\"0123456789abcdef\","
            "\"status\":\"ACCEPTED\"}}}",
            (long long)command_of(number), time, (long long)number, (int)key.len,
            (const char *)key.data, (long long)seq, (long long)seq, (long long)seq * 2,
            (long long)seq * 2);
    offsets[number] = tally_memory_broker_append(broker, "stock.events", 0, key,
            tally_slice_string(text), NULL, 0);
    ck_assert_int_ge(offsets[number], 0);
}

static void open_search(void)
{
    ck_assert_int_eq(event_search_open(&(struct event_search_options){.client = client,
                                               .topology = "stock",
                                               .topic = "stock.events",
                                               .partition = 0,
                                               .last = offsets[EVENTS - 1],
                                               .last_command = command_of(EVENTS - 1),
                                               .end_ms = tally_mono_ms(tally_clock_real()) +
                                                         PATIENCE_MS,
                                               .types = stock_event_schemas},
                             &search, &err),
            TALLY_OK);
}

static void setup(void)
{
    tally_fake_clock_init(&fake, FIRST_MS);
    broker = tally_memory_broker_create(&fake.clock, 10000);
    tally_memory_broker_topic(broker, "stock.events", 1, 4096);
    client = tally_memory_client_create(broker, "app", "a");
    for (int64_t number = 0; number < EVENTS; number++) {
        append_event(number);
        if (number % 7 == 0) { /* somebody else's */
            ck_assert_int_ge(tally_memory_broker_append(broker, "stock.events", 0, key_of(number),
                                     TALLY_SLICE("{\"id\":\"other\"}"), NULL, 0),
                    0);
        }
    }
    open_search();
}

static void teardown(void)
{
    event_search_close(search);
    ck_assert_int_eq(tally_memory_client_unreleased(client), 0);
    client->ops->destroy(client);
    tally_memory_broker_destroy(broker);
}

static void find(int64_t number)
{
    struct event_search_found found;
    enum tally_code code = event_search_command(search, command_of(number), &found, &err);

    ck_assert_msg(code == TALLY_OK, "%lld: %s", (long long)number, err.message);
    ck_assert_int_eq(found.offset, offsets[number]);
    ck_assert_int_eq(found.event->command_offset, command_of(number));
    ck_assert(tally_slice_equal(found.event->outcome.command, TALLY_SLICE("ReceiveStock")));
}

START_TEST(each_command_has_its_event)
{
    for (int64_t number = 0; number < EVENTS; number += 97) {
        find(number);
    }
    for (int64_t number = EVENTS - 1; number >= 0; number -= 1013) {
        find(number);
    }
    find(0);
    find(0);
    find(EVENTS - 1);
}
END_TEST

START_TEST(commands_without_one)
{
    static const int64_t wanted[] = {1, 4001, EVENTS - 1, EVENTS + 49, 100000001};
    struct event_search_found found;

    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        ck_assert_int_eq(event_search_command(search, wanted[i], &found, &err), TALLY_NOT_FOUND);
        find(2000); /* it goes on */
    }
}
END_TEST

START_TEST(by_time)
{
    int64_t offset;

    for (int64_t number = 0; number < EVENTS; number += 501) {
        ck_assert_int_eq(event_search_time(search, time_of(number), &offset, &err), TALLY_OK);
        ck_assert_int_eq(offset, offsets[number / 3 * 3]);
        ck_assert_int_eq(event_search_time(search, time_of(number) - 1, &offset, &err), TALLY_OK);
        ck_assert_int_eq(offset, offsets[number / 3 * 3]);
    }
    ck_assert_int_eq(event_search_time(search, time_of(EVENTS) + 1, &offset, &err), TALLY_OK);
    ck_assert_int_eq(offset, offsets[EVENTS - 1] + 1);
    ck_assert_int_eq(event_search_time(search, 0, &offset, &err), TALLY_OK);
    ck_assert_int_eq(offset, 0);
}
END_TEST

struct told {
    int64_t next; /* number of the event that has to come */
    size_t count, limit;
};

static bool take(void *context, const struct event_search_found *found)
{
    struct told *told = context;

    if (told->count == told->limit) {
        return false;
    }
    ck_assert_int_eq(found->offset, offsets[told->next]);
    told->next -= KEYS;
    told->count++;
    return true;
}

START_TEST(backwards)
{
    struct told told = {.next = EVENTS - KEYS + 3, .limit = SIZE_MAX};
    int64_t below = offsets[EVENTS - 1] + 1;

    ck_assert_int_eq(event_search_back(search, key_of(3), &below, take, &told, &err), TALLY_OK);
    ck_assert_uint_eq(told.count, EVENTS / KEYS);
    ck_assert_int_eq(below, 0);
}
END_TEST

START_TEST(backwards_in_parts)
{
    struct told told = {.next = EVENTS - KEYS + 4, .limit = 7};
    int64_t below = offsets[EVENTS - 1] + 1;

    while (below > 0) {
        ck_assert_int_eq(event_search_back(search, key_of(4), &below, take, &told, &err), TALLY_OK);
        told.limit += 7;
    }
    ck_assert_uint_eq(told.count, EVENTS / KEYS);
}
END_TEST

START_TEST(the_time_is_over)
{
    struct told told = {.next = 0, .limit = 0};
    int64_t below = offsets[EVENTS - 1] + 2; /* the last of which will never come */
    struct event_search *late;

    ck_assert_int_eq(event_search_open(&(struct event_search_options){.client = client,
                                               .topology = "stock",
                                               .topic = "stock.events",
                                               .last = below,
                                               .last_command = below,
                                               .types = stock_event_schemas},
                             &late, &err),
            TALLY_OK);
    ck_assert_int_eq(event_search_back(late, TALLY_SLICE("none"), &below, take, &told, &err),
            TALLY_TIMEOUT);
    ck_assert_str_eq(err.message, "reading stock.events/0 took too long");
    event_search_close(late);
}
END_TEST

START_TEST(nobody_is_asked_who_is_away)
{
    struct event_search *none = NULL;

    tally_memory_client_set_reachable(client, false);
    ck_assert_int_eq(event_search_open(&(struct event_search_options){.client = client,
                                               .topology = "stock",
                                               .topic = "stock.events",
                                               .types = stock_event_schemas},
                             &none, &err),
            TALLY_UNAVAILABLE);
    ck_assert_str_eq(err.message, "stock.events/0 cannot be read now");
    ck_assert_ptr_null(none);
}
END_TEST

START_TEST(deleted_events_are_not_found)
{
    struct event_search_found found;
    struct told told = {.next = EVENTS - KEYS + 3, .limit = SIZE_MAX};
    int64_t below = offsets[EVENTS - 1] + 1;

    event_search_close(search);
    tally_memory_broker_truncate(broker, "stock.events", 0, offsets[8000]);
    open_search();
    ck_assert_int_eq(event_search_begin(search), offsets[8000]);
    ck_assert_int_eq(event_search_command(search, command_of(7000), &found, &err), TALLY_NOT_FOUND);
    find(8000);
    ck_assert_int_eq(event_search_back(search, key_of(3), &below, take, &told, &err), TALLY_OK);
    ck_assert_uint_eq(told.count, (EVENTS - 8000) / KEYS);
    ck_assert_int_eq(below, offsets[8000]);
}
END_TEST

/* --- what the ledger lacks -------------------------------------------------------------------- */

static struct exchange exchange;

/* A level of key 5 whose ledger has its newest entries alone. */
static void begin_explain(struct explain *explain, int64_t versions, int64_t in_ledger)
{
    tally_arena_init(&exchange.arena, 16 * 1024);
    *explain = (struct explain){.exchange = &exchange,
            .client = client,
            .arena = &exchange.arena,
            .end_ms = tally_mono_ms(tally_clock_real()) + PATIENCE_MS,
            .sku = TALLY_SLICE("S-5"),
            .warehouse = TALLY_SLICE("W1"),
            .limit = 1000,
            .bucket = -1,
            .checking = true,
            .from_ledger = in_ledger > 0,
            .last_command = TALLY_OFFSET_NONE,
            .info = {.topology = "stock",
                    .log = "stock.events",
                    .log_last = offsets[EVENTS - 1],
                    .position = command_of(EVENTS - 1)}};
    explain->check.seq = versions;
    explain->check.n[STOCK_ON_HAND] = versions * 2;
    for (int64_t seq = versions; seq > versions - in_ledger; seq--) {
        struct explain_entry entry = {.seq = seq, .event_offset = TALLY_OFFSET_NONE};

        entry.row.type = STOCK_RECEIVED;
        entry.row.deltas[STOCK_ON_HAND] = 2;
        entry.row.after[STOCK_ON_HAND] = seq * 2;
        entry.row.offset = command_of((seq - 1) * KEYS + 5);
        entry.row.command_id = TALLY_SLICE("c");
        ck_assert(explain_page_take(explain, &entry));
    }
}

static void every_entry_has_its_event(const struct explain *explain, int64_t versions)
{
    int64_t seq = versions;

    for (const struct explain_entry *entry = explain->newest; entry; entry = entry->older) {
        ck_assert_int_eq(entry->seq, seq);
        ck_assert_int_eq(entry->event_offset, offsets[(seq - 1) * KEYS + 5]);
        ck_assert(tally_slice_equal(entry->command, TALLY_SLICE("ReceiveStock")));
        ck_assert(tally_slice_equal(entry->correlation_id, TALLY_SLICE("order")));
        seq--;
    }
    ck_assert_int_eq(seq, 0);
}

START_TEST(the_events_go_on_where_the_ledger_ends)
{
    const int64_t versions = EVENTS / KEYS;
    struct explain explain;

    for (int64_t in_ledger = 0; in_ledger <= 200; in_ledger += 100) {
        begin_explain(&explain, versions, in_ledger);
        ck_assert_int_eq(explain_events_read(&explain, &err), TALLY_OK);
        explain_events_find(&explain);
        ck_assert_uint_eq(explain.count, (size_t)versions);
        ck_assert(explain.from_events && !explain.has_next);
        ck_assert_int_eq(explain.check.broken.seq, 0);
        ck_assert(explain_check_is_whole(&explain.check));
        ck_assert_uint_eq(explain.note_count, 0);
        every_entry_has_its_event(&explain, versions);
        tally_arena_deinit(&exchange.arena);
    }
}
END_TEST

START_TEST(a_page_of_events_ends)
{
    struct explain explain;

    begin_explain(&explain, EVENTS / KEYS, 2);
    explain.limit = 10;
    ck_assert_int_eq(explain_events_read(&explain, &err), TALLY_OK);
    ck_assert_uint_eq(explain.count, 10);
    ck_assert(explain.has_next);
    ck_assert_int_eq(explain.next.seq, EVENTS / KEYS - 10);
    ck_assert_int_eq(explain.next.n[STOCK_ON_HAND], 2 * (EVENTS / KEYS - 10));
    ck_assert_int_eq(explain.next.below, offsets[(EVENTS / KEYS - 11) * KEYS + 5] + 1);
    ck_assert_int_eq(explain.check.broken.seq, 0);
    tally_arena_deinit(&exchange.arena);
}
END_TEST

START_TEST(what_the_events_do_not_say)
{
    struct explain explain;

    begin_explain(&explain, EVENTS / KEYS + 1, 0); /* a level that is ahead of its events */
    ck_assert_int_eq(explain_events_read(&explain, &err), TALLY_OK);
    ck_assert_int_eq(explain.check.broken.seq, EVENTS / KEYS + 1);
    ck_assert_int_eq(explain.check.broken.bucket, -1);
    tally_arena_deinit(&exchange.arena);
}
END_TEST

START_TEST(events_were_deleted)
{
    struct explain explain;

    tally_memory_broker_truncate(broker, "stock.events", 0, offsets[8000]);
    begin_explain(&explain, EVENTS / KEYS, 0);
    ck_assert_int_eq(explain_events_read(&explain, &err), TALLY_OK);
    ck_assert_int_eq(explain.check.broken.seq, 0);
    ck_assert(!explain_check_is_whole(&explain.check));
    ck_assert_uint_eq(explain.note_count, 1);
    ck_assert(strstr(explain.notes[0], "stock.events/0 begins at "));
    tally_arena_deinit(&exchange.arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("event_search");
    TCase *tests = tcase_create("event_search");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, each_command_has_its_event);
    tcase_add_test(tests, commands_without_one);
    tcase_add_test(tests, by_time);
    tcase_add_test(tests, backwards);
    tcase_add_test(tests, backwards_in_parts);
    tcase_add_test(tests, the_time_is_over);
    tcase_add_test(tests, nobody_is_asked_who_is_away);
    tcase_add_test(tests, deleted_events_are_not_found);
    tcase_add_test(tests, the_events_go_on_where_the_ledger_ends);
    tcase_add_test(tests, a_page_of_events_ends);
    tcase_add_test(tests, what_the_events_do_not_say);
    tcase_add_test(tests, events_were_deleted);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
