/* http/auth.h - who asks, and whether they may: the one place that decides, for REST, GraphQL and
 * WebSocket alike.
 *   http.auth none    nobody is asked; everybody is a writer, and on this machine an admin
 *   http.auth bearer  Authorization: Bearer, with a signed token (jwt_token.h) or a key
 *                     (api_keys.h); without one only what is PUBLIC is answered
 * Invariants
 *  (1) A refused request has been read up to its headers only: its body never is.
 *  (2) What a client sent as credentials is never logged, answered or kept.
 *  (3) Keys are replaced as a whole, and only by files that are good.
 * @thread http, but for what says otherwise */
#pragma once
#include "engine/base/config.h"
#include "http/exchange.h"
#include "http/role.h"

/* What a route asks for: the lowest role that may use it. */
enum permission {
    PERMISSION_PUBLIC = ROLE_NONE,
    PERMISSION_READER = ROLE_READER,
    PERMISSION_WRITER = ROLE_WRITER,
    PERMISSION_OPERATOR = ROLE_OPERATOR
};

struct auth;
/* config outlives it. CONFIG: a key file is not good; the message names it. @thread init */
TALLY_MUST_CHECK enum tally_code auth_create(const struct tally_config *config, struct auth **auth,
        struct tally_error *err);
void auth_destroy(struct auth *auth); /* @thread init */
/* Reads the key files again; after an error the keys are those from before. @thread main */
TALLY_MUST_CHECK enum tally_code auth_reload(struct auth *auth, struct tally_error *err);
bool auth_asks(const struct auth *auth); /* whether anybody is asked for credentials */

/* Finds out who asks, into exchange->principal, and whether they may. false: 401 or 403 is
 * answered. */
bool auth_admit(struct exchange *exchange, enum permission permission);
/* Whether a client that was admitted may do this too. */
bool auth_allows(const struct exchange *exchange, enum permission permission);
/* Whether what a principal showed is still good: its token has not expired, and key files were not
 * read again, after which clients show it once more. For what outlives a request. @thread any */
bool auth_is_current(const struct auth *auth, const struct principal *principal);
/* As auth_allows; false: 403 is answered. what: "a mutation". */
bool auth_require(struct exchange *exchange, enum permission permission, const char *what);
