/* connectors/kafka_writer.c - writes many records fast, for the command line.
 * Records wait in librdkafka's queue, which is the only buffer; a full one is waited for by serving
 * deliveries. A topic is looked for once before its first record, so a wrong name fails at once and
 * makes no topic. */
#include "connectors/kafka_writer.h"

#include <stdio.h>

#include "connectors/kafka_internal.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

enum {
    LOOKUP_MS = 10000,
    FULL_SLICE_MS = 100,
    FULL_MS = 30000, /* message.timeout.ms: by then something was delivered or has failed */
};

struct topic {
    char *name;
    int32_t partitions;
    rd_kafka_topic_t *handle;
};

struct tally_writer {
    rd_kafka_t *rk;
    struct topic *topics;
    size_t topic_count;
    struct topic *last; /* of the previous record */
    tally_writer_delivered_fn delivered;
    void *context;
    struct tally_writer_counts counts;
    struct tally_error failure; /* the first; code TALLY_OK: none */
};

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct tally_writer *writer = opaque;
    enum tally_code code = TALLY_OK;

    if (message->err) {
        struct tally_error err = {.code = TALLY_OK};

        writer->counts.failed++;
        code = kafka_error_set(KAFKA_ROLE_QUERY, rk, message->err, &err,
                "record for %.80s was not written", rd_kafka_topic_name(message->rkt));
        if (writer->failure.code == TALLY_OK) {
            writer->failure = err;
        }
    } else {
        writer->counts.delivered++;
    }
    if (writer->delivered) {
        writer->delivered(writer->context, message->_private, code, message->partition,
                code ? -1 : message->offset);
    }
}

enum tally_code tally_writer_create(const struct tally_config *config,
        tally_writer_delivered_fn delivered, void *context, struct tally_writer **result,
        struct tally_error *err)
{
    struct kafka_options options = {.config = config};
    rd_kafka_conf_t *conf = kafka_config_create(KAFKA_KIND_WRITER, &options, err);
    struct tally_writer *writer = NULL;

    if (!conf) {
        return TALLY_CONFIG;
    }
    writer = tally_alloc_zero(1, sizeof *writer);
    writer->delivered = delivered;
    writer->context = context;
    rd_kafka_conf_set_opaque(conf, writer);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    writer->rk = kafka_config_open(KAFKA_KIND_WRITER, conf, err);
    if (!writer->rk) {
        tally_free(writer);
        return TALLY_CONFIG;
    }
    *result = writer;
    return TALLY_OK;
}

void tally_writer_destroy(struct tally_writer *writer)
{
    if (!writer) {
        return;
    }
    (void)rd_kafka_purge(writer->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    tally_writer_poll(writer, 0);
    for (size_t i = 0; i < writer->topic_count; i++) {
        rd_kafka_topic_destroy(writer->topics[i].handle);
        tally_free(writer->topics[i].name);
    }
    tally_free(writer->topics);
    (void)kafka_reaper_destroy(writer->rk, KAFKA_REAP_MS);
    tally_free(writer);
}

static enum tally_code add_topic(struct tally_writer *writer, const char *name,
        struct tally_error *err)
{
    struct kafka_topics *lookup = kafka_topics_create(writer->rk);
    struct topic *topic = NULL;
    int32_t partitions = 0;
    enum tally_code code = kafka_topics_find(lookup, name, LOOKUP_MS, &partitions, err);

    kafka_topics_destroy(lookup);
    if (code) {
        return code;
    }
    writer->topics = tally_realloc(writer->topics, (writer->topic_count + 1) * sizeof *topic);
    topic = &writer->topics[writer->topic_count++];
    topic->name = tally_copy_string(name);
    topic->partitions = partitions;
    topic->handle = rd_kafka_topic_new(writer->rk, name, NULL);
    tally_assert(topic->handle != NULL);
    writer->last = topic;
    return TALLY_OK;
}

static enum tally_code choose_topic(struct tally_writer *writer, const char *name,
        struct tally_error *err)
{
    if (writer->last && strcmp(writer->last->name, name) == 0) {
        return TALLY_OK;
    }
    for (size_t i = 0; i < writer->topic_count; i++) {
        if (strcmp(writer->topics[i].name, name) == 0) {
            writer->last = &writer->topics[i];
            return TALLY_OK;
        }
    }
    return add_topic(writer, name, err);
}

enum tally_code tally_writer_produce(struct tally_writer *writer, const char *topic,
        int32_t partition, struct tally_slice key, struct tally_slice value,
        const struct tally_header *headers, size_t header_count, void *tag, struct tally_error *err)
{
    int64_t start_ms = 0;
    enum tally_code code = choose_topic(writer, topic, err);

    if (code) {
        return code;
    }
    if (partition >= writer->last->partitions) {
        return tally_error_set(err, TALLY_NOT_FOUND,
                "topic \"%.80s\" has no partition %d, it has %d", topic, (int)partition,
                (int)writer->last->partitions);
    }
    for (;;) {
        rd_kafka_headers_t *list = kafka_record_headers_create(headers, header_count);
        rd_kafka_resp_err_t error =
                rd_kafka_producev(writer->rk, RD_KAFKA_V_RKT(writer->last->handle),
                        RD_KAFKA_V_PARTITION(partition < 0 ? RD_KAFKA_PARTITION_UA : partition),
                        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key.data, key.len),
                        RD_KAFKA_V_VALUE((void *)(uintptr_t)value.data, value.len),
                        RD_KAFKA_V_HEADERS(list), RD_KAFKA_V_OPAQUE(tag), RD_KAFKA_V_END);

        if (!error) {
            writer->counts.produced++;
            return TALLY_OK;
        }
        if (list) {
            rd_kafka_headers_destroy(list);
        }
        start_ms = start_ms ? start_ms : tally_mono_ms(tally_clock_real());
        if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL ||
                tally_mono_ms(tally_clock_real()) - start_ms > FULL_MS) {
            return kafka_error_set(KAFKA_ROLE_QUERY, writer->rk, error, err,
                    "could not send a record to %.80s", topic);
        }
        tally_writer_poll(writer, FULL_SLICE_MS);
    }
}

void tally_writer_poll(struct tally_writer *writer, int timeout_ms)
{
    (void)rd_kafka_poll(writer->rk, timeout_ms);
}

enum tally_code tally_writer_flush(struct tally_writer *writer, int timeout_ms,
        struct tally_writer_counts *counts, struct tally_error *err)
{
    rd_kafka_resp_err_t error = rd_kafka_flush(writer->rk, timeout_ms);

    if (counts) {
        *counts = writer->counts;
    }
    if (error) {
        return tally_error_set(err, TALLY_TIMEOUT, "%llu records are still on their way",
                (unsigned long long)(writer->counts.produced - writer->counts.delivered -
                                     writer->counts.failed));
    }
    if (writer->failure.code && err) {
        *err = writer->failure;
    }
    return writer->failure.code;
}
