/* topologies/transfer/transfer_topology.h - units on their way from one warehouse to another. */
#pragma once
#include "engine/tally.h"

/* @thread init */
TALLY_MUST_CHECK enum tally_code tally_transfer_build(struct tally_topology *topology,
        const struct tally_config *config, struct tally_error *err);
