/* schemas/stock_records.h - commands, events and store rows of the stock topology.
 * Field tables: stock_command.def, stock_event.def. Rows are compact and private to tally: store
 * values, never on the wire. They hold the numbers of the enums below: append to an enum, never
 * reorder it. */
#pragma once
#include "schemas/envelope.h"

enum stock_bucket { STOCK_SELLABLE, STOCK_DAMAGED, STOCK_QUALITY_CONTROL };
enum stock_policy { STOCK_DENY, STOCK_BACKORDER };
enum stock_reason {
    STOCK_REASON_CORRECTION,
    STOCK_REASON_CYCLE_COUNT,
    STOCK_REASON_DAMAGED,
    STOCK_REASON_SHRINKAGE,
    STOCK_REASON_LOST,
    STOCK_REASON_FOUND,
    STOCK_REASON_PROMO,
    STOCK_REASON_OTHER
};
enum stock_set_name { STOCK_SET_ON_HAND, STOCK_SET_AVAILABLE };
enum stock_kind {
    STOCK_KIND_RECEIVE,
    STOCK_KIND_RETURN,
    STOCK_KIND_ADJUST,
    STOCK_KIND_SET,
    STOCK_KIND_CONFIGURE,
    STOCK_KIND_SHIP,
    STOCK_KIND_HOLD,
    STOCK_KIND_RESERVE,
    STOCK_KIND_COMMIT,
    STOCK_KIND_RELEASE,
    STOCK_KIND_TRANSFER_OUT,
    STOCK_KIND_TRANSFER_BACK,
    STOCK_KIND_TRANSFER_EXPECT,
    STOCK_KIND_TRANSFER_IN,
    STOCK_KIND_TRANSFER_LOSS,
    STOCK_KINDS
};
enum stock_condition { STOCK_RESELLABLE, STOCK_CONDITION_DAMAGED, STOCK_INSPECT };
enum stock_release_reason { /* why the lines of a reservation are given back */
    STOCK_RELEASE_RETRIED,
    STOCK_RELEASE_FAILED,
    STOCK_RELEASE_RELEASED,
    STOCK_RELEASE_EXPIRED
};
enum stock_hold_state { /* of a line; SHIPPED and RELEASED are its ends */
    STOCK_HOLD_HELD,
    STOCK_HOLD_RESERVED,
    STOCK_HOLD_COMMITTED,
    STOCK_HOLD_SHIPPED,
    STOCK_HOLD_RELEASED
};
enum stock_sku_state { STOCK_SKU_ACTIVE, STOCK_SKU_ARCHIVED };
enum stock_warehouse_state { STOCK_WAREHOUSE_OPEN, STOCK_WAREHOUSE_CLOSED };
enum stock_signal {
    STOCK_OUT_OF_STOCK,
    STOCK_BACK_IN_STOCK,
    STOCK_OVERSOLD,
    STOCK_LOW_STOCK_REACHED,
    STOCK_LOW_STOCK_CLEARED
};

/* Names of the enums above, by value, ending with NULL. */
extern const char *const stock_bucket_names[];
extern const char *const stock_policy_names[];
extern const char *const stock_reason_names[];
extern const char *const stock_condition_names[];
extern const char *const stock_release_reason_names[];
extern const char *const stock_set_names[];
extern const char *const stock_kind_names[];
extern const char *const stock_hold_states[];
extern const char *const stock_sku_states[];
extern const char *const stock_warehouse_states[];
extern const char *const stock_signal_names[];

enum stock_command_type {
    STOCK_REGISTER_SKU,
    STOCK_CONFIGURE,
    STOCK_RECEIVE,
    STOCK_ADJUST,
    STOCK_SET,
    STOCK_SHIP,
    STOCK_APPLY_WAREHOUSE,
    STOCK_RETURN,
    STOCK_CLAIM_SKU,
    STOCK_RELEASE_SKU,
    STOCK_FREEZE_SKU,
    STOCK_HOLD,
    STOCK_CONFIRM_HOLD,
    STOCK_COMMIT_HOLD,
    STOCK_RELEASE_HOLD,
    STOCK_TRANSFER_OUT,
    STOCK_TRANSFER_BACK,
    STOCK_TRANSFER_EXPECT,
    STOCK_TRANSFER_IN,
    STOCK_TRANSFER_LOSS,
    STOCK_COMMAND_TYPES
};
enum stock_event_type {
    STOCK_SKU_REGISTERED,
    STOCK_CONFIGURED,
    STOCK_RECEIVED,
    STOCK_ADJUSTED,
    STOCK_SHIPPED,
    STOCK_WAREHOUSE_APPLIED,
    STOCK_RETURNED,
    STOCK_UNITS_HELD,
    STOCK_UNITS_RESERVED,
    STOCK_UNITS_COMMITTED,
    STOCK_UNITS_RELEASED,
    STOCK_HOLD_TOMBSTONED,
    STOCK_TRANSFERRED_OUT,
    STOCK_TRANSFERRED_BACK,
    STOCK_TRANSFER_EXPECTED,
    STOCK_TRANSFERRED_IN,
    STOCK_TRANSFER_LOST,
    STOCK_SKU_RELEASED,
    STOCK_SKU_FROZEN,
    STOCK_EVENT_TYPES
};

/* One struct for every command of the family; presence says which fields came. */
enum {
    STOCK_HAS_SKU = TALLY_HAS_FAMILY,
    STOCK_HAS_WAREHOUSE,
    STOCK_HAS_PRODUCT_ID,
    STOCK_HAS_POLICY,
    STOCK_HAS_BACKORDER_LIMIT,
    STOCK_HAS_SAFETY_STOCK,
    STOCK_HAS_LOW_STOCK_THRESHOLD,
    STOCK_HAS_QUANTITY,
    STOCK_HAS_BUCKET,
    STOCK_HAS_DELTA,
    STOCK_HAS_REASON,
    STOCK_HAS_CHANGE_FROM,
    STOCK_HAS_SET_NAME,
    STOCK_HAS_AS_OF_VERSION,
    STOCK_HAS_SHIPMENT_ID,
    STOCK_HAS_FORCE,
    STOCK_HAS_NAME,
    STOCK_HAS_STATE,
    STOCK_HAS_RESERVATION_ID,
    STOCK_HAS_LINE,
    STOCK_HAS_RETURN_ID,
    STOCK_HAS_CONDITION,
    STOCK_HAS_OP_ID,
    STOCK_HAS_ATTEMPT,
    STOCK_HAS_WAREHOUSES,
    STOCK_HAS_ORDER_ID,
    STOCK_HAS_RELEASE_REASON,
    STOCK_HAS_TRANSFER_ID,
    STOCK_HAS_TO
};
struct stock_command {
    struct tally_command_fields head;
    struct tally_slice sku, warehouse, product_id, shipment_id, reservation_id;
    struct tally_slice name; /* of a warehouse */
    struct tally_slice return_id, op_id, order_id, transfer_id, to;
    struct tally_array warehouses; /* of struct tally_slice, best first */
    int64_t backorder_limit, safety_stock, low_stock_threshold; /* ConfigureStock; nullable */
    int64_t quantity, delta, change_from, as_of_version;
    int64_t line, attempt;                           /* of reservation_id */
    uint8_t policy, bucket, reason, set_name, state; /* the enums above */
    uint8_t condition, release_reason;
    bool force;
};
extern const struct tally_schema
        *const stock_command_schemas[]; /* by enum stock_command_type, then NULL */

/* Ten numbers in this order everywhere; available and backordered are derived. */
enum {
    STOCK_ON_HAND,
    STOCK_DAMAGED_BUCKET,
    STOCK_QUALITY_CONTROL_BUCKET,
    STOCK_HELD,
    STOCK_RESERVED,
    STOCK_COMMITTED,
    STOCK_SAFETY_STOCK,
    STOCK_INCOMING,
    STOCK_BUCKETS,
    STOCK_AVAILABLE = STOCK_BUCKETS,
    STOCK_BACKORDERED,
    STOCK_NUMBERS
};
#define STOCK_NUMBER_NAMES(X)                          \
    X(STOCK_ON_HAND, "on_hand")                        \
    X(STOCK_DAMAGED_BUCKET, "damaged")                 \
    X(STOCK_QUALITY_CONTROL_BUCKET, "quality_control") \
    X(STOCK_HELD, "held")                              \
    X(STOCK_RESERVED, "reserved")                      \
    X(STOCK_COMMITTED, "committed")                    \
    X(STOCK_SAFETY_STOCK, "safety_stock")              \
    X(STOCK_INCOMING, "incoming")                      \
    X(STOCK_AVAILABLE, "available")                    \
    X(STOCK_BACKORDERED, "backordered")
extern const char *const stock_number_names[STOCK_NUMBERS];
struct stock_numbers {
    struct tally_presence presence; /* bit i: number i */
    int64_t n[STOCK_NUMBERS];
};
struct stock_setting {
    struct tally_presence presence;
    uint8_t policy;
    int64_t backorder_limit, low_stock_threshold; /* nullable: nulls bit */
    int64_t safety_stock;
};
enum {
    STOCK_SETTING_POLICY,
    STOCK_SETTING_BACKORDER_LIMIT,
    STOCK_SETTING_SAFETY_STOCK,
    STOCK_SETTING_LOW_STOCK_THRESHOLD
};
struct stock_cause {
    struct tally_presence presence;
    struct tally_slice reservation_id, order_id, shipment_id, return_id, transfer_id;
    int64_t line;
};
enum {
    STOCK_CAUSE_RESERVATION_ID,
    STOCK_CAUSE_LINE,
    STOCK_CAUSE_ORDER_ID,
    STOCK_CAUSE_SHIPMENT_ID,
    STOCK_CAUSE_RETURN_ID,
    STOCK_CAUSE_TRANSFER_ID
};
struct stock_hold {
    struct tally_presence presence;
    int64_t attempt, quantity, shipped;
    uint8_t state; /* enum stock_hold_state */
};
enum { STOCK_HOLD_ATTEMPT, STOCK_HOLD_QUANTITY, STOCK_HOLD_SHIPPED_UNITS, STOCK_HOLD_STATE };

enum {
    STOCK_EVENT_SKU,
    STOCK_EVENT_WAREHOUSE,
    STOCK_EVENT_SEQ,
    STOCK_EVENT_VERSION,
    STOCK_EVENT_KIND,
    STOCK_EVENT_DELTAS,
    STOCK_EVENT_AFTER,
    STOCK_EVENT_REASON,
    STOCK_EVENT_NOTE,
    STOCK_EVENT_REFERENCE,
    STOCK_EVENT_CAUSE,
    STOCK_EVENT_SETTING,
    STOCK_EVENT_SIGNALS,
    STOCK_EVENT_PRODUCT_ID,
    STOCK_EVENT_STATE,
    STOCK_EVENT_OP_ID,
    STOCK_EVENT_NAME,
    STOCK_EVENT_HOLD
};
struct stock_event {
    struct tally_presence presence;
    struct tally_slice sku, warehouse;
    int64_t seq, version;
    /* reason: enum stock_release_reason of StockReleased, else enum stock_reason. state: of the SKU
     * or the warehouse, by type. */
    uint8_t kind, reason, state;
    struct stock_numbers deltas; /* non-zero ones */
    struct stock_numbers after;  /* on_hand, available and the non-zero others */
    struct tally_slice note, reference;
    struct stock_cause cause;
    struct stock_hold hold;
    struct stock_setting setting;
    struct tally_array signals; /* of struct tally_slice, names of enum stock_signal */
    struct tally_slice product_id, op_id, name;
};
/* Whether it changed a level, and so has a seq, deltas and numbers after it. */
static inline bool stock_event_has_level(const struct stock_event *event)
{
    return event->presence.present & TALLY_BIT(STOCK_EVENT_SEQ);
}
/* Its signals as bits, by enum stock_signal. */
uint32_t stock_event_signals(const struct stock_event *event);
extern const struct tally_schema
        *const stock_event_schemas[]; /* by enum stock_event_type, then NULL */

/* --- store rows ------------------------------------------------------------------------------- */

struct stock_level_row { /* LEVEL: sku . warehouse */
    int64_t n[STOCK_BUCKETS];
    int64_t version;    /* = seq of the last ledger entry */
    int64_t updated_at; /* ms */
};
int64_t stock_level_available(const struct stock_level_row *level);
int64_t stock_level_backordered(const struct stock_level_row *level);
void stock_level_pack(const struct stock_level_row *level, struct tally_buf *row);
bool stock_level_unpack(struct tally_slice row, struct stock_level_row *level); /* false: damaged */

struct stock_ledger_row { /* LEDGER: sku . warehouse . seq */
    uint8_t type;         /* enum stock_event_type */
    uint8_t kind;
    int64_t deltas[STOCK_BUCKETS], after[STOCK_BUCKETS];
    bool has_reason;
    uint8_t reason;   /* as in struct stock_event */
    uint32_t signals; /* bit: enum stock_signal */
    struct tally_slice note, reference, actor, command_id;
    struct tally_slice reservation_id, order_id, shipment_id, return_id, transfer_id;
    int64_t line;        /* 0: none */
    int64_t recorded_at; /* ms */
    int64_t offset;      /* of the command */
};
void stock_ledger_pack(const struct stock_ledger_row *entry, struct tally_buf *row);
bool stock_ledger_unpack(struct tally_slice row, struct stock_ledger_row *entry);
/* "CYCLE_COUNT", or of a release "EXPIRED"; empty: none. */
struct tally_slice stock_ledger_reason(const struct stock_ledger_row *entry);

struct stock_setting_row { /* SETTING: sku . warehouse; also what an absent row means when zeroed
                              with nulls */
    uint8_t policy;
    bool has_backorder_limit, has_low_stock_threshold;
    int64_t backorder_limit, safety_stock, low_stock_threshold;
};
void stock_setting_pack(const struct stock_setting_row *setting, struct tally_buf *row);
bool stock_setting_unpack(struct tally_slice row, struct stock_setting_row *setting);
/* A level as users see it, the same in HTTP and in read models. Version 0: there is none yet.
 * setting NULL: it is one of the past, of which the ledger does not know them. */
void stock_level_json(struct tally_writer *writer, struct tally_slice sku,
        struct tally_slice warehouse, const struct stock_level_row *level,
        const struct stock_setting_row *setting);

struct stock_sku_row { /* SKU */
    uint8_t state;
    int64_t version;
    struct tally_slice product_id, op_id; /* empty: null */
};
void stock_sku_pack(const struct stock_sku_row *sku, struct tally_buf *row);
bool stock_sku_unpack(struct tally_slice row, struct stock_sku_row *sku);

struct stock_hold_row { /* HOLD: reservation_id . line */
    uint8_t state;      /* enum stock_hold_state; a tombstone is RELEASED with quantity 0 */
    int64_t attempt, quantity, shipped;
    int64_t updated_at;                /* ms */
    struct tally_slice sku, warehouse; /* warehouse: empty of a tombstone */
};
void stock_hold_pack(const struct stock_hold_row *hold, struct tally_buf *row);
bool stock_hold_unpack(struct tally_slice row, struct stock_hold_row *hold);

struct stock_warehouse_row { /* WAREHOUSE, of both topologies */
    uint8_t state;
    struct tally_slice name;
};
void stock_warehouse_pack(const struct stock_warehouse_row *warehouse, struct tally_buf *row);
bool stock_warehouse_unpack(struct tally_slice row, struct stock_warehouse_row *warehouse);
