/* connectors/redis_lock.h - who may fill a gap in a read model: SET NX PX with a random token and a
 * growing number. It saves work; nothing rests on it, as what is filled in is guarded by its
 * version. @thread any */
#pragma once
#include "connectors/redis_pool.h"

enum { REDIS_LOCK_MS = 2000, REDIS_LOCK_TOKEN_LEN = 32 };

struct redis_lock_keys {
    struct tally_slice lock, fence, control, partition, value;
};
struct redis_lock {
    char token[REDIS_LOCK_TOKEN_LEN + 1];
    int64_t fence; /* larger than that of every lock before */
};
/* NOT_FOUND: somebody has it, the value is there by now, or it is not the time to fill anything. */
TALLY_MUST_CHECK enum tally_code redis_lock_take(struct redis_pool *pool,
        const struct redis_lock_keys *keys, struct redis_lock *lock, struct tally_error *err);
/* Nothing if it is not ours any more. */
void redis_lock_release(struct redis_pool *pool, struct tally_slice key,
        const struct redis_lock *lock);
