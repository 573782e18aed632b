/* state/run_internal.h - the writes of one or more commits: sorted, immutable, counted.
 * Ownership: a run owns its bytes; rows and cursors borrow from it while a reference is held.
 * @thread any */
#pragma once
#include <stdatomic.h>

#include "state/cursor_internal.h"
#include "state/row_internal.h"

#define RUN_BYTES_MAX UINT32_MAX

struct run_entry {
    uint32_t offset; /* of the key in bytes; the value follows it */
    uint32_t value_len;
    uint16_t key_len;
    bool deleted;
};

/* Bits of one cache line that the keys of a few rows have set. */
struct run_filter {
    uint64_t words[8];
};

enum { RUN_STORES_MAX = 32 };

/* Where the rows of a store end, by its byte. */
struct run_store {
    uint32_t last;
    uint8_t byte;
};

struct run {
    atomic_int references;
    uint32_t count;
    uint64_t sequence;          /* of the newest commit in it */
    size_t used;                /* bytes of keys and values */
    size_t size;                /* bytes of all its memory */
    atomic_llong *account;      /* lowered by size when it is freed; NULL: not counted */
    struct run_entry *entries;  /* sorted by key */
    uint8_t *bytes;             /* keys and values */
    struct run_filter *filters; /* a power of two of them; NULL: there is none */
    unsigned filter_shift;      /* the bits of a hash above it choose one */
    unsigned store_count;
    struct run_store stores[RUN_STORES_MAX]; /* of the rows, in their order */
};

/* Copies sorted rows. NULL account: memory is not counted. */
struct run *run_freeze(const struct row *rows, size_t count, uint64_t sequence,
        atomic_llong *account);
/* Takes over sorted entries and the bytes that they point to, of which `used` are rows; sizes are
 * those of the memory. Such a run has no filter: what a restore writes is hardly read before it
 * is in a file. */
struct run *run_adopt(struct run_entry *entries, size_t count, size_t entries_size, uint8_t *bytes,
        size_t used, size_t bytes_size, uint64_t sequence, atomic_llong *account);
/* Merges runs, the newest first, at least one; keep_deleted: something older lies below. */
struct run *run_merge(struct run *const *runs, size_t count, bool keep_deleted,
        atomic_llong *account);
/* Collects what a cursor yields; count and size are guesses. Fails as the cursor does. */
TALLY_MUST_CHECK enum tally_code run_collect(struct cursor *source, size_t count, size_t size,
        bool keep_deleted, atomic_llong *account, struct run **run, struct tally_error *err);
struct run *run_ref(struct run *run);
void run_unref(struct run *run);

/* The row of a key, which may be a deleted one. Borrows from the run. */
bool run_find(const struct run *run, struct tally_slice key, uint64_t hash, struct row *row);
/* Starts loading what run_find will look at first. */
static inline void run_find_soon(const struct run *run, uint64_t hash)
{
    if (run->filters)
        __builtin_prefetch(&run->filters[hash >> run->filter_shift]);
}

/* The highest key of the store run->stores[index]. */
struct tally_slice run_highest(const struct run *run, unsigned index);

/* Rows lower <= key < upper (empty upper: no bound). The caller keeps the run alive. */
struct cursor *run_cursor(const struct run *run, struct tally_slice lower, struct tally_slice upper,
        bool backwards);
