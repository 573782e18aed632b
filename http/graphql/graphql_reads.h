/* http/graphql/graphql_reads.h - the reads of one request, done together: functions of fields ask
 * for rows, the executor lets all that were asked for be read, and they ask again.
 * Invariants
 *  (1) A task is opened once for a request: all that it gives is of one commit. One that runs on
 *      another instance is asked in each round, all of that instance in one request, and what it
 *      gives is of one commit a round. While nobody who owns it can be asked, rows come from Redis,
 *      else from what this instance had last.
 *  (2) In one round all keys of a task are one multi-get; what was read is never read again.
 * Slices live in the arena. @thread http */
#pragma once
#include "http/graphql/graphql_resolve.h"
#include "http/reading.h"

struct graphql_owner; /* a task */

enum graphql_load_kind { GRAPHQL_LOAD_ROW, GRAPHQL_LOAD_ROWS, GRAPHQL_LOAD_OUTCOME };
struct graphql_row {
    struct tally_slice key, value;
};
struct graphql_load {
    enum graphql_load_kind kind;
    struct graphql_owner *owner;
    struct tally_slice key, upper; /* ROWS: from key up to upper; OUTCOME: the command's id */
    bool backwards;
    size_t limit;

    bool done;
    enum tally_code code;     /* NOT_FOUND: no such row, or no row at all */
    const char *message;      /* of an error */
    struct tally_slice value; /* the row, or the outcome record as JSON */
    struct graphql_row *rows;
    size_t count;
    bool more; /* ROWS: there were more than the limit */
    const struct tally_read_info *info;
    struct graphql_load *next, *chain; /* of all, of those with one hash */
};

#define GRAPHQL_LOAD_CHAINS 256
struct graphql_reads {
    struct exchange *exchange;
    struct reading_positions positions;
    int64_t end_ms; /* mono: no read begins after it */
    struct graphql_owner *owners;
    struct graphql_load *first, *last, *next; /* next: the first that is not done */
    struct graphql_load *chains[GRAPHQL_LOAD_CHAINS];
    size_t rounds, multi_gets, scans;
};

/* false: Tally-Min-Position is bad, and the problem is answered. */
bool graphql_reads_begin(struct graphql_reads *reads, struct exchange *exchange, int64_t end_ms);
void graphql_reads_end(struct graphql_reads *reads);
/* The task that owns a key. */
struct graphql_owner *graphql_reads_owner(struct graphql_reads *reads, const char *topology,
        struct tally_slice key);
struct graphql_owner *graphql_reads_task(struct graphql_reads *reads, const char *topology,
        int32_t partition);

/* Asks for a row; NULL: AGAIN. */
const struct graphql_load *graphql_reads_row(struct graphql_reads *reads,
        struct graphql_owner *owner, const struct tally_key *key);
const struct graphql_load *graphql_reads_rows(struct graphql_reads *reads,
        struct graphql_owner *owner, const struct tally_key *lower, const struct tally_key *upper,
        bool backwards, size_t limit);
const struct graphql_load *graphql_reads_outcome(struct graphql_reads *reads,
        struct graphql_owner *owner, struct tally_slice command_id);
/* Does what was asked for. */
void graphql_reads_run(struct graphql_reads *reads);
/* Makes the field's error of a failed load. Returns DONE. */
enum graphql_step graphql_reads_fail(struct graphql_call *call, const struct graphql_load *load);
/* Tally-Position and how old the answer is, of the tasks that were asked. */
void graphql_reads_headers(const struct graphql_reads *reads);
/* "stock.commands/2@990" */
struct tally_slice graphql_reads_position(struct tally_arena *arena,
        const struct tally_read_info *info, int64_t offset);
