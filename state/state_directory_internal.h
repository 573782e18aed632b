/* state/state_directory_internal.h - files and folders of a state directory:
 *   LOCK                             flock, with the pid of its holder
 *   <topology>/<partition>/          a task directory: RocksDB's own files
 *   <topology>/<partition>/ingest/   files that a flush is writing; leftovers mean nothing
 *   <topology>/<partition>.aside-<UTC time>/   set aside, the newest two are kept */
#pragma once
#include "state/store.h"

/* Makes dir when it is absent. STATE_LOCKED names the process that has it. Shared: tools that only
 * read may hold it together, but not while an instance runs; dir must exist. */
TALLY_MUST_CHECK enum tally_code state_directory_lock(const char *dir, bool exclusive, int *fd,
        struct tally_error *err);
void state_directory_unlock(int fd);

char *state_directory_task(const char *dir, const char *topology, int32_t partition); /* owned */
/* As much of a path's end as a message has room for: it names topology and partition. */
const char *state_directory_tail(const char *path);

enum state_directory_content { STATE_DIRECTORY_NEW, STATE_DIRECTORY_STORE };
/* Looks at a task directory without changing it. FOREIGN_STATE: it holds what tally has not put
 * there; STORE_CORRUPT: a store of which parts are missing. */
TALLY_MUST_CHECK enum tally_code state_directory_inspect(const char *path,
        enum state_directory_content *content, struct tally_error *err);
/* Makes the task directory and its ingest folder, empties the latter, and tries whether the disk
 * takes writes: STORE_ERROR. */
TALLY_MUST_CHECK enum tally_code state_directory_prepare(const char *path, struct tally_error *err);
TALLY_MUST_CHECK enum tally_code state_directory_set_aside(const char *path, int64_t wall_ms,
        struct tally_error *err);
