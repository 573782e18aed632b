/* connectors/owner_map.h - who owns which task, as the groups last told it. A thread of its own
 * asks them, and only when somebody wants to know: what was told is used until it is OLD_MS old,
 * and then while it is asked for anew; what is doubted is not used until it was asked for anew.
 * Invariants
 *  (1) A look takes at most TALLY_OWNER_WAIT_MS, whatever Kafka does; Kafka is asked at most every
 *      PAUSE_MS, however many look.
 *  (2) The table is replaced whole, under the lock; nobody holds the lock while Kafka is asked. */
#pragma once
#include "connectors/http_forward.h"
#include "engine/forward.h"

struct owner_map;
/* @thread main */
struct owner_map *owner_map_create(const struct tally_forward_options *options);
void owner_map_destroy(struct owner_map *map); /* NULL is fine */
/* As owner of engine/forward.h. @thread any  @locks CONNECTOR */
TALLY_MUST_CHECK enum tally_code owner_map_find(struct owner_map *map, const char *topology,
        int32_t partition, char address[static TALLY_ADDRESS_BYTES_MAX], struct tally_error *err);
void owner_map_doubt(struct owner_map *map);
