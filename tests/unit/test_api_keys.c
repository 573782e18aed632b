/* test_api_keys.c - keys of programs: made, in a file, found again. */
#include "http/api_keys.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[] = "/tmp/test_api_keys_XXXXXX";

static void write_file(const char *text, mode_t mode)
{
    FILE *file = fopen(path, "we");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod(path, mode), 0);
}

static void make(const char *name, enum role role, char key[static API_KEYS_LEN + 1],
        char line[static API_KEYS_LINE_MAX])
{
    struct tally_error err;

    ck_assert_int_eq(api_keys_make(name, role, key, line, &err), TALLY_OK);
    ck_assert_uint_eq(strlen(key), API_KEYS_LEN);
    ck_assert_ptr_null(strstr(line, key));
}

START_TEST(finds_what_was_made)
{
    char first[API_KEYS_LEN + 1], second[API_KEYS_LEN + 1], line[API_KEYS_LINE_MAX];
    char text[4 * API_KEYS_LINE_MAX], fingerprint[13];
    struct principal principal = {.by = ""};
    struct api_keys keys;
    struct tally_error err;
    enum role role;
    size_t len;

    make("shop", ROLE_WRITER, first, line);
    len = (size_t)snprintf(text, sizeof text, "# comment\n\n  %s \r\n", line);
    make("shop", ROLE_READER, second, line);
    snprintf(text + len, sizeof text - len, "%s", line); /* without an end of line */
    ck_assert_str_ne(first, second);
    write_file(text, 0600);
    ck_assert_int_eq(api_keys_load(&keys, path, &err), TALLY_OK);
    ck_assert_uint_eq(keys.count, 2);
    ck_assert(api_keys_find(&keys, tally_slice_string(first), &principal));
    ck_assert_int_eq(principal.role, ROLE_WRITER);
    ck_assert_str_eq(principal.name, "shop");
    ck_assert_str_eq(principal.by, "key");
    ck_assert(api_keys_find(&keys, tally_slice_string(second), &principal));
    ck_assert_int_eq(principal.role, ROLE_READER);
    ck_assert_str_eq(api_keys_at(&keys, 1, &role, fingerprint), "shop");
    ck_assert_uint_eq(strlen(fingerprint), 12);
    for (size_t i = 0; i < API_KEYS_LEN; i++) {
        first[i] ^= 1;
        ck_assert(!api_keys_find(&keys, tally_slice_string(first), &principal));
        first[i] ^= 1;
    }
    ck_assert(!api_keys_find(&keys, tally_slice_of(first, API_KEYS_LEN - 1), &principal));
    ck_assert(!api_keys_find(&keys, TALLY_SLICE(""), &principal));
    api_keys_deinit(&keys);
}
END_TEST

#define HASH "sha256:00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"
static const struct {
    const char *text, *wrong;
    mode_t mode;
} files[] = {
        {"shop writer " HASH "\n", NULL, 0600},
        {"shop writer " HASH "\n", NULL, 0440},
        {"shop writer " HASH "\n", "is open to others (mode 0644)", 0644},
        {"shop writer " HASH "\n", "is open to others (mode 0620)", 0620},
        {"# none\n", NULL, 0600},
        {"", "is empty", 0600},
        {"\nsh op writer " HASH "\n", ":2: expected reader, writer, operator or admin", 0600},
        {"shop none " HASH "\n", ":1: expected reader, writer, operator or admin", 0600},
        {"shop Writer " HASH "\n", ":1: expected reader, writer, operator or admin", 0600},
        {"sh/op writer " HASH "\n", ":1: expected a name", 0600},
        {"shop writer\n", ":1: expected sha256: and 64 hex digits", 0600},
        {"shop writer " HASH "0\n", ":1: expected sha256: and 64 hex digits", 0600},
        {"shop writer md5:00\n", ":1: expected sha256: and 64 hex digits", 0600},
        {"shop writer " HASH " x\n", ":1: expected nothing behind the hash", 0600},
        {"a reader " HASH "\nb admin " HASH "\n", ":2: the same key has a line", 0600},
};

START_TEST(reads_files)
{
    struct api_keys keys;
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code;

    write_file(files[_i].text, files[_i].mode);
    code = api_keys_load(&keys, path, &err);
    if (files[_i].wrong) {
        ck_assert_int_eq(code, TALLY_CONFIG);
        ck_assert_msg(strstr(err.message, files[_i].wrong) && strstr(err.message, path), "%s",
                err.message);
    } else {
        ck_assert_msg(code == TALLY_OK, "%s", err.message);
        api_keys_deinit(&keys);
    }
}
END_TEST

START_TEST(knows_what_is_no_file)
{
    struct api_keys keys;
    struct tally_error err;

    ck_assert_int_eq(api_keys_load(&keys, "/nowhere/keys", &err), TALLY_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "could not open file \"/nowhere/keys\""));
    ck_assert_int_eq(api_keys_load(&keys, "/tmp", &err), TALLY_CONFIG);
    ck_assert_str_eq(err.message, "\"/tmp\" is not a file");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api_keys");
    TCase *tests = tcase_create("api_keys");
    SRunner *runner = srunner_create(suite);
    int fd = mkstemp(path), failed;

    tally_assert(fd >= 0);
    close(fd);
    tcase_add_test(tests, finds_what_was_made);
    tcase_add_loop_test(tests, reads_files, 0, (int)(sizeof files / sizeof *files));
    tcase_add_test(tests, knows_what_is_no_file);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    unlink(path);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
