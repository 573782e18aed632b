/* connectors/sink_breaker.c - when a target that failed is tried again: exponential back-off with
 * jitter, so that many instances do not come back at once, and a circuit breaker, so that a target
 * that is down is met by one small batch and not by a full one. @thread owner */
#include "connectors/sink_internal.h"

enum {
    FIRST_MS = 100,
    OPEN_AFTER = 5, /* failures in a row */
    SHIFT_MAX = 20,
};

void sink_breaker_init(struct sink_breaker *breaker, int64_t max_ms, uint64_t seed)
{
    *breaker = (struct sink_breaker){.max_ms = max_ms, .random = seed | 1};
}

/* xorshift64: jitter needs no more. */
static uint64_t next_random(struct sink_breaker *breaker)
{
    breaker->random ^= breaker->random << 13;
    breaker->random ^= breaker->random >> 7;
    breaker->random ^= breaker->random << 17;
    return breaker->random;
}

void sink_breaker_failed(struct sink_breaker *breaker, int64_t now_ms, bool slow)
{
    unsigned shift = breaker->failures < SHIFT_MAX ? breaker->failures : SHIFT_MAX;
    int64_t wait_ms = (int64_t)FIRST_MS << shift;

    breaker->failures++;
    if (slow || wait_ms > breaker->max_ms) {
        wait_ms = breaker->max_ms;
    }
    if (slow || breaker->failures >= OPEN_AFTER || breaker->state == TALLY_BREAKER_HALF_OPEN) {
        breaker->state = TALLY_BREAKER_OPEN;
    }
    /* Between half of it and all of it. */
    breaker->retry_ms =
            now_ms + wait_ms - (int64_t)(next_random(breaker) % (uint64_t)(wait_ms / 2 + 1));
}

void sink_breaker_succeeded(struct sink_breaker *breaker)
{
    breaker->state = TALLY_BREAKER_CLOSED;
    breaker->failures = 0;
    breaker->retry_ms = 0;
}

bool sink_breaker_allows(struct sink_breaker *breaker, int64_t now_ms)
{
    if (now_ms < breaker->retry_ms) {
        return false;
    }
    if (breaker->state == TALLY_BREAKER_OPEN) {
        breaker->state = TALLY_BREAKER_HALF_OPEN;
    }
    return true;
}

void sink_breaker_hurry(struct sink_breaker *breaker)
{
    breaker->retry_ms = 0;
}
