/* tests/topology/test_poison.c - records that would be too large where they have to go: letters
 * that no topic takes whole, commands that cannot be forwarded, an event that a topic refuses. One
 * record suffers, its neighbours do not. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "tests/topology/driver_fixture.h"

#define MIB           (1024 * 1024)
#define HEADERS       100
#define PARTITIONS    4
#define HEADER_BYTES  4000
#define COMMAND_BYTES 256

static struct driver_fixture fixture;

static void open_fixture(int32_t partitions)
{
    driver_fixture_open(&fixture, &(struct driver_fixture_options){
                                          .partitions = partitions, .registration_optional = true});
    driver_fixture_run(&fixture);
}

static void teardown(void)
{
    driver_fixture_close(&fixture);
}

static struct tally_memory_broker *broker(void)
{
    return tally_topology_driver_broker(fixture.driver);
}

static size_t count_records(const char *topic, struct tally_memory_record *last)
{
    size_t count = 0;

    for (int32_t partition = 0; partition < PARTITIONS; partition++) {
        struct tally_memory_record record;
        int64_t at = 0;

        while (tally_memory_broker_read(broker(), topic, partition, at, &record)) {
            *last = record;
            at = record.offset + 1;
            count++;
        }
    }
    return count;
}

static bool header_is(const struct tally_memory_record *record, const char *name, const char *text)
{
    for (size_t i = 0; i < record->header_count; i++) {
        if (tally_slice_equal(record->headers[i].name, tally_slice_string(name)) &&
                tally_slice_equal(record->headers[i].value, tally_slice_string(text))) {
            return true;
        }
    }
    return false;
}

/* A good command, then spaces up to `size` bytes. */
static struct tally_slice padded(const char *json, size_t size)
{
    uint8_t *bytes = tally_alloc(size);

    memset(bytes, ' ', size);
    memcpy(bytes, json, strlen(json));
    return tally_slice_of(bytes, size);
}

static void pipe_receive(int number)
{
    char json[COMMAND_BYTES];

    snprintf(json, sizeof json,
            "{\"type\":\"ReceiveStock\",\"command_id\":\"c-%d\",\"sku\":\"SKU-1\","
            "\"warehouse\":\"AMS1\",\"quantity\":1}",
            number);
    driver_fixture_pipe(&fixture, "stock.commands", json);
}

START_TEST(a_letter_that_its_topic_does_not_take_is_cut)
{
    struct tally_header headers[HEADERS];
    struct tally_slice value = padded("{", MIB - 100);
    uint8_t text[HEADER_BYTES] = {0};
    struct tally_memory_record letter;

    open_fixture(1);
    for (int i = 0; i < HEADERS; i++) {
        headers[i] = (struct tally_header){
                .name = TALLY_SLICE("h"), .value = tally_slice_of(text, sizeof text)};
    }
    pipe_receive(1);
    ck_assert_int_ge(tally_topology_driver_pipe(fixture.driver, "stock.commands", 0,
                             TALLY_SLICE("SKU-1"), value, headers, HEADERS),
            0);
    pipe_receive(2);
    driver_fixture_run(&fixture);
    ck_assert_uint_eq(count_records("stock.commands-dlt", &letter), 1);
    ck_assert(tally_slice_equal(letter.key, TALLY_SLICE("SKU-1")));
    ck_assert_uint_eq(letter.value.len, 32768);
    ck_assert(header_is(&letter, "tally.cut",
            "key 5 of 5, value 32768 of 1048476 bytes, 0 of 100 headers"));
    ck_assert(header_is(&letter, "__streams.errors.offset", "1"));
    ck_assert_uint_eq(count_records("stock.events", &letter), 2);
    tally_free((void *)(uintptr_t)value.data);
}
END_TEST

/* There is room for the command on its own partition, but not for the mark besides. */
START_TEST(a_command_too_large_to_be_forwarded_is_a_dead_letter)
{
    struct tally_slice value = padded("{\"type\":\"ReceiveStock\",\"command_id\":\"c-1\",\"sku\":"
                                      "\"SKU-1\",\"warehouse\":\"AMS1\",\"quantity\":1}",
            MIB - 70);
    int32_t wrong = (tally_partition_of(TALLY_SLICE("SKU-1"), PARTITIONS) + 1) % PARTITIONS;
    struct tally_memory_record letter;

    open_fixture(PARTITIONS);
    ck_assert_int_ge(tally_topology_driver_pipe(fixture.driver, "stock.commands", wrong,
                             TALLY_SLICE("SKU-1"), value, NULL, 0),
            0);
    driver_fixture_run(&fixture);
    ck_assert_uint_eq(count_records("stock.events", &letter), 0);
    ck_assert_uint_eq(count_records("stock.commands", &letter), 1);
    ck_assert_uint_eq(count_records("stock.commands-dlt", &letter), 1);
    ck_assert(tally_slice_equal(letter.value, value));
    ck_assert(header_is(&letter, "__streams.errors.exception", "OVER_LIMIT"));
    tally_free((void *)(uintptr_t)value.data);
}
END_TEST

START_TEST(the_mark_is_seen_behind_many_headers)
{
    const char *json = "{\"type\":\"ReceiveStock\",\"command_id\":\"c-1\",\"sku\":\"SKU-1\","
                       "\"warehouse\":\"AMS1\",\"quantity\":1}";
    int32_t wrong = (tally_partition_of(TALLY_SLICE("SKU-1"), PARTITIONS) + 1) % PARTITIONS;
    struct tally_header headers[HEADERS];
    struct tally_memory_record letter;

    open_fixture(PARTITIONS);
    for (int i = 0; i < HEADERS; i++) {
        headers[i] = (struct tally_header){.name = TALLY_SLICE("h"), .value = TALLY_NONE};
    }
    headers[HEADERS - 1].name = TALLY_SLICE("tally-forwarded");
    ck_assert_int_ge(tally_topology_driver_pipe(fixture.driver, "stock.commands", wrong,
                             TALLY_SLICE("SKU-1"), tally_slice_string(json), headers, HEADERS),
            0);
    driver_fixture_run(&fixture);
    ck_assert_uint_eq(count_records("stock.commands-dlt", &letter), 1);
    ck_assert(header_is(&letter, "__streams.errors.exception", "WRONG_PARTITION"));
    ck_assert_uint_eq(letter.header_count, HEADERS + 9);
}
END_TEST

/* The topic takes less than it took at the start. The transaction fails until the record that
 * leads to the large event is alone in it; the good ones before it are decided. */
START_TEST(one_event_that_is_refused_costs_its_neighbours_nothing)
{
    char json[COMMAND_BYTES + 500], note[500];
    struct tally_memory_record record;

    memset(note, 'n', sizeof note);
    open_fixture(1);
    tally_memory_broker_limit(broker(), "stock.events", 700);
    for (int i = 0; i < 20; i++) {
        pipe_receive(i);
    }
    snprintf(json, sizeof json,
            "{\"type\":\"ReceiveStock\",\"command_id\":\"large\",\"sku\":\"SKU-1\","
            "\"warehouse\":\"AMS1\",\"quantity\":1,\"note\":\"%.500s\"}",
            note);
    driver_fixture_pipe(&fixture, "stock.commands", json);
    for (int i = 20; i < 40; i++) {
        pipe_receive(i);
    }
    driver_fixture_run(&fixture);
    ck_assert_uint_eq(count_records("stock.events", &record), 40);
    ck_assert_uint_eq(count_records("stock.commands-dlt", &record), 1);
    ck_assert(tally_slice_equal(record.value, tally_slice_string(json)));
    ck_assert(header_is(&record, "__streams.errors.exception", "OVER_LIMIT"));
}
END_TEST

/* Consumed, and there is neither an event nor an earlier outcome: the restore finds out why. */
START_TEST(a_restore_knows_why_an_event_that_is_too_large_is_missing)
{
    char json[COMMAND_BYTES + 500], note[500];
    struct tally_memory_record record;
    struct tally_error err = {.code = TALLY_OK};

    memset(note, 'n', sizeof note);
    open_fixture(1);
    tally_memory_broker_limit(broker(), "stock.events", 800);
    pipe_receive(1);
    snprintf(json, sizeof json,
            "{\"type\":\"ReceiveStock\",\"command_id\":\"large\",\"sku\":\"SKU-1\","
            "\"warehouse\":\"AMS1\",\"quantity\":1,\"note\":\"%.500s\"}",
            note);
    for (int life = 0; life < 3; life++) { /* refused by the broker first, then foreseen */
        driver_fixture_pipe(&fixture, "stock.commands", json);
        driver_fixture_run(&fixture);
        ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock", 0), "RUNNING");
        tally_topology_driver_crash(fixture.driver);
        ck_assert_int_eq(tally_topology_driver_start(fixture.driver, &err), TALLY_OK);
    }
    pipe_receive(2);
    driver_fixture_run(&fixture);
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock", 0), "RUNNING");
    ck_assert_uint_eq(count_records("stock.events", &record), 2);
    ck_assert_uint_eq(count_records("stock.commands-dlt", &record), 3);
}
END_TEST

/* Nor does the dead-letter topic take it: the letter is cut, and the partition goes on. */
START_TEST(a_letter_that_is_refused_is_written_short)
{
    struct tally_slice value = padded("{", 100000);
    struct tally_memory_record record;

    open_fixture(1);
    tally_memory_broker_limit(broker(), "stock.commands-dlt", 40000);
    pipe_receive(1);
    ck_assert_int_ge(tally_topology_driver_pipe(fixture.driver, "stock.commands", 0,
                             TALLY_SLICE("SKU-1"), value, NULL, 0),
            0);
    pipe_receive(2);
    driver_fixture_run(&fixture);
    ck_assert_uint_eq(count_records("stock.events", &record), 2);
    ck_assert_uint_eq(count_records("stock.commands-dlt", &record), 1);
    ck_assert(header_is(&record, "tally.cut",
            "key 5 of 5, value 32768 of 100000 bytes, 0 of 0 headers"));
    tally_free((void *)(uintptr_t)value.data);
}
END_TEST

/* Nothing that went with the event is sent without it. */
START_TEST(an_event_that_is_too_large_takes_its_messages_along)
{
    static const char *const names[] = {"catalogue", "stock", "reservation", NULL};
    struct tally_memory_record record;
    struct tally_error err = {.code = TALLY_OK};

    driver_fixture_open(&fixture,
            &(struct driver_fixture_options){
                    .partitions = 1, .topologies = names, .registration_optional = true});
    tally_topology_driver_crash(fixture.driver);
    tally_memory_broker_limit(broker(), "reservation.events", 500);
    ck_assert_int_eq(tally_topology_driver_start(fixture.driver, &err), TALLY_OK);
    driver_fixture_pipe(&fixture, "reservation.commands",
            "{\"type\":\"ReserveStock\",\"command_id\":\"1\",\"reservation_id\":\"R-1\","
            "\"lines\":[{\"sku\":\"A\",\"quantity\":3}]}");
    driver_fixture_run(&fixture);
    ck_assert_uint_eq(count_records("reservation.commands-dlt", &record), 1);
    ck_assert(header_is(&record, "__streams.errors.exception", "OVER_LIMIT"));
    ck_assert_uint_eq(count_records("reservation.events", &record), 0);
    ck_assert_uint_eq(count_records("stock.commands", &record), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("poison");
    TCase *tcase = tcase_create("sizes");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, a_letter_that_its_topic_does_not_take_is_cut);
    tcase_add_test(tcase, a_command_too_large_to_be_forwarded_is_a_dead_letter);
    tcase_add_test(tcase, the_mark_is_seen_behind_many_headers);
    tcase_add_test(tcase, one_event_that_is_refused_costs_its_neighbours_nothing);
    tcase_add_test(tcase, a_restore_knows_why_an_event_that_is_too_large_is_missing);
    tcase_add_test(tcase, a_letter_that_is_refused_is_written_short);
    tcase_add_test(tcase, an_event_that_is_too_large_takes_its_messages_along);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
