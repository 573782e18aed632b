/* engine/memory_group.c - the group coordinator of the broker in memory: static members, the eager
 * protocol, range assignment.
 *
 *   STABLE --[a member joins or expires]--> PREPARING --[all have come back]--> STABLE
 *
 * Invariants
 *  (1) While a generation is prepared, the one before still counts: its members commit, then come
 *      back. Whoever does not come back in time expires.
 *  (2) A member that restarts within its session keeps its part of a stable generation (KIP-345).
 *  (3) A generation's assignment follows from its members alone, in the order of their names. */
#include "engine/base/mem.h"
#include "engine/memory_broker_internal.h"

static struct memory_group *find_group(struct memory_group **groups, const char *name)
{
    struct memory_group *group = *groups;

    while (group && strcmp(group->name, name)) {
        group = group->next;
    }
    if (!group) {
        group = tally_alloc_zero(1, sizeof *group);
        group->name = tally_copy_string(name);
        group->next = *groups;
        *groups = group;
    }
    return group;
}

struct memory_member *memory_group_member(struct tally_memory_broker *broker,
        struct memory_group **groups, const char *group, const char *instance)
{
    struct memory_group *found = find_group(groups, group);
    struct memory_member **at = &found->members;
    struct memory_member *member;

    while (*at && strcmp((*at)->instance, instance) < 0) {
        at = &(*at)->next;
    }
    if (*at && strcmp((*at)->instance, instance) == 0) {
        return *at;
    }
    member = tally_alloc_zero(1, sizeof *member);
    member->group = found;
    member->instance = tally_copy_string(instance);
    member->heartbeat_ms = memory_broker_now(broker);
    member->next = *at;
    *at = member;
    return member;
}

void memory_group_free(struct memory_group *groups)
{
    while (groups) {
        struct memory_group *next = groups->next;

        while (groups->members) {
            struct memory_member *member = groups->members;

            groups->members = member->next;
            tally_free(member->instance);
            tally_free(member);
        }
        tally_free(groups->name);
        tally_free(groups);
        groups = next;
    }
}

static void prepare(struct tally_memory_broker *broker, struct memory_group *group)
{
    if (group->preparing) {
        return;
    }
    group->preparing = true;
    group->preparing_since_ms = memory_broker_now(broker);
    for (struct memory_member *member = group->members; member; member = member->next) {
        member->waiting = false;
    }
}

static void expire(struct tally_memory_broker *broker, struct memory_member *member)
{
    member->known = false;
    member->waiting = false;
    prepare(broker, member->group);
}

/* A new generation once every member that is known has come back. */
static void complete(struct memory_group *group)
{
    bool any = false;

    for (const struct memory_member *member = group->members; member; member = member->next) {
        if (member->known && !member->waiting) {
            return;
        }
        any = any || member->known;
    }
    if (!group->preparing || !any) {
        return;
    }
    group->preparing = false;
    group->generation++;
    for (struct memory_member *member = group->members; member; member = member->next) {
        if (member->known) {
            member->generation = group->generation;
        }
    }
}

void memory_group_heartbeat(struct tally_memory_broker *broker, struct memory_member *member)
{
    member->heartbeat_ms = memory_broker_now(broker);
}

void memory_group_join(struct tally_memory_broker *broker, struct memory_member *member)
{
    struct memory_group *group = member->group;

    memory_group_heartbeat(broker, member);
    if (!member->known) {
        member->known = true;
        prepare(broker, group);
    }
    member->waiting = group->preparing;
    complete(group);
}

bool memory_group_assigned(const struct memory_member *member)
{
    const struct memory_group *group = member->group;

    return member->known && !group->preparing && member->generation == group->generation;
}

void memory_group_place(const struct memory_member *member, int32_t *index, int32_t *count)
{
    *index = *count = 0;
    for (const struct memory_member *other = member->group->members; other; other = other->next) {
        if (other->generation != member->group->generation) {
            continue;
        }
        if (other == member) {
            *index = *count;
        }
        (*count)++;
    }
}

void memory_group_sweep(struct tally_memory_broker *broker, struct memory_group *group)
{
    const struct memory_times *times = memory_broker_times(broker);
    int64_t now_ms = memory_broker_now(broker);

    for (struct memory_member *member = group->members; member; member = member->next) {
        bool silent = times->session_ms > 0 && now_ms - member->heartbeat_ms > times->session_ms;
        bool absent = times->max_poll_ms > 0 && group->preparing && !member->waiting &&
                      now_ms - group->preparing_since_ms > times->max_poll_ms;

        if (member->known && (silent || absent)) {
            expire(broker, member);
            memory_broker_happened(broker, NULL, TALLY_MEMORY_EXPIRED);
        }
    }
    complete(group);
}

void memory_group_rebalance(struct tally_memory_broker *broker, struct memory_group *group,
        bool lost)
{
    for (struct memory_member *member = group->members; member && lost; member = member->next) {
        if (member->known) {
            expire(broker, member);
        }
    }
    prepare(broker, group);
}

bool memory_group_current(const struct memory_member *member, uint64_t holder, uint64_t generation)
{
    return member->known && member->holder == holder && member->group->generation == generation &&
           member->generation == generation;
}
