/* state/store_prefetch.c - many keys of the owner at once, each tier in one pass: overlay, highest
 * keys, runs, base.
 * Invariants
 *  (1) A key that was found or loaded in one tier is not looked for in the next.
 *  (2) Only absent keys of ONCE stores, and of stores without any row, are answered without an
 *      entry in an overlay. */
#include "state/store_internal.h"

#include "engine/base/mem.h"

struct store_wanted {
    struct tally_slice key;
    uint64_t hash;
    size_t index; /* of the key in the call */
};

enum {
    FIND_AHEAD = 16,  /* look-ups that are under way at once */
    ENTRY_BEHIND = 6, /* keys, from the slot of one to the entry of another: that slot is there */
    TOPS_MAX = RUN_STORES_MAX
};

/* The highest keys of all runs of a view and of its base, by store. */
struct tops {
    const struct base_snapshot *base;
    struct tally_slice keys[TOPS_MAX];
    unsigned count;
};

struct prefetch {
    struct tally_store *store;
    struct tally_view *view;
    bool *absent; /* may be NULL */
    struct tops tops;
};

static void tops_raise(struct tops *tops, struct tally_slice key)
{
    for (unsigned i = 0; i < tops->count; i++) {
        if (tops->keys[i].data[0] != key.data[0])
            continue;
        if (tally_slice_compare(key, tops->keys[i]) > 0)
            tops->keys[i] = key;
        return;
    }
    tally_assert(tops->count < TOPS_MAX);
    tops->keys[tops->count++] = key;
}

static void tops_init(struct tops *tops, const struct tally_view *view)
{
    tops->base = view->snapshot;
    tops->count = 0;
    for (uint32_t i = 0; i < view->run_count; i++) {
        for (unsigned store = 0; store < view->runs[i]->store_count; store++) {
            tops_raise(tops, run_highest(view->runs[i], store));
        }
    }
}

/* Above all that is committed: nothing has to be looked at. */
static bool is_above(const struct tops *tops, struct tally_slice key)
{
    for (unsigned i = 0; i < tops->count; i++) {
        if (tops->keys[i].data[0] == key.data[0] && tally_slice_compare(key, tops->keys[i]) <= 0)
            return false;
    }
    return tops->base && base_above(tops->base, key);
}

static void take_row(struct prefetch *prefetch, const struct store_wanted *wanted,
        struct tally_slice value, bool deleted)
{
    struct overlay *overlay = store_overlay(prefetch->store, wanted->key);

    if (!overlay_find(overlay, wanted->key, wanted->hash))
        overlay_load(overlay, wanted->key, wanted->hash, value, deleted);
}

static void take_absent(struct prefetch *prefetch, const struct store_wanted *wanted)
{
    struct tally_store *store = prefetch->store;

    if (prefetch->absent && store->is_once[wanted->key.data[0]]) {
        prefetch->absent[wanted->index] = true;
    } else {
        take_row(prefetch, wanted, TALLY_NONE, true);
    }
}

/* Keeps of `wanted` what is not in the overlay, and may be elsewhere. */
static size_t keep_missing(struct tally_store *store, const struct tally_slice *keys, size_t count,
        bool *absent)
{
    struct store_wanted *wanted = store->wanted;
    size_t missing = 0, asked = 0;

    if (count == 0) {
        return 0; /* there may be no room for hashes yet */
    }
    memset(store->hashes, 0, count * sizeof *store->hashes);
    for (size_t i = 0; i < count; i++) {
        if (keys[i].len == 0 || keys[i].data[0] == 0)
            continue; /* meta keys are in no store */
        if (store_is_empty(store, keys[i].data[0])) {
            if (absent)
                absent[i] = store->is_once[keys[i].data[0]];
            continue;
        }
        store->hashes[i] = row_hash(keys[i]);
        wanted[asked] = (struct store_wanted){.key = keys[i], .hash = store->hashes[i], .index = i};
        overlay_find_soon(store_overlay(store, keys[i]), wanted[asked++].hash);
    }
    for (size_t i = 0; i < asked; i++) {
        struct overlay_entry *entry;

        if (i + FIND_AHEAD < asked)
            overlay_entry_soon(store_overlay(store, wanted[i + FIND_AHEAD].key),
                    wanted[i + FIND_AHEAD].hash);
        entry = overlay_find(store_overlay(store, wanted[i].key), wanted[i].key, wanted[i].hash);
        if (entry) {
            entry->read = true;
            entry->referenced = true;
        } else {
            wanted[missing++] = wanted[i];
        }
    }
    return missing;
}

/* Takes what cannot be anywhere; keeps the rest. */
static size_t take_above(struct prefetch *prefetch, size_t count)
{
    struct store_wanted *wanted = prefetch->store->wanted;
    size_t missing = 0;

    for (size_t i = 0; i < count; i++) {
        if (is_above(&prefetch->tops, wanted[i].key)) {
            take_absent(prefetch, &wanted[i]);
        } else {
            wanted[missing++] = wanted[i];
        }
    }
    return missing;
}

/* Takes what one run has; keeps the rest. */
static size_t load_from_run(struct prefetch *prefetch, const struct run *run, size_t count)
{
    struct store_wanted *wanted = prefetch->store->wanted;
    size_t missing = 0;

    for (size_t i = 0; i < count; i++) {
        struct row row;

        if (i + FIND_AHEAD < count)
            run_find_soon(run, wanted[i + FIND_AHEAD].hash);
        if (run_find(run, wanted[i].key, wanted[i].hash, &row)) {
            take_row(prefetch, &wanted[i], row_value(&row), row.deleted);
        } else {
            wanted[missing++] = wanted[i];
        }
    }
    return missing;
}

struct loading {
    struct prefetch *prefetch;
    const struct tally_slice *keys;
    const size_t *indexes; /* in the call */
};

static void load_found(void *context, size_t index, struct tally_slice value)
{
    struct loading *loading = context;
    struct store_wanted wanted = {.key = loading->keys[index],
            .hash = row_hash(loading->keys[index]),
            .index = loading->indexes[index]};

    if (value.data) {
        take_row(loading->prefetch, &wanted, value, false);
    } else {
        take_absent(loading->prefetch, &wanted);
    }
}

/* Sorted, without repeats, and without those that the base cannot have. Returns how many. */
static size_t sort_wanted(struct prefetch *prefetch, const struct base_snapshot *snapshot,
        size_t count, struct tally_slice *keys, size_t *indexes)
{
    struct store_wanted *wanted = prefetch->store->wanted;
    struct row *rows = tally_alloc(count * sizeof *rows);
    size_t asked = 0, distinct = 0;

    for (size_t i = 0; i < count; i++) {
        if (base_above(snapshot, wanted[i].key)) {
            take_absent(prefetch, &wanted[i]);
            continue;
        }
        rows[asked++] = (struct row){.key = wanted[i].key.data,
                .key_len = (uint16_t)wanted[i].key.len,
                .value_len = (uint32_t)wanted[i].index}; /* a place for it that sorting keeps */
    }
    row_sort(rows, asked);
    for (size_t i = 0; i < asked; i++) {
        if (distinct > 0 && tally_slice_equal(row_key(&rows[i]), keys[distinct - 1]))
            continue;
        keys[distinct] = row_key(&rows[i]);
        indexes[distinct++] = rows[i].value_len;
    }
    tally_free(rows);
    return distinct;
}

static enum tally_code load_from_base(struct prefetch *prefetch, size_t count,
        struct tally_error *err)
{
    struct base_snapshot *snapshot = NULL;
    enum tally_code code = view_base(prefetch->view, &snapshot, err);
    struct tally_slice *keys;
    size_t *indexes, distinct;
    struct loading loading;

    if (code)
        return code;
    keys = tally_alloc(count * sizeof *keys);
    indexes = tally_alloc(count * sizeof *indexes);
    distinct = sort_wanted(prefetch, snapshot, count, keys, indexes);
    loading = (struct loading){.prefetch = prefetch, .keys = keys, .indexes = indexes};
    if (distinct > 0)
        code = snapshot->base->ops->multi_get(snapshot, keys, distinct, load_found, &loading, err);
    tally_free(keys);
    tally_free(indexes);
    return code;
}

enum tally_code tally_store_prefetch(struct tally_store *store, const struct tally_slice *keys,
        size_t count, bool *absent, struct tally_error *err)
{
    struct prefetch prefetch = {.store = store, .absent = absent};
    size_t missing;
    enum tally_code code = TALLY_OK;

    tally_assert(store->log.count == 0);
    if (count > store->wanted_capacity) {
        tally_free(store->wanted);
        tally_free(store->hashes);
        store->wanted = tally_alloc(count * sizeof *store->wanted);
        store->hashes = tally_alloc(count * sizeof *store->hashes);
        store->wanted_capacity = count;
    }
    overlay_evict(&store->overlay, state_clean_bytes(store->state));
    missing = keep_missing(store, keys, count, absent);
    if (missing == 0)
        return TALLY_OK;
    prefetch.view = tally_store_view(store);
    tops_init(&prefetch.tops, prefetch.view);
    missing = take_above(&prefetch, missing);
    for (uint32_t i = 0; i < prefetch.view->run_count && missing > 0; i++) {
        missing = load_from_run(&prefetch, prefetch.view->runs[i], missing);
    }
    if (missing > 0)
        code = load_from_base(&prefetch, missing, err);
    tally_view_unref(prefetch.view);
    return code;
}

void tally_store_soon(struct tally_store *store, const struct tally_slice *keys, size_t index)
{
    overlay_find_soon(store_overlay(store, keys[index]), store->hashes[index]);
    if (index >= ENTRY_BEHIND)
        overlay_entry_soon(store_overlay(store, keys[index - ENTRY_BEHIND]),
                store->hashes[index - ENTRY_BEHIND]);
}
