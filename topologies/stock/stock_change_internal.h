/* topologies/stock/stock_change_internal.h - what commands about one (sku, warehouse) share: the
 * rows that they find, the event that these become, and the checks of the result.
 * Use: stock_change_begin (a command about its warehouse) or stock_change_open (any warehouse),
 * change `after` and `event`, then stock_change_finish. */
#pragma once
#include "topologies/stock/stock_internal.h"

struct stock_change {
    struct tally_context *ctx;
    const struct stock_command *cmd;
    struct tally_slice warehouse;
    struct stock_level_row before, after; /* zeros when there is none */
    struct stock_setting_row setting;     /* zeros are the default */
    uint8_t warehouse_state;              /* of stock_change_begin */
    struct stock_event event;
};

static inline bool stock_has(const struct stock_command *cmd, unsigned bit)
{
    return cmd->head.presence.present & TALLY_BIT(bit);
}

/* There, and not null. */
static inline bool stock_has_value(const struct stock_command *cmd, unsigned bit)
{
    return cmd->head.presence.present & ~cmd->head.presence.nulls & TALLY_BIT(bit);
}

static inline void stock_mark(struct tally_presence *presence, unsigned bit)
{
    presence->present |= TALLY_BIT(bit);
}

/* --- reads; false: there is no row, and *found is what that means ----------------------------- */

/* Slices of *found borrow until the next call on ctx. */
bool stock_read_sku(struct tally_context *ctx, struct tally_slice sku, struct stock_sku_row *found);
bool stock_read_warehouse(struct tally_context *ctx, struct tally_slice warehouse, uint8_t *state);
bool stock_read_level(struct tally_context *ctx, struct tally_slice sku,
        struct tally_slice warehouse, struct stock_level_row *found);
bool stock_read_setting(struct tally_context *ctx, struct tally_slice sku,
        struct tally_slice warehouse, struct stock_setting_row *found);

/* --- refusals that several commands share ----------------------------------------------------- */

void stock_reject_unknown_sku(struct tally_context *ctx, struct tally_slice sku);
void stock_reject_warehouse(struct tally_context *ctx, enum tally_reject code, const char *pointer,
        struct tally_slice warehouse);
/* INSUFFICIENT_STOCK of the change's warehouse. */
void stock_reject_insufficient(const struct stock_change *change, int64_t available);

/* --- a change --------------------------------------------------------------------------------- */

/* 9 * 10^15: exact in JSON readers that use doubles. */
#define STOCK_QUANTITY_LIMIT INT64_C(9000000000000000)

/* Reads what a command about its warehouse is about; existence and expected_version are checked.
 * false: rejected. */
bool stock_change_begin(struct stock_change *change, struct tally_context *ctx,
        const struct stock_command *cmd);
/* Reads a level and its settings; checks nothing. warehouse is borrowed as long as the change. */
void stock_change_open(struct stock_change *change, struct tally_context *ctx,
        const struct stock_command *cmd, struct tally_slice warehouse);
/* What a bucket holds; SELLABLE is what no other bucket has of on_hand. */
int64_t stock_bucket_of(const struct stock_level_row *level, uint8_t bucket);
/* Commands bring at most 10^12 at a time and levels stay within their limit: no overflow. */
void stock_change_bucket(struct stock_change *change, uint8_t bucket, int64_t delta);
/* false: NEGATIVE_ON_HAND, the bucket would have less than nothing. */
bool stock_bucket_stays_positive(const struct stock_change *change, uint8_t bucket, int64_t delta,
        const char *pointer);
/* Whether no number of `after` passes the limit of quantities. */
bool stock_change_fits(const struct stock_change *change);
/* Emits what `after` became, or QUANTITY_OVERFLOW; pointer names the field to blame. */
void stock_change_finish(struct stock_change *change, enum stock_event_type type,
        enum stock_kind kind, const char *pointer);
