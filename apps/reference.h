/* apps/reference.h - documents that the program writes from its own tables, as Markdown. They are
 * checked in under docs/, and `./dev check` compares. @thread any */
#pragma once
#include "engine/topology.h"

/* Commands, their fields and the events they lead to, of these topologies. */
void reference_records(struct tally_topology *const *topologies, size_t count,
        struct tally_buf *out);
/* Tables for docs/domain.md, each between a line that names it and one that ends it. */
void reference_domain(struct tally_topology *const *topologies, size_t count,
        struct tally_buf *out);
void reference_metrics(struct tally_buf *out);
/* Failures with their reactions, refusals, reasons of dead letters. */
void reference_errors(struct tally_buf *out);
/* Where a build with checks can be made to fail; of one without, that it has none. */
void reference_failpoints(struct tally_buf *out);
