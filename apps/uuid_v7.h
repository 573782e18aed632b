/* apps/uuid_v7.h - command ids for commands that came without one (RFC 9562, version 7). */
#pragma once
#include <stdint.h>

#define UUID_V7_LEN 36

/* Ids of one generator sort as they were made, also within a millisecond. @thread owner */
struct uuid_v7 {
    int64_t time_ms;   /* of the last id; 0: none yet */
    uint16_t sequence; /* 12 bits */
};
void uuid_v7_next(struct uuid_v7 *generator, int64_t now_ms, char text[static UUID_V7_LEN + 1]);
