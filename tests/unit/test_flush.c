/* tests/unit/test_flush.c - when flushes happen, what they leave when they fail, and what readers
 * on other threads see meanwhile. Cases run in memory and on RocksDB where both can. */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "state/view_internal.h"
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

static int64_t run_bytes(void)
{
    int64_t runs = 0;

    tally_state_memory(f.state, NULL, &runs, NULL);
    return runs;
}

static void put_bytes(const char *key, size_t size)
{
    uint8_t *value = tally_alloc_zero(1, size);

    tally_store_put(f.store, tally_slice_string(key), tally_slice_of(value, size));
    tally_free(value);
}

/* --- when
 * ------------------------------------------------------------------------------------------ */

START_TEST(test_little_waits_ten_intervals)
{
    fixture_begin(&f, _i);
    fixture_put(&f, "La", "1");
    fixture_commit(&f, 1);
    tally_fake_clock_advance(&f.clock, 9999);
    fixture_commit(&f, 2);
    ck_assert_int_gt(run_bytes(), 0);
    tally_fake_clock_advance(&f.clock, 1);
    fixture_commit(&f, 3);
    ck_assert_int_eq(run_bytes(), 0);
    fixture_put(&f, "La", "2"); /* and the time counts anew */
    fixture_commit(&f, 4);
    ck_assert_int_gt(run_bytes(), 0);
}
END_TEST

START_TEST(test_a_megabyte_waits_one_interval)
{
    fixture_begin(&f, _i);
    put_bytes("La", 1100 * 1024);
    fixture_commit(&f, 1);
    tally_fake_clock_advance(&f.clock, 999);
    fixture_commit(&f, 2);
    ck_assert_int_gt(run_bytes(), 0);
    tally_fake_clock_advance(&f.clock, 1);
    fixture_commit(&f, 3);
    ck_assert_int_eq(run_bytes(), 0);
}
END_TEST

START_TEST(test_flush_bytes_are_flushed_at_once)
{
    fixture_init(&f, _i);
    f.options.flush_bytes = 200000;
    fixture_open(&f);
    put_bytes("La", 150000);
    fixture_commit(&f, 1);
    ck_assert_int_gt(run_bytes(), 0);
    put_bytes("Lb", 150000);
    fixture_commit(&f, 2);
    ck_assert_int_eq(run_bytes(), 0);
}
END_TEST

START_TEST(test_memory_pressure_flushes)
{
    char key[32];

    fixture_init(&f, _i);
    f.options.flush_bytes = INT64_MAX;
    fixture_open(&f);
    for (int i = 0; i < 600; i++) { /* 60 MB through a share of 48 MiB */
        snprintf(key, sizeof key, "L%d", i);
        put_bytes(key, 100000);
        fixture_commit(&f, i + 1);
        ck_assert(!tally_state_full(f.state));
    }
    ck_assert_int_eq(tally_store_health(f.store, &f.err), TALLY_OK);
}
END_TEST

START_TEST(test_full_until_a_flush_succeeds)
{
    fixture_begin(&f, _i);
    put_bytes("La", 49 * 1024 * 1024);
    ck_assert(tally_state_full(f.state)); /* uncommitted bytes count too */
    tally_store_rollback(f.store);
    ck_assert_int_eq(tally_store_prefetch(f.store, NULL, 0, NULL, &f.err), TALLY_OK);
    ck_assert(!tally_state_full(f.state));
}
END_TEST

/* A hundred small commits a second must not leave a hundred runs to look through. */
START_TEST(test_runs_stay_few)
{
    struct tally_view *view;

    fixture_init(&f, _i);
    f.options.flush_bytes = INT64_MAX;
    fixture_open(&f);
    for (int i = 0; i < 1000; i++) {
        char key[32];

        snprintf(key, sizeof key, "L%d", i * 7919 % 500);
        fixture_put(&f, key, i % 3 ? "value" : NULL);
        if (i % 50 == 0)
            put_bytes("Lbig", 300000);
        fixture_commit(&f, i + 1);
        view = tally_store_view(f.store);
        ck_assert_uint_le(view->run_count, 24);
        tally_view_unref(view);
    }
    view = tally_store_view(f.store);
    ck_assert_int_eq(tally_view_positions(view)->in_next, 1000);
    ck_assert_str_eq(fixture_view_get(&f, view, "L0"), "value");
    ck_assert_str_eq(fixture_view_get(&f, view, "L7919"), "(none)");
    tally_view_unref(view);
}
END_TEST

/* --- failures
 * -------------------------------------------------------------------------------------- */

static void replace_ingest_by_a_file(void)
{
    FILE *file;

    ck_assert_int_eq(rmdir(fixture_path(&f, "ingest")), 0);
    file = fopen(fixture_path(&f, "ingest"), "w");
    ck_assert_ptr_nonnull(file);
    fclose(file);
}

/* A file that cannot be written leaves runs, reads and the base as they are; retries back off. */
START_TEST(test_a_failed_file_keeps_the_runs)
{
    fixture_begin(&f, FIXTURE_ROCKSDB);
    fixture_put(&f, "La", "base");
    fixture_commit(&f, 1);
    fixture_flush(&f);
    replace_ingest_by_a_file();
    fixture_put(&f, "Lb", "run");
    fixture_commit(&f, 2);
    ck_assert_int_eq(tally_store_flush(f.store, true, 1000, &f.err), TALLY_STORE_ERROR);
    ck_assert_int_eq(tally_store_health(f.store, &f.err), TALLY_STORE_ERROR);
    ck_assert_ptr_nonnull(strstr(f.err.message, "/stock/2"));
    ck_assert_str_eq(fixture_scan(&f, NULL, "L", "", false), "La=base Lb=run");
    ck_assert_int_eq(unlink(fixture_path(&f, "ingest")), 0);
    fixture_commit(&f, 3); /* still backing off */
    ck_assert_int_eq(tally_store_health(f.store, &f.err), TALLY_STORE_ERROR);
    tally_fake_clock_advance(&f.clock, 100);
    fixture_commit(&f, 4);
    ck_assert_int_eq(tally_store_health(f.store, &f.err), TALLY_OK);
    fixture_reopen(&f, false);
    ck_assert_str_eq(fixture_scan(&f, NULL, "L", "", false), "La=base Lb=run");
}
END_TEST

START_TEST(test_back_off_grows_to_ten_seconds)
{
    int64_t waited = 0, total = 0;

    fixture_begin(&f, FIXTURE_ROCKSDB);
    replace_ingest_by_a_file();
    fixture_put(&f, "La", "1");
    fixture_commit(&f, 1);
    ck_assert_int_eq(tally_store_flush(f.store, true, 1000, &f.err), TALLY_STORE_ERROR);
    ck_assert_int_eq(unlink(fixture_path(&f, "ingest")), 0);
    for (int i = 0; i < 9; i++) { /* explicit attempts do not wait, but count */
        mkdir(fixture_path(&f, "ingest"), 0755);
        replace_ingest_by_a_file();
        ck_assert_int_eq(tally_store_flush(f.store, true, 1000, &f.err), TALLY_STORE_ERROR);
        ck_assert_int_eq(unlink(fixture_path(&f, "ingest")), 0);
    }
    for (; total < 20000; total += waited) {
        waited = 100;
        fixture_commit(&f, 2);
        if (tally_store_health(f.store, &f.err) == TALLY_OK)
            break;
        tally_fake_clock_advance(&f.clock, waited);
    }
    ck_assert_int_eq(total, 10000);
}
END_TEST

/* The names that RocksDB would give the next files are taken, so the ingestion itself fails. */
static void block_ingestion(bool block)
{
    for (int i = 1; i < 200; i++) {
        char name[32];
        struct stat stat_buf;

        snprintf(name, sizeof name, "%06d.sst", i);
        if (block) {
            mkdir(fixture_path(&f, name), 0755);
        } else if (stat(fixture_path(&f, name), &stat_buf) == 0 && S_ISDIR(stat_buf.st_mode)) {
            ck_assert_int_eq(rmdir(fixture_path(&f, name)), 0);
        }
    }
}

START_TEST(test_a_lost_base_is_reopened_without_readers)
{
    struct tally_view *reader;

    fixture_begin(&f, FIXTURE_ROCKSDB);
    fixture_put(&f, "La", "base");
    fixture_commit(&f, 1);
    fixture_flush(&f);
    reader = tally_store_view(f.store);
    ck_assert_str_eq(fixture_get(&f, "La"), "base");
    fixture_put(&f, "Lb", "run");
    fixture_commit(&f, 2);
    block_ingestion(true);
    ck_assert_int_eq(tally_store_flush(f.store, true, 1000, &f.err), TALLY_STORE_ERROR);
    block_ingestion(false);
    /* runs are still there, the base is not, and that is no "not found" */
    ck_assert_str_eq(fixture_view_get(&f, NULL, "Lb"), "run");
    ck_assert_str_eq(fixture_view_get(&f, NULL, "La"), "STORE_ERROR");
    ck_assert_str_eq(fixture_get(&f, "La"), "base"); /* the owner's clean entry */
    ck_assert_str_eq(fixture_get(&f, "Lother"), "STORE_ERROR");
    ck_assert_str_eq(fixture_scan(&f, NULL, "L", "", false), " STORE_ERROR");
    ck_assert_str_eq(fixture_view_get(&f, reader, "La"), "base"); /* old views have their own */
    ck_assert_int_eq(tally_store_flush(f.store, true, 1000, &f.err), TALLY_STORE_ERROR);
    ck_assert_ptr_nonnull(strstr(f.err.message, "readers still hold"));
    tally_view_unref(reader);
    fixture_flush(&f);
    ck_assert_int_eq(tally_store_health(f.store, &f.err), TALLY_OK);
    ck_assert_str_eq(fixture_scan(&f, NULL, "L", "", false), "La=base Lb=run");
    ck_assert_str_eq(fixture_get(&f, "Lother"), "(none)");
    fixture_reopen(&f, false);
    ck_assert_str_eq(fixture_scan(&f, NULL, "L", "", false), "La=base Lb=run");
}
END_TEST

/* --- threads
 * --------------------------------------------------------------------------------------- */

enum { READERS = 3, COMMITS = 600, PAIR = 40 };

static atomic_bool stop;
static atomic_int wrong, reads;

/* All keys of a commit have one value, which is the commit's offset. */
static bool all_or_nothing(struct tally_view *view, bool backwards)
{
    struct tally_iterator *iterator =
            tally_view_iterate(view, TALLY_SLICE("L"), TALLY_NONE, backwards);
    struct tally_slice key, value;
    enum tally_code code;
    struct tally_error err;
    char expected[24];
    int rows = 0;
    bool fine = true;

    snprintf(expected, sizeof expected, "%lld", (long long)tally_view_positions(view)->in_next);
    while (tally_iterator_next(iterator, &key, &value, &code, &err)) {
        rows++;
        fine = fine && tally_slice_equal(value, tally_slice_string(expected));
    }
    tally_iterator_destroy(iterator);
    return fine && code == TALLY_OK && (rows == PAIR || tally_view_positions(view)->in_next == -1);
}

static bool gets_agree(struct tally_view *view, unsigned number)
{
    struct tally_buf value;
    struct tally_error err;
    char key[16], expected[24];
    bool fine;

    if (tally_view_positions(view)->in_next == -1)
        return true;
    snprintf(key, sizeof key, "L%02u", number % PAIR);
    snprintf(expected, sizeof expected, "%lld", (long long)tally_view_positions(view)->in_next);
    tally_buf_init(&value, 100);
    fine = tally_view_get(view, tally_slice_string(key), &value, &err) == TALLY_OK &&
           tally_slice_equal(tally_buf_bytes(&value), tally_slice_string(expected));
    tally_buf_deinit(&value);
    return fine;
}

/* Holds each view over several others, so that lifetimes overlap in every way. */
static void *read_views(void *argument)
{
    struct tally_view *held[8] = {NULL};
    unsigned number = (unsigned)(size_t)argument;

    while (!atomic_load(&stop)) {
        struct tally_view *view = tally_store_view(f.store);
        size_t at = number++ % 8;

        tally_view_unref(held[at]);
        held[at] = view;
        view = held[(at + 3) % 8] ? held[(at + 3) % 8] : view;
        if (!all_or_nothing(view, number % 2) || !gets_agree(view, number))
            atomic_fetch_add(&wrong, 1);
        atomic_fetch_add(&reads, 1);
    }
    for (size_t i = 0; i < 8; i++) {
        tally_view_unref(held[i]);
    }
    return NULL;
}

static void commit_all(int64_t offset)
{
    char key[16], value[24];

    snprintf(value, sizeof value, "%lld", (long long)offset);
    for (unsigned i = 0; i < PAIR; i++) {
        snprintf(key, sizeof key, "L%02u", i);
        fixture_put(&f, key, value);
    }
    fixture_commit(&f, offset);
}

/* (1) of store.h, with a flush thread that never rests. */
START_TEST(test_readers_see_all_or_nothing)
{
    pthread_t threads[READERS];
    int64_t offset = 0;

    fixture_init(&f, _i);
    f.options.flush_inline = false;
    f.options.clock = tally_clock_real();
    f.options.flush_interval_ms = 5;
    f.options.flush_bytes = 20000;
    fixture_open(&f);
    atomic_store(&stop, false);
    for (size_t i = 0; i < READERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_views, (void *)i), 0);
    }
    while (offset < COMMITS || atomic_load(&reads) < 200) {
        commit_all(++offset);
        if (offset % 50 == 0) {
            fixture_put(&f, "L00", "never seen");
            tally_store_rollback(f.store);
        }
        if (offset % 100 == 0)
            fixture_flush(&f);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
    }
    ck_assert_int_eq(atomic_load(&wrong), 0);
    ck_assert_int_eq(tally_store_health(f.store, &f.err), TALLY_OK);
    fixture_reopen(&f, true);
    ck_assert_int_eq(atomic_load(&wrong), 0);
    {
        struct tally_view *view = tally_store_view(f.store);

        ck_assert_int_eq(tally_view_positions(view)->in_next, offset);
        ck_assert(all_or_nothing(view, false));
        tally_view_unref(view);
    }
}
END_TEST

static void *release_later(void *argument)
{
    usleep(20000);
    tally_view_unref(argument);
    return NULL;
}

/* Opening waits for readers of the closed store, instead of failing or opening twice. */
START_TEST(test_open_waits_for_readers)
{
    struct tally_view *view;
    pthread_t thread;

    fixture_begin(&f, _i);
    fixture_put(&f, "La", "1");
    fixture_commit(&f, 1);
    fixture_flush(&f);
    view = tally_store_view(f.store);
    tally_store_close(f.store, true);
    f.store = NULL;
    ck_assert_int_eq(pthread_create(&thread, NULL, release_later, view), 0);
    fixture_open(&f);
    pthread_join(thread, NULL);
    ck_assert_str_eq(fixture_get(&f, "La"), "1");
}
END_TEST

START_TEST(test_the_thread_flushes_in_time)
{
    fixture_init(&f, _i);
    f.options.flush_inline = false;
    f.options.clock = tally_clock_real();
    f.options.flush_interval_ms = 1;
    fixture_open(&f);
    fixture_put(&f, "La", "1");
    fixture_commit(&f, 1);
    while (run_bytes() > 0) { /* the suite's timeout bounds it */
        usleep(1000);
    }
    ck_assert_str_eq(fixture_view_get(&f, NULL, "La"), "1");
    fixture_put(&f, "Lb", "2");
    fixture_commit(&f, 2);
    ck_assert_int_eq(tally_store_flush(f.store, false, 0, &f.err), TALLY_OK);
    fixture_flush(&f);
    fixture_reopen(&f, false);
    ck_assert_str_eq(fixture_scan(&f, NULL, "L", "", false), "La=1 Lb=2");
}
END_TEST

START_TEST(test_waiting_for_a_flush_that_fails)
{
    fixture_init(&f, FIXTURE_ROCKSDB);
    f.options.flush_inline = false;
    f.options.clock = tally_clock_real();
    fixture_open(&f);
    replace_ingest_by_a_file();
    fixture_put(&f, "La", "1");
    fixture_commit(&f, 1);
    ck_assert_int_eq(tally_store_flush(f.store, true, 10000, &f.err), TALLY_STORE_ERROR);
    ck_assert_int_eq(tally_store_flush(f.store, true, 0, &f.err), TALLY_TIMEOUT);
    ck_assert_int_eq(unlink(fixture_path(&f, "ingest")), 0);
    ck_assert_int_eq(tally_store_flush(f.store, true, 10000, &f.err), TALLY_OK);
}
END_TEST

/* --- kill -9 ---------------------------------------------------------------------------------- */

static int64_t applied(void)
{
    struct tally_view *view = tally_store_view(f.store);
    int64_t offset = tally_view_positions(view)->in_next;

    tally_view_unref(view);
    return offset;
}

/* What the processes of one test tell each other. */
struct killing {
    int64_t offset;          /* of the last state that was looked at */
    _Atomic int64_t commits; /* of the process that lives now */
};

static _Noreturn void commit_until_killed(struct killing *killing)
{
    int64_t offset;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* should the test itself be killed */
    fixture_open(&f);
    for (offset = applied() < 0 ? 0 : applied();;) {
        commit_all(++offset);
        atomic_fetch_add(&killing->commits, 1);
    }
}

/* Exits with 0 when the directory holds exactly one commit's state; its offset goes to *offset. */
static _Noreturn void look_at_what_is_left(int64_t *offset)
{
    struct tally_view *view;
    bool fine;

    fixture_open(&f);
    view = tally_store_view(f.store);
    fine = all_or_nothing(view, false) && applied() >= *offset;
    *offset = applied();
    tally_view_unref(view);
    tally_store_close(f.store, false);
    tally_state_close(f.state);
    _exit(fine ? 0 : 1);
}

/* (2) of store.h. The parent stays out of RocksDB, whose threads a fork would not take along. Goes
 * on until some flush was in time; the suite's timeout bounds it. */
START_TEST(test_killed_at_any_moment)
{
    struct killing *killing =
            mmap(NULL, sizeof *killing, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status = 0;

    fixture_init(&f, FIXTURE_ROCKSDB);
    f.options.flush_inline = false;
    f.options.clock = tally_clock_real();
    f.options.flush_interval_ms = 1;
    f.options.flush_bytes = 20000;
    killing->offset = -1;
    for (int round = 0; round < 10 || killing->offset <= 0; round++) {
        pid_t pid;

        atomic_store(&killing->commits, 0);
        pid = fork();
        if (pid == 0)
            commit_until_killed(killing);
        while (atomic_load(&killing->commits) < 1 + 20 * round) {
            usleep(500);
        }
        kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert(WIFSIGNALED(status));
        pid = fork();
        if (pid == 0)
            look_at_what_is_left(&killing->offset);
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
    }
    munmap(killing, sizeof *killing);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flush");
    TCase *tests = tcase_create("flush");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, test_little_waits_ten_intervals, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_a_megabyte_waits_one_interval, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_flush_bytes_are_flushed_at_once, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_memory_pressure_flushes, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_full_until_a_flush_succeeds, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_runs_stay_few, 0, FIXTURE_KINDS);
    tcase_add_test(tests, test_a_failed_file_keeps_the_runs);
    tcase_add_test(tests, test_back_off_grows_to_ten_seconds);
    tcase_add_test(tests, test_a_lost_base_is_reopened_without_readers);
    tcase_add_loop_test(tests, test_readers_see_all_or_nothing, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_open_waits_for_readers, 0, FIXTURE_KINDS);
    tcase_add_loop_test(tests, test_the_thread_flushes_in_time, 0, FIXTURE_KINDS);
    tcase_add_test(tests, test_waiting_for_a_flush_that_fails);
    tcase_add_test(tests, test_killed_at_any_moment);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
