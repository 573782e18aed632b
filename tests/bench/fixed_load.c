/* tests/bench/fixed_load.c - see fixed_load.h. */
#include "tests/bench/fixed_load.h"

#include <math.h>
#include <string.h>
#include <sys/random.h>

#include "topologies/registry.h"

#define NOW_MS   INT64_C(1700000000000)
#define EXPONENT 0.99
#define TEXT_MAX 65536

/* The seed of the store's hash tables comes from here too: it must not differ from run to run. */
ssize_t getrandom(void *bytes, size_t len, unsigned flags)
{
    (void)flags;
    memset(bytes, 0x5a, len);
    return (ssize_t)len;
}

static void weigh(struct fixed_load *load)
{
    double total = 0;

    for (size_t i = 0; i < FIXED_SKUS; i++) {
        total += pow((double)i + 1, -EXPONENT);
        load->weights[i] = total;
    }
}

enum tally_code fixed_load_init(struct fixed_load *load, struct tally_error *err)
{
    char *argv[] = {(char[]){"fixed_load"}, NULL};
    int argc = 1;
    struct tally_buf mistakes;
    enum tally_code code;

    load->random = 42;
    load->topology_count = 0;
    load->driver = NULL;
    weigh(load);
    tally_buf_init(&mistakes, TEXT_MAX);
    code = tally_config_load(&load->config, &argc, argv, &mistakes, err);
    tally_buf_deinit(&mistakes);
    load->config.stock_require_registration = false;
    return code;
}

void fixed_load_deinit(struct fixed_load *load)
{
    tally_config_deinit(&load->config);
}

enum tally_code fixed_load_open(struct fixed_load *load, const char *const *names, const char *dir,
        struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; names[i] && !code; i++) {
        tally_assert(i < FIXED_TOPOLOGIES);
        code = tally_registry_create(names[i], &load->config, &load->topologies[i], err);
        load->topology_count += !code;
    }
    if (!code) {
        code = tally_topology_driver_create(
                &(struct tally_topology_driver_options){
                        .topologies = load->topologies,
                        .topology_count = load->topology_count,
                        .config = &load->config,
                        .partitions = 1,
                        .state_dir = dir,
                        .now_ms = NOW_MS,
                },
                &load->driver, err);
    }
    return code;
}

void fixed_load_close(struct fixed_load *load)
{
    tally_topology_driver_destroy(load->driver);
    load->driver = NULL;
    while (load->topology_count > 0) {
        tally_topology_destroy(load->topologies[--load->topology_count]);
    }
}

/* splitmix64 */
uint64_t fixed_load_random(struct fixed_load *load)
{
    uint64_t mixed = load->random += UINT64_C(0x9e3779b97f4a7c15);

    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

unsigned fixed_load_sku(struct fixed_load *load)
{
    double wanted =
            (double)(fixed_load_random(load) >> 11) * 0x1p-53 * load->weights[FIXED_SKUS - 1];
    size_t low = 0, high = FIXED_SKUS - 1;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (load->weights[middle] < wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return (unsigned)(low * UINT64_C(2654435761) % FIXED_SKUS);
}
