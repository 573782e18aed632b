/* connectors/kafka_group.c - see kafka_group.h: admin calls on one handle, one at a time. */
#include "connectors/kafka_group.h"

#include <stdio.h>
#include <time.h>

#include "connectors/kafka_internal.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

enum { AGAIN_MS = 200 }; /* between looks at an offset that a transaction may still move */

struct tally_group {
    const struct tally_config *config;
    char *name;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    int timeout_ms;
    char *cluster;
};

enum tally_code tally_group_open(const struct tally_config *config, const char *name,
        int timeout_ms, struct tally_group **result, struct tally_error *err)
{
    struct kafka_options options = {.config = config};
    rd_kafka_conf_t *conf = kafka_config_create(KAFKA_KIND_ADMIN, &options, err);
    rd_kafka_t *rk = conf ? kafka_config_open(KAFKA_KIND_ADMIN, conf, err) : NULL;
    struct tally_group *group;

    *result = NULL;
    if (!rk) {
        return TALLY_CONFIG;
    }
    group = tally_alloc_zero(1, sizeof *group);
    group->config = config;
    group->name = name ? tally_copy_format("%s-%s", config->app_id, name)
                       : tally_copy_string(config->app_id);
    group->rk = rk;
    group->queue = rd_kafka_queue_new(rk);
    group->timeout_ms = timeout_ms;
    *result = group;
    return TALLY_OK;
}

void tally_group_close(struct tally_group *group)
{
    if (!group) {
        return;
    }
    rd_kafka_queue_destroy(group->queue);
    if (group->cluster) {
        rd_kafka_mem_free(group->rk, group->cluster);
    }
    (void)kafka_reaper_destroy(group->rk, KAFKA_REAP_MS);
    tally_free(group->name);
    tally_free(group);
}

const char *tally_group_name(const struct tally_group *group)
{
    return group->name;
}

const char *tally_group_cluster(struct tally_group *group)
{
    if (!group->cluster) {
        group->cluster = rd_kafka_clusterid(group->rk, group->timeout_ms);
    }
    return group->cluster;
}

enum tally_code tally_group_range(struct tally_group *group, const char *topic, int32_t partition,
        int64_t *low, int64_t *high, struct tally_error *err)
{
    rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(group->rk, topic, partition, low,
            high, group->timeout_ms);

    return error ? kafka_error_set(KAFKA_ROLE_QUERY, group->rk, error, err,
                           "could not read the offset range of %s/%d", topic, (int)partition)
                 : TALLY_OK;
}

/* --- one admin call --------------------------------------------------------------------------- */

/* The answer, the caller's to destroy; NULL: none, or a failed one. */
static rd_kafka_event_t *answer(struct tally_group *group, const char *what, int64_t deadline_ms,
        struct tally_error *err)
{
    int64_t left_ms = deadline_ms - tally_mono_ms(tally_clock_real());
    rd_kafka_event_t *event = rd_kafka_queue_poll(group->queue, left_ms > 0 ? (int)left_ms : 0);

    if (!event) {
        (void)tally_error_set(err, TALLY_UNAVAILABLE,
                "could not %s group \"%s\": no broker of %.100s answered in time", what,
                group->name, group->config->kafka_servers);
        return NULL;
    }
    if (rd_kafka_event_error(event)) {
        (void)kafka_error_set(KAFKA_ROLE_QUERY, group->rk, rd_kafka_event_error(event), err,
                "could not %s group \"%s\"", what, group->name);
        rd_kafka_event_destroy(event);
        return NULL;
    }
    return event;
}

static rd_kafka_AdminOptions_t *admin_options(struct tally_group *group, rd_kafka_admin_op_t op,
        int64_t deadline_ms)
{
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(group->rk, op);
    int64_t left_ms = deadline_ms - tally_mono_ms(tally_clock_real());
    char reason[128];

    (void)rd_kafka_AdminOptions_set_request_timeout(options, left_ms > 1 ? (int)left_ms : 1, reason,
            sizeof reason);
    return options;
}

/* --- members ---------------------------------------------------------------------------------- */

static void copy_text(char *to, size_t size, const char *from)
{
    (void)snprintf(to, size, "%s", from ? from : "");
}

static size_t read_members(const rd_kafka_ConsumerGroupDescription_t *description,
        struct tally_group_member *members, size_t max)
{
    size_t count = rd_kafka_ConsumerGroupDescription_member_count(description);

    for (size_t i = 0; i < count && i < max; i++) {
        const rd_kafka_MemberDescription_t *member =
                rd_kafka_ConsumerGroupDescription_member(description, i);

        copy_text(members[i].client, sizeof members[i].client,
                rd_kafka_MemberDescription_client_id(member));
        copy_text(members[i].instance, sizeof members[i].instance,
                rd_kafka_MemberDescription_group_instance_id(member));
        copy_text(members[i].host, sizeof members[i].host, rd_kafka_MemberDescription_host(member));
    }
    return count;
}

enum tally_code tally_group_members(struct tally_group *group, struct tally_group_member *members,
        size_t max, size_t *count, struct tally_error *err)
{
    const char *name = group->name;
    int64_t deadline_ms = tally_mono_ms(tally_clock_real()) + group->timeout_ms;
    rd_kafka_AdminOptions_t *options =
            admin_options(group, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, deadline_ms);
    const rd_kafka_ConsumerGroupDescription_t **groups = NULL;
    rd_kafka_event_t *event = NULL;
    size_t group_count = 0;
    enum tally_code code = TALLY_OK;

    *count = 0;
    rd_kafka_DescribeConsumerGroups(group->rk, &name, 1, options, group->queue);
    rd_kafka_AdminOptions_destroy(options);
    event = answer(group, "describe", deadline_ms, err);
    if (!event) {
        return err->code;
    }
    groups = rd_kafka_DescribeConsumerGroups_result_groups(
            rd_kafka_event_DescribeConsumerGroups_result(event), &group_count);
    if (group_count == 1) {
        const rd_kafka_error_t *error = rd_kafka_ConsumerGroupDescription_error(groups[0]);

        if (error && rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND) {
            code = kafka_error_set(KAFKA_ROLE_QUERY, group->rk, rd_kafka_error_code(error), err,
                    "could not describe group \"%s\"", name);
        } else if (!error) {
            *count = read_members(groups[0], members, max);
        }
    }
    rd_kafka_event_destroy(event);
    return code;
}

/* --- offsets ---------------------------------------------------------------------------------- */

static rd_kafka_topic_partition_list_t *list_of(const struct tally_topic_partition *partitions,
        size_t count)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);

    for (size_t i = 0; i < count; i++) {
        rd_kafka_topic_partition_list_add(list, partitions[i].topic, partitions[i].partition)
                ->offset =
                partitions[i].offset < 0 ? RD_KAFKA_OFFSET_INVALID : partitions[i].offset;
    }
    return list;
}

/* The first error of a result with one group. */
static enum tally_code first_error(struct tally_group *group, const rd_kafka_group_result_t *result,
        const char *what, struct tally_error *err)
{
    const rd_kafka_topic_partition_list_t *list = rd_kafka_group_result_partitions(result);
    const rd_kafka_error_t *error = rd_kafka_group_result_error(result);

    if (error) {
        return kafka_error_set(KAFKA_ROLE_QUERY, group->rk, rd_kafka_error_code(error), err,
                "could not %s group \"%s\"", what, group->name);
    }
    for (int i = 0; list && i < list->cnt; i++) {
        if (list->elems[i].err) {
            return kafka_error_set(KAFKA_ROLE_QUERY, group->rk, list->elems[i].err, err,
                    "could not %s group \"%s\" at %s/%d", what, group->name, list->elems[i].topic,
                    (int)list->elems[i].partition);
        }
    }
    return TALLY_OK;
}

static void take_offsets(const rd_kafka_group_result_t *result,
        struct tally_topic_partition *partitions, size_t count)
{
    const rd_kafka_topic_partition_list_t *list = rd_kafka_group_result_partitions(result);

    for (size_t i = 0; i < count; i++) {
        const rd_kafka_topic_partition_t *item =
                list ? rd_kafka_topic_partition_list_find(list, partitions[i].topic,
                               partitions[i].partition)
                     : NULL;

        partitions[i].offset = item && item->offset >= 0 ? item->offset : TALLY_OFFSET_NONE;
    }
}

static enum tally_code ask_offsets(struct tally_group *group,
        struct tally_topic_partition *partitions, size_t count, int64_t deadline_ms,
        struct tally_error *err)
{
    rd_kafka_topic_partition_list_t *list = list_of(partitions, count);
    rd_kafka_ListConsumerGroupOffsets_t *request =
            rd_kafka_ListConsumerGroupOffsets_new(group->name, list);
    rd_kafka_AdminOptions_t *options =
            admin_options(group, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, deadline_ms);
    rd_kafka_error_t *refused = rd_kafka_AdminOptions_set_require_stable_offsets(options, 1);
    const rd_kafka_group_result_t **results = NULL;
    rd_kafka_event_t *event = NULL;
    size_t result_count = 0;
    enum tally_code code;

    tally_assert(!refused);
    rd_kafka_ListConsumerGroupOffsets(group->rk, &request, 1, options, group->queue);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ListConsumerGroupOffsets_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
    event = answer(group, "read the offsets of", deadline_ms, err);
    if (!event) {
        return err->code;
    }
    results = rd_kafka_ListConsumerGroupOffsets_result_groups(
            rd_kafka_event_ListConsumerGroupOffsets_result(event), &result_count);
    tally_assert(result_count == 1);
    code = first_error(group, results[0], "read the offsets of", err);
    if (!code) {
        take_offsets(results[0], partitions, count);
    }
    rd_kafka_event_destroy(event);
    return code;
}

enum tally_code tally_group_offsets(struct tally_group *group,
        struct tally_topic_partition *partitions, size_t count, struct tally_error *err)
{
    int64_t deadline_ms = tally_mono_ms(tally_clock_real()) + group->timeout_ms;
    struct timespec pause = {.tv_nsec = AGAIN_MS * 1000000L};
    enum tally_code code;

    for (;;) {
        code = ask_offsets(group, partitions, count, deadline_ms, err);
        if (tally_code_reaction(code) != TALLY_REACT_RETRY ||
                tally_mono_ms(tally_clock_real()) + AGAIN_MS > deadline_ms) {
            return code;
        }
        (void)nanosleep(&pause, NULL);
    }
}

static void request_change(struct tally_group *group, const struct tally_topic_partition *partition,
        int64_t deadline_ms)
{
    rd_kafka_topic_partition_list_t *list = list_of(partition, 1);

    if (partition->offset < 0) {
        rd_kafka_DeleteConsumerGroupOffsets_t *request =
                rd_kafka_DeleteConsumerGroupOffsets_new(group->name, list);
        rd_kafka_AdminOptions_t *options =
                admin_options(group, RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS, deadline_ms);

        rd_kafka_DeleteConsumerGroupOffsets(group->rk, &request, 1, options, group->queue);
        rd_kafka_AdminOptions_destroy(options);
        rd_kafka_DeleteConsumerGroupOffsets_destroy(request);
    } else {
        rd_kafka_AlterConsumerGroupOffsets_t *request =
                rd_kafka_AlterConsumerGroupOffsets_new(group->name, list);
        rd_kafka_AdminOptions_t *options =
                admin_options(group, RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, deadline_ms);

        rd_kafka_AlterConsumerGroupOffsets(group->rk, &request, 1, options, group->queue);
        rd_kafka_AdminOptions_destroy(options);
        rd_kafka_AlterConsumerGroupOffsets_destroy(request);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

enum tally_code tally_group_set_offset(struct tally_group *group,
        const struct tally_topic_partition *partition, struct tally_error *err)
{
    const char *what = partition->offset < 0 ? "remove an offset of" : "set an offset of";
    int64_t deadline_ms = tally_mono_ms(tally_clock_real()) + group->timeout_ms;
    const rd_kafka_group_result_t **results = NULL;
    rd_kafka_event_t *event = NULL;
    size_t count = 0;
    enum tally_code code;

    request_change(group, partition, deadline_ms);
    event = answer(group, what, deadline_ms, err);
    if (!event) {
        return err->code;
    }
    results = partition->offset < 0
                      ? rd_kafka_DeleteConsumerGroupOffsets_result_groups(
                                rd_kafka_event_DeleteConsumerGroupOffsets_result(event), &count)
                      : rd_kafka_AlterConsumerGroupOffsets_result_groups(
                                rd_kafka_event_AlterConsumerGroupOffsets_result(event), &count);
    tally_assert(count == 1);
    code = first_error(group, results[0], what, err);
    rd_kafka_event_destroy(event);
    return code;
}
