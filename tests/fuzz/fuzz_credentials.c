/* tests/fuzz/fuzz_credentials.c - any bytes as what clients and operators give: the first byte says
 * whether the rest is a token, a file of public keys or a file of keys of programs. No token is
 * good, as nobody here can sign; a file is read or refused, with a message. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "http/api_keys.h"
#include "http/jwt_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char rsa[] = "-----BEGIN PUBLIC KEY-----\n"
                          "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA7M2lNWfmHXn9PZHCSYYh\n"
                          "pempHdoG5Ub0WeWKDX4HSXCESPbzYruY9BTssPVNOX5wv+S0rZnUxmFl9Z/6j8tG\n"
                          "3TOJRKd6cSnkymASpJriBUxGRg/YQRvHB5u4it0cxvVwi51dXbF502d7hsrbcCMp\n"
                          "kLRbPPneMi0f+JwiHFsuERw//eM/P/VL2WgXEOtug98CwpxtDDCt92gbYJlpr+zZ\n"
                          "2gEE3Rm7SK4AJNUT5JP0G1pRzdJgPTBEjm0cepoPsnyBoCiZCJBLsQGmQbKfoIRl\n"
                          "VfDWNMt/JpgKRGfh1ajGZXPJxUdWuHj79wbdUHUF80ido518uqRboCO3aa7SiVrD\n"
                          "uQIDAQAB\n"
                          "-----END PUBLIC KEY-----\n";
static const char ec[] = "-----BEGIN PUBLIC KEY-----\n"
                         "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExelL6n0rumrz8Hvsc2sA7l8g1jO4\n"
                         "wlmN0tZ74hLWy+bsU/MMQwsDcKGyn/NfwAjHwU3D2vjAzmuGl2dmj0Nw3w==\n"
                         "-----END PUBLIC KEY-----\n";

static struct jwt_keys good;

static void add(enum jwt_algorithm algorithm, const char *id, const char *pem)
{
    struct jwt_key *key = &good.items[good.count++];

    key->algorithm = algorithm;
    key->id = id ? tally_copy_string(id) : NULL;
    tally_buf_init(&key->pem, 4096);
    tally_buf_string(&key->pem, pem);
}

static void check_token(struct tally_slice token)
{
    const struct jwt_rules rules = {"i", "tally", "a.role"};
    struct principal principal = {.by = ""};
    int64_t expires_s = 0;

    tally_assert(jwt_token_check(&good, &rules, token, 1800000000, &principal, &expires_s));
    tally_assert(principal.role == ROLE_NONE && !principal.name[0]);
}

static void read_file(bool programs, struct tally_slice text)
{
    char path[40];
    char *paths[] = {path};
    const struct tally_config_list list = {paths, 1};
    int fd = memfd_create("keys", MFD_CLOEXEC);
    struct api_keys keys;
    struct jwt_keys tokens;
    struct tally_error err = {.message = ""};

    tally_assert(fd >= 0 && fchmod(fd, 0600) == 0);
    tally_assert(write(fd, text.data, text.len) == (ssize_t)text.len);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (programs) {
        tally_assert(api_keys_load(&keys, path, &err) == TALLY_OK || err.message[0]);
        api_keys_deinit(&keys);
    } else {
        tally_assert(jwt_keys_load(&tokens, &list, &err) == TALLY_OK || err.message[0]);
        jwt_keys_deinit(&tokens);
    }
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tally_slice rest;

    if (!good.items) {
        good.items = tally_alloc_zero(JWT_KEYS_MAX, sizeof *good.items);
        add(JWT_RS256, NULL, rsa);
        add(JWT_RS256, "one", rsa);
        add(JWT_ES256, NULL, ec);
    }
    if (size == 0) {
        return 0;
    }
    rest = tally_slice_of(data + 1, size - 1);
    if (data[0] == 't') {
        check_token(rest);
    } else {
        read_file(data[0] == 'k', rest);
    }
    return 0;
}
