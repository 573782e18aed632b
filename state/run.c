/* state/run.c - the writes of one or more commits: sorted, immutable, counted.
 * Invariants
 *  (1) A run never changes after it was built, so any thread may read it without a lock.
 *  (2) Keys are distinct and sorted; the filter, if there is one, has let every one of them in.
 * A point look-up costs one random load where the key is absent, which is the common case, and a
 * binary search where the filter (a blocked Bloom filter) says that it may be there. An index of
 * all keys would find them sooner, but cost more to build than is ever looked up. */
#include "state/run_internal.h"

#include "engine/base/mem.h"

enum {
    FILTER_BITS = 512,
    FILTER_ROWS = 48, /* at most so many a cache line: in vain less than once in a hundred times */
    FILTER_PROBES = 6,
    READ_AHEAD = 16 /* entries of a cursor; their rows may lie anywhere */
};

struct builder {
    struct run *run;
    size_t entries, used, size; /* room for entries; bytes used and available */
};

static struct row row_at(const struct run *run, size_t index)
{
    const struct run_entry *entry = &run->entries[index];

    return (struct row){.key = run->bytes + entry->offset,
            .value_len = entry->value_len,
            .key_len = entry->key_len,
            .deleted = entry->deleted};
}

static void builder_init(struct builder *builder, size_t entries, size_t size)
{
    struct run *run = tally_alloc_zero(1, sizeof *run);

    *builder = (struct builder){.run = run, .entries = entries + 1, .size = size + 1};
    atomic_init(&run->references, 1);
    run->entries = tally_alloc(builder->entries * sizeof *run->entries);
    run->bytes = tally_alloc(builder->size);
}

static void builder_add(struct builder *builder, struct tally_slice key, struct tally_slice value,
        bool deleted)
{
    struct run *run = builder->run;
    size_t size = key.len + value.len;

    if (run->count == builder->entries) {
        builder->entries *= 2;
        run->entries = tally_realloc(run->entries, builder->entries * sizeof *run->entries);
    }
    if (size > builder->size - builder->used) {
        builder->size = 2 * builder->size + size;
        run->bytes = tally_realloc(run->bytes, builder->size);
    }
    tally_assert(builder->used + size <= RUN_BYTES_MAX);
    run->entries[run->count++] = (struct run_entry){.offset = (uint32_t)builder->used,
            .value_len = (uint32_t)value.len,
            .key_len = (uint16_t)key.len,
            .deleted = deleted};
    memcpy(run->bytes + builder->used, key.data, key.len);
    if (value.len > 0)
        memcpy(run->bytes + builder->used + key.len, value.data, value.len);
    builder->used += size;
}

/* Nine bits of the hash for each probe; the filter itself was chosen by the highest ones. */
static void filter_add(struct run_filter *filter, uint64_t hash)
{
    for (unsigned i = 0; i < FILTER_PROBES; i++) {
        unsigned bit = (hash >> (9 * i)) % FILTER_BITS;

        filter->words[bit / 64] |= UINT64_C(1) << bit % 64;
    }
}

static bool filter_has(const struct run_filter *filter, uint64_t hash)
{
    for (unsigned i = 0; i < FILTER_PROBES; i++) {
        unsigned bit = (hash >> (9 * i)) % FILTER_BITS;

        if (!(filter->words[bit / 64] >> bit % 64 & 1))
            return false;
    }
    return true;
}

static size_t filter_count(const struct run *run)
{
    return (size_t)1 << (64 - run->filter_shift);
}

static void build_filter(struct run *run)
{
    run->filter_shift = 63;
    while (filter_count(run) * FILTER_ROWS < run->count) {
        run->filter_shift--;
    }
    run->filters = tally_alloc_zero(filter_count(run), sizeof *run->filters);
    for (uint32_t i = 0; i < run->count; i++) {
        struct row row = row_at(run, i);
        uint64_t hash = row_hash(row_key(&row));

        filter_add(&run->filters[hash >> run->filter_shift], hash);
    }
}

/* The first entry whose key is not below `key`. */
static size_t seek(const struct run *run, struct tally_slice key)
{
    size_t low = 0, high = run->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct row row = row_at(run, middle);

        if (tally_slice_compare(row_key(&row), key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void find_stores(struct run *run)
{
    for (size_t at = 0; at < run->count;) {
        uint8_t byte = row_at(run, at).key[0], next = (uint8_t)(byte + 1);

        tally_assert(run->store_count < RUN_STORES_MAX);
        at = next ? seek(run, tally_slice_of(&next, 1)) : run->count;
        run->stores[run->store_count++] =
                (struct run_store){.byte = byte, .last = (uint32_t)at - 1};
    }
}

/* What is known at the end; sizes are those of the memory. */
static void seal(struct run *run, size_t used, size_t bytes_size, size_t entries_size,
        uint64_t sequence, atomic_llong *account)
{
    find_stores(run);
    run->sequence = sequence;
    run->used = used;
    run->size = sizeof *run + bytes_size + entries_size * sizeof *run->entries +
                (run->filters ? filter_count(run) * sizeof *run->filters : 0);
    run->account = account;
    if (account)
        atomic_fetch_add_explicit(account, (long long)run->size, memory_order_relaxed);
}

static struct run *builder_finish(struct builder *builder, uint64_t sequence, atomic_llong *account)
{
    struct run *run = builder->run;

    if (builder->used < builder->size / 2) {
        builder->size = builder->used + 1;
        builder->entries = run->count + 1;
        run->bytes = tally_realloc(run->bytes, builder->size);
        run->entries = tally_realloc(run->entries, builder->entries * sizeof *run->entries);
    }
    build_filter(run);
    seal(run, builder->used, builder->size, builder->entries, sequence, account);
    return run;
}

static void run_destroy(struct run *run)
{
    if (run->account)
        atomic_fetch_sub_explicit(run->account, (long long)run->size, memory_order_relaxed);
    tally_free(run->filters);
    tally_free(run->bytes);
    tally_free(run->entries);
    tally_free(run);
}

struct run *run_freeze(const struct row *rows, size_t count, uint64_t sequence,
        atomic_llong *account)
{
    struct builder builder;
    size_t size = 0;

    for (size_t i = 0; i < count; i++) {
        size += (size_t)rows[i].key_len + rows[i].value_len;
    }
    builder_init(&builder, count, size);
    for (size_t i = 0; i < count; i++) {
        if (i + 4 < count) /* rows lie where the overlay has put them, in no order */
            __builtin_prefetch(rows[i + 4].key);
        builder_add(&builder, row_key(&rows[i]), row_value(&rows[i]), rows[i].deleted);
    }
    return builder_finish(&builder, sequence, account);
}

struct run *run_adopt(struct run_entry *entries, size_t count, size_t entries_size, uint8_t *bytes,
        size_t used, size_t bytes_size, uint64_t sequence, atomic_llong *account)
{
    struct run *run = tally_alloc_zero(1, sizeof *run);

    tally_assert(used <= RUN_BYTES_MAX && count <= UINT32_MAX);
    atomic_init(&run->references, 1);
    run->entries = entries;
    run->count = (uint32_t)count;
    run->bytes = bytes;
    seal(run, used, bytes_size, entries_size, sequence, account);
    return run;
}

enum tally_code run_collect(struct cursor *source, size_t count, size_t size, bool keep_deleted,
        atomic_llong *account, struct run **run, struct tally_error *err)
{
    struct builder builder;
    enum tally_code code;

    builder_init(&builder, count, size);
    while ((code = cursor_next(source, err)) == TALLY_OK) {
        if (keep_deleted || !source->deleted)
            builder_add(&builder, source->key, source->value, source->deleted);
    }
    *run = builder_finish(&builder, 0, account);
    if (code == TALLY_NOT_FOUND)
        return TALLY_OK;
    run_unref(*run);
    *run = NULL;
    return code;
}

struct run *run_merge(struct run *const *runs, size_t count, bool keep_deleted,
        atomic_llong *account)
{
    struct cursor **cursors = tally_alloc_zero(count, sizeof(struct cursor *));
    struct run *merged = NULL;
    struct cursor *merge;
    size_t entries = 0, size = 0;
    enum tally_code code;

    for (size_t i = 0; i < count; i++) {
        cursors[i] = run_cursor(runs[i], TALLY_NONE, TALLY_NONE, false);
        entries += runs[i]->count;
        size += runs[i]->used;
    }
    merge = merge_create(cursors, count, false);
    code = run_collect(merge, entries, size, keep_deleted, account, &merged, NULL);
    tally_assert(code == TALLY_OK); /* runs are memory: their cursors do not fail */
    merged->sequence = runs[0]->sequence;
    cursor_destroy(merge);
    tally_free(cursors);
    return merged;
}

struct run *run_ref(struct run *run)
{
    atomic_fetch_add_explicit(&run->references, 1, memory_order_relaxed);
    return run;
}

void run_unref(struct run *run)
{
    if (run && atomic_fetch_sub_explicit(&run->references, 1, memory_order_acq_rel) == 1)
        run_destroy(run);
}

struct run_cursor {
    struct cursor cursor;
    const struct run *run;
    size_t begin, end; /* entries still to come */
    bool backwards;
};

bool run_find(const struct run *run, struct tally_slice key, uint64_t hash, struct row *row)
{
    size_t at;

    if (run->filters && !filter_has(&run->filters[hash >> run->filter_shift], hash))
        return false;
    at = seek(run, key);
    if (at == run->count)
        return false;
    *row = row_at(run, at);
    return tally_slice_equal(row_key(row), key);
}

struct tally_slice run_highest(const struct run *run, unsigned index)
{
    struct row row = row_at(run, run->stores[index].last);

    return row_key(&row);
}

static enum tally_code run_cursor_next(struct cursor *cursor, struct tally_error *err)
{
    struct run_cursor *self = (struct run_cursor *)cursor;
    struct row row;

    (void)err;
    if (self->begin >= self->end)
        return TALLY_NOT_FOUND;
    if (!self->backwards && self->begin + READ_AHEAD < self->end) {
        const struct run_entry *ahead = &self->run->entries[self->begin + READ_AHEAD];

        __builtin_prefetch(self->run->bytes + ahead->offset);
        __builtin_prefetch(self->run->bytes + ahead->offset + 64); /* a line */
    }
    row = row_at(self->run, self->backwards ? --self->end : self->begin++);
    cursor->key = row_key(&row);
    cursor->value = row_value(&row);
    cursor->deleted = row.deleted;
    return TALLY_OK;
}

static void run_cursor_destroy(struct cursor *cursor)
{
    tally_free(cursor);
}

struct cursor *run_cursor(const struct run *run, struct tally_slice lower, struct tally_slice upper,
        bool backwards)
{
    static const struct cursor_ops ops = {.next = run_cursor_next, .destroy = run_cursor_destroy};
    struct run_cursor *self = tally_alloc_zero(1, sizeof *self);

    self->cursor.ops = &ops;
    self->run = run;
    self->begin = lower.len > 0 ? seek(run, lower) : 0;
    self->end = upper.len > 0 ? seek(run, upper) : run->count;
    self->backwards = backwards;
    return &self->cursor;
}
