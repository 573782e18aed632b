/* connectors/postgres_migrations.h - the files of connectors/postgres/, as cmake/sql.cmake compiles
 * them in. */
#pragma once

struct postgres_migration {
    const char *name; /* "0001_control.sql"; NULL after the last */
    const char *text;
};
extern const struct postgres_migration postgres_migrations[];
