/* state/base.c - counted references to bases and their snapshots. */
#include "state/base_internal.h"

#include "engine/base/mem.h"
#include "state/store_internal.h"

void base_init(struct base *base, const struct base_ops *ops, struct tally_state *state,
        const char *path)
{
    base->ops = ops;
    base->state = state;
    base->path = tally_copy_string(path);
    atomic_init(&base->references, 1);
    atomic_init(&base->corrupt, false);
    atomic_init(&base->age_cutoff_ms, INT64_MIN);
    state_add_base(state, base);
}

void base_snapshot_init(struct base_snapshot *snapshot, struct base *base)
{
    snapshot->base = base;
    atomic_init(&snapshot->references, 1);
    atomic_fetch_add_explicit(&base->references, 1, memory_order_relaxed);
}

void base_unref(struct base *base)
{
    if (!base || atomic_fetch_sub_explicit(&base->references, 1, memory_order_acq_rel) != 1)
        return;
    base->ops->close(base);
    state_remove_base(base->state, base); /* only now may the directory be opened again */
    tally_free(base->path);
    tally_free(base);
}

bool base_alone(const struct base *base)
{
    return atomic_load_explicit(&base->references, memory_order_acquire) == 1;
}

struct base_snapshot *base_snapshot_ref(struct base_snapshot *snapshot)
{
    if (snapshot)
        atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
    return snapshot;
}

void base_snapshot_unref(struct base_snapshot *snapshot)
{
    struct base *base;

    if (!snapshot ||
            atomic_fetch_sub_explicit(&snapshot->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    base = snapshot->base;
    base->ops->snapshot_destroy(snapshot);
    base_unref(base);
}
