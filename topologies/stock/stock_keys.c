/* topologies/stock/stock_keys.c - keys of the stock stores, and which of them a command reads. */
#include "topologies/stock/stock_internal.h"
#include "topologies/stock/stock_topology.h"

struct tally_key stock_level_key(enum tally_store_id store, struct tally_slice sku,
        struct tally_slice warehouse)
{
    TALLY_UNINITIALIZED struct tally_key key;

    tally_key_begin(&key, store);
    tally_key_string(&key, sku);
    tally_key_tail(&key, warehouse);
    return key;
}

struct tally_key stock_ledger_key(struct tally_slice sku, struct tally_slice warehouse, int64_t seq)
{
    TALLY_UNINITIALIZED struct tally_key key;

    tally_key_begin(&key, TALLY_STORE_LEDGER);
    tally_key_string(&key, sku);
    tally_key_string(&key, warehouse);
    tally_key_u64(&key, (uint64_t)seq);
    return key;
}

struct tally_key stock_name_key(enum tally_store_id store, struct tally_slice name)
{
    TALLY_UNINITIALIZED struct tally_key key;

    tally_key_begin(&key, store);
    tally_key_tail(&key, name);
    return key;
}

struct tally_key stock_hold_key(struct tally_slice reservation_id, int64_t line)
{
    TALLY_UNINITIALIZED struct tally_key key;

    tally_key_begin(&key, TALLY_STORE_HOLD);
    tally_key_string(&key, reservation_id);
    tally_key_u16(&key, (uint16_t)line);
    return key;
}

struct tally_key stock_sku_prefix(enum tally_store_id store, struct tally_slice sku)
{
    TALLY_UNINITIALIZED struct tally_key key;

    tally_key_begin(&key, store);
    tally_key_string(&key, sku);
    return key;
}

static inline void touch_key(struct tally_touch *touch, struct tally_key key)
{
    tally_touch_key(touch, &key);
}

static void touch_sku(struct tally_touch *touch, const struct stock_command *cmd)
{
    touch_key(touch, stock_name_key(TALLY_STORE_SKU, cmd->sku));
}

static void touch_warehouse(struct tally_touch *touch, struct tally_slice warehouse)
{
    touch_key(touch, stock_name_key(TALLY_STORE_WAREHOUSE, warehouse));
}

static void touch_level(struct tally_touch *touch, const struct stock_command *cmd,
        struct tally_slice warehouse)
{
    struct tally_key key = stock_level_key(TALLY_STORE_LEVEL, cmd->sku, warehouse);

    tally_touch_key(touch, &key);
    tally_key_move(&key, TALLY_STORE_SETTING);
    tally_touch_key(touch, &key);
}

static void touch_hold(struct tally_touch *touch, const struct stock_command *cmd)
{
    touch_key(touch, stock_hold_key(cmd->reservation_id, cmd->line));
}

/* Without warehouses the choice of one scans the levels. */
static void touch_holding(struct tally_touch *touch, const struct stock_command *cmd)
{
    const struct tally_slice *names = cmd->warehouses.items;
    struct tally_key levels;

    touch_sku(touch, cmd);
    touch_hold(touch, cmd);
    if (cmd->warehouses.count == 0) {
        levels = stock_sku_prefix(TALLY_STORE_LEVEL, cmd->sku);
        tally_touch_scan(touch, &levels);
    }
    for (size_t i = 0; i < cmd->warehouses.count; i++) {
        touch_warehouse(touch, names[i]);
        touch_level(touch, cmd, names[i]);
    }
}

/* Messages of other topologies. */
static void touch_message(struct tally_touch *touch, const struct tally_command *command,
        const struct stock_command *cmd)
{
    switch ((enum stock_command_type)command->schema->id) {
    case STOCK_CLAIM_SKU:
    case STOCK_RELEASE_SKU:
    case STOCK_FREEZE_SKU:
        touch_sku(touch, cmd);
        break;
    case STOCK_HOLD:
        touch_holding(touch, cmd);
        break;
    case STOCK_CONFIRM_HOLD:
    case STOCK_COMMIT_HOLD:
    case STOCK_RELEASE_HOLD: /* the hold names the level */
        touch_hold(touch, cmd);
        break;
    case STOCK_TRANSFER_OUT:
        touch_sku(touch, cmd);
        touch_warehouse(touch, cmd->warehouse);
        touch_warehouse(touch, cmd->to);
        touch_level(touch, cmd, cmd->warehouse);
        break;
    default: /* the other messages of transfers; ApplyWarehouse reads nothing */
        if (command->schema->id != STOCK_APPLY_WAREHOUSE) {
            touch_level(touch, cmd, cmd->warehouse);
        }
        break;
    }
}

/* Mirrors the reads of decide. */
void stock_touch(struct tally_touch *touch, const struct tally_command *command)
{
    const struct stock_command *cmd = (const struct stock_command *)command->fields;

    if (command->violations && command->violations->count > 0) {
        return; /* refused before decide: nothing is read */
    }
    if (command->schema->internal) {
        touch_message(touch, command, cmd);
        return;
    }
    if (command->schema->id == STOCK_REGISTER_SKU) {
        touch_sku(touch, cmd);
        return;
    }
    if (tally_touch_setting_is(touch, TALLY_STOCK_REQUIRE_REGISTRATION)) {
        touch_sku(touch, cmd);
    }
    touch_warehouse(touch, cmd->warehouse);
    touch_level(touch, cmd, cmd->warehouse);
    if (command->schema->id == STOCK_SET &&
            cmd->head.presence.present & TALLY_BIT(STOCK_HAS_AS_OF_VERSION) &&
            cmd->as_of_version > 0) {
        touch_key(touch, stock_ledger_key(cmd->sku, cmd->warehouse, cmd->as_of_version));
    }
    if (command->schema->id == STOCK_SHIP &&
            cmd->head.presence.present & TALLY_BIT(STOCK_HAS_RESERVATION_ID)) {
        touch_hold(touch, cmd);
    }
}
