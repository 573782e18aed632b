/* connectors/kafka_group.h - a consumer group from outside: members, offsets, ranges of topics. For
 * `tally reset`, never for an instance: those move offsets in transactions only.
 * Invariants
 *  (1) Offsets are read with require_stable: none is told while a transaction may still move it.
 *  (2) "No offset" is TALLY_OFFSET_NONE, never 0.
 * @thread owner of the handle  @locks none */
#pragma once
#include "engine/base/config.h"
#include "engine/client.h"

struct tally_group;

struct tally_group_member {
    char client[128], instance[80], host[64];
};

/* Of the group app.id, or app.id + '-' + name. Every call after it answers within timeout_ms, else
 * UNAVAILABLE. config: borrowed until close. */
TALLY_MUST_CHECK enum tally_code tally_group_open(const struct tally_config *config,
        const char *name, int timeout_ms, struct tally_group **group, struct tally_error *err);
const char *tally_group_name(const struct tally_group *group); /* all of it */
void tally_group_close(struct tally_group *group);             /* NULL is fine */

/* Writes at most max members; *count: how many there are. A group that does not exist has none. */
TALLY_MUST_CHECK enum tally_code tally_group_members(struct tally_group *group,
        struct tally_group_member *members, size_t max, size_t *count, struct tally_error *err);
/* Fills offset of each. */
TALLY_MUST_CHECK enum tally_code tally_group_offsets(struct tally_group *group,
        struct tally_topic_partition *partitions, size_t count, struct tally_error *err);
/* Sets one offset; TALLY_OFFSET_NONE: removes it. Fails while the group has members. */
TALLY_MUST_CHECK enum tally_code tally_group_set_offset(struct tally_group *group,
        const struct tally_topic_partition *partition, struct tally_error *err);
/* Log start and high watermark, read_uncommitted. */
TALLY_MUST_CHECK enum tally_code tally_group_range(struct tally_group *group, const char *topic,
        int32_t partition, int64_t *low, int64_t *high, struct tally_error *err);
/* Borrowed until close; NULL: no broker answers. */
const char *tally_group_cluster(struct tally_group *group);
