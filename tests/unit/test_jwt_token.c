/* test_jwt_token.c - tokens at the edges of their time, and what claims mean; signed here with the
 * library's other half. What others try is in tests/integration/test_auth.py. */
#include "http/jwt_token.h"

#include <check.h>
#include <jwt.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"

enum { NOW_S = 1800000000 };
static struct jwt_keys keys;
static char *private_pem;
static const struct jwt_rules rules = {"i", "tally", "role"}, nested = {"i", "tally", "a.b.c"};

static void make_key(void)
{
    EVP_PKEY *pair = EVP_EC_gen("P-256");
    BIO *secret = BIO_new(BIO_s_mem()), *open = BIO_new(BIO_s_mem());
    struct jwt_key *key = tally_alloc_zero(1, sizeof *key);
    char *text;
    long len;

    tally_assert(PEM_write_bio_PrivateKey(secret, pair, NULL, NULL, 0, NULL, NULL));
    tally_assert(PEM_write_bio_PUBKEY(open, pair));
    len = BIO_get_mem_data(secret, &text);
    private_pem = tally_copy_format("%.*s", (int)len, text);
    len = BIO_get_mem_data(open, &text);
    key->algorithm = JWT_ES256;
    tally_buf_init(&key->pem, 4096);
    tally_buf_append(&key->pem, text, (size_t)len);
    keys = (struct jwt_keys){key, 1};
    BIO_free(secret);
    BIO_free(open);
    EVP_PKEY_free(pair);
}

/* claims: more members of the object, in front of the usual ones. */
static const char *check(const char *more, const struct jwt_rules *with,
        struct principal *principal)
{
    char *claims =
            tally_copy_format("{%s\"iss\":\"i\",\"aud\":[\"x\",\"tally\"],\"sub\":\"me\"}", more);
    const char *wrong;
    int64_t expires_s = 0;
    char *text;
    jwt_t *token;

    ck_assert_int_eq(jwt_new(&token), 0);
    ck_assert_int_eq(jwt_add_grants_json(token, claims), 0);
    ck_assert_int_eq(jwt_set_alg(token, JWT_ALG_ES256, (const unsigned char *)private_pem,
                             (int)strlen(private_pem)),
            0);
    text = jwt_encode_str(token);
    ck_assert_ptr_nonnull(text);
    wrong = jwt_token_check(&keys, with, tally_slice_string(text), NOW_S, principal, &expires_s);
    free(text);
    jwt_free(token);
    tally_free(claims);
    return wrong;
}

static const struct {
    int64_t exp, nbf;
    const char *wrong;
} times[] = {
        {NOW_S + 1, 0, NULL},
        {NOW_S, 0, NULL},
        {NOW_S - 59, 0, NULL},
        {NOW_S - 60, 0, "the token has expired"},
        {0, 0, "the token has expired"},
        {NOW_S + 100, NOW_S, NULL},
        {NOW_S + 100, NOW_S + 60, NULL},
        {NOW_S + 100, NOW_S + 61, "the token is not good yet"},
};

START_TEST(knows_the_time)
{
    struct principal principal = {.by = ""};
    char more[100];
    const char *wrong;

    snprintf(more, sizeof more, "\"exp\":%lld,\"nbf\":%lld,", (long long)times[_i].exp,
            (long long)times[_i].nbf);
    wrong = check(more, &rules, &principal);
    ck_assert_str_eq(wrong ? wrong : "", times[_i].wrong ? times[_i].wrong : "");
}
END_TEST

#define GOOD "\"exp\":1800000100,"
static const struct {
    const char *more;
    bool nested;
    enum role role;
} roles[] = {
        {GOOD, false, ROLE_NONE},
        {GOOD "\"role\":\"writer\",", false, ROLE_WRITER},
        {GOOD "\"role\":\"none\",", false, ROLE_NONE},
        {GOOD "\"role\":\"WRITER\",", false, ROLE_NONE},
        {GOOD "\"role\":\"openid reader operator x\",", false, ROLE_OPERATOR},
        {GOOD "\"role\":[\"reader\",5,null,\"admin\"],", false, ROLE_ADMIN},
        {GOOD "\"role\":[[\"admin\"]],", false, ROLE_NONE},
        {GOOD "\"role\":{\"admin\":true},", false, ROLE_NONE},
        {GOOD "\"a\":{\"b\":{\"c\":\"reader\"}},", true, ROLE_READER},
        {GOOD "\"a.b.c\":\"writer\",\"a\":{\"b\":{\"c\":\"reader\"}},", true, ROLE_WRITER},
        {GOOD "\"a\":{\"b\":\"reader\"},", true, ROLE_NONE},
        {GOOD "\"a\":[\"reader\"],", true, ROLE_NONE},
};

START_TEST(finds_the_role)
{
    struct principal principal = {.by = ""};

    ck_assert_ptr_null(check(roles[_i].more, roles[_i].nested ? &nested : &rules, &principal));
    ck_assert_int_eq(principal.role, roles[_i].role);
    ck_assert_str_eq(principal.name, "me");
    ck_assert_str_eq(principal.by, "jwt");
}
END_TEST

START_TEST(looks_at_the_form)
{
    ck_assert(jwt_token_looks(TALLY_SLICE("a.b.c")));
    ck_assert(jwt_token_looks(TALLY_SLICE("Az09.-_.x")));
    ck_assert(!jwt_token_looks(TALLY_SLICE("a.b")));
    ck_assert(!jwt_token_looks(TALLY_SLICE("a.b.")));
    ck_assert(!jwt_token_looks(TALLY_SLICE(".b.c")));
    ck_assert(!jwt_token_looks(TALLY_SLICE("a..c")));
    ck_assert(!jwt_token_looks(TALLY_SLICE("a.b.c.d")));
    ck_assert(!jwt_token_looks(TALLY_SLICE("a.b.c=")));
    ck_assert(!jwt_token_looks(TALLY_SLICE("a.b.c\0")));
    ck_assert(!jwt_token_looks(TALLY_SLICE("")));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("jwt_token");
    TCase *tests = tcase_create("jwt_token");
    SRunner *runner = srunner_create(suite);
    int failed;

    make_key();
    tcase_add_loop_test(tests, knows_the_time, 0, (int)(sizeof times / sizeof *times));
    tcase_add_loop_test(tests, finds_the_role, 0, (int)(sizeof roles / sizeof *roles));
    tcase_add_test(tests, looks_at_the_form);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    jwt_keys_deinit(&keys);
    tally_free(private_pem);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
