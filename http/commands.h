/* http/commands.h - POST /v1/commands/{type} and GET /v1/commands/{command_id}. @thread http */
#pragma once
#include "http/exchange.h"
#include "http/submission.h"

void commands_send(struct exchange *exchange);
void commands_read(struct exchange *exchange);

/* --- for commands_batch.c --------------------------------------------------------------------- */

#define COMMANDS_LOCATION_BYTES_MAX 512

struct commands_position {
    const char *topic; /* with prefix */
    int32_t partition;
    int64_t offset;
};
struct commands_outcome {
    struct tally_buf record; /* as JSON */
    struct tally_outcome_info info;
    struct tally_read_info read;
    bool repeated; /* the id was used before; then it may be PENDING */
};
void commands_outcome_init(struct commands_outcome *outcome);
void commands_outcome_deinit(struct commands_outcome *outcome);

/* Else nobody will ever be told an outcome: nothing to wait for, and no resource to name. */
bool commands_outcomes_kept(const struct exchange *exchange);
/* false: not acknowledged, and the problem is answered. */
bool commands_publish(struct exchange *exchange, const struct submission *submission,
        struct commands_position *at);
/* Waits until the owner has applied what was written at `at`, and if that began a saga, what ends
 * it. false: no outcome until end_ms (of the monotonic clock), or its task does not run here. */
bool commands_await_here(struct exchange *exchange, const struct submission *submission,
        const struct commands_position *at, int64_t end_ms, struct commands_outcome *outcome);
/* The same for many, together, wherever their owners are. */
struct commands_waiting {
    const struct submission *submission;
    const struct commands_position *at;
    struct commands_outcome *outcome;
    bool known;
};
void commands_await(struct exchange *exchange, struct commands_waiting *items, size_t count,
        int64_t end_ms);
/* The body of a command whose outcome is not known yet; located: with where to ask for it. */
void commands_pending_write(struct tally_writer *writer, struct tally_slice id,
        struct tally_slice type, struct tally_slice key, const struct commands_position *at,
        bool located);
