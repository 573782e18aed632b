/* state/state.c - what the stores of a process share: memory numbers, the lock of the directory,
 * the flush thread, and the list of open bases.
 * Invariant: two bases of one directory are never open at once; RocksDB would refuse it. */
#include "state/flush_internal.h"

#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "state/memory_disk.h"
#include "state/state_directory_internal.h"
#include "state/store_memory_internal.h"
#include "state/store_rocksdb_internal.h"

enum {
    UNREADABLE_TRIES = 5, /* and as many ms of them until a directory counts as damaged */
    UNREADABLE_MS = 10000,
    CLOSED_WAIT_MS = 10000, /* readers hold views for a request, not longer */
    READ_ONLY_MEMORY_BYTES = 64 * 1024 * 1024,
    APPEND_BYTES_MIN = 1024 * 1024,     /* a run; smaller ones are not worth a file */
    APPEND_BYTES_MAX = 32 * 1024 * 1024 /* more makes files no cheaper */
};

static void find_series(struct tally_state *state)
{
    state->overlay_gauge = tally_series_of(TALLY_METRIC_STATE_MEMORY, "overlay");
    state->run_gauge = tally_series_of(TALLY_METRIC_STATE_MEMORY, "runs");
    state->cache_gauge = tally_series_of(TALLY_METRIC_STATE_MEMORY, "cache");
    state->flush_ok = tally_series_of(TALLY_METRIC_FLUSHES, "ok");
    state->flush_failed = tally_series_of(TALLY_METRIC_FLUSHES, "failed");
    state->flush_time = tally_series_of(TALLY_METRIC_FLUSH_TIME);
    state->flush_bytes = tally_series_of(TALLY_METRIC_FLUSH_BYTES);
}

static struct tally_state *state_create(const struct tally_state_options *options)
{
    struct tally_state *state = tally_alloc_zero(1, sizeof *state);

    row_hash_seed_init();
    state->options = *options;
    state->options.dir = options->dir ? tally_copy_string(options->dir) : NULL;
    state->lock_fd = -1;
    atomic_init(&state->overlay_bytes, 0);
    atomic_init(&state->run_bytes, 0);
    atomic_init(&state->open_stores, 0);
    tally_mutex_init(&state->lock, TALLY_LOCK_FLUSH);
    tally_cond_init(&state->work);
    tally_cond_init(&state->done);
    find_series(state);
    if (!options->dir) {
        state->owns_disk = options->disk == NULL;
        state->disk = options->disk ? options->disk : tally_memory_disk_create();
    }
    if (options->dir)
        state->rocksdb = store_rocksdb_shared_create(options->memory_bytes / CACHE_SHARE);
    return state;
}

static void state_destroy(struct tally_state *state)
{
    while (state->unreadable) {
        state_readable(state, state->unreadable->path);
    }
    if (state->owns_disk)
        tally_memory_disk_destroy(state->disk);
    store_rocksdb_shared_destroy(state->rocksdb);
    state_directory_unlock(state->lock_fd);
    tally_cond_deinit(&state->work);
    tally_cond_deinit(&state->done);
    tally_mutex_deinit(&state->lock);
    tally_free((char *)state->options.dir);
    tally_free(state);
}

enum tally_code tally_state_open(const struct tally_state_options *options,
        struct tally_state **state, struct tally_error *err)
{
    struct tally_state *self = state_create(options);
    enum tally_code code = TALLY_OK;

    *state = NULL;
    if (options->dir)
        code = state_directory_lock(options->dir, true, &self->lock_fd, err);
    if (code) {
        state_destroy(self);
        return code;
    }
    if (!options->flush_inline)
        tally_thread_start(&self->thread, "flush", flush_thread, self);
    *state = self;
    return TALLY_OK;
}

enum tally_code state_open_read_only(const char *dir, bool held, struct tally_state **state,
        struct tally_error *err)
{
    struct tally_state_options options = {.dir = dir,
            .memory_bytes = READ_ONLY_MEMORY_BYTES,
            .clock = tally_clock_real(),
            .flush_inline = true};
    struct tally_state *self = state_create(&options);
    enum tally_code code = TALLY_OK;

    if (!held)
        code = state_directory_lock(dir, false, &self->lock_fd, err);
    self->read_only = true;
    *state = self;
    if (code) {
        state_destroy(self);
        *state = NULL;
    }
    return code;
}

void tally_state_close(struct tally_state *state)
{
    if (!state)
        return;
    tally_mutex_lock(&state->lock);
    tally_assert(state->stores == NULL);
    tally_assert(state->bases == NULL); /* a view is still held */
    state->stop = true;
    tally_cond_signal(&state->work);
    tally_mutex_unlock(&state->lock);
    if (state->thread.started)
        tally_thread_join(&state->thread);
    state_destroy(state);
}

/* --- memory ------------------------------------------------------------------------------------
 */

int64_t state_share_bytes(const struct tally_state *state)
{
    return state->options.memory_bytes - state->options.memory_bytes / CACHE_SHARE;
}

size_t state_clean_bytes(const struct tally_state *state)
{
    int64_t stores = atomic_load_explicit(&state->open_stores, memory_order_relaxed);
    int64_t total = state->options.memory_bytes / 8 * CLEAN_EIGHTHS;
    int64_t each = total / (stores > 0 ? stores : 1);

    /* The floor must not let clean entries alone fill the share. */
    if (each < CLEAN_BYTES_MIN && CLEAN_BYTES_MIN * stores < state_share_bytes(state) / 4 * 3)
        each = CLEAN_BYTES_MIN;
    return (size_t)each;
}

static int64_t held(const struct tally_state *state)
{
    return atomic_load_explicit(&state->overlay_bytes, memory_order_relaxed) +
           atomic_load_explicit(&state->run_bytes, memory_order_relaxed);
}

bool state_pressed(const struct tally_state *state)
{
    return held(state) >= state_share_bytes(state) / 4 * 3;
}

bool tally_state_full(const struct tally_state *state)
{
    return held(state) >= state_share_bytes(state);
}

void tally_state_wait_room(struct tally_state *state, int64_t timeout_ms)
{
    tally_mutex_lock(&state->lock);
    if (tally_state_full(state) && !state->options.flush_inline)
        (void)tally_cond_wait(&state->done, &state->lock, timeout_ms);
    tally_mutex_unlock(&state->lock);
}

size_t tally_state_append_bytes(const struct tally_state *state)
{
    int64_t stores = atomic_load_explicit(&state->open_stores, memory_order_relaxed);
    int64_t each = state_share_bytes(state) / 2 / (stores > 0 ? stores : 1);

    return (size_t)(each < APPEND_BYTES_MIN   ? APPEND_BYTES_MIN
                    : each > APPEND_BYTES_MAX ? APPEND_BYTES_MAX
                                              : each);
}

int64_t tally_state_memory(const struct tally_state *state, int64_t *overlays, int64_t *runs,
        int64_t *cache)
{
    int64_t overlay_bytes = atomic_load_explicit(&state->overlay_bytes, memory_order_relaxed);
    int64_t run_bytes = atomic_load_explicit(&state->run_bytes, memory_order_relaxed);
    int64_t cache_bytes = store_rocksdb_shared_bytes(state->rocksdb);

    if (overlays)
        *overlays = overlay_bytes;
    if (runs)
        *runs = run_bytes;
    if (cache)
        *cache = cache_bytes;
    return overlay_bytes + run_bytes + cache_bytes;
}

void state_show_memory(struct tally_state *state)
{
    int64_t overlays = 0, runs = 0, cache = 0;

    (void)tally_state_memory(state, &overlays, &runs, &cache);
    tally_series_set(state->overlay_gauge, overlays);
    tally_series_set(state->run_gauge, runs);
    tally_series_set(state->cache_gauge, cache);
}

/* --- directories that cannot be read -----------------------------------------------------------
 */

static struct state_unreadable **find_unreadable(struct tally_state *state, const char *path)
{
    struct state_unreadable **at = &state->unreadable;

    while (*at && strcmp((*at)->path, path) != 0) {
        at = &(*at)->next;
    }
    return at;
}

void state_readable(struct tally_state *state, const char *path)
{
    struct state_unreadable **at, *found;

    tally_mutex_lock(&state->lock);
    at = find_unreadable(state, path);
    found = *at;
    if (found)
        *at = found->next;
    tally_mutex_unlock(&state->lock);
    if (found)
        tally_free(found->path);
    tally_free(found);
}

enum tally_code state_unreadable(struct tally_state *state, const char *path,
        struct tally_error *err)
{
    int64_t now_ms = tally_mono_ms(state->options.clock), for_ms;
    struct tally_error why = *err;
    struct state_unreadable **at;
    bool lasting;

    tally_mutex_lock(&state->lock);
    at = find_unreadable(state, path);
    if (!*at) {
        *at = tally_alloc_zero(1, sizeof **at);
        (*at)->path = tally_copy_string(path);
        (*at)->since_ms = now_ms;
    }
    for_ms = now_ms - (*at)->since_ms;
    lasting = ++(*at)->tries >= UNREADABLE_TRIES && for_ms >= UNREADABLE_MS;
    tally_mutex_unlock(&state->lock);
    if (!lasting)
        return TALLY_STORE_ERROR;
    state_readable(state, path);
    return tally_error_set(err, TALLY_STORE_CORRUPT, "not readable for %lld s: %.200s",
            (long long)for_ms / 1000, why.message);
}

/* --- bases -------------------------------------------------------------------------------------
 */

void state_add_base(struct tally_state *state, struct base *base)
{
    tally_mutex_lock(&state->lock);
    base->next = state->bases;
    state->bases = base;
    tally_mutex_unlock(&state->lock);
}

void state_remove_base(struct tally_state *state, struct base *base)
{
    tally_mutex_lock(&state->lock);
    for (struct base **at = &state->bases; *at; at = &(*at)->next) {
        if (*at == base) {
            *at = base->next;
            break;
        }
    }
    tally_cond_broadcast(&state->done);
    tally_mutex_unlock(&state->lock);
}

static bool is_open(const struct tally_state *state, const char *path)
{
    for (const struct base *base = state->bases; base; base = base->next) {
        if (strcmp(base->path, path) == 0)
            return true;
    }
    return false;
}

enum tally_code state_wait_closed(struct tally_state *state, const char *path,
        struct tally_error *err)
{
    int64_t deadline = tally_mono_ms(tally_clock_real()) + CLOSED_WAIT_MS, left = CLOSED_WAIT_MS;
    bool open;

    tally_mutex_lock(&state->lock);
    while ((open = is_open(state, path)) && left > 0) {
        (void)tally_cond_wait(&state->done, &state->lock, left);
        left = deadline - tally_mono_ms(tally_clock_real());
    }
    tally_mutex_unlock(&state->lock);
    if (!open)
        return TALLY_OK;
    return tally_error_set(err, TALLY_STORE_ERROR,
            "state directory \"%s\" is still open: readers hold views of it", path);
}
