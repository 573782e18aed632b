/* http/explain_check.c - see explain_check.h. After a break the check goes on from the entry that
 * did not fit: the first break is kept, it is the newest. */
#include "http/explain_check.h"

void explain_check_begin(struct explain_check *check, int64_t seq, const int64_t n[STOCK_BUCKETS])
{
    *check = (struct explain_check){.seq = seq};
    memcpy(check->n, n, sizeof check->n);
}

static void note(struct explain_check *check, int64_t seq, int bucket, int64_t expected,
        int64_t found)
{
    if (check->broken.seq == 0) {
        check->broken = (struct explain_break){seq, bucket, expected, found};
    }
}

void explain_check_entry(struct explain_check *check, int64_t seq,
        const struct stock_ledger_row *row)
{
    if (seq != check->seq) {
        note(check, check->seq > 0 ? check->seq : seq, -1, check->seq, seq);
    }
    for (int i = 0; i < STOCK_BUCKETS; i++) {
        if (row->after[i] != check->n[i]) {
            note(check, seq, i, check->n[i], row->after[i]);
        }
        check->sum[i] += row->deltas[i];
        check->n[i] = row->after[i] - row->deltas[i];
    }
    check->newest = check->newest ? check->newest : seq;
    check->oldest = seq;
    check->seq = seq - 1;
}

void explain_check_end(struct explain_check *check)
{
    if (check->seq > 0) {
        note(check, check->seq, -1, check->seq, 0);
    }
    for (int i = 0; i < STOCK_BUCKETS && check->seq == 0; i++) {
        if (check->n[i] != 0) {
            note(check, 1, i, 0, check->n[i]);
        }
    }
    check->seq = 0;
}

bool explain_check_is_whole(const struct explain_check *check)
{
    return check->oldest == 1 || (check->newest == 0 && check->seq == 0);
}
