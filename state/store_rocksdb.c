/* state/store_rocksdb.c - the base tier on RocksDB 7.8, filled by ingested SST files only.
 * Invariants
 *  (1) No memtable, no write-ahead log: a file is finished and synced before it is ingested, and
 *      ingestion is atomic, so after any crash the database is what some flush left.
 *  (2) Damage is remembered in base->corrupt, and told as STORE_CORRUPT by whoever meets it.
 *  (3) Foreign errors (errptr) are converted and freed in the frame that receives them.
 * The block cache has no strict limit: with one, a read whose block finds no room fails instead of
 * reading past the cache. What is pinned is bounded by the number of readers. */
#include "state/store_rocksdb_internal.h"

#include <errno.h>
#include <rocksdb/c.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/failpoint.h"
#include "engine/base/mem.h"
#include "state/manifest_internal.h"
#include "state/row_internal.h"
#include "state/state_directory_internal.h"
#include "state/store_internal.h"

enum {
    CACHE_SHARD_BITS = 2, /* few and large: a shard must hold the largest filter block many times */
    BLOCK_SIZE = 4096,
    BLOOM_BITS = 10,      /* a key; under 1 % of absent keys are looked for in vain */
    OPEN_FILES_MAX = 256, /* a store; at 64 MiB a file */
    FILE_SIZE = 64 << 20,
    BACKGROUND_JOBS = 2,
    LEVEL0_COMPACT = 20,
    LEVEL0_STOP = 1 << 20, /* RocksDB must not block an ingestion; flush.c holds back instead */
    SIZE_RATIO_PERCENT = 25,
    /* Debian's RocksDB has its assertions on, and one of them ends the process when a write of its
     * log failed and the next line comes. So it writes a log while it opens only, when
     * state_directory_prepare has seen that the disk takes writes, and never rolls it over. */
    LOG_LEVEL_HEADER = 5,
    LOG_FILES = 2,
    MANIFEST_BYTES_MAX = 16 << 20,
    FORMAT_VERSION = 5,
    TIER_MEMORY = 1,    /* rocksdb::kBlockCacheTier */
    MULTI_GET_MAX = 512 /* keys at once: bounds the blocks that are pinned */
};

struct store_rocksdb_shared {
    rocksdb_cache_t *cache;
};

struct rocksdb_base {
    struct base base;
    rocksdb_t *db;
    rocksdb_column_family_handle_t *family;
    rocksdb_options_t *options, *file_options;
    rocksdb_compactionfilter_t *filter;
    rocksdb_envoptions_t *env_options;
    bool read_only;
    uint64_t files; /* written by this opening, for their names */
};

struct rocksdb_snapshot {
    struct base_snapshot snapshot;
    const rocksdb_snapshot_t *rocksdb;   /* NULL: read only, nothing changes */
    rocksdb_readoptions_t *read, *ready; /* ready: of what is in memory */
};

struct store_rocksdb_shared *store_rocksdb_shared_create(int64_t cache_bytes)
{
    struct store_rocksdb_shared *shared = tally_alloc_zero(1, sizeof *shared);
    rocksdb_lru_cache_options_t *options = rocksdb_lru_cache_options_create();

    rocksdb_lru_cache_options_set_capacity(options, (size_t)cache_bytes);
    rocksdb_lru_cache_options_set_num_shard_bits(options, CACHE_SHARD_BITS);
    shared->cache = rocksdb_cache_create_lru_opts(options);
    rocksdb_lru_cache_options_destroy(options);
    return shared;
}

void store_rocksdb_shared_destroy(struct store_rocksdb_shared *shared)
{
    if (!shared)
        return;
    rocksdb_cache_destroy(shared->cache);
    tally_free(shared);
}

int64_t store_rocksdb_shared_bytes(const struct store_rocksdb_shared *shared)
{
    return shared ? (int64_t)rocksdb_cache_get_usage(shared->cache) : 0;
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* Whoever reads finds the files as they are: what is not the trouble of a disk or of a moment is
 * damage, a file that is gone and a format that nobody has written too. */
static bool is_damage(const char *errptr, bool reading)
{
    static const char *const passing[] = {"IO error", "Resource busy", "Operation ",
            "Shutdown in progress", "Insufficient capacity", "Result incomplete"};

    if (starts_with(errptr, "Corruption"))
        return true;
    if (!reading)
        return false;
    if (starts_with(errptr, "IO error"))
        return strstr(errptr, "No such file") != NULL;
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
        if (starts_with(errptr, passing[i]))
            return false;
    }
    return true;
}

/* Trouble with reading, not with writing, and of the disk: not that the process has no more files
 * or no right to them. */
static bool is_read_error(const char *errptr)
{
    return starts_with(errptr, "IO error") && strstr(errptr, strerror(EIO)) &&
           (strstr(errptr, "While pread") || strstr(errptr, "While read") ||
                   strstr(errptr, "random read") || strstr(errptr, "sequentially reading"));
}

/* Paths inside `path` by their names, so that a message has room for the file that it is about. */
static void shorten_paths(char *text, const char *path)
{
    size_t len = strlen(path);

    for (char *at = strstr(text, path); len > 0 && at; at = strstr(at, path)) {
        size_t skip = len + strspn(at + len, "/");

        memmove(at, at + skip, strlen(at + skip) + 1);
    }
}

/* Converts and frees errptr. */
static enum tally_code convert(struct base *base, const char *path, const char *what, bool reading,
        char *errptr, struct tally_error *err)
{
    bool corrupt = is_damage(errptr, reading);
    enum tally_code code;

    if (corrupt && base)
        atomic_store_explicit(&base->corrupt, true, memory_order_relaxed);
    shorten_paths(errptr, path);
    code = tally_error_set(err, corrupt ? TALLY_STORE_CORRUPT : TALLY_STORE_ERROR,
            "could not %s store \"%s\": %.160s", what, state_directory_tail(path), errptr);
    rocksdb_free(errptr);
    return code;
}

/* --- options ------------------------------------------------------------------------------------
 */

/* Rows that every reader takes for absent need not be kept. @thread RocksDB's own */
static unsigned char drop_expired(void *context, int level, const char *key, size_t key_len,
        const char *value, size_t value_len, char **new_value, size_t *new_len,
        unsigned char *changed)
{
    struct base *base = context;
    int64_t cutoff = atomic_load_explicit(&base->age_cutoff_ms, memory_order_relaxed);

    (void)level;
    (void)new_value;
    (void)new_len;
    *changed = 0;
    return row_expired(tally_slice_of(key, key_len), tally_slice_of(value, value_len), cutoff);
}

static const char *filter_name(void *context)
{
    (void)context;
    return "tally.age";
}

static void filter_destroy(void *context)
{
    (void)context; /* the base is its owner's */
}

static void set_table(rocksdb_options_t *options, const struct store_rocksdb_shared *shared)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();

    rocksdb_block_based_options_set_block_cache(table, shared->cache);
    rocksdb_block_based_options_set_block_size(table, BLOCK_SIZE);
    rocksdb_block_based_options_set_format_version(table, FORMAT_VERSION);
    rocksdb_block_based_options_set_filter_policy(table,
            rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
    rocksdb_block_based_options_set_whole_key_filtering(table, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
}

static void set_compaction(rocksdb_options_t *options)
{
    rocksdb_universal_compaction_options_t *universal =
            rocksdb_universal_compaction_options_create();

    rocksdb_universal_compaction_options_set_size_ratio(universal, SIZE_RATIO_PERCENT);
    rocksdb_options_set_compaction_style(options, rocksdb_universal_compaction);
    rocksdb_options_set_universal_compaction_options(options, universal);
    rocksdb_universal_compaction_options_destroy(universal);
    rocksdb_options_set_level0_file_num_compaction_trigger(options, LEVEL0_COMPACT);
    rocksdb_options_set_level0_slowdown_writes_trigger(options, LEVEL0_STOP);
    rocksdb_options_set_level0_stop_writes_trigger(options, LEVEL0_STOP);
    rocksdb_options_set_target_file_size_base(options, FILE_SIZE);
    rocksdb_options_set_max_background_jobs(options, BACKGROUND_JOBS);
}

static rocksdb_options_t *make_options(const struct store_rocksdb_shared *shared, bool create)
{
    rocksdb_options_t *options = rocksdb_options_create();

    rocksdb_options_set_create_if_missing(options, create);
    rocksdb_options_set_paranoid_checks(options, 1);
    rocksdb_options_set_wal_recovery_mode(options, rocksdb_absolute_consistency_recovery);
    rocksdb_options_set_write_buffer_size(options, 64 << 10); /* no memtable is ever filled */
    rocksdb_options_set_max_open_files(options, OPEN_FILES_MAX);
    rocksdb_options_set_max_file_opening_threads(options,
            1); /* 15 more for a few files cost more */
    rocksdb_options_set_skip_stats_update_on_db_open(options, 1);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_stats_persist_period_sec(options, 0);
    rocksdb_options_set_info_log_level(options, LOG_LEVEL_HEADER);
    rocksdb_options_set_keep_log_file_num(options, LOG_FILES);
    rocksdb_options_set_max_manifest_file_size(options, MANIFEST_BYTES_MAX);
    /* Else whoever reads last from files that are obsolete deletes them, and others wait for it. */
    rocksdb_options_set_avoid_unnecessary_blocking_io(options, 1);
    rocksdb_options_set_compression(options, rocksdb_lz4_compression);
    set_compaction(options);
    set_table(options, shared);
    return options;
}

/* --- reads --------------------------------------------------------------------------------------
 */

static struct rocksdb_base *base_of(const struct rocksdb_snapshot *snapshot)
{
    return (struct rocksdb_base *)snapshot->snapshot.base;
}

static enum tally_code read_error(struct rocksdb_base *base, char *errptr, struct tally_error *err)
{
    return convert(&base->base, base->base.path, "read", true, errptr, err);
}

/* RocksDB's word for what a read of memory alone does not find there. */
#define INCOMPLETE "Result incomplete"

static enum tally_code get_with(struct rocksdb_base *base, const rocksdb_readoptions_t *options,
        struct tally_slice key, struct tally_buf *value, struct tally_error *err)
{
    const char *data;
    char *errptr = NULL;
    size_t len = 0;
    rocksdb_pinnableslice_t *pinned = rocksdb_get_pinned_cf(base->db, options, base->family,
            (const char *)key.data, key.len, &errptr);

    if (errptr && strncmp(errptr, INCOMPLETE, sizeof INCOMPLETE - 1) == 0) {
        rocksdb_free(errptr);
        return TALLY_AGAIN;
    }
    if (errptr)
        return read_error(base, errptr, err);
    if (!pinned)
        return TALLY_NOT_FOUND;
    data = rocksdb_pinnableslice_value(pinned, &len);
    tally_buf_append(value, data, len);
    rocksdb_pinnableslice_destroy(pinned);
    return TALLY_OK;
}

static enum tally_code rocks_get(struct base_snapshot *snapshot, struct tally_slice key,
        struct tally_buf *value, struct tally_error *err)
{
    struct rocksdb_snapshot *self = (struct rocksdb_snapshot *)snapshot;

    return get_with(base_of(self), self->read, key, value, err);
}

static enum tally_code rocks_get_ready(struct base_snapshot *snapshot, struct tally_slice key,
        struct tally_buf *value, struct tally_error *err)
{
    struct rocksdb_snapshot *self = (struct rocksdb_snapshot *)snapshot;

    return get_with(base_of(self), self->ready, key, value, err);
}

struct multi_get {
    const char *keys[MULTI_GET_MAX];
    size_t lens[MULTI_GET_MAX];
    rocksdb_pinnableslice_t *values[MULTI_GET_MAX];
    char *errs[MULTI_GET_MAX];
};

/* Hands out what one call has read, all of it or the first error. */
static enum tally_code take_values(struct rocksdb_base *base, struct multi_get *batch, size_t count,
        size_t first, base_found_fn found, void *context, struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; i < count; i++) {
        if (batch->errs[i] && code == TALLY_OK) {
            code = read_error(base, batch->errs[i], err);
        } else if (batch->errs[i]) {
            rocksdb_free(batch->errs[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct tally_slice value = TALLY_NONE;

        if (batch->values[i]) {
            const char *data = rocksdb_pinnableslice_value(batch->values[i], &value.len);

            value.data = data ? (const uint8_t *)data : (const uint8_t *)"";
        }
        if (code == TALLY_OK)
            found(context, first + i, value);
        if (batch->values[i])
            rocksdb_pinnableslice_destroy(batch->values[i]);
    }
    return code;
}

static enum tally_code rocks_multi_get(struct base_snapshot *snapshot,
        const struct tally_slice *keys, size_t count, base_found_fn found, void *context,
        struct tally_error *err)
{
    struct rocksdb_snapshot *self = (struct rocksdb_snapshot *)snapshot;
    struct rocksdb_base *base = base_of(self);
    struct multi_get *batch = tally_alloc(sizeof *batch);
    enum tally_code code = TALLY_OK;

    for (size_t first = 0; first < count && code == TALLY_OK; first += MULTI_GET_MAX) {
        size_t size = count - first < MULTI_GET_MAX ? count - first : MULTI_GET_MAX;

        for (size_t i = 0; i < size; i++) {
            batch->keys[i] = (const char *)keys[first + i].data;
            batch->lens[i] = keys[first + i].len;
            batch->values[i] = NULL;
            batch->errs[i] = NULL;
        }
        rocksdb_batched_multi_get_cf(base->db, self->read, base->family, size, batch->keys,
                batch->lens, batch->values, batch->errs, true);
        code = take_values(base, batch, size, first, found, context, err);
    }
    tally_free(batch);
    return code;
}

struct rocksdb_cursor {
    struct cursor cursor;
    struct rocksdb_base *base;
    rocksdb_readoptions_t *read;
    rocksdb_iterator_t *iterator;
    bool backwards, started;
};

static enum tally_code rocks_cursor_next(struct cursor *cursor, struct tally_error *err)
{
    struct rocksdb_cursor *self = (struct rocksdb_cursor *)cursor;
    char *errptr = NULL;

    if (!self->started && self->backwards) {
        rocksdb_iter_seek_to_last(self->iterator);
    } else if (!self->started) {
        rocksdb_iter_seek_to_first(self->iterator);
    } else if (self->backwards) {
        rocksdb_iter_prev(self->iterator);
    } else {
        rocksdb_iter_next(self->iterator);
    }
    self->started = true;
    if (!rocksdb_iter_valid(self->iterator)) {
        rocksdb_iter_get_error(self->iterator, &errptr);
        return errptr ? read_error(self->base, errptr, err) : TALLY_NOT_FOUND;
    }
    cursor->key.data = (const uint8_t *)rocksdb_iter_key(self->iterator, &cursor->key.len);
    cursor->value.data = (const uint8_t *)rocksdb_iter_value(self->iterator, &cursor->value.len);
    return TALLY_OK;
}

static void rocks_cursor_destroy(struct cursor *cursor)
{
    struct rocksdb_cursor *self = (struct rocksdb_cursor *)cursor;

    rocksdb_iter_destroy(self->iterator);
    rocksdb_readoptions_destroy(self->read);
    tally_free(self);
}

static struct cursor *rocks_iterate(struct base_snapshot *snapshot, struct tally_slice lower,
        struct tally_slice upper, bool backwards)
{
    static const struct cursor_ops ops = {
            .next = rocks_cursor_next, .destroy = rocks_cursor_destroy};
    struct rocksdb_snapshot *self = (struct rocksdb_snapshot *)snapshot;
    struct rocksdb_cursor *cursor = tally_alloc_zero(1, sizeof *cursor);

    cursor->cursor.ops = &ops;
    cursor->base = base_of(self);
    cursor->backwards = backwards;
    cursor->read = rocksdb_readoptions_create();
    if (self->rocksdb)
        rocksdb_readoptions_set_snapshot(cursor->read, self->rocksdb);
    if (lower.len > 0)
        rocksdb_readoptions_set_iterate_lower_bound(cursor->read, (const char *)lower.data,
                lower.len);
    if (upper.len > 0)
        rocksdb_readoptions_set_iterate_upper_bound(cursor->read, (const char *)upper.data,
                upper.len);
    cursor->iterator =
            rocksdb_create_iterator_cf(cursor->base->db, cursor->read, cursor->base->family);
    return &cursor->cursor;
}

static struct base_snapshot *rocks_snapshot(struct base *base)
{
    struct rocksdb_base *self = (struct rocksdb_base *)base;
    struct rocksdb_snapshot *snapshot = tally_alloc_zero(1, sizeof *snapshot);

    base_snapshot_init(&snapshot->snapshot, base);
    snapshot->read = rocksdb_readoptions_create();
    snapshot->ready = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(snapshot->ready, TIER_MEMORY);
    if (!self->read_only) {
        snapshot->rocksdb = rocksdb_create_snapshot(self->db);
        rocksdb_readoptions_set_snapshot(snapshot->read, snapshot->rocksdb);
        rocksdb_readoptions_set_snapshot(snapshot->ready, snapshot->rocksdb);
    }
    return &snapshot->snapshot;
}

static void rocks_snapshot_destroy(struct base_snapshot *snapshot)
{
    struct rocksdb_snapshot *self = (struct rocksdb_snapshot *)snapshot;

    rocksdb_readoptions_destroy(self->ready);
    rocksdb_readoptions_destroy(self->read);
    if (self->rocksdb)
        rocksdb_release_snapshot(base_of(self)->db, self->rocksdb);
    tally_free(self);
}

static void rocks_sizes(struct base_snapshot *snapshot, int64_t *sst_bytes, int64_t *level0_files)
{
    struct rocksdb_base *base = base_of((struct rocksdb_snapshot *)snapshot);
    uint64_t bytes = 0;
    char *files = rocksdb_property_value_cf(base->db, base->family, "rocksdb.num-files-at-level0");

    if (rocksdb_property_int_cf(base->db, base->family, "rocksdb.live-sst-files-size", &bytes) != 0)
        bytes = 0;
    *sst_bytes = (int64_t)bytes;
    *level0_files = 0;
    if (files)
        (void)tally_parse_int(tally_slice_string(files), level0_files);
    rocksdb_free(files);
}

/* --- writes -------------------------------------------------------------------------------------
 */

static enum tally_code write_rows(struct rocksdb_base *base, rocksdb_sstfilewriter_t *writer,
        struct cursor *rows, struct tally_error *err)
{
    enum tally_code code;
    char *errptr = NULL;

    while ((code = cursor_next(rows, err)) == TALLY_OK) {
        if (rows->deleted) {
            rocksdb_sstfilewriter_delete(writer, (const char *)rows->key.data, rows->key.len,
                    &errptr);
        } else {
            rocksdb_sstfilewriter_put(writer, (const char *)rows->key.data, rows->key.len,
                    (const char *)rows->value.data, rows->value.len, &errptr);
        }
        if (errptr)
            return convert(&base->base, base->base.path, "write", false, errptr, err);
    }
    return code == TALLY_NOT_FOUND ? TALLY_OK : code;
}

/* Writes, finishes and syncs one file. */
static enum tally_code write_file(struct rocksdb_base *base, const char *file, struct cursor *rows,
        int64_t *size, struct tally_error *err)
{
    rocksdb_sstfilewriter_t *writer =
            rocksdb_sstfilewriter_create(base->env_options, base->file_options);
    enum tally_code code = TALLY_OK;
    uint64_t bytes = 0;
    char *errptr = NULL;

    rocksdb_sstfilewriter_open(writer, file, &errptr);
    if (!errptr) {
        code = write_rows(base, writer, rows, err);
        if (code == TALLY_OK)
            rocksdb_sstfilewriter_finish(writer, &errptr);
    }
    if (errptr)
        code = convert(&base->base, base->base.path, "write", false, errptr, err);
    rocksdb_sstfilewriter_file_size(writer, &bytes);
    rocksdb_sstfilewriter_destroy(writer);
    *size = (int64_t)bytes;
    return code ? code : TALLY_FAILPOINT_CODE(FLUSH_FILE_AFTER, TALLY_STORE_ERROR, err);
}

static enum tally_code ingest_file(struct rocksdb_base *base, const char *file,
        struct tally_error *err)
{
    rocksdb_ingestexternalfileoptions_t *options;
    char *errptr = NULL;
    enum tally_code code = TALLY_FAILPOINT_CODE(FLUSH_INGEST_BEFORE, TALLY_STORE_ERROR, err);

    if (code)
        return code;
    options = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
    rocksdb_ingest_external_file_cf(base->db, base->family, &file, 1, options, &errptr);
    rocksdb_ingestexternalfileoptions_destroy(options);
    if (errptr)
        return convert(&base->base, base->base.path, "write", false, errptr, err);
    return TALLY_FAILPOINT_CODE(FLUSH_INGEST_AFTER, TALLY_STORE_ERROR, err);
}

static enum tally_code rocks_ingest(struct base *base, struct cursor *rows, int64_t *size,
        bool *lost, struct tally_error *err)
{
    struct rocksdb_base *self = (struct rocksdb_base *)base;
    char *folder = tally_copy_format("%s/ingest", base->path);
    char *file = tally_copy_format("%s/%llu.sst", folder, (unsigned long long)self->files++);
    enum tally_code code;

    *lost = false;
    if (mkdir(folder, 0755) == 0 || errno == EEXIST) {
        code = write_file(self, file, rows, size, err);
    } else if (errno == ENOENT) {
        atomic_store_explicit(&base->corrupt, true, memory_order_relaxed);
        code = tally_error_set(err, TALLY_STORE_CORRUPT, "the directory \"%s\" is gone",
                base->path);
    } else {
        code = tally_error_set(err, TALLY_STORE_ERROR, "could not make directory \"%s\": %s",
                folder, strerror(errno));
    }
    if (code == TALLY_OK) {
        code = ingest_file(self, file, err);
        *lost = code != TALLY_OK; /* whether it is in is not known to this opening */
    }
    if (code)
        unlink(file);
    tally_free(file);
    tally_free(folder);
    return code;
}

/* --- open and close ------------------------------------------------------------------------------
 */

static void rocks_close(struct base *base)
{
    struct rocksdb_base *self = (struct rocksdb_base *)base;

    if (self->family)
        rocksdb_column_family_handle_destroy(self->family);
    if (self->db)
        rocksdb_close(self->db);
    rocksdb_envoptions_destroy(self->env_options);
    rocksdb_options_destroy(self->options);
    rocksdb_options_destroy(self->file_options);
    rocksdb_compactionfilter_destroy(self->filter);
}

static enum tally_code open_db(struct rocksdb_base *base, enum store_rocksdb_mode mode,
        struct tally_error *err)
{
    const char *name = "default", *path = base->base.path;
    const rocksdb_options_t *options = base->options;
    char *errptr = NULL;
    enum tally_code code;
    bool unreadable;

    if (mode == STORE_ROCKSDB_READ_ONLY) {
        base->db = rocksdb_open_for_read_only_column_families(options, path, 1, &name, &options,
                &base->family, 0, &errptr);
    } else {
        base->db = rocksdb_open_column_families(options, path, 1, &name, &options, &base->family,
                &errptr);
    }
    if (!errptr) {
        state_readable(base->base.state, path);
        return TALLY_OK;
    }
    base->db = NULL;
    base->family = NULL;
    unreadable = is_read_error(errptr);
    /* A directory that holds a store was looked at before: a file of its own is gone. */
    code = convert(&base->base, path, "open", mode != STORE_ROCKSDB_CREATE, errptr, err);
    return code == TALLY_STORE_ERROR && unreadable ? state_unreadable(base->base.state, path, err)
                                                   : code;
}

enum tally_code store_rocksdb_open(struct tally_state *state, const char *path,
        enum store_rocksdb_mode mode, struct base **base, struct tally_error *err)
{
    static const struct base_ops ops = {.get = rocks_get,
            .get_ready = rocks_get_ready,
            .multi_get = rocks_multi_get,
            .iterate = rocks_iterate,
            .ingest = rocks_ingest,
            .snapshot = rocks_snapshot,
            .snapshot_destroy = rocks_snapshot_destroy,
            .sizes = rocks_sizes,
            .close = rocks_close};
    struct rocksdb_base *self = tally_alloc_zero(1, sizeof *self);
    enum tally_code code;

    base_init(&self->base, &ops, state, path);
    self->read_only = mode == STORE_ROCKSDB_READ_ONLY;
    self->options = make_options(state->rocksdb, mode == STORE_ROCKSDB_CREATE);
    self->file_options = make_options(state->rocksdb, false);
    rocksdb_options_set_compression(self->file_options, rocksdb_no_compression);
    self->filter =
            rocksdb_compactionfilter_create(&self->base, filter_destroy, drop_expired, filter_name);
    rocksdb_options_set_compaction_filter(self->options, self->filter);
    self->env_options = rocksdb_envoptions_create();
    code = manifest_check(path, mode != STORE_ROCKSDB_READ_ONLY, err);
    if (code == TALLY_STORE_ERROR && mode != STORE_ROCKSDB_READ_ONLY &&
            strstr(err->message, strerror(EIO)))
        code = state_unreadable(state, path, err);
    if (code == TALLY_OK)
        code = open_db(self, mode, err);
    *base = &self->base;
    if (code) {
        base_unref(&self->base);
        *base = NULL;
    }
    return code;
}
