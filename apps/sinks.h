/* apps/sinks.h - the sinks that the settings name: made, started, ended together. @thread main */
#pragma once
#include "apps/instance.h"
#include "engine/client.h"
#include "engine/sink.h"
#include "engine/sink_control.h"

enum { SINKS_KINDS = 2 };
/* The sink of one kind, not started; NULL: it is not configured. CONFIG. */
TALLY_MUST_CHECK enum tally_code sinks_create_one(const struct tally_config *config, size_t kind,
        struct tally_sink **sink, struct tally_error *err);

struct sinks;
/* Makes those that are configured, and none without a topology that has events. Nothing is
 * connected yet. CONFIG. All arguments outlive the sinks; sinks_destroy in every case. */
TALLY_MUST_CHECK enum tally_code sinks_create(const struct tally_config *config,
        const struct instance *instance, struct tally_client *client, int32_t partitions,
        struct sinks **sinks, struct tally_error *err);
void sinks_start(struct sinks *sinks);
/* Each writes its batch, gives up its partitions and ends. TIMEOUT: one did not. */
TALLY_MUST_CHECK enum tally_code sinks_stop(struct sinks *sinks, int64_t timeout_ms,
        struct tally_error *err);
void sinks_destroy(struct sinks *sinks); /* NULL is fine; stopped before */
/* What HTTP and health read; NULL: there is no sink. */
struct tally_sinks *sinks_control(struct sinks *sinks);
