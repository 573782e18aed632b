/* http/api_schema.h - record tables as JSON Schema 2020-12. @thread any */
#pragma once
#include "http/api_text.h"
#include "schemas/serde.h"

/* What a record may hold besides the fields of its table. */
enum api_record {
    API_OPEN,   /* anything more, as newer releases write it */
    API_CLOSED, /* nothing more */
    API_COMMAND /* nothing more but `type` and `command_id`, which stand elsewhere too */
};
/* A member of the open map, name NULL: an item: the schema of a whole record. leave_out: names of
 * fields that are not part of it, ends with NULL; or NULL. */
void api_schema_record(struct api_text *text, const char *name, const struct tally_schema *schema,
        enum api_record record, const char *const *leave_out);
