/* state/store.c - what the owner of a task does with its stores, and the publication of views.
 * Invariants
 *  (1) The view pointer is swapped under view_lock only, by the owner (commits) and by whoever
 *      flushes (a new base under newer runs); both build on the view that is current then.
 *  (2) Runs stand newest first by sequence. A flush takes all runs of one view; those are not
 *      merged while it works, and leave the view when their rows are in its base.
 *  (3) Merging a run that a flush has just taken would be correct too, as rows stay newest first:
 *      the rule saves work, it does not guard anything. */
#include "state/store_internal.h"

#include "engine/base/failpoint.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "state/flush_internal.h"
#include "state/iterator_internal.h"
#include "state/key_schema.h"
#include "state/state_directory_internal.h"
#include "state/store_memory_internal.h"
#include "state/store_meta_internal.h"
#include "state/store_rocksdb_internal.h"

enum {
    RUNS_MAX = 24,               /* not being flushed; each costs look-ups */
    MERGE_BYTES_MAX = 64 * 1024, /* larger ones wait for the flush unless there are too many */
    VALUE_BYTES_MAX = 64 * 1024 * 1024
};

/* --- open and close ------------------------------------------------------------------------------
 */

static void copy_identity(struct store_identity *to, const struct tally_store_identity *from)
{
    to->fields = *from;
    to->fields.topology = tally_copy_string(from->topology);
    to->fields.cluster_id = tally_copy_string(from->cluster_id);
    to->fields.group = tally_copy_string(from->group);
    to->fields.commands_topic = tally_copy_string(from->commands_topic);
    to->fields.events_topic = tally_copy_string(from->events_topic);
    to->fields.settings = tally_copy_string(from->settings);
    to->fields.omitted = tally_copy_string(from->omitted);
}

static void free_identity(struct store_identity *identity)
{
    tally_free((char *)identity->fields.topology);
    tally_free((char *)identity->fields.cluster_id);
    tally_free((char *)identity->fields.group);
    tally_free((char *)identity->fields.commands_topic);
    tally_free((char *)identity->fields.events_topic);
    tally_free((char *)identity->fields.settings);
    tally_free((char *)identity->fields.omitted);
}

static struct tally_store *store_create(struct tally_state *state,
        const struct tally_store_identity *identity)
{
    struct tally_store *store = tally_alloc_zero(1, sizeof *store);

    store->state = state;
    store->path = state_directory_task(state->options.dir, identity->topology, identity->partition);
    copy_identity(&store->identity, identity);
    overlay_init(&store->overlay, &state->overlay_bytes);
    overlay_init(&store->once, &state->overlay_bytes);
    groups_init(&store->groups, &state->overlay_bytes);
    for (int i = 0; i < TALLY_STORES; i++) {
        if (tally_store_rows_once((enum tally_store_id)i))
            store->is_once[tally_store_byte((enum tally_store_id)i)] = true;
    }
    row_log_init(&store->log, &state->overlay_bytes);
    tally_buf_init(&store->loaded, VALUE_BYTES_MAX);
    tally_mutex_init(&store->view_lock, TALLY_LOCK_VIEW);
    return store;
}

static void store_destroy(struct tally_store *store)
{
    view_retire(store->view);
    base_unref(store->base);
    overlay_deinit(&store->overlay);
    overlay_deinit(&store->once);
    groups_deinit(&store->groups);
    row_log_deinit(&store->log);
    tally_buf_deinit(&store->loaded);
    tally_free(store->wanted);
    tally_free(store->hashes);
    tally_mutex_deinit(&store->view_lock);
    free_identity(&store->identity);
    tally_free(store->path);
    tally_free(store);
}

enum tally_code store_open_base(struct tally_store *store, struct base **base,
        struct tally_error *err)
{
    enum state_directory_content content = STATE_DIRECTORY_NEW;
    enum store_rocksdb_mode mode = STORE_ROCKSDB_READ_ONLY;
    enum tally_code code;

    if (!store->state->options.dir) {
        *base = store_memory_open(store->state, store->path);
        return TALLY_OK;
    }
    code = state_directory_inspect(store->path, &content, err);
    if (code)
        return code;
    if (store->state->read_only) {
        if (content == STATE_DIRECTORY_NEW)
            return tally_error_set(err, TALLY_NOT_FOUND, "\"%s\" holds no store", store->path);
    } else {
        /* A store that was open, and whose files are gone, is not made anew behind its runs. */
        if (content == STATE_DIRECTORY_NEW && store->view)
            return tally_error_set(err, TALLY_STORE_CORRUPT, "\"%s\" is empty", store->path);
        mode = content == STATE_DIRECTORY_NEW ? STORE_ROCKSDB_CREATE : STORE_ROCKSDB_EXISTING;
        code = state_directory_prepare(store->path, err);
        if (code)
            return code;
    }
    return store_rocksdb_open(store->state, store->path, mode, base, err);
}

/* Writes format and identity into a new base, so that it says from the start whose it is. */
static enum tally_code found_store(struct tally_store *store, struct base_snapshot **snapshot,
        const struct tally_positions *positions, struct tally_error *err)
{
    struct run *meta = store_meta_run(&store->identity.fields, positions,
            store->state->options.dedup_retention_ms);
    struct cursor *rows = run_cursor(meta, TALLY_NONE, TALLY_NONE, false);
    int64_t size = 0;
    bool lost = false;
    enum tally_code code = TALLY_FAILPOINT_CODE(RESTORE_INGEST_BEFORE, TALLY_STORE_ERROR, err);

    if (code == TALLY_OK)
        code = store->base->ops->ingest(store->base, rows, &size, &lost, err);
    cursor_destroy(rows);
    run_unref(meta);
    if (code == TALLY_OK) {
        TALLY_FAILPOINT(RESTORE_INGEST_AFTER);
        base_snapshot_unref(*snapshot);
        *snapshot = store->base->ops->snapshot(store->base);
    }
    return code;
}

/* Which stores have rows; all may have, while that is not known. */
static void note_rows(struct tally_store *store, const struct base_highest *highest)
{
    if (!highest)
        memset(store->holds, true, sizeof store->holds);
    for (size_t i = 0; highest && i < highest->count; i++) {
        store->holds[highest->keys[i].data[0]] = true;
    }
}

/* Reads what the directory holds and makes the first view. */
static enum tally_code load_store(struct tally_store *store,
        const struct tally_store_identity *identity, struct tally_error *err)
{
    struct tally_positions positions;
    int64_t retention_ms = store->state->options.dedup_retention_ms;
    struct base_snapshot *snapshot = NULL;
    bool is_new = false;
    enum tally_code code = store_open_base(store, &store->base, err);

    if (code)
        return code;
    snapshot = store->base->ops->snapshot(store->base);
    code = store_meta_check(snapshot, identity, &positions, &retention_ms, &is_new, err);
    if (code == TALLY_OK && is_new && store->state->read_only)
        code = tally_error_set(err, TALLY_NOT_FOUND, "\"%s\" holds no rows", store->path);
    if (code == TALLY_OK && is_new)
        code = found_store(store, &snapshot, &positions, err);
    if (code == TALLY_OK) {
        base_find_highest(snapshot);
        if (!store->state->read_only)
            retention_ms = store->state->options.dedup_retention_ms;
        note_rows(store, snapshot->highest);
        store->view = view_create(NULL, 0, snapshot, &positions, 0, retention_ms);
        store->cutoff_ms = store->view->cutoff_ms;
        atomic_store_explicit(&store->base->age_cutoff_ms, store->cutoff_ms, memory_order_relaxed);
    }
    base_snapshot_unref(snapshot);
    return code;
}

enum tally_code tally_store_open(struct tally_state *state,
        const struct tally_store_identity *identity, struct tally_store **store,
        struct tally_error *err)
{
    struct tally_store *self = store_create(state, identity);
    enum tally_code code = state_wait_closed(state, self->path, err);

    *store = NULL;
    if (code == TALLY_OK)
        code = TALLY_FAILPOINT_CODE(RESTORE_OPEN_BEFORE, TALLY_STORE_ERROR, err);
    if (code == TALLY_OK)
        code = load_store(self, identity, err);
    if (code == TALLY_OK)
        code = TALLY_FAILPOINT_CODE(RESTORE_OPEN_AFTER, TALLY_STORE_ERROR, err);
    if (code) {
        store_destroy(self);
        return code;
    }
    atomic_fetch_add_explicit(&state->open_stores, 1, memory_order_relaxed);
    tally_mutex_lock(&state->lock);
    self->next = state->stores;
    state->stores = self;
    tally_mutex_unlock(&state->lock);
    *store = self;
    return TALLY_OK;
}

static enum tally_code open_read_only(const char *state_dir, bool held,
        const struct tally_store_identity *identity, bool check, struct tally_store **store,
        struct tally_error *err)
{
    struct tally_state *state = NULL;
    struct tally_store *self;
    enum tally_code code = state_open_read_only(state_dir, held, &state, err);

    *store = NULL;
    if (code)
        return code;
    self = store_create(state, identity);
    self->owns_state = true;
    code = load_store(self, check ? identity : NULL, err);
    if (code) {
        store_destroy(self);
        tally_state_close(state);
        return code;
    }
    *store = self;
    return TALLY_OK;
}

enum tally_code tally_store_open_read_only(const char *state_dir, const char *topology,
        int32_t partition, struct tally_store **store, struct tally_error *err)
{
    const struct tally_store_identity identity = {.topology = topology,
            .partition = partition,
            .cluster_id = "",
            .group = "",
            .commands_topic = "",
            .events_topic = "",
            .settings = "",
            .omitted = ""};

    return open_read_only(state_dir, false, &identity, false, store, err);
}

enum tally_code tally_store_check(const char *state_dir, bool held,
        const struct tally_store_identity *identity, struct tally_positions *positions,
        struct tally_error *err)
{
    struct tally_store *store;
    struct tally_view *view;
    enum tally_code code = open_read_only(state_dir, held, identity, true, &store, err);

    if (code)
        return code;
    view = tally_store_view(store);
    *positions = *tally_view_positions(view);
    tally_view_unref(view);
    tally_store_close(store, false);
    return TALLY_OK;
}

static void leave_state(struct tally_store *store)
{
    struct tally_state *state = store->state;

    tally_mutex_lock(&state->lock);
    while (store->busy) {
        (void)tally_cond_wait(&state->done, &state->lock, -1);
    }
    for (struct tally_store **at = &state->stores; *at; at = &(*at)->next) {
        if (*at == store) {
            *at = store->next;
            break;
        }
    }
    tally_mutex_unlock(&state->lock);
    atomic_fetch_sub_explicit(&state->open_stores, 1, memory_order_relaxed);
}

void tally_store_close(struct tally_store *store, bool flush)
{
    struct tally_state *state;
    struct tally_error err;
    enum tally_code code;

    if (!store)
        return;
    state = store->state;
    if (store->owns_state) {
        store_destroy(store);
        tally_state_close(state);
        return;
    }
    TALLY_FAILPOINT(STORE_CLOSE_BEFORE);
    code = flush ? flush_now(store, &err) : TALLY_OK;
    if (code) /* nothing is lost: the tail will be evolved again */
        tally_log_error(TALLY_LOG_WARN, "store closed with commits that are not on disk", &err);
    leave_state(store);
    TALLY_FAILPOINT(STORE_CLOSE_AFTER);
    store_destroy(store);
}

enum tally_code tally_store_set_aside(struct tally_state *state, const char *topology,
        int32_t partition, struct tally_error *err)
{
    char *path = state_directory_task(state->options.dir, topology, partition);
    enum tally_code code = state_wait_closed(state, path, err);

    if (code == TALLY_OK)
        code = TALLY_FAILPOINT_CODE(STORE_ASIDE_BEFORE, TALLY_STORE_ERROR, err);
    if (code == TALLY_OK && state->options.dir) {
        code = state_directory_set_aside(path, tally_wall_ms(state->options.clock), err);
    } else if (code == TALLY_OK) {
        store_memory_drop(state, path);
    }
    if (code == TALLY_OK)
        TALLY_FAILPOINT(STORE_ASIDE_AFTER);
    tally_free(path);
    return code;
}

/* --- reads of the owner --------------------------------------------------------------------------
 */

static enum tally_code load_one(struct tally_store *store, struct tally_slice key, uint64_t hash,
        struct overlay_entry **entry, struct tally_error *err)
{
    struct overlay *overlay = store_overlay(store, key);
    struct tally_view *view = tally_store_view(store);
    struct base_snapshot *snapshot = NULL;
    struct row row;
    enum tally_code code;

    tally_buf_clear(&store->loaded);
    if (view_find(view, key, hash, &row)) {
        *entry = overlay_load(overlay, key, hash, row_value(&row), row.deleted);
        tally_view_unref(view);
        return TALLY_OK;
    }
    code = view_base(view, &snapshot, err);
    if (code == TALLY_OK && base_above(snapshot, key)) {
        code = TALLY_NOT_FOUND;
    } else if (code == TALLY_OK) {
        code = snapshot->base->ops->get(snapshot, key, &store->loaded, err);
    }
    if (code == TALLY_OK && store->loaded.failed)
        code = tally_error_set(err, TALLY_STORE_ERROR, "a row is larger than %d bytes",
                VALUE_BYTES_MAX);
    if (code == TALLY_OK || code == TALLY_NOT_FOUND) {
        *entry = overlay_load(overlay, key, hash, tally_buf_bytes(&store->loaded),
                code == TALLY_NOT_FOUND);
        code = TALLY_OK;
    }
    tally_view_unref(view);
    return code;
}

static enum tally_code take_value(struct tally_store *store, struct tally_slice key,
        struct overlay_entry *entry, struct tally_slice *value)
{
    entry->read = true;
    if (entry->absent || row_expired(key, overlay_value(entry), store->cutoff_ms))
        return TALLY_NOT_FOUND;
    *value = overlay_value(entry);
    return TALLY_OK;
}

enum tally_code tally_store_get(struct tally_store *store, struct tally_slice key,
        struct tally_slice *value, struct tally_error *err)
{
    struct overlay_entry *entry;
    uint64_t hash;
    enum tally_code code;

    tally_assert(store->log.count == 0);
    *value = TALLY_NONE;
    if (key.len == 0 || key.data[0] == 0)
        return TALLY_NOT_FOUND; /* meta keys are in no store */
    if (store_is_empty(store, key.data[0]))
        return TALLY_NOT_FOUND;
    hash = row_hash(key);
    entry = overlay_find(store_overlay(store, key), key, hash);
    if (!entry) {
        code = load_one(store, key, hash, &entry, err);
        if (code)
            return code;
    }
    return take_value(store, key, entry, value);
}

bool tally_store_empty(const struct tally_store *store, struct tally_slice key)
{
    return store_is_empty(store, key.data[0]);
}

bool tally_store_written(struct tally_store *store, struct tally_slice key,
        struct tally_slice *value)
{
    struct overlay_entry *entry;

    *value = TALLY_NONE;
    if (store_is_empty(store, key.data[0]))
        return false;
    entry = overlay_find(store_overlay(store, key), key, row_hash(key));
    return entry && take_value(store, key, entry, value) == TALLY_OK;
}

/* What the open transaction has written, sorted. */
static size_t written_rows(struct tally_store *store, struct tally_slice lower,
        struct tally_slice upper, struct row **rows)
{
    size_t count = 0;

    *rows = tally_alloc((store->overlay.dirty_count + store->once.dirty_count + 1) * sizeof **rows);
    count += overlay_rows(&store->overlay, lower, upper, *rows);
    count += overlay_rows(&store->once, lower, upper, *rows + count);
    row_sort(*rows, count);
    return row_unique(*rows, count);
}

struct tally_iterator *tally_store_iterate(struct tally_store *store, struct tally_slice lower,
        struct tally_slice upper, bool backwards)
{
    struct row *rows = NULL;
    size_t count = written_rows(store, lower, upper, &rows);

    tally_assert(store->log.count == 0);
    return iterator_create(tally_store_view(store), rows, count, lower, upper, backwards);
}

void tally_store_written_rows(struct tally_store *store,
        void (*row)(void *context, struct tally_slice key, struct tally_slice value), void *context)
{
    struct row *rows = NULL;
    size_t count = written_rows(store, TALLY_NONE, TALLY_NONE, &rows);

    tally_assert(store->log.count == 0);
    for (size_t i = 0; i < count; i++) {
        row(context, row_key(&rows[i]), rows[i].deleted ? TALLY_NONE : row_value(&rows[i]));
    }
    tally_free(rows);
}

/* --- writes of the owner -------------------------------------------------------------------------
 */

void tally_store_put(struct tally_store *store, struct tally_slice key, struct tally_slice value)
{
    tally_assert(key.len > 0 && key.data[0] != 0 && store->log.count == 0);
    overlay_put(store_overlay(store, key), key, value, false);
}

void tally_store_delete(struct tally_store *store, struct tally_slice key)
{
    tally_assert(key.len > 0 && key.data[0] != 0 && store->log.count == 0);
    overlay_put(store_overlay(store, key), key, TALLY_NONE, true);
}

static bool no_writes(const struct tally_store *store)
{
    return store->overlay.dirty_count == 0 && store->once.dirty_count == 0;
}

void tally_store_append(struct tally_store *store, struct tally_slice key, struct tally_slice value)
{
    tally_assert(key.len > 0 && key.data[0] != 0 && no_writes(store));
    row_log_add(&store->log, key, value, false);
}

void tally_store_append_deletion(struct tally_store *store, struct tally_slice key)
{
    tally_assert(key.len > 0 && key.data[0] != 0 && no_writes(store));
    row_log_add(&store->log, key, TALLY_NONE, true);
}

size_t tally_store_uncommitted(const struct tally_store *store)
{
    return store->overlay.dirty_bytes + store->once.dirty_bytes + row_log_bytes(&store->log);
}

void tally_store_rollback(struct tally_store *store)
{
    overlay_rollback(&store->overlay);
    groups_end(&store->groups);
    overlay_clear(&store->once);
    row_log_clear(&store->log);
}

/* Merges runs[first .. first + count) into one in its place; references are the array's. */
static size_t merge_at(struct tally_store *store, struct run **runs, size_t total, size_t first,
        size_t count)
{
    struct run *merged;

    if (count < 2)
        return total;
    merged = run_merge(runs + first, count, true, &store->state->run_bytes);
    for (size_t i = first; i < first + count; i++) {
        run_unref(runs[i]);
    }
    runs[first] = merged;
    memmove(runs + first + 1, runs + first + count, (total - first - count) * sizeof *runs);
    return total - count + 1;
}

/* Keeps the number of runs small: like a binary counter, so that a row is copied once for each
 * doubling; and by merging the two smallest neighbours when there are too many all the same.
 * Returns how many are left. */
static size_t compact(struct tally_store *store, struct run **runs, size_t total)
{
    size_t count = 1, size = runs[0]->size;

    while (count < total && size >= runs[count]->size &&
            size + runs[count]->size <= MERGE_BYTES_MAX) {
        size += runs[count++]->size;
    }
    total = merge_at(store, runs, total, 0, count);
    while (total > RUNS_MAX) {
        size_t best = 0;

        for (size_t i = 1; i + 1 < total; i++) {
            if (runs[i]->size + runs[i + 1]->size < runs[best]->size + runs[best + 1]->size)
                best = i;
        }
        total = merge_at(store, runs, total, best, 2);
    }
    return total;
}

/* Puts the new run, if any, before the runs that no flush is working on, and merges among them.
 * The array's references are the caller's. */
static struct run **newer_runs(struct tally_store *store, struct run *run, size_t *count,
        uint64_t *boundary)
{
    struct tally_view *view;
    struct run **runs;

    tally_mutex_lock(&store->view_lock);
    view = tally_view_ref(store->view);
    *boundary = store->flushing;
    tally_mutex_unlock(&store->view_lock);
    runs = tally_alloc(((size_t)view->run_count + 1) * sizeof(struct run *));
    *count = 0;
    if (run)
        runs[(*count)++] = run;
    for (uint32_t i = 0; i < view->run_count; i++) {
        if (view->runs[i]->sequence > *boundary)
            runs[(*count)++] = run_ref(view->runs[i]);
    }
    tally_view_unref(view);
    if (run)
        *count = compact(store, runs, *count);
    return runs;
}

/* Returns whether nothing waited for a flush before. */
static bool publish_commit(struct tally_store *store, struct run *run,
        const struct tally_positions *positions)
{
    int64_t now_ms = tally_mono_ms(store->state->options.clock);
    uint64_t boundary = 0;
    size_t newer = 0, count;
    struct run **runs = newer_runs(store, run, &newer, &boundary), **all;
    struct tally_view *old, *view;
    bool was_idle;

    tally_mutex_lock(&store->view_lock);
    old = store->view;
    all = tally_alloc((newer + old->run_count + 1) * sizeof(struct run *));
    memcpy(all, runs, newer * sizeof(struct run *));
    count = newer;
    for (uint32_t i = 0; i < old->run_count;
            i++) { /* those that a flush has, if it still has them */
        if (old->runs[i]->sequence <= boundary)
            all[count++] = old->runs[i];
    }
    view = view_create(all, count, old->snapshot, positions, store->sequence, old->retention_ms);
    was_idle = old->sequence == store->flushed;
    if (was_idle)
        store->pending_since_ms = now_ms;
    store->view = view;
    tally_mutex_unlock(&store->view_lock);
    store->cutoff_ms = view->cutoff_ms;
    view_retire(old);
    for (size_t i = 0; i < newer; i++) {
        run_unref(runs[i]);
    }
    tally_free(all);
    tally_free(runs);
    return was_idle;
}

static struct run *freeze_overlay(struct tally_store *store)
{
    struct row *rows = NULL;
    size_t count = written_rows(store, TALLY_NONE, TALLY_NONE, &rows);
    struct run *run = NULL;

    if (count > 0)
        run = run_freeze(rows, count, store->sequence, &store->state->run_bytes);
    tally_free(rows);
    return run;
}

/* The cache knows nothing of what was appended. */
static struct run *freeze_log(struct tally_store *store)
{
    if (store->overlay.entries > 0) {
        overlay_deinit(&store->overlay);
        overlay_init(&store->overlay, &store->state->overlay_bytes);
    }
    return row_log_freeze(&store->log, store->sequence, &store->state->run_bytes);
}

void tally_store_commit(struct tally_store *store, const struct tally_positions *positions)
{
    struct run *run;
    bool was_idle;

    store->sequence++;
    store_groups_commit(store);
    run = store->log.count > 0 ? freeze_log(store) : freeze_overlay(store);
    for (unsigned i = 0; run && i < run->store_count; i++) {
        store->holds[run->stores[i].byte] = true;
    }
    TALLY_FAILPOINT(COMMIT_FREEZE_AFTER);
    was_idle = publish_commit(store, run, positions);
    overlay_commit(&store->overlay);
    overlay_clear(&store->once);
    overlay_evict(&store->overlay, state_clean_bytes(store->state));
    flush_after_commit(store, was_idle);
}

enum tally_code tally_store_flush(struct tally_store *store, bool wait, int64_t timeout_ms,
        struct tally_error *err)
{
    if (store->state->options.flush_inline)
        return flush_now(store, err);
    if (wait)
        return flush_wait(store, store->sequence, timeout_ms, err);
    flush_request(store);
    return TALLY_OK;
}

/* --- for any thread ------------------------------------------------------------------------------
 */

struct tally_view *tally_store_view(struct tally_store *store)
{
    struct tally_view *view;

    tally_mutex_lock(&store->view_lock);
    view = tally_view_ref(store->view);
    tally_mutex_unlock(&store->view_lock);
    return view;
}

void store_publish_base(struct tally_store *store, struct base_snapshot *snapshot, uint64_t flushed,
        int64_t now_ms)
{
    struct tally_view *old, *view;
    size_t count = 0;

    tally_mutex_lock(&store->view_lock);
    old = store->view;
    while (count < old->run_count && old->runs[count]->sequence > flushed) {
        count++;
    }
    view = view_create(old->runs, count, snapshot, &old->positions, old->sequence,
            old->retention_ms);
    store->view = view;
    store->flushed = flushed;
    store->flushing = flushed;
    if (view->sequence > flushed)
        store->pending_since_ms = now_ms;
    tally_mutex_unlock(&store->view_lock);
    view_retire(old);
}

enum tally_code tally_store_health(struct tally_store *store, struct tally_error *err)
{
    const struct base_snapshot *snapshot;
    enum tally_code code;

    tally_mutex_lock(&store->view_lock);
    snapshot = store->view->snapshot;
    code = store->health.code;
    if (code && err)
        *err = store->health;
    if (code != TALLY_STORE_CORRUPT && snapshot &&
            atomic_load_explicit(&snapshot->base->corrupt, memory_order_relaxed)) {
        code = tally_error_set(err, TALLY_STORE_CORRUPT, "store \"%s\" is damaged", store->path);
    }
    tally_mutex_unlock(&store->view_lock);
    return code;
}

void tally_store_sizes(struct tally_store *store, int64_t *sst_bytes, int64_t *level0_files)
{
    struct tally_view *view = tally_store_view(store);

    *sst_bytes = 0;
    *level0_files = 0;
    if (view->snapshot)
        view->snapshot->base->ops->sizes(view->snapshot, sst_bytes, level0_files);
    tally_view_unref(view);
}
