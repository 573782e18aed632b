/* apps/plan_verdict.h - what a start with these settings and this program would do about one task:
 * a pure function of what was found.
 * Invariant: the halt is that of reset_plan.h, and what a code leads to is its reaction in
 * error.def; nothing here decides it a second time. @thread any */
#pragma once
#include "apps/reset_plan.h"
#include "engine/base/error.h"

enum plan_verdict {
    PLAN_KEEP,
    PLAN_ELSEWHERE, /* no directory here, while others of the topology are: another instance's */
    PLAN_REBUILD,   /* made anew from a log, by itself */
    PLAN_MIGRATE,   /* a sink waits for `tally sink migrate`; all else runs */
    PLAN_UNKNOWN,   /* it could not be looked at */
    PLAN_REFUSE     /* a start ends, or halts the task, until somebody does something */
};

struct plan_line {
    enum plan_verdict verdict;
    enum tally_code code; /* OK: there is none */
    char reason[320];     /* "": nothing to say */
    char way_out[TALLY_WAY_OUT_MAX];
    int64_t records; /* of the log, to be read before it is as it should be; -1: not known */
    int64_t bytes;   /* of the directory; -1: there is none here */
};

/* bytes is the caller's. */
void plan_verdict_task(const struct reset_facts *facts, const struct reset_plan *plan,
        bool projection, int64_t now_ms, struct plan_line *line);
/* Of a directory alone: err is that of tally_store_check. */
void plan_verdict_directory(const char *topology, int32_t partition, const struct tally_error *err,
        struct plan_line *line);
/* Of an error of something that is no task. */
void plan_verdict_error(const struct tally_error *err, struct plan_line *line);
const char *plan_verdict_name(enum plan_verdict verdict); /* "KEEP" */
