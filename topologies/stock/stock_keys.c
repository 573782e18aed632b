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

static inline void touch_key(struct tally_touch *touch, struct tally_key key)
{
    tally_touch_key(touch, &key);
}

/* Mirrors the reads of stock_decide.c. */
void stock_touch(struct tally_touch *touch, const struct tally_command *command)
{
    const struct stock_command *cmd = (const struct stock_command *)command->fields;

    if (command->violations && command->violations->count > 0) {
        return; /* refused before decide, and its fields may be too long for a key */
    }
    if (command->schema->id == STOCK_APPLY_WAREHOUSE) {
        return; /* reads nothing */
    }
    if (command->schema->id == STOCK_REGISTER_SKU) {
        touch_key(touch, stock_name_key(TALLY_STORE_SKU, cmd->sku));
        return;
    }
    if (tally_touch_setting_is(touch, TALLY_STOCK_REQUIRE_REGISTRATION)) {
        touch_key(touch, stock_name_key(TALLY_STORE_SKU, cmd->sku));
    }
    touch_key(touch, stock_name_key(TALLY_STORE_WAREHOUSE, cmd->warehouse));
    touch_key(touch, stock_level_key(TALLY_STORE_LEVEL, cmd->sku, cmd->warehouse));
    touch_key(touch, stock_level_key(TALLY_STORE_SETTING, cmd->sku, cmd->warehouse));
    if (command->schema->id == STOCK_SET &&
            cmd->head.presence.present & TALLY_BIT(STOCK_HAS_AS_OF_VERSION) &&
            cmd->as_of_version > 0) {
        touch_key(touch, stock_ledger_key(cmd->sku, cmd->warehouse, cmd->as_of_version));
    }
}
