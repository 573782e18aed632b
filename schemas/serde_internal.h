/* schemas/serde_internal.h - what the files of this folder share: the builder of token trees, the
 * two parsers, the order of a map's members, and MessagePack's heads. */
#pragma once
#include "schemas/serde.h"

#define SERDE_TOKENS_INLINE 48 /* a command has about 13: no growth for any of them */

/* Collects tokens in preorder; a short document never leaves the struct until it is complete. */
struct serde_builder {
    struct tally_arena *arena;
    struct tally_token *tokens;
    uint32_t count, capacity;
    uint32_t elements; /* members and items so far */
    uint32_t depth;
    uint32_t open[TALLY_DOCUMENT_DEPTH_MAX]; /* index of each container that has not ended */
    struct tally_token local[SERDE_TOKENS_INLINE];
};

void serde_builder_init(struct serde_builder *builder, struct tally_arena *arena);
struct tally_token *serde_builder_grow(struct serde_builder *builder);
/* The next token, with type and skip set; valid until the next call. */
static inline struct tally_token *serde_builder_add(struct serde_builder *builder,
        enum tally_token_type type)
{
    struct tally_token *token = builder->count < builder->capacity
                                        ? &builder->tokens[builder->count++]
                                        : serde_builder_grow(builder);

    token->type = (uint8_t)type;
    token->count = 0;
    token->skip = 1;
    return token;
}
/* Ends the innermost container. The name that a map holds twice, or empty. */
struct tally_slice serde_builder_close(struct serde_builder *builder);
/* The complete tree, in the arena. */
const struct tally_token *serde_builder_finish(struct serde_builder *builder);

/* Fills *refusal and *err; returns TALLY_BAD_RECORD. */
enum tally_code serde_refuse(enum tally_refusal *refusal, enum tally_refusal reason,
        struct tally_error *err, const char *format, ...) TALLY_PRINTF(4, 5);

/* false: it is no JSON object without escapes, or no valid one: ask serde_json_parse. */
bool serde_json_plain(struct tally_slice bytes, struct tally_arena *arena,
        const struct tally_token **root);
enum tally_code serde_json_parse(struct tally_slice bytes, struct tally_arena *arena,
        const struct tally_token **root, enum tally_refusal *refusal, struct tally_error *err);
/* One value of any type; tally_document_parse asks for a map before. */
enum tally_code serde_msgpack_parse(struct tally_slice bytes, struct tally_arena *arena,
        const struct tally_token **root, enum tally_refusal *refusal, struct tally_error *err);

/* tally_bind of members whose fields are known, none of which is required and missing; false: a
 * rule is broken. */
struct serde_bound {
    const struct tally_field *field;
    const struct tally_token *value;
};
bool serde_bind_members(const struct tally_schema *schema, const struct serde_bound *members,
        size_t count, struct tally_arena *arena, void *record);

/* The fields that tally_encode would write, as bits of their indexes, and writing them into a map
 * that is already open. */
uint64_t serde_encode_fields(const struct tally_schema *schema, const void *record);
void serde_encode_members(struct tally_writer *writer, const struct tally_schema *schema,
        const void *record, uint64_t fields);

/* --- members in order ----------------------------------------------------------------------------
 */

#define SERDE_MEMBERS_INLINE 24

struct serde_member {
    uint64_t prefix; /* first eight bytes of the name, big-endian, filled up with zeros */
    const struct tally_token *name;
};
struct serde_member serde_member_of(const struct tally_token *name);
/* Sorts by the names' bytes; `spare` has room for count as well. */
void serde_members_sort(struct serde_member *members, struct serde_member *spare, size_t count);

/* --- text ----------------------------------------------------------------------------------------
 */

/* NULL: fine; otherwise what is expected, for a violation's detail. */
const char *serde_text_check(struct tally_slice text, enum tally_text kind);
/* Bytes that text of this form has at most, where its field does not say. */
size_t serde_text_max(enum tally_text kind);

/* Eight bytes of ASCII without a NUL; false as well for some that have a 0x01. */
static inline bool serde_word_plain(uint64_t word)
{
    const uint64_t high = UINT64_C(0x8080808080808080), one = UINT64_C(0x0101010101010101);

    return ((word | (word - one)) & high) == 0; /* a high bit, or a byte that borrowed */
}

/* True only when all bytes are ASCII and none is NUL: most text, answered without a call. */
static inline bool serde_text_plain(struct tally_slice text)
{
    uint64_t word;
    uint32_t first, last;
    size_t at = 0;

    if (text.len >= 8) {
        for (; at + 8 <= text.len; at += 8) {
            memcpy(&word, text.data + at, 8);
            if (!serde_word_plain(word)) {
                return false;
            }
        }
        memcpy(&word, text.data + text.len - 8, 8); /* the rest, some of it again */
        return serde_word_plain(word);
    }
    if (text.len >= 4) {
        memcpy(&first, text.data, 4);
        memcpy(&last, text.data + text.len - 4, 4);
        return serde_word_plain((uint64_t)first << 32 | last);
    }
    for (; at < text.len; at++) {
        if (text.data[at] == 0 || text.data[at] >= 0x80) {
            return false;
        }
    }
    return true;
}

static inline bool serde_name_is(struct tally_slice text, const char *name)
{
    for (size_t at = 0; at < text.len; at++) {
        if ((char)text.data[at] != name[at] || name[at] == 0) {
            return false;
        }
    }
    return name[text.len] == 0;
}

/* Adds "/" and the name, escaped, to a JSON pointer; what does not fit is left out. */
void serde_pointer_append(char *pointer, size_t size, struct tally_slice name);

/* --- writing -----------------------------------------------------------------------------------
 */

/* tally_write_name for a name of known length that JSON need not escape: one of this program. */
void serde_write_name_json(struct tally_writer *writer, struct tally_slice name);
static inline void serde_write_name(struct tally_writer *writer, struct tally_slice name);

/* Integers as members of the map that is open, each as by serde_write_name and tally_write_int. */
void serde_write_ints(struct tally_writer *writer, const struct tally_slice *names,
        const int64_t *values, size_t count);

/* --- MessagePack, shortest forms -----------------------------------------------------------------
 */

#define SERDE_HEAD_MAX 9

/* Room for size bytes, not yet counted; NULL over the buffer's maximum. */
static inline uint8_t *serde_room(struct tally_buf *buf, size_t size)
{
    if (!buf->failed && buf->capacity - buf->len >= size) { /* capacity is at most max */
        return buf->data + buf->len;
    }
    return tally_buf_reserve(buf, size);
}

static inline size_t serde_put_head(uint8_t *to, uint8_t fix, uint32_t fix_max, uint8_t wide,
        uint32_t count)
{
    if (count <= fix_max) {
        to[0] = (uint8_t)(fix | count);
        return 1;
    }
    if (count <= UINT16_MAX) {
        to[0] = wide;
        tally_put_u16(to + 1, (uint16_t)count);
        return 3;
    }
    to[0] = (uint8_t)(wide + 1);
    tally_put_u32(to + 1, count);
    return 5;
}
static inline size_t serde_put_map(uint8_t *to, uint32_t members)
{
    return serde_put_head(to, 0x80, 15, 0xde, members);
}
static inline size_t serde_put_array(uint8_t *to, uint32_t items)
{
    return serde_put_head(to, 0x90, 15, 0xdc, items);
}
static inline size_t serde_put_string(uint8_t *to, const void *text, size_t len)
{
    size_t head;

    if (len <= 31) {
        to[0] = (uint8_t)(0xa0 | len);
        head = 1;
    } else if (len <= UINT8_MAX) {
        to[0] = 0xd9;
        to[1] = (uint8_t)len;
        head = 2;
    } else {
        head = serde_put_head(to, 0xa0, 31, 0xda, (uint32_t)len);
    }
    tally_copy_short(to + head, text, len);
    return head + len;
}
static inline void serde_write_name(struct tally_writer *writer, struct tally_slice name)
{
    uint8_t *to;

    if (writer->format == TALLY_FORMAT_JSON) {
        serde_write_name_json(writer, name);
        return;
    }
    to = serde_room(writer->out, SERDE_HEAD_MAX + name.len);
    if (to) {
        writer->out->len += serde_put_string(to, name.data, name.len);
    }
}
size_t serde_put_int(uint8_t *to, int64_t value);
/* Bytes that the token's subtree needs at most. */
size_t serde_msgpack_bound(const struct tally_token *token);
/* Writes the subtree, maps in the order they have; returns the end. */
uint8_t *serde_msgpack_put(uint8_t *to, const struct tally_token *token);
