/* tests/topology/test_tails.c - inputs that end with marks of transactions and aborted records,
 * which retention deletes while nothing comes: the task's position has gone behind them before. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/topology/driver_fixture.h"

#define GROUP      "tally"
#define COMMANDS   "stock.commands"
#define TIMEOUT_MS 100
#define REST_MS    60000

enum tail { TAIL_COMMITTED, TAIL_ABORTED };

static struct driver_fixture fixture;
static struct tally_client *client;
static struct tally_producer *producer;
static char path[64];

static void setup(void)
{
    snprintf(path, sizeof path, "/tmp/tally-tails-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(path));
}

static void teardown(void)
{
    char command[512];

    producer->ops->destroy(producer);
    client->ops->destroy(client);
    driver_fixture_close(&fixture);
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    ck_assert_int_eq(system(command), 0);
}

static struct tally_memory_broker *broker(void)
{
    return tally_topology_driver_broker(fixture.driver);
}

static int64_t end(void)
{
    return tally_memory_broker_end(broker(), COMMANDS, 0);
}

static int64_t committed(void)
{
    return tally_memory_broker_committed(broker(), GROUP, COMMANDS, 0);
}

static void receive(const char *id)
{
    char json[256];

    snprintf(json, sizeof json,
            "{\"type\":\"ReceiveStock\",\"command_id\":\"%s\",\"sku\":\"A\",\"warehouse\":\"W\","
            "\"quantity\":1}",
            id);
    driver_fixture_pipe(&fixture, COMMANDS, json);
}

static void begin(void)
{
    struct tally_produce record = {.key = TALLY_SLICE("A"),
            .value = TALLY_SLICE("{\"type\":\"ReceiveStock\",\"command_id\":\"t-1\",\"sku\":\"A\","
                                 "\"warehouse\":\"W\",\"quantity\":1}")};
    size_t done;

    ck_assert_int_eq(producer->ops->begin(producer, NULL), TALLY_OK);
    ck_assert_int_eq(producer->ops->produce(producer, COMMANDS, 0, &record, 1, &done, NULL),
            TALLY_OK);
}

/* A run behind which the commands topic has such a tail. */
static void open_with(enum tail tail, bool on_disk)
{
    driver_fixture_open(&fixture, &(struct driver_fixture_options){.partitions = 1,
                                          .registration_optional = true,
                                          .state_dir = on_disk ? path : NULL});
    client = tally_memory_client_create(broker(), "other", "z");
    producer = client->ops->producer(client, NULL, 0, NULL);
    ck_assert_int_eq(producer->ops->init_transactions(producer, TIMEOUT_MS, NULL), TALLY_OK);
    receive("c-1");
    begin();
    if (tail == TAIL_COMMITTED) {
        ck_assert_int_eq(producer->ops->commit(producer, TIMEOUT_MS, NULL), TALLY_OK);
    } else {
        ck_assert_int_eq(producer->ops->abort(producer, TIMEOUT_MS, NULL), TALLY_OK);
    }
    driver_fixture_run(&fixture);
    ck_assert_int_lt(committed(), end());
}

static void look(void)
{
    struct tally_error err = {.code = TALLY_OK};

    ck_assert_int_eq(tally_topology_driver_watch(fixture.driver, &err), TALLY_OK);
    driver_fixture_run(&fixture);
}

static void restart_behind_retention(void)
{
    struct tally_error err = {.code = TALLY_OK};

    tally_topology_driver_stop(fixture.driver);
    tally_memory_broker_truncate(broker(), COMMANDS, 0, end());
    ck_assert_msg(tally_topology_driver_start(fixture.driver, &err) == TALLY_OK, "%s", err.message);
    driver_fixture_run(&fixture);
}

static const char *state(void)
{
    return tally_topology_driver_state(fixture.driver, "stock", 0);
}

static size_t events(void)
{
    char *text = driver_fixture_records(&fixture, "stock.events");
    size_t count = 0;

    for (const char *at = text; *at; at++) {
        count += *at == '\n';
    }
    tally_free(text);
    return count;
}

START_TEST(a_position_goes_behind_the_tail)
{
    size_t before;

    open_with(_i % 2 ? TAIL_ABORTED : TAIL_COMMITTED, _i / 2);
    before = events();
    look();
    tally_topology_driver_advance(fixture.driver, REST_MS - 1);
    look();
    ck_assert_int_lt(committed(),
            end()); /* not at once: it would be a transaction for each record */
    tally_topology_driver_advance(fixture.driver, 1);
    look();
    ck_assert_int_eq(committed(), end());
    restart_behind_retention();
    ck_assert_str_eq(state(), "RUNNING");
    receive("c-2");
    driver_fixture_run(&fixture);
    ck_assert_uint_eq(events(), before + 1);
    look();
    tally_topology_driver_advance(fixture.driver, 2 * REST_MS);
    look();
    ck_assert_str_eq(state(), "RUNNING");
    ck_assert_uint_eq(events(), before + 1);
}
END_TEST

/* What the others prevent. */
START_TEST(a_position_that_stays_cannot_be_proved)
{
    open_with(_i % 2 ? TAIL_ABORTED : TAIL_COMMITTED, _i / 2);
    look();
    restart_behind_retention();
    ck_assert_str_eq(state(), "INPUT_TRUNCATED");
}
END_TEST

START_TEST(an_open_transaction_is_not_passed)
{
    size_t before;

    open_with(TAIL_COMMITTED, _i);
    before = events();
    look();
    tally_topology_driver_advance(fixture.driver, REST_MS);
    begin();
    look();
    ck_assert_int_lt(committed(), end());
    ck_assert_int_eq(producer->ops->commit(producer, TIMEOUT_MS, NULL), TALLY_OK);
    driver_fixture_run(&fixture);
    ck_assert_uint_eq(events(), before);
    ck_assert_int_eq(committed() + 1, end()); /* a repeat, decided */
}
END_TEST

/* The thread has not come to it for a minute. */
START_TEST(a_record_is_not_passed)
{
    struct tally_error err = {.code = TALLY_OK};
    struct tally_memory_fault silent = {
            .op = TALLY_MEMORY_POLL, .nth = 1, .code = TALLY_UNAVAILABLE};
    size_t before;

    open_with(TAIL_COMMITTED, _i);
    before = events();
    look();
    tally_topology_driver_advance(fixture.driver, REST_MS);
    receive("c-2");
    ck_assert_int_eq(tally_topology_driver_watch(fixture.driver, &err), TALLY_OK);
    tally_memory_broker_fault(broker(), &silent); /* a turn that finds nothing comes first */
    driver_fixture_run(&fixture);
    ck_assert_uint_eq(tally_memory_broker_hits(broker()), 1);
    ck_assert_uint_eq(events(), before + 1);
}
END_TEST

START_TEST(what_fails_is_tried_again)
{
    open_with(TAIL_COMMITTED, _i % 2);
    look();
    tally_topology_driver_advance(fixture.driver, REST_MS);
    tally_memory_broker_fault(broker(),
            &(struct tally_memory_fault){
                    .op = _i / 2 ? TALLY_MEMORY_COMMIT : TALLY_MEMORY_SEND_OFFSETS,
                    .nth = 1,
                    .code = _i / 2 ? TALLY_COMMIT_UNKNOWN : TALLY_TXN_ABORTED});
    look();
    ck_assert_uint_eq(tally_memory_broker_hits(broker()), 1);
    ck_assert_int_lt(committed(), end());
    tally_topology_driver_advance(fixture.driver, REST_MS);
    look();
    tally_topology_driver_advance(fixture.driver, REST_MS);
    look();
    ck_assert_int_eq(committed(), end());
    restart_behind_retention();
    ck_assert_str_eq(state(), "RUNNING");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tails");
    TCase *tcase = tcase_create("tails");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, a_position_goes_behind_the_tail, 0, 4);
    tcase_add_loop_test(tcase, a_position_that_stays_cannot_be_proved, 0, 4);
    tcase_add_loop_test(tcase, an_open_transaction_is_not_passed, 0, 2);
    tcase_add_loop_test(tcase, a_record_is_not_passed, 0, 2);
    tcase_add_loop_test(tcase, what_fails_is_tried_again, 0, 4);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
