/* tests/topology/test_faults.c - whatever goes wrong at whichever call, the log and the state end
 * as those of a run without faults: no event is missing, none is there twice. A run has the fault
 * at the n-th call of a kind, n = 1, 2 ... until a run has no such call. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/mem.h"
#include "tests/topology/end_state.h"
#include "tests/topology/workload.h"

#define RECORDS   40
#define LIVES_MAX 4
#define CALLS_MAX 5000 /* of one kind in a run; more means that it does not end */

static struct end_state clean;
static bool nothing_kept; /* neither outcomes nor a ledger */

static const char *name_of(const struct tally_memory_fault *fault)
{
    static char name[128];

    snprintf(name, sizeof name, "%s %s at call %llu of %s", fault->kill ? "kill" : "",
            tally_code_name(fault->code), (unsigned long long)fault->nth,
            tally_memory_op_name(fault->op));
    return name;
}

/* Lives one after the other until one comes to rest. */
static void run_to_the_end(struct driver_fixture *fixture, const struct tally_memory_fault *fault)
{
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code = tally_topology_driver_run(fixture->driver, &err);

    for (int life = 1; code == TALLY_FENCED && life < LIVES_MAX; life++) {
        tally_topology_driver_crash(fixture->driver);
        code = tally_topology_driver_start(fixture->driver, &err);
        code = code ? code : tally_topology_driver_run(fixture->driver, &err);
    }
    ck_assert_msg(code == TALLY_OK, "%s: %s: %s", name_of(fault), tally_code_name(code),
            err.message);
}

static void compare(const struct end_state *actual, const struct tally_memory_fault *fault)
{
    for (size_t i = 0; i < END_TOPICS; i++) {
        ck_assert_msg(!strcmp(actual->records[i], clean.records[i]),
                "%s: %s differs:\n%s\nexpected:\n%s", name_of(fault), end_topics[i],
                actual->records[i], clean.records[i]);
    }
    ck_assert_msg(!strcmp(actual->dump, clean.dump), "%s: state differs:\n%s\nexpected:\n%s",
            name_of(fault), actual->dump, clean.dump);
}

static void begin(struct driver_fixture *fixture, const char *state_dir)
{
    driver_fixture_open(fixture, &(struct driver_fixture_options){.partitions = 1,
                                         .small_transactions = true,
                                         .state_dir = state_dir,
                                         .no_outcomes = nothing_kept,
                                         .no_ledger = nothing_kept});
    workload_prepare(fixture);
    workload_pipe(fixture, RECORDS, false);
}

static void remove_directory(const char *path)
{
    char command[512];

    snprintf(command, sizeof command, "rm -rf '%s'", path);
    ck_assert_int_eq(system(command), 0);
}

/* Whether the fault was met. */
static bool run_with(const struct tally_memory_fault *fault, bool on_disk)
{
    char path[] = "/tmp/tally-faults-XXXXXX";
    struct driver_fixture fixture;
    struct end_state end;
    bool hit;

    if (on_disk) {
        ck_assert_ptr_nonnull(mkdtemp(path));
    }
    begin(&fixture, on_disk ? path : NULL);
    tally_memory_broker_fault(tally_topology_driver_broker(fixture.driver), fault);
    run_to_the_end(&fixture, fault);
    hit = tally_memory_broker_hits(tally_topology_driver_broker(fixture.driver)) > 0;
    end = end_state_of(&fixture);
    compare(&end, fault);
    end_state_free(&end);
    driver_fixture_close(&fixture);
    if (on_disk) {
        remove_directory(path);
    }
    return hit;
}

/* n = 1, 1 + step ...: at every one of its calls. */
static void torture(struct tally_memory_fault fault, uint64_t step, bool on_disk)
{
    bool hit = true;

    for (fault.nth = 1; hit; fault.nth += step) {
        ck_assert_uint_lt(fault.nth, CALLS_MAX);
        hit = run_with(&fault, on_disk);
    }
    ck_assert_uint_gt(fault.nth, 1 + step); /* at least one run had it */
}

static void setup(void)
{
    struct driver_fixture fixture;

    begin(&fixture, NULL);
    driver_fixture_run(&fixture);
    clean = end_state_of(&fixture);
    driver_fixture_close(&fixture);
}

static void teardown(void)
{
    end_state_free(&clean);
}

START_TEST(killed_before_any_call)
{
    torture((struct tally_memory_fault){.op = TALLY_MEMORY_ANY, .kill = true}, 1, false);
}
END_TEST

/* Repeats have events of their own then: still one for each record, and none is taken for lost. */
START_TEST(killed_where_nothing_is_kept)
{
    nothing_kept = true;
    teardown();
    setup();
    torture((struct tally_memory_fault){.op = TALLY_MEMORY_ANY,
                    .kill = true,
                    .happened = _i % 2 == 1},
            1 + 2 * (uint64_t)(_i / 2), _i / 2 == 1);
}
END_TEST

START_TEST(killed_after_any_call)
{
    torture((struct tally_memory_fault){.op = TALLY_MEMORY_ANY, .kill = true, .happened = true}, 1,
            false);
}
END_TEST

static const enum tally_memory_op commit_path[] = {
        TALLY_MEMORY_PRODUCE, TALLY_MEMORY_SEND_OFFSETS, TALLY_MEMORY_COMMIT};

START_TEST(killed_on_disk_in_the_commit)
{
    enum tally_memory_op op = commit_path[_i / 2];

    torture((struct tally_memory_fault){.op = op, .kill = true, .happened = _i % 2 == 1}, 9, true);
}
END_TEST

static const struct answer {
    enum tally_memory_op op;
    enum tally_code code;
    bool happened;
} answers[] = {
        {TALLY_MEMORY_BEGIN, TALLY_TXN_ABORTED, false},
        {TALLY_MEMORY_BEGIN, TALLY_FENCED, false},
        {TALLY_MEMORY_PRODUCE, TALLY_TXN_ABORTED, false},
        {TALLY_MEMORY_PRODUCE, TALLY_DELIVERY_FAILED, true},
        {TALLY_MEMORY_PRODUCE, TALLY_FENCED, true},
        {TALLY_MEMORY_SERVE, TALLY_DELIVERY_FAILED, false},
        {TALLY_MEMORY_SERVE, TALLY_FENCED, false},
        {TALLY_MEMORY_SEND_OFFSETS, TALLY_TIMEOUT, false},
        {TALLY_MEMORY_SEND_OFFSETS, TALLY_TIMEOUT, true},
        {TALLY_MEMORY_SEND_OFFSETS, TALLY_TXN_ABORTED, false},
        {TALLY_MEMORY_SEND_OFFSETS, TALLY_FENCED, true},
        {TALLY_MEMORY_COMMIT, TALLY_TIMEOUT, false},
        {TALLY_MEMORY_COMMIT, TALLY_TIMEOUT, true},
        {TALLY_MEMORY_COMMIT, TALLY_TXN_ABORTED, false},
        {TALLY_MEMORY_COMMIT, TALLY_COMMIT_UNKNOWN, false},
        {TALLY_MEMORY_COMMIT, TALLY_COMMIT_UNKNOWN, true},
        {TALLY_MEMORY_COMMIT, TALLY_FENCED, false},
        {TALLY_MEMORY_COMMIT, TALLY_FENCED, true},
        {TALLY_MEMORY_POLL, TALLY_UNAVAILABLE, false},
        {TALLY_MEMORY_POLL, TALLY_NOT_AUTHORIZED, false},
        {TALLY_MEMORY_REPLY, TALLY_UNAVAILABLE, false},
};
#define ANSWERS ((int)(sizeof answers / sizeof answers[0]))

START_TEST(any_answer_to_any_call)
{
    torture((struct tally_memory_fault){.op = answers[_i].op,
                    .code = answers[_i].code,
                    .happened = answers[_i].happened},
            1, false);
}
END_TEST

START_TEST(rebalanced_at_any_call)
{
    torture((struct tally_memory_fault){.op = TALLY_MEMORY_ANY,
                    .rebalance = _i ? TALLY_MEMORY_LOSE : TALLY_MEMORY_REVOKE},
            1, false);
}
END_TEST

/* Calls that only happen on the way back from another fault. */
START_TEST(a_second_fault_while_recovering)
{
    static const struct answer second[] = {
            {TALLY_MEMORY_ABORT, TALLY_TIMEOUT, false},
            {TALLY_MEMORY_ABORT, TALLY_TIMEOUT, true},
            {TALLY_MEMORY_SEEK, TALLY_TIMEOUT, false},
            {TALLY_MEMORY_INIT, TALLY_TIMEOUT, false},
            {TALLY_MEMORY_INIT, TALLY_TIMEOUT, true},
            {TALLY_MEMORY_INIT, TALLY_FENCED, false},
    };
    struct tally_memory_fault first = {
            .op = TALLY_MEMORY_SEND_OFFSETS, .nth = 3, .code = TALLY_TXN_ABORTED};
    struct tally_memory_fault next = {.op = second[_i].op,
            .nth = 1,
            .code = second[_i].code,
            .happened = second[_i].happened};
    struct driver_fixture fixture;
    struct end_state end;

    begin(&fixture, NULL);
    tally_memory_broker_fault(tally_topology_driver_broker(fixture.driver), &first);
    tally_memory_broker_fault(tally_topology_driver_broker(fixture.driver), &next);
    run_to_the_end(&fixture, &next);
    ck_assert_uint_eq(tally_memory_broker_hits(tally_topology_driver_broker(fixture.driver)), 2);
    end = end_state_of(&fixture);
    compare(&end, &next);
    end_state_free(&end);
    driver_fixture_close(&fixture);
}
END_TEST

/* Calls of a restore that has something to restore. */
START_TEST(a_fault_while_restoring)
{
    static const struct answer during[] = {
            {TALLY_MEMORY_COMMITTED, TALLY_TIMEOUT, false},
            {TALLY_MEMORY_WATERMARKS, TALLY_TIMEOUT, false},
            {TALLY_MEMORY_WATERMARKS, TALLY_UNAVAILABLE, false},
            {TALLY_MEMORY_POLL, TALLY_UNAVAILABLE, false},
            {TALLY_MEMORY_SEEK, TALLY_TIMEOUT, false},
            {TALLY_MEMORY_ANY, TALLY_OK, false}, /* killed */
    };
    bool hit = true;

    for (uint64_t nth = 1; hit; nth++) {
        struct tally_memory_fault fault = {.op = during[_i].op,
                .nth = nth,
                .code = during[_i].code,
                .kill = during[_i].code == TALLY_OK};
        struct driver_fixture fixture;
        struct tally_error err = {.code = TALLY_OK};
        struct end_state end;

        begin(&fixture, NULL);
        driver_fixture_run(&fixture);
        tally_topology_driver_crash(fixture.driver);
        tally_memory_broker_fault(tally_topology_driver_broker(fixture.driver), &fault);
        ck_assert_int_eq(tally_topology_driver_start(fixture.driver, &err), TALLY_OK);
        run_to_the_end(&fixture, &fault);
        hit = tally_memory_broker_hits(tally_topology_driver_broker(fixture.driver)) > 0;
        end = end_state_of(&fixture);
        compare(&end, &fault);
        end_state_free(&end);
        driver_fixture_close(&fixture);
        ck_assert_uint_lt(nth, CALLS_MAX);
    }
}
END_TEST

static size_t count_of(const char *text, const char *with)
{
    size_t count = 0;

    for (const char *at = strstr(text, with); at; at = strstr(at + 1, with)) {
        count++;
    }
    return count;
}

struct counts {
    size_t events, outcomes;
};

static struct counts run_misrouted(const struct tally_memory_fault *fault, bool *hit)
{
    struct driver_fixture fixture;
    struct end_state end;
    struct counts counts;
    struct tally_error err;
    char *rebuilt;

    driver_fixture_open(&fixture,
            &(struct driver_fixture_options){.partitions = 3, .small_transactions = true});
    workload_prepare(&fixture);
    workload_pipe(&fixture, 2 * RECORDS, true);
    if (fault->nth > 0) {
        tally_memory_broker_fault(tally_topology_driver_broker(fixture.driver), fault);
    }
    run_to_the_end(&fixture, fault);
    *hit = tally_memory_broker_hits(tally_topology_driver_broker(fixture.driver)) > 0;
    end = end_state_of(&fixture);
    counts = (struct counts){count_of(end.records[1], "\n"), count_of(end.dump, " dedup ")};
    tally_memory_broker_heal(tally_topology_driver_broker(fixture.driver));
    tally_topology_driver_crash(fixture.driver);
    ck_assert_int_eq(tally_topology_driver_start(fixture.driver, &err), TALLY_OK);
    driver_fixture_run(&fixture);
    rebuilt = driver_fixture_dump(&fixture);
    ck_assert_str_eq(rebuilt, end.dump);
    tally_free(rebuilt);
    end_state_free(&end);
    driver_fixture_close(&fixture);
    return counts;
}

/* Forwarded copies queue up behind whatever is there, so a fault may change their order, but every
 * command is decided once, by the owner of its key. */
START_TEST(misrouted_commands_are_decided_once)
{
    struct tally_memory_fault fault = {.op = TALLY_MEMORY_ANY, .kill = true};
    bool hit;
    struct counts expected = run_misrouted(&fault, &hit);

    ck_assert_uint_gt(expected.events, RECORDS);
    for (fault.nth = 1, hit = true; hit; fault.nth += 5, fault.happened = !fault.happened) {
        struct counts actual = run_misrouted(&fault, &hit);

        ck_assert_uint_eq(actual.events, expected.events);
        ck_assert_uint_eq(actual.outcomes, expected.outcomes);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("faults");
    TCase *tcase = tcase_create("every call");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 110);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, killed_before_any_call);
    tcase_add_test(tcase, killed_after_any_call);
    tcase_add_loop_test(tcase, killed_where_nothing_is_kept, 0, 4);
    tcase_add_loop_test(tcase, killed_on_disk_in_the_commit, 0, 6);
    tcase_add_loop_test(tcase, any_answer_to_any_call, 0, ANSWERS);
    tcase_add_loop_test(tcase, rebalanced_at_any_call, 0, 2);
    tcase_add_loop_test(tcase, a_second_fault_while_recovering, 0, 6);
    tcase_add_loop_test(tcase, a_fault_while_restoring, 0, 6);
    tcase_add_test(tcase, misrouted_commands_are_decided_once);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
