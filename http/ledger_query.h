/* http/ledger_query.h - GET /v1/stock/{sku}/ledger. @thread http */
#pragma once
#include "http/exchange.h"

void ledger_query(struct exchange *exchange);
/* Whether this instance keeps ledgers (stock.ledger); false: NOT_KEPT is answered. */
bool ledger_query_is_kept(struct exchange *exchange);
