/* tests/unit/store_fixture.h - a state with one store, on RocksDB or in memory, on a clock of its
 * own. */
#pragma once
#include "state/store.h"

enum fixture_kind { FIXTURE_MEMORY, FIXTURE_ROCKSDB, FIXTURE_KINDS };

struct fixture {
    enum fixture_kind kind;
    char dir[64]; /* of the state; removed by fixture_end */
    struct tally_fake_clock clock;
    struct tally_state_options options;
    struct tally_store_identity identity;
    struct tally_state *state;
    struct tally_store *store; /* NULL until fixture_open */
    struct tally_error err;
};

/* Inline flushes, a day of retention; change options before fixture_start, which opens the state.
 */
void fixture_init(struct fixture *fixture, int kind);
void fixture_start(struct fixture *fixture);
void fixture_open(struct fixture *fixture); /* and fixture_start if there is no state yet */
void fixture_begin(struct fixture *fixture, int kind); /* init, start, open */
void fixture_end(struct fixture *fixture);
/* Closes the store and opens it again, as after a crash when flush is false. */
void fixture_reopen(struct fixture *fixture, bool flush);
char *fixture_path(const struct fixture *fixture,
        const char *name); /* in the task directory; static */

void fixture_put(struct fixture *fixture, const char *key, const char *value); /* NULL: delete */
void fixture_append(struct fixture *fixture, const char *key, const char *value);
/* Commits with in_next = out_last + 1 = offset, decision time 1000 * offset. */
void fixture_commit(struct fixture *fixture, int64_t offset);
struct tally_positions fixture_positions(int64_t offset);
void fixture_flush(struct fixture *fixture);

/* "" and so on; "(none)": absent. The owner's read, and one through a fresh view. Static text. */
const char *fixture_get(struct fixture *fixture, const char *key);
const char *fixture_view_get(struct fixture *fixture, struct tally_view *view, const char *key);
/* Rows as "a=1 b=2"; view NULL: the owner's. Ends with the code's name if it failed. */
const char *fixture_scan(struct fixture *fixture, struct tally_view *view, const char *lower,
        const char *upper, bool backwards);
