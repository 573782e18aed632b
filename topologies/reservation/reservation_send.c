/* topologies/reservation/reservation_send.c - messages to stock.
 * Their ids are made of the reservation, the line and the attempt, so that whatever is sent twice
 * is carried out once. Messages about one line go to one partition and arrive in the order in which
 * they were sent: HoldStock, ConfirmHold, CommitHold, ReleaseHold. */
#include <inttypes.h>
#include <stdio.h>

#include "topologies/reservation/reservation_internal.h"

#define ID_MAX 128

static void mark(struct stock_command *fields, unsigned bit)
{
    fields->head.presence.present |= TALLY_BIT(bit);
}

static struct stock_command fields_of(const struct reservation *reservation,
        const struct reservation_line *line, int64_t attempt)
{
    struct stock_command fields = {
            .sku = line->sku,
            .reservation_id = reservation->cmd->reservation_id,
            .line = line->line,
            .attempt = attempt,
    };

    mark(&fields, STOCK_HAS_SKU);
    mark(&fields, STOCK_HAS_RESERVATION_ID);
    mark(&fields, STOCK_HAS_LINE);
    mark(&fields, STOCK_HAS_ATTEMPT);
    return fields;
}

static void send(struct reservation *reservation, enum stock_command_type type,
        const struct stock_command *fields)
{
    const struct tally_schema *schema = stock_command_schemas[type];
    char id[ID_MAX];
    struct tally_message message = {
            .topic = RESERVATION_STOCK_COMMANDS,
            .partition = -1,
            .key = fields->sku,
            .schema = schema,
            .fields = fields,
    };

    (void)snprintf(id, sizeof id, "~%s:%.*s:%" PRId64 ":%" PRId64, schema->name,
            (int)fields->reservation_id.len, (const char *)fields->reservation_id.data,
            fields->line, fields->attempt);
    message.id = tally_slice_string(id);
    tally_send(reservation->ctx, &message);
}

void reservation_send_hold(struct reservation *reservation, const struct reservation_line *line)
{
    const struct reservation_op *op = &reservation->op;
    struct stock_command fields = fields_of(reservation, line, reservation->event.attempt);

    fields.quantity = line->quantity;
    fields.warehouses = line->warehouses;
    mark(&fields, STOCK_HAS_QUANTITY);
    mark(&fields, STOCK_HAS_WAREHOUSES);
    if (op->operation.presence.present & TALLY_BIT(RESERVATION_OP_DEADLINE)) {
        fields.head.deadline = op->deadline;
        mark(&fields, TALLY_HAS_DEADLINE);
    }
    send(reservation, STOCK_HOLD, &fields);
}

void reservation_send_confirm(struct reservation *reservation, const struct reservation_line *line)
{
    struct stock_command fields = fields_of(reservation, line, reservation->row.attempt);

    send(reservation, STOCK_CONFIRM_HOLD, &fields);
}

void reservation_send_commit(struct reservation *reservation, const struct reservation_line *line)
{
    struct stock_command fields = fields_of(reservation, line, reservation->row.attempt);

    fields.order_id = reservation->event.order_id;
    mark(&fields, STOCK_HAS_ORDER_ID);
    send(reservation, STOCK_COMMIT_HOLD, &fields);
}

void reservation_send_releases(struct reservation *reservation, enum stock_release_reason reason)
{
    for (size_t i = 0; i < reservation->line_count; i++) {
        const struct reservation_line *line = &reservation->lines[i];
        struct stock_command fields = fields_of(reservation, line, reservation->row.attempt);

        if ((line->state != RESERVATION_HELD && line->state != RESERVATION_PENDING) ||
                line->shipped >= line->quantity) {
            continue;
        }
        fields.release_reason = (uint8_t)reason;
        mark(&fields, STOCK_HAS_RELEASE_REASON);
        send(reservation, STOCK_RELEASE_HOLD, &fields);
    }
}
