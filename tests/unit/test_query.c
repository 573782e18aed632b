/* test_query.c - positions as clients write them. */
#include "engine/query.h"

#include <check.h>
#include <stdlib.h>

static bool parse(const char *text, struct tally_min_position *positions, size_t *count)
{
    return tally_positions_parse(tally_slice_string(text), positions, count);
}

START_TEST(reads_one_and_many)
{
    struct tally_min_position positions[TALLY_MIN_POSITIONS_MAX];
    size_t count;

    ck_assert(parse("stock.commands/2@990", positions, &count));
    ck_assert_uint_eq(count, 1);
    ck_assert(tally_slice_equal(positions[0].topic, TALLY_SLICE("stock.commands")));
    ck_assert_int_eq(positions[0].partition, 2);
    ck_assert_int_eq(positions[0].offset, 990);
    ck_assert(parse("a/0@0,shop.b/13@9223372036854775807", positions, &count));
    ck_assert_uint_eq(count, 2);
    ck_assert(tally_slice_equal(positions[1].topic, TALLY_SLICE("shop.b")));
    ck_assert_int_eq(positions[1].partition, 13);
}
END_TEST

START_TEST(refuses_everything_else)
{
    static const char *const bad[] = {"", ",", "a/0@1,", ",a/0@1", "a@1", "a/0", "/0@1", "a/-1@1",
            "a/0@-1", "a/x@1", "a/0@x", "a/0@", "a/@1", "a/0@9223372036854775808", "a/4294967296@1",
            "a/0@1 ", "a/0@1,,b/0@1"};
    struct tally_min_position positions[TALLY_MIN_POSITIONS_MAX];
    size_t count;

    ck_assert(!parse(bad[_i], positions, &count));
}
END_TEST

START_TEST(refuses_more_than_the_limit)
{
    struct tally_min_position positions[TALLY_MIN_POSITIONS_MAX];
    char text[(TALLY_MIN_POSITIONS_MAX + 1) * 6 + 1] = "";
    size_t count, len = 0;

    for (int i = 0; i < TALLY_MIN_POSITIONS_MAX + 1; i++) {
        memcpy(text + len, i ? ",a/0@1" : "a/0@1", i ? 6 : 5);
        len += i ? 6 : 5;
    }
    text[len - 6] = 0;
    ck_assert(parse(text, positions, &count));
    ck_assert_uint_eq(count, TALLY_MIN_POSITIONS_MAX);
    text[len - 6] = ',';
    ck_assert(!parse(text, positions, &count));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("query");
    TCase *tests = tcase_create("positions");
    SRunner *runner;
    int failed;

    tcase_add_test(tests, reads_one_and_many);
    tcase_add_loop_test(tests, refuses_everything_else, 0, 17);
    tcase_add_test(tests, refuses_more_than_the_limit);
    suite_add_tcase(suite, tests);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
