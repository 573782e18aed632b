/* apps/plan_sinks.c - what a start would do about the targets of sinks: the sink's own start says
 * whether it takes rows, its positions how much is missing. Nothing is taken over or written. */
#include <stdio.h>

#include "apps/plan_survey.h"
#include "apps/sinks.h"
#include "connectors/postgres_schema.h"
#include "engine/base/mem.h"

/* --- migrations ------------------------------------------------------------------------------- */

struct migrations {
    char pending[sizeof((struct plan_sink *)0)->migrations], last[64];
    size_t count;
};

static void note_migration(void *context, const char *file, bool now)
{
    struct migrations *migrations = context;
    size_t len = strlen(migrations->pending);

    (void)snprintf(migrations->last, sizeof migrations->last, "%s", file);
    if (now) {
        (void)snprintf(migrations->pending + len, sizeof migrations->pending - len, "%s%s",
                len ? "," : "", file);
        migrations->count++;
    }
}

/* Whether there is nothing to say about them. */
static bool check_migrations(const struct plan_survey *survey, struct plan_sink *sink)
{
    struct migrations migrations = {.count = 0};
    struct tally_error err = {.code = TALLY_OK};

    if (tally_postgres_migrations(survey->config, note_migration, &migrations, &err)) {
        plan_verdict_error(&err, &sink->line);
        return false;
    }
    memcpy(sink->schema, migrations.last, sizeof sink->schema);
    memcpy(sink->migrations, migrations.pending, sizeof sink->migrations);
    if (migrations.count > 0) {
        sink->line.verdict = PLAN_MIGRATE;
        sink->line.code = TALLY_SINK_SCHEMA;
        (void)snprintf(sink->line.reason, sizeof sink->line.reason,
                "%zu migrations would be applied: %.240s", migrations.count, migrations.pending);
        (void)snprintf(sink->line.way_out, sizeof sink->line.way_out,
                "tally sink migrate, as a user that may create schemas");
        return false;
    }
    return true;
}

/* --- positions -------------------------------------------------------------------------------- */

/* The partitions of all events, with the ends of their logs. */
struct targets {
    struct tally_topic_partition *at;
    int64_t *low, *high;
    size_t count;
};

static void free_targets(struct targets *targets)
{
    tally_free(targets->at);
    tally_free(targets->low);
    tally_free(targets->high);
}

static void find_targets(const struct plan_survey *survey, struct targets *targets)
{
    const struct reset_survey *reset = &survey->reset;

    targets->at = tally_alloc_zero(reset->count + 1, sizeof *targets->at);
    targets->low = tally_alloc_zero(reset->count + 1, sizeof *targets->low);
    targets->high = tally_alloc_zero(reset->count + 1, sizeof *targets->high);
    for (size_t i = 0; i < reset->count; i++) {
        const struct reset_facts *facts = &reset->tasks[i].facts;

        if (tally_topology_aggregate(reset->tasks[i].topology) && facts->events) {
            targets->at[targets->count] = (struct tally_topic_partition){
                    .topic = facts->events, .partition = facts->partition, .offset = -1};
            targets->low[targets->count] = facts->events_low;
            targets->high[targets->count++] = facts->events_high;
        }
    }
}

static void judge(const struct targets *targets, bool rebuilding, struct plan_line *line)
{
    size_t missing = 0;

    for (size_t i = 0; i < targets->count; i++) {
        int64_t from = targets->at[i].offset < 0 ? targets->low[i] : targets->at[i].offset;

        line->records += targets->high[i] > from ? targets->high[i] - from : 0;
        missing += targets->at[i].offset < 0 && targets->high[i] > targets->low[i];
    }
    if (rebuilding || missing > 0) {
        line->verdict = PLAN_REBUILD;
    }
    if (rebuilding) {
        (void)snprintf(line->reason, sizeof line->reason, "a rebuild is on its way and goes on");
    } else if (missing > 0) {
        (void)snprintf(line->reason, sizeof line->reason, "%zu of %zu partitions are not there yet",
                missing, targets->count);
    }
}

static void look_into(const struct plan_survey *survey, struct tally_sink *sink,
        struct plan_line *line)
{
    struct targets targets = {.count = 0};
    struct tally_error err = {.code = TALLY_OK};

    if (sink->ops->start(sink, &err)) {
        plan_verdict_error(&err, line);
        return;
    }
    if (!survey->fits) {
        line->records = -1;
        return;
    }
    find_targets(survey, &targets);
    if (sink->ops->look(sink, targets.at, targets.count, &err)) {
        plan_verdict_error(&err, line);
    } else {
        judge(&targets, sink->ops->rebuilding(sink), line);
    }
    free_targets(&targets);
}

/* --- all of them ------------------------------------------------------------------------------ */

void plan_survey_sinks(struct plan_survey *survey)
{
    for (size_t kind = 0; kind < SINKS_KINDS; kind++) {
        struct plan_sink *row = &survey->sinks[survey->sink_count];
        struct tally_sink *sink;
        struct tally_error err = {.code = TALLY_OK};

        if (sinks_create_one(survey->config, kind, &sink, &err)) {
            plan_verdict_error(&err, &survey->settings);
            continue;
        }
        if (!sink) {
            continue;
        }
        row->name = sink->ops->name;
        row->line.bytes = -1;
        survey->sink_count++;
        if (strcmp(row->name, "postgres") != 0 || check_migrations(survey, row)) {
            look_into(survey, sink, &row->line);
        }
        sink->ops->destroy(sink);
    }
}
