/* apps/replay_run.h - carries a replay out: tasks side by side on several threads, each with the
 * restorer that tasks have (engine/replay.h), into one directory.
 *  (1) A task that fails ends alone; what it had is kept, and says where it is.
 *  (2) However it ends, what is on the disk can be gone on with. @thread main */
#pragma once
#include <stdatomic.h>

#include "apps/progress.h"
#include "engine/replay.h"

struct replay_job {
    const char *topology; /* borrowed */
    int32_t partition;
    struct tally_log_part part;
    int64_t offsets;          /* to be read */
    atomic_int_fast64_t done; /* of them */
    bool finished;
    enum tally_code code; /* why it did not finish, err says it; OK: interrupted */
    struct tally_error err;
};

struct replay_run {
    struct tally_replay_place *place; /* open */
    struct replay_job *jobs;
    size_t count;
    long long threads; /* as engine.threads */
    struct progress *progress;
};
/* false: interrupted. */
bool replay_run(struct replay_run *run);
/* Afterwards: waits until all that was read is on the disk. */
void replay_run_settle(struct replay_run *run);
