/* state/row_internal.h - one write: a key with its value, or its absence; hashing and sorting.
 * Rows are the common coin of overlay, runs and iterators. */
#pragma once
#include "engine/base/bytes.h"

/* The value's bytes follow the key's bytes in memory. Borrows from an overlay or a run. */
struct row {
    const uint8_t *key;
    uint32_t value_len;
    uint16_t key_len;
    bool deleted;
};

static inline struct tally_slice row_key(const struct row *row)
{
    return (struct tally_slice){row->key, row->key_len};
}

static inline struct tally_slice row_value(const struct row *row)
{
    return (struct tally_slice){row->key + row->key_len, row->value_len};
}

/* Hash of a key for the tables of this folder; its length and a seed of the process go in, so that
 * no producer can choose keys that collide. row_hash_seed_init runs before the first hash. */
void row_hash_seed_init(void);
uint64_t row_hash(struct tally_slice key);

/* The first eight bytes as a number that sorts as the bytes do. Keys that share it need a full
 * comparison. */
static inline uint64_t row_prefix(struct tally_slice key)
{
    uint64_t prefix = 0;

    if (key.len >= sizeof prefix)
        return tally_read_u64(key.data);
    for (size_t i = 0; i < key.len; i++) {
        prefix |= (uint64_t)key.data[i] << (56 - 8 * i);
    }
    return prefix;
}

/* Sorts by key; keys are at most TALLY_KEY_MAX bytes long. Rows of equal keys stay in their order.
 */
void row_sort(struct row *rows, size_t count);
/* Of sorted rows with equal keys only the last stays. Returns how many are left. */
size_t row_unique(struct row *rows, size_t count);

/* Rows of the dedup store count as absent once they are older than the retention: their value
 * begins with the decision time. INT64_MIN: none is. */
bool row_expired(struct tally_slice key, struct tally_slice value, int64_t cutoff_ms);
int64_t row_cutoff(int64_t decision_time_ms, int64_t retention_ms);
