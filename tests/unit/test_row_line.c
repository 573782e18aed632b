/* test_row_line.c - rows of every store as lines; what is damaged is shown as it is. */
#include "http/row_line.h"

#include <check.h>
#include <stdlib.h>

#include "schemas/stock_records.h"
#include "state/key_schema.h"

static struct tally_key key;
static struct tally_buf row, out;

static void begin(void)
{
    tally_buf_init(&row, 4096);
    tally_buf_init(&out, 65536);
}

static void end(void)
{
    tally_buf_deinit(&row);
    tally_buf_deinit(&out);
}

static void line_is(const char *topology, bool good, const char *text)
{
    ck_assert_int_eq(tally_row_line_write(topology, 2, tally_key_bytes(&key), tally_buf_bytes(&row),
                             &out),
            good);
    ck_assert_msg(tally_slice_equal(tally_buf_bytes(&out), tally_slice_string(text)), "is %.*s",
            (int)out.len, (const char *)out.data);
}

static void level_key(void)
{
    tally_key_begin(&key, TALLY_STORE_LEVEL);
    tally_key_string(&key, TALLY_SLICE("TS-RED-M"));
    tally_key_tail(&key, TALLY_SLICE("AMS1"));
}

START_TEST(writes_a_level)
{
    struct stock_level_row level = {.version = 3, .updated_at = 1768471200004};

    level.n[STOCK_ON_HAND] = 5;
    level_key();
    stock_level_pack(&level, &row);
    line_is("stock", true,
            "{\"topology\":\"stock\",\"partition\":2,\"store\":\"level\",\"key\":\"TS-RED-M.AMS1\","
            "\"value\":"
            "{\"on_hand\":5,\"damaged\":0,\"quality_control\":0,\"held\":0,\"reserved\":0,"
            "\"committed\":0,"
            "\"safety_stock\":0,\"incoming\":0,\"available\":5,\"backordered\":0,\"version\":3,"
            "\"updated_at\":\"2026-01-15T10:00:00.004Z\"}}\n");
}
END_TEST

START_TEST(writes_an_outcome)
{
    struct tally_outcome outcome = {
            .stamp = {.command = TALLY_SLICE("ShipStock"),
                    .fingerprint = 0xb2f8,
                    .status = TALLY_REJECTED},
            .offset = 7,
            .time_ms = 1768471200004,
            .rejection = {.code = TALLY_REJECT_INSUFFICIENT_STOCK,
                    .detail = TALLY_SLICE("too little")},
    };
    struct tally_meta meta = TALLY_META_I("available", 4);
    struct tally_buf errors;

    tally_buf_init(&errors, 4096);
    tally_rejection_error(&errors, "/quantity", "INSUFFICIENT_STOCK", &meta, 1);
    outcome.rejection.errors = tally_buf_bytes(&errors);
    tally_key_begin(&key, TALLY_STORE_DEDUP);
    tally_key_string(&key, TALLY_SLICE("c-1"));
    tally_key_tail(&key, TALLY_SLICE("A"));
    tally_outcome_pack(&outcome, &row);
    line_is("stock", true,
            "{\"topology\":\"stock\",\"partition\":2,\"store\":\"dedup\",\"key\":\"c-1.A\","
            "\"value\":"
            "{\"command\":\"ShipStock\",\"fingerprint\":\"000000000000b2f8\",\"status\":"
            "\"REJECTED\",\"offset\":7,"
            "\"time\":\"2026-01-15T10:00:00.004Z\",\"memo\":\"\",\"code\":\"INSUFFICIENT_STOCK\","
            "\"detail\":\"too "
            "little\",\"errors\":[{\"pointer\":\"/quantity\",\"code\":\"INSUFFICIENT_STOCK\","
            "\"meta\":{\"available\":4}}]}}\n");
    tally_buf_deinit(&errors);
}
END_TEST

START_TEST(writes_a_warehouse_of_the_catalogue)
{
    struct stock_warehouse_row warehouse = {
            .state = STOCK_WAREHOUSE_OPEN, .name = TALLY_SLICE("Ams")};

    tally_key_begin(&key, TALLY_STORE_CATALOGUE_WAREHOUSE);
    tally_key_tail(&key, TALLY_SLICE("AMS1"));
    stock_warehouse_pack(&warehouse, &row);
    line_is("catalogue", true,
            "{\"topology\":\"catalogue\",\"partition\":2,\"store\":\"warehouse\",\"key\":\"AMS1\","
            "\"value\":"
            "{\"name\":\"Ams\",\"state\":\"OPEN\"}}\n");
}
END_TEST

START_TEST(shows_what_is_damaged)
{
    level_key();
    tally_buf_string(&row, "\x01");
    line_is("stock", false,
            "{\"topology\":\"stock\",\"partition\":2,\"store\":\"level\",\"key\":\"TS-RED-M.AMS1\","
            "\"damaged\":\"01\"}\n");
}
END_TEST

START_TEST(shows_what_is_of_no_store)
{
    key.bytes[0] = 0xee;
    key.bytes[1] = 0x00;
    key.len = 2;
    tally_buf_string(&row, "x");
    line_is("stock", false,
            "{\"topology\":\"stock\",\"partition\":2,\"store\":\"\",\"key\":\"ee00\",\"damaged\":"
            "\"78\"}\n");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("row_line");
    TCase *tests = tcase_create("row_line");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, begin, end);
    tcase_add_test(tests, writes_a_level);
    tcase_add_test(tests, writes_an_outcome);
    tcase_add_test(tests, writes_a_warehouse_of_the_catalogue);
    tcase_add_test(tests, shows_what_is_damaged);
    tcase_add_test(tests, shows_what_is_of_no_store);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
