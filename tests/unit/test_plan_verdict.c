/* tests/unit/test_plan_verdict.c - what `tally plan` says about what was found
 * (apps/plan_verdict.c): the halt of a reset's plan is a refusal with its way out, and each other
 * code leads to what its reaction does. */
#include "apps/plan_verdict.h"

#include <check.h>
#include <stdlib.h>

static struct reset_facts facts;
static struct reset_plan plan;
static struct plan_line line;
enum { NOW_MS = 1000000000 };

/* A task whose state has applied event 80 of 82. */
static void setup(void)
{
    facts = (struct reset_facts){
            .topology = "stock",
            .events = "stock.events",
            .partition = 2,
            .events_high = 83,
            .positions = {.in_next = 100, .in_last = 99, .out_last = 80, .commit_time = NOW_MS},
    };
    plan = (struct reset_plan){.halt = TALLY_OK};
    line = (struct plan_line){.verdict = PLAN_KEEP, .bytes = 7};
}

static void judge(bool projection, int64_t now_ms)
{
    plan_verdict_task(&facts, &plan, projection, now_ms, &line);
}

static void is(enum plan_verdict verdict, enum tally_code code, int64_t records)
{
    ck_assert_str_eq(plan_verdict_name(line.verdict), plan_verdict_name(verdict));
    ck_assert_str_eq(tally_code_name(line.code), tally_code_name(code));
    ck_assert_int_eq(line.records, records);
    ck_assert_int_eq(line.bytes, 7);
}

START_TEST(what_is_open_reads_its_tail)
{
    judge(false, NOW_MS);
    is(PLAN_KEEP, TALLY_OK, 2);
    facts.positions.out_last = -1; /* made, and nothing applied yet */
    judge(false, NOW_MS);
    is(PLAN_KEEP, TALLY_OK, 83);
}
END_TEST

START_TEST(what_is_missing_is_built_from_what_there_is)
{
    facts.state = TALLY_NOT_FOUND;
    facts.positions.out_last = -1;
    facts.events_low = 3;
    judge(false, NOW_MS);
    is(PLAN_REBUILD, TALLY_OK, 80);
    setup();
    facts.state = TALLY_NOT_FOUND;
    facts.events_high = 0;
    judge(false, NOW_MS);
    is(PLAN_KEEP, TALLY_OK, 0);
}
END_TEST

START_TEST(what_is_outdated_or_damaged_is_rebuilt)
{
    static const enum tally_code codes[] = {TALLY_STORE_OUTDATED, TALLY_STORE_CORRUPT};

    for (size_t i = 0; i < 2; i++) {
        setup();
        facts.state = codes[i];
        facts.positions.out_last = -1;
        judge(false, NOW_MS);
        is(PLAN_REBUILD, codes[i], 83);
        ck_assert_str_eq(line.way_out, "");
    }
}
END_TEST

START_TEST(every_halt_is_refused)
{
    plan.halt = TALLY_FOREIGN_STATE;
    judge(false, NOW_MS);
    is(PLAN_REFUSE, TALLY_FOREIGN_STATE, -1);
    ck_assert_ptr_nonnull(strstr(line.way_out,
            "tally reset --topology stock --partition 2 --execute"));
    setup();
    facts.state = TALLY_STORE_OUTDATED; /* a rebuild that cannot be */
    plan.halt = TALLY_EVENTS_INCOMPLETE;
    judge(false, NOW_MS);
    is(PLAN_REFUSE, TALLY_EVENTS_INCOMPLETE, -1);
    ck_assert_ptr_nonnull(strstr(line.way_out, "--accept-loss"));
    setup();
    plan.halt = TALLY_CHANGELOG_OUTDATED;
    judge(true, NOW_MS);
    is(PLAN_REFUSE, TALLY_CHANGELOG_OUTDATED, -1);
    ck_assert_ptr_nonnull(strstr(line.way_out, "delete the changelog topic"));
}
END_TEST

START_TEST(a_changelog_may_have_moved_on)
{
    judge(true, NOW_MS);
    is(PLAN_KEEP, TALLY_OK, 2);
    judge(true, NOW_MS + 25 * INT64_C(3600000)); /* deletions may be missing */
    is(PLAN_REBUILD, TALLY_STORE_OUTDATED, 83);
    setup();
    facts.event_proof = RESET_OTHER;
    judge(true, NOW_MS);
    is(PLAN_REBUILD, TALLY_STORE_OUTDATED, 83);
    setup();
    facts.events_high = 40;
    judge(true, NOW_MS);
    is(PLAN_REBUILD, TALLY_STORE_OUTDATED, 40);
}
END_TEST

START_TEST(a_directory_alone_is_judged_by_its_code)
{
    struct tally_error err = {.code = TALLY_OK};

    plan_verdict_directory("stock", 2, &err, &line);
    is(PLAN_KEEP, TALLY_OK, -1);
    err = (struct tally_error){.code = TALLY_STORE_OUTDATED, .message = "older"};
    plan_verdict_directory("stock", 2, &err, &line);
    is(PLAN_REBUILD, TALLY_STORE_OUTDATED, -1);
    err = (struct tally_error){.code = TALLY_FOREIGN_STATE, .message = "foreign"};
    plan_verdict_directory("stock", 2, &err, &line);
    is(PLAN_REFUSE, TALLY_FOREIGN_STATE, -1);
    ck_assert_ptr_nonnull(strstr(line.way_out, "tally reset"));
    setup();
    err = (struct tally_error){.code = TALLY_STORE_ERROR, .message = "no access"};
    plan_verdict_directory("stock", 2, &err, &line);
    is(PLAN_UNKNOWN, TALLY_STORE_ERROR, -1);
    ck_assert_str_eq(line.way_out, "");
}
END_TEST

START_TEST(other_errors_are_refused_or_not_known)
{
    struct tally_error err = {.code = TALLY_SINK_SCHEMA};

    plan_verdict_error(&err, &line);
    is(PLAN_REFUSE, TALLY_SINK_SCHEMA, -1);
    err.code = TALLY_CONFIG;
    plan_verdict_error(&err, &line);
    is(PLAN_REFUSE, TALLY_CONFIG, -1);
    err.code = TALLY_UNAVAILABLE;
    plan_verdict_error(&err, &line);
    is(PLAN_UNKNOWN, TALLY_UNAVAILABLE, -1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plan_verdict");
    TCase *cases = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(cases, setup, NULL);
    tcase_add_test(cases, what_is_open_reads_its_tail);
    tcase_add_test(cases, what_is_missing_is_built_from_what_there_is);
    tcase_add_test(cases, what_is_outdated_or_damaged_is_rebuilt);
    tcase_add_test(cases, every_halt_is_refused);
    tcase_add_test(cases, a_changelog_may_have_moved_on);
    tcase_add_test(cases, a_directory_alone_is_judged_by_its_code);
    tcase_add_test(cases, other_errors_are_refused_or_not_known);
    suite_add_tcase(suite, cases);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
