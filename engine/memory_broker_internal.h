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
    struct memory_txn *open; /* NULL: none */
};

/* A consumer of a group under one instance id; the newest holder is the live one. */
struct memory_member {
    struct memory_member *next;
    char *group, *instance;
    uint64_t holder;
    uint64_t generation; /* moves with every assignment; older ones may not send offsets */
    enum { MEMORY_STEADY, MEMORY_REVOKE, MEMORY_REVOKE_LOST } rebalance;
};

/* NULL: no such topic or partition. */
struct memory_partition *memory_broker_find(struct tally_memory_broker *broker, const char *topic,
        int32_t partition);
/* The broker's own copy of a topic's name; NULL: unknown. */
const char *memory_broker_topic_name(struct tally_memory_broker *broker, const char *topic,
        int32_t *partitions);
struct memory_id *memory_broker_id(struct tally_memory_broker *broker, const char *name);
struct memory_member *memory_broker_member(struct tally_memory_broker *broker, const char *group,
        const char *instance);

/* txn NULL: outside any. */
int64_t memory_broker_append(struct tally_memory_broker *broker, struct memory_partition *partition,
        struct memory_txn *txn, struct tally_slice key, struct tally_slice value,
        const struct tally_header *headers, size_t header_count);
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
/* Writes the control records and, on commit, moves the group's offsets. */
void memory_broker_end_txn(struct tally_memory_broker *broker, struct memory_id *id, bool commit);
/* Whether an open transaction carries an offset of it. */
bool memory_broker_pending(struct tally_memory_broker *broker, const char *group, const char *topic,
        int32_t partition);
/* Aborts transactions that are open too long. */
void memory_broker_sweep(struct tally_memory_broker *broker);

/* Counts a call. true: *fault hits it. */
bool memory_broker_call(struct tally_memory_broker *broker, enum tally_memory_op op,
        struct tally_memory_fault *fault);
