/* tests/unit/test_diff_side.c - what `tally diff` reads (apps/diff_side.c): (1) tasks of a dump are
 * found in whatever order they stand, their rows in that of their keys; (2) what is neither a dump
 * nor hashes is refused with its line; (3) a hash is that of the lines. */
#include "apps/diff_side.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROW(topology, partition, key, rest)                   \
    "{\"topology\":\"" topology "\",\"partition\":" partition \
    ",\"store\":\"level\",\"key\":\"" key "\",\"value\":{\"on_hand\":" rest "}}\n"
#define HASH "0123456789abcdef0123456789abcdef"

static char path[64];
static struct diff_side side;
static struct tally_error err;
static const struct diff_filter all = {.partition = -1};

static void setup(void)
{
    int fd;

    (void)snprintf(path, sizeof path, "/tmp/tally-diff-XXXXXX");
    fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(close(fd), 0);
}

static void teardown(void)
{
    ck_assert_int_eq(unlink(path), 0);
}

static enum tally_code open_text(const char *text, const struct diff_filter *filter)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
    return diff_side_open(&side, path, "", filter, &err);
}

static void refuse(const char *text, const char *says)
{
    ck_assert_int_eq(open_text(text, &all), TALLY_CONFIG);
    ck_assert_msg(strstr(err.message, says) != NULL, "\"%s\" lacks \"%s\"", err.message, says);
    diff_side_close(&side);
}

static struct diff_task *task(const char *topology, int32_t partition)
{
    struct state_task wanted = {.partition = partition};

    (void)snprintf(wanted.topology, sizeof wanted.topology, "%s", topology);
    return diff_side_find(&side, &wanted);
}

static const char dump[] = ROW("stock", "2", "A.W1", "1") ROW("stock", "2", "A.W2", "2")
        ROW("stock", "2", "B.W1", "3") ROW("stock", "0", "C.W1", "4");

START_TEST(test_dump)
{
    struct diff_row row;

    ck_assert_int_eq(open_text(dump, &all), TALLY_OK);
    ck_assert_int_eq(side.kind, DIFF_DUMP);
    ck_assert_uint_eq(side.count, 2);
    ck_assert_int_eq(side.tasks[0].task.partition, 0);
    ck_assert_ptr_null(task("stock", 1));
    ck_assert_int_eq(diff_side_begin(&side, task("stock", 2), &err), TALLY_OK);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(diff_side_next(&side, &row, &err), TALLY_OK);
        ck_assert_int_eq(diff_side_key(&side, &row, &err), TALLY_OK);
        ck_assert_uint_gt(row.key.len, 0);
        ck_assert_int_eq(row.line.data[row.line.len - 1], '}');
    }
    ck_assert_int_eq(diff_side_next(&side, &row, &err), TALLY_NOT_FOUND);
    diff_side_end(&side);
    diff_side_close(&side);
    ck_assert_int_eq(open_text(dump, &(struct diff_filter){.topology = "stock", .partition = 0}),
            TALLY_OK);
    ck_assert_uint_eq(side.count, 1);
    diff_side_close(&side);
    ck_assert_int_eq(open_text("", &all), TALLY_OK);
    ck_assert_uint_eq(side.count, 0);
    diff_side_close(&side);
}
END_TEST

START_TEST(test_order)
{
    struct diff_row row;

    ck_assert_int_eq(open_text(ROW("stock", "2", "B.W1", "1") ROW("stock", "2", "A.W1", "2"), &all),
            TALLY_OK);
    ck_assert_int_eq(diff_side_begin(&side, task("stock", 2), &err), TALLY_OK);
    ck_assert_int_eq(diff_side_next(&side, &row, &err), TALLY_OK);
    ck_assert_int_eq(diff_side_key(&side, &row, &err), TALLY_OK);
    ck_assert_int_eq(diff_side_next(&side, &row, &err), TALLY_OK);
    ck_assert_int_eq(diff_side_key(&side, &row, &err), TALLY_BAD_RECORD);
    ck_assert_ptr_nonnull(strstr(err.message, "\":2 comes before the row above it"));
    diff_side_close(&side);
}
END_TEST

START_TEST(test_hashes)
{
    struct tally_digest *digest = tally_digest_create();
    char expected[TALLY_DIGEST_LEN + 1];

    tally_digest_add(digest, tally_slice_string(ROW("stock", "0", "C.W1", "4")));
    tally_digest_read(digest, expected);
    tally_digest_destroy(digest);
    ck_assert_int_eq(open_text(dump, &all), TALLY_OK);
    ck_assert_int_eq(diff_side_hash(&side, &err), TALLY_OK);
    ck_assert_str_eq(task("stock", 0)->hash, expected);
    ck_assert_uint_eq(task("stock", 2)->rows, 3);
    diff_side_close(&side);
    ck_assert_int_eq(open_text("{\"topology\":\"stock\",\"partition\":2,\"from\":null,\"position\":"
                               "\"stock.events/2@9\",\"rows\":3,\"hash\":\"" HASH "\"}\n"
                               "{\"topology\":\"stock\",\"partition\":0,\"from\":null,\"position\":"
                               "null,\"rows\":0,\"hash\":\"" HASH "\"}\n",
                             &all),
            TALLY_OK);
    ck_assert_int_eq(side.kind, DIFF_HASHES);
    ck_assert_str_eq(task("stock", 2)->hash, HASH);
    ck_assert_str_eq(task("stock", 2)->position, "stock.events/2@9");
    ck_assert_str_eq(task("stock", 0)->position, "");
    ck_assert_uint_eq(task("stock", 2)->rows, 3);
    diff_side_close(&side);
}
END_TEST

START_TEST(test_refused)
{
    refuse("root:x:0:0\n", "\":1 is no line of JSON");
    refuse("{}\n", "\":1 is of no task");
    refuse("{\"topology\":\"stock\",\"partition\":-1}\n", "\":1 is of no task");
    refuse("{\"topology\":\"stock\",\"partition\":1}\n", "neither a row of a dump nor");
    refuse(ROW("stock", "0", "A.W", "1") "{\"topology\":\"stock\",\"partition\":0,\"hash\":\"" HASH
                                         "\"}\n",
            "\":2 is neither a row");
    refuse("{\"topology\":\"stock\",\"partition\":0,\"hash\":\"12\"}\n", "\":1 is no hash");
    refuse(ROW("stock", "0", "A.W", "1") ROW("stock", "1", "A.W", "1")
                    ROW("stock", "0", "B.W", "1"),
            "\":3 is of stock/0 again");
    ck_assert_int_eq(diff_side_open(&side, "https://host:1", "", &all, &err), TALLY_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.message, "http://127.0.0.1:8080"));
    diff_side_close(&side);
    ck_assert_int_eq(diff_side_open(&side, "/no/such/file", "", &all, &err), TALLY_NOT_FOUND);
    diff_side_close(&side);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("diff_side");
    TCase *cases = tcase_create("diff_side");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(cases, setup, teardown);
    tcase_add_test(cases, test_dump);
    tcase_add_test(cases, test_order);
    tcase_add_test(cases, test_hashes);
    tcase_add_test(cases, test_refused);
    suite_add_tcase(suite, cases);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
