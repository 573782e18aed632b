/* tests/topology/test_disk.c - whatever the disk answers to whichever call, the log and the state
 * end as those of a run without faults, in the same life and after a start on what it left. */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "engine/base/mem.h"
#include "tests/topology/end_state.h"
#include "tests/topology/faulty_disk.h"
#include "tests/topology/workload.h"

#define RECORDS        30
#define CALLS_MAX      20000 /* of one kind in a run; more means that it does not end */
#define STARTS_MAX     50
#define SECOND_HALF_MS (24 * 3600 * 1000)
#define RUNS           10 /* of a fault, spread over its calls */

static struct end_state clean;

static void compare_text(const struct disk_fault *fault, const char *what, const char *actual,
        const char *expected)
{
    size_t at = 0;

    while (actual[at] != '\0' && actual[at] == expected[at]) {
        at++;
    }
    at = at > 200 ? at - 200 : 0;
    ck_assert_msg(!strcmp(actual, expected), "%s: %s differs at %zu:\n%.400s\nexpected:\n%.400s",
            faulty_disk_name(fault), what, at, actual + at, expected + at);
}

static void compare(struct driver_fixture *fixture, const struct disk_fault *fault)
{
    struct end_state end = end_state_of(fixture);

    for (size_t i = 0; i < END_TOPICS; i++) {
        compare_text(fault, end_topics[i], end.records[i], clean.records[i]);
    }
    compare_text(fault, "state", end.dump, clean.dump);
    end_state_free(&end);
}

static void open_fixture(struct driver_fixture *fixture, const char *state_dir)
{
    driver_fixture_open(fixture,
            &(struct driver_fixture_options){
                    .partitions = 1, .small_transactions = true, .state_dir = state_dir});
    workload_prepare(fixture);
    workload_pipe(fixture, RECORDS / 2, false);
}

/* At the same time in every run, however long the first half has taken. */
static void pipe_second_half(struct driver_fixture *fixture)
{
    tally_topology_driver_advance(fixture->driver,
            FIXTURE_NOW_MS + SECOND_HALF_MS - tally_topology_driver_now(fixture->driver));
    workload_pipe(fixture, RECORDS, false);
}

static void remove_directory(const char *path)
{
    char command[512];

    snprintf(command, sizeof command, "rm -rf '%s'", path);
    ck_assert_int_eq(system(command), 0);
}

static void run(struct driver_fixture *fixture, const struct disk_fault *fault)
{
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code = tally_topology_driver_run(fixture->driver, &err);

    ck_assert_msg(code == TALLY_OK, "%s: %s: %s", faulty_disk_name(fault), tally_code_name(code),
            err.message);
}

static void start(struct driver_fixture *fixture, const struct disk_fault *fault)
{
    struct tally_error err = {.code = TALLY_OK};
    enum tally_code code = TALLY_STUCK;

    for (int i = 0; i < STARTS_MAX && code; i++) { /* a supervisor tries again */
        code = tally_topology_driver_start(fixture->driver, &err);
    }
    ck_assert_msg(code == TALLY_OK, "%s: %s: %s", faulty_disk_name(fault), tally_code_name(code),
            err.message);
}

/* Half of the commands, a kill, a start with the fault, the other half; then a kill and a start. */
static uint64_t run_with(const struct disk_fault *fault)
{
    char path[] = "/dev/shm/tally-disk-XXXXXX";
    struct driver_fixture fixture;
    uint64_t hits;

    ck_assert_ptr_nonnull(mkdtemp(path));
    open_fixture(&fixture, path);
    driver_fixture_run(&fixture);
    tally_topology_driver_crash(fixture.driver);
    faulty_disk_set(path, fault);
    start(&fixture, fault);
    run(&fixture, fault);
    pipe_second_half(&fixture);
    run(&fixture, fault);
    hits = faulty_disk_hits();
    faulty_disk_heal();
    tally_topology_driver_advance(fixture.driver, 1000);
    run(&fixture, fault); /* a store that was lost is open again, a damaged one rebuilt */
    compare(&fixture, fault);
    tally_topology_driver_crash(fixture.driver);
    start(&fixture, fault);
    run(&fixture, fault);
    compare(&fixture, fault);
    driver_fixture_close(&fixture);
    remove_directory(path);
    return hits;
}

static void setup(void)
{
    struct driver_fixture fixture;

    open_fixture(&fixture, NULL);
    driver_fixture_run(&fixture);
    tally_topology_driver_crash(fixture.driver);
    ck_assert_int_eq(tally_topology_driver_start(fixture.driver, &(struct tally_error){0}),
            TALLY_OK);
    pipe_second_half(&fixture);
    driver_fixture_run(&fixture);
    clean = end_state_of(&fixture);
    driver_fixture_close(&fixture);
}

static void teardown(void)
{
    end_state_free(&clean);
}

/* A run without faults tells how many calls there are. */
static uint64_t calls_of(enum disk_call call, enum disk_effect effect)
{
    (void)run_with(&(struct disk_fault){.call = call, .effect = effect, .nth = CALLS_MAX});
    return faulty_disk_calls();
}

static const struct torture {
    enum disk_call call;
    enum disk_effect effect;
    uint64_t count;
} tortures[] = {
        {DISK_OPEN, DISK_EIO, 1},
        {DISK_OPEN, DISK_EIO, 5},
        {DISK_OPEN, DISK_ENOSPC, 1},
        {DISK_OPEN, DISK_ENOSPC, 20},
        {DISK_READ, DISK_EIO, 1},
        {DISK_READ, DISK_EIO, 30},
        {DISK_READ, DISK_FLIP, 1},
        {DISK_WRITE, DISK_EIO, 1},
        {DISK_WRITE, DISK_EIO, 10},
        {DISK_WRITE, DISK_ENOSPC, 50},
        {DISK_WRITE, DISK_SHORT, 1},
        {DISK_WRITE, DISK_SHORT, 100},
        {DISK_WRITE, DISK_FLIP, 1},
        {DISK_SYNC, DISK_EIO, 1},
        {DISK_SYNC, DISK_EIO, 10},
        {DISK_NAME, DISK_EIO, 1},
        {DISK_NAME, DISK_ENOSPC, 10},
};
#define TORTURES ((int)(sizeof tortures / sizeof tortures[0]))

START_TEST(any_fault_of_the_disk)
{
    const struct torture *torture = &tortures[_i];
    uint64_t calls = calls_of(torture->call, torture->effect), step = calls / RUNS + 1, hits = 0;

    ck_assert_uint_gt(calls, 0);
    for (uint64_t nth = 1; nth <= calls; nth += step) {
        hits += run_with(&(struct disk_fault){.call = torture->call,
                .effect = torture->effect,
                .nth = nth,
                .count = torture->count});
    }
    ck_assert_uint_gt(hits, 0);
}
END_TEST

/* The largest table of the stock task. */
static uint64_t largest_table(const char *state_dir)
{
    char path[300];
    struct stat stat_buf;
    off_t largest = -1;
    uint64_t inode = 0;
    DIR *dir;

    snprintf(path, sizeof path, "%s/stock/0", state_dir);
    dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (strstr(entry->d_name, ".sst") &&
                fstatat(dirfd(dir), entry->d_name, &stat_buf, 0) == 0 &&
                stat_buf.st_size > largest) {
            largest = stat_buf.st_size;
            inode = (uint64_t)stat_buf.st_ino;
        }
    }
    closedir(dir);
    ck_assert_uint_gt(inode, 0);
    return inode;
}

/* A bad sector: one file cannot be read from some call on, and never again. */
START_TEST(a_file_that_stays_unreadable_is_rebuilt)
{
    struct disk_fault fault = {.call = DISK_READ,
            .effect = DISK_EIO,
            .nth = (uint64_t)_i + 1,
            .count = UINT64_MAX / 2};
    char path[] = "/dev/shm/tally-disk-XXXXXX";
    struct driver_fixture fixture;

    ck_assert_ptr_nonnull(mkdtemp(path));
    open_fixture(&fixture, path);
    driver_fixture_run(&fixture);
    tally_topology_driver_stop(fixture.driver);
    fault.inode = largest_table(path);
    faulty_disk_set(path, &fault);
    start(&fixture, &fault);
    run(&fixture, &fault);
    pipe_second_half(&fixture);
    run(&fixture, &fault);
    compare(&fixture, &fault);
    faulty_disk_heal();
    driver_fixture_close(&fixture);
    remove_directory(path);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("disk");
    TCase *tcase = tcase_create("every call");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 110);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, any_fault_of_the_disk, 0, TORTURES);
    tcase_add_loop_test(tcase, a_file_that_stays_unreadable_is_rebuilt, 0, 6);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
