/* engine/record_collector.h - what the open transaction of a thread has to produce.
 * Records wait in one list for each topic and partition and go to the producer in runs, so that
 * their order within a partition is the order of tally_collector_add.
 * Ownership: topics, values and delivery slots are borrowed until tally_collector_reset; values
 * and everything else that must live so long are allocated from tally_collector_arena.
 * @thread owner */
#pragma once
#include "engine/base/mem.h"
#include "engine/client.h"

struct tally_collector;

struct tally_collector *tally_collector_create(struct tally_client *client);
void tally_collector_destroy(struct tally_collector *collector);
struct tally_arena *tally_collector_arena(struct tally_collector *collector);
/* Queues one record; the producer counts it in record->delivery when it takes it. */
void tally_collector_add(struct tally_collector *collector, const char *topic, int32_t partition,
        const struct tally_produce *record);
/* Hands everything queued to the producer. TOO_LARGE: a record that can never be written. */
TALLY_MUST_CHECK enum tally_code tally_collector_flush(struct tally_collector *collector,
        struct tally_producer *producer, struct tally_error *err);
/* Forgets queued records and frees the arena: after commit or abort returned, or the producer is
 * destroyed, because until then librdkafka reads the values. */
void tally_collector_reset(struct tally_collector *collector);
size_t tally_collector_bytes(const struct tally_collector *collector); /* of the open transaction */
/* For some partition there are about as many bytes as its topic takes in one batch: the
 * transaction ends, so that what a commit has to send stays bounded whatever the topic. */
bool tally_collector_full(const struct tally_collector *collector);
