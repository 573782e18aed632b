/* state/groups.c - see groups_internal.h. */
#include "state/groups_internal.h"

#include "engine/base/mem.h"
#include "state/key_schema.h"

enum { SLOTS_MIN = 256, ROOM_FIRST = 64, LENGTH_BYTES = 2 };

static void account_add(struct groups *groups, long long by)
{
    groups->size = (size_t)((long long)groups->size + by);
    if (groups->account)
        atomic_fetch_add_explicit(groups->account, by, memory_order_relaxed);
}

static size_t group_size(const struct group *group)
{
    return sizeof *group + group->prefix_len + group->room;
}

void groups_init(struct groups *groups, atomic_llong *account)
{
    *groups = (struct groups){.account = account};
}

void groups_clear(struct groups *groups)
{
    for (size_t i = 0; groups->slots && i <= groups->mask; i++) {
        tally_free(groups->slots[i]);
    }
    tally_free(groups->slots);
    account_add(groups, -(long long)groups->size);
    groups_init(groups, groups->account);
}

void groups_deinit(struct groups *groups)
{
    groups_clear(groups);
}

bool groups_watch(struct groups *groups, uint8_t store)
{
    for (size_t i = 0; i < groups->store_count; i++) {
        if (groups->stores[i].byte == store)
            return true;
    }
    if (groups->store_count == GROUP_STORES_MAX)
        return false;
    groups->stores[groups->store_count].byte = store;
    groups->stores[groups->store_count++].seen = 0;
    return true;
}

/* --- table ------------------------------------------------------------------------------------ */

static struct tally_slice prefix_of(const struct group *group)
{
    return tally_slice_of(group->bytes, group->prefix_len);
}

static struct group **slot_of(const struct groups *groups, struct tally_slice prefix, uint64_t hash)
{
    size_t at = hash & groups->mask;

    while (groups->slots[at] && (groups->slots[at]->hash != hash ||
                                        !tally_slice_equal(prefix_of(groups->slots[at]), prefix))) {
        at = (at + 1) & groups->mask;
    }
    return &groups->slots[at];
}

static void grow_table(struct groups *groups)
{
    size_t old_count = groups->slots ? groups->mask + 1 : 0;
    size_t count = old_count ? 2 * old_count : SLOTS_MIN;
    struct group **old = groups->slots;

    groups->slots = tally_alloc_zero(count, sizeof(struct group *));
    groups->mask = count - 1;
    for (size_t i = 0; i < old_count; i++) {
        if (old[i])
            *slot_of(groups, prefix_of(old[i]), old[i]->hash) = old[i];
    }
    tally_free(old);
    account_add(groups, (long long)((count - old_count) * sizeof(struct group *)));
}

struct group *groups_find(const struct groups *groups, struct tally_slice prefix)
{
    return groups->slots ? *slot_of(groups, prefix, row_hash(prefix)) : NULL;
}

/* Of the prefix; with room for `more` bytes. */
static struct group **make(struct groups *groups, struct tally_slice prefix, size_t more)
{
    uint64_t hash = row_hash(prefix);
    struct group **slot, *group;
    size_t room;

    if (!groups->slots || 2 * (groups->count + 1) > groups->mask + 1)
        grow_table(groups);
    slot = slot_of(groups, prefix, hash);
    group = *slot;
    if (group && group->size + more <= group->room)
        return slot;
    room = group ? 2 * (group->room + more) : ROOM_FIRST + more;
    account_add(groups, (long long)(sizeof *group + prefix.len + room) -
                                (long long)(group ? group_size(group) : 0));
    *slot = tally_realloc(group, sizeof *group + prefix.len + room);
    if (!group) {
        **slot = (struct group){.hash = hash, .prefix_len = (uint16_t)prefix.len};
        memcpy((*slot)->bytes, prefix.data, prefix.len);
        groups->count++;
    }
    (*slot)->room = (uint32_t)room;
    return slot;
}

struct group *groups_of(struct groups *groups, struct tally_slice prefix)
{
    return *make(groups, prefix, 0);
}

/* --- keys ------------------------------------------------------------------------------------- */

static struct tally_slice rest_at(const struct group *group, size_t at)
{
    const uint8_t *entry = group->bytes + group->prefix_len + at;

    return tally_slice_of(entry + LENGTH_BYTES, tally_read_u16(entry));
}

static void insert(struct group *group, size_t at, struct tally_slice rest)
{
    uint8_t *entry = group->bytes + group->prefix_len + at;
    size_t len = LENGTH_BYTES + rest.len;

    memmove(entry + len, entry, group->size - at);
    tally_put_u16(entry, (uint16_t)rest.len);
    memcpy(entry + LENGTH_BYTES, rest.data, rest.len);
    group->last = at == group->size ? group->size : group->last + (uint32_t)len;
    group->size += (uint32_t)len;
}

/* Keys come in order when a group is completed, so the highest is looked at first. */
static void add_rest(struct group *group, struct tally_slice rest)
{
    size_t at = 0;
    int order = group->size > 0 ? tally_slice_compare(rest, rest_at(group, group->last)) : 1;

    if (order > 0) {
        insert(group, group->size, rest);
        return;
    }
    while (order != 0 && at <= group->last) {
        struct tally_slice other = rest_at(group, at);

        order = tally_slice_compare(rest, other);
        if (order < 0) {
            insert(group, at, rest);
            return;
        }
        at += LENGTH_BYTES + other.len;
    }
}

void groups_add(struct groups *groups, struct tally_slice key)
{
    const uint8_t *end = memchr(key.data + 1, 0, key.len - 1);
    struct tally_slice prefix, rest;

    tally_assert(end != NULL);
    prefix = tally_slice_of(key.data, (size_t)(end + 1 - key.data));
    rest = tally_slice_of(end + 1, key.len - prefix.len);
    add_rest(*make(groups, prefix, LENGTH_BYTES + rest.len), rest);
}

void groups_catch_up(struct groups *groups, const struct overlay *overlay)
{
    for (size_t i = 0; i < groups->store_count; i++) {
        for (; groups->stores[i].seen < overlay->dirty_count; groups->stores[i].seen++) {
            const struct overlay_entry *entry = overlay->dirty[groups->stores[i].seen];

            if (entry && entry->fresh && entry->bytes[0] == groups->stores[i].byte)
                groups_add(groups, tally_slice_of(entry->bytes, entry->key_len));
        }
    }
}

void groups_end(struct groups *groups)
{
    for (size_t i = 0; i < groups->store_count; i++) {
        groups->stores[i].seen = 0;
    }
}

bool groups_next(const struct group *group, size_t *at, uint8_t *space, struct tally_slice *key)
{
    struct tally_slice rest;

    if (*at >= group->size)
        return false;
    rest = rest_at(group, *at);
    memcpy(space, group->bytes, group->prefix_len);
    memcpy(space + group->prefix_len, rest.data, rest.len);
    *key = tally_slice_of(space, group->prefix_len + rest.len);
    *at += LENGTH_BYTES + rest.len;
    return true;
}
