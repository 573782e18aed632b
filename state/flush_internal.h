/* state/flush_internal.h - moving runs into the base, by the flush thread or inline. */
#pragma once
#include "state/store_internal.h"

void flush_thread(void *state); /* body of the thread */
/* After a commit: wakes the thread, or flushes here, when something became due. @thread owner */
void flush_after_commit(struct tally_store *store, bool was_idle);
/* One attempt in the caller's thread, waiting for one that runs. */
TALLY_MUST_CHECK enum tally_code flush_now(struct tally_store *store, struct tally_error *err);
/* Asks the thread and waits until all commits up to `sequence` are in the base. */
TALLY_MUST_CHECK enum tally_code flush_wait(struct tally_store *store, uint64_t sequence,
        int64_t timeout_ms, struct tally_error *err);
void flush_request(struct tally_store *store);
