/* tests/unit/test_state_directory.c - the lock, what a task directory may hold, and setting aside.
 * Numbers in parentheses are the invariants of state_directory.c. */
#include <check.h>
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "state/state_directory_internal.h"

static char dir[64];
static struct tally_error err;

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    (void)stat;
    (void)type;
    (void)walk;
    return remove(path);
}

static void setup(void)
{
    snprintf(dir, sizeof dir, "/tmp/tally-dir-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
    nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *in_dir(const char *name)
{
    static char path[128];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void make_file(const char *name)
{
    FILE *file = fopen(in_dir(name), "w");

    ck_assert_ptr_nonnull(file);
    fputs("content\n", file);
    fclose(file);
}

/* (1) */
START_TEST(test_one_process_holds_the_lock)
{
    char expected[128];
    int first, second;

    ck_assert_int_eq(state_directory_lock(dir, true, &first, &err), TALLY_OK);
    ck_assert_int_eq(state_directory_lock(dir, true, &second, &err), TALLY_STATE_LOCKED);
    snprintf(expected, sizeof expected, "\"%s\" is used by process %ld: stop it", dir,
            (long)getpid());
    ck_assert_msg(strstr(err.message, expected) != NULL, "%s", err.message);
    ck_assert_int_eq(second, -1);
    ck_assert_int_eq(state_directory_lock(dir, false, &second, &err), TALLY_STATE_LOCKED);
    state_directory_unlock(first);
    ck_assert_int_eq(state_directory_lock(dir, true, &second, &err), TALLY_OK);
    state_directory_unlock(second);
}
END_TEST

START_TEST(test_readers_share_the_lock)
{
    int first, second, writer;

    ck_assert_int_eq(state_directory_lock(dir, false, &first, &err), TALLY_OK);
    ck_assert_int_eq(state_directory_lock(dir, false, &second, &err), TALLY_OK);
    ck_assert_int_eq(state_directory_lock(dir, true, &writer, &err), TALLY_STATE_LOCKED);
    ck_assert_msg(strstr(err.message, "another process") != NULL, "%s", err.message);
    state_directory_unlock(first);
    state_directory_unlock(second);
    ck_assert_int_eq(state_directory_lock(in_dir("none"), false, &first, &err), TALLY_NOT_FOUND);
}
END_TEST

START_TEST(test_the_lock_ends_with_its_process)
{
    int fd, status = 0;
    pid_t pid = fork();

    if (pid == 0)
        _exit(state_directory_lock(dir, true, &fd, &err) == TALLY_OK ? 0 : 1);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(state_directory_lock(dir, true, &fd, &err), TALLY_OK);
    state_directory_unlock(fd);
}
END_TEST

START_TEST(test_makes_the_directory)
{
    int fd;

    ck_assert_int_eq(state_directory_lock(in_dir("a/b/c"), true, &fd, &err), TALLY_OK);
    ck_assert_int_eq(access(in_dir("a/b/c/LOCK"), F_OK), 0);
    state_directory_unlock(fd);
    make_file("file");
    ck_assert_int_eq(state_directory_lock(in_dir("file/x"), true, &fd, &err), TALLY_SYSTEM);
    ck_assert_msg(strstr(err.message, "file") != NULL, "%s", err.message);
}
END_TEST

static void inspect(const char *name, enum tally_code code, enum state_directory_content expected)
{
    enum state_directory_content content;

    ck_assert_int_eq(state_directory_inspect(in_dir(name), &content, &err), code);
    if (code == TALLY_OK)
        ck_assert_int_eq(content, expected);
}

/* (2) */
START_TEST(test_inspects_without_touching)
{
    inspect("absent", TALLY_OK, STATE_DIRECTORY_NEW);
    ck_assert_int_ne(access(in_dir("absent"), F_OK), 0);
    mkdir(in_dir("t"), 0755);
    inspect("t", TALLY_OK, STATE_DIRECTORY_NEW);
    make_file("t/MANIFEST-000001"); /* killed while RocksDB made its first files */
    make_file("t/LOG");
    make_file("t/000001.dbtmp");
    inspect("t", TALLY_OK, STATE_DIRECTORY_NEW);
    make_file("t/notes.txt");
    inspect("t", TALLY_FOREIGN_STATE, 0);
    ck_assert_msg(strstr(err.message, "notes.txt") != NULL, "%s", err.message);
    unlink(in_dir("t/notes.txt"));
    make_file("t/000012.sst");
    inspect("t", TALLY_STORE_CORRUPT, 0);
    make_file("t/CURRENT");
    inspect("t", TALLY_OK, STATE_DIRECTORY_STORE);
    make_file("file");
    inspect("file", TALLY_FOREIGN_STATE, 0);
}
END_TEST

START_TEST(test_prepare_empties_ingest)
{
    mkdir(in_dir("7"), 0755);
    mkdir(in_dir("7/ingest"), 0755);
    make_file("7/ingest/3.sst");
    make_file("7/CURRENT");
    ck_assert_int_eq(state_directory_prepare(in_dir("7"), &err), TALLY_OK);
    ck_assert_int_ne(access(in_dir("7/ingest/3.sst"), F_OK), 0);
    ck_assert_int_eq(access(in_dir("7/CURRENT"), F_OK), 0);
    ck_assert_int_eq(state_directory_prepare(in_dir("new/8"), &err), TALLY_OK);
    ck_assert_int_eq(access(in_dir("new/8/ingest"), F_OK), 0);
}
END_TEST

static int count_names(const char *start)
{
    DIR *listing = opendir(in_dir("stock"));
    int count = 0;

    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing)) {
        count += strncmp(entry->d_name, start, strlen(start)) == 0;
    }
    closedir(listing);
    return count;
}

START_TEST(test_keeps_the_newest_two_set_aside)
{
    const int64_t time_ms = 1768471200004; /* 2026-01-15T10:00:00.004Z */

    mkdir(in_dir("stock"), 0755);
    for (int i = 0; i < 4; i++) {
        mkdir(in_dir("stock/1"), 0755);
        mkdir(in_dir("stock/1/ingest"), 0755);
        make_file("stock/1/CURRENT");
        ck_assert_int_eq(state_directory_set_aside(in_dir("stock/1"), time_ms + i / 2, &err),
                TALLY_OK);
        ck_assert_int_ne(access(in_dir("stock/1"), F_OK), 0);
    }
    ck_assert_int_eq(count_names("1.aside-"), 2);
    /* two moves in one millisecond take different names */
    ck_assert_int_eq(access(in_dir("stock/1.aside-2026-01-15T10:00:00.006Z/CURRENT"), F_OK), 0);
    mkdir(in_dir("stock/11"), 0755);
    ck_assert_int_eq(state_directory_set_aside(in_dir("stock/11"), time_ms, &err), TALLY_OK);
    ck_assert_int_eq(count_names("1.aside-"), 2); /* another partition's are its own */
    ck_assert_int_eq(count_names("11.aside-"), 1);
    ck_assert_int_eq(state_directory_set_aside(in_dir("other/1"), time_ms, &err), TALLY_OK);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("state_directory");
    TCase *tests = tcase_create("state_directory");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, test_one_process_holds_the_lock);
    tcase_add_test(tests, test_readers_share_the_lock);
    tcase_add_test(tests, test_the_lock_ends_with_its_process);
    tcase_add_test(tests, test_makes_the_directory);
    tcase_add_test(tests, test_inspects_without_touching);
    tcase_add_test(tests, test_prepare_empties_ingest);
    tcase_add_test(tests, test_keeps_the_newest_two_set_aside);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
