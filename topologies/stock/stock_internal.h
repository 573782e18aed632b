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

/* A check of the engine refuses a message: whoever waits for its reply gets one. */
void stock_refused(struct tally_context *ctx, const struct tally_command *command,
        enum tally_reject code);

/* stock_sku.c */
void stock_decide_register_sku(struct tally_context *ctx, const struct stock_command *cmd);
void stock_decide_claim_sku(struct tally_context *ctx, const struct stock_command *cmd);
void stock_decide_release_sku(struct tally_context *ctx, const struct stock_command *cmd);
void stock_decide_freeze_sku(struct tally_context *ctx, const struct stock_command *cmd);
/* stock_hold.c */
void stock_decide_hold(struct tally_context *ctx, const struct stock_command *cmd);
void stock_decide_confirm_hold(struct tally_context *ctx, const struct stock_command *cmd);
void stock_decide_commit_hold(struct tally_context *ctx, const struct stock_command *cmd);
void stock_decide_release_hold(struct tally_context *ctx, const struct stock_command *cmd);
void stock_decide_ship_hold(struct tally_context *ctx, const struct stock_command *cmd);
/* stock_transfer.c */
void stock_decide_transfer_out(struct tally_context *ctx, const struct stock_command *cmd);
void stock_decide_transfer_back(struct tally_context *ctx, const struct stock_command *cmd);
void stock_decide_transfer_expect(struct tally_context *ctx, const struct stock_command *cmd);
void stock_decide_transfer_in(struct tally_context *ctx, const struct stock_command *cmd);
void stock_decide_transfer_loss(struct tally_context *ctx, const struct stock_command *cmd);

/* stock_message.c: messages to the topologies that asked. code NONE: granted. */
struct stock_hold_answer {
    enum tally_reject code;
    struct tally_slice warehouse; /* granted */
    bool has_available;
    int64_t available;
};
void stock_send_hold_reply(struct tally_context *ctx, const struct stock_command *cmd,
        const struct stock_hold_answer *answer);
void stock_send_hold_shipped(struct tally_context *ctx, const struct stock_command *cmd,
        int64_t seq);
void stock_send_claim_reply(struct tally_context *ctx, const struct stock_command *cmd,
        enum tally_reject code);
/* available: NULL unless that was the reason. */
void stock_send_transfer_reply(struct tally_context *ctx, const struct stock_command *cmd,
        enum tally_reject code, const int64_t *available);

/* store: LEVEL or SETTING. */
struct tally_key stock_level_key(enum tally_store_id store, struct tally_slice sku,
        struct tally_slice warehouse);
struct tally_key stock_ledger_key(struct tally_slice sku, struct tally_slice warehouse,
        int64_t seq);
struct tally_key stock_hold_key(struct tally_slice reservation_id, int64_t line);
/* store: SKU or WAREHOUSE. */
struct tally_key stock_name_key(enum tally_store_id store, struct tally_slice name);
/* The beginning of all of a SKU's keys in a store. */
struct tally_key stock_sku_prefix(enum tally_store_id store, struct tally_slice sku);
