/* engine/limiter.h - how many requests a client may make in a window of time: a sliding log that
 * all instances share (connectors/redis_limiter.c), else a token bucket of this process.
 * Invariants
 *  (1) With the shared log, no window of a policy ever holds more than its quota of a client.
 *  (2) Without it, an instance lets through its share: the quota divided by the instances, at least
 *      one, and at most twice that in any window (a full bucket and what flows in).
 *  (3) Memory is bounded: room for 8192 clients, then one that was long not seen gives way.
 * @thread any  @locks CONNECTOR for the buckets only */
#pragma once
#include "engine/base/bytes.h"
#include "engine/base/clock.h"

struct tally_limit {
    const char *policy; /* "search"; part of keys: letters only */
    int64_t quota;      /* requests in a window, at least 1 */
    int64_t window_ms;
};
struct tally_limit_answer {
    bool allowed;
    int64_t remaining; /* requests left */
    int64_t reset_ms;  /* until the oldest request leaves the window; until one is allowed again */
};

/* The shared log. An error means that it cannot be asked. */
struct tally_limit_log;
struct tally_limit_log_ops {
    enum tally_code (*take)(struct tally_limit_log *log, const struct tally_limit *limit,
            struct tally_slice client, struct tally_limit_answer *answer, struct tally_error *err);
    void (*destroy)(struct tally_limit_log *log);
};
struct tally_limit_log {
    const struct tally_limit_log_ops *ops;
};

struct tally_limiter;
/* Owns log; NULL: this process alone. instances: among how many a quota is divided while the log
 * cannot be asked, at least 1. */
struct tally_limiter *tally_limiter_create(struct tally_limit_log *log, int64_t instances,
        struct tally_clock *clock);
void tally_limiter_destroy(struct tally_limiter *limiter);
/* Counts one request of the client. Never fails: without the log the buckets answer. */
void tally_limiter_take(struct tally_limiter *limiter, const struct tally_limit *limit,
        struct tally_slice client, struct tally_limit_answer *answer);
