/* schemas/row_json_internal.h - what the families give to row_json.c: which of their rows become
 * which members. Members come in a fixed order, so that two dumps of the same state are the same
 * bytes. */
#pragma once
#include "schemas/row_json.h"
#include "schemas/serde.h"

/* Writes a row as one value; false: damaged. The arena lives for the call. */
struct row_json_store {
    const char *store; /* NULL: the end of a family's list */
    bool (*write)(struct tally_slice row, struct tally_arena *arena, struct tally_writer *writer);
};
extern const struct row_json_store analytics_row_stores[], catalogue_row_stores[],
        reservation_row_stores[], stock_row_stores[], transfer_row_stores[];
/* Of both stock and catalogue. */
bool row_json_warehouse(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer);

/* A member; null where there is nothing: an empty text, a time of 0. */
void row_json_text(struct tally_writer *writer, const char *name, struct tally_slice text);
void row_json_text_or_null(struct tally_writer *writer, const char *name, struct tally_slice text);
void row_json_int(struct tally_writer *writer, const char *name, int64_t value);
void row_json_int_or_null(struct tally_writer *writer, const char *name, bool present,
        int64_t value);
void row_json_time(struct tally_writer *writer, const char *name, int64_t time_ms);
void row_json_time_or_null(struct tally_writer *writer, const char *name, int64_t time_ms);
