/* state/store.h - all stores of one task: one overlay, one view of runs over one RocksDB directory.
 * Invariants
 *  (1) Other threads see a commit's writes all together or not at all.
 *  (2) State and all positions that describe it travel together: in one run, then in one ingested
 *      file.
 *  (3) Only the owning task writes; nothing uncommitted is ever in a view or on disk.
 *  (4) Views never change: a reader that holds one sees one commit's state for as long as it holds
 * it. Keys are full keys from key_schema.h: the first byte names the store. Meta keys (byte 0) are
 * this folder's own and appear in no get, scan or dump. A value of the DEDUP store begins with the
 * decision time of its command: 8 bytes, big-endian, ms. A row counts as absent in gets and scans
 * once that is more than dedup_retention_ms older than the decision time of the positions it is
 * read under, and compactions drop it. Within a transaction those are the last committed positions,
 * so a reader that needs the exact edge compares itself. Ownership: slices passed in are borrowed
 * for the call. */
#pragma once
#include "engine/base/bytes.h"
#include "engine/base/clock.h"

struct tally_state; /* process-wide: memory number, block cache, flush thread, directory lock */
struct tally_store; /* one task's stores */
struct tally_memory_disk; /* memory_disk.h */
struct tally_view;        /* what readers see: runs, then RocksDB; committed data only */

/* What a task has processed. Travels with the state it describes. */
struct tally_positions {
    int64_t in_next;       /* next input offset; -1: none yet */
    int64_t in_last;       /* last consumed input offset; -1: none */
    uint32_t in_crc;       /* CRC32C over key and value of that record */
    int64_t out_last;      /* last applied event's offset; -1: none */
    uint32_t out_crc;      /* CRC32C over key and value of that event */
    int64_t decision_time; /* moved by events only, ms; 0: none yet */
    int64_t commit_time;   /* wall clock of the commit, ms */
};

struct tally_state_options {
    const char *dir;                /* NULL: memory stores only */
    struct tally_memory_disk *disk; /* of memory stores; NULL: one that ends with the state */
    int64_t memory_bytes;           /* block cache, runs, overlays of all tasks together */
    int64_t flush_interval_ms;
    int64_t flush_bytes;
    int64_t dedup_retention_ms; /* rows of DEDUP older than this, in decision time, are absent */
    struct tally_clock *clock;
    bool flush_inline; /* no thread: commits and tally_state_flush_due flush what is due (tests) */
};

/* Locks options->dir (flock on LOCK) and starts the flush thread. STATE_LOCKED: another process has
 * it. @thread init */
TALLY_MUST_CHECK enum tally_code tally_state_open(const struct tally_state_options *options,
        struct tally_state **state, struct tally_error *err);
/* All stores are closed, and all views and iterators let go, before. @thread main */
void tally_state_close(struct tally_state *state);
/* What the flush thread would do by now, where there is none. @thread owner */
void tally_state_flush_due(struct tally_state *state);
/* Bytes now held (the parts may be NULL): half of memory_bytes is RocksDB's block cache, the other
 * half overlays (with clean entries, at most a quarter of memory_bytes) and runs. Full: overlays
 * and runs fill their half; the engine stops deciding until a flush succeeds. @thread any */
int64_t tally_state_memory(const struct tally_state *state, int64_t *overlays, int64_t *runs,
        int64_t *cache);
bool tally_state_full(const struct tally_state *state);
/* Waits while it is full, until a flush has ended, at most so long. @thread any */
void tally_state_wait_room(struct tally_state *state, int64_t timeout_ms);
/* Bytes that a store may append before it should commit: of all stores, half of what overlays and
 * runs share, so that the other half can be on its way to the disk. @thread any */
size_t tally_state_append_bytes(const struct tally_state *state);

/* Who a task directory belongs to: <dir>/<topology>/<partition>/. Strings are borrowed. */
struct tally_store_identity {
    const char *topology;
    int32_t partition, partitions;
    const char *cluster_id, *group, *commands_topic, *events_topic;
    uint32_t evolve_version;
    const char *settings; /* what decide depends on, "stock.require_registration=true" */
    const char *omitted;  /* stores whose rows evolve leaves out, "dedup,ledger"; "": none */
    bool offline; /* of a check only: neither cluster nor partition count is known, or compared */
};

/* Opens or makes the store, waiting for readers that hold views from an earlier opening (at most
 * 10 s, then STORE_ERROR). An absent or empty directory is new. FOREIGN_STATE: another identity,
 * other settings or a newer format (the message names what differs, and both values; no row is
 * touched). STORE_OUTDATED (an older format, or rows of other stores), STORE_CORRUPT: the caller
 * sets it aside and opens anew.
 * state opened without dir: a memory store with the same contract. @thread any */
TALLY_MUST_CHECK enum tally_code tally_store_open(struct tally_state *state,
        const struct tally_store_identity *identity, struct tally_store **store,
        struct tally_error *err);
/* Opens an existing directory for reading only, without tally_state (tools on a stopped instance;
 * shares the lock of the state directory with other tools: STATE_LOCKED while an instance runs).
 * NOT_FOUND: no such directory. The identity is read, not checked; the retention is the one that
 * the instance had. Only views, iterators, get and close may be used. */
TALLY_MUST_CHECK enum tally_code tally_store_open_read_only(const char *state_dir,
        const char *topology, int32_t partition, struct tally_store **store,
        struct tally_error *err);
/* What the directory holds, without changing it, for tools on a stopped instance: checks identity
 * and format as tally_store_open does, with its codes; NOT_FOUND: there is no store yet;
 * STATE_LOCKED while an instance runs; held: the caller has the directory open itself. Fills
 * *positions on TALLY_OK. */
TALLY_MUST_CHECK enum tally_code tally_store_check(const char *state_dir, bool held,
        const struct tally_store_identity *identity, struct tally_positions *positions,
        struct tally_error *err);
/* Calls found for each task directory below state_dir, those that were set aside left out; bytes:
 * of its files. NOT_FOUND: there is no state_dir. */
typedef void (*tally_state_found_fn)(void *context, const char *topology, int32_t partition,
        int64_t bytes);
TALLY_MUST_CHECK enum tally_code tally_state_list(const char *state_dir, tally_state_found_fn found,
        void *context, struct tally_error *err);
/* Moves the task directory to <partition>.aside-<time> (the newest 2 are kept). Store closed; waits
 * for readers that still hold views of it. */
TALLY_MUST_CHECK enum tally_code tally_store_set_aside(struct tally_state *state,
        const char *topology, int32_t partition, struct tally_error *err);
/* Flushes runs if `flush`, waiting for it; drops the overlay. Readers may hold views longer. */
void tally_store_close(struct tally_store *store, bool flush);

/* --- owner: the task's thread ----------------------------------------------------------------- */

/* Reads the newest value: overlay, clean cache, runs, RocksDB. On TALLY_OK *value borrows memory
 * that lives until the next put, delete, prefetch or commit; on TALLY_NOT_FOUND it is empty.
 * @thread owner  @locks none */
TALLY_MUST_CHECK enum tally_code tally_store_get(struct tally_store *store, struct tally_slice key,
        struct tally_slice *value, struct tally_error *err);
/* Resolves keys (any order, repeats allowed) with one sorted multi-get, so that the gets that
 * follow find them in memory. Absent keys of stores whose rows are written once are not kept there:
 * absent[i], zero before, is set, and until the next commit the key has the value that
 * tally_store_written finds. @thread owner */
TALLY_MUST_CHECK enum tally_code tally_store_prefetch(struct tally_store *store,
        const struct tally_slice *keys, size_t count, bool *absent, struct tally_error *err);
/* Whether there is no row at all in the store of a key, so that it need not be prefetched.
 * @thread owner */
bool tally_store_empty(const struct tally_store *store, struct tally_slice key);
/* Calls row for each row whose key begins with prefix, in key order, with what the open transaction
 * wrote, until it returns false; it must not call the store. The keys under a prefix that ends with
 * a string are remembered: such a scan is as cheap as gets of its rows. @thread owner */
typedef bool (*tally_store_row_fn)(void *context, struct tally_slice key, struct tally_slice value);
TALLY_MUST_CHECK enum tally_code tally_store_scan(struct tally_store *store,
        struct tally_slice prefix, tally_store_row_fn row, void *context, struct tally_error *err);
/* Calls one for each key that a scan of the prefix would read, as far as that is remembered, so
 * that they can be prefetched together. @thread owner */
void tally_store_scan_keys(const struct tally_store *store, struct tally_slice prefix,
        void (*one)(void *context, struct tally_slice key), void *context);
/* Begins to load into the processor's cache what will be read for the key of this index among those
 * of the last prefetch, and some before it: to be called a few reads ahead. @thread owner */
void tally_store_soon(struct tally_store *store, const struct tally_slice *keys, size_t index);
/* What the open transaction has written of a key that was absent before it. Memory only; borrows as
 * tally_store_get. @thread owner */
bool tally_store_written(struct tally_store *store, struct tally_slice key,
        struct tally_slice *value);
/* Into the overlay; bytes are copied. @thread owner */
void tally_store_put(struct tally_store *store, struct tally_slice key, struct tally_slice value);
void tally_store_delete(struct tally_store *store, struct tally_slice key);
/* The same for writes that are not read before the commit, as of a restore: cheaper by far, because
 * of the rows of a key only the last one is looked for, at the commit. A transaction has writes of
 * one kind alone, and no reads after such ones. @thread owner */
void tally_store_append(struct tally_store *store, struct tally_slice key,
        struct tally_slice value);
void tally_store_append_deletion(struct tally_store *store, struct tally_slice key);
size_t tally_store_uncommitted(const struct tally_store *store); /* bytes of its writes */
/* What was put and deleted so far, in the order of keys, of each key the last; value.data NULL:
 * deleted. Slices borrow until the next call on the store. @thread owner */
void tally_store_written_rows(struct tally_store *store,
        void (*row)(void *context, struct tally_slice key, struct tally_slice value),
        void *context);

/* Freezes what was written, with its positions, into a run and publishes the new view. Call only
 * after the Kafka transaction has committed. Memory only: it cannot fail. @thread owner */
void tally_store_commit(struct tally_store *store, const struct tally_positions *positions);
/* Drops what was written. @thread owner */
void tally_store_rollback(struct tally_store *store);
/* Starts a flush of all runs; with wait, returns when they are in RocksDB or failed (STORE_ERROR,
 * STORE_CORRUPT) or timeout_ms passed (TIMEOUT). @thread owner */
TALLY_MUST_CHECK enum tally_code tally_store_flush(struct tally_store *store, bool wait,
        int64_t timeout_ms, struct tally_error *err);
/* TALLY_OK while background flushes succeed; else the error of the last one. @thread any */
enum tally_code tally_store_health(struct tally_store *store, struct tally_error *err);
/* Live SST bytes and level-0 files. @thread any */
void tally_store_sizes(struct tally_store *store, int64_t *sst_bytes, int64_t *level0_files);

/* --- readers: any thread ---------------------------------------------------------------------- */

struct tally_view *tally_store_view(struct tally_store *store); /* a new reference */
struct tally_view *tally_view_ref(struct tally_view *view);
void tally_view_unref(struct tally_view *view);
/* false: tally_store_view would give another one by now. */
bool tally_view_is_newest(const struct tally_view *view);
const struct tally_positions *tally_view_positions(const struct tally_view *view);

/* Appends the value to *value (cleared first). NOT_FOUND, STORE_ERROR, STORE_CORRUPT; TOO_LARGE:
 * the row does not fit value's maximum. */
TALLY_MUST_CHECK enum tally_code tally_view_get(struct tally_view *view, struct tally_slice key,
        struct tally_buf *value, struct tally_error *err);

/* The same of what is in memory. AGAIN: a file would have to be read. */
TALLY_MUST_CHECK enum tally_code tally_view_get_ready(struct tally_view *view,
        struct tally_slice key, struct tally_buf *value, struct tally_error *err);

/* Calls found for each of the keys that has a value, in no order, with its index; what is not in
 * memory is read with one multi-get. Keys are sorted and distinct. */
typedef void (*tally_view_found_fn)(void *context, size_t index, struct tally_slice value);
TALLY_MUST_CHECK enum tally_code tally_view_get_many(struct tally_view *view,
        const struct tally_slice *keys, size_t count, tally_view_found_fn found, void *context,
        struct tally_error *err);

/* Rows with lower <= key < upper in key order, or from the end backwards; empty upper: no bound.
 * The iterator holds a reference to its view. */
struct tally_iterator;
struct tally_iterator *tally_view_iterate(struct tally_view *view, struct tally_slice lower,
        struct tally_slice upper, bool backwards);
/* The same over the owner's uncommitted writes too; put, delete, prefetch, commit and rollback end
 * its validity. @thread owner */
struct tally_iterator *tally_store_iterate(struct tally_store *store, struct tally_slice lower,
        struct tally_slice upper, bool backwards);
/* Moves to the next (at first: the first) row; false: no more, or an error, then in *code. */
bool tally_iterator_next(struct tally_iterator *iterator, struct tally_slice *key,
        struct tally_slice *value, enum tally_code *code, struct tally_error *err);
void tally_iterator_destroy(struct tally_iterator *iterator);
/* The smallest key above all keys with this prefix, into *upper (for iterate); empty if none. */
struct tally_slice tally_prefix_end(struct tally_slice prefix,
        uint8_t *space /* prefix.len bytes */);
