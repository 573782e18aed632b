/* topologies/transfer/transfer_decide.c - what each command means. Reads state, emits and sends;
 * writes nothing.
 * Checks follow one order, first failure decides: existence, an operation in progress,
 * expected_version, then the codes of the command in the order of its rule. */
#include <inttypes.h>

#include "topologies/transfer/transfer_internal.h"

/* --- checks ----------------------------------------------------------------------------------- */

static bool exists(struct transfer *transfer)
{
    struct tally_slice id = transfer->cmd->transfer_id;

    if (transfer->found) {
        return true;
    }
    tally_reject(transfer->ctx, TALLY_REJECT_TRANSFER_NOT_FOUND, "/transfer_id",
            (struct tally_meta[]){TALLY_META_S("transfer_id", id)}, 1, "transfer %.*s is not known",
            (int)id.len, (const char *)id.data);
    return false;
}

static bool is_idle(struct transfer *transfer)
{
    if (!transfer->found || transfer->row.state != TRANSFER_DISPATCHING) {
        return true;
    }
    tally_reject(transfer->ctx, TALLY_REJECT_OPERATION_IN_PROGRESS, "/transfer_id",
            (struct tally_meta[]){TALLY_META_S("state", TALLY_SLICE("DISPATCHING"))}, 1,
            "the units are about to leave");
    return false;
}

static bool is_on_its_way(struct transfer *transfer)
{
    const char *state = transfer_state_names[transfer->row.state];

    if (transfer->row.state == TRANSFER_IN_TRANSIT ||
            transfer->row.state == TRANSFER_PARTIALLY_RECEIVED) {
        return true;
    }
    tally_reject(transfer->ctx, TALLY_REJECT_TRANSFER_STATE, "/transfer_id",
            (struct tally_meta[]){TALLY_META_S("state", tally_slice_string(state))}, 1,
            "the transfer is %s", state);
    return false;
}

/* Opens what a client names; false: rejected. */
static bool open_on_its_way(struct transfer *transfer, struct tally_context *ctx,
        const struct transfer_command *cmd)
{
    transfer_open(transfer, ctx, cmd);
    return exists(transfer) && is_idle(transfer) &&
           tally_version_matches(ctx, transfer->row.version) && is_on_its_way(transfer);
}

/* --- the saga: DispatchTransfer, TransferReply, TimeOut --------------------------------------- */

static bool may_dispatch(struct transfer *transfer)
{
    const struct transfer_command *cmd = transfer->cmd;

    if (tally_slice_equal(cmd->from, cmd->to)) {
        tally_reject(transfer->ctx, TALLY_REJECT_SAME_WAREHOUSE, "/to",
                (struct tally_meta[]){TALLY_META_S("warehouse", cmd->to)}, 1,
                "units cannot be transferred to the warehouse where they are");
        return false;
    }
    if (transfer->found) {
        const char *state = transfer_state_names[transfer->row.state];

        tally_reject(transfer->ctx, TALLY_REJECT_TRANSFER_EXISTS, "/transfer_id",
                (struct tally_meta[]){TALLY_META_S("state", tally_slice_string(state))}, 1,
                "the transfer exists");
        return false;
    }
    return true;
}

static void decide_dispatch(struct tally_context *ctx, const struct transfer_command *cmd)
{
    struct transfer transfer;
    struct transfer_event *event = &transfer.event;

    transfer_open(&transfer, ctx, cmd);
    if (!is_idle(&transfer) || !tally_version_matches(ctx, transfer.row.version) ||
            !may_dispatch(&transfer)) {
        return;
    }
    transfer_set_state(&transfer, TRANSFER_DISPATCHING);
    event->sku = cmd->sku;
    event->from = cmd->from;
    event->to = cmd->to;
    event->quantity = cmd->quantity;
    transfer_begin_op(&transfer);
    transfer_send(&transfer, STOCK_TRANSFER_OUT, cmd->quantity);
    transfer_emit_pending(&transfer, TRANSFER_WAS_REQUESTED);
}

static void fail(struct transfer *transfer, enum tally_reject code, const char *why)
{
    const struct transfer_event *event = &transfer->event;
    struct tally_meta meta[] = {TALLY_META_S("sku", event->sku),
            TALLY_META_I("requested", event->quantity),
            TALLY_META_I("available", transfer->cmd->available)};
    bool counted = transfer->cmd->head.presence.present & TALLY_BIT(TRANSFER_HAS_AVAILABLE);

    transfer_set_state(transfer, TRANSFER_FAILED);
    transfer_end_op(transfer);
    tally_complete_rejected(transfer->ctx, &transfer->op.operation, code, NULL, meta,
            counted ? 3 : 2, "SKU %.*s: %s", (int)event->sku.len, (const char *)event->sku.data,
            why);
    transfer_emit(transfer, TRANSFER_DID_FAIL);
}

static void dispatch(struct transfer *transfer)
{
    transfer_set_state(transfer, TRANSFER_IN_TRANSIT);
    transfer_end_op(transfer);
    transfer_send(transfer, STOCK_TRANSFER_EXPECT, transfer->event.quantity);
    tally_complete(transfer->ctx, &transfer->op.operation);
    transfer_emit(transfer, TRANSFER_WAS_DISPATCHED);
}

/* The units left after the transfer had timed out: they go back. Its state stays as it ended. */
static void give_back(struct transfer *transfer)
{
    transfer->event.version = transfer->row.version; /* of the event that gave it up */
    transfer_send(transfer, STOCK_TRANSFER_BACK, transfer->row.quantity);
    tally_accept(transfer->ctx);
}

/* A code that this release does not know can only say that nothing left. */
static enum tally_reject code_of(const struct transfer_command *cmd)
{
    enum tally_reject code = tally_reject_find(cmd->code);

    return code == TALLY_REJECT_NONE ? TALLY_REJECT_CANCELLED : code;
}

static void decide_reply(struct tally_context *ctx, const struct transfer_command *cmd)
{
    struct transfer transfer;

    transfer_open(&transfer, ctx, cmd);
    if (transfer.found && transfer.row.state == TRANSFER_FAILED && cmd->granted) {
        give_back(&transfer);
        return;
    }
    if (!transfer.found || transfer.row.state != TRANSFER_DISPATCHING ||
            !transfer_read_op(&transfer)) { /* absent, or not readable now */
        tally_accept(ctx);
    } else if (cmd->granted) {
        dispatch(&transfer);
    } else {
        fail(&transfer, code_of(cmd), tally_reject_title(code_of(cmd)));
    }
}

static void decide_time_out(struct tally_context *ctx, const struct transfer_command *cmd)
{
    struct transfer transfer;

    transfer_open(&transfer, ctx, cmd);
    if (!transfer.found || transfer.row.state != TRANSFER_DISPATCHING ||
            !transfer_read_op(&transfer) ||
            !tally_slice_equal(transfer.op.operation.op_id, cmd->op_id)) {
        tally_accept(ctx);
        return;
    }
    fail(&transfer, TALLY_REJECT_OPERATION_TIMED_OUT, "no answer in time");
}

/* --- what becomes of the units ---------------------------------------------------------------- */

static void decide_receive(struct tally_context *ctx, const struct transfer_command *cmd)
{
    struct transfer transfer;
    struct transfer_event *event = &transfer.event;
    int64_t in_transit, rest;

    if (!open_on_its_way(&transfer, ctx, cmd)) {
        return;
    }
    in_transit = transfer_in_transit(event);
    if (cmd->quantity > in_transit) {
        tally_reject(ctx, TALLY_REJECT_OVER_RECEIPT, "/quantity",
                (struct tally_meta[]){TALLY_META_I("requested", cmd->quantity),
                        TALLY_META_I("in_transit", in_transit)},
                2, "in transit %" PRId64 ", received %" PRId64, in_transit, cmd->quantity);
        return;
    }
    rest = in_transit - cmd->quantity;
    event->received += cmd->quantity;
    transfer_send(&transfer, STOCK_TRANSFER_IN, cmd->quantity);
    if (cmd->close && rest > 0) {
        event->lost += rest;
        transfer_send(&transfer, STOCK_TRANSFER_LOSS, rest);
    }
    transfer_set_state(&transfer,
            cmd->close || rest == 0 ? TRANSFER_RECEIVED : TRANSFER_PARTIALLY_RECEIVED);
    transfer_emit(&transfer, TRANSFER_WAS_RECEIVED);
}

/* Either way nothing more is expected there. */
static void decide_cancel(struct tally_context *ctx, const struct transfer_command *cmd)
{
    struct transfer transfer;
    struct transfer_event *event = &transfer.event;
    int64_t rest;

    if (!open_on_its_way(&transfer, ctx, cmd)) {
        return;
    }
    rest = transfer_in_transit(event);
    transfer_send(&transfer, STOCK_TRANSFER_LOSS, rest);
    if (cmd->disposition == TRANSFER_RESTOCK) {
        event->returned += rest;
        transfer_send(&transfer, STOCK_TRANSFER_BACK, rest);
    } else {
        event->lost += rest;
    }
    transfer_set_state(&transfer, TRANSFER_CANCELLED);
    transfer_emit(&transfer, TRANSFER_WAS_CANCELLED);
}

typedef void (*decide_fn)(struct tally_context *ctx, const struct transfer_command *cmd);

static const decide_fn decide_of[TRANSFER_COMMAND_TYPES] = {
        [TRANSFER_REPLY] = decide_reply,
        [TRANSFER_DISPATCH] = decide_dispatch,
        [TRANSFER_RECEIVE] = decide_receive,
        [TRANSFER_CANCEL] = decide_cancel,
        [TRANSFER_TIME_OUT] = decide_time_out,
};

void transfer_decide(struct tally_context *ctx, const struct tally_command *command)
{
    decide_of[command->schema->id](ctx, (const struct transfer_command *)command->fields);
}
