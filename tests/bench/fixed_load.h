/* tests/bench/fixed_load.h - a load that is the same in every run, on topologies over the broker in
 * memory: what instructions.c counts and what training.c trains with. */
#pragma once
#include "engine/topology_driver.h"

enum { FIXED_SKUS = 20000, FIXED_TOPOLOGIES = 4 };

struct fixed_load {
    uint64_t random;
    double weights[FIXED_SKUS]; /* cumulative */
    struct tally_config config;
    struct tally_topology *topologies[FIXED_TOPOLOGIES];
    size_t topology_count;
    struct tally_topology_driver *driver; /* between open and close */
};

/* Settings as they are without a file, but no registration; more may be changed before open. */
TALLY_MUST_CHECK enum tally_code fixed_load_init(struct fixed_load *load, struct tally_error *err);
void fixed_load_deinit(struct fixed_load *load);
/* names: ends with NULL. dir: an empty folder for the state, NULL: in memory. */
TALLY_MUST_CHECK enum tally_code fixed_load_open(struct fixed_load *load, const char *const *names,
        const char *dir, struct tally_error *err);
void fixed_load_close(struct fixed_load *load);

uint64_t fixed_load_random(struct fixed_load *load);
/* Zipf 0.99, scattered so that neighbours in rank are none in key order. */
unsigned fixed_load_sku(struct fixed_load *load);
