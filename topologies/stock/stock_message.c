/* topologies/stock/stock_message.c - what stock tells the topologies that asked it for something.
 * Ids are made of what is answered, so that an answer given twice is one.
 * Invariants
 *  (1) HoldStock, ClaimSku and TransferOut are answered, whatever refuses them. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "schemas/catalogue_records.h"
#include "schemas/reservation_records.h"
#include "schemas/transfer_records.h"
#include "topologies/stock/stock_change_internal.h"
#include "topologies/stock/stock_topology.h"

/* An id in memory of the caller: "~HoldReply:R-77:1:1". */
struct message_id {
    char text[TALLY_KEY_MAX];
};

static struct tally_slice make_id(struct message_id *id, const char *format, ...)
        TALLY_PRINTF(2, 3);
static struct tally_slice make_id(struct message_id *id, const char *format, ...)
{
    va_list arguments;
    int len;

    va_start(arguments, format);
    len = vsnprintf(id->text, sizeof id->text, format, arguments);
    va_end(arguments);
    tally_assert(len > 0 && (size_t)len < sizeof id->text);
    return tally_slice_of(id->text, (size_t)len);
}

#define TEXT(slice) (int)(slice).len, (const char *)(slice).data

static struct tally_slice name_of(enum tally_reject code)
{
    return tally_slice_string(tally_reject_name(code));
}

void stock_send_hold_reply(struct tally_context *ctx, const struct stock_command *cmd,
        const struct stock_hold_answer *answer)
{
    struct message_id id;
    struct reservation_command fields = {.reservation_id = cmd->reservation_id,
            .line = cmd->line,
            .attempt = cmd->attempt,
            .granted = answer->code == TALLY_REJECT_NONE,
            .position = tally_position(ctx),
            .warehouse = answer->warehouse,
            .available = answer->available};
    struct tally_presence *presence = &fields.head.presence;

    stock_mark(presence, RESERVATION_HAS_RESERVATION_ID);
    stock_mark(presence, RESERVATION_HAS_LINE);
    stock_mark(presence, RESERVATION_HAS_ATTEMPT);
    stock_mark(presence, RESERVATION_HAS_GRANTED);
    stock_mark(presence, RESERVATION_HAS_POSITION);
    if (fields.granted) {
        stock_mark(presence, RESERVATION_HAS_WAREHOUSE);
    } else {
        fields.code = name_of(answer->code);
        stock_mark(presence, RESERVATION_HAS_CODE);
    }
    if (answer->has_available) {
        stock_mark(presence, RESERVATION_HAS_AVAILABLE);
    }
    tally_send(ctx, &(struct tally_message){.topic = STOCK_RESERVATION_COMMANDS,
                            .partition = -1,
                            .key = cmd->reservation_id,
                            .id = make_id(&id, "~HoldReply:%.*s:%" PRId64 ":%" PRId64,
                                    TEXT(cmd->reservation_id), cmd->line, cmd->attempt),
                            .schema = reservation_command_schemas[RESERVATION_HOLD_REPLY],
                            .fields = &fields});
}

void stock_send_hold_shipped(struct tally_context *ctx, const struct stock_command *cmd,
        int64_t seq)
{
    struct message_id id;
    struct reservation_command fields = {.reservation_id = cmd->reservation_id,
            .line = cmd->line,
            .quantity = cmd->quantity,
            .shipment_id = cmd->shipment_id};
    struct tally_presence *presence = &fields.head.presence;

    stock_mark(presence, RESERVATION_HAS_RESERVATION_ID);
    stock_mark(presence, RESERVATION_HAS_LINE);
    stock_mark(presence, RESERVATION_HAS_QUANTITY);
    stock_mark(presence, RESERVATION_HAS_SHIPMENT_ID);
    tally_send(ctx, &(struct tally_message){.topic = STOCK_RESERVATION_COMMANDS,
                            .partition = -1,
                            .key = cmd->reservation_id,
                            .id = make_id(&id, "~HoldShipped:%.*s:%" PRId64 ":%" PRId64,
                                    TEXT(cmd->reservation_id), cmd->line, seq),
                            .schema = reservation_command_schemas[RESERVATION_HOLD_SHIPPED],
                            .fields = &fields});
}

void stock_send_claim_reply(struct tally_context *ctx, const struct stock_command *cmd,
        enum tally_reject code)
{
    struct message_id id, claim;
    struct catalogue_command fields = {.product_id = cmd->product_id,
            .op_id = cmd->op_id,
            .claim = make_id(&claim, "sku:%.*s", TEXT(cmd->sku)),
            .granted = code == TALLY_REJECT_NONE};
    struct tally_presence *presence = &fields.head.presence;

    stock_mark(presence, CATALOGUE_HAS_PRODUCT_ID);
    stock_mark(presence, CATALOGUE_HAS_OP_ID);
    stock_mark(presence, CATALOGUE_HAS_CLAIM);
    stock_mark(presence, CATALOGUE_HAS_GRANTED);
    if (!fields.granted) {
        fields.code = name_of(code);
        stock_mark(presence, CATALOGUE_HAS_CODE);
    }
    tally_send(ctx, &(struct tally_message){.topic = STOCK_CATALOGUE_COMMANDS,
                            .partition = -1,
                            .key = cmd->product_id,
                            .id = make_id(&id, "~ClaimReply:%.*s:%.*s", TEXT(cmd->op_id),
                                    TEXT(fields.claim)),
                            .schema = catalogue_command_schemas[CATALOGUE_CLAIM_REPLY],
                            .fields = &fields});
}

void stock_send_transfer_reply(struct tally_context *ctx, const struct stock_command *cmd,
        enum tally_reject code, const int64_t *available)
{
    struct message_id id;
    struct transfer_command fields = {
            .transfer_id = cmd->transfer_id, .granted = code == TALLY_REJECT_NONE};
    struct tally_presence *presence = &fields.head.presence;

    stock_mark(presence, TRANSFER_HAS_TRANSFER_ID);
    stock_mark(presence, TRANSFER_HAS_GRANTED);
    if (!fields.granted) {
        fields.code = name_of(code);
        stock_mark(presence, TRANSFER_HAS_CODE);
    }
    if (available) {
        fields.available = *available;
        stock_mark(presence, TRANSFER_HAS_AVAILABLE);
    }
    tally_send(ctx, &(struct tally_message){.topic = STOCK_TRANSFER_COMMANDS,
                            .partition = -1,
                            .key = cmd->transfer_id,
                            .id = make_id(&id, "~TransferReply:%.*s", TEXT(cmd->transfer_id)),
                            .schema = transfer_command_schemas[TRANSFER_REPLY],
                            .fields = &fields});
}

/* --- refused by the engine -------------------------------------------------------------------- */

/* A field that breaks a rule counts as absent: an answer that needs it cannot be addressed. */
static bool has_all(const struct stock_command *cmd, uint64_t bits)
{
    return (cmd->head.presence.present & bits) == bits;
}

void stock_refused(struct tally_context *ctx, const struct tally_command *command,
        enum tally_reject code)
{
    const struct stock_command *cmd = (const struct stock_command *)command->fields;
    uint64_t hold = TALLY_BIT(STOCK_HAS_RESERVATION_ID) | TALLY_BIT(STOCK_HAS_LINE) |
                    TALLY_BIT(STOCK_HAS_ATTEMPT);
    uint64_t claim =
            TALLY_BIT(STOCK_HAS_PRODUCT_ID) | TALLY_BIT(STOCK_HAS_OP_ID) | TALLY_BIT(STOCK_HAS_SKU);

    if (command->schema->id == STOCK_HOLD && has_all(cmd, hold)) {
        stock_send_hold_reply(ctx, cmd, &(struct stock_hold_answer){.code = code});
    } else if (command->schema->id == STOCK_CLAIM_SKU && has_all(cmd, claim)) {
        stock_send_claim_reply(ctx, cmd, code);
    } else if (command->schema->id == STOCK_TRANSFER_OUT &&
               has_all(cmd, TALLY_BIT(STOCK_HAS_TRANSFER_ID))) {
        stock_send_transfer_reply(ctx, cmd, code, NULL);
    }
}
