/* http/api_schema.c - see api_schema.h.
 * Lengths of a table are of bytes, those of JSON Schema of characters: where a character may have
 * several bytes, the schema allows what the table does and more. */
#include "http/api_schema.h"

static const char *pattern_of(enum tally_text text)
{
    switch (text) {
    case TALLY_TEXT_ID:
        return "^[A-Za-z0-9][A-Za-z0-9._-]*$";
    case TALLY_TEXT_WAREHOUSE:
        return "^[A-Z0-9][A-Z0-9_-]*$";
    case TALLY_TEXT_SLUG:
        return "^[a-z0-9]+(-[a-z0-9]+)*$";
    case TALLY_TEXT_COMMAND_ID:
        return "^[A-Za-z0-9._:-]+$";
    case TALLY_TEXT_ANY:
        break;
    }
    return NULL;
}

static void write_type(struct api_text *text, const struct tally_field *field, const char *type)
{
    if (field->flags & TALLY_NULLABLE) {
        api_text_list(text, "type");
        api_text_string(text, NULL, type);
        api_text_string(text, NULL, "null");
        api_text_close(text);
    } else {
        api_text_string(text, "type", type);
    }
}

static void write_string(struct api_text *text, const struct tally_field *field)
{
    write_type(text, field, "string");
    if (field->low > 0) {
        api_text_int(text, "minLength", field->low);
    }
    api_text_int(text, "maxLength", field->high);
    if (pattern_of((enum tally_text)field->text)) {
        api_text_string(text, "pattern", pattern_of((enum tally_text)field->text));
    }
}

static void write_int(struct api_text *text, const struct tally_field *field)
{
    write_type(text, field, "integer");
    api_text_string(text, "format", "int64");
    if (field->low != INT64_MIN) {
        api_text_int(text, "minimum", field->low);
    }
    if (field->high != INT64_MAX) {
        api_text_int(text, "maximum", field->high);
    }
    if (field->flags & TALLY_NONZERO) {
        api_text_json(text, "not", "{\"const\":0}");
    }
}

static void write_names(struct api_text *text, const struct tally_field *field)
{
    write_type(text, field, "string");
    api_text_list(text, "enum");
    for (size_t i = 0; field->names[i]; i++) {
        api_text_string(text, NULL, field->names[i]);
    }
    if (field->flags & TALLY_NULLABLE) {
        api_text_json(text, NULL, "null");
    }
    api_text_close(text);
}

static void write_record(struct api_text *text, const struct tally_schema *schema,
        enum api_record record, const char *const *leave_out, unsigned flags);

static void write_items(struct api_text *text, const struct tally_field *field,
        enum api_record record)
{
    write_type(text, field, "array");
    if (field->low > 0) {
        api_text_int(text, "minItems", field->low);
    }
    if (field->high > 0 && field->high < TALLY_DOCUMENT_ELEMENTS_MAX) {
        api_text_int(text, "maxItems", field->high);
    }
    api_text_map(text, "items");
    if (field->schema) {
        write_record(text, field->schema, record, NULL, 0);
    } else {
        api_text_string(text, "type", "string");
        if (pattern_of((enum tally_text)field->text)) {
            api_text_string(text, "pattern", pattern_of((enum tally_text)field->text));
        }
    }
    api_text_close(text);
}

static void write_default(struct api_text *text, const struct tally_field *field)
{
    if (field->kind == TALLY_KIND_ENUM) {
        api_text_string(text, "default", field->names[field->default_value]);
    } else if (field->kind == TALLY_KIND_BOOL) {
        api_text_bool(text, "default", field->default_value != 0);
    } else if (field->kind == TALLY_KIND_INT) {
        api_text_int(text, "default", field->default_value);
    }
}

static void write_field(struct api_text *text, const struct tally_field *field,
        enum api_record record)
{
    api_text_map(text, field->name);
    switch ((enum tally_field_kind)field->kind) {
    case TALLY_KIND_STRING:
        write_string(text, field);
        break;
    case TALLY_KIND_INT:
        write_int(text, field);
        break;
    case TALLY_KIND_BOOL:
        write_type(text, field, "boolean");
        break;
    case TALLY_KIND_TIME:
        write_type(text, field, "string");
        api_text_string(text, "format", "date-time");
        break;
    case TALLY_KIND_ENUM:
        write_names(text, field);
        break;
    case TALLY_KIND_OBJECT:
        write_record(text, field->schema, record, NULL, field->flags);
        break;
    case TALLY_KIND_ARRAY:
        write_items(text, field, record);
        break;
    case TALLY_KIND_MAP:
        write_type(text, field, "object");
        break;
    case TALLY_KIND_ANY:
        break;
    }
    if (field->flags & TALLY_DEFAULTED) {
        write_default(text, field);
    }
    if (field->help && field->help[0]) {
        api_text_string(text, "description", field->help);
    }
    api_text_close(text);
}

static bool is_left_out(const char *const *leave_out, const char *name)
{
    for (; leave_out && *leave_out; leave_out++) {
        if (strcmp(*leave_out, name) == 0) {
            return true;
        }
    }
    return false;
}

static void write_required(struct api_text *text, const struct tally_schema *schema,
        const char *const *leave_out)
{
    bool any = false;

    for (size_t i = 0; i < schema->field_count; i++) {
        const struct tally_field *field = &schema->fields[i];

        if (field->flags & TALLY_REQUIRED && !is_left_out(leave_out, field->name)) {
            if (!any) {
                api_text_list(text, "required");
            }
            any = true;
            api_text_string(text, NULL, field->name);
        }
    }
    if (any) {
        api_text_close(text);
    }
}

/* The members of a schema whose map is open. flags: of the field that holds the record. */
static void write_record(struct api_text *text, const struct tally_schema *schema,
        enum api_record record, const char *const *leave_out, unsigned flags)
{
    /* What a command holds is closed too, and has no type or id of its own. */
    enum api_record inner = record == API_OPEN ? API_OPEN : API_CLOSED;

    if (flags & TALLY_NULLABLE) {
        api_text_json(text, "type", "[\"object\",\"null\"]");
    } else {
        api_text_string(text, "type", "object");
    }
    api_text_map(text, "properties");
    if (record == API_COMMAND) {
        api_text_map(text, "type");
        api_text_string(text, "const", schema->name);
        api_text_close(text);
        api_text_json(text, "command_id", "{\"$ref\":\"#/components/schemas/CommandId\"}");
    }
    for (size_t i = 0; i < schema->field_count; i++) {
        if (!is_left_out(leave_out, schema->fields[i].name)) {
            write_field(text, &schema->fields[i], inner);
        }
    }
    api_text_close(text);
    write_required(text, schema, leave_out);
    if (record != API_OPEN) {
        api_text_bool(text, "additionalProperties", false);
    }
}

void api_schema_record(struct api_text *text, const char *name, const struct tally_schema *schema,
        enum api_record record, const char *const *leave_out)
{
    api_text_map(text, name);
    if (schema->help && schema->help[0]) {
        api_text_string(text, "description", schema->help);
    }
    write_record(text, schema, record, leave_out, 0);
    api_text_close(text);
}
