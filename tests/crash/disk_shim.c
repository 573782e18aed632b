/* tests/crash/disk_shim.c - a disk that fails, and one whose machine can lose power: preloaded into
 * `tally run` by faults/disk.py, into PostgreSQL by integration/test_postgres_disk.py. Only files
 * below DISK_SHIM_DIR matter.
 *
 *   DISK_SHIM_FAULT=<call>:<effect>:<nth>:<count>    from the nth call on, count calls fail
 *       call: open, read, write, sync, name (rename, link, mkdir); effect: eio, enospc, short, flip
 *   DISK_SHIM_WHILE=<file>     they fail, and are counted, only while this file is there
 *   DISK_SHIM_FIRED=<file>     made when a call has failed
 *   DISK_SHIM_JOURNAL=<file>   a line for each change and each sync, for whoever undoes the changes
 *       that were not synced; files that would be gone are linked into DISK_SHIM_GRAVE first
 *
 * The journal: W inode size offset length old-bytes; S inode; D directory; N path; R from to
 * grave; L to; U path grave. What libc does inside fread is not seen, and LOG never fails: Debian's
 * RocksDB asserts that it does not. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OLD_BYTES_MAX = 1 << 16, PATH_BYTES = 512 };

static struct {
    const char *directory, *grave, *fired, *condition;
    char call[16], effect[16];
    unsigned long long nth, count;
    atomic_ullong calls, graves;
    int journal; /* -1: none */
} shim = {.journal = -1};

/* A copy: PostgreSQL shows its title where its environment was. */
static const char *setting(const char *name)
{
    const char *value = getenv(name);

    return value ? strdup(value) : NULL;
}

__attribute__((constructor)) static void begin(void)
{
    const char *fault = getenv("DISK_SHIM_FAULT"), *journal = getenv("DISK_SHIM_JOURNAL");

    shim.directory = setting("DISK_SHIM_DIR");
    shim.grave = setting("DISK_SHIM_GRAVE");
    shim.fired = setting("DISK_SHIM_FIRED");
    shim.condition = setting("DISK_SHIM_WHILE");
    if (fault && sscanf(fault, "%15[^:]:%15[^:]:%llu:%llu", shim.call, shim.effect, &shim.nth,
                         &shim.count) != 4) {
        abort();
    }
    if (journal) {
        shim.journal = (int)syscall(SYS_openat, AT_FDCWD, journal,
                O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    }
}

static bool is_ours(const char *path)
{
    return shim.directory && strncmp(path, shim.directory, strlen(shim.directory)) == 0 &&
           !strstr(path, "/LOG");
}

static bool path_of(int fd, char path[static PATH_BYTES])
{
    char link[32];
    ssize_t len;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = readlink(link, path, PATH_BYTES - 1);
    path[len > 0 ? len : 0] = '\0';
    return len > 0 && is_ours(path);
}

static bool has_effect(const char *effect)
{
    return strcmp(shim.effect, effect) == 0;
}

static bool hits(const char *call, const char *path)
{
    unsigned long long number;

    if (strcmp(shim.call, call) != 0 || !is_ours(path) ||
            (shim.condition && access(shim.condition, F_OK) != 0)) {
        return false;
    }
    number = atomic_fetch_add(&shim.calls, 1) + 1;
    return number >= shim.nth && number < shim.nth + shim.count;
}

static bool fails(void)
{
    return has_effect("eio") || has_effect("enospc");
}

/* A call has failed, or its bytes are others. */
static void fired(void)
{
    int fd;

    if (!shim.fired) {
        return;
    }
    fd = (int)syscall(SYS_openat, AT_FDCWD, shim.fired, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd >= 0) {
        syscall(SYS_close, fd);
    }
}

static int fail(void)
{
    fired();
    errno = has_effect("enospc") ? ENOSPC : EIO;
    return -1;
}

/* --- the journal ------------------------------------------------------------------------------ */

static void note(const char *format, ...)
{
    static char line[2 * OLD_BYTES_MAX + 4096];
    static atomic_flag busy = ATOMIC_FLAG_INIT;
    va_list arguments;
    int len;

    if (shim.journal < 0) {
        return;
    }
    while (atomic_flag_test_and_set(&busy)) {
    }
    va_start(arguments, format);
    len = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    (void)!syscall(SYS_write, shim.journal, line, (size_t)len);
    atomic_flag_clear(&busy);
}

/* Keeps a file that is about to lose its name; its number, or 0. */
static unsigned long long bury(const char *path)
{
    unsigned long long number = atomic_fetch_add(&shim.graves, 1) + 1;
    char grave[PATH_BYTES];

    if (shim.journal < 0 || !shim.grave) {
        return 0;
    }
    snprintf(grave, sizeof grave, "%s/%d-%llu", shim.grave, (int)getpid(), number);
    return syscall(SYS_link, path, grave) == 0 ? number : 0;
}

static void note_write(int fd, const char *path, size_t size, off_t at)
{
    static const char digits[] = "0123456789abcdef";
    struct stat stat_buf;
    uint8_t *old = NULL;
    char *hex = NULL;
    ssize_t len = 0;

    (void)path;
    if (shim.journal < 0 || fstat(fd, &stat_buf) != 0) {
        return;
    }
    if (at < 0) {
        at = fcntl(fd, F_GETFL) & O_APPEND ? stat_buf.st_size : lseek(fd, 0, SEEK_CUR);
    }
    if (at < stat_buf.st_size) { /* what is overwritten */
        int again = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);

        size = size < OLD_BYTES_MAX ? size : OLD_BYTES_MAX;
        old = malloc(size);
        len = again < 0 ? 0 : syscall(SYS_pread64, again, old, size, at);
        len = len > 0 ? len : 0;
        if (again >= 0) {
            syscall(SYS_close, again);
        }
    }
    hex = calloc(1, 2 * (size_t)len + 1);
    for (ssize_t i = 0; i < len; i++) {
        hex[2 * i] = digits[old[i] >> 4];
        hex[2 * i + 1] = digits[old[i] & 15];
    }
    note("W %llu %lld %lld %zu -%s\n", (unsigned long long)stat_buf.st_ino,
            (long long)stat_buf.st_size, (long long)at, size, hex);
    free(hex);
    free(old);
}

/* --- what takes the place of the library's ---------------------------------------------------- */

static int open_file(const char *path, int flags, mode_t mode)
{
    bool makes = (flags & O_CREAT) != 0 && is_ours(path) && access(path, F_OK) != 0;
    int fd;

    if ((has_effect("eio") || (has_effect("enospc") && makes)) && hits("open", path)) {
        return fail();
    }
    fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    if (makes && fd >= 0) {
        note("N %s\n", path);
    }
    return fd;
}

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;

    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list arguments;

        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    return open_file(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    mode_t mode = 0;

    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list arguments;

        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    return open_file(path, flags, mode);
}

ssize_t pread(int fd, void *bytes, size_t size, off_t at)
{
    char path[PATH_BYTES];
    bool hit = path_of(fd, path) && hits("read", path);
    ssize_t got;

    if (hit && fails()) {
        return fail();
    }
    got = syscall(SYS_pread64, fd, bytes, size, at);
    if (hit && got > 0 && has_effect("flip")) {
        fired();
        ((uint8_t *)bytes)[got / 2] ^= 0x10;
    }
    return got;
}

static ssize_t write_at(int fd, const void *bytes, size_t size, off_t at)
{
    char path[PATH_BYTES];
    uint8_t *copy = NULL;
    ssize_t done;

    if (size > 0 && shim.directory && path_of(fd, path)) {
        bool hit = hits("write", path);

        if (hit && fails()) {
            return fail();
        }
        if (hit && has_effect("short") && size > 1) {
            fired();
            size = (size + 1) / 2;
        }
        note_write(fd, path, size, at);
        if (hit && has_effect("flip")) {
            fired();
            copy = malloc(size);
            memcpy(copy, bytes, size);
            copy[size / 2] ^= 0x10;
            bytes = copy;
        }
    }
    done = at < 0 ? syscall(SYS_write, fd, bytes, size)
                  : syscall(SYS_pwrite64, fd, bytes, size, at);
    free(copy);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    return write_at(fd, bytes, size, -1);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    return write_at(fd, bytes, size, at);
}

static int sync_file(int fd, long call)
{
    char path[PATH_BYTES];
    bool ours = shim.directory && path_of(fd, path);
    struct stat stat_buf;
    int result;

    if (ours && hits("sync", path) && fails()) {
        return fail();
    }
    result = (int)syscall(call, fd);
    if (ours && result == 0 && fstat(fd, &stat_buf) == 0) {
        if (S_ISDIR(stat_buf.st_mode)) {
            note("D %s\n", path);
        } else {
            note("S %llu\n", (unsigned long long)stat_buf.st_ino);
        }
    }
    return result;
}

int fsync(int fd)
{
    return sync_file(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_file(fd, SYS_fdatasync);
}

int rename(const char *from, const char *to)
{
    unsigned long long grave = 0;
    int result;

    if (is_ours(to)) {
        if (hits("name", to) && fails()) {
            return fail();
        }
        grave = access(to, F_OK) == 0 ? bury(to) : 0;
    }
    result = (int)syscall(SYS_rename, from, to);
    if (is_ours(to) && result == 0) {
        note("R %s %s %d-%llu\n", from, to, (int)getpid(), grave);
    }
    return result;
}

int link(const char *from, const char *to)
{
    int result;

    if (is_ours(to) && hits("name", to) && fails()) {
        return fail();
    }
    result = (int)syscall(SYS_link, from, to);
    if (is_ours(to) && result == 0) {
        note("L %s\n", to);
    }
    return result;
}

int unlink(const char *path)
{
    unsigned long long grave = is_ours(path) ? bury(path) : 0;
    int result = (int)syscall(SYS_unlink, path);

    if (is_ours(path) && result == 0) {
        note("U %s %d-%llu\n", path, (int)getpid(), grave);
    }
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    return is_ours(path) && hits("name", path) && fails() ? fail()
                                                          : (int)syscall(SYS_mkdir, path, mode);
}
