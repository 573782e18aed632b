/* state/overlay_internal.h - the owner's own memory: what the open transaction has written (dirty
 * entries) and, beside it, a cache of committed entries (clean ones, present or known to be
 * absent). Invariants (1) A clean entry says what the newest view says of its key; a rollback
 * removes what the transaction has touched. (2) Entries move or go only in put, rollback and evict,
 * so values that were handed out live until then. (3) A dirty entry is never evicted. (4) Writes
 * of a store that nobody reads are only logged, one behind the other, each version; the first
 * look-up of one of its keys puts them into the table. Then no entry of the store is in the table
 * and in the log. Ledger rows, and all that a restore writes, never are looked up.
 * @thread owner  @locks none */
#pragma once
#include <stdatomic.h>

#include "state/row_internal.h"

struct overlay_entry {
    uint32_t value_len;
    uint32_t room;        /* bytes kept for key and value: what a chunk is walked by */
    uint32_t dirty_index; /* of a dirty entry, in overlay->dirty */
    uint16_t key_len;
    uint8_t state;       /* enum in overlay.c: dead, clean, dirty */
    bool absent : 1;     /* deleted, or known not to exist */
    bool read : 1;       /* someone asked for it, so it is worth caching */
    bool referenced : 1; /* prefetched again since the clock hand passed */
    bool logged : 1;     /* dirty, and not in the table */
    bool fresh : 1;      /* dirty, and not known to have been there before the transaction */
    uint8_t bytes[];     /* key, then value */
};

static inline struct tally_slice overlay_value(const struct overlay_entry *entry)
{
    return (struct tally_slice){entry->bytes + entry->key_len, entry->value_len};
}

struct overlay_slot {
    uint64_t hash;
    struct overlay_entry *entry; /* NULL: free */
};

struct overlay {
    struct overlay_slot *slots; /* linear probing, at most half full */
    uint64_t mask;
    size_t entries;
    struct overlay_chunk *oldest, *newest; /* memory of entries, in the order of allocation */
    size_t size;                           /* bytes of chunks and table */
    struct overlay_chunk *spare;           /* kept by overlay_clear */
    struct overlay_entry **dirty;          /* in the order of writing; NULL: written again later */
    size_t dirty_count, dirty_capacity;
    size_t dirty_bytes;
    struct {
        uint32_t logged, tabled; /* entries in the log; in the table */
        uint16_t value_room;     /* the size that an absent key's value will have */
        bool read;               /* since the last commit or rollback */
    } stores[256];               /* by store byte */
    atomic_llong *account;       /* holds size of all overlays; may be NULL */
};

void overlay_init(struct overlay *overlay, atomic_llong *account);
void overlay_deinit(struct overlay *overlay);

struct overlay_entry *overlay_find(struct overlay *overlay, struct tally_slice key, uint64_t hash);
/* Start loading what overlay_find will look at: the slot; then, once that is there, the entry. */
static inline void overlay_find_soon(const struct overlay *overlay, uint64_t hash)
{
    __builtin_prefetch(&overlay->slots[hash & overlay->mask]);
}
static inline void overlay_entry_soon(const struct overlay *overlay, uint64_t hash)
{
    const struct overlay_slot *slot = &overlay->slots[hash & overlay->mask];

    if (slot->entry)
        __builtin_prefetch(slot->entry);
}

/* Whether it has entries of a store. */
static inline bool overlay_holds(const struct overlay *overlay, uint8_t store)
{
    return overlay->stores[store].tabled > 0 || overlay->stores[store].logged > 0;
}

/* Adds a clean entry for a key that is not there; absent: value is ignored. */
struct overlay_entry *overlay_load(struct overlay *overlay, struct tally_slice key, uint64_t hash,
        struct tally_slice value, bool absent);
/* Writes a dirty entry; absent: a deletion. */
void overlay_put(struct overlay *overlay, struct tally_slice key, struct tally_slice value,
        bool absent);

/* Adds the dirty rows lower <= key < upper (empty upper: no bound) to rows, which has room for
 * dirty_count; returns how many. In the order of writing: row_sort, then row_unique. */
size_t overlay_rows(const struct overlay *overlay, struct tally_slice lower,
        struct tally_slice upper, struct row *rows);
/* Dirty entries become clean; those that nobody has read go: they would only push the hot keys
 * out. */
void overlay_commit(struct overlay *overlay);
void overlay_rollback(struct overlay *overlay); /* dirty entries go */
void overlay_clear(struct overlay *overlay);    /* all go */
/* Frees the longest unused clean entries until at most limit bytes, and the dirty ones, are held.
 */
void overlay_evict(struct overlay *overlay, size_t limit);
