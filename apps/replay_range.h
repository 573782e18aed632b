/* apps/replay_range.h - which part of a task's log `tally replay` reads: what was asked for,
 * against what the log and the directory have. A wrong value is refused with its name and a right
 * one. Pure functions. @thread any  @locks none */
#pragma once
#include "engine/restorer.h"

enum replay_point_kind {
    REPLAY_UNSAID, /* from the start, or where the directory ends; to the end */
    REPLAY_START,
    REPLAY_END,
    REPLAY_OFFSET, /* value: with it */
    REPLAY_TIME    /* value: ms; from the first record that is not before it, up to there */
};
struct replay_point {
    enum replay_point_kind kind;
    int64_t value;
    const char *text; /* as it was given; borrowed */
};
/* text NULL: unsaid. CONFIG. */
TALLY_MUST_CHECK enum tally_code replay_range_parse_from(const char *text,
        struct replay_point *point, struct tally_error *err);
TALLY_MUST_CHECK enum tally_code replay_range_parse_to(const char *text, struct replay_point *point,
        struct tally_error *err);
/* What can be said without a log: times in order and not in the future. CONFIG. */
TALLY_MUST_CHECK enum tally_code replay_range_check(const struct replay_point *from,
        const struct replay_point *to, int64_t now_ms, struct tally_error *err);

/* A partition's log. */
struct replay_log {
    const char *topic;
    int32_t partition;
    bool compacted;         /* of each key the newest record is there, or a deletion */
    int64_t low, end;       /* first offset, last stable offset */
    int64_t from_at, to_at; /* first offset at the time of `from`, of `to`; -1: none, or no time */
};
/* What the directory has of it. */
struct replay_have {
    bool present;
    const char *dir;
    int64_t from; /* where its fold began; -1: at the start */
    int64_t last; /* of the records that are in; -1: none */
    int64_t next; /* all before it that there are; -1: not known */
};
struct replay_range {
    struct tally_log_part part; /* as tally_replay_begin wants it */
    bool complete;              /* the directory has it all */
};
/* CONFIG: a value is wrong; EVENTS_INCOMPLETE: the log begins too late. */
TALLY_MUST_CHECK enum tally_code replay_range_find(const struct replay_point *from,
        const struct replay_point *to, const struct replay_log *log, const struct replay_have *have,
        struct replay_range *range, struct tally_error *err);
/* Offsets that have to be read. */
int64_t replay_range_offsets(const struct replay_range *range, const struct replay_log *log,
        const struct replay_have *have);
