/* http/cursor.c - see cursor.h. */
#include "http/cursor.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>

enum { TAG_BYTES = 16, SEALED_BYTES_MAX = CURSOR_PLACE_BYTES_MAX + TAG_BYTES };

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

enum tally_code cursor_key_make(const char *secret, struct cursor_key *key, struct tally_error *err)
{
    unsigned len = 0;

    if (secret[0] == '\0') {
        if (getrandom(key->bytes, sizeof key->bytes, 0) != (ssize_t)sizeof key->bytes) {
            return tally_error_set(err, TALLY_SYSTEM, "no random bytes for the cursor key");
        }
        return TALLY_OK;
    }
    if (!EVP_Digest(secret, strlen(secret), key->bytes, &len, EVP_sha256(), NULL) ||
            len != sizeof key->bytes) {
        return tally_error_set(err, TALLY_SYSTEM, "SHA-256 is not available");
    }
    return TALLY_OK;
}

/* The filter's length comes first, so that no two pairs of filter and place look the same. */
static void make_tag(const struct cursor_key *key, struct tally_slice filter,
        struct tally_slice place, uint8_t tag[static TAG_BYTES])
{
    uint8_t hash[EVP_MAX_MD_SIZE], filter_len[8];
    struct tally_buf text;
    unsigned len = 0;

    tally_buf_init(&text, SIZE_MAX / 2);
    tally_put_u64(filter_len, filter.len);
    tally_buf_append(&text, filter_len, sizeof filter_len);
    tally_buf_slice(&text, filter);
    tally_buf_slice(&text, place);
    tally_assert(HMAC(EVP_sha256(), key->bytes, CURSOR_KEY_BYTES, text.data, text.len, hash,
                         &len) &&
                 len >= TAG_BYTES);
    memcpy(tag, hash, TAG_BYTES);
    tally_buf_deinit(&text);
}

static void encode(struct tally_slice bytes, struct tally_buf *text)
{
    uint32_t bits = 0;
    unsigned count = 0;

    for (size_t i = 0; i < bytes.len; i++) {
        bits = bits << 8 | bytes.data[i];
        for (count += 8; count >= 6; count -= 6) {
            tally_buf_byte(text, (uint8_t)digits[bits >> (count - 6) & 63]);
        }
    }
    if (count > 0) {
        tally_buf_byte(text, (uint8_t)digits[bits << (6 - count) & 63]);
    }
}

/* Returns the number of bytes; 0: not base64url, or too long. */
static size_t decode(struct tally_slice text, uint8_t bytes[static SEALED_BYTES_MAX])
{
    uint32_t bits = 0;
    unsigned count = 0;
    size_t len = 0;

    for (size_t i = 0; i < text.len; i++) {
        const char *digit = text.data[i] ? strchr(digits, text.data[i]) : NULL;

        if (!digit) {
            return 0;
        }
        bits = bits << 6 | (uint32_t)(digit - digits);
        count += 6;
        if (count >= 8) {
            count -= 8;
            if (len == SEALED_BYTES_MAX) {
                return 0;
            }
            bytes[len++] = (uint8_t)(bits >> count);
        }
    }
    return len;
}

void cursor_seal(const struct cursor_key *key, struct tally_slice filter, struct tally_slice place,
        struct tally_buf *text)
{
    uint8_t sealed[SEALED_BYTES_MAX];

    tally_assert(place.len <= CURSOR_PLACE_BYTES_MAX);
    memcpy(sealed, place.data, place.len);
    make_tag(key, filter, place, sealed + place.len);
    encode(tally_slice_of(sealed, place.len + TAG_BYTES), text);
}

bool cursor_unseal(const struct cursor_key *key, struct tally_slice filter, struct tally_slice text,
        struct tally_buf *place)
{
    uint8_t sealed[SEALED_BYTES_MAX], tag[TAG_BYTES];
    size_t len = decode(text, sealed);
    struct tally_slice found;

    if (len < TAG_BYTES) {
        return false;
    }
    found = tally_slice_of(sealed, len - TAG_BYTES);
    make_tag(key, filter, found, tag);
    if (CRYPTO_memcmp(tag, sealed + found.len, TAG_BYTES) != 0) {
        return false;
    }
    tally_buf_slice(place, found);
    return true;
}
