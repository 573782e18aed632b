/* engine/read_model.h - what the stores behind the sinks know of committed state, for readers:
 * products and levels by key in Redis, the search over products in PostgreSQL. They are a little
 * behind, never ahead; versions in them never go back. Implementations: connectors/redis_reader.c
 * and connectors/postgres_reader.c; the program gives them to http/, NULL where none is configured.
 * Documents are JSON, the same bytes as the owner's task would answer with:
 *   product  domain: the product of catalogue.events (catalogue_product_json)
 *   level    one item of `levels` of GET /v1/stock/{sku}
 * Codes: NOT_FOUND: the store does not have it, which says nothing about the owner; UNAVAILABLE,
 * TIMEOUT: it cannot be asked now; anything else is a defect and its message is for the log.
 * @thread any: each call takes a connection for its time; at most redis.timeout, or
 * postgres.statement.timeout. @locks none */
#pragma once
#include "engine/base/bytes.h"
#include "engine/base/error.h"

/* How current an answer is: that of the partition that was asked, or of the worst of all. */
struct tally_read_model_info {
    int64_t position; /* offset of the last command whose event is in the answer; -1: not known */
    int64_t as_of_ms; /* complete up to this wall time; 0: not known */
};

/* false: no more rows, please. */
typedef bool (*tally_document_fn)(void *context, struct tally_slice name,
        struct tally_slice document);

/* --- by key: Redis ---------------------------------------------------------------------------- */

struct tally_read_claim {
    char token[33]; /* random */
    int64_t fence;  /* larger than that of every claim before */
};

struct tally_read_cache;
struct tally_read_cache_ops {
    /* Appends the document. */
    enum tally_code (*product)(struct tally_read_cache *cache, struct tally_slice product_id,
            struct tally_buf *document, struct tally_read_model_info *info,
            struct tally_error *err);
    /* Appends the id of the product that claimed the slug, now or once. */
    enum tally_code (*slug)(struct tally_read_cache *cache, struct tally_slice slug,
            struct tally_buf *product_id, struct tally_read_model_info *info,
            struct tally_error *err);
    /* All levels of a SKU, by warehouse (name), in no order. */
    enum tally_code (*levels)(struct tally_read_cache *cache, struct tally_slice sku,
            tally_document_fn row, void *context, struct tally_read_model_info *info,
            struct tally_error *err);
    /* Appends what is known of a SKU itself: {sku, product_id, state, version}. */
    enum tally_code (*sku)(struct tally_read_cache *cache, struct tally_slice sku,
            struct tally_buf *document, struct tally_read_model_info *info,
            struct tally_error *err);
    /* After NOT_FOUND of a product: true for one caller of all instances, who reads it from its
     * owner and calls fill; false: somebody else does, or it is not the time to fill anything. */
    bool (*claim)(struct tally_read_cache *cache, struct tally_slice product_id,
            struct tally_read_claim *claim);
    /* With the document of the owner's task; of len 0: the owner has none either. It is taken only
     * if the claim still holds and nothing newer has come. */
    void (*fill)(struct tally_read_cache *cache, struct tally_slice product_id,
            const struct tally_read_claim *claim, struct tally_slice document);
    void (*destroy)(struct tally_read_cache *cache);
};
struct tally_read_cache {
    const struct tally_read_cache_ops *ops;
};

/* --- by content: PostgreSQL ------------------------------------------------------------------- */

struct tally_product_query {
    struct tally_slice text;     /* words of its slug, name, description; data NULL: any */
    struct tally_slice category; /* one of its category_ids; data NULL: any */
    int status;                  /* enum catalogue_status; -1: any */
    size_t limit;                /* 1..200 */
    struct tally_slice after; /* the place that the page before ended at; len 0: the first page */
};
/* At most 400 bytes of what the store likes: http/ signs it into the cursor. */
#define TALLY_PLACE_BYTES_MAX 400

/* Lists for dashboards and reports, each in an order of its own. An item is a JSON object. */
enum tally_list {
    TALLY_LIST_STOCK,            /* levels of a warehouse, by SKU */
    TALLY_LIST_RESERVATIONS,     /* by id */
    TALLY_LIST_MOVEMENTS,        /* of all SKUs or one, by day (the last first), warehouse, kind */
    TALLY_LIST_VALUATION,        /* of each level, by warehouse, SKU, currency */
    TALLY_LIST_VALUATION_TOTALS, /* of each warehouse and currency */
    TALLY_LIST_TURNOVER,         /* the last day of each level; of one SKU each day */
    TALLY_LISTS
};
enum tally_filter {
    TALLY_FILTER_WAREHOUSE,
    TALLY_FILTER_SKU,
    TALLY_FILTER_PREFIX, /* of SKUs */
    TALLY_FILTER_BELOW,  /* available units, a number */
    TALLY_FILTER_STATE,
    TALLY_FILTER_KIND, /* several are joined by commas */
    TALLY_FILTER_CURRENCY,
    TALLY_FILTER_FROM, /* like 2026-01-15T00:00:00.000Z; movements of all SKUs need both */
    TALLY_FILTER_TO,
    TALLY_FILTERS
};
struct tally_list_query {
    enum tally_list list;
    struct tally_slice filters[TALLY_FILTERS]; /* data NULL: any; a list looks at those it has */
    size_t limit;                              /* 1..200 */
    struct tally_slice after;                  /* as in tally_product_query */
};

struct tally_read_search;
struct tally_read_search_ops {
    /* At most limit products (name: product_id), by product_id.
     * Appends where the next page begins to *next; nothing: this is the last. */
    enum tally_code (*products)(struct tally_read_search *search,
            const struct tally_product_query *query, tally_document_fn row, void *context,
            struct tally_buf *next, struct tally_read_model_info *info, struct tally_error *err);
    /* At most limit items of a list (name: their places). Appends to *next as products does. */
    enum tally_code (*list)(struct tally_read_search *search, const struct tally_list_query *query,
            tally_document_fn row, void *context, struct tally_buf *next,
            struct tally_read_model_info *info, struct tally_error *err);
    void (*destroy)(struct tally_read_search *search);
};
struct tally_read_search {
    const struct tally_read_search_ops *ops;
};
