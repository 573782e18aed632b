/* schemas/row_json.h - rows of every topology's stores as JSON, for dumps and /v1/ops. */
#pragma once
#include "engine/base/bytes.h"

/* Appends a row of a store that is in key_schema.def for this topology alone, as a JSON object.
 * false: damaged, or no such store; what was appended then is no document. @thread any */
bool tally_row_json(const char *topology, const char *store, struct tally_slice row,
        struct tally_buf *out);
