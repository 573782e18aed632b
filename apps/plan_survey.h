/* apps/plan_survey.h - everything that `tally plan` looks at, with a verdict each. Nothing is
 * changed or locked, and instances may run. @thread owner */
#pragma once
#include "apps/plan_verdict.h"
#include "apps/reset_survey.h"

struct plan_task {
    const char *topology;
    int32_t partition;
    struct plan_line line;
};

struct plan_sink {
    const char *name;
    struct plan_line line;
    char migrations[256]; /* that would be applied, with commas; "": none */
    char schema[64];      /* the last one of this release; "": it has none */
};

struct plan_directory {
    char *topology;
    int32_t partition;
    int64_t bytes;
    bool used; /* by a task of the settings */
};

struct plan_survey {
    const struct tally_config *config;
    bool offline, alone; /* ask nobody; this is the only instance */
    struct reset_survey reset;
    struct plan_directory *directories;
    size_t directory_count, directory_capacity;
    struct plan_line settings, topics; /* topics UNKNOWN: no broker answers, or none was asked */
    struct tally_buf mistakes;         /* of the topics, one a line */
    bool fits;                         /* brokers answer, and the topics are as they must be */
    struct plan_task *tasks;
    size_t task_count;
    struct plan_sink sinks[2];
    size_t sink_count;
};

/* Looks at all of it. AGAIN: interrupted; SYSTEM: state.dir cannot be read. plan_survey_deinit in
 * every case; the survey is not moved. */
TALLY_MUST_CHECK enum tally_code plan_survey_make(struct plan_survey *survey,
        const struct tally_config *config, int timeout_ms, struct tally_error *err);
void plan_survey_deinit(struct plan_survey *survey);
/* plan_sinks.c: the sinks that are configured. */
void plan_survey_sinks(struct plan_survey *survey);
