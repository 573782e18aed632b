/* tests/unit/test_catalogue_records.c - the warehouse records of the catalogue. */
#include "schemas/catalogue_records.h"

#include <check.h>
#include <stdlib.h>

#include "schemas/stock_records.h"

static struct tally_arena arena;
static struct tally_error err;

static void setup(void)
{
    tally_arena_init(&arena, 4096);
}

static void teardown(void)
{
    tally_arena_deinit(&arena);
}

START_TEST(a_warehouse_is_registered)
{
    struct tally_command command;
    enum tally_refusal refusal;
    struct tally_slice key;
    const struct catalogue_command *fields;

    ck_assert_int_eq(
            tally_command_decode(TALLY_SLICE("{\"type\":\"RegisterWarehouse\",\"command_id\":\"c\","
                                             "\"warehouse\":\"AMS1\",\"name\":\"Amsterdam\"}"),
                    catalogue_command_schemas, &arena, &command, &refusal, &err),
            TALLY_OK);
    fields = (const struct catalogue_command *)command.fields;
    ck_assert_ptr_null(command.violations);
    ck_assert_uint_eq(command.schema->id, CATALOGUE_REGISTER_WAREHOUSE);
    ck_assert(tally_slice_equal(fields->warehouse, TALLY_SLICE("AMS1")));
    ck_assert(tally_slice_equal(fields->name, TALLY_SLICE("Amsterdam")));
    ck_assert(tally_command_key(&command, &arena, &key));
    ck_assert(tally_slice_equal(key, TALLY_SLICE("warehouse:AMS1")));
}
END_TEST

START_TEST(a_name_has_at_most_200_bytes)
{
    struct tally_command command;
    enum tally_refusal refusal;
    struct tally_buf json;

    tally_buf_init(&json, 4096);
    for (int len = 199; len <= 201; len++) {
        tally_buf_clear(&json);
        tally_buf_format(&json,
                "{\"type\":\"RegisterWarehouse\",\"id\":\"c\",\"warehouse\":\"A\",\"name\":\"%0*"
                "d\"}",
                len, 1);
        ck_assert_int_eq(tally_command_decode(tally_buf_bytes(&json), catalogue_command_schemas,
                                 &arena, &command, &refusal, &err),
                TALLY_OK);
        ck_assert((command.violations != NULL) == (len > 200));
    }
    tally_buf_deinit(&json);
}
END_TEST

START_TEST(a_registered_warehouse_comes_back)
{
    struct catalogue_event body = {.presence.present = TALLY_BIT(CATALOGUE_EVENT_WAREHOUSE) |
                                                       TALLY_BIT(CATALOGUE_EVENT_NAME) |
                                                       TALLY_BIT(CATALOGUE_EVENT_STATE),
            .warehouse = TALLY_SLICE("AMS1"),
            .name = TALLY_SLICE("Amsterdam"),
            .state = STOCK_WAREHOUSE_OPEN};
    struct tally_event decoded,
            event = {.type = TALLY_SLICE("WarehouseRegistered"),
                    .topology = TALLY_SLICE("catalogue"),
                    .command_id = TALLY_SLICE("c"),
                    .outcome.command = TALLY_SLICE("RegisterWarehouse"),
                    .schema = catalogue_event_schemas[CATALOGUE_WAREHOUSE_REGISTERED],
                    .body = &body};
    const struct catalogue_event *back;
    struct tally_buf bytes;

    tally_buf_init(&bytes, 4096);
    tally_event_encode(&event, TALLY_FORMAT_MSGPACK, &bytes);
    ck_assert_int_eq(tally_event_decode(tally_buf_bytes(&bytes), TALLY_SLICE("warehouse:AMS1"),
                             "catalogue", 0, catalogue_event_schemas, &arena, &decoded, &err),
            TALLY_OK);
    back = decoded.body;
    ck_assert_uint_eq(back->presence.present, body.presence.present);
    ck_assert(tally_slice_equal(back->warehouse, body.warehouse));
    ck_assert(tally_slice_equal(back->name, body.name));
    ck_assert_uint_eq(back->state, STOCK_WAREHOUSE_OPEN);
    tally_buf_deinit(&bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("catalogue_records");
    TCase *tests = tcase_create("catalogue_records");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_warehouse_is_registered);
    tcase_add_test(tests, a_name_has_at_most_200_bytes);
    tcase_add_test(tests, a_registered_warehouse_comes_back);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
