/* apps/shadow.h - the directory that `tally replay` fills: a state directory with a file REPLAY in
 * it, which says that it is one and which part of each log it holds. Never the one of an instance.
 *   tally replay 1
 *   stock 2 start 1201        TOPOLOGY PARTITION FROM NEXT; NEXT "-": not complete up to anywhere
 * @thread main */
#pragma once
#include "engine/base/bytes.h"

#define SHADOW_FILE "REPLAY"

struct shadow_part {
    char topology[64];
    int32_t partition;
    int64_t from; /* -1: start */
    int64_t next; /* all records before it are in; -1: not known */
};

struct shadow {
    char *dir;
    bool absent; /* it does not exist yet */
    struct shadow_part *parts;
    size_t count;
};
/* Looks at the directory, touches nothing. CONFIG: it is not empty and no replay, or it is
 * state_dir, or in it, or above it. shadow_deinit in every case. */
TALLY_MUST_CHECK enum tally_code shadow_open(struct shadow *shadow, const char *dir,
        const char *state_dir, struct tally_error *err);
void shadow_deinit(struct shadow *shadow);
/* NULL: it has nothing of that task. */
struct shadow_part *shadow_find(const struct shadow *shadow, const char *topology,
        int32_t partition);
struct shadow_part *shadow_add(struct shadow *shadow, const char *topology, int32_t partition,
        int64_t from);
/* Makes the directory if it is absent, and writes the file. SYSTEM. */
TALLY_MUST_CHECK enum tally_code shadow_save(struct shadow *shadow, struct tally_error *err);
