/* schemas/digest.c - see the header. */
#include "schemas/digest.h"

#include <stdio.h>

#include <xxhash.h>

#include "engine/base/mem.h"

struct tally_digest {
    XXH3_state_t *state; /* aligned as the library wants it */
};

struct tally_digest *tally_digest_create(void)
{
    struct tally_digest *digest = tally_alloc_zero(1, sizeof *digest);

    digest->state = XXH3_createState();
    tally_assert(digest->state);
    (void)XXH3_128bits_reset(digest->state);
    return digest;
}

void tally_digest_destroy(struct tally_digest *digest)
{
    if (digest) {
        (void)XXH3_freeState(digest->state);
        tally_free(digest);
    }
}

void tally_digest_add(struct tally_digest *digest, struct tally_slice bytes)
{
    if (bytes.len > 0) {
        (void)XXH3_128bits_update(digest->state, bytes.data, bytes.len);
    }
}

void tally_digest_read(const struct tally_digest *digest, char text[static TALLY_DIGEST_LEN + 1])
{
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(digest->state));
    for (size_t i = 0; i < sizeof canonical.digest; i++) {
        (void)snprintf(text + 2 * i, 3, "%02x", canonical.digest[i]);
    }
}
