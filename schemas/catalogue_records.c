/* schemas/catalogue_records.c - the tables of the catalogue topology's records. */
#include "schemas/catalogue_records.h"

#include <stdio.h>

#include "schemas/row_internal.h"
#include "schemas/serde_table.h"
#include "schemas/stock_records.h"

const char *const catalogue_status_names[] = {"DRAFT", "ACTIVE", "ARCHIVED", NULL};
const char *const catalogue_variant_status_names[] = {"ACTIVE", NULL};
const char *const catalogue_price_kinds[] = {"BASE", "SALE", NULL};
const char *const catalogue_operation_kinds[] = {"CREATE", "UPDATE", "ADD_VARIANT", NULL};
const char *const catalogue_currencies[] = {
#define X(code) #code,
#include "schemas/currency.def"
#undef X
        NULL};

/* --- parts ------------------------------------------------------------------------------------ */

#define PART(name_, struct_, fields_, count_, help_)                                            \
    {                                                                                           \
        .name = (name_), .fields = (fields_), .field_count = (count_), .size = sizeof(struct_), \
        .help = (help_)                                                                         \
    }
#define COUNT(fields) (sizeof(fields) / sizeof(fields)[0])

#define PRICE(bit, member, type, presence, help) \
    FIELD_ROW(struct catalogue_price, CATALOGUE_PRICE_##bit, member, #member, type, presence, help)
static const struct tally_field price_fields[] = {
        PRICE(ID, price_id, TEXT(1, 64), REQUIRED, "id of the command that set it")       //
        PRICE(KIND, kind, ENUM(catalogue_price_kinds), REQUIRED, "always, or for a time") //
        PRICE(LIST, list, TEXT(1, 64), REQUIRED, "price list")                            //
        PRICE(CURRENCY, currency, TEXT(3, 3), REQUIRED, "currency, of ISO 4217")          //
        PRICE(AMOUNT_MINOR, amount_minor, INT(0, INT64_MAX), REQUIRED,
                "price in the currency's smallest unit") //
        PRICE(COMPARE_AT_MINOR, compare_at_minor, INT(0, INT64_MAX), OPTIONAL,
                "price to show it against")                                                   //
        PRICE(VALID_FROM, valid_from, TIME, OPTIONAL, "first moment of a sale; absent: open") //
        PRICE(VALID_UNTIL, valid_until, TIME, OPTIONAL,
                "end of a sale, not part of it; absent: open") //
};
static const struct tally_schema price_schema =
        PART("Price", struct catalogue_price, price_fields, COUNT(price_fields), "a price");

/* The first fields are those that a command may say. */
#define VARIANT(bit, member, type, presence, help)                                                \
    FIELD_ROW(struct catalogue_variant, CATALOGUE_VARIANT_##bit, member, #member, type, presence, \
            help)
#define VARIANT_INPUT_FIELDS 5
static const struct tally_field variant_fields[] = {
        VARIANT(SKU, sku, ID, REQUIRED, "stock keeping unit; no other product ever gets it") //
        VARIANT(BARCODE, barcode, TEXT(1, 64), OPTIONAL, "number that scanners read")        //
        VARIANT(OPTIONS, options, MAP, OPTIONAL,
                "what tells it from the others; absent: nothing")                           //
        VARIANT(UOM, uom, TEXT(1, 16), OPTIONAL, "unit that quantities count; absent: pcs") //
        VARIANT(SCALE, scale, INT(0, 5), DEFAULT(0), "decimal places of a quantity")        //
        VARIANT(STATUS, status, ENUM(catalogue_variant_status_names), REQUIRED,
                "whether it can be bought") //
        VARIANT(PRICES, prices, ITEMS(price_schema, 0, TALLY_DOCUMENT_ELEMENTS_MAX), REQUIRED,
                "its prices, in the order they came") //
};
static const struct tally_schema variant_input_schema = PART("VariantInput",
        struct catalogue_variant, variant_fields, VARIANT_INPUT_FIELDS, "what can be bought");
static const struct tally_schema variant_schema = PART("Variant", struct catalogue_variant,
        variant_fields, COUNT(variant_fields), "what can be bought");

#define PATCH(bit, member, type, presence, help) \
    FIELD_ROW(struct catalogue_draft, CATALOGUE_DRAFT_##bit, member, #member, type, presence, help)
static const struct tally_field patch_fields[] = {
        PATCH(SLUG, slug, SLUG, OPTIONAL, "its name in addresses") //
        PATCH(NAME, name, TEXT(1, 200), OPTIONAL, "its name")      //
        PATCH(DESCRIPTION, description, TEXT(0, TALLY_DOCUMENT_BYTES_MAX), NULLABLE,
                "its description") //
        PATCH(CATEGORY_IDS, category_ids, NAMES(ID, 0, TALLY_DOCUMENT_ELEMENTS_MAX), NULLABLE,
                "categories that it is in, not checked")                             //
        PATCH(ATTRIBUTES, attributes, MAP, NULLABLE, "whatever else is known of it") //
        PATCH(MEDIA, media, STRINGS(0, TALLY_DOCUMENT_ELEMENTS_MAX), NULLABLE,
                "addresses of its pictures") //
};
static const struct tally_schema patch_schema = PART("Patch", struct catalogue_draft, patch_fields,
        COUNT(patch_fields), "what is to be another");

#define PRODUCT(bit, member, type, help)                                                          \
    FIELD_ROW(struct catalogue_product, CATALOGUE_PRODUCT_##bit, member, #member, type, REQUIRED, \
            help)
static const struct tally_field product_fields[] = {
        PRODUCT(ID, product_id, ID, "product")                                                  //
        PRODUCT(SLUG, slug, SLUG, "its name in addresses")                                      //
        PRODUCT(NAME, name, TEXT(1, 200), "its name")                                           //
        PRODUCT(DESCRIPTION, description, TEXT(0, TALLY_DOCUMENT_BYTES_MAX), "its description") //
        PRODUCT(STATUS, status, ENUM(catalogue_status_names), "whether it is for sale")         //
        PRODUCT(CATEGORY_IDS, category_ids, NAMES(ID, 0, TALLY_DOCUMENT_ELEMENTS_MAX),
                "categories that it is in")                                                     //
        PRODUCT(ATTRIBUTES, attributes, MAP, "whatever else is known of it")                    //
        PRODUCT(MEDIA, media, STRINGS(0, TALLY_DOCUMENT_ELEMENTS_MAX), "addresses of pictures") //
        PRODUCT(VARIANTS, variants, ITEMS(variant_schema, 0, TALLY_DOCUMENT_ELEMENTS_MAX),
                "what can be bought of it, in the order it came")                  //
        PRODUCT(VERSION, version, INT(1, INT64_MAX), "counts its changes, from 1") //
        PRODUCT(CREATED_AT, created_at, TIME, "when it was created")               //
        PRODUCT(UPDATED_AT, updated_at, TIME, "when it changed last")              //
};
static const struct tally_schema product_schema = PART("Product", struct catalogue_product,
        product_fields, COUNT(product_fields), "a product");

/* What every command that claims something says of its product. */
#define REQUEST(bit, member, type, help) \
    FIELD_ROW(struct catalogue_command, CATALOGUE_HAS_##bit, member, #member, type, OPTIONAL, help)
static const struct tally_field request_fields[] = {
        REQUEST(SLUG, slug, SLUG, "its name in addresses")                                      //
        REQUEST(NAME, name, TEXT(1, 200), "its name")                                           //
        REQUEST(DESCRIPTION, description, TEXT(0, TALLY_DOCUMENT_BYTES_MAX), "its description") //
        REQUEST(CATEGORY_IDS, category_ids, NAMES(ID, 0, TALLY_DOCUMENT_ELEMENTS_MAX),
                "categories that it is in")                                                     //
        REQUEST(ATTRIBUTES, attributes, MAP, "whatever else is known of it")                    //
        REQUEST(MEDIA, media, STRINGS(0, TALLY_DOCUMENT_ELEMENTS_MAX), "addresses of pictures") //
        REQUEST(VARIANTS, variants, ITEMS(variant_input_schema, 0, TALLY_DOCUMENT_ELEMENTS_MAX),
                "what can be bought of it")                                      //
        REQUEST(PATCH, patch, OBJECT(patch_schema), "what is to be another")     //
        REQUEST(VARIANT, variant, OBJECT(variant_input_schema), "what is added") //
};
static const struct tally_schema request_schema = PART("Request", struct catalogue_command,
        request_fields, COUNT(request_fields), "what a command says of its product");

#define OPERATION_FIELD(bit, member, type, presence, help)                                  \
    FIELD_ROW(struct catalogue_operation, CATALOGUE_OPERATION_##bit, member, #member, type, \
            presence, help)
static const struct tally_field operation_fields[] = {
        OPERATION_FIELD(KIND, kind, ENUM(catalogue_operation_kinds), REQUIRED, "what is done") //
        OPERATION_ROWS(struct catalogue_operation, base)                                       //
        OPERATION_FIELD(REQUEST, request, OBJECT(request_schema), REQUIRED,
                "what the command says of the product") //
        OPERATION_FIELD(WAITING, waiting, STRINGS(0, TALLY_DOCUMENT_ELEMENTS_MAX), REQUIRED,
                "claims that have no answer yet") //
        OPERATION_FIELD(GRANTED, granted, STRINGS(0, TALLY_DOCUMENT_ELEMENTS_MAX), REQUIRED,
                "claims that are granted") //
};
static const struct tally_schema operation_schema = PART("Operation", struct catalogue_operation,
        operation_fields, COUNT(operation_fields), "a command that waits for its claims");

static const struct tally_field timer_fields[] = {
        FIELD_ROW(struct catalogue_timer, CATALOGUE_TIMER_SET, set, "set", TIME, OPTIONAL,
                "a timer runs until then") //
        FIELD_ROW(struct catalogue_timer, CATALOGUE_TIMER_CLEAR, clear, "clear", TIME, OPTIONAL,
                "the timer of that moment is over") //
};
static const struct tally_schema timer_schema = PART("Timer", struct catalogue_timer, timer_fields,
        COUNT(timer_fields), "a row of the timer store");

/* --- rules between fields --------------------------------------------------------------------- */

/* More of them are no product that fits a document, which is found later. */
#define VARIANTS_CHECKED 8192
#define SKU_LISTS        4096

static uint32_t list_of(struct tally_slice sku)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < sku.len; i++) {
        hash = (hash ^ sku.data[i]) * 16777619u;
    }
    return (hash ^ hash >> 16) % SKU_LISTS;
}

/* A SKU stands for one variant. */
static void check_create(const void *record, struct tally_violations *violations)
{
    const struct catalogue_command *command = record;
    const struct catalogue_variant *variants = command->variants.items;
    uint16_t first[SKU_LISTS] = {0}, next[VARIANTS_CHECKED]; /* numbers from 1 */
    char pointer[48];

    if (command->variants.count > VARIANTS_CHECKED) {
        return;
    }
    for (size_t i = 0; i < command->variants.count; i++) {
        uint16_t *list = &first[list_of(variants[i].sku)];
        uint16_t other = *list;

        while (other && !tally_slice_equal(variants[other - 1].sku, variants[i].sku)) {
            other = next[other - 1];
        }
        if (other) {
            (void)snprintf(pointer, sizeof pointer, "/variants/%zu/sku", i);
            tally_violate(violations, pointer, "NOT_ALLOWED", "variant %u has the same SKU",
                    other - 1u);
        } else {
            next[i] = *list;
            *list = (uint16_t)(i + 1);
        }
    }
}

static void check_price(const void *record, struct tally_violations *violations)
{
    const struct catalogue_command *command = record;
    uint64_t both = TALLY_BIT(CATALOGUE_HAS_VALID_FROM) | TALLY_BIT(CATALOGUE_HAS_VALID_UNTIL);

    if ((command->head.presence.present & both) == both &&
            command->valid_from >= command->valid_until) {
        tally_violate(violations, "/valid_until", "OUT_OF_RANGE",
                "expected a time after valid_from");
    }
}

/* --- records ---------------------------------------------------------------------------------- */

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
        [CATALOGUE_CREATE_PRODUCT] = &schema_CATALOGUE_CREATE_PRODUCT,
        [CATALOGUE_UPDATE_PRODUCT] = &schema_CATALOGUE_UPDATE_PRODUCT,
        [CATALOGUE_ADD_VARIANT] = &schema_CATALOGUE_ADD_VARIANT,
        [CATALOGUE_PUBLISH_PRODUCT] = &schema_CATALOGUE_PUBLISH_PRODUCT,
        [CATALOGUE_ARCHIVE_PRODUCT] = &schema_CATALOGUE_ARCHIVE_PRODUCT,
        [CATALOGUE_CHANGE_PRICE] = &schema_CATALOGUE_CHANGE_PRICE,
        [CATALOGUE_CLAIM_SLUG] = &schema_CATALOGUE_CLAIM_SLUG,
        [CATALOGUE_RELEASE_SLUG] = &schema_CATALOGUE_RELEASE_SLUG,
        [CATALOGUE_TIME_OUT] = &schema_CATALOGUE_TIME_OUT,
        [CATALOGUE_COMMAND_TYPES] = NULL,
};

const struct tally_schema *const catalogue_event_schemas[] = {
        [CATALOGUE_WAREHOUSE_REGISTERED] = &schema_CATALOGUE_WAREHOUSE_REGISTERED,
        [CATALOGUE_OPERATION_FAILED] = &schema_CATALOGUE_OPERATION_FAILED,
        [CATALOGUE_OPERATION_STARTED] = &schema_CATALOGUE_OPERATION_STARTED,
        [CATALOGUE_OPERATION_PROGRESSED] = &schema_CATALOGUE_OPERATION_PROGRESSED,
        [CATALOGUE_PRODUCT_CREATED] = &schema_CATALOGUE_PRODUCT_CREATED,
        [CATALOGUE_PRODUCT_UPDATED] = &schema_CATALOGUE_PRODUCT_UPDATED,
        [CATALOGUE_VARIANT_ADDED] = &schema_CATALOGUE_VARIANT_ADDED,
        [CATALOGUE_PRODUCT_PUBLISHED] = &schema_CATALOGUE_PRODUCT_PUBLISHED,
        [CATALOGUE_PRODUCT_ARCHIVED] = &schema_CATALOGUE_PRODUCT_ARCHIVED,
        [CATALOGUE_PRICE_CHANGED] = &schema_CATALOGUE_PRICE_CHANGED,
        [CATALOGUE_PRICE_SCHEDULED] = &schema_CATALOGUE_PRICE_SCHEDULED,
        [CATALOGUE_SLUG_CLAIMED] = &schema_CATALOGUE_SLUG_CLAIMED,
        [CATALOGUE_SLUG_RELEASED] = &schema_CATALOGUE_SLUG_RELEASED,
        [CATALOGUE_EVENT_TYPES] = NULL,
};

/* --- documents -------------------------------------------------------------------------------- */

void catalogue_product_pack(const struct catalogue_product *product, struct tally_buf *row)
{
    tally_encode(&product_schema, product, TALLY_FORMAT_MSGPACK, row);
}

bool catalogue_product_unpack(struct tally_slice row, struct tally_arena *arena,
        struct catalogue_product *product)
{
    return row_document(row, &product_schema, arena, product);
}

void catalogue_product_json(const struct catalogue_product *product, struct tally_buf *out)
{
    tally_encode(&product_schema, product, TALLY_FORMAT_JSON, out);
}

void catalogue_operation_pack(const struct catalogue_operation *operation, int64_t due_ms,
        struct tally_buf *row)
{
    uint8_t due[8];

    tally_put_u64(due, (uint64_t)due_ms);
    tally_buf_append(row, due, sizeof due);
    tally_encode(&operation_schema, operation, TALLY_FORMAT_MSGPACK, row);
}

bool catalogue_operation_unpack(struct tally_slice row, struct tally_arena *arena,
        struct catalogue_operation *operation, int64_t *due_ms)
{
    if (row.len < 8) {
        return false;
    }
    *due_ms = (int64_t)tally_read_u64(row.data);
    return row_document(tally_slice_of(row.data + 8, row.len - 8), &operation_schema, arena,
            operation);
}
