/* http/list_query.h - lists for dashboards and reports: the stock of a warehouse, reservations,
 * movements, valuation, turnover. @thread http */
#pragma once
#include "http/exchange.h"

void list_query(struct exchange *exchange); /* of the route */
