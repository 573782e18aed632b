/* topologies/catalogue/catalogue_decide.c - what each command means. Reads state, emits and
 * sends. */
#include <inttypes.h>
#include <stdio.h>

#include "schemas/stock_records.h"
#include "topologies/catalogue/catalogue_internal.h"

struct tally_key catalogue_warehouse_key(struct tally_slice warehouse)
{
    TALLY_UNINITIALIZED struct tally_key key;

    tally_key_begin(&key, TALLY_STORE_CATALOGUE_WAREHOUSE);
    tally_key_tail(&key, warehouse);
    return key;
}

/* Mirrors the reads below. */
void catalogue_touch(struct tally_touch *touch, const struct tally_command *command)
{
    const struct catalogue_command *cmd = (const struct catalogue_command *)command->fields;
    struct tally_key key;

    if (command->violations && command->violations->count > 0) {
        return; /* refused before decide, and its fields may be too long for a key */
    }
    if (command->schema->id == CATALOGUE_REGISTER_WAREHOUSE) {
        key = catalogue_warehouse_key(cmd->warehouse);
        tally_touch_key(touch, &key);
    }
}

static bool version_matches(struct tally_context *ctx, const struct catalogue_command *cmd,
        int64_t actual)
{
    int64_t expected = cmd->head.expected_version;

    if (!(cmd->head.presence.present & TALLY_BIT(TALLY_HAS_EXPECTED_VERSION)) ||
            expected == actual) {
        return true;
    }
    tally_reject(ctx, TALLY_REJECT_VERSION_CONFLICT, "/expected_version",
            (struct tally_meta[]){
                    TALLY_META_I("expected", expected), TALLY_META_I("actual", actual)},
            2, "expected version %" PRId64 ", actual %" PRId64, expected, actual);
    return false;
}

static struct tally_slice scratch_string(struct tally_context *ctx, const char *text)
{
    return tally_arena_copy(tally_scratch(ctx), tally_slice_string(text));
}

/* Tells every partition of stock: a SKU's owner decides with its own copy of all warehouses. The
 * id is the same whenever this state is sent, so that it is applied once. */
static void send_apply_warehouse(struct tally_context *ctx, const struct catalogue_event *event)
{
    const struct tally_schema *schema = stock_command_schemas[STOCK_APPLY_WAREHOUSE];
    int len = (int)event->warehouse.len;
    const char *warehouse = (const char *)event->warehouse.data;
    struct stock_command fields = {
            .warehouse = event->warehouse, .name = event->name, .state = event->state};
    struct tally_message message = {
            .topic = CATALOGUE_STOCK_COMMANDS, .schema = schema, .fields = &fields};
    char text[TALLY_KEY_MAX];

    fields.head.presence.present =
            TALLY_BIT(STOCK_HAS_WAREHOUSE) | TALLY_BIT(STOCK_HAS_NAME) | TALLY_BIT(STOCK_HAS_STATE);
    snprintf(text, sizeof text, "%s%.*s", schema->key_prefix, len, warehouse);
    message.key = scratch_string(ctx, text);
    for (int32_t partition = 0; partition < tally_partitions(ctx); partition++) {
        snprintf(text, sizeof text, "~%s:%.*s:%s:%" PRId32, schema->name, len, warehouse,
                stock_warehouse_states[event->state], partition);
        message.partition = partition;
        message.id = scratch_string(ctx, text);
        tally_send(ctx, &message);
    }
}

static void decide_register_warehouse(struct tally_context *ctx,
        const struct catalogue_command *cmd)
{
    struct catalogue_event event = {
            .warehouse = cmd->warehouse, .name = cmd->name, .state = STOCK_WAREHOUSE_OPEN};
    struct tally_key key = catalogue_warehouse_key(cmd->warehouse);
    struct tally_slice row;
    bool exists = tally_get(ctx, &key, &row);

    if (!version_matches(ctx, cmd, exists ? 1 : 0)) {
        return;
    }
    if (exists) {
        tally_reject(ctx, TALLY_REJECT_WAREHOUSE_EXISTS, "/warehouse",
                (struct tally_meta[]){TALLY_META_S("warehouse", cmd->warehouse)}, 1,
                "warehouse %.*s exists", (int)cmd->warehouse.len,
                (const char *)cmd->warehouse.data);
        return;
    }
    event.presence.present = TALLY_BIT(CATALOGUE_EVENT_WAREHOUSE) |
                             TALLY_BIT(CATALOGUE_EVENT_NAME) | TALLY_BIT(CATALOGUE_EVENT_STATE);
    send_apply_warehouse(ctx, &event);
    tally_emit(ctx, CATALOGUE_WAREHOUSE_REGISTERED, &event);
}

typedef void (*decide_fn)(struct tally_context *ctx, const struct catalogue_command *cmd);

static const decide_fn decide_of[CATALOGUE_COMMAND_TYPES] = {
        [CATALOGUE_REGISTER_WAREHOUSE] = decide_register_warehouse,
};

void catalogue_decide(struct tally_context *ctx, const struct tally_command *command)
{
    decide_fn decide = decide_of[command->schema->id];

    if (decide) {
        decide(ctx, (const struct catalogue_command *)command->fields);
    } else { /* described, but not decided by this release */
        tally_reject(ctx, TALLY_REJECT_UNKNOWN_COMMAND, NULL, NULL, 0, "unknown command \"%s\"",
                command->schema->name);
    }
}
