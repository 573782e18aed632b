/* schemas/transfer_records.c - the tables of the transfer topology's records. */
#include "schemas/transfer_records.h"

#include "schemas/serde_table.h"

#define STRUCT      struct transfer_command
#define BIT_OF(bit) TRANSFER_HAS_##bit
#include "schemas/serde_fields.def"
#include "schemas/transfer_command.def"
#include "schemas/serde_schemas.def"
#include "schemas/transfer_command.def"
#undef STRUCT
#undef BIT_OF

const struct tally_schema *const transfer_command_schemas[] = {
        [TRANSFER_REPLY] = &schema_TRANSFER_REPLY,
        [TRANSFER_COMMAND_TYPES] = NULL,
};
