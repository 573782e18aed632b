/* http/reading.h - a handler's read of committed state: positions to wait for, and the headers that
 * tell how current an answer is. @thread http */
#pragma once
#include <stdatomic.h>

#include "http/exchange.h"

/* Requests that wait for the outcome of what they wrote, and how many may at once: each has a
 * worker. */
struct waiting {
    _Atomic int64_t count;
    int64_t max;
};
bool reading_wait_begin(struct waiting *waiting); /* false: too many */
void reading_wait_end(struct waiting *waiting);

/* What a request says about positions to wait for; one more may be added by the handler. */
struct reading_positions {
    struct tally_min_position items[TALLY_MIN_POSITIONS_MAX + 1];
    struct tally_read_options options;
};
/* Tally-Min-Position and Prefer: wait, with its default. false: the problem is answered. */
bool reading_positions_read(struct exchange *exchange, struct reading_positions *positions);
/* The same without Preference-Applied, where another read of the request says it. */
bool reading_positions_wanted(struct exchange *exchange, struct reading_positions *positions);

/* Opens a read on the owner of `key`, or on `partition` if that is >= 0; waits for
 * Tally-Min-Position. Adds the headers of reading_headers. Where another instance is the owner, it
 * answers the request. NULL: answered, by it or with the problem. */
struct tally_read *reading_open(struct exchange *exchange, const char *topology,
        struct tally_slice key, int32_t partition);
/* The two halves of it. The first: a running task, here or elsewhere. *away: neither can be asked;
 * nothing is answered then. */
struct tally_read *reading_at_owner(struct exchange *exchange, const char *topology,
        struct tally_slice key, int32_t partition, bool *away);
/* The second: what this instance had last, which may be old; with it, or the problem. */
struct tally_read *reading_last(struct exchange *exchange, const char *topology,
        struct tally_slice key, int32_t partition);
/* For handlers that open reads by themselves. Whether the task runs elsewhere, and its owner has
 * answered the request; and which tasks of this instance may be read where it has not. */
bool reading_elsewhere(struct exchange *exchange, const char *topology, int32_t partition);
enum tally_read_of reading_of(const struct exchange *exchange);
/* Whether an answer that is not the owner's will do: without Tally-Min-Position. */
bool reading_may_be_old(const struct exchange *exchange);
/* Tally-Position, Tally-As-Of, Tally-Lag-Ms, Tally-Source. */
void reading_headers(struct exchange *exchange, const struct tally_read_info *info);
void reading_age_headers(struct exchange *exchange,
        const struct tally_read_info *info); /* without the first */
/* Tally-As-Of and Tally-Lag-Ms if they are known, Tally-Source. */
void reading_source_headers(struct exchange *exchange, int64_t as_of_ms, const char *source);
void reading_position_header(struct exchange *exchange, const char *topic, int32_t partition,
        int64_t offset);
/* Positions of several tasks, joined by commas, in a buffer of at most READING_POSITIONS_BYTES_MAX.
 * The header is left out where that is not enough: proxies refuse heads of 8 KiB. */
#define READING_POSITIONS_BYTES_MAX 4096
void reading_positions_add(struct tally_buf *positions, const struct tally_read_info *info);
void reading_positions_header(struct exchange *exchange, const struct tally_buf *positions);
/* ETag of a single resource, and whether If-None-Match names it: then 304 is answered. */
bool reading_not_modified(struct exchange *exchange, int32_t partition, int64_t version);
/* The topology of this instance with this name, or with this commands topic; NULL: none. */
struct tally_topology *reading_topology(struct exchange *exchange, struct tally_slice name);
struct tally_topology *reading_topology_of_topic(struct exchange *exchange,
        struct tally_slice topic);
/* A row into the arena; NOT_FOUND leaves it empty. */
TALLY_MUST_CHECK enum tally_code reading_row(struct exchange *exchange, struct tally_read *read,
        const struct tally_key *key, struct tally_slice *row, struct tally_error *err);
/* time=: like 2026-01-15T10:00:00.000Z; false: the problem is answered. */
bool reading_time(struct exchange *exchange, const char *name, bool *has, int64_t *time_ms);
/* The member next_cursor: a mark of the place, good for this filter; place.len 0: null. */
void reading_cursor_write(struct exchange *exchange, struct tally_writer *writer,
        struct tally_slice filter, struct tally_slice place);
/* cursor=: the place is appended, nothing without one; false: the problem is answered. */
bool reading_cursor(struct exchange *exchange, struct tally_slice filter, struct tally_buf *place);
/* limit=: 1..200, default 50; false: the problem is answered. */
bool reading_limit(struct exchange *exchange, size_t *limit);
