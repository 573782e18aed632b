/* state/row.c - hashing and sorting of keys.
 * Sorting is a radix sort on eight bytes at a time: commits sort tens of thousands of keys whose
 * first bytes (store, common part of ids) are mostly equal, so bytes that do not vary are
 * passed over, and comparisons of whole keys are left to small groups. */
#include "state/row_internal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

#include "engine/base/mem.h"
#include "state/key_schema.h"

enum {
    SORT_INSERTION_MAX = 24, /* below, shifting is cheapest */
    SORT_COMPARE_MAX = 256,  /* below, clearing the histograms costs more than comparing */
    SORT_AHEAD = 8,          /* keys that are loaded at once: they lie in no order */
    CHUNK = 8
};

/* Sorting moves these; rows move once, at the end. */
struct item {
    uint64_t chunk; /* key bytes depth .. depth + 7, zero behind the end */
    uint64_t index; /* of the row: among equal keys the order of the input */
};

struct sorter {
    const struct row *rows;
    struct item *space;
    uint64_t varying; /* bits of the chunks that differ */
    bool in_order;    /* the chunks do not fall */
    bool ended;       /* all keys end before the chunks, with the same length: they are equal */
};

#define SEED_DEFAULT 0x9e3779b97f4a7c15u /* until there is a random one */

static _Atomic uint64_t hash_seed = SEED_DEFAULT;

void row_hash_seed_init(void)
{
    uint64_t before = SEED_DEFAULT, seed;

    /* The first one stays: hashes are compared over the life of the process. */
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) == (ssize_t)sizeof seed)
        atomic_compare_exchange_strong(&hash_seed, &before, seed);
}

/* 64 x 64 -> 128 bit product, folded: every input bit reaches every output bit. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load8(const uint8_t *from)
{
    uint64_t value;

    memcpy(&value, from, sizeof value);
    return value;
}

static uint64_t load4(const uint8_t *from)
{
    uint32_t value;

    memcpy(&value, from, sizeof value);
    return value;
}

uint64_t row_hash(struct tally_slice key)
{
    const uint64_t k1 = 0xa0761d6478bd642fu, k2 = 0xe7037ed1a0b428dbu;
    const uint8_t *at = key.data;
    size_t left = key.len;
    uint64_t state = atomic_load_explicit(&hash_seed, memory_order_relaxed), a = 0, b = 0;

    while (left > 16) {
        state = mix(load8(at) ^ k1, load8(at + 8) ^ state);
        at += 16;
        left -= 16;
    }
    if (left >= 8) {
        a = load8(at);
        b = load8(at + left - 8);
    } else if (left >= 4) {
        a = load4(at);
        b = load4(at + left - 4);
    } else if (left > 0) {
        a = ((uint64_t)at[0] << 16) | ((uint64_t)at[left >> 1] << 8) | at[left - 1];
    }
    return mix(k1 ^ key.len, mix(a ^ k2, b ^ state));
}

static uint64_t chunk_at(const struct row *row, size_t depth)
{
    if (depth >= row->key_len)
        return 0;
    return row_prefix((struct tally_slice){row->key + depth, row->key_len - depth});
}

static int item_compare(const void *left, const void *right, void *context)
{
    const struct sorter *sorter = context;
    const struct item *a = left, *b = right;
    int order = (a->chunk > b->chunk) - (a->chunk < b->chunk);

    if (order == 0)
        order = tally_slice_compare(row_key(&sorter->rows[a->index]),
                row_key(&sorter->rows[b->index]));
    return order ? order : (a->index > b->index) - (a->index < b->index);
}

static void sort_insertion(struct sorter *sorter, struct item *items, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct item item = items[i];
        size_t at = i;

        for (; at > 0 && item_compare(&item, &items[at - 1], sorter) < 0; at--) {
            items[at] = items[at - 1];
        }
        items[at] = item;
    }
}

/* Stable, by one byte of the chunk. */
static void sort_byte(const struct item *from, struct item *to, size_t count, unsigned shift)
{
    uint32_t starts[256] = {0}, sum = 0;

    for (size_t i = 0; i < count; i++) {
        starts[(from[i].chunk >> shift) & 255]++;
    }
    for (unsigned value = 0; value < 256; value++) {
        uint32_t here = starts[value];

        starts[value] = sum;
        sum += here;
    }
    for (size_t i = 0; i < count; i++) {
        to[starts[(from[i].chunk >> shift) & 255]++] = from[i];
    }
}

/* Least significant byte first over the chunk; bytes that all items share are skipped. The result
 * is in `items`. */
static void sort_chunks(struct sorter *sorter, struct item *items, size_t count)
{
    struct item *from = items, *to = sorter->space;

    for (unsigned shift = 0; shift < 8 * CHUNK; shift += 8) {
        struct item *swap = from;

        if (((sorter->varying >> shift) & 255) == 0)
            continue;
        sort_byte(from, to, count, shift);
        from = to;
        to = swap;
    }
    if (from != items)
        memcpy(items, from, count * sizeof *items);
}

static void load_chunks(struct sorter *sorter, struct item *items, size_t count, size_t depth)
{
    uint16_t len = sorter->rows[items[0].index].key_len;

    sorter->varying = 0;
    sorter->in_order = true;
    sorter->ended = len <= depth;
    for (size_t i = 0; i < count; i++) {
        const struct row *row = &sorter->rows[items[i].index];

        if (i + SORT_AHEAD < count)
            __builtin_prefetch(sorter->rows[items[i + SORT_AHEAD].index].key + depth);
        items[i].chunk = chunk_at(row, depth);
        sorter->varying |= items[i].chunk ^ items[0].chunk;
        sorter->in_order &= i == 0 || items[i].chunk >= items[i - 1].chunk;
        sorter->ended &= row->key_len == len;
    }
}

/* Items agree on the bytes before depth. */
static void sort_from(struct sorter *sorter, struct item *items, size_t count, size_t depth)
{
    size_t start = 0;

    load_chunks(sorter, items, count, depth);
    while (sorter->varying == 0 && !sorter->ended && depth < TALLY_KEY_MAX) {
        depth += CHUNK;
        load_chunks(sorter, items, count, depth);
    }
    if (sorter->ended)
        return;
    if (count <= SORT_INSERTION_MAX) {
        sort_insertion(sorter, items, count);
        return;
    }
    if (count <= SORT_COMPARE_MAX || depth >= TALLY_KEY_MAX) {
        qsort_r(items, count, sizeof *items, item_compare, sorter);
        return;
    }
    if (!sorter->in_order) /* ids of commands often are: RFC 9562, UUIDv7 */
        sort_chunks(sorter, items, count);
    for (size_t i = 1; i <= count; i++) {
        if (i < count && items[i].chunk == items[start].chunk)
            continue;
        if (i - start > 1)
            sort_from(sorter, items + start, i - start, depth + CHUNK);
        start = i;
    }
}

void row_sort(struct row *rows, size_t count)
{
    struct item *items;
    struct row *unsorted;
    struct sorter sorter;

    if (count < 2)
        return;
    items = tally_alloc(2 * count * sizeof *items);
    unsorted = tally_alloc(count * sizeof *unsorted);
    memcpy(unsorted, rows, count * sizeof *rows);
    sorter = (struct sorter){.rows = unsorted, .space = items + count};
    for (size_t i = 0; i < count; i++) {
        items[i].index = i;
    }
    sort_from(&sorter, items, count, 0);
    for (size_t i = 0; i < count; i++) {
        rows[i] = unsorted[items[i].index];
    }
    tally_free(unsorted);
    tally_free(items);
}

size_t row_unique(struct row *rows, size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        if (i + 1 == count || !tally_slice_equal(row_key(&rows[i]), row_key(&rows[i + 1])))
            rows[kept++] = rows[i];
    }
    return kept;
}

bool row_expired(struct tally_slice key, struct tally_slice value, int64_t cutoff_ms)
{
    if (key.len == 0 || key.data[0] != tally_store_byte(TALLY_STORE_DEDUP))
        return false;
    return value.len >= 8 && (int64_t)tally_read_u64(value.data) < cutoff_ms;
}

int64_t row_cutoff(int64_t decision_time_ms, int64_t retention_ms)
{
    int64_t cutoff = INT64_MIN;

    if (decision_time_ms > 0 && !__builtin_sub_overflow(decision_time_ms, retention_ms, &cutoff))
        return cutoff;
    return INT64_MIN;
}
