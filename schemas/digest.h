/* schemas/digest.h - a hash of many bytes by which two of them are told apart: XXH3-128, seed 0, as
 * `xxh128sum` prints it. Not for secrets. @thread owner of the digest */
#pragma once
#include "engine/base/bytes.h"

#define TALLY_DIGEST_LEN 32 /* hex digits */

struct tally_digest;
struct tally_digest *tally_digest_create(void);
void tally_digest_destroy(struct tally_digest *digest);
void tally_digest_add(struct tally_digest *digest, struct tally_slice bytes);
/* Of all that was added; more may follow. */
void tally_digest_read(const struct tally_digest *digest, char text[static TALLY_DIGEST_LEN + 1]);
