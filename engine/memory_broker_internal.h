/* engine/memory_broker_internal.h - what memory_client.c does at the broker. */
#pragma once
#include "engine/memory_broker.h"

enum memory_txn_state { MEMORY_TXN_OPEN, MEMORY_TXN_COMMITTED, MEMORY_TXN_ABORTED };

struct memory_partition;
struct memory_txn;

/* One transactional id; the producer whose epoch is the newest is the live one. */
struct memory_id {
    struct memory_id *next;
    char *name;
    uint64_t epoch;
    struct memory_txn *open;   /* NULL: none */
    struct memory_txn *ending; /* decided, but not all of its markers are written; NULL: none */
};

struct memory_group {
    struct memory_group *next;
    char *name;
    struct memory_member *members; /* by instance */
    uint64_t generation;
    bool preparing; /* a rebalance waits until every member has come back */
    int64_t preparing_since_ms;
};

/* A consumer of a group under one instance id; the newest holder is the live one. */
struct memory_member {
    struct memory_member *next;
    struct memory_group *group;
    char *instance;
    uint64_t holder;
    bool known;          /* to the coordinator: joined and not expired */
    bool waiting;        /* has come back for the generation that is being prepared */
    uint64_t generation; /* the newest that it has a part in */
    int64_t heartbeat_ms;
};

struct memory_times {
    int64_t session_ms, max_poll_ms, heartbeat_ms;
};

/* A request that its client has given up. */
struct memory_late {
    struct memory_late *next;
    int64_t due_ms;
    enum tally_memory_op op; /* PRODUCE, SEND_OFFSETS, COMMIT, ABORT */
    struct memory_id *id;
    uint64_t epoch;
    struct memory_partition *partition; /* PRODUCE */
    const struct tally_produce *records;
    size_t count;
    struct memory_member *member; /* SEND_OFFSETS */
    uint64_t holder, generation;
    const struct tally_topic_partition *offsets;
};

/* NULL: no such topic or partition. */
struct memory_partition *memory_broker_find(struct tally_memory_broker *broker, const char *topic,
        int32_t partition);
/* The broker's own copy of a topic's name; NULL: unknown. */
const char *memory_broker_topic_name(struct tally_memory_broker *broker, const char *topic,
        int32_t *partitions);
struct memory_id *memory_broker_id(struct tally_memory_broker *broker, const char *name);
int64_t memory_broker_now(const struct tally_memory_broker *broker); /* monotonic, ms */
const struct memory_times *memory_broker_times(const struct tally_memory_broker *broker);
struct memory_group *memory_broker_groups(struct tally_memory_broker *broker);

/* --- memory_group.c --- */

struct memory_member *memory_group_member(struct tally_memory_broker *broker,
        struct memory_group **groups, const char *group, const char *instance);
void memory_group_free(struct memory_group *groups);
void memory_group_heartbeat(struct tally_memory_broker *broker, struct memory_member *member);
/* JoinGroup. A member that comes back to a stable group keeps its part of the generation. */
void memory_group_join(struct tally_memory_broker *broker, struct memory_member *member);
/* Whether a generation is there for the member to take. */
bool memory_group_assigned(const struct memory_member *member);
/* The member's place among those of the generation, for range. */
void memory_group_place(const struct memory_member *member, int32_t *index, int32_t *count);
/* Expires members and completes what can be completed. */
void memory_group_sweep(struct tally_memory_broker *broker, struct memory_group *group);
void memory_group_rebalance(struct tally_memory_broker *broker, struct memory_group *group,
        bool lost);
/* Whether offsets of that consumer are taken. */
bool memory_group_current(const struct memory_member *member, uint64_t holder, uint64_t generation);

/* --- memory_late.c --- */

/* Takes a request to be carried out later; copies it. */
void memory_late_add(struct tally_memory_broker *broker, struct memory_late **list,
        const struct memory_late *late, int64_t due_ms);
void memory_late_sweep(struct tally_memory_broker *broker, struct memory_late **list);
void memory_late_free(struct memory_late *late);

/* --- memory_broker.c --- */

/* Into the broker's memory. */
struct tally_slice memory_broker_copy(struct tally_memory_broker *broker, struct tally_slice bytes);
struct tally_header *memory_broker_headers(struct tally_memory_broker *broker, size_t count);
bool memory_broker_in_txn(const struct memory_txn *txn, const struct memory_partition *partition);

struct memory_member *memory_broker_member(struct tally_memory_broker *broker, const char *group,
        const char *instance);

/* txn NULL: outside any. */
int64_t memory_broker_append(struct tally_memory_broker *broker, struct memory_partition *partition,
        struct memory_txn *txn, struct tally_slice key, struct tally_slice value,
        const struct tally_header *headers, size_t header_count);
size_t memory_broker_max(const struct memory_partition *partition); /* bytes of a record */
bool memory_broker_fits(const struct memory_partition *partition, struct tally_slice key,
        struct tally_slice value);
void memory_broker_watermarks(const struct memory_partition *partition, int64_t *low,
        int64_t *high);
/* Moves *offset over what read_committed does not see. true: *record is there. */
bool memory_broker_next(struct tally_memory_broker *broker,
        const struct memory_partition *partition, int64_t *offset,
        struct tally_memory_record *record);

struct memory_txn *memory_broker_begin(struct tally_memory_broker *broker, struct memory_id *id);
enum memory_txn_state memory_broker_txn_state(const struct memory_txn *txn);
void memory_broker_stage_offset(struct memory_txn *txn, const char *group, const char *topic,
        int32_t partition, int64_t offset);
/* Writes the control records and, on commit, moves the group's offsets: at once, or as the marker
 * delays say. */
void memory_broker_end_txn(struct tally_memory_broker *broker, struct memory_id *id, bool commit);
/* Writes all markers that an id still waits for: the next transaction begins behind them. */
void memory_broker_settle(struct tally_memory_broker *broker, struct memory_id *id);
/* Takes a request to be carried out later; copies it. */
void memory_broker_delay(struct tally_memory_broker *broker, const struct memory_late *late,
        int64_t delay_ms);
/* Whether a transaction whose offsets are not written yet carries an offset of it. */
bool memory_broker_pending(struct tally_memory_broker *broker, const char *group, const char *topic,
        int32_t partition);

/* Counts a call. true: *fault hits it. */
bool memory_broker_call(struct tally_memory_broker *broker, struct tally_client *client,
        enum tally_memory_op op, struct tally_memory_fault *fault);
void memory_broker_called(struct tally_memory_broker *broker, struct tally_client *client,
        enum tally_memory_op op, enum tally_code code);
void memory_broker_happened(struct tally_memory_broker *broker, struct tally_client *client,
        enum tally_memory_event event);
bool memory_broker_simulated(const struct tally_memory_broker *broker);
