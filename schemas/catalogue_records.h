/* schemas/catalogue_records.h - commands and events of the catalogue topology.
 * Field tables: catalogue_command.def, catalogue_event.def. */
#pragma once
#include "schemas/envelope.h"

enum catalogue_command_type {
    CATALOGUE_REGISTER_WAREHOUSE,
    CATALOGUE_CLAIM_REPLY,
    CATALOGUE_COMMAND_TYPES
};
enum catalogue_event_type { CATALOGUE_WAREHOUSE_REGISTERED, CATALOGUE_EVENT_TYPES };

enum {
    CATALOGUE_HAS_WAREHOUSE = TALLY_HAS_FAMILY,
    CATALOGUE_HAS_NAME,
    CATALOGUE_HAS_PRODUCT_ID,
    CATALOGUE_HAS_OP_ID,
    CATALOGUE_HAS_CLAIM,
    CATALOGUE_HAS_GRANTED,
    CATALOGUE_HAS_CODE
};
struct catalogue_command {
    struct tally_command_fields head;
    struct tally_slice warehouse, name;
    struct tally_slice product_id;
    struct tally_slice op_id, claim, code; /* of a claim */
    bool granted;
};
extern const struct tally_schema *const catalogue_command_schemas[];

enum { CATALOGUE_EVENT_WAREHOUSE, CATALOGUE_EVENT_NAME, CATALOGUE_EVENT_STATE };
struct catalogue_event {
    struct tally_presence presence;
    struct tally_slice warehouse, name;
    uint8_t state; /* enum stock_warehouse_state */
};
extern const struct tally_schema *const catalogue_event_schemas[];

/* Any row of the catalogue's stores as a JSON object, for dumps and /v1/ops. false: damaged. */
bool catalogue_row_json(const char *store, struct tally_slice row, struct tally_buf *out);
