/* connectors/postgres_sink.h - the normalized catalogue in PostgreSQL, in the tables of
 * postgres_schema.h. */
#pragma once
#include "engine/base/config.h"
#include "engine/sink.h"

/* Of postgres.url, which is not empty; config outlives the sink. Connects in start only. */
TALLY_MUST_CHECK enum tally_code tally_postgres_sink_create(const struct tally_config *config,
        struct tally_sink **sink, struct tally_error *err);
