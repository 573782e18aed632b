/* tests/topology/test_replies.c - who gets a reply: topics whose whole name matches reply.topics,
 * and never a topology's own, whatever the setting says. */
#include <check.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/topology/driver_fixture.h"

#define EVENTS 1 /* of one command */

static struct driver_fixture fixture;

static void setup(void)
{
    driver_fixture_open(&fixture,
            &(struct driver_fixture_options){.partitions = 1, .registration_optional = true});
}

static void teardown(void)
{
    driver_fixture_close(&fixture);
}

static size_t lines_of(const char *topic)
{
    char *text = driver_fixture_records(&fixture, topic);
    size_t count = 0;

    for (const char *at = text; *at; at++) {
        count += *at == '\n';
    }
    tally_free(text);
    return count;
}

static void ask(const char *reply_topic)
{
    struct tally_header header = {
            .name = TALLY_SLICE("reply-topic"), .value = tally_slice_string(reply_topic)};

    ck_assert_int_ge(tally_topology_driver_pipe(fixture.driver, "stock.commands", -1,
                             TALLY_SLICE("A"),
                             TALLY_SLICE("{\"type\":\"ReceiveStock\",\"command_id\":\"c-1\","
                                         "\"sku\":\"A\",\"warehouse\":\"W\",\"quantity\":1}"),
                             &header, 1),
            0);
    driver_fixture_run(&fixture);
}

START_TEST(a_reply_topic_gets_its_reply)
{
    ask("tally.replies");
    ck_assert_uint_eq(lines_of("stock.events"), EVENTS);
    ck_assert_uint_eq(lines_of("tally.replies"), 1);
}
END_TEST

START_TEST(another_topic_gets_none)
{
    static const char *const topics[] = {"stock.events", "stock.commands", "stock.commands-dlt",
            "catalogue.commands", "catalogue.events"};

    ask(topics[_i]);
    ck_assert_uint_eq(lines_of("stock.events"), EVENTS);
    ck_assert_uint_eq(lines_of("stock.commands"), 1);
    ck_assert_uint_eq(lines_of("stock.commands-dlt"), 0);
    ck_assert_uint_eq(lines_of("catalogue.commands"), 0);
    ck_assert_uint_eq(lines_of("catalogue.events"), 0);
}
END_TEST

START_TEST(a_name_must_match_whole)
{
    tally_free(fixture.config.reply_topics);
    fixture.config.reply_topics = tally_copy_string("ally");
    tally_topology_driver_stop(fixture.driver);
    ck_assert_int_eq(tally_topology_driver_start(fixture.driver, NULL), TALLY_OK);
    ask("tally.replies");
    ck_assert_uint_eq(lines_of("stock.events"), EVENTS);
    ck_assert_uint_eq(lines_of("tally.replies"), 0);
}
END_TEST

START_TEST(no_setting_opens_the_topics_of_topologies)
{
    tally_free(fixture.config.reply_topics);
    fixture.config.reply_topics = tally_copy_string(".*");
    tally_topology_driver_stop(fixture.driver);
    ck_assert_int_eq(tally_topology_driver_start(fixture.driver, NULL), TALLY_OK);
    ask("stock.events");
    ck_assert_uint_eq(lines_of("stock.events"), EVENTS);
    ask("catalogue.commands");
    ck_assert_uint_eq(lines_of("catalogue.commands"), 0);
    ask("tally.replies");
    ck_assert_uint_eq(lines_of("tally.replies"), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("replies");
    TCase *tcase = tcase_create("reply topics");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, a_reply_topic_gets_its_reply);
    tcase_add_loop_test(tcase, another_topic_gets_none, 0, 5);
    tcase_add_test(tcase, a_name_must_match_whole);
    tcase_add_test(tcase, no_setting_opens_the_topics_of_topologies);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
