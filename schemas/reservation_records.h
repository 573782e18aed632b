/* schemas/reservation_records.h - commands of the reservation topology.
 * Field table: reservation_command.def. */
#pragma once
#include "schemas/envelope.h"

enum reservation_command_type {
    RESERVATION_HOLD_REPLY,
    RESERVATION_HOLD_SHIPPED,
    RESERVATION_COMMAND_TYPES
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
    RESERVATION_HAS_SHIPMENT_ID
};
struct reservation_command {
    struct tally_command_fields head;
    struct tally_slice reservation_id;
    struct tally_slice position, warehouse, code, shipment_id;
    int64_t line, attempt, available, quantity;
    bool granted;
};
extern const struct tally_schema
        *const reservation_command_schemas[]; /* by enum reservation_command_type, then NULL */
