/* connectors/kafka_producer.c - transactional producer (P) on librdkafka.
 *
 *   IDLE --[begin]--> OPEN --[commit OK | abort]--> IDLE     after a failed commit: destroy
 *
 * Invariants
 *  (1) commit answers TALLY_OK only when the transaction is committed, and TXN_ABORTED only when no
 *      EndTxn can have been sent: records failed before it. All else final is COMMIT_UNKNOWN or
 *      worse.
 *  (2) A delivery report writes into its tally_delivery and latches the first error, nothing else.
 *  (3) Tainted (KIP-890): inside the transaction a call timed out or asked to be repeated, a
 *      delivery failed, a connection broke, or it was aborted. A request may then still be on its
 *      way, and no next transaction of this producer would be safe from it. The engine replaces it.
 *  (4) Records of one partition stay in order: a run without headers is one batch, and a record
 *      that is not taken ends the call.
 *  (5) A flush begins when no full batch is on its way or due. librdkafka sends the batches of
 *      a partition one after the other, and while it flushes its thread turns around until the
 *      one before is acknowledged. So that is waited for first, asleep.
 * All calls by the owning thread, but for send_offsets of librdkafka, see kafka_offsets.c; the
 * callbacks of sockets and requests, in librdkafka's threads, add to an atomic and tell
 * kafka_offsets.c. */
#include "connectors/kafka_internal.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/failpoint.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

enum {
    BATCH_RECORDS = 512,
    FULL_WAIT_MS = 10,
    INIT_SLICE_MS = 20,  /* how soon an answer of the coordinator is seen */
    ASKS_AGAIN_MS = 400, /* from here on the handle itself may ask: fixed, 500 in librdkafka */
    MARKED_MS = 50,      /* after a commit its markers are written, or it costs 20 ms */
    FLUSH_SLICE_MS = 5,
    SETTLE_MAX_MS = 1000, /* then a flush may cost what it costs */
    PRODUCE_REQUEST = 0,  /* api key */
};

struct topic {
    char *name;
    rd_kafka_topic_t *handle;
};

/* A partition of the open transaction's records. */
struct target {
    const rd_kafka_topic_t *topic;
    int32_t partition;
    size_t bytes; /* keys and values, handed over and not delivered */
};

struct kafka_producer {
    struct tally_producer base;
    rd_kafka_t *rk;
    struct target *targets;
    size_t target_count, last_target;
    size_t batch_bytes; /* batch.size */
    atomic_int on_way;  /* produce requests that wait for their answer */
    struct topic *topics;
    size_t topic_count;
    struct kafka_offsets *offsets;
    int64_t ended_ms;   /* the last commit; 0: none */
    size_t record_max;  /* bytes, message.max.bytes */
    bool guard;         /* kafka.guard */
    bool open;          /* in a transaction */
    bool doubt;         /* invariant 3, but for connections */
    atomic_uint closed; /* connections, ever */
    unsigned closed_at_begin;
    bool left_behind; /* an earlier handle did not end, and may still call back */
    struct {
        rd_kafka_resp_err_t error;
        char what[128];
    } failed; /* first failed delivery of the transaction; error 0: none */
    rd_kafka_message_t batch[BATCH_RECORDS];
};

static struct kafka_producer *self(struct tally_producer *base)
{
    return (struct kafka_producer *)base;
}

/* --- callbacks --- */

/* A transaction that failed purges its records; what failed it, librdkafka tells in answer to a
 * begin that it must refuse. Not after a fatal error: begin may hang then (librdkafka#4420). */
static enum tally_code explain(struct kafka_producer *producer, rd_kafka_resp_err_t error,
        struct tally_error *err, const char *what)
{
    bool consequence = error == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
                       error == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT ||
                       error == RD_KAFKA_RESP_ERR__STATE;

    if (rd_kafka_fatal_error(producer->rk, NULL, 0)) {
        error = RD_KAFKA_RESP_ERR__FATAL;
    } else if (consequence && producer->open) {
        rd_kafka_error_t *cause = rd_kafka_begin_transaction(producer->rk);

        tally_assert(cause != NULL);
        if (rd_kafka_error_txn_requires_abort(cause) || rd_kafka_error_is_fatal(cause)) {
            return kafka_error_take(KAFKA_ROLE_TRANSACTION, cause, err, "%s", what);
        }
        rd_kafka_error_destroy(cause);
    }
    return kafka_error_set(KAFKA_ROLE_DELIVERY, producer->rk, error, err, "%s", what);
}

static struct target *target_of(struct kafka_producer *producer, const rd_kafka_topic_t *topic,
        int32_t partition)
{
    struct target *target = &producer->targets[producer->last_target];

    if (producer->target_count && target->topic == topic && target->partition == partition) {
        return target;
    }
    for (size_t i = 0; i < producer->target_count; i++) {
        target = &producer->targets[i];
        if (target->topic == topic && target->partition == partition) {
            producer->last_target = i;
            return target;
        }
    }
    producer->last_target = producer->target_count++;
    producer->targets =
            tally_realloc(producer->targets, producer->target_count * sizeof *producer->targets);
    target = &producer->targets[producer->last_target];
    *target = (struct target){.topic = topic, .partition = partition};
    return target;
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct kafka_producer *producer = opaque;
    struct tally_delivery *delivery = message->_private;
    struct target *target = target_of(producer, message->rkt, message->partition);

    (void)rk;
    tally_assert(target->bytes >= message->len + message->key_len);
    target->bytes -= message->len + message->key_len;
    if (message->err) {
        producer->doubt = true;
        if (!producer->failed.error) { /* explained later, outside this callback */
            producer->failed.error = message->err;
            (void)snprintf(producer->failed.what, sizeof producer->failed.what,
                    "record of %zu bytes to %.80s/%d was not written", message->len,
                    rd_kafka_topic_name(message->rkt), (int)message->partition);
        }
        return;
    }
    if (delivery) {
        delivery->delivered++;
        if (message->offset > delivery->last_offset) {
            delivery->last_offset = message->offset;
        }
    }
}

static void on_error(rd_kafka_t *rk, int error, const char *reason, void *opaque)
{
    struct kafka_producer *producer = opaque;

    (void)rk;
    if (error == RD_KAFKA_RESP_ERR__TRANSPORT || error == RD_KAFKA_RESP_ERR__TIMED_OUT ||
            error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        producer->doubt = producer->doubt || producer->open;
    }
    tally_log(TALLY_LOG_DEBUG, "producer error", TALLY_LOG_STR("error", rd_kafka_err2name(error)),
            TALLY_LOG_STR("text", reason));
}

/* error_cb is silent about a second equal failure within 30 s, a closed socket is not. */
static int on_close(int socket, void *opaque)
{
    struct kafka_producer *producer = opaque;

    atomic_fetch_add(&producer->closed, 1);
    return close(socket);
}

static rd_kafka_resp_err_t on_request_sent(rd_kafka_t *rk, int socket, const char *broker,
        int32_t broker_id, int16_t api_key, int16_t api_version, int32_t correlation, size_t size,
        void *opaque)
{
    struct kafka_producer *producer = rd_kafka_opaque(rk);

    (void)socket;
    (void)broker;
    (void)broker_id;
    (void)api_version;
    (void)correlation;
    (void)size;
    (void)opaque;
    if (api_key == PRODUCE_REQUEST) {
        atomic_fetch_add(&producer->on_way, 1);
    }
    kafka_offsets_request(producer->offsets, api_key);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Answered, or given up: of one that was not sent completely too. */
static rd_kafka_resp_err_t on_response_received(rd_kafka_t *rk, int socket, const char *broker,
        int32_t broker_id, int16_t api_key, int16_t api_version, int32_t correlation, size_t size,
        int64_t rtt_us, rd_kafka_resp_err_t error, void *opaque)
{
    struct kafka_producer *producer = rd_kafka_opaque(rk);

    (void)socket;
    (void)broker;
    (void)broker_id;
    (void)api_version;
    (void)correlation;
    (void)size;
    (void)rtt_us;
    (void)error;
    (void)opaque;
    if (api_key == PRODUCE_REQUEST) {
        atomic_fetch_sub(&producer->on_way, 1);
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque,
        char *reason, size_t size)
{
    (void)conf;
    (void)opaque;
    (void)reason;
    (void)size;
    (void)rd_kafka_interceptor_add_on_response_received(rk, "tally", on_response_received, NULL);
    return rd_kafka_interceptor_add_on_request_sent(rk, "tally", on_request_sent, NULL);
}

/* A copied conf has no interceptors. */
static rd_kafka_t *open_handle(rd_kafka_conf_t *conf, struct tally_error *err)
{
    (void)rd_kafka_conf_interceptor_add_on_new(conf, "tally-offsets", on_new, NULL);
    return kafka_config_open(KAFKA_KIND_PRODUCER, conf, err);
}

/* Since begin, in the transaction that is open. */
static bool connection_broke(const struct kafka_producer *producer)
{
    return producer->open && atomic_load(&producer->closed) != producer->closed_at_begin;
}

/* --- transaction --- */

static enum tally_code transactional(struct kafka_producer *producer, rd_kafka_error_t *error,
        struct tally_error *err, const char *what)
{
    enum tally_code code =
            kafka_error_take(KAFKA_ROLE_TRANSACTION, error, err, "could not %s", what);

    if (code) {
        producer->doubt = producer->doubt || producer->open;
    }
    return code;
}

/* A call that failed because the broker had found a record too large: says so instead. */
static enum tally_code find_too_large(struct kafka_producer *producer, enum tally_code code,
        struct tally_error *err)
{
    if (!code || tally_code_reaction(code) == TALLY_REACT_RETRY) {
        return code;
    }
    (void)rd_kafka_poll(producer->rk, 0); /* its report may not be served yet */
    return producer->failed.error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE
                   ? explain(producer, producer->failed.error, err, producer->failed.what)
                   : code;
}

/* Another handle under the same name, where nothing was produced yet. The old one is gone before
 * the new one asks for its producer id: a late request of it would fence the new one. */
static void open_anew(struct kafka_producer *producer)
{
    rd_kafka_t *rk = open_handle(rd_kafka_conf_dup(rd_kafka_conf(producer->rk)), NULL);

    if (rk) { /* else the old one goes on asking */
        producer->left_behind =
                !kafka_reaper_destroy(producer->rk, KAFKA_REAP_MS) || producer->left_behind;
        producer->rk = rk;
    }
}

/* After a crash the coordinator ends the transaction that was open, and until it has says so. That
 * takes some milliseconds, but librdkafka asks again after 500. A new handle asks at once. */
static enum tally_code producer_init(struct tally_producer *base, int timeout_ms,
        struct tally_error *err)
{
    struct kafka_producer *producer = self(base);
    int64_t now_ms = tally_mono_ms(tally_clock_real());
    int64_t deadline_ms = now_ms + timeout_ms, opened_ms = now_ms, patience_ms = 0;

    for (;;) {
        rd_kafka_error_t *error = rd_kafka_init_transactions(producer->rk, INIT_SLICE_MS);
        rd_kafka_resp_err_t reason =
                error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
        bool concurrent = reason == RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS;
        int64_t age_ms;

        now_ms = tally_mono_ms(tally_clock_real());
        age_ms = now_ms - opened_ms;
        if ((!concurrent && reason != RD_KAFKA_RESP_ERR__TIMED_OUT) || now_ms >= deadline_ms) {
            return transactional(producer, error, err, "initialise transactions");
        }
        rd_kafka_error_destroy(error);
        if (concurrent && age_ms >= patience_ms && age_ms < ASKS_AGAIN_MS &&
                producer->topic_count == 0) {
            open_anew(producer);
            opened_ms = tally_mono_ms(tally_clock_real());
            patience_ms = patience_ms ? 2 * patience_ms : INIT_SLICE_MS;
        }
    }
}

static enum tally_code producer_begin(struct tally_producer *base, struct tally_error *err)
{
    struct kafka_producer *producer = self(base);
    enum tally_code code = TALLY_OK;

    tally_assert(!producer->open);
    if (rd_kafka_fatal_error(producer->rk, NULL, 0)) {
        return kafka_error_set(KAFKA_ROLE_TRANSACTION, producer->rk, RD_KAFKA_RESP_ERR__FATAL, err,
                "could not begin a transaction");
    }
    producer->failed.error = RD_KAFKA_RESP_ERR_NO_ERROR;
    producer->closed_at_begin = atomic_load(&producer->closed);
    atomic_store(&producer->on_way, 0); /* nothing is; what was given up may have counted twice */
    code = transactional(producer, rd_kafka_begin_transaction(producer->rk), err,
            "begin a transaction");
    producer->open = code == TALLY_OK;
    return code;
}

static enum tally_code producer_poll(struct tally_producer *base, int timeout_ms,
        struct tally_error *err)
{
    struct kafka_producer *producer = self(base);

    (void)rd_kafka_poll(producer->rk, timeout_ms);
    if (!producer->open || !producer->failed.error) {
        return TALLY_OK;
    }
    return explain(producer, producer->failed.error, err, producer->failed.what);
}

static void producer_flush(struct tally_producer *base, int timeout_ms)
{
    (void)rd_kafka_flush(self(base)->rk, timeout_ms);
}

static bool batch_is_due(const struct kafka_producer *producer)
{
    for (size_t i = 0; i < producer->target_count; i++) {
        if (producer->targets[i].bytes >= producer->batch_bytes) {
            return true;
        }
    }
    return false;
}

/* Waits until full batches are delivered: invariant 5. Reports of deliveries end each wait. */
static void settle(struct kafka_producer *producer, int timeout_ms)
{
    int64_t now_ms = tally_mono_ms(tally_clock_real());
    int64_t deadline_ms = now_ms + (timeout_ms < SETTLE_MAX_MS ? timeout_ms : SETTLE_MAX_MS);

    (void)rd_kafka_poll(producer->rk, 0);
    while (!producer->failed.error && now_ms < deadline_ms && rd_kafka_outq_len(producer->rk) > 0 &&
            (atomic_load(&producer->on_way) > 0 || batch_is_due(producer))) {
        (void)rd_kafka_poll(producer->rk, FLUSH_SLICE_MS);
        now_ms = tally_mono_ms(tally_clock_real());
    }
}

/* Records that are handed over soon after a commit must wait until the coordinator has taken the
 * offsets; later they need not. They are sent although linger.ms is not over. */
static enum tally_code hand_over(struct kafka_producer *producer, int timeout_ms,
        const struct tally_meanwhile *meanwhile, struct tally_error *err)
{
    bool marked = tally_mono_ms(tally_clock_real()) - producer->ended_ms >= MARKED_MS;
    enum tally_code code = TALLY_OK;

    if (!marked && rd_kafka_outq_len(producer->rk) == 0) {
        kafka_offsets_wait_sent(producer->offsets);
    }
    if (meanwhile) {
        code = meanwhile->call(meanwhile->context, err);
    }
    if (!code) {
        settle(producer, timeout_ms);
    }
    while (!code && rd_kafka_outq_len(producer->rk) > 0 && !kafka_offsets_done(producer->offsets)) {
        (void)rd_kafka_flush(producer->rk, FLUSH_SLICE_MS);
    }
    return code;
}

static enum tally_code producer_send_offsets(struct tally_producer *base,
        struct tally_consumer *consumer, const struct tally_topic_partition *offsets, size_t count,
        int timeout_ms, const struct tally_meanwhile *meanwhile, struct tally_error *err)
{
    struct kafka_producer *producer = self(base);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    rd_kafka_consumer_group_metadata_t *group = NULL;
    struct tally_error handed_err = {.code = TALLY_OK};
    enum tally_code code = TALLY_OK, handed = TALLY_OK;

    tally_assert(count > 0); /* an empty list succeeds without asking the group, so fences nobody */
    for (size_t i = 0; i < count; i++) {
        tally_assert(offsets[i].offset >= 0);
        rd_kafka_topic_partition_list_add(list, offsets[i].topic, offsets[i].partition)->offset =
                offsets[i].offset;
    }
    group = rd_kafka_consumer_group_metadata(kafka_consumer_handle(consumer));
    tally_assert(group != NULL);
    TALLY_FAILPOINT(COMMIT_META_AFTER);
    kafka_offsets_start(producer->offsets, producer->rk, list, group, timeout_ms);
    handed = hand_over(producer, timeout_ms, meanwhile, &handed_err);
    code = transactional(producer, kafka_offsets_finish(producer->offsets), err,
            "add offsets to the transaction");
    rd_kafka_consumer_group_metadata_destroy(group);
    rd_kafka_topic_partition_list_destroy(list);
    if (handed && (!code || tally_code_reaction(code) == TALLY_REACT_RETRY)) {
        if (err) {
            *err = handed_err;
        }
        return handed;
    }
    return find_too_large(producer, code, err);
}

static enum tally_code producer_commit(struct tally_producer *base, int timeout_ms,
        struct tally_error *err)
{
    struct kafka_producer *producer = self(base);
    rd_kafka_error_t *error = rd_kafka_commit_transaction(producer->rk, timeout_ms);
    rd_kafka_resp_err_t reason = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
    enum tally_code code = transactional(producer, error, err, "commit the transaction");

    switch (tally_code_reaction(code)) {
    case TALLY_REACT_NONE:
        tally_assert(!producer->failed.error);
        producer->doubt = producer->doubt || connection_broke(producer);
        producer->open = false;
        producer->ended_ms = tally_mono_ms(tally_clock_real());
        return TALLY_OK;
    case TALLY_REACT_RETRY:
    case TALLY_REACT_RELEASE:
        return code;
    default:
        break;
    }
    /* librdkafka sends EndTxn only after every record was delivered, so a failed one means: not
     * committed. Otherwise it may be on its way, whatever the error. */
    if (producer->failed.error || reason == RD_KAFKA_RESP_ERR__INCONSISTENT) {
        return find_too_large(producer, code, err);
    }
    tally_error_context(err, "%s", tally_code_text(TALLY_COMMIT_UNKNOWN));
    if (err) {
        err->code = TALLY_COMMIT_UNKNOWN;
    }
    return TALLY_COMMIT_UNKNOWN;
}

static enum tally_code producer_abort(struct tally_producer *base, int timeout_ms,
        struct tally_error *err)
{
    struct kafka_producer *producer = self(base);
    enum tally_code code = TALLY_OK;

    producer->doubt = true;
    code = transactional(producer, rd_kafka_abort_transaction(producer->rk, timeout_ms), err,
            "abort the transaction");
    if (tally_code_reaction(code) != TALLY_REACT_RETRY) {
        producer->open = false;
    }
    return code;
}

static bool producer_tainted(struct tally_producer *base)
{
    struct kafka_producer *producer = self(base);

    return producer->guard && (producer->doubt || connection_broke(producer));
}

/* --- records --- */

static rd_kafka_topic_t *topic_of(struct kafka_producer *producer, const char *name)
{
    for (size_t i = 0; i < producer->topic_count; i++) {
        if (strcmp(producer->topics[i].name, name) == 0) {
            return producer->topics[i].handle;
        }
    }
    producer->topics =
            tally_realloc(producer->topics, (producer->topic_count + 1) * sizeof *producer->topics);
    producer->topics[producer->topic_count] = (struct topic){.name = tally_copy_string(name),
            .handle = rd_kafka_topic_new(producer->rk, name, NULL)};
    tally_assert(producer->topics[producer->topic_count].handle != NULL);
    kafka_topics_resolve(producer->rk, producer->topics[producer->topic_count].handle);
    return producer->topics[producer->topic_count++].handle;
}

static bool too_large(const struct kafka_producer *producer, const struct tally_produce *record)
{
    return tally_produce_bytes(record) > producer->record_max;
}

static rd_kafka_resp_err_t produce_one(struct kafka_producer *producer, rd_kafka_topic_t *topic,
        int32_t partition, const struct tally_produce *record)
{
    rd_kafka_headers_t *headers =
            kafka_record_headers_create(record->headers, record->header_count);
    rd_kafka_resp_err_t error = rd_kafka_producev(producer->rk, RD_KAFKA_V_RKT(topic),
            RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_MSGFLAGS(0),
            RD_KAFKA_V_KEY(record->key.data, record->key.len),
            RD_KAFKA_V_VALUE((void *)(uintptr_t)record->value.data, record->value.len),
            RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(record->delivery), RD_KAFKA_V_END);

    if (error && headers) {
        rd_kafka_headers_destroy(headers);
    }
    return error;
}

/* Returns how many of the run were taken; *error says why not all. */
static size_t produce_run(struct kafka_producer *producer, rd_kafka_topic_t *topic,
        int32_t partition, const struct tally_produce *records, size_t count,
        rd_kafka_resp_err_t *error)
{
    size_t taken = 0;

    for (size_t i = 0; i < count; i++) {
        producer->batch[i] =
                (rd_kafka_message_t){.payload = (void *)(uintptr_t)records[i].value.data,
                        .len = records[i].value.len,
                        .key = (void *)(uintptr_t)records[i].key.data,
                        .key_len = records[i].key.len,
                        ._private = records[i].delivery};
    }
    (void)rd_kafka_produce_batch(topic, partition, 0, producer->batch, (int)count);
    while (taken < count && !producer->batch[taken].err) {
        taken++;
    }
    *error = taken < count ? producer->batch[taken].err : RD_KAFKA_RESP_ERR_NO_ERROR;
    for (size_t i = taken; i < count;
            i++) { /* sizes are checked, so what refuses one refuses all */
        tally_assert(producer->batch[i].err);
    }
    return taken;
}

/* How many of the next records, without headers and not too large, make one batch. */
static size_t run_length(const struct kafka_producer *producer, const struct tally_produce *records,
        size_t count)
{
    size_t length = 0;

    while (length < count && length < BATCH_RECORDS && records[length].header_count == 0 &&
            !too_large(producer, &records[length])) {
        length++;
    }
    return length;
}

static enum tally_code producer_produce(struct tally_producer *base, const char *topic_name,
        int32_t partition, const struct tally_produce *records, size_t count, size_t *done,
        struct tally_error *err)
{
    struct kafka_producer *producer = self(base);
    rd_kafka_topic_t *topic = topic_of(producer, topic_name);

    *done = 0;
    while (*done < count) {
        const struct tally_produce *next = records + *done;
        size_t length = run_length(producer, next, count - *done), taken = 0, bytes = 0;
        rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;

        if (length) {
            taken = produce_run(producer, topic, partition, next, length, &error);
        } else if (too_large(producer, next)) {
            return tally_error_set(err, TALLY_TOO_LARGE,
                    "record of %zu bytes for %.100s/%d is too large",
                    next->key.len + next->value.len, topic_name, (int)partition);
        } else {
            error = produce_one(producer, topic, partition, next);
            taken = error ? 0 : 1;
        }
        for (size_t i = 0; i < taken; i++) {
            if (next[i].delivery) {
                next[i].delivery->produced++;
            }
            bytes += next[i].key.len + next[i].value.len;
        }
        target_of(producer, topic, partition)->bytes += bytes;
        *done += taken;
        if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            enum tally_code code = producer_poll(base, FULL_WAIT_MS, err);

            if (code) { /* records time out in the queue, so a dead broker ends this too */
                return code;
            }
        } else if (error) {
            producer->doubt = true;
            return explain(producer, error, err, topic_name);
        }
    }
    return TALLY_OK;
}

static int32_t producer_partitions(struct tally_producer *base, const char *topic, int timeout_ms)
{
    struct kafka_producer *producer = self(base);
    const struct rd_kafka_metadata *metadata = NULL;
    int32_t partitions = -1;

    if (rd_kafka_metadata(producer->rk, 0, topic_of(producer, topic), &metadata, timeout_ms)) {
        return -1;
    }
    if (metadata->topic_cnt == 1 && !metadata->topics[0].err) {
        partitions = metadata->topics[0].partition_cnt;
    }
    rd_kafka_metadata_destroy(metadata);
    return partitions;
}

/* --- life --- */

static void producer_destroy(struct tally_producer *base)
{
    struct kafka_producer *producer = self(base);

    if (!base) {
        return;
    }
    (void)rd_kafka_purge(producer->rk,
            RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    for (size_t i = 0; i < producer->topic_count; i++) {
        rd_kafka_topic_destroy(producer->topics[i].handle);
        tally_free(producer->topics[i].name);
    }
    tally_free(producer->topics);
    if (kafka_reaper_destroy(producer->rk, KAFKA_REAP_MS) && !producer->left_behind) {
        kafka_offsets_destroy(producer->offsets);
        tally_free(producer->targets);
        tally_free(producer); /* else a thread of librdkafka may still close a socket */
    }
}

static const struct tally_producer_ops ops = {
        .init_transactions = producer_init,
        .begin = producer_begin,
        .produce = producer_produce,
        .poll = producer_poll,
        .flush = producer_flush,
        .send_offsets = producer_send_offsets,
        .commit = producer_commit,
        .abort = producer_abort,
        .tainted = producer_tainted,
        .partitions = producer_partitions,
        .destroy = producer_destroy,
};

struct tally_producer *kafka_producer_create(const struct kafka_options *options,
        struct tally_error *err)
{
    rd_kafka_conf_t *conf = kafka_config_create(KAFKA_KIND_PRODUCER, options, err);
    struct kafka_producer *producer = NULL;

    if (!conf) {
        return NULL;
    }
    producer = tally_alloc_zero(1, sizeof *producer);
    producer->base.ops = &ops;
    producer->guard = options->config->kafka_guard;
    producer->record_max = (size_t)kafka_config_int(conf, "message.max.bytes");
    producer->batch_bytes = (size_t)kafka_config_int(conf, "batch.size");
    rd_kafka_conf_set_opaque(conf, producer);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_closesocket_cb(conf, on_close);
    producer->offsets = kafka_offsets_create();
    producer->rk = open_handle(conf, err);
    if (!producer->rk) {
        kafka_offsets_destroy(producer->offsets);
        tally_free(producer);
        return NULL;
    }
    return &producer->base;
}
