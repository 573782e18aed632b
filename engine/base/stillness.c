/* engine/base/stillness.c - see stillness.h. */
#include "engine/base/stillness.h"

int64_t tally_stillness_look(struct tally_stillness *stillness, int64_t mark, int64_t now_ms)
{
    int64_t since_ms = now_ms - stillness->looked_ms;

    if (stillness->looked_ms == 0 || mark != stillness->mark) {
        stillness->still_ms = 0;
    } else {
        stillness->still_ms += since_ms < STILLNESS_LOOK_MAX_MS ? since_ms : STILLNESS_LOOK_MAX_MS;
    }
    stillness->mark = mark;
    stillness->looked_ms = now_ms;
    return stillness->still_ms;
}

void tally_stillness_reset(struct tally_stillness *stillness)
{
    *stillness = (struct tally_stillness){.mark = 0};
}
