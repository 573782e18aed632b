/* tests/topology/end_state.c - see end_state.h. */
#include "tests/topology/end_state.h"

#include "engine/base/mem.h"

const char *const end_topics[END_TOPICS] = {
        "catalogue.events", "stock.events", "stock.commands-dlt", "catalogue.commands-dlt"};

struct end_state end_state_of(struct driver_fixture *fixture)
{
    struct end_state end = {.dump = driver_fixture_dump(fixture)};

    for (size_t i = 0; i < END_TOPICS; i++) {
        end.records[i] = driver_fixture_records(fixture, end_topics[i]);
    }
    return end;
}

void end_state_free(struct end_state *end)
{
    for (size_t i = 0; i < END_TOPICS; i++) {
        tally_free(end->records[i]);
    }
    tally_free(end->dump);
}
