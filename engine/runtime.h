/* engine/runtime.h - one running instance: topologies, stream threads, replies, health.
 * Life: create -> start -> (running) -> drain -> destroy. @thread main unless said otherwise. */
#pragma once
#include "engine/base/clock.h"
#include "engine/base/config.h"
#include "engine/client.h"
#include "engine/query.h"
#include "engine/sink_control.h"
#include "engine/topology.h"

struct tally_runtime_options {
    const struct tally_config *config;
    struct tally_client *client; /* owned by the caller, outlives the runtime */
    struct tally_clock *clock;
    struct tally_topology *const *topologies; /* owned by the caller */
    size_t topology_count;
    int32_t partitions; /* of every commands and events topic, checked at start */
};
TALLY_MUST_CHECK enum tally_code tally_runtime_create(const struct tally_runtime_options *options,
        struct tally_runtime **runtime, struct tally_error *err);
/* Opens local task directories (PARKED) and starts the threads. */
TALLY_MUST_CHECK enum tally_code tally_runtime_start(struct tally_runtime *runtime,
        struct tally_error *err);
/* Stops deciding, commits, flushes, closes, within shutdown.timeout. TIMEOUT: something hung. */
TALLY_MUST_CHECK enum tally_code tally_runtime_drain(struct tally_runtime *runtime,
        struct tally_error *err);
void tally_runtime_destroy(struct tally_runtime *runtime);
/* A thread that ended with an EXIT reaction; TALLY_OK while all run. @thread any */
enum tally_code tally_runtime_failure(struct tally_runtime *runtime, struct tally_error *err);

/* --- for HTTP and metrics. @thread any -------------------------------------------------------- */

struct tally_task_info {
    const char *topology;
    int32_t partition;
    enum tally_task_state state;
    const char *topic;
    int64_t position; /* last applied command offset, -1: none */
    int64_t lag;      /* records, -1: unknown */
    int64_t as_of_ms;
    int64_t restore_left, restore_total; /* events; 0 when not restoring */
    enum tally_code code;                /* of a HALTED task */
    char message[TALLY_HALT_TEXT_MAX];   /* with the way out */
};
/* Writes at most max, sorted by topology and partition; returns how many there are. */
size_t tally_runtime_tasks(struct tally_runtime *runtime, struct tally_task_info *tasks,
        size_t max);
/* Writes a command to a commands topic (with prefix) for a client; see tally_client_ops.publish. */
TALLY_MUST_CHECK enum tally_code tally_runtime_publish(struct tally_runtime *runtime,
        const char *topic, struct tally_slice key, struct tally_slice value, int timeout_ms,
        int32_t *partition, int64_t *offset, struct tally_error *err);
/* Writes a record to a topic (with prefix), best effort and without waiting; false: dropped. */
bool tally_runtime_tell(struct tally_runtime *runtime, const char *topic, struct tally_slice key,
        struct tally_slice value);
const struct tally_config *tally_runtime_config(const struct tally_runtime *runtime);
struct tally_topology *const *tally_runtime_topologies(const struct tally_runtime *runtime,
        size_t *count);
int32_t tally_runtime_partitions(const struct tally_runtime *runtime);
struct tally_clock *tally_runtime_clock(const struct tally_runtime *runtime);

enum tally_health { TALLY_HEALTH_LIVE, TALLY_HEALTH_READY, TALLY_HEALTH_STARTED };
/* true: passes. Lines of the verbose form ("[+]kafka ok\n") are appended to *lines, which may be
 * NULL. */
bool tally_runtime_health(struct tally_runtime *runtime, enum tally_health health,
        struct tally_buf *lines);
/* The sinks of this instance, which outlive its readers; NULL: there is none. Health tells of them,
 * and is never worse for it. set: @thread init */
void tally_runtime_set_sinks(struct tally_runtime *runtime, struct tally_sinks *sinks);
struct tally_sinks *tally_runtime_sinks(const struct tally_runtime *runtime);
void tally_runtime_shutting_down(struct tally_runtime *runtime); /* ready says 503 from now on */
bool tally_runtime_is_shutting_down(const struct tally_runtime *runtime);
