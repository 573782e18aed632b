/* state/state_directory.c - the lock, the task directories and what is set aside.
 * Invariants
 *  (1) One process writes below a state directory.
 *  (2) Nothing that tally has not made is ever renamed over, emptied or removed. */
#include "state/state_directory_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"

enum {
    ASIDE_KEPT = 2,        /* enough to look at what went wrong twice */
    ASIDE_LISTED = 64,     /* more than can be left behind between two removals */
    PROBE_BYTES = 1 << 20, /* far more than RocksDB writes while it opens */
    OPEN_FDS = 8,          /* of a walk through a directory that is removed */
    TAIL_BYTES = 80        /* of a path in a message of 256 */
};

static enum tally_code system_error(struct tally_error *err, const char *what, const char *path)
{
    int error = errno;

    return tally_error_set(err,
            error == ENOSPC || error == EDQUOT ? TALLY_STORE_ERROR : TALLY_SYSTEM,
            "could not %s \"%s\": %s", what, path, strerror(error));
}

static enum tally_code make_directory(const char *path, struct tally_error *err)
{
    if (mkdir(path, 0755) == 0 || errno == EEXIST)
        return TALLY_OK;
    return system_error(err, "make directory", path);
}

/* Makes path and its parents. */
static enum tally_code make_directories(const char *path, struct tally_error *err)
{
    char *copy = tally_copy_string(path);
    enum tally_code code = TALLY_OK;

    for (char *at = copy + 1; *at && code == TALLY_OK; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        code = make_directory(copy, err);
        *at = '/';
    }
    if (code == TALLY_OK)
        code = make_directory(copy, err);
    tally_free(copy);
    return code;
}

/* --- lock --------------------------------------------------------------------------------------
 */

static enum tally_code locked(const char *dir, int fd, struct tally_error *err)
{
    char text[32] = "";
    struct tally_slice digits;
    int64_t pid = 0;
    ssize_t len = pread(fd, text, sizeof text - 1, 0);

    digits = tally_slice_of(text, len > 0 ? strcspn(text, "\n") : 0);
    if (tally_parse_int(digits, &pid) && pid > 0 && (kill((pid_t)pid, 0) == 0 || errno == EPERM)) {
        return tally_error_set(err, TALLY_STATE_LOCKED,
                "state directory \"%s\" is used by process %lld: stop it or use another state.dir",
                dir, (long long)pid);
    }
    return tally_error_set(err, TALLY_STATE_LOCKED,
            "state directory \"%s\" is used by another process: stop it or use another state.dir",
            dir);
}

static void write_pid(int fd)
{
    char text[32];
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());

    /* Only for the message of another process: the lock itself is what counts. */
    if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)len, 0) != len) {
        tally_log(TALLY_LOG_WARN, "pid not written to the lock file of the state directory");
    }
}

enum tally_code state_directory_lock(const char *dir, bool exclusive, int *fd,
        struct tally_error *err)
{
    char *path = tally_copy_format("%s/LOCK", dir);
    enum tally_code code = exclusive ? make_directories(dir, err) : TALLY_OK;

    *fd = -1;
    if (code)
        goto out;
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (*fd < 0 && !exclusive)
        *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) {
        code = errno == ENOENT ? tally_error_set(err, TALLY_NOT_FOUND,
                                         "there is no state directory \"%s\"", dir)
                               : system_error(err, "open", path);
        goto out;
    }
    if (flock(*fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
        code = errno == EWOULDBLOCK ? locked(dir, *fd, err) : system_error(err, "lock", path);
        goto out;
    }
    if (exclusive)
        write_pid(*fd);
out:
    if (code) {
        state_directory_unlock(*fd);
        *fd = -1;
    }
    tally_free(path);
    return code;
}

void state_directory_unlock(int fd)
{
    if (fd >= 0)
        close(fd); /* and with it the lock */
}

/* --- task directories ---------------------------------------------------------------------------
 */

char *state_directory_task(const char *dir, const char *topology, int32_t partition)
{
    return tally_copy_format("%s/%s/%d", dir ? dir : "memory", topology, (int)partition);
}

const char *state_directory_tail(const char *path)
{
    size_t len = strlen(path);

    return len > TAIL_BYTES ? path + len - TAIL_BYTES : path;
}

static bool ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);

    return len > end_len && strcmp(name + len - end_len, end) == 0;
}

static bool starts_with(const char *name, const char *start)
{
    return strncmp(name, start, strlen(start)) == 0;
}

/* A file that RocksDB may have made before its first CURRENT. */
static bool is_beginning(const char *name)
{
    return strcmp(name, "LOCK") == 0 || strcmp(name, "IDENTITY") == 0 ||
           strcmp(name, "ingest") == 0 || starts_with(name, "LOG") ||
           starts_with(name, "MANIFEST-") || starts_with(name, "OPTIONS-") ||
           ends_with(name, ".log") || ends_with(name, ".dbtmp");
}

enum tally_code state_directory_inspect(const char *path, enum state_directory_content *content,
        struct tally_error *err)
{
    DIR *dir = opendir(path);
    bool current = false, tables = false;
    char foreign[64] = "";

    *content = STATE_DIRECTORY_NEW;
    if (!dir && errno == ENOENT)
        return TALLY_OK;
    if (!dir && errno == ENOTDIR)
        return tally_error_set(err, TALLY_FOREIGN_STATE, "\"%s\" is not a directory", path);
    if (!dir)
        return system_error(err, "open directory", path);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        const char *name = entry->d_name;

        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (strcmp(name, "CURRENT") == 0) {
            current = true;
        } else if (ends_with(name, ".sst")) {
            tables = true;
        } else if (!is_beginning(name)) {
            snprintf(foreign, sizeof foreign, "%.60s", name);
        }
    }
    closedir(dir);
    if (current) {
        *content = STATE_DIRECTORY_STORE;
        return TALLY_OK;
    }
    if (foreign[0] != '\0') {
        return tally_error_set(err, TALLY_FOREIGN_STATE,
                "\"%s\" holds \"%s\", which is not tally's: use another state.dir", path, foreign);
    }
    if (tables)
        return tally_error_set(err, TALLY_STORE_CORRUPT, "\"%s\" has lost its file CURRENT", path);
    return TALLY_OK;
}

static enum tally_code empty_directory(const char *path, struct tally_error *err)
{
    DIR *dir = opendir(path);
    enum tally_code code = TALLY_OK;

    if (!dir)
        return system_error(err, "open directory", path);
    for (struct dirent *entry = readdir(dir); entry && code == TALLY_OK; entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(dir), entry->d_name, 0) != 0 && errno != ENOENT)
            code = system_error(err, "remove from", path);
    }
    closedir(dir);
    return code;
}

/* RocksDB makes a write-ahead log at every opening and never removes one that nothing was written
 * to, which here is each of them. */
static enum tally_code remove_empty_logs(const char *path, struct tally_error *err)
{
    DIR *dir = opendir(path);
    enum tally_code code = TALLY_OK;

    if (!dir)
        return system_error(err, "open directory", path);
    for (struct dirent *entry = readdir(dir); entry && code == TALLY_OK; entry = readdir(dir)) {
        const char *name = entry->d_name;
        struct stat facts;

        if (!ends_with(name, ".log") || strspn(name, "0123456789") != strlen(name) - 4 ||
                fstatat(dirfd(dir), name, &facts, 0) != 0 || facts.st_size != 0)
            continue;
        if (unlinkat(dirfd(dir), name, 0) != 0 && errno != ENOENT)
            code = system_error(err, "remove from", path);
    }
    closedir(dir);
    return code;
}

/* Whether the disk takes what RocksDB writes while it opens: see LOG_LEVEL_HEADER there. */
static enum tally_code try_writing(const char *ingest, struct tally_error *err)
{
    char *path = tally_copy_format("%s/probe", ingest);
    uint8_t *bytes = tally_alloc_zero(1, PROBE_BYTES);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    ssize_t done = 0;
    bool ok = fd >= 0;

    for (ssize_t at = 0; ok && at < PROBE_BYTES; at += done) {
        done = write(fd, bytes, (size_t)(PROBE_BYTES - at));
        ok = done > 0;
    }
    ok = ok && fsync(fd) == 0;
    if (!ok)
        (void)tally_error_set(err, TALLY_STORE_ERROR, "could not write \"%s\": %s", path,
                strerror(errno));
    if (fd >= 0)
        close(fd);
    unlink(path);
    tally_free(bytes);
    tally_free(path);
    return ok ? TALLY_OK : TALLY_STORE_ERROR;
}

enum tally_code state_directory_prepare(const char *path, struct tally_error *err)
{
    char *ingest = tally_copy_format("%s/ingest", path);
    enum tally_code code = make_directories(ingest, err);

    if (code == TALLY_OK)
        code = empty_directory(ingest, err);
    if (code == TALLY_OK)
        code = remove_empty_logs(path, err);
    if (code == TALLY_OK)
        code = try_writing(ingest, err);
    tally_free(ingest);
    return code;
}

/* --- set aside ----------------------------------------------------------------------------------
 */

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    (void)stat;
    (void)type;
    (void)walk;
    return remove(path);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Removes all but the newest directories beside `path` whose names are its own and ".aside-". */
static enum tally_code remove_old(const char *parent, const char *prefix, struct tally_error *err)
{
    char *names[ASIDE_LISTED];
    size_t count = 0;
    DIR *dir = opendir(parent);
    enum tally_code code = TALLY_OK;

    if (!dir)
        return system_error(err, "open directory", parent);
    for (struct dirent *entry = readdir(dir); entry && count < ASIDE_LISTED; entry = readdir(dir)) {
        if (starts_with(entry->d_name, prefix))
            names[count++] = tally_copy_format("%s/%s", parent, entry->d_name);
    }
    closedir(dir);
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++) {
        if (i + ASIDE_KEPT < count && nftw(names[i], remove_entry, OPEN_FDS, FTW_DEPTH | FTW_PHYS))
            code = system_error(err, "remove", names[i]);
        tally_free(names[i]);
    }
    return code;
}

enum tally_code state_directory_set_aside(const char *path, int64_t wall_ms,
        struct tally_error *err)
{
    char time[TALLY_TIME_LEN + 1];
    char *aside = NULL, *parent = tally_copy_string(path), *slash = strrchr(parent, '/'), *prefix;
    enum tally_code code = TALLY_OK;

    tally_assert(slash != NULL);
    *slash = '\0';
    prefix = tally_copy_format("%s.aside-", slash + 1);
    do { /* two in one millisecond */
        tally_format_time(wall_ms++, time);
        tally_free(aside);
        aside = tally_copy_format("%s/%s%s", parent, prefix, time);
    } while (access(aside, F_OK) == 0);
    if (rename(path, aside) != 0 && errno != ENOENT)
        code = system_error(err, "set aside", path);
    if (code == TALLY_OK && access(parent, F_OK) == 0)
        code = remove_old(parent, prefix, err);
    tally_free(prefix);
    tally_free(parent);
    tally_free(aside);
    return code;
}

/* --- list ---------------------------------------------------------------------------------------
 */

struct folder { /* an open directory, and the entry that is looked at */
    DIR *dir;
    struct dirent *entry;
};

/* The next entry that may be a directory of ours. */
static bool next_entry(struct folder *folder)
{
    do {
        folder->entry = readdir(folder->dir);
    } while (folder->entry && folder->entry->d_name[0] == '.');
    return folder->entry != NULL;
}

static DIR *open_entry(const struct folder *folder)
{
    int fd = openat(dirfd(folder->dir), folder->entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

    if (fd >= 0 && !dir)
        close(fd);
    return dir;
}

/* Of its files; those that go away meanwhile count nothing. */
static int64_t file_bytes(DIR *dir)
{
    struct folder folder = {.dir = dir};
    int64_t bytes = 0;
    struct stat facts;

    while (next_entry(&folder)) {
        if (fstatat(dirfd(dir), folder.entry->d_name, &facts, AT_SYMLINK_NOFOLLOW) == 0 &&
                S_ISREG(facts.st_mode))
            bytes += facts.st_size;
    }
    return bytes;
}

static void list_topology(const char *topology, DIR *dir, tally_state_found_fn found, void *context)
{
    struct folder folder = {.dir = dir};

    while (next_entry(&folder)) {
        struct tally_slice digits = tally_slice_string(folder.entry->d_name);
        int64_t partition;
        DIR *task;

        if (!tally_parse_int(digits, &partition) || partition < 0 || partition > INT32_MAX)
            continue; /* also what was set aside */
        task = open_entry(&folder);
        if (task) {
            found(context, topology, (int32_t)partition, file_bytes(task));
            closedir(task);
        }
    }
}

enum tally_code tally_state_list(const char *state_dir, tally_state_found_fn found, void *context,
        struct tally_error *err)
{
    struct folder folder = {.dir = opendir(state_dir)};

    if (!folder.dir && errno == ENOENT)
        return tally_error_set(err, TALLY_NOT_FOUND, "there is no state directory \"%s\"",
                state_dir);
    if (!folder.dir)
        return system_error(err, "open directory", state_dir);
    while (next_entry(&folder)) {
        DIR *topology = open_entry(&folder);

        if (topology) {
            list_topology(folder.entry->d_name, topology, found, context);
            closedir(topology);
        }
    }
    closedir(folder.dir);
    return TALLY_OK;
}
