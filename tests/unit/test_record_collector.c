/* tests/unit/test_record_collector.c - about a batch of one partition fills a transaction. */
#include <check.h>

#include "engine/record_collector.h"

static const char events[] = "events", letters[] = "letters";
static struct tally_collector *collector;

static size_t record_max(struct tally_client *client, const char *topic)
{
    (void)client;
    return topic == events ? 4000 : 1000;
}

static const struct tally_client_ops ops = {.record_max = record_max};
static struct tally_client client = {.ops = &ops};

static void setup(void)
{
    collector = tally_collector_create(&client);
}

static void teardown(void)
{
    tally_collector_destroy(collector);
}

static void add(const char *topic, int32_t partition, size_t bytes)
{
    static const uint8_t value[4000];
    struct tally_produce record = {
            .key = TALLY_SLICE("key-10byte"), .value = tally_slice_of(value, bytes - 10)};

    tally_collector_add(collector, topic, partition, &record);
}

START_TEST(test_a_batch_of_one_partition_fills)
{
    ck_assert(!tally_collector_full(collector));
    add(events, 0, 3500);
    add(events, 1, 3500);
    add(letters, 0, 875);
    ck_assert(!tally_collector_full(collector));
    add(events, 1, 10);
    ck_assert(tally_collector_full(collector));
}
END_TEST

START_TEST(test_each_topic_has_its_own_limit)
{
    add(letters, 0, 876);
    ck_assert(tally_collector_full(collector));
    tally_collector_reset(collector);
    ck_assert(!tally_collector_full(collector));
    add(events, 0, 876);
    ck_assert(!tally_collector_full(collector));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("record collector");
    TCase *tests = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_a_batch_of_one_partition_fills);
    tcase_add_test(tests, test_each_topic_has_its_own_limit);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
