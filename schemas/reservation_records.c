/* schemas/reservation_records.c - the tables of the reservation topology's records. */
#include "schemas/reservation_records.h"

#include "schemas/serde_table.h"

#define STRUCT      struct reservation_command
#define BIT_OF(bit) RESERVATION_HAS_##bit
#include "schemas/serde_fields.def"
#include "schemas/reservation_command.def"
#include "schemas/serde_schemas.def"
#include "schemas/reservation_command.def"
#undef STRUCT
#undef BIT_OF

const struct tally_schema *const reservation_command_schemas[] = {
        [RESERVATION_HOLD_REPLY] = &schema_RESERVATION_HOLD_REPLY,
        [RESERVATION_HOLD_SHIPPED] = &schema_RESERVATION_HOLD_SHIPPED,
        [RESERVATION_COMMAND_TYPES] = NULL,
};
