/* apps/cmd_plan.c - what `tally run` with these settings and this program would do to state: each
 * task, topic and sink with a verdict.
 *  (1) Nothing is changed, locked, or taken over; instances may run meanwhile.
 *  (2) The status is 1 where something is refused or could not be looked at, else 3 where something
 *      would be built anew or migrated, else 0. */
#include "apps/cmd.h"

#include <stdio.h>

#include "apps/plan_survey.h"
#include "engine/base/mem.h"
#include "engine/base/version.h"
#include "schemas/serde.h"

/* Per second, as docs/performance.md has them for two cores that the broker shares: a restore from
 * a log, events into PostgreSQL, keys into Redis (an event changes about one). */
enum { RESTORE_RATE = 600000, POSTGRES_RATE = 38000, REDIS_RATE = 100000 };
enum { FORM_TEXT, FORM_JSON };

#define OUT_BYTES_MAX (64 * 1024 * 1024)

struct plan {
    struct cli *cli;
    int form;
    int64_t rate; /* 0: the measured ones */
    int64_t timeout_ms;
    struct plan_survey survey;
    struct tally_buf out;
    size_t counts[PLAN_REFUSE + 1];
    int64_t records, seconds; /* of what would be built */
};

/* --- how long --------------------------------------------------------------------------------- */

static int64_t rate_of(const struct plan *plan, const char *sink)
{
    return plan->rate > 0                  ? plan->rate
           : !sink                         ? RESTORE_RATE
           : strcmp(sink, "postgres") == 0 ? POSTGRES_RATE
                                           : REDIS_RATE;
}

/* Rounded up; -1: not known. */
static int64_t seconds_of(const struct plan *plan, const char *sink, int64_t records)
{
    int64_t rate = rate_of(plan, sink);

    return records < 0 ? -1 : (records + rate - 1) / rate;
}

static void count_line(struct plan *plan, const struct plan_line *line)
{
    plan->counts[line->verdict]++;
    if (line->verdict == PLAN_REBUILD && line->records > 0) {
        plan->records += line->records;
    }
}

/* Tasks of an instance share its threads; a sink is built beside them. */
static void count_all(struct plan *plan)
{
    const struct plan_survey *survey = &plan->survey;

    for (size_t i = 0; i < survey->task_count; i++) {
        count_line(plan, &survey->tasks[i].line);
    }
    plan->seconds = seconds_of(plan, NULL, plan->records);
    for (size_t i = 0; i < survey->sink_count; i++) {
        const struct plan_line *line = &survey->sinks[i].line;
        int64_t seconds = seconds_of(plan, survey->sinks[i].name, line->records);

        count_line(plan, line);
        if (line->verdict == PLAN_REBUILD && seconds > plan->seconds) {
            plan->seconds = seconds;
        }
    }
    if (survey->settings.code) {
        count_line(plan, &survey->settings);
    }
    if (survey->topics.code) {
        count_line(plan, &survey->topics);
    }
}

static int status_of(const struct plan *plan)
{
    return plan->counts[PLAN_REFUSE] + plan->counts[PLAN_UNKNOWN] > 0    ? CLI_FAILED
           : plan->counts[PLAN_REBUILD] + plan->counts[PLAN_MIGRATE] > 0 ? CLI_PARTIAL
                                                                         : CLI_OK;
}

/* --- as text ---------------------------------------------------------------------------------- */

static void put_bytes(struct tally_buf *out, int64_t bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    double size = (double)bytes;
    size_t unit = 0;

    while (size >= 1000 && unit + 1 < sizeof units / sizeof units[0]) {
        size /= 1000;
        unit++;
    }
    tally_buf_format(out, unit ? "%.1f %s" : "%.0f %s", size, units[unit]);
}

/* "stock/0  REBUILD    STORE_OUTDATED: ...; 41.2 MB here; 120000 records to read, about 1 s" */
static void put_line(struct plan *plan, const char *name, const char *sink,
        const struct plan_line *line)
{
    struct tally_buf *out = &plan->out;
    const char *between = "";

    tally_buf_format(out, "%-24s %-9s ", name, plan_verdict_name(line->verdict));
    if (line->reason[0]) {
        tally_buf_format(out, "%s%s%s", line->code ? tally_code_name(line->code) : "",
                line->code ? ": " : "", line->reason);
        between = "; ";
    }
    if (line->bytes >= 0) {
        tally_buf_string(out, between);
        put_bytes(out, line->bytes);
        tally_buf_string(out, " on disk");
        between = "; ";
    }
    if (line->records > 0) {
        tally_buf_format(out, "%s%lld records to read", between, (long long)line->records);
        if (line->verdict == PLAN_REBUILD) {
            tally_buf_format(out, ", about %lld s",
                    (long long)seconds_of(plan, sink, line->records));
        }
    }
    tally_buf_byte(out, '\n');
    if (line->way_out[0]) {
        tally_buf_format(out, "  way out: %s\n", line->way_out);
    }
}

static void put_directories(struct plan *plan)
{
    for (size_t i = 0; i < plan->survey.directory_count; i++) {
        const struct plan_directory *directory = &plan->survey.directories[i];
        char name[300];

        if (!directory->used) {
            (void)snprintf(name, sizeof name, "%s/%d", directory->topology,
                    (int)directory->partition);
            tally_buf_format(&plan->out, "%-24s UNUSED    ", name);
            put_bytes(&plan->out, directory->bytes);
            tally_buf_string(&plan->out, " on disk, of no task of these settings; it stays\n");
        }
    }
}

static void put_total(struct plan *plan)
{
    struct tally_buf *out = &plan->out;
    const char *between = "";

    for (enum plan_verdict i = PLAN_KEEP; i <= PLAN_REFUSE; i++) {
        if (plan->counts[i] > 0) {
            tally_buf_format(out, "%s%zu %s", between, plan->counts[i], plan_verdict_name(i));
            between = ", ";
        }
    }
    if (plan->counts[PLAN_REBUILD] > 0) {
        tally_buf_format(out, "; %lld records to build from, about %lld s",
                (long long)plan->records, (long long)plan->seconds);
    }
    tally_buf_string(out, between[0] ? "\n" : "nothing to tell: there is no state here\n");
}

static void put_text(struct plan *plan)
{
    const struct plan_survey *survey = &plan->survey;
    char name[300];

    if (survey->settings.code) {
        put_line(plan, "settings", NULL, &survey->settings);
    }
    if (survey->topics.code) {
        put_line(plan, "topics", NULL, &survey->topics);
        tally_buf_slice(&plan->out, tally_buf_bytes(&survey->mistakes));
    }
    for (size_t i = 0; i < survey->task_count; i++) {
        (void)snprintf(name, sizeof name, "%s/%d", survey->tasks[i].topology,
                (int)survey->tasks[i].partition);
        put_line(plan, name, NULL, &survey->tasks[i].line);
    }
    for (size_t i = 0; i < survey->sink_count; i++) {
        (void)snprintf(name, sizeof name, "sink %s", survey->sinks[i].name);
        put_line(plan, name, survey->sinks[i].name, &survey->sinks[i].line);
    }
    put_directories(plan);
    put_total(plan);
}

/* --- as JSON ---------------------------------------------------------------------------------- */

enum { LINE_MEMBERS = 7 };

static void write_line(const struct plan *plan, struct tally_writer *writer, const char *sink,
        const struct plan_line *line)
{
    cli_write_text(writer, "verdict", plan_verdict_name(line->verdict));
    cli_write_text(writer, "code", line->code ? tally_code_name(line->code) : NULL);
    cli_write_text(writer, "reason", line->reason);
    cli_write_text(writer, "way_out", line->way_out);
    cli_write_number(writer, "bytes", line->bytes);
    cli_write_number(writer, "records", line->records);
    cli_write_number(writer, "seconds", seconds_of(plan, sink, line->records));
}

static void write_tasks(const struct plan *plan, struct tally_writer *writer)
{
    const struct plan_survey *survey = &plan->survey;

    tally_write_name(writer, "tasks");
    tally_write_array(writer, (uint32_t)survey->task_count);
    for (size_t i = 0; i < survey->task_count; i++) {
        tally_write_map(writer, 2 + LINE_MEMBERS);
        cli_write_text(writer, "topology", survey->tasks[i].topology);
        cli_write_number(writer, "partition", survey->tasks[i].partition);
        write_line(plan, writer, NULL, &survey->tasks[i].line);
    }
}

static void write_sinks(const struct plan *plan, struct tally_writer *writer)
{
    const struct plan_survey *survey = &plan->survey;

    tally_write_name(writer, "sinks");
    tally_write_array(writer, (uint32_t)survey->sink_count);
    for (size_t i = 0; i < survey->sink_count; i++) {
        const struct plan_sink *sink = &survey->sinks[i];

        tally_write_map(writer, 3 + LINE_MEMBERS);
        cli_write_text(writer, "name", sink->name);
        cli_write_text(writer, "schema", sink->schema);
        cli_write_text(writer, "migrations", sink->migrations);
        write_line(plan, writer, sink->name, &sink->line);
    }
}

static void write_unused(const struct plan *plan, struct tally_writer *writer)
{
    const struct plan_survey *survey = &plan->survey;
    uint32_t count = 0;

    for (size_t i = 0; i < survey->directory_count; i++) {
        count += !survey->directories[i].used;
    }
    tally_write_name(writer, "unused");
    tally_write_array(writer, count);
    for (size_t i = 0; i < survey->directory_count; i++) {
        if (!survey->directories[i].used) {
            tally_write_map(writer, 3);
            cli_write_text(writer, "topology", survey->directories[i].topology);
            cli_write_number(writer, "partition", survey->directories[i].partition);
            cli_write_number(writer, "bytes", survey->directories[i].bytes);
        }
    }
}

static void write_part(const struct plan *plan, struct tally_writer *writer, const char *name,
        const struct plan_line *line)
{
    tally_write_name(writer, name);
    tally_write_map(writer, LINE_MEMBERS);
    write_line(plan, writer, NULL, line);
}

static void put_json(struct plan *plan)
{
    static const char *const verdicts[] = {
            [CLI_OK] = "KEEP", [CLI_FAILED] = "REFUSE", [CLI_PARTIAL] = "REBUILD"};
    struct tally_writer writer;

    tally_write_begin(&writer, &plan->out, TALLY_FORMAT_JSON);
    tally_write_map(&writer, 10);
    cli_write_text(&writer, "version", tally_version());
    cli_write_text(&writer, "verdict", verdicts[status_of(plan)]);
    tally_write_name(&writer, "brokers_asked");
    tally_write_bool(&writer, plan->survey.fits);
    write_part(plan, &writer, "settings", &plan->survey.settings);
    write_part(plan, &writer, "topics", &plan->survey.topics);
    write_tasks(plan, &writer);
    write_sinks(plan, &writer);
    write_unused(plan, &writer);
    cli_write_number(&writer, "records", plan->records);
    cli_write_number(&writer, "seconds", plan->seconds);
    tally_buf_byte(&plan->out, '\n');
}

/* --- the verb --------------------------------------------------------------------------------- */

static int act(struct plan *plan)
{
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code =
            plan_survey_make(&plan->survey, &plan->cli->config, (int)plan->timeout_ms, &err);

    if (code == TALLY_AGAIN && cli_interrupted()) {
        return CLI_INTERRUPTED;
    }
    if (code) {
        return cli_error(plan->cli, &err);
    }
    count_all(plan);
    (plan->form == FORM_JSON ? put_json : put_text)(plan);
    if (!cli_write(plan->cli, tally_buf_bytes(&plan->out))) {
        return CLI_FAILED;
    }
    return cli_finish(plan->cli, status_of(plan));
}

int cmd_plan(int argc, char **argv)
{
    static const char *const forms[] = {[FORM_TEXT] = "text", [FORM_JSON] = "json", NULL};
    struct plan plan = {.form = FORM_TEXT, .timeout_ms = 15000};
    const struct cli_option options[] = {CLI_OPT_BROKERS,
            CLI_OPT_CHOICE('o', "output", &plan.form, forms, "FORM", "text (default) or json"),
            CLI_OPT_FLAG(0, "offline", &plan.survey.offline,
                    "only the directories: ask no broker and no sink"),
            CLI_OPT_FLAG(0, "alone", &plan.survey.alone,
                    "this is the only instance: what is not here is built here"),
            CLI_OPT_INT(0, "rate", &plan.rate, 1, 1000000000, "N",
                    "count with N records a second, in place of what was measured"),
            CLI_OPT_INT(0, "timeout", &plan.timeout_ms, 100, 600000, "MS",
                    "give up a request after MS milliseconds (15000)"),
            CLI_OPT_END};
    struct cli cli = {.verb = "plan",
            .usage = "plan [options]",
            .options = options,
            .about = "What `tally run` with these settings and this program would do to the state "
                     "in state.dir and\n"
                     "to the targets of sinks. Run it before an upgrade or a change of settings, "
                     "with the new ones;\n"
                     "the instance may go on meanwhile. Nothing is changed.\n\n"
                     "KEEP       it is opened and goes on\n"
                     "ELSEWHERE  not here, while other partitions are: another instance has it\n"
                     "REBUILD    it is set aside or missing, and built from its log\n"
                     "MIGRATE    the sink waits for `tally sink migrate`, all else runs\n"
                     "REFUSE     a start ends, or the task halts; what to do stands below\n"
                     "UNKNOWN    it could not be looked at\n\n"
                     "Ends with 0 when all is kept, 3 when something would be built or migrated, "
                     "1 when something\n"
                     "is refused or unknown.",
            .examples = "  tally plan\n"
                        "  tally plan --config new.yaml -o json | jq '.tasks[] | "
                        "select(.verdict != \"KEEP\")'\n"
                        "  tally plan --offline --state.dir /mnt/copy\n"};
    int status = cli_begin(&cli, argc, argv);

    plan.cli = &cli;
    tally_buf_init(&plan.out, OUT_BYTES_MAX);
    if (status == CLI_CONTINUE) {
        cli_catch_interrupts();
        status = act(&plan);
    }
    plan_survey_deinit(&plan.survey);
    tally_buf_deinit(&plan.out);
    cli_end(&cli);
    return status;
}
