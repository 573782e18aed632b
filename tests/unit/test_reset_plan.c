/* tests/unit/test_reset_plan.c - what `tally reset` would do about what it has found
 * (apps/reset_plan.c): (1) the halt is the one of a start, (2) what would run is left alone,
 * (3) a loss is named, (4) where records are written the group's offset is set at last. */
#include "apps/reset_plan.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/client.h"

static struct reset_facts facts;
static struct reset_plan plan;
static int64_t damaged_to;

/* A task that has consumed all of 100 commands, with 80 events. */
static void setup(void)
{
    facts = (struct reset_facts){
            .topology = "stock",
            .input = "stock.commands",
            .events = "stock.events",
            .partitions = 4,
            .group = 100,
            .input_high = 100,
            .events_high = 82,
            .events_next = 100,
            .positions = {.in_next = 100, .in_last = 99, .out_last = 80},
            .event_proof = RESET_SAME,
            .input_proof = RESET_SAME,
            .hole_at = -1,
            .lost_at = -1,
    };
    damaged_to = -1;
}

static void lose_state(void)
{
    facts.state = TALLY_NOT_FOUND;
    facts.positions = (struct tally_positions){.in_next = -1, .in_last = -1, .out_last = -1};
    facts.event_proof = RESET_UNKNOWN;
}

static void lose_events(void)
{
    facts.events_high = 0;
    facts.events_next = -1;
    facts.event_proof = RESET_UNKNOWN;
}

/* What can be read begins where input goes on, or behind the damage. */
static void make(void)
{
    int64_t resume = reset_plan_resume(&facts, reset_plan_aside(&facts));

    facts.readable = resume > facts.input_low ? resume : facts.input_low;
    facts.readable = damaged_to > facts.readable ? damaged_to : facts.readable;
    reset_plan_make(&facts, &plan);
}

static void halts_and_sets(enum tally_code halt, int64_t offset)
{
    make();
    ck_assert_str_eq(tally_code_name(plan.halt), tally_code_name(halt));
    ck_assert_int_eq(plan.offset, offset);
    ck_assert_ptr_null(plan.impossible);
    ck_assert(reset_plan_acts(&plan));
}

START_TEST(what_runs_is_left_alone)
{
    make();
    ck_assert_int_eq(plan.halt, TALLY_OK);
    ck_assert(!reset_plan_acts(&plan));
    ck_assert_str_eq(plan.loses, "");
    lose_state();
    facts.input_proof = RESET_UNKNOWN;
    make();
    ck_assert(!reset_plan_acts(&plan));
}
END_TEST

START_TEST(a_first_start_is_left_alone)
{
    lose_state();
    lose_events();
    facts.group = TALLY_OFFSET_NONE;
    make();
    ck_assert_int_eq(plan.halt, TALLY_OK);
    ck_assert(!reset_plan_acts(&plan));
}
END_TEST

/* Repeats, forwards and dead letters have no event of their own. */
START_TEST(consumed_commands_that_need_no_event)
{
    facts.events_next = 90;
    lose_state();
    make();
    ck_assert_int_eq(plan.halt, TALLY_OK);
    ck_assert(!reset_plan_acts(&plan));
}
END_TEST

START_TEST(offsets_are_set_to_what_is_proved)
{
    facts.group = TALLY_OFFSET_NONE;
    halts_and_sets(TALLY_OFFSETS_LOST, 100);
    facts.group = 40;
    halts_and_sets(TALLY_OFFSETS_BEHIND, 100);
    facts.group = 5000;
    halts_and_sets(TALLY_INPUT_LOST, 100);
    ck_assert_str_eq(plan.loses, "");
    ck_assert(!plan.aside);
    facts.group = 120;
    facts.input_high = 120;
    facts.lost_at = 105;
    halts_and_sets(TALLY_EVENTS_LOST, 100);
    ck_assert_int_eq(plan.decided_again, 20);
    ck_assert_str_eq(plan.loses, "");
}
END_TEST

/* The state knows of repeats behind the last event. */
START_TEST(the_state_proves_more_than_the_events)
{
    facts.events_next = 95;
    facts.group = 10;
    halts_and_sets(TALLY_OFFSETS_BEHIND, 100);
    lose_state();
    halts_and_sets(TALLY_OFFSETS_BEHIND, 95);
}
END_TEST

START_TEST(commands_that_are_gone)
{
    facts.input_low = 150;
    facts.input_high = 200;
    facts.input_proof = RESET_UNKNOWN;
    halts_and_sets(TALLY_INPUT_TRUNCATED, 150);
    ck_assert_int_eq(plan.lost_from, 100);
    ck_assert_int_eq(plan.lost_to, 150);
    ck_assert_str_eq(plan.loses, "commands stock.commands/0@100 to 149");
    ck_assert(!plan.aside);
}
END_TEST

START_TEST(commands_that_cannot_be_read)
{
    facts.input_high = 200;
    damaged_to = 130;
    halts_and_sets(TALLY_INPUT_CORRUPT, 130);
    ck_assert_int_eq(plan.mark, 130);
    ck_assert_str_eq(plan.loses, "commands stock.commands/0@100 to 129");
}
END_TEST

/* Empty, or cut: what is left of the old one is not copied. */
START_TEST(a_commands_topic_that_ends_early)
{
    facts.input_high = 0;
    facts.input_proof = RESET_UNKNOWN;
    halts_and_sets(TALLY_INPUT_LOST, 100);
    ck_assert_int_eq(plan.fill_to, 100);
    ck_assert_int_eq(plan.copy_from, -1);
    ck_assert(plan.aside);
    ck_assert_str_ne(plan.loses, "");
    facts.group = TALLY_OFFSET_NONE;
    facts.input_high = 60;
    facts.input_proof = RESET_SAME;
    halts_and_sets(TALLY_INPUT_LOST, 100);
    ck_assert_int_eq(plan.fill_to, 100);
    ck_assert_int_eq(plan.copy_from, -1);
}
END_TEST

START_TEST(another_commands_topic)
{
    facts.input_high = 60;
    facts.input_proof = RESET_OTHER;
    halts_and_sets(TALLY_INPUT_LOST, 100);
    ck_assert_int_eq(plan.fill_to, 100);
    ck_assert_int_eq(plan.copy_from, 0);
    ck_assert_int_eq(plan.copy_to, 60);
    facts.input_high = 400;
    halts_and_sets(TALLY_TOPIC_RECREATED, 100);
    ck_assert_int_eq(plan.fill_to, -1);
    ck_assert_int_eq(plan.copy_to, 100);
    ck_assert_int_eq(plan.mark, 100);
    ck_assert(plan.aside);
}
END_TEST

/* Killed behind the fill: the group has no offset, so nothing says that the copy was made. */
START_TEST(a_reset_that_was_cut_short)
{
    lose_state();
    facts.group = TALLY_OFFSET_NONE;
    facts.input_proof = RESET_UNKNOWN;
    facts.filled = true;
    halts_and_sets(TALLY_OFFSETS_LOST, 100);
    ck_assert_int_eq(plan.copy_from, 0);
    ck_assert_int_eq(plan.copy_to, 100);
    facts.group = 100;
    make();
    ck_assert(!reset_plan_acts(&plan));
}
END_TEST

/* Killed behind the note: it is not written twice, and the rest is as it was. */
START_TEST(a_note_that_is_there)
{
    facts.group = TALLY_OFFSET_NONE;
    facts.input_high = 400;
    facts.input_proof = RESET_OTHER;
    facts.noted = true;
    make();
    ck_assert_int_eq(plan.mark, -1);
    ck_assert_int_eq(plan.copy_to, 100);
    ck_assert_int_eq(plan.offset, 100);
    ck_assert(plan.aside);
    facts.noted = false;
    make();
    ck_assert_int_eq(plan.mark, 100);
}
END_TEST

START_TEST(events_that_are_gone)
{
    facts.events_high = 40;
    facts.events_next = 50;
    facts.event_proof = RESET_UNKNOWN;
    halts_and_sets(TALLY_EVENTS_TRUNCATED, 50);
    ck_assert(plan.aside);
    ck_assert_str_eq(plan.loses, "");
    facts.input_low = 70;
    halts_and_sets(TALLY_EVENTS_TRUNCATED, 70);
    ck_assert_str_eq(plan.loses, "commands stock.commands/0@50 to 69");
}
END_TEST

START_TEST(an_events_topic_that_is_new)
{
    lose_events();
    halts_and_sets(TALLY_EVENTS_TRUNCATED, 0);
    ck_assert(plan.aside);
    ck_assert_str_eq(plan.loses, "");
    facts.input_low = 30;
    halts_and_sets(TALLY_EVENTS_TRUNCATED, 30);
    ck_assert_str_ne(plan.loses, "");
}
END_TEST

START_TEST(another_events_topic)
{
    facts.event_proof = RESET_OTHER;
    facts.events_next = 20;
    halts_and_sets(TALLY_TOPIC_RECREATED, 20);
    ck_assert(plan.aside);
}
END_TEST

START_TEST(an_events_topic_that_begins_in_the_middle)
{
    facts.event_proof = RESET_OTHER;
    facts.hole_at = 12;
    make();
    ck_assert_int_eq(plan.halt, TALLY_TOPIC_RECREATED);
    ck_assert_ptr_nonnull(plan.impossible);
    facts.hole_at = -1;
    facts.input_low = 30; /* nothing tells whether there is a hole */
    make();
    ck_assert_ptr_null(plan.impossible);
    ck_assert_str_eq(plan.loses, "commands stock.commands/0@0 to 29");
}
END_TEST

START_TEST(what_no_reset_heals)
{
    lose_state();
    facts.events_low = 10;
    make();
    ck_assert_int_eq(plan.halt, TALLY_EVENTS_INCOMPLETE);
    ck_assert_ptr_nonnull(plan.impossible);
    ck_assert(!reset_plan_acts(&plan));
    setup();
    facts.event = TALLY_EVENT_UNKNOWN;
    make();
    ck_assert_int_eq(plan.halt, TALLY_EVENT_UNKNOWN);
    ck_assert_ptr_nonnull(plan.impossible);
    facts.event = TALLY_PARTITIONS_CHANGED;
    make();
    ck_assert_int_eq(plan.halt, TALLY_PARTITIONS_CHANGED);
    ck_assert_ptr_nonnull(plan.impossible);
    setup();
    facts.open = true;
    make();
    ck_assert_int_eq(plan.halt, TALLY_HANGING_TRANSACTION);
    ck_assert_ptr_nonnull(plan.impossible);
}
END_TEST

START_TEST(foreign_state_is_set_aside)
{
    lose_state();
    facts.state = TALLY_FOREIGN_STATE;
    (void)snprintf(facts.reason, sizeof facts.reason, "another cluster");
    make();
    ck_assert_int_eq(plan.halt, TALLY_FOREIGN_STATE);
    ck_assert_str_eq(plan.why, "another cluster");
    ck_assert(plan.aside && plan.offset == -1);
    facts.group = TALLY_OFFSET_NONE;
    halts_and_sets(TALLY_FOREIGN_STATE, 100);
}
END_TEST

/* The instance itself sets a damaged directory aside. */
START_TEST(damaged_state_is_the_matter_of_the_instance)
{
    lose_state();
    facts.state = TALLY_STORE_CORRUPT;
    make();
    ck_assert(!reset_plan_acts(&plan));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reset_plan");
    TCase *tcase = tcase_create("plans");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, what_runs_is_left_alone);
    tcase_add_test(tcase, a_first_start_is_left_alone);
    tcase_add_test(tcase, consumed_commands_that_need_no_event);
    tcase_add_test(tcase, offsets_are_set_to_what_is_proved);
    tcase_add_test(tcase, the_state_proves_more_than_the_events);
    tcase_add_test(tcase, commands_that_are_gone);
    tcase_add_test(tcase, commands_that_cannot_be_read);
    tcase_add_test(tcase, a_commands_topic_that_ends_early);
    tcase_add_test(tcase, another_commands_topic);
    tcase_add_test(tcase, a_reset_that_was_cut_short);
    tcase_add_test(tcase, a_note_that_is_there);
    tcase_add_test(tcase, events_that_are_gone);
    tcase_add_test(tcase, an_events_topic_that_is_new);
    tcase_add_test(tcase, another_events_topic);
    tcase_add_test(tcase, an_events_topic_that_begins_in_the_middle);
    tcase_add_test(tcase, what_no_reset_heals);
    tcase_add_test(tcase, foreign_state_is_set_aside);
    tcase_add_test(tcase, damaged_state_is_the_matter_of_the_instance);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
