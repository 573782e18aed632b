/* apps/plan_verdict.c - see the header. */
#include "apps/plan_verdict.h"

#include <stdio.h>

#include "engine/restore_check.h"
#include "engine/task_registry.h"

const char *plan_verdict_name(enum plan_verdict verdict)
{
    static const char *const names[] = {[PLAN_KEEP] = "KEEP",
            [PLAN_ELSEWHERE] = "ELSEWHERE",
            [PLAN_REBUILD] = "REBUILD",
            [PLAN_MIGRATE] = "MIGRATE",
            [PLAN_UNKNOWN] = "UNKNOWN",
            [PLAN_REFUSE] = "REFUSE"};

    return names[verdict];
}

static enum plan_verdict verdict_of(enum tally_code code)
{
    switch (tally_code_reaction(code)) {
    case TALLY_REACT_REBUILD:
        return PLAN_REBUILD;
    case TALLY_REACT_HALT:
    case TALLY_REACT_EXIT:
        return PLAN_REFUSE;
    default:
        return code ? PLAN_UNKNOWN : PLAN_KEEP;
    }
}

static void set(struct plan_line *line, enum tally_code code, const char *reason)
{
    line->verdict = verdict_of(code);
    line->code = code;
    (void)snprintf(line->reason, sizeof line->reason, "%s", reason);
}

static void set_way_out(struct plan_line *line, const char *topology, int32_t partition)
{
    if (line->verdict == PLAN_REFUSE) {
        tally_task_way_out(topology, partition, line->code, line->way_out);
    }
}

/* R5 of a changelog and R6, which a restore answers with a rebuild. */
static void judge_changelog(const struct reset_facts *facts, int64_t now_ms, struct plan_line *line)
{
    struct tally_error err = {.code = TALLY_OK};
    const struct tally_positions *at = &facts->positions;

    if (tally_check_changelog(facts->events, facts->partition, at->out_last,
                now_ms - at->commit_time, facts->events_low, facts->events_high, &err)) {
        set(line, err.code, err.message);
    } else if (facts->event_proof == RESET_OTHER) {
        set(line, TALLY_STORE_OUTDATED,
                "the changelog has another record where the state was built up to");
    }
}

static int64_t not_negative(int64_t records)
{
    return records > 0 ? records : 0;
}

void plan_verdict_task(const struct reset_facts *facts, const struct reset_plan *plan,
        bool projection, int64_t now_ms, struct plan_line *line)
{
    int64_t all = not_negative(facts->events_high - facts->events_low);

    if (plan->halt) {
        set(line, plan->halt, plan->why);
    } else if (facts->state == TALLY_NOT_FOUND) {
        line->verdict = all > 0 ? PLAN_REBUILD : PLAN_KEEP;
        (void)snprintf(line->reason, sizeof line->reason, "%s",
                all > 0 ? "there is no state here" : "there is nothing yet");
    } else if (facts->state) {
        set(line, facts->state, facts->reason);
    } else if (projection) {
        judge_changelog(facts, now_ms, line);
    }
    set_way_out(line, facts->topology, facts->partition);
    line->records = line->verdict == PLAN_REFUSE ? -1 : all;
    if (line->verdict == PLAN_KEEP && facts->positions.out_last >= facts->events_low) {
        line->records = not_negative(facts->events_high - facts->positions.out_last - 1);
    }
}

void plan_verdict_directory(const char *topology, int32_t partition, const struct tally_error *err,
        struct plan_line *line)
{
    line->records = -1;
    if (err->code) {
        set(line, err->code, err->message);
        set_way_out(line, topology, partition);
    }
}

void plan_verdict_error(const struct tally_error *err, struct plan_line *line)
{
    line->records = -1;
    set(line, err->code, err->message);
}
