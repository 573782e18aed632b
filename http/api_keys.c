/* http/api_keys.c - see api_keys.h. */
#include "http/api_keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/random.h>

#include "engine/base/mem.h"
#include "http/key_file.h"

enum { HASH_BYTES = 32, SECRET_BYTES = 32, FINGERPRINT_DIGITS = 12 };
#define HASH_PREFIX "sha256:"

struct api_key {
    uint8_t hash[HASH_BYTES];
    enum role role;
    char name[API_KEYS_NAME_MAX + 1];
};

static void hash_of(struct tally_slice text, uint8_t hash[static HASH_BYTES])
{
    unsigned len = 0;

    tally_assert(EVP_Digest(text.data, text.len, hash, &len, EVP_sha256(), NULL));
    tally_assert(len == HASH_BYTES);
}

bool api_keys_name_valid(struct tally_slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i], letter = c | 0x20;

        if (!(letter >= 'a' && letter <= 'z') && !(c >= '0' && c <= '9') &&
                !(c && strchr("._:@-", c))) {
            return false;
        }
    }
    return name.len > 0 && name.len <= API_KEYS_NAME_MAX;
}

/* --- the file --------------------------------------------------------------------------------- */

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static struct tally_slice next_word(struct tally_slice *rest)
{
    struct tally_slice word;
    size_t len = 0;

    while (rest->len > 0 && is_space(rest->data[0])) {
        *rest = tally_slice_of(rest->data + 1, rest->len - 1);
    }
    while (len < rest->len && !is_space(rest->data[len])) {
        len++;
    }
    word = tally_slice_of(rest->data, len);
    *rest = tally_slice_of(rest->data + len, rest->len - len);
    return word;
}

static bool read_hash(struct tally_slice word, uint8_t hash[static HASH_BYTES])
{
    size_t skip = sizeof HASH_PREFIX - 1;

    if (!tally_slice_starts(word, TALLY_SLICE(HASH_PREFIX)) || word.len != skip + 2 * HASH_BYTES) {
        return false;
    }
    for (size_t i = 0; i < 2 * HASH_BYTES; i++) {
        uint8_t c = word.data[skip + i], letter = c | 0x20;
        unsigned value = c >= '0' && c <= '9' ? (unsigned)(c - '0') : (unsigned)(letter - 'a' + 10);

        if (!(c >= '0' && c <= '9') && !(letter >= 'a' && letter <= 'f')) {
            return false;
        }
        hash[i / 2] = (uint8_t)((unsigned)hash[i / 2] << 4 | value);
    }
    return true;
}

/* NULL: the line is a key. Never says what the line holds: it may be a key that someone pasted. */
static const char *read_key(struct tally_slice line, struct api_key *key)
{
    struct tally_slice name = next_word(&line), role = next_word(&line), hash = next_word(&line);

    if (!api_keys_name_valid(name)) {
        return "expected a name of 1 to 64 of A-Z a-z 0-9 . _ : @ - first";
    }
    if (!role_of(role, &key->role)) {
        return "expected reader, writer, operator or admin behind the name";
    }
    if (!read_hash(hash, key->hash)) {
        return "expected sha256: and 64 hex digits behind the role, as `tally keys new` prints "
               "them";
    }
    if (next_word(&line).len > 0) {
        return "expected nothing behind the hash";
    }
    memcpy(key->name, name.data, name.len);
    key->name[name.len] = '\0';
    return NULL;
}

static const char *add_line(struct api_keys *keys, struct tally_slice line)
{
    struct api_key *key = &keys->items[keys->count];
    struct tally_slice rest = line, word = next_word(&rest);
    const char *wrong;

    if (word.len == 0 || word.data[0] == '#') {
        return NULL;
    }
    if (keys->count == API_KEYS_MAX) {
        return "there are 1000 keys already";
    }
    wrong = read_key(line, key);
    for (size_t i = 0; i < keys->count && !wrong; i++) {
        if (memcmp(keys->items[i].hash, key->hash, HASH_BYTES) == 0) {
            wrong = "the same key has a line already";
        }
    }
    keys->count += wrong ? 0 : 1;
    return wrong;
}

enum tally_code api_keys_load(struct api_keys *keys, const char *path, struct tally_error *err)
{
    struct tally_buf content;
    struct tally_slice rest;
    size_t number = 0;
    enum tally_code code;

    *keys = (struct api_keys){.items = tally_alloc_zero(API_KEYS_MAX + 1, sizeof *keys->items)};
    tally_buf_init(&content, 2 * KEY_FILE_BYTES_MAX);
    code = key_file_read(path, KEY_FILE_SECRET, &content, err);
    for (rest = tally_buf_bytes(&content); !code && rest.len > 0;) {
        const uint8_t *end = memchr(rest.data, '\n', rest.len);
        size_t len = end ? (size_t)(end - rest.data) : rest.len;
        const char *wrong = add_line(keys, tally_slice_of(rest.data, len));

        number++;
        if (wrong) {
            code = tally_error_set(err, TALLY_CONFIG, "%.120s:%zu: %s", path, number, wrong);
        }
        rest = tally_slice_of(rest.data + len + (end ? 1 : 0), rest.len - len - (end ? 1 : 0));
    }
    if (content.data) {
        OPENSSL_cleanse(content.data, content.len);
    }
    tally_buf_deinit(&content);
    if (code) {
        api_keys_deinit(keys);
    }
    return code;
}

void api_keys_deinit(struct api_keys *keys)
{
    tally_free(keys->items);
    *keys = (struct api_keys){0};
}

/* --- looking up ------------------------------------------------------------------------------- */

bool api_keys_find(const struct api_keys *keys, struct tally_slice text,
        struct principal *principal)
{
    const struct api_key *found = NULL;
    uint8_t hash[HASH_BYTES];

    if (text.len != API_KEYS_LEN || !tally_slice_starts(text, TALLY_SLICE(API_KEYS_PREFIX))) {
        return false;
    }
    hash_of(text, hash);
    for (size_t i = 0; i < keys->count; i++) {
        if (CRYPTO_memcmp(keys->items[i].hash, hash, HASH_BYTES) == 0) {
            found = &keys->items[i]; /* and on, so that all take the same time */
        }
    }
    if (!found) {
        return false;
    }
    principal->role = found->role;
    principal->by = "key";
    return role_principal_set(principal, tally_slice_string(found->name));
}

static void write_hex(const uint8_t *bytes, size_t digits, char *text)
{
    for (size_t i = 0; i < digits; i++) {
        text[i] = "0123456789abcdef"[i % 2 ? bytes[i / 2] & 15 : bytes[i / 2] >> 4];
    }
    text[digits] = '\0';
}

const char *api_keys_at(const struct api_keys *keys, size_t index, enum role *role,
        char fingerprint[static 13])
{
    const struct api_key *key = &keys->items[index];

    *role = key->role;
    write_hex(key->hash, FINGERPRINT_DIGITS, fingerprint);
    return key->name;
}

/* --- making ----------------------------------------------------------------------------------- */

enum tally_code api_keys_make(const char *name, enum role role, char key[static API_KEYS_LEN + 1],
        char line[static API_KEYS_LINE_MAX], struct tally_error *err)
{
    static const char letters[] =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t secret[SECRET_BYTES + 1] = {0}, hash[HASH_BYTES];
    size_t skip = sizeof API_KEYS_PREFIX - 1;
    char hex[2 * HASH_BYTES + 1];

    if (getrandom(secret, SECRET_BYTES, 0) != SECRET_BYTES) {
        return tally_error_set(err, TALLY_SYSTEM, "no random bytes for a key");
    }
    memcpy(key, API_KEYS_PREFIX, skip);
    for (size_t i = 0; i < API_KEYS_LEN - skip; i++) {
        size_t bit = 6 * i;
        unsigned two = (unsigned)(secret[bit / 8] << 8 | secret[bit / 8 + 1]);

        key[skip + i] = letters[two >> (10 - bit % 8) & 63];
    }
    key[API_KEYS_LEN] = '\0';
    hash_of(tally_slice_string(key), hash);
    write_hex(hash, 2 * HASH_BYTES, hex);
    (void)snprintf(line, API_KEYS_LINE_MAX, "%s %s " HASH_PREFIX "%s", name, role_name(role), hex);
    OPENSSL_cleanse(secret, sizeof secret);
    return TALLY_OK;
}
