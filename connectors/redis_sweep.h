/* connectors/redis_sweep.h - the end of a rebuild in Redis: once the new generation is as far as
 * what is read was, keys that it lacks are removed, then its keys get their names.
 *
 *   building --[every partition is at its goal]--> sweeping --[all live keys seen]--> adopting
 *   adopting --[all new keys seen]--> (none)
 *
 * Who is first advances the phase, inside Redis; any number of instances may do the same work.
 * Invariants
 *  (1) A live key is removed only if the new generation, complete up to the goal, lacks it.
 *  (2) A key gets its new value at once, all fields of it, and never an older one. */
#pragma once
#include "connectors/redis_script.h"

enum { REDIS_SWEEP_TEXT = 32 };

struct redis_sweep {
    char generation[REDIS_SWEEP_TEXT], phase[REDIS_SWEEP_TEXT]; /* as Redis said last */
    char scanning[REDIS_SWEEP_TEXT];                            /* phase that cursor is of */
    char cursor[REDIS_SWEEP_TEXT];
};

/* Does some of what the phase asks for, for at most limit_ms; nothing while none is. */
TALLY_MUST_CHECK enum tally_code redis_sweep_step(struct redis_sweep *sweep,
        struct redis_connection *connection, struct tally_slice base, int64_t limit_ms,
        struct tally_error *err);
