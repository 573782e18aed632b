/* tests/unit/test_postgres_rows.c - of rows with the same key the one of the highest version stays,
 * and rows are written in the order of their keys (connectors/postgres_rows.c). */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "connectors/postgres_internal.h"

enum { MANY = 5000 };

static struct postgres_cell *take(struct postgres_rows *rows, const char *sku,
        const char *warehouse, int64_t version)
{
    struct postgres_cell key[] = {
            postgres_text(tally_slice_string(sku)), postgres_text(tally_slice_string(warehouse))};

    return postgres_rows_take(rows, key, version);
}

START_TEST(the_highest_version_stays)
{
    struct postgres_rows rows;
    struct postgres_cell *row;

    postgres_rows_init(&rows, &postgres_tables[POSTGRES_LEVEL]);
    row = take(&rows, "A", "W", 2);
    ck_assert_ptr_nonnull(row);
    row[4] = postgres_int(7);
    ck_assert_ptr_null(take(&rows, "A", "W", 1));
    ck_assert_ptr_null(take(&rows, "A", "W", 2));
    ck_assert_int_eq(postgres_rows_at(&rows, 0)[4].integer, 7);
    row = take(&rows, "A", "W", 3);
    ck_assert_ptr_eq(row, postgres_rows_at(&rows, 0));
    ck_assert_int_eq(row[2].integer, 3);
    ck_assert_int_eq(row[4].len, -1);                /* nothing of the older one */
    ck_assert_ptr_nonnull(take(&rows, "AW", "", 1)); /* not the same bytes in other columns */
    ck_assert_ptr_nonnull(take(&rows, "A", "V", 1));
    ck_assert_uint_eq(rows.count, 3);
    postgres_rows_clear(&rows);
    ck_assert_ptr_nonnull(take(&rows, "A", "W", 1));
    ck_assert_uint_eq(rows.count, 1);
    postgres_rows_deinit(&rows);
}
END_TEST

START_TEST(without_a_version_the_first_stays)
{
    struct postgres_cell key = postgres_text(TALLY_SLICE("A"));
    struct postgres_rows rows;

    postgres_rows_init(&rows, &postgres_tables[POSTGRES_NAMED_SKU]);
    ck_assert_ptr_nonnull(postgres_rows_take(&rows, &key, 0));
    ck_assert_ptr_null(postgres_rows_take(&rows, &key, 9));
    postgres_rows_deinit(&rows);
}
END_TEST

START_TEST(many_in_the_order_of_their_keys)
{
    static char names[MANY][8];
    struct tally_arena arena;
    struct postgres_rows rows;
    uint32_t *order;

    postgres_rows_init(&rows, &postgres_tables[POSTGRES_LINE]);
    tally_arena_init(&arena, 4096);
    for (int round = 1; round <= 2; round++) {
        for (int i = 0; i < MANY; i++) {
            struct postgres_cell key[] = {postgres_text(TALLY_NONE), postgres_int(i % 7)};

            (void)snprintf(names[i], sizeof names[i], "R%d", i * 7919 % MANY / 7);
            key[0] = postgres_text(tally_slice_string(names[i]));
            (void)postgres_rows_take(&rows, key, round);
        }
    }
    order = postgres_rows_sorted(&rows, &arena);
    for (size_t i = 1; i < rows.count; i++) {
        const struct postgres_cell *a = postgres_rows_at(&rows, order[i - 1]);
        const struct postgres_cell *b = postgres_rows_at(&rows, order[i]);
        int names_order = tally_slice_compare(tally_slice_of(a[0].bytes, (size_t)a[0].len),
                tally_slice_of(b[0].bytes, (size_t)b[0].len));

        ck_assert(names_order < 0 || (names_order == 0 && a[1].integer < b[1].integer));
    }
    ck_assert_uint_gt(rows.count, MANY / 8);
    tally_arena_deinit(&arena);
    postgres_rows_deinit(&rows);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("postgres_rows");
    TCase *tcase = tcase_create("rows");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, the_highest_version_stays);
    tcase_add_test(tcase, without_a_version_the_first_stays);
    tcase_add_test(tcase, many_in_the_order_of_their_keys);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
