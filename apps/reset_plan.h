/* apps/reset_plan.h - what `tally reset` would do about one task: a pure function of what was
 * found.
 * Invariants
 *  (1) `halt` is the code that a start would give, by the restore's own predicates.
 *  (2) The plan of a task that would start is "nothing".
 *  (3) A plan that loses something says what, and is not carried out without being told to.
 *  (4) The group's offset is the last thing that changes, so that whatever is carried out halfway
 *      halts a start or is right; what was found then gives the rest of the plan.
 * Of a projection the input are the events that it reads, and `events` is its changelog. */
#pragma once
#include "engine/base/config.h"
#include "state/store.h"

enum reset_proof {
    RESET_UNKNOWN, /* no longer retained, or nothing to compare with */
    RESET_SAME,    /* the record is the one that was processed */
    RESET_OTHER    /* it is not: another topic, or a part of it was written anew */
};

/* What was found; offsets are -1 where there is none. */
struct reset_facts {
    const char *topology, *input, *events; /* topics with their prefix */
    int32_t partition, partitions;
    int64_t group; /* the group's offset */
    int64_t input_low, input_high, events_low, events_high;
    int64_t events_next;   /* next input as the events prove it */
    int64_t events_time;   /* decision time of the last event */
    bool open;             /* a transaction on the events topic has not ended */
    enum tally_code event; /* EVENT_UNKNOWN: what the events topic ends with; PARTITIONS_CHANGED */
    enum tally_code state; /* OK, NOT_FOUND, FOREIGN_STATE, STORE_CORRUPT, STORE_OUTDATED */
    char reason[256];      /* of event, or else of state */
    struct tally_positions positions; /* state OK */
    enum reset_proof event_proof;     /* of the last applied event */
    enum reset_proof input_proof;     /* of a consumed command */
    int64_t hole_at;  /* first consumed command without an outcome before the proven end */
    int64_t lost_at;  /* first consumed command without an outcome behind the proven ones */
    int64_t readable; /* first offset from `resume` on that can be read */
    bool filled;      /* the record before events_next was written by a reset */
    bool rows;        /* the changelog has records other than positions */
    bool noted;       /* the last event is a reset's note that input goes on at events_next */
};

struct reset_plan {
    enum tally_code halt; /* that a start would give; OK: it would run */
    char why[256];
    const char *impossible;     /* NULL, or what has to be done first */
    bool aside;                 /* set the directory aside */
    int64_t fill_to;            /* fill the commands topic up to here; -1: no */
    int64_t copy_from, copy_to; /* then copy these commands behind; -1: none */
    int64_t mark;   /* note in the events topic that input goes on here, in other records; -1: no */
    int64_t offset; /* set the group's offset; -1: leave it */
    bool forget;    /* remove the group's offset: the next start is the first one */
    int64_t decided_again;      /* records that were consumed before and are decided again */
    int64_t lost_from, lost_to; /* commands that are gone; -1: none */
    char loses[256];            /* "": nothing that is known of */
};

/* Where input goes on after a reset that keeps the state (aside false) or not; -1: at the start. */
int64_t reset_plan_resume(const struct reset_facts *facts, bool aside);
/* Whether the events topic may be one that was begun in the middle. */
bool reset_plan_doubts_events(const struct reset_facts *facts);
/* Whether the state would be set aside. */
bool reset_plan_aside(const struct reset_facts *facts);
void reset_plan_make(const struct reset_facts *facts, struct reset_plan *plan);
bool reset_plan_acts(const struct reset_plan *plan);   /* it changes something */
bool reset_plan_writes(const struct reset_plan *plan); /* records */
