/* connectors/sink_internal.h - what the files of the sink runtime share; nobody else includes this.
 * In reading order: sink_task.c, sink_group.c, sink_batch.c, sink_letter.c, sink_breaker.c,
 * sink_look.c. */
#pragma once
#include <stdatomic.h>

#include "connectors/sink_task.h"
#include "engine/base/mem.h"
#include "engine/base/metrics.h"
#include "engine/base/thread.h"
#include "schemas/envelope.h"

/* --- sink_breaker.c: when a target that failed is tried again --- */

/*   CLOSED --[failures in a row]--> OPEN --[its time is over]--> HALF_OPEN
 *   HALF_OPEN --[failure]--> OPEN     HALF_OPEN, CLOSED --[success]--> CLOSED
 * Also a closed one waits after a failure, but not for long. */
struct sink_breaker {
    enum tally_sink_breaker state;
    unsigned failures; /* in a row */
    int64_t retry_ms;  /* mono; not before; 0: at once */
    int64_t max_ms;
    uint64_t random;
};
void sink_breaker_init(struct sink_breaker *breaker, int64_t max_ms, uint64_t seed);
/* slow: somebody has to do something, so it is not tried often. */
void sink_breaker_failed(struct sink_breaker *breaker, int64_t now_ms, bool slow);
void sink_breaker_succeeded(struct sink_breaker *breaker);
/* Whether to try now; makes an open one half-open when its time is over. */
bool sink_breaker_allows(struct sink_breaker *breaker, int64_t now_ms);
void sink_breaker_hurry(struct sink_breaker *breaker); /* try now, whatever was */

/* --- the task --- */

struct sink_partition {
    const struct tally_sink_source *source;
    int32_t partition;
    bool owned;        /* assigned to this member */
    bool placed;       /* the target has said since then where it goes on */
    bool seen;         /* a record came after the last seek */
    int64_t stale;     /* what the consumer said was its position when it was sought */
    int64_t next;      /* behind the last record that was taken */
    int64_t written;   /* the target's position; NONE: none yet */
    int64_t behind;    /* of the part being written: next offset; NONE: nothing of it */
    int64_t low, high; /* last known begin and end; NONE: unknown */
    int64_t told;      /* offset that the group was told */
};

enum sink_item_kind {
    SINK_ITEM_EVENT,
    SINK_ITEM_FOREIGN, /* tally did not write it */
    SINK_ITEM_POISON,  /* cannot be decoded */
    SINK_ITEM_BURIED   /* is in the dead letters */
};
struct sink_item {
    struct tally_record record;
    struct tally_event event;
    struct sink_partition *partition;
    enum sink_item_kind kind;
    enum tally_code code; /* of POISON */
    const char *reason;   /* arena */
};

struct tally_sink_task {
    struct tally_sink_task_options options;
    struct tally_sink *sink;
    const char *name;
    char *group, *dead_letters, *pause_file, *rebuild_file;

    struct tally_consumer *consumer;   /* NULL: to be made */
    struct sink_partition *partitions; /* of all sources, whosoever they are */
    size_t partition_count, owned_count;
    uint64_t generation;  /* moves with every change of the assignment, and whenever the batch is
                            dropped */
    bool started, opened; /* the sink */
    bool flowing;         /* partitions are not paused */
    bool writing;         /* a batch is on its way */
    bool flying;          /* one is flushed and not settled; partitions have its `behind` */
    bool careful;         /* the next batch is settled before more is read */
    size_t flown;         /* records of it */
    int64_t flown_us;     /* when it began */
    int64_t polled_ms, positions_ms, looked_ms, told_ms, logged_ms; /* mono; of the last time */
    size_t look_at; /* partition whose end is asked next */
    struct sink_breaker breaker;
    unsigned refused_in_row;

    struct sink_item *items;
    struct tally_sink_record *records; /* as the sink gets them */
    struct tally_topic_partition *positions;
    size_t count, capacity, bytes;
    int64_t batch_ms; /* mono; when its first record came */
    struct tally_arena arena;

    bool paused, rebuild_wanted, rebuilding;
    enum tally_code failure; /* why it does not run; OK: it does */
    bool slow;

    atomic_bool stop, want_pause, want_resume, want_rebuild;
    struct tally_thread thread;
    struct tally_mutex mutex; /* of the rest */
    struct tally_cond wake;
    struct tally_sink_info info;
    struct tally_topic_partition *shown;
    size_t shown_count;

    struct {
        struct tally_series *written, *foreign, *dead, *ok, *failed, *lag, *lag_seconds, *state,
                *breaker, *flush;
    } series;
};

/* --- sink_task.c --- */

int64_t sink_task_now_ms(const struct tally_sink_task *task);
/* Stops, starts and opens the sink again, after an error in the middle of a batch. AGAIN: it goes
 * on elsewhere, and the batch is dropped. */
enum tally_code sink_task_reopen(struct tally_sink_task *task, struct tally_error *err);

/* --- sink_group.c --- */

/* NULL: of no source. */
struct sink_partition *sink_group_find(struct tally_sink_task *task, const char *topic,
        int32_t partition);
/* Those that are owned, with `offset` next; the caller frees them. */
struct tally_topic_partition *sink_group_owned(const struct tally_sink_task *task, size_t *count);
void sink_group_pause(struct tally_sink_task *task);
/* Each partition from its `next` on. */
enum tally_code sink_group_resume(struct tally_sink_task *task, struct tally_error *err);
/* Where the next record of it comes from: the consumer's position, where that is known. */
int64_t sink_group_position(const struct tally_sink_task *task,
        const struct sink_partition *partition);
/* Nothing is left to read, as far as brokers have told. */
bool sink_group_at_end(const struct tally_sink_task *task);
void sink_group_tell(struct tally_sink_task *task);
enum tally_code sink_group_join(struct tally_sink_task *task, struct tally_error *err);
void sink_group_leave(struct tally_sink_task *task);

/* --- sink_look.c --- */

enum tally_sink_state sink_look_state(const struct tally_sink_task *task);
/* Takes over from the target whether it is built anew. */
void sink_look_rebuild(struct tally_sink_task *task);
void sink_look_show(struct tally_sink_task *task, int64_t lag);
void sink_look(struct tally_sink_task *task, bool now);

/* --- sink_batch.c: records, decoded once, and how they are written --- */

void sink_batch_init(struct tally_sink_task *task);
void sink_batch_deinit(struct tally_sink_task *task);
/* Takes a record over, which is released with the batch. */
void sink_batch_add(struct tally_sink_task *task, struct sink_partition *partition,
        const struct tally_record *record);
bool sink_batch_full(const struct tally_sink_task *task);
void sink_batch_drop(struct tally_sink_task *task);
/* Writes all of it, and the positions behind it; the batch is empty then, and may be flying. A part
 * that is refused is halved until one record is left, which is buried. */
enum tally_code sink_batch_write(struct tally_sink_task *task, struct tally_error *err);
/* One try with all of it, settled: for those who have no time. */
enum tally_code sink_batch_write_once(struct tally_sink_task *task, struct tally_error *err);
/* Waits until what is flushed is written. AGAIN: it was refused; the batch is dropped and read
 * again, for sink_batch_write to find out what it is. */
enum tally_code sink_batch_settle(struct tally_sink_task *task, struct tally_error *err);

/* --- sink_letter.c --- */

/* Writes the record with its headers and the reason to the dead letters, and waits until the broker
 * has it. */
enum tally_code sink_letter_bury(struct tally_sink_task *task, struct sink_item *item,
        const struct tally_error *reason, struct tally_error *err);
