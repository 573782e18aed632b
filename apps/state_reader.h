/* apps/state_reader.h - the task directories of an instance that does not run. @thread owner */
#pragma once
#include "state/store.h"

struct state_task {
    char topology[256];
    int32_t partition;
};

/* All task directories below dir, by topology and partition; what was set aside is not among them.
 * *tasks: the caller's, tally_free. NOT_FOUND: there is none. */
TALLY_MUST_CHECK enum tally_code state_reader_tasks(const char *dir, struct state_task **tasks,
        size_t *count, struct tally_error *err);

/* What the task's rows were built from; codes as below. */
TALLY_MUST_CHECK enum tally_code state_reader_positions(const char *dir,
        const struct state_task *task, struct tally_positions *positions, struct tally_error *err);

/* Rows lower <= key < upper in key order; empty upper: to the end. STATE_LOCKED: an instance runs
 * on the directory. row() false: stop. */
typedef bool (*state_row_fn)(void *context, const struct state_task *task, struct tally_slice key,
        struct tally_slice value);
TALLY_MUST_CHECK enum tally_code state_reader_scan(const char *dir, const struct state_task *task,
        struct tally_slice lower, struct tally_slice upper, state_row_fn row, void *context,
        struct tally_error *err);
