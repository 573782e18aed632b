/* state/iterator_internal.h - iterators over a view and, for the owner, its uncommitted rows. */
#pragma once
#include "state/view_internal.h"

/* Takes the view's reference and the sorted overlay rows (may be NULL) over; bounds are copied. */
struct tally_iterator *iterator_create(struct tally_view *view, struct row *rows, size_t count,
        struct tally_slice lower, struct tally_slice upper, bool backwards);
