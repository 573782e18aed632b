/* test_explain_check.c - entries that add up to a level, and each way in which they may not. */
#include "http/explain_check.h"

#include <check.h>
#include <stdlib.h>

static struct explain_check check;

/* Entry n receives n units and holds one. */
static struct stock_ledger_row entry(int64_t seq)
{
    struct stock_ledger_row row = {.kind = STOCK_KIND_RECEIVE};

    row.deltas[STOCK_ON_HAND] = seq;
    row.deltas[STOCK_HELD] = 1;
    row.after[STOCK_ON_HAND] = seq * (seq + 1) / 2;
    row.after[STOCK_HELD] = seq;
    return row;
}

static void begin(int64_t seq)
{
    struct stock_ledger_row newest = entry(seq);

    explain_check_begin(&check, seq, newest.after);
}

static void take(int64_t seq)
{
    struct stock_ledger_row row = entry(seq);

    explain_check_entry(&check, seq, &row);
}

START_TEST(all_entries_add_up)
{
    begin(5);
    for (int64_t seq = 5; seq > 0; seq--) {
        ck_assert(!explain_check_is_whole(&check));
        take(seq);
    }
    explain_check_end(&check);
    ck_assert(explain_check_is_whole(&check));
    ck_assert_int_eq(check.broken.seq, 0);
    ck_assert_int_eq(check.sum[STOCK_ON_HAND], 15);
    ck_assert_int_eq(check.sum[STOCK_HELD], 5);
    ck_assert_int_eq(check.n[STOCK_ON_HAND], 0);
    ck_assert_int_eq(check.newest, 5);
    ck_assert_int_eq(check.oldest, 1);
}
END_TEST

START_TEST(a_part_is_no_proof)
{
    begin(5);
    take(5);
    take(4);
    ck_assert(!explain_check_is_whole(&check));
    ck_assert_int_eq(check.broken.seq, 0);
    ck_assert_int_eq(check.n[STOCK_ON_HAND], 6);
    ck_assert_int_eq(check.seq, 3);
}
END_TEST

START_TEST(a_level_without_entries)
{
    static const int64_t zeros[STOCK_BUCKETS];

    explain_check_begin(&check, 0, zeros);
    explain_check_end(&check);
    ck_assert(explain_check_is_whole(&check));
    ck_assert_int_eq(check.broken.seq, 0);
}
END_TEST

START_TEST(another_number_than_the_level)
{
    struct stock_ledger_row newest = entry(3);

    newest.after[STOCK_HELD]++;
    explain_check_begin(&check, 3, newest.after);
    take(3);
    take(2);
    ck_assert_int_eq(check.broken.seq, 3);
    ck_assert_int_eq(check.broken.bucket, STOCK_HELD);
    ck_assert_int_eq(check.broken.expected, 4);
    ck_assert_int_eq(check.broken.found, 3);
}
END_TEST

START_TEST(the_newest_break_is_told)
{
    struct stock_ledger_row row = entry(2);

    begin(3);
    take(3);
    row.after[STOCK_ON_HAND] = 100;
    explain_check_entry(&check, 2, &row);
    take(1);
    ck_assert_int_eq(check.broken.seq, 2);
    ck_assert_int_eq(check.broken.bucket, STOCK_ON_HAND);
    ck_assert_int_eq(check.broken.expected, 3);
    ck_assert_int_eq(check.broken.found, 100);
}
END_TEST

START_TEST(a_missing_entry)
{
    begin(3);
    take(3);
    take(1);
    ck_assert_int_eq(check.broken.seq, 2);
    ck_assert_int_eq(check.broken.bucket, -1);
    ck_assert_int_eq(check.broken.expected, 2);
    ck_assert_int_eq(check.broken.found, 1);
}
END_TEST

START_TEST(the_first_ones_are_missing)
{
    begin(3);
    take(3);
    explain_check_end(&check);
    ck_assert_int_eq(check.broken.seq, 2);
    ck_assert_int_eq(check.broken.bucket, -1);
    ck_assert_int_eq(check.broken.found, 0);
}
END_TEST

START_TEST(something_before_the_first)
{
    struct stock_ledger_row row = entry(1);

    row.after[STOCK_INCOMING] = 9;
    explain_check_begin(&check, 1, row.after);
    explain_check_entry(&check, 1, &row);
    explain_check_end(&check);
    ck_assert_int_eq(check.broken.seq, 1);
    ck_assert_int_eq(check.broken.bucket, STOCK_INCOMING);
    ck_assert_int_eq(check.broken.expected, 0);
    ck_assert_int_eq(check.broken.found, 9);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("explain_check");
    TCase *tests = tcase_create("explain_check");
    SRunner *runner;
    int failed;

    tcase_add_test(tests, all_entries_add_up);
    tcase_add_test(tests, a_part_is_no_proof);
    tcase_add_test(tests, a_level_without_entries);
    tcase_add_test(tests, another_number_than_the_level);
    tcase_add_test(tests, the_newest_break_is_told);
    tcase_add_test(tests, a_missing_entry);
    tcase_add_test(tests, the_first_ones_are_missing);
    tcase_add_test(tests, something_before_the_first);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
