/* tests/unit/test_failpoint.c - plans of TALLY_FAIL, counting, what a hit does
 * (engine/base/failpoint.c). */
#include "engine/base/failpoint.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/clock.h"

static struct tally_error err;

static void disarm(void)
{
    tally_failpoint_set_handler(NULL, NULL);
    ck_assert_int_eq(tally_failpoint_arm(NULL, &err), TALLY_OK);
}

static void arm(const char *plan)
{
    ck_assert_msg(tally_failpoint_arm(plan, &err) == TALLY_OK, "%s: %s", plan, err.message);
}

static const struct {
    const char *plan, *message;
} refused[] = {
        {"comit.before:1:kill", "no failpoint \"comit.before\", did you mean \"commit.before\"?"},
        {"nothing.like.it.at.all:1:kill", "no failpoint \"nothing.like.it.at.all\": "},
        {":1:kill", "no failpoint \"\""},
        {"commit.before", "expected site:n:action, got \"commit.before\""},
        {"commit.before:1", "expected site:n:action"},
        {"commit.before:0:kill", "commit.before: expected which hit, 1 to 1000000000, got \"0\""},
        {"commit.before:-1:kill", "got \"-1\""},
        {"commit.before::kill", "got \"\""},
        {"commit.before:99999999999999999999:kill", "expected which hit"},
        {"commit.before:1:die",
                "expected kill, stop, error or delay=1 to delay=600000, got \"die\""},
        {"commit.before:1:kill:2", "got \"kill:2\""},
        {"commit.before:1:", "got \"\""},
        {"commit.before:1:delay", "expected kill"},
        {"commit.before:1:delay=", "expected kill"},
        {"commit.before:1:delay=0", "expected kill"},
        {"commit.before:1:delay=600001", "expected kill"},
        {"flush.view.after:1:error", "flush.view.after: no call can fail there"},
        {"flush.view.after:1:die", "expected kill, stop, or delay=1"},
        {"commit.before:1:kill,", "expected site:n:action, got \"\""},
        {",commit.before:1:kill", "expected site:n:action, got \"\""},
        {"commit.before:1:kill,comit.after:1:kill", "did you mean \"commit.after\"?"},
};

START_TEST(refuses_what_it_does_not_understand)
{
    arm("commit.after:7:error");
    ck_assert_int_eq(tally_failpoint_arm(refused[_i].plan, &err), TALLY_CONFIG);
    ck_assert_msg(strstr(err.message, refused[_i].message), "%s: %s", refused[_i].plan,
            err.message);
    ck_assert_int_eq(tally_failpoint_check(refused[_i].plan, &err), TALLY_CONFIG);
    ck_assert(tally_failpoint_planned(TALLY_FAILPOINT_COMMIT_AFTER)); /* the plan before it */
}
END_TEST

START_TEST(too_many_entries_are_refused)
{
    char plan[65 * 22 + 1] = "";

    for (int i = 0; i < 65; i++) {
        strncat(plan, "commit.before:1:error,", sizeof plan - strlen(plan) - 1);
    }
    plan[strlen(plan) - 1] = '\0';
    ck_assert_int_eq(tally_failpoint_arm(plan, &err), TALLY_CONFIG);
    ck_assert_str_eq(err.message, "over 64 failpoints");
    plan[64 * 22 - 1] = '\0';
    ck_assert_int_eq(tally_failpoint_arm(plan, &err), TALLY_OK);
}
END_TEST

START_TEST(every_site_takes_its_actions)
{
    for (int i = 0; i < TALLY_FAILPOINTS; i++) {
        const struct tally_failpoint_row *row = &tally_failpoint_rows[i];
        char plan[256];

        ck_assert_ptr_nonnull(strstr(row->about, " | "));
        snprintf(plan, sizeof plan, "%s:1:kill,%s:2:stop,%s:3:delay=600000", row->name, row->name,
                row->name);
        ck_assert_int_eq(tally_failpoint_check(plan, &err), TALLY_OK);
        snprintf(plan, sizeof plan, "%s:1:error", row->name);
        ck_assert_int_eq(tally_failpoint_check(plan, &err),
                row->can_fail ? TALLY_OK : TALLY_CONFIG);
    }
    ck_assert_int_ge(TALLY_FAILPOINTS, 60);
}
END_TEST

START_TEST(fails_at_the_nth_hit_only)
{
    arm("commit.before:2:error,commit.before:4:error,commit.after:1:error");
    for (int hit = 1; hit <= 6; hit++) {
        ck_assert_int_eq(TALLY_FAILPOINT_FAILS(COMMIT_BEFORE), hit == 2 || hit == 4);
    }
    ck_assert_uint_eq(tally_failpoint_hits(TALLY_FAILPOINT_COMMIT_BEFORE), 6);
    ck_assert_uint_eq(tally_failpoint_hits(TALLY_FAILPOINT_COMMIT_AFTER), 0);
    ck_assert(!TALLY_FAILPOINT_FAILS(COMMIT_SENT)); /* in no plan */
    arm("commit.before:1:error");
    ck_assert(TALLY_FAILPOINT_FAILS(COMMIT_BEFORE)); /* counted from zero */
}
END_TEST

START_TEST(an_error_names_the_site)
{
    arm("commit.before:2:error");
    ck_assert_int_eq(TALLY_FAILPOINT_CODE(COMMIT_BEFORE, TALLY_COMMIT_UNKNOWN, &err), TALLY_OK);
    ck_assert_int_eq(TALLY_FAILPOINT_CODE(COMMIT_BEFORE, TALLY_COMMIT_UNKNOWN, &err),
            TALLY_COMMIT_UNKNOWN);
    ck_assert_int_eq(err.code, TALLY_COMMIT_UNKNOWN);
    ck_assert_str_eq(err.message, "failpoint commit.before");
    ck_assert_ptr_nonnull(strstr(err.file, "test_failpoint.c"));
}
END_TEST

START_TEST(nothing_armed_counts_nothing)
{
    disarm();
    ck_assert(!TALLY_FAILPOINT_FAILS(COMMIT_BEFORE));
    ck_assert(!TALLY_FAILPOINT_PLANNED(COMMIT_BEFORE));
    ck_assert_uint_eq(tally_failpoint_hits(TALLY_FAILPOINT_COMMIT_BEFORE), 0);
}
END_TEST

START_TEST(planned_is_no_hit)
{
    arm("commit.sent:1:error");
    ck_assert(TALLY_FAILPOINT_PLANNED(COMMIT_SENT));
    ck_assert(!TALLY_FAILPOINT_PLANNED(COMMIT_BEFORE));
    ck_assert(TALLY_FAILPOINT_FAILS(COMMIT_SENT));
}
END_TEST

/* How a process ends that meets the plan; what it wrote to stderr goes to `log`. */
static int run_to_the_site(const char *plan, char *log, size_t size)
{
    int ends[2], status = 0;
    pid_t child;
    ssize_t len;

    ck_assert_int_eq(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        arm(plan);
        TALLY_FAILPOINT(FLUSH_VIEW_AFTER);
        TALLY_FAILPOINT(FLUSH_VIEW_AFTER);
        _exit(7);
    }
    close(ends[1]);
    ck_assert_int_eq(waitpid(child, &status, WUNTRACED), child);
    if (WIFSTOPPED(status)) {
        int end;

        ck_assert_int_eq(kill(child, SIGCONT), 0);
        ck_assert_int_eq(waitpid(child, &end, 0), child);
        ck_assert(WIFEXITED(end) && WEXITSTATUS(end) == 7);
    }
    len = read(ends[0], log, size - 1);
    log[len > 0 ? len : 0] = '\0';
    close(ends[0]);
    return status;
}

START_TEST(kill_logs_and_kills)
{
    char log[1024];
    int status = run_to_the_site("flush.view.after:2:kill", log, sizeof log);

    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    ck_assert_msg(strstr(log, "msg=failpoint site=flush.view.after hit=2 action=kill\n"), "%s",
            log);
}
END_TEST

START_TEST(stop_logs_and_stops_until_continued)
{
    char log[1024];
    int status = run_to_the_site("flush.view.after:1:stop", log, sizeof log);

    ck_assert(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    ck_assert_msg(strstr(log, "site=flush.view.after hit=1 action=stop\n"), "%s", log);
}
END_TEST

START_TEST(delay_sleeps_at_least_so_long)
{
    int64_t before_ms = tally_mono_ms(tally_clock_real());

    arm("flush.view.after:1:delay=30");
    TALLY_FAILPOINT(FLUSH_VIEW_AFTER);
    ck_assert_int_ge(tally_mono_ms(tally_clock_real()) - before_ms, 30);
}
END_TEST

static enum tally_failpoint_action every_third(void *context, enum tally_failpoint site,
        uint64_t hit)
{
    *(int *)context += site == TALLY_FAILPOINT_COMMIT_BEFORE;
    return hit % 3 == 0 ? TALLY_FAILPOINT_ERROR : TALLY_FAILPOINT_PASS;
}

START_TEST(a_handler_decides_instead_of_the_plan)
{
    int seen = 0;

    arm("commit.before:1:kill,commit.sent:1:kill");
    tally_failpoint_set_handler(every_third, &seen);
    for (int hit = 1; hit <= 6; hit++) {
        ck_assert_int_eq(TALLY_FAILPOINT_FAILS(COMMIT_BEFORE), hit % 3 == 0);
    }
    ck_assert_int_eq(seen, 6);
    ck_assert(!TALLY_FAILPOINT_PLANNED(COMMIT_SENT)); /* of the plan, which is not asked */
    for (int hit = 1; hit <= 3; hit++) {
        ck_assert(!tally_failpoint_hit(TALLY_FAILPOINT_FLUSH_VIEW_AFTER)); /* cannot fail */
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("failpoint");
    TCase *plans = tcase_create("plans"), *hits = tcase_create("hits");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(plans, disarm, disarm);
    tcase_add_loop_test(plans, refuses_what_it_does_not_understand, 0,
            (int)(sizeof refused / sizeof refused[0]));
    tcase_add_test(plans, too_many_entries_are_refused);
    tcase_add_test(plans, every_site_takes_its_actions);
    tcase_add_checked_fixture(hits, disarm, disarm);
    tcase_add_test(hits, fails_at_the_nth_hit_only);
    tcase_add_test(hits, an_error_names_the_site);
    tcase_add_test(hits, nothing_armed_counts_nothing);
    tcase_add_test(hits, planned_is_no_hit);
    tcase_add_test(hits, kill_logs_and_kills);
    tcase_add_test(hits, stop_logs_and_stops_until_continued);
    tcase_add_test(hits, delay_sleeps_at_least_so_long);
    tcase_add_test(hits, a_handler_decides_instead_of_the_plan);
    suite_add_tcase(suite, plans);
    suite_add_tcase(suite, hits);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
