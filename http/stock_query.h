/* http/stock_query.h - stock of a SKU, of one level, and the warehouses. @thread http */
#pragma once
#include "http/elsewhere.h"
#include "http/exchange.h"
#include "schemas/stock_records.h"

void stock_query_sku(struct exchange *exchange);        /* GET /v1/stock/{sku} */
void stock_query_level(struct exchange *exchange);      /* GET /v1/stock/{sku}/{warehouse} */
void stock_query_warehouses(struct exchange *exchange); /* GET /v1/warehouses */

/* --- for ledger_query.c, availability_query.c ------------------------------------------------- */

bool stock_query_is_sku(struct tally_slice text);
bool stock_query_is_warehouse(struct tally_slice text);
/* Whether the task knows the SKU: by its row, or by any level. STORE_ERROR and such are returned.
 */
TALLY_MUST_CHECK enum tally_code stock_query_sku_exists(struct tally_read *read,
        struct tally_slice sku, bool *exists, struct tally_error *err);
void stock_query_unknown_sku(struct exchange *exchange, struct tally_slice sku); /* answers 404 */

#define STOCK_QUERY_WAREHOUSES_MAX 64

struct stock_query_level {
    struct tally_slice warehouse;
    struct stock_level_row row;
    struct stock_setting_row setting;
    struct stock_query_level *next;
};

/* A level with its setting, by level->warehouse. NOT_FOUND: there is no such level. */
TALLY_MUST_CHECK enum tally_code stock_query_read_level(struct exchange *exchange,
        struct tally_read *read, struct tally_slice sku, struct stock_query_level *level,
        struct tally_error *err);
/* There is no level: it is all zeros if both of its names are known. TALLY_OK: they are, or 404 is
 * answered. */
TALLY_MUST_CHECK enum tally_code stock_query_find_names(struct exchange *exchange,
        struct tally_read *read, struct tally_slice sku, struct tally_slice warehouse,
        struct tally_error *err);

/* What one request has read of a SKU; in the arena. */
struct stock_query_sku {
    struct tally_arena *arena;
    struct tally_slice sku;
    struct tally_slice filter[STOCK_QUERY_WAREHOUSES_MAX]; /* none: all warehouses */
    size_t filter_count;
    bool has_row, has_level, damaged;
    struct stock_sku_row row;
    struct stock_query_level *first, *last;
    uint32_t count;
    int64_t version; /* the SKU's own and the levels' */
};
/* Reads the SKU and its levels in the warehouses of the filter. Neither has_row nor has_level:
 * unknown. */
TALLY_MUST_CHECK enum tally_code stock_query_read(struct tally_read *read,
        struct stock_query_sku *stock, struct tally_error *err);
/* The same of a SKU whose task runs elsewhere: makes what is to be asked, and takes the answers.
 * UNAVAILABLE, FENCED: nobody could be asked. */
enum { STOCK_QUERY_ROW, STOCK_QUERY_LEVELS, STOCK_QUERY_SETTINGS, STOCK_QUERY_ITEMS };
void stock_query_ask(const struct stock_query_sku *stock, int32_t partition,
        struct elsewhere_item items[static STOCK_QUERY_ITEMS]);
TALLY_MUST_CHECK enum tally_code stock_query_take(struct stock_query_sku *stock,
        const struct elsewhere_item items[static STOCK_QUERY_ITEMS], struct tally_error *err);
