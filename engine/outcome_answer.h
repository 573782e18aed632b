/* engine/outcome_answer.h - the stored outcome of a command as the record that clients get.
 * Replies, repeats and HTTP all read it here, from committed state, so they cannot differ. */
#pragma once
#include "engine/context_internal.h"
#include "engine/query.h"

struct outcome_question {
    struct tally_topology *topology;
    int32_t partition, partitions;
    struct tally_view *view;
    struct tally_slice command_id;
    struct tally_slice key; /* record key; empty: the first under which the id was used */
    uint64_t fingerprint;   /* of the command that asks; 0: whatever was sent */
    bool duplicate;
    enum tally_format format;
};
/* Appends the outcome record to *out. NOT_FOUND: no outcome here. A fingerprint that differs gives
 * IDEMPOTENCY_KEY_REUSED. @thread any  @locks none */
TALLY_MUST_CHECK enum tally_code outcome_answer(const struct outcome_question *question,
        struct tally_buf *out, struct tally_outcome_info *info, struct tally_error *err);
