/* state/store_memory.c - the base tier in memory: runs that are merged as they grow.
 * Invariants
 *  (1) A disk outlives the bases that were opened on it, as a directory does; only the state's end
 *      or set_aside drops it.
 *  (2) Ingesting replaces the list of runs; snapshots keep the runs that they have.
 * Its bytes are not part of the memory number: they stand for what would be on disk. */
#include "state/store_memory_internal.h"

#include "engine/base/mem.h"
#include "state/store_internal.h"

enum { MEMORY_RUNS_MAX = 40, MERGED_BYTES_MAX = 1024 * 1024 * 1024 };

struct store_memory_disk {
    struct store_memory_disk *next;
    char *path;
    size_t count;
    struct run *runs[MEMORY_RUNS_MAX]; /* newest first */
};

struct memory_base {
    struct base base;
    struct store_memory_disk *disk;
};

struct memory_snapshot {
    struct base_snapshot snapshot;
    size_t count;
    struct run *runs[MEMORY_RUNS_MAX];
};

static enum tally_code memory_get(struct base_snapshot *snapshot, struct tally_slice key,
        struct tally_buf *value, struct tally_error *err)
{
    struct memory_snapshot *self = (struct memory_snapshot *)snapshot;
    uint64_t hash = row_hash(key);
    struct row row;

    (void)err;
    for (size_t i = 0; i < self->count; i++) {
        if (!run_find(self->runs[i], key, hash, &row))
            continue;
        if (row.deleted)
            return TALLY_NOT_FOUND;
        tally_buf_slice(value, row_value(&row));
        return TALLY_OK;
    }
    return TALLY_NOT_FOUND;
}

static enum tally_code memory_multi_get(struct base_snapshot *snapshot,
        const struct tally_slice *keys, size_t count, base_found_fn found, void *context,
        struct tally_error *err)
{
    struct memory_snapshot *self = (struct memory_snapshot *)snapshot;

    (void)err;
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = row_hash(keys[i]);
        struct tally_slice value = TALLY_NONE;
        struct row row;

        for (size_t j = 0; j < self->count; j++) {
            if (!run_find(self->runs[j], keys[i], hash, &row))
                continue;
            if (!row.deleted)
                value = row_value(&row);
            break;
        }
        found(context, i, value);
    }
    return TALLY_OK;
}

/* The runs' merge without the deleted rows. */
struct memory_cursor {
    struct cursor cursor;
    struct cursor *merge;
};

static enum tally_code memory_cursor_next(struct cursor *cursor, struct tally_error *err)
{
    struct memory_cursor *self = (struct memory_cursor *)cursor;
    enum tally_code code;

    do {
        code = cursor_next(self->merge, err);
    } while (code == TALLY_OK && self->merge->deleted);
    cursor->key = self->merge->key;
    cursor->value = self->merge->value;
    return code;
}

static void memory_cursor_destroy(struct cursor *cursor)
{
    struct memory_cursor *self = (struct memory_cursor *)cursor;

    cursor_destroy(self->merge);
    tally_free(self);
}

static struct cursor *memory_iterate(struct base_snapshot *snapshot, struct tally_slice lower,
        struct tally_slice upper, bool backwards)
{
    static const struct cursor_ops ops = {
            .next = memory_cursor_next, .destroy = memory_cursor_destroy};
    struct memory_snapshot *self = (struct memory_snapshot *)snapshot;
    struct memory_cursor *cursor = tally_alloc_zero(1, sizeof *cursor);
    struct cursor *runs[MEMORY_RUNS_MAX];

    for (size_t i = 0; i < self->count; i++) {
        runs[i] = run_cursor(self->runs[i], lower, upper, backwards);
    }
    cursor->cursor.ops = &ops;
    cursor->merge = merge_create(runs, self->count, backwards);
    return &cursor->cursor;
}

/* Puts the newest `count` runs of a disk into one. */
static void merge_newest(struct store_memory_disk *disk, size_t count)
{
    struct run *merged;

    if (count < 2)
        return;
    merged = run_merge(disk->runs, count, count < disk->count, NULL);
    for (size_t i = 0; i < count; i++) {
        run_unref(disk->runs[i]);
    }
    disk->runs[0] = merged;
    memmove(disk->runs + 1, disk->runs + count, (disk->count - count) * sizeof *disk->runs);
    disk->count -= count - 1;
}

static enum tally_code memory_ingest(struct base *base, struct cursor *rows, int64_t *size,
        bool *lost, struct tally_error *err)
{
    struct store_memory_disk *disk = ((struct memory_base *)base)->disk;
    struct run *run = NULL;
    enum tally_code code = run_collect(rows, 64, 4096, disk->count > 0, NULL, &run, err);
    size_t total, merged = 1;

    *lost = false;
    if (code)
        return code;
    *size = (int64_t)run->size;
    tally_assert(disk->count < MEMORY_RUNS_MAX);
    memmove(disk->runs + 1, disk->runs, disk->count * sizeof *disk->runs);
    disk->runs[0] = run;
    disk->count++;
    for (total = run->size; merged < disk->count; merged++) {
        if (total < disk->runs[merged]->size ||
                total + disk->runs[merged]->size > MERGED_BYTES_MAX) {
            break;
        }
        total += disk->runs[merged]->size;
    }
    merge_newest(disk, merged);
    return TALLY_OK;
}

static struct base_snapshot *memory_snapshot(struct base *base)
{
    struct store_memory_disk *disk = ((struct memory_base *)base)->disk;
    struct memory_snapshot *snapshot = tally_alloc_zero(1, sizeof *snapshot);

    base_snapshot_init(&snapshot->snapshot, base);
    snapshot->count = disk->count;
    for (size_t i = 0; i < disk->count; i++) {
        snapshot->runs[i] = run_ref(disk->runs[i]);
    }
    return &snapshot->snapshot;
}

static void memory_snapshot_destroy(struct base_snapshot *snapshot)
{
    struct memory_snapshot *self = (struct memory_snapshot *)snapshot;

    for (size_t i = 0; i < self->count; i++) {
        run_unref(self->runs[i]);
    }
    tally_free(self);
}

static void memory_sizes(struct base_snapshot *snapshot, int64_t *sst_bytes, int64_t *level0_files)
{
    struct memory_snapshot *self = (struct memory_snapshot *)snapshot;

    *sst_bytes = 0;
    for (size_t i = 0; i < self->count; i++) {
        *sst_bytes += (int64_t)self->runs[i]->used;
    }
    *level0_files = (int64_t)self->count;
}

static void memory_close(struct base *base)
{
    (void)base; /* the disk stays */
}

struct base *store_memory_open(struct tally_state *state, const char *path)
{
    static const struct base_ops ops = {.get = memory_get,
            .multi_get = memory_multi_get,
            .iterate = memory_iterate,
            .ingest = memory_ingest,
            .snapshot = memory_snapshot,
            .snapshot_destroy = memory_snapshot_destroy,
            .sizes = memory_sizes,
            .close = memory_close};
    struct memory_base *base = tally_alloc_zero(1, sizeof *base);
    struct store_memory_disk *disk;

    tally_mutex_lock(&state->lock);
    for (disk = state->disks; disk && strcmp(disk->path, path) != 0;) {
        disk = disk->next;
    }
    if (!disk) {
        disk = tally_alloc_zero(1, sizeof *disk);
        disk->path = tally_copy_string(path);
        disk->next = state->disks;
        state->disks = disk;
    }
    tally_mutex_unlock(&state->lock);
    base->disk = disk;
    base_init(&base->base, &ops, state, path);
    return &base->base;
}

static void destroy_disk(struct store_memory_disk *disk)
{
    for (size_t i = 0; i < disk->count; i++) {
        run_unref(disk->runs[i]);
    }
    tally_free(disk->path);
    tally_free(disk);
}

void store_memory_drop(struct tally_state *state, const char *path)
{
    struct store_memory_disk *dropped = NULL;

    tally_mutex_lock(&state->lock);
    for (struct store_memory_disk **at = &state->disks; *at; at = &(*at)->next) {
        if (strcmp((*at)->path, path) == 0) {
            dropped = *at;
            *at = dropped->next;
            break;
        }
    }
    tally_mutex_unlock(&state->lock);
    if (dropped)
        destroy_disk(dropped);
}

void store_memory_drop_all(struct tally_state *state)
{
    while (state->disks) {
        struct store_memory_disk *disk = state->disks;

        state->disks = disk->next;
        destroy_disk(disk);
    }
}
