/* http/jwt_keys.c - see jwt_keys.h. */
#include "http/jwt_keys.h"

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>

#include "engine/base/mem.h"
#include "http/key_file.h"

enum {
    RSA_BITS_MIN = 2048,
    RSA_BITS_MAX = 8192, /* above, one check takes too long */
    EC_COORDINATE_BYTES = 32,
    NUMBER_BYTES_MAX = RSA_BITS_MAX / 8,
    PEM_BYTES_MAX = 16 * 1024
};

const char *jwt_keys_algorithm(enum jwt_algorithm algorithm)
{
    return algorithm == JWT_RS256 ? "RS256" : "ES256";
}

/* --- a key, however it was written ------------------------------------------------------------ */

static const char *algorithm_of(EVP_PKEY *key, enum jwt_algorithm *algorithm)
{
    char group[32] = "";

    if (EVP_PKEY_is_a(key, "RSA")) {
        int bits = EVP_PKEY_get_bits(key);

        *algorithm = JWT_RS256;
        return bits < RSA_BITS_MIN   ? "an RSA key under 2048 bits"
               : bits > RSA_BITS_MAX ? "an RSA key over 8192 bits"
                                     : NULL;
    }
    if (EVP_PKEY_is_a(key, "EC")) {
        *algorithm = JWT_ES256;
        (void)EVP_PKEY_get_group_name(key, group, sizeof group, NULL);
        return strcmp(group, "prime256v1") == 0 ? NULL : "an EC key that is not on P-256";
    }
    return "a key that is neither RSA nor EC";
}

static bool write_pem(EVP_PKEY *key, struct tally_buf *pem)
{
    BIO *memory = BIO_new(BIO_s_mem());
    char *text = NULL;
    long len = 0;

    if (memory && PEM_write_bio_PUBKEY(memory, key)) {
        len = BIO_get_mem_data(memory, &text);
    }
    tally_buf_init(pem, PEM_BYTES_MAX);
    if (len > 0) {
        tally_buf_append(pem, text, (size_t)len);
    }
    BIO_free(memory);
    return pem->len > 0 && !pem->failed;
}

/* Takes the key over. NULL: it is added; else what it is instead of a key for tokens. */
static const char *add_key(struct jwt_keys *keys, EVP_PKEY *key, const char *id)
{
    struct jwt_key added = {.id = NULL};
    const char *wrong = algorithm_of(key, &added.algorithm);

    if (!wrong && keys->count == JWT_KEYS_MAX) {
        wrong = "one key too many: 64 are read";
    }
    if (!wrong && !write_pem(key, &added.pem)) {
        wrong = "a key that cannot be written as PEM";
    }
    EVP_PKEY_free(key);
    if (wrong) {
        tally_buf_deinit(&added.pem);
        return wrong;
    }
    added.id = id ? tally_copy_string(id) : NULL;
    keys->items[keys->count++] = added;
    return NULL;
}

/* --- PEM -------------------------------------------------------------------------------------- */

static enum tally_code load_pem(struct jwt_keys *keys, const char *path, struct tally_slice text,
        struct tally_error *err)
{
    BIO *memory = BIO_new_mem_buf(text.data, (int)text.len);
    size_t before = keys->count;
    const char *wrong = NULL;
    EVP_PKEY *key;

    if (memmem(text.data, text.len, "PRIVATE KEY-----", 16)) {
        wrong = "a private key: give the public one, openssl pkey -pubout";
    }
    while (!wrong && memory && (key = PEM_read_bio_PUBKEY(memory, NULL, NULL, NULL)) != NULL) {
        wrong = add_key(keys, key, NULL);
    }
    BIO_free(memory);
    ERR_clear_error();
    if (wrong) {
        return tally_error_set(err, TALLY_CONFIG, "file \"%.120s\" holds %s", path, wrong);
    }
    if (keys->count == before) {
        return tally_error_set(err, TALLY_CONFIG,
                "file \"%.120s\" holds neither a public key in PEM nor a JWKS", path);
    }
    return TALLY_OK;
}

/* --- JWKS ------------------------------------------------------------------------------------- */

/* Bytes of a base64url member; 0: there is none, or it is none. */
static size_t read_number(const json_t *item, const char *name,
        uint8_t bytes[static NUMBER_BYTES_MAX])
{
    static const char letters[] =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *text = json_string_value(json_object_get(item, name));
    uint32_t bits = 0;
    unsigned count = 0;
    size_t len = 0;

    for (; text && *text; text++) {
        const char *letter = strchr(letters, *text);

        if (!letter) {
            return 0;
        }
        bits = bits << 6 | (uint32_t)(letter - letters);
        count += 6;
        if (count >= 8) {
            count -= 8;
            if (len == NUMBER_BYTES_MAX) {
                return 0;
            }
            bytes[len++] = (uint8_t)(bits >> count);
        }
    }
    return len;
}

static EVP_PKEY *make_key(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *key = NULL;

    if (!ctx || !params || EVP_PKEY_fromdata_init(ctx) <= 0 ||
            EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) <= 0) {
        key = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

static EVP_PKEY *make_rsa(const json_t *item)
{
    uint8_t modulus[NUMBER_BYTES_MAX], exponent[NUMBER_BYTES_MAX];
    size_t modulus_len = read_number(item, "n", modulus);
    size_t exponent_len = read_number(item, "e", exponent);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    BIGNUM *n = BN_bin2bn(modulus, (int)modulus_len, NULL);
    BIGNUM *e = BN_bin2bn(exponent, (int)exponent_len, NULL);
    EVP_PKEY *key = NULL;

    if (builder && n && e && modulus_len > 0 && exponent_len > 0 &&
            OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) &&
            OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e)) {
        key = make_key("RSA", OSSL_PARAM_BLD_to_param(builder));
    }
    BN_free(n);
    BN_free(e);
    OSSL_PARAM_BLD_free(builder);
    return key;
}

static EVP_PKEY *make_ec(const json_t *item)
{
    const char *curve = json_string_value(json_object_get(item, "crv"));
    uint8_t x[NUMBER_BYTES_MAX], y[NUMBER_BYTES_MAX], point[1 + 2 * EC_COORDINATE_BYTES];
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;

    if (builder && curve && strcmp(curve, "P-256") == 0 &&
            read_number(item, "x", x) == EC_COORDINATE_BYTES &&
            read_number(item, "y", y) == EC_COORDINATE_BYTES) {
        point[0] = POINT_CONVERSION_UNCOMPRESSED;
        memcpy(point + 1, x, EC_COORDINATE_BYTES);
        memcpy(point + 1 + EC_COORDINATE_BYTES, y, EC_COORDINATE_BYTES);
        if (OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) &&
                OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point,
                        sizeof point)) {
            key = make_key("EC", OSSL_PARAM_BLD_to_param(builder));
        }
    }
    OSSL_PARAM_BLD_free(builder);
    return key;
}

/* A JWKS may hold keys for other purposes and of other kinds; they are none of ours. */
static bool is_meant(const json_t *item, const char *algorithm)
{
    const char *use = json_string_value(json_object_get(item, "use"));
    const char *said = json_string_value(json_object_get(item, "alg"));

    return (!use || strcmp(use, "sig") == 0) && (!said || strcmp(said, algorithm) == 0);
}

static const char *add_item(struct jwt_keys *keys, const json_t *item)
{
    const char *type = json_string_value(json_object_get(item, "kty"));
    const char *id = json_string_value(json_object_get(item, "kid"));
    const char *curve = json_string_value(json_object_get(item, "crv"));
    bool rsa = type && strcmp(type, "RSA") == 0;
    bool ec = type && strcmp(type, "EC") == 0 && curve && strcmp(curve, "P-256") == 0;
    EVP_PKEY *key;

    if (json_object_get(item, "d") || json_object_get(item, "k")) {
        return "a private key: give the public ones";
    }
    if (!(rsa || ec) || !is_meant(item, rsa ? "RS256" : "ES256")) {
        return NULL;
    }
    key = rsa ? make_rsa(item) : make_ec(item);
    return key ? add_key(keys, key, id) : "a key whose numbers are none";
}

static enum tally_code load_jwks(struct jwt_keys *keys, const char *path, struct tally_slice text,
        struct tally_error *err)
{
    json_error_t where = {.line = 0};
    json_t *document =
            json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, &where);
    const json_t *list = json_object_get(document, "keys"), *item;
    size_t before = keys->count, i;
    enum tally_code code = TALLY_OK;

    if (!document) {
        code = tally_error_set(err, TALLY_CONFIG, "%.100s:%d: no JSON: %.80s", path, where.line,
                where.text);
    } else if (!json_is_array(list)) {
        code = tally_error_set(err, TALLY_CONFIG,
                "file \"%.120s\" is no JWKS: it has no list \"keys\"", path);
    }
    json_array_foreach(list, i, item)
    {
        const char *wrong = code ? NULL : add_item(keys, item);

        if (wrong) {
            code = tally_error_set(err, TALLY_CONFIG, "file \"%.120s\": keys[%zu] is %s", path, i,
                    wrong);
        }
    }
    if (!code && keys->count == before) {
        code = tally_error_set(err, TALLY_CONFIG,
                "file \"%.120s\" has no key for RS256 or ES256 signatures", path);
    }
    json_decref(document);
    ERR_clear_error();
    return code;
}

/* --- files ------------------------------------------------------------------------------------ */

static enum tally_code load_file(struct jwt_keys *keys, const char *path, struct tally_error *err)
{
    struct tally_buf content;
    struct tally_slice text;
    size_t space = 0;
    enum tally_code code;

    tally_buf_init(&content, 2 * KEY_FILE_BYTES_MAX);
    code = key_file_read(path, KEY_FILE_PUBLIC, &content, err);
    text = tally_buf_bytes(&content);
    while (space < text.len && strchr(" \t\r\n", text.data[space])) {
        space++;
    }
    if (!code) {
        code = space < text.len && text.data[space] == '{' ? load_jwks(keys, path, text, err)
                                                           : load_pem(keys, path, text, err);
    }
    tally_buf_deinit(&content);
    return code;
}

enum tally_code jwt_keys_load(struct jwt_keys *keys, const struct tally_config_list *paths,
        struct tally_error *err)
{
    enum tally_code code = TALLY_OK;

    *keys = (struct jwt_keys){.items = tally_alloc_zero(JWT_KEYS_MAX, sizeof *keys->items)};
    for (size_t i = 0; i < paths->count && !code; i++) {
        code = load_file(keys, paths->items[i], err);
    }
    if (code) {
        jwt_keys_deinit(keys);
    }
    return code;
}

void jwt_keys_deinit(struct jwt_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        tally_free(keys->items[i].id);
        tally_buf_deinit(&keys->items[i].pem);
    }
    tally_free(keys->items);
    *keys = (struct jwt_keys){0};
}
