/* engine/base/stillness.h - for how long something has not moved, as seen by one who looks at it
 * again and again. Between two looks at most STILLNESS_LOOK_MAX_MS count: an observer that did not
 * look for longer was not running itself (SIGSTOP, a frozen container, a paused machine), and then
 * neither was what it looks at. So a pause of the process is nobody's fault. */
#pragma once
#include <stdint.h>

enum { STILLNESS_LOOK_MAX_MS = 1000 };

struct tally_stillness { /* all zero: not looked at yet */
    int64_t mark, looked_ms, still_ms;
};

/* mark: any number that changes when it moves. Returns the time since the last change. */
int64_t tally_stillness_look(struct tally_stillness *stillness, int64_t mark, int64_t now_ms);
/* Begins again, whatever the mark. */
void tally_stillness_reset(struct tally_stillness *stillness);
