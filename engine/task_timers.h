/* engine/task_timers.h - durable timers of a task: which rows of its timers' store are due.
 * Such a row's key is the store's byte, due_ms:u64 and the rest; its value is the topology's.
 * Invariants
 *  (1) Nothing is read while nothing is due: next_ms is at most the due time of every committed row
 *      that has not fired since task_timers_begin.
 *  (2) A row fires from committed state alone, once while the task runs, and stays until an event
 *      deletes it. Rows fire in key order; `fired` is the last key that did. What is put at or
 *      before it afterwards (by a command that waited longer than its timer) is kept as `late`.
 *  (3) A timer that fires changes no state; a rollback forgets that it did.
 * @thread owner */
#pragma once
#include "state/key_schema.h"
#include "state/store.h"

struct task_timers {
    enum tally_store_id store;
    uint8_t byte;                            /* of the store; 0: there are no timers */
    int64_t next_ms, written_ms;             /* written: of what the open transaction has put */
    struct tally_key fired, fired_committed; /* len 0: none yet */
    struct tally_key *late;
    /* of late, from its begin: fired in the open transaction; committed; all */
    size_t late_fired, late_committed, late_count, late_capacity;
};

void task_timers_init(struct task_timers *timers, enum tally_store_id store);
void task_timers_deinit(struct task_timers *timers);
/* The task begins to run: all that is due fires, be it again. */
void task_timers_begin(struct task_timers *timers);
/* The open transaction puts a row of any store. */
void task_timers_put(struct task_timers *timers, const struct tally_key *key);
void task_timers_commit(struct task_timers *timers);
void task_timers_rollback(struct task_timers *timers);

/* When task_timers_fire has something to do, wall clock; INT64_MAX: not before a commit. */
int64_t task_timers_next_ms(const struct task_timers *timers);
/* Calls fire for rows that are due by now_ms, but at most max: those that are committed, that the
 * open transaction has not deleted, and that come before all that it has put. *count: of calls. The
 * bytes are valid during the call, which must not ask the store. */
typedef void (*task_timers_fire_fn)(void *context, struct tally_slice key, int64_t due_ms,
        struct tally_slice row);
TALLY_MUST_CHECK enum tally_code task_timers_fire(struct task_timers *timers,
        struct tally_store *store, int64_t now_ms, size_t max, task_timers_fire_fn fire,
        void *context, size_t *count, struct tally_error *err);
