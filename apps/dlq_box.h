/* apps/dlq_box.h - the letters of one dead-letter topic, and what became of each.
 * A box is read once and does not change; records that come later are not in it. @thread main */
#pragma once
#include "apps/dlq_letter.h"
#include "engine/base/config.h"
#include "engine/topology.h"

/* Whose letters: a topology's, or a sink's. */
struct dlq_source {
    const char *topic;               /* of the letters */
    char name[32];                   /* "stock", "postgres" */
    struct tally_topology *topology; /* NULL: a sink's, which are events */
};

struct dlq_box {
    const struct dlq_source *source;
    struct dlq_letter *letters; /* by place */
    size_t count, capacity;
    struct dlq_letter *marks;
    size_t mark_count, mark_capacity;
    struct tally_arena arena; /* what the letters borrow from */
};

/* Which letters: their marks stand behind them, in the same partition. */
struct dlq_range {
    const struct dlq_place *from; /* only of this partition, from there on; NULL: all */
    int64_t since_ms;             /* only those written then or later; 0: all */
};

/* Reads the topic to its end. AGAIN: the user has interrupted it. dlq_box_deinit in every case. */
TALLY_MUST_CHECK enum tally_code dlq_box_read(struct dlq_box *box,
        const struct tally_config *config, const struct dlq_source *source,
        const struct dlq_range *range, struct tally_error *err);
void dlq_box_deinit(struct dlq_box *box);
/* NULL: no letter is there. */
struct dlq_letter *dlq_box_find(struct dlq_box *box, const struct dlq_place *place);

/* Called with the record of every chosen letter, in order; another code than TALLY_OK ends it. */
typedef enum tally_code (*dlq_record_fn)(void *context, struct dlq_letter *letter,
        const struct tally_record *record, const struct tally_header *headers,
        struct tally_error *err);
TALLY_MUST_CHECK enum tally_code dlq_box_each(struct dlq_box *box,
        const struct tally_config *config, dlq_record_fn record, void *context,
        struct tally_error *err);
