/* connectors/redis_connection.c - see redis_connection.h. */
#include "connectors/redis_connection.h"

#include <errno.h>
#include <stdio.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"

#define DEFAULT_PORT   6379
#define URL_SCHEME     "redis://"
#define COMMAND_MAX    4096
#define OLDEST_VERSION 70015 /* 7.0.15: what Debian 12 has, with its fix of CVE-2025-49844 */
#define OLDEST_TEXT    "7.0.15"

/* --- where ------------------------------------------------------------------------------------ */

static bool number_of(const char *text, size_t len, int64_t low, int64_t high, int *value)
{
    int64_t number;

    if (!tally_parse_int(tally_slice_of(text, len), &number) || number < low || number > high) {
        return false;
    }
    *value = (int)number;
    return true;
}

static bool copy_part(char *to, size_t size, const char *from, size_t len)
{
    if (len == 0 || len >= size) {
        return false;
    }
    memcpy(to, from, len);
    to[len] = '\0';
    return true;
}

/* host[:port], or [IPv6 address][:port] */
static bool split_host(const char *text, size_t len, struct redis_place *place)
{
    const char *end = text + len, *host = text, *after;
    const char *colon = memchr(text, ':', len);

    if (len > 0 && text[0] == '[') {
        const char *close = memchr(text, ']', len);

        if (!close || (close + 1 < end && close[1] != ':')) {
            return false;
        }
        host = text + 1;
        after = close;
        colon = close + 1 < end ? close + 1 : NULL;
    } else {
        after = colon ? colon : end;
    }
    place->port = DEFAULT_PORT;
    return copy_part(place->host, sizeof place->host, host, (size_t)(after - host)) &&
           (!colon || number_of(colon + 1, (size_t)(end - colon - 1), 1, 65535, &place->port));
}

enum tally_code redis_connection_place(const struct tally_config *config, struct redis_place *place,
        struct tally_error *err)
{
    const char *url = config->redis_url, *rest, *at, *slash;

    *place = (struct redis_place){
            .password = config->redis_password, .timeout_ms = config->redis_timeout};
    if (strncmp(url, "rediss://", 9) == 0) {
        return tally_error_set(err, TALLY_CONFIG,
                "redis.url: there is no TLS to Redis here: use redis:// to a local stunnel");
    }
    if (strncmp(url, URL_SCHEME, strlen(URL_SCHEME)) != 0) {
        return tally_error_set(err, TALLY_CONFIG,
                "redis.url: expected redis://[user@]host:port[/database]");
    }
    rest = url + strlen(URL_SCHEME);
    slash = strchr(rest, '/');
    at = memchr(rest, '@', slash ? (size_t)(slash - rest) : strlen(rest));
    if (at && memchr(rest, ':', (size_t)(at - rest))) {
        return tally_error_set(err, TALLY_CONFIG,
                "redis.url: a password does not belong there: set redis.password");
    }
    if (at && !copy_part(place->user, sizeof place->user, rest, (size_t)(at - rest))) {
        return tally_error_set(err, TALLY_CONFIG, "redis.url: the user is empty or too long");
    }
    rest = at ? at + 1 : rest;
    if (!split_host(rest, slash ? (size_t)(slash - rest) : strlen(rest), place)) {
        return tally_error_set(err, TALLY_CONFIG, "redis.url: expected host:port, got \"%s\"",
                rest);
    }
    if (slash && slash[1] && !number_of(slash + 1, strlen(slash + 1), 0, 1023, &place->database)) {
        return tally_error_set(err, TALLY_CONFIG,
                "redis.url: expected a database from 0 to 1023, got \"%s\"", slash + 1);
    }
    if (place->user[0] && !place->password[0]) {
        return tally_error_set(err, TALLY_CONFIG,
                "redis.url: user \"%s\" has no password: set redis.password", place->user);
    }
    return TALLY_OK;
}

void redis_connection_base(const struct tally_config *config, struct tally_buf *base)
{
    tally_buf_string(base, "tally:");
    if (config->topics_prefix[0] || strcmp(config->app_id, "tally") != 0) {
        tally_buf_format(base, "@%s%s:", config->topics_prefix, config->app_id);
    }
}

/* --- error replies ---------------------------------------------------------------------------- */

/* By how an error reply begins; the first row that fits. */
static const struct {
    const char *start;
    enum tally_code code;
    const char *advice;
} errors[] = {
        {"NOSCRIPT", TALLY_AGAIN, NULL},
        {"TALLYLOST", TALLY_UNAVAILABLE, "its content is gone and is built again"},
        {"TALLYSTEP", TALLY_UNAVAILABLE, "it is not where this instance left it"},
        {"TALLYFENCED", TALLY_FENCED, "another instance owns the partition"},
        {"NOAUTH", TALLY_SINK_DENIED, "set redis.password, and the user in redis.url"},
        {"WRONGPASS", TALLY_SINK_DENIED, "correct redis.password, or the user in redis.url"},
        {"NOPERM", TALLY_SINK_DENIED, "give the user what docs/redis.md lists"},
        {"OOM", TALLY_SINK_FULL, "raise maxmemory"},
        {"READONLY", TALLY_SINK_FULL, "it is a replica: point redis.url at the primary"},
        {"MISCONF", TALLY_SINK_FULL, "it cannot save: see the Redis log, free disk space"},
        {"NOREPLICAS", TALLY_SINK_FULL, "too few of its replicas are connected"},
        {"WRONGTYPE", TALLY_SINK_SCHEMA, "a key of tally's holds something else: remove it"},
        {"MOVED", TALLY_SINK_SCHEMA, "it is a cluster: tally needs a single server"},
        {"ASK", TALLY_SINK_SCHEMA, "it is a cluster: tally needs a single server"},
        {"CROSSSLOT", TALLY_SINK_SCHEMA, "it is a cluster: tally needs a single server"},
        {"CLUSTERDOWN", TALLY_SINK_SCHEMA, "it is a cluster: tally needs a single server"},
        {"LOADING", TALLY_UNAVAILABLE, "it is loading its data"},
        {"BUSY", TALLY_UNAVAILABLE, "a script runs for too long"},
        {"MASTERDOWN", TALLY_UNAVAILABLE, "it has no link to its primary"},
        {"UNBLOCKED", TALLY_UNAVAILABLE, "its role changed"},
        {"ERR AUTH", TALLY_SINK_DENIED, "it has no password: remove redis.password"},
        {"ERR DB index", TALLY_SINK_SCHEMA, "correct the database in redis.url"},
        {"ERR The user executing the script", TALLY_SINK_DENIED,
                "give the user what docs/redis.md lists"},
        {"ERR max number of clients", TALLY_UNAVAILABLE, "raise maxclients"},
        {"ERR unknown command", TALLY_SINK_SCHEMA, "tally needs Redis 7.0"},
};

enum tally_code redis_connection_code(const char *reply, const char **advice)
{
    *advice = "see the Redis log";
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        if (strncmp(reply, errors[i].start, strlen(errors[i].start)) == 0) {
            *advice = errors[i].advice;
            return errors[i].code;
        }
    }
    return TALLY_SINK_SCHEMA; /* we have said something that it does not understand */
}

static enum tally_code broken(struct redis_connection *connection, struct tally_error *err)
{
    const redisContext *context = connection->context;
    bool late = context->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK);

    connection->broken = true;
    return tally_error_set(err, late ? TALLY_TIMEOUT : TALLY_UNAVAILABLE, "redis %s:%d: %s",
            connection->place->host, connection->place->port,
            late ? "no answer within redis.timeout" : context->errstr);
}

/* --- commands --------------------------------------------------------------------------------- */

/* By hand: a batch has hundred thousands of arguments. */
static void length_line(struct tally_buf *command, char mark, size_t length)
{
    char text[24];
    size_t at = sizeof text;

    text[--at] = '\n';
    text[--at] = '\r';
    do {
        text[--at] = (char)('0' + length % 10);
        length /= 10;
    } while (length > 0);
    text[--at] = mark;
    tally_buf_append(command, text + at, sizeof text - at);
}

void redis_connection_begin(struct tally_buf *command, size_t arguments)
{
    length_line(command, '*', arguments);
}

void redis_connection_bytes(struct tally_buf *command, struct tally_slice argument)
{
    length_line(command, '$', argument.len);
    tally_buf_append(command, argument.data, argument.len);
    tally_buf_append(command, "\r\n", 2);
}

void redis_connection_text(struct tally_buf *command, const char *argument)
{
    redis_connection_bytes(command, tally_slice_string(argument));
}

void redis_connection_int(struct tally_buf *command, int64_t argument)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%lld", (long long)argument);

    redis_connection_bytes(command, tally_slice_of(text, (size_t)len));
}

enum tally_code redis_connection_send(struct redis_connection *connection,
        struct tally_slice commands, struct tally_error *err)
{
    if (connection->broken) {
        return tally_error_set(err, TALLY_UNAVAILABLE, "the connection to redis is broken");
    }
    if (redisAppendFormattedCommand(connection->context, (const char *)commands.data,
                commands.len) != REDIS_OK) {
        return broken(connection, err);
    }
    for (int done = 0; !done;) {
        errno = 0;
        if (redisBufferWrite(connection->context, &done) != REDIS_OK) {
            return broken(connection, err);
        }
    }
    return TALLY_OK;
}

enum tally_code redis_connection_reply(struct redis_connection *connection, redisReply **reply,
        struct tally_error *err)
{
    void *got = NULL;
    const char *advice;
    enum tally_code code;

    *reply = NULL;
    if (connection->broken) {
        return tally_error_set(err, TALLY_UNAVAILABLE, "the connection to redis is broken");
    }
    errno = 0;
    if (redisGetReply(connection->context, &got) != REDIS_OK || !got) {
        return broken(connection, err);
    }
    *reply = got;
    if ((*reply)->type != REDIS_REPLY_ERROR) {
        return TALLY_OK;
    }
    code = redis_connection_code((*reply)->str, &advice);
    if (code != TALLY_AGAIN) {
        code = tally_error_set(err, code, "redis: %.150s: %s", (*reply)->str, advice);
    }
    freeReplyObject(*reply);
    *reply = NULL;
    return code;
}

enum tally_code redis_connection_call(struct redis_connection *connection,
        struct tally_slice command, redisReply **reply, struct tally_error *err)
{
    enum tally_code code = redis_connection_send(connection, command, err);

    *reply = NULL;
    return code ? code : redis_connection_reply(connection, reply, err);
}

struct tally_slice redis_connection_string(const redisReply *reply)
{
    if (!reply || (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_STATUS)) {
        return TALLY_NONE;
    }
    return tally_slice_of(reply->str, reply->len);
}

struct tally_slice redis_connection_element(const redisReply *reply, size_t index)
{
    if (!reply || reply->type != REDIS_REPLY_ARRAY || index >= reply->elements) {
        return TALLY_NONE;
    }
    return redis_connection_string(reply->element[index]);
}

bool redis_connection_element_int(const redisReply *reply, size_t index, int64_t *value)
{
    if (!reply || reply->type != REDIS_REPLY_ARRAY || index >= reply->elements) {
        return false;
    }
    if (reply->element[index]->type == REDIS_REPLY_INTEGER) {
        *value = reply->element[index]->integer;
        return true;
    }
    return tally_parse_int(redis_connection_string(reply->element[index]), value);
}

/* --- opening ---------------------------------------------------------------------------------- */

/* Sends what is in command and drops the answer. */
static enum tally_code order(struct redis_connection *connection, struct tally_buf *command,
        struct tally_error *err)
{
    redisReply *reply;
    enum tally_code code = redis_connection_call(connection, tally_buf_bytes(command), &reply, err);

    freeReplyObject(reply);
    tally_buf_clear(command);
    return code;
}

static enum tally_code sign_in(struct redis_connection *connection, struct tally_buf *command,
        struct tally_error *err)
{
    const struct redis_place *place = connection->place;
    enum tally_code code = TALLY_OK;

    if (place->password[0]) {
        redis_connection_begin(command, place->user[0] ? 3 : 2);
        redis_connection_text(command, "AUTH");
        if (place->user[0]) {
            redis_connection_text(command, place->user);
        }
        redis_connection_text(command, place->password);
        code = order(connection, command, err);
    }
    if (!code && place->database > 0) {
        redis_connection_begin(command, 2);
        redis_connection_text(command, "SELECT");
        redis_connection_int(command, place->database);
        code = order(connection, command, err);
    }
    return code;
}

/* The value of a line name:value of INFO; empty: no such line. */
static void info_value(const char *info, const char *name, char *value, size_t size)
{
    size_t len = strlen(name);

    value[0] = '\0';
    for (const char *line = info; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            size_t end = strcspn(line + len + 1, "\r\n");

            (void)snprintf(value, size, "%.*s", (int)end, line + len + 1);
            return;
        }
    }
}

static void warn_of_version(const char *version)
{
    static struct tally_log_limit limit;
    int major = 0, minor = 0, patch = 0;

    if (sscanf(version, "%d.%d.%d", &major, &minor, &patch) == 3 &&
            major * 10000 + minor * 100 + patch < OLDEST_VERSION &&
            tally_log_allowed(&limit, 60000)) {
        tally_log(TALLY_LOG_WARN, "redis is too old: its scripts can be broken out of",
                TALLY_LOG_STR("version", version), TALLY_LOG_STR("least", OLDEST_TEXT));
    }
}

static enum tally_code ask_who(struct redis_connection *connection, struct tally_buf *command,
        struct tally_error *err)
{
    redisReply *reply;
    enum tally_code code;

    redis_connection_begin(command, 3);
    redis_connection_text(command, "INFO");
    redis_connection_text(command, "server");
    redis_connection_text(command, "memory");
    code = redis_connection_call(connection, tally_buf_bytes(command), &reply, err);
    tally_buf_clear(command);
    if (code) {
        return code;
    }
    if (reply->type == REDIS_REPLY_STRING) {
        info_value(reply->str, "redis_version", connection->version, sizeof connection->version);
        info_value(reply->str, "run_id", connection->run, sizeof connection->run);
        info_value(reply->str, "maxmemory_policy", connection->policy, sizeof connection->policy);
    }
    freeReplyObject(reply);
    if (connection->run[0] == '\0') {
        return tally_error_set(err, TALLY_SINK_SCHEMA,
                "the server at %s:%d does not say who it is: is it Redis 7.0?",
                connection->place->host, connection->place->port);
    }
    warn_of_version(connection->version);
    return TALLY_OK;
}

enum tally_code redis_connection_open(const struct redis_place *place,
        struct redis_connection **connection, struct tally_error *err)
{
    struct timeval limit = {
            .tv_sec = place->timeout_ms / 1000, .tv_usec = (place->timeout_ms % 1000) * 1000};
    struct redis_connection *opened = tally_alloc_zero(1, sizeof *opened);
    struct tally_buf command;
    enum tally_code code;

    *connection = NULL;
    opened->place = place;
    opened->context = redisConnectWithTimeout(place->host, place->port, limit);
    if (!opened->context || opened->context->err) {
        code = tally_error_set(err, TALLY_UNAVAILABLE, "could not connect to redis %s:%d: %s",
                place->host, place->port,
                opened->context ? opened->context->errstr : "out of memory");
        redis_connection_close(opened);
        return code;
    }
    tally_buf_init(&command, COMMAND_MAX);
    code = redisSetTimeout(opened->context, limit) == REDIS_OK ? TALLY_OK : broken(opened, err);
    (void)redisEnableKeepAlive(opened->context);
    code = code ? code : sign_in(opened, &command, err);
    code = code ? code : ask_who(opened, &command, err);
    tally_buf_deinit(&command);
    if (code) {
        redis_connection_close(opened);
        return code;
    }
    *connection = opened;
    return TALLY_OK;
}

void redis_connection_close(struct redis_connection *connection)
{
    if (!connection) {
        return;
    }
    if (connection->context) {
        redisFree(connection->context);
    }
    tally_free(connection);
}
