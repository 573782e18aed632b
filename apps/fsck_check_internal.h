/* apps/fsck_check_internal.h - what the parts of the checker share: fsck_check.c (the rows' texts),
 * fsck_stock.c (rows of stock), fsck_promise.c (the other topologies, and what they have with
 * stock), fsck_replay.c (the log). */
#pragma once
#include "apps/fsck_check.h"
#include "apps/fsck_table.h"
#include "schemas/serde.h"
#include "schemas/stock_records.h"

enum fsck_invariant {
    FSCK_I1,        /* numbers are the running sums of their ledger */
    FSCK_I2,        /* held, reserved, committed are the open holds */
    FSCK_I3,        /* nothing is negative but by force */
    FSCK_I4,        /* holds left enough, or were backordered */
    FSCK_I5,        /* on_hand changes by goods only; transfers lose nothing */
    FSCK_I6,        /* one state at a time, with its timer and operation */
    FSCK_I7,        /* version = seq of the last entry, without gaps */
    FSCK_I8,        /* reservations and stock agree */
    FSCK_I9,        /* the same log gives the same state */
    FSCK_CATALOGUE, /* slugs and SKUs belong to their products */
    FSCK_ROWS,      /* every row can be read */
    FSCK_INVARIANTS
};

/* "SKU.WAREHOUSE": its last ledger entry, its level, and what holds say about it. */
struct fsck_level {
    int64_t ledger_seq, version;
    int64_t after[STOCK_BUCKETS]; /* of the ledger's last entry, then of the level */
    int64_t held, reserved, committed;
    bool is_level, configured;
};
/* "RESERVATION.LINE" as stock has it. */
struct fsck_hold {
    bool is_row;
    uint8_t state; /* enum stock_hold_state */
    int64_t quantity, shipped;
};
struct fsck_reservation {
    bool is_row, has_operation;
    uint8_t state; /* enum reservation_state */
    uint32_t timers;
};
/* "RESERVATION.LINE" as the reservation has it. */
struct fsck_line {
    bool held;
    int64_t quantity, shipped;
};
struct fsck_transfer {
    bool is_row, has_operation;
    uint8_t state; /* enum transfer_state */
    uint32_t timers;
    int64_t quantity, received, returned, lost; /* as the transfer has them */
    int64_t out, back, expect, in, loss;        /* sums of the ledger */
};
/* A product, a slug or a SKU: "product:P-1", "slug:red", "sku:TS-1". */
struct fsck_claim {
    bool has_operation;
    uint32_t timers;
    struct tally_slice product_id; /* of the row of a slug, of a SKU; empty: none */
    struct tally_slice wanted_by;  /* the product that says it has it */
};

struct fsck_check {
    struct fsck_check_options options;
    struct tally_arena row;  /* of one row */
    struct tally_arena kept; /* texts of records */
    struct fsck_table levels, holds, reservations, lines, transfers, claims;
    bool has_ledger, settled;
    uint64_t products;
    uint64_t checked[FSCK_INVARIANTS], differences[FSCK_INVARIANTS], unsettled, rows;
    char place[96]; /* "stock/2", of the row; a topology where rows of several are compared */
};

/* A row's value. */
int64_t fsck_number(const struct tally_token *value, const char *name);          /* 0: absent */
struct tally_slice fsck_text(const struct tally_token *value, const char *name); /* empty: absent */
/* Index in names, or -1. */
int fsck_name(const char *const *names, struct tally_slice name);
/* "A.B.7" -> "A.B" and 7; false: no number at the end. */
bool fsck_split(struct tally_slice key, struct tally_slice *head, int64_t *number);

/* Where what is told from here on was found. */
void fsck_place(struct fsck_check *check, const char *topology);
/* One thing that was looked at; fine: as it should be. */
bool fsck_expect(struct fsck_check *check, enum fsck_invariant invariant, bool fine,
        struct tally_slice key, const char *format, ...) TALLY_PRINTF(5, 6);
/* The same for what messages on their way may explain. */
bool fsck_expect_settled(struct fsck_check *check, enum fsck_invariant invariant, bool fine,
        struct tally_slice key, const char *format, ...) TALLY_PRINTF(5, 6);

/* fsck_stock.c */
void fsck_stock_row(struct fsck_check *check, struct tally_slice store, struct tally_slice key,
        const struct tally_token *value);
void fsck_stock_finish(struct fsck_check *check);
/* fsck_promise.c */
void fsck_promise_row(struct fsck_check *check, struct tally_slice topology,
        struct tally_slice store, struct tally_slice key, const struct tally_token *value);
/* A SKU row of stock. */
void fsck_promise_sku(struct fsck_check *check, struct tally_slice key,
        const struct tally_token *value);
void fsck_promise_finish(struct fsck_check *check);
