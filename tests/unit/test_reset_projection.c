/* tests/unit/test_reset_projection.c - what a reset would do about a projection, by the facts. */
#include <check.h>
#include <stdlib.h>

#include "apps/reset_projection.h"

static struct reset_facts facts;
static struct reset_plan plan;

/* A task that runs: consumed up to 40 of 10..60. */
static void setup(void)
{
    facts = (struct reset_facts){.topology = "low_stock",
            .input = "stock.events",
            .events = "tally-low_stock-low_stock-changelog",
            .partitions = 4,
            .group = 40,
            .input_low = 10,
            .input_high = 60,
            .events_high = 9,
            .events_next = 40,
            .state = TALLY_OK,
            .positions = {.in_next = 40, .in_last = 39, .out_last = 7},
            .input_proof = RESET_SAME,
            .rows = true};
}

static void make(enum tally_code halt)
{
    reset_projection_plan(&facts, &plan);
    ck_assert_str_eq(tally_code_name(plan.halt), tally_code_name(halt));
}

static void is_impossible(enum tally_code halt)
{
    make(halt);
    ck_assert_ptr_nonnull(plan.impossible);
    ck_assert(!reset_plan_acts(&plan));
}

static void sets_offset(enum tally_code halt)
{
    make(halt);
    ck_assert_ptr_null(plan.impossible);
    ck_assert_int_eq(plan.offset, 40);
    ck_assert(!plan.forget);
    ck_assert_str_eq(plan.loses, "");
    ck_assert(reset_plan_acts(&plan));
}

START_TEST(what_runs_is_left_alone)
{
    make(TALLY_OK);
    ck_assert(!reset_plan_acts(&plan));
    facts.group = facts.events_next = TALLY_OFFSET_NONE; /* a first start */
    facts.state = TALLY_NOT_FOUND;
    facts.rows = false;
    make(TALLY_OK);
    ck_assert(!reset_plan_acts(&plan));
}
END_TEST

START_TEST(the_offset_goes_to_the_position)
{
    facts.group = TALLY_OFFSET_NONE;
    sets_offset(TALLY_OFFSETS_LOST);
    facts.group = 30;
    sets_offset(TALLY_OFFSETS_BEHIND);
    facts.group = 50;
    sets_offset(TALLY_CHANGELOG_BEHIND);
    ck_assert(!plan.aside);
    facts.positions.in_next = 50; /* what the changelog has lost, the directory has */
    sets_offset(TALLY_CHANGELOG_BEHIND);
    ck_assert(plan.aside);
}
END_TEST

START_TEST(an_empty_changelog_begins_anew)
{
    facts.events_next = TALLY_OFFSET_NONE;
    facts.rows = false;
    facts.input_low = 0;
    make(TALLY_CHANGELOG_EMPTY);
    ck_assert(plan.forget && plan.aside && plan.offset < 0 && reset_plan_acts(&plan));
    ck_assert_str_eq(plan.loses, "");
    facts.input_low = 10;
    make(TALLY_CHANGELOG_EMPTY);
    ck_assert_str_ne(plan.loses, "");
    facts.rows = true; /* which nothing would delete */
    is_impossible(TALLY_CHANGELOG_EMPTY);
}
END_TEST

START_TEST(what_was_consumed_is_gone)
{
    facts.input_low = 41;
    is_impossible(TALLY_INPUT_TRUNCATED);
    facts.input_low = 0;
    facts.input_high = 20;
    is_impossible(TALLY_INPUT_LOST);
    facts.input_high = 60;
    facts.input_proof = RESET_OTHER;
    is_impossible(TALLY_TOPIC_RECREATED);
}
END_TEST

START_TEST(other_halts)
{
    facts.event = TALLY_CHANGELOG_OUTDATED;
    is_impossible(TALLY_CHANGELOG_OUTDATED);
    facts.event = TALLY_OK;
    facts.open = true;
    is_impossible(TALLY_HANGING_TRANSACTION);
    facts.open = false;
    facts.state = TALLY_FOREIGN_STATE;
    make(TALLY_FOREIGN_STATE);
    ck_assert(plan.aside && plan.offset < 0 && !plan.forget);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reset_projection");
    TCase *tcase = tcase_create("plan");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, what_runs_is_left_alone);
    tcase_add_test(tcase, the_offset_goes_to_the_position);
    tcase_add_test(tcase, an_empty_changelog_begins_anew);
    tcase_add_test(tcase, what_was_consumed_is_gone);
    tcase_add_test(tcase, other_halts);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
