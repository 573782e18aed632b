/* schemas/stock_records.c - the tables of the stock topology's records. */
#include "schemas/stock_records.h"

#include "schemas/serde_table.h"

const char *const stock_bucket_names[] = {"SELLABLE", "DAMAGED", "QUALITY_CONTROL", NULL};
const char *const stock_policy_names[] = {"DENY", "BACKORDER", NULL};
const char *const stock_reason_names[] = {"CORRECTION", "CYCLE_COUNT", "DAMAGED", "SHRINKAGE",
        "LOST", "FOUND", "PROMO", "OTHER", NULL};
const char *const stock_condition_names[] = {"RESELLABLE", "DAMAGED", "INSPECT", NULL};
const char *const stock_release_reason_names[] = {"RETRIED", "FAILED", "RELEASED", "EXPIRED", NULL};
const char *const stock_set_names[] = {"ON_HAND", "AVAILABLE", NULL};
const char *const stock_kind_names[] = {"RECEIVE", "RETURN", "ADJUST", "SET", "CONFIGURE", "SHIP",
        "HOLD", "RESERVE", "COMMIT", "RELEASE", "TRANSFER_OUT", "TRANSFER_BACK", "TRANSFER_EXPECT",
        "TRANSFER_IN", "TRANSFER_LOSS", NULL};
const char *const stock_hold_states[] = {
        "HELD", "RESERVED", "COMMITTED", "SHIPPED", "RELEASED", NULL};
const char *const stock_sku_states[] = {"ACTIVE", "ARCHIVED", NULL};
const char *const stock_warehouse_states[] = {"OPEN", "CLOSED", NULL};
const char *const stock_signal_names[] = {"OUT_OF_STOCK", "BACK_IN_STOCK", "OVERSOLD",
        "LOW_STOCK_REACHED", "LOW_STOCK_CLEARED", NULL};
const char *const stock_number_names[STOCK_NUMBERS] = {
#define X(number, name) [number] = (name),
        STOCK_NUMBER_NAMES(X)
#undef X
};

/* --- parts of events
 * ------------------------------------------------------------------------------- */

#define PART(name_, struct_, fields_, help_)                                                       \
    {                                                                                              \
        .name = (name_), .fields = (fields_), .field_count = sizeof(fields_) / sizeof(fields_)[0], \
        .size = sizeof(struct_), .help = (help_)                                                   \
    }

#define NUMBER(index, name, help) \
    FIELD_ROW(struct stock_numbers, index, n[index], name, ANY_INT, OPTIONAL, help)
static const struct tally_field number_fields[] = {NUMBER(STOCK_ON_HAND, "on_hand",
        "all units in the warehouse") NUMBER(STOCK_DAMAGED_BUCKET, "damaged",
        "of them damaged") NUMBER(STOCK_QUALITY_CONTROL_BUCKET, "quality_control",
        "of them waiting for inspection") NUMBER(STOCK_HELD, "held",
        "promised to a reservation that is being made") NUMBER(STOCK_RESERVED, "reserved",
        "promised for a limited time") NUMBER(STOCK_COMMITTED, "committed", "promised to an order")
                NUMBER(STOCK_SAFETY_STOCK, "safety_stock", "kept back") NUMBER(STOCK_INCOMING,
                        "incoming", "on the way from another warehouse") NUMBER(STOCK_AVAILABLE,
                        "available", "what may still be promised; negative: oversold")
                        NUMBER(STOCK_BACKORDERED, "backordered", "promised without being there")};
static const struct tally_schema numbers_schema =
        PART("Numbers", struct stock_numbers, number_fields, "quantities of a level");

static const struct tally_field setting_fields[] = {FIELD_ROW(struct stock_setting,
        STOCK_SETTING_POLICY, policy, "policy", ENUM(stock_policy_names), REQUIRED,
        "what happens when nothing is available") FIELD_ROW(struct stock_setting,
        STOCK_SETTING_BACKORDER_LIMIT, backorder_limit, "backorder_limit", ANY_INT, NULLABLE,
        "most that may be backordered; null: no limit") FIELD_ROW(struct stock_setting,
        STOCK_SETTING_SAFETY_STOCK, safety_stock, "safety_stock", ANY_INT, OPTIONAL,
        "kept back from what is available") FIELD_ROW(struct stock_setting,
        STOCK_SETTING_LOW_STOCK_THRESHOLD, low_stock_threshold, "low_stock_threshold", ANY_INT,
        NULLABLE, "bound of the low stock signals; null: none")};
static const struct tally_schema setting_schema =
        PART("Setting", struct stock_setting, setting_fields, "settings of a level");

static const struct tally_field cause_fields[] = {FIELD_ROW(struct stock_cause,
        STOCK_CAUSE_RESERVATION_ID, reservation_id, "reservation_id", TEXT(1, 128), OPTIONAL,
        "reservation") FIELD_ROW(struct stock_cause, STOCK_CAUSE_LINE, line, "line", ANY_INT,
        OPTIONAL, "line of the reservation") FIELD_ROW(struct stock_cause, STOCK_CAUSE_ORDER_ID,
        order_id, "order_id", TEXT(1, 128), OPTIONAL, "order") FIELD_ROW(struct stock_cause,
        STOCK_CAUSE_SHIPMENT_ID, shipment_id, "shipment_id", TEXT(1, 128), OPTIONAL,
        "shipment") FIELD_ROW(struct stock_cause, STOCK_CAUSE_RETURN_ID, return_id, "return_id",
        TEXT(1, 128), OPTIONAL, "return") FIELD_ROW(struct stock_cause, STOCK_CAUSE_TRANSFER_ID,
        transfer_id, "transfer_id", TEXT(1, 128), OPTIONAL, "transfer")};
static const struct tally_schema cause_schema =
        PART("Cause", struct stock_cause, cause_fields, "what an entry was made for");

static const struct tally_field hold_fields[] = {FIELD_ROW(struct stock_hold, STOCK_HOLD_ATTEMPT,
        attempt, "attempt", ANY_INT, REQUIRED, "attempt of the reservation")
                FIELD_ROW(struct stock_hold, STOCK_HOLD_QUANTITY, quantity, "quantity", ANY_INT,
                        REQUIRED, "units promised; 0: of a tombstone") FIELD_ROW(struct stock_hold,
                        STOCK_HOLD_SHIPPED_UNITS, shipped, "shipped", ANY_INT, REQUIRED,
                        "of them shipped") FIELD_ROW(struct stock_hold, STOCK_HOLD_STATE, state,
                        "state", ENUM(stock_hold_states), REQUIRED, "what they are promised as")};
static const struct tally_schema hold_schema =
        PART("Hold", struct stock_hold, hold_fields, "what is promised to a line");

/* --- rules between fields
 * ---------------------------------------------------------------------------- */

/* Exactly one of change_from and as_of_version says what the value is compared with. */
static void check_set(const void *record, struct tally_violations *violations)
{
    const struct stock_command *command = record;
    bool change_from = command->head.presence.present & TALLY_BIT(STOCK_HAS_CHANGE_FROM);
    bool as_of = command->head.presence.present & TALLY_BIT(STOCK_HAS_AS_OF_VERSION);

    if (!change_from && !as_of) {
        tally_violate(violations, "/change_from", "REQUIRED",
                "SetStock needs change_from or as_of_version");
    } else if (change_from && as_of) {
        tally_violate(violations, "/change_from", "NOT_ALLOWED",
                "change_from and as_of_version exclude each other");
    }
}

static void check_ship(const void *record, struct tally_violations *violations)
{
    const struct stock_command *command = record;
    bool reservation = command->head.presence.present & TALLY_BIT(STOCK_HAS_RESERVATION_ID);
    bool line = command->head.presence.present & TALLY_BIT(STOCK_HAS_LINE);

    if (reservation && !line) {
        tally_violate(violations, "/line", "REQUIRED", "a reservation_id needs its line");
    } else if (line && !reservation) {
        tally_violate(violations, "/line", "NOT_ALLOWED", "a line needs its reservation_id");
    }
}

/* --- records
 * --------------------------------------------------------------------------------------- */

#define STRUCT      struct stock_command
#define BIT_OF(bit) STOCK_HAS_##bit
#include "schemas/serde_fields.def"
#include "schemas/stock_command.def"
#include "schemas/serde_schemas.def"
#include "schemas/stock_command.def"
#undef STRUCT
#undef BIT_OF

#define STRUCT      struct stock_event
#define BIT_OF(bit) STOCK_EVENT_##bit
#include "schemas/serde_fields.def"
#include "schemas/stock_event.def"
#include "schemas/serde_schemas.def"
#include "schemas/stock_event.def"
#undef STRUCT
#undef BIT_OF

const struct tally_schema *const stock_command_schemas[] = {
        [STOCK_REGISTER_SKU] = &schema_STOCK_REGISTER_SKU,
        [STOCK_CONFIGURE] = &schema_STOCK_CONFIGURE,
        [STOCK_RECEIVE] = &schema_STOCK_RECEIVE,
        [STOCK_ADJUST] = &schema_STOCK_ADJUST,
        [STOCK_SET] = &schema_STOCK_SET,
        [STOCK_SHIP] = &schema_STOCK_SHIP,
        [STOCK_APPLY_WAREHOUSE] = &schema_STOCK_APPLY_WAREHOUSE,
        [STOCK_RETURN] = &schema_STOCK_RETURN,
        [STOCK_CLAIM_SKU] = &schema_STOCK_CLAIM_SKU,
        [STOCK_RELEASE_SKU] = &schema_STOCK_RELEASE_SKU,
        [STOCK_FREEZE_SKU] = &schema_STOCK_FREEZE_SKU,
        [STOCK_HOLD] = &schema_STOCK_HOLD,
        [STOCK_CONFIRM_HOLD] = &schema_STOCK_CONFIRM_HOLD,
        [STOCK_COMMIT_HOLD] = &schema_STOCK_COMMIT_HOLD,
        [STOCK_RELEASE_HOLD] = &schema_STOCK_RELEASE_HOLD,
        [STOCK_TRANSFER_OUT] = &schema_STOCK_TRANSFER_OUT,
        [STOCK_TRANSFER_BACK] = &schema_STOCK_TRANSFER_BACK,
        [STOCK_TRANSFER_EXPECT] = &schema_STOCK_TRANSFER_EXPECT,
        [STOCK_TRANSFER_IN] = &schema_STOCK_TRANSFER_IN,
        [STOCK_TRANSFER_LOSS] = &schema_STOCK_TRANSFER_LOSS,
        [STOCK_COMMAND_TYPES] = NULL,
};

const struct tally_schema *const stock_event_schemas[] = {
        [STOCK_SKU_REGISTERED] = &schema_STOCK_SKU_REGISTERED,
        [STOCK_CONFIGURED] = &schema_STOCK_CONFIGURED,
        [STOCK_RECEIVED] = &schema_STOCK_RECEIVED,
        [STOCK_ADJUSTED] = &schema_STOCK_ADJUSTED,
        [STOCK_SHIPPED] = &schema_STOCK_SHIPPED,
        [STOCK_WAREHOUSE_APPLIED] = &schema_STOCK_WAREHOUSE_APPLIED,
        [STOCK_RETURNED] = &schema_STOCK_RETURNED,
        [STOCK_UNITS_HELD] = &schema_STOCK_UNITS_HELD,
        [STOCK_UNITS_RESERVED] = &schema_STOCK_UNITS_RESERVED,
        [STOCK_UNITS_COMMITTED] = &schema_STOCK_UNITS_COMMITTED,
        [STOCK_UNITS_RELEASED] = &schema_STOCK_UNITS_RELEASED,
        [STOCK_HOLD_TOMBSTONED] = &schema_STOCK_HOLD_TOMBSTONED,
        [STOCK_TRANSFERRED_OUT] = &schema_STOCK_TRANSFERRED_OUT,
        [STOCK_TRANSFERRED_BACK] = &schema_STOCK_TRANSFERRED_BACK,
        [STOCK_TRANSFER_EXPECTED] = &schema_STOCK_TRANSFER_EXPECTED,
        [STOCK_TRANSFERRED_IN] = &schema_STOCK_TRANSFERRED_IN,
        [STOCK_TRANSFER_LOST] = &schema_STOCK_TRANSFER_LOST,
        [STOCK_SKU_RELEASED] = &schema_STOCK_SKU_RELEASED,
        [STOCK_SKU_FROZEN] = &schema_STOCK_SKU_FROZEN,
        [STOCK_EVENT_TYPES] = NULL,
};

uint32_t stock_event_signals(const struct stock_event *event)
{
    const struct tally_slice *names = event->signals.items;
    uint32_t signals = 0;

    for (size_t i = 0; i < event->signals.count; i++) {
        for (uint32_t signal = 0; stock_signal_names[signal]; signal++) {
            if (tally_slice_equal(names[i], tally_slice_string(stock_signal_names[signal]))) {
                signals |= UINT32_C(1) << signal;
            }
        }
    }
    return signals;
}
