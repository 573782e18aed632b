/* engine/stream_thread.h - poll, process, commit: one consumer, one producer, and their tasks.
 * @thread owner unless said otherwise */
#pragma once
#include "engine/base/clock.h"
#include "engine/client.h"
#include "engine/task_registry.h"

struct tally_stream_thread;
struct tally_stream_thread_options {
    int index;         /* 0.. in this instance */
    const char *group; /* whose tasks it has, tally_topology_group; NULL: all aggregates */
    int member;        /* 0.. among the threads of the group in this instance */
    const struct tally_config *config;
    struct tally_client *client;
    struct tally_clock *clock;
    struct tally_state *state;
    struct tally_task_registry *registry;
    int32_t partitions;
};

struct tally_stream_thread *
tally_stream_thread_create(const struct tally_stream_thread_options *options);
/* One turn: makes clients when there are none, polls a batch (waits at most wait_ms for the first
 * record), processes it, commits what is due, restores a slice. Every error but those that ask for
 * EXIT is handled inside; *busy: there was something to do. @thread owner */
TALLY_MUST_CHECK enum tally_code tally_stream_thread_step(struct tally_stream_thread *thread,
        int wait_ms, bool *busy, struct tally_error *err);
/* Commits, flushes and parks the tasks, destroys the clients. */
void tally_stream_thread_close(struct tally_stream_thread *thread);
/* Drops everything as a crash would: no commit, no abort, nothing flushed; stores are closed. */
void tally_stream_thread_crash(struct tally_stream_thread *thread);
void tally_stream_thread_destroy(struct tally_stream_thread *thread);

/* A start that failed is tried again later: until then a step does nothing and does not wait.
 * @thread owner */
bool tally_stream_thread_backs_off(const struct tally_stream_thread *thread);
/* Monotonic ms of the last turn, for liveness. @thread any */
int64_t tally_stream_thread_beat(const struct tally_stream_thread *thread);
/* The group has told it its partitions once, be it none. @thread any */
bool tally_stream_thread_joined(const struct tally_stream_thread *thread);
/* "RUNNING", "RECOVERING" ... @thread any */
const char *tally_stream_thread_state_name(const struct tally_stream_thread *thread);
