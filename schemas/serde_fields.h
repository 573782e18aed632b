/* schemas/serde_fields.h - first pass over a .def file: one array of fields for each record. */
#undef RECORD
#undef FIELD
#undef COMMON
#undef END
#define RECORD(id, name, key_field, key_prefix, scope, check, help) static const struct tally_field fields_##id[] = {
#define FIELD(bit, member, name, type, presence, help) \
    FIELD_ROW(STRUCT, BIT_OF(bit), member, name, type, presence, help)
#define COMMON() \
    FIELD_ROW(STRUCT, TALLY_HAS_EXPECTED_VERSION, head.expected_version, "expected_version", INT(0, INT64_MAX), \
            OPTIONAL, "version of the aggregate that the command was made for") \
    FIELD_ROW(STRUCT, TALLY_HAS_DEADLINE, head.deadline, "deadline", TIME, OPTIONAL, \
            "after this time the command is refused") \
    FIELD_ROW(STRUCT, TALLY_HAS_REFERENCE, head.reference, "reference", TEXT(0, 256), OPTIONAL, \
            "the sender's own reference, kept in the ledger") \
    FIELD_ROW(STRUCT, TALLY_HAS_NOTE, head.note, "note", TEXT(0, 500), OPTIONAL, "a remark, kept in the ledger")
#define END(id) };
