/* connectors/redis_connection.h - one connection to Redis, over hiredis 0.14: commands out, checked
 * replies in.
 * Invariants
 *  (1) A connection on which anything timed out or broke is never used again: a late reply would
 *      answer the next command. It is `broken`, and every call on it is UNAVAILABLE.
 *  (2) An error reply becomes a code (redis_connection.c has the table) and is never handed out.
 *  (3) Every wait ends within redis.timeout.
 * @thread owner: who opened or borrowed it */
#pragma once
#include <hiredis/hiredis.h>

#include "engine/base/bytes.h"
#include "engine/base/config.h"

enum {
    REDIS_CONNECTION_RUN_LEN = 40,
    REDIS_CONNECTION_SHA_LEN = 40,
    REDIS_CONNECTION_SCRIPTS = 16
};

/* What redis.url says: redis://[user@]host[:port][/database]. Password and URL are borrowed. */
struct redis_place {
    char host[256], user[128];
    int port, database;
    const char *password; /* "": none */
    int64_t timeout_ms;
};
/* CONFIG: what is wrong with the URL. */
TALLY_MUST_CHECK enum tally_code redis_connection_place(const struct tally_config *config,
        struct redis_place *place, struct tally_error *err);
/* What all keys and channels of this tally begin with: "tally:", or "tally:@<prefix><app.id>:"
 * where topics.prefix or app.id are not the default ones. */
void redis_connection_base(const struct tally_config *config, struct tally_buf *base);

struct redis_connection {
    redisContext *context;
    const struct redis_place *place;
    bool broken;
    char run[REDIS_CONNECTION_RUN_LEN +
             1];                  /* of the server's process: another one after a restart */
    char version[24], policy[24]; /* redis_version, maxmemory_policy */
    char sha[REDIS_CONNECTION_SCRIPTS][REDIS_CONNECTION_SHA_LEN + 1]; /* redis_script.c */
};
/* Connects, authenticates, selects the database, and asks who the server is. place is borrowed
 * until close. */
TALLY_MUST_CHECK enum tally_code redis_connection_open(const struct redis_place *place,
        struct redis_connection **connection, struct tally_error *err);
void redis_connection_close(struct redis_connection *connection); /* NULL is fine */

/* A command in the protocol's form: its number of arguments, then each of them. */
void redis_connection_begin(struct tally_buf *command, size_t arguments);
void redis_connection_bytes(struct tally_buf *command, struct tally_slice argument);
void redis_connection_text(struct tally_buf *command, const char *argument);
void redis_connection_int(struct tally_buf *command, int64_t argument);

/* Writes commands to the socket; their replies come in the same order. */
TALLY_MUST_CHECK enum tally_code redis_connection_send(struct redis_connection *connection,
        struct tally_slice commands, struct tally_error *err);
/* The next reply, the caller's to free with freeReplyObject; never an error reply. AGAIN: NOSCRIPT,
 * the script is not known (any more). */
TALLY_MUST_CHECK enum tally_code redis_connection_reply(struct redis_connection *connection,
        redisReply **reply, struct tally_error *err);
/* Both, of one command. */
TALLY_MUST_CHECK enum tally_code redis_connection_call(struct redis_connection *connection,
        struct tally_slice command, redisReply **reply, struct tally_error *err);

/* Reading replies: the i-th element of an array, NONE or false where it is of another type. */
struct tally_slice redis_connection_string(const redisReply *reply);
struct tally_slice redis_connection_element(const redisReply *reply, size_t index);
bool redis_connection_element_int(const redisReply *reply, size_t index, int64_t *value);
/* What an error reply means. @thread any */
enum tally_code redis_connection_code(const char *reply, const char **advice);
