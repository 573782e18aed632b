/* connectors/redis_script.h - all that tally runs inside Redis: each write is one script, which
 * looks at positions, epochs and versions and changes them as one. docs/redis.md has keys and
 * arguments. @thread owner of the connection */
#pragma once
#include "connectors/redis_connection.h"

enum redis_script_id {
    REDIS_SCRIPT_OPEN,    /* take over a partition */
    REDIS_SCRIPT_WRITE,   /* rows of a partition, and where it is then */
    REDIS_SCRIPT_REBUILD, /* begin a new generation */
    REDIS_SCRIPT_SWEEP,   /* remove keys that the new generation lacks */
    REDIS_SCRIPT_ADOPT,   /* keys of the new generation get their names */
    REDIS_SCRIPT_ADVANCE, /* from one phase of a rebuild to the next */
    REDIS_SCRIPT_READ,
    REDIS_SCRIPT_LOCK,
    REDIS_SCRIPT_UNLOCK,
    REDIS_SCRIPT_FILL,
    REDIS_SCRIPT_LIMIT,
    REDIS_SCRIPTS
};

/* Asks the server for the names of all scripts; once a connection, before all below. */
TALLY_MUST_CHECK enum tally_code redis_script_prepare(struct redis_connection *connection,
        struct tally_error *err);
/* Begins an EVALSHA of `keys` keys and `arguments` arguments, which are to be appended. */
void redis_script_begin(const struct redis_connection *connection, enum redis_script_id id,
        struct tally_buf *command, size_t keys, size_t arguments);
/* Sends one call, after the script where the server does not know it (any more). */
TALLY_MUST_CHECK enum tally_code redis_script_call(struct redis_connection *connection,
        enum redis_script_id id, struct tally_slice command, redisReply **reply,
        struct tally_error *err);
