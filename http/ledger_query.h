/* http/ledger_query.h - GET /v1/stock/{sku}/ledger. @thread http */
#pragma once
#include "http/exchange.h"

void ledger_query(struct exchange *exchange);
