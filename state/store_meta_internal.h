/* state/store_meta_internal.h - the rows under store byte 0: whose state this is, and what it has
 * processed. They are in every file that is ingested, so state and positions cannot part. */
#pragma once
#include "state/base_internal.h"
#include "state/run_internal.h"
#include "state/store.h"

/* All meta rows as a run. */
struct run *store_meta_run(const struct tally_store_identity *identity,
        const struct tally_positions *positions, int64_t retention_ms);

/* Reads and checks them. identity NULL: whose it is does not matter, and *retention_ms is what was
 * written. *is_new: the base holds nothing at all. The errors are those of tally_store_open. */
TALLY_MUST_CHECK enum tally_code store_meta_check(struct base_snapshot *snapshot,
        const struct tally_store_identity *identity, struct tally_positions *positions,
        int64_t *retention_ms, bool *is_new, struct tally_error *err);
