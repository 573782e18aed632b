/* http/elsewhere_cached.h - rows of stock and products as Redis knows them, for a task that nobody
 * could be asked for. A little old, but never older than what was shown before. @thread http */
#pragma once
#include "http/elsewhere.h"

/* Items that are FENCED or UNAVAILABLE become what Redis has of them, `cached`, with its position
 * and age; those that it does not have stay as they are. Without a cache, and of requests with
 * Tally-Min-Position, all do. */
void elsewhere_cached(struct exchange *exchange, struct elsewhere_item *items, size_t count);
