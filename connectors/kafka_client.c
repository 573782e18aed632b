/* connectors/kafka_client.c - the process's Kafka client: makes consumers and producers, knows the
 * cluster. Holds the handle W (read_uncommitted: watermarks, metadata), the sender (replies,
 * published commands) and a thread that asks a broker for metadata every few seconds, so that
 * health is told from memory. */
#include "connectors/kafka_internal.h"

#include <stdatomic.h>
#include <stdio.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"

enum {
    CONTACT_EVERY_MS = 1000,
    CONTACT_RETRY_MS = 1000,
    CONTACT_TIMEOUT_MS = 2000,
    CONTACT_FRESH_MS = 3000, /* older than this: not reachable */
    CLUSTER_TIMEOUT_MS = 5000,
    SESSION_MARGIN_MS = 15000, /* a dead owner's transaction ends before its partitions move */
};

struct kafka_client {
    struct tally_client base;
    struct kafka_options options;
    char *http_address;
    rd_kafka_t *watermarks;
    struct kafka_topics *topics;
    struct kafka_sender *sender;
    atomic_bool leaving;

    struct tally_thread contact_thread;
    struct tally_mutex mutex; /* of all below */
    struct tally_cond stop_cond;
    bool stop;
    int64_t contact_ms; /* of the last answer; 0: none yet */
    char trouble[160];  /* of the last attempt; "": none */
    char *cluster_id;
    struct {
        char *topic;
        size_t bytes;
    } * limits; /* of topics, in bytes of a record */
    size_t limit_count;
    size_t producer_max; /* message.max.bytes of P */
};

static struct kafka_client *self(struct tally_client *base)
{
    return (struct kafka_client *)base;
}

/* --- contact --- */

/* Any answer will do, so the topic need not exist. */
static bool contact(struct kafka_client *client)
{
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client->watermarks, "tally.replies", NULL);
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t error =
            rd_kafka_metadata(client->watermarks, 0, topic, &metadata, CONTACT_TIMEOUT_MS);

    rd_kafka_topic_destroy(topic);
    if (!error) {
        rd_kafka_metadata_destroy(metadata);
    }
    tally_mutex_lock(&client->mutex);
    if (error) {
        (void)snprintf(client->trouble, sizeof client->trouble, "%s", rd_kafka_err2str(error));
    } else {
        client->contact_ms = tally_mono_ms(tally_clock_real());
        client->trouble[0] = '\0';
    }
    tally_mutex_unlock(&client->mutex);
    (void)rd_kafka_poll(client->watermarks, 0);
    return !error;
}

static void contact_run(void *argument)
{
    struct kafka_client *client = argument;
    bool stop = false;

    while (!stop) {
        int64_t pause_ms = contact(client) ? CONTACT_EVERY_MS : CONTACT_RETRY_MS;

        tally_mutex_lock(&client->mutex);
        if (!client->stop) {
            (void)tally_cond_wait(&client->stop_cond, &client->mutex, pause_ms);
        }
        stop = client->stop;
        tally_mutex_unlock(&client->mutex);
    }
}

static bool client_reachable(struct tally_client *base, struct tally_error *err)
{
    struct kafka_client *client = self(base);
    int64_t now_ms = tally_mono_ms(tally_clock_real());
    bool fresh = false;

    tally_mutex_lock(&client->mutex);
    fresh = client->contact_ms && now_ms - client->contact_ms < CONTACT_FRESH_MS;
    if (!fresh) {
        (void)tally_error_set(err, TALLY_UNAVAILABLE, "no broker of %.100s answers: %s",
                client->options.config->kafka_servers,
                *client->trouble ? client->trouble : "not asked yet");
    }
    tally_mutex_unlock(&client->mutex);
    return fresh;
}

static const char *client_cluster_id(struct tally_client *base)
{
    struct kafka_client *client = self(base);
    char *found = NULL;
    const char *id = NULL;

    tally_mutex_lock(&client->mutex);
    id = client->cluster_id;
    tally_mutex_unlock(&client->mutex);
    if (id) {
        return id;
    }
    found = rd_kafka_clusterid(client->watermarks, CLUSTER_TIMEOUT_MS);
    if (!found) {
        return NULL;
    }
    tally_mutex_lock(&client->mutex);
    if (!client->cluster_id) {
        client->cluster_id = tally_copy_string(found);
    }
    id = client->cluster_id;
    tally_mutex_unlock(&client->mutex);
    rd_kafka_mem_free(client->watermarks, found);
    return id;
}

/* --- clients --- */

static struct kafka_options of_thread(const struct kafka_client *client, const char *group,
        int thread)
{
    struct kafka_options options = client->options;

    options.group = group;
    options.thread = thread;
    return options;
}

static struct tally_consumer *client_consumer(struct tally_client *base, const char *group,
        int thread, const struct tally_rebalance_listener *listener, struct tally_error *err)
{
    struct kafka_options options = of_thread(self(base), group, thread);

    return kafka_consumer_create(KAFKA_KIND_CONSUMER, &options, listener, self(base)->watermarks,
            err);
}

static struct tally_consumer *client_restore_consumer(struct tally_client *base, int thread,
        struct tally_error *err)
{
    struct kafka_options options = of_thread(self(base), NULL, thread);

    return kafka_consumer_create(KAFKA_KIND_RESTORE, &options, NULL, self(base)->watermarks, err);
}

static struct tally_consumer *client_probe_consumer(struct tally_client *base,
        struct tally_error *err)
{
    struct kafka_options options = self(base)->options;

    return kafka_consumer_create(KAFKA_KIND_PROBE, &options, NULL, self(base)->watermarks, err);
}

static enum tally_code client_partitions(struct tally_client *base, const char *topic,
        int timeout_ms, int32_t *partitions, struct tally_error *err)
{
    return kafka_topics_ask(self(base)->topics, topic, timeout_ms, partitions, err);
}

static struct tally_producer *client_producer(struct tally_client *base, const char *group,
        int thread, struct tally_error *err)
{
    struct kafka_options options = of_thread(self(base), group, thread);

    return kafka_producer_create(&options, err);
}

static bool client_reply(struct tally_client *base, const char *topic, int32_t partition,
        struct tally_slice key, struct tally_slice value, const struct tally_header *headers,
        size_t count)
{
    return kafka_sender_reply(self(base)->sender, topic, partition, key, value, headers, count);
}

static enum tally_code client_publish(struct tally_client *base, const char *topic,
        struct tally_slice key, struct tally_slice value, const struct tally_header *headers,
        size_t header_count, int timeout_ms, int32_t *partition, int64_t *offset,
        struct tally_error *err)
{
    return kafka_sender_publish(self(base)->sender, topic, key, value, headers, header_count,
            timeout_ms, partition, offset, err);
}

void tally_kafka_client_leave(struct tally_client *client)
{
    atomic_store(&self(client)->leaving, true);
}

void tally_kafka_client_limit(struct tally_client *base, const char *topic, size_t bytes)
{
    struct kafka_client *client = self(base);

    client->limits =
            tally_realloc(client->limits, (client->limit_count + 1) * sizeof client->limits[0]);
    client->limits[client->limit_count].topic = tally_copy_string(topic);
    client->limits[client->limit_count++].bytes = bytes;
}

static size_t client_record_max(struct tally_client *base, const char *topic)
{
    const struct kafka_client *client = self(base);

    for (size_t i = 0; i < client->limit_count; i++) {
        if (strcmp(client->limits[i].topic, topic) == 0 &&
                client->limits[i].bytes < client->producer_max) {
            return client->limits[i].bytes;
        }
    }
    return client->producer_max;
}

/* --- life --- */

static void client_destroy(struct tally_client *base)
{
    struct kafka_client *client = self(base);

    if (!base) {
        return;
    }
    if (client->contact_thread.started) {
        tally_mutex_lock(&client->mutex);
        client->stop = true;
        tally_cond_broadcast(&client->stop_cond);
        tally_mutex_unlock(&client->mutex);
        tally_thread_join(&client->contact_thread);
    }
    kafka_sender_destroy(client->sender);
    kafka_topics_destroy(client->topics);
    (void)kafka_reaper_destroy(client->watermarks, KAFKA_REAP_MS);
    tally_cond_deinit(&client->stop_cond);
    tally_mutex_deinit(&client->mutex);
    for (size_t i = 0; i < client->limit_count; i++) {
        tally_free(client->limits[i].topic);
    }
    tally_free(client->limits);
    tally_free(client->cluster_id);
    tally_free(client->http_address);
    tally_free(client);
}

static const struct tally_client_ops ops = {
        .consumer = client_consumer,
        .restore_consumer = client_restore_consumer,
        .probe_consumer = client_probe_consumer,
        .partitions = client_partitions,
        .producer = client_producer,
        .reply = client_reply,
        .publish = client_publish,
        .record_max = client_record_max,
        .reachable = client_reachable,
        .cluster_id = client_cluster_id,
        .destroy = client_destroy,
};

/* Makes every kind of conf once, so that a wrong property shows at start and not in a thread. */
static enum tally_code check(struct kafka_client *client, struct tally_error *err)
{
    static const enum kafka_kind kinds[] = {KAFKA_KIND_CONSUMER, KAFKA_KIND_RESTORE,
            KAFKA_KIND_PROBE, KAFKA_KIND_PRODUCER, KAFKA_KIND_SENDER, KAFKA_KIND_WATERMARK};
    const struct kafka_options *options = &client->options;
    const struct tally_config *config = options->config;

    if (config->session_timeout < config->transaction_timeout + SESSION_MARGIN_MS) {
        return tally_error_set(err, TALLY_CONFIG,
                "engine.session.timeout: expected at least engine.transaction.timeout and 15 s, "
                "got "
                "%lld ms",
                (long long)config->session_timeout);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        rd_kafka_conf_t *conf = kafka_config_create(kinds[i], options, err);

        if (!conf) {
            return TALLY_CONFIG;
        }
        if (kinds[i] == KAFKA_KIND_PRODUCER) {
            client->producer_max = (size_t)kafka_config_int(conf, "message.max.bytes");
        }
        rd_kafka_conf_destroy(conf);
    }
    return TALLY_OK;
}

enum tally_code tally_kafka_client_create(const struct tally_config *config,
        const char *http_address, struct tally_client **result, struct tally_error *err)
{
    struct kafka_client *client = tally_alloc_zero(1, sizeof *client);
    rd_kafka_conf_t *conf = NULL;
    enum tally_code code = TALLY_OK;

    client->base.ops = &ops;
    client->http_address = tally_copy_string(http_address ? http_address : "");
    client->options = (struct kafka_options){
            .config = config, .http_address = client->http_address, .leaving = &client->leaving};
    tally_mutex_init(&client->mutex, TALLY_LOCK_CONNECTOR);
    tally_cond_init(&client->stop_cond);
    code = check(client, err);
    if (code)
        goto out;
    conf = kafka_config_create(KAFKA_KIND_WATERMARK, &client->options, err);
    client->watermarks = conf ? kafka_config_open(KAFKA_KIND_WATERMARK, conf, err) : NULL;
    code = client->watermarks ? TALLY_OK : TALLY_CONFIG;
    if (code)
        goto out;
    client->topics = kafka_topics_create(client->watermarks);
    if (http_address) {
        client->sender = kafka_sender_create(&client->options, client->topics, err);
        code = client->sender ? TALLY_OK : TALLY_CONFIG;
    }
    if (code)
        goto out;
    tally_thread_start(&client->contact_thread, "kafka-contact", contact_run, client);
    *result = &client->base;
    client = NULL;
out:
    if (client) {
        client_destroy(&client->base);
    }
    return code;
}

const char *tally_kafka_version(void)
{
    return rd_kafka_version_str();
}
