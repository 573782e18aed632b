/* state/view.c - one commit's state for any thread, for as long as it holds a reference.
 * Invariants
 *  (1) A view never changes. Publishing a commit or a flush makes a new one.
 *  (2) A view keeps all that it needs alive: its runs, and the base through its snapshot. */
#include "state/view_internal.h"

#include "engine/base/mem.h"

struct tally_view *view_create(struct run *const *runs, size_t count,
        struct base_snapshot *snapshot, const struct tally_positions *positions, uint64_t sequence,
        int64_t retention_ms)
{
    struct tally_view *view = tally_alloc_zero(1, sizeof *view + count * sizeof view->runs[0]);

    atomic_init(&view->references, 1);
    atomic_init(&view->retired, false);
    view->snapshot = base_snapshot_ref(snapshot);
    view->positions = *positions;
    view->sequence = sequence;
    view->retention_ms = retention_ms;
    view->cutoff_ms = row_cutoff(positions->decision_time, retention_ms);
    for (size_t i = 0; i < count; i++) {
        view->runs[i] = run_ref(runs[i]);
        view->run_bytes += runs[i]->size;
    }
    view->run_count = (uint32_t)count;
    return view;
}

struct tally_view *tally_view_ref(struct tally_view *view)
{
    atomic_fetch_add_explicit(&view->references, 1, memory_order_relaxed);
    return view;
}

void tally_view_unref(struct tally_view *view)
{
    if (!view || atomic_fetch_sub_explicit(&view->references, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < view->run_count; i++) {
        run_unref(view->runs[i]);
    }
    base_snapshot_unref(view->snapshot);
    tally_free(view);
}

void view_retire(struct tally_view *view)
{
    if (view)
        atomic_store_explicit(&view->retired, true, memory_order_release);
    tally_view_unref(view);
}

bool tally_view_is_newest(const struct tally_view *view)
{
    return !atomic_load_explicit(&view->retired, memory_order_acquire);
}

const struct tally_positions *tally_view_positions(const struct tally_view *view)
{
    return &view->positions;
}

bool view_find(const struct tally_view *view, struct tally_slice key, uint64_t hash,
        struct row *row)
{
    for (uint32_t i = 0; i < view->run_count; i++) {
        if (run_find(view->runs[i], key, hash, row))
            return true;
    }
    return false;
}

enum tally_code view_base(const struct tally_view *view, struct base_snapshot **snapshot,
        struct tally_error *err)
{
    *snapshot = view->snapshot;
    if (view->snapshot)
        return TALLY_OK;
    return tally_error_set(err, TALLY_STORE_ERROR,
            "store is being reopened after a failed write: see the log, and try again");
}

static enum tally_code get(struct tally_view *view, struct tally_slice key, bool ready,
        struct tally_buf *value, struct tally_error *err)
{
    struct base_snapshot *snapshot = NULL;
    uint64_t hash;
    struct row row;
    enum tally_code code;

    tally_buf_clear(value);
    if (key.len == 0 || key.data[0] == 0)
        return TALLY_NOT_FOUND; /* meta keys are in no store */
    hash = row_hash(key);
    if (view_find(view, key, hash, &row)) {
        if (view->snapshot)
            base_seen_above(view->snapshot, key, hash);
        if (row.deleted)
            return TALLY_NOT_FOUND;
        tally_buf_slice(value, row_value(&row));
    } else {
        code = view_base(view, &snapshot, err);
        if (code)
            return code;
        code = base_get_seen(snapshot, key, hash, ready, value, err);
        if (code)
            return code;
    }
    if (value->failed) {
        return tally_error_set(err, TALLY_TOO_LARGE,
                "a row is larger than its reader's limit of %zu bytes", value->max);
    }
    if (row_expired(key, tally_buf_bytes(value), view->cutoff_ms)) {
        tally_buf_clear(value);
        return TALLY_NOT_FOUND;
    }
    return TALLY_OK;
}

enum tally_code tally_view_get(struct tally_view *view, struct tally_slice key,
        struct tally_buf *value, struct tally_error *err)
{
    return get(view, key, false, value, err);
}

enum tally_code tally_view_get_ready(struct tally_view *view, struct tally_slice key,
        struct tally_buf *value, struct tally_error *err)
{
    return get(view, key, true, value, err);
}

/* What a multi-get of the base tells, of keys of which it was asked only some. */
struct asked {
    const struct tally_view *view;
    const struct tally_slice *keys;
    const size_t *indexes; /* of keys, among those of the caller */
    tally_view_found_fn found;
    void *context;
};

static void tell(struct asked *asked, size_t index, struct tally_slice key,
        struct tally_slice value)
{
    if (value.data && !row_expired(key, value, asked->view->cutoff_ms))
        asked->found(asked->context, index, value);
}

static void tell_base(void *context, size_t index, struct tally_slice value)
{
    struct asked *asked = context;

    tell(asked, asked->indexes[index], asked->keys[index], value);
}

enum tally_code tally_view_get_many(struct tally_view *view, const struct tally_slice *keys,
        size_t count, tally_view_found_fn found, void *context, struct tally_error *err)
{
    struct tally_slice *left = tally_alloc((count + 1) * sizeof *left);
    size_t *indexes = tally_alloc((count + 1) * sizeof *indexes), left_count = 0;
    struct asked asked = {view, left, indexes, found, context};
    struct base_snapshot *snapshot = NULL;
    enum tally_code code = TALLY_OK;
    struct row row;

    for (size_t i = 0; i < count; i++) {
        if (keys[i].len == 0 || keys[i].data[0] == 0)
            continue; /* meta keys are in no store */
        if (!view_find(view, keys[i], row_hash(keys[i]), &row)) {
            left[left_count] = keys[i];
            indexes[left_count++] = i;
        } else if (!row.deleted) {
            tell(&asked, i, keys[i], row_value(&row));
        }
    }
    if (left_count > 0)
        code = view_base(view, &snapshot, err);
    if (left_count > 0 && !code)
        code = snapshot->base->ops->multi_get(snapshot, left, left_count, tell_base, &asked, err);
    tally_free(left);
    tally_free(indexes);
    return code;
}

enum tally_code view_cursors(const struct tally_view *view, struct tally_slice lower,
        struct tally_slice upper, bool backwards, struct cursor **cursors, size_t *count,
        struct tally_error *err)
{
    struct base_snapshot *snapshot = NULL;
    enum tally_code code = view_base(view, &snapshot, err);

    *count = 0;
    if (code)
        return code;
    for (uint32_t i = 0; i < view->run_count; i++) {
        cursors[(*count)++] = run_cursor(view->runs[i], lower, upper, backwards);
    }
    cursors[(*count)++] = snapshot->base->ops->iterate(snapshot, lower, upper, backwards);
    return TALLY_OK;
}
