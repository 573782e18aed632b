/* connectors/kafka_log_ends.h - where a partition's log begins and ends, for tools that read a part
 * of it: its end for a reader of committed records, and the offset at a time. Joins no group,
 * writes nothing. @thread owner  @locks none */
#pragma once
#include "engine/base/config.h"
#include "engine/client.h"

struct tally_log_ends;
/* config: borrowed during the call. CONFIG: a wrong property. */
TALLY_MUST_CHECK enum tally_code tally_log_ends_open(const struct tally_config *config,
        struct tally_log_ends **ends, struct tally_error *err);
void tally_log_ends_close(struct tally_log_ends *ends);

/* *low: the first offset that is there; *end: the last stable offset, behind all records that are
 * committed. NOT_FOUND: no such topic or partition; UNAVAILABLE, TIMEOUT. */
TALLY_MUST_CHECK enum tally_code tally_log_ends_read(struct tally_log_ends *ends, const char *topic,
        int32_t partition, int64_t *low, int64_t *end, struct tally_error *err);
/* The first offset whose record has this time or a later one; TALLY_OFFSET_NONE: there is none. */
TALLY_MUST_CHECK enum tally_code tally_log_ends_at(struct tally_log_ends *ends, const char *topic,
        int32_t partition, int64_t time_ms, int64_t *offset, struct tally_error *err);
