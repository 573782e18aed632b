/* engine/memory_client_internal.h - shared by memory_client.c, memory_consumer.c and
 * memory_producer.c. */
#pragma once
#include "engine/memory_broker_internal.h"
#include "engine/memory_client.h"

struct memory_consumer;
struct memory_client {
    struct tally_client base;
    struct tally_memory_broker *broker;
    char *app_id, *instance_id;
    bool dead, reachable, guard;
    struct memory_consumer *consumers; /* members of groups */
    int64_t unreleased;
};

/* One call at the broker: whether it takes effect and how it ends. */
struct memory_call {
    bool effect;
    bool hit;
    struct tally_memory_fault fault;
};
struct memory_call memory_client_begin(struct memory_client *client, enum tally_memory_op op);
/* The answer: `code` unless a fault says otherwise. */
enum tally_code memory_client_end(struct memory_client *client, const struct memory_call *call,
        enum tally_memory_op op, enum tally_code code, struct tally_error *err);

struct tally_consumer *memory_consumer_create(struct memory_client *client, const char *group,
        int thread, const struct tally_rebalance_listener *listener /* NULL: restores only */);
struct tally_producer *memory_producer_create(struct memory_client *client, const char *group,
        int thread);
/* "<app>", or "<app>-<group>"; the caller's. */
char *memory_client_group(const struct memory_client *client, const char *group);
/* What the clients' own threads do as long as the process is not stopped. */
void memory_consumer_heartbeats(struct memory_client *client);
bool memory_consumer_all_current(const struct memory_client *client);
/* Fills who sends the offsets. */
void memory_consumer_offer(struct tally_consumer *consumer, struct memory_late *late);
/* The group member that a consumer is (NULL: none), and whether it is the live one of the group's
 * generation. */
struct memory_member *memory_consumer_member(struct tally_consumer *consumer, bool *current);
/* Whether a newer consumer uses its instance id. */
bool memory_consumer_fenced(const struct tally_consumer *consumer);
