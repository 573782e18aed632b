/* state/iterator.c - rows of a view in key order, and of the owner's overlay above it.
 * Invariants
 *  (1) Deleted rows, rows absent by age and meta keys are never seen.
 *  (2) An iterator that could not be opened fails at its first step, so that opening cannot. */
#include "state/iterator_internal.h"

#include "engine/base/mem.h"

static const uint8_t first_key[] = {1}; /* store byte 0 belongs to meta keys */

struct tally_iterator {
    struct tally_view *view;
    struct row *rows;      /* NULL: view only */
    struct cursor *cursor; /* NULL: failed to open, see code */
    uint8_t *lower, *upper;
    enum tally_code code;
    struct tally_error err;
};

struct rows_cursor {
    struct cursor cursor;
    const struct row *rows;
    size_t begin, end;
    bool backwards;
};

static enum tally_code rows_next(struct cursor *cursor, struct tally_error *err)
{
    struct rows_cursor *self = (struct rows_cursor *)cursor;
    const struct row *row;

    (void)err;
    if (self->begin >= self->end)
        return TALLY_NOT_FOUND;
    row = &self->rows[self->backwards ? --self->end : self->begin++];
    cursor->key = row_key(row);
    cursor->value = row_value(row);
    cursor->deleted = row->deleted;
    return TALLY_OK;
}

static void rows_destroy(struct cursor *cursor)
{
    tally_free(cursor);
}

static struct cursor *rows_cursor(const struct row *rows, size_t count, bool backwards)
{
    static const struct cursor_ops ops = {.next = rows_next, .destroy = rows_destroy};
    struct rows_cursor *self = tally_alloc_zero(1, sizeof *self);

    self->cursor.ops = &ops;
    self->rows = rows;
    self->end = count;
    self->backwards = backwards;
    return &self->cursor;
}

static struct tally_slice copy_bound(struct tally_slice bound, uint8_t **space)
{
    *space = tally_alloc(bound.len + 1);
    if (bound.len > 0)
        memcpy(*space, bound.data, bound.len);
    return (struct tally_slice){*space, bound.len};
}

static void open_cursor(struct tally_iterator *iterator, size_t row_count, struct tally_slice lower,
        struct tally_slice upper, bool backwards)
{
    struct cursor **cursors =
            tally_alloc_zero(iterator->view->run_count + 2, sizeof(struct cursor *));
    size_t count = 0, first = 0;

    if (iterator->rows)
        cursors[first++] = rows_cursor(iterator->rows, row_count, backwards);
    iterator->code = view_cursors(iterator->view, lower, upper, backwards, cursors + first, &count,
            &iterator->err);
    if (iterator->code) {
        cursor_destroy(first > 0 ? cursors[0] : NULL);
    } else {
        iterator->cursor = merge_create(cursors, first + count, backwards);
    }
    tally_free(cursors);
}

struct tally_iterator *iterator_create(struct tally_view *view, struct row *rows, size_t count,
        struct tally_slice lower, struct tally_slice upper, bool backwards)
{
    struct tally_iterator *iterator = tally_alloc_zero(1, sizeof *iterator);

    if (lower.len == 0 || lower.data[0] == 0)
        lower = tally_slice_of(first_key, sizeof first_key);
    iterator->view = view;
    iterator->rows = rows;
    lower = copy_bound(lower, &iterator->lower);
    upper = copy_bound(upper, &iterator->upper);
    if (upper.len > 0 && tally_slice_compare(lower, upper) >= 0) {
        iterator->code = TALLY_NOT_FOUND; /* an empty range */
    } else {
        open_cursor(iterator, count, lower, upper, backwards);
    }
    return iterator;
}

struct tally_iterator *tally_view_iterate(struct tally_view *view, struct tally_slice lower,
        struct tally_slice upper, bool backwards)
{
    return iterator_create(tally_view_ref(view), NULL, 0, lower, upper, backwards);
}

bool tally_iterator_next(struct tally_iterator *iterator, struct tally_slice *key,
        struct tally_slice *value, enum tally_code *code, struct tally_error *err)
{
    struct cursor *cursor = iterator->cursor;

    *key = *value = TALLY_NONE;
    while (iterator->code == TALLY_OK) {
        iterator->code = cursor_next(cursor, &iterator->err);
        if (iterator->code || cursor->deleted ||
                row_expired(cursor->key, cursor->value, iterator->view->cutoff_ms)) {
            continue;
        }
        *key = cursor->key;
        *value = cursor->value;
        *code = TALLY_OK;
        return true;
    }
    *code = iterator->code == TALLY_NOT_FOUND ? TALLY_OK : iterator->code;
    if (*code && err)
        *err = iterator->err;
    return false;
}

void tally_iterator_destroy(struct tally_iterator *iterator)
{
    if (!iterator)
        return;
    cursor_destroy(iterator->cursor);
    tally_view_unref(iterator->view);
    tally_free(iterator->rows);
    tally_free(iterator->lower);
    tally_free(iterator->upper);
    tally_free(iterator);
}

struct tally_slice tally_prefix_end(struct tally_slice prefix, uint8_t *space)
{
    size_t len = prefix.len;

    while (len > 0 && prefix.data[len - 1] == 0xff) {
        len--;
    }
    if (len == 0)
        return TALLY_NONE;
    memcpy(space, prefix.data, len);
    space[len - 1]++;
    return tally_slice_of(space, len);
}
