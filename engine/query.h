/* engine/query.h - committed state for readers: key -> partition -> local task -> view.
 * A read holds one commit's state of one task. Keep it short: a request, never a session.
 * @thread any  @locks TASKS for the look-up only */
#pragma once
#include "engine/base/bytes.h"
#include "engine/base/config.h"
#include "schemas/envelope.h"
#include "state/key_schema.h"

struct tally_runtime;
struct tally_read;

enum tally_task_state {
    TALLY_TASK_CREATED,
    TALLY_TASK_RESTORING,
    TALLY_TASK_RUNNING,
    TALLY_TASK_PARKED,
    TALLY_TASK_HALTED,
    TALLY_TASK_CLOSED
};
const char *tally_task_state_name(enum tally_task_state state); /* "RUNNING" */

struct tally_read_info {
    const char *topology;
    int32_t partition;
    enum tally_task_state state;
    const char *topic; /* commands topic with prefix */
    int64_t position;  /* last applied command offset, -1: none; prints as topic/partition@offset */
    const char *log;   /* topic that the rows are restored from, with prefix */
    int64_t log_last;  /* offset of the last of its records that is in them, -1: none */
    int64_t as_of_ms;  /* complete up to this wall time; now when nothing is left to read */
};

/* Positions that must have been applied: "stock.commands/2@990,stock.commands/0@12". */
struct tally_min_position {
    struct tally_slice topic;
    int32_t partition;
    int64_t offset;
};
#define TALLY_MIN_POSITIONS_MAX 16
/* false: bad syntax, or more than TALLY_MIN_POSITIONS_MAX. Borrows text. */
bool tally_positions_parse(struct tally_slice text, struct tally_min_position *positions,
        size_t *count);

/* Which tasks of this instance may be read. */
enum tally_read_of {
    TALLY_READ_OPEN,   /* any whose store is open, be it of long ago */
    TALLY_READ_OURS,   /* one that is this instance's, if it does not run: not a parked one */
    TALLY_READ_RUNNING /* one that decides */
};
/* Reads that somebody keeps for the next questions, of a few tasks at once. A read that is closed
 * stays there; tally_read_open takes it up again while it is of the newest state. One thread's. */
#define TALLY_READS_KEPT 8
struct tally_reads_kept {
    struct tally_read *reads[TALLY_READS_KEPT];
};
void tally_reads_drop(struct tally_reads_kept *kept); /* soon: they hold memory of the stores */

struct tally_read_options {
    enum tally_read_of of;
    bool ready; /* tally_read_get: of what is in memory; AGAIN: a file would have to be read */
    const struct tally_min_position *positions; /* others than the task's own are ignored */
    size_t position_count;
    int64_t wait_ms;               /* for them; also bounded by http.wait.max of all waiters */
    struct tally_reads_kept *kept; /* or NULL */
};
/* Opens a read on the task that owns `key` (partition >= 0: on that task). FENCED: not here;
 * UNAVAILABLE: not restored yet; TIMEOUT: positions not reached; QUEUE_FULL: too many waiters;
 * STORE_ERROR. */
TALLY_MUST_CHECK enum tally_code tally_read_open(struct tally_runtime *runtime,
        const char *topology, struct tally_slice key, int32_t partition,
        const struct tally_read_options *options, struct tally_read **read,
        struct tally_error *err);
/* Whether a task runs on this instance. */
bool tally_read_is_here(struct tally_runtime *runtime, const char *topology, int32_t partition);
void tally_read_close(struct tally_read *read);
const struct tally_read_info *tally_read_info(const struct tally_read *read);
/* NOT_FOUND or the store's error. Expired rows are NOT_FOUND. */
TALLY_MUST_CHECK enum tally_code tally_read_get(struct tally_read *read, struct tally_slice key,
        struct tally_buf *value, struct tally_error *err);
/* The values of many keys, sorted and distinct, with one multi-get: calls found for each that has
 * one, in no order, with its index. */
typedef void (*tally_found_fn)(void *context, size_t index, struct tally_slice value);
TALLY_MUST_CHECK enum tally_code tally_read_get_many(struct tally_read *read,
        const struct tally_slice *keys, size_t count, tally_found_fn found, void *context,
        struct tally_error *err);
/* Rows lower <= key < upper, at most limit, in order or backwards; stops when row() says false. */
typedef bool (*tally_row_fn)(void *context, struct tally_slice key, struct tally_slice value);
TALLY_MUST_CHECK enum tally_code tally_read_scan(struct tally_read *read, struct tally_slice lower,
        struct tally_slice upper, bool backwards, tally_row_fn row, void *context,
        struct tally_error *err);
/* The outcome record of a command, as in domain.md 5, appended to *out. key empty: whichever
 * record key the id was used under first. NOT_FOUND: no outcome in this task. */
struct tally_outcome_info {
    enum tally_status status;
    enum tally_reject code;
    int64_t offset; /* of the deciding command in the task's input */
};
TALLY_MUST_CHECK enum tally_code tally_read_outcome(struct tally_read *read,
        struct tally_slice command_id, struct tally_slice key, uint64_t fingerprint_or_0,
        bool duplicate, enum tally_format format, struct tally_buf *out,
        struct tally_outcome_info *info, struct tally_error *err);
