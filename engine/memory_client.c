/* engine/memory_client.c - makes consumers and producers of the broker in memory; replies,
 * publishes. Invariant: a dead client changes nothing at the broker, whatever is called. */
#include "engine/memory_client_internal.h"

#include "engine/base/hash.h"
#include "engine/base/mem.h"

#define CLUSTER_ID "memory"

struct memory_call memory_client_begin(struct memory_client *client, enum tally_memory_op op)
{
    struct memory_call call = {.effect = !client->dead};

    if (client->dead) {
        return call;
    }
    memory_consumer_heartbeats(client);
    call.hit = memory_broker_call(client->broker, &client->base, op, &call.fault);
    if (client->dead) { /* killed while it waited to be carried out */
        return (struct memory_call){.effect = false};
    }
    memory_consumer_heartbeats(client);
    if (call.hit && call.fault.rebalance != TALLY_MEMORY_NO_REBALANCE) {
        tally_memory_broker_rebalance(client->broker, call.fault.rebalance == TALLY_MEMORY_LOSE);
        call.hit = false;
    }
    if (call.hit) {
        call.effect = call.fault.happened;
        client->dead = call.fault.kill;
    }
    return call;
}

enum tally_code memory_client_end(struct memory_client *client, const struct memory_call *call,
        enum tally_memory_op op, enum tally_code code, struct tally_error *err)
{
    if (!client->dead) {
        memory_broker_called(client->broker, &client->base, op,
                call->hit && call->fault.code ? call->fault.code : code);
    }
    if (client->dead) {
        return tally_error_set(err, TALLY_FENCED, "%s: the client is dead",
                tally_memory_op_name(op));
    }
    if (call->hit && call->fault.code) {
        return tally_error_set(err, call->fault.code, "%s: injected: %s", tally_memory_op_name(op),
                tally_code_text(call->fault.code));
    }
    return code;
}

static struct memory_client *client_of(struct tally_client *client)
{
    return (struct memory_client *)client;
}

char *memory_client_group(const struct memory_client *client, const char *group)
{
    return group ? tally_copy_format("%s-%s", client->app_id, group)
                 : tally_copy_string(client->app_id);
}

static struct tally_consumer *make_consumer(struct tally_client *client, const char *group,
        int thread, const struct tally_rebalance_listener *listener, struct tally_error *err)
{
    (void)err;
    return memory_consumer_create(client_of(client), group, thread, listener);
}

static struct tally_consumer *make_restore_consumer(struct tally_client *client, int thread,
        struct tally_error *err)
{
    (void)err;
    return memory_consumer_create(client_of(client), NULL, thread, NULL);
}

static struct tally_consumer *make_probe_consumer(struct tally_client *client,
        struct tally_error *err)
{
    return make_restore_consumer(client, 0, err);
}

static enum tally_code partitions(struct tally_client *client, const char *topic, int timeout_ms,
        int32_t *count, struct tally_error *err)
{
    (void)timeout_ms;
    if (memory_broker_topic_name(client_of(client)->broker, topic, count)) {
        return TALLY_OK;
    }
    return tally_error_set(err, TALLY_NOT_FOUND, "topic \"%s\" is unknown", topic);
}

static struct tally_producer *make_producer(struct tally_client *client, const char *group,
        int thread, struct tally_error *err)
{
    (void)err;
    return memory_producer_create(client_of(client), group, thread);
}

static bool send_reply(struct tally_client *base, const char *topic, int32_t partition,
        struct tally_slice key, struct tally_slice value, const struct tally_header *headers,
        size_t count)
{
    struct memory_client *client = client_of(base);
    struct memory_call call = memory_client_begin(client, TALLY_MEMORY_REPLY);
    bool sent = call.effect && tally_memory_broker_append(client->broker, topic, partition, key,
                                       value, headers, count) != TALLY_OFFSET_NONE;

    return sent && memory_client_end(client, &call, TALLY_MEMORY_REPLY, TALLY_OK, NULL) == TALLY_OK;
}

static enum tally_code publish(struct tally_client *base, const char *topic, struct tally_slice key,
        struct tally_slice value, const struct tally_header *headers, size_t header_count,
        int timeout_ms, int32_t *partition, int64_t *offset, struct tally_error *err)
{
    struct memory_client *client = client_of(base);
    struct memory_call call = memory_client_begin(client, TALLY_MEMORY_PUBLISH);
    enum tally_code code = TALLY_OK;
    struct memory_partition *found;
    int32_t partitions;

    (void)timeout_ms;
    if (!memory_broker_topic_name(client->broker, topic, &partitions)) {
        return tally_error_set(err, TALLY_UNAVAILABLE, "topic \"%s\" is unknown", topic);
    }
    *partition = tally_partition_of(key, partitions);
    found = memory_broker_find(client->broker, topic, *partition);
    if (!memory_broker_fits(found, key, value)) {
        return tally_error_set(err, TALLY_TOO_LARGE, "record of topic \"%s\" is too large", topic);
    }
    if (call.effect) {
        *offset = memory_broker_append(client->broker, found, NULL, key, value, headers,
                header_count);
    }
    return memory_client_end(client, &call, TALLY_MEMORY_PUBLISH, code, err);
}

static size_t record_max(struct tally_client *base, const char *topic)
{
    struct memory_partition *found = memory_broker_find(client_of(base)->broker, topic, 0);

    return found ? memory_broker_max(found) : SIZE_MAX;
}

static bool reachable(struct tally_client *client, struct tally_error *err)
{
    if (client_of(client)->reachable && !client_of(client)->dead) {
        return true;
    }
    tally_error_set(err, TALLY_UNAVAILABLE, "no broker answered");
    return false;
}

static const char *cluster_id(struct tally_client *client)
{
    (void)client;
    return CLUSTER_ID;
}

static void destroy(struct tally_client *base)
{
    struct memory_client *client = client_of(base);

    tally_free(client->app_id);
    tally_free(client->instance_id);
    tally_free(client);
}

static const struct tally_client_ops client_ops = {
        .consumer = make_consumer,
        .restore_consumer = make_restore_consumer,
        .probe_consumer = make_probe_consumer,
        .partitions = partitions,
        .producer = make_producer,
        .reply = send_reply,
        .publish = publish,
        .record_max = record_max,
        .reachable = reachable,
        .cluster_id = cluster_id,
        .destroy = destroy,
};

struct tally_client *tally_memory_client_create(struct tally_memory_broker *broker,
        const char *app_id, const char *instance_id)
{
    struct memory_client *client = tally_alloc_zero(1, sizeof *client);

    client->base.ops = &client_ops;
    client->broker = broker;
    client->app_id = tally_copy_string(app_id);
    client->instance_id = tally_copy_string(instance_id);
    client->reachable = true;
    client->guard = true;
    return &client->base;
}

void tally_memory_client_kill(struct tally_client *client)
{
    client_of(client)->dead = true;
}

bool tally_memory_client_killed(const struct tally_client *client)
{
    return ((const struct memory_client *)client)->dead;
}

void tally_memory_client_set_reachable(struct tally_client *client, bool yes)
{
    client_of(client)->reachable = yes;
}

void tally_memory_client_heartbeat(struct tally_client *client)
{
    if (!client_of(client)->dead) {
        memory_consumer_heartbeats(client_of(client));
    }
}

bool tally_memory_client_current(const struct tally_client *client)
{
    return memory_consumer_all_current((const struct memory_client *)client);
}

void tally_memory_client_set_guard(struct tally_client *client, bool guard)
{
    client_of(client)->guard = guard;
}

int64_t tally_memory_client_unreleased(const struct tally_client *client)
{
    return ((const struct memory_client *)client)->unreleased;
}
