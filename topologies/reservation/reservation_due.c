/* topologies/reservation/reservation_due.c - what a reservation's timer stands for: a record in the
 * log. What becomes of it is decided where it stands there. */
#include <inttypes.h>
#include <stdio.h>

#include "topologies/reservation/reservation_internal.h"

#define ID_MAX 160

void reservation_due(struct tally_context *ctx, int64_t due_ms, struct tally_slice rest,
        struct tally_slice row)
{
    struct reservation_timer_row timer;
    struct reservation_command fields = {.reservation_id = rest, .due_at = due_ms};
    struct tally_message message = {.topic = RESERVATION_COMMANDS, .partition = -1, .key = rest};
    int len = (int)rest.len;
    const char *text = (const char *)rest.data;
    char id[ID_MAX];

    tally_assert(reservation_timer_unpack(row, &timer));
    fields.head.presence.present =
            TALLY_BIT(RESERVATION_HAS_RESERVATION_ID) | TALLY_BIT(RESERVATION_HAS_DUE_AT);
    if (timer.state == RESERVATION_HOLDING) {
        fields.attempt = timer.attempt;
        fields.head.presence.present |= TALLY_BIT(RESERVATION_HAS_ATTEMPT);
        message.schema = reservation_command_schemas[RESERVATION_TIME_OUT];
        (void)snprintf(id, sizeof id, "~%s:%.*s:%" PRId64 ":%" PRId64, message.schema->name, len,
                text, timer.attempt, due_ms);
    } else {
        message.schema = reservation_command_schemas[RESERVATION_EXPIRE];
        (void)snprintf(id, sizeof id, "~%s:%.*s:%" PRId64, message.schema->name, len, text, due_ms);
    }
    message.id = tally_slice_string(id);
    message.fields = &fields;
    tally_send(ctx, &message);
}
