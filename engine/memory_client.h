/* engine/memory_client.h - the second implementation of client.h: clients of a broker in memory.
 * A consumer of a group is a static member, <instance>-<thread>. Blocking calls
 * never wait: what would have to be waited for answers TIMEOUT or AGAIN at once.
 * @thread owner of the broker, `reply` and `publish` too */
#pragma once
#include "engine/memory_broker.h"

/* Names as config.def has them: group and prefix of transactional ids; the instance. Copied. */
struct tally_client *tally_memory_client_create(struct tally_memory_broker *broker,
        const char *app_id, const char *instance_id);
/* As if the process had died: from now on nothing that its consumers and producers do reaches the
 * broker, they answer FENCED (poll: AGAIN), and their destruction calls no listener. Open
 * transactions stay open. Destroy the client afterwards. */
void tally_memory_client_kill(struct tally_client *client);
/* A fault with `kill` has hit. */
bool tally_memory_client_killed(const struct tally_client *client);
/* Whether `reachable` says so. */
void tally_memory_client_set_reachable(struct tally_client *client, bool reachable);
/* The process does nothing but its members' heartbeats. */
void tally_memory_client_heartbeat(struct tally_client *client);
/* Whether each of its group members belongs to the current generation, so that nobody else can have
 * what was assigned to it. */
bool tally_memory_client_current(const struct tally_client *client);
/* false: its producers never say that they are tainted, as with kafka.guard=false. */
void tally_memory_client_set_guard(struct tally_client *client, bool guard);
/* Records taken by poll and not released yet. */
int64_t tally_memory_client_unreleased(const struct tally_client *client);
