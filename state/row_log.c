/* state/row_log.c - see row_log_internal.h.
 * Rows are sorted by what a run needs of them, 16 bytes a row: eight bytes of the key and a number.
 * Invariants
 *  (1) Every step of the sort is stable or compares numbers, so of equal keys the last one written
 *      comes last, and that one stays.
 *  (2) A row's bytes never move: the run's entries point to where they were written. */
#include "state/row_log_internal.h"

#include <stdlib.h>

#include "engine/base/mem.h"
#include "state/key_schema.h"

enum {
    BYTES_MIN = 256 * 1024,
    ENTRIES_MIN = 4096,
    INSERTION_MAX = 24, /* items; more are sorted by bytes */
    CHUNK = 8,
    READ_AHEAD = 12 /* items: after the first sort their keys lie anywhere */
};

#define DROPPED UINT32_MAX /* instead of a number: a later row has the key */

struct item {
    uint64_t chunk; /* key bytes depth .. depth + 7, zero behind the end */
    uint32_t number;
};

struct sorting {
    const uint8_t *bytes;
    const struct run_entry *entries;
};

/* --- writing ------------------------------------------------------------------------------------
 */

static void account_add(const struct row_log *log, long long by)
{
    if (log->account)
        atomic_fetch_add_explicit(log->account, by, memory_order_relaxed);
}

static long long memory_of(const struct row_log *log)
{
    return (long long)(log->size + log->capacity * sizeof *log->entries);
}

void row_log_init(struct row_log *log, atomic_llong *account)
{
    *log = (struct row_log){.account = account};
}

static void forget(struct row_log *log)
{
    account_add(log, -memory_of(log));
    log->bytes = NULL;
    log->entries = NULL;
    log->used = log->size = log->count = log->capacity = 0;
}

void row_log_clear(struct row_log *log)
{
    tally_free(log->bytes);
    tally_free(log->entries);
    forget(log);
}

void row_log_deinit(struct row_log *log)
{
    row_log_clear(log);
}

/* At first a little more than the last run took; then by half, because what is allocated counts. */
static size_t next_size(size_t size, size_t before, size_t least)
{
    if (size > 0)
        return size + size / 2;
    return before + before / 8 > least ? before + before / 8 : least;
}

static void grow(struct row_log *log, size_t bytes)
{
    long long memory = memory_of(log);

    while (bytes > log->size - log->used) {
        log->size = next_size(log->size, log->used_before, BYTES_MIN);
    }
    if (log->count == log->capacity)
        log->capacity = next_size(log->capacity, log->count_before, ENTRIES_MIN);
    log->bytes = tally_realloc(log->bytes, log->size);
    log->entries = tally_realloc(log->entries, log->capacity * sizeof *log->entries);
    account_add(log, memory_of(log) - memory);
}

void row_log_add(struct row_log *log, struct tally_slice key, struct tally_slice value,
        bool deleted)
{
    size_t value_len = deleted ? 0 : value.len, bytes = key.len + value_len;
    uint8_t *at;

    tally_assert(key.len > 0 && key.len <= TALLY_KEY_MAX && value_len < UINT32_MAX);
    if (bytes > log->size - log->used || log->count == log->capacity)
        grow(log, bytes);
    tally_assert(log->used + bytes <= RUN_BYTES_MAX && log->count < DROPPED);
    log->entries[log->count++] = (struct run_entry){.offset = (uint32_t)log->used,
            .value_len = (uint32_t)value_len,
            .key_len = (uint16_t)key.len,
            .deleted = deleted};
    at = log->bytes + log->used;
    memcpy(at, key.data, key.len);
    if (value_len > 0)
        memcpy(at + key.len, value.data, value_len);
    log->used += bytes;
}

size_t row_log_bytes(const struct row_log *log)
{
    return log->used + log->count * sizeof *log->entries;
}

/* --- sorting ------------------------------------------------------------------------------------
 */

static struct tally_slice key_of(const struct sorting *sorting, uint32_t number)
{
    const struct run_entry *entry = &sorting->entries[number];

    return tally_slice_of(sorting->bytes + entry->offset, entry->key_len);
}

static uint64_t chunk_at(struct tally_slice key, size_t depth)
{
    if (depth >= key.len)
        return 0;
    return row_prefix(tally_slice_of(key.data + depth, key.len - depth));
}

/* Keys that agree on the bytes before depth. */
static int compare(const struct sorting *sorting, const struct item *a, const struct item *b,
        size_t depth)
{
    struct tally_slice left, right;

    if (a->chunk != b->chunk)
        return a->chunk < b->chunk ? -1 : 1;
    left = key_of(sorting, a->number);
    right = key_of(sorting, b->number);
    if (left.len <= depth || right.len <= depth)
        return (left.len > right.len) - (left.len < right.len);
    return tally_slice_compare(tally_slice_of(left.data + depth, left.len - depth),
            tally_slice_of(right.data + depth, right.len - depth));
}

/* Keeps of equal keys the last one written; equal ones stand together. */
static void drop_earlier(const struct sorting *sorting, struct item *items, size_t count,
        size_t depth)
{
    for (size_t i = 0; i + 1 < count; i++) {
        if (compare(sorting, &items[i], &items[i + 1], depth) == 0)
            items[i].number = DROPPED;
    }
}

static void sort_insertion(const struct sorting *sorting, struct item *items, size_t count,
        size_t depth)
{
    for (size_t i = 1; i < count; i++) {
        struct item item = items[i];
        size_t at = i;

        for (; at > 0 && compare(sorting, &item, &items[at - 1], depth) < 0; at--) {
            items[at] = items[at - 1];
        }
        items[at] = item;
    }
    drop_earlier(sorting, items, count, depth);
}

/* Sorts by one byte of the chunks. */
static void sort_by_byte(const struct item *from, struct item *to, size_t count, unsigned shift)
{
    uint32_t starts[256] = {0}, sum = 0;

    for (size_t i = 0; i < count; i++) {
        starts[from[i].chunk >> shift & 255]++;
    }
    for (unsigned value = 0; value < 256; value++) {
        uint32_t here = starts[value];

        starts[value] = sum;
        sum += here;
    }
    for (size_t i = 0; i < count; i++) {
        to[starts[from[i].chunk >> shift & 255]++] = from[i];
    }
}

/* By the chunks, least significant byte first; bytes that all items share are skipped. The result
 * is in `items`; `space` has room for as many. */
static void sort_chunks(struct item *items, struct item *space, size_t count)
{
    struct item *from = items, *to = space, *swap;
    uint64_t varying = 0;

    for (size_t i = 1; i < count; i++) {
        varying |= items[i].chunk ^ items[0].chunk;
    }
    for (unsigned shift = 0; shift < 64; shift += 8) {
        if (varying >> shift & 255) {
            sort_by_byte(from, to, count, shift);
            swap = from;
            from = to;
            to = swap;
        }
    }
    if (from != items)
        memcpy(items, from, count * sizeof *items);
}

/* Items agree on the bytes before depth. */
static void sort_from(const struct sorting *sorting, struct item *items, struct item *space,
        size_t count, size_t depth)
{
    size_t start = 0;

    for (size_t i = 0; i < count; i++) {
        if (i + READ_AHEAD < count)
            __builtin_prefetch(key_of(sorting, items[i + READ_AHEAD].number).data + depth);
        items[i].chunk = chunk_at(key_of(sorting, items[i].number), depth);
    }
    if (count <= INSERTION_MAX || depth >= TALLY_KEY_MAX) {
        sort_insertion(sorting, items, count, depth);
        return;
    }
    sort_chunks(items, space, count);
    for (size_t i = 1; i <= count; i++) {
        if (i < count && items[i].chunk == items[start].chunk)
            continue;
        if (i - start > 1)
            sort_from(sorting, items + start, space, i - start, depth + CHUNK);
        start = i;
    }
}

/* The entries of the rows that stay, in the order of their keys; into *count how many there are. */
static struct run_entry *sorted(const struct row_log *log, size_t *count)
{
    struct sorting sorting = {.bytes = log->bytes, .entries = log->entries};
    struct item *items = tally_alloc(2 * log->count * sizeof *items);
    struct run_entry *entries = tally_alloc(log->count * sizeof *entries);

    for (size_t i = 0; i < log->count; i++) {
        items[i].number = (uint32_t)i;
    }
    sort_from(&sorting, items, items + log->count, log->count, 0);
    *count = 0;
    for (size_t i = 0; i < log->count; i++) {
        if (items[i].number != DROPPED)
            entries[(*count)++] = log->entries[items[i].number];
    }
    tally_free(items);
    return entries;
}

struct run *row_log_freeze(struct row_log *log, uint64_t sequence, atomic_llong *account)
{
    size_t count = 0;
    struct run_entry *entries = sorted(log, &count);
    struct run *run;

    log->used_before = log->used;
    log->count_before = log->count;
    run = run_adopt(entries, count, log->count, log->bytes, log->used, log->size, sequence,
            account);
    tally_free(log->entries);
    forget(log);
    return run;
}
