/* apps/fsck_table.c - see fsck_table.h. Open addressing; a record lies behind its entry. */
#include "apps/fsck_table.h"

#include "engine/base/hash.h"

enum { FIRST_CAPACITY = 1024, BLOCK_BYTES = 1024 * 1024 };

struct fsck_entry {
    struct fsck_entry *next;
    struct tally_slice key;
};

static void *record_of(struct fsck_entry *entry)
{
    return entry + 1;
}

void fsck_table_init(struct fsck_table *table, size_t record_size)
{
    *table = (struct fsck_table){.record_size = record_size, .capacity = FIRST_CAPACITY};
    table->slots = tally_alloc_zero(table->capacity, sizeof table->slots[0]);
    table->end = &table->first;
    tally_arena_init(&table->arena, BLOCK_BYTES);
}

void fsck_table_deinit(struct fsck_table *table)
{
    tally_free(table->slots);
    tally_arena_deinit(&table->arena);
}

/* Where the key stands or would stand. */
static struct fsck_entry **slot_of(const struct fsck_table *table, struct tally_slice key)
{
    size_t at = tally_crc32c(0, key) & (table->capacity - 1);

    while (table->slots[at] && !tally_slice_equal(table->slots[at]->key, key)) {
        at = (at + 1) & (table->capacity - 1);
    }
    return &table->slots[at];
}

static void grow(struct fsck_table *table)
{
    tally_free(table->slots);
    table->capacity *= 2;
    table->slots = tally_alloc_zero(table->capacity, sizeof table->slots[0]);
    for (struct fsck_entry *entry = table->first; entry; entry = entry->next) {
        *slot_of(table, entry->key) = entry;
    }
}

void *fsck_table_find(const struct fsck_table *table, struct tally_slice key)
{
    struct fsck_entry *entry = *slot_of(table, key);

    return entry ? record_of(entry) : NULL;
}

void *fsck_table_at(struct fsck_table *table, struct tally_slice key)
{
    struct fsck_entry **slot = slot_of(table, key), *entry = *slot;

    if (entry) {
        return record_of(entry);
    }
    if (2 * (table->count + 1) > table->capacity) {
        grow(table);
        slot = slot_of(table, key);
    }
    entry = tally_arena_alloc(&table->arena, sizeof *entry + table->record_size);
    *entry = (struct fsck_entry){.key = tally_arena_copy(&table->arena, key)};
    memset(record_of(entry), 0, table->record_size);
    *slot = entry;
    *table->end = entry;
    table->end = &entry->next;
    table->count++;
    return record_of(entry);
}

void *fsck_table_next(const struct fsck_table *table, const void *record, struct tally_slice *key)
{
    struct fsck_entry *entry =
            record ? ((const struct fsck_entry *)record - 1)->next : table->first;

    if (!entry) {
        return NULL;
    }
    *key = entry->key;
    return record_of(entry);
}
