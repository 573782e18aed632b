/* topologies/stock/stock_internal.h - the functions of the stock aggregate and the keys they
 * share. */
#pragma once
#include "engine/tally.h"
#include "schemas/stock_records.h"

void stock_touch(struct tally_touch *touch, const struct tally_command *command);
void stock_decide(struct tally_context *ctx, const struct tally_command *command);
void stock_evolve(struct tally_context *ctx, const struct tally_event *event);
void stock_remember(const struct tally_event *event, struct tally_buf *memo);
void stock_result(struct tally_context *ctx, struct tally_slice key,
        const struct tally_outcome *outcome, struct tally_writer *writer, int64_t *version);

/* store: LEVEL or SETTING. */
struct tally_key stock_level_key(enum tally_store_id store, struct tally_slice sku,
        struct tally_slice warehouse);
struct tally_key stock_ledger_key(struct tally_slice sku, struct tally_slice warehouse,
        int64_t seq);
/* store: SKU or WAREHOUSE. */
struct tally_key stock_name_key(enum tally_store_id store, struct tally_slice name);
