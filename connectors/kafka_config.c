/* connectors/kafka_config.c - the properties of every librdkafka handle, in one table.
 * Invariants
 *  (1) A conf is made fresh for each handle (librdkafka#5240).
 *  (2) kafka.properties come last and reach every handle, but what exactly-once rests on cannot be
 *      changed by them: such a property is refused, as is one that librdkafka does not know.
 *  (3) A value is never logged: it may be a password. */
#include "connectors/kafka_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/base/mem.h"

#define C         (1u << KAFKA_KIND_CONSUMER)
#define R         (1u << KAFKA_KIND_RESTORE)
#define PROBE     (1u << KAFKA_KIND_PROBE)
#define P         (1u << KAFKA_KIND_PRODUCER)
#define SENDER    (1u << KAFKA_KIND_SENDER)
#define W         (1u << KAFKA_KIND_WATERMARK)
#define READER    (1u << KAFKA_KIND_READER)
#define WRITER    (1u << KAFKA_KIND_WRITER)
#define ADMIN     (1u << KAFKA_KIND_ADMIN)
#define ENGINE    (C | R | PROBE | P | SENDER | W)
#define CONSUMERS (C | R | PROBE | W | READER | ADMIN)
#define PRODUCERS (P | SENDER | WRITER)

/* Two strings that follow app.id in every name. */
#define GROUP(options) (options)->group ? "-" : "", (options)->group ? (options)->group : ""

enum {
    SOCKET_TIMEOUT_MS = 6000,
    LINGER_MAX_MS = 1000,   /* of records that no commit has sent: far longer than one is open */
    PROPERTY_MAX = 96,      /* longest property name that is looked at */
    UNCOMMITTED_COPIES = 4, /* queue bytes of P over engine.uncommitted.max.bytes */
    TOOL_FETCH_KBYTES = 65536,
    TIMER_SLACK_NS = 10000000,
    SPINNING_SLACK_NS = 1000000, /* its timers are of a millisecond */
    SPINNING_NICE = 10,          /* a tenth of what others get, while there are others */
    GROUP_FETCH_SHARE = 4,       /* a projection's part of what a stream thread has */
    GROUP_FETCH_WAIT_MS = 1000,  /* nobody waits for it to come back to an older position */
    FETCHED_COST = 5, /* bytes in memory for a byte of small values: a record takes 320 and more */
};

static const struct {
    unsigned kinds;
    const char *name, *value;
} settings[] = {
        /* Phantom topics: a misspelt name must not make one. */
        {CONSUMERS | PRODUCERS, "allow.auto.create.topics", "false"},
        /* Nagle delays a small commit by 30 ms. */
        {CONSUMERS | PRODUCERS, "socket.nagle.disable", "true"},
        {CONSUMERS | PRODUCERS, "log.connection.close", "false"},
        {CONSUMERS | PRODUCERS, "reconnect.backoff.max.ms", "1000"},

        {CONSUMERS, "enable.auto.commit", "false"}, /* offsets travel in the transaction */
        {CONSUMERS, "enable.auto.offset.store", "false"},
        {CONSUMERS, "auto.offset.reset", "error"}, /* no silent jump */
        {CONSUMERS, "check.crcs", "true"},
        {C | R | PROBE, "isolation.level", "read_committed"}, /* and require_stable, KIP-447 */
        /* A read_committed handle answers watermarks with the last stable offset (librdkafka#3423).
         */
        {W | ADMIN, "isolation.level", "read_uncommitted"},
        {C, "partition.assignment.strategy",
                "range"}, /* it alone co-partitions; never cooperative */
        {READER, "enable.partition.eof", "true"},
        /* Bytes are the limit, see queued.max.messages.kbytes. */
        {C | R | READER, "queued.min.messages", "10000000"},
        /* By so much of each partition a fetch may pass that limit. */
        {C | R, "fetch.message.max.bytes", "1048576"},
        {READER, "fetch.message.max.bytes", "4194304"},
        /* How long a fetch for old positions may stand in the way after seek, pause or assign; of C
         * also how often an idle one asks. What arrives is answered at once. */
        {C, "fetch.wait.max.ms", "250"},
        {R | READER | PROBE, "fetch.wait.max.ms", "50"},
        {C | R | READER | PROBE, "fetch.error.backoff.ms", "100"},
        /* Single records, of all partitions in one fetch: a batch that is larger than the limit
         * of its partition comes only when that is the first one. tally's end at batch.size, but
         * other producers may fill them to what a topic takes. */
        {PROBE, "queued.min.messages", "1"},
        {PROBE, "fetch.message.max.bytes", "4194304"},

        {PRODUCERS, "enable.idempotence", "true"},
        {PRODUCERS, "acks", "all"},
        {PRODUCERS, "partitioner", "murmur2_random"}, /* as Java; librdkafka's default is CRC32 */
        {PRODUCERS, "delivery.report.only.error", "false"},
        {PRODUCERS, "message.max.bytes", "4194304"}, /* of events topics */
        /* Full batches are sent at once, the rest by the commit; linger.ms is in set_transactional.
         * With a batch that is due while the one before is on its way, librdkafka's thread spins
         * until that is acknowledged. Requests above half a megabyte cost the broker more, who
         * has no room for them in its young generation. */
        {P, "batch.num.messages", "100000"},
        {P, "batch.size", "400000"},
        {WRITER, "linger.ms", "5"},
        {SENDER, "linger.ms", "0"}, /* one caller waits for each */
        {WRITER, "batch.num.messages", "20000"},
        {WRITER, "batch.size", "1000000"},
        /* CONCURRENT_TRANSACTIONS: offsets of a transaction that follows the last one at once, the
         * markers of which the broker writes in 1 to 4 ms. librdkafka's default is 100. */
        {PRODUCERS, "retry.backoff.ms", "1"},
        {P, "queue.buffering.max.messages", "0"}, /* bytes are the limit, see UNCOMMITTED_COPIES */
        {SENDER, "queue.buffering.max.messages", "20000"},
        {SENDER, "queue.buffering.max.kbytes", "32768"},
        {SENDER, "message.timeout.ms", "8000"},
        {WRITER, "queue.buffering.max.messages", "500000"},
        {WRITER, "queue.buffering.max.kbytes", "131072"},
        {WRITER, "message.timeout.ms", "30000"},
};

/* What kafka.properties may not say to the engine's handles; tools may. */
static const char *const owned[] = {
        "acks",
        "allow.auto.create.topics",
        "auto.offset.reset",
        "bootstrap.servers",
        "check.crcs",
        "client.id",
        "delivery.report.only.error",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "enable.partition.eof",
        "group.id",
        "group.instance.id",
        "isolation.level",
        "max.in.flight.requests.per.connection",
        "max.in.flight",
        "max.poll.interval.ms",
        "metadata.broker.list",
        "partition.assignment.strategy",
        "partitioner",
        "request.required.acks",
        "session.timeout.ms",
        "socket.max.fails", /* 0: a request times out, its connection stays: no guard sees it */
        "transaction.timeout.ms",
        "transactional.id",
};
/* What they may say to nobody; prefixes. */
static const char *const forbidden[] = {"plugin.library.paths", "test.mock.", "builtin.features"};

struct builder {
    rd_kafka_conf_t *conf;
    struct tally_error *err;
    enum tally_code code;
};

TALLY_PRINTF(3, 4)
static void set(struct builder *builder, const char *name, const char *format, ...)
{
    char value[1100], reason[256] = ""; /* kafka.bootstrap.servers has at most 1024 */
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(value, sizeof value, format, arguments);
    va_end(arguments);
    if (builder->code) {
        return;
    }
    if (rd_kafka_conf_set(builder->conf, name, value, reason, sizeof reason) != RD_KAFKA_CONF_OK) {
        builder->code = tally_error_set(builder->err, TALLY_CONFIG,
                "kafka property \"%s\" cannot be set: %s", name, reason);
    }
}

int kafka_config_threads(const struct tally_config *config)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (config->engine_threads > 0) {
        return (int)config->engine_threads;
    }
    return cores > 0 ? (int)cores : 1;
}

static void set_consumer(struct builder *builder, enum kafka_kind kind,
        const struct kafka_options *options)
{
    const struct tally_config *config = options->config;
    int64_t bytes = config->fetch_memory ? config->fetch_memory : config->state_memory / 4;
    int64_t kbytes = bytes / FETCHED_COST / kafka_config_threads(config) / 1024;

    if (kind == KAFKA_KIND_CONSUMER) {
        set(builder, "group.id", "%s%s%s", config->app_id, GROUP(options));
        /* Static membership: a restart comes back without a rebalance. */
        set(builder, "group.instance.id", "%s%s%s-%s-%d", config->app_id, GROUP(options),
                config->instance_id, options->thread);
        set(builder, "session.timeout.ms", "%" PRId64, config->session_timeout);
        set(builder, "max.poll.interval.ms", "%" PRId64, config->max_poll_interval);
    }
    if (kind == KAFKA_KIND_RESTORE || kind == KAFKA_KIND_PROBE) {
        /* librdkafka assigns nothing without a group */
        set(builder, "group.id", "%s-restore", config->app_id);
    }
    if (options->group && strncmp(options->group, "sink-", 5) == 0) {
        kbytes = config->sink_fetch_memory / FETCHED_COST / 1024;
    } else if (options->group) { /* few events wait for a projection: it does hardly anything */
        kbytes /= GROUP_FETCH_SHARE;
        set(builder, "fetch.wait.max.ms", "%d", GROUP_FETCH_WAIT_MS);
    }
    if (kind == KAFKA_KIND_READER) {
        set(builder, "group.id", "%s-reader", config->app_id);
        kbytes = TOOL_FETCH_KBYTES;
    }
    if (kind != KAFKA_KIND_WATERMARK && kind != KAFKA_KIND_ADMIN) {
        kbytes = kbytes < 1024 ? 1024 : kbytes > 2097151 ? 2097151 : kbytes;
        set(builder, "queued.max.messages.kbytes", "%" PRId64, kbytes);
    }
}

static void set_transactional(struct builder *builder, const struct kafka_options *options)
{
    const struct tally_config *config = options->config;
    int64_t kbytes = config->uncommitted_bytes / 1024 * UNCOMMITTED_COPIES;
    int64_t linger_ms =
            config->transaction_timeout / 4; /* below message.timeout.ms, or no handle */

    /* Stable: a restart settles its own transaction. */
    set(builder, "transactional.id", "%s%s%s-%s-%d", config->app_id, GROUP(options),
            config->instance_id, options->thread);
    set(builder, "transaction.timeout.ms", "%" PRId64, config->transaction_timeout);
    /* Below it, so that a record that cannot be written fails before the broker aborts. */
    set(builder, "message.timeout.ms", "%" PRId64, config->transaction_timeout * 8 / 10);
    set(builder, "linger.ms", "%" PRId64, linger_ms < LINGER_MAX_MS ? linger_ms : LINGER_MAX_MS);
    kbytes = kbytes < 65536 ? 65536 : kbytes > 2097151 ? 2097151 : kbytes;
    set(builder, "queue.buffering.max.kbytes", "%" PRId64, kbytes);
}

static void set_common(struct builder *builder, enum kafka_kind kind,
        const struct kafka_options *options)
{
    static const char *const roles[KAFKA_KINDS] = {
            [KAFKA_KIND_CONSUMER] = "consumer",
            [KAFKA_KIND_RESTORE] = "restore",
            [KAFKA_KIND_PROBE] = "probe",
            [KAFKA_KIND_PRODUCER] = "producer",
            [KAFKA_KIND_SENDER] = "sender",
            [KAFKA_KIND_WATERMARK] = "watermark",
            [KAFKA_KIND_READER] = "reader",
            [KAFKA_KIND_WRITER] = "writer",
            [KAFKA_KIND_ADMIN] = "admin",
    };
    const struct tally_config *config = options->config;
    const char *address = options->http_address ? options->http_address : "";
    int64_t socket_ms =
            config->transaction_timeout * 6 / 10; /* librdkafka: below the transaction's */

    set(builder, "bootstrap.servers", "%s", config->kafka_servers);
    /* Unique, and with the address by which other instances find the owner of a partition. */
    set(builder, "client.id", "%s%s%s-%s-%d-%s%s%s", config->app_id, GROUP(options),
            config->instance_id, options->thread, roles[kind], *address ? "@" : "", address);
    set(builder, "socket.timeout.ms", "%" PRId64,
            kind == KAFKA_KIND_PRODUCER && socket_ms < SOCKET_TIMEOUT_MS ? socket_ms
                                                                         : SOCKET_TIMEOUT_MS);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (settings[i].kinds & 1u << kind) {
            set(builder, settings[i].name, "%s", settings[i].value);
        }
    }
}

static enum tally_code refuse_unknown(const char *name, rd_kafka_conf_t *conf,
        struct tally_error *err)
{
    size_t dumped = 0, count = 0;
    const char **dump = rd_kafka_conf_dump(conf, &dumped);
    const char **names = tally_alloc((dumped / 2 + 1) * sizeof *names);
    const char *nearest = NULL;

    for (size_t i = 0; i < dumped; i += 2) { /* name, value, name ... */
        names[count++] = dump[i];
    }
    nearest = tally_config_nearest(name, names, count);
    if (nearest) {
        (void)tally_error_set(err, TALLY_CONFIG,
                "kafka.properties: unknown property \"%s\", did you mean \"%s\"?", name, nearest);
    } else {
        (void)tally_error_set(err, TALLY_CONFIG, "kafka.properties: unknown property \"%s\"", name);
    }
    rd_kafka_conf_dump_free(dump, dumped);
    tally_free(names);
    return TALLY_CONFIG;
}

static enum tally_code check_allowed(enum kafka_kind kind, const char *name,
        struct tally_error *err)
{
    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
        if (strncmp(name, forbidden[i], strlen(forbidden[i])) == 0) {
            return tally_error_set(err, TALLY_CONFIG,
                    "kafka.properties: property \"%s\" is not allowed, remove it", name);
        }
    }
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        if (ENGINE & 1u << kind && strcmp(name, owned[i]) == 0) {
            return tally_error_set(err, TALLY_CONFIG,
                    "kafka.properties: property \"%s\" is set by tally, remove it", name);
        }
    }
    return TALLY_OK;
}

static enum tally_code apply_property(enum kafka_kind kind, rd_kafka_conf_t *conf,
        const char *property, struct tally_error *err)
{
    const char *equals = strchr(property, '=');
    char name[PROPERTY_MAX], reason[256] = "";
    size_t len = equals ? (size_t)(equals - property) : 0;
    enum tally_code code = TALLY_OK;

    if (len == 0 || len >= sizeof name) {
        return tally_error_set(err, TALLY_CONFIG,
                "kafka.properties: expected name=value, got \"%.*s\"", equals ? (int)len : 32,
                property);
    }
    (void)snprintf(name, sizeof name, "%.*s", (int)len, property);
    code = check_allowed(kind, name, err);
    if (code) {
        return code;
    }
    switch (rd_kafka_conf_set(conf, name, equals + 1, reason, sizeof reason)) {
    case RD_KAFKA_CONF_OK:
        return TALLY_OK;
    case RD_KAFKA_CONF_UNKNOWN:
        return refuse_unknown(name, conf, err);
    case RD_KAFKA_CONF_INVALID:
    default:
        return tally_error_set(err, TALLY_CONFIG,
                "kafka.properties: property \"%s\" has an invalid value, see librdkafka's "
                "CONFIGURATION.md",
                name);
    }
}

rd_kafka_conf_t *kafka_config_create(enum kafka_kind kind, const struct kafka_options *options,
        struct tally_error *err)
{
    struct builder builder = {.conf = rd_kafka_conf_new(), .err = err};
    const struct tally_config_list *properties = &options->config->kafka_properties;
    unsigned bit = 1u << kind;

    rd_kafka_conf_set_log_cb(builder.conf, kafka_log);
    set_common(&builder, kind, options);
    if (CONSUMERS & bit) {
        set_consumer(&builder, kind, options);
    }
    if (P & bit) {
        set_transactional(&builder, options);
    }
    for (size_t i = 0; i < properties->count && !builder.code; i++) {
        builder.code = apply_property(kind, builder.conf, properties->items[i], err);
    }
    if (builder.code) {
        rd_kafka_conf_destroy(builder.conf);
        return NULL;
    }
    return builder.conf;
}

/* librdkafka's main thread sleeps for whole milliseconds, and turns around for the rest of one
 * until its timer is due: half a millisecond of CPU for each, some thirty a second over all
 * handles. A kernel that wakes it later spares that: as it wakes for all timers that may be due
 * when it wakes for one, by much more than the millisecond. What these timers are for, heartbeats
 * and the ages of things, is a matter of seconds; work comes to the thread through queues. */
static rd_kafka_resp_err_t on_thread_start(rd_kafka_t *rk, rd_kafka_thread_type_t type,
        const char *name, void *opaque)
{
    (void)rk;
    (void)name;
    (void)opaque;
    if (type == RD_KAFKA_THREAD_MAIN) {
        (void)prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0);
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* That of a transactional producer has timers of a millisecond, twice a transaction, and turns
 * around for all of it; the threads of connections that it starts do so while what follows a full
 * batch waits for its answer. Being nice, they do it where nobody else has work. */
static rd_kafka_resp_err_t on_spinning_thread_start(rd_kafka_t *rk, rd_kafka_thread_type_t type,
        const char *name, void *opaque)
{
    (void)rk;
    (void)name;
    (void)opaque;
    if (type == RD_KAFKA_THREAD_MAIN) {
        (void)setpriority(PRIO_PROCESS, 0, SPINNING_NICE); /* on Linux, of this thread alone */
        (void)prctl(PR_SET_TIMERSLACK, SPINNING_SLACK_NS, 0, 0, 0);
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
    return rd_kafka_interceptor_add_on_thread_start(rk, "tally", on_thread_start, NULL);
}

static rd_kafka_resp_err_t on_new_spinning(rd_kafka_t *rk, const rd_kafka_conf_t *conf,
        void *opaque, char *reason, size_t size)
{
    (void)conf;
    (void)opaque;
    (void)reason;
    (void)size;
    return rd_kafka_interceptor_add_on_thread_start(rk, "tally", on_spinning_thread_start, NULL);
}

rd_kafka_t *kafka_config_open(enum kafka_kind kind, rd_kafka_conf_t *conf, struct tally_error *err)
{
    bool consumer = CONSUMERS & 1u << kind;
    char reason[256] = "";
    rd_kafka_t *rk;

    (void)rd_kafka_conf_interceptor_add_on_new(conf, "tally",
            P & 1u << kind ? on_new_spinning : on_new, NULL);
    rk = rd_kafka_new(consumer ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, conf, reason,
            sizeof reason);

    if (!rk) {
        rd_kafka_conf_destroy(conf);
        (void)tally_error_set(err, TALLY_CONFIG, "kafka client cannot be made: %s", reason);
    }
    return rk;
}

int64_t kafka_config_int(rd_kafka_conf_t *conf, const char *name)
{
    char text[64] = "";
    size_t size = sizeof text;

    if (rd_kafka_conf_get(conf, name, text, &size) != RD_KAFKA_CONF_OK) {
        return 0;
    }
    return strtoll(text, NULL, 10);
}
