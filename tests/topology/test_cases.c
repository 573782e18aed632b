/* tests/topology/test_cases.c - every transcript in cases/, and every example of docs/domain.md, is
 * what comes out today, letter by letter. UPDATE_CASES=1 writes the files anew: read the difference
 * before committing. */
#include <check.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/topology/case_runner.h"

#define FILE_MAX_BYTES (4 * 1024 * 1024)
#define CASES          "tests/topology/cases/*.txt"
#define DOCUMENT       "docs/domain.md"
#define EXAMPLE        "```transcript\n"
#define EXAMPLE_END    "```\n"
#define NEXT_EXAMPLE   "# the next example\n"

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

static void update_or_compare(const char *path, struct tally_buf *expected,
        struct tally_buf *actual)
{
    ck_assert(!actual->failed);
    if (getenv("UPDATE_CASES")) {
        write_file(path, actual);
    } else {
        compare(path, expected, actual);
    }
}

START_TEST(a_transcript_is_what_comes_out)
{
    const char *path = files.gl_pathv[_i];
    struct tally_buf script, actual;

    tally_buf_init(&script, FILE_MAX_BYTES);
    tally_buf_init(&actual, FILE_MAX_BYTES);
    read_file(path, &script);
    case_runner_transcribe(tally_buf_bytes(&script), &actual);
    update_or_compare(path, &script, &actual);
    tally_buf_deinit(&script);
    tally_buf_deinit(&actual);
}
END_TEST

/* What stands up to the mark, which is passed; data NULL: there is no mark. */
static struct tally_slice up_to(struct tally_slice *rest, const char *mark)
{
    size_t len = strlen(mark);
    const uint8_t *found = memmem(rest->data, rest->len, mark, len);
    struct tally_slice before = TALLY_NONE;

    if (found) {
        before = tally_slice_of(rest->data, (size_t)(found - rest->data));
        *rest = tally_slice_of(found + len, rest->len - before.len - len);
    }
    return before;
}

/* The examples of the document one after the other: each goes on where the one before it ended. */
static void collect_examples(struct tally_slice document, struct tally_buf *script)
{
    while (up_to(&document, EXAMPLE).data) {
        tally_buf_slice(script, up_to(&document, EXAMPLE_END));
        tally_buf_string(script, NEXT_EXAMPLE);
    }
}

/* The document with what came out in place of its examples. */
static void put_examples(struct tally_slice document, struct tally_slice transcript,
        struct tally_buf *out)
{
    struct tally_slice before;

    while ((before = up_to(&document, EXAMPLE)).data) {
        tally_buf_slice(out, before);
        tally_buf_string(out, EXAMPLE);
        tally_buf_slice(out, up_to(&transcript, NEXT_EXAMPLE));
        tally_buf_string(out, EXAMPLE_END);
        ck_assert_ptr_nonnull(up_to(&document, EXAMPLE_END).data);
    }
    tally_buf_slice(out, document);
}

START_TEST(an_example_is_what_comes_out)
{
    struct tally_buf document, script, transcript, actual;

    tally_buf_init(&document, FILE_MAX_BYTES);
    tally_buf_init(&script, FILE_MAX_BYTES);
    tally_buf_init(&transcript, FILE_MAX_BYTES);
    tally_buf_init(&actual, FILE_MAX_BYTES);
    read_file(DOCUMENT, &document);
    collect_examples(tally_buf_bytes(&document), &script);
    ck_assert_uint_gt(script.len, 0);
    case_runner_transcribe(tally_buf_bytes(&script), &transcript);
    put_examples(tally_buf_bytes(&document), tally_buf_bytes(&transcript), &actual);
    update_or_compare(DOCUMENT, &document, &actual);
    tally_buf_deinit(&document);
    tally_buf_deinit(&script);
    tally_buf_deinit(&transcript);
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
    tcase_add_test(tcase, an_example_is_what_comes_out);
    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    globfree(&files);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
