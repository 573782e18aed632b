/* apps/reset_execute.h - carries out the plan of one task. @thread owner */
#pragma once
#include "apps/reset_facts.h"

/* AGAIN: the user has interrupted it; what is left is planned anew.
 * The caller has made sure that the group has no members, and holds the state directory. Steps in
 * this order, each of which may have been done by an earlier run already:
 *   remove the group's offset, if records will be written (a start halts with OFFSETS_LOST)
 *   fill, copy, mark          set the directory aside          set the group's offset */
TALLY_MUST_CHECK enum tally_code reset_execute(const struct reset_scope *scope,
        struct tally_state *state, const struct tally_topology *topology,
        const struct reset_facts *facts, const struct reset_plan *plan, struct tally_error *err);
