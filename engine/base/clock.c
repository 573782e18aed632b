/* engine/base/clock.c - the only place that asks the system for the time.
 * Everything else is handed a clock, so that a test decides what time it is. */
#include "engine/base/clock.h"

#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec now;

    (void)clock_gettime(id, &now); /* fails for unknown ids only */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t real_wall_ms(struct tally_clock *clock)
{
    (void)clock;
    return read_us(CLOCK_REALTIME) / 1000;
}

static int64_t real_mono_us(struct tally_clock *clock)
{
    (void)clock;
    return read_us(CLOCK_MONOTONIC);
}

struct tally_clock *tally_clock_real(void)
{
    static struct tally_clock real = {.wall_ms = real_wall_ms, .mono_us = real_mono_us};

    return &real;
}

static int64_t fake_wall_ms(struct tally_clock *clock)
{
    return ((struct tally_fake_clock *)clock)->now_us / 1000;
}

static int64_t fake_mono_us(struct tally_clock *clock)
{
    return ((struct tally_fake_clock *)clock)->now_us;
}

void tally_fake_clock_init(struct tally_fake_clock *fake, int64_t wall_ms)
{
    *fake = (struct tally_fake_clock){
            .clock = {.wall_ms = fake_wall_ms, .mono_us = fake_mono_us}, .now_us = wall_ms * 1000};
}

void tally_fake_clock_advance(struct tally_fake_clock *fake, int64_t by_ms)
{
    fake->now_us += by_ms * 1000;
}
