/* engine/replay.h - a task's state once more, from its log alone, in a directory of its own: what
 * `tally fsck` compares the real one with, and what `tally replay` makes. By the restorer that
 * tasks have: there is no second way to build state.
 *  (1) Nothing but that directory is written; no group is joined.
 *  (2) A compacted log has of each key the newest record only: a row that was written again behind
 *      the position cannot be had, and is named instead.
 *  (3) A state that is the fold of a later part of its log is marked so: no instance opens it.
 * A place is shared by the replays of several threads, each with one task at a time. */
#pragma once
#include "engine/client.h"
#include "engine/restorer.h"
#include "engine/topology.h"
#include "state/store.h"

struct tally_replay_place;
struct tally_replay;

struct tally_replay_options {
    struct tally_topology *const *topologies; /* owned by the caller, outlive it */
    size_t topology_count;
    const struct tally_config *config; /* as topologies; borrowed */
    struct tally_client *client;
    struct tally_clock *clock;
    int32_t partitions;
    const char *dir; /* for the rows; made if it is absent */
    bool strict;     /* a record that is not the topology's is EVENT_UNKNOWN, not overlooked */
};
/* Touches nothing: for the positions of directories. @thread main */
struct tally_replay_place *tally_replay_place_create(const struct tally_replay_options *options);
/* Opens the directory. STATE_LOCKED: another process has it. @thread main */
TALLY_MUST_CHECK enum tally_code tally_replay_place_open(struct tally_replay_place *place,
        struct tally_error *err);
void tally_replay_place_destroy(struct tally_replay_place *place); /* no replays left */

/* What the task's directory below state_dir says that it was built from, if that is its log from
 * `from` (-1: from its start); codes of tally_store_check, NOT_FOUND: no such task in the settings.
 * @thread any */
TALLY_MUST_CHECK enum tally_code tally_replay_positions(const struct tally_replay_place *place,
        const char *state_dir, const char *topology, int32_t partition, int64_t from,
        struct tally_positions *positions, struct tally_error *err);

/* thread: 0.., no other replay of the place has it. @thread owner, from here on */
TALLY_MUST_CHECK enum tally_code tally_replay_create(struct tally_replay_place *place, int thread,
        struct tally_replay **replay, struct tally_error *err);
void tally_replay_destroy(struct tally_replay *replay);

/* Begins with a task: a part of its log, or what its directory lacks of that. HALT codes: the log
 * does not have it; FOREIGN_STATE: the directory holds something else. */
TALLY_MUST_CHECK enum tally_code tally_replay_begin(struct tally_replay *replay,
        const char *topology, int32_t partition, const struct tally_log_part *part,
        struct tally_error *err);
/* Reads for at most budget_ms. AGAIN: there is more. */
TALLY_MUST_CHECK enum tally_code tally_replay_step(struct tally_replay *replay, int64_t budget_ms,
        struct tally_error *err);
/* Offsets of the log that are read, and have to be. */
void tally_replay_progress(const struct tally_replay *replay, int64_t *done, int64_t *total);
/* After the last step: the rows, for as long as the caller keeps the view. */
struct tally_view *tally_replay_view(struct tally_replay *replay);
/* After the last step, of a compacted log: each key that has a record behind `last`. TIMEOUT. */
TALLY_MUST_CHECK enum tally_code tally_replay_later(struct tally_replay *replay,
        void (*key)(void *context, struct tally_slice key), void *context, struct tally_error *err);
/* Gives the task up; its views are let go. */
void tally_replay_end(struct tally_replay *replay);
/* The same, but what was evolved, be it a part of the way, stays in the place and is on its way to
 * the disk. */
void tally_replay_keep(struct tally_replay *replay);
/* Waits until what was kept of a task is on the disk, and closes it. STORE_ERROR, TIMEOUT. @thread
 * main, after the replays have ended */
TALLY_MUST_CHECK enum tally_code tally_replay_place_settle(struct tally_replay_place *place,
        const char *topology, int32_t partition, struct tally_error *err);
