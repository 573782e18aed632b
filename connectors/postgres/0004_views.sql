-- for: content
-- What is asked of the content again and again.
CREATE VIEW valuation AS
SELECT l.warehouse, l.sku, v.product_id, p.currency, l.on_hand, p.amount_minor,
       l.on_hand::numeric * p.amount_minor AS value_minor,
       sum(l.on_hand::numeric * p.amount_minor)
           OVER (PARTITION BY l.warehouse, p.currency) AS warehouse_value_minor,
       rank() OVER (PARTITION BY l.warehouse, p.currency
                    ORDER BY l.on_hand::numeric * p.amount_minor DESC) AS rank
FROM stock_level AS l
JOIN variant AS v USING (sku)
JOIN price AS p USING (sku)
WHERE p.kind = 'BASE' AND p.list = 'default';
COMMENT ON VIEW valuation IS 'what the units in a warehouse are worth at their base price, each SKU ranked within its warehouse';

CREATE VIEW movements AS
SELECT sku, warehouse, date_trunc('day', recorded_at, 'UTC') AS day, kind, count(*) AS entries,
       sum(on_hand_delta) AS on_hand_delta, sum(reserved_delta) AS reserved_delta,
       sum(committed_delta) AS committed_delta,
       sum(sum(on_hand_delta)) OVER (PARTITION BY sku, warehouse
                                     ORDER BY date_trunc('day', recorded_at, 'UTC'), kind)
           AS on_hand_running
FROM ledger_entry
GROUP BY sku, warehouse, date_trunc('day', recorded_at, 'UTC'), kind;
COMMENT ON VIEW movements IS 'what moved of a SKU in a warehouse, by day (UTC) and kind, with the running sum of on_hand';

CREATE VIEW turnover AS
SELECT sku, warehouse, day, shipped, on_hand,
       sum(shipped) OVER month AS shipped_30_days,
       avg(on_hand) OVER month AS on_hand_30_days,
       sum(shipped) OVER month / nullif(avg(on_hand) OVER month, 0) AS turnover_30_days
FROM (SELECT sku, warehouse, date_trunc('day', recorded_at, 'UTC') AS day,
             -sum(on_hand_delta) FILTER (WHERE kind = 'SHIP') AS shipped,
             (array_agg(on_hand ORDER BY seq DESC))[1] AS on_hand
      FROM ledger_entry
      GROUP BY sku, warehouse, date_trunc('day', recorded_at, 'UTC')) AS days
WINDOW month AS (PARTITION BY sku, warehouse ORDER BY day
                 RANGE BETWEEN interval '29 days' PRECEDING AND CURRENT ROW);
COMMENT ON VIEW turnover IS 'units shipped in 30 days against what was there at the ends of those days with entries, by SKU, warehouse and day (UTC)';
