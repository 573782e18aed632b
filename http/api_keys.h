/* http/api_keys.h - keys of programs that write to the API: made here, kept by whom they are made
 * for, known to tally by their SHA-256 alone. The file has a key a line:
 *   NAME ROLE sha256:HEX
 * Empty lines and those that begin with '#' are left out. A name may have several keys, so that a
 * new one can be in use before the old one goes.
 * Invariants
 *  (1) A key is looked up in a time that does not depend on which keys there are.
 *  (2) A key is never stored, logged or part of a message.
 * @thread any */
#pragma once
#include "http/role.h"

#define API_KEYS_PREFIX   "tally_" /* of every key: what it is, for people and secret scanners */
#define API_KEYS_LEN      (sizeof API_KEYS_PREFIX - 1 + 43) /* 256 bits in base64url */
#define API_KEYS_MAX      1000
#define API_KEYS_NAME_MAX 64

struct api_key;
struct api_keys {
    struct api_key *items;
    size_t count;
};
/* Reads the file. CONFIG: it cannot be read, or a line is wrong; the message has file and line. */
TALLY_MUST_CHECK enum tally_code api_keys_load(struct api_keys *keys, const char *path,
        struct tally_error *err);
void api_keys_deinit(struct api_keys *keys);
/* Whether the text is a key that is known; then whose. */
bool api_keys_find(const struct api_keys *keys, struct tally_slice text,
        struct principal *principal);
const char *api_keys_at(const struct api_keys *keys, size_t index, enum role *role,
        char fingerprint[static 13]); /* name; the first 12 digits of the hash */

bool api_keys_name_valid(struct tally_slice name); /* [A-Za-z0-9._:@-]{1,64} */
/* A new key, and the line for the file, without a newline. SYSTEM: no randomness. */
#define API_KEYS_LINE_MAX (API_KEYS_NAME_MAX + 96)
TALLY_MUST_CHECK enum tally_code api_keys_make(const char *name, enum role role,
        char key[static API_KEYS_LEN + 1], char line[static API_KEYS_LINE_MAX],
        struct tally_error *err);
