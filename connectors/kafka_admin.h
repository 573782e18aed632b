/* connectors/kafka_admin.h - the topics that topologies need: naming, making, checking them.
 * Invariants
 *  (1) Creating never changes a topic that exists, and checking changes nothing at all.
 *  (2) A check reports every mismatch of every topic, not only the first.
 * Every call makes and destroys a librdkafka handle of its own: for the command line and for the
 * start, not for a loop. @thread any  @locks none */
#pragma once
#include "engine/base/config.h"

enum {
    TALLY_TOPIC_NAME_MAX = 249, /* Kafka's own limit */
    TALLY_TOPIC_VALUE_MAX = 31,
    TALLY_TOPIC_SETTINGS_MAX = 6,
};

/* How the value that a broker has is compared with the one of the spec. */
enum tally_topic_compare {
    TALLY_TOPIC_EQUAL,       /* the same text */
    TALLY_TOPIC_AT_LEAST,    /* an integer, -1 counts as without limit */
    TALLY_TOPIC_ABOVE_INPUT, /* at least the same setting of spec.input plus value */
    TALLY_TOPIC_WHEN_CREATED /* set by creation, not checked later */
};

struct tally_topic_setting {
    const char *name; /* a constant string */
    char value[TALLY_TOPIC_VALUE_MAX + 1];
    enum tally_topic_compare compare;
};

struct tally_topic_spec {
    char name[TALLY_TOPIC_NAME_MAX + 1];  /* with topics.prefix */
    char input[TALLY_TOPIC_NAME_MAX + 1]; /* of a dead-letter topic: whose letters; else "" */
    int32_t partitions;                   /* for creation; see tally_topics_check */
    int16_t replication;
    struct tally_topic_setting settings[TALLY_TOPIC_SETTINGS_MAX];
    size_t setting_count;
    int64_t max_message_bytes; /* as tally_topics_check found it; 0: not known */
};

/* A topology as far as topics go. Names without topics.prefix. */
struct tally_topic_owner {
    const char *name;
    const char *events, *changelog; /* of a projection; NULL: an aggregate */
};

/* The topics of these topologies ("stock": stock.commands, stock.events, stock.commands-dlt; of a
 * projection its changelog, and the events that it reads), tally.replies, with http.audit also
 * tally.audit, and the dead letters of the sinks that are configured, each once, in that order,
 * partitions and replication as configured.
 * *specs: the caller's, tally_free. CONFIG: a name is too long or has a character Kafka refuses. */
TALLY_MUST_CHECK enum tally_code tally_topics_of(const struct tally_config *config,
        const struct tally_topic_owner *owners, size_t owner_count, struct tally_topic_spec **specs,
        size_t *count, struct tally_error *err);

enum tally_topic_state { TALLY_TOPIC_FAILED, TALLY_TOPIC_EXISTS, TALLY_TOPIC_CREATED };

/* Creates those that do not exist and waits until the broker knows them. states[i] says what became
 * of specs[i]; reasons of FAILED ones are lines in *mistakes. All topics are tried; TOPIC_CONFIG if
 * one failed, UNAVAILABLE if no broker answered within timeout_ms. */
TALLY_MUST_CHECK enum tally_code tally_topics_create(const struct tally_config *config,
        const struct tally_topic_spec *specs, size_t count, int timeout_ms,
        enum tally_topic_state *states, struct tally_buf *mistakes, struct tally_error *err);

/* Checks that the topics exist, that all but tally.replies have one and the same number of
 * partitions, which is returned in *partitions and need not be topics.partitions, and the settings.
 * Every mismatch is a line in *mistakes: topic, setting, found and expected value, what to do. Then
 * TOPIC_CONFIG, with the first line in *err; UNAVAILABLE: no broker answered. */
TALLY_MUST_CHECK enum tally_code tally_topics_check(const struct tally_config *config,
        struct tally_topic_spec *specs, size_t count, int timeout_ms, int32_t *partitions,
        struct tally_buf *mistakes, struct tally_error *err);
