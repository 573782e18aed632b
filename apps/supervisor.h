/* apps/supervisor.h - what the supervisor that started us is told: ready, what we do, that we live.
 * It is sd_notify(3)'s protocol, one datagram a message; without NOTIFY_SOCKET nobody is told, and
 * nothing here ever fails.
 *   READY=1             once, when every assigned task is restored; STATUS says how far it is
 *   EXTEND_TIMEOUT_USEC while that lasts, and for as long as the end may take
 *   WATCHDOG=1          twice a period, as long as the instance is alive
 *   STOPPING=1          when the end begins
 * @thread main */
#pragma once
#include "engine/runtime.h"

struct supervisor {
    int socket; /* -1: nobody listens */
    struct tally_clock *clock;
    int64_t watchdog_ms; /* between two signs of life; 0: nobody waits for them */
    int64_t alive_ms, told_ms, extended_ms;
    bool ready;
    char status[256];
};

/* From NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. */
void supervisor_init(struct supervisor *supervisor, struct tally_clock *clock);
void supervisor_deinit(struct supervisor *supervisor);
/* It was told nothing of READY yet. */
bool supervisor_waits(const struct supervisor *supervisor);
/* What is being done; told when it changes. Before READY it also asks for more time. */
void supervisor_status(struct supervisor *supervisor, const char *format, ...) TALLY_PRINTF(2, 3);
/* One look at a runtime that was started: progress, READY, a sign of life. Ask it often. */
void supervisor_watch(struct supervisor *supervisor, struct tally_runtime *runtime);
void supervisor_stopping(struct supervisor *supervisor, int64_t limit_ms);
