/* topologies/catalogue/catalogue_decide.c - what each command means. Reads state, emits and sends.
 * Checks follow one order, first failure decides: the product, an operation in progress,
 * expected_version, then the codes of the command in the order of its rule, last whether the
 * product still is a document. */
#include <inttypes.h>
#include <stdio.h>

#include "schemas/stock_records.h"
#include "topologies/catalogue/catalogue_internal.h"

#define ARENA_BLOCK_BYTES (16 * 1024)
#define ID_TEXT_MAX       256

/* --- checks ----------------------------------------------------------------------------------- */

/* false: rejected. */
static bool no_operation(struct catalogue_call *call)
{
    struct tally_key key = catalogue_key(TALLY_STORE_CATALOGUE_OPERATION, call->cmd->product_id);
    struct tally_slice row;

    if (!tally_get(call->ctx, &key, &row)) {
        return true;
    }
    tally_reject(call->ctx, TALLY_REJECT_OPERATION_IN_PROGRESS, "/product_id",
            (struct tally_meta[]){TALLY_META_S("product_id", call->cmd->product_id)}, 1,
            "slug or SKUs of the product are being claimed");
    return false;
}

/* A product that is being created is not unknown: its other commands may come again. */
static bool read_settled(struct catalogue_call *call, struct catalogue_product *product)
{
    if (!no_operation(call)) {
        return false;
    }
    if (!catalogue_product_read(call, product)) {
        tally_reject(call->ctx, TALLY_REJECT_UNKNOWN_PRODUCT, "/product_id",
                (struct tally_meta[]){TALLY_META_S("product_id", call->cmd->product_id)}, 1,
                "product %.*s does not exist", (int)call->cmd->product_id.len,
                (const char *)call->cmd->product_id.data);
        return false;
    }
    return tally_version_matches(call->ctx, product->version);
}

bool catalogue_open_product(struct catalogue_call *call, struct catalogue_product *product)
{
    if (!read_settled(call, product)) {
        return false;
    }
    if (product->status == CATALOGUE_ARCHIVED) {
        tally_reject(call->ctx, TALLY_REJECT_PRODUCT_ARCHIVED, "/product_id",
                (struct tally_meta[]){TALLY_META_S("product_id", product->product_id)}, 1,
                "product %.*s is archived", (int)product->product_id.len,
                (const char *)product->product_id.data);
        return false;
    }
    return true;
}

/* --- products --------------------------------------------------------------------------------- */

static void decide_create(struct catalogue_call *call)
{
    struct catalogue_draft request = catalogue_draft_of(call->cmd);
    struct catalogue_product product;
    bool exists;

    if (!no_operation(call)) {
        return;
    }
    exists = catalogue_product_read(call, &product);
    if (!tally_version_matches(call->ctx, exists ? product.version : 0)) {
        return;
    }
    if (exists) {
        tally_reject(call->ctx, TALLY_REJECT_PRODUCT_EXISTS, "/product_id",
                (struct tally_meta[]){TALLY_META_S("product_id", product.product_id)}, 1,
                "product %.*s exists", (int)product.product_id.len,
                (const char *)product.product_id.data);
        return;
    }
    catalogue_product_init(call, &product);
    catalogue_product_apply(call, &request, &product);
    if (catalogue_product_fits(call, &product)) {
        catalogue_operation_start(call, CATALOGUE_CREATE);
    }
}

static void decide_update(struct catalogue_call *call)
{
    struct tally_slice changed[CATALOGUE_DRAFT_FIELDS];
    struct catalogue_draft request = catalogue_draft_of(call->cmd);
    struct catalogue_product before, product;
    size_t count;

    if (!catalogue_open_product(call, &before)) {
        return;
    }
    product = before;
    catalogue_product_apply(call, &request, &product);
    count = catalogue_product_changes(call, &before, &product, changed);
    if (count == 0) {
        tally_accept(call->ctx);
        return;
    }
    if (!catalogue_product_fits(call, &product)) {
        return;
    }
    if (!tally_slice_equal(before.slug, product.slug)) {
        catalogue_operation_start(call, CATALOGUE_UPDATE);
    } else {
        catalogue_product_emit(call, CATALOGUE_PRODUCT_UPDATED, &product, changed, count, 0);
    }
}

static void decide_add_variant(struct catalogue_call *call)
{
    struct catalogue_draft request = catalogue_draft_of(call->cmd);
    struct tally_slice sku = call->cmd->variant.sku;
    struct catalogue_product product;

    if (!catalogue_open_product(call, &product)) {
        return;
    }
    if (catalogue_product_variant(&product, sku)) {
        tally_reject(call->ctx, TALLY_REJECT_SKU_TAKEN, "/variant/sku",
                (struct tally_meta[]){TALLY_META_S("sku", sku)}, 1,
                "SKU %.*s is a variant of the product already", (int)sku.len,
                (const char *)sku.data);
        return;
    }
    catalogue_product_apply(call, &request, &product);
    if (catalogue_product_fits(call, &product)) {
        catalogue_operation_start(call, CATALOGUE_ADD);
    }
}

static void decide_publish(struct catalogue_call *call)
{
    struct tally_slice changed = TALLY_SLICE("status");
    struct catalogue_product product;

    if (!catalogue_open_product(call, &product)) {
        return;
    }
    if (product.status == CATALOGUE_ACTIVE) {
        tally_accept(call->ctx);
        return;
    }
    product.status = CATALOGUE_ACTIVE;
    catalogue_product_emit(call, CATALOGUE_PRODUCT_PUBLISHED, &product, &changed, 1, 0);
}

static void send_freeze_sku(struct catalogue_call *call, struct tally_slice command_id,
        const struct catalogue_variant *variant)
{
    const struct tally_schema *schema = stock_command_schemas[STOCK_FREEZE_SKU];
    struct stock_command fields = {
            .head.presence.present = TALLY_BIT(STOCK_HAS_SKU) | TALLY_BIT(STOCK_HAS_PRODUCT_ID),
            .sku = variant->sku,
            .product_id = call->cmd->product_id,
    };
    char id[ID_TEXT_MAX];
    int len = snprintf(id, sizeof id, "~%s:%.*s:%.*s", schema->name, (int)command_id.len,
            (const char *)command_id.data, (int)variant->sku.len, (const char *)variant->sku.data);

    tally_send(call->ctx, &(struct tally_message){.topic = CATALOGUE_STOCK_COMMANDS,
                                  .partition = -1,
                                  .key = variant->sku,
                                  .id = tally_slice_of(id, (size_t)len),
                                  .schema = schema,
                                  .fields = &fields});
}

static void decide_archive(struct catalogue_call *call, struct tally_slice command_id)
{
    struct tally_slice changed = TALLY_SLICE("status");
    const struct catalogue_variant *variants;
    struct catalogue_product product;

    if (!read_settled(call, &product)) {
        return;
    }
    if (product.status == CATALOGUE_ARCHIVED) {
        tally_accept(call->ctx);
        return;
    }
    product.status = CATALOGUE_ARCHIVED;
    variants = product.variants.items;
    for (size_t i = 0; i < product.variants.count; i++) {
        send_freeze_sku(call, command_id, &variants[i]);
    }
    catalogue_product_emit(call, CATALOGUE_PRODUCT_ARCHIVED, &product, &changed, 1, 0);
}

/* --- warehouses ------------------------------------------------------------------------------- */

/* Tells every partition of stock: a SKU's owner decides with its own copy of all warehouses. The
 * id is the same whenever this state is sent, so that it is applied once. */
static void send_apply_warehouse(struct tally_context *ctx, const struct catalogue_event *event)
{
    const struct tally_schema *schema = stock_command_schemas[STOCK_APPLY_WAREHOUSE];
    int len = (int)event->warehouse.len;
    const char *warehouse = (const char *)event->warehouse.data;
    struct stock_command fields = {
            .warehouse = event->warehouse, .name = event->name, .state = event->state};
    char key[ID_TEXT_MAX], id[ID_TEXT_MAX];
    struct tally_message message = {
            .topic = CATALOGUE_STOCK_COMMANDS, .schema = schema, .fields = &fields};

    fields.head.presence.present =
            TALLY_BIT(STOCK_HAS_WAREHOUSE) | TALLY_BIT(STOCK_HAS_NAME) | TALLY_BIT(STOCK_HAS_STATE);
    snprintf(key, sizeof key, "%s%.*s", schema->key_prefix, len, warehouse);
    message.key = tally_slice_string(key);
    for (int32_t partition = 0; partition < tally_partitions(ctx); partition++) {
        snprintf(id, sizeof id, "~%s:%.*s:%s:%" PRId32, schema->name, len, warehouse,
                stock_warehouse_states[event->state], partition);
        message.partition = partition;
        message.id = tally_slice_string(id);
        tally_send(ctx, &message);
    }
}

static void decide_register_warehouse(struct catalogue_call *call)
{
    const struct catalogue_command *cmd = call->cmd;
    struct catalogue_event event = {
            .presence.present = TALLY_BIT(CATALOGUE_EVENT_WAREHOUSE) |
                                TALLY_BIT(CATALOGUE_EVENT_NAME) | TALLY_BIT(CATALOGUE_EVENT_STATE),
            .warehouse = cmd->warehouse,
            .name = cmd->name,
            .state = STOCK_WAREHOUSE_OPEN,
    };
    struct tally_key key = catalogue_key(TALLY_STORE_CATALOGUE_WAREHOUSE, cmd->warehouse);
    struct tally_slice row;
    bool exists = tally_get(call->ctx, &key, &row);

    if (!tally_version_matches(call->ctx, exists ? 1 : 0)) {
        return;
    }
    if (exists) {
        tally_reject(call->ctx, TALLY_REJECT_WAREHOUSE_EXISTS, "/warehouse",
                (struct tally_meta[]){TALLY_META_S("warehouse", cmd->warehouse)}, 1,
                "warehouse %.*s exists", (int)cmd->warehouse.len,
                (const char *)cmd->warehouse.data);
        return;
    }
    send_apply_warehouse(call->ctx, &event);
    tally_emit(call->ctx, CATALOGUE_WAREHOUSE_REGISTERED, &event);
}

/* --- all -------------------------------------------------------------------------------------- */

static void decide_call(struct catalogue_call *call, const struct tally_command *command)
{
    switch ((enum catalogue_command_type)command->schema->id) {
    case CATALOGUE_REGISTER_WAREHOUSE:
        decide_register_warehouse(call);
        break;
    case CATALOGUE_CREATE_PRODUCT:
        decide_create(call);
        break;
    case CATALOGUE_UPDATE_PRODUCT:
        decide_update(call);
        break;
    case CATALOGUE_ADD_VARIANT:
        decide_add_variant(call);
        break;
    case CATALOGUE_PUBLISH_PRODUCT:
        decide_publish(call);
        break;
    case CATALOGUE_ARCHIVE_PRODUCT:
        decide_archive(call, command->id);
        break;
    case CATALOGUE_CHANGE_PRICE:
        catalogue_change_price(call, command->id);
        break;
    case CATALOGUE_CLAIM_REPLY:
        catalogue_claim_reply(call);
        break;
    case CATALOGUE_CLAIM_SLUG:
        catalogue_claim_slug(call);
        break;
    case CATALOGUE_RELEASE_SLUG:
        catalogue_release_slug(call);
        break;
    case CATALOGUE_TIME_OUT:
        catalogue_time_out(call);
        break;
    case CATALOGUE_COMMAND_TYPES:
        break;
    }
}

void catalogue_decide(struct tally_context *ctx, const struct tally_command *command)
{
    struct tally_arena arena;
    struct catalogue_call call = {
            .ctx = ctx,
            .cmd = (const struct catalogue_command *)command->fields,
            .arena = &arena,
    };

    tally_arena_init(&arena, ARENA_BLOCK_BYTES);
    decide_call(&call, command);
    tally_arena_deinit(&arena);
}
