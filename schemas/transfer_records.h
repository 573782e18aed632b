/* schemas/transfer_records.h - commands, events and store rows of the transfer topology.
 * Field tables: transfer_command.def, transfer_event.def. Rows are compact and private to tally.
 * They hold the numbers of the enums below: append to an enum, never reorder it. */
#pragma once
#include "schemas/operation.h"

enum transfer_state {
    TRANSFER_DISPATCHING,
    TRANSFER_IN_TRANSIT,
    TRANSFER_PARTIALLY_RECEIVED,
    TRANSFER_RECEIVED,
    TRANSFER_CANCELLED,
    TRANSFER_FAILED,
    TRANSFER_STATES
};
enum transfer_disposition { TRANSFER_RESTOCK, TRANSFER_WRITE_OFF };
extern const char *const transfer_state_names[], *const transfer_disposition_names[];

enum transfer_command_type {
    TRANSFER_REPLY,
    TRANSFER_DISPATCH,
    TRANSFER_RECEIVE,
    TRANSFER_CANCEL,
    TRANSFER_TIME_OUT,
    TRANSFER_COMMAND_TYPES
};
enum transfer_event_type {
    TRANSFER_WAS_REQUESTED,
    TRANSFER_WAS_DISPATCHED,
    TRANSFER_DID_FAIL,
    TRANSFER_WAS_RECEIVED,
    TRANSFER_WAS_CANCELLED,
    TRANSFER_EVENT_TYPES
};

enum {
    TRANSFER_HAS_TRANSFER_ID = TALLY_HAS_FAMILY,
    TRANSFER_HAS_GRANTED,
    TRANSFER_HAS_CODE,
    TRANSFER_HAS_AVAILABLE,
    TRANSFER_HAS_SKU,
    TRANSFER_HAS_QUANTITY,
    TRANSFER_HAS_FROM,
    TRANSFER_HAS_TO,
    TRANSFER_HAS_BUCKET,
    TRANSFER_HAS_CLOSE,
    TRANSFER_HAS_DISPOSITION,
    TRANSFER_HAS_OP_ID,
    TRANSFER_HAS_DUE_AT
};
struct transfer_command {
    struct tally_command_fields head;
    struct tally_slice transfer_id;
    struct tally_slice code;
    int64_t available;
    struct tally_slice sku, from, to, op_id;
    int64_t quantity;
    int64_t due_at;      /* ms */
    uint8_t bucket;      /* enum stock_bucket */
    uint8_t disposition; /* enum transfer_disposition */
    bool granted, close;
};
extern const struct tally_schema
        *const transfer_command_schemas[]; /* by enum transfer_command_type, then NULL */

enum { TRANSFER_TIMER_SET, TRANSFER_TIMER_CLEAR };
struct transfer_timer { /* rows of the timer store that an event puts and deletes */
    struct tally_presence presence;
    int64_t set, clear; /* ms */
};
enum { TRANSFER_OP_DUE_AT = TALLY_OPERATION_FAMILY };
struct transfer_op {
    struct tally_operation operation;
    int64_t due_at; /* of its timer */
};

enum {
    TRANSFER_EVENT_TRANSFER_ID,
    TRANSFER_EVENT_VERSION,
    TRANSFER_EVENT_STATE,
    TRANSFER_EVENT_SKU,
    TRANSFER_EVENT_QUANTITY,
    TRANSFER_EVENT_FROM,
    TRANSFER_EVENT_TO,
    TRANSFER_EVENT_RECEIVED,
    TRANSFER_EVENT_RETURNED,
    TRANSFER_EVENT_LOST,
    TRANSFER_EVENT_TIMER,
    TRANSFER_EVENT_OP
};
struct transfer_event {
    struct tally_presence presence;
    struct tally_slice transfer_id;
    int64_t version;
    uint8_t state; /* enum transfer_state */
    struct tally_slice sku, from, to;
    int64_t quantity, received, returned, lost;
    struct transfer_timer timer;
    struct transfer_op op;
};
extern const struct tally_schema
        *const transfer_event_schemas[]; /* by enum transfer_event_type, then NULL */

/* --- store rows ------------------------------------------------------------------------------- */

struct transfer_row { /* TRANSFER: transfer_id */
    uint8_t state;
    int64_t version;
    int64_t quantity, received, returned, lost;
    int64_t updated_at; /* ms */
    struct tally_slice sku, from, to;
};
void transfer_pack(const struct transfer_row *transfer, struct tally_buf *row);
bool transfer_unpack(struct tally_slice row, struct transfer_row *transfer);

/* TIMER: due_ms . transfer_id; the row is the id of the DispatchTransfer that times out. */

void transfer_op_pack(const struct transfer_op *op, struct tally_buf *row);
bool transfer_op_unpack(struct tally_slice row, struct tally_arena *arena, struct transfer_op *op);
