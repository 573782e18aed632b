/* state/run.c - the writes of one or more commits: sorted, immutable, counted.
 * Invariants
 *  (1) A run never changes after it was built, so any thread may read it without a lock.
 *  (2) Keys are distinct and sorted; the hash index holds every one of them.
 * A point look-up costs one random load where the key is absent, which is the common case: a new
 * command's id is looked up in every run. */
#include "state/run_internal.h"

#include "engine/base/mem.h"

struct run_entry {
    uint32_t offset; /* of the key in bytes; the value follows it */
    uint32_t value_len;
    uint16_t key_len;
    bool deleted;
};

enum { RUN_BYTES_MAX = UINT32_MAX };

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

static void build_index(struct run *run)
{
    size_t slots = 4;

    while (2 * slots < 3 * (size_t)run->count) {
        slots *= 2;
    }
    run->index = tally_alloc_zero(slots, sizeof *run->index);
    run->index_mask = slots - 1;
    for (uint32_t i = 0; i < run->count; i++) {
        struct row row = row_at(run, i);
        uint64_t hash = row_hash(row_key(&row)), at = hash & run->index_mask;

        while (run->index[at] != 0) {
            at = (at + 1) & run->index_mask;
        }
        run->index[at] = (hash & ~(uint64_t)UINT32_MAX) | (i + 1);
    }
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
    build_index(run);
    run->sequence = sequence;
    run->used = builder->used;
    run->size = sizeof *run + builder->size + builder->entries * sizeof *run->entries +
                (run->index_mask + 1) * sizeof *run->index;
    run->account = account;
    if (account)
        atomic_fetch_add_explicit(account, (long long)run->size, memory_order_relaxed);
    return run;
}

static void run_destroy(struct run *run)
{
    if (run->account)
        atomic_fetch_sub_explicit(run->account, (long long)run->size, memory_order_relaxed);
    tally_free(run->index);
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

bool run_find(const struct run *run, struct tally_slice key, uint64_t hash, struct row *row)
{
    uint64_t at = hash & run->index_mask;

    for (; run->index[at] != 0; at = (at + 1) & run->index_mask) {
        if ((run->index[at] ^ hash) >> 32 != 0)
            continue;
        *row = row_at(run, (uint32_t)run->index[at] - 1);
        if (tally_slice_equal(row_key(row), key))
            return true;
    }
    return false;
}

struct run_cursor {
    struct cursor cursor;
    const struct run *run;
    size_t begin, end; /* entries still to come */
    bool backwards;
};

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

static enum tally_code run_cursor_next(struct cursor *cursor, struct tally_error *err)
{
    struct run_cursor *self = (struct run_cursor *)cursor;
    struct row row;

    (void)err;
    if (self->begin >= self->end)
        return TALLY_NOT_FOUND;
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
