/* tests/unit/test_send_command.c - lines of NDJSON as records
 * (apps/send_command.c). */
#include "apps/send_command.h"

#include <check.h>
#include <string.h>

#include "topologies/registry.h"

static struct tally_config config;
static struct tally_topology *topologies[2];
static struct uuid_v7 ids;
static struct tally_arena arena;
static struct send_rules rules;
static struct send_command command;
static struct tally_error err;

static void setup(void)
{
    char prefix[] = "test.";

    config = (struct tally_config){.topics_prefix = prefix};
    ck_assert_int_eq(tally_registry_create("catalogue", &config, &topologies[0], &err), TALLY_OK);
    ck_assert_int_eq(tally_registry_create("stock", &config, &topologies[1], &err), TALLY_OK);
    tally_arena_init(&arena, 4096);
    ids = (struct uuid_v7){0};
    rules = (struct send_rules){
            .topologies = topologies, .topology_count = 2, .ids = &ids, .now_ms = 1700000000000};
}

static void teardown(void)
{
    tally_arena_deinit(&arena);
    tally_topology_destroy(topologies[0]);
    tally_topology_destroy(topologies[1]);
}

static enum tally_code prepare(const char *line)
{
    return send_command_prepare(&rules, tally_slice_string(line), &arena, &command, &err);
}

static void must_refuse(const char *line, const char *reason)
{
    ck_assert_int_eq(prepare(line), TALLY_BAD_RECORD);
    ck_assert_msg(strstr(err.message, reason) != NULL, "\"%s\" does not say \"%s\"", err.message,
            reason);
}

static bool is(struct tally_slice bytes, const char *text)
{
    return tally_slice_equal(bytes, tally_slice_string(text));
}

START_TEST(finds_topic_and_key)
{
    const char *line = "{\"type\":\"ReceiveStock\",\"command_id\":\"c-1\",\"sku\":\"A\","
                       "\"warehouse\":\"W1\",\"quantity\":5}";

    ck_assert_int_eq(prepare(line), TALLY_OK);
    ck_assert_str_eq(command.topic, "test.stock.commands");
    ck_assert(is(command.key, "A"));
    ck_assert(is(command.value, line));
    ck_assert_int_eq(prepare("{\"type\":\"RegisterWarehouse\",\"command_id\":\"c-2\","
                             "\"warehouse\":\"W1\",\"name\":\"One\"}"),
            TALLY_OK);
    ck_assert_str_eq(command.topic, "test.catalogue.commands");
    ck_assert(is(command.key, "warehouse:W1"));
}
END_TEST

START_TEST(puts_a_missing_id_in_front)
{
    const char *flat = "{\"type\":\"RegisterSku\",\"sku\":\"A\"}";
    const char *start = "{\"command_id\":\"018bcfe5-6800-7000-";

    ck_assert_int_eq(prepare(flat), TALLY_OK);
    ck_assert(tally_slice_starts(command.value, tally_slice_string(start)));
    ck_assert_ptr_nonnull(memmem(command.value.data, command.value.len,
            "\",\"type\":\"RegisterSku\"", 22));
    ck_assert_int_eq(prepare("{\"type\":\"RegisterSku\",\"payload\":{\"sku\":\"A\"}}"), TALLY_OK);
    ck_assert(tally_slice_starts(command.value, TALLY_SLICE("{\"id\":\"018bcfe5-6800-7001-")));
    ck_assert(is(command.key, "A"));
}
END_TEST

START_TEST(refuses_a_missing_id_when_told)
{
    rules.require_id = true;
    must_refuse("{\"type\":\"RegisterSku\",\"sku\":\"A\"}", "command_id");
    ck_assert_int_eq(prepare("{\"type\":\"RegisterSku\",\"command_id\":\"c\",\"sku\":\"A\"}"),
            TALLY_OK);
}
END_TEST

START_TEST(says_what_is_wrong)
{
    must_refuse("hello", "");
    must_refuse("[1]", "");
    must_refuse("{\"type\":\"ReceiveStocks\",\"sku\":\"A\"}", "ReceiveStocks");
    must_refuse("{\"type\":\"ReceiveStock\",\"sku\":\"A\",\"warehouse\":\"W1\","
                "\"quantity\":0}",
            "/quantity");
    must_refuse("{\"type\":\"ReceiveStock\",\"warehouse\":\"W1\",\"quantity\":1}", "sku");
    must_refuse("{\"type\":\"ApplyWarehouse\",\"command_id\":\"~x\","
                "\"warehouse\":\"W1\",\"name\":"
                "\"One\","
                "\"state\":\"OPEN\"}",
            "only tally itself");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("send_command");
    TCase *tests = tcase_create("send_command");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, finds_topic_and_key);
    tcase_add_test(tests, puts_a_missing_id_in_front);
    tcase_add_test(tests, refuses_a_missing_id_when_told);
    tcase_add_test(tests, says_what_is_wrong);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
