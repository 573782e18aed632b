/* connectors/kafka_admin.c - topics of topologies: naming, making, checking.
 * Invariants
 *  (1) A topic that exists is never changed; the advice for a wrong setting is a command to run.
 *  (2) Every topic is looked at, and every mismatch becomes a line, before a call fails.
 *  (3) Limits of dead-letter topics follow the input topic as the broker has it, so inputs are made
 *      and read first. */
#include "connectors/kafka_admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "connectors/kafka_internal.h"
#include "connectors/sink_task.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

#define TOMBSTONE_RETENTION_MS "86400000" /* restore_check.h */

enum {
    DLT_MARGIN = 65536,          /* headers that are added to a dead letter */
    DEFAULT_MAX_BYTES = 1048588, /* Kafka's max.message.bytes */
    REASON_SIZE = 512,
    SINKS_MAX = 2,
    SEEN_AGAIN_MS = 50, /* between looks at a topic that was just made */
};

struct admin {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    int64_t deadline_ms;
    const char *servers;
};

/* One topic as the broker has it. */
struct found {
    int32_t partitions; /* 0: does not exist, or is not shown */
    bool refused;       /* the broker does not show it to us */
    struct {
        bool set;
        char text[TALLY_TOPIC_VALUE_MAX + 1];
    } values[TALLY_TOPIC_SETTINGS_MAX]; /* of spec.settings */
    int64_t max_message_bytes;
};

/* --- naming --- */

static bool name_valid(const char *name)
{
    for (const char *at = name; *at; at++) {
        bool letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z');

        if (!letter && !(*at >= '0' && *at <= '9') && *at != '.' && *at != '_' && *at != '-') {
            return false;
        }
    }
    return *name != '\0';
}

static void add_setting(struct tally_topic_spec *spec, const char *name, const char *value,
        enum tally_topic_compare compare)
{
    struct tally_topic_setting *setting = &spec->settings[spec->setting_count++];

    tally_assert(spec->setting_count <= TALLY_TOPIC_SETTINGS_MAX);
    setting->name = name;
    setting->compare = compare;
    (void)snprintf(setting->value, sizeof setting->value, "%s", value);
}

static enum tally_code name_spec(struct tally_topic_spec *spec, const struct tally_config *config,
        const char *topology, const char *rest, struct tally_error *err)
{
    int len = snprintf(spec->name, sizeof spec->name, "%s%s%s", config->topics_prefix, topology,
            rest);

    if (len < 0 || len > TALLY_TOPIC_NAME_MAX || !name_valid(spec->name)) {
        return tally_error_set(err, TALLY_CONFIG,
                "topic \"%.120s\" is no name for Kafka: at most %d of a-z A-Z 0-9 . _ -, check "
                "topics.prefix",
                spec->name, TALLY_TOPIC_NAME_MAX);
    }
    spec->partitions = (int32_t)config->topics_partitions;
    spec->replication = (int16_t)config->topics_replication;
    return TALLY_OK;
}

static void add_events_settings(struct tally_topic_spec *spec)
{
    add_setting(spec, "cleanup.policy", "delete", TALLY_TOPIC_EQUAL);
    add_setting(spec, "retention.ms", "-1", TALLY_TOPIC_EQUAL); /* it is the changelog */
    add_setting(spec, "retention.bytes", "-1", TALLY_TOPIC_EQUAL);
    add_setting(spec, "max.message.bytes", "4194304", TALLY_TOPIC_WHEN_CREATED);
}

static void add_dead_letter_settings(struct tally_topic_spec *spec)
{
    add_setting(spec, "cleanup.policy", "delete", TALLY_TOPIC_EQUAL);
    add_setting(spec, "retention.ms", "7776000000", TALLY_TOPIC_WHEN_CREATED); /* 90 d */
    add_setting(spec, "max.message.bytes", "65536", TALLY_TOPIC_ABOVE_INPUT);
}

/* commands, events, dead letters */
static enum tally_code aggregate_specs(struct tally_topic_spec specs[3],
        const struct tally_config *config, const char *topology, struct tally_error *err)
{
    enum tally_code code = name_spec(&specs[0], config, topology, ".commands", err);

    code = code ? code : name_spec(&specs[1], config, topology, ".events", err);
    code = code ? code : name_spec(&specs[2], config, topology, ".commands-dlt", err);
    if (code) {
        return code;
    }
    add_setting(&specs[0], "cleanup.policy", "delete", TALLY_TOPIC_EQUAL);
    add_setting(&specs[0], "message.timestamp.type", "LogAppendTime", TALLY_TOPIC_EQUAL);
    add_setting(&specs[0], "retention.ms", "2592000000", TALLY_TOPIC_WHEN_CREATED); /* 30 d */
    add_events_settings(&specs[1]);
    (void)snprintf(specs[2].input, sizeof specs[2].input, "%s", specs[0].name);
    add_dead_letter_settings(&specs[2]);
    return TALLY_OK;
}

/* The events that are read, which may be those of an aggregate of another instance, and the
 * changelog. */
static enum tally_code projection_specs(struct tally_topic_spec specs[2],
        const struct tally_config *config, const struct tally_topic_owner *owner,
        struct tally_error *err)
{
    enum tally_code code = name_spec(&specs[0], config, owner->events, "", err);

    code = code ? code : name_spec(&specs[1], config, owner->changelog, "", err);
    if (code) {
        return code;
    }
    add_events_settings(&specs[0]);
    add_setting(&specs[1], "cleanup.policy", "compact", TALLY_TOPIC_EQUAL);
    /* Shorter than that, and a restore would not see what was deleted meanwhile. */
    add_setting(&specs[1], "delete.retention.ms", TOMBSTONE_RETENTION_MS, TALLY_TOPIC_AT_LEAST);
    /* A commit hands over all its rows at once, in batches up to batch.size. */
    add_setting(&specs[1], "max.message.bytes", "1048576", TALLY_TOPIC_AT_LEAST);
    /* The open segment is not compacted, and all of it is read by a restore. */
    add_setting(&specs[1], "segment.bytes", "67108864", TALLY_TOPIC_WHEN_CREATED);
    return TALLY_OK;
}

/* A dead-letter topic for each sink that is configured, if there is anything for it. */
static enum tally_code add_sinks(struct tally_topic_spec *specs, size_t *total,
        const struct tally_config *config, const struct tally_topic_owner *owners,
        size_t owner_count, struct tally_error *err)
{
    const struct {
        const char *name, *url;
    } sinks[SINKS_MAX] = {{"postgres", config->postgres_url}, {"redis", config->redis_url}};
    const struct tally_topic_owner *first = NULL;
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; i < owner_count && !first; i++) {
        first = owners[i].changelog ? NULL : &owners[i];
    }
    for (size_t i = 0; i < SINKS_MAX && first && !code; i++) {
        struct tally_topic_spec *spec = &specs[*total];
        char name[32];

        if (*sinks[i].url == '\0') {
            continue;
        }
        (void)snprintf(name, sizeof name, TALLY_SINK_DEAD_LETTERS, sinks[i].name);
        code = name_spec(spec, config, name, "", err);
        (void)snprintf(spec->input, sizeof spec->input, "%s%s.events", config->topics_prefix,
                first->name);
        add_dead_letter_settings(spec);
        *total += 1;
    }
    return code;
}

/* Topics that two topologies share are there once, as the first of them has them. */
static void drop_repeats(struct tally_topic_spec *specs, size_t *count)
{
    size_t kept = 0;

    for (size_t i = 0; i < *count; i++) {
        bool repeated = false;

        for (size_t earlier = 0; earlier < kept && !repeated; earlier++) {
            repeated = strcmp(specs[earlier].name, specs[i].name) == 0;
        }
        if (!repeated) {
            specs[kept++] = specs[i];
        }
    }
    *count = kept;
}

enum tally_code tally_topics_of(const struct tally_config *config,
        const struct tally_topic_owner *owners, size_t owner_count,
        struct tally_topic_spec **result, size_t *count, struct tally_error *err)
{
    struct tally_topic_spec *specs =
            tally_alloc_zero(3 * owner_count + 2 + SINKS_MAX, sizeof *specs);
    size_t total = 0;
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; i < owner_count && !code; i++) {
        code = owners[i].changelog ? projection_specs(specs + total, config, &owners[i], err)
                                   : aggregate_specs(specs + total, config, owners[i].name, err);
        total += owners[i].changelog ? 2 : 3;
    }
    code = code ? code : name_spec(&specs[total], config, "tally", ".replies", err);
    if (code) {
        tally_free(specs);
        return code;
    }
    add_setting(&specs[total], "cleanup.policy", "delete", TALLY_TOPIC_EQUAL);
    add_setting(&specs[total++], "retention.ms", "3600000", TALLY_TOPIC_WHEN_CREATED); /* 1 h */
    if (config->http_audit) {
        code = name_spec(&specs[total], config, "tally", ".audit", err);
        add_setting(&specs[total], "cleanup.policy", "delete", TALLY_TOPIC_EQUAL);
        add_setting(&specs[total++], "retention.ms", "31536000000",
                TALLY_TOPIC_WHEN_CREATED); /* 1 a */
    }
    code = code ? code : add_sinks(specs, &total, config, owners, owner_count, err);
    if (code) {
        tally_free(specs);
        return code;
    }
    drop_repeats(specs, &total);
    *result = specs;
    *count = total;
    return TALLY_OK;
}

/* --- the broker --- */

static enum tally_code admin_open(struct admin *admin, const struct tally_config *config,
        int timeout_ms, struct tally_error *err)
{
    struct kafka_options options = {.config = config};
    rd_kafka_conf_t *conf = kafka_config_create(KAFKA_KIND_ADMIN, &options, err);

    *admin = (struct admin){.servers = config->kafka_servers,
            .deadline_ms = tally_mono_ms(tally_clock_real()) + timeout_ms};
    admin->rk = conf ? kafka_config_open(KAFKA_KIND_ADMIN, conf, err) : NULL;
    if (!admin->rk) {
        return TALLY_CONFIG;
    }
    admin->queue = rd_kafka_queue_new(admin->rk);
    return TALLY_OK;
}

static void admin_close(struct admin *admin)
{
    if (admin->rk) {
        rd_kafka_queue_destroy(admin->queue);
        (void)kafka_reaper_destroy(admin->rk, KAFKA_REAP_MS);
    }
}

static int left_ms(const struct admin *admin)
{
    int64_t left = admin->deadline_ms - tally_mono_ms(tally_clock_real());

    return left > 0 ? (int)left : 0;
}

static enum tally_code unavailable(const struct admin *admin, const char *reason,
        struct tally_error *err)
{
    return tally_error_set(err, TALLY_UNAVAILABLE,
            "no broker of %.100s answered: %s, check kafka.bootstrap.servers", admin->servers,
            reason);
}

/* *partitions 0: no such topic, or not all of it has a leader yet. */
static enum tally_code count_partitions(const struct admin *admin, const char *name,
        int32_t *partitions, bool *refused, struct tally_error *err)
{
    rd_kafka_topic_t *topic = rd_kafka_topic_new(admin->rk, name, NULL);
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t error = rd_kafka_metadata(admin->rk, 0, topic, &metadata, left_ms(admin));

    *partitions = 0;
    *refused = false;
    rd_kafka_topic_destroy(topic);
    if (error) {
        return unavailable(admin, rd_kafka_err2str(error), err);
    }
    if (metadata->topic_cnt == 1 && !metadata->topics[0].err) {
        *partitions = metadata->topics[0].partition_cnt;
        for (int i = 0; i < metadata->topics[0].partition_cnt; i++) {
            *partitions = metadata->topics[0].partitions[i].leader < 0 ? 0 : *partitions;
        }
    }
    *refused = metadata->topic_cnt == 1 &&
               metadata->topics[0].err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    rd_kafka_metadata_destroy(metadata);
    return TALLY_OK;
}

/* Polls for the one answer of an admin call; NULL: none came. The caller's to destroy. */
static rd_kafka_event_t *answer(const struct admin *admin, struct tally_error *err)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(admin->queue, left_ms(admin));

    if (event && rd_kafka_event_error(event)) {
        (void)unavailable(admin, rd_kafka_event_error_string(event), err);
        rd_kafka_event_destroy(event);
        return NULL;
    }
    if (!event) {
        (void)unavailable(admin, "timed out", err);
    }
    return event;
}

static void read_values(const rd_kafka_ConfigResource_t *resource,
        const struct tally_topic_spec *spec, struct found *found)
{
    size_t count = 0;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &count);

    for (size_t i = 0; i < count; i++) {
        const char *name = rd_kafka_ConfigEntry_name(entries[i]);
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);

        for (size_t k = 0; value && k < spec->setting_count; k++) {
            if (strcmp(name, spec->settings[k].name) == 0) {
                found->values[k].set = true;
                (void)snprintf(found->values[k].text, sizeof found->values[k].text, "%s", value);
            }
        }
        if (value && strcmp(name, "max.message.bytes") == 0) {
            found->max_message_bytes = strtoll(value, NULL, 10);
        }
    }
}

/* Fills the values of every topic that exists. */
static enum tally_code describe(const struct admin *admin, const struct tally_topic_spec *specs,
        size_t count, struct found *found, struct tally_error *err)
{
    rd_kafka_ConfigResource_t **asked =
            tally_alloc((count + 1) * sizeof(rd_kafka_ConfigResource_t *));
    const rd_kafka_ConfigResource_t **told = NULL;
    rd_kafka_event_t *event = NULL;
    size_t asked_count = 0, told_count = 0;
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; i < count; i++) {
        if (found[i].partitions) {
            asked[asked_count++] =
                    rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, specs[i].name);
        }
    }
    if (asked_count == 0)
        goto out;
    rd_kafka_DescribeConfigs(admin->rk, asked, asked_count, NULL, admin->queue);
    event = answer(admin, err);
    if (!event) {
        code = TALLY_UNAVAILABLE;
        goto out;
    }
    told = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event),
            &told_count);
    for (size_t i = 0; i < told_count; i++) {
        for (size_t k = 0; k < count; k++) {
            if (strcmp(rd_kafka_ConfigResource_name(told[i]), specs[k].name) == 0) {
                read_values(told[i], &specs[k], &found[k]);
            }
        }
    }
    rd_kafka_event_destroy(event);
out:
    rd_kafka_ConfigResource_destroy_array(asked, asked_count);
    tally_free(asked);
    return code;
}

static enum tally_code look(const struct admin *admin, const struct tally_topic_spec *specs,
        size_t count, struct found *found, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; i < count && !code; i++) {
        code = count_partitions(admin, specs[i].name, &found[i].partitions, &found[i].refused, err);
    }
    return code ? code : describe(admin, specs, count, found, err);
}

static int64_t input_max_bytes(const struct tally_topic_spec *specs, size_t count,
        const struct found *found, const struct tally_topic_spec *spec)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(specs[i].name, spec->input) == 0 && found[i].max_message_bytes > 0) {
            return found[i].max_message_bytes;
        }
    }
    return DEFAULT_MAX_BYTES;
}

/* --- making --- */

static rd_kafka_NewTopic_t *new_topic(const struct tally_topic_spec *specs, size_t count,
        const struct found *found, const struct tally_topic_spec *spec, char *reason)
{
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(spec->name, spec->partitions,
            spec->replication, reason, REASON_SIZE);

    for (size_t i = 0; topic && i < spec->setting_count; i++) {
        const struct tally_topic_setting *setting = &spec->settings[i];
        char value[TALLY_TOPIC_VALUE_MAX + 1];

        if (setting->compare == TALLY_TOPIC_ABOVE_INPUT) {
            (void)snprintf(value, sizeof value, "%lld",
                    (long long)(input_max_bytes(specs, count, found, spec) +
                                strtoll(setting->value, NULL, 10)));
        } else {
            (void)snprintf(value, sizeof value, "%s", setting->value);
        }
        (void)rd_kafka_NewTopic_set_config(topic, setting->name, value);
    }
    return topic;
}

static void note_failure(struct tally_buf *mistakes, const char *topic, const char *reason)
{
    tally_buf_format(mistakes, "topic \"%s\": could not be made: %s\n", topic, reason);
}

/* One request for the topics that `wanted` marks. */
static enum tally_code create_marked(const struct admin *admin,
        const struct tally_topic_spec *specs, size_t count, const bool *wanted,
        const struct found *found, enum tally_topic_state *states, struct tally_buf *mistakes,
        struct tally_error *err)
{
    rd_kafka_NewTopic_t **topics = tally_alloc((count + 1) * sizeof(rd_kafka_NewTopic_t *));
    const rd_kafka_topic_result_t **results = NULL;
    rd_kafka_event_t *event = NULL;
    size_t topic_count = 0, result_count = 0;
    char reason[REASON_SIZE] = "";
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; i < count; i++) {
        rd_kafka_NewTopic_t *topic =
                wanted[i] ? new_topic(specs, count, found, &specs[i], reason) : NULL;

        if (topic) {
            topics[topic_count++] = topic;
        } else if (wanted[i]) {
            note_failure(mistakes, specs[i].name, reason);
        }
    }
    if (topic_count == 0)
        goto out;
    rd_kafka_CreateTopics(admin->rk, topics, topic_count, NULL, admin->queue);
    event = answer(admin, err);
    if (!event) {
        code = TALLY_UNAVAILABLE;
        goto out;
    }
    results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event),
            &result_count);
    for (size_t i = 0; i < result_count; i++) {
        rd_kafka_resp_err_t error = rd_kafka_topic_result_error(results[i]);
        const char *name = rd_kafka_topic_result_name(results[i]);

        for (size_t k = 0; k < count; k++) {
            if (strcmp(specs[k].name, name) == 0) {
                states[k] = error == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS ? TALLY_TOPIC_EXISTS
                            : error                                         ? TALLY_TOPIC_FAILED
                                                                            : TALLY_TOPIC_CREATED;
            }
        }
        if (error && error != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
            note_failure(mistakes, name, rd_kafka_topic_result_error_string(results[i]));
        }
    }
    rd_kafka_event_destroy(event);
out:
    rd_kafka_NewTopic_destroy_array(topics, topic_count);
    tally_free(topics);
    return code;
}

/* The controller has made them; brokers learn it a moment later. */
static enum tally_code wait_seen(const struct admin *admin, const struct tally_topic_spec *specs,
        size_t count, const enum tally_topic_state *states, struct tally_error *err)
{
    for (size_t i = 0; i < count; i++) {
        int32_t partitions = 0;
        bool refused;

        while (states[i] == TALLY_TOPIC_CREATED && partitions < specs[i].partitions) {
            struct timespec pause = {.tv_nsec = SEEN_AGAIN_MS * 1000000L};
            enum tally_code code =
                    count_partitions(admin, specs[i].name, &partitions, &refused, err);

            if (code) {
                return code;
            }
            if (partitions < specs[i].partitions) {
                (void)nanosleep(&pause, NULL);
            }
        }
    }
    return TALLY_OK;
}

enum tally_code tally_topics_create(const struct tally_config *config,
        const struct tally_topic_spec *specs, size_t count, int timeout_ms,
        enum tally_topic_state *states, struct tally_buf *mistakes, struct tally_error *err)
{
    struct admin admin;
    struct found *found = tally_alloc_zero(count + 1, sizeof *found);
    bool *wanted = tally_alloc_zero(count + 1, sizeof *wanted);
    size_t failed = 0;
    enum tally_code code = admin_open(&admin, config, timeout_ms, err);

    for (size_t i = 0; i < count; i++) {
        states[i] = TALLY_TOPIC_FAILED;
    }
    for (int pass = 0; pass < 2 && !code; pass++) { /* inputs, then what follows them */
        code = look(&admin, specs, count, found, err);
        for (size_t i = 0; i < count; i++) {
            wanted[i] = !found[i].partitions && (specs[i].input[0] != '\0') == (pass == 1);
            if (pass == 0 && found[i].partitions) {
                states[i] = TALLY_TOPIC_EXISTS;
            }
        }
        code = code ? code
                    : create_marked(&admin, specs, count, wanted, found, states, mistakes, err);
        code = code ? code : wait_seen(&admin, specs, count, states, err);
    }
    for (size_t i = 0; i < count; i++) {
        failed += states[i] == TALLY_TOPIC_FAILED;
    }
    if (!code && failed) {
        code = tally_error_set(err, TALLY_TOPIC_CONFIG, "%zu of %zu topics could not be made",
                failed, count);
    }
    admin_close(&admin);
    tally_free(wanted);
    tally_free(found);
    return code;
}

/* --- checking --- */

static bool at_least(const char *value, int64_t expected)
{
    int64_t number = strtoll(value, NULL, 10);

    return number == -1 || number >= expected;
}

static void check_setting(const struct admin *admin, const struct tally_topic_spec *spec,
        size_t index, const struct found *found, int64_t input_bytes, struct tally_buf *mistakes)
{
    const struct tally_topic_setting *setting = &spec->settings[index];
    const char *value = found->values[index].set ? found->values[index].text : "unknown";
    int64_t least = strtoll(setting->value, NULL, 10);
    char expected[TALLY_TOPIC_VALUE_MAX + 1];
    bool fits = true;

    (void)snprintf(expected, sizeof expected, "%s", setting->value);
    switch (setting->compare) {
    case TALLY_TOPIC_EQUAL:
        fits = strcmp(value, setting->value) == 0;
        break;
    case TALLY_TOPIC_AT_LEAST:
        fits = at_least(value, least);
        break;
    case TALLY_TOPIC_ABOVE_INPUT:
        fits = at_least(value, input_bytes + least);
        (void)snprintf(expected, sizeof expected, "%lld", (long long)(input_bytes + least));
        break;
    case TALLY_TOPIC_WHEN_CREATED:
    default:
        break;
    }
    if (!fits) {
        tally_buf_format(mistakes,
                "topic \"%s\": %s is %s, expected %s%s, run: kafka-configs.sh --bootstrap-server "
                "%s "
                "--alter --entity-type topics --entity-name %s --add-config %s=%s\n",
                spec->name, setting->name, value,
                setting->compare == TALLY_TOPIC_EQUAL ? "" : "at least ", expected, admin->servers,
                spec->name, setting->name, expected);
    }
}

/* Replies are addressed by partition number or any key: their count is nobody's business. */
static bool counts_partitions(const struct tally_topic_spec *spec)
{
    size_t len = strlen(spec->name), tail = strlen("tally.replies");

    return len < tail || strcmp(spec->name + len - tail, "tally.replies") != 0;
}

static void check_topics(const struct admin *admin, const struct tally_topic_spec *specs,
        size_t count, const struct found *found, int32_t *partitions, struct tally_buf *mistakes)
{
    const struct tally_topic_spec *first = NULL;

    *partitions = 0;
    for (size_t i = 0; i < count; i++) {
        if (found[i].refused) {
            tally_buf_format(mistakes,
                    "topic \"%s\": the broker refuses access, run: kafka-acls.sh "
                    "--bootstrap-server %s --add --allow-principal USER --operation All --topic "
                    "%s\n",
                    specs[i].name, admin->servers, specs[i].name);
            continue;
        }
        if (!found[i].partitions) {
            tally_buf_format(mistakes, "topic \"%s\": does not exist, run: tally topics create\n",
                    specs[i].name);
            continue;
        }
        if (counts_partitions(&specs[i])) {
            if (!first) {
                first = &specs[i];
                *partitions = found[i].partitions;
            } else if (found[i].partitions != *partitions) {
                tally_buf_format(mistakes,
                        "topic \"%s\": has %d partitions, topic \"%s\" has %d: they must be equal, "
                        "delete the empty one and run: tally topics create\n",
                        specs[i].name, (int)found[i].partitions, first->name, (int)*partitions);
            }
        }
        for (size_t k = 0; k < specs[i].setting_count; k++) {
            check_setting(admin, &specs[i], k, &found[i],
                    input_max_bytes(specs, count, found, &specs[i]), mistakes);
        }
    }
}

enum tally_code tally_topics_check(const struct tally_config *config,
        struct tally_topic_spec *specs, size_t count, int timeout_ms, int32_t *partitions,
        struct tally_buf *mistakes, struct tally_error *err)
{
    struct admin admin;
    struct found *found = tally_alloc_zero(count + 1, sizeof *found);
    size_t before = mistakes->len;
    enum tally_code code = admin_open(&admin, config, timeout_ms, err);

    code = code ? code : look(&admin, specs, count, found, err);
    for (size_t i = 0; i < count && !code; i++) {
        specs[i].max_message_bytes = found[i].max_message_bytes;
    }
    if (!code) {
        check_topics(&admin, specs, count, found, partitions, mistakes);
        if (mistakes->len > before || mistakes->failed) {
            const char *line = (const char *)mistakes->data + before;
            size_t len = mistakes->len - before;
            const char *end = memchr(line, '\n', len);

            code = tally_error_set(err, TALLY_TOPIC_CONFIG, "%.*s",
                    end ? (int)(end - line) : (int)len, line);
        }
    }
    admin_close(&admin);
    tally_free(found);
    return code;
}
