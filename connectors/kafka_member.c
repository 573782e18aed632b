/* connectors/kafka_member.c - whether another process has taken over a static member's name.
 * A process that was away for longer than its session (SIGSTOP, a frozen container, a machine that
 * came back) forgets its member id and joins anew. Under a static name that would push out whoever
 * was started in its place: the newest to join wins. So it asks before it joins, through a handle
 * of its own that ends with the question: in librdkafka 2.0.2 a question about a group that timed
 * out while the coordinator was away is freed, and answered all the same when the coordinator is
 * back, which ends the process with an assertion. */
#include "connectors/kafka_internal.h"

#include "engine/base/log.h"
#include "engine/base/mem.h"

enum {
    DESCRIBE_WAIT_MS = 3000,
    DESCRIBE_TIMEOUT_MS = 3600 * 1000, /* librdkafka's longest: it must not end before its handle */
    NAME_MAX_BYTES = 512
};

static bool is_another(const rd_kafka_MemberDescription_t *member, const char *instance,
        const char *member_id)
{
    const char *name = rd_kafka_MemberDescription_group_instance_id(member);
    const char *id = rd_kafka_MemberDescription_consumer_id(member);

    return name && id && strcmp(name, instance) == 0 && strcmp(id, member_id) != 0;
}

static bool among(const rd_kafka_ConsumerGroupDescription_t *group, const char *instance,
        const char *member_id)
{
    size_t count = rd_kafka_ConsumerGroupDescription_member_count(group);

    for (size_t i = 0; i < count; i++) {
        const rd_kafka_MemberDescription_t *member =
                rd_kafka_ConsumerGroupDescription_member(group, i);

        if (is_another(member, instance, member_id)) {
            tally_log(TALLY_LOG_WARN, "another process has this member's name",
                    TALLY_LOG_STR("name", instance),
                    TALLY_LOG_STR("host", rd_kafka_MemberDescription_host(member)),
                    TALLY_LOG_STR("client", rd_kafka_MemberDescription_client_id(member)));
            return true;
        }
    }
    return false;
}

/* What the broker says about the group; NULL: nothing in time. */
static rd_kafka_event_t *describe(rd_kafka_t *rk, const char *group)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AdminOptions_t *options =
            rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    rd_kafka_event_t *event = NULL;

    (void)rd_kafka_AdminOptions_set_request_timeout(options, DESCRIBE_TIMEOUT_MS, NULL, 0);
    rd_kafka_DescribeConsumerGroups(rk, &group, 1, options, queue);
    event = rd_kafka_queue_poll(queue, DESCRIBE_WAIT_MS);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return event;
}

static enum kafka_name name_in(rd_kafka_event_t *event, const char *instance, const char *member_id)
{
    const rd_kafka_ConsumerGroupDescription_t **groups;
    enum kafka_name name = KAFKA_NAME_UNKNOWN;
    size_t count = 0;

    if (rd_kafka_event_error(event)) {
        return KAFKA_NAME_UNKNOWN;
    }
    groups = rd_kafka_DescribeConsumerGroups_result_groups(
            rd_kafka_event_DescribeConsumerGroups_result(event), &count);
    for (size_t i = 0; i < count; i++) {
        if (rd_kafka_ConsumerGroupDescription_error(groups[i])) {
            continue;
        }
        if (among(groups[i], instance, member_id)) {
            return KAFKA_NAME_TAKEN;
        }
        name = KAFKA_NAME_OURS;
    }
    return name;
}

enum kafka_name kafka_member_name(rd_kafka_t *like, rd_kafka_t *member, const char *member_id)
{
    char group[NAME_MAX_BYTES] = "", instance[NAME_MAX_BYTES] = "";
    size_t group_size = sizeof group, instance_size = sizeof instance;
    rd_kafka_t *rk;
    rd_kafka_event_t *event;
    struct tally_error err = {0};
    enum kafka_name name;

    if (rd_kafka_conf_get(rd_kafka_conf(member), "group.id", group, &group_size) ||
            rd_kafka_conf_get(rd_kafka_conf(member), "group.instance.id", instance,
                    &instance_size) ||
            !*instance) {
        return KAFKA_NAME_OURS;
    }
    rk = kafka_config_open(KAFKA_KIND_WATERMARK, rd_kafka_conf_dup(rd_kafka_conf(like)), &err);
    if (!rk) {
        tally_log_error(TALLY_LOG_WARN, "members of the group not asked for", &err);
        return KAFKA_NAME_UNKNOWN;
    }
    event = describe(rk, group);
    name = event ? name_in(event, instance, member_id) : KAFKA_NAME_UNKNOWN;
    if (event) {
        rd_kafka_event_destroy(event);
    }
    (void)kafka_reaper_destroy(rk, KAFKA_REAP_MS);
    return name;
}
