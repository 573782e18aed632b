/* schemas/row_json.c - which family knows the rows of a topology, and the members that their rows
 * are made of; see row_json.h. */
#include "schemas/row_json_internal.h"
#include "schemas/serde_internal.h"

#define ARENA_BLOCK_BYTES 4096

static const struct {
    const char *topology;
    const struct row_json_store *stores;
} families[] = {
        {"catalogue", catalogue_row_stores},
        {"expiring", analytics_row_stores},
        {"low_stock", analytics_row_stores},
        {"movements", analytics_row_stores},
        {"reservation", reservation_row_stores},
        {"stock", stock_row_stores},
        {"transfer", transfer_row_stores},
};

static const struct row_json_store *find(const char *topology, const char *store)
{
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        const struct row_json_store *found = families[i].stores;

        if (strcmp(families[i].topology, topology) != 0) {
            continue;
        }
        while (found->store && strcmp(found->store, store) != 0) {
            found++;
        }
        return found->store ? found : NULL;
    }
    return NULL;
}

bool tally_row_json(const char *topology, const char *store, struct tally_slice row,
        struct tally_buf *out)
{
    const struct row_json_store *found = find(topology, store);
    struct tally_writer writer;
    struct tally_arena arena;
    bool fine;

    if (!found) {
        return false;
    }
    tally_arena_init(&arena, ARENA_BLOCK_BYTES);
    tally_write_begin(&writer, out, TALLY_FORMAT_JSON);
    fine = found->write(row, &arena, &writer);
    tally_arena_deinit(&arena);
    return fine;
}

void row_json_text(struct tally_writer *writer, const char *name, struct tally_slice text)
{
    serde_write_name(writer, tally_slice_string(name));
    tally_write_string(writer, text);
}

void row_json_text_or_null(struct tally_writer *writer, const char *name, struct tally_slice text)
{
    if (text.len) {
        row_json_text(writer, name, text);
    } else {
        serde_write_name(writer, tally_slice_string(name));
        tally_write_null(writer);
    }
}

void row_json_int(struct tally_writer *writer, const char *name, int64_t value)
{
    serde_write_name(writer, tally_slice_string(name));
    tally_write_int(writer, value);
}

void row_json_int_or_null(struct tally_writer *writer, const char *name, bool present,
        int64_t value)
{
    if (present) {
        row_json_int(writer, name, value);
    } else {
        serde_write_name(writer, tally_slice_string(name));
        tally_write_null(writer);
    }
}

void row_json_time(struct tally_writer *writer, const char *name, int64_t time_ms)
{
    serde_write_name(writer, tally_slice_string(name));
    tally_write_time(writer, time_ms);
}

void row_json_time_or_null(struct tally_writer *writer, const char *name, int64_t time_ms)
{
    if (time_ms) {
        row_json_time(writer, name, time_ms);
    } else {
        serde_write_name(writer, tally_slice_string(name));
        tally_write_null(writer);
    }
}
