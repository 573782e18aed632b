/* state/cursor_internal.h - rows in key order, forwards or backwards, from one source; and the
 * merge of several sources into one. Deleted rows are rows here: whoever shows rows to others
 * skips them. @thread owner of the cursor */
#pragma once
#include "engine/base/bytes.h"

struct cursor;
struct cursor_ops {
    /* Moves to the next (at first: the first) row. NOT_FOUND: there is none; STORE_ERROR,
     * STORE_CORRUPT. After anything but TALLY_OK only destroy may follow. */
    enum tally_code (*next)(struct cursor *cursor, struct tally_error *err);
    void (*destroy)(struct cursor *cursor);
};
struct cursor {
    const struct cursor_ops *ops;
    struct tally_slice key, value; /* of the current row; live until the next call */
    bool deleted;                  /* value is empty */
};

static inline enum tally_code cursor_next(struct cursor *cursor, struct tally_error *err)
{
    return cursor->ops->next(cursor, err);
}

static inline void cursor_destroy(struct cursor *cursor)
{
    if (cursor)
        cursor->ops->destroy(cursor);
}

/* Merges sources, the newest first in the array: of equal keys only the newest row is seen. Takes
 * the cursors over; the array is copied. */
struct cursor *merge_create(struct cursor *const *sources, size_t count, bool backwards);
