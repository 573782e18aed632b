/* apps/progress.c - see the header. */
#include "apps/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

void progress_begin(struct progress *progress, struct tally_clock *clock, bool asked)
{
    bool terminal = isatty(STDERR_FILENO) != 0;

    *progress = (struct progress){.clock = clock, .shown = terminal || asked, .rewrite = terminal};
    progress->begin_ms = tally_mono_ms(clock);
    progress->printed_ms = progress->begin_ms;
}

bool progress_due(struct progress *progress)
{
    int64_t now_ms;

    if (!progress->shown) {
        return false;
    }
    now_ms = tally_mono_ms(progress->clock);
    if (now_ms - progress->printed_ms < 1000) {
        return false;
    }
    progress->printed_ms = now_ms;
    return true;
}

void progress_print(struct progress *progress, const char *format, ...)
{
    va_list args;

    if (progress->rewrite) {
        fputs("\r\033[K", stderr);
    }
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (!progress->rewrite) {
        fputc('\n', stderr);
    }
    fflush(stderr);
}

void progress_end(struct progress *progress)
{
    if (progress->rewrite && progress->printed_ms != progress->begin_ms) {
        fputs("\r\033[K", stderr);
    }
    progress->rewrite = false;
}

double progress_seconds(const struct progress *progress)
{
    int64_t passed_ms = tally_mono_ms(progress->clock) - progress->begin_ms;

    return (double)(passed_ms > 0 ? passed_ms : 1) / 1000.0;
}
