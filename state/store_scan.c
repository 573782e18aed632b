/* state/store_scan.c - the owner's scans of the rows under a prefix, with what it has written.
 * A first scan of a prefix reads all tiers, and remembers the keys (groups_internal.h). Those that
 * follow are gets of these keys, which find hot rows in memory; a scan of a base with many files
 * costs hundreds of them. */
#include "state/key_schema.h"
#include "state/store_internal.h"

enum { GROUPS_SHARE = 32 }; /* of state.memory, of one store: then all is forgotten */

/* Whether keys of the store begin with a string, behind which more follows. */
static bool has_groups(const struct tally_store *store, struct tally_slice prefix)
{
    enum tally_store_id id;
    const char *parts;

    if (prefix.len < 2 || memchr(prefix.data, 0, prefix.len) != prefix.data + prefix.len - 1 ||
            store->is_once[prefix.data[0]] ||
            !tally_store_of_key(store->identity.fields.topology, prefix, &id)) {
        return false;
    }
    parts = tally_store_parts(id);
    return parts[0] == 'S' && parts[1] != '\0';
}

/* Caches a committed row: it is asked for next. */
static void load(struct tally_store *store, struct tally_slice key, struct tally_slice value)
{
    uint64_t hash = row_hash(key);

    if (!overlay_find(&store->overlay, key, hash))
        (void)overlay_load(&store->overlay, key, hash, value, false);
}

/* Adds what is committed. Not what is written since: catching up has done that. */
static enum tally_code complete(struct tally_store *store, struct tally_slice prefix,
        struct tally_error *err)
{
    struct tally_view *view = tally_store_view(store);
    uint8_t space[TALLY_KEY_MAX];
    struct tally_slice key, value;
    struct tally_iterator *iterator =
            tally_view_iterate(view, prefix, tally_prefix_end(prefix, space), false);
    enum tally_code code = TALLY_OK;

    while (tally_iterator_next(iterator, &key, &value, &code, err)) {
        groups_add(&store->groups, key);
        load(store, key, value);
    }
    tally_iterator_destroy(iterator);
    tally_view_unref(view);
    if (code == TALLY_OK)
        groups_of(&store->groups, prefix)->complete = true;
    return code;
}

static enum tally_code scan_group(struct tally_store *store, struct tally_slice prefix,
        tally_store_row_fn row, void *context, struct tally_error *err)
{
    struct group *group;
    uint8_t space[TALLY_KEY_MAX];
    struct tally_slice key, value;
    size_t at = 0;
    enum tally_code code = TALLY_OK;

    groups_catch_up(&store->groups, &store->overlay);
    group = groups_of(&store->groups, prefix);
    if (!group->complete) {
        code = complete(store, prefix, err);
        group = groups_of(&store->groups, prefix);
    }
    while (!code && groups_next(group, &at, space, &key)) {
        code = tally_store_get(store, key, &value, err);
        if (code == TALLY_OK && !row(context, key, value))
            return TALLY_OK;
        code = code == TALLY_NOT_FOUND ? TALLY_OK : code;
    }
    return code;
}

enum tally_code tally_store_scan(struct tally_store *store, struct tally_slice prefix,
        tally_store_row_fn row, void *context, struct tally_error *err)
{
    uint8_t space[TALLY_KEY_MAX];
    struct tally_slice key, value;
    struct tally_iterator *iterator;
    enum tally_code code = TALLY_OK;

    tally_assert(store->log.count == 0);
    if (has_groups(store, prefix) && groups_watch(&store->groups, prefix.data[0]))
        return scan_group(store, prefix, row, context, err);
    iterator = tally_store_iterate(store, prefix, tally_prefix_end(prefix, space), false);
    while (tally_iterator_next(iterator, &key, &value, &code, err) && row(context, key, value)) {
    }
    tally_iterator_destroy(iterator);
    return code;
}

void tally_store_scan_keys(const struct tally_store *store, struct tally_slice prefix,
        void (*one)(void *context, struct tally_slice key), void *context)
{
    const struct group *group = groups_find(&store->groups, prefix);
    uint8_t space[TALLY_KEY_MAX];
    struct tally_slice key;
    size_t at = 0;

    while (group && groups_next(group, &at, space, &key)) {
        one(context, key);
    }
}

void store_groups_commit(struct tally_store *store)
{
    if (store->log.count > 0) {
        groups_clear(&store->groups);
    } else if (store->groups.store_count > 0) {
        groups_catch_up(&store->groups, &store->overlay);
        groups_end(&store->groups);
        if (store->groups.size > (size_t)store->state->options.memory_bytes / GROUPS_SHARE)
            groups_clear(&store->groups);
    }
}
