/* connectors/redis_reader.h - reads what the Redis sink wrote (engine/read_model.h), and fills in a
 * product that is missing.
 * Invariants
 *  (1) A value counts only while its partition is proved for the server process that answers, and
 *      is as far as this reader has ever seen it: else NOT_FOUND, see docs/redis.md.
 *  (2) Of any number of readers that miss a product at once, one fills it.
 * @thread any */
#pragma once
#include "engine/base/config.h"
#include "engine/read_model.h"

/* CONFIG. partitions: of each topic. config may go; nothing is connected before the first read. */
TALLY_MUST_CHECK enum tally_code tally_redis_reader_create(const struct tally_config *config,
        int32_t partitions, struct tally_read_cache **cache, struct tally_error *err);
