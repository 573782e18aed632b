/* connectors/redis_sink.h - read models in Redis (engine/sink.h): products by id and slug, SKUs and
 * levels as JSON, written by scripts. docs/redis.md has every key.
 * Invariants, besides those of engine/sink.h
 *  (1) Rows of a partition and the position behind them move in scripts that each check that the
 *      one before was run: what Redis holds is always a prefix of the log.
 *  (2) A key never holds an older version than it did, but after keys were lost, and then nothing
 *      of that partition is read before it is as far as the log was when the loss was found.
 *  (3) A rebuild writes to keys of their own, which then take the place of those that are read. */
#pragma once
#include "engine/base/config.h"
#include "engine/sink.h"

/* CONFIG. config outlives the sink. */
TALLY_MUST_CHECK enum tally_code tally_redis_sink_create(const struct tally_config *config,
        struct tally_sink **sink, struct tally_error *err);
