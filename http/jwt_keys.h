/* http/jwt_keys.h - public keys that tokens are signed with, from files: PEM with one or several
 * public keys, or a JWKS (RFC 7517).
 * Invariants
 *  (1) A key has one algorithm, by its type: RSA of 2048 bits or more RS256, EC on P-256 ES256.
 *      Never what a token asks for: that is how `none`, and HS256 with a public key, get in.
 *  (2) A private key is refused: it would be in one place more than it must be.
 * @thread any */
#pragma once
#include "engine/base/bytes.h"
#include "engine/base/config.h"

#define JWT_KEYS_MAX 64

enum jwt_algorithm { JWT_RS256, JWT_ES256 };
struct jwt_key {
    enum jwt_algorithm algorithm;
    char *id;             /* "kid"; NULL: none, it is good for tokens with any */
    struct tally_buf pem; /* SubjectPublicKeyInfo */
};
struct jwt_keys {
    struct jwt_key *items;
    size_t count;
};
const char *jwt_keys_algorithm(enum jwt_algorithm algorithm); /* "RS256" */
/* CONFIG: a file cannot be read, or has no key that can be used; the message names it. Keys of a
 * JWKS that are for something else are left out. */
TALLY_MUST_CHECK enum tally_code jwt_keys_load(struct jwt_keys *keys,
        const struct tally_config_list *paths, struct tally_error *err);
void jwt_keys_deinit(struct jwt_keys *keys);
