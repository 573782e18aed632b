/* tests/integration/test_kafka_transactions.c - transactions, fencing and positions on a real
 * broker (connectors/kafka_producer.c, kafka_consumer.c). */
#include <poll.h>
#include <stdio.h>

#include "engine/base/mem.h"
#include "tests/integration/kafka_fixture.h"

static void ck_read(struct kafka_fixture *fixture, const char *topic, const char *expected)
{
    char *values = kafka_fixture_read(fixture, topic, 0);

    ck_assert_str_eq(values, expected);
    tally_free(values);
}

static enum tally_code send_offset(struct tally_producer *producer, struct kafka_member *member,
        const char *topic, int64_t offset, struct tally_error *err)
{
    struct tally_topic_partition next = {.topic = topic, .partition = 0, .offset = offset};

    return producer->ops->send_offsets(producer, member->consumer, &next, 1, 5000, NULL, err);
}

static int64_t committed(struct kafka_member *member, const char *topic)
{
    struct tally_error err = {.code = TALLY_OK};
    struct tally_topic_partition partition = {.topic = topic};

    kafka_ok(member->consumer->ops->committed(member->consumer, &partition, 1,
            KAFKA_FIXTURE_WAIT_MS, &err));
    kafka_ok(partition.code);
    return partition.offset;
}

START_TEST(commits_records_with_offsets)
{
    struct kafka_fixture fixture;
    struct kafka_member member;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_delivery delivery = {.last_offset = TALLY_OFFSET_NONE};
    struct tally_producer *producer = NULL;
    struct tally_record record;
    const char *in = NULL, *out = NULL, *seen = NULL;

    kafka_fixture_open(&fixture, "a");
    in = kafka_fixture_topic(&fixture, "in", 1);
    out = kafka_fixture_topic(&fixture, "out", 1);
    kafka_fixture_fill(&fixture, in, 3);
    kafka_member_join(&member, &fixture, 0, in);
    producer = kafka_fixture_producer(&fixture, 0);
    kafka_ok(producer->ops->begin(producer, &err));
    for (int i = 0; i < 3; i++) {
        kafka_member_next(member.consumer, &record);
        ck_assert_int_eq(record.offset, i);
        ck_assert(seen == NULL || seen == record.topic); /* one pointer per topic */
        seen = record.topic;
        kafka_fixture_produce(producer, out, 0, i == 1 ? "one" : "other", &delivery);
        member.consumer->ops->release(member.consumer, &record);
    }
    kafka_ok(send_offset(producer, &member, in, 3, &err));
    kafka_ok(kafka_fixture_commit(producer));
    ck_assert_uint_eq(delivery.produced, 3);
    ck_assert_uint_eq(delivery.delivered, 3);
    ck_assert_int_eq(delivery.last_offset, 2);
    ck_assert(!producer->ops->tainted(producer));
    ck_assert_int_eq(committed(&member, in), 3);
    ck_read(&fixture, out, "other,one,other");

    kafka_ok(producer->ops->begin(producer, &err)); /* a second one by the same producer */
    kafka_fixture_produce(producer, out, 0, "two", NULL);
    kafka_ok(kafka_fixture_commit(producer));
    ck_read(&fixture, out, "other,one,other,two");
    producer->ops->destroy(producer);
    kafka_member_leave(&member);
    ck_assert_int_eq(member.revoked, 1);
    ck_assert_int_eq(member.lost, 0);
    kafka_fixture_close(&fixture);
}
END_TEST

/* Hands over one record, or answers what it was told to. */
struct late {
    struct tally_producer *producer;
    const char *topic;
    struct tally_delivery delivery;
    enum tally_code answer;
    int calls;
};

static enum tally_code hand_over(void *context, struct tally_error *err)
{
    struct late *late = context;

    late->calls++;
    if (late->answer) {
        return tally_error_set(err, late->answer, "as told");
    }
    kafka_fixture_produce(late->producer, late->topic, 0, "late", &late->delivery);
    return TALLY_OK;
}

/* The second transaction follows at once, while the broker writes the markers of the first; the
 * third fails while its offsets are on their way. */
START_TEST(hands_over_records_while_offsets_are_sent)
{
    struct kafka_fixture fixture;
    struct kafka_member member;
    struct tally_error err = {.code = TALLY_OK};
    struct late late = {.delivery.last_offset = TALLY_OFFSET_NONE};
    struct tally_meanwhile meanwhile = {.call = hand_over, .context = &late};
    struct tally_topic_partition next = {.partition = 0};

    kafka_fixture_open(&fixture, "a");
    next.topic = kafka_fixture_topic(&fixture, "in", 1);
    late.topic = kafka_fixture_topic(&fixture, "out", 1);
    kafka_fixture_fill(&fixture, next.topic, 3);
    kafka_member_join(&member, &fixture, 0, next.topic);
    kafka_member_await(&member, 1);
    late.producer = kafka_fixture_producer(&fixture, 0);
    while (next.offset < 2) {
        next.offset++;
        kafka_ok(late.producer->ops->begin(late.producer, &err));
        kafka_ok(late.producer->ops->send_offsets(late.producer, member.consumer, &next, 1, 5000,
                &meanwhile, &err));
        ck_assert_int_eq(late.calls, next.offset);
        kafka_ok(kafka_fixture_commit(late.producer));
        ck_assert_uint_eq(late.delivery.delivered, (uint64_t)next.offset);
        ck_assert(!late.producer->ops->tainted(late.producer));
    }
    next.offset = 3;
    late.answer = TALLY_TOO_LARGE;
    kafka_ok(late.producer->ops->begin(late.producer, &err));
    ck_assert_int_eq(late.producer->ops->send_offsets(late.producer, member.consumer, &next, 1,
                             5000, &meanwhile, &err),
            TALLY_TOO_LARGE);
    ck_assert_str_eq(err.message, "as told");
    kafka_ok(late.producer->ops->abort(late.producer, 5000, &err)); /* the call has ended */
    ck_assert_int_eq(committed(&member, next.topic), 2);
    ck_read(&fixture, late.topic, "late,late");
    late.producer->ops->destroy(late.producer);
    kafka_member_leave(&member);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(hides_what_was_aborted)
{
    struct kafka_fixture fixture;
    struct kafka_member member;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_producer *producer = NULL;
    const char *topic = NULL;
    int64_t low = -1, high = -1;

    kafka_fixture_open(&fixture, "a");
    topic = kafka_fixture_topic(&fixture, "out", 1);
    producer = kafka_fixture_producer(&fixture, 0);
    kafka_ok(producer->ops->begin(producer, &err));
    kafka_fixture_produce(producer, topic, 0, "kept", NULL);
    kafka_ok(kafka_fixture_commit(producer));
    kafka_ok(producer->ops->begin(producer, &err));
    for (int i = 0; i < 3; i++) {
        kafka_fixture_produce(producer, topic, 0, "aborted", NULL);
    }
    for (int i = 0; i < 100; i++) { /* let them reach the log */
        kafka_ok(producer->ops->poll(producer, 20, &err));
    }
    kafka_ok(producer->ops->abort(producer, 5000, &err));
    ck_assert(producer->ops->tainted(producer));
    producer->ops->destroy(producer);

    /* The whole tail is aborted: only the position tells that the end is reached. */
    kafka_member_join(&member, &fixture, 0, topic);
    for (int i = 0; high < 6 && i < 1000; i++) { /* the broker writes markers after the answer */
        poll(NULL, 0, i ? 10 : 0);
        kafka_ok(member.consumer->ops->watermarks(member.consumer, topic, 0, KAFKA_FIXTURE_WAIT_MS,
                &low, &high, &err));
    }
    ck_assert_int_eq(low, 0);
    ck_assert_int_eq(high, 6); /* kept, marker, three aborted, marker */
    ck_read(&fixture, topic, "kept");
    kafka_member_leave(&member);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(counts_an_open_transaction_in_the_high_watermark)
{
    struct kafka_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_producer *producer = NULL;
    struct tally_consumer *consumer = NULL;
    struct tally_delivery delivery = {.last_offset = TALLY_OFFSET_NONE};
    const char *topic = NULL;
    int64_t low = -1, high = -1;

    kafka_fixture_open(&fixture, "a");
    topic = kafka_fixture_topic(&fixture, "out", 1);
    producer = kafka_fixture_producer(&fixture, 0);
    kafka_ok(producer->ops->begin(producer, &err));
    kafka_fixture_produce(producer, topic, 0, "open", &delivery);
    for (int i = 0; i < 1000 && delivery.delivered == 0; i++) {
        kafka_ok(producer->ops->poll(producer, 20, &err));
    }
    ck_assert_uint_eq(delivery.delivered, 1);
    consumer = fixture.client->ops->restore_consumer(fixture.client, 0, &err);
    ck_assert_ptr_nonnull(consumer);
    kafka_ok(consumer->ops->watermarks(consumer, topic, 0, KAFKA_FIXTURE_WAIT_MS, &low, &high,
            &err));
    ck_assert_int_eq(high, 1); /* KAFKA-10167: not the last stable offset, which is 0 */
    consumer->ops->destroy(consumer);
    producer->ops->destroy(producer);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(fences_the_producer_that_was_replaced)
{
    struct kafka_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_producer *zombie = NULL, *owner = NULL;
    const char *topic = NULL;
    enum tally_code code = TALLY_OK;

    kafka_fixture_open(&fixture, "a");
    topic = kafka_fixture_topic(&fixture, "out", 1);
    zombie = kafka_fixture_producer(&fixture, 0);
    kafka_ok(zombie->ops->begin(zombie, &err));
    kafka_fixture_produce(zombie, topic, 0, "of the zombie", NULL);
    (void)zombie->ops->poll(zombie, 200, &err);
    owner = kafka_fixture_producer(&fixture, 0); /* settles the zombie's transaction */
    kafka_ok(owner->ops->begin(owner, &err));
    kafka_fixture_produce(owner, topic, 0, "of the owner", NULL);
    kafka_ok(kafka_fixture_commit(owner));
    code = kafka_fixture_commit(zombie);
    ck_assert_msg(code == TALLY_FENCED, "%s", tally_code_name(code));
    ck_assert_int_eq(tally_code_reaction(code), TALLY_REACT_RELEASE);
    zombie->ops->destroy(zombie);
    owner->ops->destroy(owner);
    ck_read(&fixture, topic, "of the owner");
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(fences_a_zombie_that_only_sends_offsets)
{
    struct kafka_fixture fixture;
    struct kafka_member zombie, owner;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_producer *producer = NULL;
    struct tally_record record;
    const char *in = NULL;
    enum tally_code code = TALLY_OK;

    kafka_fixture_open(&fixture, "a");
    in = kafka_fixture_topic(&fixture, "in", 1);
    kafka_fixture_fill(&fixture, in, 2);
    kafka_member_join(&zombie, &fixture, 0, in);
    kafka_member_await(&zombie, 1);
    producer = kafka_fixture_producer(&fixture, 0);
    kafka_ok(producer->ops->begin(producer, &err));
    kafka_ok(send_offset(producer, &zombie, in, 1, &err));
    kafka_ok(kafka_fixture_commit(producer));

    kafka_member_join(&owner, &fixture, 0, in); /* the same group.instance.id */
    kafka_member_await(&owner, 1);
    kafka_ok(producer->ops->begin(producer, &err));
    code = send_offset(producer, &zombie, in, 2, &err);
    ck_assert_msg(tally_code_reaction(code) == TALLY_REACT_RELEASE, "%s: %s", tally_code_name(code),
            err.message);
    producer->ops->destroy(producer);
    ck_assert_int_eq(committed(&owner, in), 1);
    for (int i = 0; i < 300 && code != TALLY_INSTANCE_FENCED; i++) {
        code = zombie.consumer->ops->poll(zombie.consumer, 100, &record, &err);
        if (code == TALLY_OK) {
            zombie.consumer->ops->release(zombie.consumer, &record);
        }
    }
    ck_assert_msg(code == TALLY_INSTANCE_FENCED, "%s", tally_code_name(code));
    kafka_member_leave(&zombie);
    kafka_member_leave(&owner);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(refuses_a_record_that_is_too_large)
{
    struct kafka_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_producer *producer = NULL;
    struct tally_produce records[3] = {0};
    struct tally_delivery delivery = {.last_offset = TALLY_OFFSET_NONE};
    uint8_t *large = tally_alloc_zero(1, 5 << 20);
    const char *topic = NULL;
    size_t done = 9;

    kafka_fixture_open(&fixture, "a");
    topic = kafka_fixture_topic(&fixture, "out", 1);
    producer = kafka_fixture_producer(&fixture, 0);
    for (size_t i = 0; i < 3; i++) {
        records[i] = (struct tally_produce){
                .key = TALLY_SLICE("key"), .value = TALLY_SLICE("small"), .delivery = &delivery};
    }
    records[1].value = tally_slice_of(large, 5 << 20);
    kafka_ok(producer->ops->begin(producer, &err));
    ck_assert_int_eq(producer->ops->produce(producer, topic, 0, records, 3, &done, &err),
            TALLY_TOO_LARGE);
    ck_assert_uint_eq(done, 1);
    kafka_ok(producer->ops->produce(producer, topic, 0, records + 2, 1, &done, &err));
    kafka_ok(kafka_fixture_commit(producer)); /* the transaction has not suffered */
    ck_assert_uint_eq(delivery.delivered, 2);
    producer->ops->destroy(producer);
    ck_read(&fixture, topic, "small,small");
    tally_free(large);
    kafka_fixture_close(&fixture);
}
END_TEST

/* The broker's limit is below the producer's: it refuses what was taken, and the transaction fails
 * with the reason, so that the engine can find the record. */
START_TEST(tells_that_the_broker_found_a_record_too_large)
{
    struct kafka_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_producer *producer = NULL;
    struct tally_delivery delivery = {.last_offset = TALLY_OFFSET_NONE};
    uint8_t *large = tally_alloc_zero(1, 2 << 20);
    struct tally_produce record = {.value = tally_slice_of(large, 2 << 20), .delivery = &delivery};
    const char *topic = NULL;
    enum tally_code code;
    size_t done = 0;

    kafka_fixture_open(&fixture, "a");
    topic = kafka_fixture_topic(&fixture, "out", 1);
    producer = kafka_fixture_producer(&fixture, 0);
    kafka_ok(producer->ops->begin(producer, &err));
    kafka_ok(producer->ops->produce(producer, topic, 0, &record, 1, &done, &err));
    code = kafka_fixture_commit(producer);
    ck_assert_msg(code == TALLY_TOO_LARGE, "%s", tally_code_name(code));
    ck_assert(producer->ops->tainted(producer));
    producer->ops->destroy(producer);
    ck_read(&fixture, topic, "");
    tally_free(large);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(keeps_keys_headers_and_order)
{
    struct kafka_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_producer *producer = NULL;
    struct tally_consumer *consumer = NULL;
    struct tally_header headers[2] = {
            {TALLY_SLICE("a"), TALLY_SLICE("1")}, {TALLY_SLICE("none"), TALLY_NONE}};
    static struct tally_produce records[1500];
    static size_t keys[1500];
    struct tally_topic_partition from = {.offset = 0};
    size_t done = 0;

    kafka_fixture_open(&fixture, "a");
    from.topic = kafka_fixture_topic(&fixture, "out", 1);
    producer = kafka_fixture_producer(&fixture, 0);
    for (size_t i = 0; i < 1500; i++) { /* headers cut batches; nulls are kept */
        keys[i] = i;
        records[i] = (struct tally_produce){
                .key = i % 7 == 1 ? TALLY_NONE : tally_slice_of(&keys[i], sizeof keys[i]),
                .value = i % 11 == 3 ? TALLY_NONE : tally_slice_of(&records[i], i % 5),
                .headers = headers,
                .header_count = i % 100 == 99 ? 2 : 0};
    }
    kafka_ok(producer->ops->begin(producer, &err));
    kafka_ok(producer->ops->produce(producer, from.topic, 0, records, 1500, &done, &err));
    ck_assert_uint_eq(done, 1500);
    kafka_ok(kafka_fixture_commit(producer));
    producer->ops->destroy(producer);

    consumer = fixture.client->ops->restore_consumer(fixture.client, 0, &err);
    kafka_ok(consumer->ops->assign(consumer, &from, 1, &err));
    for (size_t i = 0; i < 1500; i++) {
        struct tally_record record;
        struct tally_header read[3];
        size_t key = 0;

        kafka_member_next(consumer, &record);
        ck_assert_int_eq(record.offset, (int64_t)i);
        ck_assert_int_eq(record.key.data == NULL, i % 7 == 1);
        ck_assert_int_eq(record.value.data == NULL, i % 11 == 3);
        ck_assert_uint_eq(record.value.len, i % 11 == 3 ? 0 : i % 5);
        if (record.key.data) {
            memcpy(&key, record.key.data, sizeof key);
            ck_assert_uint_eq(key, i);
        }
        ck_assert_uint_eq(consumer->ops->headers(consumer, &record, read, 3),
                i % 100 == 99 ? 2 : 0);
        if (i % 100 == 99) {
            ck_assert(tally_slice_equal(read[0].value, headers[0].value));
            ck_assert(tally_slice_equal(read[1].name, headers[1].name));
            ck_assert_ptr_null(read[1].value.data);
        }
        consumer->ops->release(consumer, &record);
    }
    consumer->ops->destroy(consumer);
    kafka_fixture_close(&fixture);
}
END_TEST

/* "run.record" of each, in order, `times` times over. */
static void ck_runs(struct kafka_fixture *fixture, const char *topic, int32_t partition,
        size_t times, size_t runs, size_t run)
{
    struct tally_error err = {.code = TALLY_OK};
    struct tally_consumer *consumer =
            fixture->client->ops->restore_consumer(fixture->client, 0, &err);
    struct tally_topic_partition from = {.topic = topic, .partition = partition, .offset = 0};

    kafka_ok(consumer->ops->assign(consumer, &from, 1, &err));
    for (size_t i = 0; i < times * runs * run; i++) {
        struct tally_record record;
        char expected[48];

        (void)snprintf(expected, sizeof expected, "%zu.%zu", i / run % runs, i % run);
        kafka_member_next(consumer, &record);
        ck_assert_str_eq((const char *)record.value.data, expected);
        consumer->ops->release(consumer, &record);
    }
    consumer->ops->destroy(consumer);
}

/* More than a request takes, of two partitions in turns, and offsets while batches are on their
 * way; then once more by the same producer. */
START_TEST(commits_many_batches_of_several_partitions)
{
    enum { RUN = 250, RUNS = 12, VALUE = 1000 };
    struct kafka_fixture fixture;
    struct kafka_member member;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_producer *producer = NULL;
    const char *in = NULL, *out = NULL;
    static uint8_t values[RUNS][RUN][VALUE];

    kafka_fixture_open(&fixture, "a");
    in = kafka_fixture_topic(&fixture, "in", 1);
    out = kafka_fixture_topic(&fixture, "out", 2);
    kafka_fixture_fill(&fixture, in, 2);
    kafka_member_join(&member, &fixture, 0, in);
    kafka_member_await(&member, 1);
    producer = kafka_fixture_producer(&fixture, 0);
    for (int transaction = 0; transaction < 2; transaction++) {
        struct tally_delivery delivery = {.last_offset = TALLY_OFFSET_NONE};

        kafka_ok(producer->ops->begin(producer, &err));
        for (size_t run = 0; run < RUNS; run++) {
            struct tally_produce records[RUN];
            size_t done = 0;

            for (size_t i = 0; i < RUN; i++) {
                (void)snprintf((char *)values[run][i], VALUE, "%zu.%zu", run / 2, i);
                records[i] = (struct tally_produce){.key = TALLY_SLICE("key"),
                        .value = tally_slice_of(values[run][i], VALUE),
                        .delivery = &delivery};
            }
            kafka_ok(producer->ops->produce(producer, out, run % 2, records, RUN, &done, &err));
            ck_assert_uint_eq(done, RUN);
        }
        kafka_ok(send_offset(producer, &member, in, transaction + 1, &err));
        kafka_ok(kafka_fixture_commit(producer));
        ck_assert_uint_eq(delivery.delivered, RUN * RUNS);
        ck_assert(!producer->ops->tainted(producer));
        ck_assert_int_eq(committed(&member, in), transaction + 1);
    }
    ck_runs(&fixture, out, 0, 2, RUNS / 2, RUN);
    ck_runs(&fixture, out, 1, 2, RUNS / 2, RUN);
    producer->ops->destroy(producer);
    kafka_member_leave(&member);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(is_tainted_by_a_broker_that_pauses)
{
    struct kafka_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_producer *producer = NULL, *unguarded = NULL;
    enum tally_code code = TALLY_OK, other = TALLY_OK;
    const char *topic = NULL;

    kafka_fixture_open(&fixture, "a");
    topic = kafka_fixture_topic(&fixture, "out", 1);
    producer = kafka_fixture_producer(&fixture, 0);
    fixture.config.kafka_guard = false;
    unguarded = kafka_fixture_producer(&fixture, 1);
    kafka_ok(producer->ops->begin(producer, &err));
    kafka_ok(unguarded->ops->begin(unguarded, &err));
    kafka_fixture_produce(producer, topic, 0, "slow", NULL);
    kafka_fixture_produce(unguarded, topic, 0, "slow", NULL);
    ck_assert(!producer->ops->tainted(producer));
    kafka_fixture_pause();
    code = producer->ops->commit(producer, 200, &err);
    other = unguarded->ops->commit(unguarded, 200, &err);
    kafka_fixture_unpause();
    ck_assert_int_eq(code, TALLY_TIMEOUT);
    ck_assert_int_eq(other, TALLY_TIMEOUT);
    kafka_ok(kafka_fixture_commit(producer)); /* resumed: still exactly once */
    kafka_ok(kafka_fixture_commit(unguarded));
    ck_assert(producer->ops->tainted(producer));
    ck_assert(!unguarded->ops->tainted(unguarded));
    producer->ops->destroy(producer);
    unguarded->ops->destroy(unguarded);
    ck_read(&fixture, topic, "slow,slow");
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(reports_a_delivery_that_failed)
{
    struct kafka_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_producer *producer = NULL;
    struct tally_delivery delivery = {.last_offset = TALLY_OFFSET_NONE};
    enum tally_code code = TALLY_OK;
    const char *topic = NULL;

    kafka_fixture_open(&fixture, "a");
    topic = kafka_fixture_topic(&fixture, "out", 1);
    fixture.config.transaction_timeout = 2000; /* so message.timeout.ms is 1600 */
    producer = kafka_fixture_producer(&fixture, 0);
    kafka_ok(producer->ops->begin(producer, &err));
    kafka_fixture_pause();
    kafka_fixture_produce(producer, topic, 0, "late", &delivery);
    for (int i = 0; i < 200 && !code; i++) {
        code = producer->ops->poll(producer, 50, &err);
    }
    kafka_fixture_unpause();
    ck_assert_msg(tally_code_reaction(code) == TALLY_REACT_ABORT, "%s: %s", tally_code_name(code),
            err.message);
    ck_assert_uint_eq(delivery.delivered, 0);
    ck_assert(producer->ops->tainted(producer));
    code = kafka_fixture_commit(producer); /* no EndTxn was sent: the outcome is known */
    ck_assert_msg(code == TALLY_TXN_ABORTED, "%s", tally_code_name(code));
    (void)producer->ops->abort(producer, 5000, &err);
    producer->ops->destroy(producer);
    fixture.config.transaction_timeout = 10000;
    producer = kafka_fixture_producer(&fixture, 0); /* settles what the broker may hold */
    producer->ops->destroy(producer);
    ck_read(&fixture, topic, "");
    kafka_fixture_close(&fixture);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_test(tcase, commits_records_with_offsets);
    tcase_add_test(tcase, hands_over_records_while_offsets_are_sent);
    tcase_add_test(tcase, hides_what_was_aborted);
    tcase_add_test(tcase, counts_an_open_transaction_in_the_high_watermark);
    tcase_add_test(tcase, fences_the_producer_that_was_replaced);
    tcase_add_test(tcase, fences_a_zombie_that_only_sends_offsets);
    tcase_add_test(tcase, refuses_a_record_that_is_too_large);
    tcase_add_test(tcase, tells_that_the_broker_found_a_record_too_large);
    tcase_add_test(tcase, keeps_keys_headers_and_order);
    tcase_add_test(tcase, commits_many_batches_of_several_partitions);
    if (kafka_fixture_may_pause()) {
        tcase_add_test(tcase, is_tainted_by_a_broker_that_pauses);
        tcase_add_test(tcase, reports_a_delivery_that_failed);
    }
}

int main(void)
{
    return kafka_fixture_main("kafka transactions", add);
}
