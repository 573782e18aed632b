/* topologies/transfer/transfer_evolve.c - what each event leaves behind, what is remembered of it
 * and its result told again, and what its timer stands for. Evolve puts and deletes; it reads
 * nothing. All events say the same of a transfer, so they leave the same. */
#include <inttypes.h>
#include <stdio.h>

#include "topologies/transfer/transfer_internal.h"

#define ROW_MAX (8 * 1024) /* an operation: a reply topic, a correlation id */
#define ID_MAX  256

static bool has(const struct transfer_event *event, unsigned bit)
{
    return event->presence.present & TALLY_BIT(bit);
}

static void delete_row(struct tally_context *ctx, struct tally_key key)
{
    tally_delete(ctx, &key);
}

static void put_header(struct tally_context *ctx, const struct tally_event *envelope,
        const struct transfer_event *event, struct tally_buf *row)
{
    struct transfer_row header = {
            .state = event->state,
            .version = event->version,
            .quantity = event->quantity,
            .received = event->received,
            .returned = event->returned,
            .lost = event->lost,
            .updated_at = envelope->time_ms,
            .sku = event->sku,
            .from = event->from,
            .to = event->to,
    };

    transfer_pack(&header, row);
    tally_put_row(ctx, transfer_key(TALLY_STORE_TRANSFER, event->transfer_id), row);
}

static void put_timer(struct tally_context *ctx, const struct transfer_event *event,
        struct tally_buf *row)
{
    const struct transfer_timer *timer = &event->timer;

    if (timer->presence.present & TALLY_BIT(TRANSFER_TIMER_CLEAR)) {
        delete_row(ctx, transfer_timer_key(timer->clear, event->transfer_id));
    }
    if (timer->presence.present & TALLY_BIT(TRANSFER_TIMER_SET)) {
        tally_buf_slice(row, event->op.operation.op_id);
        tally_put_row(ctx, transfer_timer_key(timer->set, event->transfer_id), row);
    }
}

void transfer_evolve(struct tally_context *ctx, const struct tally_event *envelope)
{
    const struct transfer_event *event = envelope->body;
    struct tally_key op_key = transfer_key(TALLY_STORE_TRANSFER_OPERATION, event->transfer_id);
    TALLY_UNINITIALIZED uint8_t space[ROW_MAX]; /* no allocation for each event */
    struct tally_buf row = {.data = space, .capacity = sizeof space, .max = sizeof space};

    put_header(ctx, envelope, event, &row);
    if (has(event, TRANSFER_EVENT_TIMER)) {
        put_timer(ctx, event, &row);
    }
    if (has(event, TRANSFER_EVENT_OP)) {
        transfer_op_pack(&event->op, &row);
        tally_put_row(ctx, op_key, &row);
    }
    if (envelope->has_completes) {
        delete_row(ctx, op_key);
    }
}

void transfer_due(struct tally_context *ctx, int64_t due_ms, struct tally_slice rest,
        struct tally_slice row)
{
    const struct tally_schema *schema = transfer_command_schemas[TRANSFER_TIME_OUT];
    struct transfer_command fields = {.transfer_id = rest, .op_id = row, .due_at = due_ms};
    struct tally_message message = {.topic = TRANSFER_COMMANDS,
            .partition = -1,
            .key = rest,
            .schema = schema,
            .fields = &fields};
    char id[ID_MAX];

    (void)snprintf(id, sizeof id, "~%s:%.*s:%.*s:%" PRId64, schema->name, (int)rest.len,
            (const char *)rest.data, (int)row.len, (const char *)row.data, due_ms);
    message.id = tally_slice_string(id);
    fields.head.presence.present = TALLY_BIT(TRANSFER_HAS_TRANSFER_ID) |
                                   TALLY_BIT(TRANSFER_HAS_OP_ID) | TALLY_BIT(TRANSFER_HAS_DUE_AT);
    tally_send(ctx, &message);
}

/* --- results ---------------------------------------------------------------------------------- */

/* A memo: state, version. It needs no row, so a repeat is answered as the first time. */
void transfer_remember(const struct tally_event *envelope, struct tally_buf *memo)
{
    const struct transfer_event *event = envelope->body;

    tally_buf_byte(memo, event->state);
    tally_buf_varint(memo, (uint64_t)event->version);
}

void transfer_result(struct tally_context *ctx, struct tally_slice key,
        const struct tally_outcome *outcome, struct tally_writer *writer, int64_t *version)
{
    struct tally_slice memo = outcome->memo;
    uint64_t number;
    uint8_t state;

    (void)ctx;
    tally_assert(memo.len > 0 && memo.data[0] < TRANSFER_STATES);
    state = memo.data[0];
    memo = tally_slice_of(memo.data + 1, memo.len - 1);
    tally_assert(tally_read_varint(&memo, &number));
    *version = (int64_t)number;
    tally_write_map(writer, 3);
    tally_write_name(writer, "transfer_id");
    tally_write_string(writer, key);
    tally_write_name(writer, "state");
    tally_write_string(writer, tally_slice_string(transfer_state_names[state]));
    tally_write_name(writer, "version");
    tally_write_int(writer, *version);
}
