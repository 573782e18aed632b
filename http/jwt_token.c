/* http/jwt_token.c - see jwt_token.h. libjwt takes the algorithm from the token: it is asked to
 * check only when that is the key's own. */
#include "http/jwt_token.h"

#include <jansson.h>
#include <jwt.h>
#include <openssl/err.h>
#include <stdlib.h>

enum { TRIES_MAX = 8 };

bool jwt_token_looks(struct tally_slice text)
{
    size_t dots = 0, part = 0;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i], letter = c | 0x20;

        if (c == '.' && part > 0) {
            dots++;
            part = 0;
        } else if ((letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                   c == '_') {
            part++;
        } else {
            return false;
        }
    }
    return dots == 2 && part > 0;
}

/* --- claims ----------------------------------------------------------------------------------- */

/* Seconds; fractions are cut. false: absent. *wrong: it is no number. */
static bool read_time(const json_t *claims, const char *name, int64_t *seconds, bool *wrong)
{
    const json_t *claim = json_object_get(claims, name);
    double value = json_number_value(claim);

    if (!claim) {
        return false;
    }
    if (!json_is_number(claim) || !(value >= 0 && value < 1e15)) {
        *wrong = true;
        return false;
    }
    *seconds = (int64_t)value;
    return true;
}

static const char *check_times(const json_t *claims, int64_t now_s, int64_t *expires_s)
{
    bool wrong = false;
    int64_t from_s = 0;

    if (!read_time(claims, "exp", expires_s, &wrong)) {
        return "the token has no time of expiry";
    }
    if (now_s >= *expires_s + JWT_TOKEN_SKEW_S) {
        return "the token has expired";
    }
    if (read_time(claims, "nbf", &from_s, &wrong) && now_s < from_s - JWT_TOKEN_SKEW_S) {
        return "the token is not good yet";
    }
    return wrong ? "a time of the token is none" : NULL;
}

/* Whether the text, or one of a list, is the one that is wanted. */
static bool holds(const json_t *claim, const char *wanted)
{
    const char *text = json_string_value(claim);
    const json_t *item;
    size_t i;

    if (text) {
        return strcmp(text, wanted) == 0;
    }
    json_array_foreach(claim, i, item)
    {
        text = json_string_value(item);
        if (text && strcmp(text, wanted) == 0) {
            return true;
        }
    }
    return false;
}

/* The member of that name; if there is none, the path of members that the dots divide. */
static const json_t *find_claim(const json_t *claims, const char *name)
{
    const json_t *found = json_object_get(claims, name);
    char part[256];

    while (!found && claims) {
        size_t len = strcspn(name, ".");

        if (len >= sizeof part) {
            return NULL;
        }
        memcpy(part, name, len);
        part[len] = '\0';
        claims = json_object_get(claims, part);
        if (!name[len]) {
            return claims;
        }
        name += len + 1;
    }
    return found;
}

static void raise_role(struct tally_slice text, enum role *role)
{
    enum role named;

    if (role_of(text, &named) && named > *role) {
        *role = named;
    }
}

/* The highest role that is named: in a list, or in a text whose words are divided by spaces, as in
 * `scope`. Other words belong to other services. */
static enum role read_role(const json_t *claim)
{
    const char *text = json_string_value(claim);
    enum role role = ROLE_NONE;
    const json_t *item;
    size_t i;

    json_array_foreach(claim, i, item)
    {
        raise_role(tally_slice_string(json_string_value(item)), &role);
    }
    while (text && *text) {
        size_t len = strcspn(text, " ");

        raise_role(tally_slice_of(text, len), &role);
        text += len + (text[len] ? 1 : 0);
    }
    return role;
}

static const char *check_claims(const json_t *claims, const struct jwt_rules *rules, int64_t now_s,
        struct principal *principal, int64_t *expires_s)
{
    const char *wrong = check_times(claims, now_s, expires_s);
    const char *issuer = json_string_value(json_object_get(claims, "iss"));

    if (wrong) {
        return wrong;
    }
    if (!issuer || strcmp(issuer, rules->issuer) != 0) {
        return "the token is of another issuer";
    }
    if (!holds(json_object_get(claims, "aud"), rules->audience)) {
        return "the token is for another audience";
    }
    if (!role_principal_set(principal,
                tally_slice_string(json_string_value(json_object_get(claims, "sub"))))) {
        return "the token has no subject of 1 to 128 bytes";
    }
    principal->role = read_role(find_claim(claims, rules->role_claim));
    principal->by = "jwt";
    return NULL;
}

/* --- the signature ---------------------------------------------------------------------------- */

/* Of a token that was read without a key the library forgets the algorithm, but not its header. */
static bool is_candidate(const struct jwt_key *key, jwt_t *unchecked)
{
    const char *id = jwt_get_header(unchecked, "kid");
    const char *algorithm = jwt_get_header(unchecked, "alg");

    return algorithm && strcmp(algorithm, jwt_keys_algorithm(key->algorithm)) == 0 &&
           (!id || !key->id || strcmp(id, key->id) == 0);
}

/* NULL: no key has signed it. */
static jwt_t *verify(const struct jwt_keys *keys, const char *text, jwt_t *unchecked)
{
    size_t tries = 0;

    for (size_t i = 0; i < keys->count && tries < TRIES_MAX; i++) {
        const struct jwt_key *key = &keys->items[i];
        jwt_t *checked = NULL;

        if (!is_candidate(key, unchecked)) {
            continue;
        }
        tries++;
        if (jwt_decode(&checked, text, key->pem.data, (int)key->pem.len) == 0 && checked &&
                jwt_get_alg(checked) ==
                        (key->algorithm == JWT_RS256 ? JWT_ALG_RS256 : JWT_ALG_ES256)) {
            return checked;
        }
        jwt_free(checked);
    }
    return NULL;
}

static const char *read_claims(jwt_t *token, const struct jwt_rules *rules, int64_t now_s,
        struct principal *principal, int64_t *expires_s)
{
    char *text = jwt_get_grants_json(token, NULL);
    json_t *claims = text ? json_loads(text, 0, NULL) : NULL;
    const char *wrong = "the claims of the token are no object";

    if (json_is_object(claims)) {
        wrong = check_claims(claims, rules, now_s, principal, expires_s);
    }
    json_decref(claims);
    free(text);
    return wrong;
}

const char *jwt_token_check(const struct jwt_keys *keys, const struct jwt_rules *rules,
        struct tally_slice token, int64_t now_s, struct principal *principal, int64_t *expires_s)
{
    char text[JWT_TOKEN_BYTES_MAX + 1];
    jwt_t *unchecked = NULL, *checked = NULL;
    const char *wrong = "the token cannot be read";
    char *critical = NULL;

    if (token.len > JWT_TOKEN_BYTES_MAX) {
        return "the token is over 8 KiB";
    }
    if (!jwt_token_looks(token)) {
        return wrong;
    }
    memcpy(text, token.data, token.len);
    text[token.len] = '\0';
    if (jwt_decode(&unchecked, text, NULL, 0) != 0)
        goto out;
    wrong = "the token asks for an extension that is not known";
    critical = jwt_get_headers_json(unchecked, "crit");
    if (critical)
        goto out;
    wrong = "no known key has signed the token";
    checked = verify(keys, text, unchecked);
    if (checked) {
        wrong = read_claims(checked, rules, now_s, principal, expires_s);
    }
out:
    free(critical);
    jwt_free(unchecked);
    jwt_free(checked);
    ERR_clear_error();
    return wrong;
}
