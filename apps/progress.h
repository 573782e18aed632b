/* apps/progress.h - a line on stderr about long work, at most once a second. @thread owner */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/clock.h"

struct progress {
    struct tally_clock *clock;
    int64_t begin_ms, printed_ms;
    bool shown;   /* false: print nothing before the summary */
    bool rewrite; /* a terminal: the line replaces itself */
};

/* Shows itself on a terminal, or when asked to. */
void progress_begin(struct progress *progress, struct tally_clock *clock, bool asked);
/* True once a second while shown: the caller then prints its numbers with progress_print. */
bool progress_due(struct progress *progress);
void progress_print(struct progress *progress, const char *format, ...)
        __attribute__((format(printf, 2, 3)));
/* Ends a line that was being rewritten. */
void progress_end(struct progress *progress);
double progress_seconds(const struct progress *progress); /* since begin; never 0 */
