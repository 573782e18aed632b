/* connectors/postgres_reader.h - searches over products and lists of the rest in PostgreSQL, for
 * HTTP. */
#pragma once
#include "engine/base/config.h"
#include "engine/read_model.h"

/* Of postgres.url, which is not empty; config outlives it. Connects at the first search. Products
 * come in the order of their ids, whatever the text. */
TALLY_MUST_CHECK enum tally_code tally_postgres_reader_create(const struct tally_config *config,
        struct tally_read_search **search, struct tally_error *err);
