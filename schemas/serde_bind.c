/* schemas/serde_bind.c - a map of tokens into a described struct, with every broken rule named.
 * Invariants
 *  (1) A field is marked present only if its value passed all its rules; the record is never partly
 *      written with a refused value.
 *  (2) Members in table order cost one comparison of a name each.
 *  (3) Violations come in the order of the document, missing fields after them, at most
 *      TALLY_VIOLATIONS_MAX. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "schemas/serde_internal.h"

/* Where in the payload we are: a pointer is only made when something is wrong there. */
struct place {
    const struct place *parent;
    struct tally_slice name; /* data NULL: an item, at index */
    size_t index;
};

struct binder {
    bool strict;
    struct tally_arena *arena;
    struct tally_violations *violations;
};

static bool bind_map(struct binder *binder, const struct place *parent,
        const struct tally_token *map, const struct tally_schema *schema,
        bool (*skip)(struct tally_slice name), void *record);

void tally_violate(struct tally_violations *violations, const char *pointer, const char *code,
        const char *detail, ...)
{
    struct tally_violation *violation;
    va_list arguments;

    if (violations->count == TALLY_VIOLATIONS_MAX) {
        return;
    }
    violation = &violations->items[violations->count++];
    (void)snprintf(violation->pointer, sizeof violation->pointer, "%s", pointer);
    violation->code = code;
    va_start(arguments, detail);
    (void)vsnprintf(violation->detail, sizeof violation->detail, detail, arguments);
    va_end(arguments);
}

/* Cuts a name that is too long between characters, never inside one or inside an escape. */
void serde_pointer_append(char *pointer, size_t size, struct tally_slice name)
{
    size_t len = strlen(pointer), at = 0;

    if (len + 1 < size) {
        pointer[len++] = '/';
    }
    while (at < name.len) {
        size_t next = at + 1;
        bool escaped = name.data[at] == '~' || name.data[at] == '/';

        while (next < name.len && (name.data[next] & 0xc0) == 0x80) {
            next++;
        }
        if (len + (escaped ? 2 : next - at) + 1 > size) {
            break;
        }
        if (escaped) {
            pointer[len++] = '~';
            pointer[len++] = name.data[at] == '~' ? '0' : '1';
        } else {
            memcpy(pointer + len, name.data + at, next - at);
            len += next - at;
        }
        at = next;
    }
    pointer[len] = 0;
}

static void place_print(const struct place *place, char *pointer, size_t size)
{
    char digits[24];

    if (place->parent) {
        place_print(place->parent, pointer, size);
    } else {
        pointer[0] = 0;
    }
    if (place->name.data) {
        serde_pointer_append(pointer, size, place->name);
    } else {
        (void)snprintf(digits, sizeof digits, "%zu", place->index);
        serde_pointer_append(pointer, size, tally_slice_string(digits));
    }
}

static bool TALLY_PRINTF(4, 5) refuse(struct binder *binder, const struct place *place,
        const char *code, const char *format, ...)
{
    char pointer[sizeof binder->violations->items[0].pointer];
    char detail[sizeof binder->violations->items[0].detail];
    va_list arguments;

    if (binder->violations->count < TALLY_VIOLATIONS_MAX) {
        place_print(place, pointer, sizeof pointer);
        va_start(arguments, format);
        (void)vsnprintf(detail, sizeof detail, format, arguments);
        va_end(arguments);
        tally_violate(binder->violations, pointer, code, "%s", detail);
    }
    return false;
}

static bool wrong_type(struct binder *binder, const struct place *place, const char *expected)
{
    return refuse(binder, place, "WRONG_TYPE", "expected %s", expected);
}

static bool check_string(struct binder *binder, const struct place *place,
        const struct tally_field *field, struct tally_slice text)
{
    const char *expected;

    if (text.len < (uint64_t)field->low || text.len > (uint64_t)field->high) {
        return refuse(binder, place, "BAD_LENGTH",
                "expected %" PRId64 " to %" PRId64 " bytes, got %zu", field->low, field->high,
                text.len);
    }
    expected = serde_text_check(text, (enum tally_text)field->text);
    return expected ? refuse(binder, place, "BAD_FORMAT", "expected %s", expected) : true;
}

static bool bind_int(struct binder *binder, const struct place *place,
        const struct tally_field *field, int64_t value, int64_t *to)
{
    if (value < field->low || value > field->high) {
        return refuse(binder, place, "OUT_OF_RANGE",
                "expected %" PRId64 " to %" PRId64 ", got %" PRId64, field->low, field->high,
                value);
    }
    if (value == 0 && field->flags & TALLY_NONZERO) {
        return refuse(binder, place, "OUT_OF_RANGE", "expected a number other than 0");
    }
    *to = value;
    return true;
}

static bool bind_time(struct binder *binder, const struct place *place,
        const struct tally_token *value, int64_t *to)
{
    int64_t time_ms;

    if (value->type != TALLY_STRING) {
        return wrong_type(binder, place, "a time as text");
    }
    if (!tally_parse_time(value->string, &time_ms)) {
        return refuse(binder, place, "BAD_FORMAT",
                "expected RFC 3339 in UTC, 2026-01-15T10:00:00.000Z");
    }
    *to = time_ms;
    return true;
}

static bool bind_enum(struct binder *binder, const struct place *place,
        const struct tally_field *field, const struct tally_token *value, uint8_t *to)
{
    char allowed[80] = "";
    size_t len = 0;

    if (value->type != TALLY_STRING) {
        return wrong_type(binder, place, "a name as text");
    }
    for (uint8_t i = 0; field->names[i]; i++) {
        if (serde_name_is(value->string, field->names[i])) {
            *to = i;
            return true;
        }
    }
    for (size_t i = 0; field->names[i] && len < sizeof allowed; i++) {
        int more = snprintf(allowed + len, sizeof allowed - len, "%s%s", i ? ", " : "",
                field->names[i]);

        len += (size_t)more;
    }
    return refuse(binder, place, "NOT_ALLOWED", "expected one of %s", allowed);
}

/* Text of an array: its form says how long it may be. */
static bool bind_text(struct binder *binder, const struct place *place,
        const struct tally_field *field, const struct tally_token *item, void *to)
{
    enum tally_text kind = (enum tally_text)field->text;
    const char *expected;

    if (item->type != TALLY_STRING) {
        return wrong_type(binder, place, "text");
    }
    if (item->string.len > serde_text_max(kind)) {
        return refuse(binder, place, "BAD_LENGTH", "expected at most %zu bytes, got %zu",
                serde_text_max(kind), item->string.len);
    }
    expected = serde_text_check(item->string, kind);
    if (expected) {
        return refuse(binder, place, "BAD_FORMAT", "expected %s", expected);
    }
    memcpy(to, &item->string, sizeof item->string);
    return true;
}

static bool bind_array(struct binder *binder, const struct place *place,
        const struct tally_field *field, const struct tally_token *value, struct tally_array *to)
{
    size_t size = field->schema ? field->schema->size : sizeof(struct tally_slice);
    struct place item_place = {.parent = place, .name = TALLY_NONE};
    const struct tally_token *item = value + 1;
    struct tally_array array = {.items = NULL, .count = value->count};
    bool fine = true;

    if (value->type != TALLY_ARRAY) {
        return wrong_type(binder, place, "an array");
    }
    if (value->count < (uint64_t)field->low || value->count > (uint64_t)field->high) {
        return refuse(binder, place, "BAD_LENGTH",
                "expected %" PRId64 " to %" PRId64 " items, got %u", field->low, field->high,
                value->count);
    }
    array.items = tally_arena_alloc(binder->arena, size * array.count + 1);
    for (; item_place.index < array.count; item_place.index++) {
        uint8_t *into = (uint8_t *)array.items + size * item_place.index;

        if (field->schema) {
            fine = (item->type == TALLY_MAP
                                   ? bind_map(binder, &item_place, item, field->schema, NULL, into)
                                   : wrong_type(binder, &item_place, "an object")) &&
                   fine;
        } else {
            fine = bind_text(binder, &item_place, field, item, into) && fine;
        }
        item = tally_token_next(item);
    }
    if (fine) {
        *to = array;
    }
    return fine;
}

static bool bind_value(struct binder *binder, const struct place *place,
        const struct tally_field *field, const struct tally_token *value, void *to)
{
    switch ((enum tally_field_kind)field->kind) {
    case TALLY_KIND_STRING:
        if (value->type != TALLY_STRING) {
            return wrong_type(binder, place, "text");
        }
        if (!check_string(binder, place, field, value->string)) {
            return false;
        }
        memcpy(to, &value->string, sizeof value->string);
        return true;
    case TALLY_KIND_INT:
        return value->type == TALLY_INT ? bind_int(binder, place, field, value->integer, to)
                                        : wrong_type(binder, place, "an integer");
    case TALLY_KIND_BOOL:
        if (value->type != TALLY_BOOL) {
            return wrong_type(binder, place, "true or false");
        }
        *(bool *)to = value->integer != 0;
        return true;
    case TALLY_KIND_TIME:
        return bind_time(binder, place, value, to);
    case TALLY_KIND_ENUM:
        return bind_enum(binder, place, field, value, to);
    case TALLY_KIND_OBJECT:
        return value->type == TALLY_MAP ? bind_map(binder, place, value, field->schema, NULL, to)
                                        : wrong_type(binder, place, "an object");
    case TALLY_KIND_ARRAY:
        return bind_array(binder, place, field, value, to);
    case TALLY_KIND_MAP:
        if (value->type != TALLY_MAP) {
            return wrong_type(binder, place, "an object");
        }
        *(const struct tally_token **)to = value;
        return true;
    case TALLY_KIND_ANY:
        *(const struct tally_token **)to = value;
        return true;
    }
    return false;
}

static void fill_default(const struct tally_field *field, void *to)
{
    switch ((enum tally_field_kind)field->kind) {
    case TALLY_KIND_INT:
    case TALLY_KIND_TIME:
        *(int64_t *)to = field->default_value;
        break;
    case TALLY_KIND_BOOL:
        *(bool *)to = field->default_value != 0;
        break;
    case TALLY_KIND_ENUM:
        *(uint8_t *)to = (uint8_t)field->default_value;
        break;
    default:
        break; /* zeroed: empty */
    }
}

/* The field of a name, searched from *hint on, the field after the last one found. */
static const struct tally_field *find_field(const struct tally_schema *schema,
        struct tally_slice name, size_t *hint)
{
    size_t at = *hint;

    for (size_t i = 0; i < schema->field_count; i++, at++) {
        if (at >= schema->field_count) {
            at = 0;
        }
        if (schema->fields[at].name_len == name.len &&
                memcmp(schema->fields[at].name, name.data, name.len) == 0) {
            *hint = at + 1;
            return &schema->fields[at];
        }
    }
    return NULL;
}

static void bind_member(struct binder *binder, const struct place *place,
        const struct tally_field *field, const struct tally_token *value, void *record)
{
    struct tally_presence *presence = record;

    if (value->type == TALLY_NULL && field->flags & TALLY_NULLABLE) {
        presence->nulls |= TALLY_BIT(field->bit);
    } else if (!bind_value(binder, place, field, value, (uint8_t *)record + field->offset)) {
        return;
    }
    presence->present |= TALLY_BIT(field->bit);
}

static void make_empty(const struct tally_schema *schema, void *record)
{
    memset(record, 0, schema->size);
    for (size_t i = 0; i < schema->field_count; i++) {
        if (schema->fields[i].flags & TALLY_DEFAULTED) {
            fill_default(&schema->fields[i], (uint8_t *)record + schema->fields[i].offset);
        }
    }
}

static bool bind_map(struct binder *binder, const struct place *parent,
        const struct tally_token *map, const struct tally_schema *schema,
        bool (*skip)(struct tally_slice name), void *record)
{
    struct place place = {.parent = parent};
    const struct tally_token *member = map + 1;
    size_t before = binder->violations->count, hint = 0;
    uint64_t seen = 0;

    make_empty(schema, record);
    for (uint32_t i = 0; i < map->count; i++) {
        const struct tally_field *field = find_field(schema, member->string, &hint);

        place.name = member->string;
        if (field) {
            seen |= TALLY_BIT(field - schema->fields);
            bind_member(binder, &place, field, member + 1, record);
        } else if (binder->strict && !(skip && skip(member->string))) {
            refuse(binder, &place, "UNKNOWN_FIELD", "%s has no such field", schema->name);
        }
        member = tally_token_next(member + 1);
    }
    for (size_t i = 0; i < schema->field_count; i++) {
        if (schema->fields[i].flags & TALLY_REQUIRED && !(seen & TALLY_BIT(i))) {
            place.name = tally_slice_string(schema->fields[i].name);
            refuse(binder, &place, "REQUIRED", "%s needs this field", schema->name);
        }
    }
    if (schema->check && binder->violations->count == before) {
        schema->check(record, binder->violations);
    }
    return binder->violations->count == before;
}

void tally_bind(const struct tally_token *map, const struct tally_schema *schema, bool strict,
        bool (*skip)(struct tally_slice name), struct tally_arena *arena, void *record,
        struct tally_violations *violations)
{
    struct binder binder = {.strict = strict, .arena = arena, .violations = violations};

    tally_assert(map->type == TALLY_MAP && schema->field_count <= 64);
    violations->count = 0;
    (void)bind_map(&binder, NULL, map, schema, skip, record);
}

bool serde_bind_members(const struct tally_schema *schema, const struct serde_bound *members,
        size_t count, struct tally_arena *arena, void *record)
{
    TALLY_UNINITIALIZED struct tally_violations violations;
    struct binder binder = {.strict = true, .arena = arena, .violations = &violations};
    struct place place = {.parent = NULL};

    violations.count = 0;
    make_empty(schema, record);
    for (size_t i = 0; i < count; i++) {
        const struct tally_field *field = members[i].field;

        place.name = tally_slice_of(field->name, field->name_len);
        bind_member(&binder, &place, field, members[i].value, record);
    }
    if (schema->check && violations.count == 0) {
        schema->check(record, &violations);
    }
    return violations.count == 0;
}
