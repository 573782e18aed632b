/* tests/unit/test_view.c - reads of what is in memory; every case runs in memory and on RocksDB. */
#include <check.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/unit/store_fixture.h"

static struct fixture f;

static void setup(void)
{
    memset(&f, 0, sizeof f);
}

static void teardown(void)
{
    fixture_end(&f);
}

/* What is in memory is told as ever; what is in a file only once somebody has read it. */
START_TEST(test_ready_rows_are_those_in_memory)
{
    struct tally_view *view;
    struct tally_buf buf;
    enum tally_code code;

    fixture_begin(&f, _i);
    tally_buf_init(&buf, 4096);
    fixture_put(&f, "La", "flushed");
    fixture_put(&f, "Lb", "flushed");
    fixture_commit(&f, 1);
    fixture_flush(&f);
    fixture_put(&f, "Lb", "run");
    fixture_commit(&f, 2);
    view = tally_store_view(f.store);
    ck_assert_int_eq(tally_view_get_ready(view, TALLY_SLICE("Lb"), &buf, &f.err), TALLY_OK);
    ck_assert(tally_slice_equal(tally_buf_bytes(&buf), TALLY_SLICE("run")));
    code = tally_view_get_ready(view, TALLY_SLICE("La"), &buf, &f.err);
    ck_assert(code == TALLY_OK || code == TALLY_AGAIN); /* as its cache was filled by the write */
    ck_assert_str_eq(fixture_view_get(&f, view, "La"), "flushed");
    ck_assert_int_eq(tally_view_get_ready(view, TALLY_SLICE("La"), &buf, &f.err), TALLY_OK);
    ck_assert(tally_slice_equal(tally_buf_bytes(&buf), TALLY_SLICE("flushed")));
    ck_assert_str_eq(fixture_view_get(&f, view, "Lc"), "(none)");
    ck_assert_int_eq(tally_view_get_ready(view, TALLY_SLICE("Lc"), &buf, &f.err), TALLY_NOT_FOUND);
    tally_buf_deinit(&buf);
    tally_view_unref(view);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("view");
    TCase *tests = tcase_create("view");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, test_ready_rows_are_those_in_memory, 0, FIXTURE_KINDS);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
