/* engine/base/clock.h - time from outside, real or set by a test. */
#pragma once
#include <stdint.h>

struct tally_clock {
    int64_t (*wall_ms)(struct tally_clock *clock); /* since 1970, may jump */
    int64_t (*mono_us)(struct tally_clock *clock); /* never goes back */
};

struct tally_clock *tally_clock_real(void);

/* A clock that stands still until it is moved. @thread owner */
struct tally_fake_clock {
    struct tally_clock clock;
    int64_t now_us;
};
void tally_fake_clock_init(struct tally_fake_clock *fake, int64_t wall_ms);
void tally_fake_clock_advance(struct tally_fake_clock *fake, int64_t by_ms);

static inline int64_t tally_wall_ms(struct tally_clock *clock)
{
    return clock->wall_ms(clock);
}
static inline int64_t tally_mono_us(struct tally_clock *clock)
{
    return clock->mono_us(clock);
}
static inline int64_t tally_mono_ms(struct tally_clock *clock)
{
    return clock->mono_us(clock) / 1000;
}
