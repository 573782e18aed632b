/* schemas/command_shape.c - commands that look like an earlier one. A producer writes the same
 * members in the same order, so all that differs are the values: what stands between them is
 * compared as it is, and names, their order and the fields they mean are known.
 * Invariants
 *  (1) What is read by a shape is what tally_command_decode makes of it, tokens included. Whatever
 *      does not fit, or breaks a rule, is left to that.
 *  (2) A shape is made of a flat JSON command without a violation, whose members are texts and
 *      whole numbers and, of the envelope, type and id alone.
 *  (3) Text has neither escapes nor anything that is not ASCII, and every byte is compared with the
 *      end before it is read. */
#include <xxhash.h>

#include "schemas/envelope_internal.h"
#include "schemas/serde_internal.h"

enum {
    SHAPES = 4,
    LEARN_EVERY = 16, /* misses: records that all differ must not be learned one by one */
    MEMBERS_MAX = 14,
    BYTES_MAX = 512, /* of a record that a shape is made of, or read by */
    CANONICAL_MAX = BYTES_MAX,
    DIGITS_MAX = 18, /* more may be no int64 */
    NO_SLOT = 255
};

/* Text at a fixed place behind the value before it. */
struct word {
    uint16_t slot, at, len;
};

/* A value, and the bytes before it, which are the same in every such command. */
struct slot {
    uint16_t at, len; /* those bytes, in the shape's text */
    bool number;
    const struct tally_field *field; /* NULL: the id */
};

struct member {
    struct word name;
    uint8_t slot;     /* of its value, or NO_SLOT */
    struct word type; /* NO_SLOT: the value, which is the same too */
};

/* Canonical bytes that are the same, then a value. */
struct piece {
    uint16_t len;
    uint8_t slot; /* or NO_SLOT, at the end */
};

struct shape {
    const struct tally_schema *const *types;
    const struct tally_schema *schema; /* NULL: there is none here yet */
    size_t member_count, slot_count, piece_count, canonical_len;
    size_t type_member;
    struct member members[MEMBERS_MAX];
    struct slot slots[MEMBERS_MAX + 1]; /* the last one has no value: it is the end */
    struct piece pieces[MEMBERS_MAX + 1];
    uint8_t canonical[CANONICAL_MAX], text[BYTES_MAX];
};

struct tally_command_shapes {
    size_t last, next; /* that fitted; to be replaced */
    unsigned misses;
    uint64_t hits;
    struct shape shapes[SHAPES];
};

/* What a record has between and at the places of a shape. */
struct reading {
    const uint8_t *before[MEMBERS_MAX + 1];
    struct tally_token values[MEMBERS_MAX];
};

struct tally_command_shapes *tally_command_shapes_create(void)
{
    return tally_alloc_zero(1, sizeof(struct tally_command_shapes));
}

void tally_command_shapes_destroy(struct tally_command_shapes *shapes)
{
    tally_free(shapes);
}

uint64_t tally_command_shapes_hits(const struct tally_command_shapes *shapes)
{
    return shapes->hits;
}

/* --- reading
 * --------------------------------------------------------------------------------------- */

/* Of eight bytes: the high bit of each that is a quote, an escape, a control or no ASCII; above the
 * lowest one some others may be set. */
static inline uint64_t unusual(uint64_t word)
{
    const uint64_t high = UINT64_C(0x8080808080808080), one = UINT64_C(0x0101010101010101);
    uint64_t quote = word ^ (one * '"'), escape = word ^ (one * '\\');

    return ((quote - one) | (escape - one) | (word - one * 0x20) | word) & high;
}

/* Up to the closing quote. */
static inline bool read_text(const uint8_t **at, const uint8_t *end, struct tally_token *value)
{
    const uint8_t *begin = *at, *to = begin;

    while (end - to >= 8) {
        uint64_t word, found;

        memcpy(&word, to, sizeof word);
        found = unusual(word);
        if (found) {
            to += __builtin_ctzll(found) / 8;
            break;
        }
        to += 8;
    }
    while (to < end && *to != '"') {
        if (*to < 0x20 || *to == '\\' || *to >= 0x80) {
            return false;
        }
        to++;
    }
    *value = (struct tally_token){
            .type = TALLY_STRING, .skip = 1, .string = tally_slice_of(begin, (size_t)(to - begin))};
    *at = to;
    return to < end;
}

/* What may follow a number is what the shape has there. */
static inline bool read_number(const uint8_t **at, const uint8_t *end, struct tally_token *value)
{
    const uint8_t *to = *at, *begin;
    bool negative = to < end && *to == '-';
    int64_t number = 0;
    size_t digits;

    to += negative;
    for (begin = to; to < end && *to >= '0' && *to <= '9' && to - begin <= DIGITS_MAX; to++) {
        number = 10 * number + (*to - '0');
    }
    digits = (size_t)(to - begin);
    *value = (struct tally_token){
            .type = TALLY_INT, .skip = 1, .integer = negative ? -number : number};
    *at = to;
    return digits > 0 && digits <= DIGITS_MAX && (*begin != '0' || digits == 1);
}

static bool read_values(const struct shape *shape, struct tally_slice bytes,
        struct reading *reading)
{
    const uint8_t *at = bytes.data, *end = at + bytes.len;

    for (size_t i = 0;; i++) {
        const struct slot *slot = &shape->slots[i];

        if ((size_t)(end - at) < slot->len || memcmp(at, shape->text + slot->at, slot->len) != 0) {
            return false;
        }
        reading->before[i] = at;
        at += slot->len;
        if (i == shape->slot_count) {
            return at == end;
        }
        if (!(slot->number ? read_number(&at, end, &reading->values[i])
                           : read_text(&at, end, &reading->values[i]))) {
            return false;
        }
    }
}

static inline struct tally_token token_of(const struct reading *reading, struct word word)
{
    return (struct tally_token){.type = TALLY_STRING,
            .skip = 1,
            .string = tally_slice_of(reading->before[word.slot] + word.at, word.len)};
}

/* The tree that the parser would have made. */
static const struct tally_token *make_tokens(const struct shape *shape,
        const struct reading *reading, struct tally_arena *arena)
{
    uint32_t count = 1 + 2 * (uint32_t)shape->member_count;
    struct tally_token *tokens = tally_arena_alloc(arena, count * sizeof *tokens), *to = tokens;

    *to++ = (struct tally_token){
            .type = TALLY_MAP, .count = (uint32_t)shape->member_count, .skip = count};
    for (size_t i = 0; i < shape->member_count; i++) {
        const struct member *member = &shape->members[i];

        *to++ = token_of(reading, member->name);
        *to++ = member->slot == NO_SLOT ? token_of(reading, member->type)
                                        : reading->values[member->slot];
    }
    return tokens;
}

static uint64_t fingerprint_of(const struct shape *shape, const struct reading *reading)
{
    TALLY_UNINITIALIZED uint8_t bytes[CANONICAL_MAX + BYTES_MAX + MEMBERS_MAX * SERDE_HEAD_MAX];
    const uint8_t *from = shape->canonical;
    uint8_t *to = bytes;

    for (size_t i = 0; i < shape->piece_count; i++) {
        const struct piece *piece = &shape->pieces[i];

        tally_copy_short(to, from, piece->len);
        to += piece->len;
        from += piece->len;
        if (piece->slot != NO_SLOT) {
            to = serde_msgpack_put(to, &reading->values[piece->slot]);
        }
    }
    return XXH3_64bits(bytes, (size_t)(to - bytes));
}

static bool take_id(struct tally_slice id, struct tally_command *command)
{
    command->id = id;
    return id.len > 0 && id.len <= serde_text_max(TALLY_TEXT_COMMAND_ID) && id.data[0] != '~' &&
           !serde_text_check(id, TALLY_TEXT_COMMAND_ID);
}

static bool bind_values(const struct shape *shape, const struct tally_token *tokens,
        struct tally_arena *arena, struct tally_command *command)
{
    struct serde_bound bound[MEMBERS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < shape->member_count; i++) {
        const struct tally_token *value = &tokens[2 + 2 * i];
        const struct member *member = &shape->members[i];

        if (member->slot == NO_SLOT) {
            continue;
        }
        if (shape->slots[member->slot].field) {
            bound[count++] = (struct serde_bound){shape->slots[member->slot].field, value};
        } else if (!take_id(value->string, command)) {
            return false;
        }
    }
    command->fields = tally_arena_alloc(arena, shape->schema->size);
    return serde_bind_members(shape->schema, bound, count, arena, command->fields);
}

static bool read_by(const struct shape *shape, struct tally_slice bytes, struct tally_arena *arena,
        struct tally_command *command)
{
    TALLY_UNINITIALIZED struct reading reading;
    const struct tally_token *tokens;

    if (bytes.len > BYTES_MAX || !read_values(shape, bytes, &reading)) {
        return false;
    }
    tokens = make_tokens(shape, &reading, arena);
    *command = (struct tally_command){.offset = -1,
            .payload = tokens,
            .flat = true,
            .format = TALLY_FORMAT_JSON,
            .schema = shape->schema,
            .type = tokens[2 + 2 * shape->type_member].string};
    if (!bind_values(shape, tokens, arena, command)) {
        return false;
    }
    command->fingerprint = fingerprint_of(shape, &reading);
    return true;
}

/* --- learning
 * -------------------------------------------------------------------------------------- */

static const struct tally_field *field_of(const struct tally_schema *schema,
        struct tally_slice name)
{
    for (size_t i = 0; i < schema->field_count; i++) {
        if (tally_slice_equal(name, tally_slice_string(schema->fields[i].name))) {
            return &schema->fields[i];
        }
    }
    return NULL;
}

static bool within(struct tally_slice bytes, struct tally_slice text)
{
    return text.data >= bytes.data && text.data + text.len <= bytes.data + bytes.len;
}

static bool is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

/* The bytes of a value; empty: of a kind that no shape has, or not found where it should be. */
static struct tally_slice value_bytes(struct tally_slice bytes, const struct tally_token *name)
{
    const struct tally_token *value = name + 1;
    const uint8_t *at = name->string.data + name->string.len, *end = bytes.data + bytes.len;
    const uint8_t *begin;

    if (value->type == TALLY_STRING) {
        return within(bytes, value->string) ? value->string : TALLY_NONE;
    }
    if (value->type != TALLY_INT || at == end || *at++ != '"') {
        return TALLY_NONE;
    }
    while (at < end && (is_space(*at) || *at == ':')) {
        at++;
    }
    for (begin = at; at < end && (*at == '-' || (*at >= '0' && *at <= '9')); at++) {
    }
    return tally_slice_of(begin, (size_t)(at - begin));
}

/* What the member's value is to a shape; false: no shape has such a member. */
static bool learn_member(struct shape *shape, struct tally_slice bytes,
        const struct tally_token *name, const uint8_t **behind)
{
    bool envelope = envelope_is_member(name->string);
    bool type = serde_name_is(name->string, "type");
    bool id = serde_name_is(name->string, "id") || serde_name_is(name->string, "command_id");
    const struct tally_field *field = field_of(shape->schema, name->string);
    struct tally_slice value = value_bytes(bytes, name);
    struct member *member = &shape->members[shape->member_count];
    uint16_t slot = (uint16_t)shape->slot_count;

    if (!within(bytes, name->string) || !value.data || name->string.data < *behind ||
            value.data < *behind || (envelope ? field || !(type || id) : !field)) {
        return false;
    }
    member->name = (struct word){
            slot, (uint16_t)(name->string.data - *behind), (uint16_t)name->string.len};
    member->slot = NO_SLOT;
    if (type) {
        shape->type_member = shape->member_count++;
        member->type = (struct word){slot, (uint16_t)(value.data - *behind), (uint16_t)value.len};
        return true;
    }
    member->slot = (uint8_t)shape->slot_count++;
    shape->member_count++;
    shape->slots[slot] = (struct slot){.at = (uint16_t)(*behind - bytes.data),
            .len = (uint16_t)(value.data - *behind),
            .number = name[1].type == TALLY_INT,
            .field = field};
    *behind = value.data + value.len;
    return true;
}

static bool learn_members(struct shape *shape, struct tally_slice bytes,
        const struct tally_token *root)
{
    const struct tally_token *name = root + 1;
    const uint8_t *behind = bytes.data, *end = bytes.data + bytes.len;
    size_t ids = 0;

    for (uint32_t i = 0; i < root->count; i++, name += 2) {
        if (!learn_member(shape, bytes, name, &behind)) {
            return false;
        }
    }
    for (size_t i = 0; i < shape->slot_count; i++) {
        ids += shape->slots[i].field == NULL;
    }
    shape->slots[shape->slot_count] =
            (struct slot){.at = (uint16_t)(behind - bytes.data), .len = (uint16_t)(end - behind)};
    memcpy(shape->text, bytes.data, bytes.len);
    return ids == 1;
}

/* The order of the fingerprint, see fingerprint.c. */
static bool learn_canonical(struct shape *shape, const struct tally_token *root)
{
    struct serde_member sorted[MEMBERS_MAX];
    size_t count = 0, at = 0, begin = 0;

    for (size_t i = 0; i < shape->member_count; i++) {
        uint8_t slot = shape->members[i].slot;

        if (slot == NO_SLOT || shape->slots[slot].field) {
            sorted[count++] = serde_member_of(root + 1 + 2 * i);
        }
    }
    serde_members_sort(sorted, NULL, count);
    at = serde_put_map(shape->canonical, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        const struct tally_token *name = sorted[i].name;
        uint8_t slot = shape->members[(size_t)(name - root - 1) / 2].slot;

        if (at + 2 * SERDE_HEAD_MAX + name[0].string.len +
                        (slot == NO_SLOT ? name[1].string.len : 0) >
                CANONICAL_MAX) {
            return false;
        }
        at += serde_put_string(shape->canonical + at, name[0].string.data, name[0].string.len);
        if (slot == NO_SLOT) {
            at += serde_put_string(shape->canonical + at, name[1].string.data, name[1].string.len);
        } else {
            shape->pieces[shape->piece_count++] =
                    (struct piece){.len = (uint16_t)(at - begin), .slot = slot};
            begin = at;
        }
    }
    shape->pieces[shape->piece_count++] =
            (struct piece){.len = (uint16_t)(at - begin), .slot = NO_SLOT};
    return true;
}

static bool may_learn(struct tally_slice bytes, const struct tally_command *command)
{
    const struct tally_token *root = command->payload;

    return command->format == TALLY_FORMAT_JSON && command->flat && command->schema &&
           !command->schema->internal && !command->violations && bytes.len <= BYTES_MAX &&
           root->count <= MEMBERS_MAX && root->skip == 1 + 2 * root->count;
}

static void learn(struct tally_command_shapes *shapes, struct tally_slice bytes,
        const struct tally_schema *const *types, const struct tally_command *command,
        struct tally_arena *arena)
{
    struct shape *shape = &shapes->shapes[shapes->next];
    struct tally_command again;

    if (shapes->misses++ % LEARN_EVERY || !may_learn(bytes, command)) {
        return;
    }
    *shape = (struct shape){.types = types, .schema = command->schema};
    /* It has to read what it was made of, so that what it did not expect leaves it out. */
    if (!learn_members(shape, bytes, command->payload) ||
            !learn_canonical(shape, command->payload) || !read_by(shape, bytes, arena, &again) ||
            again.fingerprint != command->fingerprint) {
        shape->schema = NULL;
        return;
    }
    shapes->last = shapes->next;
    shapes->next = (shapes->next + 1) % SHAPES;
}

#ifdef TALLY_CHECKS
/* Invariant 1. Both borrow from the same bytes, so that even the structs are the same. */
static void check_same(struct tally_slice value, const struct tally_schema *const *types,
        struct tally_arena *arena, const struct tally_command *command)
{
    struct tally_command other;
    enum tally_refusal refusal;

    tally_assert(tally_command_decode(value, types, arena, &other, &refusal, NULL) == TALLY_OK);
    tally_assert(!other.violations && other.schema == command->schema);
    tally_assert(other.fingerprint == command->fingerprint && other.flat);
    tally_assert(other.id.data == command->id.data && other.id.len == command->id.len);
    tally_assert(tally_token_same(other.payload, command->payload, arena));
    tally_assert(memcmp(other.fields, command->fields, command->schema->size) == 0);
}
#endif

enum tally_code tally_command_decode_by(struct tally_command_shapes *shapes,
        struct tally_slice value, const struct tally_schema *const *types,
        struct tally_arena *arena, struct tally_command *command, enum tally_refusal *refusal,
        struct tally_error *err)
{
    enum tally_code code;

    for (size_t i = 0, at = shapes ? shapes->last : 0; shapes && i < SHAPES;
            i++, at = (at + 1) % SHAPES) {
        const struct shape *shape = &shapes->shapes[at];

        if (shape->schema && shape->types == types && read_by(shape, value, arena, command)) {
            shapes->last = at;
            shapes->hits++;
            *refusal = TALLY_REFUSAL_NONE;
#ifdef TALLY_CHECKS
            check_same(value, types, arena, command);
#endif
            return TALLY_OK;
        }
    }
    code = tally_command_decode(value, types, arena, command, refusal, err);
    if (!code && shapes) {
        learn(shapes, value, types, command, arena);
    }
    return code;
}
