/* apps/fsck_table.h - records of one size found by a text key, in the order in which they were
 * made. @thread owner */
#pragma once
#include "engine/base/mem.h"

struct fsck_table {
    size_t record_size;
    size_t count, capacity; /* capacity: a power of two, at least twice count */
    struct fsck_entry **slots;
    struct fsck_entry *first, **end;
    struct tally_arena arena;
};

void fsck_table_init(struct fsck_table *table, size_t record_size);
void fsck_table_deinit(struct fsck_table *table);
/* The record of a key, made of zeros where there is none; it stays where it is. The key is
 * copied. */
void *fsck_table_at(struct fsck_table *table, struct tally_slice key);
void *fsck_table_find(const struct fsck_table *table, struct tally_slice key); /* NULL: none */
/* record NULL: the first; NULL: no more. */
void *fsck_table_next(const struct fsck_table *table, const void *record, struct tally_slice *key);
