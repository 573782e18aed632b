/* http/jwt_token.h - a signed token (RFC 7519) and who it says it is: RS256 and ES256, with libjwt.
 * Invariants
 *  (1) Nothing that a token says is believed before its signature has been checked, but which key
 *      to check it with.
 *  (2) The algorithm is the key's; a token that names another is refused.
 * @thread any */
#pragma once
#include "http/jwt_keys.h"
#include "http/role.h"

#define JWT_TOKEN_BYTES_MAX 8192
#define JWT_TOKEN_SKEW_S    60 /* that clocks may differ by */

struct jwt_rules {
    const char *issuer, *audience; /* of `iss`, `aud` */
    const char *role_claim;        /* where the role is: a member, or members joined by dots */
};
/* NULL: the token is good, and *principal filled; else what is wrong, in words without quotes.
 * *expires_s: until when it is good. */
const char *jwt_token_check(const struct jwt_keys *keys, const struct jwt_rules *rules,
        struct tally_slice token, int64_t now_s, struct principal *principal, int64_t *expires_s);
bool jwt_token_looks(struct tally_slice text); /* three parts of base64url */
