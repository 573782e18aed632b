/* connectors/postgres_rows.c - rows of one table that are to be written, the last version of each
 * key alone: a server refuses to change a row twice in one statement, and need not.
 * Cells borrow from the records of the batch, so a row costs 16 bytes a column. */
#include <stdlib.h>

#include "connectors/postgres_internal.h"
#include "engine/base/hash.h"

#define FIRST_ROWS 64

void postgres_rows_init(struct postgres_rows *rows, const struct postgres_table *table)
{
    *rows = (struct postgres_rows){.table = table};
}

void postgres_rows_deinit(struct postgres_rows *rows)
{
    tally_free(rows->cells);
    tally_free(rows->slots);
}

void postgres_rows_clear(struct postgres_rows *rows)
{
    if (rows->count) {
        memset(rows->slots, 0, rows->slot_count * sizeof *rows->slots);
    }
    rows->count = 0;
}

static struct tally_slice bytes_of(const struct postgres_rows *rows, int column,
        const struct postgres_cell *cell)
{
    bool number = rows->table->columns[column].type == POSTGRES_INT;

    return number ? tally_slice_of(&cell->integer, sizeof cell->integer)
                  : tally_slice_of(cell->bytes, cell->len < 0 ? 0 : (size_t)cell->len);
}

static uint32_t hash_of(const struct postgres_rows *rows, const struct postgres_cell *key)
{
    uint32_t hash = 0;

    for (int i = 0; i < rows->table->key_count; i++) {
        hash = hash * 31 + tally_murmur2(bytes_of(rows, i, &key[i]));
    }
    return hash;
}

static bool same_key(const struct postgres_rows *rows, const struct postgres_cell *a,
        const struct postgres_cell *b)
{
    for (int i = 0; i < rows->table->key_count; i++) {
        if (!tally_slice_equal(bytes_of(rows, i, &a[i]), bytes_of(rows, i, &b[i]))) {
            return false;
        }
    }
    return true;
}

/* The slot of a key: its row's, or the empty one where it belongs. */
static uint32_t *slot_of(const struct postgres_rows *rows, const struct postgres_cell *key)
{
    size_t at = hash_of(rows, key) & (rows->slot_count - 1);

    while (rows->slots[at] && !same_key(rows, postgres_rows_at(rows, rows->slots[at] - 1), key)) {
        at = (at + 1) & (rows->slot_count - 1);
    }
    return &rows->slots[at];
}

static void grow(struct postgres_rows *rows)
{
    size_t stride = (size_t)rows->table->column_count + 1;

    rows->capacity = rows->capacity ? rows->capacity * 2 : FIRST_ROWS;
    rows->cells = tally_realloc(rows->cells, rows->capacity * stride * sizeof *rows->cells);
    tally_free(rows->slots);
    rows->slot_count = rows->capacity * 2;
    rows->slots = tally_alloc_zero(rows->slot_count, sizeof *rows->slots);
    for (size_t row = 0; row < rows->count; row++) {
        *slot_of(rows, postgres_rows_at(rows, row)) = (uint32_t)row + 1;
    }
}

struct postgres_cell *postgres_rows_take(struct postgres_rows *rows,
        const struct postgres_cell *key, int64_t version)
{
    const struct postgres_table *table = rows->table;
    struct postgres_cell *row;
    uint32_t *slot;

    if (rows->count == rows->capacity) {
        grow(rows);
    }
    slot = slot_of(rows, key);
    if (*slot) {
        row = postgres_rows_at(rows, *slot - 1);
        if (table->version < 0 || version <= row[table->version].integer) {
            return NULL;
        }
    } else {
        row = postgres_rows_at(rows, rows->count++);
        *slot = (uint32_t)rows->count;
    }
    for (int i = 0; i <= table->column_count; i++) {
        row[i] = i < table->key_count ? key[i] : (struct postgres_cell){.len = -1};
    }
    if (table->version >= 0) {
        row[table->version] = postgres_int(version);
    }
    return row;
}

static int compare(const void *a, const void *b, void *context)
{
    const struct postgres_rows *rows = context;
    const struct postgres_cell *left = postgres_rows_at(rows, *(const uint32_t *)a);
    const struct postgres_cell *right = postgres_rows_at(rows, *(const uint32_t *)b);
    int order = 0;

    for (int i = 0; !order && i < rows->table->key_count; i++) {
        order = rows->table->columns[i].type == POSTGRES_INT
                        ? (left[i].integer > right[i].integer) -
                                  (left[i].integer < right[i].integer)
                        : tally_slice_compare(bytes_of(rows, i, &left[i]),
                                  bytes_of(rows, i, &right[i]));
    }
    return order;
}

uint32_t *postgres_rows_sorted(const struct postgres_rows *rows, struct tally_arena *arena)
{
    uint32_t *order = tally_arena_alloc(arena, rows->count * sizeof *order);

    for (size_t i = 0; i < rows->count; i++) {
        order[i] = (uint32_t)i;
    }
    qsort_r(order, rows->count, sizeof *order, compare, (void *)(uintptr_t)rows);
    return order;
}
