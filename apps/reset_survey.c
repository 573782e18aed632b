/* apps/reset_survey.c - see the header. */
#include "apps/reset_survey.h"

#include "apps/reset_projection.h"
#include "connectors/kafka_admin.h"
#include "engine/base/mem.h"

enum tally_code reset_survey_init(struct reset_survey *survey, const struct tally_config *config,
        int timeout_ms, struct tally_error *err)
{
    survey->config = config;
    survey->scope.config = config;
    survey->scope.progress = &survey->progress;
    survey->timeout_ms = timeout_ms;
    return instance_build(&survey->instance, config, err);
}

void reset_survey_deinit(struct reset_survey *survey)
{
    for (size_t i = 0; i < survey->group_count; i++) {
        tally_group_close(survey->groups[i]);
    }
    tally_free(survey->tasks);
    instance_deinit(&survey->instance);
}

enum tally_code reset_survey_topics(struct reset_survey *survey, struct tally_buf *mistakes,
        struct tally_error *err)
{
    struct tally_topic_spec *specs = NULL;
    size_t count;
    enum tally_code code = tally_topics_of(survey->config, survey->instance.owners,
            survey->instance.topology_count, &specs, &count, err);

    if (!code) {
        code = tally_topics_check(survey->config, specs, count, survey->timeout_ms,
                &survey->scope.partitions, mistakes, err);
    }
    tally_free(specs);
    return code;
}

/* --- tasks ------------------------------------------------------------------------------------ */

/* The group of the topology's tasks, opened once. */
static enum tally_code find_group(struct reset_survey *survey,
        const struct tally_topology *topology, struct tally_group **group, struct tally_error *err)
{
    const char *name = tally_topology_group(topology);
    struct tally_group *opened = NULL;
    enum tally_code code;

    for (size_t i = 0; i < survey->count; i++) {
        const char *other = tally_topology_group(survey->tasks[i].topology);

        if (name && other ? strcmp(name, other) == 0 : name == other) {
            *group = survey->tasks[i].group;
            return TALLY_OK;
        }
    }
    code = tally_group_open(survey->config, name, survey->timeout_ms, &opened, err);
    if (!code) {
        tally_assert(survey->group_count < RESET_GROUPS_MAX);
        survey->groups[survey->group_count++] = opened;
    }
    *group = opened;
    return code;
}

static enum tally_code add_task(struct reset_survey *survey, const struct tally_topology *topology,
        int32_t partition, struct tally_error *err)
{
    struct reset_task *task = &survey->tasks[survey->count];
    enum tally_code code = find_group(survey, topology, &task->group, err);

    if (!code) {
        task->topology = topology;
        task->facts.partition = partition;
        survey->count++;
    }
    return code;
}

enum tally_code reset_survey_tasks(struct reset_survey *survey, const char *topology,
        int32_t partition, struct tally_error *err)
{
    const struct instance *instance = &survey->instance;
    size_t max = instance->topology_count * (size_t)survey->scope.partitions;

    survey->tasks = tally_alloc_zero(max + 1, sizeof *survey->tasks);
    for (size_t i = 0; i < instance->topology_count; i++) {
        const struct tally_topology *at = instance->topologies[i];

        if (topology && strcmp(topology, tally_topology_name(at)) != 0) {
            continue;
        }
        for (int32_t p = 0; p < survey->scope.partitions; p++) {
            enum tally_code code =
                    partition < 0 || partition == p ? add_task(survey, at, p, err) : TALLY_OK;

            if (code) {
                return code;
            }
        }
    }
    if (survey->count == 0) {
        return tally_error_set(err, TALLY_NOT_FOUND, "there is no task %s/%d",
                topology ? topology : "*", (int)partition);
    }
    return TALLY_OK;
}

/* --- one of them ------------------------------------------------------------------------------ */

struct reset_scope reset_survey_scope(const struct reset_survey *survey,
        const struct reset_task *task)
{
    struct reset_scope scope = survey->scope;

    scope.group = task->group;
    return scope;
}

static enum tally_code read_offset(const struct reset_task *task, int64_t *offset,
        struct tally_error *err)
{
    struct tally_topic_partition at = {.topic = tally_topology_input(task->topology),
            .partition = task->facts.partition,
            .offset = TALLY_OFFSET_NONE};
    enum tally_code code = tally_group_offsets(task->group, &at, 1, err);

    *offset = at.offset;
    return code;
}

/* Of a group with members: the offset that was read first may be behind all that was found since,
 * and a transaction is nearly always open. Where a projection's changelog stands between both
 * offsets, it is right. */
static enum tally_code look_again(struct reset_task *task, struct tally_error *err)
{
    struct reset_facts *facts = &task->facts;
    int64_t first = facts->group;
    struct tally_group_member member;
    size_t members = 0;
    enum tally_code code = tally_group_members(task->group, &member, 1, &members, err);

    if (code || members == 0) {
        return code;
    }
    facts->open = false;
    code = read_offset(task, &facts->group, err);
    code = code ? code
                : tally_group_range(task->group, facts->input, facts->partition, &facts->input_low,
                          &facts->input_high, err);
    if (tally_topology_projection(task->topology) && first >= 0 && facts->events_next >= first &&
            facts->events_next <= facts->group) {
        facts->group = facts->events_next;
    }
    return code;
}

enum tally_code reset_survey_look(const struct reset_survey *survey, struct reset_task *task,
        struct tally_error *err)
{
    struct reset_scope scope = reset_survey_scope(survey, task);
    bool projects = tally_topology_projection(task->topology) != NULL;
    int32_t partition = task->facts.partition;
    int64_t offset;
    enum tally_code code = read_offset(task, &offset, err);

    if (!code) {
        code = (projects ? reset_projection_gather : reset_facts_gather)(&scope, task->topology,
                partition, offset, &task->facts, err);
    }
    if (!code && survey->live) {
        code = look_again(task, err);
    }
    if (!code) {
        (projects ? reset_projection_plan : reset_plan_make)(&task->facts, &task->plan);
    }
    return code;
}
