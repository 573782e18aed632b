/* engine/base/mem_idle.c - see mem_idle.h.
 * Invariants
 *  (1) Only segments that were never writable are dropped from memory: they are what their files
 *      say. The others hold addresses that the loader has filled in.
 * jemalloc is what the program is linked with, not the library: a test, or a build for sanitizers,
 * has another malloc, and then there is nothing to tell it. */
#include "engine/base/mem_idle.h"

#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int mallctl(const char *name, void *old, size_t *old_size, void *value, size_t size)
        __attribute__((weak));

void tally_mem_idle_thread(bool idle)
{
    bool cache = !idle;

    if (mallctl) {
        (void)mallctl("thread.tcache.enabled", NULL, NULL, &cache, sizeof cache);
    }
}

/* Of one library; the kernel's own has no file. */
static int drop_segments(struct dl_phdr_info *info, size_t size, void *argument)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    (void)size;
    (void)argument;
    for (size_t i = 0; i < info->dlpi_phnum && strncmp(info->dlpi_name, "linux-", 6) != 0; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t begin = (info->dlpi_addr + segment->p_vaddr) & ~(page - 1);
        uintptr_t end = info->dlpi_addr + segment->p_vaddr + segment->p_filesz;

        if (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W)) {
            (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
        }
    }
    return 0;
}

void tally_mem_idle_trim(void)
{
    if (mallctl) {
        (void)mallctl("arena.4096.purge", NULL, NULL, NULL, 0); /* MALLCTL_ARENAS_ALL */
    }
    (void)dl_iterate_phdr(drop_segments, NULL);
}
