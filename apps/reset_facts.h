/* apps/reset_facts.h - what `tally reset` finds about the tasks, without changing anything: the
 * group's offsets, both topics, the state directory. @thread owner */
#pragma once
#include "apps/instance.h"
#include "apps/progress.h"
#include "apps/reset_plan.h"
#include "connectors/kafka_group.h"
#include "connectors/kafka_reader.h"
#include "engine/client.h"

struct reset_scope {
    const struct tally_config *config;
    struct tally_group *group;
    int32_t partitions;
    bool held;             /* this process has the state directory */
    int64_t open_until_ms; /* so long open transactions are waited for, of all tasks together */
    struct progress *progress;
};

/* Who the task's directory must belong to; borrows from scope and topology. */
struct tally_store_identity reset_identity(const struct reset_scope *scope,
        const struct tally_topology *topology, int32_t partition);
/* Before anything is known, but who it is about. */
struct reset_facts reset_facts_none(const struct reset_scope *scope,
        const struct tally_topology *topology, int32_t partition, int64_t group_offset);
/* group_offset: as tally_group_offsets gave it. STATE_LOCKED, UNAVAILABLE, AGAIN; what a plan
 * can say something about is no error. */
TALLY_MUST_CHECK enum tally_code reset_facts_gather(const struct reset_scope *scope,
        const struct tally_topology *topology, int32_t partition, int64_t group_offset,
        struct reset_facts *facts, struct tally_error *err);

/* Looks at the task's directory. */
TALLY_MUST_CHECK enum tally_code reset_facts_state(const struct reset_scope *scope,
        const struct tally_topology *topology, struct reset_facts *facts, struct tally_error *err);

/* TALLY_AGAIN: the user has interrupted it. Every step of long work asks. */
TALLY_MUST_CHECK enum tally_code reset_interrupted(struct tally_error *err);
/* A line about long work, at most once a second. */
void reset_tell(const struct reset_scope *scope, const char *what, const char *topic,
        int32_t partition, int64_t offset);

/* Calls visit for each committed record from `from` on, until it says false or the end. A damaged
 * record ends it too when *damaged is given, and is noted there; else it is an error. *end: the
 * last stable offset, if it was reached. */
typedef bool (*reset_visit_fn)(void *context, struct tally_reader *reader,
        const struct tally_record *record);
TALLY_MUST_CHECK enum tally_code reset_read(const struct reset_scope *scope, const char *topic,
        int32_t partition, int64_t from, reset_visit_fn visit, void *context, bool *damaged,
        int64_t *end, struct tally_error *err);
/* Reads the output topic of a task until no transaction is open in it, or open_until_ms has come:
 * what an instance left open when it was killed ends by itself. Each time facts have both ends of
 * the topic, events_next -1 and event TALLY_OK; read fills them, and *end as reset_read does. */
typedef enum tally_code (*reset_output_fn)(const struct reset_scope *scope, void *context,
        int64_t *end, struct tally_error *err);
TALLY_MUST_CHECK enum tally_code reset_read_closed(const struct reset_scope *scope,
        struct reset_facts *facts, reset_output_fn read, void *context, struct tally_error *err);
