/* schemas/transfer_records.c - the tables of the transfer topology's records, and the rows of its
 * stores.
 * Form of a transfer's row: a version byte, then bytes, zigzag varints and counted text in the
 * order of the struct.
 * Invariants
 *  (1) A row is a function of its struct; unpack(pack(x)) = x.
 *  (2) Unpacking a damaged row gives false; it never reads beyond the row. */
#include "schemas/transfer_records.h"

#include "schemas/row_internal.h"
#include "schemas/row_json_internal.h"
#include "schemas/serde_table.h"
#include "schemas/stock_records.h"

#define ROW_VERSION 1

const char *const transfer_state_names[] = {
        "DISPATCHING", "IN_TRANSIT", "PARTIALLY_RECEIVED", "RECEIVED", "CANCELLED", "FAILED", NULL};
const char *const transfer_disposition_names[] = {"RESTOCK", "WRITE_OFF", NULL};

/* --- parts ------------------------------------------------------------------------------------ */

static const struct tally_field timer_fields[] = {
        FIELD_ROW(struct transfer_timer, TRANSFER_TIMER_CLEAR, clear, "clear", TIME, OPTIONAL,
                "the timer of this time is cleared") //
        FIELD_ROW(struct transfer_timer, TRANSFER_TIMER_SET, set, "set", TIME, OPTIONAL,
                "a timer is set to this time") //
};
static const struct tally_schema timer_schema = {
        .name = "Timer",
        .fields = timer_fields,
        .field_count = sizeof timer_fields / sizeof timer_fields[0],
        .size = sizeof(struct transfer_timer),
        .help = "when tally is to come back",
};

static const struct tally_field op_fields[] = {
        OPERATION_ROWS(struct transfer_op, operation) //
        FIELD_ROW(struct transfer_op, TRANSFER_OP_DUE_AT, due_at, "due_at", TIME, REQUIRED,
                "when it times out") //
};
static const struct tally_schema op_schema = {
        .name = "Operation",
        .fields = op_fields,
        .field_count = sizeof op_fields / sizeof op_fields[0],
        .size = sizeof(struct transfer_op),
        .help = "the DispatchTransfer being carried out",
};

/* --- records ---------------------------------------------------------------------------------- */

#define STRUCT      struct transfer_command
#define BIT_OF(bit) TRANSFER_HAS_##bit
#include "schemas/serde_fields.def"
#include "schemas/transfer_command.def"
#include "schemas/serde_schemas.def"
#include "schemas/transfer_command.def"
#undef STRUCT
#undef BIT_OF

#define STRUCT      struct transfer_event
#define BIT_OF(bit) TRANSFER_EVENT_##bit
#include "schemas/serde_fields.def"
#include "schemas/transfer_event.def"
#include "schemas/serde_schemas.def"
#include "schemas/transfer_event.def"
#undef STRUCT
#undef BIT_OF

const struct tally_schema *const transfer_command_schemas[] = {
        [TRANSFER_REPLY] = &schema_TRANSFER_REPLY,
        [TRANSFER_DISPATCH] = &schema_TRANSFER_DISPATCH,
        [TRANSFER_RECEIVE] = &schema_TRANSFER_RECEIVE,
        [TRANSFER_CANCEL] = &schema_TRANSFER_CANCEL,
        [TRANSFER_TIME_OUT] = &schema_TRANSFER_TIME_OUT,
        [TRANSFER_COMMAND_TYPES] = NULL,
};

const struct tally_schema *const transfer_event_schemas[] = {
        [TRANSFER_WAS_REQUESTED] = &schema_TRANSFER_WAS_REQUESTED,
        [TRANSFER_WAS_DISPATCHED] = &schema_TRANSFER_WAS_DISPATCHED,
        [TRANSFER_DID_FAIL] = &schema_TRANSFER_DID_FAIL,
        [TRANSFER_WAS_RECEIVED] = &schema_TRANSFER_WAS_RECEIVED,
        [TRANSFER_WAS_CANCELLED] = &schema_TRANSFER_WAS_CANCELLED,
        [TRANSFER_EVENT_TYPES] = NULL,
};

/* --- rows ------------------------------------------------------------------------------------- */

void transfer_pack(const struct transfer_row *transfer, struct tally_buf *row)
{
    struct row_writer writer;

    row_begin(&writer, row,
            2 + 9 * ROW_VARINT_MAX + transfer->sku.len + transfer->from.len + transfer->to.len);
    row_put_u8(&writer, ROW_VERSION);
    row_put_u8(&writer, transfer->state);
    row_put_int(&writer, transfer->version);
    row_put_int(&writer, transfer->quantity);
    row_put_int(&writer, transfer->received);
    row_put_int(&writer, transfer->returned);
    row_put_int(&writer, transfer->lost);
    row_put_int(&writer, transfer->updated_at);
    row_put_text(&writer, transfer->sku);
    row_put_text(&writer, transfer->from);
    row_put_text(&writer, transfer->to);
    row_end(&writer);
}

bool transfer_unpack(struct tally_slice row, struct transfer_row *transfer)
{
    struct row_reader reader = {.left = row, .fine = true};
    bool known = row_u8(&reader) == ROW_VERSION;

    *transfer = (struct transfer_row){.state = row_u8(&reader)};
    transfer->version = row_int(&reader);
    transfer->quantity = row_int(&reader);
    transfer->received = row_int(&reader);
    transfer->returned = row_int(&reader);
    transfer->lost = row_int(&reader);
    transfer->updated_at = row_int(&reader);
    transfer->sku = row_text(&reader);
    transfer->from = row_text(&reader);
    transfer->to = row_text(&reader);
    return known && row_done(&reader) && transfer->state < TRANSFER_STATES;
}

/* The operation is kept as the document that events carry: it is read once. */
void transfer_op_pack(const struct transfer_op *op, struct tally_buf *row)
{
    tally_encode(&op_schema, op, TALLY_FORMAT_MSGPACK, row);
}

bool transfer_op_unpack(struct tally_slice row, struct tally_arena *arena, struct transfer_op *op)
{
    return row_document(row, &op_schema, arena, op);
}

/* --- rows as JSON ----------------------------------------------------------------------------- */

static bool header_json(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    struct transfer_row header;

    (void)arena;
    if (!transfer_unpack(row, &header)) {
        return false;
    }
    tally_write_map(writer, 10);
    row_json_text(writer, "state", tally_slice_string(transfer_state_names[header.state]));
    row_json_int(writer, "version", header.version);
    row_json_text(writer, "sku", header.sku);
    row_json_int(writer, "quantity", header.quantity);
    row_json_text(writer, "from", header.from);
    row_json_text(writer, "to", header.to);
    row_json_int(writer, "received", header.received);
    row_json_int(writer, "returned", header.returned);
    row_json_int(writer, "lost", header.lost);
    row_json_time(writer, "updated_at", header.updated_at);
    return true;
}

static bool op_json(struct tally_slice row, struct tally_arena *arena, struct tally_writer *writer)
{
    struct transfer_op op;

    if (!transfer_op_unpack(row, arena, &op)) {
        return false;
    }
    tally_encode(&op_schema, &op, writer->format, writer->out);
    return true;
}

static bool timer_json(struct tally_slice row, struct tally_arena *arena,
        struct tally_writer *writer)
{
    (void)arena;
    tally_write_map(writer, 1);
    row_json_text(writer, "op_id", row);
    return true;
}

const struct row_json_store transfer_row_stores[] = {
        {"transfer", header_json}, {"operation", op_json}, {"timer", timer_json}, {NULL, NULL}};
