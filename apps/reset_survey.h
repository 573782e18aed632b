/* apps/reset_survey.h - the tasks of the settings, each with what is found about it and what a
 * start would say: for `tally reset` and `tally plan`, which so agree with each other. Nothing is
 * changed. @thread owner */
#pragma once
#include "apps/reset_facts.h"

#define RESET_GROUPS_MAX 17 /* of all aggregates, and one of each projection */

struct reset_task {
    struct tally_group *group; /* one of the survey's */
    const struct tally_topology *topology;
    struct reset_facts facts;
    struct reset_plan plan;
};

struct reset_survey {
    const struct tally_config *config;
    struct instance instance;
    struct reset_scope scope;
    struct progress progress;
    struct tally_group *groups[RESET_GROUPS_MAX]; /* whose offsets are looked at, each once */
    size_t group_count;
    struct reset_task *tasks;
    size_t count;
    int timeout_ms; /* of one request to a broker */
    bool live;      /* instances may run meanwhile: what they move is not taken for a mistake */
};

/* Builds the topologies. CONFIG. reset_survey_deinit in every case; a zeroed survey is fine for it.
 * config: borrowed until deinit; the survey is not moved. */
TALLY_MUST_CHECK enum tally_code reset_survey_init(struct reset_survey *survey,
        const struct tally_config *config, int timeout_ms, struct tally_error *err);
void reset_survey_deinit(struct reset_survey *survey);
/* As `tally run` does first: how many partitions there are, and whether the topics fit. Mistakes
 * are lines in *mistakes. TOPIC_CONFIG, UNAVAILABLE. */
TALLY_MUST_CHECK enum tally_code reset_survey_topics(struct reset_survey *survey,
        struct tally_buf *mistakes, struct tally_error *err);
/* Tasks of one topology (NULL: all) and partition (-1: all). NOT_FOUND: none. */
TALLY_MUST_CHECK enum tally_code reset_survey_tasks(struct reset_survey *survey,
        const char *topology, int32_t partition, struct tally_error *err);
/* Fills facts and plan of one. */
TALLY_MUST_CHECK enum tally_code reset_survey_look(const struct reset_survey *survey,
        struct reset_task *task, struct tally_error *err);
/* What the scope is for the task: its group is asked. */
struct reset_scope reset_survey_scope(const struct reset_survey *survey,
        const struct reset_task *task);
