/* engine/topology_driver.h - runs topologies without Kafka: one stream thread over a broker in
 * memory, a clock that stands still, state in memory or in a directory. For tests.
 * What is put in is what a producer would write; what comes out is read from the log. The thread
 * can be stopped, killed at any call to the broker, and started again on what it left.
 * Life: create (started) -> pipe, run -> [stop or crash -> start] -> destroy. @thread owner */
#pragma once
#include "engine/memory_client.h"
#include "engine/topology.h"
#include "state/store.h"

#define TALLY_DRIVER_REPLY_TOPIC "tally.replies" /* with topics.prefix; one partition */

struct tally_topology_driver;
struct tally_topology_driver_options {
    struct tally_topology *const *topologies; /* owned by the caller, outlive the driver */
    size_t topology_count;
    const struct tally_config *config; /* as topologies */
    int32_t partitions;
    const char *state_dir; /* NULL: in memory, gone with every stop or crash */
    int64_t now_ms;        /* where the clock stands */
};
TALLY_MUST_CHECK enum tally_code
tally_topology_driver_create(const struct tally_topology_driver_options *options,
        struct tally_topology_driver **driver, struct tally_error *err);
void tally_topology_driver_destroy(struct tally_topology_driver *driver); /* stops it first */

/* Appends a record to a topic (without prefix). partition -1: murmur2 of the key. The offset, or
 * TALLY_OFFSET_NONE: not taken. */
int64_t tally_topology_driver_pipe(struct tally_topology_driver *driver, const char *topic,
        int32_t partition, struct tally_slice key, struct tally_slice value,
        const struct tally_header *headers, size_t header_count);
/* Appends a command, JSON text or MessagePack, under the key that its fields ask for (undecodable,
 * unknown or without its key field: under "-"), with a reply asked for. */
int64_t tally_topology_driver_command(struct tally_topology_driver *driver, const char *topic,
        struct tally_slice value);
/* Turns until nothing is left to do. FENCED: a fault with `kill` has hit, then crash and start;
 * STUCK: it does not come to rest; another code: the thread ended with it. */
TALLY_MUST_CHECK enum tally_code tally_topology_driver_run(struct tally_topology_driver *driver,
        struct tally_error *err);
void tally_topology_driver_advance(struct tally_topology_driver *driver, int64_t by_ms);
int64_t tally_topology_driver_now(const struct tally_topology_driver *driver);

void tally_topology_driver_stop(struct tally_topology_driver *driver);  /* as by SIGTERM */
void tally_topology_driver_crash(struct tally_topology_driver *driver); /* as by SIGKILL */
TALLY_MUST_CHECK enum tally_code tally_topology_driver_start(struct tally_topology_driver *driver,
        struct tally_error *err);

/* One look of the watch over positions (position_watch.h); what it finds twice halts a task in the
 * next run. TOPIC_CONFIG: the process would end. */
TALLY_MUST_CHECK enum tally_code tally_topology_driver_watch(struct tally_topology_driver *driver,
        struct tally_error *err);

struct tally_memory_broker *tally_topology_driver_broker(struct tally_topology_driver *driver);

/* --- what came out ---------------------------------------------------------------------------- */

/* Appends the visible records of a topic partition (without prefix), one a line, as JSON whatever
 * their format; what is no document: "?" and its bytes in hex. partition -1: all, in order. */
void tally_topology_driver_print(struct tally_topology_driver *driver, const char *topic,
        int32_t partition, struct tally_buf *out);
/* Committed rows of a task in key order. false: the task has no store now. */
typedef void (*tally_driver_row_fn)(void *context, struct tally_slice key, struct tally_slice row);
bool tally_topology_driver_scan(struct tally_topology_driver *driver, const char *topology,
        int32_t partition, tally_driver_row_fn row, void *context);
/* "<topology>/<partition> <store> <key> <row in hex>" for every row of every task. */
void tally_topology_driver_dump(struct tally_topology_driver *driver, struct tally_buf *out);
/* "RUNNING", or the code of a halted task. */
const char *tally_topology_driver_state(struct tally_topology_driver *driver, const char *topology,
        int32_t partition);
