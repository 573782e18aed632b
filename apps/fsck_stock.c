/* apps/fsck_stock.c - what the rows of stock say about each other. A task's rows come in key order:
 * ledger, hold, level, setting; all of one position, so nothing here waits for a message. */
#include "apps/fsck_check_internal.h"
#include "state/key_schema.h"

static void read_numbers(const struct tally_token *map, int64_t numbers[static STOCK_BUCKETS])
{
    for (int i = 0; i < STOCK_BUCKETS; i++) {
        numbers[i] = map ? fsck_number(map, stock_number_names[i]) : 0;
    }
}

static int64_t sellable(const int64_t numbers[static STOCK_BUCKETS])
{
    return numbers[STOCK_ON_HAND] - numbers[STOCK_DAMAGED_BUCKET] -
           numbers[STOCK_QUALITY_CONTROL_BUCKET];
}

static int64_t available(const int64_t numbers[static STOCK_BUCKETS])
{
    struct stock_level_row level = {.version = 0};

    memcpy(level.n, numbers, sizeof level.n);
    return stock_level_available(&level);
}

/* --- ledger ----------------------------------------------------------------------------------- */

/* What a kind of entry may do to on_hand. */
static bool moves_goods(struct tally_slice kind)
{
    static const char *const moving[] = {"RECEIVE", "RETURN", "ADJUST", "SET", "SHIP",
            "TRANSFER_OUT", "TRANSFER_BACK", "TRANSFER_IN", NULL};

    return fsck_name(moving, kind) >= 0;
}

static void check_signs(struct fsck_check *check, const struct fsck_level *before,
        const int64_t after[static STOCK_BUCKETS], struct tally_slice kind, struct tally_slice key)
{
    bool forced = tally_slice_equal(kind, TALLY_SLICE("SHIP"));
    bool fine = sellable(after) >= 0 || sellable(after) >= sellable(before->after) || forced;

    fsck_expect(check, FSCK_I3, fine, key, "sellable went to %lld by %.*s",
            (long long)sellable(after), (int)kind.len, (const char *)kind.data);
    fsck_expect(check, FSCK_I3,
            after[STOCK_DAMAGED_BUCKET] >= 0 && after[STOCK_QUALITY_CONTROL_BUCKET] >= 0, key,
            "damaged %lld, quality_control %lld", (long long)after[STOCK_DAMAGED_BUCKET],
            (long long)after[STOCK_QUALITY_CONTROL_BUCKET]);
}

static void add_transfer(struct fsck_check *check, const struct tally_token *value,
        struct tally_slice kind, const int64_t deltas[static STOCK_BUCKETS])
{
    struct tally_slice id = fsck_text(value, "transfer_id");
    struct fsck_transfer *transfer;

    if (id.len == 0) {
        return;
    }
    transfer = fsck_table_at(&check->transfers, id);
    if (tally_slice_equal(kind, TALLY_SLICE("TRANSFER_OUT"))) {
        transfer->out -= deltas[STOCK_ON_HAND];
    } else if (tally_slice_equal(kind, TALLY_SLICE("TRANSFER_BACK"))) {
        transfer->back += deltas[STOCK_ON_HAND];
    } else if (tally_slice_equal(kind, TALLY_SLICE("TRANSFER_EXPECT"))) {
        transfer->expect += deltas[STOCK_INCOMING];
    } else if (tally_slice_equal(kind, TALLY_SLICE("TRANSFER_IN"))) {
        transfer->in -= deltas[STOCK_INCOMING];
    } else if (tally_slice_equal(kind, TALLY_SLICE("TRANSFER_LOSS"))) {
        transfer->loss -= deltas[STOCK_INCOMING];
    }
}

static void ledger_row(struct fsck_check *check, struct tally_slice key,
        const struct tally_token *value)
{
    int64_t deltas[STOCK_BUCKETS], after[STOCK_BUCKETS], seq = 0;
    struct tally_slice place, kind = fsck_text(value, "kind");
    struct fsck_level *level;

    if (!fsck_expect(check, FSCK_ROWS, fsck_split(key, &place, &seq), key, "the key has no seq")) {
        return;
    }
    check->has_ledger = true;
    level = fsck_table_at(&check->levels, place);
    read_numbers(tally_token_member(value, "deltas"), deltas);
    read_numbers(tally_token_member(value, "after"), after);
    fsck_expect(check, FSCK_I7, seq == level->ledger_seq + 1, key, "follows entry %lld",
            (long long)level->ledger_seq);
    for (int i = 0; i < STOCK_BUCKETS; i++) {
        fsck_expect(check, FSCK_I1, after[i] == level->after[i] + deltas[i], key,
                "%s is %lld, but %lld and %lld make %lld", stock_number_names[i],
                (long long)after[i], (long long)level->after[i], (long long)deltas[i],
                (long long)(level->after[i] + deltas[i]));
    }
    check_signs(check, level, after, kind, key);
    fsck_expect(check, FSCK_I5, deltas[STOCK_ON_HAND] == 0 || moves_goods(kind), key,
            "%.*s changed on_hand by %lld", (int)kind.len, (const char *)kind.data,
            (long long)deltas[STOCK_ON_HAND]);
    level->configured = level->configured || tally_slice_equal(kind, TALLY_SLICE("CONFIGURE"));
    if (tally_slice_equal(kind, TALLY_SLICE("HOLD"))) {
        fsck_expect(check, FSCK_I4, available(after) >= 0 || level->configured, key,
                "a hold left %lld available under the policy DENY", (long long)available(after));
    }
    add_transfer(check, value, kind, deltas);
    level->ledger_seq = seq;
    memcpy(level->after, after, sizeof level->after);
}

/* --- holds and levels ------------------------------------------------------------------------- */

/* Under the key that a dump shows of it. */
static struct fsck_level *level_of(struct fsck_check *check, struct tally_slice sku,
        struct tally_slice warehouse)
{
    struct fsck_level *level;
    struct tally_key key;
    struct tally_buf text;

    tally_key_begin(&key, TALLY_STORE_LEVEL);
    tally_key_string(&key, sku);
    tally_key_tail(&key, warehouse);
    tally_buf_init(&text, 4 * TALLY_KEY_MAX);
    tally_key_print("stock", tally_key_bytes(&key), &text);
    level = fsck_table_at(&check->levels, tally_buf_bytes(&text));
    tally_buf_deinit(&text);
    return level;
}

static void hold_row(struct fsck_check *check, struct tally_slice key,
        const struct tally_token *value)
{
    int state = fsck_name(stock_hold_states, fsck_text(value, "state"));
    struct tally_slice warehouse = fsck_text(value, "warehouse");
    struct fsck_hold *hold;
    struct fsck_level *level;
    int64_t open;

    if (!fsck_expect(check, FSCK_I6, state >= 0, key, "the hold is in no known state")) {
        return;
    }
    hold = fsck_table_at(&check->holds, key);
    fsck_expect(check, FSCK_I6, !hold->is_row, key, "the hold is in two partitions");
    *hold = (struct fsck_hold){.is_row = true,
            .state = (uint8_t)state,
            .quantity = fsck_number(value, "quantity"),
            .shipped = fsck_number(value, "shipped")};
    open = hold->quantity - hold->shipped;
    fsck_expect(check, FSCK_I2,
            hold->shipped >= 0 && open >= 0 &&
                    (hold->shipped == 0 || state == STOCK_HOLD_COMMITTED ||
                            state == STOCK_HOLD_SHIPPED || state == STOCK_HOLD_RELEASED) &&
                    (state != STOCK_HOLD_SHIPPED || open == 0),
            key, "%s with %lld of %lld shipped", stock_hold_states[state], (long long)hold->shipped,
            (long long)hold->quantity);
    if (warehouse.len == 0 || state == STOCK_HOLD_SHIPPED || state == STOCK_HOLD_RELEASED) {
        return;
    }
    level = level_of(check, fsck_text(value, "sku"), warehouse);
    level->held += state == STOCK_HOLD_HELD ? open : 0;
    level->reserved += state == STOCK_HOLD_RESERVED ? open : 0;
    level->committed += state == STOCK_HOLD_COMMITTED ? open : 0;
}

static void level_row(struct fsck_check *check, struct tally_slice key,
        const struct tally_token *value)
{
    struct fsck_level *level = fsck_table_at(&check->levels, key);
    int64_t numbers[STOCK_BUCKETS];

    read_numbers(value, numbers);
    level->is_level = true;
    level->version = fsck_number(value, "version");
    for (int i = 0; i < STOCK_BUCKETS && check->has_ledger; i++) {
        fsck_expect(check, FSCK_I1, numbers[i] == level->after[i], key,
                "%s is %lld, the last ledger entry has %lld", stock_number_names[i],
                (long long)numbers[i], (long long)level->after[i]);
    }
    memcpy(level->after, numbers, sizeof level->after);
    if (check->has_ledger) {
        fsck_expect(check, FSCK_I7, level->version == level->ledger_seq, key,
                "version %lld, the last ledger entry is %lld", (long long)level->version,
                (long long)level->ledger_seq);
    }
    fsck_expect(check, FSCK_I1, fsck_number(value, "available") == available(numbers), key,
            "available is %lld, the buckets make %lld", (long long)fsck_number(value, "available"),
            (long long)available(numbers));
}

void fsck_stock_row(struct fsck_check *check, struct tally_slice store, struct tally_slice key,
        const struct tally_token *value)
{
    if (tally_slice_equal(store, TALLY_SLICE("ledger"))) {
        ledger_row(check, key, value);
    } else if (tally_slice_equal(store, TALLY_SLICE("hold"))) {
        hold_row(check, key, value);
    } else if (tally_slice_equal(store, TALLY_SLICE("level"))) {
        level_row(check, key, value);
    } else if (tally_slice_equal(store, TALLY_SLICE("sku"))) {
        fsck_promise_sku(check, key, value);
    }
}

void fsck_stock_finish(struct fsck_check *check)
{
    struct tally_slice key;
    struct fsck_level *level = fsck_table_next(&check->levels, NULL, &key);

    for (; level; level = fsck_table_next(&check->levels, level, &key)) {
        fsck_expect(check, FSCK_I7, level->is_level, key,
                "there is a ledger or a hold, but no level");
        fsck_expect(check, FSCK_I2, level->after[STOCK_HELD] == level->held, key,
                "held is %lld, open holds make %lld", (long long)level->after[STOCK_HELD],
                (long long)level->held);
        fsck_expect(check, FSCK_I2, level->after[STOCK_RESERVED] == level->reserved, key,
                "reserved is %lld, open holds make %lld", (long long)level->after[STOCK_RESERVED],
                (long long)level->reserved);
        fsck_expect(check, FSCK_I2, level->after[STOCK_COMMITTED] == level->committed, key,
                "committed is %lld, open holds make %lld", (long long)level->after[STOCK_COMMITTED],
                (long long)level->committed);
    }
}
