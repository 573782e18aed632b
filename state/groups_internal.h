/* state/groups_internal.h - which keys stand under a prefix that the owner has scanned.
 * A group is the prefix up to the first string's end ("L", a SKU, 0x00) and all keys that may be
 * there: those of a commit, those of the open transaction, and perhaps some that a rollback or a
 * deletion has taken away, which whoever reads them finds absent. So a group is right for ever once
 * it is complete, if every new key is added to it; and new keys are few beside new values.
 * Nothing is kept of a store that is not scanned. @thread owner  @locks none */
#pragma once
#include "state/overlay_internal.h"

enum { GROUP_STORES_MAX = 4 };

struct group {
    uint64_t hash;
    uint32_t size, room; /* of bytes, behind the prefix; and that there are */
    uint32_t last;       /* where the highest begins */
    uint16_t prefix_len;
    bool complete;   /* else what is committed was not added yet */
    uint8_t bytes[]; /* prefix; then what follows it in each key, sorted: length:u16, bytes */
};

struct groups {
    struct group **slots; /* linear probing, at most half full; NULL: there are none */
    size_t mask, count;
    size_t size; /* bytes of all of it */
    struct {
        size_t seen; /* of overlay->dirty */
        uint8_t byte;
    } stores[GROUP_STORES_MAX];
    size_t store_count;
    atomic_llong *account; /* may be NULL */
};

void groups_init(struct groups *groups, atomic_llong *account);
void groups_deinit(struct groups *groups);
void groups_clear(struct groups *groups); /* forgets all */

/* From now on keys of the store are added. false: there are too many such stores. */
bool groups_watch(struct groups *groups, uint8_t store);
/* Adds the keys that the transaction has written since the last call and that may be new. */
void groups_catch_up(struct groups *groups, const struct overlay *overlay);
void groups_end(struct groups *groups); /* the transaction has ended */

/* The group of a prefix, made if need be; lives until the next call that adds. */
struct group *groups_of(struct groups *groups, struct tally_slice prefix);
struct group *groups_find(const struct groups *groups, struct tally_slice prefix); /* NULL: none */
void groups_add(struct groups *groups, struct tally_slice key);

/* The key behind *at, which is 0 at first, into space; false: no more. */
bool groups_next(const struct group *group, size_t *at, uint8_t *space, struct tally_slice *key);
