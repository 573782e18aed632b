/* connectors/redis_limiter.c - see redis_limiter.h. */
#include "connectors/redis_limiter.h"

#include <stdio.h>

#include "connectors/redis_pool.h"
#include "engine/base/mem.h"

enum { KEY_MAX = 1024 };

struct redis_limiter {
    struct tally_limit_log log;
    char *password;
    struct tally_buf base;
    struct redis_pool *pool;
};

static struct redis_limiter *self(struct tally_limit_log *log)
{
    return (struct redis_limiter *)log;
}

static enum tally_code redis_limiter_take(struct tally_limit_log *log,
        const struct tally_limit *limit, struct tally_slice client,
        struct tally_limit_answer *answer, struct tally_error *err)
{
    struct redis_limiter *limiter = self(log);
    struct redis_pool_call call = {
            .script = REDIS_SCRIPT_LIMIT, .key_count = 1, .argument_count = 2};
    char quota[24], window[24], run[REDIS_CONNECTION_RUN_LEN + 1];
    int64_t allowed = 0;
    struct tally_buf key;
    redisReply *reply;
    enum tally_code code;

    tally_buf_init(&key, KEY_MAX);
    tally_buf_slice(&key, tally_buf_bytes(&limiter->base));
    tally_buf_format(&key, "rl:%s:", limit->policy);
    tally_buf_slice(&key, client);
    (void)snprintf(quota, sizeof quota, "%lld", (long long)limit->quota);
    (void)snprintf(window, sizeof window, "%lld", (long long)limit->window_ms);
    call.keys[0] = tally_buf_bytes(&key);
    call.arguments[0] = tally_slice_string(quota);
    call.arguments[1] = tally_slice_string(window);
    code = redis_pool_run(limiter->pool, &call, run, &reply, err);
    tally_buf_deinit(&key);
    if (!code && (!redis_connection_element_int(reply, 0, &allowed) ||
                         !redis_connection_element_int(reply, 1, &answer->remaining) ||
                         !redis_connection_element_int(reply, 2, &answer->reset_ms))) {
        code = tally_error_set(err, TALLY_SINK_SCHEMA,
                "redis answers a script with something else");
    }
    answer->allowed = allowed != 0;
    freeReplyObject(reply);
    return code;
}

static void redis_limiter_destroy(struct tally_limit_log *log)
{
    struct redis_limiter *limiter = self(log);

    redis_pool_destroy(limiter->pool);
    tally_buf_deinit(&limiter->base);
    tally_free(limiter->password);
    tally_free(limiter);
}

static const struct tally_limit_log_ops redis_limiter_ops = {
        .take = redis_limiter_take, .destroy = redis_limiter_destroy};

enum tally_code tally_redis_limiter_create(const struct tally_config *config,
        struct tally_limit_log **log, struct tally_error *err)
{
    struct redis_limiter *limiter;
    struct redis_place place;
    enum tally_code code = redis_connection_place(config, &place, err);

    *log = NULL;
    if (code) {
        return code;
    }
    limiter = tally_alloc_zero(1, sizeof *limiter);
    limiter->log.ops = &redis_limiter_ops;
    limiter->password = tally_copy_string(place.password);
    place.password = limiter->password;
    tally_buf_init(&limiter->base, KEY_MAX);
    redis_connection_base(config, &limiter->base);
    limiter->pool = redis_pool_create(&place);
    *log = &limiter->log;
    return TALLY_OK;
}
