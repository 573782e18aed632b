-- for: content
-- For the queries of docs/postgres.md, whose plans are tested; and for deletes and look-ups along the
-- references.
CREATE INDEX product_search ON product USING gin (search) WHERE version > 0;
DO $$
BEGIN -- the extension may have been there before, in a schema of somebody else's choice
    EXECUTE format('CREATE INDEX product_name ON product USING gin (name %I.gin_trgm_ops) WHERE version > 0',
                   (SELECT nspname FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
                    WHERE extname = 'pg_trgm'));
END $$;
CREATE INDEX product_status ON product (status, product_id) WHERE version > 0;
CREATE INDEX product_category_category ON product_category (category_id, product_id);
CREATE INDEX slug_product ON slug (product_id);
CREATE INDEX sku_product ON sku (product_id) WHERE product_id IS NOT NULL;
CREATE INDEX variant_product ON variant (product_id, place);
CREATE INDEX price_product ON price (product_id);
CREATE INDEX stock_level_warehouse ON stock_level (warehouse, sku);
CREATE INDEX reservation_state ON reservation (state, reservation_id);
CREATE INDEX reservation_line_sku ON reservation_line (sku, reservation_id);
CREATE INDEX transfer_sku ON transfer (sku, transfer_id);
-- Entries are written in the order of time, so a range of it is a range of blocks.
CREATE INDEX ledger_entry_time ON ledger_entry USING brin (recorded_at) WITH (pages_per_range = 32);
