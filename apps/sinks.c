/* apps/sinks.c - see the header. A new kind of sink is a row in `kinds`. */
#include "apps/sinks.h"

#include <assert.h>
#include <stddef.h>

#include "connectors/postgres_sink.h"
#include "connectors/redis_sink.h"
#include "connectors/sink_task.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

static const struct {
    size_t url; /* offset in struct tally_config */
    enum tally_code (*create)(const struct tally_config *config, struct tally_sink **sink,
            struct tally_error *err);
} kinds[] = {
        {offsetof(struct tally_config, postgres_url), tally_postgres_sink_create},
        {offsetof(struct tally_config, redis_url), tally_redis_sink_create},
};
static_assert(sizeof kinds / sizeof kinds[0] == SINKS_KINDS, "sinks.h counts them");

struct sinks {
    struct tally_sinks base;
    struct tally_sink_source *sources;
    size_t source_count;
    struct tally_sink_task *tasks[SINKS_KINDS];
    size_t count;
};

static struct sinks *self(struct tally_sinks *base)
{
    return (struct sinks *)base;
}

static size_t count(struct tally_sinks *base)
{
    return self(base)->count;
}

static void info(struct tally_sinks *base, size_t index, struct tally_sink_info *to)
{
    tally_sink_task_info(self(base)->tasks[index], to);
}

static size_t positions(struct tally_sinks *base, size_t index, struct tally_topic_partition *to,
        size_t max)
{
    return tally_sink_task_positions(self(base)->tasks[index], to, max);
}

static enum tally_code pause_sink(struct tally_sinks *base, size_t index, struct tally_error *err)
{
    return tally_sink_task_pause(self(base)->tasks[index], err);
}

static enum tally_code resume(struct tally_sinks *base, size_t index, struct tally_error *err)
{
    return tally_sink_task_resume(self(base)->tasks[index], err);
}

static enum tally_code rebuild(struct tally_sinks *base, size_t index, struct tally_error *err)
{
    return tally_sink_task_rebuild(self(base)->tasks[index], err);
}

static const struct tally_sinks_ops ops = {.count = count,
        .info = info,
        .positions = positions,
        .pause = pause_sink,
        .resume = resume,
        .rebuild = rebuild};

/* The events of the instance's aggregates. */
static void find_sources(struct sinks *sinks, const struct instance *instance)
{
    sinks->sources = tally_alloc_zero(instance->topology_count + 1, sizeof *sinks->sources);
    for (size_t i = 0; i < instance->topology_count; i++) {
        const struct tally_topology *topology = instance->topologies[i];
        const struct tally_aggregate *aggregate = tally_topology_aggregate(topology);

        if (aggregate) {
            sinks->sources[sinks->source_count++] =
                    (struct tally_sink_source){.topology = tally_topology_name(topology),
                            .topic = tally_topology_events(topology),
                            .types = aggregate->event_types};
        }
    }
}

enum tally_code sinks_create_one(const struct tally_config *config, size_t kind,
        struct tally_sink **sink, struct tally_error *err)
{
    const char *url = *(char *const *)((const char *)config + kinds[kind].url);

    *sink = NULL;
    return *url == '\0' ? TALLY_OK : kinds[kind].create(config, sink, err);
}

enum tally_code sinks_create(const struct tally_config *config, const struct instance *instance,
        struct tally_client *client, int32_t partitions, struct sinks **result,
        struct tally_error *err)
{
    struct sinks *sinks = tally_alloc_zero(1, sizeof *sinks);
    enum tally_code code = TALLY_OK;

    *result = sinks;
    sinks->base.ops = &ops;
    find_sources(sinks, instance);
    for (size_t i = 0; i < SINKS_KINDS && sinks->source_count > 0 && !code; i++) {
        struct tally_sink *sink;

        code = sinks_create_one(config, i, &sink, err);
        if (!code && sink) {
            sinks->tasks[sinks->count++] =
                    tally_sink_task_create(&(struct tally_sink_task_options){.config = config,
                            .client = client,
                            .clock = tally_clock_real(),
                            .sink = sink,
                            .sources = sinks->sources,
                            .source_count = sinks->source_count,
                            .partitions = partitions});
        }
    }
    return code;
}

void sinks_start(struct sinks *sinks)
{
    for (size_t i = 0; i < sinks->count; i++) {
        tally_sink_task_start(sinks->tasks[i]);
    }
}

enum tally_code sinks_stop(struct sinks *sinks, int64_t timeout_ms, struct tally_error *err)
{
    int64_t deadline_ms = tally_mono_ms(tally_clock_real()) + timeout_ms;
    enum tally_code code = TALLY_OK;

    for (size_t i = 0; i < sinks->count; i++) {
        tally_sink_task_ask_stop(sinks->tasks[i]); /* so that they end at the same time */
    }
    for (size_t i = 0; i < sinks->count && !code; i++) {
        int64_t left_ms = deadline_ms - tally_mono_ms(tally_clock_real());

        code = tally_sink_task_stop(sinks->tasks[i], left_ms > 0 ? left_ms : 0, err);
    }
    return code;
}

void sinks_destroy(struct sinks *sinks)
{
    if (!sinks) {
        return;
    }
    for (size_t i = 0; i < sinks->count; i++) {
        tally_sink_task_destroy(sinks->tasks[i]);
    }
    tally_free(sinks->sources);
    tally_free(sinks);
}

struct tally_sinks *sinks_control(struct sinks *sinks)
{
    return sinks->count > 0 ? &sinks->base : NULL;
}
