/* topologies/transfer/transfer_internal.h - the functions of the transfer aggregate, and what they
 * share: a transfer while it is decided. */
#pragma once
#include "engine/tally.h"
#include "schemas/stock_records.h"
#include "schemas/transfer_records.h"

#define TRANSFER_COMMANDS       "transfer.commands"
#define TRANSFER_STOCK_COMMANDS "stock.commands"

void transfer_touch(struct tally_touch *touch, const struct tally_command *command);
void transfer_decide(struct tally_context *ctx, const struct tally_command *command);
void transfer_evolve(struct tally_context *ctx, const struct tally_event *event);
void transfer_remember(const struct tally_event *event, struct tally_buf *memo);
void transfer_result(struct tally_context *ctx, struct tally_slice key,
        const struct tally_outcome *outcome, struct tally_writer *writer, int64_t *version);
void transfer_due(struct tally_context *ctx, int64_t due_ms, struct tally_slice rest,
        struct tally_slice row);

/* store: TRANSFER or TRANSFER_OPERATION. */
struct tally_key transfer_key(enum tally_store_id store, struct tally_slice transfer_id);
struct tally_key transfer_timer_key(int64_t due_ms, struct tally_slice transfer_id);

/* --- a transfer while it is decided ----------------------------------------------------------- */

/* What was found, and the event that it becomes. Everything in it lives in scratch memory. */
struct transfer {
    struct tally_context *ctx;
    const struct transfer_command *cmd;
    bool found;
    struct transfer_row row;     /* zeros without one */
    struct transfer_op op;       /* of a DISPATCHING one, once it was read */
    struct transfer_event event; /* begins as the row is */
};

void transfer_open(struct transfer *transfer, struct tally_context *ctx,
        const struct transfer_command *cmd);
/* Its state after the event: a legal successor of the one before. */
void transfer_set_state(struct transfer *transfer, enum transfer_state next);
void transfer_emit(struct transfer *transfer, enum transfer_event_type type);

/* The saga's begin and end; the timer goes with its operation. */
void transfer_begin_op(struct transfer *transfer);
bool transfer_read_op(struct transfer *transfer); /* false: there is none */
void transfer_end_op(struct transfer *transfer);
void transfer_emit_pending(struct transfer *transfer, enum transfer_event_type type);

/* Units that neither arrived, nor came back, nor were lost. */
int64_t transfer_in_transit(const struct transfer_event *event);

/* To stock; `to` of TransferOut and bucket of TransferIn are those of the event and the command. */
void transfer_send(struct transfer *transfer, enum stock_command_type type, int64_t quantity);
