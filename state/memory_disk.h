/* state/memory_disk.h - where memory stores keep what is flushed, when it is to outlive a
 * tally_state: the disk of a process that is killed and started again, for simulations.
 * Invariant: a copy shares only what never changes, so whoever writes on after the copy was taken
 * changes nothing in it.
 * A disk may be open in one tally_state at a time. @thread owner */
#pragma once
#include "engine/base/error.h"

struct tally_memory_disk;
struct tally_memory_disk *tally_memory_disk_create(void);
struct tally_memory_disk *tally_memory_disk_copy(const struct tally_memory_disk *disk);
void tally_memory_disk_destroy(struct tally_memory_disk *disk); /* no state has it open */

enum tally_disk_op { TALLY_DISK_READ, TALLY_DISK_INGEST };
struct tally_disk_fault {
    enum tally_code code; /* STORE_ERROR, STORE_CORRUPT (the store is damaged for good) */
    bool happened;        /* an ingest that is there all the same; then always lost */
    bool lost;            /* after an ingest the base has to be reopened */
};
/* Asked at every read and every ingest; true: *fault (zeroed before) hits. NULL: none. */
typedef bool (*tally_disk_fault_fn)(void *context, enum tally_disk_op op,
        struct tally_disk_fault *fault);
void tally_memory_disk_set_fault(struct tally_memory_disk *disk, tally_disk_fault_fn ask,
        void *context);
