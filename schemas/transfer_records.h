/* schemas/transfer_records.h - commands of the transfer topology.
 * Field table: transfer_command.def. */
#pragma once
#include "schemas/envelope.h"

enum transfer_command_type { TRANSFER_REPLY, TRANSFER_COMMAND_TYPES };

enum {
    TRANSFER_HAS_TRANSFER_ID = TALLY_HAS_FAMILY,
    TRANSFER_HAS_GRANTED,
    TRANSFER_HAS_CODE,
    TRANSFER_HAS_AVAILABLE
};
struct transfer_command {
    struct tally_command_fields head;
    struct tally_slice transfer_id;
    struct tally_slice code;
    int64_t available;
    bool granted;
};
extern const struct tally_schema
        *const transfer_command_schemas[]; /* by enum transfer_command_type, then NULL */
