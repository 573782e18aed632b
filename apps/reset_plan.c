/* apps/reset_plan.c - see reset_plan.h. */
#include "apps/reset_plan.h"

#include <stdio.h>

#include "engine/client.h"
#include "engine/restore_check.h"

static bool has_state(const struct reset_facts *facts)
{
    return facts->state == TALLY_OK;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* --- what a start would say ------------------------------------------------------------------- */

static enum tally_code set(struct reset_plan *plan, enum tally_code code, const char *why)
{
    plan->halt = code;
    (void)snprintf(plan->why, sizeof plan->why, "%s", why);
    return code;
}

static enum tally_code set_at(struct reset_plan *plan, enum tally_code code, const char *topic,
        int32_t partition, int64_t offset, const char *why)
{
    plan->halt = code;
    (void)snprintf(plan->why, sizeof plan->why, "%s/%d@%lld %s", topic, (int)partition,
            (long long)offset, why);
    return code;
}

/* The events topic: R4 to R7. */
static enum tally_code judge_events(const struct reset_facts *facts, struct reset_plan *plan)
{
    int64_t last = has_state(facts) ? facts->positions.out_last : -1;
    struct tally_error err = {.code = TALLY_OK};

    if (facts->event == TALLY_PARTITIONS_CHANGED || facts->state == TALLY_FOREIGN_STATE) {
        return set(plan, facts->event ? facts->event : facts->state, facts->reason);
    }
    if (tally_check_events(facts->events, facts->partition, last, facts->events_low,
                facts->events_high, &err)) {
        return set(plan, err.code, err.message);
    }
    if (facts->event_proof == RESET_OTHER) {
        return set_at(plan, TALLY_TOPIC_RECREATED, facts->events, facts->partition, last,
                "is not the event that the state was built from");
    }
    if (facts->event) {
        return set(plan, facts->event, facts->reason);
    }
    if (facts->open) {
        return set_at(plan, TALLY_HANGING_TRANSACTION, facts->events, facts->partition,
                facts->events_high, "cannot be reached: a transaction does not end");
    }
    return TALLY_OK;
}

/* The group's offset and the commands topic: R8. */
static enum tally_code judge_input(const struct reset_facts *facts, struct reset_plan *plan)
{
    int64_t state = reset_plan_resume(facts, false);
    struct tally_error err = {.code = TALLY_OK};

    if (facts->group < 0 &&
            (state < 0 || (has_state(facts) && facts->positions.in_last < 0 &&
                                  facts->positions.out_last < 0 && facts->events_next < 0))) {
        return TALLY_OK; /* a first start, or one that ended with nothing consumed */
    }
    if (tally_check_input(facts->input, facts->partition, facts->group, state, facts->input_low,
                facts->input_high, &err)) {
        return set(plan, err.code, err.message);
    }
    if (facts->input_proof == RESET_OTHER) {
        return set_at(plan, TALLY_TOPIC_RECREATED, facts->input, facts->partition, state - 1,
                "or an earlier one is not the command that was decided");
    }
    if (facts->lost_at >= 0) {
        return set_at(plan, TALLY_EVENTS_LOST, facts->input, facts->partition, facts->lost_at,
                "was consumed but has no event and no earlier outcome");
    }
    if (facts->readable > larger(facts->group, facts->input_low)) {
        return set_at(plan, TALLY_INPUT_CORRUPT, facts->input, facts->partition, facts->group,
                "cannot be read");
    }
    return TALLY_OK;
}

/* --- what to do about it ---------------------------------------------------------------------- */

bool reset_plan_aside(const struct reset_facts *facts)
{
    if (facts->state == TALLY_FOREIGN_STATE) {
        return true;
    }
    return has_state(facts) &&
           (reset_plan_doubts_events(facts) || facts->input_proof == RESET_OTHER ||
                   /* its last command will be another record */
                   reset_plan_resume(facts, false) > facts->input_high);
}

bool reset_plan_doubts_events(const struct reset_facts *facts)
{
    return has_state(facts) && (facts->event_proof == RESET_OTHER ||
                                       facts->positions.out_last + 1 > facts->events_high);
}

int64_t reset_plan_resume(const struct reset_facts *facts, bool aside)
{
    if (aside || !has_state(facts)) {
        return facts->events_next;
    }
    return larger(facts->events_next, facts->positions.in_next);
}

static const char *impossible(const struct reset_facts *facts, bool aside)
{
    if (facts->event == TALLY_PARTITIONS_CHANGED) {
        return "partitions cannot be taken back: make new topics (delete these, or set another "
               "topics.prefix), run tally topics create, send the commands again, then reset";
    }
    if (facts->event) {
        return "run the release that wrote the event, or a newer one";
    }
    if (facts->open) {
        return "end the open transaction with kafka-transactions.sh, then reset";
    }
    if (facts->hole_at >= 0 ||
            (facts->events_low > 0 && (aside || !has_state(facts) ||
                                              facts->positions.out_last < facts->events_low))) {
        return "the events topic is neither complete nor empty: restore it, or delete it and run "
               "tally topics create, then reset";
    }
    return NULL;
}

static void lose(struct reset_plan *plan, const struct reset_facts *facts, int64_t from, int64_t to)
{
    if (to > from) {
        plan->lost_from = from;
        plan->lost_to = to;
        (void)snprintf(plan->loses, sizeof plan->loses, "commands %s/%d@%lld to %lld", facts->input,
                (int)facts->partition, (long long)from, (long long)to - 1);
    }
}

/* Input that was consumed in a topic that is another one now, or that ends too early. */
static void plan_other_input(const struct reset_facts *facts, int64_t resume,
        struct reset_plan *plan)
{
    int64_t end = facts->input_high < resume ? facts->input_high : resume;

    if (facts->input_high < resume) {
        plan->fill_to = resume;
        (void)snprintf(plan->loses, sizeof plan->loses,
                "what stood in %s/%d behind %lld and was not decided", facts->input,
                (int)facts->partition, (long long)resume - 1);
    } else if (facts->input_proof == RESET_OTHER) {
        (void)snprintf(plan->loses, sizeof plan->loses,
                "what stood in the former %s/%d and was not decided", facts->input,
                (int)facts->partition);
    }
    if (facts->input_proof == RESET_OTHER && facts->input_low < end) {
        plan->copy_from = facts->input_low;
        plan->copy_to = end;
    }
    /* the record before it never was a command of this task */
    if (plan->fill_to < 0 && !(facts->noted && resume == facts->events_next)) {
        plan->mark = resume;
    }
}

bool reset_plan_writes(const struct reset_plan *plan)
{
    return plan->fill_to >= 0 || plan->copy_from >= 0 || plan->mark >= 0;
}

static void plan_offset(const struct reset_facts *facts, struct reset_plan *plan)
{
    int64_t resume = reset_plan_resume(facts, plan->aside);
    int64_t target = resume < 0 ? facts->input_low : resume;
    bool verified = plan->halt == TALLY_OK && facts->group > target;

    if (resume < 0 && facts->input_low > 0 && (facts->group >= 0 || plan->aside)) {
        lose(plan, facts, 0, facts->input_low);
    }
    if (resume > 0 && facts->input_low > 0 && reset_plan_doubts_events(facts)) {
        lose(plan, facts, 0, facts->input_low); /* their events cannot be looked for */
    }
    if (target > facts->input_high || facts->input_proof == RESET_OTHER) {
        plan_other_input(facts, target, plan);
    } else if (facts->filled && facts->group < 0) { /* a reset was cut short: once more is safe */
        plan->copy_from = facts->input_low;
        plan->copy_to = target;
    }
    if (target < facts->input_low) {
        lose(plan, facts, target, facts->input_low);
        target = facts->input_low;
    }
    if (plan->fill_to < 0 && facts->readable > target && !verified) {
        lose(plan, facts, target, facts->readable);
        plan->mark = target = facts->readable;
    }
    if (!reset_plan_writes(plan) &&
            (verified || facts->group == target || (plan->halt == TALLY_OK && facts->group < 0))) {
        return; /* where it is, it is right */
    }
    plan->offset = target;
    if (facts->group > target) {
        plan->decided_again = facts->group - target;
    }
}

void reset_plan_make(const struct reset_facts *facts, struct reset_plan *plan)
{
    *plan = (struct reset_plan){.halt = TALLY_OK,
            .fill_to = -1,
            .copy_from = -1,
            .copy_to = -1,
            .mark = -1,
            .offset = -1,
            .lost_from = -1,
            .lost_to = -1};
    if (!judge_events(facts, plan)) {
        (void)judge_input(facts, plan);
    }
    plan->aside = reset_plan_aside(facts);
    plan->impossible = impossible(facts, plan->aside);
    if (!plan->impossible) {
        plan_offset(facts, plan);
    }
}

bool reset_plan_acts(const struct reset_plan *plan)
{
    return !plan->impossible &&
           (plan->aside || plan->forget || plan->offset >= 0 || reset_plan_writes(plan));
}
