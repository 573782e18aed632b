/* schemas/catalogue_row_json.c - rows of the catalogue stores as JSON, for dumps and operators. */
#include "schemas/catalogue_records.h"
#include "schemas/row_json_internal.h"

/* A document that is kept as it is. */
static bool write_document(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    const struct tally_token *root;
    enum tally_refusal refusal;

    if (tally_document_parse(row, arena, &root, &refusal, NULL)) {
        return false;
    }
    tally_write_token(writer, root);
    return true;
}

static bool product_json(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    struct catalogue_product product;

    return catalogue_product_unpack(row, arena, &product) && write_document(row, arena, writer);
}

static bool operation_json(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    struct catalogue_operation operation;
    int64_t due_ms;

    if (!catalogue_operation_unpack(row, arena, &operation, &due_ms)) {
        return false;
    }
    tally_write_map(writer, 2);
    row_json_time(writer, "due_at", due_ms);
    tally_write_name(writer, "op");
    return write_document(tally_slice_of(row.data + 8, row.len - 8), arena, writer);
}

static bool slug_json(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    struct catalogue_slug_row slug;

    (void)arena;
    if (!catalogue_slug_unpack(row, &slug)) {
        return false;
    }
    tally_write_map(writer, 2);
    row_json_text(writer, "product_id", slug.product_id);
    row_json_text(writer, "op_id", slug.op_id);
    return true;
}

static bool timer_json(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    struct catalogue_timer_row timer;

    (void)arena;
    if (!catalogue_timer_unpack(row, &timer)) {
        return false;
    }
    tally_write_map(writer, 1);
    row_json_text(writer, "op_id", timer.op_id);
    return true;
}

const struct row_json_store catalogue_row_stores[] = {{"product", product_json},
        {"operation", operation_json}, {"slug", slug_json}, {"timer", timer_json},
        {"warehouse", row_json_warehouse}, {NULL, NULL}};
