/* http/ledger_query.h - GET /v1/stock/{sku}/ledger. @thread http */
#pragma once
#include "http/exchange.h"

struct stock_ledger_row;
void ledger_query(struct exchange *exchange);
/* An entry as users see it; topic: of commands, with prefix. @thread any */
void ledger_query_entry_json(struct tally_writer *writer, struct tally_slice sku,
        struct tally_slice warehouse, int64_t seq, const struct stock_ledger_row *row,
        const char *topic, int32_t partition);
/* Whether this instance keeps ledgers (stock.ledger); false: NOT_KEPT is answered. */
bool ledger_query_is_kept(struct exchange *exchange);
