/* state/merge.c - the k-way merge of sorted sources, newest wins.
 * Invariants
 *  (1) The heap holds every source that has a row, but the one whose row is the current one.
 *  (2) No source in the heap stands on the current key: older rows of a key are passed over before
 *      the newest is handed out, because its bytes are gone once its source moves. */
#include "engine/base/mem.h"
#include "state/cursor_internal.h"
#include "state/row_internal.h"

struct source {
    uint64_t prefix, more; /* the first 16 bytes of its key: most comparisons need no more */
    struct cursor *cursor;
    size_t age; /* 0: the newest */
};

struct merge {
    struct cursor cursor;
    bool backwards, started, has_current;
    struct source current;
    size_t count; /* of the heap */
    struct source *heap;
};

/* Whether a's row comes before b's. */
static bool before(const struct merge *merge, const struct source *a, const struct source *b)
{
    int order = (a->prefix > b->prefix) - (a->prefix < b->prefix);

    if (order == 0)
        order = (a->more > b->more) - (a->more < b->more);
    if (order == 0)
        order = tally_slice_compare(a->cursor->key, b->cursor->key);
    if (order == 0)
        return a->age < b->age;
    return merge->backwards ? order > 0 : order < 0;
}

static void sift_down(struct merge *merge)
{
    struct source moving = merge->heap[0];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= merge->count)
            break;
        if (child + 1 < merge->count &&
                before(merge, &merge->heap[child + 1], &merge->heap[child])) {
            child++;
        }
        if (!before(merge, &merge->heap[child], &moving))
            break;
        merge->heap[at] = merge->heap[child];
        at = child;
    }
    merge->heap[at] = moving;
}

static void push(struct merge *merge, struct source source)
{
    size_t at = merge->count++;

    for (; at > 0 && before(merge, &source, &merge->heap[(at - 1) / 2]); at = (at - 1) / 2) {
        merge->heap[at] = merge->heap[(at - 1) / 2];
    }
    merge->heap[at] = source;
}

static struct source pop(struct merge *merge)
{
    struct source top = merge->heap[0];

    merge->heap[0] = merge->heap[--merge->count];
    if (merge->count > 1)
        sift_down(merge);
    return top;
}

/* Moves a source on; at its end it is destroyed and *ended is set. */
static enum tally_code advance(struct source *source, bool *ended, struct tally_error *err)
{
    enum tally_code code = cursor_next(source->cursor, err);

    *ended = code == TALLY_NOT_FOUND;
    if (*ended) {
        cursor_destroy(source->cursor);
        return TALLY_OK;
    }
    if (code == TALLY_OK) {
        source->prefix = row_prefix(source->cursor->key);
        source->more = row_prefix(tally_slice_of(source->cursor->key.data + 8,
                source->cursor->key.len > 8 ? source->cursor->key.len - 8 : 0));
    }
    return code;
}

static enum tally_code start(struct merge *merge, struct tally_error *err)
{
    size_t sources = merge->count;

    /* On an error the sources behind the failed one still stand in the array; they move up so that
     * destroy finds all that are left in the heap. */
    merge->count = 0;
    merge->started = true;
    for (size_t i = 0; i < sources; i++) {
        struct source source = merge->heap[i];
        bool ended = false;
        enum tally_code code = advance(&source, &ended, err);

        if (code) {
            memmove(merge->heap + merge->count, merge->heap + i,
                    (sources - i) * sizeof *merge->heap);
            merge->count += sources - i;
            return code;
        }
        if (!ended)
            push(merge, source);
    }
    return TALLY_OK;
}

/* Moves the source of the current row on, and makes the source that comes first then the current
 * one: often it is the same. */
static enum tally_code leave_current(struct merge *merge, struct tally_error *err)
{
    bool ended = false;
    enum tally_code code = advance(&merge->current, &ended, err);

    if (code)
        return code;
    if (ended) {
        merge->current = pop(merge);
    } else if (before(merge, &merge->heap[0], &merge->current)) {
        struct source moving = merge->current;

        merge->current = merge->heap[0];
        merge->heap[0] = moving;
        sift_down(merge);
    }
    return TALLY_OK;
}

/* Moves every source on that stands on the current key. */
static enum tally_code pass_older(struct merge *merge, struct tally_error *err)
{
    while (merge->count > 0 && merge->heap[0].prefix == merge->current.prefix &&
            merge->heap[0].more == merge->current.more &&
            tally_slice_equal(merge->heap[0].cursor->key, merge->current.cursor->key)) {
        bool ended = false;
        enum tally_code code = advance(&merge->heap[0], &ended, err);

        if (code)
            return code;
        if (ended)
            merge->heap[0] = merge->heap[--merge->count];
        if (merge->count > 1)
            sift_down(merge);
    }
    return TALLY_OK;
}

static void show_current(struct merge *merge)
{
    merge->cursor.key = merge->current.cursor->key;
    merge->cursor.value = merge->current.cursor->value;
    merge->cursor.deleted = merge->current.cursor->deleted;
}

/* The current row's source is the only one that is left: there is nothing to compare. */
static enum tally_code next_of_last(struct merge *merge, struct tally_error *err)
{
    enum tally_code code = cursor_next(merge->current.cursor, err);

    if (code == TALLY_OK) {
        show_current(merge);
    } else if (code == TALLY_NOT_FOUND) {
        cursor_destroy(merge->current.cursor);
        merge->has_current = false;
    }
    return code;
}

static enum tally_code merge_next(struct cursor *cursor, struct tally_error *err)
{
    struct merge *merge = (struct merge *)cursor;
    enum tally_code code;

    if (merge->has_current && merge->count == 0)
        return next_of_last(merge, err);
    if (merge->has_current) { /* and others, or next_of_last had it */
        code = leave_current(merge, err);
    } else {
        code = merge->started ? TALLY_OK : start(merge, err);
        if (code == TALLY_OK && merge->count == 0)
            return TALLY_NOT_FOUND;
        if (code == TALLY_OK) {
            merge->current = pop(merge);
            merge->has_current = true;
        }
    }
    if (code)
        return code;
    code = pass_older(merge, err);
    if (code)
        return code;
    show_current(merge);
    return TALLY_OK;
}

static void merge_destroy(struct cursor *cursor)
{
    struct merge *merge = (struct merge *)cursor;

    for (size_t i = 0; i < merge->count; i++) {
        cursor_destroy(merge->heap[i].cursor);
    }
    if (merge->has_current)
        cursor_destroy(merge->current.cursor);
    tally_free(merge->heap);
    tally_free(merge);
}

struct cursor *merge_create(struct cursor *const *sources, size_t count, bool backwards)
{
    static const struct cursor_ops ops = {.next = merge_next, .destroy = merge_destroy};
    struct merge *merge = tally_alloc_zero(1, sizeof *merge);

    merge->cursor.ops = &ops;
    merge->backwards = backwards;
    merge->heap = tally_alloc_zero(count + 1, sizeof *merge->heap);
    merge->count = count;
    for (size_t i = 0; i < count; i++) {
        merge->heap[i] = (struct source){.cursor = sources[i], .age = i};
    }
    return &merge->cursor;
}
