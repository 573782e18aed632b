/* apps/cmd_reset.c - the way out of every halt: one plan over the group's offsets, the topics and
 * the task directories, printed, and carried out when told to.
 *  (1) Nothing is changed without --execute, and nothing that loses something without
 *      --accept-loss.
 *  (2) It acts only while the groups have no members, which is asked before the plan and again
 *      before each task, and has the state directory from before the plan to the end.
 *  (3) No directory and no record is ever deleted.
 *  (4) Killed anywhere it is run again: what is left is planned from what is found. */
#include "apps/cmd.h"

#include <stdio.h>
#include <time.h>

#include "apps/reset_execute.h"
#include "apps/reset_survey.h"
#include "engine/base/clock.h"
#include "engine/base/failpoint.h"
#include "engine/base/mem.h"
#include "schemas/serde.h"
#include "state/store.h"

#define MISTAKES_MAX   (64 * 1024)
#define LINE_MAX_BYTES (64 * 1024)
#define MEMBERS_MAX    16
#define LOOK_EVERY_MS  500
#define LEAVE_GRACE_MS 5000
#define OPEN_GRACE_MS  10000 /* the broker sweeps for expired transactions that often */

struct reset {
    struct cli *cli;
    const char *topology; /* NULL: all */
    int64_t partition;    /* -1: all */
    bool execute, accept_loss, json;
    int64_t wait_s, timeout_ms; /* wait_s -1: as long as a member that is gone is kept */
    struct reset_survey survey;
    struct tally_state *state; /* held; NULL: only a plan is asked for */
};

/* --- the plan --------------------------------------------------------------------------------- */

static enum tally_code check_topics(struct reset *reset, struct tally_error *err)
{
    struct tally_buf mistakes;
    enum tally_code code;

    tally_buf_init(&mistakes, MISTAKES_MAX);
    code = reset_survey_topics(&reset->survey, &mistakes, err);
    if (mistakes.len > 0) {
        fwrite(mistakes.data, mistakes.len, 1, stderr);
    }
    tally_buf_deinit(&mistakes);
    return code;
}

static enum tally_code make_plan(struct reset *reset, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    progress_begin(&reset->survey.progress, tally_clock_real(), true);
    reset->survey.scope.open_until_ms = tally_mono_ms(tally_clock_real()) +
                                        reset->cli->config.transaction_timeout + OPEN_GRACE_MS;
    for (size_t i = 0; i < reset->survey.count && !code; i++) {
        code = reset_survey_look(&reset->survey, &reset->survey.tasks[i], err);
    }
    progress_end(&reset->survey.progress);
    return code;
}

/* --- what is printed -------------------------------------------------------------------------- */

static void put_offset(struct tally_buf *out, const char *what, int64_t offset)
{
    if (offset >= 0) {
        tally_buf_format(out, "%s%lld", what, (long long)offset);
    } else {
        tally_buf_format(out, "%snone", what);
    }
}

static void put_steps(const struct reset_task *task, struct tally_buf *out)
{
    const struct reset_facts *facts = &task->facts;
    const struct reset_plan *plan = &task->plan;

    if (plan->impossible) {
        tally_buf_format(out, "  no reset: %s\n", plan->impossible);
        return;
    }
    if (plan->fill_to >= 0) {
        tally_buf_format(out, "  fill %s/%d with empty records from %lld up to %lld\n",
                facts->input, (int)facts->partition, (long long)facts->input_high,
                (long long)plan->fill_to - 1);
    }
    if (plan->copy_from >= 0) {
        tally_buf_format(out, "  copy commands %lld to %lld of %s/%d to its end\n",
                (long long)plan->copy_from, (long long)plan->copy_to - 1, facts->input,
                (int)facts->partition);
    }
    if (plan->mark >= 0) {
        tally_buf_format(out, "  note in %s/%d that input goes on at %lld\n", facts->events,
                (int)facts->partition, (long long)plan->mark);
    }
    if (plan->aside) {
        tally_buf_string(out, "  set the state directory aside; it is restored from its log\n");
    }
    if (plan->forget) {
        put_offset(out, "  remove the group's offset ", facts->group);
        tally_buf_string(out, "; the next start is the first one\n");
    }
    if (plan->offset >= 0) {
        put_offset(out, "  set the group's offset from ", facts->group);
        put_offset(out, " to ", plan->offset);
        if (plan->decided_again > 0) {
            tally_buf_format(out, "; %lld records are read again, known ids change nothing",
                    (long long)plan->decided_again);
        }
        tally_buf_byte(out, '\n');
    }
    if (plan->loses[0]) {
        tally_buf_format(out, "  LOST: %s\n", plan->loses);
    }
    if (!reset_plan_acts(plan)) {
        tally_buf_string(out, "  nothing to do\n");
    }
}

static const char *state_name(const struct reset_facts *facts)
{
    return facts->state == TALLY_OK          ? "ok"
           : facts->state == TALLY_NOT_FOUND ? "none"
                                             : tally_code_name(facts->state);
}

static void put_task(const struct reset_task *task, struct tally_buf *out)
{
    const struct reset_facts *facts = &task->facts;
    const struct reset_plan *plan = &task->plan;

    tally_buf_format(out, "%s/%d %s", facts->topology, (int)facts->partition,
            plan->halt ? tally_code_name(plan->halt) : "would run");
    tally_buf_format(out, "%s%s\n", plan->halt ? ": " : "", plan->why);
    put_offset(out, "  group ", facts->group);
    tally_buf_format(out, ", input %lld..%lld, %s %lld..%lld", (long long)facts->input_low,
            (long long)facts->input_high,
            tally_topology_projection(task->topology) ? "changelog" : "events",
            (long long)facts->events_low, (long long)facts->events_high);
    put_offset(out, " proving ", facts->events_next);
    tally_buf_format(out, ", state %s", state_name(facts));
    if (facts->state == TALLY_OK) {
        put_offset(out, " at input ", facts->positions.in_next);
        put_offset(out, " and event ", facts->positions.out_last);
    }
    tally_buf_byte(out, '\n');
    put_steps(task, out);
}

static void write_plan(struct tally_writer *writer, const struct reset_plan *plan)
{
    tally_write_name(writer, "plan");
    tally_write_map(writer, 10);
    cli_write_text(writer, "impossible", plan->impossible);
    cli_write_number(writer, "fill_to", plan->fill_to);
    cli_write_number(writer, "copy_from", plan->copy_from);
    cli_write_number(writer, "copy_to", plan->copy_to);
    cli_write_number(writer, "note_jump_to", plan->mark);
    tally_write_name(writer, "set_aside");
    tally_write_bool(writer, plan->aside);
    tally_write_name(writer, "remove_offset");
    tally_write_bool(writer, plan->forget);
    cli_write_number(writer, "set_offset", plan->offset);
    cli_write_number(writer, "read_again", plan->decided_again);
    cli_write_text(writer, "loses", plan->loses);
}

/* One object a line. */
static void put_task_json(const struct reset_task *task, struct tally_buf *out)
{
    const struct reset_facts *facts = &task->facts;
    struct tally_writer writer;

    tally_write_begin(&writer, out, TALLY_FORMAT_JSON);
    tally_write_map(&writer, 14);
    cli_write_text(&writer, "topology", facts->topology);
    cli_write_number(&writer, "partition", facts->partition);
    cli_write_number(&writer, "group_offset", facts->group);
    cli_write_number(&writer, "input_low", facts->input_low);
    cli_write_number(&writer, "input_high", facts->input_high);
    cli_write_number(&writer, "events_low", facts->events_low);
    cli_write_number(&writer, "events_high", facts->events_high);
    cli_write_number(&writer, "events_prove", facts->events_next);
    cli_write_text(&writer, "state", state_name(facts));
    cli_write_number(&writer, "state_input", facts->positions.in_next);
    cli_write_number(&writer, "state_event", facts->positions.out_last);
    cli_write_text(&writer, "halt", task->plan.halt ? tally_code_name(task->plan.halt) : NULL);
    cli_write_text(&writer, "why", task->plan.why);
    write_plan(&writer, &task->plan);
    tally_buf_byte(out, '\n');
}

static bool print_plan(struct reset *reset)
{
    struct tally_buf out;
    bool written = true;

    tally_buf_init(&out, LINE_MAX_BYTES);
    for (size_t i = 0; i < reset->survey.count && written; i++) {
        tally_buf_clear(&out);
        (reset->json ? put_task_json : put_task)(&reset->survey.tasks[i], &out);
        written = cli_write(reset->cli, tally_buf_bytes(&out));
    }
    tally_buf_deinit(&out);
    return written;
}

/* --- the act ---------------------------------------------------------------------------------- */

static enum tally_code refuse_members(const struct reset *reset, const struct tally_group *group,
        const struct tally_group_member *members, size_t count, struct tally_error *err)
{
    for (size_t i = 0; i < count && i < MEMBERS_MAX; i++) {
        fprintf(stderr, "member %s%s%s at %s\n", members[i].client,
                members[i].instance[0] ? ", instance " : "", members[i].instance, members[i].host);
    }
    return tally_error_set(err, TALLY_CONFIG,
            "group \"%s\" has %zu members: stop them; one that was stopped or killed is kept for "
            "engine.session.timeout, %lld s",
            tally_group_name(group), count, (long long)reset->cli->config.session_timeout / 1000);
}

/* A stopped instance is a static member, which the broker keeps until its session ends. */
static enum tally_code wait_members(const struct reset *reset, struct tally_group *group,
        int64_t until_ms, bool *told, struct tally_error *err)
{
    struct tally_group_member members[MEMBERS_MAX];
    struct timespec pause = {.tv_nsec = LOOK_EVERY_MS * 1000000L};
    size_t count;

    for (;;) {
        enum tally_code code = tally_group_members(group, members, MEMBERS_MAX, &count, err);
        int64_t left_ms = until_ms - tally_mono_ms(tally_clock_real());

        if (code || count == 0) {
            return code;
        }
        code = reset_interrupted(err);
        if (code) {
            return code;
        }
        if (left_ms <= 0) {
            return refuse_members(reset, group, members, count, err);
        }
        if (!*told) {
            fprintf(stderr, "waiting for %zu members of group \"%s\" to leave, at most %lld s\n",
                    count, tally_group_name(group), (long long)left_ms / 1000);
            *told = true;
        }
        (void)nanosleep(&pause, NULL);
    }
}

static enum tally_code wait_all_members(const struct reset *reset, struct tally_error *err)
{
    int64_t wait_ms = reset->wait_s >= 0 ? reset->wait_s * 1000
                                         : reset->cli->config.session_timeout + LEAVE_GRACE_MS;
    int64_t until_ms = tally_mono_ms(tally_clock_real()) + wait_ms;
    enum tally_code code = TALLY_OK;
    bool told = false;

    for (size_t i = 0; i < reset->survey.group_count && !code; i++) {
        code = wait_members(reset, reset->survey.groups[i], until_ms, &told, err);
    }
    return code;
}

/* An instance may have come since the plan was made. */
static enum tally_code still_no_members(const struct reset *reset, struct tally_group *group,
        struct tally_error *err)
{
    struct tally_group_member members[MEMBERS_MAX];
    size_t count = 0;
    enum tally_code code = tally_group_members(group, members, MEMBERS_MAX, &count, err);

    return code || count == 0 ? code : refuse_members(reset, group, members, count, err);
}

static enum tally_code lock_state(struct reset *reset, struct tally_error *err)
{
    const struct tally_config *config = &reset->cli->config;
    enum tally_code code =
            tally_state_open(&(struct tally_state_options){.dir = config->state_dir,
                                     .memory_bytes = config->state_memory,
                                     .flush_interval_ms = config->state_flush_interval,
                                     .flush_bytes = config->state_flush_bytes,
                                     .dedup_retention_ms = config->dedup_retention,
                                     .clock = tally_clock_real()},
                    &reset->state, err);

    reset->survey.scope.held = code == TALLY_OK;
    return code;
}

static enum tally_code execute_all(struct reset *reset, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    TALLY_FAILPOINT(RESET_PLAN_AFTER);
    for (size_t i = 0; i < reset->survey.count && !code; i++) {
        struct reset_task *task = &reset->survey.tasks[i];

        if (reset_plan_acts(&task->plan)) {
            struct reset_scope scope = reset_survey_scope(&reset->survey, task);

            progress_begin(&reset->survey.progress, tally_clock_real(), true);
            code = still_no_members(reset, task->group, err);
            code = code ? code
                        : reset_execute(&scope, reset->state, task->topology, &task->facts,
                                  &task->plan, err);
            progress_end(&reset->survey.progress);
            fprintf(stderr, "%s/%d %s\n", task->facts.topology, (int)task->facts.partition,
                    code ? "failed" : "done");
        }
    }
    return code;
}

/* What keeps the plan from being carried out, or makes it unnecessary. */
static int judge_plan(const struct reset *reset, bool *acts)
{
    size_t impossible = 0, losing = 0;

    *acts = false;
    for (size_t i = 0; i < reset->survey.count; i++) {
        const struct reset_plan *plan = &reset->survey.tasks[i].plan;

        impossible += plan->impossible != NULL;
        losing += plan->loses[0] != '\0';
        *acts = *acts || reset_plan_acts(plan);
    }
    if (impossible > 0) {
        return cli_failed(reset->cli, "%zu tasks need something else first, see their plan",
                impossible);
    }
    if (losing > 0 && !reset->accept_loss && reset->execute) {
        return cli_failed(reset->cli,
                "%zu tasks lose something, see LOST: nothing was changed; run again with "
                "--accept-loss",
                losing);
    }
    if (*acts && !reset->execute) {
        fprintf(stderr, "nothing was changed; carry this out with --execute%s\n",
                losing > 0 ? " --accept-loss" : "");
    }
    return CLI_OK;
}

static int act(struct reset *reset)
{
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code =
            reset_survey_init(&reset->survey, &reset->cli->config, (int)reset->timeout_ms, &err);
    bool acts = false;
    int status = CLI_OK;

    code = code ? code : check_topics(reset, &err);
    code = code ? code
                : reset_survey_tasks(&reset->survey, reset->topology, (int32_t)reset->partition,
                          &err);
    if (!code && reset->execute) {
        code = lock_state(reset, &err);
        code = code ? code : wait_all_members(reset, &err);
    }
    code = code ? code : make_plan(reset, &err);
    if (!code) {
        status = print_plan(reset) ? judge_plan(reset, &acts) : CLI_FAILED;
        fflush(stdout);
    }
    if (!code && status == CLI_OK && acts && reset->execute) {
        code = execute_all(reset, &err);
    }
    if (code == TALLY_AGAIN && cli_interrupted()) {
        fprintf(stderr, "interrupted; the next run plans from what it finds\n");
        return CLI_INTERRUPTED;
    }
    return code ? cli_error(reset->cli, &err) : cli_finish(reset->cli, status);
}

int cmd_reset(int argc, char **argv)
{
    struct reset reset = {.partition = -1, .wait_s = -1, .timeout_ms = 15000};
    const struct cli_option options[] = {CLI_OPT_BROKERS,
            CLI_OPT_TEXT(0, "topology", &reset.topology, "NAME", "only this topology"),
            CLI_OPT_INT('p', "partition", &reset.partition, 0, INT32_MAX, "N",
                    "only this partition"),
            CLI_OPT_FLAG(0, "execute", &reset.execute, "carry the plan out"),
            CLI_OPT_FLAG(0, "accept-loss", &reset.accept_loss,
                    "also where something is lost, which the plan names"),
            CLI_OPT_FLAG('J', "json", &reset.json, "the plan as JSON, one task a line"),
            CLI_OPT_INT(0, "wait", &reset.wait_s, 0, 86400, "S",
                    "wait S seconds for members to leave (engine.session.timeout and 5 s)"),
            CLI_OPT_INT(0, "timeout", &reset.timeout_ms, 100, 600000, "MS",
                    "give up a request after MS milliseconds (15000)"),
            CLI_OPT_END};
    struct cli cli = {.verb = "reset",
            .usage = "reset [options]",
            .options = options,
            .about = "The way out of a halt. Compares the group's offset, the commands and events "
                     "topics and\n"
                     "the state directory of each task, tells which code a start would halt with, "
                     "and plans\n"
                     "what makes the task run again. Only with --execute anything is changed, "
                     "while no instance\n"
                     "runs. Directories are set aside, records are never deleted. A "
                     "reset that was\n"
                     "interrupted is run again.\n\n"
                     "Of directories it knows those in state.dir on this host. Where a task's "
                     "directory is on\n"
                     "another host, run it there: it halts there again if it does not fit.",
            .examples = "  tally reset\n"
                        "  tally reset --topology stock --partition 2 --execute\n"
                        "  tally reset --execute --accept-loss\n"
                        "  tally reset --json | jq 'select(.halt)'\n"};
    int status = cli_begin(&cli, argc, argv);

    reset.cli = &cli;
    if (status == CLI_CONTINUE) {
        cli_catch_interrupts();
        status = act(&reset);
    }
    tally_state_close(reset.state);
    reset_survey_deinit(&reset.survey);
    cli_end(&cli);
    return status;
}
