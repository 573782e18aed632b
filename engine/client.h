/* engine/client.h - what the engine needs of Kafka: consumer, transactional producer, restore
 * reads. Two implementations: connectors/kafka_consumer.c and kafka_producer.c on librdkafka, and
 * engine/memory_client.c, the broker in memory of the topology driver.
 * Errors come back as codes whose reaction is the one of exactly-once: the connector classifies
 * librdkafka's errors (TIMEOUT, UNAVAILABLE: same call again; TXN_ABORTED: abort; FENCED: release;
 * INSTANCE_FENCED: exit; NOT_AUTHORIZED: halt).
 * Threads: a consumer and a producer belong to one stream thread; create and destroy there too.
 * Every timeout is in milliseconds and finite. */
#pragma once
#include "engine/base/bytes.h"

#define TALLY_OFFSET_NONE (-1) /* no committed offset; in seek and assign: not allowed */

struct tally_header {
    struct tally_slice name, value; /* value.data NULL: null */
};

/* One consumed record; its bytes are valid until tally_consumer_release. */
struct tally_record {
    const char *topic; /* owned by the client, the same pointer for every record of a topic */
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;
    struct tally_slice key, value; /* data NULL: null */
    void *message;                 /* the client's */
};

struct tally_topic_partition {
    const char *topic;
    int32_t partition;
    int64_t offset;
    enum tally_code code; /* of this partition, where a call answers for each */
};

/* Log start and high watermark of a partition. */
struct tally_range {
    const char *topic;
    int32_t partition;
    int64_t low, high;
    enum tally_code code; /* OK, or why there is no answer for this one */
};

/* Called inside tally_consumer_poll and tally_consumer_destroy. After `assigned` the listener has
 * called tally_consumer_assign, be it with an empty list; after `revoked` with NULL. */
struct tally_rebalance_listener {
    void *context;
    void (*assigned)(void *context, const struct tally_topic_partition *partitions, size_t count);
    void (*revoked)(void *context, const struct tally_topic_partition *partitions, size_t count,
            bool lost);
};

struct tally_consumer;
struct tally_consumer_ops {
    enum tally_code (*subscribe)(struct tally_consumer *consumer, const char *const *topics,
            size_t count, struct tally_error *err);
    /* AGAIN: nothing came. UNAVAILABLE etc.: keep polling. HALT codes name the record's topic. */
    enum tally_code (*poll)(struct tally_consumer *consumer, int timeout_ms,
            struct tally_record *record, struct tally_error *err);
    void (*release)(struct tally_consumer *consumer, struct tally_record *record);
    /* Headers in order; returns how many there are, writes at most max. Borrow from the record. */
    size_t (*headers)(struct tally_consumer *consumer, const struct tally_record *record,
            struct tally_header *headers, size_t max);
    /* NULL answers a revoke; an assignment, also one of no partitions, is answered by a list. */
    enum tally_code (*assign)(struct tally_consumer *consumer,
            const struct tally_topic_partition *partitions, size_t count, struct tally_error *err);
    enum tally_code (*pause)(struct tally_consumer *consumer,
            const struct tally_topic_partition *partitions, size_t count, struct tally_error *err);
    enum tally_code (*resume)(struct tally_consumer *consumer,
            const struct tally_topic_partition *partitions, size_t count, struct tally_error *err);
    enum tally_code (*seek)(struct tally_consumer *consumer,
            const struct tally_topic_partition *partitions, size_t count, int timeout_ms,
            struct tally_error *err);
    /* Fills offset (or TALLY_OFFSET_NONE) and code of each; waits for pending transactional offsets
     * (require_stable, KIP-447). */
    enum tally_code (*committed)(struct tally_consumer *consumer,
            struct tally_topic_partition *partitions, size_t count, int timeout_ms,
            struct tally_error *err);
    /* Next offset that poll would give, past control records and aborted data; NONE before any. */
    int64_t (*position)(struct tally_consumer *consumer, const char *topic, int32_t partition);
    /* Log start and high watermark, read_uncommitted: not the last stable offset. */
    enum tally_code (*watermarks)(struct tally_consumer *consumer, const char *topic,
            int32_t partition, int timeout_ms, int64_t *low, int64_t *high,
            struct tally_error *err);
    /* The same of many, which may repeat, together. */
    void (*ranges)(struct tally_consumer *consumer, struct tally_range *ranges, size_t count,
            int timeout_ms);
    /* Last known high watermark of an assigned partition without a call to the broker; NONE:
     * unknown. */
    int64_t (*cached_high)(struct tally_consumer *consumer, const char *topic, int32_t partition);
    bool (*assignment_lost)(struct tally_consumer *consumer);
    void (*destroy)(struct tally_consumer *consumer);
};
struct tally_consumer {
    const struct tally_consumer_ops *ops;
};

/* How many records of one task the open transaction has produced and what came back. Written by
 * delivery reports inside the producer's calls. */
struct tally_delivery {
    int64_t last_offset; /* highest offset of a delivered record; NONE: none yet */
    uint64_t produced, delivered;
};

struct tally_produce {
    struct tally_slice key, value; /* data NULL: null. Borrowed until delivered: see `produce` */
    const struct tally_header *headers;
    size_t header_count;
    struct tally_delivery *delivery; /* may be NULL */
};

/* Bytes of a length in Kafka's records: zigzag varint. */
static inline size_t tally_length_bytes(size_t length)
{
    size_t bytes = 1;

    for (uint64_t rest = (uint64_t)length * 2 >> 7; rest; rest >>= 7) {
        bytes++;
    }
    return bytes;
}
/* Bytes of a batch that holds this record alone, uncompressed: what max.message.bytes is about. */
static inline size_t tally_produce_bytes(const struct tally_produce *record)
{
    size_t size = 3 + tally_length_bytes(record->key.len) + record->key.len +
                  tally_length_bytes(record->value.len) + record->value.len +
                  tally_length_bytes(record->header_count);

    for (size_t i = 0; i < record->header_count; i++) {
        size += tally_length_bytes(record->headers[i].name.len) + record->headers[i].name.len +
                tally_length_bytes(record->headers[i].value.len) + record->headers[i].value.len;
    }
    return 61 + tally_length_bytes(size) + size;
}

/* What the owner does inside a call of its own that waits for a broker. */
struct tally_meanwhile {
    enum tally_code (*call)(void *context, struct tally_error *err);
    void *context;
};

struct tally_producer;
struct tally_producer_ops {
    /* May answer TIMEOUT: call again. */
    enum tally_code (*init_transactions)(struct tally_producer *producer, int timeout_ms,
            struct tally_error *err);
    enum tally_code (*begin)(struct tally_producer *producer, struct tally_error *err);
    /* Hands over records of one partition, in order. Values are not copied: they stay valid until
     * commit or abort returned, or destroy. Keys and headers are copied. A full queue is waited
     * for inside. TOO_LARGE: *done records were taken, the next one can never be written. */
    enum tally_code (*produce)(struct tally_producer *producer, const char *topic,
            int32_t partition, const struct tally_produce *records, size_t count, size_t *done,
            struct tally_error *err);
    /* Serves delivery reports. Returns the first error that a delivery had in this transaction. */
    enum tally_code (*poll)(struct tally_producer *producer, int timeout_ms,
            struct tally_error *err);
    /* Sends what is queued at once, which only a commit does else, and waits until it is delivered
     * or the time is over. */
    void (*flush)(struct tally_producer *producer, int timeout_ms);
    /* meanwhile: hands over the rest of the records, on their way at the same time; called once,
     * in the caller's thread, whatever becomes of the offsets. Its failure is the answer, unless
     * offsets failed with something that asks for more than the same call again. NULL: nothing. */
    enum tally_code (*send_offsets)(struct tally_producer *producer,
            struct tally_consumer *consumer, const struct tally_topic_partition *offsets,
            size_t count, int timeout_ms, const struct tally_meanwhile *meanwhile,
            struct tally_error *err);
    /* Resumable after TIMEOUT. OK is the only answer that means committed. */
    enum tally_code (*commit)(struct tally_producer *producer, int timeout_ms,
            struct tally_error *err);
    enum tally_code (*abort)(struct tally_producer *producer, int timeout_ms,
            struct tally_error *err);
    /* KIP-890: something in this producer's transaction was retried, timed out or failed. */
    bool (*tainted)(struct tally_producer *producer);
    int32_t (*partitions)(struct tally_producer *producer, const char *topic,
            int timeout_ms);                          /* < 0: unknown */
    void (*destroy)(struct tally_producer *producer); /* purges; returns within 10 s */
};
struct tally_producer {
    const struct tally_producer_ops *ops;
};

/* Makes clients; one for the process. */
struct tally_client;
struct tally_client_ops {
    /* group NULL: app.id, else app.id + '-' + group. thread: 0.. of that group in this instance.
     * Both are part of group.instance.id and transactional.id. */
    struct tally_consumer *(*consumer)(struct tally_client *client, const char *group, int thread,
            const struct tally_rebalance_listener *listener, struct tally_error *err);
    /* Manual assignment, read_committed, never commits. */
    struct tally_consumer *(*restore_consumer)(struct tally_client *client, int thread,
            struct tally_error *err);
    /* As a restore consumer, but made to read single records: nothing is fetched ahead. */
    struct tally_consumer *(*probe_consumer)(struct tally_client *client, struct tally_error *err);
    struct tally_producer *(*producer)(struct tally_client *client, const char *group, int thread,
            struct tally_error *err);
    /* Sends one reply outside any transaction, best effort; false: dropped. @thread any */
    bool (*reply)(struct tally_client *client, const char *topic,
            int32_t partition /* -1: by key */, struct tally_slice key, struct tally_slice value,
            const struct tally_header *headers, size_t count);
    /* Writes one command outside any transaction: idempotent, acks=all, partition by murmur2 of the
     * key. Waits for the acknowledgement; UNAVAILABLE: not acknowledged in time, effect unknown;
     * TOO_LARGE. @thread any */
    enum tally_code (*publish)(struct tally_client *client, const char *topic,
            struct tally_slice key, struct tally_slice value, const struct tally_header *headers,
            size_t header_count, int timeout_ms, int32_t *partition, int64_t *offset,
            struct tally_error *err);
    /* What a topic takes at most, as tally_produce_bytes counts; where it is not known, what a
     * producer takes. @thread any */
    size_t (*record_max)(struct tally_client *client, const char *topic);
    /* How many partitions a topic has, as a broker says now. NOT_FOUND, UNAVAILABLE. @thread any */
    enum tally_code (*partitions)(struct tally_client *client, const char *topic, int timeout_ms,
            int32_t *partitions, struct tally_error *err);
    /* Whether a broker answered in the last 3 s; asked once a second in the background, so that
     * reads can tell how far they are complete. @thread any */
    bool (*reachable)(struct tally_client *client, struct tally_error *err);
    const char *(*cluster_id)(struct tally_client *client);
    void (*destroy)(struct tally_client *client);
};
struct tally_client {
    const struct tally_client_ops *ops;
};
