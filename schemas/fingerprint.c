/* schemas/fingerprint.c - the 64 bits by which a repeated command id is told from a reused one.
 * Invariants
 *  (1) The bytes that are hashed depend on the fields alone: not on the form (flat or long, JSON or
 *      MessagePack), the order of members, or the width of an encoded integer.
 *  (2) Nothing is added or taken away: no defaults, and null stays.
 * The hash is stored with every outcome, so a change here makes old ids look reused. */
#include <xxhash.h>

#include "schemas/serde_internal.h"

#define CANONICAL_INLINE 512 /* bytes; most commands need less */

static uint8_t *put_value(uint8_t *to, const struct tally_token *value, struct tally_arena *arena);

/* `extra` is a name token with its value behind it, or NULL. */
static uint8_t *put_members(uint8_t *to, const struct tally_token *map,
        const struct tally_token *extra, bool (*skip)(struct tally_slice name),
        struct tally_arena *arena)
{
    TALLY_UNINITIALIZED struct serde_member local[SERDE_MEMBERS_INLINE];
    struct serde_member *members = local, *spare = NULL;
    const struct tally_token *name = map + 1;
    size_t room = (size_t)map->count + 1, count = 0;

    if (room > SERDE_MEMBERS_INLINE) {
        members = tally_arena_alloc(arena, 2 * room * sizeof *members);
        spare = members + room;
    }
    if (extra) {
        members[count++] = serde_member_of(extra);
    }
    for (uint32_t i = 0; i < map->count; i++) {
        if (!skip || !skip(name->string)) {
            members[count++] = serde_member_of(name);
        }
        name = tally_token_next(name + 1);
    }
    serde_members_sort(members, spare, count);
    to += serde_put_map(to, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        to += serde_put_string(to, members[i].name->string.data, members[i].name->string.len);
        to = put_value(to, members[i].name + 1, arena);
    }
    return to;
}

/* Nesting is limited by the parser. */
static uint8_t *put_value(uint8_t *to, const struct tally_token *value, struct tally_arena *arena)
{
    const struct tally_token *item = value + 1;

    if (value->type == TALLY_MAP) {
        return put_members(to, value, NULL, NULL, arena);
    }
    if (value->type != TALLY_ARRAY) {
        return serde_msgpack_put(to, value);
    }
    to += serde_put_array(to, value->count);
    for (uint32_t i = 0; i < value->count; i++) {
        to = put_value(to, item, arena);
        item = tally_token_next(item);
    }
    return to;
}

uint64_t tally_fingerprint(struct tally_slice type, const struct tally_token *payload,
        bool (*skip)(struct tally_slice name), struct tally_arena *arena)
{
    const struct tally_token pair[2] = {
            {.type = TALLY_STRING, .skip = 1, .string = TALLY_SLICE("type")},
            {.type = TALLY_STRING, .skip = 1, .string = type}};
    size_t bound =
            serde_msgpack_bound(payload) + 2 * SERDE_HEAD_MAX + pair[0].string.len + type.len;
    TALLY_UNINITIALIZED uint8_t local[CANONICAL_INLINE];
    uint8_t *canonical = bound <= sizeof local ? local : tally_arena_alloc(arena, bound);
    uint8_t *end = put_members(canonical, payload, pair, skip, arena);

    tally_assert((size_t)(end - canonical) <= bound);
    return XXH3_64bits(canonical, (size_t)(end - canonical));
}

static struct tally_slice canonical(const struct tally_token *value, struct tally_arena *arena)
{
    uint8_t *bytes = tally_arena_alloc(arena, serde_msgpack_bound(value));

    return tally_slice_of(bytes, (size_t)(put_value(bytes, value, arena) - bytes));
}

bool tally_token_same(const struct tally_token *a, const struct tally_token *b,
        struct tally_arena *arena)
{
    return tally_slice_equal(canonical(a, arena), canonical(b, arena));
}
