/* schemas/serde_schemas.h - second pass over a .def file: the schema of each record. */
#undef RECORD
#undef FIELD
#undef COMMON
#undef END
#define RECORD(id_, name_, key_field_, key_prefix_, scope_, check_, help_) \
    static const struct tally_schema schema_##id_ = {.name = (name_), .id = (id_), .fields = fields_##id_, \
            .field_count = sizeof fields_##id_ / sizeof fields_##id_[0], .size = sizeof(STRUCT), \
            .key_field = (key_field_), .key_prefix = (key_prefix_), SCOPE_##scope_, .check = (check_), \
            .help = (help_)};
#define FIELD(bit, member, name, type, presence, help)
#define COMMON()
#define END(id)
