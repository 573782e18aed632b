/* http/low_stock_query.h - levels that need attention, in all warehouses. @thread http */
#pragma once
#include "http/exchange.h"

void low_stock_query(struct exchange *exchange); /* GET /v1/stock:low */
