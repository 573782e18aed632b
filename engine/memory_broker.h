/* engine/memory_broker.h - Kafka in memory for tests: topics, transactions, group offsets, faults.
 * Invariants
 *  (1) Every record takes an offset for ever, and so does the control record that a finished
 *      transaction leaves in each partition it wrote to.
 *  (2) Readers see neither control records, nor aborted data, nor anything at or behind the first
 *      record of an open transaction (the last stable offset).
 *  (3) Offsets sent with a transaction become the group's when it commits; until then they are
 *      pending, and nobody is told an older one (KIP-447).
 *  (4) A transactional id has one live producer: a newer one ends the transaction of the older
 *      and fences it. The same holds for consumers of one group instance.
 *  (5) The same calls give the same log: no thread, no random number, time only from the clock.
 *  (6) Members of a group are static and eager: whoever joins or expires makes all others give up
 *      what they have before a new generation is assigned (range); only members of the current
 *      generation send offsets.
 * What clients do with it: memory_client.h. @thread owner: one thread uses a broker. */
#pragma once
#include "engine/base/clock.h"
#include "engine/client.h"

struct tally_memory_broker;
/* Record timestamps are the clock's (LogAppendTime). A transaction open for longer than
 * transaction_timeout_ms is aborted and its producer fenced. */
struct tally_memory_broker *tally_memory_broker_create(struct tally_clock *clock,
        int64_t transaction_timeout_ms);
void tally_memory_broker_destroy(struct tally_memory_broker *broker); /* clients are gone before */

/* A topic that exists is left as it is. Names are copied. */
void tally_memory_broker_topic(struct tally_memory_broker *broker, const char *topic,
        int32_t partitions, size_t message_bytes_max);
/* Another limit of a topic that exists. */
void tally_memory_broker_limit(struct tally_memory_broker *broker, const char *topic,
        size_t message_bytes_max);
/* Appends outside any transaction, as a foreign producer would; partition -1: murmur2 of the key.
 * Returns the offset, or TALLY_OFFSET_NONE: no such topic or partition, or too large. */
int64_t tally_memory_broker_append(struct tally_memory_broker *broker, const char *topic,
        int32_t partition, struct tally_slice key, struct tally_slice value,
        const struct tally_header *headers, size_t header_count);
/* Deletes records below `low`, as retention does. */
void tally_memory_broker_truncate(struct tally_memory_broker *broker, const char *topic,
        int32_t partition, int64_t low);

/* As if the topic had been deleted and made anew: the partition is empty and begins at 0. No
 * transaction may be open. */
void tally_memory_broker_recreate(struct tally_memory_broker *broker, const char *topic,
        int32_t partition);

/* A committed record; borrows from the broker for its life. */
struct tally_memory_record {
    int64_t offset, timestamp_ms;
    struct tally_slice key, value;
    const struct tally_header *headers;
    size_t header_count;
};
/* The first visible record at or behind `from`; false: none. */
bool tally_memory_broker_read(struct tally_memory_broker *broker, const char *topic,
        int32_t partition, int64_t from, struct tally_memory_record *record);
/* Next offset of the log, control records counted; TALLY_OFFSET_NONE: no such partition. */
int64_t tally_memory_broker_end(struct tally_memory_broker *broker, const char *topic,
        int32_t partition);
/* What the group has committed, TALLY_OFFSET_NONE: nothing; set moves it by hand. */
int64_t tally_memory_broker_committed(struct tally_memory_broker *broker, const char *group,
        const char *topic, int32_t partition);
void tally_memory_broker_set_committed(struct tally_memory_broker *broker, const char *group,
        const char *topic, int32_t partition, int64_t offset);
/* Makes members expire: silent for longer than session_ms, or not back within max_poll_ms of the
 * start of a rebalance. A client learns of both, and of rebalances, from heartbeats, one every
 * heartbeat_ms. 0 each: never, never, at once (as it is without this call). */
void tally_memory_broker_group_times(struct tally_memory_broker *broker, int64_t session_ms,
        int64_t max_poll_ms, int64_t heartbeat_ms);
/* The next poll of every group member revokes (lost: without a chance to commit) and assigns. */
void tally_memory_broker_rebalance(struct tally_memory_broker *broker, bool lost);

/* Any record, whatever became of it. */
enum tally_memory_fate {
    TALLY_FATE_CONTROL,
    TALLY_FATE_OPEN,
    TALLY_FATE_ABORTED,
    TALLY_FATE_COMMITTED /* decided so; readers may still have to wait for the marker */
};
enum tally_memory_fate tally_memory_broker_fate(struct tally_memory_broker *broker,
        const char *topic, int32_t partition, int64_t offset, struct tally_memory_record *record);
/* Transactions that are open or whose markers are not all written. */
size_t tally_memory_broker_open_transactions(const struct tally_memory_broker *broker);

/* --- faults ----------------------------------------------------------------------------------- */

enum tally_memory_op {
    TALLY_MEMORY_ANY, /* in a fault: the n-th call of whatever kind */
    TALLY_MEMORY_INIT,
    TALLY_MEMORY_BEGIN,
    TALLY_MEMORY_PRODUCE,
    TALLY_MEMORY_SERVE, /* the producer's poll */
    TALLY_MEMORY_SEND_OFFSETS,
    TALLY_MEMORY_COMMIT,
    TALLY_MEMORY_ABORT,
    TALLY_MEMORY_POLL,
    TALLY_MEMORY_SEEK,
    TALLY_MEMORY_COMMITTED,
    TALLY_MEMORY_WATERMARKS,
    TALLY_MEMORY_REPLY,
    TALLY_MEMORY_PUBLISH,
    TALLY_MEMORY_OPS
};
const char *tally_memory_op_name(enum tally_memory_op op); /* "commit" */

struct tally_memory_fault {
    enum tally_memory_op op;
    uint64_t nth;         /* 1: the next call of that kind */
    enum tally_code code; /* what that call answers; OK with kill: FENCED */
    bool happened;        /* the broker did it all the same: only the answer is bad */
    bool kill;            /* the process dies here: its clients reach the broker no more */
    int64_t late_ms;      /* > 0: the broker does it (again) that much later: a produce, offsets, an
                             end of a transaction; the answer is `code` now */
    /* Not an error: the group rebalances before that call, which then goes on. */
    enum { TALLY_MEMORY_NO_REBALANCE, TALLY_MEMORY_REVOKE, TALLY_MEMORY_LOSE } rebalance;
};
#define TALLY_MEMORY_FAULTS_MAX 8
void tally_memory_broker_fault(struct tally_memory_broker *broker,
        const struct tally_memory_fault *fault);
void tally_memory_broker_heal(struct tally_memory_broker *broker); /* forgets all faults */
/* Calls of that kind so far (ANY: of all). */
uint64_t tally_memory_broker_calls(const struct tally_memory_broker *broker,
        enum tally_memory_op op);
/* Faults that have hit since the broker was made. */
uint64_t tally_memory_broker_hits(const struct tally_memory_broker *broker);

/* --- simulation ------------------------------------------------------------------------------- */

enum tally_memory_event {
    TALLY_MEMORY_REVOKED,       /* a consumer gives up what it has, still as a member */
    TALLY_MEMORY_LOST,          /* a consumer learns that it is none any more */
    TALLY_MEMORY_EXPIRED,       /* a member was silent for too long */
    TALLY_MEMORY_TXN_TIMED_OUT, /* a transaction was open for too long */
    TALLY_MEMORY_LATE_TAKEN,    /* a late request had an effect */
    TALLY_MEMORY_LATE_REFUSED,
};
struct tally_memory_hooks {
    void *context;
    /* Inside every call, before it has an effect: may move the clock, run other clients, kill this
     * one. true: *fault (zeroed before) hits the call. */
    bool (*before)(void *context, struct tally_client *client, enum tally_memory_op op,
            struct tally_memory_fault *fault);
    /* After it, before the client knows the answer; may do the same. */
    void (*after)(void *context, struct tally_client *client, enum tally_memory_op op,
            enum tally_code code);
    /* How long the marker of a finished transaction takes to one more partition, or to the group's
     * offsets: until then the last stable offset stays and the offsets are pending. */
    int64_t (*marker_delay_ms)(void *context);
    /* Told when it happens. client NULL: the broker's doing. */
    void (*happened)(void *context, struct tally_client *client, enum tally_memory_event event);
};
void tally_memory_broker_set_hooks(struct tally_memory_broker *broker,
        const struct tally_memory_hooks *hooks /* copied */);
/* Does what is due by now: transaction timeouts, markers, late requests, expired members. Every
 * call of a client does it too. */
void tally_memory_broker_sweep(struct tally_memory_broker *broker);
