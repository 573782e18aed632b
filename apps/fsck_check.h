/* apps/fsck_check.h - proves the invariants of the domain (I1-I8 of docs/domain.md) from the rows
 * of all stores.
 * Rows come as lines of a dump (http/row_line.h): tasks one after another, each in key order. What
 * rows of one task say about each other is checked as they come, for a task is dumped at one
 * position. What rows of different tasks say about each other holds when nothing is on its way
 * between them; elsewhere it is counted as unsettled. @thread owner */
#pragma once
#include "engine/base/bytes.h"
#include "engine/base/error.h"

struct fsck_check;

struct fsck_check_options {
    /* Told of each difference: "I1 stock/2 TS-RED-M.AMS1: ...", text is borrowed. */
    void (*differs)(void *context, const char *text);
    void *context;
};
struct fsck_check *fsck_check_create(const struct fsck_check_options *options);
void fsck_check_destroy(struct fsck_check *check);
/* One line of a dump, with or without its newline. BAD_RECORD: it is none. A damaged row is a
 * difference. */
TALLY_MUST_CHECK enum tally_code fsck_check_row(struct fsck_check *check, struct tally_slice line,
        struct tally_error *err);
/* After the last row: what only all of them together say. settled: no message is on its way between
 * topologies, so that what waits for one is different. */
void fsck_check_finish(struct fsck_check *check, bool settled);
/* What was checked, a line for each invariant. */
void fsck_check_report(const struct fsck_check *check, struct tally_buf *out);
uint64_t fsck_check_differences(const struct fsck_check *check);
