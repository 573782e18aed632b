/* connectors/redis_pool.h - connections to Redis for threads that have none of their own: one call
 * at a time, on any of them.
 * Invariants
 *  (1) At most SIZE connections; who finds none free waits, no longer than redis.timeout.
 *  (2) While Redis is away, calls fail at once: it is tried again once in RETRY_MS.
 *  (3) A call is repeated on another connection if the one that it was made on had been idle and
 *      was closed: all calls can be, as each is harmless when it is run twice.
 * @thread any  @locks CONNECTOR, never over a call */
#pragma once
#include "connectors/redis_script.h"

enum { REDIS_POOL_SIZE = 16, REDIS_POOL_PARTS = 5 };

/* A script with its keys and arguments. An argument without data is the server's run. */
struct redis_pool_call {
    enum redis_script_id script;
    struct tally_slice keys[REDIS_POOL_PARTS], arguments[REDIS_POOL_PARTS];
    size_t key_count, argument_count;
};

struct redis_pool;
struct redis_pool *redis_pool_create(const struct redis_place *place); /* copied */
void redis_pool_destroy(struct redis_pool *pool);                      /* nobody calls any more */
/* run: of the server that answered. The reply is the caller's, for freeReplyObject. */
TALLY_MUST_CHECK enum tally_code redis_pool_run(struct redis_pool *pool,
        const struct redis_pool_call *call, char run[static REDIS_CONNECTION_RUN_LEN + 1],
        redisReply **reply, struct tally_error *err);
