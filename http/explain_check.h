/* http/explain_check.h - whether the entries of a level's ledger, read from the newest back, give
 * the numbers that the level has: each must end where the next one begins, none may be missing, and
 * before the first there was nothing. Pure. @thread any */
#pragma once
#include "schemas/stock_records.h"

struct explain_check {
    int64_t seq;                /* that the next older entry must have; 0: there is none */
    int64_t n[STOCK_BUCKETS];   /* that it must leave behind */
    int64_t sum[STOCK_BUCKETS]; /* of the deltas of those that were looked at */
    int64_t newest, oldest;     /* of those; 0: none was */
    /* Of the first that does not fit; seq 0: all do. */
    struct explain_break {
        int64_t seq;
        int bucket; /* -1: the entry is missing, and `found` comes instead */
        int64_t expected, found;
    } broken;
};

/* seq: of the newest entry; n: the numbers that it leaves behind. */
void explain_check_begin(struct explain_check *check, int64_t seq, const int64_t n[STOCK_BUCKETS]);
void explain_check_entry(struct explain_check *check, int64_t seq,
        const struct stock_ledger_row *row);
/* There are no older entries. */
void explain_check_end(struct explain_check *check);
/* Whether the first entry has been looked at, so that nothing is taken on trust. */
bool explain_check_is_whole(const struct explain_check *check);
