/* apps/plan_survey.c - see the header. Directories are read without the lock of state.dir, so that
 * an instance may run or start meanwhile; what it changes under a look is looked at again. */
#include "apps/plan_survey.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "apps/cli.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "http/server.h"

enum {
    MISTAKES_MAX = 64 * 1024,
    LOOKS = 5, /* at a directory that an instance may be changing */
    AGAIN_MS = 200
};

/* --- directories ------------------------------------------------------------------------------ */

static void note_directory(void *context, const char *topology, int32_t partition, int64_t bytes)
{
    struct plan_survey *survey = context;

    if (survey->directory_count == survey->directory_capacity) {
        survey->directory_capacity =
                survey->directory_capacity ? 2 * survey->directory_capacity : 64;
        survey->directories = tally_realloc(survey->directories,
                survey->directory_capacity * sizeof *survey->directories);
    }
    survey->directories[survey->directory_count++] =
            (struct plan_directory){tally_copy_string(topology), partition, bytes, false};
}

static int compare_directories(const void *left, const void *right)
{
    const struct plan_directory *a = left, *b = right;
    int order = strcmp(a->topology, b->topology);

    return order ? order : (a->partition > b->partition) - (a->partition < b->partition);
}

static enum tally_code list_directories(struct plan_survey *survey, struct tally_error *err)
{
    enum tally_code code = tally_state_list(survey->config->state_dir, note_directory, survey, err);

    if (survey->directory_count > 0) {
        qsort(survey->directories, survey->directory_count, sizeof *survey->directories,
                compare_directories);
    }
    return code == TALLY_NOT_FOUND ? TALLY_OK : code;
}

/* -1: none here. */
static int64_t use_directory(struct plan_survey *survey, const char *topology, int32_t partition)
{
    for (size_t i = 0; i < survey->directory_count; i++) {
        struct plan_directory *directory = &survey->directories[i];

        if (directory->partition == partition && strcmp(directory->topology, topology) == 0) {
            directory->used = true;
            return directory->bytes;
        }
    }
    return -1;
}

static bool has_others(const struct plan_survey *survey, const char *topology)
{
    for (size_t i = 0; i < survey->directory_count; i++) {
        if (strcmp(survey->directories[i].topology, topology) == 0) {
            return true;
        }
    }
    return false;
}

static void rest(void)
{
    struct timespec pause = {.tv_nsec = AGAIN_MS * 1000000L};

    (void)nanosleep(&pause, NULL);
}

/* A file may have gone while its directory was read. */
static bool may_change(enum tally_code code)
{
    return code == TALLY_STORE_CORRUPT || code == TALLY_STORE_ERROR;
}

/* --- tasks ------------------------------------------------------------------------------------ */

static struct plan_task *add_task(struct plan_survey *survey, const char *topology,
        int32_t partition)
{
    struct plan_task *task = &survey->tasks[survey->task_count++];

    *task = (struct plan_task){.topology = topology, .partition = partition};
    task->line.bytes = use_directory(survey, topology, partition);
    return task;
}

static enum tally_code look(const struct plan_survey *survey, struct reset_task *task,
        struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    for (int i = 0; i < LOOKS; i++) {
        code = reset_survey_look(&survey->reset, task, err);
        if (!may_change(code ? code : task->facts.state)) {
            break;
        }
        rest();
    }
    return code;
}

static void judge(struct plan_survey *survey, struct plan_task *task, const struct reset_task *from)
{
    plan_verdict_task(&from->facts, &from->plan, tally_topology_projection(from->topology) != NULL,
            tally_wall_ms(tally_clock_real()), &task->line);
    if (from->facts.state == TALLY_NOT_FOUND && task->line.verdict == PLAN_REBUILD &&
            !survey->alone && has_others(survey, task->topology)) {
        task->line.verdict = PLAN_ELSEWHERE;
        (void)snprintf(task->line.reason, sizeof task->line.reason,
                "not here, while other partitions are: it is with another instance");
    }
}

/* A broker that does not answer any more is not asked about each of the others. */
static enum tally_code look_at_tasks(struct plan_survey *survey, struct tally_error *err)
{
    struct reset_survey *reset = &survey->reset;
    struct tally_error failed = {.code = TALLY_OK};
    enum tally_code code = reset_survey_tasks(reset, NULL, -1, &failed);

    survey->tasks = tally_alloc_zero(reset->count + 1, sizeof *survey->tasks);
    progress_begin(&reset->progress, tally_clock_real(), true);
    for (size_t i = 0; i < reset->count; i++) {
        struct reset_task *from = &reset->tasks[i];
        struct plan_task *task =
                add_task(survey, tally_topology_name(from->topology), from->facts.partition);

        code = code ? code : look(survey, from, &failed);
        if (cli_interrupted()) {
            progress_end(&reset->progress);
            return tally_error_set(err, TALLY_AGAIN, "interrupted");
        }
        if (code) {
            plan_verdict_error(&failed, &task->line);
        } else {
            judge(survey, task, from);
        }
    }
    progress_end(&reset->progress);
    return TALLY_OK;
}

/* Without a broker: what the directories say about themselves. */
static void look_at_directory(struct plan_survey *survey, const struct tally_topology *topology,
        int32_t partition)
{
    struct tally_store_identity identity = {
            .topology = tally_topology_name(topology),
            .partition = partition,
            .cluster_id = "",
            .group = survey->config->app_id,
            .commands_topic = tally_topology_input(topology),
            .events_topic = tally_topology_output(topology),
            .evolve_version = tally_topology_version(topology),
            .settings = tally_topology_settings(topology),
            .omitted = tally_topology_omitted(topology),
            .offline = true,
    };
    struct plan_task *task = add_task(survey, identity.topology, partition);
    struct tally_positions positions;
    struct tally_error err = {.code = TALLY_OK};

    for (int i = 0; i < LOOKS; i++) {
        err.code = TALLY_OK;
        if (!may_change(tally_store_check(survey->config->state_dir, true, &identity, &positions,
                    &err))) {
            break;
        }
        rest();
    }
    plan_verdict_directory(identity.topology, partition, &err, &task->line);
}

static void look_at_directories(struct plan_survey *survey)
{
    const struct instance *instance = &survey->reset.instance;

    survey->tasks = tally_alloc_zero(survey->directory_count + 1, sizeof *survey->tasks);
    for (size_t i = 0; i < instance->topology_count; i++) {
        for (size_t d = 0; d < survey->directory_count; d++) {
            if (strcmp(survey->directories[d].topology, instance->names[i]) == 0) {
                look_at_directory(survey, instance->topologies[i],
                        survey->directories[d].partition);
            }
        }
    }
}

/* --- all of it -------------------------------------------------------------------------------- */

/* What ends a start before it asks anybody. */
static bool check_settings(struct plan_survey *survey, int timeout_ms)
{
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code =
            survey->config->http_listen[0] ? tally_http_check(survey->config, &err) : TALLY_OK;

    code = code ? code : reset_survey_init(&survey->reset, survey->config, timeout_ms, &err);
    if (code) {
        plan_verdict_error(&err, &survey->settings);
    }
    return code == TALLY_OK;
}

static void check_topics(struct plan_survey *survey)
{
    struct tally_error err = {.code = TALLY_OK};

    survey->topics.verdict = PLAN_UNKNOWN;
    if (survey->offline) {
        return;
    }
    if (reset_survey_topics(&survey->reset, &survey->mistakes, &err)) {
        plan_verdict_error(&err, &survey->topics);
        return;
    }
    survey->topics.verdict = PLAN_KEEP;
    survey->fits = true;
}

enum tally_code plan_survey_make(struct plan_survey *survey, const struct tally_config *config,
        int timeout_ms, struct tally_error *err)
{
    enum tally_code code;

    survey->config = config;
    survey->reset.live = survey->reset.scope.held = true;
    survey->settings.bytes = survey->topics.bytes = -1;
    survey->settings.records = survey->topics.records = -1;
    tally_buf_init(&survey->mistakes, MISTAKES_MAX);
    code = list_directories(survey, err);
    if (code || !check_settings(survey, timeout_ms)) {
        return code;
    }
    check_topics(survey);
    if (survey->fits) {
        code = look_at_tasks(survey, err);
    } else {
        look_at_directories(survey);
    }
    if (!code && !survey->offline) {
        plan_survey_sinks(survey);
    }
    return code;
}

void plan_survey_deinit(struct plan_survey *survey)
{
    for (size_t i = 0; i < survey->directory_count; i++) {
        tally_free(survey->directories[i].topology);
    }
    tally_free(survey->directories);
    tally_free(survey->tasks);
    tally_buf_deinit(&survey->mistakes);
    reset_survey_deinit(&survey->reset);
}
