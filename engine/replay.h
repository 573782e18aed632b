/* engine/replay.h - a task's state once more, from its log alone, in a directory of its own: what
 * `tally fsck` compares the real one with. One task at a time, by the restorer that tasks have.
 *  (1) Nothing but that directory is written; no group is joined.
 *  (2) A compacted log has of each key the newest record only: a row that was written again behind
 *      the position cannot be had, and is named instead.
 * @thread owner */
#pragma once
#include "engine/client.h"
#include "engine/topology.h"
#include "state/store.h"

struct tally_replay;

struct tally_replay_options {
    struct tally_topology *const *topologies; /* owned by the caller, outlive it */
    size_t topology_count;
    const struct tally_config *config; /* as topologies; borrowed */
    struct tally_client *client;
    struct tally_clock *clock;
    int32_t partitions;
    const char *dir; /* for the rows; made if it is absent */
};
/* STATE_LOCKED: another process has the directory. */
TALLY_MUST_CHECK enum tally_code tally_replay_create(const struct tally_replay_options *options,
        struct tally_replay **replay, struct tally_error *err);
void tally_replay_destroy(struct tally_replay *replay);

/* What the task's directory below state_dir says that it was built from; codes of
 * tally_store_check, NOT_FOUND: no such task in the settings. */
TALLY_MUST_CHECK enum tally_code tally_replay_positions(const struct tally_replay *replay,
        const char *state_dir, const char *topology, int32_t partition,
        struct tally_positions *positions, struct tally_error *err);

/* Begins with a task: the records of its log up to the offset `last` (-1: none). HALT codes: the
 * log does not have them. */
TALLY_MUST_CHECK enum tally_code tally_replay_begin(struct tally_replay *replay,
        const char *topology, int32_t partition, int64_t last, struct tally_error *err);
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
