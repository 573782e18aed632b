/* http/explain_page.h - one request of explain_query.h: what it asks for, what was found, its
 * answer. @thread http */
#pragma once
#include "http/event_search.h"
#include "http/exchange.h"
#include "http/explain_check.h"
#include "http/stock_query.h"

enum { EXPLAIN_NOTES_MAX = 4 };

struct explain_entry {
    int64_t seq;
    struct stock_ledger_row row;
    int64_t event_offset; /* TALLY_OFFSET_NONE: not known */
    struct tally_slice command, correlation_id;
    struct explain_entry *older, *newer;
};

/* Where the next page begins, as it is sealed in a cursor. */
struct explain_place {
    int64_t seq;              /* of its first entry */
    int64_t below;            /* it is below this offset of the events; NONE: it is in the ledger */
    int64_t n[STOCK_BUCKETS]; /* that its first entry leaves behind */
};

struct explain {
    struct exchange *exchange;
    struct tally_client *client;
    struct tally_arena *arena;
    int64_t end_ms; /* of reading Kafka */
    struct tally_slice sku, warehouse;
    size_t limit;
    int bucket; /* entries that changed this number alone; -1: all */
    bool has_as_of, has_place;
    int64_t as_of_ms;
    struct tally_buf filter; /* what a cursor is bound to */
    struct explain_place place;

    struct stock_query_level level; /* now */
    struct tally_read_info info;
    struct explain_entry *newest, *oldest;
    size_t count, scanned;
    bool from_ledger, from_events;
    bool has_next, ended; /* ended: nothing older is to be looked at */
    struct explain_place next;
    struct explain_check check;
    bool checking;
    struct stock_level_row top; /* as of the time asked for */
    bool has_top;
    int64_t last_command; /* of the oldest entry that was looked at; NONE: none was */
    const char *notes[EXPLAIN_NOTES_MAX];
    size_t note_count;
    bool damaged;
};

void explain_page_note(struct explain *explain, const char *text, ...) TALLY_PRINTF(2, 3);
/* Once the level is read: where the page begins is known then, but of a time. */
void explain_page_begin(struct explain *explain);
/* Takes an entry, older than those before; it borrows, and is copied if it is of the page. false:
 * stop. */
bool explain_page_take(struct explain *explain, const struct explain_entry *entry);

/* --- explain_events.c ------------------------------------------------------------------------- */

/* Entries from the events topic, which the ledger does not have. */
TALLY_MUST_CHECK enum tally_code explain_events_read(struct explain *explain,
        struct tally_error *err);
/* Positions of the events of the page's entries. What cannot be found is noted. */
void explain_events_find(struct explain *explain);

void explain_answer(struct explain *explain); /* explain_answer.c */
