/* connectors/kafka_consumer.c - group consumer (C) and restore consumer (R) on librdkafka.
 * Invariants
 *  (1) Records come through rd_kafka_consumer_poll only: consume_batch is wrong with seek, pause
 * and rebalance in 2.0.2. Rebalance callbacks run inside it, in the owner's thread. (2) After a
 * rebalance callback the assignment equals what was announced: a listener that did not assign is
 * assigned nothing (EAGER protocol). (3) Watermarks are asked on a read_uncommitted handle: a
 * read_committed one answers the last stable offset. (4) "No committed offset" is
 * TALLY_OFFSET_NONE, never 0. (5) A topic has one name pointer as long as the consumer lives. All
 * calls by the owning thread. Leaves out: any commit, as offsets
 * travel in transactions; but for what a sink tells its group. */
#include "connectors/kafka_internal.h"

#include <limits.h>
#include <time.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

enum {
    COMMITTED_SLICE_MS = 1000, /* of one rd_kafka_committed; it waits inside for the coordinator */
    CLOSE_SLICE_MS = 100,
    LEAVE_MS = 3000, /* then it is as if it had not left, and the session ends */
    SEEK_AGAIN_MS = 5,
    LOOKS = 16,            /* at the queue, while as much as fits into it is taken out */
    FENCED_ASKED_MAX = 10, /* each takes up to three seconds */
};

struct kafka_consumer {
    struct tally_consumer base;
    rd_kafka_t *rk;
    rd_kafka_t *watermarks; /* the client's */
    struct tally_rebalance_listener listener;
    bool member;                /* of the group, to be closed */
    bool closing;               /* takes no partitions any more */
    const atomic_bool *leaving; /* the client's; NULL: it never leaves */
    bool assigned;              /* the listener of the running callback has called assign */
    char *member_id;            /* of the last assignment */
    bool replaced;              /* another process has the name: it never joins again */
    bool holds;                 /* partitions were announced, and not taken back yet */
    bool fenced;                /* the handle is dead: the broker said that another has the name */
    int fenced_asked;
    rd_kafka_topic_partition_list_t *subscription;
    char **topics; /* names that records point to */
    size_t topic_count;
    rd_kafka_topic_t **known; /* topics that a reader of no group has been assigned */
    size_t known_count;
    int64_t queue_max; /* bytes of fetched records that librdkafka stops fetching at */
    struct {           /* since fetching was woken */
        int64_t bytes, records, look_at; /* taken; the next look is at so many bytes */
    } taken;
};

static struct kafka_consumer *self(struct tally_consumer *base)
{
    return (struct kafka_consumer *)base;
}

static int64_t now_ms(void)
{
    return tally_mono_ms(tally_clock_real());
}

static const char *intern(struct kafka_consumer *consumer, const char *topic)
{
    for (size_t i = 0; i < consumer->topic_count; i++) {
        if (strcmp(consumer->topics[i], topic) == 0) {
            return consumer->topics[i];
        }
    }
    consumer->topics =
            tally_realloc(consumer->topics, (consumer->topic_count + 1) * sizeof *consumer->topics);
    consumer->topics[consumer->topic_count] = tally_copy_string(topic);
    return consumer->topics[consumer->topic_count++];
}

static rd_kafka_topic_partition_list_t *list_of(const struct tally_topic_partition *partitions,
        size_t count, bool with_offsets)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);

    for (size_t i = 0; i < count; i++) {
        rd_kafka_topic_partition_t *item = rd_kafka_topic_partition_list_add(list,
                partitions[i].topic, partitions[i].partition);

        if (with_offsets) {
            tally_assert(partitions[i].offset >= 0);
            item->offset = partitions[i].offset;
        }
    }
    return list;
}

/* The first error that a call left beside one of its partitions. */
static enum tally_code first_error(const rd_kafka_topic_partition_list_t *list, const char *what,
        struct tally_error *err)
{
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *item = &list->elems[i];

        if (item->err) {
            return kafka_error_set(KAFKA_ROLE_CONSUMER, NULL, item->err, err, "could not %s %s/%d",
                    what, item->topic, (int)item->partition);
        }
    }
    return TALLY_OK;
}

/* --- rebalance --- */

static void forget_member(struct kafka_consumer *consumer)
{
    tally_free(consumer->member_id);
    consumer->member_id = NULL;
}

static void note_member(struct kafka_consumer *consumer)
{
    char *member_id = rd_kafka_memberid(consumer->rk);

    forget_member(consumer);
    if (member_id && *member_id) {
        consumer->member_id = tally_copy_string(member_id);
    }
    if (member_id) {
        rd_kafka_mem_free(consumer->rk, member_id);
    }
}

static void on_revoke(struct kafka_consumer *consumer,
        const struct tally_topic_partition *partitions, size_t count)
{
    bool lost = rd_kafka_assignment_lost(consumer->rk) != 0;

    /* Answering the revoke is what lets librdkafka join again. */
    consumer->replaced =
            lost && consumer->member_id && consumer->watermarks && !consumer->closing &&
            kafka_member_name(consumer->watermarks, consumer->rk, consumer->member_id) ==
                    KAFKA_NAME_TAKEN;
    consumer->holds = false;
    consumer->listener.revoked(consumer->listener.context, partitions, count, lost);
}

/* An assignment must be answered by a list, be it empty: after NULL librdkafka goes on waiting for
 * the answer, and never joins again. A revoke must be answered by NULL. */
static void answer_with_nothing(rd_kafka_t *rk, rd_kafka_resp_err_t kind)
{
    rd_kafka_topic_partition_list_t *none = NULL;

    if (kind == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        none = rd_kafka_topic_partition_list_new(0);
    }
    (void)rd_kafka_assign(rk, none);
    if (none) {
        rd_kafka_topic_partition_list_destroy(none);
    }
}

/* As the listener is told them. The caller frees them. */
static struct tally_topic_partition *announced(struct kafka_consumer *consumer,
        const rd_kafka_topic_partition_list_t *list, size_t count)
{
    struct tally_topic_partition *partitions = tally_alloc((count + 1) * sizeof *partitions);

    for (size_t i = 0; i < count; i++) {
        partitions[i] =
                (struct tally_topic_partition){.topic = intern(consumer, list->elems[i].topic),
                        .partition = list->elems[i].partition,
                        .offset = TALLY_OFFSET_NONE};
    }
    return partitions;
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t kind,
        rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct kafka_consumer *consumer = opaque;
    size_t count = (size_t)list->cnt;
    struct tally_topic_partition *partitions = announced(consumer, list, count);

    consumer->assigned = false;
    if (kind == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && consumer->closing) {
        tally_log(TALLY_LOG_DEBUG, "assignment comes too late");
    } else if (kind == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        note_member(consumer);
        consumer->holds = true;
        consumer->listener.assigned(consumer->listener.context, partitions, count);
    } else if (kind == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        on_revoke(consumer, partitions, count);
    } else {
        tally_log(TALLY_LOG_WARN, "rebalance failed",
                TALLY_LOG_STR("error", rd_kafka_err2str(kind)));
    }
    if (!consumer->assigned) { /* librdkafka waits for ever for the answer to a rebalance */
        answer_with_nothing(rk, kind);
    }
    tally_free(partitions);
    rd_kafka_yield(rk); /* or the poll would go on waiting for a record of paused partitions */
}

static enum tally_code consumer_subscribe(struct tally_consumer *base, const char *const *topics,
        size_t count, struct tally_error *err)
{
    struct kafka_consumer *consumer = self(base);
    rd_kafka_topic_partition_list_t *list = NULL;
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;

    if (count == 0) {
        error = rd_kafka_unsubscribe(consumer->rk);
    } else {
        list = rd_kafka_topic_partition_list_new((int)count);
        for (size_t i = 0; i < count; i++) {
            rd_kafka_topic_partition_list_add(list, topics[i], RD_KAFKA_PARTITION_UA);
        }
        error = rd_kafka_subscribe(consumer->rk, list);
        if (consumer->subscription) {
            rd_kafka_topic_partition_list_destroy(consumer->subscription);
        }
        consumer->subscription = list;
    }
    return error ? kafka_error_set(KAFKA_ROLE_CONSUMER, consumer->rk, error, err,
                           "could not subscribe")
                 : TALLY_OK;
}

static bool consumer_assignment_lost(struct tally_consumer *base)
{
    return rd_kafka_assignment_lost(self(base)->rk) != 0;
}

/* --- records --- */

/* Asks every leader for something, and does not wait for the answers. */
static void wake_fetchers(struct kafka_consumer *consumer)
{
    rd_kafka_topic_partition_list_t *list = NULL;

    (void)rd_kafka_assignment(consumer->rk, &list);
    for (int i = 0; list && i < list->cnt; i++) {
        list->elems[i].offset = RD_KAFKA_OFFSET_END;
    }
    if (list && list->cnt > 0) {
        (void)rd_kafka_offsets_for_times(consumer->rk, list, 0);
    }
    if (list) {
        rd_kafka_topic_partition_list_destroy(list);
    }
}

/* A thread of librdkafka that stopped fetching because enough was queued sleeps for up to a second,
 * however soon the queue is empty again, unless it has something to send. So it is given that when
 * half is gone; without it the queue would have to hold a second's records. */
static void keep_fetching(struct kafka_consumer *consumer, size_t bytes)
{
    rd_kafka_queue_t *queue;
    int64_t queued;

    consumer->taken.bytes += (int64_t)bytes;
    consumer->taken.records++;
    if (consumer->taken.bytes < consumer->taken.look_at) {
        return;
    }
    queue = rd_kafka_queue_get_consumer(consumer->rk);
    queued =
            (int64_t)rd_kafka_queue_length(queue) * consumer->taken.bytes / consumer->taken.records;
    rd_kafka_queue_destroy(queue);
    if (queued > consumer->queue_max / 2) {
        consumer->taken.look_at += consumer->queue_max / LOOKS;
        return;
    }
    wake_fetchers(consumer);
    consumer->taken.bytes = consumer->taken.records = 0;
    consumer->taken.look_at = consumer->queue_max / 2;
}

static enum tally_code name_taken(struct tally_error *err)
{
    return tally_error_set(err, TALLY_INSTANCE_FENCED,
            "another process has joined the group under this instance.id: stop one of them, or "
            "give each its own");
}

/* Takes back what the dead handle had been assigned. */
static void give_up(struct kafka_consumer *consumer)
{
    rd_kafka_topic_partition_list_t *list = NULL;
    struct tally_topic_partition *partitions;
    size_t count;

    if (!consumer->holds) {
        return;
    }
    consumer->holds = false;
    (void)rd_kafka_assignment(consumer->rk, &list);
    count = list ? (size_t)list->cnt : 0;
    partitions = announced(consumer, list, count);
    consumer->listener.revoked(consumer->listener.context, partitions, count, true);
    tally_free(partitions);
    if (list) {
        rd_kafka_topic_partition_list_destroy(list);
    }
}

/* A fatal error stays with its handle, so the group is joined through another one. */
static enum tally_code join_anew(struct kafka_consumer *consumer, struct tally_error *err)
{
    rd_kafka_t *rk;

    give_up(consumer);
    rk = kafka_config_open(KAFKA_KIND_CONSUMER, rd_kafka_conf_dup(rd_kafka_conf(consumer->rk)),
            err);
    if (!rk) {
        return err->code;
    }
    forget_member(consumer);
    (void)kafka_reaper_destroy(consumer->rk, KAFKA_REAP_MS);
    consumer->rk = rk;
    consumer->fenced = false;
    consumer->fenced_asked = 0;
    (void)rd_kafka_poll_set_consumer(rk);
    (void)rd_kafka_subscribe(rk, consumer->subscription);
    tally_log(TALLY_LOG_WARN, "joining the group anew: its session had ended, and nobody else has "
                              "this instance.id");
    return TALLY_AGAIN;
}

/* librdkafka 2.0.2 forgets its member id when its session ends, and goes on with heartbeats until
 * the revoke is answered (librdkafka#3437). A broker that knows the id still takes that for
 * a second process with the same name. So the group is asked whether there is one. */
static enum tally_code fenced(struct kafka_consumer *consumer, struct tally_error *err)
{
    enum kafka_name name = KAFKA_NAME_TAKEN;

    if (consumer->member_id && consumer->watermarks && !consumer->replaced) {
        name = kafka_member_name(consumer->watermarks, consumer->rk, consumer->member_id);
    }
    if (name == KAFKA_NAME_OURS) {
        return join_anew(consumer, err);
    }
    if (name == KAFKA_NAME_UNKNOWN && ++consumer->fenced_asked < FENCED_ASKED_MAX) {
        return TALLY_AGAIN;
    }
    return name_taken(err);
}

static enum tally_code poll_error(struct kafka_consumer *consumer,
        const rd_kafka_message_t *message, struct tally_record *record, struct tally_error *err)
{
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        return TALLY_AGAIN;
    }
    if (!message->rkt) {
        enum tally_code code = kafka_error_set(KAFKA_ROLE_CONSUMER, consumer->rk, message->err, err,
                "consumer: %.90s", message->payload ? rd_kafka_message_errstr(message) : "failed");

        consumer->fenced = code == TALLY_INSTANCE_FENCED;
        return consumer->fenced ? fenced(consumer, err) : code;
    }
    record->topic = intern(consumer, rd_kafka_topic_name(message->rkt));
    record->partition = message->partition;
    record->offset = message->offset;
    return kafka_error_set(KAFKA_ROLE_CONSUMER, consumer->rk, message->err, err,
            "%.60s/%d@%lld cannot be read%s", record->topic, (int)message->partition,
            (long long)message->offset,
            message->err == RD_KAFKA_RESP_ERR__BAD_COMPRESSION
                    ? " (more than receive.message.max.bytes?)"
                    : "");
}

static enum tally_code consumer_poll(struct tally_consumer *base, int timeout_ms,
        struct tally_record *record, struct tally_error *err)
{
    struct kafka_consumer *consumer = self(base);
    bool dead = consumer->replaced || consumer->fenced;
    rd_kafka_message_t *message = dead ? NULL : rd_kafka_consumer_poll(consumer->rk, timeout_ms);
    enum tally_code code = TALLY_AGAIN;

    *record = (struct tally_record){.partition = -1, .offset = TALLY_OFFSET_NONE};
    if (consumer->fenced) {
        return fenced(consumer, err);
    }
    if (consumer->replaced) {
        if (message) {
            rd_kafka_message_destroy(message);
        }
        return name_taken(err);
    }
    if (!message) {
        return TALLY_AGAIN;
    }
    if (message->err) {
        code = poll_error(consumer, message, record, err);
        rd_kafka_message_destroy(message);
        return code;
    }
    kafka_record_fill(record, message, intern(consumer, rd_kafka_topic_name(message->rkt)));
    record->message = message;
    keep_fetching(consumer, message->len);
    return TALLY_OK;
}

static void consumer_release(struct tally_consumer *base, struct tally_record *record)
{
    (void)base;
    if (record->message) {
        rd_kafka_message_destroy(record->message);
        record->message = NULL;
    }
}

static size_t consumer_headers(struct tally_consumer *base, const struct tally_record *record,
        struct tally_header *headers, size_t max)
{
    (void)base;
    return kafka_record_headers(record->message, headers, max);
}

/* --- assignment, pause, seek --- */

/* A group's consumer looks for its topics when it subscribes; one assigned by hand would look for
 * a new one only at the next scan, a second later. */
static void look_for(struct kafka_consumer *consumer, const char *topic)
{
    rd_kafka_topic_t *handle = NULL;

    for (size_t i = 0; i < consumer->known_count; i++) {
        if (strcmp(rd_kafka_topic_name(consumer->known[i]), topic) == 0) {
            return;
        }
    }
    handle = rd_kafka_topic_new(consumer->rk, topic, NULL);
    if (!handle) {
        return;
    }
    kafka_topics_resolve(consumer->rk, handle);
    consumer->known =
            tally_realloc(consumer->known, (consumer->known_count + 1) * sizeof *consumer->known);
    consumer->known[consumer->known_count++] = handle;
}

static enum tally_code consumer_assign(struct tally_consumer *base,
        const struct tally_topic_partition *partitions, size_t count, struct tally_error *err)
{
    struct kafka_consumer *consumer = self(base);
    rd_kafka_topic_partition_list_t *list = partitions ? list_of(partitions, count, true) : NULL;
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;

    for (size_t i = 0; !consumer->member && i < count; i++) {
        look_for(consumer, partitions[i].topic);
    }
    consumer->assigned = true;
    if (!consumer->replaced) {
        error = rd_kafka_assign(consumer->rk, list);
    }
    if (list) {
        rd_kafka_topic_partition_list_destroy(list);
    }
    return error ? kafka_error_set(KAFKA_ROLE_CONSUMER, consumer->rk, error, err,
                           "could not assign %zu partitions", count)
                 : TALLY_OK;
}

static enum tally_code pause_or_resume(struct kafka_consumer *consumer, bool pause,
        const struct tally_topic_partition *partitions, size_t count, struct tally_error *err)
{
    rd_kafka_topic_partition_list_t *list = list_of(partitions, count, false);
    rd_kafka_resp_err_t error = pause ? rd_kafka_pause_partitions(consumer->rk, list)
                                      : rd_kafka_resume_partitions(consumer->rk, list);
    const char *what = pause ? "pause" : "resume";
    enum tally_code code = error ? kafka_error_set(KAFKA_ROLE_CONSUMER, consumer->rk, error, err,
                                           "could not %s", what)
                                 : first_error(list, what, err);

    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

static enum tally_code consumer_pause(struct tally_consumer *base,
        const struct tally_topic_partition *partitions, size_t count, struct tally_error *err)
{
    return pause_or_resume(self(base), true, partitions, count, err);
}

static enum tally_code consumer_resume(struct tally_consumer *base,
        const struct tally_topic_partition *partitions, size_t count, struct tally_error *err)
{
    return pause_or_resume(self(base), false, partitions, count, err);
}

/* A partition that was assigned a moment ago has no fetcher yet, and nothing tells when it has. */
static bool too_early(const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        if (list->elems[i].err == RD_KAFKA_RESP_ERR__STATE ||
                list->elems[i].err == RD_KAFKA_RESP_ERR__PREV_IN_PROGRESS) {
            return true;
        }
    }
    return false;
}

static enum tally_code consumer_seek(struct tally_consumer *base,
        const struct tally_topic_partition *partitions, size_t count, int timeout_ms,
        struct tally_error *err)
{
    struct kafka_consumer *consumer = self(base);
    rd_kafka_topic_partition_list_t *list = list_of(partitions, count, true);
    int64_t deadline_ms = now_ms() + timeout_ms;
    enum tally_code code = TALLY_OK;

    if (count == 0) {
        goto out;
    }
    for (;;) {
        int64_t left_ms = deadline_ms - now_ms();
        struct timespec pause = {.tv_nsec = SEEK_AGAIN_MS * 1000000L};
        rd_kafka_error_t *error = NULL;

        if (left_ms <= 0) {
            code = tally_error_set(err, TALLY_TIMEOUT, "could not seek in time");
            goto out;
        }
        left_ms = left_ms > INT_MAX / 1000 ? INT_MAX / 1000 : left_ms;
        /* librdkafka#4230: what it takes for milliseconds are microseconds. */
        error = rd_kafka_seek_partitions(consumer->rk, list, (int)left_ms * 1000);
        if (error) {
            bool late = rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__TIMED_OUT;

            code = kafka_error_take(KAFKA_ROLE_CONSUMER, error, err, "could not seek");
            code = late ? TALLY_TIMEOUT : code;
            goto out;
        }
        if (!too_early(list)) {
            break;
        }
        (void)nanosleep(&pause, NULL);
    }
    code = first_error(list, "seek", err);
out:
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

/* --- offsets --- */

static enum tally_code consumer_committed(struct tally_consumer *base,
        struct tally_topic_partition *partitions, size_t count, int timeout_ms,
        struct tally_error *err)
{
    struct kafka_consumer *consumer = self(base);
    rd_kafka_topic_partition_list_t *list = list_of(partitions, count, false);
    int64_t deadline_ms = now_ms() + timeout_ms;
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__TIMED_OUT;
    enum tally_code code = TALLY_OK;

    do {
        int64_t left_ms = deadline_ms - now_ms();

        left_ms = left_ms < 0 ? 0 : left_ms > COMMITTED_SLICE_MS ? COMMITTED_SLICE_MS : left_ms;
        error = rd_kafka_committed(consumer->rk, list, (int)left_ms);
    } while (error == RD_KAFKA_RESP_ERR__TIMED_OUT && now_ms() < deadline_ms);
    if (error) {
        code = kafka_error_set(KAFKA_ROLE_CONSUMER, consumer->rk, error, err,
                "could not read committed offsets");
    }
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_topic_partition_t *item = rd_kafka_topic_partition_list_find(list,
                partitions[i].topic, partitions[i].partition);

        partitions[i].offset = item && item->offset >= 0 ? item->offset : TALLY_OFFSET_NONE;
        partitions[i].code = code;
        if (!code && item && item->err) {
            partitions[i].offset = TALLY_OFFSET_NONE;
            partitions[i].code = kafka_error_set(KAFKA_ROLE_CONSUMER, consumer->rk, item->err, err,
                    "could not read the committed offset of %s/%d", item->topic,
                    (int)item->partition);
        }
    }
    for (size_t i = 0; i < count && !code; i++) {
        code = partitions[i].code;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

static int64_t consumer_position(struct tally_consumer *base, const char *topic, int32_t partition)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *item = rd_kafka_topic_partition_list_add(list, topic, partition);
    int64_t offset = TALLY_OFFSET_NONE;

    if (rd_kafka_position(self(base)->rk, list) == RD_KAFKA_RESP_ERR_NO_ERROR &&
            item->offset >= 0) {
        offset = item->offset;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return offset;
}

static enum tally_code consumer_watermarks(struct tally_consumer *base, const char *topic,
        int32_t partition, int timeout_ms, int64_t *low, int64_t *high, struct tally_error *err)
{
    rd_kafka_t *rk = self(base)->watermarks;
    rd_kafka_resp_err_t error =
            rd_kafka_query_watermark_offsets(rk, topic, partition, low, high, timeout_ms);

    return error ? kafka_error_set(KAFKA_ROLE_CONSUMER, rk, error, err,
                           "could not read the offset range of %s/%d", topic, (int)partition)
                 : TALLY_OK;
}

static void consumer_ranges(struct tally_consumer *base, struct tally_range *ranges, size_t count,
        int timeout_ms)
{
    kafka_ranges_ask(self(base)->watermarks, ranges, count, timeout_ms);
}

static int64_t consumer_cached_high(struct tally_consumer *base, const char *topic,
        int32_t partition)
{
    int64_t low = TALLY_OFFSET_NONE, high = TALLY_OFFSET_NONE;

    if (rd_kafka_get_watermark_offsets(self(base)->rk, topic, partition, &low, &high) || high < 0) {
        return TALLY_OFFSET_NONE;
    }
    return high;
}

/* --- life --- */

/* Lets the listener give up its partitions; a static member does not leave the group. What comes is
 * taken as events: rd_kafka_queue_poll_callback asserts when a record is among it. */
static void close_member(struct kafka_consumer *consumer)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer->rk);
    rd_kafka_error_t *error = NULL;
    int64_t waited_ms = 0;

    consumer->closing = true;
    error = rd_kafka_consumer_close_queue(consumer->rk, queue);
    if (error) { /* a fatal one: there is nothing left to close */
        rd_kafka_error_destroy(error);
        rd_kafka_queue_destroy(queue);
        return;
    }
    if (consumer->replaced) { /* the answer that was held back; it does not join any more */
        (void)rd_kafka_assign(consumer->rk, NULL);
    }
    while (!rd_kafka_consumer_closed(consumer->rk) && waited_ms < KAFKA_REAP_MS) {
        int64_t start_ms = now_ms();
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, CLOSE_SLICE_MS);

        waited_ms += now_ms() - start_ms; /* not the time that the listener takes */
        if (event && rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE) {
            on_rebalance(consumer->rk, rd_kafka_event_error(event),
                    rd_kafka_event_topic_partition_list(event), consumer);
        }
        if (event) {
            rd_kafka_event_destroy(event);
        }
    }
    rd_kafka_queue_destroy(queue);
}

/* librdkafka forgets the id of a member once its request to leave is out. */
static bool is_member(rd_kafka_t *rk)
{
    char *id = rd_kafka_memberid(rk);
    bool is = id && *id;

    if (id) {
        rd_kafka_mem_free(rk, id);
    }
    return is;
}

/* A static member that closes stays in its group, KIP-345; one that unsubscribes does not. Whatever
 * comes meanwhile is a revoke for the listener, or records that nobody wants any more. */
static void leave_group(struct kafka_consumer *consumer)
{
    int64_t end_ms = now_ms() + LEAVE_MS;

    consumer->closing = true;
    if (rd_kafka_unsubscribe(consumer->rk)) {
        return;
    }
    while (is_member(consumer->rk) && now_ms() < end_ms) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer->rk, CLOSE_SLICE_MS);

        if (message) {
            rd_kafka_message_destroy(message);
        }
    }
}

static void consumer_destroy(struct tally_consumer *base)
{
    struct kafka_consumer *consumer = self(base);

    if (!base) {
        return;
    }
    if (consumer->member) {
        if (consumer->leaving && atomic_load(consumer->leaving) && !consumer->replaced &&
                !consumer->fenced) {
            leave_group(consumer);
        }
        close_member(consumer);
    } else {
        (void)rd_kafka_assign(consumer->rk, NULL);
    }
    for (size_t i = 0; i < consumer->known_count; i++) {
        rd_kafka_topic_destroy(consumer->known[i]);
    }
    tally_free(consumer->known);
    forget_member(consumer);
    if (consumer->subscription) {
        rd_kafka_topic_partition_list_destroy(consumer->subscription);
    }
    (void)kafka_reaper_destroy(consumer->rk, KAFKA_REAP_MS);
    for (size_t i = 0; i < consumer->topic_count; i++) {
        tally_free(consumer->topics[i]);
    }
    tally_free(consumer->topics);
    tally_free(consumer);
}

static const struct tally_consumer_ops ops = {
        .subscribe = consumer_subscribe,
        .poll = consumer_poll,
        .release = consumer_release,
        .headers = consumer_headers,
        .assign = consumer_assign,
        .pause = consumer_pause,
        .resume = consumer_resume,
        .seek = consumer_seek,
        .committed = consumer_committed,
        .position = consumer_position,
        .watermarks = consumer_watermarks,
        .ranges = consumer_ranges,
        .cached_high = consumer_cached_high,
        .assignment_lost = consumer_assignment_lost,
        .destroy = consumer_destroy,
};

rd_kafka_t *kafka_consumer_handle(struct tally_consumer *consumer)
{
    tally_assert(consumer->ops == &ops);
    return self(consumer)->rk;
}

void tally_kafka_consumer_tell(struct tally_consumer *base,
        const struct tally_topic_partition *offsets, size_t count)
{
    rd_kafka_topic_partition_list_t *list = NULL;

    if (base->ops != &ops || self(base)->replaced || self(base)->fenced) {
        return;
    }
    list = list_of(offsets, count, true);
    (void)rd_kafka_commit(self(base)->rk, list, 1);
    rd_kafka_topic_partition_list_destroy(list);
}

struct tally_consumer *kafka_consumer_create(enum kafka_kind kind,
        const struct kafka_options *options, const struct tally_rebalance_listener *listener,
        rd_kafka_t *watermarks, struct tally_error *err)
{
    rd_kafka_conf_t *conf = kafka_config_create(kind, options, err);
    struct kafka_consumer *consumer = NULL;

    if (!conf) {
        return NULL;
    }
    consumer = tally_alloc_zero(1, sizeof *consumer);
    consumer->base.ops = &ops;
    consumer->watermarks = watermarks;
    consumer->leaving = options->leaving;
    consumer->queue_max = kafka_config_int(conf, "queued.max.messages.kbytes") * 1024;
    consumer->taken.look_at = consumer->queue_max / 2;
    rd_kafka_conf_set_opaque(conf, consumer);
    if (listener) {
        consumer->listener = *listener;
        consumer->member = true;
        rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    }
    consumer->rk = kafka_config_open(kind, conf, err);
    if (!consumer->rk) {
        tally_free(consumer);
        return NULL;
    }
    (void)rd_kafka_poll_set_consumer(consumer->rk);
    return &consumer->base;
}
