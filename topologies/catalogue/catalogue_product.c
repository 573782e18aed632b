/* topologies/catalogue/catalogue_product.c - the product document: read, changed, measured,
 * emitted.
 * Invariants
 *  (1) A product that is emitted is complete: each member is there, defaults are filled in.
 *  (2) Whatever is emitted of it can be read back: its size, depth and elements leave room for the
 *      event around it. */
#include <inttypes.h>

#include "topologies/catalogue/catalogue_internal.h"

#define DOCUMENT_BYTES_MAX    (256 * 1024) /* as JSON, which is what users see */
#define DOCUMENT_ROOM         1024 /* for the last value, which is written before it counts */
#define DOCUMENT_ELEMENTS_MAX (TALLY_DOCUMENT_ELEMENTS_MAX - 512) /* the rest is the event's */
/* Levels that a value may have: an operation holds it in event, payload, op, request, and patch or
 * variants and a variant. */
#define ATTRIBUTES_DEPTH_MAX  (TALLY_DOCUMENT_DEPTH_MAX - 5)
#define OPTIONS_DEPTH_MAX     (TALLY_DOCUMENT_DEPTH_MAX - 6)
#define PRODUCT_FIELDS        (TALLY_BIT(CATALOGUE_PRODUCT_UPDATED_AT + 1) - 1)

static const struct tally_token empty_map = {.type = TALLY_MAP, .skip = 1};

bool catalogue_product_read(struct catalogue_call *call, struct catalogue_product *product)
{
    struct tally_key key = catalogue_key(TALLY_STORE_PRODUCT, call->cmd->product_id);
    struct tally_slice row;

    if (!tally_get(call->ctx, &key, &row)) {
        return false;
    }
    row = tally_arena_copy(call->arena, row);
    tally_assert(catalogue_product_unpack(row, call->arena, product));
    return true;
}

void catalogue_product_init(struct catalogue_call *call, struct catalogue_product *product)
{
    *product = (struct catalogue_product){
            .presence.present = PRODUCT_FIELDS,
            .product_id = call->cmd->product_id,
            .status = CATALOGUE_DRAFT,
            .attributes = &empty_map,
            .created_at = tally_time(call->ctx),
    };
}

struct catalogue_draft catalogue_draft_of(const struct catalogue_command *cmd)
{
    uint64_t present = cmd->head.presence.present;

    if (present & TALLY_BIT(CATALOGUE_HAS_PATCH)) {
        return cmd->patch;
    }
    if (present & TALLY_BIT(CATALOGUE_HAS_VARIANT)) {
        return (struct catalogue_draft){
                .presence.present = TALLY_BIT(CATALOGUE_DRAFT_VARIANTS),
                .variants = {.items = (void *)(uintptr_t)&cmd->variant, .count = 1},
        };
    }
    return (struct catalogue_draft){
            .presence.present =
                    present >> CATALOGUE_HAS_SLUG & (TALLY_BIT(CATALOGUE_DRAFT_FIELDS) - 1),
            .slug = cmd->slug,
            .name = cmd->name,
            .description = cmd->description,
            .category_ids = cmd->category_ids,
            .media = cmd->media,
            .attributes = cmd->attributes,
            .variants = cmd->variants,
    };
}

/* A variant as commands say it becomes one of a product. */
static void complete_variant(struct catalogue_variant *variant)
{
    uint64_t barcode = variant->presence.present & TALLY_BIT(CATALOGUE_VARIANT_BARCODE);

    variant->presence.present =
            (TALLY_BIT(CATALOGUE_VARIANT_PRICES + 1) - 1) & ~TALLY_BIT(CATALOGUE_VARIANT_BARCODE);
    variant->presence.present |= barcode;
    if (!variant->options) {
        variant->options = &empty_map;
    }
    if (!variant->uom.data) {
        variant->uom = TALLY_SLICE("pcs");
    }
    variant->status = CATALOGUE_VARIANT_ACTIVE;
    variant->prices = (struct tally_array){.items = NULL};
}

static void add_variants(struct catalogue_call *call, const struct tally_array *added,
        struct catalogue_product *product)
{
    size_t count = product->variants.count + added->count;
    struct catalogue_variant *variants =
            tally_arena_alloc(call->arena, count * sizeof *variants + 1);

    for (size_t i = 0; i < count; i++) {
        if (i < product->variants.count) {
            variants[i] = ((const struct catalogue_variant *)product->variants.items)[i];
        } else {
            variants[i] =
                    ((const struct catalogue_variant *)added->items)[i - product->variants.count];
            complete_variant(&variants[i]);
        }
    }
    product->variants = (struct tally_array){.items = variants, .count = count};
}

/* What is null is zero, which is the default, but for a map. */
void catalogue_product_apply(struct catalogue_call *call, const struct catalogue_draft *draft,
        struct catalogue_product *product)
{
    uint64_t present = draft->presence.present;

    if (present & TALLY_BIT(CATALOGUE_DRAFT_SLUG)) {
        product->slug = draft->slug;
    }
    if (present & TALLY_BIT(CATALOGUE_DRAFT_NAME)) {
        product->name = draft->name;
    }
    if (present & TALLY_BIT(CATALOGUE_DRAFT_DESCRIPTION)) {
        product->description = draft->description;
    }
    if (present & TALLY_BIT(CATALOGUE_DRAFT_CATEGORY_IDS)) {
        product->category_ids = draft->category_ids;
    }
    if (present & TALLY_BIT(CATALOGUE_DRAFT_ATTRIBUTES)) {
        product->attributes = draft->attributes ? draft->attributes : &empty_map;
    }
    if (present & TALLY_BIT(CATALOGUE_DRAFT_MEDIA)) {
        product->media = draft->media;
    }
    if (present & TALLY_BIT(CATALOGUE_DRAFT_VARIANTS)) {
        add_variants(call, &draft->variants, product);
    }
}

struct catalogue_variant *catalogue_product_variant(const struct catalogue_product *product,
        struct tally_slice sku)
{
    struct catalogue_variant *variants = product->variants.items;

    for (size_t i = 0; i < product->variants.count; i++) {
        if (tally_slice_equal(variants[i].sku, sku)) {
            return &variants[i];
        }
    }
    return NULL;
}

static bool same_texts(const struct tally_array *a, const struct tally_array *b)
{
    const struct tally_slice *left = a->items, *right = b->items;

    if (a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (!tally_slice_equal(left[i], right[i])) {
            return false;
        }
    }
    return true;
}

size_t catalogue_product_changes(struct catalogue_call *call,
        const struct catalogue_product *before, const struct catalogue_product *after,
        struct tally_slice *names)
{
    size_t count = 0;

    if (!tally_slice_equal(before->slug, after->slug)) {
        names[count++] = TALLY_SLICE("slug");
    }
    if (!tally_slice_equal(before->name, after->name)) {
        names[count++] = TALLY_SLICE("name");
    }
    if (!tally_slice_equal(before->description, after->description)) {
        names[count++] = TALLY_SLICE("description");
    }
    if (!same_texts(&before->category_ids, &after->category_ids)) {
        names[count++] = TALLY_SLICE("category_ids");
    }
    if (!tally_token_same(before->attributes, after->attributes, call->arena)) {
        names[count++] = TALLY_SLICE("attributes");
    }
    if (!same_texts(&before->media, &after->media)) {
        names[count++] = TALLY_SLICE("media");
    }
    return count;
}

/* --- size ------------------------------------------------------------------------------------- */

struct measure {
    size_t elements, bytes;
    const char *pointer; /* of what is nested too deep; NULL: nothing is */
};

static size_t depth_of(const struct tally_token *value)
{
    const struct tally_token *inner = value + 1;
    size_t deepest = 0;

    if (value->type != TALLY_MAP && value->type != TALLY_ARRAY) {
        return 0;
    }
    for (uint32_t i = 0; i < value->count; i++) {
        size_t depth;

        inner += value->type == TALLY_MAP; /* its name */
        depth = depth_of(inner);
        deepest = depth > deepest ? depth : deepest;
        inner = tally_token_next(inner);
    }
    return deepest + 1;
}

/* Members and items of everything inside. */
static size_t elements_of(const struct tally_token *value)
{
    size_t elements = 0;

    for (uint32_t i = 0; i < value->skip; i++) {
        elements += value[i].type == TALLY_MAP || value[i].type == TALLY_ARRAY ? value[i].count : 0;
    }
    return elements;
}

static void measure_value(const struct tally_token *value, size_t depth_max, const char *pointer,
        struct measure *measure)
{
    measure->elements += elements_of(value);
    if (depth_of(value) > depth_max && !measure->pointer) {
        measure->pointer = pointer;
    }
}

static void measure_product(const struct catalogue_product *product, struct measure *measure)
{
    const struct catalogue_variant *variants = product->variants.items;
    struct tally_buf json;

    *measure = (struct measure){.elements = CATALOGUE_PRODUCT_UPDATED_AT + 1};
    measure->elements += product->category_ids.count + product->media.count;
    measure_value(product->attributes, ATTRIBUTES_DEPTH_MAX, "/attributes", measure);
    for (size_t i = 0; i < product->variants.count; i++) {
        measure->elements += CATALOGUE_VARIANT_PRICES + 2 +
                             variants[i].prices.count * (CATALOGUE_PRICE_VALID_UNTIL + 2);
        measure_value(variants[i].options, OPTIONS_DEPTH_MAX, "/variants", measure);
    }
    tally_buf_init(&json, DOCUMENT_BYTES_MAX + DOCUMENT_ROOM);
    catalogue_product_json(product, &json);
    measure->bytes = json.failed ? DOCUMENT_BYTES_MAX + 1 : json.len;
    tally_buf_deinit(&json);
}

bool catalogue_product_fits(struct catalogue_call *call, const struct catalogue_product *product)
{
    struct measure measure;

    measure_product(product, &measure);
    if (measure.bytes > DOCUMENT_BYTES_MAX) {
        tally_reject(call->ctx, TALLY_REJECT_DOCUMENT_TOO_LARGE, NULL,
                (struct tally_meta[]){TALLY_META_I("limit", DOCUMENT_BYTES_MAX)}, 1,
                "the product would have more than %d bytes", DOCUMENT_BYTES_MAX);
        return false;
    }
    if (measure.elements > DOCUMENT_ELEMENTS_MAX) {
        tally_reject(call->ctx, TALLY_REJECT_DOCUMENT_TOO_LARGE, NULL,
                (struct tally_meta[]){TALLY_META_I("limit", DOCUMENT_ELEMENTS_MAX)}, 1,
                "the product would have more than %d elements", DOCUMENT_ELEMENTS_MAX);
        return false;
    }
    if (measure.pointer) {
        tally_reject(call->ctx, TALLY_REJECT_DOCUMENT_TOO_LARGE, measure.pointer, NULL, 0,
                "a value is nested too deep");
        return false;
    }
    return true;
}

/* --- emitting --------------------------------------------------------------------------------- */

void catalogue_product_emit(struct catalogue_call *call, enum catalogue_event_type type,
        struct catalogue_product *product, struct tally_slice *changed, size_t changed_count,
        int64_t due_ms)
{
    struct catalogue_event event = {.presence.present = TALLY_BIT(CATALOGUE_EVENT_PRODUCT_ID) |
                                                        TALLY_BIT(CATALOGUE_EVENT_VERSION) |
                                                        TALLY_BIT(CATALOGUE_EVENT_CHANGED) |
                                                        TALLY_BIT(CATALOGUE_EVENT_PRODUCT)};

    product->version++;
    product->updated_at = tally_time(call->ctx);
    event.product_id = product->product_id;
    event.version = product->version;
    event.changed = (struct tally_array){.items = changed, .count = changed_count};
    event.product = *product;
    if (due_ms) {
        event.presence.present |= TALLY_BIT(CATALOGUE_EVENT_TIMER);
        event.timer.presence.present = TALLY_BIT(CATALOGUE_TIMER_CLEAR);
        event.timer.clear = due_ms;
    }
    tally_emit(call->ctx, type, &event);
}
