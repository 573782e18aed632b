/* connectors/postgres_lists.c - the statements behind lists of HTTP, each in pages.
 * Invariants
 *  (1) A row is its place, which the page after it is asked with, and its document, as HTTP
 *      answers it.
 *  (2) $1 is the place that the page before ended at, empty for the first; $2 how many rows; the
 *      others are the filters in the table below, null where any will do.
 *  (3) A page costs what it has, however far it is: it begins in an index behind the place. Not so
 *      the totals of a valuation, which are of everything.
 * A place with several parts has spaces between them, which no part has. */
#include "connectors/postgres_internal.h"

#define TIME(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
#define DAY(column)  "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
/* A day of a place as a time; null without one. */
#define DAY_OF(part) "(nullif(split_part($1, ' ', " part "), '') || ' UTC')::timestamptz"

static const char STOCK[] =
        "SELECT r.sku, row_to_json(r)::text FROM (SELECT l.sku, l.warehouse, l.version, l.on_hand,"
        " l.damaged, l.quality_control, l.held, l.reserved, l.committed, l.safety_stock,"
        " l.incoming, l.available, l.backordered, l.policy, l.backorder_limit,"
        " l.low_stock_threshold, " TIME("l.updated_at") " AS updated_at FROM stock_level AS l"
                                                        " WHERE l.warehouse = $3 AND l.sku > $1 "
                                                        "AND ($4::text IS NULL OR "
                                                        "starts_with(l.sku, $4))"
                                                        " AND ($5::bigint IS NULL OR l.available < "
                                                        "$5) ORDER BY l.sku LIMIT $2::bigint) AS r";

#define RESERVATION                                                                                \
    "SELECT r.reservation_id, json_strip_nulls(row_to_json(r))::text FROM"                         \
    " (SELECT h.reservation_id, h.version, h.state, h.owner, h.ttl_s, h.attempt, "                 \
    "h.pending, " TIME("h.expires_at") " AS expires_at, h.order_id, coalesce((SELECT "             \
                                       "json_agg(row_to_json(n)"                                   \
                                       " ORDER BY n.line) FROM (SELECT line, sku, quantity, "      \
                                       "warehouses, state, shipped, warehouse,"                    \
                                       " position, code, available FROM reservation_line AS l"     \
                                       " WHERE l.reservation_id = h.reservation_id) AS n), '[]') " \
                                       "AS lines FROM "
#define RESERVATION_OF                                                                \
    " h.attempt > 0 AND h.reservation_id > $1 AND ($3::text IS NULL OR h.state = $3)" \
    " ORDER BY h.reservation_id LIMIT $2::bigint) AS r"
static const char RESERVATIONS[] = RESERVATION "reservation AS h WHERE" RESERVATION_OF;
static const char RESERVATIONS_OF_SKU[] =
        RESERVATION "(SELECT DISTINCT reservation_id FROM reservation_line WHERE sku = $4 AND "
                    "reservation_id > $1)"
                    " AS w JOIN reservation AS h USING (reservation_id) WHERE" RESERVATION_OF;

#define MOVEMENT                                                                                   \
    "SELECT r.day || ' ' || r.warehouse || ' ' || r.kind, row_to_json(r)::text FROM (SELECT " DAY( \
            "m.day") " AS day, "
#define MOVEMENT_OF                                                                                \
    " ($1 = '' OR m.day < " DAY_OF("1") " OR (m.day = " DAY_OF(                                    \
            "1") " AND (m.warehouse, m.kind) > (split_part($1, ' ', 2), split_part($1, ' ', 3))))" \
                 " ORDER BY m.day DESC, m.warehouse, m.kind LIMIT $2::bigint) AS r"
static const char MOVEMENTS[] = MOVEMENT
        "NULL::text AS sku, m.warehouse, m.kind, m.entries, m.on_hand_delta, m.reserved_delta,"
        " m.committed_delta, NULL::bigint AS on_hand_running FROM"
        " (SELECT date_trunc('day', recorded_at, 'UTC') AS day, warehouse, kind, count(*) AS "
        "entries,"
        " sum(on_hand_delta) AS on_hand_delta, sum(reserved_delta) AS reserved_delta,"
        " sum(committed_delta) AS committed_delta FROM ledger_entry"
        " WHERE recorded_at >= $5::timestamptz AND recorded_at < $6::timestamptz"
        " AND ($1 = '' OR recorded_at < " DAY_OF("1") " + interval '1 day')"
                                                      " AND ($3::text IS NULL OR warehouse = $3)"
                                                      " AND ($4::text IS NULL OR kind = "
                                                      "ANY(string_to_array($4, ','))) GROUP BY 1, "
                                                      "2, 3) AS m"
                                                      " WHERE" MOVEMENT_OF;
static const char MOVEMENTS_OF_SKU[] =
        MOVEMENT "m.sku, m.warehouse, m.kind, m.entries, m.on_hand_delta, m.reserved_delta,"
                 " m.committed_delta, m.on_hand_running FROM movements AS m"
                 " WHERE m.sku = $7 AND ($3::text IS NULL OR m.warehouse = $3)"
                 " AND ($4::text IS NULL OR m.kind = ANY(string_to_array($4, ',')))"
                 " AND ($5::timestamptz IS NULL OR m.day >= $5)"
                 " AND ($6::timestamptz IS NULL OR m.day < $6) AND" MOVEMENT_OF;

#define VALUED                                                                                 \
    " FROM stock_level AS l JOIN variant AS v USING (sku) JOIN price AS p USING (sku)"         \
    " WHERE p.kind = 'BASE' AND p.list = 'default' AND ($3::text IS NULL OR l.warehouse = $3)" \
    " AND ($4::text IS NULL OR p.currency = $4)"
static const char VALUATION[] =
        "SELECT r.warehouse || ' ' || r.sku || ' ' || r.currency, row_to_json(r)::text FROM"
        " (SELECT l.warehouse, l.sku, v.product_id, p.currency, l.on_hand, p.amount_minor,"
        " l.on_hand::numeric * p.amount_minor AS value_minor" VALUED
        " AND ($5::text IS NULL OR starts_with(l.sku, $5))"
        " AND (l.warehouse, l.sku) >= (split_part($1, ' ', 1), split_part($1, ' ', 2))"
        " AND (l.warehouse, l.sku, p.currency) >"
        " (split_part($1, ' ', 1), split_part($1, ' ', 2), split_part($1, ' ', 3))"
        " ORDER BY l.warehouse, l.sku, p.currency LIMIT $2::bigint) AS r";
static const char VALUATION_TOTALS[] =
        "SELECT r.warehouse || ' ' || r.currency, row_to_json(r)::text FROM"
        " (SELECT l.warehouse, p.currency, count(*) AS skus, sum(l.on_hand) AS units,"
        " sum(l.on_hand::numeric * p.amount_minor) AS value_minor" VALUED
        " AND ($5::text IS NULL OR starts_with(l.sku, $5))"
        " AND (l.warehouse, p.currency) > (split_part($1, ' ', 1), split_part($1, ' ', 2))"
        " GROUP BY l.warehouse, p.currency ORDER BY l.warehouse, p.currency LIMIT $2::bigint) AS r";

#define TURNED                                                                     \
    " AS day, coalesce(t.shipped, 0) AS shipped, t.on_hand,"                       \
    " coalesce(t.shipped_30_days, 0) AS shipped_30_days,"                          \
    " round(t.on_hand_30_days, 2) AS on_hand_30_days,"                             \
    " round(coalesce(t.shipped_30_days, 0) / nullif(t.on_hand_30_days, 0), 4) AS " \
    "turnover_30_days FROM "
/* The last day of each level: a page is of levels, and only theirs are computed. */
static const char TURNOVER[] = "SELECT r.sku || ' ' || r.warehouse, row_to_json(r)::text FROM"
                               " (SELECT l.sku, l.warehouse, " DAY("t.day") TURNED
        "(SELECT sku, warehouse FROM stock_level WHERE ($3::text IS NULL OR warehouse = $3)"
        " AND (sku, warehouse) > (split_part($1, ' ', 1), split_part($1, ' ', 2))"
        " ORDER BY sku, warehouse LIMIT $2::bigint) AS l LEFT JOIN LATERAL"
        " (SELECT * FROM turnover WHERE sku = l.sku AND warehouse = l.warehouse"
        " AND ($4::timestamptz IS NULL OR day >= $4) AND ($5::timestamptz IS NULL OR day < $5)"
        " ORDER BY day DESC LIMIT 1) AS t ON true ORDER BY l.sku, l.warehouse) AS r";
static const char TURNOVER_OF_SKU[] =
        "SELECT r.warehouse || ' ' || r.day, row_to_json(r)::text FROM"
        " (SELECT t.sku, t.warehouse, " DAY("t.day") TURNED
        "turnover AS t WHERE t.sku = $6 AND ($3::text IS NULL OR t.warehouse = $3)"
        " AND ($4::timestamptz IS NULL OR t.day >= $4) AND ($5::timestamptz IS NULL OR t.day < $5)"
        " AND (t.warehouse > split_part($1, ' ', 1)"
        " OR (t.warehouse = split_part($1, ' ', 1) AND t.day < " DAY_OF(
                "2") "))"
                     " ORDER BY t.warehouse, t.day DESC LIMIT $2::bigint) AS r";

const struct postgres_list *postgres_lists_get(enum tally_list list)
{
    static const struct postgres_list lists[TALLY_LISTS] = {
            [TALLY_LIST_STOCK] = {"could not list stock", STOCK, NULL, "stock", 3,
                    {TALLY_FILTER_WAREHOUSE, TALLY_FILTER_PREFIX, TALLY_FILTER_BELOW}},
            [TALLY_LIST_RESERVATIONS] = {"could not list reservations", RESERVATIONS,
                    RESERVATIONS_OF_SKU, "reservation", 1, {TALLY_FILTER_STATE}},
            [TALLY_LIST_MOVEMENTS] = {"could not sum movements", MOVEMENTS, MOVEMENTS_OF_SKU,
                    "stock", 4,
                    {TALLY_FILTER_WAREHOUSE, TALLY_FILTER_KIND, TALLY_FILTER_FROM,
                            TALLY_FILTER_TO}},
            [TALLY_LIST_VALUATION] = {"could not value stock", VALUATION, NULL, "stock catalogue",
                    3, {TALLY_FILTER_WAREHOUSE, TALLY_FILTER_CURRENCY, TALLY_FILTER_PREFIX}},
            [TALLY_LIST_VALUATION_TOTALS] = {"could not value warehouses", VALUATION_TOTALS, NULL,
                    "stock catalogue", 3,
                    {TALLY_FILTER_WAREHOUSE, TALLY_FILTER_CURRENCY, TALLY_FILTER_PREFIX}},
            [TALLY_LIST_TURNOVER] = {"could not compute turnover", TURNOVER, TURNOVER_OF_SKU,
                    "stock", 3, {TALLY_FILTER_WAREHOUSE, TALLY_FILTER_FROM, TALLY_FILTER_TO}},
    };

    return &lists[list];
}
