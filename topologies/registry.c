/* topologies/registry.c - the one list of topologies. A new one is a line in `entries`. */
#include "topologies/registry.h"

#include "topologies/analytics/expiring_topology.h"
#include "topologies/analytics/low_stock_topology.h"
#include "topologies/analytics/movements_topology.h"
#include "topologies/catalogue/catalogue_topology.h"
#include "topologies/reservation/reservation_topology.h"
#include "topologies/stock/stock_topology.h"
#include "topologies/transfer/transfer_topology.h"

static const struct {
    const char *name;
    tally_build_fn build;
} entries[] = {
        {"catalogue", tally_catalogue_build},
        {"expiring", tally_expiring_build},
        {"low_stock", tally_low_stock_build},
        {"movements", tally_movements_build},
        {"reservation", tally_reservation_build},
        {"stock", tally_stock_build},
        {"transfer", tally_transfer_build},
};
#define ENTRIES (sizeof entries / sizeof entries[0])

const char *const *tally_registry_names(void)
{
    static const char *const names[ENTRIES + 1] = {"catalogue", "expiring", "low_stock",
            "movements", "reservation", "stock", "transfer", NULL};

    return names;
}

static enum tally_code unknown(const char *name, struct tally_error *err)
{
    const char *nearest = tally_config_nearest(name, tally_registry_names(), ENTRIES);

    if (nearest) {
        return tally_error_set(err, TALLY_CONFIG,
                "topology \"%s\" is not known: did you mean \"%s\"?", name, nearest);
    }
    return tally_error_set(err, TALLY_CONFIG, "topology \"%s\" is not known: see `tally describe`",
            name);
}

enum tally_code tally_registry_create(const char *name, const struct tally_config *config,
        struct tally_topology **topology, struct tally_error *err)
{
    *topology = NULL;
    for (size_t i = 0; i < ENTRIES; i++) {
        if (!strcmp(entries[i].name, name)) {
            struct tally_topology *built = tally_topology_create(name, config->topics_prefix);
            enum tally_code code = entries[i].build(built, config, err);

            if (code) {
                tally_topology_destroy(built);
                return code;
            }
            *topology = built;
            return TALLY_OK;
        }
    }
    return unknown(name, err);
}
