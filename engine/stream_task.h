/* engine/stream_task.h - one topology x one partition: decides its commands, or applies the events
 * that it projects, and keeps its state.
 *
 *   CREATED --[restore_begin]--> RESTORING --[restore_done]--> RUNNING
 *   RUNNING --[release]--> RESTORING     RUNNING --[revoked]--> PARKED --[assigned]--> CREATED
 *   RESTORING, RUNNING --[rebuild]--> CREATED
 *   any --[halt]--> HALTED --[recheck]--> CREATED      any --[close]--> CLOSED
 *
 * Invariants
 *  (1) Every consumed record becomes exactly one of: an event, a repeat, a forward, a dead letter.
 *  (2) `next` runs ahead of `committed` only inside the open transaction; rollback makes them
 *      equal.
 *  (3) The live path evolves what it encodes; builds with checks evolve the bytes too, as restore
 *      will read them, and compare every row.
 * @thread owner (the stream thread that claimed the slot) */
#pragma once
#include "engine/record_collector.h"
#include "engine/task_registry.h"

struct tally_stream_task;

#define TALLY_RESET_HEADER "tally-reset" /* of records that `tally reset` has written */
#define TALLY_RESET_ID     "~reset:"     /* its command ids begin so */

struct tally_stream_task_options {
    struct tally_task_slot *slot; /* claimed */
    const struct tally_config *config;
    struct tally_client *client;
    struct tally_clock *clock;
    struct tally_collector *collector; /* the thread's */
    int32_t partitions;
    bool strict; /* what is foreign in its log is EVENT_UNKNOWN, not overlooked */
};
struct tally_stream_task *tally_stream_task_create(const struct tally_stream_task_options *options);
void tally_stream_task_destroy(struct tally_stream_task *task); /* the store stays in the slot */

enum tally_task_state tally_stream_task_state(const struct tally_stream_task *task);
void tally_stream_task_set_state(struct tally_stream_task *task, enum tally_task_state next);
void tally_stream_task_halt(struct tally_stream_task *task, const struct tally_error *err);
struct tally_task_slot *tally_stream_task_slot(struct tally_stream_task *task);
const char *tally_stream_task_name(const struct tally_stream_task *task);  /* "stock/2" */
const char *tally_stream_task_input(const struct tally_stream_task *task); /* topic */
/* Positions with the open transaction, and those of the view. */
struct tally_positions *tally_stream_task_next(struct tally_stream_task *task);
const struct tally_positions *tally_stream_task_committed(const struct tally_stream_task *task);
/* Takes both from the slot's store, after it was opened or reopened. */
void tally_stream_task_load(struct tally_stream_task *task);
/* Tells that the store could not be read, err says how: STORE_ERROR, and the caller tries again; or
 * STORE_CORRUPT, in *err too, when that has gone on for long while the disk takes writes: then
 * only the events can give the rows back. */
enum tally_code tally_stream_task_read_failed(struct tally_stream_task *task, int64_t now_ms,
        struct tally_error *err);

/* Decides `count` records of this task's input, in order: events, sends, forwards and dead letters
 * go to the collector, state into the overlay. Records below next.in_next are dropped. Records are
 * borrowed for the call; consumer gives their headers. */
TALLY_MUST_CHECK enum tally_code tally_stream_task_process(struct tally_stream_task *task,
        const struct tally_record *records, size_t count, struct tally_consumer *consumer,
        struct tally_error *err);
/* Puts the record at next.in_next into the dead-letter topic: what it leads to can never be
 * written. cut: nor can a whole dead letter. */
void tally_stream_task_skip_too_large(struct tally_stream_task *task,
        const struct tally_record *record, struct tally_consumer *consumer, bool cut);
/* When a timer of the task is due, wall clock: INT64_MIN, look now; INT64_MAX, none is known. */
int64_t tally_stream_task_due_ms(const struct tally_stream_task *task);
/* Queues the commands of timers that are due, at most max; *count of them. They change no state and
 * no position. */
TALLY_MUST_CHECK enum tally_code tally_stream_task_fire(struct tally_stream_task *task,
        int64_t now_ms, size_t max, size_t *count, struct tally_error *err);
/* c1: a projection's rows of this transaction, the last of each key, and its position go to the
 * collector; *added is set. */
TALLY_MUST_CHECK enum tally_code tally_stream_task_finish(struct tally_stream_task *task,
        bool *added, struct tally_error *err);
/* c5 and c6 of the commit: freeze, publish, queue replies. Memory only. */
void tally_stream_task_commit(struct tally_stream_task *task, int64_t now_ms);
void tally_stream_task_rollback(struct tally_stream_task *task);

/* Restore: applies one record of the output. Foreign records are counted and ignored, unless the
 * task is strict; HALT codes EVENT_UNKNOWN, CHANGELOG_OUTDATED. Does not commit the store. The
 * record is borrowed until `evolved` is called, which has to follow one or more of these, and notes
 * which record was the last. */
TALLY_MUST_CHECK enum tally_code tally_stream_task_evolve(struct tally_stream_task *task,
        const struct tally_record *record, struct tally_error *err);
void tally_stream_task_evolved(struct tally_stream_task *task);
/* Restore, verify mode: a consumed input record whose event would be beyond the log must be a known
 * id, a forward or a dead letter; else EVENTS_LOST. */
TALLY_MUST_CHECK enum tally_code tally_stream_task_verify(struct tally_stream_task *task,
        const struct tally_record *record, struct tally_consumer *consumer,
        struct tally_error *err);
/* After the events: an event of this restore says which command stands before next.in_next; whether
 * the record that stands there now is that one. A fill of `tally reset` is taken for it. */
bool tally_stream_task_has_proof(const struct tally_stream_task *task);
bool tally_stream_task_prove(struct tally_stream_task *task, const struct tally_record *record,
        struct tally_consumer *consumer);
/* Events of the committed transaction went to offsets that were taken before: the events topic was
 * deleted and made anew under the task. */
bool tally_stream_task_regressed(const struct tally_stream_task *task);
/* Whether the live path decides this record of the commands topic where it is, so that it has an
 * outcome: no dead letter, not forwarded. *command borrows from the record and the arena. For
 * tools. @thread any */
bool tally_stream_task_decides(const struct tally_topology *topology,
        const struct tally_record *record, int32_t partitions, struct tally_arena *arena,
        struct tally_command *command);
/* What a record of a changelog says was consumed, and by which version of the projection; false: it
 * is no position record of a form that is known. For tools. @thread any */
bool tally_stream_task_position(const struct tally_record *record,
        struct tally_positions *positions, uint32_t *version);
/* CRC32C over key and value, as kept in positions. */
uint32_t tally_stream_task_crc(const struct tally_record *record);
