/* http/as_of_query.h - GET /v1/stock/{sku}/{warehouse}?as_of=time. @thread http */
#pragma once
#include "http/exchange.h"

/* The level as it was at that time: the numbers behind the last entry recorded then or before. Of
 * the settings the ledger knows safety_stock, which is one of the numbers; the others are no part
 * of the answer. @thread http */
void as_of_query(struct exchange *exchange, struct tally_slice as_of);
