/* tests/topology/faulty_disk.c - see faulty_disk.h. */
#include "tests/topology/faulty_disk.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    atomic_bool armed;
    char directory[256];
    struct disk_fault fault;
    atomic_ullong calls, hits;
} disk;

void faulty_disk_set(const char *directory, const struct disk_fault *fault)
{
    atomic_store(&disk.armed, false);
    (void)snprintf(disk.directory, sizeof disk.directory, "%s", directory);
    disk.fault = *fault;
    atomic_store(&disk.calls, 0);
    atomic_store(&disk.hits, 0);
    atomic_store(&disk.armed, true);
}

void faulty_disk_heal(void)
{
    atomic_store(&disk.armed, false);
}

uint64_t faulty_disk_hits(void)
{
    return atomic_load(&disk.hits);
}

uint64_t faulty_disk_calls(void)
{
    return atomic_load(&disk.calls);
}

const char *faulty_disk_name(const struct disk_fault *fault)
{
    static const char *const calls[] = {"open", "read", "write", "sync", "rename or link"};
    static const char *const effects[] = {"EIO", "ENOSPC", "short", "a flipped bit"};
    static char name[96];

    (void)snprintf(name, sizeof name, "%s at %llu calls of %s from the %lluth on",
            effects[fault->effect], (unsigned long long)fault->count, calls[fault->call],
            (unsigned long long)fault->nth);
    return name;
}

static bool hits_path(enum disk_call call, const char *path)
{
    uint64_t number;

    if (!atomic_load(&disk.armed) || call != disk.fault.call ||
            strncmp(path, disk.directory, strlen(disk.directory)) != 0 || strstr(path, "/LOG")) {
        return false;
    }
    number = atomic_fetch_add(&disk.calls, 1) + 1;
    if (number < disk.fault.nth || number >= disk.fault.nth + disk.fault.count) {
        return false;
    }
    atomic_fetch_add(&disk.hits, 1);
    return true;
}

static bool hits(enum disk_call call, int fd)
{
    char link[32], path[300];
    struct stat stat_buf;
    ssize_t len;

    if (!atomic_load(&disk.armed) || call != disk.fault.call) {
        return false;
    }
    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof path - 1);
    if (len < 0) {
        return false;
    }
    path[len] = '\0';
    if (disk.fault.inode &&
            (fstat(fd, &stat_buf) != 0 || (uint64_t)stat_buf.st_ino != disk.fault.inode)) {
        return false;
    }
    return hits_path(call, path);
}

static bool fails(void)
{
    return disk.fault.effect <= DISK_ENOSPC;
}

static int fail(void)
{
    errno = disk.fault.effect == DISK_ENOSPC && disk.fault.call != DISK_READ ? ENOSPC : EIO;
    return -1;
}

/* --- what takes the place of the library's ---------------------------------------------------- */

#pragma GCC visibility push(default)

int open(const char *path, int flags, ...)
{
    mode_t mode = 0;

    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list arguments;

        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    if ((disk.fault.effect != DISK_ENOSPC || (flags & O_CREAT)) && hits_path(DISK_OPEN, path) &&
            fails()) {
        return fail();
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    static FILE *(*real)(const char *, const char *);

    if (!real) {
        *(void **)&real = dlsym(RTLD_NEXT, "fopen");
    }
    if (disk.fault.effect != DISK_ENOSPC && hits_path(DISK_OPEN, path) && fails()) {
        (void)fail();
        return NULL;
    }
    return real(path, mode);
}

ssize_t pread(int fd, void *bytes, size_t size, off_t at)
{
    bool hit = hits(DISK_READ, fd);
    ssize_t got;

    if (hit && fails()) {
        return fail();
    }
    got = syscall(SYS_pread64, fd, bytes, size, at);
    if (hit && got > 0 && disk.fault.effect == DISK_FLIP) {
        ((uint8_t *)bytes)[got / 2] ^= 0x10;
    }
    return got;
}

static ssize_t damaged_write(int fd, const void *bytes, size_t size, off_t at)
{
    uint8_t *copy = malloc(size + 1);
    ssize_t done;

    memcpy(copy, bytes, size);
    copy[size / 2] ^= 0x10;
    done = at < 0 ? syscall(SYS_write, fd, copy, size) : syscall(SYS_pwrite64, fd, copy, size, at);
    free(copy);
    return done;
}

static ssize_t write_at(int fd, const void *bytes, size_t size, off_t at)
{
    if (size > 0 && hits(DISK_WRITE, fd)) {
        if (fails()) {
            return fail();
        }
        if (disk.fault.effect == DISK_FLIP) {
            return damaged_write(fd, bytes, size, at);
        }
        size = (size + 1) / 2;
    }
    return at < 0 ? syscall(SYS_write, fd, bytes, size)
                  : syscall(SYS_pwrite64, fd, bytes, size, at);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
    return write_at(fd, bytes, size, -1);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    return write_at(fd, bytes, size, at);
}

int fsync(int fd)
{
    return hits(DISK_SYNC, fd) && fails() ? fail() : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return hits(DISK_SYNC, fd) && fails() ? fail() : (int)syscall(SYS_fdatasync, fd);
}

int rename(const char *from, const char *to)
{
    return hits_path(DISK_NAME, to) && fails() ? fail() : (int)syscall(SYS_rename, from, to);
}

int link(const char *from, const char *to)
{
    return hits_path(DISK_NAME, to) && fails() ? fail() : (int)syscall(SYS_link, from, to);
}

int mkdir(const char *path, mode_t mode)
{
    return hits_path(DISK_NAME, path) && fails() ? fail() : (int)syscall(SYS_mkdir, path, mode);
}

#pragma GCC visibility pop
