/* connectors/redis_sweep.c - see redis_sweep.h. */
#include "connectors/redis_sweep.h"

#include <stdio.h>

#include "engine/base/clock.h"
#include "engine/base/failpoint.h"

enum {
    SCAN_KEYS = 1000, /* looked at in one call: some 100 us of Redis */
    COMMAND_MAX = 16 * 1024 * 1024
};

static bool is_row(struct tally_slice key, struct tally_slice base)
{
    static const char *const families[] = {"product:", "slug:", "level:", "sku:"};

    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        struct tally_slice family = tally_slice_string(families[i]);

        if (key.len > base.len + family.len &&
                memcmp(key.data + base.len, family.data, family.len) == 0) {
            return true;
        }
    }
    return false;
}

static void append_key(struct tally_buf *command, struct tally_slice base, const char *name)
{
    struct tally_buf key;

    tally_buf_init(&key, 4096);
    tally_buf_slice(&key, base);
    tally_buf_string(&key, name);
    redis_connection_bytes(command, tally_buf_bytes(&key));
    tally_buf_deinit(&key);
}

/* base and name*, with what means something in patterns escaped. */
static void append_pattern(struct tally_buf *command, struct tally_slice base, const char *name)
{
    struct tally_buf pattern;

    tally_buf_init(&pattern, 4096);
    for (size_t i = 0; i < base.len; i++) {
        if (strchr("*?[]^\\", base.data[i])) {
            tally_buf_byte(&pattern, '\\');
        }
        tally_buf_byte(&pattern, base.data[i]);
    }
    tally_buf_format(&pattern, "%s*", name);
    redis_connection_bytes(command, tally_buf_bytes(&pattern));
    tally_buf_deinit(&pattern);
}

static enum tally_code scan(struct redis_sweep *sweep, struct redis_connection *connection,
        struct tally_slice base, bool adopting, struct tally_buf *command, redisReply **reply,
        struct tally_error *err)
{
    enum tally_code code;

    tally_buf_clear(command);
    redis_connection_begin(command, 6);
    redis_connection_text(command, "SCAN");
    redis_connection_text(command, sweep->cursor);
    redis_connection_text(command, "MATCH");
    append_pattern(command, base, adopting ? "new:" : "");
    redis_connection_text(command, "COUNT");
    redis_connection_int(command, SCAN_KEYS);
    code = redis_connection_call(connection, tally_buf_bytes(command), reply, err);
    if (!code && ((*reply)->type != REDIS_REPLY_ARRAY || (*reply)->elements != 2 ||
                         (*reply)->element[1]->type != REDIS_REPLY_ARRAY)) {
        code = tally_error_set(err, TALLY_SINK_SCHEMA, "redis answers SCAN with something else");
    }
    return code;
}

/* false in *ours: the phase is another one by now. */
static enum tally_code treat(const struct redis_sweep *sweep, struct redis_connection *connection,
        struct tally_slice base, bool adopting, const redisReply *keys, struct tally_buf *command,
        bool *ours, struct tally_error *err)
{
    enum redis_script_id id = adopting ? REDIS_SCRIPT_ADOPT : REDIS_SCRIPT_SWEEP;
    redisReply *reply;
    size_t count = 0;
    enum tally_code code;

    for (size_t i = 0; i < keys->elements; i++) {
        count += adopting || is_row(redis_connection_element(keys, i), base);
    }
    if (count == 0) {
        return TALLY_OK;
    }
    tally_buf_clear(command);
    redis_script_begin(connection, id, command, 1 + count, 2);
    append_key(command, base, "sink");
    for (size_t i = 0; i < keys->elements; i++) {
        struct tally_slice key = redis_connection_element(keys, i);

        if (adopting || is_row(key, base)) {
            redis_connection_bytes(command, key);
        }
    }
    redis_connection_bytes(command, base);
    redis_connection_text(command, sweep->generation);
    code = redis_script_call(connection, id, tally_buf_bytes(command), &reply, err);
    *ours = !code && reply->type == REDIS_REPLY_INTEGER && reply->integer >= 0;
    freeReplyObject(reply);
    return code;
}

static enum tally_code advance(struct redis_sweep *sweep, struct redis_connection *connection,
        struct tally_slice base, bool adopting, struct tally_buf *command, struct tally_error *err)
{
    const char *next = adopting ? "" : "adopting";
    redisReply *reply;
    enum tally_code code;

    tally_buf_clear(command);
    redis_script_begin(connection, REDIS_SCRIPT_ADVANCE, command, 2, 5);
    append_key(command, base, "sink");
    append_key(command, base, "sink:partitions");
    redis_connection_bytes(command, base);
    redis_connection_text(command, sweep->generation);
    redis_connection_text(command, sweep->phase);
    redis_connection_text(command, next);
    redis_connection_text(command, connection->run);
    code = redis_script_call(connection, REDIS_SCRIPT_ADVANCE, tally_buf_bytes(command), &reply,
            err);
    freeReplyObject(reply);
    if (!code) {
        (void)snprintf(sweep->phase, sizeof sweep->phase, "%s", next);
    }
    return code;
}

enum tally_code redis_sweep_step(struct redis_sweep *sweep, struct redis_connection *connection,
        struct tally_slice base, int64_t limit_ms, struct tally_error *err)
{
    int64_t end_ms = tally_mono_ms(tally_clock_real()) + limit_ms;
    bool adopting = strcmp(sweep->phase, "adopting") == 0, ours = true;
    struct tally_buf command;
    enum tally_code code = TALLY_OK;

    if (!adopting && strcmp(sweep->phase, "sweeping") != 0) {
        return TALLY_OK;
    }
    if (strcmp(sweep->scanning, sweep->phase) != 0) {
        memcpy(sweep->scanning, sweep->phase, sizeof sweep->scanning);
        (void)snprintf(sweep->cursor, sizeof sweep->cursor, "0");
    }
    tally_buf_init(&command, COMMAND_MAX);
    do {
        redisReply *reply = NULL;
        struct tally_slice cursor;

        code = TALLY_FAILPOINT_CODE(REDIS_REBUILD, TALLY_UNAVAILABLE, err);
        code = code ? code : scan(sweep, connection, base, adopting, &command, &reply, err);
        if (!code) {
            cursor = redis_connection_element(reply, 0);
            (void)snprintf(sweep->cursor, sizeof sweep->cursor, "%.*s", (int)cursor.len,
                    (const char *)cursor.data);
            code = treat(sweep, connection, base, adopting, reply->element[1], &command, &ours,
                    err);
        }
        freeReplyObject(reply);
    } while (!code && ours && strcmp(sweep->cursor, "0") != 0 &&
             tally_mono_ms(tally_clock_real()) < end_ms);
    if (!code && ours && strcmp(sweep->cursor, "0") == 0) {
        code = advance(sweep, connection, base, adopting, &command, err);
        sweep->scanning[0] = '\0';
    }
    tally_buf_deinit(&command);
    return code;
}
