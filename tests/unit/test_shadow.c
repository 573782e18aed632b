/* tests/unit/test_shadow.c - the directory of a replay (apps/shadow.c): (1) one that is not empty
 * is taken only with its file; (2) none is taken that is an instance's, lies in it, or above it, by
 * whatever name; (3) what it holds is read as it was written. And its hash (schemas/digest.c). */
#include "apps/shadow.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schemas/digest.h"

static char root[64], state[96];
static struct shadow shadow;
static struct tally_error err;

static void setup(void)
{
    (void)snprintf(root, sizeof root, "/tmp/tally-shadow-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    (void)snprintf(state, sizeof state, "%s/state", root);
    ck_assert_int_eq(mkdir(state, 0755), 0);
}

static void teardown(void)
{
    char command[128];

    (void)snprintf(command, sizeof command, "rm -r %s", root);
    ck_assert_int_eq(system(command), 0);
}

static enum tally_code look(const char *below, const char *of_state)
{
    char path[160];

    (void)snprintf(path, sizeof path, "%s/%s", root, below);
    return shadow_open(&shadow, path, of_state, &err);
}

static void expect(const char *below, const char *of_state, enum tally_code code, const char *says)
{
    ck_assert_int_eq(look(below, of_state), code);
    shadow_deinit(&shadow);
    ck_assert_msg(!says || strstr(err.message, says), "\"%s\" lacks \"%s\"", err.message,
            says ? says : "");
}

START_TEST(test_place)
{
    char link_path[96], absent[96];

    (void)snprintf(link_path, sizeof link_path, "%s/link", root);
    (void)snprintf(absent, sizeof absent, "%s/absent/state", root);
    ck_assert_int_eq(symlink(state, link_path), 0);
    expect("new", state, TALLY_OK, NULL);
    expect("state", state, TALLY_CONFIG, "is in state.dir");
    expect("state/below", state, TALLY_CONFIG, "as in --into /tmp/shadow");
    expect("new/../state/a/b", state, TALLY_OK, NULL); /* there is no new/.. yet */
    expect("link", state, TALLY_CONFIG, "is in state.dir");
    expect("link/below/", state, TALLY_CONFIG, "is in state.dir");
    expect("state/../state/", state, TALLY_CONFIG, "is in state.dir");
    expect("state-1", state, TALLY_OK, NULL);
    expect("", state, TALLY_CONFIG, "name a directory apart from it");
    expect("absent", absent, TALLY_CONFIG, "name a directory apart from it");
    expect("absent/state/x", absent, TALLY_CONFIG, "is in state.dir");
    expect("absent/state-2", absent, TALLY_OK, NULL);
}
END_TEST

static void write_text(const char *below, const char *text)
{
    char path[160];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%s", root, below);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(test_not_empty)
{
    char path[96];

    (void)snprintf(path, sizeof path, "%s/d", root);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    expect("d", state, TALLY_OK, NULL);
    write_text("d/notes", "mine");
    expect("d", state, TALLY_CONFIG, "is not empty, and no replay to go on with");
    expect("d/notes", state, TALLY_CONFIG, "Not a directory");
}
END_TEST

START_TEST(test_file)
{
    static const char *const wrong[] = {"", "tally replay 2\n", "tally replay 1\nstock\n",
            "tally replay 1\nstock 0 start\n", "tally replay 1\nstock x start -\n",
            "tally replay 1\nstock 0 start - 7\n", "tally replay 1\nstock 0 -1 -\n"};
    const struct shadow_part *part;
    char path[96];

    ck_assert_int_eq(look("d", state), TALLY_OK);
    ck_assert(shadow.absent);
    shadow_add(&shadow, "stock", 2, -1)->next = 1201;
    (void)shadow_add(&shadow, "catalogue", 0, 17);
    ck_assert_int_eq(shadow_save(&shadow, &err), TALLY_OK);
    shadow_deinit(&shadow);
    ck_assert_int_eq(look("d", state), TALLY_OK);
    ck_assert(!shadow.absent);
    ck_assert_uint_eq(shadow.count, 2);
    ck_assert_ptr_null(shadow_find(&shadow, "stock", 0));
    part = shadow_find(&shadow, "stock", 2);
    ck_assert_ptr_nonnull(part);
    ck_assert_int_eq(part->from, -1);
    ck_assert_int_eq(part->next, 1201);
    part = shadow_find(&shadow, "catalogue", 0);
    ck_assert_ptr_nonnull(part);
    ck_assert_int_eq(part->from, 17);
    ck_assert_int_eq(part->next, -1);
    shadow_deinit(&shadow);
    (void)snprintf(path, sizeof path, "d/%s", SHADOW_FILE);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        write_text(path, wrong[i]);
        expect("d", state, TALLY_CONFIG, "is not what tally replay writes");
    }
}
END_TEST

START_TEST(test_digest)
{
    struct tally_digest *digest = tally_digest_create();
    char text[TALLY_DIGEST_LEN + 1];

    tally_digest_read(digest, text);
    ck_assert_str_eq(text, "99aa06d3014798d86001c324468d497f"); /* of xxh128sum */
    tally_digest_add(digest, TALLY_SLICE("{\"topology\":"));
    tally_digest_add(digest, TALLY_NONE);
    tally_digest_add(digest, TALLY_SLICE("\"stock\"}\n"));
    tally_digest_read(digest, text);
    ck_assert_str_eq(text, "66cba16b1b744da5ac43132a2e31686f");
    tally_digest_destroy(digest);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shadow");
    TCase *cases = tcase_create("shadow");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, test_place);
    tcase_add_test(cases, test_not_empty);
    tcase_add_test(cases, test_file);
    tcase_add_test(cases, test_digest);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
