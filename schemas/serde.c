/* schemas/serde.c - documents as token trees: dispatch by the first byte, the builder that both
 * parsers fill, and the order of a map's members.
 * Invariants
 *  (1) A finished tree is one block of the arena; every map's names are unique, every string is
 *      UTF-8 without NUL, and no limit of serde.h is passed.
 *  (2) Finding a name twice costs n log n at most, whatever the names are.
 * Threads: none of its own; everything works on the caller's memory. */
#include "schemas/serde.h"

#include <stdarg.h>
#include <stdio.h>

#include "schemas/serde_internal.h"

#define PAIRWISE_MAX 32 /* members; above, names are sorted to find a double one */
/* A document, its members with their names, and what is read before the limit is noticed. */
#define TOKENS_MAX   (2u * TALLY_DOCUMENT_ELEMENTS_MAX + 4)

const char *tally_refusal_name(enum tally_refusal refusal)
{
    static const char *const names[TALLY_REFUSALS] = {
        [TALLY_REFUSAL_NONE] = "NONE",
#define X(name) [TALLY_REFUSAL_##name] = #name,
#include "schemas/refusal.def"
#undef X
    };

    tally_assert(refusal < TALLY_REFUSALS);
    return names[refusal];
}

enum tally_code serde_refuse(enum tally_refusal *refusal, enum tally_refusal reason,
        struct tally_error *err, const char *format, ...)
{
    char message[sizeof err->message];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    *refusal = reason;
    return tally_error_set(err, TALLY_BAD_RECORD, "%s", message);
}

enum tally_code tally_document_parse(struct tally_slice bytes, struct tally_arena *arena,
        const struct tally_token **root, enum tally_refusal *refusal, struct tally_error *err)
{
    *root = NULL;
    *refusal = TALLY_REFUSAL_NONE;
    if (bytes.len == 0) {
        return serde_refuse(refusal, TALLY_REFUSAL_EMPTY_VALUE, err, "record has no value");
    }
    if (bytes.len > TALLY_DOCUMENT_BYTES_MAX) {
        return serde_refuse(refusal, TALLY_REFUSAL_OVER_LIMIT, err,
                "record has %zu bytes, limit %d", bytes.len, TALLY_DOCUMENT_BYTES_MAX);
    }
    if (bytes.data[0] == '{') {
        return serde_json_plain(bytes, arena, root)
                       ? TALLY_OK
                       : serde_json_parse(bytes, arena, root, refusal, err);
    }
    if ((bytes.data[0] & 0xf0) == 0x80 || bytes.data[0] == 0xde || bytes.data[0] == 0xdf) {
        return serde_msgpack_parse(bytes, arena, root, refusal, err);
    }
    return serde_refuse(refusal, TALLY_REFUSAL_UNSUPPORTED_FORMAT, err,
            "record begins with 0x%02x at byte 0, neither a JSON object nor a MessagePack map",
            bytes.data[0]);
}

const struct tally_token *tally_token_member(const struct tally_token *map, const char *name)
{
    const struct tally_token *member = map + 1;

    if (map->type != TALLY_MAP) {
        return NULL;
    }
    for (uint32_t i = 0; i < map->count; i++) {
        if (serde_name_is(member->string, name)) {
            return member + 1;
        }
        member = tally_token_next(member + 1);
    }
    return NULL;
}

/* --- builder
 * --------------------------------------------------------------------------------------- */

void serde_builder_init(struct serde_builder *builder, struct tally_arena *arena)
{
    builder->arena = arena;
    builder->tokens = builder->local;
    builder->count = 0;
    builder->capacity = SERDE_TOKENS_INLINE;
    builder->elements = 0;
    builder->depth = 0;
}

struct tally_token *serde_builder_grow(struct serde_builder *builder)
{
    uint32_t capacity = 2 * builder->capacity < TOKENS_MAX ? 2 * builder->capacity : TOKENS_MAX;
    struct tally_token *tokens = tally_arena_alloc(builder->arena, capacity * sizeof *tokens);

    tally_assert(builder->count < capacity);
    memcpy(tokens, builder->tokens, builder->count * sizeof *tokens);
    builder->tokens = tokens;
    builder->capacity = capacity;
    return &builder->tokens[builder->count++];
}

/* The double name of a short map: a 64-bit set of cheap hashes says when two may be equal. */
static const struct tally_token *double_pairwise(const struct tally_token *map)
{
    const struct tally_token *member = map + 1;
    uint64_t seen = 0;

    for (uint32_t i = 0; i < map->count; i++) {
        struct tally_slice name = member->string;
        uint32_t hash = (uint32_t)name.len;

        if (name.len) {
            hash += 7u * name.data[0] + 31u * name.data[name.len - 1] +
                    3u * name.data[name.len / 2];
        }
        if (seen & TALLY_BIT(hash & 63)) {
            const struct tally_token *earlier = map + 1;

            for (; earlier != member; earlier = tally_token_next(earlier + 1)) {
                if (tally_slice_equal(earlier->string, name)) {
                    return member;
                }
            }
        }
        seen |= TALLY_BIT(hash & 63);
        member = tally_token_next(member + 1);
    }
    return NULL;
}

static const struct tally_token *double_sorted(const struct tally_token *map,
        struct tally_arena *arena)
{
    struct serde_member *members = tally_arena_alloc(arena, 2 * map->count * sizeof *members);
    const struct tally_token *name = map + 1;

    for (uint32_t i = 0; i < map->count; i++) {
        members[i] = serde_member_of(name);
        name = tally_token_next(name + 1);
    }
    serde_members_sort(members, members + map->count, map->count);
    for (uint32_t i = 1; i < map->count; i++) {
        if (tally_slice_equal(members[i - 1].name->string, members[i].name->string)) {
            return members[i].name;
        }
    }
    return NULL;
}

struct tally_slice serde_builder_close(struct serde_builder *builder)
{
    struct tally_token *container;
    const struct tally_token *twice = NULL;

    tally_assert(builder->depth > 0);
    container = &builder->tokens[builder->open[--builder->depth]];
    container->skip = (uint32_t)(builder->tokens + builder->count - container);
    if (container->type == TALLY_MAP && container->count > 1) {
        twice = container->count <= PAIRWISE_MAX ? double_pairwise(container)
                                                 : double_sorted(container, builder->arena);
    }
    return twice ? twice->string : TALLY_NONE;
}

const struct tally_token *serde_builder_finish(struct serde_builder *builder)
{
    struct tally_token *tokens = builder->tokens;

    tally_assert(builder->depth == 0 && builder->count > 0);
    if (tokens == builder->local) {
        tokens = tally_arena_alloc(builder->arena, builder->count * sizeof *tokens);
        memcpy(tokens, builder->local, builder->count * sizeof *tokens);
    }
    return tokens;
}

/* --- members in order
 * ------------------------------------------------------------------------------ */

struct serde_member serde_member_of(const struct tally_token *name)
{
    struct serde_member member = {.prefix = 0, .name = name};
    struct tally_slice text = name->string;

    if (text.len >= 8) {
        member.prefix = tally_read_u64(text.data);
    } else {
        for (size_t i = 0; i < text.len; i++) {
            member.prefix |= (uint64_t)text.data[i] << (56 - 8 * i);
        }
    }
    return member;
}

/* Names hold no NUL, so filling up with zeros keeps the order. */
static inline bool member_after(const struct serde_member *a, const struct serde_member *b)
{
    if (a->prefix != b->prefix) {
        return a->prefix > b->prefix;
    }
    return tally_slice_compare(a->name->string, b->name->string) > 0;
}

static void insertion_sort(struct serde_member *members, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct serde_member moving = members[i];
        size_t at = i;

        for (; at > 0 && member_after(&members[at - 1], &moving); at--) {
            members[at] = members[at - 1];
        }
        members[at] = moving;
    }
}

static void merge(const struct serde_member *from, struct serde_member *to, size_t begin,
        size_t middle, size_t end)
{
    size_t left = begin, right = middle;

    for (size_t at = begin; at < end; at++) {
        if (left < middle && (right >= end || !member_after(&from[left], &from[right]))) {
            to[at] = from[left++];
        } else {
            to[at] = from[right++];
        }
    }
}

void serde_members_sort(struct serde_member *members, struct serde_member *spare, size_t count)
{
    struct serde_member *from = members, *to = spare, *swap;

    for (size_t begin = 0; begin < count; begin += SERDE_MEMBERS_INLINE) {
        size_t left = count - begin;

        insertion_sort(members + begin, left < SERDE_MEMBERS_INLINE ? left : SERDE_MEMBERS_INLINE);
    }
    for (size_t width = SERDE_MEMBERS_INLINE; width < count; width *= 2) {
        for (size_t begin = 0; begin < count; begin += 2 * width) {
            size_t middle = begin + width < count ? begin + width : count;
            size_t end = begin + 2 * width < count ? begin + 2 * width : count;

            merge(from, to, begin, middle, end);
        }
        swap = from;
        from = to;
        to = swap;
    }
    if (from != members) {
        memcpy(members, from, count * sizeof *members);
    }
}
