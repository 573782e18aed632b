/* engine/restorer.h - brings tasks from what their store holds to what the log holds.
 * Event-sourced stores are restored from the events topic (exactly-once R3 to R9):
 *
 *   EVENTS --[position >= high watermark]--> INPUT --[position >= committed offset]--> done
 *     |  first record must be the last applied one   |  consumed inputs must have an outcome
 *     +--------------------- halt with a named code <-+
 *
 * All tasks of a thread share one read_committed consumer with manual assignment.
 * @thread owner */
#pragma once
#include "engine/client.h"
#include "engine/stream_task.h"

struct tally_restorer;

struct tally_restorer_options {
    int thread;
    const struct tally_config *config;
    struct tally_client *client;
    struct tally_clock *clock;
    struct tally_state *state;
    void *context; /* of the two calls */
    /* The task's state is complete: next.in_next is where its input goes on. */
    void (*restored)(void *context, struct tally_stream_task *task);
    /* It cannot be: HALT codes, or REBUILD. */
    void (*failed)(void *context, struct tally_stream_task *task, const struct tally_error *err);
};
struct tally_restorer *tally_restorer_create(const struct tally_restorer_options *options);
void tally_restorer_destroy(struct tally_restorer *restorer);

/* Begins with a RESTORING task whose store is open. committed: the group's offset, or
 * TALLY_OFFSET_NONE. consumer answers watermarks. HALT codes for positions that do not fit. */
TALLY_MUST_CHECK enum tally_code tally_restorer_add(struct tally_restorer *restorer,
        struct tally_stream_task *task, struct tally_consumer *consumer, int64_t committed,
        struct tally_error *err);
/* Of a log: the records from one offset up to and with another. */
struct tally_log_part {
    int64_t from; /* -1: from its start, which must still be there; only for a store that is new */
    int64_t last; /* -1: none */
};
/* The same of a part of the log alone, and of no input: what a state was built from, once more. A
 * store that is not new goes on where it is. EVENTS_TRUNCATED, EVENTS_INCOMPLETE: the topic does
 * not have the part. */
TALLY_MUST_CHECK enum tally_code tally_restorer_replay(struct tally_restorer *restorer,
        struct tally_stream_task *task, struct tally_consumer *consumer,
        const struct tally_log_part *part, struct tally_error *err);
void tally_restorer_remove(struct tally_restorer *restorer, const struct tally_stream_task *task);
void tally_restorer_clear(struct tally_restorer *restorer);
bool tally_restorer_idle(const struct tally_restorer *restorer);
/* Reads for at most budget_ms; calls restored and failed. EXIT codes only. */
TALLY_MUST_CHECK enum tally_code tally_restorer_step(struct tally_restorer *restorer,
        int64_t budget_ms, struct tally_error *err);
