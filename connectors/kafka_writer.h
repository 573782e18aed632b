/* connectors/kafka_writer.h - writes many records fast, for the command line (`tally send`).
 * Asynchronous and idempotent: acks=all, order per partition kept, partition by murmur2 of the key.
 * @thread owner of the writer  @locks none */
#pragma once
#include "engine/base/config.h"
#include "engine/client.h"

/* Called inside produce, poll, flush and destroy for every record, in the order of its partition.
 * offset: -1 when code is not TALLY_OK. tag: as given to produce. */
typedef void (*tally_writer_delivered_fn)(void *context, void *tag, enum tally_code code,
        int32_t partition, int64_t offset);

struct tally_writer_counts {
    uint64_t produced, delivered, failed; /* produced = delivered + failed after a flush */
};

struct tally_writer;
/* config: borrowed during create. delivered may be NULL. */
TALLY_MUST_CHECK enum tally_code tally_writer_create(const struct tally_config *config,
        tally_writer_delivered_fn delivered, void *context, struct tally_writer **writer,
        struct tally_error *err);
/* Drops what is not delivered. */
void tally_writer_destroy(struct tally_writer *writer);

/* Copies the record into the send queue; when it is full, serves deliveries until there is room.
 * partition -1: murmur2 of the key, any for a null key. TOO_LARGE; NOT_FOUND: unknown topic or
 * partition; UNAVAILABLE: no room for the delivery timeout. */
TALLY_MUST_CHECK enum tally_code tally_writer_produce(struct tally_writer *writer,
        const char *topic, int32_t partition, struct tally_slice key, struct tally_slice value,
        const struct tally_header *headers, size_t header_count, void *tag,
        struct tally_error *err);

/* Serves deliveries that are in, without waiting longer than timeout_ms for the first one. */
void tally_writer_poll(struct tally_writer *writer, int timeout_ms);

/* Waits until everything is delivered or has failed. TIMEOUT when records are still on their way,
 * whatever has failed; else the first failure since create. counts may be NULL. */
TALLY_MUST_CHECK enum tally_code tally_writer_flush(struct tally_writer *writer, int timeout_ms,
        struct tally_writer_counts *counts, struct tally_error *err);
