/* apps/send_command.h - one line of NDJSON as a record for a commands topic. @thread owner */
#pragma once
#include "apps/uuid_v7.h"
#include "engine/base/mem.h"
#include "engine/topology.h"

struct send_command {
    const char *topic; /* of the topology, with prefix */
    struct tally_slice type, key,
            value; /* value: the line, with a command id put in if it had none */
};

struct send_rules {
    struct tally_topology *const *topologies;
    size_t topology_count;
    bool require_id; /* refuse a line without a command id */
    struct uuid_v7 *ids;
    int64_t now_ms; /* for new ids */
};

/* BAD_RECORD with the reason: no JSON object, unknown or internal type, a broken field rule.
 * *command borrows from line and the arena (not reset here). */
TALLY_MUST_CHECK enum tally_code send_command_prepare(const struct send_rules *rules,
        struct tally_slice line, struct tally_arena *arena, struct send_command *command,
        struct tally_error *err);
