/* state/flush.c - when and how committed runs become one file of the base.
 *
 *   IDLE --[due]--> BUSY --[ingested]--> IDLE         runs leave the view
 *                    |---[not written]--> BACKING OFF  runs stay, the base is sound
 *                    |---[not ingested]-> LOST         runs stay, the view has no base
 *   BACKING OFF --[retry]--> BUSY
 *   LOST --[retry: no reader holds the base; close, open]--> BUSY
 *   any --[damage]--> CORRUPT                          no attempt follows
 *
 * Invariants
 *  (1) store->busy: at most one thread flushes a store, and store->base, ->lost are its own.
 *  (2) A flush writes all runs and the positions of one view, so the base is always what that view
 *      was.
 *  (3) The FLUSH lock is never held across RocksDB. */
#include "state/flush_internal.h"

#include "engine/base/failpoint.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "state/store_meta_internal.h"

enum {
    SMALL_BYTES = 1024 * 1024, /* up to here a flush waits for SMALL_INTERVALS */
    SMALL_INTERVALS = 10,
    BACKOFF_MIN_MS = 100,
    BACKOFF_MAX_MS = 10000,
    LEVEL0_CROWDED = 48,           /* files: from here on flushes come by time only, not by size */
    PRESSED_BYTES_MIN = 64 * 1024, /* below, flushing a store frees nothing worth a file */
    NEVER = -1
};

/* --- one attempt ---------------------------------------------------------------------------------
 */

static int64_t now_ms(const struct tally_store *store)
{
    return tally_mono_ms(store->state->options.clock);
}

static void set_health(struct tally_store *store, enum tally_code code,
        const struct tally_error *err)
{
    bool was, changed;

    tally_mutex_lock(&store->view_lock);
    was = store->health.code != TALLY_OK;
    changed = store->health.code != code;
    store->health = code ? *err : (struct tally_error){0};
    store->health.code = code;
    tally_mutex_unlock(&store->view_lock);
    if (code && changed) {
        tally_log_error(TALLY_LOG_ERROR, "flush failed", err);
    } else if (was && !code) {
        tally_log(TALLY_LOG_INFO, "flush works again", TALLY_LOG_STR("store", store->path));
    }
}

/* Takes the view's base away: reads that need it fail until it is open again. */
static void lose_base(struct tally_store *store)
{
    store->lost = true;
    store_publish_base(store, NULL, store->flushed, now_ms(store));
}

static enum tally_code reopen_base(struct tally_store *store, struct tally_error *err)
{
    struct base_snapshot *snapshot;
    enum tally_code code;

    if (store->base && !base_alone(store->base)) {
        return tally_error_set(err, TALLY_STORE_ERROR,
                "store \"%s\" is to be reopened: readers still hold views of it", store->path);
    }
    code = TALLY_FAILPOINT_CODE(STORE_REOPEN_BEFORE, TALLY_STORE_ERROR, err);
    if (code)
        return code;
    base_unref(store->base);
    store->base = NULL;
    code = store_open_base(store, &store->base, err);
    if (code)
        return code;
    TALLY_FAILPOINT(STORE_REOPEN_AFTER);
    store->lost = false;
    snapshot = store->base->ops->snapshot(store->base);
    base_find_highest(snapshot);
    store_publish_base(store, snapshot, store->flushed, now_ms(store));
    base_snapshot_unref(snapshot);
    return TALLY_OK;
}

/* All rows of the view, and its positions, into the base. */
static enum tally_code ingest_view(struct tally_store *store, struct tally_view *view, bool *lost,
        struct tally_error *err)
{
    struct run *meta =
            store_meta_run(&store->identity.fields, &view->positions, view->retention_ms);
    struct cursor **sources = tally_alloc(((size_t)view->run_count + 1) * sizeof(struct cursor *));
    struct cursor *rows;
    int64_t size = 0;
    enum tally_code code;

    sources[0] = run_cursor(meta, TALLY_NONE, TALLY_NONE, false);
    for (uint32_t i = 0; i < view->run_count; i++) {
        sources[i + 1] = run_cursor(view->runs[i], TALLY_NONE, TALLY_NONE, false);
    }
    rows = merge_create(sources, (size_t)view->run_count + 1, false);
    code = TALLY_FAILPOINT_CODE(FLUSH_MERGE_BEFORE, TALLY_STORE_ERROR, err);
    if (code == TALLY_OK)
        code = store->base->ops->ingest(store->base, rows, &size, lost, err);
    if (code == TALLY_OK)
        tally_series_add(store->state->flush_bytes, size);
    cursor_destroy(rows);
    tally_free(sources);
    run_unref(meta);
    return code;
}

static enum tally_code flush_view(struct tally_store *store, struct tally_view *view,
        int64_t started, struct tally_error *err)
{
    struct base_snapshot *snapshot;
    int64_t sst_bytes = 0, level0_files = 0;
    bool lost = false;
    enum tally_code code = ingest_view(store, view, &lost, err);

    if (lost)
        lose_base(store);
    if (code)
        return code;
    atomic_store_explicit(&store->base->age_cutoff_ms, view->cutoff_ms, memory_order_relaxed);
    snapshot = store->base->ops->snapshot(store->base);
    base_extend_highest(snapshot, view->snapshot, view->runs, view->run_count);
    base_keep_seen(snapshot, view->snapshot, view->runs, view->run_count);
    store->base->ops->sizes(snapshot, &sst_bytes, &level0_files);
    store->crowded = level0_files >= LEVEL0_CROWDED;
    store_publish_base(store, snapshot, view->sequence, started);
    TALLY_FAILPOINT(FLUSH_VIEW_AFTER);
    base_snapshot_unref(snapshot);
    return TALLY_OK;
}

/* The caller has set busy. */
static enum tally_code attempt(struct tally_store *store, struct tally_error *err)
{
    int64_t started = now_ms(store), started_us = tally_mono_us(store->state->options.clock);
    struct tally_view *view;
    enum tally_code code = tally_store_health(store, err);

    if (code == TALLY_STORE_CORRUPT) {
        set_health(store, code, err);
        return code;
    }
    code = store->lost ? reopen_base(store, err) : TALLY_OK;
    if (code == TALLY_OK) {
        tally_mutex_lock(&store->view_lock);
        view = tally_view_ref(store->view);
        store->flushing = view->sequence;
        tally_mutex_unlock(&store->view_lock);
        if (view->sequence > store->flushed)
            code = flush_view(store, view, started, err);
        tally_view_unref(view);
    }
    if (code) {
        tally_mutex_lock(&store->view_lock);
        store->flushing = store->flushed; /* the owner may merge these runs again */
        tally_mutex_unlock(&store->view_lock);
    }
    tally_series_add(code ? store->state->flush_failed : store->state->flush_ok, 1);
    tally_series_observe_us(store->state->flush_time,
            tally_mono_us(store->state->options.clock) - started_us);
    state_show_memory(store->state);
    set_health(store, code, err);
    return code;
}

/* Bookkeeping of an attempt. @locks FLUSH */
static void attempt_done(struct tally_store *store, enum tally_code code)
{
    if (code == TALLY_OK) {
        store->backoff_ms = 0;
    } else if (store->backoff_ms == 0) {
        store->backoff_ms = BACKOFF_MIN_MS;
    } else {
        store->backoff_ms *= 2;
        if (store->backoff_ms > BACKOFF_MAX_MS)
            store->backoff_ms = BACKOFF_MAX_MS;
    }
    store->retry_at_ms = code ? now_ms(store) + store->backoff_ms : 0;
    store->attempts++;
    store->busy = false;
    tally_cond_broadcast(&store->state->done);
}

/* Takes the FLUSH lock off for one attempt. @locks FLUSH */
static enum tally_code attempt_unlocked(struct tally_store *store, struct tally_error *err)
{
    enum tally_code code;

    store->busy = true;
    store->requested = false;
    tally_mutex_unlock(&store->state->lock);
    code = attempt(store, err);
    tally_mutex_lock(&store->state->lock);
    attempt_done(store, code);
    return code;
}

/* --- what is due ---------------------------------------------------------------------------------
 */

struct pending {
    bool any, corrupt;
    size_t bytes;
    int64_t since_ms;
};

static struct pending pending_of(struct tally_store *store)
{
    struct pending pending;

    tally_mutex_lock(&store->view_lock);
    pending = (struct pending){.any = store->view->sequence > store->flushed,
            .corrupt = store->health.code == TALLY_STORE_CORRUPT,
            .bytes = store->view->run_bytes,
            .since_ms = store->pending_since_ms};
    tally_mutex_unlock(&store->view_lock);
    return pending;
}

/* Milliseconds until a flush of the store is due; NEVER. @locks FLUSH */
static int64_t due_in(struct tally_store *store, const struct pending *pending, int64_t now)
{
    const struct tally_state_options *options = &store->state->options;
    bool by_size = pending->bytes >= (size_t)options->flush_bytes && !store->crowded;
    int64_t wait = options->flush_interval_ms;

    if (store->busy || pending->corrupt || !(pending->any || store->backoff_ms > 0))
        return NEVER;
    if (store->requested)
        return 0;
    if (store->backoff_ms > 0)
        return store->retry_at_ms > now ? store->retry_at_ms - now : 0;
    if (by_size)
        return 0;
    if (pending->bytes <= SMALL_BYTES)
        wait *= SMALL_INTERVALS;
    wait -= now - pending->since_ms;
    return wait > 0 ? wait : 0;
}

/* The store to flush now, or NULL and how long to wait (NEVER: until woken). @locks FLUSH */
static struct tally_store *next_due(struct tally_state *state, int64_t *wait_ms)
{
    bool pressed = state_pressed(state);
    struct tally_store *due = NULL, *largest = NULL;
    size_t largest_bytes = PRESSED_BYTES_MIN;

    *wait_ms = NEVER;
    for (struct tally_store *store = state->stores; store; store = store->next) {
        struct pending pending = pending_of(store);
        int64_t wait = due_in(store, &pending, now_ms(store));

        if (wait == NEVER)
            continue;
        if (wait == 0 && !due)
            due = store;
        if (*wait_ms == NEVER || wait < *wait_ms)
            *wait_ms = wait;
        if (pressed && store->backoff_ms == 0 && pending.bytes > largest_bytes) {
            largest = store;
            largest_bytes = pending.bytes;
        }
    }
    return largest ? largest : due;
}

void flush_thread(void *argument)
{
    struct tally_state *state = argument;

    tally_mutex_lock(&state->lock);
    while (!state->stop) {
        int64_t wait_ms = NEVER;
        struct tally_store *store = next_due(state, &wait_ms);
        struct tally_error err;

        if (store) {
            (void)attempt_unlocked(store, &err); /* what failed is in the store's health */
        } else {
            (void)tally_cond_wait(&state->work, &state->lock, wait_ms);
        }
    }
    tally_mutex_unlock(&state->lock);
}

void tally_state_flush_due(struct tally_state *state)
{
    int64_t wait_ms = 0;
    struct tally_store *store;
    struct tally_error err;

    tally_mutex_lock(&state->lock);
    while ((store = next_due(state, &wait_ms)) != NULL) {
        (void)attempt_unlocked(store, &err); /* a failure backs off, so that it is not due again */
    }
    tally_mutex_unlock(&state->lock);
}

/* --- callers -------------------------------------------------------------------------------------
 */

void flush_after_commit(struct tally_store *store, bool was_idle)
{
    struct tally_state *state = store->state;
    struct pending pending = pending_of(store);
    bool pressed = state_pressed(state);
    struct tally_error err;

    state_show_memory(state);
    if (!was_idle && !pressed && pending.bytes < (size_t)state->options.flush_bytes &&
            !state->options.flush_inline) {
        return; /* the thread already waits for its time */
    }
    tally_mutex_lock(&state->lock);
    if (!state->options.flush_inline) {
        tally_cond_signal(&state->work);
    } else if (due_in(store, &pending, now_ms(store)) == 0 ||
               (pressed && store->backoff_ms == 0 && pending.bytes > PRESSED_BYTES_MIN)) {
        (void)attempt_unlocked(store, &err); /* what failed is in the store's health */
    }
    tally_mutex_unlock(&state->lock);
}

enum tally_code flush_now(struct tally_store *store, struct tally_error *err)
{
    struct tally_state *state = store->state;
    enum tally_code code = TALLY_OK;
    struct pending pending;

    tally_mutex_lock(&state->lock);
    if (store->busy && state->options.flush_inline) { /* by a caller of this one */
        tally_mutex_unlock(&state->lock);
        return tally_error_set(err, TALLY_TIMEOUT, "\"%s\" is being flushed", store->path);
    }
    while (store->busy) {
        (void)tally_cond_wait(&state->done, &state->lock, -1);
    }
    pending = pending_of(store);
    if (pending.any || store->backoff_ms > 0)
        code = attempt_unlocked(store, err);
    tally_mutex_unlock(&state->lock);
    return code;
}

void flush_request(struct tally_store *store)
{
    tally_mutex_lock(&store->state->lock);
    store->requested = true;
    tally_cond_signal(&store->state->work);
    tally_mutex_unlock(&store->state->lock);
}

static bool is_flushed(struct tally_store *store, uint64_t sequence)
{
    bool flushed;

    tally_mutex_lock(&store->view_lock);
    flushed = store->flushed >= sequence;
    tally_mutex_unlock(&store->view_lock);
    return flushed;
}

enum tally_code flush_wait(struct tally_store *store, uint64_t sequence, int64_t timeout_ms,
        struct tally_error *err)
{
    struct tally_state *state = store->state;
    int64_t deadline = tally_mono_ms(tally_clock_real()) + timeout_ms;
    uint64_t first; /* an attempt that runs now may have begun before the last commit */
    enum tally_code code = TALLY_OK;

    tally_mutex_lock(&state->lock);
    first = store->attempts + (store->busy ? 1 : 0);
    store->requested = true;
    tally_cond_signal(&state->work);
    while (!is_flushed(store, sequence) && code == TALLY_OK) {
        int64_t left = deadline - tally_mono_ms(tally_clock_real());

        code = tally_store_health(store, err);
        if (code != TALLY_STORE_CORRUPT && store->attempts <= first)
            code = TALLY_OK;
        if (code)
            break;
        if (left <= 0) {
            code = tally_error_set(err, TALLY_TIMEOUT, "flush of \"%s\" takes longer than %lld ms",
                    store->path, (long long)timeout_ms);
        } else {
            (void)tally_cond_wait(&state->done, &state->lock, left);
        }
    }
    tally_mutex_unlock(&state->lock);
    return code;
}
