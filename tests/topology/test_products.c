/* tests/topology/test_products.c - products at their limits: what is one too many is refused, what
 * is allowed can be read back from every event around it, whatever its format.
 * Invariants: catalogue_product.c (1), (2). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/topology/driver_fixture.h"

#define DOCUMENT_BYTES_MAX (256 * 1024)
#define TEXT_MAX           (1024 * 1024)
#define TOPIC              "catalogue.commands"

static struct driver_fixture fixture;
static struct tally_arena arena;
static struct tally_buf json;

static void open_fixture(int json_events)
{
    driver_fixture_open(&fixture,
            &(struct driver_fixture_options){.partitions = 1, .json_events = json_events});
    driver_fixture_run(&fixture);
}

static void setup(void)
{
    tally_arena_init(&arena, 65536);
    tally_buf_init(&json, TEXT_MAX);
}

static void teardown(void)
{
    tally_buf_deinit(&json);
    tally_arena_deinit(&arena);
    driver_fixture_close(&fixture);
}

/* --- what came out ---------------------------------------------------------------------------- */

/* Payload of the last event. */
static const struct tally_token *last_event(const char **type)
{
    struct tally_memory_broker *broker = tally_topology_driver_broker(fixture.driver);
    struct tally_memory_record record;
    const struct tally_token *root = NULL;
    enum tally_refusal refusal;
    struct tally_slice value = TALLY_NONE, name;
    int64_t next = 0;

    while (tally_memory_broker_read(broker, "catalogue.events", 0, next, &record)) {
        value = record.value;
        next = record.offset + 1;
    }
    ck_assert_int_eq(tally_document_parse(value, &arena, &root, &refusal, NULL), TALLY_OK);
    name = tally_token_member(root, "type")->string;
    *type = tally_copy_format("%.*s", (int)name.len, (const char *)name.data);
    return tally_token_member(root, "payload");
}

/* Bytes of the product as JSON. */
static size_t product_bytes(const struct tally_token *payload)
{
    struct tally_buf out;
    size_t len;

    tally_buf_init(&out, TEXT_MAX);
    tally_token_write(tally_token_member(payload, "product"), TALLY_FORMAT_JSON, &out);
    len = out.len;
    tally_buf_deinit(&out);
    return len;
}

/* The type of the event that the command led to, or its code. */
static const char *outcome_of(const char *command)
{
    const struct tally_token *payload, *code;
    const char *type;

    driver_fixture_pipe(&fixture, TOPIC, command);
    driver_fixture_run(&fixture);
    payload = last_event(&type);
    code = tally_token_member(payload, "code");
    if (!code) {
        return type;
    }
    tally_free((void *)(uintptr_t)type);
    return tally_copy_format("%.*s", (int)code->string.len, (const char *)code->string.data);
}

static void outcome_is(const char *expected)
{
    const char *outcome;

    tally_buf_byte(&json, 0);
    ck_assert(!json.failed);
    outcome = outcome_of((const char *)json.data);
    ck_assert_str_eq(outcome, expected);
    tally_free((void *)(uintptr_t)outcome);
}

/* Everything that was allowed is there again after a restore from the events. */
static void is_restored(void)
{
    struct tally_error err = {.code = TALLY_OK};
    char *before = driver_fixture_dump(&fixture), *after;

    tally_topology_driver_crash(fixture.driver);
    ck_assert_int_eq(tally_topology_driver_start(fixture.driver, &err), TALLY_OK);
    driver_fixture_run(&fixture);
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "catalogue", 0), "RUNNING");
    after = driver_fixture_dump(&fixture);
    ck_assert_str_eq(before, after);
    tally_free(before);
    tally_free(after);
}

/* --- commands --------------------------------------------------------------------------------- */

static void begin(const char *id, const char *product_id)
{
    tally_buf_clear(&json);
    tally_buf_format(&json,
            "{\"type\":\"CreateProduct\",\"command_id\":\"%s\",\"product_id\":\"%s\","
            "\"slug\":\"p-%s\",\"name\":\"n\"",
            id, product_id, id);
}

static void repeat(const char *text, size_t times)
{
    for (size_t i = 0; i < times; i++) {
        tally_buf_string(&json, text);
    }
}

static void create_with_description(const char *id, const char *character, size_t count)
{
    begin(id, "P-1");
    tally_buf_string(&json, ",\"description\":\"");
    repeat(character, count);
    tally_buf_string(&json, "\"}");
}

static void update(const char *id, const char *product_id, const char *slug, const char *character,
        size_t count)
{
    tally_buf_clear(&json);
    tally_buf_format(&json,
            "{\"type\":\"UpdateProduct\",\"command_id\":\"%s\",\"product_id\":\"%s\",\"patch\":{",
            id, product_id);
    if (slug) {
        tally_buf_format(&json, "\"slug\":\"%s\",", slug);
    }
    tally_buf_string(&json, "\"description\":\"");
    repeat(character, count);
    tally_buf_string(&json, "\"}}");
}

/* What is longer in an event than in a command, and what is longer in JSON than in MessagePack. */
static void at_most_256_kib(const char *product_id, const char *character, size_t bytes)
{
    const char *type;
    size_t count;
    char id[16], slug[16];

    begin(product_id, product_id);
    tally_buf_string(&json, "}");
    outcome_is("ProductCreated");
    count = (DOCUMENT_BYTES_MAX - product_bytes(last_event(&type))) / bytes;
    tally_free((void *)(uintptr_t)type);
    snprintf(id, sizeof id, "%s-1", product_id);
    update(id, product_id, NULL, character, count + 1);
    outcome_is("DOCUMENT_TOO_LARGE");
    snprintf(id, sizeof id, "%s-2", product_id);
    update(id, product_id, NULL, character, count);
    outcome_is("ProductUpdated");
    snprintf(id, sizeof id, "%s-3", product_id);
    snprintf(slug, sizeof slug, "q-%s", product_id); /* as long as the one before */
    update(id, product_id, slug, character, count);
    outcome_is("ProductUpdated");
}

START_TEST(a_product_has_at_most_256_kib_as_json)
{
    open_fixture(_i);
    at_most_256_kib("a", "x", 1);
    at_most_256_kib("b", "\\u0001", 6);
    at_most_256_kib("c", "\\\"", 2);
    at_most_256_kib("d", "\xc3\xa9", 2);
    is_restored();
}
END_TEST

static void change_price(int number)
{
    tally_buf_clear(&json);
    tally_buf_format(&json,
            "{\"type\":\"ChangePrice\",\"command_id\":\"price-%d\",\"product_id\":\"P-1\",\"sku\":"
            "\"A\","
            "\"currency\":\"EUR\",\"amount_minor\":1,\"list\":\"%064d\"}",
            number, number);
}

static void add_variant(const char *sku)
{
    tally_buf_clear(&json);
    tally_buf_format(&json,
            "{\"type\":\"AddVariant\",\"command_id\":\"add-%s\",\"product_id\":\"P-1\","
            "\"variant\":{\"sku\":\"%s\"}}",
            sku, sku);
}

START_TEST(what_would_pass_the_limit_is_refused_for_each_command)
{
    open_fixture(_i);
    create_with_description("c-1", "x", DOCUMENT_BYTES_MAX - 520);
    outcome_is("ProductCreated");
    add_variant("A");
    outcome_is("VariantAdded");
    change_price(1); /* of about 160 bytes */
    outcome_is("PriceChanged");
    change_price(2);
    outcome_is("DOCUMENT_TOO_LARGE");
    add_variant("B");
    outcome_is("DOCUMENT_TOO_LARGE");
    create_with_description("c-2", "x", DOCUMENT_BYTES_MAX); /* P-1 exists */
    outcome_is("PRODUCT_EXISTS");
    begin("c-3", "P-2");
    tally_buf_string(&json, ",\"description\":\"");
    repeat("x", DOCUMENT_BYTES_MAX);
    tally_buf_string(&json, "\"}");
    outcome_is("DOCUMENT_TOO_LARGE");
    is_restored();
}
END_TEST

/* {"a":{"a": ... {} }}, `depth` maps. */
static void nested(size_t depth)
{
    repeat("{\"a\":", depth - 1);
    tally_buf_string(&json, "{}");
    repeat("}", depth - 1);
}

static void create_nested(const char *id, const char *product_id, const char *member, size_t depth,
        const char *end)
{
    begin(id, product_id);
    tally_buf_string(&json, member);
    nested(depth);
    tally_buf_string(&json, end);
}

START_TEST(values_are_nested_as_deep_as_an_operation_can_hold)
{
    static const char variants[] = ",\"variants\":[{\"sku\":\"V\",\"options\":";

    open_fixture(_i);
    create_nested("c-1", "P-1", ",\"attributes\":", 11, "}");
    outcome_is("ProductCreated");
    create_nested("c-2", "P-2", ",\"attributes\":", 12, "}");
    outcome_is("DOCUMENT_TOO_LARGE");
    create_nested("c-3", "P-3", variants, 10, "}]}");
    outcome_is("ProductCreated");
    create_nested("c-4", "P-4", variants, 11, "}]}");
    outcome_is("DOCUMENT_TOO_LARGE");
    tally_buf_clear(&json);
    tally_buf_string(&json,
            "{\"type\":\"UpdateProduct\",\"command_id\":\"c-5\",\"product_id\":\"P-3\","
            "\"patch\":{\"slug\":\"another\",\"attributes\":");
    nested(11);
    tally_buf_string(&json, "}}");
    outcome_is("ProductUpdated");
    is_restored();
}
END_TEST

/* Elements: twelve members of the product, one of attributes, its items. */
START_TEST(a_product_has_as_many_elements_as_an_event_can_hold)
{
    const size_t most = 65536 - 512 - 12 - 1;

    open_fixture(_i);
    for (size_t over = 0; over < 2; over++) {
        begin(over ? "c-2" : "c-1", over ? "P-2" : "P-1");
        tally_buf_string(&json, ",\"attributes\":{\"a\":[0");
        repeat(",0", most - 1 + over);
        tally_buf_string(&json, "]}}");
        outcome_is(over ? "DOCUMENT_TOO_LARGE" : "ProductCreated");
    }
    is_restored();
}
END_TEST

START_TEST(many_variants_are_claimed_one_by_one)
{
    open_fixture(_i);
    begin("c-1", "P-1");
    tally_buf_string(&json, ",\"variants\":[{\"sku\":\"S0\"}");
    for (int i = 1; i < 300; i++) {
        tally_buf_format(&json, ",{\"sku\":\"S%d\"}", i);
    }
    tally_buf_string(&json, "]}");
    outcome_is("ProductCreated");
    is_restored();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("products");
    TCase *tests = tcase_create("products");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, a_product_has_at_most_256_kib_as_json, 0, 2);
    tcase_add_loop_test(tests, what_would_pass_the_limit_is_refused_for_each_command, 0, 2);
    tcase_add_loop_test(tests, values_are_nested_as_deep_as_an_operation_can_hold, 0, 2);
    tcase_add_loop_test(tests, a_product_has_as_many_elements_as_an_event_can_hold, 0, 2);
    tcase_add_loop_test(tests, many_variants_are_claimed_one_by_one, 0, 2);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
