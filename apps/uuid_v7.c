/* apps/uuid_v7.c - 48 bits of time, 12 of sequence, 62 from getrandom.
 *  (1) Ids never fall: a clock that goes back, or a full sequence, keeps counting on from the last
 *      id's time. */
#include "apps/uuid_v7.h"

#include <stdio.h>
#include <sys/random.h>

#include "engine/base/bytes.h"

void uuid_v7_next(struct uuid_v7 *generator, int64_t now_ms, char text[static UUID_V7_LEN + 1])
{
    uint64_t bits;

    if (now_ms > generator->time_ms) {
        generator->time_ms = now_ms;
        generator->sequence = 0;
    } else if (++generator->sequence > 0xfff) {
        generator->time_ms++;
        generator->sequence = 0;
    }
    tally_assert(getrandom(&bits, sizeof bits, 0) == (ssize_t)sizeof bits);
    snprintf(text, UUID_V7_LEN + 1, "%08llx-%04llx-7%03x-%04llx-%012llx",
            (unsigned long long)(generator->time_ms >> 16) & 0xffffffff,
            (unsigned long long)generator->time_ms & 0xffff, (unsigned)generator->sequence & 0xfff,
            (unsigned long long)(0x8000 | (bits >> 50)),
            (unsigned long long)(bits & 0xffffffffffff));
}
