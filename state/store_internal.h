/* state/store_internal.h - the structs behind store.h and who may touch which part of them. */
#pragma once
#include "engine/base/thread.h"
#include "state/groups_internal.h"
#include "state/overlay_internal.h"
#include "state/row_log_internal.h"
#include "state/store.h"
#include "state/view_internal.h"

struct tally_series;
struct store_rocksdb_shared;
struct tally_memory_disk;

/* How the memory number is divided: a quarter is RocksDB's block cache (with index and filter
 * blocks), little because the page cache is behind it; of the rest overlays take what they need,
 * their clean entries at most a half, and runs what is left. */
enum { CACHE_SHARE = 4, CLEAN_EIGHTHS = 3, CLEAN_BYTES_MIN = 4 * 1024 * 1024 };

/* A directory that could not be opened because a file of it could not be read. */
struct state_unreadable {
    struct state_unreadable *next;
    char *path;
    int tries;
    int64_t since_ms; /* monotonic */
};

struct tally_state {
    struct tally_state_options options; /* dir is a copy */
    int lock_fd;                        /* -1: none */
    bool read_only;
    struct store_rocksdb_shared *rocksdb; /* NULL without dir */
    atomic_llong overlay_bytes, run_bytes;
    atomic_int open_stores;
    struct tally_series *overlay_gauge, *run_gauge, *cache_gauge;
    struct tally_series *flush_ok, *flush_failed, *flush_time, *flush_bytes;

    struct tally_mutex lock; /* FLUSH; guards what follows and the part of a store named so */
    struct tally_cond work;  /* something may be due, or stop */
    struct tally_cond done;  /* an attempt ended, or a base closed */
    struct tally_store *stores;
    struct base *bases;
    struct state_unreadable *unreadable;
    struct tally_memory_disk *disk; /* without dir: what was flushed outlives a store */
    bool owns_disk;
    bool stop;
    struct tally_thread thread;
};

/* What flush threads and tests may know of an identity: an owned copy. */
struct store_identity {
    struct tally_store_identity fields; /* strings are owned */
};

struct tally_store {
    struct tally_state *state;
    bool owns_state; /* read only: the state was made for this store */
    char *path;      /* of the task directory; also the name of a memory store */
    struct store_identity identity;

    /* owner */
    struct overlay overlay;
    struct overlay once;  /* of stores whose rows are ONCE: of the open transaction alone */
    bool is_once[256];    /* by store byte */
    bool holds[256];      /* false: no row of the store byte was ever committed */
    struct groups groups; /* of overlay's stores that are scanned */
    struct row_log log;   /* of a restore: instead of all writes into overlays */
    uint64_t sequence;    /* of the newest commit */
    int64_t cutoff_ms;
    struct tally_buf loaded;     /* one value read from the base */
    struct store_wanted *wanted; /* keys of a prefetch */
    uint64_t *hashes;            /* of all keys of the last one, 0 where none was needed */
    size_t wanted_capacity;

    /* VIEW */
    struct tally_mutex view_lock;
    struct tally_view *view;
    uint64_t flushing, flushed; /* commits that a flush is working on; that are in the base */
    int64_t pending_since_ms;   /* monotonic time of the oldest commit not in the base */
    struct tally_error health;

    /* FLUSH */
    struct tally_store *next;
    bool busy;      /* someone flushes; the next part is theirs */
    bool requested; /* flush whatever there is */
    bool crowded;   /* level 0 has too many files: fewer, larger flushes */
    uint64_t attempts;
    int64_t backoff_ms, retry_at_ms; /* 0: the last attempt succeeded */

    /* whoever has set busy */
    struct base *base;
    bool lost; /* the base is to be closed and opened anew */
};

/* --- state.c -----------------------------------------------------------------------------------
 */

void state_add_base(struct tally_state *state, struct base *base);
void state_remove_base(struct tally_state *state, struct base *base);
/* Waits until no base of this path is open: readers of a closed store may still hold one. */
TALLY_MUST_CHECK enum tally_code state_wait_closed(struct tally_state *state, const char *path,
        struct tally_error *err);
/* A read failed at opening, err says how: STORE_ERROR, and the caller tries again; or STORE_CORRUPT
 * when that has gone on for long, because only the events can give back what cannot be read. */
enum tally_code state_unreadable(struct tally_state *state, const char *path,
        struct tally_error *err);
void state_readable(struct tally_state *state, const char *path);
int64_t state_share_bytes(const struct tally_state *state); /* of overlays and runs */
size_t state_clean_bytes(const struct tally_state *state);  /* of one overlay's clean entries */
bool state_pressed(const struct tally_state *state);        /* flush before it is full */
void state_show_memory(struct tally_state *state);          /* into the metrics */
/* A state for one store that is only read. */
TALLY_MUST_CHECK enum tally_code state_open_read_only(const char *dir, bool held,
        struct tally_state **state, struct tally_error *err);

/* Where the owner's entries of a key are. */
static inline struct overlay *store_overlay(struct tally_store *store, struct tally_slice key)
{
    return store->is_once[key.data[0]] ? &store->once : &store->overlay;
}

/* There is no row of the key's store at all: nothing has to be looked for, or remembered absent. */
static inline bool store_is_empty(const struct tally_store *store, uint8_t byte)
{
    const struct overlay *overlay = store->is_once[byte] ? &store->once : &store->overlay;

    return !store->holds[byte] && !overlay_holds(overlay, byte);
}

/* --- store.c -----------------------------------------------------------------------------------
 */

/* Opens the base of a store that exists; used again after the base was lost. */
TALLY_MUST_CHECK enum tally_code store_open_base(struct tally_store *store, struct base **base,
        struct tally_error *err);
/* Replaces the view's base and drops runs that are in it (sequence <= flushed). */
void store_publish_base(struct tally_store *store, struct base_snapshot *snapshot, uint64_t flushed,
        int64_t now_ms);

/* store_scan.c: before the commit's writes become clean. */
void store_groups_commit(struct tally_store *store);
