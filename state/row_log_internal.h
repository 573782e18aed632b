/* state/row_log_internal.h - writes that nobody reads before they are a run: what a restore makes
 * of events. Adding a row copies it to the end of a log; sorting, and finding the last row of each
 * key, is left to the end, where it is ten times as cheap as a look-up in a table for each row.
 * @thread owner  @locks none */
#pragma once
#include <stdatomic.h>

#include "state/run_internal.h"

struct row_log {
    uint8_t *bytes; /* key and value of each row, in the order of writing */
    size_t used, size;
    struct run_entry *entries; /* in the order of writing */
    size_t count, capacity;
    size_t used_before, count_before; /* of the last run: the next one will be as large */
    atomic_llong *account;            /* holds the memory of all of them; may be NULL */
};

void row_log_init(struct row_log *log, atomic_llong *account);
void row_log_deinit(struct row_log *log);
/* Bytes are copied; deleted: value is ignored. */
void row_log_add(struct row_log *log, struct tally_slice key, struct tally_slice value,
        bool deleted);
size_t row_log_bytes(const struct row_log *log); /* of rows, and of what finds them */
void row_log_clear(struct row_log *log);
/* The last row of every key, as a run that owns the log's memory; the log is empty after it. */
struct run *row_log_freeze(struct row_log *log, uint64_t sequence, atomic_llong *account);
