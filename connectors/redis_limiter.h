/* connectors/redis_limiter.h - the log of requests that instances share (engine/limiter.h): a
 * sorted set per policy and client, and one script a request, on the clock of Redis. @thread any */
#pragma once
#include "engine/base/config.h"
#include "engine/limiter.h"

/* CONFIG. config may go; nothing is connected before the first request. */
TALLY_MUST_CHECK enum tally_code tally_redis_limiter_create(const struct tally_config *config,
        struct tally_limit_log **log, struct tally_error *err);
