/* connectors/kafka_sender.c - records outside any transaction: replies and published commands.
 * Invariants
 *  (1) Nobody waits for a reply: a bounded queue takes it or it is dropped and counted.
 *  (2) A publish ends with its acknowledgement, its refusal, or "unknown" after the timeout; a
 *      report that comes later finds an abandoned wait and frees it.
 *  (3) A topic that does not exist is never made.
 *  (4) A handle that failed for good is replaced by a new one; it is destroyed when its last user
 *      has let go.
 * Threads: kafka-replies resolves topics and produces replies, kafka-sender serves reports. */
#include "connectors/kafka_internal.h"

#include <stdatomic.h>

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "engine/base/queue.h"

enum {
    REPLIES_MAX = 10000,
    REPLY_LOOKUP_MS = 2000,
    POLL_MS = 1000,  /* of the report thread: how late it sees that it shall end */
    FLUSH_MS = 2000, /* for what is queued when the client ends */
    PURGE_MS = 500,
};

struct handle {
    rd_kafka_t *rk;
    unsigned users;            /* sender.mutex, as the rest */
    rd_kafka_topic_t **topics; /* resolved: see kafka_topics_resolve */
    size_t topic_count;
};

struct kafka_sender {
    struct kafka_options options;
    struct kafka_topics *topics;
    struct tally_mutex mutex;
    struct handle *handle; /* counts as one user */
    struct tally_queue *replies;
    struct tally_thread reply_thread, report_thread;
    struct tally_series *sent, *dropped;
    atomic_bool stop;
};

/* One allocation: this, then topic, key, value, header names and values, headers. */
struct reply {
    char *topic;
    int32_t partition;
    struct tally_slice key, value;
    struct tally_header *headers;
    size_t count;
};

/* Shared by the publishing thread and the report. */
struct wait {
    struct tally_mutex mutex;
    struct tally_cond done_cond;
    bool done, abandoned;
    rd_kafka_resp_err_t error;
    int32_t partition;
    int64_t offset;
};

/* --- the handle --- */

static void wait_free(struct wait *wait)
{
    tally_cond_deinit(&wait->done_cond);
    tally_mutex_deinit(&wait->mutex);
    tally_free(wait);
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct kafka_sender *sender = opaque;
    struct wait *wait = message->_private;
    bool abandoned = false;

    (void)rk;
    if (!wait) {
        tally_series_add(message->err ? sender->dropped : sender->sent, 1);
        return;
    }
    tally_mutex_lock(&wait->mutex);
    wait->done = true;
    wait->error = message->err;
    wait->partition = message->partition;
    wait->offset = message->offset;
    abandoned = wait->abandoned;
    tally_cond_signal(&wait->done_cond);
    tally_mutex_unlock(&wait->mutex);
    if (abandoned) {
        wait_free(wait);
    }
}

static struct handle *handle_create(struct kafka_sender *sender, struct tally_error *err)
{
    rd_kafka_conf_t *conf = kafka_config_create(KAFKA_KIND_SENDER, &sender->options, err);
    struct handle *handle = NULL;
    rd_kafka_t *rk = NULL;

    if (!conf) {
        return NULL;
    }
    rd_kafka_conf_set_opaque(conf, sender);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rk = kafka_config_open(KAFKA_KIND_SENDER, conf, err);
    if (!rk) {
        return NULL;
    }
    handle = tally_alloc_zero(1, sizeof *handle);
    handle->rk = rk;
    handle->users = 1;
    return handle;
}

static struct handle *handle_acquire(struct kafka_sender *sender)
{
    struct handle *handle = NULL;

    tally_mutex_lock(&sender->mutex);
    handle = sender->handle;
    handle->users++;
    tally_mutex_unlock(&sender->mutex);
    return handle;
}

static void handle_release(struct kafka_sender *sender, struct handle *handle)
{
    bool last = false;

    tally_mutex_lock(&sender->mutex);
    last = --handle->users == 0;
    tally_mutex_unlock(&sender->mutex);
    if (!last) {
        return;
    }
    (void)rd_kafka_purge(handle->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    (void)rd_kafka_flush(handle->rk, PURGE_MS); /* reports of what was purged: frees their waits */
    for (size_t i = 0; i < handle->topic_count; i++) {
        rd_kafka_topic_destroy(handle->topics[i]);
    }
    (void)kafka_reaper_destroy(handle->rk, KAFKA_REAP_MS);
    tally_free(handle->topics);
    tally_free(handle);
}

/* An idempotent producer may fail for good too, for instance after a gap in its sequence. */
static void replace_if_failed(struct kafka_sender *sender, struct handle *failed)
{
    char cause[160] = "";
    struct tally_error err = {.code = TALLY_OK};
    struct handle *fresh = NULL;

    if (!rd_kafka_fatal_error(failed->rk, cause, sizeof cause)) {
        return;
    }
    tally_log(TALLY_LOG_WARN, "sender replaced", TALLY_LOG_STR("cause", cause));
    fresh = handle_create(sender, &err);
    tally_assert(fresh != NULL); /* the same conf made the first one */
    tally_mutex_lock(&sender->mutex);
    sender->handle = fresh;
    tally_mutex_unlock(&sender->mutex);
    handle_release(sender, failed); /* the sender's own use */
}

static void report_run(void *argument)
{
    struct kafka_sender *sender = argument;

    while (!atomic_load(&sender->stop)) {
        struct handle *handle = handle_acquire(sender);

        (void)rd_kafka_poll(handle->rk, POLL_MS);
        replace_if_failed(sender, handle);
        handle_release(sender, handle);
    }
}

static bool is_resolved(const struct handle *handle, const char *topic)
{
    for (size_t i = 0; i < handle->topic_count; i++) {
        if (strcmp(rd_kafka_topic_name(handle->topics[i]), topic) == 0) {
            return true;
        }
    }
    return false;
}

/* Two threads may resolve the same topic at once; librdkafka has it once all the same. */
static void resolve(struct kafka_sender *sender, struct handle *handle, const char *name)
{
    rd_kafka_topic_t *topic = NULL;
    bool known = false;

    tally_mutex_lock(&sender->mutex);
    known = is_resolved(handle, name);
    tally_mutex_unlock(&sender->mutex);
    topic = known ? NULL : rd_kafka_topic_new(handle->rk, name, NULL);
    if (!topic) {
        return;
    }
    kafka_topics_resolve(handle->rk, topic);
    tally_mutex_lock(&sender->mutex);
    handle->topics =
            tally_realloc(handle->topics, (handle->topic_count + 1) * sizeof(rd_kafka_topic_t *));
    handle->topics[handle->topic_count++] = topic;
    tally_mutex_unlock(&sender->mutex);
}

static rd_kafka_resp_err_t produce(rd_kafka_t *rk, const char *topic, int32_t partition,
        struct tally_slice key, struct tally_slice value, const struct tally_header *headers,
        size_t count, void *opaque)
{
    rd_kafka_headers_t *list = kafka_record_headers_create(headers, count);
    rd_kafka_resp_err_t error =
            rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
                    RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key.data, key.len),
                    RD_KAFKA_V_VALUE((void *)(uintptr_t)value.data, value.len),
                    RD_KAFKA_V_HEADERS(list), RD_KAFKA_V_OPAQUE(opaque), RD_KAFKA_V_END);

    if (error && list) {
        rd_kafka_headers_destroy(list);
    }
    return error;
}

/* --- replies --- */

static struct tally_slice place(uint8_t **at, struct tally_slice bytes)
{
    struct tally_slice copy = {NULL, 0};

    if (bytes.data) {
        copy = tally_slice_of(*at, bytes.len);
        memcpy(*at, bytes.data, bytes.len);
        *at += bytes.len;
    }
    return copy;
}

static struct reply *reply_copy(const char *topic, int32_t partition, struct tally_slice key,
        struct tally_slice value, const struct tally_header *headers, size_t count)
{
    size_t topic_size = strlen(topic) + 1;
    size_t size = sizeof(struct reply) + count * sizeof *headers + topic_size + key.len + value.len;
    struct reply *reply = NULL;
    uint8_t *at = NULL;

    for (size_t i = 0; i < count; i++) {
        size += headers[i].name.len + headers[i].value.len;
    }
    reply = tally_alloc(size);
    reply->headers = (struct tally_header *)(reply + 1);
    at = (uint8_t *)(reply->headers + count);
    reply->topic = (char *)at;
    (void)place(&at, tally_slice_of(topic, topic_size));
    reply->partition = partition;
    reply->key = place(&at, key);
    reply->value = place(&at, value);
    reply->count = count;
    for (size_t i = 0; i < count; i++) {
        reply->headers[i].name = place(&at, headers[i].name);
        reply->headers[i].value = place(&at, headers[i].value);
    }
    return reply;
}

bool kafka_sender_reply(struct kafka_sender *sender, const char *topic, int32_t partition,
        struct tally_slice key, struct tally_slice value, const struct tally_header *headers,
        size_t count)
{
    struct reply *reply = reply_copy(topic, partition, key, value, headers, count);

    if (!tally_queue_push(sender->replies, reply)) {
        tally_free(reply);
        tally_series_add(sender->dropped, 1);
        return false;
    }
    return true;
}

static void send_reply(struct kafka_sender *sender, const struct reply *reply)
{
    static struct tally_log_limit limit;
    struct tally_error err = {.code = TALLY_OK};
    int32_t partitions = 0;
    struct handle *handle = NULL;
    int lookup_ms = atomic_load(&sender->stop) ? 0 : REPLY_LOOKUP_MS; /* the end asks nobody */
    enum tally_code code =
            kafka_topics_find(sender->topics, reply->topic, lookup_ms, &partitions, &err);

    if (!code && reply->partition >= partitions) {
        code = tally_error_set(&err, TALLY_NOT_FOUND, "reply topic %.80s has no partition %d",
                reply->topic, (int)reply->partition);
    }
    if (!code) {
        rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;

        handle = handle_acquire(sender);
        resolve(sender, handle, reply->topic);
        error = produce(handle->rk, reply->topic,
                reply->partition < 0 ? RD_KAFKA_PARTITION_UA : reply->partition, reply->key,
                reply->value, reply->headers, reply->count, NULL);
        code = error ? kafka_error_set(KAFKA_ROLE_QUERY, handle->rk, error, &err,
                               "could not send a reply to %.80s", reply->topic)
                     : TALLY_OK;
        handle_release(sender, handle);
    }
    if (code) {
        tally_series_add(sender->dropped, 1);
        if (tally_log_allowed(&limit, 60000)) {
            tally_log_error(TALLY_LOG_INFO, "reply dropped", &err);
        }
    }
}

static void reply_run(void *argument)
{
    struct kafka_sender *sender = argument;

    for (;;) {
        struct reply *reply = tally_queue_pop(sender->replies, 60000);

        if (reply) {
            send_reply(sender, reply);
            tally_free(reply);
        } else if (atomic_load(&sender->stop)) {
            return;
        }
    }
}

/* --- published commands --- */

static enum tally_code published(const struct wait *wait, const char *topic, int32_t *partition,
        int64_t *offset, struct tally_error *err)
{
    if (wait->error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        *partition = wait->partition;
        *offset = wait->offset;
        return TALLY_OK;
    }
    if (wait->error == RD_KAFKA_RESP_ERR__MSG_TIMED_OUT) {
        return tally_error_set(err, TALLY_UNAVAILABLE,
                "no broker acknowledged the record for %.80s in time, its effect is unknown",
                topic);
    }
    return kafka_error_set(KAFKA_ROLE_QUERY, NULL, wait->error, err,
            "record for %.80s was not written", topic);
}

enum tally_code kafka_sender_publish(struct kafka_sender *sender, const char *topic,
        struct tally_slice key, struct tally_slice value, const struct tally_header *headers,
        size_t count, int timeout_ms, int32_t *partition, int64_t *offset, struct tally_error *err)
{
    int64_t deadline_ms = tally_mono_ms(tally_clock_real()) + timeout_ms;
    int32_t partitions = 0;
    struct wait *wait = NULL;
    struct handle *handle = NULL;
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
    enum tally_code code = kafka_topics_find(sender->topics, topic, timeout_ms, &partitions, err);
    bool done = false;

    if (code) {
        return code;
    }
    wait = tally_alloc_zero(1, sizeof *wait);
    tally_mutex_init(&wait->mutex, TALLY_LOCK_CONNECTOR);
    tally_cond_init(&wait->done_cond);
    handle = handle_acquire(sender);
    resolve(sender, handle, topic);
    error = produce(handle->rk, topic, RD_KAFKA_PARTITION_UA, key, value, headers, count, wait);
    if (error) {
        wait_free(wait);
        code = kafka_error_set(KAFKA_ROLE_QUERY, handle->rk, error, err,
                "could not send a record to %.80s", topic);
        handle_release(sender, handle);
        return code;
    }
    handle_release(sender, handle);

    tally_mutex_lock(&wait->mutex);
    for (;;) {
        int64_t left_ms = deadline_ms - tally_mono_ms(tally_clock_real());

        done = wait->done;
        if (done || left_ms <= 0) {
            break;
        }
        (void)tally_cond_wait(&wait->done_cond, &wait->mutex, left_ms);
    }
    wait->abandoned = !done;
    tally_mutex_unlock(&wait->mutex);
    if (!done) { /* the report frees it */
        return tally_error_set(err, TALLY_UNAVAILABLE,
                "no broker acknowledged the record for %.80s in time, its effect is unknown",
                topic);
    }
    code = published(wait, topic, partition, offset, err);
    wait_free(wait);
    return code;
}

/* --- life --- */

struct kafka_sender *kafka_sender_create(const struct kafka_options *options,
        struct kafka_topics *topics, struct tally_error *err)
{
    struct kafka_sender *sender = tally_alloc_zero(1, sizeof *sender);

    sender->options = *options;
    sender->topics = topics;
    sender->handle = handle_create(sender, err);
    if (!sender->handle) {
        tally_free(sender);
        return NULL;
    }
    tally_mutex_init(&sender->mutex, TALLY_LOCK_REPLIES);
    sender->replies = tally_queue_create(REPLIES_MAX);
    sender->sent = tally_series_of(TALLY_METRIC_REPLIES, "sent");
    sender->dropped = tally_series_of(TALLY_METRIC_REPLIES, "dropped");
    atomic_init(&sender->stop, false);
    tally_thread_start(&sender->reply_thread, "kafka-replies", reply_run, sender);
    tally_thread_start(&sender->report_thread, "kafka-sender", report_run, sender);
    return sender;
}

void kafka_sender_destroy(struct kafka_sender *sender)
{
    if (!sender) {
        return;
    }
    atomic_store(&sender->stop, true);
    tally_queue_close(sender->replies); /* what is in it is still sent */
    tally_thread_join(&sender->reply_thread);
    tally_thread_join(&sender->report_thread);
    (void)rd_kafka_flush(sender->handle->rk, FLUSH_MS);
    handle_release(sender, sender->handle);
    tally_queue_destroy(sender->replies);
    tally_mutex_deinit(&sender->mutex);
    tally_free(sender);
}
