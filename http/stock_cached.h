/* http/stock_cached.h - stock as Redis knows it, while nobody who owns it can be asked. A little
 * old, but never older than what was shown before. @thread http */
#pragma once
#include "http/stock_query.h"

/* Answer in the place of the owner. false: the request asks for more than that, or it is not known
 * there; nothing is answered. stock: with its filter. */
bool stock_cached_sku(struct exchange *exchange, const struct stock_query_sku *stock);
bool stock_cached_level(struct exchange *exchange, struct tally_slice sku,
        struct tally_slice warehouse);
