/* connectors/redis_pool.c - see redis_pool.h. */
#include "connectors/redis_pool.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/thread.h"

enum { RETRY_MS = 500, COMMAND_MAX = 32 * 1024 * 1024 };

struct redis_pool {
    struct redis_place place;
    struct tally_mutex mutex; /* guards all below */
    struct tally_cond given_back;
    struct redis_connection *idle[REDIS_POOL_SIZE];
    size_t idle_count, open_count; /* open: idle ones too */
    int64_t retry_ms;              /* mono; not before */
    struct tally_error trouble;    /* why */
};

struct redis_pool *redis_pool_create(const struct redis_place *place)
{
    struct redis_pool *pool = tally_alloc_zero(1, sizeof *pool);

    pool->place = *place;
    tally_mutex_init(&pool->mutex, TALLY_LOCK_CONNECTOR);
    tally_cond_init(&pool->given_back);
    return pool;
}

void redis_pool_destroy(struct redis_pool *pool)
{
    if (!pool) {
        return;
    }
    tally_assert(pool->idle_count == pool->open_count);
    for (size_t i = 0; i < pool->idle_count; i++) {
        redis_connection_close(pool->idle[i]);
    }
    tally_cond_deinit(&pool->given_back);
    tally_mutex_deinit(&pool->mutex);
    tally_free(pool);
}

/* A free connection, or the right to open one (*connection NULL). */
static enum tally_code take(struct redis_pool *pool, struct redis_connection **connection,
        struct tally_error *err)
{
    int64_t end_ms = tally_mono_ms(tally_clock_real()) + pool->place.timeout_ms;
    enum tally_code code = TALLY_OK;

    *connection = NULL;
    tally_mutex_lock(&pool->mutex);
    for (;;) {
        int64_t now_ms = tally_mono_ms(tally_clock_real());

        if (now_ms < pool->retry_ms) {
            *err = pool->trouble;
            code = pool->trouble.code;
            break;
        }
        if (pool->idle_count > 0) {
            *connection = pool->idle[--pool->idle_count];
            break;
        }
        if (pool->open_count < REDIS_POOL_SIZE) {
            pool->open_count++;
            break;
        }
        if (now_ms >= end_ms) {
            code = tally_error_set(err, TALLY_TIMEOUT, "all connections to redis are busy");
            break;
        }
        (void)tally_cond_wait(&pool->given_back, &pool->mutex, end_ms - now_ms);
    }
    tally_mutex_unlock(&pool->mutex);
    return code;
}

static void give_back(struct redis_pool *pool, struct redis_connection *connection)
{
    bool broken = !connection || connection->broken;

    tally_mutex_lock(&pool->mutex);
    if (broken) {
        pool->open_count--;
    } else {
        pool->idle[pool->idle_count++] = connection;
    }
    tally_cond_signal(&pool->given_back);
    tally_mutex_unlock(&pool->mutex);
    if (broken) {
        redis_connection_close(connection);
    }
}

static void note_trouble(struct redis_pool *pool, const struct tally_error *err)
{
    tally_mutex_lock(&pool->mutex);
    pool->retry_ms = tally_mono_ms(tally_clock_real()) + RETRY_MS;
    pool->trouble = *err;
    tally_cond_broadcast(&pool->given_back);
    tally_mutex_unlock(&pool->mutex);
}

static enum tally_code open_one(struct redis_pool *pool, struct redis_connection **connection,
        struct tally_error *err)
{
    enum tally_code code = redis_connection_open(&pool->place, connection, err);

    if (!code) {
        code = redis_script_prepare(*connection, err);
        if (code) {
            (*connection)->broken = true;
        }
    }
    if (code) {
        note_trouble(pool, err);
    }
    return code;
}

static enum tally_code call_on(struct redis_connection *connection,
        const struct redis_pool_call *call, redisReply **reply, struct tally_error *err)
{
    struct tally_buf command;
    enum tally_code code;

    tally_buf_init(&command, COMMAND_MAX);
    redis_script_begin(connection, call->script, &command, call->key_count, call->argument_count);
    for (size_t i = 0; i < call->key_count; i++) {
        redis_connection_bytes(&command, call->keys[i]);
    }
    for (size_t i = 0; i < call->argument_count; i++) {
        redis_connection_bytes(&command,
                call->arguments[i].data ? call->arguments[i] : tally_slice_string(connection->run));
    }
    code = redis_script_call(connection, call->script, tally_buf_bytes(&command), reply, err);
    tally_buf_deinit(&command);
    return code;
}

enum tally_code redis_pool_run(struct redis_pool *pool, const struct redis_pool_call *call,
        char run[static REDIS_CONNECTION_RUN_LEN + 1], redisReply **reply, struct tally_error *err)
{
    enum tally_code code;
    bool again;

    do {
        struct redis_connection *connection;
        bool was_idle;

        *reply = NULL;
        code = take(pool, &connection, err);
        if (code) {
            return code;
        }
        was_idle = connection != NULL;
        code = was_idle ? TALLY_OK : open_one(pool, &connection, err);
        if (!code) {
            code = call_on(connection, call, reply, err);
            memcpy(run, connection->run, REDIS_CONNECTION_RUN_LEN + 1);
            if (connection->broken && !was_idle) {
                note_trouble(pool, err);
            }
        }
        /* Closed while idle: as often as there are such, then a new one is opened. */
        again = code == TALLY_UNAVAILABLE && was_idle && connection->broken;
        if (code == TALLY_TIMEOUT) {
            note_trouble(pool, err);
        }
        give_back(pool, connection);
    } while (again);
    return code;
}
