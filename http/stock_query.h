/* http/stock_query.h - stock of a SKU, of one level, and the warehouses. @thread http */
#pragma once
#include "http/exchange.h"

void stock_query_sku(struct exchange *exchange);        /* GET /v1/stock/{sku} */
void stock_query_level(struct exchange *exchange);      /* GET /v1/stock/{sku}/{warehouse} */
void stock_query_warehouses(struct exchange *exchange); /* GET /v1/warehouses */

/* --- for ledger_query.c ----------------------------------------------------------------------- */

bool stock_query_is_sku(struct tally_slice text);
bool stock_query_is_warehouse(struct tally_slice text);
/* Whether the task knows the SKU: by its row, or by any level. STORE_ERROR and such are returned.
 */
TALLY_MUST_CHECK enum tally_code stock_query_sku_exists(struct tally_read *read,
        struct tally_slice sku, bool *exists, struct tally_error *err);
void stock_query_unknown_sku(struct exchange *exchange, struct tally_slice sku); /* answers 404 */
