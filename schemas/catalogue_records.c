/* schemas/catalogue_records.c - the tables of the catalogue topology's records. */
#include "schemas/catalogue_records.h"

#include "schemas/serde_table.h"
#include "schemas/stock_records.h"

#define STRUCT      struct catalogue_command
#define BIT_OF(bit) CATALOGUE_HAS_##bit
#include "schemas/serde_fields.def"
#include "schemas/catalogue_command.def"
#include "schemas/serde_schemas.def"
#include "schemas/catalogue_command.def"
#undef STRUCT
#undef BIT_OF

#define STRUCT      struct catalogue_event
#define BIT_OF(bit) CATALOGUE_EVENT_##bit
#include "schemas/serde_fields.def"
#include "schemas/catalogue_event.def"
#include "schemas/serde_schemas.def"
#include "schemas/catalogue_event.def"
#undef STRUCT
#undef BIT_OF

const struct tally_schema *const catalogue_command_schemas[] = {
        [CATALOGUE_REGISTER_WAREHOUSE] = &schema_CATALOGUE_REGISTER_WAREHOUSE,
        [CATALOGUE_CLAIM_REPLY] = &schema_CATALOGUE_CLAIM_REPLY,
        [CATALOGUE_COMMAND_TYPES] = NULL,
};

const struct tally_schema *const catalogue_event_schemas[] = {
        [CATALOGUE_WAREHOUSE_REGISTERED] = &schema_CATALOGUE_WAREHOUSE_REGISTERED,
        [CATALOGUE_EVENT_TYPES] = NULL,
};
