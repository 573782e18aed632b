/* connectors/redis_lock.c - see redis_lock.h. */
#include "connectors/redis_lock.h"

#include <stdio.h>
#include <sys/random.h>

static void make_token(char token[static REDIS_LOCK_TOKEN_LEN + 1])
{
    uint8_t bytes[REDIS_LOCK_TOKEN_LEN / 2];

    tally_assert(getrandom(bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        (void)snprintf(token + 2 * i, 3, "%02x", bytes[i]);
    }
}

enum tally_code redis_lock_take(struct redis_pool *pool, const struct redis_lock_keys *keys,
        struct redis_lock *lock, struct tally_error *err)
{
    char life[24], run[REDIS_CONNECTION_RUN_LEN + 1];
    struct redis_pool_call call = {.script = REDIS_SCRIPT_LOCK,
            .keys = {keys->lock, keys->fence, keys->control, keys->partition, keys->value},
            .key_count = 5,
            .argument_count = 3};
    redisReply *reply;
    enum tally_code code;

    make_token(lock->token);
    (void)snprintf(life, sizeof life, "%d", (int)REDIS_LOCK_MS);
    call.arguments[0] = tally_slice_string(lock->token);
    call.arguments[1] = tally_slice_string(life);
    lock->fence = 0;
    code = redis_pool_run(pool, &call, run, &reply, err);
    if (!code &&
            (!tally_parse_int(redis_connection_string(reply), &lock->fence) || lock->fence == 0)) {
        code = TALLY_NOT_FOUND;
    }
    freeReplyObject(reply);
    return code;
}

void redis_lock_release(struct redis_pool *pool, struct tally_slice key,
        const struct redis_lock *lock)
{
    struct redis_pool_call call = {.script = REDIS_SCRIPT_UNLOCK,
            .keys = {key},
            .key_count = 1,
            .arguments = {tally_slice_string(lock->token)},
            .argument_count = 1};
    char run[REDIS_CONNECTION_RUN_LEN + 1];
    struct tally_error err;
    redisReply *reply;

    /* If it fails, the lock goes when its time is over. */
    (void)!redis_pool_run(pool, &call, run, &reply, &err);
    freeReplyObject(reply);
}
