/* topologies/reservation/reservation_result.c - what is kept of a fact, and its result told again.
 * A memo: state, version, expires_at (0: none), and of a confirmed one the position of the last
 * hold in each partition of stock. It needs no row, so a repeat is answered as the first time. */
#include "topologies/reservation/reservation_internal.h"

/* --- positions -------------------------------------------------------------------------------- */

struct position {
    struct tally_slice text; /* "stock.commands/2@991" */
    int64_t partition, offset;
};

static bool read_position(struct tally_slice text, struct position *position)
{
    const uint8_t *slash = text.len ? memrchr(text.data, '/', text.len) : NULL;
    const uint8_t *at = text.len ? memrchr(text.data, '@', text.len) : NULL;
    const uint8_t *end = text.data + text.len;

    position->text = text;
    return slash && at && slash < at &&
           tally_parse_int(tally_slice_of(slash + 1, (size_t)(at - slash - 1)),
                   &position->partition) &&
           tally_parse_int(tally_slice_of(at + 1, (size_t)(end - at - 1)), &position->offset);
}

/* Adds those of the partitions in ascending order; of each the last. */
static void add_positions(const struct reservation_event *event, struct tally_buf *memo)
{
    const struct reservation_line *lines = event->lines.items;
    int64_t above = -1; /* partitions up to this one are written */

    for (;;) {
        struct position found = {.partition = INT64_MAX};

        for (size_t i = 0; i < event->lines.count; i++) {
            struct position position;

            if (!read_position(lines[i].position, &position) || position.partition <= above) {
                continue;
            }
            if (position.partition < found.partition ||
                    (position.partition == found.partition && position.offset > found.offset)) {
                found = position;
            }
        }
        if (found.partition == INT64_MAX) {
            return;
        }
        tally_buf_byte(memo, ',');
        tally_buf_slice(memo, found.text);
        above = found.partition;
    }
}

void reservation_remember(const struct tally_event *envelope, struct tally_buf *memo)
{
    const struct reservation_event *event = envelope->body;

    tally_buf_byte(memo, event->state);
    tally_buf_varint(memo, (uint64_t)event->version);
    tally_buf_varint(memo, event->presence.present & TALLY_BIT(RESERVATION_EVENT_EXPIRES_AT)
                                   ? (uint64_t)event->expires_at
                                   : 0);
    if (envelope->schema->id == RESERVATION_WAS_CONFIRMED) {
        add_positions(event, memo);
    }
}

/* --- result ----------------------------------------------------------------------------------- */

void reservation_result(struct tally_context *ctx, struct tally_slice key,
        const struct tally_outcome *outcome, struct tally_writer *writer, int64_t *version)
{
    struct tally_slice memo = outcome->memo;
    uint64_t number, expires_at;
    uint8_t state;

    (void)ctx;
    tally_assert(memo.len > 0 && memo.data[0] < RESERVATION_STATES);
    state = memo.data[0];
    memo = tally_slice_of(memo.data + 1, memo.len - 1);
    tally_assert(tally_read_varint(&memo, &number) && tally_read_varint(&memo, &expires_at));
    *version = (int64_t)number;
    tally_write_map(writer, 4);
    tally_write_name(writer, "reservation_id");
    tally_write_string(writer, key);
    tally_write_name(writer, "state");
    tally_write_string(writer, tally_slice_string(reservation_state_names[state]));
    tally_write_name(writer, "version");
    tally_write_int(writer, *version);
    tally_write_name(writer, "expires_at");
    if (expires_at) {
        tally_write_time(writer, (int64_t)expires_at);
    } else {
        tally_write_null(writer);
    }
}

struct tally_slice reservation_positions(const struct tally_outcome *outcome)
{
    struct tally_slice memo = outcome->memo;
    uint64_t number;

    if (memo.len == 0) {
        return TALLY_NONE;
    }
    memo = tally_slice_of(memo.data + 1, memo.len - 1);
    tally_assert(tally_read_varint(&memo, &number) && tally_read_varint(&memo, &number));
    return memo;
}
