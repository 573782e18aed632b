/* state/store_memory.c - the base tier in memory: runs that are merged as they grow.
 * Invariants
 *  (1) A directory outlives the bases that were opened on it; only the disk's end or set_aside
 *      drops it.
 *  (2) Ingesting replaces the list of runs; snapshots keep the runs that they have.
 * Its bytes are not part of the memory number: they stand for what would be on disk. */
#include "state/store_memory_internal.h"

#include "engine/base/mem.h"
#include "state/memory_disk.h"
#include "state/store_internal.h"

enum { MEMORY_RUNS_MAX = 40, MERGED_BYTES_MAX = 1024 * 1024 * 1024 };

struct store_memory_directory {
    struct store_memory_directory *next;
    char *path;
    bool damaged; /* for good: nothing of it can be read */
    size_t count;
    struct run *runs[MEMORY_RUNS_MAX]; /* newest first */
};

struct tally_memory_disk {
    struct store_memory_directory *directories;
    tally_disk_fault_fn fault;
    void *fault_context;
};

struct memory_base {
    struct base base;
    struct store_memory_directory *directory;
};

struct memory_snapshot {
    struct base_snapshot snapshot;
    size_t count;
    struct run *runs[MEMORY_RUNS_MAX];
};

/* What the disk's fault says about an access. */
static enum tally_code ask_fault(struct base *base, enum tally_disk_op op,
        struct tally_disk_fault *told, struct tally_error *err)
{
    const struct tally_memory_disk *disk = base->state->disk;
    struct store_memory_directory *directory = ((struct memory_base *)base)->directory;
    struct tally_disk_fault fault = {.code = TALLY_OK};

    *told = fault;
    if (directory->damaged) {
        fault.code = TALLY_STORE_CORRUPT;
    } else if (!disk->fault || !disk->fault(disk->fault_context, op, &fault)) {
        return TALLY_OK;
    }
    *told = fault;
    if (fault.code == TALLY_STORE_CORRUPT) {
        directory->damaged = true;
        atomic_store_explicit(&base->corrupt, true, memory_order_relaxed);
    }
    return tally_error_set(err, fault.code, "\"%s\": injected", base->path);
}

static enum tally_code ask_read(struct base *base, struct tally_error *err)
{
    struct tally_disk_fault fault;

    return ask_fault(base, TALLY_DISK_READ, &fault, err);
}

static enum tally_code memory_get(struct base_snapshot *snapshot, struct tally_slice key,
        struct tally_buf *value, struct tally_error *err)
{
    struct memory_snapshot *self = (struct memory_snapshot *)snapshot;
    uint64_t hash = row_hash(key);
    struct row row;
    enum tally_code code = ask_read(snapshot->base, err);

    if (code)
        return code;
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
    enum tally_code code = ask_read(snapshot->base, err);

    if (code)
        return code;
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
static void merge_newest(struct store_memory_directory *directory, size_t count)
{
    struct run *merged;

    if (count < 2)
        return;
    merged = run_merge(directory->runs, count, count < directory->count, NULL);
    for (size_t i = 0; i < count; i++) {
        run_unref(directory->runs[i]);
    }
    directory->runs[0] = merged;
    memmove(directory->runs + 1, directory->runs + count,
            (directory->count - count) * sizeof *directory->runs);
    directory->count -= count - 1;
}

static enum tally_code memory_ingest(struct base *base, struct cursor *rows, int64_t *size,
        bool *lost, struct tally_error *err)
{
    struct store_memory_directory *directory = ((struct memory_base *)base)->directory;
    struct run *run = NULL;
    size_t total, merged = 1;
    struct tally_disk_fault fault;
    enum tally_code failed = ask_fault(base, TALLY_DISK_INGEST, &fault, err);
    enum tally_code code;

    *lost = failed && (fault.lost || fault.happened);
    if (failed && !fault.happened)
        return failed;
    code = run_collect(rows, 64, 4096, directory->count > 0, NULL, &run, err);
    if (code)
        return code;
    *size = (int64_t)run->size;
    tally_assert(directory->count < MEMORY_RUNS_MAX);
    memmove(directory->runs + 1, directory->runs, directory->count * sizeof *directory->runs);
    directory->runs[0] = run;
    directory->count++;
    for (total = run->size; merged < directory->count; merged++) {
        if (total < directory->runs[merged]->size ||
                total + directory->runs[merged]->size > MERGED_BYTES_MAX) {
            break;
        }
        total += directory->runs[merged]->size;
    }
    merge_newest(directory, merged);
    return failed;
}

static struct base_snapshot *memory_snapshot(struct base *base)
{
    struct store_memory_directory *directory = ((struct memory_base *)base)->directory;
    struct memory_snapshot *snapshot = tally_alloc_zero(1, sizeof *snapshot);

    base_snapshot_init(&snapshot->snapshot, base);
    snapshot->count = directory->count;
    for (size_t i = 0; i < directory->count; i++) {
        snapshot->runs[i] = run_ref(directory->runs[i]);
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
    (void)base; /* the directory stays */
}

static struct store_memory_directory *find_directory(const struct tally_memory_disk *disk,
        const char *path)
{
    struct store_memory_directory *directory = disk->directories;

    while (directory && strcmp(directory->path, path) != 0) {
        directory = directory->next;
    }
    return directory;
}

struct base *store_memory_open(struct tally_state *state, const char *path)
{
    static const struct base_ops ops = {.get = memory_get,
            .get_ready = memory_get,
            .multi_get = memory_multi_get,
            .iterate = memory_iterate,
            .ingest = memory_ingest,
            .snapshot = memory_snapshot,
            .snapshot_destroy = memory_snapshot_destroy,
            .sizes = memory_sizes,
            .close = memory_close};
    struct memory_base *base = tally_alloc_zero(1, sizeof *base);
    struct store_memory_directory *directory;

    tally_mutex_lock(&state->lock);
    directory = find_directory(state->disk, path);
    if (!directory) {
        directory = tally_alloc_zero(1, sizeof *directory);
        directory->path = tally_copy_string(path);
        directory->next = state->disk->directories;
        state->disk->directories = directory;
    }
    tally_mutex_unlock(&state->lock);
    base->directory = directory;
    base_init(&base->base, &ops, state, path);
    return &base->base;
}

static void destroy_directory(struct store_memory_directory *directory)
{
    for (size_t i = 0; i < directory->count; i++) {
        run_unref(directory->runs[i]);
    }
    tally_free(directory->path);
    tally_free(directory);
}

void store_memory_drop(struct tally_state *state, const char *path)
{
    struct store_memory_directory *dropped = NULL;

    tally_mutex_lock(&state->lock);
    for (struct store_memory_directory **at = &state->disk->directories; *at; at = &(*at)->next) {
        if (strcmp((*at)->path, path) == 0) {
            dropped = *at;
            *at = dropped->next;
            break;
        }
    }
    tally_mutex_unlock(&state->lock);
    if (dropped)
        destroy_directory(dropped);
}

/* --- disks ------------------------------------------------------------------------------------ */

struct tally_memory_disk *tally_memory_disk_create(void)
{
    return tally_alloc_zero(1, sizeof(struct tally_memory_disk));
}

struct tally_memory_disk *tally_memory_disk_copy(const struct tally_memory_disk *disk)
{
    struct tally_memory_disk *copy = tally_memory_disk_create();
    struct store_memory_directory **end = &copy->directories;

    for (const struct store_memory_directory *from = disk->directories; from; from = from->next) {
        struct store_memory_directory *to = tally_alloc_zero(1, sizeof *to);

        to->path = tally_copy_string(from->path);
        to->damaged = from->damaged;
        to->count = from->count;
        for (size_t i = 0; i < from->count; i++) {
            to->runs[i] = run_ref(from->runs[i]);
        }
        *end = to;
        end = &to->next;
    }
    return copy;
}

void tally_memory_disk_destroy(struct tally_memory_disk *disk)
{
    if (!disk)
        return;
    while (disk->directories) {
        struct store_memory_directory *directory = disk->directories;

        disk->directories = directory->next;
        destroy_directory(directory);
    }
    tally_free(disk);
}

void tally_memory_disk_set_fault(struct tally_memory_disk *disk, tally_disk_fault_fn ask,
        void *context)
{
    disk->fault = ask;
    disk->fault_context = context;
}
