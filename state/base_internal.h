/* state/base_internal.h - the lowest tier: sorted rows that are durable, filled only by ingesting
 * sorted sequences whole. Two implementations, RocksDB and memory, with one contract.
 * Invariants
 *  (1) Ingesting is atomic: after a crash all rows of a sequence are there or none.
 *  (2) A snapshot never changes; it keeps its base open, so a base closes with its last reader.
 *  (3) Damage is never told as absence: reads answer STORE_CORRUPT or STORE_ERROR.
 * A base is one opening of a directory, a generation: after a failed write it is given up and the
 * directory is opened anew. */
#pragma once
#include <stdatomic.h>

#include "state/cursor_internal.h"

struct tally_state;
struct base;
struct base_snapshot;

/* One resolved key of a multi-get, by its index; value is NULL data when absent. */
typedef void (*base_found_fn)(void *context, size_t index, struct tally_slice value);

struct base_ops {
    /* Appends to *value. NOT_FOUND. @thread any */
    enum tally_code (*get)(struct base_snapshot *snapshot, struct tally_slice key,
            struct tally_buf *value, struct tally_error *err);
    /* The same of what is in memory. AGAIN: a file would have to be read. @thread any */
    enum tally_code (*get_ready)(struct base_snapshot *snapshot, struct tally_slice key,
            struct tally_buf *value, struct tally_error *err);
    /* Keys are sorted and distinct. Calls found for each, in order, unless it fails. */
    enum tally_code (*multi_get)(struct base_snapshot *snapshot, const struct tally_slice *keys,
            size_t count, base_found_fn found, void *context, struct tally_error *err);
    /* Rows lower <= key < upper (empty: no bound), deleted ones never. The caller holds the
     * snapshot and keeps the bounds' bytes. */
    struct cursor *(*iterate)(struct base_snapshot *snapshot, struct tally_slice lower,
            struct tally_slice upper, bool backwards);
    /* All rows of a cursor, deletions included, at once and durably; *size: bytes written. An error
     * that leaves the base unusable sets *lost. @thread flush */
    enum tally_code (*ingest)(struct base *base, struct cursor *rows, int64_t *size, bool *lost,
            struct tally_error *err);
    /* What the base holds now. @thread flush */
    struct base_snapshot *(*snapshot)(struct base *base);
    void (*snapshot_destroy)(struct base_snapshot *snapshot);
    /* @thread any */
    void (*sizes)(struct base_snapshot *snapshot, int64_t *sst_bytes, int64_t *level0_files);
    void (*close)(struct base *base); /* all but the struct itself, which base_unref frees */
};

struct base {
    const struct base_ops *ops;
    struct tally_state *state;
    struct base *next; /* list of open bases, by state. @locks FLUSH */
    char *path;        /* unique among open bases */
    atomic_int references;
    atomic_bool corrupt;        /* a read or write has met damage */
    atomic_llong age_cutoff_ms; /* DEDUP rows before it need not be kept */
};

/* The highest key of each store in a snapshot, or a higher one: what is above it is not there, and
 * need not be looked for. Ids that are made in the order of time (RFC 9562, UUIDv7) are. */
struct base_highest {
    struct tally_slice *keys; /* one a store that has rows; owned */
    size_t count;
};

/* A row that was read, that there is none, or that it was read from what is not in the base yet. */
enum base_seen_as { BASE_SEEN_FOUND, BASE_SEEN_ABSENT, BASE_SEEN_ABOVE };
struct base_seen {
    _Atomic uint8_t unused; /* for so many flushes nobody has asked for it */
    enum base_seen_as as;
    uint32_t key_len, value_len;
    uint8_t bytes[]; /* key, value */
};
#define BASE_SEEN_MAX       2048 /* rows that a snapshot remembers */
#define BASE_SEEN_BYTES_MAX 512  /* of one, with its key */
/* Flushes until a row is forgotten that was asked for again, half a minute under load, and one that
 * was asked for once. */
#define BASE_SEEN_UNUSED    32
#define BASE_SEEN_ONCE      2

struct base_snapshot {
    struct base *base;
    atomic_int references;
    struct base_highest *highest;                /* NULL: not known */
    _Atomic(_Atomic(struct base_seen *) *) seen; /* by hash; NULL: nothing was read yet */
};

struct run;
/* Set the highest keys of a new snapshot, before anyone else sees it: by looking, or from those of
 * the one before and of the runs that were ingested since. */
void base_find_highest(struct base_snapshot *snapshot);
void base_extend_highest(struct base_snapshot *snapshot, const struct base_snapshot *before,
        struct run *const *runs, size_t count);
/* The key is above all of its store. */
bool base_above(const struct base_snapshot *snapshot, struct tally_slice key);

/* ops->get, or get_ready, through a memory of small rows, for readers: what is asked for again and
 * again costs no look into files. A snapshot never changes, so nothing in it is ever dropped before
 * the snapshot is. */
TALLY_MUST_CHECK enum tally_code base_get_seen(struct base_snapshot *snapshot,
        struct tally_slice key, uint64_t hash, bool ready, struct tally_buf *value,
        struct tally_error *err);

/* A reader has found the row in a run above. @thread any */
void base_seen_above(struct base_snapshot *snapshot, struct tally_slice key, uint64_t hash);
/* Gives a new snapshot, before anyone else sees it, what the one before remembered and what was not
 * unused for too long, as the runs that were ingested since have it. */
void base_keep_seen(struct base_snapshot *snapshot, const struct base_snapshot *before,
        struct run *const *runs, size_t count);

struct base_snapshot *base_snapshot_ref(struct base_snapshot *snapshot);
void base_snapshot_unref(struct base_snapshot *snapshot);
void base_unref(struct base *base); /* the last one closes it. @locks none below FLUSH */
/* Whether the caller's is the only reference: no reader holds the base open. */
bool base_alone(const struct base *base);
/* For implementations: fills what is common; the reference is the caller's. */
void base_init(struct base *base, const struct base_ops *ops, struct tally_state *state,
        const char *path);
void base_snapshot_init(struct base_snapshot *snapshot, struct base *base);
