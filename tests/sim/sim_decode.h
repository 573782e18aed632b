/* tests/sim/sim_decode.h - just enough MessagePack, and Kafka's partitioner, written from their
 * specifications: the check shares no decoder with tally. */
#pragma once
#include "engine/base/bytes.h"

/* An event as far as the checks need it. Slices borrow from the value. */
struct sim_event {
    struct tally_slice topology; /* of its id */
    int32_t partition;
    int64_t command_offset;
    struct tally_slice type, command_id, status, code, sku, warehouse;
    int64_t seq, on_hand;                              /* 0: none */
    struct tally_slice completes_id, completes_status; /* of a saga that it ends; empty: none */
};
/* false: not an event. */
bool sim_event_decode(struct tally_slice value, struct sim_event *event);
/* The value of a map's member: raw MessagePack, data NULL when absent. */
struct tally_slice sim_member(struct tally_slice map, const char *name);
struct tally_slice sim_text(struct tally_slice value); /* of a string; empty: it is none */
int64_t sim_integer(struct tally_slice value);         /* 0: it is none */
int32_t sim_partition_of(struct tally_slice key, int32_t partitions);
/* `"name":"text"` or `"name":12` of flat JSON; data NULL: absent. */
struct tally_slice sim_json_member(struct tally_slice json, const char *name);
