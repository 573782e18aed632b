/* topologies/reservation/reservation_keys.c - keys of the reservation stores, and which of them a
 * command reads. */
#include "topologies/reservation/reservation_internal.h"

struct tally_key reservation_key(enum tally_store_id store, struct tally_slice reservation_id)
{
    TALLY_UNINITIALIZED struct tally_key key;

    tally_key_begin(&key, store);
    tally_key_tail(&key, reservation_id);
    return key;
}

struct tally_key reservation_line_key(struct tally_slice reservation_id, int64_t line)
{
    TALLY_UNINITIALIZED struct tally_key key;

    tally_key_begin(&key, TALLY_STORE_RESERVATION_LINE);
    tally_key_string(&key, reservation_id);
    tally_key_u16(&key, (uint16_t)line);
    return key;
}

struct tally_key reservation_timer_key(int64_t due_ms, struct tally_slice reservation_id)
{
    TALLY_UNINITIALIZED struct tally_key key;

    tally_key_begin(&key, TALLY_STORE_RESERVATION_TIMER);
    tally_key_u64(&key, (uint64_t)due_ms);
    tally_key_tail(&key, reservation_id);
    return key;
}

static void touch_key(struct tally_touch *touch, struct tally_key key)
{
    tally_touch_key(touch, &key);
}

/* Of the lines the one that the command is about; how many others are read is in none of its
 * fields. */
void reservation_touch(struct tally_touch *touch, const struct tally_command *command)
{
    const struct reservation_command *cmd = (const struct reservation_command *)command->fields;

    touch_key(touch, reservation_key(TALLY_STORE_RESERVATION, cmd->reservation_id));
    if (command->schema->id == RESERVATION_HOLD_REPLY) {
        touch_key(touch, reservation_key(TALLY_STORE_RESERVATION_OPERATION, cmd->reservation_id));
    }
    if (command->schema->id == RESERVATION_HOLD_REPLY ||
            command->schema->id == RESERVATION_HOLD_SHIPPED) {
        touch_key(touch, reservation_line_key(cmd->reservation_id, cmd->line));
    }
}
