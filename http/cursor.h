/* http/cursor.h - opaque marks of where the next page starts.
 * A cursor is base64url(place . HMAC-SHA256(key, filter . place)), the hash cut to 16 bytes. So it
 * is good only for the filter it was made for, and nobody outside can make one. Every instance
 * needs the same key, or a cursor is good only where it was made. @thread any */
#pragma once
#include "engine/base/bytes.h"

#define CURSOR_KEY_BYTES       32
#define CURSOR_PLACE_BYTES_MAX 512

struct cursor_key {
    uint8_t bytes[CURSOR_KEY_BYTES];
};

/* From a configured secret; an empty one is replaced by random bytes. SYSTEM: no randomness. */
TALLY_MUST_CHECK enum tally_code cursor_key_make(const char *secret, struct cursor_key *key,
        struct tally_error *err);
/* Appends the text of a cursor. */
void cursor_seal(const struct cursor_key *key, struct tally_slice filter, struct tally_slice place,
        struct tally_buf *text);
/* Appends the place; false: not made by cursor_seal with this key and filter. */
bool cursor_unseal(const struct cursor_key *key, struct tally_slice filter, struct tally_slice text,
        struct tally_buf *place);
