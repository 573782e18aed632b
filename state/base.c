/* state/base.c - counted references to bases and their snapshots; what readers of one have seen. */
#include "state/base_internal.h"

#include "engine/base/mem.h"
#include "state/run_internal.h"
#include "state/store_internal.h"

enum {
    SEEN_SLOTS = 4, /* where a row may be remembered */
    ONCE = BASE_SEEN_UNUSED - BASE_SEEN_ONCE
};

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

/* The table. Of two threads that make it the first one's is kept. */
static _Atomic(struct base_seen *) *seen_table(struct base_snapshot *snapshot)
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
    return seen;
}

/* The row of a key, or NULL with the slot where it may come, or without one: the few that it has
 * are taken. */
static struct base_seen *seen_find(_Atomic(struct base_seen *) *table, struct tally_slice key,
        uint64_t hash, _Atomic(struct base_seen *) **slot)
{
    for (size_t i = 0; i < SEEN_SLOTS; i++) {
        struct base_seen *seen;

        *slot = &table[(hash + i) % BASE_SEEN_MAX];
        seen = atomic_load_explicit(*slot, memory_order_acquire);
        if (!seen || (seen->key_len == key.len && memcmp(seen->bytes, key.data, key.len) == 0)) {
            return seen;
        }
    }
    *slot = NULL;
    return NULL;
}

static void remember(_Atomic(struct base_seen *) *slot, struct tally_slice key,
        struct tally_slice value, enum base_seen_as as, uint8_t unused)
{
    struct base_seen *seen, *none = NULL;

    if (!slot || key.len + value.len > BASE_SEEN_BYTES_MAX) {
        return;
    }
    seen = tally_alloc(sizeof *seen + key.len + value.len);
    atomic_init(&seen->unused, unused);
    seen->as = as;
    seen->key_len = (uint32_t)key.len;
    seen->value_len = (uint32_t)value.len;
    memcpy(seen->bytes, key.data, key.len);
    if (value.len > 0) {
        memcpy(seen->bytes + key.len, value.data, value.len);
    }
    if (!atomic_compare_exchange_strong(slot, &none, seen)) {
        tally_free(seen);
    }
}

static void use(struct base_seen *seen)
{
    if (atomic_load_explicit(&seen->unused, memory_order_relaxed) > 0) {
        atomic_store_explicit(&seen->unused, 0, memory_order_relaxed);
    }
}

enum tally_code base_get_seen(struct base_snapshot *snapshot, struct tally_slice key, uint64_t hash,
        bool ready, struct tally_buf *value, struct tally_error *err)
{
    const struct base_ops *ops = snapshot->base->ops;
    _Atomic(struct base_seen *) *slot;
    struct base_seen *seen = seen_find(seen_table(snapshot), key, hash, &slot);
    enum tally_code code;

    if (seen) {
        use(seen);
    }
    if (seen && seen->as != BASE_SEEN_ABOVE) {
        tally_buf_append(value, seen->bytes + key.len, seen->value_len);
        return seen->as == BASE_SEEN_FOUND ? TALLY_OK : TALLY_NOT_FOUND;
    }
    code = (ready ? ops->get_ready : ops->get)(snapshot, key, value, err);
    if (!seen && code == TALLY_OK && !value->failed) {
        remember(slot, key, tally_buf_bytes(value), BASE_SEEN_FOUND, ONCE);
    } else if (!seen && code == TALLY_NOT_FOUND) {
        remember(slot, key, TALLY_NONE, BASE_SEEN_ABSENT, ONCE);
    }
    return code;
}

void base_seen_above(struct base_snapshot *snapshot, struct tally_slice key, uint64_t hash)
{
    _Atomic(struct base_seen *) *slot;
    struct base_seen *seen = seen_find(seen_table(snapshot), key, hash, &slot);

    if (seen) {
        use(seen);
    } else {
        remember(slot, key, TALLY_NONE, BASE_SEEN_ABOVE, ONCE);
    }
}

static void keep(struct base_snapshot *snapshot, const struct base_seen *seen,
        struct run *const *runs, size_t count)
{
    struct tally_slice key = tally_slice_of(seen->bytes, seen->key_len);
    struct tally_slice value = tally_slice_of(seen->bytes + seen->key_len, seen->value_len);
    uint64_t hash = row_hash(key);
    unsigned unused = atomic_load_explicit(&seen->unused, memory_order_relaxed) + 1u;
    enum base_seen_as as = seen->as;
    bool newer = false;
    _Atomic(struct base_seen *) *slot;
    struct row row;

    for (size_t i = 0; i < count && !newer; i++) {
        newer = run_find(runs[i], key, hash, &row);
    }
    if (newer) {
        as = row.deleted ? BASE_SEEN_ABSENT : BASE_SEEN_FOUND;
        value = row.deleted ? TALLY_NONE : row_value(&row);
    }
    if (as != BASE_SEEN_ABOVE && unused < BASE_SEEN_UNUSED &&
            !seen_find(seen_table(snapshot), key, hash, &slot)) {
        remember(slot, key, value, as, (uint8_t)unused);
    }
}

void base_keep_seen(struct base_snapshot *snapshot, const struct base_snapshot *before,
        struct run *const *runs, size_t count)
{
    _Atomic(struct base_seen *) *table =
            before ? atomic_load_explicit(&before->seen, memory_order_acquire) : NULL;

    for (size_t i = 0; table && i < BASE_SEEN_MAX; i++) {
        const struct base_seen *seen = atomic_load_explicit(&table[i], memory_order_acquire);

        if (seen) {
            keep(snapshot, seen, runs, count);
        }
    }
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
