/* connectors/kafka_internal.h - what the files on librdkafka share; nobody else includes this.
 * In reading order: kafka_error.c, kafka_log.c, kafka_config.c, kafka_reaper.c, kafka_record.c,
 * kafka_member.c, kafka_consumer.c, kafka_offsets.c, kafka_producer.c, kafka_topics.c,
 * kafka_sender.c. */
#pragma once
#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

#include "connectors/kafka_client.h"
#include "engine/base/thread.h"

/* --- kafka_error.c: librdkafka's errors as tally codes --- */

/* Who got the error: the same code asks for different reactions. */
enum kafka_role {
    KAFKA_ROLE_CONSUMER,    /* poll, assign, committed offsets, watermarks */
    KAFKA_ROLE_TRANSACTION, /* calls on a transactional producer */
    KAFKA_ROLE_DELIVERY,    /* fate of a produced record; no flags */
    KAFKA_ROLE_QUERY,       /* metadata, administration, reader and writer */
    KAFKA_ROLES
};
enum { KAFKA_FATAL = 1, KAFKA_ABORTABLE = 2, KAFKA_RETRIABLE = 4 };

/* The one table of reactions; never TALLY_OK. flags: what librdkafka says besides. */
enum tally_code kafka_error_classify(enum kafka_role role, rd_kafka_resp_err_t error,
        unsigned flags);
/* Converts and destroys *error; text: what could not be done. NULL: TALLY_OK. */
enum tally_code kafka_error_take(enum kafka_role role, rd_kafka_error_t *error,
        struct tally_error *err, const char *text, ...) TALLY_PRINTF(4, 5);
/* As take for a bare code; `_FATAL` is replaced by the cause that rk remembers. rk may be NULL. */
enum tally_code kafka_error_set(enum kafka_role role, rd_kafka_t *rk, rd_kafka_resp_err_t error,
        struct tally_error *err, const char *text, ...) TALLY_PRINTF(5, 6);

/* --- kafka_log.c --- */

/* log_cb of every handle: librdkafka's lines in our log, at most one a second of a kind. @thread
 * any */
void kafka_log(const rd_kafka_t *rk, int level, const char *facility, const char *line);

/* --- kafka_config.c: the properties of every handle --- */

enum kafka_kind {
    KAFKA_KIND_CONSUMER,  /* C: member of the group */
    KAFKA_KIND_RESTORE,   /* R: manual assignment, read_committed */
    KAFKA_KIND_PROBE,     /* as R, for single records */
    KAFKA_KIND_PRODUCER,  /* P: transactional */
    KAFKA_KIND_SENDER,    /* idempotent: replies, published commands */
    KAFKA_KIND_WATERMARK, /* W: read_uncommitted, also metadata */
    KAFKA_KIND_READER,    /* tools: manual assignment */
    KAFKA_KIND_WRITER,    /* tools: idempotent */
    KAFKA_KIND_ADMIN,     /* tools and start: topics */
    KAFKA_KINDS
};
struct kafka_options {
    const struct tally_config *config;
    const char *http_address;   /* NULL or "": none */
    const char *group;          /* of C and P: behind app.id in every name; NULL: none */
    int thread;                 /* of C, R and P; else 0 */
    const atomic_bool *leaving; /* C leaves its group when it is destroyed; NULL: never */
};
/* A fresh conf, the caller's until rd_kafka_new takes it; kafka.properties are applied last. NULL:
 * CONFIG, naming the property. log_cb is set, other callbacks are the caller's. */
rd_kafka_conf_t *kafka_config_create(enum kafka_kind kind, const struct kafka_options *options,
        struct tally_error *err);
/* Makes the handle and always consumes conf. NULL: CONFIG (librdkafka refuses the combination). */
rd_kafka_t *kafka_config_open(enum kafka_kind kind, rd_kafka_conf_t *conf, struct tally_error *err);
int kafka_config_threads(const struct tally_config *config); /* stream threads of this instance */
/* An integer property as it stands in conf, after kafka.properties. */
int64_t kafka_config_int(rd_kafka_conf_t *conf, const char *name);

/* --- kafka_reaper.c --- */

enum { KAFKA_REAP_MS = 10000 };
/* Destroys rk in a thread of its own; false: it hangs and is left behind after timeout_ms. A
 * consumer must be closed before. rk may be NULL. */
bool kafka_reaper_destroy(rd_kafka_t *rk, int64_t timeout_ms);

/* --- kafka_record.c --- */

/* Fills all fields of *record but message from a consumed message and a name that outlives it. */
void kafka_record_fill(struct tally_record *record, const rd_kafka_message_t *message,
        const char *topic);
/* The message's headers, borrowed; returns how many there are, writes at most max. */
size_t kafka_record_headers(const rd_kafka_message_t *message, struct tally_header *headers,
        size_t max);
/* The other way; the caller's until a produce call takes it. NULL when count is 0. */
rd_kafka_headers_t *kafka_record_headers_create(const struct tally_header *headers, size_t count);

/* --- kafka_consumer.c, kafka_producer.c --- */

struct tally_consumer *kafka_consumer_create(enum kafka_kind kind,
        const struct kafka_options *options, const struct tally_rebalance_listener *listener,
        rd_kafka_t *watermarks, struct tally_error *err);
rd_kafka_t *kafka_consumer_handle(struct tally_consumer *consumer);
struct tally_producer *kafka_producer_create(const struct kafka_options *options,
        struct tally_error *err);

/* --- kafka_offsets.c: offsets go out beside records; @thread owner but for request --- */

struct kafka_offsets;
struct kafka_offsets *kafka_offsets_create(void);
void kafka_offsets_destroy(struct kafka_offsets *offsets); /* not between start and finish */
/* A request of that producer was sent. @thread any */
void kafka_offsets_request(struct kafka_offsets *offsets, int16_t api_key);
/* Arguments are borrowed until finish. */
void kafka_offsets_start(struct kafka_offsets *offsets, rd_kafka_t *rk,
        const rd_kafka_topic_partition_list_t *list,
        const rd_kafka_consumer_group_metadata_t *group, int timeout_ms);
/* Until the coordinator has taken the transaction for its own, or the call has ended. */
void kafka_offsets_wait_sent(struct kafka_offsets *offsets);
bool kafka_offsets_done(struct kafka_offsets *offsets); /* finish answers at once */
/* What rd_kafka_send_offsets_to_transaction answered. */
rd_kafka_error_t *kafka_offsets_finish(struct kafka_offsets *offsets);

/* --- kafka_member.c --- */

enum kafka_name { KAFKA_NAME_OURS, KAFKA_NAME_TAKEN, KAFKA_NAME_UNKNOWN };

/* Whether the group of `member`, asked through a handle with the properties of `like`, has somebody
 * else under its static name than the one with that member id. UNKNOWN: nobody answers in time.
 * OURS: that id has the name, or nobody. */
enum kafka_name kafka_member_name(rd_kafka_t *like, rd_kafka_t *member, const char *member_id);

/* --- kafka_ranges.c --- */

/* As `ranges` of a consumer; rk: of which the isolation level is the one asked for. */
void kafka_ranges_ask(rd_kafka_t *rk, struct tally_range *ranges, size_t count, int timeout_ms);

/* --- kafka_topics.c: which topics exist, asked without ever creating one --- */

struct kafka_topics;
/* rk: borrowed; every handle of ours has allow.auto.create.topics=false. */
struct kafka_topics *kafka_topics_create(rd_kafka_t *rk);
void kafka_topics_destroy(struct kafka_topics *topics);
/* A new handle knows no topic's partitions, and librdkafka looks for those of records that wait
 * only once a second: asks at once. Best effort, at most a second. */
void kafka_topics_resolve(rd_kafka_t *rk, rd_kafka_topic_t *topic);
/* Number of partitions, from memory or by asking the broker within timeout_ms; 0: asks nobody.
 * NOT_FOUND: no such topic (remembered for a while). UNAVAILABLE: no answer.
 * @thread any  @locks CONNECTOR */
enum tally_code kafka_topics_find(struct kafka_topics *topics, const char *topic, int timeout_ms,
        int32_t *partitions, struct tally_error *err);

/* The same, always from the broker, nothing remembered. */
enum tally_code kafka_topics_ask(struct kafka_topics *topics, const char *topic, int timeout_ms,
        int32_t *partitions, struct tally_error *err);

/* --- kafka_sender.c: replies and published commands --- */

struct kafka_sender;
struct kafka_sender *kafka_sender_create(const struct kafka_options *options,
        struct kafka_topics *topics, struct tally_error *err);
void kafka_sender_destroy(struct kafka_sender *sender); /* waits for what is queued, at most 2 s */
bool kafka_sender_reply(struct kafka_sender *sender, const char *topic, int32_t partition,
        struct tally_slice key, struct tally_slice value, const struct tally_header *headers,
        size_t count);
enum tally_code kafka_sender_publish(struct kafka_sender *sender, const char *topic,
        struct tally_slice key, struct tally_slice value, const struct tally_header *headers,
        size_t count, int timeout_ms, int32_t *partition, int64_t *offset, struct tally_error *err);
