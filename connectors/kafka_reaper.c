/* connectors/kafka_reaper.c - ends a librdkafka handle without waiting for ever.
 * rd_kafka_destroy may hang (librdkafka#4486, #4674), so it runs in a thread of its own. A handle
 * that hangs is left behind with its threads: the process lives on and ends when it is told to. */
#include "connectors/kafka_internal.h"

#include "engine/base/log.h"
#include "engine/base/mem.h"

struct reap {
    rd_kafka_t *rk;
};

static void reap(void *argument)
{
    struct reap *work = argument;

    rd_kafka_destroy_flags(work->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    tally_free(work);
}

bool kafka_reaper_destroy(rd_kafka_t *rk, int64_t timeout_ms)
{
    struct reap *work = NULL;
    struct tally_thread thread = {0};

    if (!rk) {
        return true;
    }
    work = tally_alloc(sizeof *work);
    work->rk = rk;
    tally_thread_start(&thread, "kafka-reaper", reap, work);
    if (!tally_thread_join_within(&thread, timeout_ms)) {
        tally_log(TALLY_LOG_ERROR, "kafka client does not end, left behind",
                TALLY_LOG_INT("waited_ms", timeout_ms));
        return false;
    }
    return true;
}
