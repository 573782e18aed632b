/* tests/topology/test_cases.c - every transcript in cases/ is what comes out today, letter
 * by letter. UPDATE_CASES=1 writes the files anew: read the difference before committing. */
#include <check.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/topology/case_runner.h"

#define FILE_MAX_BYTES (4 * 1024 * 1024)
#define CASES          "tests/topology/cases/*.txt"

static glob_t files;

static void read_file(const char *path, struct tally_buf *into)
{
    FILE *file = fopen(path, "rb");
    uint8_t chunk[4096];
    size_t len;

    ck_assert_msg(file != NULL, "%s cannot be read", path);
    while ((len = fread(chunk, 1, sizeof chunk, file)) > 0) {
        tally_buf_append(into, chunk, len);
    }
    fclose(file);
    ck_assert(!into->failed);
}

static void write_file(const char *path, const struct tally_buf *from)
{
    FILE *file = fopen(path, "wb");

    ck_assert_msg(file != NULL, "%s cannot be written", path);
    ck_assert_uint_eq(fwrite(from->data, 1, from->len, file), from->len);
    ck_assert_int_eq(fclose(file), 0);
}

/* Shows the first line that differs. */
static void compare(const char *path, struct tally_buf *expected, struct tally_buf *actual)
{
    char *expected_at, *actual_at, *expected_line, *actual_line;
    int line = 1;

    tally_buf_byte(expected, 0);
    tally_buf_byte(actual, 0);
    expected_at = (char *)expected->data;
    actual_at = (char *)actual->data;
    do {
        expected_line = strsep(&expected_at, "\n");
        actual_line = strsep(&actual_at, "\n");
        ck_assert_msg(expected_line && actual_line && !strcmp(expected_line, actual_line),
                "%s:%d\nexpected %s\nactual   %s", path, line,
                expected_line ? expected_line : "(end)", actual_line ? actual_line : "(end)");
        line++;
    } while (expected_at || actual_at);
}

START_TEST(a_transcript_is_what_comes_out)
{
    const char *path = files.gl_pathv[_i];
    struct tally_buf script, actual;

    tally_buf_init(&script, FILE_MAX_BYTES);
    tally_buf_init(&actual, FILE_MAX_BYTES);
    read_file(path, &script);
    case_runner_transcribe(tally_buf_bytes(&script), &actual);
    ck_assert(!actual.failed);
    if (getenv("UPDATE_CASES")) {
        write_file(path, &actual);
    } else {
        compare(path, &script, &actual);
    }
    tally_buf_deinit(&script);
    tally_buf_deinit(&actual);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cases");
    TCase *tcase = tcase_create("transcripts");
    SRunner *runner;
    int failed;

    if (glob(CASES, 0, NULL, &files) != 0) {
        fprintf(stderr, "no case files at %s\n", CASES);
        return EXIT_FAILURE;
    }
    tcase_add_loop_test(tcase, a_transcript_is_what_comes_out, 0, (int)files.gl_pathc);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    globfree(&files);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
