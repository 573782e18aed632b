/* tests/topology/workload.h - a mixed load of commands, the same in every run. */
#pragma once
#include "tests/topology/driver_fixture.h"

/* Registers two warehouses and runs until stock knows them. */
void workload_prepare(struct driver_fixture *fixture);
/* Appends `count` records for a few SKUs: commands of every type, refusals, repeats, reused ids,
 * and records that are no command; misrouted: some on a partition that is not their key's. */
void workload_pipe(struct driver_fixture *fixture, int count, bool misrouted);
