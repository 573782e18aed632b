/* http/explain_query.h - GET /v1/stock/{sku}/{warehouse}/explain: the events that made a level,
 * with their positions, and whether they add up to it. @thread http */
#pragma once
#include "http/exchange.h"

void explain_query(struct exchange *exchange);
