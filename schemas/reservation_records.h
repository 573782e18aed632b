/* schemas/reservation_records.h - commands, events and store rows of the reservation topology.
 * Field tables: reservation_command.def, reservation_event.def. Rows are compact and private to
 * tally. They hold the numbers of the enums below: append to an enum, never reorder it. */
#pragma once
#include "schemas/operation.h"

#define RESERVATION_LINES_MAX 200 /* after equal ones were merged */

enum reservation_state {
    RESERVATION_HOLDING,
    RESERVATION_CONFIRMED,
    RESERVATION_COMMITTED,
    RESERVATION_FULFILLED,
    RESERVATION_FAILED,
    RESERVATION_RELEASED,
    RESERVATION_EXPIRED,
    RESERVATION_STATES
};
enum reservation_line_state {
    RESERVATION_WAITING, /* for its turn: lines of a later attempt are held one by one */
    RESERVATION_PENDING, /* HoldStock was sent */
    RESERVATION_HELD,
    RESERVATION_REFUSED
};
extern const char *const reservation_state_names[], *const reservation_line_state_names[];

enum reservation_command_type {
    RESERVATION_HOLD_REPLY,
    RESERVATION_HOLD_SHIPPED,
    RESERVATION_RESERVE,
    RESERVATION_EXTEND,
    RESERVATION_COMMIT,
    RESERVATION_RELEASE,
    RESERVATION_EXPIRE,
    RESERVATION_TIME_OUT,
    RESERVATION_COMMAND_TYPES
};
enum reservation_event_type {
    RESERVATION_WAS_REQUESTED,
    RESERVATION_LINE_WAS_HELD,
    RESERVATION_WAS_CONFIRMED,
    RESERVATION_WAS_RETRIED,
    RESERVATION_DID_FAIL,
    RESERVATION_WAS_EXTENDED,
    RESERVATION_WAS_COMMITTED,
    RESERVATION_WAS_RELEASED,
    RESERVATION_DID_EXPIRE,
    RESERVATION_WAS_SHIPPED,
    RESERVATION_WAS_FULFILLED,
    RESERVATION_EVENT_TYPES
};

enum {
    RESERVATION_HAS_RESERVATION_ID = TALLY_HAS_FAMILY,
    RESERVATION_HAS_LINE,
    RESERVATION_HAS_ATTEMPT,
    RESERVATION_HAS_GRANTED,
    RESERVATION_HAS_POSITION,
    RESERVATION_HAS_WAREHOUSE,
    RESERVATION_HAS_CODE,
    RESERVATION_HAS_AVAILABLE,
    RESERVATION_HAS_QUANTITY,
    RESERVATION_HAS_SHIPMENT_ID,
    RESERVATION_HAS_LINES,
    RESERVATION_HAS_OWNER,
    RESERVATION_HAS_TTL_S,
    RESERVATION_HAS_ORDER_ID,
    RESERVATION_HAS_DUE_AT
};
struct reservation_command {
    struct tally_command_fields head;
    struct tally_slice reservation_id;
    struct tally_slice position, warehouse, code, shipment_id;
    int64_t line, attempt, available, quantity;
    struct tally_slice owner, order_id;
    struct tally_array lines; /* of struct reservation_asked */
    int64_t ttl_s;
    int64_t due_at; /* ms */
    bool granted;
};
extern const struct tally_schema
        *const reservation_command_schemas[]; /* by enum reservation_command_type, then NULL */

enum {
    RESERVATION_ASKED_SKU,
    RESERVATION_ASKED_QUANTITY,
    RESERVATION_ASKED_WAREHOUSE,
    RESERVATION_ASKED_WAREHOUSES
};
struct reservation_asked { /* a line of ReserveStock */
    struct tally_presence presence;
    struct tally_slice sku, warehouse;
    struct tally_array warehouses; /* of struct tally_slice, best first */
    int64_t quantity;
};

enum {
    RESERVATION_LINE_NUMBER,
    RESERVATION_LINE_SKU,
    RESERVATION_LINE_QUANTITY,
    RESERVATION_LINE_WAREHOUSES,
    RESERVATION_LINE_STATE,
    RESERVATION_LINE_SHIPPED,
    RESERVATION_LINE_WAREHOUSE,
    RESERVATION_LINE_POSITION,
    RESERVATION_LINE_CODE,
    RESERVATION_LINE_AVAILABLE
};
/* A line, in events and as it is kept (LINE: reservation_id . line); absent members are empty. */
struct reservation_line {
    struct tally_presence presence;
    int64_t line; /* from 1 */
    struct tally_slice sku;
    int64_t quantity, shipped;
    struct tally_array warehouses;          /* of struct tally_slice, best first; empty: any */
    uint8_t state;                          /* enum reservation_line_state */
    struct tally_slice warehouse, position; /* HELD: where, and by which HoldStock */
    struct tally_slice code;                /* REFUSED: why */
    int64_t available;                      /* REFUSED, with its bit: what there was at most */
};

enum { RESERVATION_TIMER_SET, RESERVATION_TIMER_CLEAR };
struct reservation_timer { /* rows of the timer store that an event puts and deletes */
    struct tally_presence presence;
    int64_t set, clear; /* ms */
};

enum { RESERVATION_OP_DEADLINE = TALLY_OPERATION_FAMILY, RESERVATION_OP_DUE_AT };
struct reservation_op {
    struct tally_operation operation;
    int64_t deadline; /* of ReserveStock, for every HoldStock */
    int64_t due_at;   /* of the timer that ends the attempt */
};

enum {
    RESERVATION_EVENT_RESERVATION_ID,
    RESERVATION_EVENT_VERSION,
    RESERVATION_EVENT_STATE,
    RESERVATION_EVENT_OWNER,
    RESERVATION_EVENT_TTL_S,
    RESERVATION_EVENT_ATTEMPT,
    RESERVATION_EVENT_PENDING,
    RESERVATION_EVENT_EXPIRES_AT,
    RESERVATION_EVENT_ORDER_ID,
    RESERVATION_EVENT_LINES,
    RESERVATION_EVENT_TIMER,
    RESERVATION_EVENT_OP
};
struct reservation_event {
    struct tally_presence presence;
    struct tally_slice reservation_id;
    int64_t version;
    uint8_t state; /* enum reservation_state */
    struct tally_slice owner, order_id;
    int64_t ttl_s, attempt, pending;
    int64_t expires_at;       /* ms */
    struct tally_array lines; /* of struct reservation_line */
    struct reservation_timer timer;
    struct reservation_op op;
};
extern const struct tally_schema
        *const reservation_event_schemas[]; /* by enum reservation_event_type, then NULL */

/* --- store rows ------------------------------------------------------------------------------- */

struct reservation_row { /* RESERVATION: reservation_id */
    uint8_t state;
    int64_t version, ttl_s, pending;
    int64_t attempt;    /* 0: never requested, a tombstone */
    int64_t expires_at; /* ms; 0: none */
    int64_t updated_at; /* ms; of an ended one: when it ended */
    struct tally_slice owner, order_id;
};
void reservation_pack(const struct reservation_row *reservation, struct tally_buf *row);
bool reservation_unpack(struct tally_slice row, struct reservation_row *reservation);

/* The names of warehouses stand in the arena, everything else borrows from row. */
void reservation_line_pack(const struct reservation_line *line, struct tally_buf *row);
bool reservation_line_unpack(struct tally_slice row, struct tally_arena *arena,
        struct reservation_line *line);

struct reservation_timer_row { /* TIMER: due_ms . reservation_id */
    uint8_t state;             /* HOLDING: the attempt times out; CONFIRMED: it expires */
    int64_t attempt;
};
void reservation_timer_pack(const struct reservation_timer_row *timer, struct tally_buf *row);
bool reservation_timer_unpack(struct tally_slice row, struct reservation_timer_row *timer);

void reservation_op_pack(const struct reservation_op *op, struct tally_buf *row);
bool reservation_op_unpack(struct tally_slice row, struct tally_arena *arena,
        struct reservation_op *op); /* borrows from row and the arena */
