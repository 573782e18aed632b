/* engine/task_manager.h - the tasks that one stream thread owns: created when partitions are
 * assigned, parked (store open, readable) when they are revoked. @thread owner */
#pragma once
#include "engine/stream_task.h"

struct tally_task_manager;

struct tally_task_manager_options {
    int thread;
    const char *group; /* whose tasks it has: tally_topology_group */
    const struct tally_config *config;
    struct tally_client *client;
    struct tally_clock *clock;
    struct tally_state *state;
    struct tally_task_registry *registry;
    struct tally_collector *collector;
    int32_t partitions;
};
struct tally_task_manager *
tally_task_manager_create(const struct tally_task_manager_options *options);
void tally_task_manager_destroy(struct tally_task_manager *manager); /* no tasks left */

/* The identity that a task directory must have; strings borrow from client, config and topology. */
struct tally_store_identity tally_task_identity(const struct tally_task_slot *slot,
        const struct tally_config *config, struct tally_client *client, int32_t partitions);

size_t tally_task_manager_count(const struct tally_task_manager *manager);
struct tally_stream_task *tally_task_manager_at(const struct tally_task_manager *manager,
        size_t index);
/* NULL: not a task of this thread. topic: as records name it. */
struct tally_stream_task *tally_task_manager_find(struct tally_task_manager *manager,
        const char *topic, int32_t partition);

/* Makes a CREATED task for an input partition. AGAIN: another thread still owns it, call later. */
TALLY_MUST_CHECK enum tally_code tally_task_manager_assign(struct tally_task_manager *manager,
        const char *topic, int32_t partition, struct tally_error *err);
/* Opens the task's store where it is not open; an outdated or corrupt one is set aside and made
 * anew. HALT codes, STORE_ERROR. */
TALLY_MUST_CHECK enum tally_code tally_task_manager_open_store(struct tally_task_manager *manager,
        struct tally_stream_task *task, struct tally_error *err);
/* Sets the store aside and opens a new one: REBUILD. The task becomes CREATED. */
TALLY_MUST_CHECK enum tally_code tally_task_manager_rebuild(struct tally_task_manager *manager,
        struct tally_stream_task *task, struct tally_error *err);
/* Gives all tasks up. flush_ms > 0: runs are flushed within it. Stores stay open, parked. */
void tally_task_manager_park_all(struct tally_task_manager *manager, int64_t flush_ms);
/* As a crash would: stores are closed without a flush. */
void tally_task_manager_abandon_all(struct tally_task_manager *manager);

/* Input offsets of every RUNNING task, moved or not (KIP-447 fences by them); count written. */
size_t tally_task_manager_offsets(const struct tally_task_manager *manager,
        struct tally_topic_partition *offsets, size_t max);
/* c1: what RUNNING tasks have yet to write comes into the collector; *added: something did. */
TALLY_MUST_CHECK enum tally_code tally_task_manager_finish(struct tally_task_manager *manager,
        bool *added, struct tally_error *err);
void tally_task_manager_commit(struct tally_task_manager *manager); /* every RUNNING task */
void tally_task_manager_rollback(struct tally_task_manager *manager);
size_t
tally_task_manager_uncommitted(const struct tally_task_manager *manager); /* bytes of overlays */
