/* tests/unit/test_store_rocksdb.c - what a killed process, a damaged disk or a stranger leaves
 * behind. Rule of all cases: damage is told as STORE_CORRUPT or STORE_ERROR, never as "not found".
 */
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "state/store_internal.h"
#include "state/store_meta_internal.h"
#include "state/store_rocksdb_internal.h"
#include "tests/unit/store_fixture.h"

enum { ROWS = 3000 };

static struct fixture f;

static void setup(void)
{
    fixture_begin(&f, FIXTURE_ROCKSDB);
}

static void teardown(void)
{
    fixture_end(&f);
}

static void put_rows(int64_t offset)
{
    char key[16], value[64];

    for (int i = 0; i < ROWS; i++) {
        snprintf(key, sizeof key, "L%06d", i);
        snprintf(value, sizeof value, "value %d of commit %lld, a few bytes long", i,
                (long long)offset);
        fixture_put(&f, key, value);
    }
    fixture_commit(&f, offset);
}

static void copy_file(const char *from, const char *to)
{
    char bytes[4096];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    size_t len;

    ck_assert(in && out);
    while ((len = fread(bytes, 1, sizeof bytes, in)) > 0) {
        ck_assert_uint_eq(fwrite(bytes, 1, len, out), len);
    }
    fclose(in);
    fclose(out);
}

/* The largest file of the task directory whose name ends so; its path. */
static const char *find_file(const char *end)
{
    DIR *dir = opendir(fixture_path(&f, "."));
    static char path[300];
    off_t largest = -1;

    path[0] = '\0';
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        size_t len = strlen(entry->d_name);
        struct stat stat_buf;

        if (len <= strlen(end) || strcmp(entry->d_name + len - strlen(end), end) != 0)
            continue;
        ck_assert_int_eq(fstatat(dirfd(dir), entry->d_name, &stat_buf, 0), 0);
        if (stat_buf.st_size > largest) {
            largest = stat_buf.st_size;
            snprintf(path, sizeof path, "%s/stock/2/%.100s", f.dir, entry->d_name);
        }
    }
    closedir(dir);
    ck_assert_str_ne(path, "");
    return path;
}

/* The table with the largest number: the newest. */
static void newest_table(char name[static 64])
{
    DIR *dir = opendir(fixture_path(&f, "."));

    name[0] = '\0';
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (strstr(entry->d_name, ".sst") && strcmp(entry->d_name, name) > 0)
            snprintf(name, 64, "%.63s", entry->d_name);
    }
    closedir(dir);
    ck_assert_str_ne(name, "");
}

static void flip_byte(const char *path, off_t at)
{
    int fd = open(path, O_RDWR);
    uint8_t byte;

    ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 0x40;
    ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* The manifest that CURRENT names; its path. */
static const char *manifest(void)
{
    char name[64] = "";
    FILE *current = fopen(fixture_path(&f, "CURRENT"), "r");

    ck_assert_ptr_nonnull(current);
    ck_assert_ptr_nonnull(fgets(name, sizeof name, current));
    fclose(current);
    name[strcspn(name, "\n")] = '\0';
    return fixture_path(&f, name);
}

static void close_store(void)
{
    tally_store_close(f.store, true);
    f.store = NULL;
}

static enum tally_code open_store(void)
{
    return tally_store_open(f.state, &f.identity, &f.store, &f.err);
}

START_TEST(test_leftovers_of_a_killed_flush_are_removed)
{
    char leftover[300];

    put_rows(1);
    close_store();
    snprintf(leftover, sizeof leftover, "%s", fixture_path(&f, "ingest/17.sst"));
    copy_file(find_file(".sst"), leftover);
    ck_assert_int_eq(open_store(), TALLY_OK);
    ck_assert_int_ne(access(fixture_path(&f, "ingest/17.sst"), F_OK), 0);
    put_rows(2);
    fixture_flush(&f);
    ck_assert_ptr_nonnull(strstr(fixture_get(&f, "L000007"), "of commit 2"));
}
END_TEST

static size_t count_files(const char *end)
{
    DIR *dir = opendir(fixture_path(&f, "."));
    size_t count = 0;

    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        size_t len = strlen(entry->d_name);

        count += len > strlen(end) && strcmp(entry->d_name + len - strlen(end), end) == 0;
    }
    closedir(dir);
    return count;
}

/* RocksDB makes a write-ahead log at every opening, and keeps those that nothing was written to. */
START_TEST(test_openings_leave_no_files_behind)
{
    fclose(fopen(fixture_path(&f, "notes.log"), "w")); /* not RocksDB's */
    for (int i = 1; i <= 5; i++) {
        put_rows(i);
        close_store();
        ck_assert_int_eq(open_store(), TALLY_OK);
    }
    ck_assert_uint_le(count_files(".log"), 1 + 1);
    ck_assert_ptr_nonnull(strstr(fixture_get(&f, "L000007"), "of commit 5"));
}
END_TEST

/* Killed between the finished file and its ingestion: the older state, with its own positions. */
START_TEST(test_a_finished_file_that_was_not_ingested_means_nothing)
{
    char kept[300];
    struct tally_view *view;

    put_rows(1);
    fixture_flush(&f);
    close_store();
    snprintf(kept, sizeof kept, "%s/kept", f.dir);
    copy_file(find_file(".sst"), kept); /* any whole file of ours, as a flush would have left it */
    copy_file(kept, fixture_path(&f, "ingest/0.sst"));
    ck_assert_int_eq(open_store(), TALLY_OK);
    view = tally_store_view(f.store);
    ck_assert_int_eq(tally_view_positions(view)->in_next, 1);
    tally_view_unref(view);
    ck_assert_int_ne(access(fixture_path(&f, "ingest/0.sst"), F_OK), 0);
    put_rows(2); /* and its name can be used again */
    fixture_flush(&f);
}
END_TEST

START_TEST(test_killed_while_the_directory_was_made)
{
    close_store();
    ck_assert_int_eq(tally_store_set_aside(f.state, "stock", 2, &f.err), TALLY_OK);
    mkdir(fixture_path(&f, ""), 0755);
    fclose(fopen(fixture_path(&f, "LOG"), "w"));
    fclose(fopen(fixture_path(&f, "000001.dbtmp"), "w"));
    ck_assert_int_eq(open_store(), TALLY_OK);
}
END_TEST

/* A database without any file of ours in it is as new; one with rows but no meta is damage. */
START_TEST(test_a_database_without_meta)
{
    static const uint8_t bytes[] = {'L', 'k', 'v'};
    struct row row = {.key = bytes, .key_len = 2, .value_len = 1};
    struct run *run = run_freeze(&row, 1, 0, NULL);
    struct cursor *rows = run_cursor(run, TALLY_NONE, TALLY_NONE, false);
    struct base *base = NULL;
    int64_t size;
    bool lost;

    close_store();
    ck_assert_int_eq(tally_store_set_aside(f.state, "stock", 2, &f.err), TALLY_OK);
    mkdir(fixture_path(&f, ""), 0755);
    for (int i = 0; i < 2; i++) {
        char *path = tally_copy_string(fixture_path(&f, ""));

        path[strlen(path) - 1] = '\0';
        ck_assert_int_eq(store_rocksdb_open(f.state, path,
                                 i == 0 ? STORE_ROCKSDB_CREATE : STORE_ROCKSDB_EXISTING, &base,
                                 &f.err),
                TALLY_OK);
        tally_free(path);
        if (i == 1)
            ck_assert_int_eq(base->ops->ingest(base, rows, &size, &lost, &f.err), TALLY_OK);
        base_unref(base);
    }
    ck_assert_int_eq(open_store(), TALLY_STORE_CORRUPT);
    ck_assert_ptr_nonnull(strstr(f.err.message, "not whose they are"));
    cursor_destroy(rows);
    run_unref(run);
}
END_TEST

START_TEST(test_foreign_files_are_left_alone)
{
    FILE *file;

    close_store();
    ck_assert_int_eq(tally_store_set_aside(f.state, "stock", 2, &f.err), TALLY_OK);
    mkdir(fixture_path(&f, ""), 0755);
    file = fopen(fixture_path(&f, "thesis.txt"), "w");
    fputs("years of work\n", file);
    fclose(file);
    ck_assert_int_eq(open_store(), TALLY_FOREIGN_STATE);
    ck_assert_ptr_nonnull(strstr(f.err.message, "thesis.txt"));
    ck_assert_int_eq(access(fixture_path(&f, "thesis.txt"), F_OK), 0);
    ck_assert_int_ne(access(fixture_path(&f, "CURRENT"), F_OK), 0);
    ck_assert_int_ne(access(fixture_path(&f, "ingest"), F_OK), 0);
}
END_TEST

START_TEST(test_lost_files_are_damage)
{
    static const char *const names[] = {"CURRENT", ".sst", "MANIFEST"};
    const char *path;

    put_rows(1);
    close_store();
    if (_i == 2) {
        path = manifest();
    } else {
        path = _i == 0 ? fixture_path(&f, names[0]) : find_file(names[1]);
    }
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(open_store(), TALLY_STORE_CORRUPT);
    ck_assert_int_eq(tally_store_set_aside(f.state, "stock", 2, &f.err), TALLY_OK);
    ck_assert_int_eq(open_store(), TALLY_OK);
    ck_assert_str_eq(fixture_get(&f, "L000001"), "(none)");
}
END_TEST

static bool is_damage(const char *text)
{
    return strcmp(text, "STORE_CORRUPT") == 0 || strcmp(text, "STORE_ERROR") == 0;
}

/* A byte flipped anywhere in the data is noticed by whoever needs it. */
START_TEST(test_a_flipped_byte_is_never_an_absence)
{
    char key[16], value[64];
    struct stat stat_buf;
    const char *path;
    int damaged = 0;
    enum tally_code code;

    put_rows(6);
    close_store();
    path = find_file(".sst");
    ck_assert_int_eq(stat(path, &stat_buf), 0);
    flip_byte(path, stat_buf.st_size * _i / 20);
    code = open_store();
    if (code) { /* in what is read at open */
        ck_assert_int_eq(code, TALLY_STORE_CORRUPT);
        ck_assert_int_eq(tally_store_set_aside(f.state, "stock", 2, &f.err), TALLY_OK);
        ck_assert_int_eq(open_store(), TALLY_OK);
        return;
    }
    for (int i = 0; i < ROWS; i++) {
        const char *got;

        snprintf(key, sizeof key, "L%06d", i);
        snprintf(value, sizeof value, "value %d of commit 6, a few bytes long", i);
        got = fixture_get(&f, key);
        if (strcmp(got, value) != 0) {
            ck_assert_msg(is_damage(got), "%s", got);
            damaged++;
        }
    }
    if (damaged > 0) {
        ck_assert_int_eq(tally_store_health(f.store, &f.err), TALLY_STORE_CORRUPT);
        ck_assert_ptr_nonnull(strstr(fixture_scan(&f, NULL, "L", "", false), "STORE_CORRUPT"));
        fixture_put(&f, "Lnew", "1"); /* no flush writes into a damaged store */
        fixture_commit(&f, 7);
        ck_assert_int_eq(tally_store_flush(f.store, true, 1000, &f.err), TALLY_STORE_CORRUPT);
    }
}
END_TEST

/* The manifest has ended in the middle of its last record: as after a loss of power, an older
 * prefix for the instance, which replays the rest; for a tool, which cannot, damage. */
START_TEST(test_a_torn_manifest_is_an_older_prefix)
{
    struct tally_store *store = NULL;
    struct stat stat_buf;
    const char *path;

    put_rows(1);
    fixture_flush(&f);
    put_rows(2);
    close_store();
    path = manifest();
    ck_assert_int_eq(stat(path, &stat_buf), 0);
    ck_assert_int_eq(truncate(path, stat_buf.st_size - 1 - _i * 20), 0);
    tally_state_close(f.state);
    f.state = NULL;
    ck_assert_int_eq(tally_store_open_read_only(f.dir, "stock", 2, &store, &f.err),
            TALLY_STORE_CORRUPT);
    ck_assert_ptr_nonnull(strstr(f.err.message, "MANIFEST-"));
    fixture_open(&f);
    ck_assert_ptr_nonnull(strstr(fixture_get(&f, "L000001"), "of commit 1"));
}
END_TEST

/* RocksDB skips a block of its manifest from a header of zeros on, and takes a length beyond the
 * end of the file for its end: the rows of a whole flush would be absent. */
START_TEST(test_a_hole_in_the_manifest_is_damage)
{
    static const uint8_t zeros[7];
    struct stat stat_buf;
    const char *path;
    off_t first;
    int fd;

    put_rows(2);
    fixture_flush(&f);
    path = manifest();
    ck_assert_int_eq(stat(path, &stat_buf), 0);
    first = stat_buf.st_size;
    put_rows(3);
    fixture_flush(&f);
    put_rows(4);
    close_store();
    ck_assert_int_eq(stat(path, &stat_buf), 0);
    ck_assert_int_gt(stat_buf.st_size, first);
    fd = open(path, O_RDWR);
    if (_i == 0) {
        ck_assert_int_eq(pwrite(fd, zeros, sizeof zeros, first), sizeof zeros);
    } else {
        ck_assert_int_eq(pwrite(fd, "\xff\x7f", 2, first + 4), 2);
    }
    close(fd);
    ck_assert_int_eq(open_store(), TALLY_STORE_CORRUPT);
    ck_assert_ptr_nonnull(strstr(f.err.message, "MANIFEST-"));
    ck_assert_ptr_nonnull(strstr(f.err.message, "damaged at byte"));
}
END_TEST

/* Rows that only an open handle could still give are damage, not an error that passes. */
START_TEST(test_a_file_removed_while_open)
{
    char command[400];

    put_rows(1);
    fixture_flush(&f);
    fixture_reopen(&f, true); /* no block of it is in the cache */
    snprintf(command, sizeof command, "rm -rf '%s'/stock/2%s", f.dir, _i == 0 ? "/*.sst" : "");
    ck_assert_int_eq(system(command), 0);
    fixture_put(&f, "Lnew", "1");
    fixture_commit(&f, 2);
    if (_i == 0) {
        const char *got = fixture_get(&f, "L000001");

        ck_assert_msg(strstr(got, "of commit 1") || strcmp(got, "STORE_CORRUPT") == 0, "%s", got);
    } else {
        ck_assert_int_eq(tally_store_flush(f.store, true, 1000, &f.err), TALLY_STORE_CORRUPT);
        ck_assert_int_eq(tally_store_health(f.store, &f.err), TALLY_STORE_CORRUPT);
    }
}
END_TEST

/* A copy from before was put back and has lived on; then a file of the other life, of the same name
 * and size, comes into it: a mixture of two copies must not pass for one. */
START_TEST(test_a_file_of_another_life_is_damage)
{
    char command[600], kept[300], name[64];

    put_rows(1);
    close_store();
    snprintf(command, sizeof command, "cp -r '%s/stock/2' '%s/copy'", f.dir, f.dir);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(open_store(), TALLY_OK);
    put_rows(2);
    close_store();
    newest_table(name);
    snprintf(kept, sizeof kept, "%s/kept", f.dir);
    copy_file(fixture_path(&f, name), kept);
    snprintf(command, sizeof command, "rm -r '%s/stock/2' && mv '%s/copy' '%s/stock/2'", f.dir,
            f.dir, f.dir);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(open_store(), TALLY_OK);
    put_rows(3);
    close_store();
    ck_assert_int_eq(access(fixture_path(&f, name), F_OK), 0); /* the same number again */
    copy_file(kept, fixture_path(&f, name));
    if (open_store() == TALLY_OK)
        ck_assert_str_eq(fixture_get(&f, "L000001"), "STORE_CORRUPT");
    ck_assert_int_eq(f.err.code, TALLY_STORE_CORRUPT);
}
END_TEST

/* What RocksDB calls an invalid argument or not implemented is damage too when it stands in a file
 * that somebody has written before. */
START_TEST(test_whatever_cannot_be_opened_is_damage)
{
    static const char *const contents[] = {"", "MANIFEST-000005", "MANIFEST-\n", "MANIFEST-1\n",
            "000004.log\n", "MANIFEST-99999999999999999999\n", "\n", ".\n", "../2\n",
            "MANIFEST-000005/\n", "IDENTITY\n"};
    FILE *file;

    put_rows(1);
    close_store();
    file = fopen(fixture_path(&f, "CURRENT"), "w");
    ck_assert_ptr_nonnull(file);
    fputs(contents[_i], file);
    fclose(file);
    ck_assert_msg(open_store() == TALLY_STORE_CORRUPT, "\"%s\": %s", contents[_i], f.err.message);
}
END_TEST

START_TEST(test_a_tool_names_the_file)
{
    struct tally_store *store = NULL;
    struct stat stat_buf;
    const char *path, *name;

    put_rows(1);
    close_store();
    tally_state_close(f.state);
    f.state = NULL;
    path = find_file(".sst");
    name = strrchr(path, '/') + 1;
    ck_assert_int_eq(stat(path, &stat_buf), 0);
    flip_byte(path, stat_buf.st_size / 3);
    if (tally_store_open_read_only(f.dir, "stock", 2, &store, &f.err) == TALLY_OK) {
        struct tally_view *view = tally_store_view(store);
        struct tally_iterator *rows = tally_view_iterate(view, TALLY_NONE, TALLY_NONE, false);
        struct tally_slice key, value;
        enum tally_code code;

        while (tally_iterator_next(rows, &key, &value, &code, &f.err)) {
        }
        ck_assert_int_eq(code, TALLY_STORE_CORRUPT);
        tally_iterator_destroy(rows);
        tally_view_unref(view);
        tally_store_close(store, false);
    }
    ck_assert_int_eq(f.err.code, TALLY_STORE_CORRUPT);
    ck_assert_msg(strstr(f.err.message, name), "%s", f.err.message);
    fixture_start(&f);
}
END_TEST

START_TEST(test_a_tool_says_that_there_is_no_store)
{
    struct tally_store *store = NULL;

    close_store();
    ck_assert_int_eq(tally_store_set_aside(f.state, "stock", 2, &f.err), TALLY_OK);
    mkdir(fixture_path(&f, ""), 0755);
    tally_state_close(f.state);
    f.state = NULL;
    memset(&f.err, 0x55, sizeof f.err);
    ck_assert_int_eq(tally_store_open_read_only(f.dir, "stock", 2, &store, &f.err),
            TALLY_NOT_FOUND);
    ck_assert_int_eq(f.err.code, TALLY_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(f.err.message, "/stock/2"));
    fixture_start(&f);
}
END_TEST

/* What a tool asks before it changes anything. */
START_TEST(test_a_check_tells_positions_and_strangers)
{
    struct tally_positions positions;
    struct tally_store_identity other;

    put_rows(3);
    fixture_flush(&f);
    tally_store_close(f.store, false);
    f.store = NULL;
    ck_assert_int_eq(tally_store_check(f.dir, false, &f.identity, &positions, &f.err),
            TALLY_STATE_LOCKED);
    tally_state_close(f.state);
    f.state = NULL;
    ck_assert_int_eq(tally_store_check(f.dir, false, &f.identity, &positions, &f.err), TALLY_OK);
    ck_assert_int_gt(positions.in_next, 0);
    other = f.identity;
    other.cluster_id = "another";
    ck_assert_int_eq(tally_store_check(f.dir, false, &other, &positions, &f.err),
            TALLY_FOREIGN_STATE);
    ck_assert_ptr_nonnull(strstr(f.err.message, "another"));
    other = f.identity;
    other.partition = 77;
    ck_assert_int_eq(tally_store_check(f.dir, false, &other, &positions, &f.err), TALLY_NOT_FOUND);
    fixture_open(&f); /* nothing was changed */
}
END_TEST

START_TEST(test_prefetch_tells_damage)
{
    struct tally_slice keys[ROWS];
    char names[ROWS][16];
    struct stat stat_buf;
    const char *path;
    enum tally_code code;

    put_rows(6);
    close_store();
    path = find_file(".sst");
    ck_assert_int_eq(stat(path, &stat_buf), 0);
    for (int i = 1; i < 8; i++) {
        flip_byte(path, stat_buf.st_size * i / 16);
    }
    code = open_store();
    if (code == TALLY_OK) {
        for (int i = 0; i < ROWS; i++) {
            snprintf(names[i], sizeof names[i], "L%06d", i);
            keys[i] = tally_slice_string(names[i]);
        }
        code = tally_store_prefetch(f.store, keys, ROWS, NULL, &f.err);
    }
    ck_assert_int_eq(code, TALLY_STORE_CORRUPT);
}
END_TEST

START_TEST(test_read_only_for_tools)
{
    struct tally_store *store = NULL;
    struct tally_view *view;
    struct tally_slice value;

    put_rows(1);
    ck_assert_int_eq(tally_store_open_read_only(f.dir, "stock", 2, &store, &f.err),
            TALLY_STATE_LOCKED);
    close_store();
    tally_state_close(f.state);
    f.state = NULL;
    ck_assert_int_eq(tally_store_open_read_only(f.dir, "stock", 7, &store, &f.err),
            TALLY_NOT_FOUND);
    ck_assert_int_eq(tally_store_open_read_only(f.dir, "stock", 2, &store, &f.err), TALLY_OK);
    ck_assert_int_eq(tally_store_get(store, TALLY_SLICE("L000003"), &value, &f.err), TALLY_OK);
    ck_assert(tally_slice_starts(value, TALLY_SLICE("value 3 of commit 1")));
    view = tally_store_view(store);
    ck_assert_int_eq(tally_view_positions(view)->in_next, 1);
    ck_assert_ptr_nonnull(strstr(fixture_scan(&f, view, "L", "L000002", false), "L000001=value 1"));
    tally_view_unref(view);
    tally_store_close(store, false);
    fixture_open(&f); /* and the lock is free again */
}
END_TEST

/* The age rule of a tool is the one that the instance wrote. */
START_TEST(test_read_only_applies_the_age_rule)
{
    uint8_t value[8];
    struct tally_store *store = NULL;
    struct tally_positions positions = fixture_positions(1);
    struct tally_slice found;

    tally_put_u64(value, 1000);
    positions.decision_time = 1000 + 24 * 3600 * 1000 + 1;
    tally_store_put(f.store, TALLY_SLICE("Dold"), tally_slice_of(value, sizeof value));
    tally_put_u64(value, 1001);
    tally_store_put(f.store, TALLY_SLICE("Dnew"), tally_slice_of(value, sizeof value));
    tally_store_commit(f.store, &positions);
    close_store();
    tally_state_close(f.state);
    f.state = NULL;
    ck_assert_int_eq(tally_store_open_read_only(f.dir, "stock", 2, &store, &f.err), TALLY_OK);
    ck_assert_int_eq(tally_store_get(store, TALLY_SLICE("Dold"), &found, &f.err), TALLY_NOT_FOUND);
    ck_assert_int_eq(tally_store_get(store, TALLY_SLICE("Dnew"), &found, &f.err), TALLY_OK);
    tally_store_close(store, false);
    fixture_open(&f);
}
END_TEST

/* Rows of DEDUP in the base itself, where no age rule is applied. */
static int count_in_base(void)
{
    struct tally_view *view = tally_store_view(f.store);
    struct cursor *cursor = view->snapshot->base->ops->iterate(view->snapshot, TALLY_SLICE("D"),
            TALLY_SLICE("E"), false);
    int count = 0;

    while (cursor_next(cursor, &f.err) == TALLY_OK) {
        count++;
    }
    cursor_destroy(cursor);
    tally_view_unref(view);
    return count;
}

static void put_new_rows(int64_t offset)
{
    char key[32];

    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "G%lld-%d", (long long)offset, i);
        fixture_put(&f, key, "a row that stays, however old it is");
    }
}

/* Old dedup rows leave the files when these are compacted, and nothing else does. */
START_TEST(test_compaction_drops_old_dedup_rows)
{
    struct tally_positions positions = fixture_positions(2);
    uint8_t value[20] = {0};
    char key[32];
    int64_t offset = 2;

    tally_put_u64(value, 1000);
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "Dcommand-%d", i);
        tally_store_put(f.store, tally_slice_string(key), tally_slice_of(value, sizeof value));
    }
    put_new_rows(1);
    fixture_commit(&f, 1);
    fixture_flush(&f);
    ck_assert_int_eq(count_in_base(), 1000);
    positions.decision_time = INT64_C(10) * 24 * 3600 * 1000;
    for (; count_in_base() > 0; offset++) { /* compactions run when they like: see the timeout */
        put_new_rows(offset);
        tally_store_commit(f.store, &positions);
        fixture_flush(&f);
        usleep(1000);
    }
    ck_assert_int_gt(offset, 2);
    ck_assert_str_eq(fixture_view_get(&f, NULL, "G1-7"), "a row that stays, however old it is");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_rocksdb");
    TCase *tests = tcase_create("store_rocksdb");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_leftovers_of_a_killed_flush_are_removed);
    tcase_add_test(tests, test_openings_leave_no_files_behind);
    tcase_add_test(tests, test_a_finished_file_that_was_not_ingested_means_nothing);
    tcase_add_test(tests, test_killed_while_the_directory_was_made);
    tcase_add_test(tests, test_a_database_without_meta);
    tcase_add_test(tests, test_foreign_files_are_left_alone);
    tcase_add_loop_test(tests, test_lost_files_are_damage, 0, 3);
    tcase_add_loop_test(tests, test_a_flipped_byte_is_never_an_absence, 0, 20);
    tcase_add_test(tests, test_prefetch_tells_damage);
    tcase_add_loop_test(tests, test_a_torn_manifest_is_an_older_prefix, 0, 3);
    tcase_add_loop_test(tests, test_a_hole_in_the_manifest_is_damage, 0, 2);
    tcase_add_loop_test(tests, test_a_file_removed_while_open, 0, 2);
    tcase_add_loop_test(tests, test_whatever_cannot_be_opened_is_damage, 0, 11);
    tcase_add_test(tests, test_a_file_of_another_life_is_damage);
    tcase_add_test(tests, test_a_tool_names_the_file);
    tcase_add_test(tests, test_a_tool_says_that_there_is_no_store);
    tcase_add_test(tests, test_a_check_tells_positions_and_strangers);
    tcase_add_test(tests, test_read_only_for_tools);
    tcase_add_test(tests, test_read_only_applies_the_age_rule);
    tcase_add_test(tests, test_compaction_drops_old_dedup_rows);
    suite_add_tcase(suite, tests);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
