/* tests/unit/sink_task_fixture.h - the sink runtime on the broker in memory, with a target that
 * keeps what it is given and fails as it is told. */
#pragma once
#include "connectors/sink_internal.h"
#include "engine/memory_client.h"

enum { PARTITIONS = 2, RECORDS_MAX = 1000, SESSION_MS = 25000, RETRY_MAX_MS = 3000 };

/* What two instances of a target share. */
struct sink_content {
    int times[PARTITIONS][RECORDS_MAX]; /* an event was written, by offset */
    int64_t next[PARTITIONS], epoch[PARTITIONS];
    int rebuilds;
    bool building; /* until both partitions are as far as `goal` */
    int64_t goal;
};
struct target {
    struct tally_sink base;
    int64_t epoch[PARTITIONS];
    bool started, open;
    struct {
        int32_t partition;
        int64_t offset;
    } batch[RECORDS_MAX];
    size_t batch_count;
    enum tally_code start_code, put_code, flush_code; /* OK: works */
    int failures_left;                                /* then they work again; < 0: for ever */
    int starts, stops, flushes, closes;
    size_t largest;
    bool flying; /* of a late one: flushed and not settled */
    enum tally_code late_code;
    struct tally_error late_err;
    struct tally_topic_partition flown[PARTITIONS];
    size_t flown_count;
};

extern struct sink_content content;
extern struct tally_fake_clock fake;
extern struct tally_memory_broker *broker;
extern struct tally_client *client;
extern struct tally_config config;
extern struct target the_target;
extern struct tally_sink_task *the_task;

void setup(void);
void teardown(void);
/* A task with a target of its own, not started. */
struct tally_sink_task *make(struct target *to, struct tally_client *with);
void make_late(void); /* the_task anew, of a target whose flushes are under way until settled */
void end(struct tally_sink_task *ended);

void append_typed(int32_t partition, const char *sku, const char *type);
void append(int32_t partition, const char *sku, int count); /* StockShipped */
/* Of 100 ms each. */
void turns(struct tally_sink_task *of, int count);
/* Events that the target has; each once, its rows and its position are one. */
int written(int32_t partition);
struct tally_sink_info info_of(struct tally_sink_task *of);
int letters(const char *reason, const char *stage);
