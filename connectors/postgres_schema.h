/* connectors/postgres_schema.h - the tables of the Postgres sink, made and changed by numbered
 * files (connectors/postgres/), which the program carries in itself.
 * Schemas: tally is what readers read, tally_next the same for a rebuild, tally_sink what both are
 * controlled with. @thread main */
#pragma once
#include "engine/base/config.h"

/* Told of every file, in order: applied now, or there before. */
typedef void (*tally_migration_fn)(void *context, const char *file, bool now);

/* Applies what has not been applied, each file as one transaction, one migration at a time whoever
 * runs it. SINK_SCHEMA: a file that was applied has another content in this release; nothing was
 * changed then. Needs a user that may create schemas in the database of postgres.url. */
TALLY_MUST_CHECK enum tally_code tally_postgres_migrate(const struct tally_config *config,
        tally_migration_fn report, void *context, struct tally_error *err);
/* What that would apply (now true), without changing anything. */
TALLY_MUST_CHECK enum tally_code tally_postgres_migrations(const struct tally_config *config,
        tally_migration_fn report, void *context, struct tally_error *err);
