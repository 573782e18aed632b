/* tests/topology/saga_workload.h - clients of reservations and transfers that quarrel over a few
 * SKUs. Every choice comes from a seed. */
#pragma once
#include "tests/sim/sim_random.h"
#include "tests/topology/driver_fixture.h"

#define SAGA_RESERVATIONS 24 /* */
#define SAGA_TRANSFERS    8  /* T-0, T-1 ... */

struct saga_workload {
    struct sim_random random;
    uint32_t commands;     /* sent so far: their ids */
    uint32_t reservations; /* asked for so far */
    uint32_t transfers;
    uint32_t skus[SAGA_RESERVATIONS]; /* of the first line, from 1; 0: not asked for yet */
};

/* Stock of every SKU: less than what is asked for. */
void saga_workload_stock(struct saga_workload *workload, struct driver_fixture *fixture);
/* Some commands of clients, to be decided together. */
void saga_workload_pipe(struct saga_workload *workload, struct driver_fixture *fixture);
