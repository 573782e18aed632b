/* connectors/kafka_client.h - engine/client.h on librdkafka.
 * One client for the process. Its consumers and producers belong to the thread that made them;
 * `reply`, `publish`, `reachable` and `cluster_id` may be called from any thread. */
#pragma once
#include "engine/base/config.h"
#include "engine/client.h"

/* Checks kafka.properties against librdkafka (CONFIG names the option) and starts the client's own
 * handle for replies, published commands and broker contact. Needs no broker: a client of a cluster
 * that is down is made and says so through `reachable`.
 * config: borrowed until destroy. http_address: host:port at which other instances reach this one,
 * part of every client.id, copied; "" when there is none; NULL: for reading alone, and the client
 * has no handle that could write.
 * Every consumer and producer of the client is destroyed before it. @thread main */
TALLY_MUST_CHECK enum tally_code tally_kafka_client_create(const struct tally_config *config,
        const char *http_address, struct tally_client **client, struct tally_error *err);

/* What a topic takes at most (its max.message.bytes), for `record_max`. @thread main, before the
 * client's consumers and producers are made */
void tally_kafka_client_limit(struct tally_client *client, const char *topic, size_t bytes);

/* From now on its members leave their groups when they are destroyed, so that others have their
 * partitions at once; static members would be waited for until their session ends. @thread any */
void tally_kafka_client_leave(struct tally_client *client);

/* Tells the group of a sink how far it is, for tools that show lag; best effort, waits for nothing,
 * and read by nobody here. Of another client's consumer: nothing. @thread owner */
void tally_kafka_consumer_tell(struct tally_consumer *consumer,
        const struct tally_topic_partition *offsets, size_t count);

/* Version of the librdkafka in use, for `tally --version`; a constant string. @thread any */
const char *tally_kafka_version(void);
