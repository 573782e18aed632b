/* engine/sink.h - where committed events go besides Kafka: one target behind one interface, in the
 * words of Kafka Connect. Two implementations: connectors/postgres_sink.c, connectors/redis_sink.c;
 * the runtime that drives them, connectors/sink_task.c, is the only caller.
 * Life: start -> open -> (put* -> flush -> settle)* -> close -> stop; after any error: stop, start,
 * open. Before a flush is settled more may be read, but nothing put; close and stop give it up.
 * Invariants
 *  (1) The target holds the positions of its partitions, each with an epoch. flush writes rows
 *      and positions as one, or nothing; what is not settled is read again from where the target
 *      is.
 *  (2) open takes a higher epoch. Who holds an older one writes nothing any more: FENCED.
 *  (3) Versions never go back in the target, whatever is written twice or late.
 * Codes, and what the runtime does
 *   TIMEOUT, UNAVAILABLE  back off, start again; nothing is skipped
 *   SINK_SCHEMA, SINK_DENIED, SINK_FULL  the same, slowly; shown as FAILED with the message, which
 *                         says what to do
 *   SINK_REFUSED          of put, flush or settle: some record can never be written. The runtime
 *                         halves the batch until one record is left, and that goes to the dead
 *                         letters.
 *   FENCED                leave the group, join again
 * @thread the sink's own, but for what says any */
#pragma once
#include "engine/client.h"

struct tally_event; /* schemas/envelope.h */

/* One record of an events topic that tally wrote: a fact, or an outcome alone (schema NULL). */
struct tally_sink_record {
    const char *topology; /* "stock" */
    const char *topic;    /* with prefix */
    int32_t partition;
    int64_t offset, timestamp_ms;
    const struct tally_event *event;
};

struct tally_sink;
struct tally_sink_ops {
    const char *name; /* "postgres" */
    /* Connects, and makes sure that the target can take rows. */
    enum tally_code (*start)(struct tally_sink *sink, struct tally_error *err);
    /* Takes over the partitions of these topics, besides those that are open. offset comes as the
     * end of the partition now, its high watermark (NONE: not known): a target that has lost or may
     * have lost content is not served before it has got there. Fills in offset: the next one to
     * read, TALLY_OFFSET_NONE: from the beginning. */
    enum tally_code (*open)(struct tally_sink *sink, struct tally_topic_partition *partitions,
            size_t count, struct tally_error *err);
    /* Fills in offset as open would, but takes nothing over and changes nothing. Started, and no
     * partitions are open. */
    enum tally_code (*look)(struct tally_sink *sink, struct tally_topic_partition *partitions,
            size_t count, struct tally_error *err);
    /* Takes records into the batch, in order of each partition. They are borrowed until flush. */
    enum tally_code (*put)(struct tally_sink *sink, const struct tally_sink_record *records,
            size_t count, struct tally_error *err);
    /* Writes the batch and the next offsets of partitions as one; the batch is empty then, also
     * after an error. With settle, this may be under way when it returns. Called without records
     * too, about once a second while all partitions are read to their ends: then the positions are
     * past control records, what the target holds is complete up to now, and a target that has lost
     * its content is found out (UNAVAILABLE; the next open says from where it is read again). */
    enum tally_code (*flush)(struct tally_sink *sink, const struct tally_topic_partition *positions,
            size_t count, struct tally_error *err);
    /* Waits until the last flush is written. NULL: it is when flush returns. */
    enum tally_code (*settle)(struct tally_sink *sink, struct tally_error *err);
    void (*close)(struct tally_sink *sink, const struct tally_topic_partition *partitions,
            size_t count);
    void (*stop)(struct tally_sink *sink); /* disconnects; fine when not started */
    /* Begins to build the content anew from the first event, beside the one that is read until the
     * new one has got as far. Every owner is fenced, and finds its partitions at NONE. Survives a
     * restart; when one is on its way, begins again. */
    enum tally_code (*rebuild)(struct tally_sink *sink, struct tally_error *err);
    /* Whether what is written is not what is read yet, as of the last open, flush or settle. */
    bool (*rebuilding)(const struct tally_sink *sink);
    void (*destroy)(struct tally_sink *sink); /* stops too */
};
struct tally_sink {
    const struct tally_sink_ops *ops;
};
