/* apps/reset_projection.h - a projection under `tally reset`: what is found, what would be done.
 * Its changelog says exactly what was consumed, so nothing is guessed: the group's offset goes
 * there, or there is no changelog and the projection begins anew. @thread owner */
#pragma once
#include "apps/reset_facts.h"

/* As reset_facts_gather. facts->events is the changelog, events_next its position. */
TALLY_MUST_CHECK enum tally_code reset_projection_gather(const struct reset_scope *scope,
        const struct tally_topology *topology, int32_t partition, int64_t group_offset,
        struct reset_facts *facts, struct tally_error *err);
/* As reset_plan_make, with the same invariants. */
void reset_projection_plan(const struct reset_facts *facts, struct reset_plan *plan);
