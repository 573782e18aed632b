/* schemas/serde_encode.c - a described struct as a map, through the same table that binds it.
 * Invariants
 *  (1) Members come in table order, whatever order they were bound in: the same struct gives the
 *      same bytes.
 *  (2) What tally_bind made of a document encodes to a document that binds to the same struct. */
#include "schemas/serde_internal.h"

enum { NAME_WORD_LEN = 7 }; /* of a name in name_word, behind its head */

static bool is_zero(const struct tally_field *field, const void *value)
{
    switch ((enum tally_field_kind)field->kind) {
    case TALLY_KIND_STRING:
        return ((const struct tally_slice *)value)->len == 0;
    case TALLY_KIND_INT:
    case TALLY_KIND_TIME:
        return *(const int64_t *)value == 0;
    case TALLY_KIND_BOOL:
        return !*(const bool *)value;
    case TALLY_KIND_ENUM:
        return *(const uint8_t *)value == 0;
    case TALLY_KIND_OBJECT:
        return ((const struct tally_presence *)value)->present == 0;
    case TALLY_KIND_ARRAY:
        return ((const struct tally_array *)value)->count == 0;
    case TALLY_KIND_ANY:
    case TALLY_KIND_MAP:
        return *(const struct tally_token *const *)value == NULL;
    }
    return false;
}

static bool is_written(const struct tally_field *field, const void *record)
{
    const struct tally_presence *presence = record;

    if (!(presence->present & TALLY_BIT(field->bit))) {
        return false;
    }
    return !(field->flags & TALLY_OMIT_ZERO) ||
           !is_zero(field, (const uint8_t *)record + field->offset);
}

uint64_t serde_encode_fields(const struct tally_schema *schema, const void *record)
{
    uint64_t fields = 0;

    for (size_t i = 0; i < schema->field_count; i++) {
        fields |= (uint64_t)is_written(&schema->fields[i], record) << i;
    }
    return fields;
}

static const char *enum_name(const struct tally_field *field, uint8_t value)
{
    for (uint8_t i = 0; i < value; i++) {
        tally_assert(field->names[i] != NULL);
    }
    tally_assert(field->names[value] != NULL);
    return field->names[value];
}

static void write_map(struct tally_writer *writer, const struct tally_schema *schema,
        const void *record)
{
    uint64_t fields = serde_encode_fields(schema, record);

    tally_write_map(writer, (uint32_t)__builtin_popcountll(fields));
    serde_encode_members(writer, schema, record, fields);
}

static void write_array(struct tally_writer *writer, const struct tally_field *field,
        const struct tally_array *array)
{
    tally_write_array(writer, (uint32_t)array->count);
    for (size_t i = 0; i < array->count; i++) {
        if (field->schema) {
            write_map(writer, field->schema,
                    (const uint8_t *)array->items + i * field->schema->size);
        } else {
            tally_write_string(writer, ((const struct tally_slice *)array->items)[i]);
        }
    }
}

static void write_value(struct tally_writer *writer, const struct tally_field *field,
        const void *value)
{
    switch ((enum tally_field_kind)field->kind) {
    case TALLY_KIND_STRING:
        tally_write_string(writer, *(const struct tally_slice *)value);
        break;
    case TALLY_KIND_INT:
        tally_write_int(writer, *(const int64_t *)value);
        break;
    case TALLY_KIND_BOOL:
        tally_write_bool(writer, *(const bool *)value);
        break;
    case TALLY_KIND_TIME:
        tally_write_time(writer, *(const int64_t *)value);
        break;
    case TALLY_KIND_ENUM:
        tally_write_string(writer, tally_slice_string(enum_name(field, *(const uint8_t *)value)));
        break;
    case TALLY_KIND_OBJECT:
        write_map(writer, field->schema, value);
        break;
    case TALLY_KIND_ARRAY:
        write_array(writer, field, value);
        break;
    case TALLY_KIND_ANY:
    case TALLY_KIND_MAP:
        tally_write_token(writer, *(const struct tally_token *const *)value);
        break;
    }
}

/* The first eight bytes of a name are one number; what is too much of them the value covers. */
static inline uint8_t *put_name(uint8_t *to, const struct tally_field *field)
{
    if (field->name_word == 0) { /* too long for that */
        return to + serde_put_string(to, field->name, field->name_len);
    }
    tally_put_u64(to, field->name_word);
    if (field->name_len > NAME_WORD_LEN) {
        tally_copy_short(to + 8, (const uint8_t *)field->name + NAME_WORD_LEN,
                field->name_len - NAME_WORD_LEN);
    }
    return to + 1 + field->name_len;
}

/* Name and value at once, with one look at the room there is; false: a value of another kind. */
static bool pack_member(struct tally_buf *out, const struct tally_field *field, const void *value)
{
    struct tally_slice text = TALLY_NONE;
    uint8_t *to;

    if (field->kind == TALLY_KIND_STRING) {
        text = *(const struct tally_slice *)value;
    } else if (field->kind == TALLY_KIND_ENUM) {
        text = tally_slice_string(enum_name(field, *(const uint8_t *)value));
    } else if (field->kind != TALLY_KIND_INT) {
        return false;
    }
    to = serde_room(out, 2 * SERDE_HEAD_MAX + field->name_len + text.len);
    if (to) {
        to = put_name(to, field);
        to += field->kind == TALLY_KIND_INT ? serde_put_int(to, *(const int64_t *)value)
                                            : serde_put_string(to, text.data, text.len);
        out->len = (size_t)(to - out->data);
    }
    return true;
}

void serde_encode_members(struct tally_writer *writer, const struct tally_schema *schema,
        const void *record, uint64_t fields)
{
    const struct tally_presence *presence = record;

    for (; fields; fields &= fields - 1) {
        const struct tally_field *field = &schema->fields[__builtin_ctzll(fields)];
        const void *value = (const uint8_t *)record + field->offset;
        bool null = presence->nulls & TALLY_BIT(field->bit);

        if (writer->format == TALLY_FORMAT_MSGPACK && !null &&
                pack_member(writer->out, field, value)) {
            continue;
        }
        serde_write_name(writer, tally_slice_of(field->name, field->name_len));
        if (null) {
            tally_write_null(writer);
        } else {
            write_value(writer, field, value);
        }
    }
}

void tally_encode(const struct tally_schema *schema, const void *record, enum tally_format format,
        struct tally_buf *out)
{
    struct tally_writer writer;

    tally_write_begin(&writer, out, format);
    write_map(&writer, schema, record);
}
