/* apps/fsck_replay.h - I9 of docs/domain.md: the same log gives the same rows, byte for byte. A
 * task's rows are built once more from its log, up to the position of the rows that are checked,
 * and compared with them one by one, as a dump prints them.
 *  (1) The rows are built in a folder of the state directory, which is removed at the end.
 *  (2) A log that cannot be read up to there is no difference: begin says why.
 *  (3) Of a changelog that goes on behind the position, rows that were written again there are not
 *      compared: it has only their newest values.
 * Life: create -> for each task begin, row or line for each, finish -> destroy. @thread owner */
#pragma once
#include "apps/fsck_check.h"
#include "apps/progress.h"
#include "engine/replay.h"

#define FSCK_REPLAY_FOLDER ".fsck"

struct fsck_replay;

struct fsck_replay_options {
    struct tally_replay_options replay; /* dir: not used */
    const char *state_dir;
    struct fsck_check *check;  /* is told of differences */
    struct progress *progress; /* begun */
};
TALLY_MUST_CHECK enum tally_code fsck_replay_create(const struct fsck_replay_options *options,
        struct fsck_replay **replay, struct tally_error *err);
void fsck_replay_destroy(struct fsck_replay *replay);

/* A file for what has to be kept until the position is known; "" in it before every use. Owned. */
const char *fsck_replay_spool(const struct fsck_replay *replay);
/* The task's directory below state_dir says itself how far it is. */
TALLY_MUST_CHECK enum tally_code fsck_replay_begin_directory(struct fsck_replay *replay,
        const char *topology, int32_t partition, struct tally_error *err);
/* last: the offset of the last record of its log that is in the rows, -1: none. */
TALLY_MUST_CHECK enum tally_code fsck_replay_begin(struct fsck_replay *replay, const char *topology,
        int32_t partition, int64_t last, struct tally_error *err);
/* The next row, in the order of keys, with its line in the dump; or the line alone. Errors are of
 * reading what the log gave. */
TALLY_MUST_CHECK enum tally_code fsck_replay_row(struct fsck_replay *replay, struct tally_slice key,
        struct tally_slice line, struct tally_error *err);
TALLY_MUST_CHECK enum tally_code fsck_replay_line(struct fsck_replay *replay,
        struct tally_slice line, struct tally_error *err);
/* After the last row. abandoned: no more rows are compared. */
TALLY_MUST_CHECK enum tally_code fsck_replay_finish(struct fsck_replay *replay, bool abandoned,
        struct tally_error *err);
/* Records that were read of all logs. */
int64_t fsck_replay_records(const struct fsck_replay *replay);
