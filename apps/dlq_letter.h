/* apps/dlq_letter.h - what the records of a dead-letter topic say.
 * A letter is the record that could not be read, or an event that a sink could not write, with
 * headers added behind its own: stream_task_route.c and sink_letter.c write them. A mark is written
 * by `tally dlq` and says what became of a letter of its partition: a null value and the header
 *   tally-dlq: retried|dropped <partition>@<offset>
 * Invariants
 *  (1) A record is a letter by the headers at its end, whatever its sender put before them; only
 *      what is no letter can be a mark. So nobody marks a letter by sending a record.
 *  (2) Marks are never undone; the first one of a letter counts. */
#pragma once
#include "engine/base/mem.h"
#include "engine/client.h"

#define DLQ_MARK_HEADER "tally-dlq"

struct dlq_place {
    int32_t partition;
    int64_t offset;
};

enum dlq_state { DLQ_OPEN, DLQ_RETRIED, DLQ_DROPPED };
extern const char *const dlq_state_names[]; /* "open", "retried", "dropped" */

enum dlq_kind { DLQ_LETTER, DLQ_MARK, DLQ_FOREIGN };

struct dlq_letter {
    struct dlq_place place;  /* on the dead-letter topic */
    struct dlq_place origin; /* of the record on origin_topic */
    struct tally_slice origin_topic;
    struct tally_slice reason, detail, stage;
    struct tally_slice cut;      /* what is left of a record that was too large; empty: all */
    struct tally_slice key;      /* data NULL: null */
    struct tally_slice type, id; /* of the command or event, where it can be read; else empty */
    int64_t time_ms;             /* when the letter was written */
    size_t own_headers;          /* the record's own, in front of those that were added */
    size_t value_bytes;
    enum dlq_state state;
    bool chosen; /* by the caller, for dlq_box_each */
};

/* Everything that is no slice is filled too. Slices borrow from the record and the arena.
 * DLQ_MARK: state and place are those of the letter that it is about. */
enum dlq_kind dlq_letter_read(const struct tally_record *record, const struct tally_header *headers,
        size_t count, struct tally_arena *arena, struct dlq_letter *letter);
/* The text of a mark's header. */
void dlq_mark_format(const struct dlq_letter *letter, enum dlq_state state, char *text,
        size_t size);
/* "<partition>@<offset>"; false: something else. */
bool dlq_place_parse(struct tally_slice text, struct dlq_place *place);

/* One line for people, one JSON object for programs; both end with a line break. topic: the
 * dead-letter topic. of_sink: it holds events, of several topics. */
void dlq_letter_line(const struct dlq_letter *letter, const char *topic, bool of_sink,
        int64_t now_ms, struct tally_buf *out);
void dlq_letter_json(const struct dlq_letter *letter, const char *topic, bool of_sink,
        struct tally_arena *arena, struct tally_buf *out);
/* Printable ASCII as it is, other bytes as \xNN; "-" for what is absent. */
void dlq_put_text(struct tally_slice bytes, size_t max, struct tally_buf *out);
