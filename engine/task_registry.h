/* engine/task_registry.h - every task of this instance, as readers and other threads see it.
 * Invariants
 *  (1) There is one slot for each topology x partition, for the life of the process; a slot's store
 *      is owned by the stream thread that claimed it, or parked (open, owned by nobody).
 *  (2) A view obtained here is of committed data; the store's pointer changes only under the write
 *      lock, so a reader that holds the read lock may take a view of it.
 *  (3) Positions only move by publication after a commit.
 * @locks TASKS inside; WAITERS for position waits */
#pragma once
#include <stdatomic.h>

#include "engine/base/clock.h"
#include "engine/base/thread.h"
#include "engine/query.h"
#include "engine/topology.h"
#include "state/store.h"

struct tally_task_registry;

struct tally_task_slot {
    struct tally_task_registry *registry;
    struct tally_topology *topology;
    int32_t partition;
    struct tally_store *store; /* NULL: not open */
    int owner;                 /* stream thread, -1: none */
    _Atomic int state;         /* enum tally_task_state */
    _Atomic bool cold;         /* being restored from nothing: not readable yet */
    _Atomic int64_t in_next, lag, as_of_ms, restore_left, restore_total;
    _Atomic bool anchored;          /* `anchor` is filled */
    struct tally_positions anchor;  /* the first of this life of the task that name a command */
    _Atomic bool passed;            /* the two that follow are filled */
    int64_t passed_from, passed_to; /* of the input: no record stands there */
    _Atomic bool doubted;
    struct tally_error doubt;     /* what the watch has found out about a RUNNING task */
    struct tally_positions wrong; /* whose records are not there any more */
    enum tally_code code;         /* why HALTED */
    char message[TALLY_HALT_TEXT_MAX];
};

struct tally_task_registry *tally_task_registry_create(struct tally_topology *const *topologies,
        size_t count, int32_t partitions, int waiters_max);
void tally_task_registry_destroy(struct tally_task_registry *registry); /* closes parked stores */
size_t tally_task_registry_count(const struct tally_task_registry *registry);
struct tally_task_slot *tally_task_registry_at(struct tally_task_registry *registry, size_t index);
/* NULL: no such topology or partition. */
struct tally_task_slot *tally_task_registry_find(struct tally_task_registry *registry,
        const char *topology, int32_t partition);
/* By input topic (with prefix), among the members of a group (tally_topology_group). */
struct tally_task_slot *tally_task_registry_find_input(struct tally_task_registry *registry,
        const char *group, const char *topic, int32_t partition);

/* Whether a topic (with prefix) is one that a topology reads or writes. */
bool tally_task_registry_owns_topic(const struct tally_task_registry *registry, const char *topic);

/* group NULL: that of the aggregates. */
bool tally_task_slot_in_group(const struct tally_task_slot *slot, const char *group);
/* Makes `owner` the slot's owner; false: another thread still has it. @thread owner */
bool tally_task_slot_claim(struct tally_task_slot *slot, int owner);
void tally_task_slot_release(struct tally_task_slot *slot);
/* Whether a stream thread of this instance has it. @thread any */
bool tally_task_slot_is_owned(struct tally_task_slot *slot);
/* Records that its input has left; -1: not known. */
void tally_task_slot_set_lag(struct tally_task_slot *slot, int64_t lag);
/* Replaces the store (NULL: none); the old one is the caller's to close. */
void tally_task_slot_set_store(struct tally_task_slot *slot, struct tally_store *store);
void tally_task_slot_set_state(struct tally_task_slot *slot, enum tally_task_state state);
/* The command that gets a task out of a halt, or what to do instead (remedy.def); "": nothing is
 * known. */
void tally_task_way_out(const char *topology, int32_t partition, enum tally_code code,
        char text[static TALLY_WAY_OUT_MAX]);
/* The error's text with it. */
void tally_task_slot_way_out(const struct tally_task_slot *slot, const struct tally_error *err,
        char text[static TALLY_HALT_TEXT_MAX]);
/* Keeps that for health and operators. */
void tally_task_slot_halt(struct tally_task_slot *slot, const struct tally_error *err);
/* Keeps them, if they are the first that name a command since the task began to run: what the watch
 * over positions compares with at first. @thread owner */
void tally_task_slot_set_anchor(struct tally_task_slot *slot,
        const struct tally_positions *positions);
/* false: there are none yet. @thread any */
bool tally_task_slot_get_anchor(struct tally_task_slot *slot, struct tally_positions *positions);
/* Keeps for health why the task does not get on, until its state changes: it tries again. */
void tally_task_slot_trouble(struct tally_task_slot *slot, const struct tally_error *err);
/* What the watch over positions has found, for the stream thread to take once; forgotten when the
 * task is no longer RUNNING. wrong: earlier positions whose records the topics no longer have.
 * @thread any */
void tally_task_slot_doubt(struct tally_task_slot *slot, const struct tally_error *err,
        const struct tally_positions *wrong);
bool tally_task_slot_take_doubt(struct tally_task_slot *slot, struct tally_error *err,
        struct tally_positions *wrong);
/* What the watch has proved: from `from` up to `to` the input holds only what no reader is shown,
 * marks of transactions and what was aborted. The stream thread takes it once; forgotten as a doubt
 * is. @thread any */
void tally_task_slot_pass(struct tally_task_slot *slot, int64_t from, int64_t to);
bool tally_task_slot_take_pass(struct tally_task_slot *slot, int64_t *from, int64_t *to);
/* New committed position; wakes whoever waits for it. */
void tally_task_slot_publish(struct tally_task_slot *slot, int64_t in_next);
/* A reference to the current view; NULL: no store. @thread any */
struct tally_view *tally_task_slot_view(struct tally_task_slot *slot);
/* Waits until in_next > offset; TIMEOUT, QUEUE_FULL (too many wait). @thread any */
enum tally_code tally_task_slot_wait(struct tally_task_slot *slot, int64_t offset, int64_t wait_ms);
/* Why the task is HALTED or does not get on, and its message; TALLY_OK otherwise. @thread any */
enum tally_code tally_task_slot_halted(struct tally_task_slot *slot, char *message, size_t size);
/* The error of the last background flush, as tally_store_health. @thread any */
enum tally_code tally_task_slot_store_health(struct tally_task_slot *slot, struct tally_error *err);
/* When a broker was last known to answer (monotonic ms): noted by stream threads, read by health.
 * @thread any */
void tally_task_registry_contact(struct tally_task_registry *registry, int64_t now_ms);
int64_t tally_task_registry_contact_ms(const struct tally_task_registry *registry);
/* Sets the gauges of RocksDB sizes of all open stores. @thread any */
void tally_task_registry_show_sizes(struct tally_task_registry *registry);
