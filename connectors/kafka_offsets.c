/* connectors/kafka_offsets.c - sends offsets to a transaction while its records go out too.
 *
 * rd_kafka_send_offsets_to_transaction blocks for two round trips: AddOffsetsToTxn, which the
 * coordinator refuses while it still writes the markers of the transaction before, and
 * TxnOffsetCommit. Partitions that are added then are refused as well, and librdkafka asks again
 * after a fixed 20 ms, for offsets after retry.backoff.ms. So the call is made in a thread of its
 * own, and its owner hands over its records when the second request is sent: the coordinator knows
 * the transaction then.
 * Invariants
 *  (1) The thread works for the owner only while that is between start and finish.
 *  (2) Nothing of librdkafka is called from its interceptor. */
#include "connectors/kafka_internal.h"

#include "engine/base/mem.h"

enum { TXN_OFFSET_COMMIT = 28 }; /* api key */

struct kafka_offsets {
    struct tally_thread thread;
    struct tally_mutex mutex; /* of all below */
    struct tally_cond changed;
    enum { IDLE, STARTED, SENT, DONE } state;
    bool stop;
    rd_kafka_t *rk; /* borrowed, as the next two, from start to finish */
    const rd_kafka_topic_partition_list_t *list;
    const rd_kafka_consumer_group_metadata_t *group;
    int timeout_ms;
    rd_kafka_error_t *error; /* DONE */
};

static void run(void *argument)
{
    struct kafka_offsets *offsets = argument;

    tally_mutex_lock(&offsets->mutex);
    for (;;) {
        rd_kafka_error_t *error;

        while (offsets->state != STARTED && !offsets->stop) {
            (void)tally_cond_wait(&offsets->changed, &offsets->mutex, -1);
        }
        if (offsets->stop) {
            break;
        }
        tally_mutex_unlock(&offsets->mutex);
        error = rd_kafka_send_offsets_to_transaction(offsets->rk, offsets->list, offsets->group,
                offsets->timeout_ms);
        tally_mutex_lock(&offsets->mutex);
        offsets->error = error;
        offsets->state = DONE;
        tally_cond_broadcast(&offsets->changed);
    }
    tally_mutex_unlock(&offsets->mutex);
}

struct kafka_offsets *kafka_offsets_create(void)
{
    struct kafka_offsets *offsets = tally_alloc_zero(1, sizeof *offsets);

    tally_mutex_init(&offsets->mutex, TALLY_LOCK_CONNECTOR);
    tally_cond_init(&offsets->changed);
    tally_thread_start(&offsets->thread, "kafka-offsets", run, offsets);
    return offsets;
}

void kafka_offsets_destroy(struct kafka_offsets *offsets)
{
    tally_mutex_lock(&offsets->mutex);
    tally_assert(offsets->state == IDLE);
    offsets->stop = true;
    tally_cond_broadcast(&offsets->changed);
    tally_mutex_unlock(&offsets->mutex);
    tally_thread_join(&offsets->thread);
    tally_cond_deinit(&offsets->changed);
    tally_mutex_deinit(&offsets->mutex);
    tally_free(offsets);
}

void kafka_offsets_request(struct kafka_offsets *offsets, int16_t api_key)
{
    if (api_key != TXN_OFFSET_COMMIT) {
        return;
    }
    tally_mutex_lock(&offsets->mutex);
    if (offsets->state == STARTED) {
        offsets->state = SENT;
        tally_cond_broadcast(&offsets->changed);
    }
    tally_mutex_unlock(&offsets->mutex);
}

void kafka_offsets_start(struct kafka_offsets *offsets, rd_kafka_t *rk,
        const rd_kafka_topic_partition_list_t *list,
        const rd_kafka_consumer_group_metadata_t *group, int timeout_ms)
{
    tally_mutex_lock(&offsets->mutex);
    tally_assert(offsets->state == IDLE);
    offsets->rk = rk;
    offsets->list = list;
    offsets->group = group;
    offsets->timeout_ms = timeout_ms;
    offsets->state = STARTED;
    tally_cond_broadcast(&offsets->changed);
    tally_mutex_unlock(&offsets->mutex);
}

void kafka_offsets_wait_sent(struct kafka_offsets *offsets)
{
    tally_mutex_lock(&offsets->mutex);
    while (offsets->state == STARTED) {
        (void)tally_cond_wait(&offsets->changed, &offsets->mutex, -1);
    }
    tally_mutex_unlock(&offsets->mutex);
}

bool kafka_offsets_done(struct kafka_offsets *offsets)
{
    bool done;

    tally_mutex_lock(&offsets->mutex);
    done = offsets->state == DONE;
    tally_mutex_unlock(&offsets->mutex);
    return done;
}

rd_kafka_error_t *kafka_offsets_finish(struct kafka_offsets *offsets)
{
    rd_kafka_error_t *error;

    tally_mutex_lock(&offsets->mutex);
    while (offsets->state != DONE) {
        (void)tally_cond_wait(&offsets->changed, &offsets->mutex, -1);
    }
    error = offsets->error;
    offsets->error = NULL;
    offsets->state = IDLE;
    tally_mutex_unlock(&offsets->mutex);
    return error;
}
