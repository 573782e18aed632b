/* tests/topology/faulty_disk.h - a disk that fails when told to.
 * Linking this file takes the place of the C library's calls for the whole program, RocksDB's too;
 * only files below one directory fail. What libc does inside fread is not seen, and RocksDB's LOG
 * never fails: Debian's build asserts that it does not. @thread any */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum disk_call { DISK_OPEN, DISK_READ, DISK_WRITE, DISK_SYNC, DISK_NAME, DISK_CALLS };
enum disk_effect {
    DISK_EIO,
    DISK_ENOSPC, /* open: only of files that are made; read: as EIO */
    DISK_SHORT,  /* write: half of the bytes; else no effect */
    DISK_FLIP,   /* read: one bit of what is read; write: one bit of what is written; else none */
    DISK_EFFECTS
};
struct disk_fault {
    enum disk_call call;
    enum disk_effect effect;
    uint64_t nth;   /* 1: the first */
    uint64_t count; /* how many in a row from there on */
    uint64_t inode; /* only this file, if not 0; of reads, writes and syncs */
};

void faulty_disk_set(const char *directory, const struct disk_fault *fault); /* dir is copied */
void faulty_disk_heal(void);
uint64_t faulty_disk_hits(void);
uint64_t faulty_disk_calls(void); /* of the fault's kind, since it was set */
const char *faulty_disk_name(const struct disk_fault *fault); /* for messages; static */
