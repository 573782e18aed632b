/* tests/topology/test_failpoints.c - whatever call fails at whichever failpoint, the log and the
 * state end as those of a run without: at the n-th hit of each site, n = 1, 2 ... until a run has
 * no such hit. Between two lives the process dies, so that a restore is part of every run. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/failpoint.h"
#include "engine/base/mem.h"
#include "tests/topology/end_state.h"
#include "tests/topology/workload.h"

#define RECORDS  20
#define REPEATS  3
#define HITS_MAX 2000 /* of one site in a run; more means that it does not end */
/* Hits are many where every record or every commit has one, and alike. */
#define STEP     7

static struct end_state clean;

struct wanted {
    enum tally_failpoint site;
    uint64_t nth;
    bool met;
};

static enum tally_failpoint_action fail_there(void *context, enum tally_failpoint site,
        uint64_t hit)
{
    struct wanted *wanted = context;

    if (site != wanted->site || hit != wanted->nth) {
        return TALLY_FAILPOINT_PASS;
    }
    wanted->met = true;
    return TALLY_FAILPOINT_ERROR;
}

/* Repeats are consumed without an event, so a restore has to account for them by their ids. */
static void pipe_repeats(struct driver_fixture *fixture)
{
    for (int i = 0; i < REPEATS; i++) {
        driver_fixture_pipe(fixture, "stock.commands",
                "{\"type\":\"ReceiveStock\",\"command_id\":\"again\",\"sku\":\"SKU-1\","
                "\"warehouse\":\"W1\",\"quantity\":1}");
    }
}

static void restart(struct driver_fixture *fixture)
{
    struct tally_error err = {.code = TALLY_OK};

    tally_topology_driver_crash(fixture->driver);
    ck_assert_msg(tally_topology_driver_start(fixture->driver, &err) == TALLY_OK, "%s",
            err.message);
}

/* `wanted` may be NULL: nothing fails. */
static struct end_state live(struct driver_fixture *fixture, const char *state_dir,
        struct wanted *wanted)
{
    struct end_state end;

    driver_fixture_open(fixture,
            &(struct driver_fixture_options){
                    .partitions = 1, .small_transactions = true, .state_dir = state_dir});
    workload_prepare(fixture);
    workload_pipe(fixture, RECORDS, false);
    pipe_repeats(fixture);
    tally_failpoint_set_handler(wanted ? fail_there : NULL, wanted);
    driver_fixture_run(fixture);
    restart(fixture);
    driver_fixture_run(fixture);
    tally_failpoint_set_handler(NULL, NULL);
    end = end_state_of(fixture);
    return end;
}

static void compare(const struct end_state *actual, const struct wanted *wanted)
{
    const char *name = tally_failpoint_rows[wanted->site].name;

    for (size_t i = 0; i < END_TOPICS; i++) {
        ck_assert_msg(!strcmp(actual->records[i], clean.records[i]),
                "%s:%d: %s differs:\n%s\nexpected:\n%s", name, (int)wanted->nth, end_topics[i],
                actual->records[i], clean.records[i]);
    }
    ck_assert_msg(!strcmp(actual->dump, clean.dump), "%s:%d: state differs:\n%s\nexpected:\n%s",
            name, (int)wanted->nth, actual->dump, clean.dump);
}

/* Whether the site was met. */
static bool run_with(struct wanted wanted, bool on_disk)
{
    char path[] = "/tmp/tally-failpoints-XXXXXX", command[512];
    struct driver_fixture fixture;
    struct end_state end;

    if (on_disk) {
        ck_assert_ptr_nonnull(mkdtemp(path));
    }
    end = live(&fixture, on_disk ? path : NULL, &wanted);
    compare(&end, &wanted);
    end_state_free(&end);
    driver_fixture_close(&fixture);
    if (on_disk) {
        snprintf(command, sizeof command, "rm -rf '%s'", path);
        ck_assert_int_eq(system(command), 0);
    }
    return wanted.met;
}

static void torture(enum tally_failpoint site, bool on_disk)
{
    struct wanted wanted = {.site = site, .nth = 1};

    while (run_with(wanted, on_disk)) {
        wanted.nth += wanted.nth < STEP ? 1 : STEP;
        ck_assert_uint_lt(wanted.nth, HITS_MAX);
    }
    ck_assert_msg(wanted.nth > 1, "%s is not met", tally_failpoint_rows[site].name);
}

static void setup(void)
{
    struct driver_fixture fixture;

    clean = live(&fixture, NULL, NULL);
    driver_fixture_close(&fixture);
}

static void teardown(void)
{
    end_state_free(&clean);
}

static const enum tally_failpoint in_memory[] = {TALLY_FAILPOINT_LOOP_BEGIN_AFTER,
        TALLY_FAILPOINT_LOOP_DECIDE_AFTER, TALLY_FAILPOINT_LOOP_PRODUCE_BEFORE,
        TALLY_FAILPOINT_LOOP_PRODUCE_AFTER, TALLY_FAILPOINT_LOOP_SERVE_AFTER,
        TALLY_FAILPOINT_COMMIT_OFFSETS_BEFORE, TALLY_FAILPOINT_COMMIT_OFFSETS_AFTER,
        TALLY_FAILPOINT_COMMIT_BEFORE, TALLY_FAILPOINT_COMMIT_AFTER,
        TALLY_FAILPOINT_FLUSH_MERGE_BEFORE, TALLY_FAILPOINT_RECOVER_INIT_BEFORE,
        TALLY_FAILPOINT_RECOVER_INIT_AFTER, TALLY_FAILPOINT_REBALANCE_ASSIGN_OFFSETS,
        TALLY_FAILPOINT_RESTORE_OPEN_BEFORE, TALLY_FAILPOINT_RESTORE_OPEN_AFTER,
        TALLY_FAILPOINT_RESTORE_INGEST_BEFORE, TALLY_FAILPOINT_RESTORE_WATERMARKS_AFTER,
        TALLY_FAILPOINT_RESTORE_VERIFY_EACH};

/* Not at flush.ingest: there the base is lost until a time has passed, and a commit, which flushes
 * here, would have to read from it. */
static const enum tally_failpoint on_disk[] = {
        TALLY_FAILPOINT_FLUSH_FILE_AFTER, TALLY_FAILPOINT_RESTORE_OPEN_AFTER};

START_TEST(failed_with_state_in_memory)
{
    torture(in_memory[_i], false);
}
END_TEST

START_TEST(failed_with_state_on_disk)
{
    torture(on_disk[_i], true);
}
END_TEST

/* Nothing is passed over in silence: a consumed command that could not be looked up is looked up
 * again, not taken as proved. */
START_TEST(a_failed_read_verifies_nothing)
{
    struct tally_error err;
    struct driver_fixture fixture;

    driver_fixture_open(&fixture, &(struct driver_fixture_options){.partitions = 1});
    workload_prepare(&fixture);
    pipe_repeats(&fixture);
    driver_fixture_run(&fixture);
    ck_assert_int_eq(tally_failpoint_arm("restore.verify.each:1:error", &err), TALLY_OK);
    restart(&fixture);
    driver_fixture_run(&fixture);
    ck_assert_uint_eq(tally_failpoint_hits(TALLY_FAILPOINT_RESTORE_VERIFY_EACH), 1 + REPEATS - 1);
    ck_assert_str_eq(tally_topology_driver_state(fixture.driver, "stock", 0), "RUNNING");
    ck_assert_int_eq(tally_failpoint_arm(NULL, &err), TALLY_OK);
    driver_fixture_close(&fixture);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("failpoints");
    TCase *tcase = tcase_create("errors"), *found = tcase_create("found");
    SRunner *runner;
    int failed;

    tcase_add_unchecked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 100);
    tcase_add_loop_test(tcase, failed_with_state_in_memory, 0,
            (int)(sizeof in_memory / sizeof in_memory[0]));
    tcase_add_loop_test(tcase, failed_with_state_on_disk, 0,
            (int)(sizeof on_disk / sizeof on_disk[0]));
    tcase_add_test(found, a_failed_read_verifies_nothing);
    suite_add_tcase(suite, tcase);
    suite_add_tcase(suite, found);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
