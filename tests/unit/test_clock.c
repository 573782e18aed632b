/* tests/unit/test_clock.c - the real clock runs, the fake one stands still. */
#include "engine/base/clock.h"

#include <check.h>
#include <stdlib.h>

START_TEST(the_real_clock_does_not_go_back)
{
    struct tally_clock *clock = tally_clock_real();
    int64_t last_us = tally_mono_us(clock);

    ck_assert_int_gt(tally_wall_ms(clock), INT64_C(1700000000000));
    for (int i = 0; i < 1000; i++) {
        int64_t now_us = tally_mono_us(clock);

        ck_assert_int_ge(now_us, last_us);
        last_us = now_us;
    }
}
END_TEST

START_TEST(the_fake_clock_moves_when_told)
{
    struct tally_fake_clock fake;

    tally_fake_clock_init(&fake, 1000);
    ck_assert_int_eq(tally_wall_ms(&fake.clock), 1000);
    ck_assert_int_eq(tally_wall_ms(&fake.clock), 1000);
    tally_fake_clock_advance(&fake, 25);
    ck_assert_int_eq(tally_wall_ms(&fake.clock), 1025);
    ck_assert_int_eq(tally_mono_ms(&fake.clock), 1025);
    ck_assert_int_eq(tally_mono_us(&fake.clock), 1025000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("clock");
    TCase *tests = tcase_create("clock");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tests);
    tcase_add_test(tests, the_real_clock_does_not_go_back);
    tcase_add_test(tests, the_fake_clock_moves_when_told);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
