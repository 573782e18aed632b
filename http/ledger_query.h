/* http/ledger_query.h - GET /v1/stock/{sku}/ledger. @thread http */
#pragma once
#include "http/exchange.h"

struct stock_ledger_row;
struct tally_event;
void ledger_query(struct exchange *exchange);
/* An entry as users see it; topic: of commands, with prefix. @thread any */
void ledger_query_entry_json(struct tally_writer *writer, struct tally_slice sku,
        struct tally_slice warehouse, int64_t seq, const struct stock_ledger_row *row,
        const char *topic, int32_t partition);
/* The same with the event that made it. */
struct ledger_query_origin {
    const char *topology, *topic;               /* of events, with prefix */
    int64_t offset;                             /* of the event; TALLY_OFFSET_NONE: not known */
    struct tally_slice command, correlation_id; /* type of the command; empty: not known */
};
void ledger_query_explained_json(struct tally_writer *writer, struct tally_slice sku,
        struct tally_slice warehouse, int64_t seq, const struct stock_ledger_row *row,
        const char *topic, int32_t partition, const struct ledger_query_origin *origin);
/* The entry that an event of stock with a level leaves behind; borrows from it. @thread any */
void ledger_query_of_event(const struct tally_event *event, struct stock_ledger_row *row);
/* Whether this instance keeps ledgers (stock.ledger); false: NOT_KEPT is answered. */
bool ledger_query_is_kept(struct exchange *exchange);
