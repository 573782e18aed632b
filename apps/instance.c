/* apps/instance.c - see the header. */
#include "apps/instance.h"

#include "engine/base/mem.h"
#include "topologies/registry.h"

static enum tally_code add(struct instance *instance, const char *name,
        const struct tally_config *config, struct tally_error *err)
{
    enum tally_code code;

    for (size_t i = 0; i < instance->topology_count; i++) {
        if (strcmp(instance->names[i], name) == 0) {
            return tally_error_set(err, TALLY_CONFIG, "topologies: \"%s\" is named twice", name);
        }
    }
    code = tally_registry_create(name, config, &instance->topologies[instance->topology_count],
            err);
    if (code == TALLY_OK) {
        const struct tally_topology *topology = instance->topologies[instance->topology_count];
        const struct tally_projection *projection = tally_topology_projection(topology);

        instance->owners[instance->topology_count].name = name;
        if (projection) {
            instance->owners[instance->topology_count].events = projection->events;
            instance->owners[instance->topology_count].changelog =
                    tally_topology_output(topology) + strlen(config->topics_prefix);
        }
        instance->names[instance->topology_count++] = name;
    }
    return code;
}

enum tally_code instance_build(struct instance *instance, const struct tally_config *config,
        struct tally_error *err)
{
    size_t count = config->topologies.count;
    enum tally_code code = TALLY_OK;

    *instance =
            (struct instance){.topologies = tally_alloc_zero(count, sizeof *instance->topologies),
                    .names = tally_alloc_zero(count, sizeof *instance->names),
                    .owners = tally_alloc_zero(count, sizeof *instance->owners)};
    for (size_t i = 0; i < count && code == TALLY_OK; i++) {
        code = add(instance, config->topologies.items[i], config, err);
    }
    return code;
}

void instance_deinit(struct instance *instance)
{
    for (size_t i = 0; i < instance->topology_count; i++) {
        tally_topology_destroy(instance->topologies[i]);
    }
    tally_free(instance->topologies);
    tally_free(instance->names);
    tally_free(instance->owners);
    *instance = (struct instance){.topology_count = 0};
}
