/* tests/unit/test_ledger_time.c - what was recorded when, among very many entries, in few reads. */
#include <check.h>

#include "http/ledger_time.h"

/* Entry n was recorded at its third of n: three in a row at the same time. */
struct times {
    uint64_t newest, reads;
    bool broken;
};

static enum tally_code time_of(void *context, uint64_t seq, int64_t *recorded_at,
        struct tally_error *err)
{
    struct times *times = context;

    ck_assert(seq >= 1 && seq <= times->newest);
    times->reads++;
    *recorded_at = (int64_t)(seq / 3);
    return times->broken ? tally_error_set(err, TALLY_STORE_CORRUPT, "broken") : TALLY_OK;
}

static uint64_t find(struct times *times, int64_t time_ms)
{
    struct tally_error err = {.code = TALLY_OK};
    uint64_t first = 0;

    times->reads = 0;
    ck_assert_int_eq(ledger_time_bisect(time_of, times, times->newest, time_ms, &first, &err),
            TALLY_OK);
    return first;
}

START_TEST(each_time_of_a_short_ledger)
{
    for (uint64_t newest = 0; newest < 40; newest++) {
        struct times times = {.newest = newest};

        for (int64_t time_ms = -1; time_ms < 15; time_ms++) {
            uint64_t want = 1;

            while (want <= newest && (int64_t)(want / 3) < time_ms) {
                want++;
            }
            ck_assert_uint_eq(find(&times, time_ms), want);
        }
    }
}
END_TEST

START_TEST(a_long_ledger_is_read_in_few_places)
{
    struct times times = {.newest = UINT64_C(1) << 40};

    for (uint64_t seq = 1; seq < times.newest; seq = seq * 7 + 3) {
        uint64_t want = seq / 3 * 3;

        ck_assert_uint_eq(find(&times, (int64_t)(seq / 3)), want > 0 ? want : 1);
        ck_assert_uint_le(times.reads, 41);
    }
    ck_assert_uint_eq(find(&times, INT64_MAX), times.newest + 1);
    ck_assert_uint_le(times.reads, 41);
    ck_assert_uint_eq(find(&times, INT64_MIN), 1);
    ck_assert_uint_le(times.reads, 41);
}
END_TEST

START_TEST(what_cannot_be_read_ends_it)
{
    struct times times = {.newest = 1000, .broken = true};
    struct tally_error err = {.code = TALLY_OK};
    uint64_t first = 0;

    ck_assert_int_eq(ledger_time_bisect(time_of, &times, times.newest, 7, &first, &err),
            TALLY_STORE_CORRUPT);
    ck_assert_uint_eq(times.reads, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ledger_time");
    TCase *tcase = tcase_create("ledger_time");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, each_time_of_a_short_ledger);
    tcase_add_test(tcase, a_long_ledger_is_read_in_few_places);
    tcase_add_test(tcase, what_cannot_be_read_ends_it);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
