/* topologies/catalogue/catalogue_keys.c - keys of the catalogue stores, and which of them a command
 * reads. */
#include "topologies/catalogue/catalogue_internal.h"

struct tally_key catalogue_key(enum tally_store_id store, struct tally_slice name)
{
    TALLY_UNINITIALIZED struct tally_key key;

    tally_key_begin(&key, store);
    tally_key_tail(&key, name);
    return key;
}

struct tally_key catalogue_timer_key(int64_t due_ms, struct tally_slice product_id)
{
    TALLY_UNINITIALIZED struct tally_key key;

    tally_key_begin(&key, TALLY_STORE_CATALOGUE_TIMER);
    tally_key_u64(&key, (uint64_t)due_ms);
    tally_key_tail(&key, product_id);
    return key;
}

static void touch_key(struct tally_touch *touch, enum tally_store_id store, struct tally_slice name)
{
    struct tally_key key = catalogue_key(store, name);

    tally_touch_key(touch, &key);
}

/* Mirrors the reads of decide. */
void catalogue_touch(struct tally_touch *touch, const struct tally_command *command)
{
    const struct catalogue_command *cmd = (const struct catalogue_command *)command->fields;

    if (command->violations && command->violations->count > 0) {
        return; /* refused before decide: nothing is read */
    }
    switch ((enum catalogue_command_type)command->schema->id) {
    case CATALOGUE_REGISTER_WAREHOUSE:
        touch_key(touch, TALLY_STORE_CATALOGUE_WAREHOUSE, cmd->warehouse);
        break;
    case CATALOGUE_CLAIM_SLUG:
    case CATALOGUE_RELEASE_SLUG:
        touch_key(touch, TALLY_STORE_SLUG, cmd->slug);
        break;
    case CATALOGUE_CREATE_PRODUCT:
    case CATALOGUE_UPDATE_PRODUCT:
    case CATALOGUE_ADD_VARIANT:
    case CATALOGUE_PUBLISH_PRODUCT:
    case CATALOGUE_ARCHIVE_PRODUCT:
    case CATALOGUE_CHANGE_PRICE:
    case CATALOGUE_CLAIM_REPLY:
    case CATALOGUE_TIME_OUT:
        touch_key(touch, TALLY_STORE_CATALOGUE_OPERATION, cmd->product_id);
        touch_key(touch, TALLY_STORE_PRODUCT, cmd->product_id);
        break;
    case CATALOGUE_COMMAND_TYPES:
        break;
    }
}
