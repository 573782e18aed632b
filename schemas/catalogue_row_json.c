/* schemas/catalogue_row_json.c - rows of the catalogue stores as JSON, for dumps and operators. */
#include "schemas/catalogue_records.h"
#include "schemas/stock_records.h"

#define ARENA_BLOCK_BYTES (64 * 1024)

static void write_text(struct tally_writer *writer, const char *name, struct tally_slice text)
{
    tally_write_name(writer, name);
    tally_write_string(writer, text);
}

/* A document that is kept as it is. */
static bool write_document(struct tally_slice row, struct tally_writer *writer)
{
    const struct tally_token *root;
    enum tally_refusal refusal;
    struct tally_arena arena;
    bool fine;

    tally_arena_init(&arena, ARENA_BLOCK_BYTES);
    fine = tally_document_parse(row, &arena, &root, &refusal, NULL) == TALLY_OK;
    if (fine) {
        tally_write_token(writer, root);
    }
    tally_arena_deinit(&arena);
    return fine;
}

static bool product_json(struct tally_slice row, struct tally_writer *writer)
{
    struct catalogue_product product;
    struct tally_arena arena;
    bool fine;

    tally_arena_init(&arena, ARENA_BLOCK_BYTES);
    fine = catalogue_product_unpack(row, &arena, &product);
    tally_arena_deinit(&arena);
    return fine && write_document(row, writer);
}

static bool operation_json(struct tally_slice row, struct tally_writer *writer)
{
    struct catalogue_operation operation;
    struct tally_arena arena;
    int64_t due_ms;
    bool fine;

    tally_arena_init(&arena, ARENA_BLOCK_BYTES);
    fine = catalogue_operation_unpack(row, &arena, &operation, &due_ms);
    tally_arena_deinit(&arena);
    if (!fine) {
        return false;
    }
    tally_write_map(writer, 2);
    tally_write_name(writer, "due_at");
    tally_write_time(writer, due_ms);
    tally_write_name(writer, "op");
    return write_document(tally_slice_of(row.data + 8, row.len - 8), writer);
}

static bool slug_json(struct tally_slice row, struct tally_writer *writer)
{
    struct catalogue_slug_row slug;

    if (!catalogue_slug_unpack(row, &slug)) {
        return false;
    }
    tally_write_map(writer, 2);
    write_text(writer, "product_id", slug.product_id);
    write_text(writer, "op_id", slug.op_id);
    return true;
}

static bool timer_json(struct tally_slice row, struct tally_writer *writer)
{
    struct catalogue_timer_row timer;

    if (!catalogue_timer_unpack(row, &timer)) {
        return false;
    }
    tally_write_map(writer, 1);
    write_text(writer, "op_id", timer.op_id);
    return true;
}

bool catalogue_row_json(const char *store, struct tally_slice row, struct tally_buf *out)
{
    static const struct {
        const char *store;
        bool (*write)(struct tally_slice row, struct tally_writer *writer);
    } stores[] = {{"product", product_json}, {"operation", operation_json}, {"slug", slug_json},
            {"timer", timer_json}};
    struct tally_writer writer;

    if (strcmp(store, "warehouse") == 0) {
        return stock_row_json(store, row, out);
    }
    tally_write_begin(&writer, out, TALLY_FORMAT_JSON);
    for (size_t i = 0; i < sizeof stores / sizeof stores[0]; i++) {
        if (strcmp(stores[i].store, store) == 0) {
            return stores[i].write(row, &writer);
        }
    }
    return false;
}
