/* http/elsewhere.h - reads and waits at tasks of other instances, many in one request: what a
 * handler puts together from several tasks, as POST /v1/internal/reads of their owners. Its format
 * is of these two functions alone, so all instances of a group have to speak its version.
 * Invariants
 *  (1) An instance answers for its own tasks, and asks nobody.
 *  (2) All items of one instance go in one request, and those of a task are read at one commit; a
 *      second instance is asked only for what the first says is not its own.
 * Slices live in the exchange's arena. @thread http */
#pragma once
#include "http/exchange.h"

enum elsewhere_kind {
    ELSEWHERE_ROW,     /* of key; neighbours of one task, by rising keys, are one multi-get */
    ELSEWHERE_ROWS,    /* from key up to upper */
    ELSEWHERE_OUTCOME, /* of the command with the id key */
    ELSEWHERE_AWAIT,   /* likewise, of what was written at offset under the record key upper */
    ELSEWHERE_KINDS
};
struct elsewhere_row {
    struct tally_slice key, value;
};
struct elsewhere_item {
    enum elsewhere_kind kind;
    const char *topology;
    int32_t partition;
    struct tally_slice key, upper;
    bool backwards;
    size_t limit; /* ROWS */
    uint64_t fingerprint;
    int64_t offset;

    enum tally_code code; /* NOT_FOUND; FENCED, UNAVAILABLE: nobody could be asked */
    const char *message;
    struct tally_slice value; /* the row; the outcome record as JSON */
    struct elsewhere_row *rows;
    size_t count;
    bool more;
    struct tally_outcome_info outcome;
    bool repeated;
    bool cached;                 /* from Redis, see elsewhere_cached.h */
    struct tally_read_info info; /* topic NULL: the task was not opened */
};

/* Asks the owners; wait_ms: what AWAIT waits for, all together. Items that are known not to be
 * askable get FENCED. */
void elsewhere_ask(struct exchange *exchange, struct elsewhere_item *items, size_t count,
        int64_t wait_ms);
/* Rows of one task by rising keys, here if it runs here, else at its owner, else what this instance
 * had last. data NULL: no such row. */
TALLY_MUST_CHECK enum tally_code elsewhere_rows(struct exchange *exchange, const char *topology,
        struct tally_slice key, const struct tally_key *keys, size_t count,
        struct tally_slice *rows, struct tally_read_info *info, struct tally_error *err);
void elsewhere_reads(struct exchange *exchange); /* the route */
