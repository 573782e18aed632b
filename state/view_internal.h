/* state/view_internal.h - what readers see: runs, newest first, over a snapshot of the base, with
 * the positions that all of it implies. Immutable and counted. */
#pragma once
#include <stdatomic.h>

#include "state/base_internal.h"
#include "state/run_internal.h"
#include "state/store.h"

struct tally_view {
    atomic_int references;
    atomic_bool retired;            /* its store has a newer one, or is closed */
    struct base_snapshot *snapshot; /* NULL: the base is being reopened after an error */
    struct tally_positions positions;
    uint64_t sequence; /* of the newest commit that it holds */
    int64_t cutoff_ms; /* DEDUP rows before it are absent */
    int64_t retention_ms;
    size_t run_bytes;
    uint32_t run_count;
    struct run *runs[]; /* newest first */
};

/* Takes references to the runs and to the snapshot. */
struct tally_view *view_create(struct run *const *runs, size_t count,
        struct base_snapshot *snapshot, const struct tally_positions *positions, uint64_t sequence,
        int64_t retention_ms);

/* Gives up its store's reference. */
void view_retire(struct tally_view *view);

/* Looks in the runs only: TALLY_OK with *row, which may be a deleted one, or NOT_FOUND. */
bool view_find(const struct tally_view *view, struct tally_slice key, uint64_t hash,
        struct row *row);
/* STORE_ERROR when the view has no base. */
TALLY_MUST_CHECK enum tally_code view_base(const struct tally_view *view,
        struct base_snapshot **snapshot, struct tally_error *err);
/* Fills *cursors, room for run_count + 1, newest first; returns how many. The view is kept by the
 * caller, and so are the bounds. */
TALLY_MUST_CHECK enum tally_code view_cursors(const struct tally_view *view,
        struct tally_slice lower, struct tally_slice upper, bool backwards, struct cursor **cursors,
        size_t *count, struct tally_error *err);
