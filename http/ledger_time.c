/* http/ledger_time.c - see ledger_time.h. */
#include "http/ledger_time.h"

enum { ROW_BYTES_MAX = 64 * 1024, SEQ_BYTES = 8 };

void ledger_time_key(struct tally_key *key, const struct ledger_place *place, uint64_t seq)
{
    tally_key_begin(key, TALLY_STORE_LEDGER);
    tally_key_string(key, place->sku);
    tally_key_string(key, place->warehouse);
    tally_key_u64(key, seq);
}

static bool see_seq(void *context, struct tally_slice key, struct tally_slice value)
{
    (void)value;
    *(uint64_t *)context = tally_read_u64(key.data + key.len - SEQ_BYTES);
    return false;
}

enum tally_code ledger_time_newest(const struct ledger_place *place, uint64_t below,
        uint64_t *newest, struct tally_error *err)
{
    struct tally_key lower, upper;

    *newest = 0;
    ledger_time_key(&lower, place, 0);
    ledger_time_key(&upper, place, below);
    return tally_read_scan(place->read, tally_key_bytes(&lower), tally_key_bytes(&upper), true,
            see_seq, newest, err);
}

enum tally_code ledger_time_entry(const struct ledger_place *place, uint64_t seq,
        struct tally_buf *value, struct stock_ledger_row *row, struct tally_error *err)
{
    struct tally_key key;
    enum tally_code code;

    ledger_time_key(&key, place, seq);
    code = tally_read_get(place->read, tally_key_bytes(&key), value, err);
    if (code == TALLY_OK && !stock_ledger_unpack(tally_buf_bytes(value), row)) {
        code = tally_error_set(err, TALLY_STORE_CORRUPT, "ledger entry %llu is damaged",
                (unsigned long long)seq);
    }
    return code;
}

/* An absent entry was recorded before any time. */
static enum tally_code time_of(void *context, uint64_t seq, int64_t *recorded_at,
        struct tally_error *err)
{
    struct stock_ledger_row row;
    struct tally_buf value;
    enum tally_code code;

    tally_buf_init(&value, ROW_BYTES_MAX);
    code = ledger_time_entry(context, seq, &value, &row, err);
    *recorded_at = code ? INT64_MIN : row.recorded_at;
    tally_buf_deinit(&value);
    return code == TALLY_NOT_FOUND ? TALLY_OK : code;
}

enum tally_code ledger_time_bisect(ledger_time_fn at, void *context, uint64_t newest,
        int64_t time_ms, uint64_t *first, struct tally_error *err)
{
    uint64_t low = 1, high = newest + 1; /* it is in low..high */
    enum tally_code code = TALLY_OK;

    while (!code && low < high) {
        uint64_t middle = low + (high - low) / 2;
        int64_t recorded_at = 0;

        code = at(context, middle, &recorded_at, err);
        if (recorded_at >= time_ms) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    *first = low;
    return code;
}

enum tally_code ledger_time_find(const struct ledger_place *place, uint64_t newest, int64_t time_ms,
        uint64_t *first, struct tally_error *err)
{
    struct ledger_place copy = *place;

    return ledger_time_bisect(time_of, &copy, newest, time_ms, first, err);
}
