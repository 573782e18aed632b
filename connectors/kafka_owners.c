/* connectors/kafka_owners.c - see kafka_owners.h.
 * Invariants
 *  (1) A question that was not answered ends with its handle: librdkafka 2.0.2 frees one about a
 *      group that timed out, and answers it all the same when the coordinator is back, which ends
 *      the process. So no question ever times out before its handle. */
#include "connectors/kafka_owners.h"

#include "engine/base/mem.h"

enum { NEVER_MS = 3600 * 1000 /* librdkafka's longest */ };

struct kafka_owners {
    struct kafka_options options;
    rd_kafka_t *rk; /* NULL: none is open */
};

struct kafka_owners *kafka_owners_create(const struct kafka_options *options)
{
    struct kafka_owners *owners = tally_alloc_zero(1, sizeof *owners);

    owners->options = *options;
    return owners;
}

static void let_go(struct kafka_owners *owners)
{
    if (owners->rk) {
        (void)kafka_reaper_destroy(owners->rk, KAFKA_REAP_MS);
        owners->rk = NULL;
    }
}

void kafka_owners_destroy(struct kafka_owners *owners)
{
    if (owners) {
        let_go(owners);
        tally_free(owners);
    }
}

static enum tally_code open_handle(struct kafka_owners *owners, struct tally_error *err)
{
    rd_kafka_conf_t *conf;

    if (owners->rk) {
        return TALLY_OK;
    }
    conf = kafka_config_create(KAFKA_KIND_ADMIN, &owners->options, err);
    owners->rk = conf ? kafka_config_open(KAFKA_KIND_ADMIN, conf, err) : NULL;
    return owners->rk ? TALLY_OK : TALLY_CONFIG;
}

/* What stands behind the last '@' of a client.id. */
static struct tally_slice address_of(const char *client)
{
    const char *at = client ? strrchr(client, '@') : NULL;

    return at ? tally_slice_string(at + 1) : TALLY_NONE;
}

static void tell_member(const char *group, const rd_kafka_MemberDescription_t *member,
        kafka_owned_fn owned, void *context)
{
    const rd_kafka_MemberAssignment_t *assignment = rd_kafka_MemberDescription_assignment(member);
    const rd_kafka_topic_partition_list_t *list =
            assignment ? rd_kafka_MemberAssignment_partitions(assignment) : NULL;

    for (int i = 0; list && i < list->cnt; i++) {
        owned(context, &(struct kafka_owned){
                               .group = group,
                               .topic = list->elems[i].topic,
                               .partition = list->elems[i].partition,
                               .address = address_of(rd_kafka_MemberDescription_client_id(member)),
                       });
    }
}

static enum tally_code tell(struct kafka_owners *owners, rd_kafka_event_t *event,
        kafka_owned_fn owned, void *context, struct tally_error *err)
{
    const rd_kafka_ConsumerGroupDescription_t **groups = NULL;
    size_t count = 0;

    if (rd_kafka_event_error(event)) {
        return kafka_error_set(KAFKA_ROLE_QUERY, owners->rk, rd_kafka_event_error(event), err,
                "could not describe the groups of this instance");
    }
    groups = rd_kafka_DescribeConsumerGroups_result_groups(
            rd_kafka_event_DescribeConsumerGroups_result(event), &count);
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_error_t *error = rd_kafka_ConsumerGroupDescription_error(groups[i]);
        const char *name = rd_kafka_ConsumerGroupDescription_group_id(groups[i]);

        if (error && rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND) {
            continue;
        }
        if (error) {
            return kafka_error_set(KAFKA_ROLE_QUERY, owners->rk, rd_kafka_error_code(error), err,
                    "could not describe group \"%s\"", name);
        }
        for (size_t j = 0; j < rd_kafka_ConsumerGroupDescription_member_count(groups[i]); j++) {
            tell_member(name, rd_kafka_ConsumerGroupDescription_member(groups[i], j), owned,
                    context);
        }
    }
    return TALLY_OK;
}

enum tally_code kafka_owners_ask(struct kafka_owners *owners, const char **group_names,
        size_t count, int timeout_ms, kafka_owned_fn owned, void *context, struct tally_error *err)
{
    enum tally_code code = open_handle(owners, err);
    rd_kafka_AdminOptions_t *options;
    rd_kafka_queue_t *queue;
    rd_kafka_event_t *event;

    if (code) {
        return code;
    }
    queue = rd_kafka_queue_new(owners->rk);
    options = rd_kafka_AdminOptions_new(owners->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    (void)rd_kafka_AdminOptions_set_request_timeout(options, NEVER_MS, NULL, 0);
    rd_kafka_DescribeConsumerGroups(owners->rk, group_names, count, options, queue);
    event = rd_kafka_queue_poll(queue, timeout_ms);
    code = event ? tell(owners, event, owned, context, err)
                 : tally_error_set(err, TALLY_UNAVAILABLE,
                           "no broker told who has which partition within %d ms", timeout_ms);
    if (event) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    if (!event) {
        let_go(owners);
    }
    return code;
}
