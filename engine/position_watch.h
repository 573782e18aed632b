/* engine/position_watch.h - looks, every few seconds, whether the topics under the running tasks
 * are still the ones that they have read: that they exist, have their partitions, end behind the
 * tasks' positions, and hold the commands and events that were the last ones in the look before.
 * librdkafka 2.0.2 knows no topic ids, and a topic that was deleted and made anew looks like one
 * that goes on.
 * Of a task that has stood still for a minute it also proves how far its input holds nothing that a
 * reader is shown, only marks of transactions and what was aborted. The task's position goes there:
 * were it to stay in front of them, and retention to delete them, the next restore could not tell
 * that no command was deleted.
 * Invariants
 *  (1) What does not fit must not fit at the next look either, unless it is another record at an
 *      offset that was read: that cannot pass.
 *  (2) It changes nothing: a doubt is left at the task's slot for its stream thread, which halts
 *      the task; what concerns all tasks of a topic ends the process.
 *  (3) A tail is proved by a handle of its own that has read nothing else: it passes what stands
 *      there in order, and a single record that comes ends the proof.
 * @thread one of its own, or the test driver's */
#pragma once
#include "engine/client.h"
#include "engine/task_registry.h"

#define TALLY_WATCH_EVERY_MS 2000

struct tally_position_watch;

struct tally_position_watch_options {
    struct tally_client *client;
    struct tally_clock *clock;
    struct tally_task_registry *registry;
    struct tally_topology *const *topologies;
    size_t topology_count;
    int32_t partitions;
};
/* Options' pointers outlive the watch; no call to a broker yet. */
struct tally_position_watch *
tally_position_watch_create(const struct tally_position_watch_options *options);
/* In the thread that looked. */
void tally_position_watch_destroy(struct tally_position_watch *watch);
/* One look, at most a few seconds; while no broker answers: none. TOPIC_CONFIG: a topic is gone or
 * has another number of partitions. */
TALLY_MUST_CHECK enum tally_code tally_position_watch_look(struct tally_position_watch *watch,
        struct tally_error *err);
