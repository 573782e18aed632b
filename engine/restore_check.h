/* engine/restore_check.h - whether positions fit the topics they belong to: the predicates of the
 * restore (R5, R8), of the watch over running tasks, and of `tally reset`, so that its plan and the
 * halts agree. Pure functions. @thread any  @locks none */
#pragma once
#include <stdbool.h>

#include "engine/base/error.h"

/* R5: the last applied event (-1: none) against the range of the events topic. EVENTS_TRUNCATED,
 * EVENTS_INCOMPLETE. */
TALLY_MUST_CHECK enum tally_code tally_check_events(const char *topic, int32_t partition,
        int64_t last, int64_t low, int64_t high, struct tally_error *err);
/* R5 of a changelog, which is complete per key: the last applied record (-1: none) and its age
 * against the topic. STORE_OUTDATED: rows that were deleted may be missing as deletions, so the
 * store is built again. */
#define TALLY_TOMBSTONE_RETENTION_MS INT64_C(86400000) /* delete.retention.ms at least */
TALLY_MUST_CHECK enum tally_code tally_check_changelog(const char *topic, int32_t partition,
        int64_t last, int64_t age_ms, int64_t low, int64_t high, struct tally_error *err);
/* R8 of a changelog, whose position (-1: none) is exact. written: it has a position record.
 * CHANGELOG_EMPTY, CHANGELOG_BEHIND; else as tally_check_input. */
TALLY_MUST_CHECK enum tally_code tally_check_projection(const char *topic, int32_t partition,
        int64_t group, int64_t state, bool written, int64_t low, int64_t high,
        struct tally_error *err);
/* R8: the group's offset (TALLY_OFFSET_NONE: none) against what the state has consumed (its next
 * offset, -1: nothing) and the range of the commands topic. OFFSETS_LOST, OFFSETS_BEHIND,
 * INPUT_LOST, INPUT_TRUNCATED. */
TALLY_MUST_CHECK enum tally_code tally_check_input(const char *topic, int32_t partition,
        int64_t group, int64_t state, int64_t low, int64_t high, struct tally_error *err);
