/* tests/topology/end_state.h - what a run leaves behind: the records of every topic that it writes,
 * and the state. Two runs that did the same leave the same. */
#pragma once
#include "tests/topology/driver_fixture.h"

#define END_TOPICS 4
extern const char *const end_topics[END_TOPICS];

struct end_state {
    char *records[END_TOPICS];
    char *dump;
};
struct end_state end_state_of(struct driver_fixture *fixture); /* the caller frees it */
void end_state_free(struct end_state *end);
