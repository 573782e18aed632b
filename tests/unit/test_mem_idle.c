/* tests/unit/test_mem_idle.c - what an idle process gives back was not in use. */
#include "engine/base/mem_idle.h"

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/error.h"
#include "engine/base/mem.h"

/* In the program's file, larger than all that the test runs. */
static const uint8_t table[4 << 20] = {[0] = 1, [sizeof table - 1] = 2};

/* Reads every page of it. */
static unsigned sum_of_table(void)
{
    unsigned sum = table[sizeof table - 1];

    for (size_t i = 0; i < sizeof table; i += 1024) {
        sum += ((const volatile uint8_t *)table)[i];
    }
    return sum;
}

/* Resident pages of files, in kB. */
static long resident(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kb = -1;

    ck_assert_ptr_nonnull(file);
    while (kb < 0 && fgets(line, sizeof line, file)) {
        if (strncmp(line, "RssFile:", 8) == 0) {
            kb = strtol(line + 8, NULL, 10);
        }
    }
    ck_assert_int_eq(fclose(file), 0);
    return kb;
}

/* Invariant (1): tables of addresses are what they were. */
START_TEST(pages_of_files_are_given_back)
{
    long before;

    ck_assert_uint_eq(sum_of_table(), 3);
    before = resident();
    ck_assert_int_gt(before, (long)sizeof table / 1024);
    tally_mem_idle_trim();
    ck_assert_int_lt(resident(), before);
    ck_assert_uint_eq(sum_of_table(), 3);
    ck_assert_str_eq(tally_code_name(TALLY_CONFIG), "CONFIG");
    ck_assert_int_eq(tally_code_reaction(TALLY_CONFIG), TALLY_REACT_EXIT);
}
END_TEST

START_TEST(a_thread_allocates_while_it_rests_and_after)
{
    char *text = tally_copy_string("before");

    tally_mem_idle_thread(true);
    tally_free(text);
    text = tally_copy_string("at rest");
    tally_mem_idle_thread(false);
    ck_assert_str_eq(text, "at rest");
    tally_free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mem_idle");
    TCase *tcase = tcase_create("mem_idle");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, pages_of_files_are_given_back);
    tcase_add_test(tcase, a_thread_allocates_while_it_rests_and_after);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
