/* schemas/catalogue_records.h - commands, events and store rows of the catalogue topology.
 * Field tables: catalogue_command.def, catalogue_event.def. Rows are private to tally; those of
 * products and operations are the documents that events carry. Append to an enum, never reorder
 * it. */
#pragma once
#include "schemas/operation.h"

enum catalogue_status { CATALOGUE_DRAFT, CATALOGUE_ACTIVE, CATALOGUE_ARCHIVED };
enum catalogue_variant_status { CATALOGUE_VARIANT_ACTIVE };
enum catalogue_price_kind { CATALOGUE_BASE, CATALOGUE_SALE };
enum catalogue_operation_kind { CATALOGUE_CREATE, CATALOGUE_UPDATE, CATALOGUE_ADD };
extern const char *const catalogue_status_names[],
        *const catalogue_variant_status_names[], *const catalogue_price_kinds[],
                                                         *const catalogue_operation_kinds[],
                                                                 *const catalogue_currencies[];

enum catalogue_command_type {
    CATALOGUE_REGISTER_WAREHOUSE,
    CATALOGUE_CLAIM_REPLY,
    CATALOGUE_CREATE_PRODUCT,
    CATALOGUE_UPDATE_PRODUCT,
    CATALOGUE_ADD_VARIANT,
    CATALOGUE_PUBLISH_PRODUCT,
    CATALOGUE_ARCHIVE_PRODUCT,
    CATALOGUE_CHANGE_PRICE,
    CATALOGUE_CLAIM_SLUG,
    CATALOGUE_RELEASE_SLUG,
    CATALOGUE_TIME_OUT,
    CATALOGUE_COMMAND_TYPES
};
enum catalogue_event_type {
    CATALOGUE_WAREHOUSE_REGISTERED,
    CATALOGUE_OPERATION_FAILED,
    CATALOGUE_OPERATION_STARTED,
    CATALOGUE_OPERATION_PROGRESSED,
    CATALOGUE_PRODUCT_CREATED,
    CATALOGUE_PRODUCT_UPDATED,
    CATALOGUE_VARIANT_ADDED,
    CATALOGUE_PRODUCT_PUBLISHED,
    CATALOGUE_PRODUCT_ARCHIVED,
    CATALOGUE_PRICE_CHANGED,
    CATALOGUE_PRICE_SCHEDULED,
    CATALOGUE_SLUG_CLAIMED,
    CATALOGUE_SLUG_RELEASED,
    CATALOGUE_EVENT_TYPES
};

/* --- parts ------------------------------------------------------------------------------------ */

enum {
    CATALOGUE_PRICE_ID,
    CATALOGUE_PRICE_KIND,
    CATALOGUE_PRICE_LIST,
    CATALOGUE_PRICE_CURRENCY,
    CATALOGUE_PRICE_AMOUNT_MINOR,
    CATALOGUE_PRICE_COMPARE_AT_MINOR,
    CATALOGUE_PRICE_VALID_FROM,
    CATALOGUE_PRICE_VALID_UNTIL
};
struct catalogue_price {
    struct tally_presence presence;
    struct tally_slice price_id; /* id of the command that set it */
    struct tally_slice list, currency;
    uint8_t kind;
    int64_t amount_minor, compare_at_minor;
    int64_t valid_from, valid_until; /* ms; a SALE has one of them at least, absent: open */
};

enum {
    CATALOGUE_VARIANT_SKU,
    CATALOGUE_VARIANT_BARCODE,
    CATALOGUE_VARIANT_OPTIONS,
    CATALOGUE_VARIANT_UOM,
    CATALOGUE_VARIANT_SCALE,
    CATALOGUE_VARIANT_STATUS,
    CATALOGUE_VARIANT_PRICES
};
struct catalogue_variant {
    struct tally_presence presence;
    struct tally_slice sku, barcode, uom;
    const struct tally_token *options;
    int64_t scale;
    uint8_t status;
    struct tally_array prices; /* of struct catalogue_price */
};

/* What a command says of a product: of a patch only what changes, null is the default. */
enum {
    CATALOGUE_DRAFT_SLUG,
    CATALOGUE_DRAFT_NAME,
    CATALOGUE_DRAFT_DESCRIPTION,
    CATALOGUE_DRAFT_CATEGORY_IDS,
    CATALOGUE_DRAFT_ATTRIBUTES,
    CATALOGUE_DRAFT_MEDIA,
    CATALOGUE_DRAFT_VARIANTS,
    CATALOGUE_DRAFT_FIELDS
};
struct catalogue_draft {
    struct tally_presence presence;
    struct tally_slice slug, name, description;
    struct tally_array category_ids, media; /* of struct tally_slice */
    const struct tally_token *attributes;
    struct tally_array variants; /* of struct catalogue_variant */
};

enum {
    CATALOGUE_PRODUCT_ID,
    CATALOGUE_PRODUCT_SLUG,
    CATALOGUE_PRODUCT_NAME,
    CATALOGUE_PRODUCT_DESCRIPTION,
    CATALOGUE_PRODUCT_STATUS,
    CATALOGUE_PRODUCT_CATEGORY_IDS,
    CATALOGUE_PRODUCT_ATTRIBUTES,
    CATALOGUE_PRODUCT_MEDIA,
    CATALOGUE_PRODUCT_VARIANTS,
    CATALOGUE_PRODUCT_VERSION,
    CATALOGUE_PRODUCT_CREATED_AT,
    CATALOGUE_PRODUCT_UPDATED_AT
};
struct catalogue_product {
    struct tally_presence presence;
    struct tally_slice product_id, slug, name, description;
    uint8_t status;
    struct tally_array category_ids, media; /* of struct tally_slice */
    const struct tally_token *attributes;
    struct tally_array variants; /* of struct catalogue_variant, in the order they came */
    int64_t version;
    int64_t created_at, updated_at; /* ms */
};

enum { CATALOGUE_TIMER_SET, CATALOGUE_TIMER_CLEAR };
struct catalogue_timer { /* the row of the timer store that an event puts or deletes */
    struct tally_presence presence;
    int64_t set, clear; /* ms */
};

/* --- commands and events ---------------------------------------------------------------------- */

enum {
    CATALOGUE_HAS_WAREHOUSE = TALLY_HAS_FAMILY,
    CATALOGUE_HAS_PRODUCT_ID,
    CATALOGUE_HAS_OP_ID,
    CATALOGUE_HAS_CLAIM,
    CATALOGUE_HAS_GRANTED,
    CATALOGUE_HAS_CODE,
    CATALOGUE_HAS_SLUG, /* from here in the order of CATALOGUE_DRAFT_ */
    CATALOGUE_HAS_NAME,
    CATALOGUE_HAS_DESCRIPTION,
    CATALOGUE_HAS_CATEGORY_IDS,
    CATALOGUE_HAS_ATTRIBUTES,
    CATALOGUE_HAS_MEDIA,
    CATALOGUE_HAS_VARIANTS,
    CATALOGUE_HAS_PATCH,
    CATALOGUE_HAS_VARIANT,
    CATALOGUE_HAS_SKU,
    CATALOGUE_HAS_CURRENCY,
    CATALOGUE_HAS_LIST,
    CATALOGUE_HAS_AMOUNT_MINOR,
    CATALOGUE_HAS_COMPARE_AT_MINOR,
    CATALOGUE_HAS_VALID_FROM,
    CATALOGUE_HAS_VALID_UNTIL,
    CATALOGUE_HAS_DUE_AT
};
struct catalogue_command {
    struct tally_command_fields head;
    struct tally_slice warehouse;
    struct tally_slice product_id;
    struct tally_slice op_id, claim, code; /* of a claim */
    bool granted;
    struct tally_slice slug, name, description;
    struct tally_array category_ids, media; /* of struct tally_slice */
    const struct tally_token *attributes;
    struct tally_array variants; /* of struct catalogue_variant */
    struct catalogue_draft patch;
    struct catalogue_variant variant;
    struct tally_slice sku, list;
    uint8_t currency; /* in catalogue_currencies */
    int64_t amount_minor, compare_at_minor;
    int64_t valid_from, valid_until, due_at; /* ms */
};
extern const struct tally_schema
        *const catalogue_command_schemas[]; /* by enum catalogue_command_type, then NULL */

/* A command that waits for its claims, "slug:<slug>" and "sku:<sku>". */
enum {
    CATALOGUE_OPERATION_KIND = TALLY_OPERATION_FAMILY,
    CATALOGUE_OPERATION_REQUEST,
    CATALOGUE_OPERATION_WAITING,
    CATALOGUE_OPERATION_GRANTED
};
struct catalogue_operation {
    struct tally_operation base;
    uint8_t kind;
    struct catalogue_command request;    /* its fields, as they came */
    struct tally_array waiting, granted; /* of struct tally_slice */
};

enum {
    CATALOGUE_EVENT_WAREHOUSE,
    CATALOGUE_EVENT_NAME,
    CATALOGUE_EVENT_STATE,
    CATALOGUE_EVENT_PRODUCT_ID,
    CATALOGUE_EVENT_VERSION,
    CATALOGUE_EVENT_CHANGED,
    CATALOGUE_EVENT_PRODUCT,
    CATALOGUE_EVENT_OP,
    CATALOGUE_EVENT_TIMER,
    CATALOGUE_EVENT_SLUG,
    CATALOGUE_EVENT_OP_ID
};
struct catalogue_event {
    struct tally_presence presence;
    struct tally_slice warehouse, name;
    uint8_t state; /* enum stock_warehouse_state */
    struct tally_slice product_id, slug, op_id;
    int64_t version;
    struct tally_array changed; /* of struct tally_slice */
    struct catalogue_product product;
    struct catalogue_operation op;
    struct catalogue_timer timer;
};
extern const struct tally_schema
        *const catalogue_event_schemas[]; /* by enum catalogue_event_type, then NULL */

/* --- documents and rows ----------------------------------------------------------------------- */

/* A row of the product store is the product as events carry it. Reading borrows from row and the
 * arena; false: damaged. */
void catalogue_product_pack(const struct catalogue_product *product, struct tally_buf *row);
bool catalogue_product_unpack(struct tally_slice row, struct tally_arena *arena,
        struct catalogue_product *product);
/* Its slug and version alone, without reading the rest: of a row, or of what catalogue_product_json
 * wrote. Borrows from it. false: it has another form, and has to be parsed. */
bool catalogue_product_glance(struct tally_slice document, struct tally_slice *slug,
        int64_t *version);
/* As users see it. */
void catalogue_product_json(const struct catalogue_product *product, struct tally_buf *out);
/* The price that is valid at a time: the SALE whose window it is in, else the BASE, else NULL. */
const struct catalogue_price *catalogue_price_at(const struct catalogue_variant *variant,
        struct tally_slice list, struct tally_slice currency, int64_t time_ms);

/* OPERATION: the operation as events carry it, and when it is given up. */
void catalogue_operation_pack(const struct catalogue_operation *operation, int64_t due_ms,
        struct tally_buf *row);
bool catalogue_operation_unpack(struct tally_slice row, struct tally_arena *arena,
        struct catalogue_operation *operation, int64_t *due_ms);

struct catalogue_slug_row { /* SLUG: whose it is, also when the product has another one now */
    struct tally_slice product_id, op_id;
};
void catalogue_slug_pack(const struct catalogue_slug_row *slug, struct tally_buf *row);
bool catalogue_slug_unpack(struct tally_slice row, struct catalogue_slug_row *slug);

struct catalogue_timer_row { /* TIMER: due_ms . product_id */
    struct tally_slice op_id;
};
void catalogue_timer_pack(const struct catalogue_timer_row *timer, struct tally_buf *row);
bool catalogue_timer_unpack(struct tally_slice row, struct catalogue_timer_row *timer);
