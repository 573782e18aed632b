/* http/ledger_time.h - entries of one level's ledger by number and by time. They are numbered from
 * 1 without a gap, and recorded time never falls as the number grows. @thread http */
#pragma once
#include "engine/query.h"
#include "schemas/stock_records.h"

struct ledger_place {
    struct tally_read *read;
    struct tally_slice sku, warehouse;
};

void ledger_time_key(struct tally_key *key, const struct ledger_place *place, uint64_t seq);
/* The last entry below `below`; 0: there is none. */
TALLY_MUST_CHECK enum tally_code ledger_time_newest(const struct ledger_place *place,
        uint64_t below, uint64_t *newest, struct tally_error *err);
/* One entry, whose strings borrow from *value. NOT_FOUND; STORE_CORRUPT: it is damaged. */
TALLY_MUST_CHECK enum tally_code ledger_time_entry(const struct ledger_place *place, uint64_t seq,
        struct tally_buf *value, struct stock_ledger_row *row, struct tally_error *err);
/* The first of the entries 1..newest that was recorded at or after time_ms; newest + 1: none was.
 * Reads log2(newest) + 1 entries at most. */
TALLY_MUST_CHECK enum tally_code ledger_time_find(const struct ledger_place *place, uint64_t newest,
        int64_t time_ms, uint64_t *first, struct tally_error *err);

/* The same over any numbered times, which `at` reads. */
typedef enum tally_code (*ledger_time_fn)(void *context, uint64_t seq, int64_t *recorded_at,
        struct tally_error *err);
TALLY_MUST_CHECK enum tally_code ledger_time_bisect(ledger_time_fn at, void *context,
        uint64_t newest, int64_t time_ms, uint64_t *first, struct tally_error *err);
