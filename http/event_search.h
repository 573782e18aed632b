/* http/event_search.h - looks for events in one partition of an events topic, by what grows along
 * it: the offset of the command, the time; and reads it backwards. For one request, which bounds it
 * by a time. It joins no group and commits nothing. @thread http */
#pragma once
#include "engine/client.h"
#include "schemas/envelope.h"

struct event_search_options {
    struct tally_client *client;
    const char *topology, *topic; /* topic: of events, with prefix; both outlive the search */
    int32_t partition;
    int64_t last;         /* offset of a committed event: nothing behind it is looked at */
    int64_t last_command; /* that of its command, or more */
    int64_t end_ms;       /* tally_mono_ms of the real clock: then TIMEOUT */
    const struct tally_schema *const *types;
};
struct event_search;
/* UNAVAILABLE, TIMEOUT: no broker tells where the partition begins. */
TALLY_MUST_CHECK enum tally_code event_search_open(const struct event_search_options *options,
        struct event_search **search, struct tally_error *err);
void event_search_close(struct event_search *search); /* NULL is fine */

/* An event that was read; borrows from the search until its next call. */
struct event_search_found {
    int64_t offset;
    const struct tally_event *event;
};
/* The event of the command at that offset. NOT_FOUND: the topic has none. Sooner when each call
 * asks for a later one than the call before. */
TALLY_MUST_CHECK enum tally_code event_search_command(struct event_search *search, int64_t offset,
        struct event_search_found *found, struct tally_error *err);
/* Offset of the first event of that time or later; behind the last one: there is none. */
TALLY_MUST_CHECK enum tally_code event_search_time(struct event_search *search, int64_t time_ms,
        int64_t *offset, struct tally_error *err);

/* Events of one key below *below, the newest first, until take() says false or the partition has no
 * older one: then *below is where it begins. *below moves along, so that the search can go on from
 * there. AGAIN: the time is over, and *below has moved. TIMEOUT: it is over before it could. */
typedef bool (*event_search_fn)(void *context, const struct event_search_found *found);
TALLY_MUST_CHECK enum tally_code event_search_back(struct event_search *search,
        struct tally_slice key, int64_t *below, event_search_fn take, void *context,
        struct tally_error *err);
int64_t event_search_begin(const struct event_search *search); /* the first offset that there is */
