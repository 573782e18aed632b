/* tests/unit/test_memory_client.c - the broker in memory keeps the promises of memory_broker.h;
 * what its clients answer is what client.h asks for. */
#include <check.h>
#include <stdlib.h>

#include "engine/memory_client.h"

#define TIMEOUT_MS             100
#define TRANSACTION_TIMEOUT_MS 10000

static struct tally_fake_clock fake;
static struct tally_memory_broker *broker;
static struct tally_client *client;
static struct tally_consumer *consumer;
static int assigned_calls, revoked_calls, lost_calls;

static void assigned(void *context, const struct tally_topic_partition *partitions, size_t count)
{
    struct tally_topic_partition from[8];

    (void)context;
    assigned_calls++;
    for (size_t i = 0; i < count; i++) {
        from[i] = partitions[i];
        from[i].offset = 0;
    }
    ck_assert_int_eq(consumer->ops->assign(consumer, from, count, NULL), TALLY_OK);
}

static void revoked(void *context, const struct tally_topic_partition *partitions, size_t count,
        bool lost)
{
    (void)context;
    (void)partitions;
    ck_assert_uint_eq(count, 2);
    revoked_calls++;
    lost_calls += lost;
    ck_assert_int_eq(consumer->ops->assign(consumer, NULL, 0, NULL), TALLY_OK);
}

static const struct tally_rebalance_listener listener = {.assigned = assigned, .revoked = revoked};

static void setup(void)
{
    tally_fake_clock_init(&fake, 1000);
    broker = tally_memory_broker_create(&fake.clock, TRANSACTION_TIMEOUT_MS);
    tally_memory_broker_topic(broker, "in", 2, 100);
    tally_memory_broker_topic(broker, "out", 2, 100);
    client = tally_memory_client_create(broker, "app", "a");
    consumer = NULL;
    assigned_calls = revoked_calls = lost_calls = 0;
}

static void teardown(void)
{
    if (consumer) {
        consumer->ops->destroy(consumer);
    }
    ck_assert_int_eq(tally_memory_client_unreleased(client), 0);
    client->ops->destroy(client);
    tally_memory_broker_destroy(broker);
}

static struct tally_producer *ready(void)
{
    struct tally_producer *producer = client->ops->producer(client, NULL, 0, NULL);

    ck_assert_int_eq(producer->ops->init_transactions(producer, TIMEOUT_MS, NULL), TALLY_OK);
    return producer;
}

static enum tally_code write_out(struct tally_producer *producer, const char *value,
        struct tally_delivery *delivery)
{
    struct tally_produce record = {
            .key = TALLY_SLICE("k"), .value = tally_slice_string(value), .delivery = delivery};
    size_t done;

    return producer->ops->produce(producer, "out", 0, &record, 1, &done, NULL);
}

static void in_transaction(struct tally_producer *producer, const char *value)
{
    ck_assert_int_eq(producer->ops->begin(producer, NULL), TALLY_OK);
    ck_assert_int_eq(write_out(producer, value, NULL), TALLY_OK);
}

static void visible(int64_t from, int64_t offset, const char *value)
{
    struct tally_memory_record record;

    ck_assert(tally_memory_broker_read(broker, "out", 0, from, &record));
    ck_assert_int_eq(record.offset, offset);
    ck_assert(tally_slice_equal(record.value, tally_slice_string(value)));
}

static void nothing_visible(int64_t from)
{
    struct tally_memory_record record;

    ck_assert(!tally_memory_broker_read(broker, "out", 0, from, &record));
}

static void join(void)
{
    const char *topics[] = {"in"};
    struct tally_record record;

    consumer = client->ops->consumer(client, NULL, 0, &listener, NULL);
    ck_assert_int_eq(consumer->ops->subscribe(consumer, topics, 1, NULL), TALLY_OK);
    ck_assert_int_eq(consumer->ops->poll(consumer, 0, &record, NULL), TALLY_AGAIN);
    ck_assert_int_eq(assigned_calls, 1);
}

static void poll_gives(int32_t partition, int64_t offset)
{
    struct tally_record record;

    ck_assert_int_eq(consumer->ops->poll(consumer, 0, &record, NULL), TALLY_OK);
    ck_assert_int_eq(record.partition, partition);
    ck_assert_int_eq(record.offset, offset);
    consumer->ops->release(consumer, &record);
}

static void poll_gives_nothing(void)
{
    struct tally_record record;

    ck_assert_int_eq(consumer->ops->poll(consumer, 0, &record, NULL), TALLY_AGAIN);
}

static int64_t put(int32_t partition, const char *value)
{
    return tally_memory_broker_append(broker, "in", partition, TALLY_SLICE("k"),
            tally_slice_string(value), NULL, 0);
}

START_TEST(a_transaction_is_visible_when_it_commits)
{
    struct tally_producer *producer = ready();
    struct tally_delivery delivery = {.last_offset = TALLY_OFFSET_NONE};

    ck_assert_int_eq(producer->ops->begin(producer, NULL), TALLY_OK);
    ck_assert_int_eq(write_out(producer, "a", &delivery), TALLY_OK);
    ck_assert_int_eq(write_out(producer, "b", &delivery), TALLY_OK);
    ck_assert_uint_eq(delivery.produced, 2);
    ck_assert_uint_eq(delivery.delivered, 0);
    nothing_visible(0);
    ck_assert_int_eq(producer->ops->commit(producer, TIMEOUT_MS, NULL), TALLY_OK);
    ck_assert_uint_eq(delivery.delivered, 2);
    ck_assert_int_eq(delivery.last_offset, 1);
    visible(0, 0, "a");
    visible(1, 1, "b");
    nothing_visible(2);
    ck_assert_int_eq(tally_memory_broker_end(broker, "out", 0), 3); /* a commit marker */
    ck_assert(!producer->ops->tainted(producer));
    producer->ops->destroy(producer);
}
END_TEST

START_TEST(an_abort_leaves_offsets_and_no_record)
{
    struct tally_producer *producer = ready();

    in_transaction(producer, "a");
    ck_assert_int_eq(producer->ops->abort(producer, TIMEOUT_MS, NULL), TALLY_OK);
    ck_assert(producer->ops->tainted(producer));
    producer->ops->destroy(producer);
    producer = ready();
    in_transaction(producer, "b");
    ck_assert_int_eq(producer->ops->commit(producer, TIMEOUT_MS, NULL), TALLY_OK);
    visible(0, 2, "b"); /* behind "a" and the abort marker */
    producer->ops->destroy(producer);
}
END_TEST

START_TEST(readers_stop_before_an_open_transaction)
{
    struct tally_producer *producer = ready();

    in_transaction(producer, "a");
    tally_memory_broker_append(broker, "out", 0, TALLY_SLICE("k"), TALLY_SLICE("free"), NULL, 0);
    nothing_visible(0);
    ck_assert_int_eq(producer->ops->commit(producer, TIMEOUT_MS, NULL), TALLY_OK);
    visible(1, 1, "free");
    producer->ops->destroy(producer);
}
END_TEST

START_TEST(a_newer_producer_fences_and_aborts)
{
    struct tally_producer *old = ready(), *new;

    in_transaction(old, "a");
    new = ready();
    ck_assert_int_eq(old->ops->commit(old, TIMEOUT_MS, NULL), TALLY_FENCED);
    ck_assert_int_eq(write_out(old, "b", NULL), TALLY_FENCED);
    nothing_visible(0);
    in_transaction(new, "c");
    ck_assert_int_eq(new->ops->commit(new, TIMEOUT_MS, NULL), TALLY_OK);
    visible(0, 2, "c");
    old->ops->destroy(old);
    new->ops->destroy(new);
}
END_TEST

START_TEST(a_transaction_that_hangs_is_aborted)
{
    struct tally_producer *producer = ready();

    in_transaction(producer, "a");
    tally_fake_clock_advance(&fake, TRANSACTION_TIMEOUT_MS + 1);
    ck_assert_int_eq(producer->ops->commit(producer, TIMEOUT_MS, NULL), TALLY_FENCED);
    nothing_visible(0);
    producer->ops->destroy(producer);
}
END_TEST

START_TEST(too_large_records_stop_a_batch)
{
    struct tally_producer *producer = ready();
    uint8_t large[101] = {0};
    struct tally_produce records[] = {{.value = TALLY_SLICE("a")},
            {.value = tally_slice_of(large, sizeof large)}, {.value = TALLY_SLICE("b")}};
    size_t done;

    ck_assert_int_eq(producer->ops->begin(producer, NULL), TALLY_OK);
    ck_assert_int_eq(producer->ops->produce(producer, "out", 0, records, 3, &done, NULL),
            TALLY_TOO_LARGE);
    ck_assert_uint_eq(done, 1);
    ck_assert_int_eq(producer->ops->commit(producer, TIMEOUT_MS, NULL), TALLY_OK);
    visible(0, 0, "a");
    nothing_visible(1);
    ck_assert_int_eq(producer->ops->partitions(producer, "out", TIMEOUT_MS), 2);
    ck_assert_int_lt(producer->ops->partitions(producer, "none", TIMEOUT_MS), 0);
    producer->ops->destroy(producer);
}
END_TEST

struct late {
    struct tally_producer *producer;
    enum tally_code answer;
    int calls;
};

static enum tally_code hand_over(void *context, struct tally_error *err)
{
    struct late *late = context;
    struct tally_produce record = {.key = TALLY_SLICE("k"), .value = TALLY_SLICE("late")};
    size_t done;

    late->calls++;
    return late->answer
                   ? tally_error_set(err, late->answer, "as told")
                   : late->producer->ops->produce(late->producer, "out", 0, &record, 1, &done, err);
}

/* Before its offsets, after them, and once with a failure. */
START_TEST(records_are_handed_over_while_offsets_are_sent)
{
    struct late late = {.producer = ready()};
    struct tally_meanwhile meanwhile = {.call = hand_over, .context = &late};
    struct tally_topic_partition sent = {.topic = "in", .partition = 1};

    join();
    while (sent.offset < 2) {
        sent.offset++;
        ck_assert_int_eq(late.producer->ops->begin(late.producer, NULL), TALLY_OK);
        ck_assert_int_eq(late.producer->ops->send_offsets(late.producer, consumer, &sent, 1,
                                 TIMEOUT_MS, &meanwhile, NULL),
                TALLY_OK);
        ck_assert_int_eq(late.calls, sent.offset);
        ck_assert_int_eq(late.producer->ops->commit(late.producer, TIMEOUT_MS, NULL), TALLY_OK);
        ck_assert_int_eq(tally_memory_broker_committed(broker, "app", "in", 1), sent.offset);
    }
    visible(0, 0, "late");
    late.answer = TALLY_TOO_LARGE;
    ck_assert_int_eq(late.producer->ops->begin(late.producer, NULL), TALLY_OK);
    ck_assert_int_eq(late.producer->ops->send_offsets(late.producer, consumer, &sent, 1, TIMEOUT_MS,
                             &meanwhile, NULL),
            TALLY_TOO_LARGE);
    late.producer->ops->destroy(late.producer);
}
END_TEST

START_TEST(offsets_commit_with_their_transaction)
{
    struct tally_producer *producer = ready();
    struct tally_topic_partition sent = {.topic = "in", .partition = 1, .offset = 7};
    struct tally_topic_partition asked = sent;

    join();
    ck_assert_int_eq(producer->ops->begin(producer, NULL), TALLY_OK);
    ck_assert_int_eq(producer->ops->send_offsets(producer, consumer, &sent, 1, TIMEOUT_MS, NULL,
                             NULL),
            TALLY_OK);
    ck_assert_int_eq(consumer->ops->committed(consumer, &asked, 1, TIMEOUT_MS, NULL),
            TALLY_TIMEOUT);
    ck_assert_int_eq(tally_memory_broker_committed(broker, "app", "in", 1), TALLY_OFFSET_NONE);
    ck_assert_int_eq(producer->ops->commit(producer, TIMEOUT_MS, NULL), TALLY_OK);
    ck_assert_int_eq(consumer->ops->committed(consumer, &asked, 1, TIMEOUT_MS, NULL), TALLY_OK);
    ck_assert_int_eq(asked.offset, 7);
    asked.partition = 0;
    ck_assert_int_eq(consumer->ops->committed(consumer, &asked, 1, TIMEOUT_MS, NULL), TALLY_OK);
    ck_assert_int_eq(asked.offset, TALLY_OFFSET_NONE);
    producer->ops->destroy(producer);
}
END_TEST

START_TEST(partitions_take_turns)
{
    struct tally_topic_partition one = {.topic = "in", .partition = 0, .offset = 1};

    put(0, "a");
    put(0, "b");
    put(1, "c");
    join();
    ck_assert_int_eq(consumer->ops->position(consumer, "in", 0), TALLY_OFFSET_NONE);
    poll_gives(0, 0);
    poll_gives(1, 0);
    poll_gives(0, 1);
    poll_gives_nothing();
    ck_assert_int_eq(consumer->ops->position(consumer, "in", 0), 2);
    ck_assert_int_eq(consumer->ops->cached_high(consumer, "in", 0), 2);
    ck_assert_int_eq(consumer->ops->seek(consumer, &one, 1, TIMEOUT_MS, NULL), TALLY_OK);
    ck_assert_int_eq(consumer->ops->pause(consumer, &one, 1, NULL), TALLY_OK);
    poll_gives_nothing();
    ck_assert_int_eq(consumer->ops->resume(consumer, &one, 1, NULL), TALLY_OK);
    poll_gives(0, 1);
}
END_TEST

START_TEST(positions_pass_control_records)
{
    struct tally_producer *producer = ready();
    struct tally_consumer *reader = client->ops->restore_consumer(client, 0, NULL);
    struct tally_topic_partition from = {.topic = "out", .partition = 0, .offset = 0};
    struct tally_record record;
    int64_t low, high;

    in_transaction(producer, "a");
    ck_assert_int_eq(producer->ops->abort(producer, TIMEOUT_MS, NULL), TALLY_OK);
    producer->ops->destroy(producer);
    ck_assert_int_eq(reader->ops->assign(reader, &from, 1, NULL), TALLY_OK);
    ck_assert_int_eq(reader->ops->watermarks(reader, "out", 0, TIMEOUT_MS, &low, &high, NULL),
            TALLY_OK);
    ck_assert_int_eq(low, 0);
    ck_assert_int_eq(high, 2);
    ck_assert_int_eq(reader->ops->poll(reader, 0, &record, NULL), TALLY_AGAIN);
    ck_assert_int_eq(reader->ops->position(reader, "out", 0), 2);
    reader->ops->destroy(reader);
}
END_TEST

START_TEST(records_carry_time_and_headers)
{
    struct tally_header sent = {.name = TALLY_SLICE("reply-topic"), .value = TALLY_SLICE("r")};
    struct tally_header got[2];
    struct tally_record record;

    tally_memory_broker_append(broker, "in", 0, TALLY_NONE, TALLY_SLICE("v"), &sent, 1);
    tally_fake_clock_advance(&fake, 5);
    join();
    ck_assert_int_eq(consumer->ops->poll(consumer, 0, &record, NULL), TALLY_OK);
    ck_assert_int_eq(record.timestamp_ms, 1000);
    ck_assert_ptr_null(record.key.data);
    ck_assert_uint_eq(consumer->ops->headers(consumer, &record, NULL, 0), 1);
    ck_assert_uint_eq(consumer->ops->headers(consumer, &record, got, 2), 1);
    ck_assert(tally_slice_equal(got[0].name, sent.name));
    ck_assert(tally_slice_equal(got[0].value, sent.value));
    consumer->ops->release(consumer, &record);
}
END_TEST

START_TEST(a_rebalance_revokes_then_assigns)
{
    struct tally_producer *producer = ready();
    struct tally_topic_partition sent = {.topic = "in", .partition = 0, .offset = 1};

    join();
    tally_memory_broker_rebalance(broker, false);
    poll_gives_nothing();
    ck_assert_int_eq(revoked_calls, 1);
    ck_assert_int_eq(lost_calls, 0);
    poll_gives_nothing();
    ck_assert_int_eq(assigned_calls, 2);

    ck_assert_int_eq(producer->ops->begin(producer, NULL), TALLY_OK);
    tally_memory_broker_rebalance(broker, true); /* others have the partitions already */
    ck_assert_int_eq(producer->ops->send_offsets(producer, consumer, &sent, 1, TIMEOUT_MS, NULL,
                             NULL),
            TALLY_TXN_ABORTED); /* ILLEGAL_GENERATION */
    poll_gives_nothing();
    ck_assert_int_eq(lost_calls, 1);
    ck_assert(consumer->ops->assignment_lost(consumer));
    poll_gives_nothing();
    ck_assert(!consumer->ops->assignment_lost(consumer));
    producer->ops->destroy(producer);
}
END_TEST

START_TEST(a_newer_consumer_of_the_instance_fences)
{
    struct tally_consumer *old;
    struct tally_record record;

    join();
    old = consumer;
    consumer = client->ops->consumer(client, NULL, 0, &listener, NULL);
    ck_assert_int_eq(old->ops->poll(old, 0, &record, NULL), TALLY_INSTANCE_FENCED);
    ck_assert_int_eq(old->ops->assign(old, NULL, 0, NULL), TALLY_OK);
    consumer->ops->destroy(consumer);
    consumer = old;
}
END_TEST

START_TEST(positions_outside_the_log_are_errors)
{
    struct tally_topic_partition at = {.topic = "in", .partition = 0, .offset = 9};
    struct tally_record record;

    put(0, "a");
    put(0, "b");
    join();
    ck_assert_int_eq(consumer->ops->seek(consumer, &at, 1, TIMEOUT_MS, NULL), TALLY_OK);
    ck_assert_int_eq(consumer->ops->poll(consumer, 0, &record, NULL), TALLY_INPUT_LOST);
    ck_assert_str_eq(record.topic, "in");
    at.offset = 0;
    ck_assert_int_eq(consumer->ops->seek(consumer, &at, 1, TIMEOUT_MS, NULL), TALLY_OK);
    tally_memory_broker_truncate(broker, "in", 0, 1);
    ck_assert_int_eq(consumer->ops->poll(consumer, 0, &record, NULL), TALLY_INPUT_TRUNCATED);
}
END_TEST

START_TEST(faults_hit_the_nth_call)
{
    struct tally_producer *producer = ready();
    struct tally_memory_fault timeout = {
            .op = TALLY_MEMORY_COMMIT, .nth = 1, .code = TALLY_TIMEOUT, .happened = true};
    struct tally_memory_fault aborted = {
            .op = TALLY_MEMORY_PRODUCE, .nth = 2, .code = TALLY_TXN_ABORTED};

    tally_memory_broker_fault(broker, &timeout);
    tally_memory_broker_fault(broker, &aborted);
    in_transaction(producer, "a");
    ck_assert_int_eq(producer->ops->commit(producer, TIMEOUT_MS, NULL), TALLY_TIMEOUT);
    visible(0, 0, "a"); /* it happened, only the answer was lost */
    ck_assert_int_eq(producer->ops->commit(producer, TIMEOUT_MS, NULL), TALLY_OK);
    ck_assert(producer->ops->tainted(producer));
    producer->ops->destroy(producer);

    producer = ready();
    ck_assert_int_eq(producer->ops->begin(producer, NULL), TALLY_OK);
    ck_assert_int_eq(write_out(producer, "b", NULL), TALLY_TXN_ABORTED);
    ck_assert_int_eq(write_out(producer, "c", NULL), TALLY_TXN_ABORTED); /* until it is aborted */
    ck_assert_int_eq(producer->ops->commit(producer, TIMEOUT_MS, NULL), TALLY_TXN_ABORTED);
    ck_assert_int_eq(producer->ops->abort(producer, TIMEOUT_MS, NULL), TALLY_OK);
    ck_assert_uint_eq(tally_memory_broker_hits(broker), 2);
    nothing_visible(1);
    producer->ops->destroy(producer);
}
END_TEST

START_TEST(an_unknown_commit_ends_the_producer)
{
    struct tally_memory_fault unknown = {
            .op = TALLY_MEMORY_COMMIT, .nth = 1, .code = TALLY_COMMIT_UNKNOWN};
    struct tally_producer *producer = ready();

    tally_memory_broker_fault(broker, &unknown);
    in_transaction(producer, "a");
    ck_assert_int_eq(producer->ops->commit(producer, TIMEOUT_MS, NULL), TALLY_COMMIT_UNKNOWN);
    ck_assert_int_eq(producer->ops->commit(producer, TIMEOUT_MS, NULL), TALLY_FENCED);
    producer->ops->destroy(producer);
    producer = ready(); /* settles it: aborted */
    nothing_visible(0);
    producer->ops->destroy(producer);
}
END_TEST

START_TEST(a_dead_client_changes_nothing)
{
    struct tally_memory_fault kill = {.op = TALLY_MEMORY_COMMIT, .nth = 1, .kill = true};
    struct tally_producer *producer = ready();
    struct tally_client *next;

    join();
    put(0, "x");
    tally_memory_broker_fault(broker, &kill);
    in_transaction(producer, "a");
    ck_assert_int_eq(producer->ops->commit(producer, TIMEOUT_MS, NULL), TALLY_FENCED);
    ck_assert(tally_memory_client_killed(client));
    ck_assert_int_eq(producer->ops->commit(producer, TIMEOUT_MS, NULL), TALLY_FENCED);
    ck_assert_int_eq(producer->ops->abort(producer, TIMEOUT_MS, NULL), TALLY_FENCED);
    poll_gives_nothing();
    producer->ops->destroy(producer);
    consumer->ops->destroy(consumer);
    consumer = NULL;
    ck_assert_int_eq(revoked_calls, 0);
    ck_assert_int_eq(tally_memory_broker_end(broker, "out", 0), 1); /* still open */

    next = tally_memory_client_create(broker, "app", "a");
    client->ops->destroy(client);
    client = next;
    producer = ready();
    ck_assert_int_eq(tally_memory_broker_end(broker, "out", 0), 2);
    nothing_visible(0);
    producer->ops->destroy(producer);
}
END_TEST

START_TEST(replies_and_publications_go_outside_transactions)
{
    int32_t partition = -1;
    int64_t offset = -1;
    uint8_t large[101] = {0};

    ck_assert(client->ops->reply(client, "out", 0, TALLY_SLICE("k"), TALLY_SLICE("r"), NULL, 0));
    ck_assert(!client->ops->reply(client, "none", 0, TALLY_SLICE("k"), TALLY_SLICE("r"), NULL, 0));
    visible(0, 0, "r");
    ck_assert_int_eq(client->ops->publish(client, "in", TALLY_SLICE("TS-RED-M"), TALLY_SLICE("v"),
                             NULL, 0, TIMEOUT_MS, &partition, &offset, NULL),
            TALLY_OK);
    ck_assert_int_eq(offset, 0);
    ck_assert_int_eq(tally_memory_broker_end(broker, "in", partition), 1);
    ck_assert_int_eq(client->ops->publish(client, "in", TALLY_SLICE("k"),
                             tally_slice_of(large, sizeof large), NULL, 0, TIMEOUT_MS, &partition,
                             &offset, NULL),
            TALLY_TOO_LARGE);
    ck_assert(client->ops->reachable(client, NULL));
    tally_memory_client_set_reachable(client, false);
    ck_assert(!client->ops->reachable(client, NULL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory_client");
    TCase *tcase = tcase_create("broker");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_transaction_is_visible_when_it_commits);
    tcase_add_test(tcase, an_abort_leaves_offsets_and_no_record);
    tcase_add_test(tcase, readers_stop_before_an_open_transaction);
    tcase_add_test(tcase, a_newer_producer_fences_and_aborts);
    tcase_add_test(tcase, a_transaction_that_hangs_is_aborted);
    tcase_add_test(tcase, too_large_records_stop_a_batch);
    tcase_add_test(tcase, records_are_handed_over_while_offsets_are_sent);
    tcase_add_test(tcase, offsets_commit_with_their_transaction);
    tcase_add_test(tcase, partitions_take_turns);
    tcase_add_test(tcase, positions_pass_control_records);
    tcase_add_test(tcase, records_carry_time_and_headers);
    tcase_add_test(tcase, a_rebalance_revokes_then_assigns);
    tcase_add_test(tcase, a_newer_consumer_of_the_instance_fences);
    tcase_add_test(tcase, positions_outside_the_log_are_errors);
    tcase_add_test(tcase, faults_hit_the_nth_call);
    tcase_add_test(tcase, an_unknown_commit_ends_the_producer);
    tcase_add_test(tcase, a_dead_client_changes_nothing);
    tcase_add_test(tcase, replies_and_publications_go_outside_transactions);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
