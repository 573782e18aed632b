/* schemas/serde_table.h - how the rows of the .def files become tables of fields.
 *
 * A family's .c file defines STRUCT (its struct) and BIT_OF(bit) (its enum of presence bits), then
 * includes its .def file twice: after serde_fields.def for the arrays of fields, after
 * serde_schemas.def for the schemas. The rows:
 *
 *   RECORD(id, name, key field, key prefix, scope, check, help)
 *
 *   FIELD(bit, member, name, type, presence, help)
 *
 *   COMMON() - the fields that every public command takes; DEADLINE() - of them the deadline alone
 *
 *   OPERATION(member) - the fields of the struct tally_operation that the struct begins with
 *
 *   END(id)
 *
 * scope: PUBLIC, INTERNAL, BROADCAST, EVENT
 *
 * type: ID, SLUG, WAREHOUSE_CODE, TEXT(low, high), INT(low, high), ANY_INT, BOOL, TIME,
 * ENUM(names), OBJECT(schema), STRINGS(low, high), NAMES(form, low, high),
 * ITEMS(schema, low, high), ANY, MAP (of any values)
 *
 * presence: REQUIRED, OPTIONAL, NULLABLE, DEFAULT(value), NONZERO (required, and not 0) */
#pragma once
#include <stddef.h>

#include "schemas/operation.h"

#define QUANTITY_MAX INT64_C(1000000000000)
#define TYPE_ID      .kind = TALLY_KIND_STRING, .text = TALLY_TEXT_ID, .low = 1, .high = 64
#define TYPE_SLUG    .kind = TALLY_KIND_STRING, .text = TALLY_TEXT_SLUG, .low = 1, .high = 96
#define TYPE_WAREHOUSE_CODE \
    .kind = TALLY_KIND_STRING, .text = TALLY_TEXT_WAREHOUSE, .low = 1, .high = 32
#define TYPE_TEXT(low_, high_) \
    .kind = TALLY_KIND_STRING, .text = TALLY_TEXT_ANY, .low = (low_), .high = (high_)
#define TYPE_INT(low_, high_)     .kind = TALLY_KIND_INT, .low = (low_), .high = (high_)
#define TYPE_ANY_INT              .kind = TALLY_KIND_INT, .low = INT64_MIN, .high = INT64_MAX
#define TYPE_BOOL                 .kind = TALLY_KIND_BOOL
#define TYPE_TIME                 .kind = TALLY_KIND_TIME
#define TYPE_ENUM(names_)         .kind = TALLY_KIND_ENUM, .names = (names_)
#define TYPE_OBJECT(schema_)      .kind = TALLY_KIND_OBJECT, .schema = &(schema_)
#define TYPE_STRINGS(low_, high_) .kind = TALLY_KIND_ARRAY, .low = (low_), .high = (high_)
#define TYPE_NAMES(form_, low_, high_) \
    .kind = TALLY_KIND_ARRAY, .text = TALLY_TEXT_##form_, .low = (low_), .high = (high_)
#define TYPE_ITEMS(schema_, low_, high_) \
    .kind = TALLY_KIND_ARRAY, .schema = &(schema_), .low = (low_), .high = (high_)
#define TYPE_ANY .kind = TALLY_KIND_ANY
#define TYPE_MAP .kind = TALLY_KIND_MAP

/* What the struct's member has to be for the type: a row that disagrees does not compile. */
#define MEMBER_ID                          struct tally_slice
#define MEMBER_SLUG                        struct tally_slice
#define MEMBER_WAREHOUSE_CODE              struct tally_slice
#define MEMBER_TEXT(low_, high_)           struct tally_slice
#define MEMBER_INT(low_, high_)            int64_t
#define MEMBER_ANY_INT                     int64_t
#define MEMBER_BOOL                        bool
#define MEMBER_TIME                        int64_t
#define MEMBER_ENUM(names_)                uint8_t
#define MEMBER_OBJECT(schema_)             default
#define MEMBER_STRINGS(low_, high_)        struct tally_array
#define MEMBER_NAMES(form_, low_, high_)   struct tally_array
#define MEMBER_ITEMS(schema_, low_, high_) struct tally_array
#define MEMBER_ANY                         const struct tally_token *
#define MEMBER_MAP                         const struct tally_token *
#define OFFSET_OF(struct_, member_, member_type_) \
    (uint16_t)(offsetof(struct_, member_) + _Generic(((struct_ *)0)->member_, member_type_ : 0))

#define PRESENCE_REQUIRED        .flags = TALLY_REQUIRED
#define PRESENCE_OPTIONAL        .flags = 0
#define PRESENCE_NULLABLE        .flags = TALLY_NULLABLE
#define PRESENCE_DEFAULT(value_) .flags = TALLY_DEFAULTED, .default_value = (value_)
#define PRESENCE_NONZERO         .flags = TALLY_REQUIRED | TALLY_NONZERO

#define FIELD_ROW(struct_, bit_, member_, name_, type_, presence_, help_)        \
    {TALLY_FIELD_NAME(name_), .bit = (bit_),                                     \
            .offset = OFFSET_OF(struct_, member_, MEMBER_##type_), TYPE_##type_, \
            PRESENCE_##presence_, .help = (help_)},

/* The rows of OPERATION for an array of fields in C. */
#define OPERATION_ROWS(struct_, member_)                                                          \
    FIELD_ROW(struct_, TALLY_OPERATION_ID, member_.op_id, "op_id", TEXT(1, 192), REQUIRED,        \
            "id of the command that began it")                                                    \
    FIELD_ROW(struct_, TALLY_OPERATION_COMMAND, member_.command, "command", TEXT(1, 128),         \
            REQUIRED, "its type")                                                                 \
    FIELD_ROW(struct_, TALLY_OPERATION_FINGERPRINT, member_.fingerprint, "fingerprint",           \
            TEXT(16, 16), REQUIRED, "its fingerprint")                                            \
    FIELD_ROW(struct_, TALLY_OPERATION_REPLY, member_.reply, "reply", OBJECT(tally_reply_schema), \
            OPTIONAL, "where its outcome goes")

#define SCOPE_PUBLIC    .internal = false
#define SCOPE_INTERNAL  .internal = true
#define SCOPE_BROADCAST .internal = true, .broadcast = true
#define SCOPE_EVENT     .internal = false
