/* engine/memory_consumer.c - the consumer on the broker in memory: group member or restore reader.
 * Partitions take turns, one record each, in the order in which they were assigned.
 * Invariants
 *  (1) After the listener's `assigned` there is an assignment, after `revoked` there is none.
 *  (2) A record borrows from the broker; release only counts. */
#include "engine/base/mem.h"
#include "engine/memory_client_internal.h"

#define ASSIGNED_MAX 256 /* partitions of one consumer */
#define TOPICS_MAX   16

struct assigned {
    const char *topic; /* the broker's */
    int32_t partition;
    struct memory_partition *log;
    int64_t next;
    bool paused, polled;
};

struct memory_consumer {
    struct tally_consumer base;
    struct memory_client *client;
    struct tally_rebalance_listener listener;
    struct memory_member *member; /* NULL: restore reader */
    uint64_t holder, generation;
    int64_t polled_ms, heartbeat_ms; /* of the last poll; of the next heartbeat that is answered */
    struct memory_consumer *next;    /* of the client */
    const char *topics[TOPICS_MAX];  /* subscribed; the broker's names, sorted */
    size_t topic_count;
    bool joined, lost;
    struct tally_topic_partition granted[ASSIGNED_MAX]; /* by the group */
    size_t granted_count;
    struct assigned assigned[ASSIGNED_MAX];
    size_t assigned_count, turn;
};

static struct memory_consumer *consumer_of(struct tally_consumer *consumer)
{
    return (struct memory_consumer *)consumer;
}

struct memory_member *memory_consumer_member(struct tally_consumer *base, bool *current)
{
    struct memory_consumer *consumer = consumer_of(base);

    *current = consumer->member &&
               memory_group_current(consumer->member, consumer->holder, consumer->generation);
    return consumer->member;
}

bool memory_consumer_fenced(const struct tally_consumer *base)
{
    const struct memory_consumer *consumer = (const struct memory_consumer *)base;

    return consumer->member && consumer->holder != consumer->member->holder;
}

void memory_consumer_offer(struct tally_consumer *base, struct memory_late *late)
{
    struct memory_consumer *consumer = consumer_of(base);

    late->member = consumer->member;
    late->holder = consumer->holder;
    late->generation = consumer->generation;
}

/* Not polled for so long that the client has stopped to be a member. */
static bool is_overdue(const struct memory_consumer *consumer)
{
    int64_t max_poll_ms = memory_broker_times(consumer->client->broker)->max_poll_ms;

    return max_poll_ms > 0 && consumer->joined &&
           memory_broker_now(consumer->client->broker) - consumer->polled_ms > max_poll_ms;
}

void memory_consumer_heartbeats(struct memory_client *client)
{
    for (struct memory_consumer *consumer = client->consumers; consumer;
            consumer = consumer->next) {
        if (consumer->holder == consumer->member->holder && !is_overdue(consumer)) {
            memory_group_heartbeat(client->broker, consumer->member);
        }
    }
}

bool memory_consumer_all_current(const struct memory_client *client)
{
    for (const struct memory_consumer *consumer = client->consumers; consumer;
            consumer = consumer->next) {
        if (!memory_group_current(consumer->member, consumer->holder, consumer->generation)) {
            return false;
        }
    }
    return true;
}

static enum tally_code subscribe(struct tally_consumer *base, const char *const *topics,
        size_t count, struct tally_error *err)
{
    struct memory_consumer *consumer = consumer_of(base);

    tally_assert(consumer->member && count <= TOPICS_MAX);
    consumer->topic_count = 0;
    for (size_t i = 0; i < count; i++) {
        int32_t partitions;
        const char *name =
                memory_broker_topic_name(consumer->client->broker, topics[i], &partitions);
        size_t at = consumer->topic_count++;

        if (!name) {
            consumer->topic_count = 0;
            return tally_error_set(err, TALLY_TOPIC_CONFIG, "topic \"%s\" is unknown", topics[i]);
        }
        for (; at > 0 && strcmp(consumer->topics[at - 1], name) > 0; at--) {
            consumer->topics[at] = consumer->topics[at - 1];
        }
        consumer->topics[at] = name;
    }
    return TALLY_OK;
}

/* --- rebalance -------------------------------------------------------------------------------- */

/* Range: of every topic one piece for each member, the first ones larger by one. */
static void grant(struct memory_consumer *consumer)
{
    int32_t index, members;

    memory_group_place(consumer->member, &index, &members);
    consumer->granted_count = 0;
    for (size_t i = 0; i < consumer->topic_count; i++) {
        int32_t partitions, each, larger, first, count;

        memory_broker_topic_name(consumer->client->broker, consumer->topics[i], &partitions);
        each = partitions / members;
        larger = partitions % members;
        first = index * each + (index < larger ? index : larger);
        count = each + (index < larger ? 1 : 0);
        for (int32_t p = first; p < first + count; p++) {
            tally_assert(consumer->granted_count < ASSIGNED_MAX);
            consumer->granted[consumer->granted_count++] = (struct tally_topic_partition){
                    .topic = consumer->topics[i], .partition = p, .offset = TALLY_OFFSET_NONE};
        }
    }
}

static void revoke(struct memory_consumer *consumer, bool lost)
{
    consumer->lost = lost;
    memory_broker_happened(consumer->client->broker, &consumer->client->base,
            lost ? TALLY_MEMORY_LOST : TALLY_MEMORY_REVOKED);
    consumer->listener.revoked(consumer->listener.context, consumer->granted,
            consumer->granted_count, lost);
    tally_assert(consumer->assigned_count == 0);
    consumer->joined = false;
}

/* What the group asks of a consumer that has an assignment, as far as heartbeats have told it. */
static bool must_revoke(struct memory_consumer *consumer, bool *lost)
{
    int64_t now_ms = memory_broker_now(consumer->client->broker);
    bool current = memory_group_current(consumer->member, consumer->holder, consumer->generation);
    bool overdue = is_overdue(consumer);

    consumer->polled_ms = now_ms;
    *lost = overdue || !current;
    if (!overdue && now_ms < consumer->heartbeat_ms) {
        return false;
    }
    consumer->heartbeat_ms = now_ms + memory_broker_times(consumer->client->broker)->heartbeat_ms;
    return *lost || consumer->member->group->preparing;
}

/* A turn of the group protocol, as inside rd_kafka_consumer_poll. true: it had something to do. */
static bool rebalance(struct memory_consumer *consumer)
{
    struct tally_memory_broker *broker = consumer->client->broker;
    bool lost;

    if (consumer->joined) {
        if (!must_revoke(consumer, &lost)) {
            return false;
        }
        revoke(consumer, lost);
        if (!lost && !consumer->client->dead) {
            memory_group_join(broker, consumer->member);
        }
        return true;
    }
    if (consumer->topic_count == 0) {
        return false;
    }
    memory_group_join(broker, consumer->member);
    consumer->polled_ms = memory_broker_now(broker);
    if (!memory_group_assigned(consumer->member)) {
        return false;
    }
    consumer->generation = consumer->member->generation;
    consumer->joined = true;
    consumer->lost = false;
    grant(consumer);
    consumer->listener.assigned(consumer->listener.context, consumer->granted,
            consumer->granted_count);
    return true;
}

/* --- records ---------------------------------------------------------------------------------- */

static enum tally_code out_of_range(const struct assigned *assigned, struct tally_record *record,
        struct tally_error *err)
{
    int64_t low, high;

    memory_broker_watermarks(assigned->log, &low, &high);
    if (assigned->next >= low && assigned->next <= high) {
        return TALLY_OK;
    }
    record->topic = assigned->topic;
    record->partition = assigned->partition;
    return tally_error_set(err, assigned->next < low ? TALLY_INPUT_TRUNCATED : TALLY_INPUT_LOST,
            "offset %lld of %s/%d is outside %lld..%lld", (long long)assigned->next,
            assigned->topic, (int)assigned->partition, (long long)low, (long long)high);
}

/* The next record of the partitions, from the one whose turn it is. */
static enum tally_code take(struct memory_consumer *consumer, struct tally_record *record,
        struct tally_error *err)
{
    for (size_t i = 0; i < consumer->assigned_count; i++) {
        size_t index = (consumer->turn + i) % consumer->assigned_count;
        struct assigned *assigned = &consumer->assigned[index];
        struct tally_memory_record found;
        enum tally_code code;

        if (assigned->paused) {
            continue;
        }
        code = out_of_range(assigned, record, err);
        if (code) {
            return code;
        }
        assigned->polled = true;
        if (!memory_broker_next(consumer->client->broker, assigned->log, &assigned->next, &found)) {
            continue;
        }
        *record = (struct tally_record){.topic = assigned->topic,
                .partition = assigned->partition,
                .offset = found.offset,
                .timestamp_ms = found.timestamp_ms,
                .key = found.key,
                .value = found.value,
                .message = consumer /* there is one: to be released */};
        assigned->next = found.offset + 1;
        consumer->turn = index + 1;
        consumer->client->unreleased++;
        return TALLY_OK;
    }
    return TALLY_AGAIN;
}

static enum tally_code poll(struct tally_consumer *base, int timeout_ms,
        struct tally_record *record, struct tally_error *err)
{
    struct memory_consumer *consumer = consumer_of(base);
    struct memory_call call;

    (void)timeout_ms;
    *record = (struct tally_record){.topic = NULL};
    if (consumer->client->dead) {
        return TALLY_AGAIN;
    }
    call = memory_client_begin(consumer->client, TALLY_MEMORY_POLL);
    if (!call.effect || call.hit) { /* a poll that fails takes no record */
        enum tally_code code =
                memory_client_end(consumer->client, &call, TALLY_MEMORY_POLL, TALLY_AGAIN, err);

        return consumer->client->dead ? TALLY_AGAIN : code;
    }
    if (consumer->member && consumer->holder != consumer->member->holder) {
        return tally_error_set(err, TALLY_INSTANCE_FENCED, "another consumer uses the instance id");
    }
    if (consumer->member && rebalance(consumer)) {
        return TALLY_AGAIN;
    }
    return take(consumer, record, err);
}

static void release(struct tally_consumer *base, struct tally_record *record)
{
    (void)record;
    consumer_of(base)->client->unreleased--;
}

/* Found again by offset: a record carries no count of them. */
static size_t headers(struct tally_consumer *base, const struct tally_record *record,
        struct tally_header *to, size_t max)
{
    struct memory_consumer *consumer = consumer_of(base);
    struct memory_partition *log =
            memory_broker_find(consumer->client->broker, record->topic, record->partition);
    int64_t offset = record->offset;
    struct tally_memory_record found;

    tally_assert(memory_broker_next(consumer->client->broker, log, &offset, &found));
    tally_assert(offset == record->offset);
    for (size_t i = 0; i < found.header_count && i < max; i++) {
        to[i] = found.headers[i];
    }
    return found.header_count;
}

/* --- assignment ------------------------------------------------------------------------------- */

static struct assigned *find(struct memory_consumer *consumer, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < consumer->assigned_count; i++) {
        if (!strcmp(consumer->assigned[i].topic, topic) &&
                consumer->assigned[i].partition == partition) {
            return &consumer->assigned[i];
        }
    }
    return NULL;
}

static enum tally_code assign(struct tally_consumer *base,
        const struct tally_topic_partition *partitions, size_t count, struct tally_error *err)
{
    struct memory_consumer *consumer = consumer_of(base);
    struct tally_memory_broker *broker = consumer->client->broker;

    tally_assert(count <= ASSIGNED_MAX);
    consumer->assigned_count = 0;
    consumer->turn = 0;
    for (size_t i = 0; i < count; i++) {
        int32_t topic_partitions;
        struct assigned *assigned = &consumer->assigned[i];

        *assigned = (struct assigned){
                .topic = memory_broker_topic_name(broker, partitions[i].topic, &topic_partitions),
                .partition = partitions[i].partition,
                .log = memory_broker_find(broker, partitions[i].topic, partitions[i].partition),
                .next = partitions[i].offset};
        if (!assigned->log) {
            return tally_error_set(err, TALLY_TOPIC_CONFIG, "topic \"%s\" has no partition %d",
                    partitions[i].topic, (int)partitions[i].partition);
        }
        tally_assert(assigned->next >= 0);
        for (size_t other = 0; other < i; other++) { /* librdkafka takes no partition twice */
            tally_assert(consumer->assigned[other].log != assigned->log);
        }
    }
    consumer->assigned_count = count;
    return TALLY_OK;
}

static enum tally_code set_paused(struct memory_consumer *consumer,
        const struct tally_topic_partition *partitions, size_t count, bool paused,
        struct tally_error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct assigned *assigned = find(consumer, partitions[i].topic, partitions[i].partition);

        if (!assigned) {
            return tally_error_set(err, TALLY_ASSIGNMENT_LOST, "%s/%d is not assigned",
                    partitions[i].topic, (int)partitions[i].partition);
        }
        assigned->paused = paused;
    }
    return TALLY_OK;
}

static enum tally_code pause(struct tally_consumer *base,
        const struct tally_topic_partition *partitions, size_t count, struct tally_error *err)
{
    return set_paused(consumer_of(base), partitions, count, true, err);
}

static enum tally_code resume(struct tally_consumer *base,
        const struct tally_topic_partition *partitions, size_t count, struct tally_error *err)
{
    return set_paused(consumer_of(base), partitions, count, false, err);
}

static enum tally_code seek(struct tally_consumer *base,
        const struct tally_topic_partition *partitions, size_t count, int timeout_ms,
        struct tally_error *err)
{
    struct memory_consumer *consumer = consumer_of(base);
    struct memory_call call = memory_client_begin(consumer->client, TALLY_MEMORY_SEEK);
    enum tally_code code = TALLY_OK;

    (void)timeout_ms;
    for (size_t i = 0; !code && call.effect && i < count; i++) {
        struct assigned *assigned = find(consumer, partitions[i].topic, partitions[i].partition);

        tally_assert(partitions[i].offset >= 0);
        if (assigned) {
            assigned->next = partitions[i].offset;
            assigned->polled = false;
        } else {
            code = tally_error_set(err, TALLY_ASSIGNMENT_LOST, "%s/%d is not assigned",
                    partitions[i].topic, (int)partitions[i].partition);
        }
    }
    return memory_client_end(consumer->client, &call, TALLY_MEMORY_SEEK, code, err);
}

/* --- positions -------------------------------------------------------------------------------- */

static enum tally_code committed(struct tally_consumer *base,
        struct tally_topic_partition *partitions, size_t count, int timeout_ms,
        struct tally_error *err)
{
    struct memory_consumer *consumer = consumer_of(base);
    struct tally_memory_broker *broker = consumer->client->broker;
    struct memory_call call = memory_client_begin(consumer->client, TALLY_MEMORY_COMMITTED);
    enum tally_code code = TALLY_OK;

    (void)timeout_ms;
    tally_assert(consumer->member);
    for (size_t i = 0; i < count; i++) {
        struct tally_topic_partition *at = &partitions[i];

        at->code = TALLY_OK;
        at->offset = tally_memory_broker_committed(broker, consumer->member->group->name, at->topic,
                at->partition);
        if (memory_broker_pending(broker, consumer->member->group->name, at->topic,
                    at->partition)) {
            at->code = TALLY_TIMEOUT;
            code = tally_error_set(err, TALLY_TIMEOUT, "the offset of %s/%d is in a transaction",
                    at->topic, (int)at->partition);
        }
    }
    return memory_client_end(consumer->client, &call, TALLY_MEMORY_COMMITTED, code, err);
}

static int64_t position(struct tally_consumer *base, const char *topic, int32_t partition)
{
    struct memory_consumer *consumer = consumer_of(base);
    struct assigned *assigned = find(consumer, topic, partition);
    struct tally_memory_record found;

    if (!assigned || !assigned->polled) {
        return TALLY_OFFSET_NONE;
    }
    memory_broker_next(consumer->client->broker, assigned->log, &assigned->next, &found);
    return assigned->next;
}

static enum tally_code watermarks(struct tally_consumer *base, const char *topic, int32_t partition,
        int timeout_ms, int64_t *low, int64_t *high, struct tally_error *err)
{
    struct memory_consumer *consumer = consumer_of(base);
    struct memory_partition *log = memory_broker_find(consumer->client->broker, topic, partition);
    struct memory_call call = memory_client_begin(consumer->client, TALLY_MEMORY_WATERMARKS);
    enum tally_code code = TALLY_OK;

    (void)timeout_ms;
    if (log) {
        memory_broker_watermarks(log, low, high);
    } else {
        code = tally_error_set(err, TALLY_TOPIC_CONFIG, "topic \"%s\" has no partition %d", topic,
                (int)partition);
    }
    return memory_client_end(consumer->client, &call, TALLY_MEMORY_WATERMARKS, code, err);
}

static void ranges(struct tally_consumer *base, struct tally_range *asked, size_t count,
        int timeout_ms)
{
    struct tally_error err;

    for (size_t i = 0; i < count; i++) {
        asked[i].code = watermarks(base, asked[i].topic, asked[i].partition, timeout_ms,
                &asked[i].low, &asked[i].high, &err);
    }
}

static int64_t cached_high(struct tally_consumer *base, const char *topic, int32_t partition)
{
    struct assigned *assigned = find(consumer_of(base), topic, partition);
    int64_t low, high = TALLY_OFFSET_NONE;

    if (assigned && assigned->polled) {
        memory_broker_watermarks(assigned->log, &low, &high);
    }
    return high;
}

static bool assignment_lost(struct tally_consumer *consumer)
{
    return consumer_of(consumer)->lost;
}

static void destroy(struct tally_consumer *base)
{
    struct memory_consumer *consumer = consumer_of(base);

    if (consumer->joined && !consumer->client->dead) {
        revoke(consumer, false);
    }
    for (struct memory_consumer **at = &consumer->client->consumers; *at; at = &(*at)->next) {
        if (*at == consumer) {
            *at = consumer->next;
            break;
        }
    }
    tally_free(consumer);
}

static const struct tally_consumer_ops consumer_ops = {
        .subscribe = subscribe,
        .poll = poll,
        .release = release,
        .headers = headers,
        .assign = assign,
        .pause = pause,
        .resume = resume,
        .seek = seek,
        .committed = committed,
        .position = position,
        .watermarks = watermarks,
        .ranges = ranges,
        .cached_high = cached_high,
        .assignment_lost = assignment_lost,
        .destroy = destroy,
};

struct tally_consumer *memory_consumer_create(struct memory_client *client, const char *group,
        int thread, const struct tally_rebalance_listener *listener)
{
    struct memory_consumer *consumer = tally_alloc_zero(1, sizeof *consumer);

    consumer->base.ops = &consumer_ops;
    consumer->client = client;
    if (listener) {
        char *instance = tally_copy_format("%s-%d", client->instance_id, thread);
        char *name = memory_client_group(client, group);

        consumer->listener = *listener;
        consumer->member = memory_broker_member(client->broker, name, instance);
        consumer->holder = ++consumer->member->holder;
        consumer->next = client->consumers;
        client->consumers = consumer;
        tally_free(name);
        tally_free(instance);
    }
    return &consumer->base;
}
