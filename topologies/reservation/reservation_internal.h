/* topologies/reservation/reservation_internal.h - the functions of the reservation aggregate, and
 * what they share: a reservation while it is decided. */
#pragma once
#include "engine/tally.h"
#include "schemas/reservation_records.h"
#include "schemas/stock_records.h"

#define RESERVATION_COMMANDS       "reservation.commands"
#define RESERVATION_STOCK_COMMANDS "stock.commands"

void reservation_touch(struct tally_touch *touch, const struct tally_command *command);
void reservation_decide(struct tally_context *ctx, const struct tally_command *command);
void reservation_evolve(struct tally_context *ctx, const struct tally_event *event);
void reservation_remember(const struct tally_event *event, struct tally_buf *memo);
void reservation_result(struct tally_context *ctx, struct tally_slice key,
        const struct tally_outcome *outcome, struct tally_writer *writer, int64_t *version);
struct tally_slice reservation_positions(const struct tally_outcome *outcome);
void reservation_due(struct tally_context *ctx, int64_t due_ms, struct tally_slice rest,
        struct tally_slice row);

/* --- keys ------------------------------------------------------------------------------------- */

/* store: RESERVATION or RESERVATION_OPERATION. */
struct tally_key reservation_key(enum tally_store_id store, struct tally_slice reservation_id);
struct tally_key reservation_line_key(struct tally_slice reservation_id, int64_t line);
struct tally_key reservation_timer_key(int64_t due_ms, struct tally_slice reservation_id);

/* --- a reservation while it is decided -------------------------------------------------------- */

/* What was found, and the event that it becomes. Everything in it lives in scratch memory. */
struct reservation {
    struct tally_context *ctx;
    const struct reservation_command *cmd;
    bool found;                     /* there is a row; false as well for one that ended long ago */
    struct reservation_row row;     /* zeros without one, but for `version` of one that ended */
    struct reservation_line *lines; /* all of them, once they were read */
    size_t line_count;
    struct reservation_op op;       /* of a HOLDING one, once it was read */
    struct reservation_event event; /* begins as the row is */
};

/* Reads the reservation of the command, without its lines and operation. */
void reservation_open(struct reservation *reservation, struct tally_context *ctx,
        const struct reservation_command *cmd);
void reservation_read_lines(struct reservation *reservation);
/* Only one; false: there is none. */
bool reservation_read_line(struct reservation *reservation, int64_t line,
        struct reservation_line *found);
bool reservation_read_op(struct reservation *reservation); /* false: there is none */

/* Its state after the event: a legal successor of the one before. */
void reservation_set_state(struct reservation *reservation, enum reservation_state next);
/* Clears the timer that it has and sets this one; 0: none. The operation of a HOLDING one has been
 * read. */
void reservation_set_timer(struct reservation *reservation, int64_t due_ms);
void reservation_set_lines(struct reservation *reservation, struct reservation_line *lines,
        size_t count);
/* A new attempt: its timer, and the operation with it. */
void reservation_set_op(struct reservation *reservation);
void reservation_emit(struct reservation *reservation, enum reservation_event_type type);
void reservation_emit_pending(struct reservation *reservation, enum reservation_event_type type);

/* Puts a line back to where nothing is held. */
void reservation_line_reset(struct reservation_line *line, enum reservation_line_state state);

/* --- messages to stock ------------------------------------------------------------------------ */

/* HoldStock of the event's attempt; all others of the row's. */
void reservation_send_hold(struct reservation *reservation, const struct reservation_line *line);
void reservation_send_confirm(struct reservation *reservation, const struct reservation_line *line);
void reservation_send_commit(struct reservation *reservation, const struct reservation_line *line);
/* Of every line that is held or may yet be, and is not all shipped. */
void reservation_send_releases(struct reservation *reservation, enum stock_release_reason reason);

/* --- commands --------------------------------------------------------------------------------- */

/* Checks 7 and 8 of a public command. false: rejected. */
bool reservation_is_idle(struct reservation *reservation);
bool reservation_version_matches(struct reservation *reservation);

void reservation_decide_reserve(struct tally_context *ctx, const struct reservation_command *cmd);
void reservation_decide_hold_reply(struct tally_context *ctx,
        const struct reservation_command *cmd);
void reservation_decide_time_out(struct tally_context *ctx, const struct reservation_command *cmd);
