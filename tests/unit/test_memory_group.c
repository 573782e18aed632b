/* tests/unit/test_memory_group.c - groups of the broker in memory, late requests, slow markers. */
#include <check.h>
#include <stdlib.h>

#include "engine/memory_client.h"

#define TIMEOUT_MS             100
#define TRANSACTION_TIMEOUT_MS 10000
#define SESSION_MS             25000
#define MAX_POLL_MS            60000
#define PARTITIONS             3

static struct tally_fake_clock fake;
static struct tally_memory_broker *broker;
static int64_t marker_delay_ms;

struct member {
    struct tally_client *client;
    struct tally_consumer *consumer;
    struct tally_producer *producer;
    int assigned, lost, revoked;
    size_t count;
    int32_t first;
};
static struct member a, b;

static void assigned(void *context, const struct tally_topic_partition *partitions, size_t count)
{
    struct member *member = context;
    struct tally_topic_partition from[PARTITIONS];

    member->assigned++;
    member->count = count;
    member->first = count > 0 ? partitions[0].partition : -1;
    for (size_t i = 0; i < count; i++) {
        from[i] = partitions[i];
        from[i].offset = 0;
    }
    ck_assert_int_eq(member->consumer->ops->assign(member->consumer, from, count, NULL), TALLY_OK);
}

static void revoked(void *context, const struct tally_topic_partition *partitions, size_t count,
        bool lost)
{
    struct member *member = context;

    (void)partitions;
    (void)count;
    member->revoked += !lost;
    member->lost += lost;
    ck_assert_int_eq(member->consumer->ops->assign(member->consumer, NULL, 0, NULL), TALLY_OK);
}

static void start(struct member *member, const char *instance)
{
    const char *topics[] = {"in"};
    struct tally_rebalance_listener listener = {member, assigned, revoked};

    *member = (struct member){.client = tally_memory_client_create(broker, "app", instance)};
    member->consumer = member->client->ops->consumer(member->client, NULL, 0, &listener, NULL);
    ck_assert_int_eq(member->consumer->ops->subscribe(member->consumer, topics, 1, NULL), TALLY_OK);
    member->producer = member->client->ops->producer(member->client, NULL, 0, NULL);
    ck_assert_int_eq(member->producer->ops->init_transactions(member->producer, TIMEOUT_MS, NULL),
            TALLY_OK);
}

static void end(struct member *member)
{
    if (member->client) {
        tally_memory_client_kill(member->client);
        member->consumer->ops->destroy(member->consumer);
        member->producer->ops->destroy(member->producer);
        member->client->ops->destroy(member->client);
        member->client = NULL;
    }
}

static int64_t slow(void *context)
{
    (void)context;
    return marker_delay_ms;
}

static void setup(void)
{
    tally_fake_clock_init(&fake, 1000);
    broker = tally_memory_broker_create(&fake.clock, TRANSACTION_TIMEOUT_MS);
    tally_memory_broker_topic(broker, "in", PARTITIONS, 100);
    tally_memory_broker_topic(broker, "out", 1, 100);
    tally_memory_broker_group_times(broker, SESSION_MS, MAX_POLL_MS, 0);
    tally_memory_broker_set_hooks(broker, &(struct tally_memory_hooks){.marker_delay_ms = slow});
    marker_delay_ms = 0;
    start(&a, "a");
    b.client = NULL;
}

static void teardown(void)
{
    end(&a);
    end(&b);
    tally_memory_broker_destroy(broker);
}

static void poll(struct member *member)
{
    struct tally_record record;

    ck_assert_int_eq(member->consumer->ops->poll(member->consumer, 0, &record, NULL), TALLY_AGAIN);
}

static void open_transaction(struct member *member)
{
    struct tally_produce record = {.key = TALLY_SLICE("k"), .value = TALLY_SLICE("v")};
    size_t done;

    ck_assert_int_eq(member->producer->ops->begin(member->producer, NULL), TALLY_OK);
    ck_assert_int_eq(member->producer->ops->produce(member->producer, "out", 0, &record, 1, &done,
                             NULL),
            TALLY_OK);
}

static enum tally_code send_offset(struct member *member)
{
    struct tally_topic_partition sent = {.topic = "in", .partition = 0, .offset = 7};

    return member->producer->ops->send_offsets(member->producer, member->consumer, &sent, 1,
            TIMEOUT_MS, NULL, NULL);
}

static enum tally_code commit(struct member *member)
{
    return member->producer->ops->commit(member->producer, TIMEOUT_MS, NULL);
}

static bool is_visible(int64_t offset)
{
    struct tally_memory_record record;

    return tally_memory_broker_read(broker, "out", 0, offset, &record);
}

START_TEST(members_share_by_range)
{
    poll(&a);
    ck_assert_uint_eq(a.count, PARTITIONS);
    start(&b, "b");
    poll(&b);
    ck_assert_int_eq(b.assigned, 0); /* a has not given up yet */
    poll(&a);
    ck_assert_int_eq(a.revoked, 1);
    poll(&b);
    poll(&a);
    ck_assert_uint_eq(a.count, 2);
    ck_assert_int_eq(a.first, 0);
    ck_assert_uint_eq(b.count, 1);
    ck_assert_int_eq(b.first, 2);
}
END_TEST

START_TEST(a_silent_member_loses_all_and_commits_nothing)
{
    poll(&a);
    open_transaction(&a);
    start(&b, "b");
    poll(&b);
    tally_fake_clock_advance(&fake, TRANSACTION_TIMEOUT_MS - 1);
    tally_memory_client_heartbeat(b.client);
    tally_memory_broker_sweep(broker);
    poll(&b);
    ck_assert_int_eq(b.assigned, 0);
    for (int i = 0; i < 3; i++) { /* b is there, a is not */
        tally_fake_clock_advance(&fake, SESSION_MS / 3);
        tally_memory_client_heartbeat(b.client);
    }
    poll(&b);
    ck_assert_uint_eq(b.count, PARTITIONS);
    ck_assert_int_ne(send_offset(&a), TALLY_OK);
    ck_assert(!tally_memory_client_current(a.client));
    poll(&a);
    ck_assert_int_eq(a.lost, 1);
}
END_TEST

START_TEST(offsets_of_an_older_generation_are_refused)
{
    poll(&a);
    open_transaction(&a);
    tally_memory_broker_rebalance(broker, true);
    ck_assert_int_eq(send_offset(&a), TALLY_TXN_ABORTED);
    ck_assert_int_eq(tally_memory_broker_committed(broker, "app", "in", 0), TALLY_OFFSET_NONE);
}
END_TEST

START_TEST(a_member_that_restarts_keeps_its_part)
{
    poll(&a);
    start(&b, "b");
    poll(&b);
    poll(&a);
    poll(&a);
    poll(&b);
    end(&b);
    start(&b, "b");
    poll(&b);
    ck_assert_uint_eq(b.count, 1);
    poll(&a);
    ck_assert_int_eq(a.revoked, 1); /* only when b came first */
}
END_TEST

START_TEST(who_does_not_poll_is_no_member)
{
    poll(&a);
    for (int i = 0; i < 4; i++) {
        tally_fake_clock_advance(&fake, MAX_POLL_MS / 3);
        tally_memory_client_heartbeat(a.client);
    }
    poll(&a);
    ck_assert_int_eq(a.lost, 1);
    poll(&a);
    ck_assert_int_eq(a.assigned, 2);
}
END_TEST

static void give_up_commit(int64_t late_ms)
{
    struct tally_memory_fault late = {
            .op = TALLY_MEMORY_COMMIT, .nth = 1, .code = TALLY_TIMEOUT, .late_ms = late_ms};

    tally_memory_broker_fault(broker, &late);
    ck_assert_int_eq(commit(&a), TALLY_TIMEOUT);
}

/* What replacing a producer in doubt is for. */
START_TEST(a_late_commit_of_an_older_epoch_is_refused)
{
    poll(&a);
    open_transaction(&a);
    give_up_commit(1000);
    ck_assert_int_eq(a.producer->ops->abort(a.producer, TIMEOUT_MS, NULL), TALLY_OK);
    ck_assert(a.producer->ops->tainted(a.producer));
    a.producer->ops->destroy(a.producer);
    a.producer = a.client->ops->producer(a.client, NULL, 0, NULL);
    ck_assert_int_eq(a.producer->ops->init_transactions(a.producer, TIMEOUT_MS, NULL), TALLY_OK);
    open_transaction(&a);
    tally_fake_clock_advance(&fake, 1000);
    tally_memory_broker_sweep(broker);
    ck_assert(!is_visible(0)); /* the epoch was raised: the late commit is refused */
    ck_assert_uint_eq(tally_memory_broker_open_transactions(broker), 1);
}
END_TEST

START_TEST(a_late_commit_ends_the_transaction_that_it_was_meant_for)
{
    poll(&a);
    open_transaction(&a);
    ck_assert_int_eq(send_offset(&a), TALLY_OK);
    give_up_commit(1000);
    ck_assert(!is_visible(0));
    tally_fake_clock_advance(&fake, 1000);
    tally_memory_broker_sweep(broker);
    ck_assert(is_visible(0));
    ck_assert_int_eq(tally_memory_broker_committed(broker, "app", "in", 0), 7);
    ck_assert_int_eq(commit(&a), TALLY_OK); /* again: it is done */
}
END_TEST

/* The hole that KIP-890 closes: within an epoch nothing tells whose end it is. */
START_TEST(a_late_commit_ends_a_later_transaction_of_its_epoch)
{
    poll(&a);
    open_transaction(&a);
    give_up_commit(1000);
    ck_assert_int_eq(commit(&a), TALLY_OK); /* the client asks again, and is answered */
    open_transaction(&a);
    ck_assert(!is_visible(1));
    tally_fake_clock_advance(&fake, 1000);
    tally_memory_broker_sweep(broker);
    ck_assert(is_visible(1)); /* half a transaction */
    ck_assert_int_eq(send_offset(&a), TALLY_PRODUCER_FATAL);
}
END_TEST

START_TEST(a_slow_marker_holds_readers_and_offsets_back)
{
    struct tally_topic_partition asked = {.topic = "in", .partition = 0};
    struct tally_memory_record record;

    poll(&a);
    open_transaction(&a);
    ck_assert_int_eq(send_offset(&a), TALLY_OK);
    marker_delay_ms = 500;
    ck_assert_int_eq(commit(&a), TALLY_OK);
    ck_assert(!is_visible(0));
    ck_assert_int_eq(tally_memory_broker_fate(broker, "out", 0, 0, &record), TALLY_FATE_COMMITTED);
    ck_assert_int_eq(a.consumer->ops->committed(a.consumer, &asked, 1, TIMEOUT_MS, NULL),
            TALLY_TIMEOUT);
    tally_fake_clock_advance(&fake, 500);
    ck_assert_int_eq(a.consumer->ops->committed(a.consumer, &asked, 1, TIMEOUT_MS, NULL), TALLY_OK);
    ck_assert_int_eq(asked.offset, 7);
    ck_assert(is_visible(0));
    ck_assert_uint_eq(tally_memory_broker_open_transactions(broker), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory_group");
    TCase *tcase = tcase_create("groups");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, members_share_by_range);
    tcase_add_test(tcase, a_silent_member_loses_all_and_commits_nothing);
    tcase_add_test(tcase, offsets_of_an_older_generation_are_refused);
    tcase_add_test(tcase, a_member_that_restarts_keeps_its_part);
    tcase_add_test(tcase, who_does_not_poll_is_no_member);
    tcase_add_test(tcase, a_late_commit_of_an_older_epoch_is_refused);
    tcase_add_test(tcase, a_late_commit_ends_the_transaction_that_it_was_meant_for);
    tcase_add_test(tcase, a_late_commit_ends_a_later_transaction_of_its_epoch);
    tcase_add_test(tcase, a_slow_marker_holds_readers_and_offsets_back);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
