/* connectors/kafka_owners.h - which member of the consumer groups has which partition, and the
 * address of HTTP that the member has published in its client.id. @thread owner of the handle */
#pragma once
#include "connectors/kafka_internal.h"

struct kafka_owners;
/* options: borrowed until close. */
struct kafka_owners *kafka_owners_create(const struct kafka_options *options);
void kafka_owners_destroy(struct kafka_owners *owners); /* NULL is fine */

struct kafka_owned {
    const char *group, *topic;
    int32_t partition;
    struct tally_slice address; /* len 0: the member has published none */
};
typedef void (*kafka_owned_fn)(void *context, const struct kafka_owned *owned);
/* Calls owned for each partition that a member of the groups has; nobody has any while a group is
 * being shared out. group_names: all of each. UNAVAILABLE: no answer within timeout_ms. */
TALLY_MUST_CHECK enum tally_code kafka_owners_ask(struct kafka_owners *owners,
        const char **group_names, size_t count, int timeout_ms, kafka_owned_fn owned, void *context,
        struct tally_error *err);
