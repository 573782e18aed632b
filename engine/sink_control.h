/* engine/sink_control.h - the sinks of this instance as others see them: how far they are, and what
 * may be asked of them. apps/ fills it in with connectors/sink_task.h; HTTP and health read it.
 * @thread any */
#pragma once
#include "engine/client.h"

enum tally_sink_state {
    TALLY_SINK_STARTING,    /* no answer of the target yet, or no partitions */
    TALLY_SINK_RUNNING,     /* writes what comes */
    TALLY_SINK_REBUILDING,  /* writes everything anew, or is asked to; the old content is read */
    TALLY_SINK_PAUSED,      /* somebody asked for it; kept over restarts, as a rebuild is */
    TALLY_SINK_BACKING_OFF, /* tries again by itself, soon */
    TALLY_SINK_FAILED,      /* tries again, seldom: somebody has to do something */
    TALLY_SINK_STATES
};
enum tally_sink_breaker { TALLY_BREAKER_CLOSED, TALLY_BREAKER_OPEN, TALLY_BREAKER_HALF_OPEN };

struct tally_sink_info {
    const char *name; /* "postgres" */
    enum tally_sink_state state;
    enum tally_sink_breaker breaker;
    size_t partitions;                      /* of this instance */
    int64_t records, batches, dead_letters; /* written since the start */
    int64_t lag;                            /* records, -1: unknown */
    int64_t as_of_ms;                       /* the target has every event until then; 0: unknown */
    enum tally_code code;                   /* why it is BACKING_OFF or FAILED; OK */
    int64_t failed_ms;                      /* when the last error was; 0: none since the start */
    struct tally_error last; /* the last error, over or not; what to do is part of it */
};

struct tally_sinks;
struct tally_sinks_ops {
    size_t (*count)(struct tally_sinks *sinks);
    void (*info)(struct tally_sinks *sinks, size_t index, struct tally_sink_info *info);
    /* Next offsets of the partitions of this instance; code is not used. Writes at most max;
     * returns how many there are. */
    size_t (*positions)(struct tally_sinks *sinks, size_t index,
            struct tally_topic_partition *positions, size_t max);
    /* Takes effect at the sink's next turn. SYSTEM: the wish cannot be kept over a restart. */
    enum tally_code (*pause)(struct tally_sinks *sinks, size_t index, struct tally_error *err);
    enum tally_code (*resume)(struct tally_sinks *sinks, size_t index, struct tally_error *err);
    enum tally_code (*rebuild)(struct tally_sinks *sinks, size_t index, struct tally_error *err);
};
struct tally_sinks {
    const struct tally_sinks_ops *ops;
};

static inline const char *tally_sink_state_name(enum tally_sink_state state)
{
    static const char *const names[TALLY_SINK_STATES] = {
            "STARTING", "RUNNING", "REBUILDING", "PAUSED", "BACKING_OFF", "FAILED"};

    return names[state];
}
static inline const char *tally_sink_breaker_name(enum tally_sink_breaker breaker)
{
    static const char *const names[] = {"closed", "open", "half-open"};

    return names[breaker];
}
