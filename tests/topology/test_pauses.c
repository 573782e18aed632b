/* tests/topology/test_pauses.c - a process that did not run for a while (SIGSTOP, a frozen
 * container) takes nothing for broken that only stood still with it. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/topology/workload.h"

#define RECORDS    20
#define TIMEOUT_MS 100
#define PAUSE_MS   90000

static struct driver_fixture fixture;

static void setup(void)
{
    driver_fixture_open(&fixture, &(struct driver_fixture_options){.partitions = 1});
    workload_prepare(&fixture);
    workload_pipe(&fixture, RECORDS, false);
    driver_fixture_run(&fixture);
}

static void teardown(void)
{
    driver_fixture_close(&fixture);
}

/* An open transaction on the events topic, which a restore has to wait for. */
static struct tally_producer *block_restores(struct tally_client *client)
{
    struct tally_producer *producer = client->ops->producer(client, NULL, 0, NULL);
    struct tally_produce record = {.key = TALLY_SLICE("k"), .value = TALLY_SLICE("v")};
    size_t done;

    ck_assert_int_eq(producer->ops->init_transactions(producer, TIMEOUT_MS, NULL), TALLY_OK);
    ck_assert_int_eq(producer->ops->begin(producer, NULL), TALLY_OK);
    ck_assert_int_eq(producer->ops->produce(producer, "stock.events", 0, &record, 1, &done, NULL),
            TALLY_OK);
    return producer;
}

START_TEST(a_pause_in_a_restore_is_no_hanging_transaction)
{
    struct tally_memory_broker *broker = tally_topology_driver_broker(fixture.driver);
    struct tally_client *client = tally_memory_client_create(broker, "other", "z");
    struct tally_producer *producer = block_restores(client);
    struct tally_memory_fault slow = {.op = TALLY_MEMORY_POLL, .nth = 2, .code = TALLY_UNAVAILABLE};
    struct tally_error err = {.code = TALLY_OK};

    tally_topology_driver_crash(fixture.driver);
    ck_assert_int_eq(tally_topology_driver_start(fixture.driver, &err), TALLY_OK);
    ck_assert_int_eq(tally_topology_driver_run(fixture.driver, &err), TALLY_STUCK);
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock", 0), "RESTORING");

    /* Nothing can be read in the first turn behind the pause: connections are made anew. */
    tally_topology_driver_advance(fixture.driver, PAUSE_MS);
    tally_memory_broker_fault(broker, &slow);
    driver_fixture_run(&fixture);
    ck_assert_uint_eq(tally_memory_broker_hits(broker), 1);
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock", 0), "RUNNING");

    producer->ops->destroy(producer);
    client->ops->destroy(client);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pauses");
    TCase *tests = tcase_create("pauses");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_pause_in_a_restore_is_no_hanging_transaction);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
