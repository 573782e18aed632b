/* connectors/kafka_topics.c - which topics exist, for records that outsiders ask us to send.
 * A name may come from a client's header, so asking never creates a topic (the handle does not
 * allow it), what does not exist is remembered for a while, and the table is bounded.
 * The lock is never held over a call to the broker. */
#include "connectors/kafka_internal.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"

enum { TOPICS_MAX = 1024, MISSING_MS = 10000, RESOLVE_MS = 1000 };

struct known {
    char *name;
    int32_t partitions; /* 0: does not exist */
    int64_t asked_ms;
};

struct kafka_topics {
    rd_kafka_t *rk;
    struct tally_mutex mutex;
    struct known *known;
    size_t count;
};

struct kafka_topics *kafka_topics_create(rd_kafka_t *rk)
{
    struct kafka_topics *topics = tally_alloc_zero(1, sizeof *topics);

    topics->rk = rk;
    topics->known = tally_alloc_zero(TOPICS_MAX, sizeof *topics->known);
    tally_mutex_init(&topics->mutex, TALLY_LOCK_CONNECTOR);
    return topics;
}

static void forget_all(struct kafka_topics *topics)
{
    for (size_t i = 0; i < topics->count; i++) {
        tally_free(topics->known[i].name);
    }
    topics->count = 0;
}

void kafka_topics_destroy(struct kafka_topics *topics)
{
    if (!topics) {
        return;
    }
    forget_all(topics);
    tally_free(topics->known);
    tally_mutex_deinit(&topics->mutex);
    tally_free(topics);
}

/* NULL: never asked, or too long ago. */
static struct known *find(struct kafka_topics *topics, const char *topic)
{
    int64_t now_ms = tally_mono_ms(tally_clock_real());

    for (size_t i = 0; i < topics->count; i++) {
        struct known *known = &topics->known[i];

        if (strcmp(known->name, topic) == 0) {
            return known->partitions || now_ms - known->asked_ms < MISSING_MS ? known : NULL;
        }
    }
    return NULL;
}

static void remember(struct kafka_topics *topics, const char *topic, int32_t partitions)
{
    struct known *known = NULL;

    for (size_t i = 0; i < topics->count && !known; i++) {
        known = strcmp(topics->known[i].name, topic) == 0 ? &topics->known[i] : NULL;
    }
    if (!known) {
        if (topics->count == TOPICS_MAX) {
            forget_all(topics);
        }
        known = &topics->known[topics->count++];
        known->name = tally_copy_string(topic);
    }
    known->partitions = partitions;
    known->asked_ms = tally_mono_ms(tally_clock_real());
}

void kafka_topics_resolve(rd_kafka_t *rk, rd_kafka_topic_t *topic)
{
    const struct rd_kafka_metadata *metadata = NULL;

    if (!rd_kafka_metadata(rk, 0, topic, &metadata, RESOLVE_MS)) {
        rd_kafka_metadata_destroy(metadata);
    }
}

/* *why: what the broker says instead of a number of partitions. */
static enum tally_code ask(struct kafka_topics *topics, const char *topic, int timeout_ms,
        int32_t *partitions, rd_kafka_resp_err_t *why, struct tally_error *err)
{
    rd_kafka_topic_t *handle = rd_kafka_topic_new(topics->rk, topic, NULL);
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;

    *partitions = 0;
    *why = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if (!handle) { /* not even a possible name */
        return TALLY_OK;
    }
    error = rd_kafka_metadata(topics->rk, 0, handle, &metadata, timeout_ms);
    rd_kafka_topic_destroy(handle);
    if (error) {
        return tally_error_set(err, TALLY_UNAVAILABLE, "could not look for topic \"%.80s\": %s",
                topic, rd_kafka_err2str(error));
    }
    if (metadata->topic_cnt == 1) {
        *why = metadata->topics[0].err;
        *partitions = *why ? 0 : metadata->topics[0].partition_cnt;
    }
    rd_kafka_metadata_destroy(metadata);
    return TALLY_OK;
}

enum tally_code kafka_topics_ask(struct kafka_topics *topics, const char *topic, int timeout_ms,
        int32_t *partitions, struct tally_error *err)
{
    rd_kafka_resp_err_t why;
    enum tally_code code = ask(topics, topic, timeout_ms, partitions, &why, err);

    return code || !why ? code
                        : kafka_error_set(KAFKA_ROLE_QUERY, topics->rk, why, err,
                                  "could not look for topic \"%.80s\"", topic);
}

enum tally_code kafka_topics_find(struct kafka_topics *topics, const char *topic, int timeout_ms,
        int32_t *partitions, struct tally_error *err)
{
    const struct known *known = NULL;
    enum tally_code code = TALLY_OK;
    rd_kafka_resp_err_t why;
    bool found = false;

    tally_mutex_lock(&topics->mutex);
    known = find(topics, topic);
    found = known != NULL;
    *partitions = known ? known->partitions : 0;
    tally_mutex_unlock(&topics->mutex);
    if (!found) {
        if (timeout_ms <= 0) {
            return tally_error_set(err, TALLY_UNAVAILABLE, "topic \"%.80s\" is not known yet",
                    topic);
        }
        code = ask(topics, topic, timeout_ms, partitions, &why, err);
        if (code) {
            return code;
        }
        tally_mutex_lock(&topics->mutex);
        remember(topics, topic, *partitions);
        tally_mutex_unlock(&topics->mutex);
    }
    return *partitions ? TALLY_OK
                       : tally_error_set(err, TALLY_NOT_FOUND,
                                 "topic \"%.80s\" does not exist, run: tally topics create", topic);
}
