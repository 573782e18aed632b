/* state/store_memory_internal.h - the base tier in memory, for tests and the topology driver. */
#pragma once
#include "state/base_internal.h"

/* Opens what is kept under this path in the state, empty at first. */
struct base *store_memory_open(struct tally_state *state, const char *path);
void store_memory_drop(struct tally_state *state, const char *path);
