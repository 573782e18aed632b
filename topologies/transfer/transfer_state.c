/* topologies/transfer/transfer_state.c - keys, and a transfer while it is decided: reading it, the
 * event that it becomes, and its messages to stock.
 *
 *   (none) --[DispatchTransfer]--> DISPATCHING --[TransferReply]--> IN_TRANSIT
 *   DISPATCHING --[refusal, TimeOut]--> FAILED
 *   IN_TRANSIT --[ReceiveTransfer]--> PARTIALLY_RECEIVED
 *   IN_TRANSIT, PARTIALLY_RECEIVED --[ReceiveTransfer]--> RECEIVED
 *   IN_TRANSIT, PARTIALLY_RECEIVED --[CancelTransfer]--> CANCELLED */
#include <inttypes.h>
#include <stdio.h>

#include "topologies/transfer/transfer_internal.h"

#define TIME_OUT_MS (INT64_C(30) * 1000) /* of a dispatch */
#define ID_MAX      128

#define BIT(n) (1u << (n))
static const unsigned successors[TRANSFER_STATES] = {
        [TRANSFER_DISPATCHING] = BIT(TRANSFER_IN_TRANSIT) | BIT(TRANSFER_FAILED),
        [TRANSFER_IN_TRANSIT] =
                BIT(TRANSFER_PARTIALLY_RECEIVED) | BIT(TRANSFER_RECEIVED) | BIT(TRANSFER_CANCELLED),
        [TRANSFER_PARTIALLY_RECEIVED] =
                BIT(TRANSFER_PARTIALLY_RECEIVED) | BIT(TRANSFER_RECEIVED) | BIT(TRANSFER_CANCELLED),
        [TRANSFER_RECEIVED] = 0,
        [TRANSFER_CANCELLED] = 0,
        [TRANSFER_FAILED] = 0,
};

/* --- keys ------------------------------------------------------------------------------------- */

struct tally_key transfer_key(enum tally_store_id store, struct tally_slice transfer_id)
{
    TALLY_UNINITIALIZED struct tally_key key;

    tally_key_begin(&key, store);
    tally_key_tail(&key, transfer_id);
    return key;
}

struct tally_key transfer_timer_key(int64_t due_ms, struct tally_slice transfer_id)
{
    TALLY_UNINITIALIZED struct tally_key key;

    tally_key_begin(&key, TALLY_STORE_TRANSFER_TIMER);
    tally_key_u64(&key, (uint64_t)due_ms);
    tally_key_tail(&key, transfer_id);
    return key;
}

void transfer_touch(struct tally_touch *touch, const struct tally_command *command)
{
    const struct transfer_command *cmd = (const struct transfer_command *)command->fields;
    struct tally_key key = transfer_key(TALLY_STORE_TRANSFER, cmd->transfer_id);

    tally_touch_key(touch, &key);
    if (command->schema->id == TRANSFER_REPLY) {
        key = transfer_key(TALLY_STORE_TRANSFER_OPERATION, cmd->transfer_id);
        tally_touch_key(touch, &key);
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

void transfer_open(struct transfer *transfer, struct tally_context *ctx,
        const struct transfer_command *cmd)
{
    struct tally_key key = transfer_key(TALLY_STORE_TRANSFER, cmd->transfer_id);
    struct transfer_row *found = &transfer->row;
    struct tally_slice row;

    *transfer = (struct transfer){.ctx = ctx, .cmd = cmd};
    transfer->found = tally_get(ctx, &key, &row);
    if (transfer->found) {
        tally_assert(transfer_unpack(tally_arena_copy(tally_scratch(ctx), row), found));
    }
    transfer->event = (struct transfer_event){
            .transfer_id = cmd->transfer_id,
            .version = found->version + 1,
            .state = found->state,
            .sku = found->sku,
            .from = found->from,
            .to = found->to,
            .quantity = found->quantity,
            .received = found->received,
            .returned = found->returned,
            .lost = found->lost,
    };
}

bool transfer_read_op(struct transfer *transfer)
{
    struct tally_arena *scratch = tally_scratch(transfer->ctx);
    struct tally_key key = transfer_key(TALLY_STORE_TRANSFER_OPERATION, transfer->cmd->transfer_id);
    struct tally_slice row;

    if (!tally_get(transfer->ctx, &key, &row)) {
        return false;
    }
    tally_assert(transfer_op_unpack(tally_arena_copy(scratch, row), scratch, &transfer->op));
    return true;
}

/* --- the event -------------------------------------------------------------------------------- */

static void mark(struct transfer *transfer, unsigned bit)
{
    transfer->event.presence.present |= TALLY_BIT(bit);
}

void transfer_set_state(struct transfer *transfer, enum transfer_state next)
{
    unsigned legal = transfer->found ? successors[transfer->row.state] : BIT(TRANSFER_DISPATCHING);

    tally_assert(legal & BIT(next));
    transfer->event.state = (uint8_t)next;
}

void transfer_begin_op(struct transfer *transfer)
{
    struct transfer_timer *timer = &transfer->event.timer;

    tally_operation_begin(transfer->ctx, &transfer->op.operation);
    transfer->op.due_at = tally_time(transfer->ctx) + TIME_OUT_MS;
    transfer->op.operation.presence.present |= TALLY_BIT(TRANSFER_OP_DUE_AT);
    transfer->event.op = transfer->op;
    mark(transfer, TRANSFER_EVENT_OP);
    timer->set = transfer->op.due_at;
    timer->presence.present |= TALLY_BIT(TRANSFER_TIMER_SET);
    mark(transfer, TRANSFER_EVENT_TIMER);
}

void transfer_end_op(struct transfer *transfer)
{
    struct transfer_timer *timer = &transfer->event.timer;

    timer->clear = transfer->op.due_at;
    timer->presence.present |= TALLY_BIT(TRANSFER_TIMER_CLEAR);
    mark(transfer, TRANSFER_EVENT_TIMER);
}

static void mark_head(struct transfer *transfer)
{
    for (unsigned bit = TRANSFER_EVENT_TRANSFER_ID; bit <= TRANSFER_EVENT_LOST; bit++) {
        mark(transfer, bit);
    }
}

void transfer_emit(struct transfer *transfer, enum transfer_event_type type)
{
    mark_head(transfer);
    tally_emit(transfer->ctx, type, &transfer->event);
}

void transfer_emit_pending(struct transfer *transfer, enum transfer_event_type type)
{
    mark_head(transfer);
    tally_emit_pending(transfer->ctx, type, &transfer->event);
}

int64_t transfer_in_transit(const struct transfer_event *event)
{
    return event->quantity - event->received - event->returned - event->lost;
}

/* --- messages to stock ------------------------------------------------------------------------ */

static bool is_about_origin(enum stock_command_type type)
{
    return type == STOCK_TRANSFER_OUT || type == STOCK_TRANSFER_BACK;
}

/* Sent once for a transfer; the others once for each event that sends them. */
static bool is_once(enum stock_command_type type)
{
    return type == STOCK_TRANSFER_OUT || type == STOCK_TRANSFER_EXPECT;
}

void transfer_send(struct transfer *transfer, enum stock_command_type type, int64_t quantity)
{
    const struct transfer_event *event = &transfer->event;
    const struct tally_schema *schema = stock_command_schemas[type];
    struct stock_command fields = {
            .sku = event->sku,
            .warehouse = is_about_origin(type) ? event->from : event->to,
            .transfer_id = event->transfer_id,
            .quantity = quantity,
            .to = event->to,
            .bucket = transfer->cmd->bucket,
    };
    struct tally_message message = {.topic = TRANSFER_STOCK_COMMANDS,
            .partition = -1,
            .key = event->sku,
            .schema = schema,
            .fields = &fields};
    char id[ID_MAX];
    int len = snprintf(id, sizeof id, "~%s:%.*s", schema->name, (int)event->transfer_id.len,
            (const char *)event->transfer_id.data);

    if (!is_once(type)) {
        (void)snprintf(id + len, sizeof id - (size_t)len, ":%" PRId64, event->version);
    }
    message.id = tally_slice_string(id);
    fields.head.presence.present = TALLY_BIT(STOCK_HAS_SKU) | TALLY_BIT(STOCK_HAS_WAREHOUSE) |
                                   TALLY_BIT(STOCK_HAS_TRANSFER_ID) | TALLY_BIT(STOCK_HAS_QUANTITY);
    if (type == STOCK_TRANSFER_OUT) {
        fields.head.presence.present |= TALLY_BIT(STOCK_HAS_TO);
    }
    if (type == STOCK_TRANSFER_IN) {
        fields.head.presence.present |= TALLY_BIT(STOCK_HAS_BUCKET);
    }
    tally_send(transfer->ctx, &message);
}
