/* state/base.c - counted references to bases and their snapshots; what readers of one have seen. */
#include "state/base_internal.h"

#include "engine/base/mem.h"
#include "state/run_internal.h"
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
    atomic_init(&snapshot->seen, NULL);
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

/* --- highest keys ------------------------------------------------------------------------------
 */

static void highest_destroy(struct base_highest *highest)
{
    if (!highest)
        return;
    for (size_t i = 0; i < highest->count; i++) {
        tally_free((void *)(uintptr_t)highest->keys[i].data);
    }
    tally_free(highest->keys);
    tally_free(highest);
}

static struct tally_slice *highest_of(const struct base_highest *highest, uint8_t store)
{
    for (size_t i = 0; i < highest->count; i++) {
        if (highest->keys[i].data[0] == store)
            return &highest->keys[i];
    }
    return NULL;
}

static void highest_raise(struct base_highest *highest, struct tally_slice key)
{
    struct tally_slice *known = highest_of(highest, key.data[0]);
    uint8_t *copy;

    if (known && tally_slice_compare(key, *known) <= 0)
        return;
    copy = tally_alloc(key.len);
    memcpy(copy, key.data, key.len);
    if (known) {
        tally_free((void *)(uintptr_t)known->data);
    } else {
        highest->keys = tally_realloc(highest->keys, (highest->count + 1) * sizeof *highest->keys);
        known = &highest->keys[highest->count++];
    }
    *known = tally_slice_of(copy, key.len);
}

void base_find_highest(struct base_snapshot *snapshot)
{
    struct base_highest *highest = tally_alloc_zero(1, sizeof *highest);
    struct tally_slice upper = TALLY_NONE;
    enum tally_code code = TALLY_OK;
    uint8_t store = 1, bound = 0;

    while (code == TALLY_OK && store > 0) { /* byte 0: meta keys */
        struct cursor *last = snapshot->base->ops->iterate(snapshot, TALLY_NONE, upper, true);

        code = cursor_next(last, NULL);
        if (code == TALLY_OK) {
            store = last->key.data[0];
            if (store > 0)
                highest_raise(highest, last->key);
        }
        cursor_destroy(last);
        bound = store;
        upper = tally_slice_of(&bound, 1);
    }
    if (code == TALLY_OK || code == TALLY_NOT_FOUND) {
        snapshot->highest = highest;
    } else {
        highest_destroy(highest); /* whoever reads next is told */
    }
}

void base_extend_highest(struct base_snapshot *snapshot, const struct base_snapshot *before,
        struct run *const *runs, size_t count)
{
    struct base_highest *highest;

    if (!before || !before->highest)
        return;
    highest = tally_alloc_zero(1, sizeof *highest);
    for (size_t i = 0; i < before->highest->count; i++) {
        highest_raise(highest, before->highest->keys[i]);
    }
    for (size_t i = 0; i < count; i++) {
        for (unsigned store = 0; store < runs[i]->store_count; store++) {
            highest_raise(highest, run_highest(runs[i], store));
        }
    }
    snapshot->highest = highest;
}

bool base_above(const struct base_snapshot *snapshot, struct tally_slice key)
{
    const struct tally_slice *known;

    if (!snapshot->highest)
        return false;
    known = highest_of(snapshot->highest, key.data[0]);
    return !known || tally_slice_compare(key, *known) > 0;
}

/* --- rows that were read ---------------------------------------------------------------------- */

static void seen_destroy(_Atomic(struct base_seen *) *seen)
{
    for (size_t i = 0; seen && i < BASE_SEEN_MAX; i++) {
        tally_free(atomic_load_explicit(&seen[i], memory_order_acquire));
    }
    tally_free(seen);
}

/* The slot of a hash. Of two threads that make the table the first one's is kept. */
static _Atomic(struct base_seen *) *seen_slot(struct base_snapshot *snapshot, uint64_t hash)
{
    _Atomic(struct base_seen *) *seen = atomic_load_explicit(&snapshot->seen, memory_order_acquire);

    if (!seen) {
        _Atomic(struct base_seen *) *made = tally_alloc_zero(BASE_SEEN_MAX, sizeof *made);

        if (atomic_compare_exchange_strong(&snapshot->seen, &seen, made)) {
            seen = made;
        } else {
            tally_free(made);
        }
    }
    return &seen[hash % BASE_SEEN_MAX];
}

static void remember(_Atomic(struct base_seen *) *slot, struct tally_slice key,
        const struct tally_buf *value, bool found)
{
    struct base_seen *seen, *none = NULL;

    if (value->failed || key.len + value->len > BASE_SEEN_BYTES_MAX) {
        return;
    }
    seen = tally_alloc(sizeof *seen + key.len + value->len);
    seen->found = found;
    seen->key_len = (uint32_t)key.len;
    seen->value_len = (uint32_t)value->len;
    memcpy(seen->bytes, key.data, key.len);
    if (value->len > 0) {
        memcpy(seen->bytes + key.len, value->data, value->len);
    }
    if (!atomic_compare_exchange_strong(slot, &none, seen)) {
        tally_free(seen);
    }
}

enum tally_code base_get_seen(struct base_snapshot *snapshot, struct tally_slice key, uint64_t hash,
        bool ready, struct tally_buf *value, struct tally_error *err)
{
    const struct base_ops *ops = snapshot->base->ops;
    _Atomic(struct base_seen *) *slot = seen_slot(snapshot, hash);
    const struct base_seen *seen = atomic_load_explicit(slot, memory_order_acquire);
    enum tally_code code;

    if (seen && seen->key_len == key.len && memcmp(seen->bytes, key.data, key.len) == 0) {
        tally_buf_append(value, seen->bytes + key.len, seen->value_len);
        return seen->found ? TALLY_OK : TALLY_NOT_FOUND;
    }
    code = (ready ? ops->get_ready : ops->get)(snapshot, key, value, err);
    if (!seen && (code == TALLY_OK || code == TALLY_NOT_FOUND)) {
        remember(slot, key, value, code == TALLY_OK);
    }
    return code;
}

void base_snapshot_unref(struct base_snapshot *snapshot)
{
    struct base *base;

    if (!snapshot ||
            atomic_fetch_sub_explicit(&snapshot->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    base = snapshot->base;
    highest_destroy(snapshot->highest);
    seen_destroy(atomic_load_explicit(&snapshot->seen, memory_order_acquire));
    base->ops->snapshot_destroy(snapshot);
    base_unref(base);
}
