/* tests/integration/test_kafka_client.c - groups, positions, replies and published commands on a
 * real broker (connectors/kafka_consumer.c, kafka_sender.c, kafka_client.c). */
#include <stdio.h>

#include "engine/base/hash.h"
#include "engine/base/mem.h"
#include "tests/integration/kafka_fixture.h"

START_TEST(says_none_where_nothing_was_committed)
{
    struct kafka_fixture fixture;
    struct kafka_member member;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_topic_partition partitions[2] = {{.partition = 0}, {.partition = 1}};

    kafka_fixture_open(&fixture, "a");
    partitions[0].topic = partitions[1].topic = kafka_fixture_topic(&fixture, "in", 2);
    kafka_member_join(&member, &fixture, 0, partitions[0].topic);
    kafka_ok(member.consumer->ops->committed(member.consumer, partitions, 2, KAFKA_FIXTURE_WAIT_MS,
            &err));
    for (int i = 0; i < 2; i++) { /* KAFKA-20416: none is not 0 */
        ck_assert_int_eq(partitions[i].code, TALLY_OK);
        ck_assert_int_eq(partitions[i].offset, TALLY_OFFSET_NONE);
    }
    kafka_member_leave(&member);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(seeks_back_after_an_abort)
{
    struct kafka_fixture fixture;
    struct kafka_member member;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_record record;
    struct tally_topic_partition back = {.partition = 0, .offset = 2};

    kafka_fixture_open(&fixture, "a");
    back.topic = kafka_fixture_topic(&fixture, "in", 1);
    kafka_fixture_fill(&fixture, back.topic, 6);
    kafka_member_join(&member, &fixture, 0, back.topic);
    for (int i = 0; i < 5; i++) {
        kafka_member_next(member.consumer, &record);
        ck_assert_int_eq(record.offset, i);
        member.consumer->ops->release(member.consumer, &record);
    }
    ck_assert_int_eq(member.consumer->ops->position(member.consumer, back.topic, 0), 5);
    ck_assert_int_eq(member.consumer->ops->cached_high(member.consumer, back.topic, 0), 6);
    kafka_ok(member.consumer->ops->seek(member.consumer, &back, 1, KAFKA_FIXTURE_WAIT_MS, &err));
    for (int i = 2; i < 6; i++) {
        kafka_member_next(member.consumer, &record);
        ck_assert_int_eq(record.offset, i);
        member.consumer->ops->release(member.consumer, &record);
    }
    kafka_member_leave(&member);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(pauses_and_resumes)
{
    struct kafka_fixture fixture;
    struct kafka_member member;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_record record;
    struct tally_topic_partition in = {.partition = 0};

    kafka_fixture_open(&fixture, "a");
    in.topic = kafka_fixture_topic(&fixture, "in", 1);
    kafka_fixture_fill(&fixture, in.topic, 3);
    kafka_member_join(&member, &fixture, 0, in.topic);
    kafka_member_next(member.consumer, &record);
    member.consumer->ops->release(member.consumer, &record);
    kafka_ok(member.consumer->ops->pause(member.consumer, &in, 1, &err));
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(member.consumer->ops->poll(member.consumer, 20, &record, &err),
                TALLY_AGAIN);
    }
    kafka_ok(member.consumer->ops->resume(member.consumer, &in, 1, &err));
    kafka_member_next(member.consumer, &record);
    ck_assert_int_eq(record.offset, 1);
    member.consumer->ops->release(member.consumer, &record);
    kafka_member_leave(&member);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(seeks_while_paused)
{
    struct kafka_fixture fixture;
    struct kafka_member member;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_record record;
    struct tally_topic_partition in = {.partition = 0};

    kafka_fixture_open(&fixture, "a");
    in.topic = kafka_fixture_topic(&fixture, "in", 1);
    kafka_fixture_fill(&fixture, in.topic, 5);
    kafka_member_join(&member, &fixture, 0, in.topic);
    for (int i = 0; i < 4; i++) {
        kafka_member_next(member.consumer, &record);
        member.consumer->ops->release(member.consumer, &record);
    }
    kafka_ok(member.consumer->ops->pause(member.consumer, &in, 1, &err));
    in.offset = 1;
    kafka_ok(member.consumer->ops->seek(member.consumer, &in, 1, KAFKA_FIXTURE_WAIT_MS, &err));
    kafka_ok(member.consumer->ops->resume(member.consumer, &in, 1, &err));
    for (int i = 1; i < 5; i++) {
        kafka_member_next(member.consumer, &record);
        ck_assert_int_eq(record.offset, i);
        member.consumer->ops->release(member.consumer, &record);
    }
    kafka_member_leave(&member);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(restarts_a_static_member_without_a_rebalance)
{
    struct kafka_fixture first, second;
    struct kafka_member a, b;
    struct tally_record record;
    const char *topic = NULL;
    int assigned_to_b = 0, owned = -1;

    kafka_fixture_open(&first, "a");
    topic = kafka_fixture_topic(&first, "in", 2);
    kafka_fixture_open_second(&second, &first, "b");
    kafka_member_join(&a, &first, 0, topic);
    kafka_member_await(&a, 2);
    kafka_member_join(&b, &second, 0, topic);
    for (int i = 0; i < 600 && !(a.count == 1 && b.count == 1); i++) {
        if (a.consumer->ops->poll(a.consumer, 50, &record, NULL) == TALLY_OK) {
            a.consumer->ops->release(a.consumer, &record);
        }
        if (b.consumer->ops->poll(b.consumer, 50, &record, NULL) == TALLY_OK) {
            b.consumer->ops->release(b.consumer, &record);
        }
    }
    ck_assert_uint_eq(a.count, 1);
    ck_assert_uint_eq(b.count, 1);
    owned = a.partitions[0].partition;
    assigned_to_b = b.assigned;

    kafka_member_leave(&a);
    ck_assert_int_eq(a.revoked, 2); /* when b came, and at its end */
    kafka_member_join(&a, &first, 0, topic);
    kafka_member_await(&a, 1);
    ck_assert_int_eq(a.partitions[0].partition, owned);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(b.consumer->ops->poll(b.consumer, 50, &record, NULL), TALLY_AGAIN);
    }
    ck_assert_int_eq(b.assigned, assigned_to_b);
    ck_assert_uint_eq(b.count, 1);
    kafka_member_leave(&a);
    kafka_member_leave(&b);
    kafka_fixture_close(&second);
    kafka_fixture_close(&first);
}
END_TEST

enum { MEMBERS = 3 };

/* Polls the first members until each has had an assignment at every join since its own. */
static bool all_assigned(struct kafka_member *members, int count)
{
    bool all = false;

    for (int turn = 0; turn < 300 && !all; turn++) {
        all = true;
        for (int i = 0; i < count; i++) {
            struct tally_record record;

            ck_assert_int_eq(members[i].consumer->ops->poll(members[i].consumer, 50, &record, NULL),
                    TALLY_AGAIN);
            all = all && members[i].assigned == count - i;
        }
    }
    return all;
}

/* It would hold up every rebalance, and take over from nobody. */
START_TEST(joins_again_after_an_assignment_of_nothing)
{
    static const char *const names[MEMBERS] = {"a", "b", "c"};
    struct kafka_fixture fixtures[MEMBERS];
    struct kafka_member members[MEMBERS];
    const char *topic = NULL;
    size_t owned = 0;

    kafka_fixture_open(&fixtures[0], names[0]);
    topic = kafka_fixture_topic(&fixtures[0], "in", 1);
    for (int i = 0; i < MEMBERS; i++) {
        if (i > 0) {
            kafka_fixture_open_second(&fixtures[i], &fixtures[0], names[i]);
        }
        kafka_member_join(&members[i], &fixtures[i], 0, topic);
        ck_assert_msg(all_assigned(members, i + 1), "with member %s", names[i]);
    }
    for (int i = 0; i < MEMBERS; i++) {
        ck_assert_int_eq(members[i].lost, 0);
        owned += members[i].count;
        kafka_member_leave(&members[i]);
    }
    ck_assert_uint_eq(owned, 1);
    for (int i = MEMBERS - 1; i >= 0; i--) {
        kafka_fixture_close(&fixtures[i]);
    }
}
END_TEST

START_TEST(halts_at_an_offset_that_does_not_exist)
{
    struct kafka_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_consumer *consumer = NULL;
    struct tally_topic_partition from = {.partition = 0, .offset = 77};
    struct tally_record record;
    enum tally_code code = TALLY_AGAIN;

    kafka_fixture_open(&fixture, "a");
    from.topic = kafka_fixture_topic(&fixture, "in", 1);
    consumer = fixture.client->ops->restore_consumer(fixture.client, 0, &err);
    kafka_ok(consumer->ops->assign(consumer, &from, 1, &err));
    for (int i = 0; i < 300 && (code == TALLY_AGAIN || code == TALLY_UNAVAILABLE); i++) {
        code = consumer->ops->poll(consumer, 100, &record, &err);
    }
    ck_assert_msg(code == TALLY_INPUT_LOST, "%s", tally_code_name(code));
    ck_assert_str_eq(record.topic, from.topic);
    ck_assert_int_eq(record.partition, 0);
    ck_assert_ptr_nonnull(strstr(err.message, from.topic));
    consumer->ops->destroy(consumer);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(publishes_by_the_murmur2_of_the_key)
{
    struct kafka_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};
    const char *topic = NULL;
    int32_t partition = -1;
    int64_t offset = -1, offsets[4] = {0, 0, 0, 0};
    static uint8_t large[5 << 20];

    kafka_fixture_open(&fixture, "a");
    topic = kafka_fixture_topic(&fixture, "in", 4);
    for (int i = 0; i < 40; i++) {
        char key[8];
        struct tally_slice slice = {(const uint8_t *)key, (size_t)snprintf(key, 8, "k%d", i)};

        kafka_ok(fixture.client->ops->publish(fixture.client, topic, slice, TALLY_SLICE("v"), NULL,
                0, KAFKA_FIXTURE_WAIT_MS, &partition, &offset, &err));
        ck_assert_int_eq(partition, tally_partition_of(slice, 4));
        ck_assert_int_eq(offset, offsets[partition]++);
    }
    ck_assert_int_eq(fixture.client->ops->publish(fixture.client, topic, TALLY_SLICE("k"),
                             tally_slice_of(large, sizeof large), NULL, 0, KAFKA_FIXTURE_WAIT_MS,
                             &partition, &offset, &err),
            TALLY_TOO_LARGE);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(makes_no_topic_by_publishing_or_replying)
{
    struct kafka_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};
    char *missing = NULL;
    int32_t partition = -1;
    int64_t offset = -1;

    kafka_fixture_open(&fixture, "a");
    missing = tally_copy_format("%s.missing", fixture.name);
    ck_assert_int_eq(fixture.client->ops->publish(fixture.client, missing, TALLY_SLICE("k"),
                             TALLY_SLICE("v"), NULL, 0, KAFKA_FIXTURE_WAIT_MS, &partition, &offset,
                             &err),
            TALLY_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(err.message, missing));
    ck_assert(fixture.client->ops->reply(fixture.client, missing, -1, TALLY_SLICE("k"),
            TALLY_SLICE("v"), NULL, 0));
    ck_assert(!kafka_fixture_exists(&fixture, missing));
    tally_free(missing);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(replies_with_headers)
{
    struct kafka_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};
    struct tally_header header = {TALLY_SLICE("correlation-id"), TALLY_SLICE("c-1")}, read;
    struct tally_consumer *consumer = NULL;
    struct tally_topic_partition from = {.partition = 1, .offset = 0};
    struct tally_record record;

    kafka_fixture_open(&fixture, "a");
    from.topic = kafka_fixture_topic(&fixture, "replies", 2);
    ck_assert(fixture.client->ops->reply(fixture.client, from.topic, 1, TALLY_SLICE("c-1"),
            TALLY_SLICE("outcome"), &header, 1));
    consumer = fixture.client->ops->restore_consumer(fixture.client, 0, &err);
    kafka_ok(consumer->ops->assign(consumer, &from, 1, &err));
    kafka_member_next(consumer, &record);
    ck_assert(tally_slice_equal(record.value, TALLY_SLICE("outcome")));
    ck_assert(tally_slice_equal(record.key, TALLY_SLICE("c-1")));
    ck_assert_uint_eq(consumer->ops->headers(consumer, &record, &read, 1), 1);
    ck_assert(tally_slice_equal(read.name, header.name));
    ck_assert(tally_slice_equal(read.value, header.value));
    consumer->ops->release(consumer, &record);
    consumer->ops->destroy(consumer);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(tells_whether_a_broker_answers)
{
    struct kafka_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};
    char *cluster = NULL;

    kafka_fixture_open(&fixture, "a");
    ck_assert_ptr_nonnull(fixture.client->ops->cluster_id(fixture.client));
    cluster = tally_copy_string(fixture.client->ops->cluster_id(fixture.client));
    for (int i = 0; i < 500 && !fixture.client->ops->reachable(fixture.client, &err); i++) {
        const char *id = fixture.client->ops->cluster_id(fixture.client);

        ck_assert_str_eq(id, cluster);
        (void)kafka_fixture_exists(&fixture, "takes a moment");
    }
    ck_assert(fixture.client->ops->reachable(fixture.client, &err));
    tally_free(cluster);
    kafka_fixture_close(&fixture);
}
END_TEST

START_TEST(lives_without_a_broker)
{
    struct kafka_fixture fixture;
    struct tally_error err = {.code = TALLY_OK};
    int32_t partition = -1;
    int64_t offset = -1;

    kafka_fixture_init(&fixture, "a");
    tally_free(fixture.config.kafka_servers);
    fixture.config.kafka_servers = tally_copy_string("127.0.0.1:1");
    kafka_ok(tally_kafka_client_create(&fixture.config, "", &fixture.client, &err));
    ck_assert_int_eq(fixture.client->ops->publish(fixture.client, "in", TALLY_SLICE("k"),
                             TALLY_SLICE("v"), NULL, 0, 300, &partition, &offset, &err),
            TALLY_UNAVAILABLE);
    ck_assert(!fixture.client->ops->reachable(fixture.client, &err));
    ck_assert_ptr_nonnull(strstr(err.message, "127.0.0.1:1"));
    kafka_fixture_close(&fixture);
}
END_TEST

static void add(TCase *tcase)
{
    tcase_add_test(tcase, says_none_where_nothing_was_committed);
    tcase_add_test(tcase, seeks_back_after_an_abort);
    tcase_add_test(tcase, pauses_and_resumes);
    tcase_add_test(tcase, seeks_while_paused);
    tcase_add_test(tcase, restarts_a_static_member_without_a_rebalance);
    tcase_add_test(tcase, joins_again_after_an_assignment_of_nothing);
    tcase_add_test(tcase, halts_at_an_offset_that_does_not_exist);
    tcase_add_test(tcase, publishes_by_the_murmur2_of_the_key);
    tcase_add_test(tcase, makes_no_topic_by_publishing_or_replying);
    tcase_add_test(tcase, replies_with_headers);
    tcase_add_test(tcase, tells_whether_a_broker_answers);
    tcase_add_test(tcase, lives_without_a_broker);
}

int main(void)
{
    return kafka_fixture_main("kafka client", add);
}
