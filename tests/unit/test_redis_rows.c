/* tests/unit/test_redis_rows.c - which rows a batch of events leaves, and of which partition.
 * Invariants: redis_rows.h (1) (2). */
#include "connectors/redis_rows.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "schemas/catalogue_records.h"

static struct redis_rows rows;
static struct tally_event events[4096];
static struct stock_event stocks[4096];
static struct catalogue_event catalogues[16];
static size_t used;

static void setup(void)
{
    redis_rows_init(&rows);
    used = 0;
}

static void teardown(void)
{
    redis_rows_deinit(&rows);
}

static void add(const char *topology, int32_t partition, const struct tally_schema *schema,
        void *body)
{
    struct tally_event *event = &events[used];

    *event = (struct tally_event){
            .schema = schema, .body = body, .command_offset = (int64_t)(1000 + used)};
    redis_rows_add(&rows, &(struct tally_sink_record){.topology = topology,
                                  .topic = topology,
                                  .partition = partition,
                                  .offset = (int64_t)used,
                                  .timestamp_ms = (int64_t)(5000 + used),
                                  .event = event});
    used++;
}

static struct stock_event *add_stock(int32_t partition, enum stock_event_type type, const char *sku,
        const char *warehouse, int64_t version)
{
    struct stock_event *event = &stocks[used];

    *event = (struct stock_event){.sku = tally_slice_string(sku),
            .warehouse = tally_slice_string(warehouse),
            .version = version,
            .setting = {.policy = STOCK_BACKORDER}};
    if (warehouse) {
        event->presence.present = TALLY_BIT(STOCK_EVENT_SEQ);
    }
    add("stock", partition, stock_event_schemas[type], event);
    return event;
}

static const struct redis_rows_partition *of(int32_t partition)
{
    return redis_rows_of(&rows, "stock", partition);
}

static bool value_has(const struct redis_row *row, const char *part)
{
    struct tally_buf value;
    bool found;

    tally_buf_init(&value, 65536);
    redis_rows_value(row, &value);
    found = memmem(value.data, value.len, part, strlen(part)) != NULL;
    tally_buf_deinit(&value);
    return found;
}

START_TEST(last_row_of_a_key)
{
    const struct redis_row *row;

    add_stock(0, STOCK_RECEIVED, "A", "W1", 1);
    add_stock(0, STOCK_RECEIVED, "A", "W2", 1);
    add_stock(1, STOCK_RECEIVED, "B", "W1", 7);
    add_stock(0, STOCK_SHIPPED, "A", "W1", 2);
    add_stock(0, STOCK_SKU_REGISTERED, "A", NULL, 1); /* another key than its levels */
    ck_assert_uint_eq(of(0)->count, 3);
    ck_assert_uint_eq(of(1)->count, 1);
    row = of(0)->first;
    ck_assert_int_eq(row->kind, REDIS_ROW_LEVEL);
    ck_assert_int_eq(redis_rows_version(row), 2);
    ck_assert_int_eq(row->offset, 3);
    ck_assert(value_has(row, "\"policy\":\"DENY\""));
    ck_assert_int_eq(redis_rows_version(row->next), 1);
    ck_assert_int_eq(row->next->next->kind, REDIS_ROW_SKU);
    ck_assert_ptr_null(row->next->next->next);
    ck_assert_int_eq(of(0)->command, 1004);
    ck_assert_int_eq(of(0)->time_ms, 5004);
    ck_assert_int_eq(of(1)->command, 1002);
    ck_assert_ptr_null(of(2));
    redis_rows_clear(&rows);
    ck_assert_ptr_null(of(0));
    add_stock(0, STOCK_RECEIVED, "A", "W1", 3);
    ck_assert_uint_eq(of(0)->count, 1);
}
END_TEST

/* Settings go along with whatever of the level follows them in the batch. */
START_TEST(settings)
{
    add_stock(0, STOCK_RECEIVED, "A", "W1", 1);
    ck_assert_int_eq(of(0)->first->kind, REDIS_ROW_LEVEL);
    add_stock(0, STOCK_CONFIGURED, "A", "W1", 2);
    ck_assert_int_eq(of(0)->first->kind, REDIS_ROW_SETTING);
    add_stock(0, STOCK_RECEIVED, "A", "W1", 3)->setting.policy = STOCK_DENY; /* not its own */
    ck_assert_int_eq(of(0)->first->kind, REDIS_ROW_SETTING);
    ck_assert_int_eq(redis_rows_version(of(0)->first), 3);
    ck_assert(value_has(of(0)->first, "\"policy\":\"BACKORDER\""));
    add_stock(0, STOCK_CONFIGURED, "A", "W1", 4)->setting.policy = STOCK_DENY;
    ck_assert(value_has(of(0)->first, "\"policy\":\"DENY\""));
    ck_assert_uint_eq(of(0)->count, 1);
}
END_TEST

/* An event has a level where it says which change of it that was, whatever its type. */
START_TEST(levels_and_no_levels)
{
    for (enum stock_event_type type = 0; type < STOCK_EVENT_TYPES; type++) {
        bool sku = type == STOCK_SKU_REGISTERED || type == STOCK_SKU_RELEASED ||
                   type == STOCK_SKU_FROZEN;

        redis_rows_clear(&rows);
        add_stock(0, type, "A", NULL, 1);
        ck_assert_uint_eq(of(0)->count, sku);
        add_stock(0, type, "A", "W1", 1);
        ck_assert_uint_eq(of(0)->count, sku + 1);
        ck_assert_int_eq(of(0)->last->kind,
                type == STOCK_CONFIGURED ? REDIS_ROW_SETTING : REDIS_ROW_LEVEL);
    }
}
END_TEST

START_TEST(slugs_and_nothing)
{
    const struct redis_row *row;

    catalogues[0] =
            (struct catalogue_event){.slug = TALLY_SLICE("red"), .product_id = TALLY_SLICE("P-1")};
    add("catalogue", 0, catalogue_event_schemas[CATALOGUE_SLUG_CLAIMED], &catalogues[0]);
    row = redis_rows_of(&rows, "catalogue", 0)->first;
    ck_assert(value_has(row, "P-1"));
    ck_assert_int_eq(redis_rows_version(row), -1);
    add("catalogue", 0, catalogue_event_schemas[CATALOGUE_SLUG_RELEASED], &catalogues[0]);
    ck_assert_int_eq(row->kind, REDIS_ROW_RELEASE);
    add("catalogue", 0, catalogue_event_schemas[CATALOGUE_WAREHOUSE_REGISTERED], &catalogues[0]);
    add("catalogue", 0, catalogue_event_schemas[CATALOGUE_OPERATION_STARTED], &catalogues[0]);
    add("catalogue", 0, catalogue_event_schemas[CATALOGUE_OPERATION_FAILED], &catalogues[0]);
    add("catalogue", 0, NULL, NULL);                         /* an outcome alone */
    add("reservation", 0, catalogue_event_schemas[0], NULL); /* of no read model */
    ck_assert_uint_eq(redis_rows_of(&rows, "catalogue", 0)->count, 1);
    ck_assert_int_eq(redis_rows_of(&rows, "catalogue", 0)->command, 1005);
    ck_assert_uint_eq(redis_rows_of(&rows, "reservation", 0)->count, 0);
}
END_TEST

/* The table grows, and finds each key again. */
START_TEST(many_keys)
{
    static char names[2000][16];

    for (int i = 0; i < 2000; i++) {
        (void)snprintf(names[i], sizeof names[i], "S-%d", i);
        add_stock(i % 3, STOCK_RECEIVED, names[i], "W", 1);
    }
    for (int i = 0; i < 2000; i++) {
        add_stock(i % 3, STOCK_SHIPPED, names[i], "W", 2);
    }
    for (int32_t partition = 0; partition < 3; partition++) {
        size_t count = 0;

        for (const struct redis_row *row = of(partition)->first; row; row = row->next) {
            ck_assert_int_eq(redis_rows_version(row), 2);
            count++;
        }
        ck_assert_uint_eq(count, of(partition)->count);
        ck_assert_uint_eq(count, partition < 2 ? 667 : 666);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("redis_rows");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, last_row_of_a_key);
    tcase_add_test(tcase, settings);
    tcase_add_test(tcase, levels_and_no_levels);
    tcase_add_test(tcase, slugs_and_nothing);
    tcase_add_test(tcase, many_keys);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
